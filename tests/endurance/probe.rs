//! A producer that measures: each record is timed from the moment when the application hands it over until it is acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::kafka::{Record, read_all};
use crate::report;

/// What became of one record.
#[derive(Clone, Debug)]
pub struct Produced {
    pub sent: Instant,
    pub partition: i32,
    pub answered: Option<Answered>,
}

/// When it was answered, and with which offset or why not.
#[derive(Clone, Debug)]
pub struct Answered {
    pub at: Instant,
    pub stored: Result<i64, String>,
}

impl Produced {
    /// How long it waited for its acknowledgement.
    fn waited(&self) -> Option<Duration> {
        let answered = self.answered.as_ref()?;
        answered.stored.is_ok().then(|| answered.at - self.sent)
    }
}

#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<Produced>>>);

impl Ledger {
    fn look<T>(&self, look: impl FnOnce(&mut Vec<Produced>) -> T) -> T {
        look(&mut self.0.lock().expect("not poisoned"))
    }
}

impl rdkafka::ClientContext for Ledger {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        println!("{} {facility} {message}", report::clock());
    }
}

impl ProducerContext for Ledger {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let at = Instant::now();
        let stored = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.to_string()),
        };
        self.look(|all| all[number].answered = Some(Answered { at, stored }));
    }
}

/// An idempotent producer with acks=all, otherwise with the settings that librdkafka comes with, that writes one record after
/// another to the partitions in turn.
pub struct Probe {
    ledger: Ledger,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

/// The settings of every client here: librdkafka's own defaults. `FLOTILLA_CLIENT_DEBUG`, such as `topic,metadata,broker`, has it say what
/// it does.
pub fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    if let Ok(facilities) = std::env::var("FLOTILLA_CLIENT_DEBUG") {
        config
            .set("debug", facilities)
            .set_log_level(RDKafkaLogLevel::Debug);
    }
    config
}

impl Probe {
    /// One record each `interval`, just large enough for its number.
    pub fn start(bootstrap: &str, topic: &str, partitions: i32, interval: Duration) -> Self {
        Self::start_as(client(bootstrap), topic, partitions, interval, 0)
    }

    /// The same with settings of its own, and values of `bytes` at least.
    pub fn start_as(
        mut client: ClientConfig,
        topic: &str,
        partitions: i32,
        interval: Duration,
        bytes: usize,
    ) -> Self {
        let ledger = Ledger::default();
        let stop = Arc::new(AtomicBool::new(false));
        let producer: ThreadedProducer<Ledger> = client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .create_with_context(ledger.clone())
            .expect("create a producer");
        let thread = std::thread::spawn({
            let (ledger, stop, topic) = (ledger.clone(), stop.clone(), topic.to_owned());
            move || {
                let begun = Instant::now();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let partition = (number % partitions as usize) as i32;
                    send(&producer, &ledger, &topic, partition, number, bytes);
                    let next = begun + interval * (number as u32 + 1);
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
                producer
                    .flush(Duration::from_secs(120))
                    .expect("what was sent is answered");
            }
        });
        Self { ledger, stop, thread }
    }

