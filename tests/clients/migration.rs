//! A group whose members change their protocol one by one, there and back (KIP-848), while records are written: librdkafka with either
//! protocol, Java's console consumer in between, and Kafka's tool for groups, which says of which type the group is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::kafka;
use crate::tools::java;

const TOPIC: &str = "numbers";
const MEMBERS: usize = 3;

/// Where records lie, and what has been read and committed of them.
#[derive(Default)]
struct Ledger {
    /// By partition, how often each offset was read.
    read: BTreeMap<i32, BTreeMap<i64, u32>>,
    /// By partition, where the group goes on.
    committed: BTreeMap<i32, i64>,
    /// By member, how many records it has read.
    by_member: BTreeMap<String, u32>,
}

impl Ledger {
    fn read(&mut self, member: &str, partition: i32, offset: i64) {
        let committed = self.committed.get(&partition).copied().unwrap_or(0);
        assert!(
            offset >= committed,
            "{member} read {offset} of partition {partition} again, though the group had committed {committed}"
        );
        *self.read.entry(partition).or_default().entry(offset).or_default() += 1;
        *self.by_member.entry(member.to_owned()).or_default() += 1;
    }
}

type Shared = Arc<Mutex<Ledger>>;

/// A member that commits each record once it has read it. It leaves when it is dropped.
struct Member {
    name: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    fn start(fleet: &Fleet, group: &str, protocol: &[(&str, &str)], name: &str, ledger: &Shared) -> Self {
        let mut config = kafka::config(fleet.bootstrap());
        config
            .set("group.id", group)
            .set("client.id", name)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false");
        for (key, value) in protocol {
            config.set(*key, *value);
        }
        let consumer: BaseConsumer = config.create().expect("create a member");
        consumer.subscribe(&[TOPIC]).expect("subscribe");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, ledger, own_name) = (stop.clone(), ledger.clone(), name.to_owned());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // Errors here pass: the client says what it does about them itself.
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
                    continue;
                };
                let (partition, offset) = (message.partition(), message.offset());
                ledger
                    .lock()
                    .expect("not poisoned")
                    .read(&own_name, partition, offset);
                // A commit that comes too late is refused, and another member reads the record again.
                if consumer.commit_message(&message, CommitMode::Sync).is_ok() {
                    let mut ledger = ledger.lock().expect("not poisoned");
                    let committed = ledger.committed.entry(partition).or_default();
                    *committed = (*committed).max(offset + 1);
                }
            }
        });
        Self {
            name: name.to_owned(),
            stop,
            thread: Some(thread),
        }
    }

    fn leave(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the member found nothing wrong");
        }
    }

    fn check(&self) {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        assert!(!ended, "{} has ended: see its panic above", self.name);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Writes records until it is told to stop, and gives back where the partitions end.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<BTreeMap<i32, i64>>>,
}

impl Writer {
    fn start(fleet: &Fleet) -> Self {
        let bootstrap = fleet.bootstrap().to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut ends = BTreeMap::new();
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                let records: Vec<(Option<String>, String)> = (number..number + 12)
                    .map(|number| (Some(number.to_string()), number.to_string()))
                    .collect();
                let records: Vec<(Option<&str>, String)> = records
                    .iter()
                    .map(|(key, value)| (key.as_deref(), value.clone()))
                    .collect();
                for written in kafka::produce(&bootstrap, TOPIC, &records, "none") {
                    let end: &mut i64 = ends.entry(written.partition).or_default();
                    *end = (*end).max(written.offset + 1);
                }
                number += 12;
                // A pace that members keep who commit each record.
                std::thread::sleep(Duration::from_millis(100));
            }
            ends
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn stop(mut self) -> BTreeMap<i32, i64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it stops once");
        thread.join().expect("every record was acknowledged")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn kind(fleet: &Fleet, group: &str) -> Option<String> {
    let args = ["--bootstrap-server", fleet.bootstrap(), "--list", "--type"];
    let listed = java(
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        &args,
    )
    .ok();
    listed.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(group)).then(|| words.next().unwrap_or("").to_owned())
    })
}

