mod assignor;
mod configure;
mod reconcile;
mod record;

use super::topology::{CopartitionGroup, InternalTopic, Subtopology, Topology};
use crate::group::Text;
use crate::group::assigned::Tasks;

fn text(text: &str) -> Text {
    text.into()
}

fn tasks(all: &[(&str, i32)]) -> Tasks {
    all.iter()
        .map(|(subtopology, partition)| (text(subtopology), *partition))
        .collect()
}

fn internal(name: &str, partitions: i32) -> InternalTopic {
    InternalTopic {
        name: text(name),
        partitions,
        replication_factor: 0,
        configs: vec![(text("cleanup.policy"), text("compact"))],
    }
}

/// A subtopology that reads these topics.
fn reading(topics: &[&str]) -> Subtopology {
    Subtopology {
        source_topics: topics.iter().map(|topic| text(topic)).collect(),
        ..Subtopology::default()
    }
}

fn topology(parts: Vec<(&str, Subtopology)>) -> Topology {
    Topology {
        epoch: 0,
        subtopologies: parts.into_iter().map(|(id, part)| (text(id), part)).collect(),
    }
}

fn copartitioned(sources: &[i16], repartition: &[i16]) -> CopartitionGroup {
    CopartitionGroup {
        source_topics: sources.to_vec(),
        source_topic_regex: Vec::new(),
        repartition_sources: repartition.to_vec(),
    }
}
