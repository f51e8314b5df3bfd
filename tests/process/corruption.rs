//! Disks that change what was written: consumers read everything right, and the replica is put right from another.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::FetchRequest;
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::kafka::{config, produce};
use crate::raw::Connection;
use crate::writer::check;

const SOON: Duration = Duration::from_secs(60);
const SEGMENT: &str = "orders-0/00000000000000000000.log";
/// More than the memory keeps of a log, so that its beginning is read from the disk.
const RECORDS: usize = 4_000;
const RECORD_BYTES: usize = 1_000;

/// Three brokers that read everything again every second.
fn scrubbing() -> Fleet {
    let mut files = manifests(3, &[("orders", 1, 3)]);
    let cluster = files.get_mut("cluster.yaml").expect("there is a Cluster");
    *cluster = cluster.replace(
        "  config:\n",
        "  config:\n    log.scrub.interval.ms: 1000\n    log.scrub.max.bytes.per.second: 1000000000\n",
    );
    Fleet::start(&files)
}

/// Records that all differ.
fn records() -> Vec<(Option<&'static str>, String)> {
    (0..RECORDS)
        .map(|number| (None, format!("{number:0>RECORD_BYTES$}")))
        .collect()
}

fn segment(fleet: &Fleet, broker: i64) -> PathBuf {
    let mut dirs = vec![fleet.data().join(format!("brokers/{broker}"))];
    while let Some(dir) = dirs.pop() {
        if dir.join(SEGMENT).exists() {
            return dir.join(SEGMENT);
        }
        let entries = std::fs::read_dir(&dir).expect("the broker's directory can be listed");
        dirs.extend(
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.is_dir()),
        );
    }
    panic!("broker {broker} has no {SEGMENT}")
}

fn flip(path: &Path, part: f64) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("the segment can be opened");
    let size = file.metadata().expect("the segment is there").len();
    let at = (size as f64 * part) as u64;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("the byte is there");
    byte[0] ^= 0x20;
    file.write_all_at(&byte, at).expect("the byte is changed");
}

fn wait_until_whole(fleet: &Fleet, good: &[u8]) {
    for broker in 0..3 {
        let path = segment(fleet, broker);
        eventually(SOON, &format!("the log of broker {broker} to be whole"), || {
            let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
            (bytes == good).then_some(()).ok_or_else(|| {
                fleet
                    .broker_log(broker)
                    .lines()
                    .rev()
                    .take(20)
                    .collect::<Vec<_>>()
                    .join("\n")
            })
        });
    }
}

#[test]
fn byte_that_changes_under_a_running_leader_is_never_read_and_mended() {
    let fleet = scrubbing();
    let acknowledged = produce(fleet.bootstrap(), "orders", &records(), "none");
    assert_eq!(acknowledged.len(), RECORDS);
    let leader = fleet.leader("orders", 0);
    let good = std::fs::read(segment(&fleet, leader)).expect("the segment can be read");
    for part in [0.1, 0.3] {
        flip(&segment(&fleet, leader), part);
    }
    check(&config(fleet.bootstrap()), "orders", &acknowledged);
    wait_until_whole(&fleet, &good);
    check(&config(fleet.bootstrap()), "orders", &acknowledged);
}

#[test]
fn bytes_that_changed_while_all_brokers_were_killed_are_never_read_and_mended() {
    let mut fleet = scrubbing();
    let acknowledged = produce(fleet.bootstrap(), "orders", &records(), "none");
    let good = std::fs::read(segment(&fleet, 0)).expect("the segment can be read");
    fleet.kill();
    // Each disk loses something else, the very end of one of them too: every batch is whole on one at least.
    for (broker, part) in [(0, 0.2), (1, 0.6), (2, 0.999)] {
        flip(&segment(&fleet, broker), part);
    }
    fleet.up();
    check(&config(fleet.bootstrap()), "orders", &acknowledged);
    wait_until_whole(&fleet, &good);
    check(&config(fleet.bootstrap()), "orders", &acknowledged);
}

#[test]
fn broken_record_that_nobody_else_has_is_refused_and_the_rest_is_read() {
    let fleet = Fleet::start(&manifests(1, &[("orders", 1, 1)]));
    let acknowledged = produce(fleet.bootstrap(), "orders", &records(), "none");
    assert_eq!(acknowledged.len(), RECORDS);
    flip(&segment(&fleet, 0), 0.6);
    let fetch = |offset| {
        let request = FetchRequest {
            max_bytes: 1 << 20,
            topics: vec![FetchTopic {
                topic: "orders".into(),
                partitions: vec![FetchPartition {
                    fetch_offset: offset,
                    partition_max_bytes: 1 << 20,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let mut connection = Connection::open(fleet.bootstrap());
        let mut answer = connection.call(12, &request).expect("an answer");
        let data = answer.responses.remove(0).partitions.remove(0);
        let size = data.records.map_or(0, |records| records.len());
        (ErrorCode::from(data.error_code), size)
    };
    // Up to it everything is read; at it is said first that it may be mended, and then that it cannot be.
    let mut offset = 0;
    let broken = eventually(SOON, "what is broken to be refused for good", || {
        match fetch(offset) {
            (ErrorCode::None, size) if size > 0 => {
                offset += 10;
                Err(format!("offset {offset} can be read"))
            }
            (ErrorCode::CorruptMessage, 0) => Ok(offset),
            told => Err(format!("{told:?} at offset {offset}")),
        }
    });
    let part = broken as f64 / RECORDS as f64;
    assert!((0.2..0.6).contains(&part), "at offset {broken}");
    let (code, size) = fetch(RECORDS as i64 - 1);
    assert_eq!(code, ErrorCode::None);
    assert!(size > 0);
}
