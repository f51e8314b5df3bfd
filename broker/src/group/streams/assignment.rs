//! Tasks in their three roles: what a member is to have, and what it holds.

use crate::group::Text;
use crate::group::assigned::{Tasks, TasksByEpoch};

/// What a member is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Tasks that it processes.
    pub active: Tasks,
    /// Tasks whose state it keeps up to date, to take over.
    pub standby: Tasks,
    /// Tasks whose state it catches up with, to process them later. Kafka 4.3 assigns none.
    pub warmup: Tasks,
}

/// What a member holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Tasks that it processes, each with the epoch in which it got it (KIP-1251).
    pub active: TasksByEpoch,
    /// Tasks whose state it keeps up to date.
    pub standby: Tasks,
    /// Tasks whose state it catches up with.
    pub warmup: Tasks,
}

/// What a member has a task for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Active,
    Standby,
    Warmup,
}

impl Assignment {
    /// Whether there are no tasks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }

    /// The same without epochs.
    #[must_use]
    pub fn assignment(&self) -> Assignment {
        Assignment {
            active: self.active.partitions(),
            standby: self.standby.clone(),
            warmup: self.warmup.clone(),
        }
    }

    /// Whether all of these are among them, in the same role.
    pub(super) fn contains_all(&self, tasks: &Assignment) -> bool {
        self.active.contains_all(&tasks.active)
            && contains_all(&self.standby, &tasks.standby)
            && contains_all(&self.warmup, &tasks.warmup)
    }

    /// Whether any of these is among them, in the same role.
    pub(super) fn contains_any(&self, tasks: &Assignment) -> bool {
        self.active.contains_any(&tasks.active)
            || contains_any(&self.standby, &tasks.standby)
            || contains_any(&self.warmup, &tasks.warmup)
    }

    /// Each, in its role.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Role, Text, i32)> {
        let of = |role| move |(subtopology, partition)| (role, subtopology, partition);
        let active = self.active.iter();
        active
            .map(|(subtopology, partition, _)| (Role::Active, subtopology, partition))
            .chain(self.standby.iter().map(of(Role::Standby)))
            .chain(self.warmup.iter().map(of(Role::Warmup)))
    }
}

fn contains_all(tasks: &Tasks, others: &Tasks) -> bool {
    others
        .iter()
        .all(|(subtopology, partition)| tasks.contains(subtopology, partition))
}

fn contains_any(tasks: &Tasks, others: &Tasks) -> bool {
    others
        .iter()
        .any(|(subtopology, partition)| tasks.contains(subtopology, partition))
}
