//! A compacted topic of ten million updates, compacted while brokers are killed: `just test-compaction`. What it measured is
//! written to the file that `FLOTILLA_REPORT` names.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../process/eventually.rs"]
mod eventually;
#[allow(dead_code)]
#[path = "../process/fleet.rs"]
mod fleet;
#[path = "../process/on_disk.rs"]
mod on_disk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use eventually::eventually;
use fleet::{Fleet, manifests, topic};
use on_disk::{is_compacting, replicas, size_bytes, table};

const KEYS: u64 = 100_000;
const PARTITIONS: i32 = 3;
const BROKERS: i64 = 3;
/// Prime to the number of keys, so that neighbours in time are none by key.
const STRIDE: u64 = 7_919;

fn updates() -> u64 {
    let set = std::env::var("FLOTILLA_COMPACTION_UPDATES").ok();
    set.map_or(10_000_000, |set| set.parse().expect("a number of updates"))
}

fn key(n: u64) -> String {
    format!("key-{:06}", n * STRIDE % KEYS)
}

fn value(n: u64) -> String {
    format!("update {n:010} of a value that is as long as a small record may be ")
}

/// Counts what became of records.
#[derive(Clone, Default)]
struct Counted {
    acknowledged: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl rdkafka::ClientContext for Counted {}

impl ProducerContext for Counted {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() {
            &self.acknowledged
        } else {
            &self.failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000");
    config
}

struct Written {
    counted: Counted,
    producer: ThreadedProducer<Counted>,
}

impl Written {
    fn new(bootstrap: &str) -> Self {
        let counted = Counted::default();
        let producer = client(bootstrap)
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "20")
            .set("message.timeout.ms", "300000")
            .set("queue.buffering.max.messages", "200000")
            .create_with_context(counted.clone())
            .expect("create a producer");
        Self { counted, producer }
    }

