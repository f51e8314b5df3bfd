//! How many partitions the topics of an application have: those that there are, and internal ones that are to be.
//!
//! A repartition topic that says no number gets that of what is written into it: the most that any source of a subtopology has that
//! writes to it. Topics of a copartition group must have as many as each other: repartition topics follow those that there are. A
//! changelog has as many as the most that its subtopology reads.

use std::collections::{BTreeMap, BTreeSet};

use super::topology::{Subtopology, Topology, invalid};
use crate::group::Text;
use crate::group::consumer::{Refused, Seen};

/// Numbers of partitions.
pub(super) struct Counts<'a> {
    seen: &'a Seen,
    decided: BTreeMap<Text, i32>,
}

/// Topics that should have as many partitions as each other, and do not; in words.
#[derive(Debug)]
pub(super) struct Unequal(pub(super) String);

impl<'a> Counts<'a> {
    /// Decides for all internal topics. The sources that are not internal must be there.
    ///
    /// # Errors
    /// A topology whose repartition topics are written to by nobody, or only from each other.
    pub(super) fn decide(topology: &Topology, seen: &'a Seen) -> Result<Result<Self, Unequal>, Refused> {
        let mut counts = Self {
            seen,
            decided: BTreeMap::new(),
        };
        counts.decide_repartition(topology)?;
        if let Err(unequal) = counts.copartition(topology) {
            return Ok(Err(unequal));
        }
        for part in topology.subtopologies.values() {
            let most = part.sources().filter_map(|topic| counts.of(topic)).max();
            for changelog in &part.changelogs {
                counts.decided.insert(changelog.name.clone(), most.unwrap_or(0));
            }
        }
        Ok(Ok(counts))
    }

    /// Of a topic that is there, or of an internal one.
    pub(super) fn of(&self, topic: &str) -> Option<i32> {
        let there = self.seen.topic(topic).map(|(_, partitions)| partitions);
        there.or_else(|| self.decided(topic))
    }

    /// Of an internal topic.
    pub(super) fn decided(&self, topic: &str) -> Option<i32> {
        self.decided.get(topic).copied()
    }

    fn decide_repartition(&mut self, topology: &Topology) -> Result<(), Refused> {
        let parts = || topology.subtopologies.values();
        for topic in parts().flat_map(|part| &part.repartition_sources) {
            if topic.partitions != 0 {
                self.decided.insert(topic.name.clone(), topic.partitions);
            }
        }
        // Each round decides at least one, or none after it will.
        loop {
            let mut open = 0_usize;
            let mut found = BTreeMap::new();
            for part in parts() {
                for sink in &part.repartition_sinks {
                    if self.decided.contains_key(sink) || found.contains_key(sink) {
                        continue;
                    }
                    match self.most_of_sources(part) {
                        Some(partitions) => {
                            found.insert(sink.clone(), partitions);
                        }
                        None => open += 1,
                    }
                }
            }
            let progressed = !found.is_empty();
            self.decided.append(&mut found);
            if open == 0 {
                break;
            }
            if !progressed {
                return Err(invalid(
                    "the number of partitions of some repartition topics cannot be told: they are only written from each other"
                        .to_owned(),
                ));
            }
        }
        let unwritten = parts()
            .flat_map(|part| &part.repartition_sources)
            .find(|topic| !self.decided.contains_key(&topic.name));
        match unwritten {
            None => Ok(()),
            Some(topic) => Err(invalid(format!(
                "repartition topic {} is read, and no subtopology writes to it",
                topic.name
            ))),
        }
    }

    /// The most partitions that any source has of which that is known yet.
    fn most_of_sources(&self, part: &Subtopology) -> Option<i32> {
        let repartition = part
            .repartition_sources
            .iter()
            .filter_map(|topic| self.decided(&topic.name));
        let external = part.source_topics.iter().filter_map(|topic| self.of(topic));
        repartition.chain(external).max()
    }

    fn copartition(&mut self, topology: &Topology) -> Result<(), Unequal> {
        let repartition = topology
            .subtopologies
            .values()
            .flat_map(|part| &part.repartition_sources);
        let fixed: BTreeMap<&Text, bool> = repartition
            .map(|topic| (&topic.name, topic.partitions != 0))
            .collect();
        for part in topology.subtopologies.values() {
            for group in &part.copartition_groups {
                self.equalise(&part.copartitioned(group), &fixed)?;
            }
        }
        Ok(())
    }

    /// Gives the repartition topics of a copartition group one number: that of the topics whose numbers are set. `fixed` says of each
    /// repartition topic whether it says its own.
    fn equalise(&mut self, group: &BTreeSet<&Text>, fixed: &BTreeMap<&Text, bool>) -> Result<(), Unequal> {
        let is_free = |topic: &Text| fixed.get(topic) == Some(&false);
        let count = |topic: &&Text| Some(((*topic).clone(), self.of(topic)?));
        let (free, set): (BTreeMap<Text, i32>, BTreeMap<Text, i32>) = group
            .iter()
            .filter_map(count)
            .partition(|(topic, _)| is_free(topic));
        let partitions = match set.values().next() {
            Some(first) if set.values().all(|partitions| partitions == first) => *first,
            Some(_) => return Err(unequal(&set)),
            None => free.values().copied().max().unwrap_or(0),
        };
        for topic in free.into_keys() {
            self.decided.insert(topic, partitions);
        }
        Ok(())
    }
}

fn unequal(topics: &BTreeMap<Text, i32>) -> Unequal {
    let each: Vec<String> = topics
        .iter()
        .map(|(topic, partitions)| format!("{topic} has {partitions}"))
        .collect();
    Unequal(format!(
        "topics that are read together must have as many partitions as each other: {}",
        each.join(", ")
    ))
}
