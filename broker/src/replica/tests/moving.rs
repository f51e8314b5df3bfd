//! Replicas that move between two volumes of a broker, each on a disk of its own.

use super::*;
use crate::log::disk::stopping::{Power, Stopping};
use crate::log::{Disk, SimDisk, TailBudget};
use crate::metadata::Image;
use crate::partition::follower::Answer;
use crate::replica::append::{Fetched, Said};
use crate::replica::moves::Next;
use crate::replica::testing::{self, broker, fold, image, partition, setting, topic};
use crate::replica::{Acks, Blocking, Config, Health, MoveError, OpenError, Origin, Upto};
use flotilla_protocol::{BrokerId, LeaderEpoch};
use futures::FutureExt as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const ME: BrokerId = BrokerId(0);
const A: &str = "/a";
const B: &str = "/b";
/// Where the log of these tests starts.
const START: Offset = Offset(3);
const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

struct Site {
    a: Arc<SimDisk>,
    b: Arc<SimDisk>,
    power: Arc<Power>,
    clock: Arc<AtomicI64>,
    rate: Option<&'static str>,
}

impl Site {
    fn new() -> Self {
        Self {
            a: Arc::default(),
            b: Arc::default(),
            power: Arc::default(),
            clock: Arc::new(AtomicI64::new(crate::clock::now_ms())),
            rate: None,
        }
    }

    /// Copies grow by so many bytes a second.
    fn throttled(rate: &'static str) -> Self {
        Self {
            rate: Some(rate),
            ..Self::new()
        }
    }

    fn try_open(&self, start: u8) -> Result<Arc<Replicas>, OpenError> {
        let volume = |disk: &Arc<SimDisk>, dir| {
            let disk: Arc<dyn Disk> = Arc::new(Stopping::new(disk, &self.power));
            testing::volume(&disk, Path::new(dir), ME)
        };
        let rate = self.rate.map(|rate| (RATE.to_owned(), rate.to_owned()));
        let clock = self.clock.clone();
        let config = Config {
            broker: ME,
            incarnation: testing::incarnation(ME, start),
            settings: rate.into_iter().collect(),
            volumes: vec![volume(&self.a, A), volume(&self.b, B)],
            tail: TailBudget::new(TailBudget::BYTES_MAX, TailBudget::PER_LOG_BYTES_MAX),
            clock: Arc::new(move || clock.load(Ordering::SeqCst)),
            blocking: Blocking::InPlace,
        };
        Replicas::open(config, |_| {})
    }

    /// The broker, started for the `start`-th time, which leads partition 0 of `orders` (topic 1).
    fn open(&self, start: u8) -> Arc<Replicas> {
        let replicas = self.try_open(start).unwrap();
        replicas.apply(&Arc::new(leading(start)));
        replicas
    }

    /// Lets time pass until nothing is moved any more, or a volume has failed.
    fn finish(&self, replicas: &Replicas) {
        for _ in 0..10_000 {
            if replicas
                .volumes()
                .iter()
                .any(|volume| volume.health() == Health::Offline)
            {
                return;
            }
            match replicas.move_next() {
                Next::Now => {}
                Next::After(ms) => {
                    self.clock.fetch_add(ms, Ordering::SeqCst);
                }
                Next::Idle => return,
            }
        }
        panic!("the move does not end");
    }

    /// Works until there is nothing to do at this moment.
    fn step(&self, replicas: &Replicas) {
        while replicas.move_next() == Next::Now {}
    }

    /// The names of all directories of partitions, on both volumes.
    fn dirs(&self) -> Vec<PathBuf> {
        let of = |disk: &SimDisk, dir: &str| {
            let paths = disk.paths().into_iter();
            let of_partitions = paths.filter(|path| path.parent() == Some(Path::new(dir)));
            of_partitions
                .filter(|path| path.to_string_lossy().contains("orders-"))
                .collect::<Vec<_>>()
        };
        [of(&self.a, A), of(&self.b, B)].concat()
    }
}

