//! Sets of partitions, by what they belong to: those of topics, by the topics' ids, and the tasks of streams groups, by their
//! subtopologies.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;

use super::Text;

/// Partitions of several topics.
pub type Partitions = Sets<Uuid>;
/// Tasks of several subtopologies: of each, one for each partition that it reads.
pub type Tasks = Sets<Text>;
/// Partitions that a member holds, each with the epoch in which it got it (KIP-1251).
pub type PartitionsByEpoch = SetsByEpoch<Uuid>;
/// Tasks that a member holds, each with the epoch in which it got it (KIP-1251).
pub type TasksByEpoch = SetsByEpoch<Text>;

/// Partitions by what they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sets<K>(BTreeMap<K, BTreeSet<i32>>);

impl<K> Default for Sets<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Sets<K> {
    /// No topic is there without a partition.
    pub fn insert(&mut self, topic: K, partition: i32) {
        self.0.entry(topic).or_default().insert(partition);
    }

    /// All partitions from the first up to, but without, the last.
    pub(in crate::group) fn insert_range(&mut self, topic: K, from: i32, until: i32) {
        if from < until {
            self.0.entry(topic).or_default().extend(from..until);
        }
    }

    pub(in crate::group) fn remove(&mut self, topic: impl Borrow<K>, partition: i32) {
        let topic: &K = topic.borrow();
        if let Some(of_topic) = self.0.get_mut(topic) {
            of_topic.remove(&partition);
            if of_topic.is_empty() {
                self.0.remove(topic);
            }
        }
    }

    pub(in crate::group) fn of_topic(&self, topic: impl Borrow<K>) -> Option<&BTreeSet<i32>> {
        let topic: &K = topic.borrow();
        self.0.get(topic)
    }

    /// Whether the partition is among them.
    #[must_use]
    pub fn contains(&self, topic: impl Borrow<K>, partition: i32) -> bool {
        self.of_topic(topic)
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
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (K, &BTreeSet<i32>)> {
        self.0.iter().map(|(topic, of_topic)| (topic.clone(), of_topic))
    }

    /// Each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (K, i32)> {
        self.0
            .iter()
            .flat_map(|(topic, of_topic)| of_topic.iter().map(move |partition| (topic.clone(), *partition)))
    }
}

impl<K: Ord + Clone> FromIterator<(K, i32)> for Sets<K> {
    fn from_iter<I: IntoIterator<Item = (K, i32)>>(partitions: I) -> Self {
        let mut all = Self::default();
        for (topic, partition) in partitions {
            all.insert(topic, partition);
        }
        all
    }
}

/// The same, each with the epoch in which a member got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetsByEpoch<K>(BTreeMap<K, BTreeMap<i32, i32>>);

impl<K> Default for SetsByEpoch<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> SetsByEpoch<K> {
    /// No topic is there without a partition.
    pub fn insert(&mut self, topic: K, partition: i32, epoch: i32) {
        self.0.entry(topic).or_default().insert(partition, epoch);
    }

    /// The epoch in which the partition was assigned; none: it is not among them.
    #[must_use]
    pub fn epoch(&self, topic: impl Borrow<K>, partition: i32) -> Option<i32> {
        let topic: &K = topic.borrow();
        self.0.get(topic)?.get(&partition).copied()
    }

    /// Whether the partition is among them.
    #[must_use]
    pub fn contains(&self, topic: impl Borrow<K>, partition: i32) -> bool {
        self.epoch(topic, partition).is_some()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each topic's, in order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (K, &BTreeMap<i32, i32>)> {
        self.0.iter().map(|(topic, of_topic)| (topic.clone(), of_topic))
    }

    /// Each, in order, with its epoch.
    pub fn iter(&self) -> impl Iterator<Item = (K, i32, i32)> {
        self.0.iter().flat_map(|(topic, of_topic)| {
            of_topic
                .iter()
                .map(move |(partition, epoch)| (topic.clone(), *partition, *epoch))
        })
    }

    /// The same without their epochs.
    #[must_use]
    pub fn partitions(&self) -> Sets<K> {
        self.iter()
            .map(|(topic, partition, _)| (topic, partition))
            .collect()
    }

    /// Whether all of these are among them.
    pub(in crate::group) fn contains_all(&self, partitions: &Sets<K>) -> bool {
        partitions
            .iter()
            .all(|(topic, partition)| self.contains(&topic, partition))
    }

    /// Whether any of these is among them.
    pub(in crate::group) fn contains_any(&self, partitions: &Sets<K>) -> bool {
        partitions
            .iter()
            .any(|(topic, partition)| self.contains(&topic, partition))
    }

    /// Those for which it holds, and the others.
    pub(in crate::group) fn split(&self, holds: impl Fn(&K, i32) -> bool) -> (Self, Self) {
        let (mut kept, mut others) = (Self::default(), Self::default());
        for (topic, partition, epoch) in self.iter() {
            let side = if holds(&topic, partition) {
                &mut kept
            } else {
                &mut others
            };
            side.insert(topic, partition, epoch);
        }
        (kept, others)
    }
}

impl<K: Ord + Clone> FromIterator<(K, i32, i32)> for SetsByEpoch<K> {
    fn from_iter<I: IntoIterator<Item = (K, i32, i32)>>(partitions: I) -> Self {
        let mut all = Self::default();
        for (topic, partition, epoch) in partitions {
            all.insert(topic, partition, epoch);
        }
        all
    }
}
