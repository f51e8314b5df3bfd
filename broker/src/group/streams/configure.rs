//! A topology held against the topics that there are: what is missing, what does not fit, how many tasks there are.

use std::collections::{BTreeMap, BTreeSet};

use super::notice::{Notice, Status};
use super::partitions::Counts;
use super::topology::{InternalTopic, Subtopology, Topology};
use crate::group::Text;
use crate::group::consumer::{Refused, Seen};

/// A topic that is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creatable {
    /// Its name.
    pub name: Text,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas; -1: as many as the fleet gives by default.
    pub replication_factor: i16,
    /// Settings of its own.
    pub configs: Vec<(Text, Text)>,
}

/// What a subtopology comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// How many tasks there are: one for each partition that is read.
    pub(super) tasks: i32,
    /// Whether it has state, which standbys can keep.
    pub(super) is_stateful: bool,
}

/// A topology held against the topics that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Configured {
    /// Each subtopology; none where a problem stands in the way of knowing.
    pub(super) shapes: BTreeMap<Text, Shape>,
    /// How many partitions each internal topic has, or is to have.
    pub(super) internal: BTreeMap<Text, i32>,
    /// Internal topics that are not there.
    pub(super) missing: Vec<Creatable>,
    /// Why tasks cannot be assigned.
    pub(super) problem: Option<Notice>,
}

impl Configured {
    /// Whether tasks can be assigned.
    pub(super) fn is_ready(&self) -> bool {
        self.problem.is_none()
    }

    fn stopped_by(status: Status, detail: String) -> Self {
        Self {
            problem: Some(Notice { status, detail }),
            ..Self::default()
        }
    }
}

/// Holds a topology against the topics that there are.
///
/// # Errors
/// A topology that no topics could make work.
pub(super) fn configure(topology: &Topology, seen: &Seen) -> Result<Configured, Refused> {
    let missing = missing_sources(topology, seen);
    if !missing.is_empty() {
        let detail = format!("source topics are missing: {}", summary(&missing));
        return Ok(Configured::stopped_by(Status::MissingSourceTopics, detail));
    }
    let counts = match Counts::decide(topology, seen)? {
        Ok(counts) => counts,
        Err(unequal) => {
            return Ok(Configured::stopped_by(
                Status::IncorrectlyPartitionedTopics,
                unequal.0,
            ));
        }
    };
    let mut configured = Configured::default();
    for (id, part) in &topology.subtopologies {
        let shape = Shape {
            tasks: part
                .sources()
                .filter_map(|topic| counts.of(topic))
                .max()
                .unwrap_or(0),
            is_stateful: !part.changelogs.is_empty(),
        };
        configured.shapes.insert(id.clone(), shape);
        if let Some(problem) = internal_topics(part, &counts, seen, &mut configured) {
            return Ok(Configured {
                problem: Some(problem),
                ..Configured::default()
            });
        }
    }
    if !configured.missing.is_empty() {
        let names: BTreeSet<&Text> = configured.missing.iter().map(|topic| &topic.name).collect();
        configured.problem = Some(Notice {
            status: Status::MissingInternalTopics,
            detail: format!("internal topics are missing: {}", summary(&names)),
        });
    }
    Ok(configured)
}

fn missing_sources<'a>(topology: &'a Topology, seen: &Seen) -> BTreeSet<&'a Text> {
    let sources = topology
        .subtopologies
        .values()
        .flat_map(|part| &part.source_topics);
    sources.filter(|topic| seen.topic(topic).is_none()).collect()
}

/// Notes the internal topics of a subtopology, and which of them are not there.
fn internal_topics(
    part: &Subtopology,
    counts: &Counts<'_>,
    seen: &Seen,
    configured: &mut Configured,
) -> Option<Notice> {
    for topic in part.internal_topics() {
        let wanted = match topic.partitions {
            0 => counts.decided(&topic.name).unwrap_or(0),
            partitions => partitions,
        };
        configured.internal.insert(topic.name.clone(), wanted);
        match seen.topic(&topic.name) {
            Some((_, there)) if there != wanted => {
                return Some(Notice {
                    status: Status::IncorrectlyPartitionedTopics,
                    detail: format!(
                        "internal topic {} has {there} partitions, and must have {wanted}: delete it, or reset the application",
                        topic.name
                    ),
                });
            }
            Some(_) => {}
            None if configured
                .missing
                .iter()
                .any(|missing| missing.name == topic.name) => {}
            None => configured.missing.push(creatable(topic, wanted)),
        }
    }
    None
}

fn creatable(topic: &InternalTopic, partitions: i32) -> Creatable {
    Creatable {
        name: topic.name.clone(),
        partitions,
        replication_factor: match topic.replication_factor {
            0 => -1,
            factor => factor,
        },
        configs: topic.configs.clone(),
    }
}

/// So many names are told, and of the others how many they are.
const NAMES_TOLD: usize = 3;

fn summary(names: &BTreeSet<&Text>) -> String {
    let told: Vec<&str> = names.iter().take(NAMES_TOLD).map(|name| &***name).collect();
    let told = told.join(", ");
    match names.len().saturating_sub(NAMES_TOLD) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}