fn leading(start: u8) -> Image {
    image([
        broker(0, start),
        topic("orders", 1),
        partition(1, 0, &[0], &[0], 2 + i32::from(start)),
    ])
}

/// Appends, and syncs, as if a client waited for it. Whether it would have been told that it is there.
fn put(replicas: &Replicas, records: &Bytes) -> bool {
    let Ok(appended) = replicas.append(key(1, 0), records, Acks::All, Origin::Client) else {
        return false;
    };
    let hosted = replicas.hosted(key(1, 0)).unwrap();
    let _ = hosted.sync();
    appended.commit.unwrap().now() == Some(Ok(()))
}

/// Five records of one producer in four batches and three segments. The log starts inside of the third batch, and all of that is
/// known to the volume.
fn filled(replicas: &Replicas) {
    let hosted = replicas.hosted(key(1, 0)).unwrap();
    for (sequence, values) in [(0, &["v0"][..]), (1, &["v1"]), (2, &["v2", "v3"]), (4, &["v4"])] {
        assert!(put(replicas, &idempotent(7, sequence, values)));
        if sequence != 1 {
            hosted.here().unwrap().log.roll(1_000_000).unwrap();
        }
    }
    hosted.here().unwrap().log.advance_start(START).unwrap();
    replicas.write_high_watermarks();
    replicas.write_recovery_points();
    replicas.write_log_starts();
}

/// What is read from there: whole batches.
fn kept() -> Vec<(i64, String)> {
    (2..5).map(|n| (n, format!("v{n}"))).collect()
}

fn move_to(replicas: &Replicas, dir: &str) -> Result<(), MoveError> {
    replicas.alter_log_dir("orders", key(1, 0), dir)
}

async fn all_of(replicas: &Replicas) -> Vec<(i64, String)> {
    read_all(replicas, key(1, 0), Upto::LogEnd).await
}

/// The same, outside of a runtime, which would have long loops yield.
fn all_now(replicas: &Replicas) -> Vec<(i64, String)> {
    all_of(replicas).now_or_never().expect("nothing is waited for")
}

/// Each directory with the partitions in it: whether they are copies, and how far they are behind.
fn log_dirs(replicas: &Replicas) -> Vec<(PathBuf, Vec<(bool, i64)>)> {
    let dirs = replicas.log_dirs().into_iter();
    dirs.map(|dir| {
        let partitions = dir.partitions.iter();
        let partitions = partitions.map(|partition| (partition.is_copy, partition.lag));
        (dir.path, partitions.collect())
    })
    .collect()
}

#[tokio::test]
async fn replica_moves_with_all_that_it_holds_while_it_is_written() {
    let site = Site::throttled("50");
    let replicas = site.open(1);
    filled(&replicas);
    assert_eq!(
        log_dirs(&replicas),
        [(A.into(), vec![(false, 0)]), (B.into(), vec![])]
    );
    move_to(&replicas, B).unwrap();
    let begun = [(A.into(), vec![(false, 0)]), (B.into(), vec![(true, 2)])];
    assert_eq!(log_dirs(&replicas), begun);
    site.step(&replicas);
    let (_, copies) = log_dirs(&replicas).remove(1);
    assert_eq!(copies, [(true, 1)]);
    assert!(put(&replicas, &idempotent(7, 5, &["v5"])));
    // What waits for a sync when the copy takes over is told of it.
    let appended = replicas.append(key(1, 0), &batch(&["last"]), Acks::All, Origin::Client);
    let mut waiting = appended.unwrap().commit.unwrap();
    assert_eq!(waiting.now(), None);
    site.finish(&replicas);
    assert_eq!(waiting.now(), Some(Ok(())));
    assert_eq!(
        log_dirs(&replicas),
        [(A.into(), vec![]), (B.into(), vec![(false, 0)])]
    );
    assert_eq!(site.dirs(), [PathBuf::from("/b/orders-0")]);
    let mut expected = kept();
    expected.extend([(5, "v5".to_owned()), (6, "last".to_owned())]);
    assert_eq!(all_of(&replicas).await, expected);
    assert_eq!(replicas.high_watermark(key(1, 0)), Some(Offset(7)));
    let again = replicas.append(
        key(1, 0),
        &idempotent(7, 5, &["v5"]),
        Acks::Leader,
        Origin::Client,
    );
    assert!(again.unwrap().is_duplicate);
    // And back, and further writes are synced where it lies then.
    move_to(&replicas, A).unwrap();
    site.finish(&replicas);
    assert!(put(&replicas, &idempotent(7, 6, &["v6"])));
    assert_eq!(site.dirs(), [PathBuf::from("/a/orders-0")]);
    drop(replicas);
    site.a.crash(1);
    site.b.crash(1);
    let replicas = site.open(2);
    expected.push((7, "v6".to_owned()));
    assert_eq!(all_of(&replicas).await, expected);
}