/// All members read from now on: each has partitions.
fn all_read(members: &[Member], ledger: &Shared) {
    let before = ledger.lock().expect("not poisoned").by_member.clone();
    eventually(Duration::from_secs(120), "all members to read", || {
        members.iter().for_each(Member::check);
        let now = ledger.lock().expect("not poisoned").by_member.clone();
        let reads = |name: &str| now.get(name) > before.get(name);
        match members.iter().all(|member| reads(&member.name)) {
            true => Ok(()),
            false => Err(format!("{before:?}, then {now:?}")),
        }
    });
}

/// A consumer of Java's, of the classic protocol, that joins the group, reads a few records and leaves.
fn java_member_reads(fleet: &Fleet, group: &str) {
    let args = [
        "--bootstrap-server",
        fleet.bootstrap(),
        "--topic",
        TOPIC,
        "--group",
        group,
        "--max-messages",
        "5",
        "--timeout-ms",
        "90000",
    ];
    let read = java("org.apache.kafka.tools.consumer.ConsoleConsumer", &args).ok();
    assert_eq!(read.lines().count(), 5, "{read}");
}

fn there_and_back(strategy: &str) {
    let fleet = Fleet::start(&manifests(3, &[(TOPIC, 6, 3)]));
    let group = "moving";
    let ledger = Shared::default();
    let classic: &[(&str, &str)] = &[
        ("group.protocol", "classic"),
        ("partition.assignment.strategy", strategy),
        ("session.timeout.ms", "20000"),
        ("heartbeat.interval.ms", "500"),
    ];
    let modern: &[(&str, &str)] = &[("group.protocol", "consumer")];
    let writer = Writer::start(&fleet);
    let start = |protocol, name: &str| Member::start(&fleet, group, protocol, name, &ledger);
    let mut members: Vec<Member> = (0..MEMBERS)
        .map(|place| start(classic, &format!("classic-{place}")))
        .collect();
    all_read(&members, &ledger);
    assert_eq!(kind(&fleet, group).as_deref(), Some("Classic"));
    for (protocol, kind_now, name) in [(modern, "Consumer", "modern"), (classic, "Consumer", "again")] {
        for place in 0..MEMBERS {
            members.remove(0).leave();
            members.push(start(protocol, &format!("{name}-{place}")));
            all_read(&members, &ledger);
            let is_last_back = name == "again" && place == MEMBERS - 1;
            let expected = if is_last_back { "Classic" } else { kind_now };
            assert_eq!(kind(&fleet, group).as_deref(), Some(expected), "{name}-{place}");
        }
    }
    let ends = writer.stop();
    eventually(Duration::from_secs(60), "all records to be read", || {
        members.iter().for_each(Member::check);
        let ledger = ledger.lock().expect("not poisoned");
        let missing: Vec<(i32, usize)> = ends
            .iter()
            .map(|(partition, end)| {
                let read: BTreeSet<i64> = ledger
                    .read
                    .get(partition)
                    .into_iter()
                    .flat_map(BTreeMap::keys)
                    .copied()
                    .collect();
                (
                    *partition,
                    (0..*end).filter(|offset| !read.contains(offset)).count(),
                )
            })
            .filter(|(_, missing)| *missing > 0)
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("by partition, so many are missing: {missing:?}")),
        }
    });
    for member in members {
        member.leave();
    }
}

#[test]
fn members_change_their_protocol_one_by_one_and_no_record_is_skipped_or_read_after_its_commit() {
    there_and_back("range");
}

#[test]
fn so_do_members_that_give_up_only_what_moves() {
    there_and_back("cooperative-sticky");
}

#[test]
fn a_java_consumer_of_the_classic_protocol_reads_beside_members_of_the_new_one() {
    let fleet = Fleet::start(&manifests(3, &[(TOPIC, 6, 3)]));
    let ledger = Shared::default();
    let _writer = Writer::start(&fleet);
    let modern: &[(&str, &str)] = &[("group.protocol", "consumer")];
    let members = [Member::start(&fleet, "shared", modern, "modern", &ledger)];
    all_read(&members, &ledger);
    java_member_reads(&fleet, "shared");
    assert_eq!(kind(&fleet, "shared").as_deref(), Some("Consumer"));
    all_read(&members, &ledger);
}
