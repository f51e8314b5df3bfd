//! From what a member holds to what it is to have: it gives up first, and gets then (KIP-1071).

use super::assignment::{Assignment, Held};
use super::member::MemberState;
use super::record::Current;
use crate::group::Text;
use crate::group::assigned::Tasks;

/// What a step of a member goes by.
pub(super) struct Goal<'a> {
    /// The epoch of the target.
    pub(super) epoch: i32,
    /// What it is to have.
    pub(super) target: &'a Assignment,
    /// What it says that it still holds; none: it did not say.
    pub(super) owned: Option<&'a Assignment>,
    /// Whether anybody has a task as an active one.
    pub(super) is_active: &'a dyn Fn(&Text, i32) -> bool,
    /// Whether the member's own process has a task, in any role: its state has one place.
    pub(super) has_process: &'a dyn Fn(&Text, i32) -> bool,
}

/// A member in a state that this broker does not know, and which has not given up all: it must join anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Goal<'_> {
    /// The member's next step; the same again where it can go no further now.
    pub(super) fn step(&self, now: &Current) -> Result<Current, Lost> {
        match now.state {
            MemberState::Stable if now.epoch == self.epoch => Ok(now.clone()),
            MemberState::UnrevokedTasks if self.still_owns(&now.revoking) => Ok(now.clone()),
            // What it was told in one epoch it has done: what follows is another.
            MemberState::UnrevokedTasks => Ok(self.advance(now, now.epoch + 1)),
            MemberState::Stable | MemberState::UnreleasedTasks => Ok(self.advance(now, now.epoch)),
            MemberState::Unknown if self.owned.is_some_and(Assignment::is_empty) => {
                Ok(self.advance(now, self.epoch))
            }
            MemberState::Unknown => Err(Lost),
        }
    }

    /// A member that does not say what it holds may hold all.
    fn still_owns(&self, tasks: &Held) -> bool {
        self.owned.is_none_or(|owned| tasks.contains_any(owned))
    }

    fn advance(&self, now: &Current, epoch: i32) -> Current {
        let (mut assigned, revoking) = self.split(&now.assigned);
        if !revoking.is_empty() && self.still_owns(&revoking) {
            return Current {
                epoch,
                previous_epoch: now.epoch,
                state: MemberState::UnrevokedTasks,
                assigned,
                revoking,
            };
        }
        let waits = self.take(&mut assigned);
        Current {
            epoch: self.epoch,
            previous_epoch: now.epoch,
            state: if waits {
                MemberState::UnreleasedTasks
            } else {
                MemberState::Stable
            },
            assigned,
            revoking: Held::default(),
        }
    }

    /// What it keeps, and what it has to give up.
    fn split(&self, held: &Held) -> (Held, Held) {
        let (active, revoked) = held
            .active
            .split(|subtopology, partition| self.target.active.contains(subtopology, partition));
        let (standby, former_standby) = split(&held.standby, &self.target.standby);
        let (warmup, former_warmup) = split(&held.warmup, &self.target.warmup);
        let kept = Held {
            active,
            standby,
            warmup,
        };
        let given_up = Held {
            active: revoked,
            standby: former_standby,
            warmup: former_warmup,
        };
        (kept, given_up)
    }

    /// Takes what is free; whether anything is not.
    fn take(&self, assigned: &mut Held) -> bool {
        let mut waits = false;
        for (subtopology, partition) in self.target.active.iter() {
            if assigned.active.contains(&subtopology, partition) {
                continue;
            }
            if (self.is_active)(&subtopology, partition) || (self.has_process)(&subtopology, partition) {
                waits = true;
            } else {
                assigned.active.insert(subtopology, partition, self.epoch);
            }
        }
        for (wanted, has) in [
            (&self.target.standby, &mut assigned.standby),
            (&self.target.warmup, &mut assigned.warmup),
        ] {
            for (subtopology, partition) in wanted.iter() {
                if has.contains(&subtopology, partition) {
                    continue;
                }
                if (self.has_process)(&subtopology, partition) {
                    waits = true;
                } else {
                    has.insert(subtopology, partition);
                }
            }
        }
        waits
    }
}

fn split(held: &Tasks, wanted: &Tasks) -> (Tasks, Tasks) {
    let keeps = |(subtopology, partition): &(Text, i32)| wanted.contains(subtopology, *partition);
    let kept = held.iter().filter(keeps).collect();
    let given_up = held.iter().filter(|task| !keeps(task)).collect();
    (kept, given_up)
}
