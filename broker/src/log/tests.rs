//! Whole logs, on a simulated disk where something is to go wrong and on the real one.

mod compacting;
mod crash;
mod damage;
mod ends;
mod leaving;
mod moving;
mod reading;
mod reserving;
mod retaining;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{LeaderEpoch, Offset, Uuid};

use super::*;

const TOPIC_ID: Uuid = Uuid([7; 16]);
const EPOCH: LeaderEpoch = LeaderEpoch(0);

fn dir() -> PathBuf {
    PathBuf::from("/volume/orders-0")
}

/// Segments of a few batches, and an index entry for nearly each of them.
fn small() -> Config {
    Config {
        segment_bytes: 600,
        index_interval_bytes: 100,
        ..Config::default()
    }
}

fn sim() -> (Arc<SimDisk>, Storage) {
    let disk = Arc::new(SimDisk::new());
    disk.create_dir(Path::new("/volume")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let tail = TailBudget::new(4096, 1024);
    (Arc::clone(&disk), Storage { disk, tail })
}

fn options(config: Config, clean: bool) -> OpenOptions {
    OpenOptions {
        topic_id: TOPIC_ID,
        config,
        now_ms: 0,
        clean,
        start_offset: None,
        recovery_point: None,
    }
}

fn open(storage: &Storage, options: OpenOptions) -> (Log, Recovery) {
    Log::open(storage, &dir(), options, &mut |_| {}).unwrap()
}

/// A new log on a new disk.
fn new(config: Config) -> (Arc<SimDisk>, Storage, Log) {
    let (disk, storage) = sim();
    let (log, recovery) = open(&storage, options(config, true));
    assert_eq!(recovery, Recovery::default());
    (disk, storage, log)
}

/// A batch with a record for each timestamp.
fn batch(timestamps: &[i64]) -> BytesMut {
    let mut builder = BatchBuilder::new(Offset(0));
    for timestamp_ms in timestamps {
        builder.push(*timestamp_ms, Some(b"key"), Some(b"some value"), &[]);
    }
    builder.build()
}

/// Appends batches of two records, with the offset as timestamp.
fn fill(log: &mut Log, batches: usize) {
    for _ in 0..batches {
        let at = log.log_end().0;
        log.append_leader(batch(&[at, at + 1]), EPOCH, at).unwrap();
    }
}

/// All bytes from `from` on, read in pieces of at most `bytes_max`.
fn read_all(log: &Log, from: Offset, bytes_max: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut at = from;
    while at < log.log_end() {
        let read = log.read(at, bytes_max, log.log_end(), true).unwrap();
        assert_eq!(
            read.size_bytes,
            read.batches.iter().map(Bytes::len).sum::<usize>()
        );
        if read.batches.is_empty() {
            break;
        }
        assert!(read.next_offset > at);
        at = read.next_offset;
        all.extend(read.batches.concat());
    }
    all
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list(&dir())
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect()
}
