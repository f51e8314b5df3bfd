//! librdkafka, as an application uses it: idempotent producers with keys, and members of a group that come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::{Stop, Worker};
use crate::chance::Chance;
use crate::history::{Event, Id, Member, Partition};
use crate::recorder::Recorder;

/// How many keys there are: each belongs to one partition.
const KEYS: u64 = 40;

/// A record is given up after this, which is longer than any fault lasts.
const GIVEN_UP_AFTER_MS: &str = "90000";

/// How often a member commits.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// What every client here starts from.
pub fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "5000")
        // A peer that is cut off does not close its connections.
        .set("socket.timeout.ms", "10000")
        .set("socket.connection.setup.timeout.ms", "3000")
        .set("check.crcs", "true");
    config
}

/// The text that fills a record up, so that faults meet batches of a usual size.
const PADDING: &str = "the quick brown fox jumps over the lazy dog, again and again and again";

/// Writes all the time, `rate` records a second, and begins a new session when the producer fails for good.
pub fn writer(recorder: &Recorder, bootstrap: &str, topic: &Arc<str>, rate: u64) -> Worker {
    let (recorder, config, topic) = (recorder.clone(), config(bootstrap), topic.clone());
    Worker::start(move |stop| {
        while !stop.is_set() {
            write(&recorder, &config, &topic, rate, &stop);
        }
    })
}

/// One session.
fn write(recorder: &Recorder, config: &ClientConfig, topic: &Arc<str>, rate: u64, stop: &Stop) {
    let session = recorder.open_session(topic);
    let deliveries = Deliveries {
        recorder: recorder.clone(),
        topic: topic.clone(),
    };
    let producer: ThreadedProducer<Deliveries> = config
        .clone()
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", GIVEN_UP_AFTER_MS)
        .set("debug", "eos")
        .set_log_level(RDKafkaLogLevel::Debug)
        .set("queue.buffering.max.messages", "20000")
        .set("linger.ms", "10")
        .create_with_context(deliveries)
        .expect("a producer's configuration is right");
    let mut number = 0;
    while !stop.is_set() && producer.client().fatal_error().is_none() {
        recorder.attempts(session, number + 1);
        let (key, value) = (
            format!("key-{}", number % KEYS),
            format!("{session}.{number} {PADDING}"),
        );
        match producer.send(BaseRecord::to(topic).key(&key).payload(&value)) {
            Ok(()) => number += 1,
            // The queue is full, as it is while nobody acknowledges; or the producer failed, as the loop will see.
            Err(_) => stop.sleep(Duration::from_millis(20)),
        }
        std::thread::sleep(Duration::from_micros(1_000_000 / rate.max(1)));
    }
    let _ = producer.flush(Duration::from_secs(100));
}

/// Writes some records, waits until they are acknowledged, and says whether all were.
pub fn write_some(recorder: &Recorder, bootstrap: &str, name: &str, topic: &Arc<str>, count: u64) -> bool {
    let session = recorder.open_session(topic);
    recorder.attempts(session, count);
    let deliveries = Deliveries {
        recorder: recorder.clone(),
        topic: topic.clone(),
    };
    let producer: ThreadedProducer<Deliveries> = config(bootstrap)
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "60000")
        .create_with_context(deliveries)
        .expect("a producer's configuration is right");
    for number in 0..count {
        let value = format!("{session}.{number} {PADDING}");
        let record = BaseRecord::<str, str>::to(name).payload(&value);
        if producer.send(record).is_err() {
            return false;
        }
    }
    producer.flush(Duration::from_secs(70)).is_ok() && producer.in_flight_count() == 0
}

/// Notes what became of each record.
#[derive(Clone)]
struct Deliveries {
    recorder: Recorder,
    topic: Arc<str>,
}

impl ClientContext for Deliveries {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        self.recorder.diary(&format!("{facility} {message}"));
    }

    fn error(&self, _: rdkafka::error::KafkaError, _: &str) {
        // Brokers come and go here all the time.
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let partition = Partition {
                    topic: self.topic.clone(),
                    index: message.partition(),
                };
                let id = id_of(message).expect("it is the value that was sent");
                let offset = Some(message.offset()).filter(|offset| *offset >= 0);
                self.recorder.acknowledged(id, partition, offset);
            }
            Err(_) => self.recorder.failed(),
        }
    }
}

