//! Steps of a decision that several of them share.

use std::collections::BTreeMap;

use super::assignor::{self, MemberSpec};
use super::configure::Configured;
use super::group::Group;
use super::record::{GroupEpoch, Record};
use crate::group::consumer::TargetEpoch;
use crate::group::{Text, folded};

pub(super) type Draft = folded::Draft<Group>;

/// The one setting that tasks are assigned by, as Kafka names it in the group's record.
pub(super) const STANDBY_REPLICAS: &str = "num.standby.replicas";

impl Draft {
    /// The order is Kafka's: what a member holds is forgotten before the member is.
    pub(super) fn remove_member(&mut self, member: &Text) {
        self.write(Record::Current {
            member: member.clone(),
            value: None,
        });
        self.write(Record::Target {
            member: member.clone(),
            value: None,
        });
        self.write(Record::Member {
            member: member.clone(),
            value: None,
        });
    }

    /// Raises the group's epoch; what else its record says is what `change` makes of it.
    pub(super) fn bump(&mut self, change: impl FnOnce(&mut GroupEpoch)) {
        let mut next = self.group.epoch.clone();
        next.epoch += 1;
        change(&mut next);
        self.write(Record::Group(Some(next)));
    }

    /// Assigns all tasks for the group's epoch, by the settings in its record, and writes down what differs. Where topics are missing
    /// there are no tasks.
    pub(super) fn assign(&mut self, configured: &Configured, now_ms: u64) {
        let group = &self.group;
        let specs: BTreeMap<Text, MemberSpec> = group
            .members()
            .map(|member| {
                let spec = MemberSpec {
                    process: member.told.process_id.clone(),
                    before: group.target(&member.id).cloned().unwrap_or_default(),
                };
                (member.id.clone(), spec)
            })
            .collect();
        let standby_replicas = group.epoch.assignment_configs.get(STANDBY_REPLICAS);
        let standby_replicas = standby_replicas.and_then(|text| text.parse().ok()).unwrap_or(0);
        let none = BTreeMap::new();
        let shapes = match configured.is_ready() {
            true => &configured.shapes,
            false => &none,
        };
        for (member, value) in assignor::assign(&specs, shapes, standby_replicas) {
            if self.group.target(&member).map(AsRef::as_ref) != Some(&value) {
                self.write(Record::Target {
                    member,
                    value: Some(value),
                });
            }
        }
        self.write(Record::TargetEpoch(Some(TargetEpoch {
            epoch: self.group.epoch.epoch,
            timestamp_ms: now_ms.cast_signed(),
        })));
    }
}
