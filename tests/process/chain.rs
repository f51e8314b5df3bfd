//! An exactly-once chain: numbers into a source topic, a transactional transform, a sink topic, while brokers and the
//! application are killed at random. The sink has each number once.
//!
//! `just exactly-once` plays it for ten minutes, and writes its report; `FLOTILLA_CHAIN_SECONDS` says how long it goes on otherwise.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::fleet::{Fleet, manifests};
use crate::kafka::config;
use crate::transactions::read_all;
use crate::writer::Writer;

const BOOTSTRAP: &str = "FLOTILLA_CHAIN_BOOTSTRAP";
const SECONDS: &str = "FLOTILLA_CHAIN_SECONDS";
const REPORT: &str = "FLOTILLA_REPORT";
const PARTITIONS: u32 = 4;
const SOON: Duration = Duration::from_secs(20);
/// How long the application may take for what is left once the kills are over.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
/// Records of one transaction.
const BATCH_MAX: usize = 1_000;

#[test]
fn chain_loses_and_doubles_nothing_while_brokers_and_the_application_are_killed() {
    if let Ok(bootstrap) = std::env::var(BOOTSTRAP) {
        // The application, as a process of its own, until it is killed.
        transform(&bootstrap);
    }
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    let lasts = Duration::from_secs(seconds.unwrap_or(30));
    let topics = [("source", PARTITIONS, 3), ("sink", PARTITIONS, 3)];
    let fleet = Fleet::start(&manifests(3, &topics));
    let bootstrap = fleet.bootstrap();
    let writer = Writer::start(&config(bootstrap), "source");
    let mut application = Application::start(bootstrap);
    let began = Instant::now();
    let (mut brokers, mut applications, mut dice) = (0_u32, 0_u32, began.elapsed().subsec_nanos() | 1);
    while began.elapsed() < lasts {
        // Xorshift: which one, and when, need not be told beforehand.
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        std::thread::sleep(Duration::from_millis(u64::from(2_000 + dice % 3_000)));
        if dice % 4 == 3 {
            application.kill();
            application = Application::start(bootstrap);
            applications += 1;
        } else {
            let broker = i64::from(dice % 4);
            fleet.wait_for_status(Duration::from_secs(60), "all brokers", |status| {
                let brokers = status["brokers"].as_array();
                brokers.is_some_and(|all| all.iter().all(|broker| broker["pid"].is_u64()))
            });
            fleet.kill_broker(broker);
            brokers += 1;
        }
    }
    let lasted = began.elapsed();
    let written = writer.finish();
    let source: BTreeMap<String, usize> = written.into_iter().map(|record| (record.value, 1)).collect();
    let stopped = Instant::now();
    let deadline = stopped + DRAINED_WITHIN;
    loop {
        let sink = read_all(bootstrap, "sink", PARTITIONS as usize, "read_committed");
        let doubled: Vec<_> = sink.iter().filter(|(_, count)| **count > 1).take(5).collect();
        assert!(doubled.is_empty(), "doubled in the sink: {doubled:?}");
        if sink == source {
            report(&[
                ("records acknowledged in the source", source.len().to_string()),
                ("records in the sink", sink.values().sum::<usize>().to_string()),
                ("different ones among them", sink.len().to_string()),
                ("kills of brokers", brokers.to_string()),
                ("kills of the application", applications.to_string()),
                ("how long records were written", format!("{} s", lasted.as_secs())),
                (
                    "until all of them were in the sink after that",
                    format!("{} s", stopped.elapsed().as_secs()),
                ),
            ]);
            return;
        }
        let lost = source.keys().filter(|value| !sink.contains_key(*value));
        let lost: Vec<_> = lost.take(5).collect();
        assert!(
            Instant::now() < deadline,
            "{} of {} in the sink; missing for example {lost:?}",
            sink.len(),
            source.len()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Tells what came out, also to the file that the environment names.
fn report(rows: &[(&str, String)]) {
    let rows: String = rows
        .iter()
        .map(|(what, value)| format!("| {what} | {value} |\n"))
        .collect();
    let table = format!("| what | |\n| --- | --- |\n{rows}");
    println!("{table}");
    if let Ok(path) = std::env::var(REPORT) {
        std::fs::write(path, table).expect("write the report");
    }
}

/// This very test as another process, which transforms.
struct Application(Child);

impl Application {
    fn start(bootstrap: &str) -> Self {
        let me = std::env::current_exe().expect("this program");
        let child = Command::new(me)
            .args([
                "--exact",
                "chain::chain_loses_and_doubles_nothing_while_brokers_and_the_application_are_killed",
                "--nocapture",
            ])
            .env(BOOTSTRAP, bootstrap)
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("start the application"))
    }

    fn kill(&mut self) {
        self.0.kill().expect("kill the application");
        self.0.wait().expect("it has ended");
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads, transforms and writes, in transactions, until it is killed. After an error it begins anew, as an application
/// that is started again.
fn transform(bootstrap: &str) -> ! {
    loop {
        if let Err(error) = transform_once(bootstrap) {
            eprintln!("the application begins anew: {error}");
        }
    }
}

fn transform_once(bootstrap: &str) -> Result<(), KafkaError> {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "transform")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("session.timeout.ms", "6000")
        .create()?;
    consumer.subscribe(&["source"])?;
    let producer: ThreadedProducer<DefaultProducerContext> = config(bootstrap)
        .set("transactional.id", "transform")
        .set("transaction.timeout.ms", "10000")
        .set("linger.ms", "0")
        .create()?;
    producer.init_transactions(SOON)?;
    loop {
        let mut next: BTreeMap<(String, i32), i64> = BTreeMap::new();
        let mut values = Vec::new();
        while values.len() < BATCH_MAX {
            let wait = if values.is_empty() { 500 } else { 20 };
            let Some(message) = consumer.poll(Duration::from_millis(wait)) else {
                break;
            };
            let message = match message {
                Ok(message) => message,
                // The client finds its brokers again by itself.
                Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                )) => continue,
                Err(error) => return Err(error),
            };
            let place = (message.topic().to_owned(), message.partition());
            next.insert(place, message.offset() + 1);
            let value = message.payload_view::<str>().and_then(Result::ok);
            values.push(value.expect("numbers are written").to_owned());
        }
        if values.is_empty() {
            continue;
        }
        producer.begin_transaction()?;
        for value in &values {
            let record = BaseRecord::<str, str>::to("sink").payload(value).key(value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), offset) in &next {
            offsets.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        let metadata = consumer.group_metadata().expect("it is a member");
        producer.send_offsets_to_transaction(&offsets, &metadata, SOON)?;
        loop {
            match producer.commit_transaction(SOON) {
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
                done => break done?,
            }
        }
    }
}
