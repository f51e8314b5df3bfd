//! Committed offsets, in two states: as the log says up to what is committed in it, and with what is under way on top.

use std::ops::Bound;

use imbl::OrdMap;

use super::Text;
use super::record::{OffsetCommit, Record};

/// Offsets of many groups at one moment. Cloning is cheap: the clones share what they have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Offsets(OrdMap<Place, Committed>);

/// A committed offset.
pub type Committed = std::sync::Arc<OffsetCommit>;

/// Ordered so that a group's offsets lie together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    group: Text,
    topic: Text,
    partition: i32,
}

impl Offsets {
    /// Folds a record in; one of another kind changes nothing.
    pub(super) fn apply(&mut self, record: &Record) {
        let Record::OffsetCommit {
            group,
            topic,
            partition,
            value,
        } = record
        else {
            return;
        };
        let place = Place {
            group: group.clone(),
            topic: topic.clone(),
            partition: *partition,
        };
        match value {
            Some(value) => {
                self.0.insert(place, value.clone().into());
            }
            None => {
                self.0.remove(&place);
            }
        }
    }

    pub(super) fn get(&self, group: &Text, topic: &Text, partition: i32) -> Option<&Committed> {
        self.0.get(&Place {
            group: group.clone(),
            topic: topic.clone(),
            partition,
        })
    }

    /// All of one group, by topic and partition.
    pub(super) fn of_group(&self, group: &Text) -> impl Iterator<Item = (&Text, i32, &Committed)> {
        let first = Place {
            group: group.clone(),
            topic: "".into(),
            partition: i32::MIN,
        };
        let group = group.clone();
        self.0
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |(place, _)| place.group == group)
            .map(|(place, value)| (&place.topic, place.partition, value))
    }

    /// Everything, by group.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Text, &Text, i32, &Committed)> {
        self.0
            .iter()
            .map(|(place, value)| (&place.group, &place.topic, place.partition, value))
    }
}

/// A tombstone for an offset.
pub(super) fn tombstone(group: &Text, topic: &Text, partition: i32) -> Record {
    Record::OffsetCommit {
        group: group.clone(),
        topic: topic.clone(),
        partition,
        value: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flotilla_protocol::Uuid;

    fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> Record {
        Record::OffsetCommit {
            group: group.into(),
            topic: topic.into(),
            partition,
            value: Some(OffsetCommit {
                offset,
                leader_epoch: -1,
                metadata: "".into(),
                commit_timestamp_ms: 0,
                expire_timestamp_ms: None,
                topic_id: Uuid::ZERO,
            }),
        }
    }

    #[test]
    fn a_group_sees_its_own_offsets_only() {
        let mut offsets = Offsets::default();
        for record in [
            commit("a", "t", 0, 1),
            commit("b", "s", 1, 2),
            commit("b", "t", 0, 3),
            commit("b", "t", -1, 4),
            commit("ba", "t", 0, 5),
        ] {
            offsets.apply(&record);
        }
        offsets.apply(&tombstone(&"b".into(), &"s".into(), 1));
        let seen: Vec<(&str, i32, i64)> = offsets
            .of_group(&"b".into())
            .map(|(topic, partition, value)| (&**topic, partition, value.offset))
            .collect();
        assert_eq!(seen, [("t", -1, 4), ("t", 0, 3)]);
        assert_eq!(offsets.of_group(&"c".into()).count(), 0);
    }
}
