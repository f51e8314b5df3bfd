//! Transactions of librdkafka against real brokers: what is committed is read exactly once, what is aborted never, also
//! while the leaders and coordinators are killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::fleet::{Fleet, manifests};
use crate::kafka::config;

const SOON: Duration = Duration::from_secs(30);
/// How long a transaction that meets a kill may take to be tried to its end.
const AT_LAST: Duration = Duration::from_secs(90);

type Client = ThreadedProducer<DefaultProducerContext>;

fn producer(bootstrap: &str, id: &str) -> Client {
    let producer: Client = config(bootstrap)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", "30000")
        .set("linger.ms", "0")
        .create()
        .expect("create a producer");
    producer.init_transactions(SOON).expect("the id is taken");
    producer
}

fn send(producer: &Client, topic: &str, value: &str) -> Result<(), KafkaError> {
    let record = BaseRecord::<str, str>::to(topic).payload(value).key(value);
    producer.send(record).map_err(|(error, _)| error)
}

fn consumer(bootstrap: &str, group: &str, isolation: &str) -> BaseConsumer {
    config(bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", isolation)
        .set("enable.partition.eof", "true")
        .create()
        .expect("create a consumer")
}

/// All values of a topic's `partitions`, up to where each of them ends for the reader, with how often they came.
pub fn read_all(bootstrap: &str, topic: &str, partitions: usize, isolation: &str) -> BTreeMap<String, usize> {
    let consumer = consumer(bootstrap, &format!("reader-{isolation}"), isolation);
    consumer.subscribe(&[topic]).expect("subscribe");
    let mut values = BTreeMap::new();
    let mut ended = std::collections::BTreeSet::new();
    let deadline = Instant::now() + AT_LAST;
    while ended.len() < partitions {
        assert!(Instant::now() < deadline, "ends were reached of {ended:?} only");
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                let value = message.payload_view::<str>().expect("a value").expect("a text");
                *values.entry(value.to_owned()).or_default() += 1;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(_)) | None => {}
        }
    }
    values
}

fn values(names: &[&str]) -> BTreeMap<String, usize> {
    names.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

#[test]
fn committed_records_are_read_and_aborted_ones_are_not() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 3, 3)]));
    let bootstrap = fleet.bootstrap();
    let writer = producer(bootstrap, "payments");
    for (name, commits) in [("a", true), ("b", false), ("c", true), ("d", false)] {
        writer.begin_transaction().expect("begun");
        for number in 0..3 {
            send(&writer, "orders", &format!("{name}{number}")).expect("queued");
        }
        if commits {
            writer.commit_transaction(SOON).expect("committed");
        } else {
            writer.flush(SOON).expect("sent");
            writer.abort_transaction(SOON).expect("aborted");
        }
    }
    let committed = values(&["a0", "a1", "a2", "c0", "c1", "c2"]);
    assert_eq!(read_all(bootstrap, "orders", 3, "read_committed"), committed);
    assert_eq!(read_all(bootstrap, "orders", 3, "read_uncommitted").len(), 12);
}

#[test]
fn second_instance_fences_the_first() {
    let fleet = Fleet::start(&manifests(1, &[("orders", 1, 1)]));
    let bootstrap = fleet.bootstrap();
    let first = producer(bootstrap, "payments");
    first.begin_transaction().expect("begun");
    send(&first, "orders", "lost").expect("queued");
    first.flush(SOON).expect("sent");
    let second = producer(bootstrap, "payments");
    let fenced = first.commit_transaction(SOON).expect_err("it is fenced");
    let KafkaError::Transaction(fenced) = fenced else {
        panic!("{fenced}");
    };
    assert!(fenced.is_fatal(), "{fenced}");
    second.begin_transaction().expect("begun");
    send(&second, "orders", "kept").expect("queued");
    second.commit_transaction(SOON).expect("committed");
    assert_eq!(
        read_all(bootstrap, "orders", 1, "read_committed"),
        values(&["kept"])
    );
}

/// One transaction with these values, tried until it is committed; a client that cannot go on is replaced.
fn commit_at_last(client: &mut Client, bootstrap: &str, values: &[String]) {
    let deadline = Instant::now() + AT_LAST;
    loop {
        assert!(Instant::now() < deadline, "no transaction was committed in time");
        let attempt = || -> Result<(), KafkaError> {
            client.begin_transaction()?;
            for value in values {
                send(client, "orders", value)?;
            }
            loop {
                match client.commit_transaction(SOON) {
                    Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
                    done => return done,
                }
            }
        };
        let Err(error) = attempt() else { return };
        println!("once more: {error}");
        let is_fatal = matches!(&error, KafkaError::Transaction(error) if error.is_fatal());
        if is_fatal || client.abort_transaction(SOON).is_err() {
            *client = producer(bootstrap, "payments");
        }
    }
}

#[test]
fn transactions_stay_whole_while_leaders_and_coordinators_are_killed() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 2, 3)]));
    let bootstrap = fleet.bootstrap().to_owned();
    let mut client = producer(&bootstrap, "payments");
    let mut expected = BTreeMap::new();
    for round in 0..30 {
        let names: Vec<String> = (0..4).map(|number| format!("{round}-{number}")).collect();
        // The client sends while the broker dies.
        let killed = match round {
            8 => Some(fleet.leader("orders", 0)),
            16 => Some(coordinator(&fleet)),
            24 => Some(fleet.leader("orders", 1)),
            _ => None,
        };
        if let Some(broker) = killed {
            fleet.kill_broker(broker);
        }
        commit_at_last(&mut client, &bootstrap, &names);
        expected.extend(names.into_iter().map(|name| (name, 1)));
    }
    assert_eq!(read_all(&bootstrap, "orders", 2, "read_committed"), expected);
}

/// The broker that coordinates the id `payments`.
fn coordinator(fleet: &Fleet) -> i64 {
    // Java's hash of "payments" over 50 partitions.
    let hash = "payments".bytes().fold(0_i32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(i32::from(byte))
    });
    fleet.leader("__transaction_state", i64::from(hash.wrapping_abs() % 50))
}