/// Whose record it is.
pub fn id_of(message: &impl Message) -> Option<Id> {
    Id::of_value(std::str::from_utf8(message.payload()?).ok()?)
}

/// Members of a group that come and go: each lives for a time that chance draws, and is followed by another.
pub fn members(
    recorder: &Recorder,
    bootstrap: &str,
    group: &Arc<str>,
    topic: &Arc<str>,
    strategy: &'static str,
    mut chance: Chance,
) -> Worker {
    let (recorder, config) = (recorder.clone(), config(bootstrap));
    let (group, topic) = (group.clone(), topic.clone());
    Worker::start(move |stop| {
        let slot = chance.below(1_000_000);
        let mut nth = 0;
        while !stop.is_set() {
            nth += 1;
            let member = Arc::new(Member {
                group: group.clone(),
                name: format!("librdkafka-{slot}-{nth}"),
            });
            let lives = Duration::from_secs(chance.between(15, 60));
            consume(
                &recorder,
                &config,
                &member,
                &topic,
                strategy,
                Instant::now() + lives,
                &stop,
            );
            stop.sleep(Duration::from_millis(chance.below(4_000)));
        }
    })
}

fn consume(
    recorder: &Recorder,
    config: &ClientConfig,
    member: &Arc<Member>,
    topic: &Arc<str>,
    strategy: &str,
    until: Instant,
    stop: &Stop,
) {
    let rebalances = Rebalances {
        recorder: recorder.clone(),
        member: member.clone(),
        topic: topic.clone(),
        positions: Mutex::default(),
    };
    let consumer: BaseConsumer<Rebalances> = config
        .clone()
        .set("group.id", &*member.group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "10000")
        .set("partition.assignment.strategy", strategy)
        .create_with_context(rebalances)
        .expect("a consumer's configuration is right");
    consumer.subscribe(&[topic]).expect("a topic's name");
    let mut committed = Instant::now();
    while !stop.is_set() && Instant::now() < until {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let partition = Partition {
                topic: topic.clone(),
                index: message.partition(),
            };
            consumer
                .context()
                .positions
                .lock()
                .expect("not poisoned")
                .insert(message.partition(), message.offset() + 1);
            recorder.event(Event::Delivered {
                member: member.clone(),
                partition,
                offset: message.offset(),
                id: id_of(&message),
            });
        }
        if committed.elapsed() >= COMMIT_INTERVAL {
            commit(recorder, &consumer);
            committed = Instant::now();
        }
    }
    commit(recorder, &consumer);
}

fn commit(recorder: &Recorder, consumer: &BaseConsumer<Rebalances>) {
    let context = consumer.context();
    let positions = std::mem::take(&mut *context.positions.lock().expect("not poisoned"));
    if positions.is_empty() {
        return;
    }
    let mut offsets = TopicPartitionList::new();
    for (partition, offset) in &positions {
        offsets
            .add_partition_offset(&context.topic, *partition, Offset::Offset(*offset))
            .expect("an offset");
    }
    if consumer.commit(&offsets, CommitMode::Sync).is_err() {
        return;
    }
    for (index, offset) in positions {
        recorder.event(Event::Committed {
            member: context.member.clone(),
            partition: Partition {
                topic: context.topic.clone(),
                index,
            },
            offset,
        });
    }
}

/// Notes which partitions a member has, and how far it has come in each since it last committed.
struct Rebalances {
    recorder: Recorder,
    member: Arc<Member>,
    topic: Arc<str>,
    positions: Mutex<BTreeMap<i32, i64>>,
}

impl ClientContext for Rebalances {
    fn error(&self, _: rdkafka::error::KafkaError, _: &str) {}
}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let (list, begins) = match rebalance {
            Rebalance::Assign(list) => (list, true),
            Rebalance::Revoke(list) => (list, false),
            Rebalance::Error(_) => return,
        };
        self.positions.lock().expect("not poisoned").clear();
        for element in list.elements() {
            let (member, partition) = (
                self.member.clone(),
                Partition {
                    topic: self.topic.clone(),
                    index: element.partition(),
                },
            );
            self.recorder.event(if begins {
                Event::Assigned { member, partition }
            } else {
                Event::Revoked { member, partition }
            });
        }
    }
}
