//! librdkafka, as an application uses it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::eventually::eventually;

/// What every client here starts from.
pub fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "1000");
    config
}

/// An acknowledged record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub value: String,
}

/// Writes `records` as (key, value) with acks=all and gives back where each was stored.
pub fn produce(bootstrap: &str, topic: &str, records: &[(Option<&str>, String)], codec: &str) -> Vec<Record> {
    let deliveries = Deliveries::default();
    let producer: ThreadedProducer<Deliveries> = config(bootstrap)
        .set("enable.idempotence", "true")
        .set("compression.type", codec)
        .set("linger.ms", "5")
        .create_with_context(deliveries.clone())
        .expect("create a producer");
    for (key, value) in records {
        send(&producer, topic, *key, value);
    }
    producer
        .flush(Duration::from_secs(60))
        .expect("every record is acknowledged");
    std::mem::take(&mut *deliveries.acknowledged.lock().expect("not poisoned"))
}

/// Tries to write for some seconds; gives back what was acknowledged.
pub fn try_produce(bootstrap: &str, topic: &str, records: &[(Option<&str>, String)]) -> Vec<Record> {
    let deliveries = Deliveries::default();
    let producer: ThreadedProducer<Deliveries> = config(bootstrap)
        .set("message.timeout.ms", "4000")
        .set("acks", "all")
        .create_with_context(deliveries.clone())
        .expect("create a producer");
    for (key, value) in records {
        send(&producer, topic, *key, value);
    }
    // Records that are refused count as flushed, too.
    let _ = producer.flush(Duration::from_secs(15));
    std::mem::take(&mut *deliveries.acknowledged.lock().expect("not poisoned"))
}

/// Queues one record, waiting for room in the client's queue.
pub fn send(producer: &ThreadedProducer<Deliveries>, topic: &str, key: Option<&str>, value: &str) {
    let mut record = BaseRecord::<str, str>::to(topic).payload(value);
    if let Some(key) = key {
        record = record.key(key);
    }
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((
                rdkafka::error::KafkaError::MessageProduction(rdkafka::types::RDKafkaErrorCode::QueueFull),
                back,
            )) => {
                record = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => panic!("send to {topic}: {error}"),
        }
    }
}

/// Keeps what became of each record.
#[derive(Clone, Default)]
pub struct Deliveries {
    pub acknowledged: Arc<Mutex<Vec<Record>>>,
    pub failed: Arc<Mutex<Vec<String>>>,
}

impl rdkafka::ClientContext for Deliveries {}

impl rdkafka::producer::ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => self
                .acknowledged
                .lock()
                .expect("not poisoned")
                .push(record_of(message)),
            Err((error, _)) => {
                eprintln!("a record was not acknowledged: {error}");
                self.failed.lock().expect("not poisoned").push(error.to_string());
            }
        }
    }
}

fn record_of(message: &impl Message) -> Record {
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message
            .key()
            .map(|key| String::from_utf8(key.to_vec()).expect("keys are text")),
        value: String::from_utf8(message.payload().unwrap_or_default().to_vec()).expect("values are text"),
    }
}

/// Reads the whole of a topic, partition by partition, up to the end that it has when this begins.
pub fn read_all(client: &ClientConfig, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = client
        .clone()
        .set("group.id", "read-all")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .create()
        .expect("create a consumer");
    let partitions = partitions(&consumer, topic);
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..partitions {
        let (low, high) = eventually(Duration::from_secs(20), "the ends of a partition", || {
            consumer
                .fetch_watermarks(topic, partition, Duration::from_secs(5))
                .map_err(|error| error.to_string())
        });
        assignment
            .add_partition_offset(topic, partition, Offset::Offset(low))
            .expect("a valid offset");
        if high > low {
            ends.insert(partition, high);
        }
    }
    consumer.assign(&assignment).expect("assign");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut records = Vec::new();
    while !ends.is_empty() {
        assert!(
            Instant::now() < deadline,
            "read {} records of {topic}, not up to {ends:?}",
            records.len()
        );
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                if ends
                    .get(&message.partition())
                    .is_some_and(|end| message.offset() + 1 >= *end)
                {
                    ends.remove(&message.partition());
                }
                records.push(record_of(&message));
            }
            Some(Err(error)) => eprintln!("while reading {topic}: {error}"),
            None => {}
        }
    }
    records
}

/// How many partitions a topic has, once its metadata can be had.
pub fn partitions(consumer: &BaseConsumer, topic: &str) -> i32 {
    eventually(
        Duration::from_secs(20),
        &format!("the metadata of {topic}"),
        || {
            let metadata = consumer
                .fetch_metadata(Some(topic), Duration::from_secs(5))
                .map_err(|error| error.to_string())?;
            let found = metadata
                .topics()
                .iter()
                .find(|candidate| candidate.name() == topic);
            match found {
                Some(found) if found.error().is_none() && !found.partitions().is_empty() => {
                    Ok(found.partitions().len() as i32)
                }
                _ => Err("not there yet".to_owned()),
            }
        },
    )
}