#[test]
fn power_lost_at_any_step_of_a_move_leaves_one_whole_log() {
    let mut steps = 0;
    loop {
        let mut completed = false;
        for (seed, comes_back) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
            let site = Site::new();
            let replicas = site.open(1);
            filled(&replicas);
            // A move before, so that there is a count already.
            move_to(&replicas, B).unwrap();
            site.finish(&replicas);
            match comes_back {
                true => site.power.fail_once_after(steps),
                false => site.power.last_for(steps),
            }
            // It may be refused for want of power.
            let _ = move_to(&replicas, A);
            site.finish(&replicas);
            completed = site.power.is_on();
            let what = format!("step {steps}, seed {seed}");
            let is_acknowledged = put(&replicas, &idempotent(7, 5, &["v5"]));
            drop(replicas);
            site.power.last_for(usize::MAX);
            site.a.crash(seed);
            site.b.crash(7 * seed + 1);

            let replicas = site.open(2);
            let mut found = all_now(&replicas);
            if is_acknowledged || found.len() > 3 {
                assert_eq!(found.pop(), Some((5, "v5".to_owned())), "{what}");
            }
            assert_eq!(found, kept(), "{what}");
            let start = replicas
                .hosted(key(1, 0))
                .unwrap()
                .here()
                .unwrap()
                .log
                .log_start();
            assert_eq!(start, START, "{what}");
            let named = |site: &Site| {
                let dirs = site.dirs().into_iter();
                dirs.filter(|dir| dir.ends_with("orders-0")).count()
            };
            assert_eq!(named(&site), 1, "{what}: {:?}", site.dirs());
            let again = replicas.append(
                key(1, 0),
                &idempotent(7, 4, &["v4"]),
                Acks::Leader,
                Origin::Client,
            );
            assert!(again.unwrap().is_duplicate, "{what}");
            // What was begun is ended, and nothing else is left.
            site.finish(&replicas);
            assert_eq!(site.dirs().len(), 1, "{what}: {:?}", site.dirs());
            let n = replicas.log_end(key(1, 0)).unwrap().0;
            assert!(put(&replicas, &idempotent(7, n as i32, &["on"])), "{what}");
            assert_eq!(all_now(&replicas)[..3], kept(), "{what}");
        }
        if completed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 40, "{steps} steps");
}

