//! What is stored of one partition's delivery to one share group.

use std::collections::BTreeMap;

use flotilla_protocol::{LeaderEpoch, Offset, Uuid};

use super::delivery::RecordState;
use crate::group::Text;

/// A partition as one share group reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharePartition {
    /// The group.
    pub group: Text,
    /// The topic.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: i32,
}

impl SharePartition {
    /// As FindCoordinator names it: `group:topicId:partition`. It says which partition of the topic the state lives in.
    #[must_use]
    pub fn coordinator_key(&self) -> String {
        format!("{}:{}:{}", self.group, self.topic_id, self.partition)
    }

    /// The share partition that a key of FindCoordinator names. A group's id may have colons in it.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let (rest, partition) = key.rsplit_once(':')?;
        let (group, topic_id) = rest.rsplit_once(':')?;
        let partition = partition.parse().ok()?;
        (!group.is_empty()).then_some(Self {
            group: group.into(),
            topic_id: topic_id.parse().ok()?,
            partition,
        })
    }
}

/// Offsets that share a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first offset.
    pub first: Offset,
    /// The last one.
    pub last: Offset,
    /// Never [`RecordState::Acquired`]: locks are not stored.
    pub state: RecordState,
    /// How often they were delivered.
    pub delivery_count: i16,
}

/// What is stored. Offsets from the start on that are in no batch are available and were never settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which of the states that an administrator set this one follows.
    pub state_epoch: i32,
    /// Of the partition's leader that wrote or read it last; an older one is refused.
    pub leader_epoch: LeaderEpoch,
    /// The first offset that is not finished; -1: not known yet.
    pub start: Offset,
    /// How many offsets from the start on are finished; -1: not known.
    pub finished: i32,
    /// In order, without overlaps, none before the start.
    pub batches: Vec<Batch>,
}

impl Stored {
    /// One that an administrator, or a group's first look at a partition, brought about.
    #[must_use]
    pub fn new(state_epoch: i32, start: Offset) -> Self {
        Self {
            state_epoch,
            leader_epoch: LeaderEpoch(0),
            start,
            finished: if start.0 < 0 { -1 } else { 0 },
            batches: Vec::new(),
        }
    }

    /// Puts batches over those that are there, and forgets what lies before the start. A start of -1 leaves it as it is,
    /// and so does one that lies further back.
    #[must_use]
    pub fn with(&self, start: Offset, finished: i32, batches: &[Batch]) -> Self {
        let start = start.max(self.start);
        let mut laid: BTreeMap<Offset, Batch> =
            self.batches.iter().map(|batch| (batch.first, *batch)).collect();
        for batch in batches {
            cover(&mut laid, batch);
        }
        let mut joined: Vec<Batch> = Vec::with_capacity(laid.len());
        for batch in laid.into_values().filter(|batch| batch.last >= start) {
            let first = batch.first.max(start);
            match joined.last_mut() {
                Some(before) if is_continued(before, &batch) => before.last = batch.last,
                _ => joined.push(Batch { first, ..batch }),
            }
        }
        Self {
            start,
            finished,
            batches: joined,
            ..self.clone()
        }
    }
}

fn is_continued(before: &Batch, next: &Batch) -> bool {
    before.last.plus(1) == next.first
        && (before.state, before.delivery_count) == (next.state, next.delivery_count)
}

/// Cuts away what a batch covers, and lays it there.
fn cover(laid: &mut BTreeMap<Offset, Batch>, batch: &Batch) {
    let overlapping: Vec<Batch> = laid
        .range(..=batch.last)
        .rev()
        .map(|(_, other)| *other)
        .take_while(|other| other.last >= batch.first)
        .collect();
    for other in overlapping {
        laid.remove(&other.first);
        if other.first < batch.first {
            let last = Offset(batch.first.0 - 1);
            laid.insert(other.first, Batch { last, ..other });
        }
        if other.last > batch.last {
            let first = batch.last.plus(1);
            laid.insert(first, Batch { first, ..other });
        }
    }
    laid.insert(batch.first, *batch);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: i64, last: i64, state: RecordState, delivery_count: i16) -> Batch {
        Batch {
            first: Offset(first),
            last: Offset(last),
            state,
            delivery_count,
        }
    }

    #[test]
    fn later_batches_lie_over_earlier_ones() {
        use RecordState::{Acknowledged, Archived, Available};
        let stored = Stored::new(0, Offset(0)).with(Offset(0), 0, &[batch(0, 99, Available, 1)]);
        let stored = stored.with(
            Offset(0),
            12,
            &[batch(10, 19, Acknowledged, 2), batch(15, 21, Archived, 2)],
        );
        assert_eq!(
            stored.batches,
            [
                batch(0, 9, Available, 1),
                batch(10, 14, Acknowledged, 2),
                batch(15, 21, Archived, 2),
                batch(22, 99, Available, 1),
            ]
        );
        let moved = stored.with(Offset(12), 10, &[batch(22, 99, Archived, 2)]);
        assert_eq!(
            moved.batches,
            [batch(12, 14, Acknowledged, 2), batch(15, 99, Archived, 2)]
        );
        // A start that lies further back, or is not told, changes nothing.
        assert_eq!(moved.with(Offset(-1), 10, &[]).start, Offset(12));
    }

    #[test]
    fn share_partition_is_found_in_its_coordinators_key() {
        let of = SharePartition {
            group: "a:b".into(),
            topic_id: Uuid([7; 16]),
            partition: 3,
        };
        assert_eq!(SharePartition::parse(&of.coordinator_key()), Some(of));
        for bad in [
            "",
            "g",
            "g:x:0",
            ":AAAAAAAAAAAAAAAAAAAAAA:0",
            "g:AAAAAAAAAAAAAAAAAAAAAA:x",
        ] {
            assert_eq!(SharePartition::parse(bad), None, "{bad}");
        }
    }
}