    /// Waits until each partition has acknowledged a record that was sent at `since` or later, and says how long after `since`
    /// the last of them did. `None`: not within `limit`.
    pub fn resumed(&self, since: Instant, partitions: i32, limit: Duration) -> Option<Duration> {
        loop {
            let first = self.first_acknowledged(since);
            if first.len() == partitions as usize {
                return first.into_values().max().map(|at| at - since);
            }
            if since.elapsed() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// For each partition, when it first acknowledged a record that was sent at `since` or later.
    pub fn first_acknowledged(&self, since: Instant) -> BTreeMap<i32, Instant> {
        self.ledger.look(|all| {
            let begin = all.partition_point(|produced| produced.sent < since);
            let mut first: BTreeMap<i32, Instant> = BTreeMap::new();
            for produced in &all[begin..] {
                if let Some(Answered { at, stored: Ok(_) }) = produced.answered {
                    let known = first.entry(produced.partition).or_insert(at);
                    *known = at.min(*known);
                }
            }
            first
        })
    }

    /// How long the records waited for their acknowledgement that were sent at `since` or later.
    pub fn waits(&self, since: Instant) -> Vec<Duration> {
        self.waits_of(since, |_| true)
    }

    /// The same of some partitions.
    pub fn waits_of(&self, since: Instant, counts: impl Fn(i32) -> bool) -> Vec<Duration> {
        self.ledger.look(|all| {
            let begin = all.partition_point(|produced| produced.sent < since);
            let counted = all[begin..].iter().filter(|produced| counts(produced.partition));
            counted.filter_map(Produced::waited).collect()
        })
    }

    /// Waits until what was sent before `until` is answered.
    pub fn settled(&self, until: Instant, limit: Duration) -> bool {
        let begun = Instant::now();
        while self.ledger.look(|all| {
            let end = all.partition_point(|produced| produced.sent < until);
            all[..end].iter().any(|produced| produced.answered.is_none())
        }) {
            if begun.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// How many are acknowledged by now.
    pub fn acknowledged(&self) -> usize {
        self.ledger
            .look(|all| all.iter().filter(|produced| produced.waited().is_some()).count())
    }

    /// Why records were not acknowledged.
    pub fn failures(&self) -> Vec<String> {
        self.ledger.look(|all| {
            let answered = all.iter().filter_map(|produced| produced.answered.as_ref());
            answered
                .filter_map(|answered| answered.stored.clone().err())
                .collect()
        })
    }

    /// Waits until the first records of all partitions are acknowledged.
    pub fn warmed_up(&self, partitions: i32) {
        let since = Instant::now();
        self.resumed(since, partitions, Duration::from_secs(60))
            .expect("the fleet takes records");
    }

    /// Ends, and gives what became of every record, by number.
    pub fn finish(self) -> Vec<Produced> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the probe ends");
        self.ledger.look(std::mem::take)
    }
}

fn send(
    producer: &ThreadedProducer<Ledger>,
    ledger: &Ledger,
    topic: &str,
    partition: i32,
    number: usize,
    bytes: usize,
) {
    ledger.look(|all| {
        all.push(Produced {
            sent: Instant::now(),
            partition,
            answered: None,
        });
    });
    let mut value = number.to_string();
    value.extend(std::iter::repeat_n(' ', bytes.saturating_sub(value.len())));
    let mut record = BaseRecord::<str, str, usize>::with_opaque_to(topic, number)
        .payload(&value)
        .partition(partition);
    while let Err((error, back)) = producer.send(record) {
        let full = rdkafka::types::RDKafkaErrorCode::QueueFull;
        assert_eq!(error.rdkafka_error_code(), Some(full), "send to {topic}: {error}");
        record = back;
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What reading a topic back showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub acknowledged: usize,
    pub read: usize,
    /// Numbers that were acknowledged and are not where they should be.
    pub lost: Vec<usize>,
    /// Numbers that are there more than once.
    pub doubled: Vec<usize>,
    /// Numbers that come after a greater one of the same partition.
    pub out_of_order: Vec<usize>,
}

impl Audit {
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.out_of_order.is_empty()
    }
}

/// Reads all of `topic`, and holds it against what the probe was told.
pub fn audit(bootstrap: &str, topic: &str, produced: &[Produced]) -> Audit {
    held_against(produced, &read_all(&client(bootstrap), topic))
}

fn held_against(produced: &[Produced], read: &[Record]) -> Audit {
    let mut places: BTreeMap<usize, Vec<(i32, i64)>> = BTreeMap::new();
    let mut latest: BTreeMap<i32, usize> = BTreeMap::new();
    let mut audit = Audit {
        read: read.len(),
        ..Audit::default()
    };
    for record in read {
        let number: usize = record.value.trim_end().parse().expect("the probe writes numbers");
        places
            .entry(number)
            .or_default()
            .push((record.partition, record.offset));
        if let Some(before) = latest.insert(record.partition, number)
            && before > number
        {
            audit.out_of_order.push(number);
        }
    }
    for (number, produced) in produced.iter().enumerate() {
        let Some(Answered {
            stored: Ok(offset), ..
        }) = &produced.answered
        else {
            continue;
        };
        audit.acknowledged += 1;
        let place = (produced.partition, *offset);
        if !places.get(&number).is_some_and(|places| places.contains(&place)) {
            audit.lost.push(number);
        }
    }
    let doubled = places.iter().filter(|(_, places)| places.len() > 1);
    audit.doubled = doubled.map(|(number, _)| *number).collect();
    audit
}

#[test]
fn audit_finds_what_is_lost_doubled_and_out_of_order() {
    let now = Instant::now();
    let produced: Vec<Produced> = (0..5)
        .map(|offset| Produced {
            sent: now,
            partition: 0,
            answered: (offset != 4).then_some(Answered {
                at: now,
                stored: Ok(offset),
            }),
        })
        .collect();
    let read = |numbers: &[usize]| -> Vec<Record> {
        let records = numbers.iter().enumerate();
        records
            .map(|(offset, number)| Record {
                partition: 0,
                offset: offset as i64,
                key: None,
                value: number.to_string(),
            })
            .collect()
    };
    assert!(held_against(&produced, &read(&[0, 1, 2, 3])).is_clean());
    assert!(
        held_against(&produced, &read(&[0, 1, 2, 3, 4])).is_clean(),
        "not acknowledged, and there"
    );
    assert_eq!(held_against(&produced, &read(&[0, 1, 2])).lost, [3]);
    assert_eq!(held_against(&produced, &read(&[0, 1, 2, 3, 2])).doubled, [2]);
    let swapped = held_against(&produced, &read(&[0, 2, 1, 3]));
    assert_eq!((swapped.lost, swapped.out_of_order), (vec![1, 2], vec![1]));
}
