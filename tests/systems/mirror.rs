//! MirrorMaker 2, between Apache Kafka and a fleet, in both directions.

mod other;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::eventually::eventually;
use crate::process::Process;
use crate::system::System;
use crate::{java, kafka, topics};
use other::Other;

const MIRROR: System = System {
    name: "MirrorMaker 2",
    version: "4.3.1",
};
const RAN: &str = "topics from Apache Kafka 4.3.1 to a fleet, and others back: partitions, settings, records with keys, headers and times; \
                   settings and partitions changed afterwards; offsets of groups translated, so that consumers go on where they were";
const PARTITIONS: i32 = 3;
const RECORDS: i32 = 600;
const GROUP: &str = "readers";
const WITHIN: Duration = Duration::from_secs(90);

/// From where to where, with the name of the topic there.
struct Way<'a> {
    from: &'a str,
    to: &'a str,
    topic: &'a str,
    mirrored: &'a str,
    replicas: i32,
}

#[test]
fn mirror_maker_copies_topics_settings_records_and_offsets_both_ways() {
    MIRROR.test(&[], RAN, |fleet| {
        let other = Other::start();
        let ways = [
            Way {
                from: &other.bootstrap,
                to: fleet.bootstrap(),
                topic: "orders",
                mirrored: "kafka.orders",
                replicas: 1,
            },
            Way {
                from: fleet.bootstrap(),
                to: &other.bootstrap,
                topic: "invoices",
                mirrored: "flotilla.invoices",
                replicas: 3,
            },
        ];
        for way in &ways {
            way.begin();
        }
        let directory = tempfile::tempdir().expect("a directory");
        let _mirror = start(directory.path(), &other.bootstrap, fleet.bootstrap());
        for way in &ways {
            way.records_come();
            way.settings_and_partitions_follow();
            way.consumers_go_on();
        }
    });
}

fn start(directory: &Path, kafka: &str, flotilla: &str) -> Process {
    let file = directory.join("mirror.properties");
    std::fs::write(&file, properties(kafka, flotilla)).expect("write the mirror's properties");
    let mut command = java::jvm("connect", directory, &["-Xmx256m"]);
    command
        .arg("org.apache.kafka.connect.mirror.MirrorMaker")
        .arg(file);
    Process::start("MirrorMaker 2", &mut command)
}

/// Two clusters, one of one server and one of three; everything that is done now and then is done each second.
fn properties(kafka: &str, flotilla: &str) -> String {
    let mut text = format!(
        "clusters=kafka,flotilla\n\
         kafka.bootstrap.servers={kafka}\n\
         flotilla.bootstrap.servers={flotilla}\n\
         kafka->flotilla.enabled=true\n\
         kafka->flotilla.topics=orders\n\
         kafka->flotilla.replication.factor=3\n\
         flotilla->kafka.enabled=true\n\
         flotilla->kafka.topics=invoices\n\
         flotilla->kafka.replication.factor=1\n\
         groups={GROUP}\n\
         sync.group.offsets.enabled=true\n\
         sync.topic.acls.enabled=false\n\
         refresh.topics.interval.seconds=1\n\
         refresh.groups.interval.seconds=1\n\
         sync.topic.configs.interval.seconds=1\n\
         sync.group.offsets.interval.seconds=1\n\
         emit.checkpoints.interval.seconds=1\n\
         offset.lag.max=0\n\
         offset.flush.interval.ms=1000\n\
         plugin.discovery=service_load\n"
    );
    for (cluster, replicas) in [("kafka", 1), ("flotilla", 3)] {
        for topic in ["offset.storage", "config.storage", "status.storage"] {
            text += &format!("{cluster}.{topic}.replication.factor={replicas}\n");
        }
        for partitions in ["offset.storage.partitions", "status.storage.partitions"] {
            text += &format!("{cluster}.{partitions}=3\n");
        }
        let other = if cluster == "kafka" { "flotilla" } else { "kafka" };
        // Where offsets are compared is kept at the source, what came of it at the target.
        text += &format!("{cluster}->{other}.offset-syncs.topic.replication.factor={replicas}\n");
        text += &format!("{other}->{cluster}.checkpoints.topic.replication.factor={replicas}\n");
        text += &format!("{other}->{cluster}.heartbeats.topic.replication.factor={replicas}\n");
    }
    text
}

/// A record without its place: partition, key, value, headers, time.
type Found = BTreeMap<(i32, i64), (Vec<u8>, Vec<u8>, Vec<(String, Vec<u8>)>, Option<i64>)>;

