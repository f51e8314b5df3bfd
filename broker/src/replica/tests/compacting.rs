//! Cleaners at work on the partitions of a broker.

use super::*;
use crate::log::{Disk, SimDisk};
use crate::metadata::{Fact, Image};
use crate::replica::testing::{broker, fold, image, partition, setting, topic};
use crate::replica::{Acks, Origin, Upto};
use flotilla_control::proto::metadata as proto;
use flotilla_protocol::BrokerId;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ME: BrokerId = BrokerId(0);
const DIR: &str = "/data";

/// A broker alone, which leads partition 0 of `table` (topic 1), compacted as soon as anything is written, and of `events`
/// (topic 2), which is not compacted.
fn alone() -> Image {
    image([
        broker(0, 1),
        topic("table", 1),
        setting("table", "cleanup.policy", "compact"),
        setting("table", "min.cleanable.dirty.ratio", "0"),
        setting("table", "max.compaction.lag.ms", "1"),
        partition(1, 0, &[0], &[0], 3),
        topic("events", 2),
        partition(2, 0, &[0], &[0], 3),
    ])
}

fn site(image: &Image) -> (Arc<SimDisk>, Arc<Replicas>) {
    let sim = Arc::new(SimDisk::new());
    let disk: Arc<dyn Disk> = sim.clone();
    let replicas = testing::open(&disk, Path::new(DIR), ME, testing::incarnation(ME, 1));
    replicas.apply(&Arc::new(image.clone()));
    (sim, replicas)
}

/// Records that have waited for longer than `max.compaction.lag.ms`.
fn update(replicas: &Replicas, topic: u8, records: &[(&str, &str)]) {
    let mut builder = BatchBuilder::new(Offset(0));
    for (record, value) in records {
        let (record, value) = (Some(record.as_bytes()), Some(value.as_bytes()));
        builder.push(crate::clock::now_ms() - 60_000, record, value, &[]);
    }
    let batch = builder.build().freeze();
    replicas
        .append(key(topic, 0), &batch, Acks::Leader, Origin::Client)
        .unwrap();
}

fn broker_setting(name: &str, value: &str) -> Fact {
    Fact::Config(proto::Config {
        resource_type: proto::ResourceType::Broker.into(),
        resource_name: String::new(),
        key: name.to_owned(),
        value: Some(value.to_owned()),
    })
}

