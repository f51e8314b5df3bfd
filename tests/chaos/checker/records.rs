//! Records: acknowledged is a subset of stored, each once, in order, and nothing that nobody sent.

use std::collections::BTreeMap;

use super::Violation;
use crate::history::{History, Id, Logs, Partition, Session};

pub fn check(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut places: BTreeMap<Id, Vec<(&Partition, i64)>> = BTreeMap::new();
    for (partition, log) in logs {
        for pair in log.windows(2) {
            if pair[1].offset <= pair[0].offset {
                found.push(Violation::Unordered {
                    partition: partition.clone(),
                    offsets: (pair[0].offset, pair[1].offset),
                });
            }
        }
        for stored in log {
            if let Some(id) = stored.id.filter(|id| was_sent(history, *id, partition)) {
                places.entry(id).or_default().push((partition, stored.offset));
            } else {
                found.push(Violation::Invented {
                    partition: partition.clone(),
                    offset: stored.offset,
                    id: stored.id,
                });
            }
        }
        found.extend(order(partition, log));
    }
    found.extend(acknowledged(history, &places));
    found.extend(
        places
            .iter()
            .filter(|(id, places)| places.len() > 1 && history.sessions[&id.session].idempotent)
            .map(|(id, places)| Violation::Doubled {
                id: *id,
                places: owned(places),
            }),
    );
    found
}

fn was_sent(history: &History, id: Id, partition: &Partition) -> bool {
    history
        .sessions
        .get(&id.session)
        .is_some_and(|sent| id.number < sent.attempts && sent.topic == partition.topic)
}

/// A producer sends from one thread, and its records of one partition, hence of one key, lie in the order of sending. A record that
/// is there twice is another fault, and told as that.
fn order(partition: &Partition, log: &[crate::history::Stored]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut last: BTreeMap<Session, (Id, i64)> = BTreeMap::new();
    for stored in log {
        let Some(id) = stored.id else { continue };
        let before = last.insert(id.session, (id, stored.offset));
        if let Some(first) = before.filter(|(before, _)| before.number > id.number) {
            found.push(Violation::Reordered {
                partition: partition.clone(),
                first,
                second: (id, stored.offset),
            });
        }
    }
    found
}

fn acknowledged(history: &History, places: &BTreeMap<Id, Vec<(&Partition, i64)>>) -> Vec<Violation> {
    let mut found = Vec::new();
    for acknowledged in &history.acknowledged {
        let there = places
            .get(&acknowledged.id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if there.is_empty() {
            found.push(Violation::Lost {
                id: acknowledged.id,
                partition: acknowledged.partition.clone(),
                offset: acknowledged.offset,
                at: acknowledged.at,
            });
        } else if !there.iter().any(|(partition, offset)| {
            **partition == acknowledged.partition && acknowledged.offset.is_none_or(|at| at == *offset)
        }) {
            found.push(Violation::Misplaced {
                id: acknowledged.id,
                partition: acknowledged.partition.clone(),
                offset: acknowledged.offset,
                found: owned(there),
            });
        }
    }
    found
}

fn owned(places: &[(&Partition, i64)]) -> Vec<(Partition, i64)> {
    places
        .iter()
        .map(|(partition, offset)| ((*partition).clone(), *offset))
        .collect()
}
