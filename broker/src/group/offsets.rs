//! Committed offsets, in two states: as the log says up to what is committed in it, and with what is under way on top.

use std::ops::Bound;

use flotilla_protocol::ProducerId;
use imbl::{OrdMap, OrdSet};

use super::Text;
use super::record::{OffsetCommit, Record};

/// Offsets of many groups at one moment, and those that transactions will commit or not. Cloning is cheap: the clones share
/// what they have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Offsets {
    decided: OrdMap<Place, Decided>,
    /// By producer: what its open transaction commits.
    in_doubt: OrdMap<ProducerId, OrdMap<Place, Decided>>,
    /// The same by place.
    doubted: OrdSet<(Place, ProducerId)>,
    /// Counts what was applied: of two commits for a place, the later one holds, whatever is decided first.
    applied: u64,
}

/// A committed offset.
pub type Committed = std::sync::Arc<OffsetCommit>;

/// A commit, and its turn.
#[derive(Clone, Debug, PartialEq)]
struct Decided {
    value: Committed,
    turn: u64,
}

/// Ordered so that a group's offsets lie together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    group: Text,
    topic: Text,
    partition: i32,
}

fn place_of(record: &Record) -> Option<(Place, Option<&OffsetCommit>)> {
    let Record::OffsetCommit {
        group,
        topic,
        partition,
        value,
    } = record
    else {
        return None;
    };
    let place = Place {
        group: group.clone(),
        topic: topic.clone(),
        partition: *partition,
    };
    Some((place, value.as_ref()))
}

impl Offsets {
    /// Folds a record in; one of another kind changes nothing.
    pub(super) fn apply(&mut self, record: &Record) {
        let Some((place, value)) = place_of(record) else {
            return;
        };
        self.applied += 1;
        match value {
            Some(value) => {
                let value = value.clone().into();
                let turn = self.applied;
                self.decided.insert(place, Decided { value, turn });
            }
            None => {
                self.decided.remove(&place);
            }
        }
    }

    /// Folds a record in that counts only if its transaction is committed (KIP-98).
    pub(super) fn apply_in_doubt(&mut self, producer_id: ProducerId, record: &Record) {
        let Some((place, Some(value))) = place_of(record) else {
            return;
        };
        self.applied += 1;
        self.doubted.insert((place.clone(), producer_id));
        let decided = Decided {
            value: value.clone().into(),
            turn: self.applied,
        };
        let mut of_producer = self.in_doubt.get(&producer_id).cloned().unwrap_or_default();
        of_producer.insert(place, decided);
        self.in_doubt.insert(producer_id, of_producer);
    }

    /// A producer's transaction has ended. Gives the groups that have offsets by it.
    pub(super) fn end_transaction(&mut self, producer_id: ProducerId, committed: bool) -> Vec<Text> {
        let mut groups = Vec::new();
        for (place, decided) in self.in_doubt.remove(&producer_id).unwrap_or_default() {
            self.doubted.remove(&(place.clone(), producer_id));
            if !committed {
                continue;
            }
            if groups.last() != Some(&place.group) {
                groups.push(place.group.clone());
            }
            let is_later = self
                .decided
                .get(&place)
                .is_none_or(|before| before.turn < decided.turn);
            if is_later {
                self.decided.insert(place, decided);
            }
        }
        groups
    }

    /// Whether an open transaction may change the offset.
    pub(super) fn is_in_doubt(&self, group: &Text, topic: &Text, partition: i32) -> bool {
        let place = Place {
            group: group.clone(),
            topic: topic.clone(),
            partition,
        };
        let first = (place.clone(), ProducerId(i64::MIN));
        self.doubted
            .range((Bound::Included(first), Bound::Unbounded))
            .next()
            .is_some_and(|(found, _)| *found == place)
    }

    /// Places of a group that open transactions may change.
    pub(super) fn doubted_of_group(&self, group: &Text) -> impl Iterator<Item = (&Text, i32)> {
        let first = (first_of(group), ProducerId(i64::MIN));
        let group = group.clone();
        self.doubted
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |(place, _)| place.group == group)
            .map(|(place, _)| (&place.topic, place.partition))
    }

    pub(super) fn get(&self, group: &Text, topic: &Text, partition: i32) -> Option<&Committed> {
        let place = Place {
            group: group.clone(),
            topic: topic.clone(),
            partition,
        };
        self.decided.get(&place).map(|decided| &decided.value)
    }

    /// All of one group, by topic and partition.
    pub(super) fn of_group(&self, group: &Text) -> impl Iterator<Item = (&Text, i32, &Committed)> {
        let first = first_of(group);
        let group = group.clone();
        self.decided
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |(place, _)| place.group == group)
            .map(|(place, decided)| (&place.topic, place.partition, &decided.value))
    }

    /// Everything, by group.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Text, &Text, i32, &Committed)> {
        self.decided
            .iter()
            .map(|(place, decided)| (&place.group, &place.topic, place.partition, &decided.value))
    }
}

fn first_of(group: &Text) -> Place {
    Place {
        group: group.clone(),
        topic: "".into(),
        partition: i32::MIN,
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
        assert_eq!(offsets.of_group(&"c".into()).count(), 0);
        let seen: Vec<(&str, i32, i64)> = offsets
            .of_group(&"b".into())
            .map(|(topic, partition, value)| (&**topic, partition, value.offset))
            .collect();
        assert_eq!(seen, [("t", -1, 4), ("t", 0, 3)]);
    }

    fn offset(offsets: &Offsets) -> Option<i64> {
        offsets.get(&"g".into(), &"t".into(), 0).map(|value| value.offset)
    }

    #[test]
    fn offset_of_a_transaction_counts_when_that_is_committed() {
        let mut offsets = Offsets::default();
        let is_in_doubt =
            |offsets: &Offsets, partition| offsets.is_in_doubt(&"g".into(), &"t".into(), partition);
        offsets.apply(&commit("g", "t", 0, 1));
        offsets.apply_in_doubt(ProducerId(7), &commit("g", "t", 0, 2));
        offsets.apply_in_doubt(ProducerId(8), &commit("g", "t", 0, 3));
        assert_eq!(offset(&offsets), Some(1));
        assert!(is_in_doubt(&offsets, 0) && !is_in_doubt(&offsets, 1));
        assert_eq!(offsets.doubted_of_group(&"g".into()).count(), 2);
        let no_groups: [Text; 0] = [];
        assert_eq!(offsets.end_transaction(ProducerId(8), false), no_groups);
        assert_eq!(offset(&offsets), Some(1));
        assert!(is_in_doubt(&offsets, 0));
        assert_eq!(offsets.end_transaction(ProducerId(7), true), ["g".into()]);
        assert_eq!(offset(&offsets), Some(2));
        assert!(!is_in_doubt(&offsets, 0));
        assert_eq!(offsets.end_transaction(ProducerId(7), true), no_groups);
    }

    #[test]
    fn offset_that_was_committed_after_that_of_a_transaction_stays() {
        let mut offsets = Offsets::default();
        offsets.apply_in_doubt(ProducerId(7), &commit("g", "t", 0, 2));
        offsets.apply(&commit("g", "t", 0, 9));
        offsets.end_transaction(ProducerId(7), true);
        assert_eq!(offset(&offsets), Some(9));
    }
}
