//! A share group: the fold of its records.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use super::partitions::StatePartitions;
use super::record::{Current, Record, Subscription};
use crate::group::Text;
use crate::group::consumer::Partitions;
use crate::group::folded::Folded;

/// A member: what it told of itself, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: Text,
    pub(in crate::group) subscription: Subscription,
    pub(in crate::group) current: Current,
}

/// A group. Cloning is cheap: the clones share what they have in common.
#[derive(Clone, Debug, Default)]
pub(in crate::group) struct Group {
    pub(in crate::group) epoch: i32,
    /// Of the topics that are subscribed to, as they were when the epoch went up last.
    pub(super) metadata_hash: i64,
    pub(in crate::group) target_epoch: i32,
    /// When partitions were last assigned, in ms since 1970; 0: never.
    pub(super) target_timestamp_ms: i64,
    members: OrdMap<Text, Arc<Member>>,
    targets: OrdMap<Text, Arc<Partitions>>,
    partitions: Arc<StatePartitions>,
    has_read: bool,
}

impl Folded for Group {
    type Record = Record;

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Group(value) => {
                let value = value.unwrap_or_default();
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            Record::Member { member, value: None } => {
                self.members.remove(member);
            }
            Record::Member {
                member,
                value: Some(value),
            } => self.change_member(member, |member| member.subscription = value.clone()),
            Record::Current { member, value } => {
                if value.is_some() || self.members.contains_key(member) {
                    let value = value.clone().unwrap_or_default();
                    self.change_member(member, |member| member.current = value);
                }
            }
            Record::Target { member, value } => match value {
                Some(value) => {
                    self.targets.insert(member.clone(), Arc::new(value.clone()));
                }
                None => {
                    self.targets.remove(member);
                }
            },
            Record::TargetEpoch(value) => {
                let value = value.unwrap_or_default();
                self.target_epoch = value.epoch;
                self.target_timestamp_ms = value.timestamp_ms;
            }
            Record::Partitions(value) => {
                self.has_read = value.is_some();
                self.partitions = Arc::new(value.clone().unwrap_or_default());
            }
        }
    }

    fn ends_with(record: &Record) -> bool {
        matches!(record, Record::Group(None))
    }

    fn is_tombstone(record: &Record) -> bool {
        record.is_tombstone()
    }
}

impl Group {
    fn change_member(&mut self, id: &Text, change: impl FnOnce(&mut Member)) {
        let mut member = match self.members.get(id) {
            Some(member) => Member::clone(member),
            None => Member {
                id: id.clone(),
                subscription: Subscription::default(),
                current: Current::default(),
            },
        };
        change(&mut member);
        self.members.insert(id.clone(), Arc::new(member));
    }

    pub(in crate::group) fn member(&self, id: &str) -> Option<&Arc<Member>> {
        self.members.get(id)
    }

    pub(in crate::group) fn members(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> {
        self.members.values()
    }

    pub(in crate::group) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn target(&self, member: &str) -> Option<&Arc<Partitions>> {
        self.targets.get(member)
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = (&Text, &Arc<Partitions>)> {
        self.targets.iter()
    }

    /// Of which partitions something is stored.
    pub(in crate::group) fn partitions(&self) -> &StatePartitions {
        &self.partitions
    }

    /// Whether anything was ever stored, be it deleted or not.
    pub(in crate::group) fn has_read(&self) -> bool {
        self.has_read
    }

    /// Names that any member subscribes to.
    pub(super) fn subscribed(&self) -> BTreeSet<&Text> {
        self.members()
            .flat_map(|member| &member.subscription.topics)
            .collect()
    }

    /// Whether any of these topics is read.
    pub(in crate::group) fn subscribed_any(&self, topics: &BTreeSet<Text>) -> bool {
        self.subscribed().into_iter().any(|topic| topics.contains(topic))
    }

    /// As Kafka prints where the group stands.
    pub(in crate::group) fn state(&self) -> &'static str {
        match self.is_empty() {
            true => "Empty",
            false => "Stable",
        }
    }
}
