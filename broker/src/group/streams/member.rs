//! A member of a streams group: one thread of an instance of the application.

use super::assignment::Role;
use super::record::{Current, Told};
use crate::group::Text;

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It has all that the target of its epoch gives it.
    Stable,
    /// It has been told to give tasks up, and has not said yet that it did.
    UnrevokedTasks,
    /// It waits for tasks that others still hold.
    UnreleasedTasks,
    /// One that a newer broker wrote.
    Unknown,
}

/// A member: what it told of itself, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: Text,
    pub(in crate::group) told: Told,
    pub(in crate::group) current: Current,
}

impl Member {
    pub(super) fn new(id: Text) -> Self {
        Self {
            id,
            told: Told::default(),
            current: Current::default(),
        }
    }

    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == epoch
    }

    /// Whether it has processed a task since that epoch or before (KIP-1251).
    pub(in crate::group) fn held_since(&self, subtopology: &Text, partition: i32, epoch: i32) -> bool {
        let Current {
            assigned, revoking, ..
        } = &self.current;
        let since = assigned
            .active
            .epoch(subtopology, partition)
            .or_else(|| revoking.active.epoch(subtopology, partition));
        since.is_some_and(|since| epoch >= since)
    }

    /// What it holds, and what it has not given up yet.
    pub(super) fn held(&self) -> impl Iterator<Item = (Role, Text, i32)> {
        let Current {
            assigned, revoking, ..
        } = &self.current;
        assigned.iter().chain(revoking.iter())
    }
}