impl Way<'_> {
    /// A topic with records, all of which a group has read.
    fn begin(&self) {
        let settings = [("retention.ms", "987654321000"), ("max.message.bytes", "2000000")];
        topics::create(self.from, self.topic, PARTITIONS, self.replicas, &settings);
        self.produce(0);
        let consumer = self.member(self.from);
        let mut places = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let (_, end) = topics::ends(self.from, self.topic, partition).expect("its ends");
            places
                .add_partition_offset(self.topic, partition, Offset::Offset(end))
                .expect("a valid offset");
        }
        // The coordinator may have to be elected first.
        eventually(WITHIN, "the group's offsets to be committed", || {
            let committed = consumer.commit(&places, CommitMode::Sync);
            committed.map_err(|error| error.to_string())
        });
    }

    /// Writes records whose numbers begin there.
    fn produce(&self, from: i32) {
        let producer: BaseProducer = kafka::config(self.from)
            .set("enable.idempotence", "true")
            .create()
            .expect("create a producer");
        for number in from..from + RECORDS {
            let (key, value) = (format!("key-{number}"), format!("value-{number}"));
            let header = Header {
                key: "number",
                value: Some(&key),
            };
            let record = BaseRecord::to(self.topic)
                .partition(number % PARTITIONS)
                .key(&key)
                .payload(&value)
                .timestamp(1_700_000_000_000 + i64::from(number))
                .headers(OwnedHeaders::new().insert(header));
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
        producer.flush(WITHIN).expect("acknowledged");
    }

    fn records_come(&self) {
        let there = read(self.from, self.topic);
        assert_eq!(there.len(), RECORDS as usize);
        eventually(WITHIN, self.mirrored, || {
            let settings = topics::settings(self.to, self.mirrored)?;
            let (found, wanted) = (settings.get("retention.ms"), settings.get("max.message.bytes"));
            (found.map(String::as_str) == Some("987654321000")
                && wanted.map(String::as_str) == Some("2000000"))
            .then_some(())
            .ok_or(format!("{settings:?}"))?;
            let found: i64 = (0..PARTITIONS)
                .map(|partition| topics::ends(self.to, self.mirrored, partition).map(|(_, end)| end))
                .sum::<Result<i64, String>>()?;
            (found == i64::from(RECORDS))
                .then_some(())
                .ok_or(format!("{found} records"))
        });
        assert_eq!(
            read(self.to, self.mirrored),
            there,
            "each record in its partition, in order"
        );
    }

    fn settings_and_partitions_follow(&self) {
        topics::alter(self.from, self.topic, "retention.ms", "987654322000");
        topics::grow(self.from, self.topic, PARTITIONS + 1);
        eventually(WITHIN, "a changed setting and a new partition", || {
            let settings = topics::settings(self.to, self.mirrored)?;
            let retention = settings.get("retention.ms").map(String::as_str);
            (retention == Some("987654322000"))
                .then_some(())
                .ok_or(format!("{settings:?}"))?;
            topics::ends(self.to, self.mirrored, PARTITIONS)
        });
    }

    /// A group that had read everything reads there what comes afterwards, and nothing else.
    fn consumers_go_on(&self) {
        for partition in 0..PARTITIONS {
            let (_, end) = topics::ends(self.to, self.mirrored, partition).expect("its ends");
            eventually(WITHIN, "the group's offset at the other side", || {
                let committed = topics::committed(self.to, GROUP, self.mirrored, partition)?;
                (committed == end)
                    .then_some(())
                    .ok_or(format!("{committed}, not {end}"))
            });
        }
        self.produce(RECORDS);
        let consumer = self.member(self.to);
        consumer.subscribe(&[self.mirrored]).expect("subscribe");
        let mut keys = Vec::new();
        eventually(WITHIN, "what was written afterwards", || {
            while let Some(message) = consumer.poll(Duration::from_millis(500)) {
                let message = message.map_err(|error| error.to_string())?;
                let key = message.key().expect("every record has a key");
                keys.push(String::from_utf8(key.to_vec()).expect("keys are text"));
            }
            (keys.len() >= RECORDS as usize)
                .then_some(())
                .ok_or(format!("{} records", keys.len()))
        });
        let mut expected: Vec<_> = (RECORDS..2 * RECORDS).map(|n| format!("key-{n}")).collect();
        expected.sort();
        keys.sort();
        assert_eq!(keys, expected);
    }

    fn member(&self, bootstrap: &str) -> BaseConsumer {
        kafka::config(bootstrap)
            .set("group.id", GROUP)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("create a consumer")
    }
}

/// All records of a topic, by partition and offset.
fn read(bootstrap: &str, topic: &str) -> Found {
    let consumer: BaseConsumer = kafka::config(bootstrap)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .expect("create a consumer");
    let mut places = TopicPartitionList::new();
    let mut left = 0;
    for partition in 0..PARTITIONS {
        let (_, end) = topics::ends(bootstrap, topic, partition).expect("its ends");
        places
            .add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a valid offset");
        left += end;
    }
    consumer.assign(&places).expect("assign");
    let mut found = Found::new();
    eventually(WITHIN, topic, || {
        while let Some(message) = consumer.poll(Duration::from_millis(200)) {
            let message = message.map_err(|error| error.to_string())?;
            let headers = message.headers().map_or_else(Vec::new, |headers| {
                let own = |header: Header<'_, &[u8]>| {
                    (header.key.to_owned(), header.value.unwrap_or_default().to_vec())
                };
                headers.iter().map(own).collect()
            });
            let record = (
                message.key().unwrap_or_default().to_vec(),
                message.payload().unwrap_or_default().to_vec(),
                headers,
                message.timestamp().to_millis(),
            );
            found.insert((message.partition(), message.offset()), record);
        }
        (found.len() as i64 >= left)
            .then_some(())
            .ok_or(format!("{} of {left}", found.len()))
    });
    found
}
