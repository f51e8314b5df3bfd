//! Reads topics from one end to the other, and what groups committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::Worker;
use super::librdkafka::{config, id_of};
use crate::history::{Event, Logs, Partition, Stored};
use crate::recorder::Recorder;

/// Reads the whole of a topic called `name`, which the history knows as `topic`, up to the ends that it has when this begins.
pub fn read_all(
    bootstrap: &str,
    name: &str,
    topic: &Arc<str>,
    partitions: i32,
    within: Duration,
) -> anyhow::Result<Logs> {
    let deadline = Instant::now() + within;
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "read-all")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .create()
        .context("cannot create a consumer")?;
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    let mut logs = Logs::new();
    for index in 0..partitions {
        let (low, high) = loop {
            match consumer.fetch_watermarks(name, index, Duration::from_secs(5)) {
                Ok(found) => break found,
                Err(error) => {
                    anyhow::ensure!(Instant::now() < deadline, "the ends of {name}-{index}: {error}")
                }
            }
        };
        anyhow::ensure!(
            low == 0,
            "{name}-{index} begins at offset {low}, and nothing was deleted"
        );
        assignment.add_partition_offset(name, index, Offset::Beginning)?;
        if high > 0 {
            ends.insert(index, high);
        }
        let partition = Partition {
            topic: topic.clone(),
            index,
        };
        logs.insert(partition, Vec::new());
    }
    consumer.assign(&assignment)?;
    let mut last = String::new();
    while !ends.is_empty() {
        anyhow::ensure!(
            Instant::now() < deadline,
            "{name} was not read to its ends within {within:?}: these are missing: {ends:?}; {last}"
        );
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                let index = message.partition();
                if ends.get(&index).is_some_and(|end| message.offset() + 1 >= *end) {
                    ends.remove(&index);
                }
                let partition = Partition {
                    topic: topic.clone(),
                    index,
                };
                logs.entry(partition).or_default().push(Stored {
                    offset: message.offset(),
                    id: id_of(&message),
                });
            }
            Some(Err(error)) => last = error.to_string(),
            None => {}
        }
    }
    Ok(logs)
}

/// Asks all the time what a group has committed.
pub fn watch_commits(
    recorder: &Recorder,
    bootstrap: &str,
    group: &Arc<str>,
    topic: &Arc<str>,
    partitions: i32,
) -> Worker {
    let (recorder, group, topic) = (recorder.clone(), group.clone(), topic.clone());
    let config = config(bootstrap).set("group.id", &*group).clone();
    Worker::start(move |stop| {
        let consumer: BaseConsumer = config.create().expect("a consumer's configuration is right");
        while !stop.is_set() {
            let mut wanted = TopicPartitionList::new();
            for partition in 0..partitions {
                wanted.add_partition(&topic, partition);
            }
            let asked_after = recorder.events();
            if let Ok(found) = consumer.committed_offsets(wanted, Duration::from_secs(10)) {
                for element in found.elements() {
                    let offset = match element.offset() {
                        Offset::Offset(offset) => Some(offset),
                        _ => None,
                    };
                    if element.error().is_ok() {
                        recorder.event(Event::Seen {
                            group: group.clone(),
                            partition: Partition {
                                topic: topic.clone(),
                                index: element.partition(),
                            },
                            asked_after,
                            offset,
                        });
                    }
                }
            }
            stop.sleep(Duration::from_secs(1));
        }
    })
}