#[tokio::test]
async fn follower_that_is_cut_while_it_moves_takes_what_its_leader_has() {
    let site = Site::throttled("100");
    let replicas = site.open(1);
    for value in ["a", "b", "c", "d"] {
        assert!(put(&replicas, &batch(&[value])));
    }
    move_to(&replicas, B).unwrap();
    site.step(&replicas);
    let (_, copies) = log_dirs(&replicas).remove(1);
    assert!(
        matches!(copies[..], [(true, 1..=2)]),
        "it has what is going to be cut: {copies:?}"
    );
    // Broker 1 leads, and has nothing from offset 1 on but its own.
    let mut followed = leading(1);
    fold(&mut followed, [broker(1, 1), partition(1, 0, &[0, 1], &[1], 5)]);
    replicas.apply(&Arc::new(followed.clone()));
    let hosted = replicas.hosted(key(1, 0)).unwrap();
    let (ask, _) = hosted.ask(BrokerId(1)).unwrap();
    let diverging = Answer::Diverging {
        epoch: LeaderEpoch(3),
        end: Offset(1),
    };
    let cut = Fetched {
        said: Said::Other(diverging),
        records: Bytes::new(),
    };
    hosted.fetched(&ask, &cut);
    let (ask, _) = hosted.ask(BrokerId(1)).unwrap();
    assert_eq!(ask.fetch_offset, Offset(1));
    let batch_of = |(offset, value): (i64, &str)| {
        let mut builder = BatchBuilder::new(Offset(offset)).leader_epoch(LeaderEpoch(5));
        builder.push(crate::clock::now_ms(), None, Some(value.as_bytes()), &[]);
        builder.build()
    };
    // Batch by batch, so that each offset that the copy may go on from is the beginning of one.
    let records = [(1, "B"), (2, "C"), (3, "D")].map(batch_of).concat();
    let sent = Fetched {
        said: Said::Records {
            high_watermark: Offset(1),
            log_start: Offset(0),
        },
        records: records.into(),
    };
    hosted.fetched(&ask, &sent);
    site.finish(&replicas);
    assert_eq!(site.dirs(), [PathBuf::from("/b/orders-0")]);
    fold(&mut followed, [partition(1, 0, &[0, 1], &[0], 6)]);
    replicas.apply(&Arc::new(followed));
    let expected = [(0, "a"), (1, "B"), (2, "C"), (3, "D")].map(|(offset, value)| (offset, value.to_owned()));
    assert_eq!(all_of(&replicas).await, expected);
}

