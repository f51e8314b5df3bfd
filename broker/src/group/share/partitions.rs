//! The partitions of whose delivery to a share group something is stored.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;

use crate::group::Text;
use crate::group::consumer::Partitions;

/// Partitions of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The topic's name.
    pub name: Text,
    /// Which.
    pub partitions: BTreeSet<i32>,
}

/// What is stored of a group's deliveries, as far as the group knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatePartitions {
    /// On the way: it may be there or not.
    pub initializing: BTreeMap<Uuid, Named>,
    /// There.
    pub initialized: BTreeMap<Uuid, Named>,
    /// Going: it may be there still.
    pub deleting: BTreeMap<Uuid, Text>,
}

impl StatePartitions {
    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.initializing.is_empty() && self.initialized.is_empty() && self.deleting.is_empty()
    }

    /// Whether something is stored of the partition.
    #[must_use]
    pub fn is_initialized(&self, topic: Uuid, partition: i32) -> bool {
        let of_topic = self.initialized.get(&topic);
        of_topic.is_some_and(|named| named.partitions.contains(&partition))
    }

    /// Something is stored of these now.
    pub(in crate::group) fn initialize(&mut self, topic: Uuid, name: &Text, partitions: &BTreeSet<i32>) {
        let named = self.initialized.entry(topic).or_default();
        named.name = name.clone();
        named.partitions.extend(partitions);
        self.deleting.remove(&topic);
    }

    /// What is stored of a topic goes.
    pub(in crate::group) fn delete(&mut self, topic: Uuid) {
        self.initializing.remove(&topic);
        if let Some(named) = self.initialized.remove(&topic) {
            self.deleting.insert(topic, named.name);
        }
    }

    /// Nothing is stored of a topic any more.
    pub(in crate::group) fn forget(&mut self, topic: Uuid) {
        self.initializing.remove(&topic);
        self.initialized.remove(&topic);
        self.deleting.remove(&topic);
    }

    /// Those of a topic that may be assigned.
    pub(super) fn assignable(&self, topic: Uuid) -> impl Iterator<Item = i32> {
        let of_topic = self.initialized.get(&topic);
        of_topic
            .into_iter()
            .flat_map(|named| named.partitions.iter().copied())
    }

    /// All of whose delivery something is stored.
    #[must_use]
    pub fn stored(&self) -> Partitions {
        self.initialized
            .iter()
            .flat_map(|(topic, named)| named.partitions.iter().map(|partition| (*topic, *partition)))
            .collect()
    }
}
