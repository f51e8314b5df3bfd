//! Groups: nobody skips a record, nobody is handed what is not there, and committed offsets never go back.
//!
//! Threads note what they saw a little after it happened. So nothing here relies on the order between members, but for one: what was
//! noted as committed before a session was noted as begun had been committed before it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Violation;
use crate::history::{Event, History, Id, Logs, Member, Partition, Stored};

pub fn check(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut judge = Judge {
        logs,
        found: Vec::new(),
        sessions: BTreeMap::new(),
        committed: BTreeMap::new(),
        delivered: BTreeMap::new(),
    };
    // What was committed by the time that each event was noted, for those who asked then.
    for (at, event) in history.events.iter().enumerate() {
        judge.see(at, event);
    }
    judge.unread();
    judge.found
}

type OfGroup = (Arc<str>, Partition);

struct Judge<'a> {
    logs: &'a Logs,
    found: Vec<Violation>,
    /// Of each member and partition: what was committed when the session began, and the last offset that was delivered in it.
    sessions: BTreeMap<(Arc<Member>, Partition), (i64, Option<i64>)>,
    /// Each rise of what a group is known to have committed: (number of the event, offset), both growing.
    committed: BTreeMap<OfGroup, Vec<(usize, i64)>>,
    delivered: BTreeMap<OfGroup, BTreeSet<i64>>,
}

impl Judge<'_> {
    fn see(&mut self, at: usize, event: &Event) {
        match event {
            Event::Assigned { member, partition } => {
                let committed = self.known(&member.group, partition, at);
                self.sessions
                    .insert((member.clone(), partition.clone()), (committed, None));
            }
            Event::Revoked { member, partition } => {
                self.sessions.remove(&(member.clone(), partition.clone()));
            }
            Event::Delivered {
                member,
                partition,
                offset,
                id,
            } => self.deliver(member, partition, *offset, *id),
            Event::Committed {
                member,
                partition,
                offset,
            } => self.commit(at, &member.group, partition, *offset),
            Event::Seen {
                group,
                partition,
                asked_after,
                offset,
            } => {
                let known = self.known(group, partition, *asked_after);
                if offset.unwrap_or(0) < known {
                    self.found.push(Violation::Forgotten {
                        group: group.to_string(),
                        partition: partition.clone(),
                        known,
                        told: *offset,
                    });
                }
                if let Some(offset) = offset {
                    self.commit(at, group, partition, *offset);
                }
            }
        }
    }

    fn deliver(&mut self, member: &Arc<Member>, partition: &Partition, offset: i64, id: Option<Id>) {
        let log = self.logs.get(partition).map(Vec::as_slice).unwrap_or_default();
        let stored = log
            .binary_search_by_key(&offset, |stored| stored.offset)
            .ok()
            .map(|found| log[found]);
        if stored.map(|stored| stored.id) != Some(id) {
            self.found.push(Violation::Unreal {
                member: named(member),
                partition: partition.clone(),
                offset,
                handed: id,
                stored: stored.and_then(|stored| stored.id),
            });
        }
        self.delivered
            .entry((member.group.clone(), partition.clone()))
            .or_default()
            .insert(offset);
        let Some((committed, last)) = self.sessions.get_mut(&(member.clone(), partition.clone())) else {
            return;
        };
        match last.replace(offset) {
            None if offset < *committed => self.found.push(Violation::WentBack {
                member: named(member),
                partition: partition.clone(),
                committed: *committed,
                began: offset,
            }),
            None => {}
            Some(after) => {
                let records = between(log, after + 1, offset);
                if records > 0 {
                    self.found.push(Violation::Skipped {
                        member: named(member),
                        partition: partition.clone(),
                        after,
                        at: offset,
                        records,
                    });
                }
            }
        }
    }

    /// The highest offset that was known to be committed when there were `events` events.
    fn known(&self, group: &Arc<str>, partition: &Partition, events: usize) -> i64 {
        let Some(rises) = self.committed.get(&(group.clone(), partition.clone())) else {
            return 0;
        };
        let before = rises.partition_point(|(at, _)| *at < events);
        before.checked_sub(1).map_or(0, |last| rises[last].1)
    }

    fn commit(&mut self, at: usize, group: &Arc<str>, partition: &Partition, offset: i64) {
        let rises = self
            .committed
            .entry((group.clone(), partition.clone()))
            .or_default();
        if rises.last().is_none_or(|(_, highest)| *highest < offset) {
            rises.push((at, offset));
        }
    }

    /// All that lies below what a group was handed last, or committed, has been handed to one of its members.
    fn unread(&mut self) {
        let groups: BTreeSet<OfGroup> = self
            .delivered
            .keys()
            .chain(self.committed.keys())
            .cloned()
            .collect();
        for (group, partition) in groups {
            let key = (group, partition);
            let empty = BTreeSet::new();
            let delivered = self.delivered.get(&key).unwrap_or(&empty);
            let committed = self.committed.get(&key).and_then(|rises| rises.last());
            let below = delivered
                .last()
                .map_or(0, |last| last + 1)
                .max(committed.map_or(0, |(_, offset)| *offset));
            let log = self.logs.get(&key.1).map(Vec::as_slice).unwrap_or_default();
            let unread: Vec<i64> = log
                .iter()
                .map(|stored| stored.offset)
                .filter(|offset| *offset < below && !delivered.contains(offset))
                .collect();
            if let Some(first) = unread.first() {
                self.found.push(Violation::Unread {
                    group: key.0.to_string(),
                    partition: key.1,
                    below,
                    records: unread.len(),
                    first: *first,
                });
            }
        }
    }
}

/// How many records lie from `from` up to, and without, `to`.
fn between(log: &[Stored], from: i64, to: i64) -> usize {
    let position = |offset| log.partition_point(|stored| stored.offset < offset);
    position(to).saturating_sub(position(from))
}

fn named(member: &Member) -> String {
    format!("{}/{}", member.group, member.name)
}
