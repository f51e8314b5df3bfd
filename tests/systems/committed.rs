//! What was committed to a topic, as a reader of committed records sees it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka;

const LOOK: Duration = Duration::from_millis(200);
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A record, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub value: String,
}

/// Reads a topic from its beginning on, and goes on reading.
pub struct Reader {
    bootstrap: String,
    topic: String,
    consumer: BaseConsumer,
    partitions: BTreeSet<i32>,
    /// All that was read by now; the records of a partition are in its order.
    pub records: Vec<Record>,
}

impl Reader {
    pub fn of(bootstrap: &str, topic: &str) -> Self {
        let consumer: BaseConsumer = kafka::config(bootstrap)
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .create()
            .expect("create a consumer");
        let partitions: BTreeSet<i32> = (0..kafka::partitions(&consumer, topic)).collect();
        let mut assignment = TopicPartitionList::new();
        for partition in &partitions {
            assignment
                .add_partition_offset(topic, *partition, Offset::Beginning)
                .expect("a valid offset");
        }
        consumer.assign(&assignment).expect("assign");
        Self {
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            consumer,
            partitions,
            records: Vec::new(),
        }
    }

    /// All that is there now.
    pub fn all(bootstrap: &str, topic: &str) -> Vec<Record> {
        let mut reader = Self::of(bootstrap, topic);
        let mut left = reader.partitions.clone();
        let deadline = Instant::now() + ENDS_WITHIN;
        while !left.is_empty() {
            assert!(
                Instant::now() < deadline,
                "{topic}: no end was reached of partitions {left:?}"
            );
            if let Some(ended) = reader.poll() {
                left.remove(&ended);
            }
        }
        reader.records
    }

    /// Reads on until so many more were committed than there are now, read or not.
    pub fn wait_for_more(&mut self, count: usize, within: Duration) {
        let now = Self::all(&self.bootstrap, &self.topic).len();
        self.wait_for(now + count, within);
    }

    /// Reads on until there are so many.
    pub fn wait_for(&mut self, count: usize, within: Duration) {
        let deadline = Instant::now() + within;
        while self.records.len() < count {
            assert!(
                Instant::now() < deadline,
                "{}: {} records, not {count}, after {within:?}",
                self.topic,
                self.records.len()
            );
            self.poll();
        }
    }

    /// Takes a record, or tells the partition whose end was reached.
    fn poll(&mut self) -> Option<i32> {
        match self.consumer.poll(LOOK) {
            Some(Ok(message)) => self.records.push(record(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => return Some(partition),
            // The client finds its brokers again by itself.
            Some(Err(error)) => eprintln!("while reading {}: {error}", self.topic),
            None => {}
        }
        None
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let text = |bytes: Option<&[u8]>| {
        String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("keys and values are text")
    };
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: text(message.key()),
        value: text(message.payload()),
    }
}