/// Waits until all that was appended is committed.
async fn committed(replicas: &Replicas, topic: u8) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while replicas.high_watermark(key(topic, 0)) != replicas.log_end(key(topic, 0)) {
        assert!(Instant::now() < deadline, "nothing is committed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read(replicas: &Replicas, topic: u8) -> Vec<(i64, String)> {
    read_all(replicas, key(topic, 0), Upto::HighWatermark).await
}

fn owned(records: &[(i64, &str)]) -> Vec<(i64, String)> {
    records
        .iter()
        .map(|(offset, value)| (*offset, (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn compacted_topic_is_compacted_and_no_other() {
    let (_, replicas) = site(&alone());
    assert!(!replicas.clean_next(), "there is nothing yet");
    for topic in [1, 2] {
        update(&replicas, topic, &[("a", "1"), ("b", "1"), ("a", "2")]);
        update(&replicas, topic, &[("b", "2")]);
        committed(&replicas, topic).await;
    }
    assert!(replicas.clean_next());
    assert_eq!(read(&replicas, 1).await, owned(&[(2, "2"), (3, "2")]));
    assert_eq!(read(&replicas, 2).await.len(), 4);
    assert!(!replicas.clean_next(), "all is done");
    let metrics = replicas.metrics();
    assert_eq!((metrics.cleanings.get(), metrics.cleaner_failures.get()), (1, 0));
    assert!(metrics.cleaner_saved_bytes.get() > 0);
    assert!(metrics.cleaner_bytes.get() > metrics.cleaned_bytes.get());
    assert_eq!(replicas.cleaner_census().dirty_ratio_max, 0.0);
    // It goes on from there.
    update(&replicas, 1, &[("a", "3")]);
    committed(&replicas, 1).await;
    assert!(replicas.clean_next());
    assert_eq!(read(&replicas, 1).await, owned(&[(3, "2"), (4, "3")]));
}

#[tokio::test]
async fn nothing_above_the_high_watermark_is_compacted() {
    let mut image = alone();
    fold(&mut image, [broker(1, 1), topic("pair", 3)]);
    for (name, value) in [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("max.compaction.lag.ms", "1"),
    ] {
        fold(&mut image, [setting("pair", name, value)]);
    }
    fold(&mut image, [partition(3, 0, &[0, 1], &[0, 1], 3)]);
    let (_, replicas) = site(&image);
    update(&replicas, 3, &[("a", "1"), ("a", "2")]);
    assert!(!replicas.clean_next());
    assert_eq!(read_all(&replicas, key(3, 0), Upto::LogEnd).await.len(), 2);
}

#[tokio::test]
async fn damaged_log_is_left_alone_and_counted_and_others_go_on() {
    let mut image = alone();
    fold(
        &mut image,
        [topic("other", 3), setting("other", "cleanup.policy", "compact")],
    );
    fold(
        &mut image,
        [
            setting("other", "max.compaction.lag.ms", "1"),
            partition(3, 0, &[0], &[0], 3),
        ],
    );
    let (sim, replicas) = site(&image);
    for topic in [1, 3] {
        update(&replicas, topic, &[("a", "1"), ("a", "2")]);
        committed(&replicas, topic).await;
    }
    let path = PathBuf::from("/data/table-0/00000000000000000000.log");
    sim.tamper(&path, |bytes| bytes[HEADER_BYTES] = 0xff);
    while replicas.clean_next() {}
    assert_eq!(read(&replicas, 3).await, owned(&[(1, "2")]));
    let census = replicas.cleaner_census();
    assert_eq!(census.uncleanable_partitions, 1);
    assert!(census.uncleanable_bytes > 0);
    let metrics = replicas.metrics();
    assert_eq!((metrics.cleanings.get(), metrics.cleaner_failures.get()), (1, 1));
}

#[tokio::test]
async fn volume_without_room_is_left_as_it_is() {
    let (sim, replicas) = site(&alone());
    let large = "v".repeat(2_000);
    update(&replicas, 1, &[("a", &large), ("a", &large)]);
    update(&replicas, 1, &[("a", &large), ("b", &large)]);
    committed(&replicas, 1).await;
    let space = sim.space(Path::new(DIR)).unwrap();
    // Enough to end the segment, and not for another one.
    sim.set_capacity(Some(space.total_bytes - space.free_bytes + 1_000));
    assert!(replicas.clean_next());
    assert!(!replicas.clean_next(), "it is not tried again at once");
    assert_eq!(replicas.cleaner_census().uncleanable_partitions, 1);
    assert_eq!(read(&replicas, 1).await.len(), 4);
}

#[tokio::test]
async fn stopped_cleaner_ends_what_it_does_and_begins_nothing() {
    let mut image = alone();
    // A byte a second: the first batch is paid for with what was saved up, and the next one has to wait.
    fold(
        &mut image,
        [broker_setting("log.cleaner.io.max.bytes.per.second", "1")],
    );
    let (_, replicas) = site(&image);
    for n in 0..20 {
        update(&replicas, 1, &[("a", &n.to_string())]);
    }
    committed(&replicas, 1).await;
    let of_thread = replicas.clone();
    let cleaning = std::thread::spawn(move || of_thread.clean_next());
    let deadline = Instant::now() + Duration::from_secs(20);
    while replicas.metrics().cleaner_bytes.get() == 0 {
        assert!(Instant::now() < deadline, "nothing is read");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(
        !replicas.clean_next(),
        "a log is compacted by one thread at a time"
    );
    replicas.inner.cleaner.stop();
    replicas.inner.cleaner.wait_stopped();
    assert!(!cleaning.join().unwrap());
    assert!(!replicas.clean_next());
    assert_eq!(replicas.metrics().cleanings.get(), 0);
    assert_eq!(read(&replicas, 1).await.len(), 20);
}
