//! Records go in and come out: order, keys, codecs, groups.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;

use crate::fleet::{Fleet, manifests};
use crate::kafka::{config, produce, read_all};

#[test]
fn records_come_back_whole_in_order_and_by_key_with_every_codec() {
    let fleet = Fleet::start(&manifests(3, &[("lines", 6, 3)]));
    let mut expected: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let mut partitions_of_key: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let keys: Vec<String> = (0..2_000).map(|n| format!("key-{}", n % 50)).collect();
        let records: Vec<(Option<&str>, String)> = keys
            .iter()
            .enumerate()
            .map(|(n, key)| (Some(key.as_str()), format!("{codec} {n} for {key}")))
            .collect();
        let acknowledged = produce(fleet.bootstrap(), "lines", &records, codec);
        assert_eq!(acknowledged.len(), records.len(), "codec {codec}");
        for (key, value) in &records {
            let record = acknowledged
                .iter()
                .find(|record| record.value == *value)
                .expect("acknowledged");
            partitions_of_key
                .entry(key.expect("every record has a key").to_owned())
                .or_default()
                .insert(record.partition);
            expected.entry(record.partition).or_default().push(value.clone());
        }
    }
    let mut read: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for record in read_all(&config(fleet.bootstrap()), "lines") {
        read.entry(record.partition).or_default().push(record.value);
    }
    assert_eq!(read, expected);
    assert!(
        partitions_of_key.values().all(|partitions| partitions.len() == 1),
        "{partitions_of_key:?}"
    );
    assert!(expected.len() > 1, "fifty keys use more than one partition");
}

#[test]
fn records_without_a_key_spread_over_the_partitions() {
    let fleet = Fleet::start(&manifests(1, &[("spread", 4, 1)]));
    let mut partitions = BTreeSet::new();
    for round in 0..40 {
        let records = [(None, format!("record {round}"))];
        partitions.extend(
            produce(fleet.bootstrap(), "spread", &records, "none")
                .iter()
                .map(|record| record.partition),
        );
    }
    assert_eq!(partitions, BTreeSet::from([0, 1, 2, 3]));
}

/// Each member reads a record, if one comes soon, and commits it. Says how many partitions each has.
fn read_and_commit(members: &[BaseConsumer], seen: &mut BTreeSet<usize>) -> Vec<usize> {
    for member in members {
        if let Some(Ok(message)) = member.poll(Duration::from_millis(5)) {
            let value = std::str::from_utf8(message.payload().expect("a value")).expect("text");
            seen.insert(value.parse::<usize>().expect("a number"));
            member
                .commit_message(&message, rdkafka::consumer::CommitMode::Async)
                .expect("commit");
        }
    }
    members
        .iter()
        .map(|member| member.assignment().map_or(0, |assigned| assigned.count()))
        .collect()
}

#[test]
fn group_of_three_splits_six_partitions_and_splits_again_without_skipping() {
    let fleet = Fleet::start(&manifests(3, &[("shared", 6, 3)]));
    let values = |from: usize| -> Vec<(Option<&'static str>, String)> {
        (from..from + 600).map(|n| (None, format!("{n}"))).collect()
    };
    let member = || -> BaseConsumer {
        let member: BaseConsumer = config(fleet.bootstrap())
            .set("group.id", "splitters")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "6000")
            .set("partition.assignment.strategy", "range")
            .create()
            .expect("create a member");
        member.subscribe(&["shared"]).expect("subscribe");
        member
    };
    let mut members: Vec<BaseConsumer> = (0..3).map(|_| member()).collect();
    let mut seen = BTreeSet::new();
    for (from, per_member) in [(0, 2), (600, 3)] {
        assert_eq!(
            produce(fleet.bootstrap(), "shared", &values(from), "none").len(),
            600
        );
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let shares = read_and_commit(&members, &mut seen);
            if seen.len() == from + 600 && shares.iter().all(|share| *share == per_member) {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {} records seen, shares {shares:?}",
                seen.len(),
                from + 600
            );
        }
        members.pop();
    }
    assert_eq!(seen, (0..1_200).collect::<BTreeSet<_>>());
}

/// A consumer of the new group protocol (KIP-848).
fn modern_member(fleet: &Fleet, topic: &str) -> BaseConsumer {
    let member: BaseConsumer = config(fleet.bootstrap())
        .set("group.id", "modern")
        .set("group.protocol", "consumer")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("create a member");
    member.subscribe(&[topic]).expect("subscribe");
    member
}

#[test]
fn members_of_the_new_group_protocol_share_partitions_and_take_over_from_one_another() {
    let fleet = Fleet::start(&manifests(3, &[("modern", 6, 3)]));
    let values = |from: usize| -> Vec<(Option<&'static str>, String)> {
        (from..from + 600).map(|n| (None, format!("{n}"))).collect()
    };
    let mut members = vec![modern_member(&fleet, "modern")];
    let mut seen = BTreeSet::new();
    // One by itself, two, one of them again, and one that finds its topic by a regular expression.
    for (from, shares) in [
        (0, vec![6]),
        (600, vec![3, 3]),
        (1_200, vec![6]),
        (1_800, vec![6]),
    ] {
        if shares.len() > members.len() {
            members.push(modern_member(&fleet, "modern"));
        } else if shares.len() < members.len() {
            members.remove(0);
        } else if from == 1_800 {
            members = vec![modern_member(&fleet, "^mod.*")];
        }
        assert_eq!(
            produce(fleet.bootstrap(), "modern", &values(from), "none").len(),
            600
        );
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let held = read_and_commit(&members, &mut seen);
            if seen.len() == from + 600 && held == shares {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {} records seen, shares {held:?} of {shares:?}",
                seen.len(),
                from + 600
            );
        }
    }
    assert_eq!(seen, (0..2_400).collect::<BTreeSet<_>>());
}
