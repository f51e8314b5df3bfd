//! Sets of partitions, by the ids of their topics.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;

/// Partitions of several topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions(BTreeMap<Uuid, BTreeSet<i32>>);

impl Partitions {
    /// No topic is there without a partition.
    pub fn insert(&mut self, topic: Uuid, partition: i32) {
        self.0.entry(topic).or_default().insert(partition);
    }

    /// All partitions from the first up to, but without, the last.
    pub(super) fn insert_range(&mut self, topic: Uuid, from: i32, until: i32) {
        if from < until {
            self.0.entry(topic).or_default().extend(from..until);
        }
    }

    pub(super) fn remove(&mut self, topic: Uuid, partition: i32) {
        if let Some(of_topic) = self.0.get_mut(&topic) {
            of_topic.remove(&partition);
            if of_topic.is_empty() {
                self.0.remove(&topic);
            }
        }
    }

    pub(super) fn of_topic(&self, topic: Uuid) -> Option<&BTreeSet<i32>> {
        self.0.get(&topic)
    }

    /// Whether the partition is among them.
    #[must_use]
    pub fn contains(&self, topic: Uuid, partition: i32) -> bool {
        self.0
            .get(&topic)
            .is_some_and(|of_topic| of_topic.contains(&partition))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Each topic's, in order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (Uuid, &BTreeSet<i32>)> {
        self.0.iter().map(|(topic, of_topic)| (*topic, of_topic))
    }

    /// Each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, i32)> {
        self.0
            .iter()
            .flat_map(|(topic, of_topic)| of_topic.iter().map(move |partition| (*topic, *partition)))
    }
}

impl FromIterator<(Uuid, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (Uuid, i32)>>(partitions: I) -> Self {
        let mut all = Self::default();
        for (topic, partition) in partitions {
            all.insert(topic, partition);
        }
        all
    }
}

/// Partitions that a member holds, each with the epoch in which it got it (KIP-1251).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionsByEpoch(BTreeMap<Uuid, BTreeMap<i32, i32>>);

impl PartitionsByEpoch {
    /// No topic is there without a partition.
    pub fn insert(&mut self, topic: Uuid, partition: i32, epoch: i32) {
        self.0.entry(topic).or_default().insert(partition, epoch);
    }

    /// The epoch in which the partition was assigned; none: it is not among them.
    #[must_use]
    pub fn epoch(&self, topic: Uuid, partition: i32) -> Option<i32> {
        self.0.get(&topic)?.get(&partition).copied()
    }

    /// Whether the partition is among them.
    #[must_use]
    pub fn contains(&self, topic: Uuid, partition: i32) -> bool {
        self.epoch(topic, partition).is_some()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each topic's, in order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (Uuid, &BTreeMap<i32, i32>)> {
        self.0.iter().map(|(topic, of_topic)| (*topic, of_topic))
    }

    /// Each, in order, with its epoch.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, i32, i32)> {
        self.0.iter().flat_map(|(topic, of_topic)| {
            of_topic
                .iter()
                .map(move |(partition, epoch)| (*topic, *partition, *epoch))
        })
    }

    /// The same without their epochs.
    #[must_use]
    pub fn partitions(&self) -> Partitions {
        self.iter()
            .map(|(topic, partition, _)| (topic, partition))
            .collect()
    }

    /// Whether all of these are among them.
    pub(super) fn contains_all(&self, partitions: &Partitions) -> bool {
        partitions
            .iter()
            .all(|(topic, partition)| self.contains(topic, partition))
    }

    /// Whether any of these is among them.
    pub(super) fn contains_any(&self, partitions: &Partitions) -> bool {
        partitions
            .iter()
            .any(|(topic, partition)| self.contains(topic, partition))
    }

    /// Those for which it holds, and the others.
    pub(super) fn split(&self, holds: impl Fn(Uuid, i32) -> bool) -> (Self, Self) {
        let (mut kept, mut others) = (Self::default(), Self::default());
        for (topic, partition, epoch) in self.iter() {
            let side = if holds(topic, partition) {
                &mut kept
            } else {
                &mut others
            };
            side.insert(topic, partition, epoch);
        }
        (kept, others)
    }
}

impl FromIterator<(Uuid, i32, i32)> for PartitionsByEpoch {
    fn from_iter<I: IntoIterator<Item = (Uuid, i32, i32)>>(partitions: I) -> Self {
        let mut all = Self::default();
        for (topic, partition, epoch) in partitions {
            all.insert(topic, partition, epoch);
        }
        all
    }
}
