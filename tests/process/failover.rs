//! Brokers die while an idempotent producer with acks=all writes: writes go on within three seconds, and what was
//! acknowledged is read back exactly once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::producer::{Producer, ThreadedProducer};

use crate::fleet::{Fleet, manifests};
use crate::kafka::{self, Acknowledged, Record, read_all};

/// Within this after a kill, writes must go on.
const RESUME_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn writes_go_on_when_the_leader_of_a_partition_is_killed() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 1, 3)]));
    let writer = Writer::start(fleet.bootstrap(), "orders");
    writer.wait_for_more(200, Duration::from_secs(20));
    let killed = fleet.leader("orders", 0);
    fleet.kill_broker(killed);
    writer.assert_resumed(Instant::now());
    check(&fleet, "orders", writer.finish());
}

#[test]
fn writes_go_on_when_the_leader_of_the_quorum_is_killed() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 3, 3)]));
    let writer = Writer::start(fleet.bootstrap(), "orders");
    writer.wait_for_more(200, Duration::from_secs(20));
    let status = fleet.status().expect("the status");
    fleet.kill_broker(
        status["controller"]["brokerId"]
            .as_i64()
            .expect("there is a controller"),
    );
    writer.assert_resumed(Instant::now());
    check(&fleet, "orders", writer.finish());
}

#[test]
fn nothing_acknowledged_is_lost_when_all_brokers_are_killed() {
    let mut fleet = Fleet::start(&manifests(3, &[("orders", 3, 3)]));
    // The three keep their ports, so one client lives through it all.
    let writer = Writer::start(fleet.bootstrap(), "orders");
    writer.wait_for_more(500, Duration::from_secs(20));
    let before = fleet.bootstrap().to_owned();
    fleet.kill();
    fleet.up();
    assert_eq!(fleet.bootstrap(), before, "ports are kept");
    writer.assert_resumed(Instant::now());
    check(&fleet, "orders", writer.finish());
}

/// Every acknowledged record is there once, where it was acknowledged; none is there twice.
fn check(fleet: &Fleet, topic: &str, acknowledged: Vec<Record>) {
    let mut read: BTreeMap<String, Vec<(i32, i64)>> = BTreeMap::new();
    for record in read_all(fleet.bootstrap(), topic) {
        read.entry(record.value)
            .or_default()
            .push((record.partition, record.offset));
    }
    let lost: Vec<&Record> = acknowledged
        .iter()
        .filter(|record| read.get(&record.value) != Some(&vec![(record.partition, record.offset)]))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} not where they were acknowledged: {:?}",
        lost.len(),
        acknowledged.len(),
        &lost[..lost.len().min(5)]
    );
    let doubled: Vec<_> = read.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(
        doubled.is_empty(),
        "{} records are there twice: {:?}",
        doubled.len(),
        &doubled[..doubled.len().min(5)]
    );
}

/// A producer that writes numbers, one after another, until it is told to stop.
struct Writer {
    records: Arc<Mutex<Vec<Record>>>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    fn start(bootstrap: &str, topic: &str) -> Self {
        let records = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let producer: ThreadedProducer<Acknowledged> = kafka::config(bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "1000")
            .create_with_context(Acknowledged {
                records: records.clone(),
            })
            .expect("create a producer");
        let topic = topic.to_owned();
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    kafka::send(&producer, &topic, None, &number.to_string());
                    number += 1;
                    // A steady stream, so that there is something to lose at every moment.
                    std::thread::sleep(Duration::from_micros(500));
                }
                producer
                    .flush(Duration::from_secs(60))
                    .expect("what was sent is acknowledged");
            }
        });
        Self {
            records,
            stop,
            thread,
        }
    }

    fn acknowledged(&self) -> usize {
        self.records.lock().expect("not poisoned").len()
    }

    fn wait_for_more(&self, count: usize, within: Duration) -> Duration {
        let (started, wanted) = (Instant::now(), self.acknowledged() + count);
        while self.acknowledged() < wanted {
            assert!(
                started.elapsed() < within,
                "no {count} more records were acknowledged within {within:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        started.elapsed()
    }

    /// After `killed`, what was in flight then drains first; five hundred more cannot all have been in flight.
    fn assert_resumed(&self, killed: Instant) {
        self.wait_for_more(1_001, Duration::from_secs(20));
        let took = killed.elapsed();
        println!("1,001 more records {took:?} after the kill");
        assert!(
            took < RESUME_WITHIN,
            "writes went on only {took:?} after the kill"
        );
    }

    fn finish(self) -> Vec<Record> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer ends");
        std::mem::take(&mut *self.records.lock().expect("not poisoned"))
    }
}
