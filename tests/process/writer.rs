//! A producer that writes all the time, while things happen to the brokers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{Producer, ThreadedProducer};

use crate::kafka::{self, Deliveries, Record, read_all};

/// Every acknowledged record is there once, where it was acknowledged; none is there twice.
pub fn check(client: &ClientConfig, topic: &str, acknowledged: &[Record]) {
    let mut read: BTreeMap<String, Vec<(i32, i64)>> = BTreeMap::new();
    for record in read_all(client, topic) {
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

/// An idempotent producer with acks=all that writes numbers, one after another, until it is told to stop.
pub struct Writer {
    deliveries: Deliveries,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub fn start(client: &ClientConfig, topic: &str) -> Self {
        Self::start_with(client, topic, &[])
    }

    /// The same with further settings of librdkafka.
    pub fn start_with(client: &ClientConfig, topic: &str, settings: &[(&str, &str)]) -> Self {
        let deliveries = Deliveries::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut config = client.clone();
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "1000");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let producer: ThreadedProducer<Deliveries> = config
            .create_with_context(deliveries.clone())
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
            deliveries,
            stop,
            thread: Some(thread),
        }
    }

    /// How many records were acknowledged by now.
    pub fn acknowledged(&self) -> usize {
        self.deliveries.acknowledged.lock().expect("not poisoned").len()
    }

    /// What was not acknowledged, and why.
    pub fn failures(&self) -> Vec<String> {
        self.deliveries.failed.lock().expect("not poisoned").clone()
    }

    /// Waits until so many more are acknowledged, and says how long that took.
    pub fn wait_for_more(&self, count: usize, within: Duration) -> Duration {
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

    /// Ends, and gives what was acknowledged.
    pub fn finish(mut self) -> Vec<Record> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is finished once");
        thread.join().expect("the writer ends");
        std::mem::take(&mut *self.deliveries.acknowledged.lock().expect("not poisoned"))
    }
}

impl Drop for Writer {
    /// Of a test that failed: it must not write on into the tests that follow.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