#[tokio::test]
async fn move_ends_where_the_replica_is_asked_to_stay_or_is_dropped() {
    let site = Site::throttled("0");
    let replicas = site.open(1);
    filled(&replicas);
    for _ in 0..2 {
        move_to(&replicas, B).unwrap();
        // Asked for twice, it is one.
        move_to(&replicas, B).unwrap();
        site.step(&replicas);
        assert_eq!(site.dirs().len(), 2);
        move_to(&replicas, A).unwrap();
        site.step(&replicas);
        assert_eq!(site.dirs(), [PathBuf::from("/a/orders-0")]);
    }
    // Two copies of one replica are not removed at a time: whoever changes his mind so fast has to wait.
    move_to(&replicas, B).unwrap();
    move_to(&replicas, A).unwrap();
    move_to(&replicas, B).unwrap();
    assert!(matches!(move_to(&replicas, A), Err(MoveError::StillRemoving)));
    site.step(&replicas);
    assert_eq!(site.dirs().len(), 2);
    move_to(&replicas, A).unwrap();
    site.step(&replicas);
    // What lies there, whatever it is, is not written over.
    site.b.create_dir(Path::new("/b/orders-0")).unwrap();
    assert!(matches!(move_to(&replicas, B), Err(MoveError::Disk(_))));
    site.b.remove_dir(Path::new("/b/orders-0")).unwrap();
    move_to(&replicas, B).unwrap();
    let mut gone = leading(1);
    fold(&mut gone, [broker(1, 1), partition(1, 0, &[1], &[1], 9)]);
    replicas.apply(&Arc::new(gone));
    site.step(&replicas);
    assert_eq!(site.dirs(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn interrupted_move_is_begun_anew_after_a_restart() {
    let mut site = Site::throttled("50");
    let replicas = site.open(1);
    filled(&replicas);
    move_to(&replicas, B).unwrap();
    site.step(&replicas);
    assert!(
        site.b
            .paths()
            .iter()
            .any(|path| path.to_string_lossy().contains("-future/"))
    );
    drop(replicas);
    site.a.release();
    site.b.release();
    site.rate = None;
    let replicas = site.open(2);
    assert_eq!(log_dirs(&replicas)[1], (B.into(), vec![(true, 2)]));
    site.finish(&replicas);
    assert_eq!(site.dirs(), [PathBuf::from("/b/orders-0")]);
    assert_eq!(all_of(&replicas).await, kept());
}

#[tokio::test]
async fn replica_that_is_not_here_yet_comes_to_where_it_is_wanted() {
    let site = Site::new();
    let replicas = site.try_open(1).unwrap();
    let mut image = image([broker(0, 1), broker(1, 1), topic("orders", 1)]);
    fold(
        &mut image,
        [partition(1, 0, &[1], &[1], 1), partition(1, 1, &[1], &[1], 1)],
    );
    replicas.apply(&Arc::new(image.clone()));
    assert!(matches!(move_to(&replicas, B), Err(MoveError::NotHosted)));
    let other = replicas.alter_log_dir("orders", key(1, 1), "/c");
    assert!(matches!(other, Err(MoveError::NoSuchDir { .. })));
    fold(
        &mut image,
        [
            partition(1, 0, &[0, 1], &[1], 2),
            partition(1, 1, &[0, 1], &[1], 2),
        ],
    );
    replicas.apply(&Arc::new(image));
    let expected = [PathBuf::from("/a/orders-1"), PathBuf::from("/b/orders-0")];
    assert_eq!(site.dirs(), expected);
}

#[tokio::test]
async fn log_is_compacted_before_and_after_a_move_and_not_in_between() {
    let mut site = Site::throttled("0");
    let mut image = leading(1);
    for (name, value) in [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("max.compaction.lag.ms", "1"),
    ] {
        fold(&mut image, [setting("orders", name, value)]);
    }
    let replicas = site.try_open(1).unwrap();
    replicas.apply(&Arc::new(image.clone()));
    let update = |replicas: &Replicas, value: &str| {
        let mut builder = BatchBuilder::new(Offset(0));
        builder.push(0, Some(b"key"), Some(value.as_bytes()), &[]);
        assert!(put(replicas, &builder.build().freeze()));
    };
    update(&replicas, "1");
    update(&replicas, "2");
    assert!(replicas.clean_next());
    let cleaned = replicas
        .hosted(key(1, 0))
        .unwrap()
        .here()
        .unwrap()
        .log
        .first_dirty();
    assert_eq!(cleaned, Offset(2));
    move_to(&replicas, B).unwrap();
    site.step(&replicas);
    update(&replicas, "3");
    assert!(!replicas.clean_next(), "it is being moved");
    drop(replicas);
    site.a.release();
    site.b.release();
    site.rate = None;
    let replicas = site.try_open(2).unwrap();
    fold(&mut image, [broker(0, 2), partition(1, 0, &[0], &[0], 9)]);
    replicas.apply(&Arc::new(image));
    site.finish(&replicas);
    assert_eq!(site.dirs(), [PathBuf::from("/b/orders-0")]);
    let cleaned = replicas
        .hosted(key(1, 0))
        .unwrap()
        .here()
        .unwrap()
        .log
        .first_dirty();
    assert_eq!(cleaned, Offset(2), "what was compacted counts as compacted");
    update(&replicas, "4");
    assert!(replicas.clean_next());
    assert_eq!(all_of(&replicas).await, [(3, "4".to_owned())]);
}

#[tokio::test]
async fn partition_on_two_volumes_that_was_not_moved_is_left_to_the_user() {
    let site = Site::new();
    let replicas = site.open(1);
    filled(&replicas);
    drop(replicas);
    site.a.release();
    // Somebody copied the directory, without a word about which is the newer one.
    let copied: BTreeMap<PathBuf, Bytes> = site
        .a
        .paths()
        .into_iter()
        .filter(|path| path.parent() == Some(Path::new("/a/orders-0")))
        .map(|path| (path.clone(), site.a.read_at(&path, 0, 1 << 20).unwrap()))
        .collect();
    site.b.create_dir(Path::new("/b/orders-0")).unwrap();
    for (path, bytes) in copied {
        let path = Path::new("/b").join(path.strip_prefix("/a").unwrap());
        site.b.create(&path).unwrap();
        site.b.write_at(&path, 0, &bytes).unwrap();
    }
    site.b.release();
    let Err(error) = site.try_open(2) else {
        panic!("one of two was taken");
    };
    let text = error.to_string();
    assert!(
        text.contains("/a/orders-0") && text.contains("/b/orders-0"),
        "{text}"
    );
}
