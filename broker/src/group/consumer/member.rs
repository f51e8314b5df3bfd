//! A member of a group of the new protocol.

use std::collections::BTreeSet;

use flotilla_protocol::Uuid;

use super::assigned::PartitionsByEpoch;
use super::record::{Current, Subscription};
use crate::group::Text;

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It has all that the target of its epoch gives it.
    Stable,
    /// It has been told to give partitions up, and has not said yet that it did.
    UnrevokedPartitions,
    /// It waits for partitions that others still hold.
    UnreleasedPartitions,
    /// One that a newer broker wrote.
    Unknown,
}

/// A member: what it told of itself, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: Text,
    pub(in crate::group) subscription: Subscription,
    pub(in crate::group) current: Current,
}

impl Member {
    pub(super) fn new(id: Text) -> Self {
        Self {
            id,
            subscription: Subscription::default(),
            current: Current::default(),
        }
    }

    /// Its regular expression, if it subscribes by one. An empty one says that it no longer does.
    pub(super) fn regex(&self) -> Option<&Text> {
        regex_of(&self.subscription)
    }

    pub(super) fn names(&self) -> &BTreeSet<Text> {
        &self.subscription.topics
    }

    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == epoch
    }

    /// Whether it has held a partition since that epoch or before (KIP-1251).
    pub(in crate::group) fn held_since(&self, topic: Uuid, partition: i32, epoch: i32) -> bool {
        let Current {
            assigned, revoking, ..
        } = &self.current;
        let since = assigned
            .epoch(topic, partition)
            .or_else(|| revoking.epoch(topic, partition));
        since.is_some_and(|since| epoch >= since)
    }

    /// What nobody else may take: what it holds, and what it has not given up yet.
    pub(super) fn held(&self) -> impl Iterator<Item = (Uuid, i32)> {
        let Current {
            assigned, revoking, ..
        } = &self.current;
        let all: [&PartitionsByEpoch; 2] = [assigned, revoking];
        all.into_iter()
            .flat_map(|some| some.iter().map(|(topic, partition, _)| (topic, partition)))
    }
}

pub(super) fn regex_of(subscription: &Subscription) -> Option<&Text> {
    subscription.regex.as_ref().filter(|regex| !regex.is_empty())
}
