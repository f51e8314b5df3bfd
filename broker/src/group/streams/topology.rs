//! The topology of an application, as its members tell it.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::consumer::Refused;
use crate::group::{Error, Text};

/// A topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Which one of the application's; Kafka 4.3 has one for the life of a group.
    pub epoch: i32,
    /// Its parts, by their ids: each is processed for itself.
    pub subtopologies: BTreeMap<Text, Subtopology>,
}

/// A part of a topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subtopology {
    /// Names of topics that it reads.
    pub source_topics: Vec<Text>,
    /// Regular expressions of topics that it reads. Kafka 4.3 takes none.
    pub source_topic_regex: Vec<Text>,
    /// Topics that its state is written to.
    pub changelogs: Vec<InternalTopic>,
    /// Names of repartition topics that it writes to.
    pub repartition_sinks: Vec<Text>,
    /// Repartition topics that it reads.
    pub repartition_sources: Vec<InternalTopic>,
    /// Topics that must have as many partitions as each other.
    pub copartition_groups: Vec<CopartitionGroup>,
}

/// A topic that belongs to the application, and that the coordinator has created for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InternalTopic {
    /// Its name.
    pub name: Text,
    /// How many partitions it is to have; 0: as many as what it is made of. Always 0 for changelogs.
    pub partitions: i32,
    /// How many replicas; 0: as many as the fleet gives by default.
    pub replication_factor: i16,
    /// Settings of its own.
    pub configs: Vec<(Text, Text)>,
}

/// Topics that must have as many partitions as each other: places in the subtopology's lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopartitionGroup {
    /// Of the source topics.
    pub source_topics: Vec<i16>,
    /// Of the regular expressions.
    pub source_topic_regex: Vec<i16>,
    /// Of the repartition topics that are read.
    pub repartition_sources: Vec<i16>,
}

impl Subtopology {
    /// Names of all topics that it reads.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Text> {
        let repartition = self.repartition_sources.iter().map(|topic| &topic.name);
        self.source_topics.iter().chain(repartition)
    }

    /// Names of the topics of a copartition group. What is named by a place that is not there is left out: [`Topology::check`] lets
    /// none of those in.
    pub(super) fn copartitioned<'a>(&'a self, group: &CopartitionGroup) -> BTreeSet<&'a Text> {
        let place = |index: &i16| usize::try_from(*index).ok();
        let sources = group
            .source_topics
            .iter()
            .filter_map(move |index| self.source_topics.get(place(index)?));
        let repartition = group
            .repartition_sources
            .iter()
            .filter_map(move |index| Some(&self.repartition_sources.get(place(index)?)?.name));
        sources.chain(repartition).collect()
    }

    /// The topics that the coordinator has created for it.
    pub(super) fn internal_topics(&self) -> impl Iterator<Item = &InternalTopic> {
        self.repartition_sources.iter().chain(&self.changelogs)
    }
}

impl Topology {
    /// Names of all topics without which it does not work.
    pub(in crate::group) fn required_topics(&self) -> BTreeSet<&Text> {
        let parts = self.subtopologies.values();
        parts
            .flat_map(|part| {
                part.sources()
                    .chain(part.changelogs.iter().map(|topic| &topic.name))
            })
            .collect()
    }

    /// Names of all topics that it speaks of, those that it only writes to included.
    pub fn topics(&self) -> BTreeSet<&Text> {
        let sinks = self
            .subtopologies
            .values()
            .flat_map(|part| &part.repartition_sinks);
        self.required_topics().into_iter().chain(sinks).collect()
    }

    /// The subtopology that reads a topic.
    pub(in crate::group) fn reader(&self, topic: &str) -> Option<&Text> {
        let reads = |part: &Subtopology| part.sources().any(|source| **source == *topic);
        self.subtopologies
            .iter()
            .find(|(_, part)| reads(part))
            .map(|(id, _)| id)
    }

    /// Whether a topic is read.
    pub(in crate::group) fn is_read(&self, topic: &str) -> bool {
        self.reader(topic).is_some()
    }

    /// Checks what can be checked without knowing which topics there are.
    pub(super) fn check(&self) -> Result<(), Refused> {
        if self.epoch < 0 {
            return Err(invalid(format!(
                "the topology's epoch is {}: it must not be negative",
                self.epoch
            )));
        }
        for (id, part) in &self.subtopologies {
            part.check(id)?;
        }
        Ok(())
    }
}

impl Subtopology {
    fn check(&self, id: &Text) -> Result<(), Refused> {
        if self.sources().next().is_none() {
            return Err(invalid(format!("subtopology {id} reads no topic")));
        }
        if let Some(topic) = self.changelogs.iter().find(|topic| topic.partitions != 0) {
            return Err(invalid(format!(
                "changelog {} of subtopology {id} says that it has {} partitions: changelogs have as many as what is read, and must \
                 say 0",
                topic.name, topic.partitions
            )));
        }
        if let Some(topic) = self.repartition_sources.iter().find(|topic| topic.partitions < 0) {
            return Err(invalid(format!(
                "repartition topic {} of subtopology {id} says that it has {} partitions",
                topic.name, topic.partitions
            )));
        }
        for group in &self.copartition_groups {
            let is_there = |index: &i16, length| usize::try_from(*index).is_ok_and(|index| index < length);
            let all_there = |indexes: &[i16], length| indexes.iter().all(|index| is_there(index, length));
            if !all_there(&group.source_topics, self.source_topics.len())
                || !all_there(&group.source_topic_regex, self.source_topic_regex.len())
                || !all_there(&group.repartition_sources, self.repartition_sources.len())
            {
                return Err(invalid(format!(
                    "a copartition group of subtopology {id} names a topic by a place at which there is none"
                )));
            }
        }
        Ok(())
    }
}

pub(super) fn invalid(message: String) -> Refused {
    Refused::because(Error::InvalidTopology, message)
}
