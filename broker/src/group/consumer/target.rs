//! What each member is to have, computed anew when the group's epoch has gone up.

use std::collections::BTreeMap;

use super::assignor::{Assignor, MemberSpec};
use super::draft::Draft;
use super::record::{Record, TargetEpoch};
use super::topics::Seen;
use crate::group::Text;

impl Draft {
    /// Assigns all partitions for the group's epoch, and writes down what differs.
    pub(super) fn assign(&mut self, assignor: Assignor, seen: &Seen, now_ms: u64) {
        let group = &self.group;
        let specs: BTreeMap<Text, MemberSpec> = group
            .members()
            .map(|member| {
                let spec = MemberSpec {
                    instance_id: member.subscription.instance_id.clone(),
                    topics: group.topics_of(member, seen),
                    before: group.target(&member.id).cloned().unwrap_or_default(),
                };
                (member.id.clone(), spec)
            })
            .collect();
        for (member, value) in assignor.assign(&specs) {
            if self.group.target(&member).map(AsRef::as_ref) != Some(&value) {
                self.write(Record::Target {
                    member,
                    value: Some(value),
                });
            }
        }
        self.write(Record::TargetEpoch(Some(TargetEpoch {
            epoch: self.group.epoch,
            timestamp_ms: now_ms.cast_signed(),
        })));
    }
}