    fn update(&self, range: std::ops::Range<u64>) {
        for n in range {
            let (key, value) = (key(n), value(n));
            let mut record = BaseRecord::<str, str>::to("table").key(&key).payload(&value);
            while let Err((error, back)) = self.producer.send(record) {
                assert_eq!(
                    error.rdkafka_error_code(),
                    Some(RDKafkaErrorCode::QueueFull),
                    "{error}"
                );
                record = back;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Kills a broker while it writes a compacted segment. Gives which.
fn kill_a_compacting_broker(fleet: &Fleet, first: i64) -> i64 {
    let broker = eventually(
        Duration::from_secs(300),
        "a broker to write a compacted segment",
        || {
            let mut brokers = (0..BROKERS).map(|n| (first + n) % BROKERS);
            brokers
                .find(|broker| is_compacting(&fleet.data(), "table", *broker))
                .ok_or_else(|| "none does".to_owned())
        },
    );
    fleet.kill_broker(broker);
    broker
}

/// The value that each key has in the end.
fn expected(updates: u64) -> BTreeMap<String, String> {
    (updates.saturating_sub(KEYS)..updates)
        .map(|n| (key(n), value(n)))
        .collect()
}

/// All that a client reads: value by key, and how many records there are.
fn read(bootstrap: &str) -> (BTreeMap<String, String>, usize) {
    let consumer: BaseConsumer = client(bootstrap)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .expect("create a consumer");
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let (_, high) = consumer
            .fetch_watermarks("table", partition, Duration::from_secs(60))
            .expect("the ends of a partition");
        assignment
            .add_partition_offset("table", partition, Offset::Offset(0))
            .expect("a valid offset");
        ends.insert(partition, high);
    }
    consumer.assign(&assignment).expect("assign");
    let deadline = Instant::now() + Duration::from_secs(300);
    let (mut values, mut records) = (BTreeMap::new(), 0);
    while !ends.is_empty() {
        assert!(Instant::now() < deadline, "{records} records, not up to {ends:?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.expect("it is there")).into_owned();
        values.insert(text(message.key()), text(message.payload()));
        records += 1;
        if ends
            .get(&message.partition())
            .is_some_and(|end| message.offset() + 1 >= *end)
        {
            ends.remove(&message.partition());
        }
    }
    (values, records)
}

#[test]
fn ten_million_updates_come_to_the_last_value_of_each_key_through_three_kills() {
    let updates = updates();
    let mut files = manifests(BROKERS as u32, &[]);
    let cluster = files.get_mut("cluster.yaml").expect("the cluster's manifest");
    cluster.push_str("    log.cleaner.backoff.ms: 200\n    log.cleaner.io.max.bytes.per.second: 60000000\n");
    let settings = "cleanup.policy: compact, segment.bytes: 16777216, min.cleanable.dirty.ratio: 0.2, max.compaction.lag.ms: 5000";
    let manifest = topic("table", PARTITIONS as u32, BROKERS as u32, settings);
    files.insert("topic-table.yaml".to_owned(), manifest);
    let fleet = Fleet::start(&files);
    let began = Instant::now();
    let mut report = vec![format!(
        "- {updates} updates of {KEYS} keys, {PARTITIONS} partitions on {BROKERS} brokers each, lz4"
    )];

    let written = Written::new(fleet.bootstrap());
    let mut from = 0;
    for (kill, share) in [(0, 4), (1, 7), (2, 10)] {
        let upto = updates * share / 10;
        written.update(from..upto);
        from = upto;
        let killed = kill_a_compacting_broker(&fleet, kill);
        report.push(format!(
            "- `kill -9` {} of broker {killed} while it compacted, after {upto} updates ({:.0} s)",
            kill + 1,
            began.elapsed().as_secs_f64()
        ));
        println!("{}", report[report.len() - 1]);
        // It is to come back before the next one goes: acks=all wants two of three.
        fleet.wait_for_status(Duration::from_secs(120), "all replicas in sync", |status| {
            (0..i64::from(PARTITIONS)).all(|partition| {
                fleet::partition_of(status, "table", partition)
                    .is_some_and(|found| found["isr"].as_array().map(Vec::len) == Some(BROKERS as usize))
            })
        });
    }
    written
        .producer
        .flush(Duration::from_secs(300))
        .expect("every update is acknowledged");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(
        (
            count(&written.counted.acknowledged),
            count(&written.counted.failed)
        ),
        (updates, 0)
    );
    report.push(format!(
        "- all acknowledged after {:.0} s",
        began.elapsed().as_secs_f64()
    ));

    let expected = expected(updates);
    let mut sizes = Vec::new();
    eventually(
        Duration::from_secs(900),
        "every replica to hold the last values alone",
        || {
            let replicas = replicas(&fleet.data(), "table");
            if replicas.len() != (PARTITIONS as i64 * BROKERS) as usize {
                return Err(format!("{replicas:?}"));
            }
            // Looking into logs that are still large would take the time that compacting them needs.
            let size = |(_, dir): (&(i64, i32), &std::path::PathBuf)| size_bytes(dir);
            let largest = replicas.iter().map(size).max().unwrap_or(0);
            if largest > 100 * KEYS {
                std::thread::sleep(Duration::from_millis(500));
                return Err(format!("a replica has {largest} bytes"));
            }
            sizes.clear();
            for broker in 0..BROKERS {
                let (mut of_broker, mut records) = (BTreeMap::new(), 0);
                for ((_, _), dir) in replicas.iter().filter(|((id, _), _)| *id == broker) {
                    sizes.push(size_bytes(dir));
                    for (key, found) in table(dir)? {
                        records += found.len();
                        of_broker.insert(key, found[found.len() - 1].1.clone());
                    }
                }
                if records as u64 != KEYS || of_broker != expected {
                    return Err(format!(
                        "broker {broker} has {records} records of {} keys",
                        of_broker.len()
                    ));
                }
            }
            Ok(())
        },
    );
    report.push(format!(
        "- every replica held the last value of each key and no other after {:.0} s, in {} to {} bytes",
        began.elapsed().as_secs_f64(),
        sizes.iter().min().unwrap_or(&0),
        sizes.iter().max().unwrap_or(&0)
    ));
    let (values, records) = read(fleet.bootstrap());
    assert_eq!(records as u64, KEYS);
    assert!(values == expected, "a client reads other values");
    report.push(format!(
        "- a client read {records} records, the last value of each key"
    ));
    println!("{}", report.join("\n"));
    if let Ok(path) = std::env::var("FLOTILLA_REPORT") {
        std::fs::write(path, report.join("\n") + "\n").expect("write the report");
    }
}
