//! From what a member holds to what it is to have: it gives up first, and gets then (KIP-848).

use flotilla_protocol::Uuid;

use super::assigned::{Partitions, PartitionsByEpoch};
use super::member::MemberState;
use super::record::Current;

/// What a step of a member goes by.
pub(super) struct Goal<'a> {
    /// The epoch of the target.
    pub(super) epoch: i32,
    /// What it is to have.
    pub(super) target: &'a Partitions,
    /// Whether it subscribes to a topic now. What it does not subscribe to it gives up, whatever the target says.
    pub(super) reads: &'a dyn Fn(Uuid) -> bool,
    /// Whether what it subscribes to has just changed.
    pub(super) has_resubscribed: bool,
    /// What it says that it still holds; none: it did not say.
    pub(super) owned: Option<&'a Partitions>,
    /// Whether another member holds a partition.
    pub(super) is_taken: &'a dyn Fn(Uuid, i32) -> bool,
}

/// A member in a state that this broker does not know, and which has not given up all: it must join anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Goal<'_> {
    /// The member's next step; the same again where it can go no further now.
    pub(super) fn step(&self, now: &Current) -> Result<Current, Lost> {
        match now.state {
            MemberState::Stable if now.epoch != self.epoch => Ok(self.advance(now, now.epoch)),
            MemberState::Stable if self.has_resubscribed => Ok(self.shed(now)),
            MemberState::Stable => Ok(now.clone()),
            MemberState::UnrevokedPartitions if self.still_owns(&now.revoking) => {
                if self.has_resubscribed {
                    Ok(self.shed(now))
                } else {
                    Ok(now.clone())
                }
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Ok(self.advance(now, now.epoch))
            }
            MemberState::Unknown if self.owned.is_some_and(Partitions::is_empty) => {
                Ok(self.advance(now, self.epoch))
            }
            MemberState::Unknown => Err(Lost),
        }
    }

    /// A member that does not say what it holds may hold all.
    fn still_owns(&self, partitions: &PartitionsByEpoch) -> bool {
        self.owned.is_none_or(|owned| partitions.contains_any(owned))
    }

    /// Only gives up what is no longer subscribed to.
    fn shed(&self, now: &Current) -> Current {
        let (assigned, dropped) = now.assigned.split(|topic, _| (self.reads)(*topic));
        if dropped.is_empty() {
            return now.clone();
        }
        let revoking: PartitionsByEpoch = now.revoking.iter().chain(dropped.iter()).collect();
        if self.still_owns(&revoking) {
            Current {
                previous_epoch: now.epoch,
                state: MemberState::UnrevokedPartitions,
                assigned,
                revoking,
                ..now.clone()
            }
        } else {
            Current {
                previous_epoch: now.epoch,
                assigned,
                ..now.clone()
            }
        }
    }

    fn advance(&self, now: &Current, epoch: i32) -> Current {
        let wanted = |topic: &Uuid, partition| (self.reads)(*topic) && self.target.contains(topic, partition);
        let (mut assigned, revoking) = now.assigned.split(wanted);
        if !revoking.is_empty() && self.still_owns(&revoking) {
            return Current {
                epoch,
                previous_epoch: now.epoch,
                state: MemberState::UnrevokedPartitions,
                assigned,
                revoking,
            };
        }
        let mut waits = false;
        for (topic, partition) in self.target.iter() {
            if !(self.reads)(topic) || assigned.contains(topic, partition) {
                continue;
            }
            if (self.is_taken)(topic, partition) {
                waits = true;
            } else {
                assigned.insert(topic, partition, self.epoch);
            }
        }
        Current {
            epoch: self.epoch,
            previous_epoch: now.epoch,
            state: if waits {
                MemberState::UnreleasedPartitions
            } else {
                MemberState::Stable
            },
            assigned,
            revoking: PartitionsByEpoch::default(),
        }
    }
}
