use super::*;
use crate::log::{Disk, SimDisk};
use crate::metadata::{Fact, Image};
use crate::partition::follower::Answer;
use crate::partition::leader::NotEnoughReplicas;
use crate::partition::producer_state;
use crate::replica::append::{Fetched, Said};
use crate::replica::poll;
use crate::replica::testing::{self, broker, fold, image, partition, setting, topic};
use crate::replica::{
    Acks, AppendError, At, Fetch, Health, LeadershipChange, Listed, Marker, Origin, Query, ReadError, Reader,
    Role, Unavailable, Upto,
};
use flotilla_control::proto::metadata as proto;
use flotilla_protocol::{BrokerEpoch, BrokerId, LeaderEpoch, ProducerEpoch, ProducerId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ME: BrokerId = BrokerId(0);
const DIR: &str = "/data";
const SOON: Duration = Duration::from_secs(20);

/// A broker alone, with partition 0 of `orders` (topic 1), which it leads in epoch 3.
fn alone() -> Image {
    image([broker(0, 1), topic("orders", 1), partition(1, 0, &[0], &[0], 3)])
}

struct Site {
    sim: Arc<SimDisk>,
    replicas: Arc<Replicas>,
}

fn site(image: &Image) -> Site {
    let sim = Arc::new(SimDisk::new());
    let disk: Arc<dyn Disk> = sim.clone();
    let replicas = testing::open(&disk, Path::new(DIR), ME, testing::incarnation(ME, 1));
    replicas.apply(&Arc::new(image.clone()));
    Site { sim, replicas }
}

fn append(replicas: &Replicas, values: &[&str]) -> crate::replica::Appended {
    replicas
        .append(key(1, 0), &batch(values), Acks::All, Origin::Client)
        .unwrap()
}

async fn committed(replicas: &Replicas, values: &[&str]) -> i64 {
    let appended = append(replicas, values);
    appended.commit.unwrap().wait(SOON).await.unwrap();
    appended.base_offset.0
}

fn fetch(offset: i64, bytes_min: usize, wait_max: Duration) -> Fetch {
    Fetch {
        reader: Reader::Consumer {
            read_committed: false,
        },
        near: None,
        wait_max,
        bytes_min,
        bytes_max: 1 << 20,
        partitions: vec![(
            key(1, 0),
            Query {
                leader_epoch: LeaderEpoch::UNKNOWN,
                offset: Offset(offset),
                last_fetched_epoch: LeaderEpoch::UNKNOWN,
                log_start: Offset(-1),
                bytes_max: 1 << 20,
                high_watermark: Offset(i64::MAX),
                in_place: false,
            },
        )],
    }
}

fn on(pairs: &[(i64, &str)]) -> Vec<(i64, String)> {
    pairs
        .iter()
        .map(|(offset, value)| (*offset, (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn acknowledged_record_is_committed_and_read() {
    let site = site(&alone());
    assert_eq!(committed(&site.replicas, &["a", "b"]).await, 0);
    assert_eq!(committed(&site.replicas, &["c"]).await, 2);
    assert_eq!(site.replicas.high_watermark(key(1, 0)), Some(Offset(3)));
    assert_eq!(
        read_all(&site.replicas, key(1, 0), Upto::HighWatermark).await,
        on(&[(0, "a"), (1, "b"), (2, "c")])
    );
    assert_eq!(site.replicas.metrics().messages_in.get(), 3);
}

#[tokio::test]
async fn acknowledged_record_survives_a_loss_of_power() {
    for seed in 0..16 {
        let Site { sim, replicas } = site(&alone());
        committed(&replicas, &["a", "b"]).await;
        // Perhaps lost, and nobody was told otherwise.
        let unanswered = append(&replicas, &["c"]);
        drop(unanswered);
        drop(replicas);
        sim.crash(seed);
        let disk: Arc<dyn Disk> = sim.clone();
        let again = testing::open(&disk, Path::new(DIR), ME, testing::incarnation(ME, 2));
        let mut after = alone();
        fold(&mut after, [broker(0, 2), partition(1, 0, &[0], &[0], 4)]);
        again.apply(&Arc::new(after));
        let found = read_all(&again, key(1, 0), Upto::LogEnd).await;
        assert_eq!(found[..2], on(&[(0, "a"), (1, "b")]), "seed {seed}");
        let next = i64::try_from(found.len()).unwrap();
        assert_eq!(committed(&again, &["d"]).await, next, "seed {seed}");
    }
}

#[tokio::test]
async fn many_appends_share_a_sync() {
    let site = site(&alone());
    let syncs = site.sim.syncs();
    let mut commits = Vec::new();
    for _ in 0..200 {
        commits.push(append(&site.replicas, &["x"]).commit.unwrap());
    }
    for commit in commits {
        commit.wait(SOON).await.unwrap();
    }
    assert!(
        site.sim.syncs() - syncs < 200,
        "{} syncs",
        site.sim.syncs() - syncs
    );
}

#[tokio::test]
async fn waiting_fetch_is_woken_by_what_is_committed() {
    let site = site(&alone());
    let replicas = site.replicas.clone();
    let waiting = tokio::spawn(async move { replicas.fetch(&fetch(0, 1, SOON)).await });
    tokio::task::yield_now().await;
    committed(&site.replicas, &["a"]).await;
    let parts = waiting.await.unwrap();
    let part = parts[0].as_ref().unwrap();
    assert_eq!(values(&part.records), on(&[(0, "a")]));
    assert_eq!((part.high_watermark, part.next_offset), (Offset(1), Offset(1)));
}

#[tokio::test]
async fn follower_that_asks_hears_of_a_high_watermark_alone_after_a_moment() {
    let replicated = [
        broker(0, 1),
        broker(1, 1),
        topic("orders", 1),
        partition(1, 0, &[0, 1], &[0], 3),
    ];
    let site = site(&image(replicated));
    committed(&site.replicas, &["a"]).await;
    let mut asked = fetch(1, 1, SOON);
    asked.reader = Reader::Replica {
        broker: BrokerId(1),
        epoch: BrokerEpoch(101),
    };
    (
        asked.partitions[0].1.leader_epoch,
        asked.partitions[0].1.high_watermark,
    ) = (LeaderEpoch(3), Offset(0));
    let began = std::time::Instant::now();
    let parts = site.replicas.fetch(&asked).await;
    let took = began.elapsed();
    let part = parts[0].as_ref().unwrap();
    assert_eq!((part.high_watermark, part.size_bytes), (Offset(1), 0));
    assert!((poll::MARKS_WAIT..SOON / 2).contains(&took), "{took:?}");
    // With records it comes at once.
    asked.partitions[0].1.offset = Offset(0);
    let began = std::time::Instant::now();
    let parts = site.replicas.fetch(&asked).await;
    let (took, part) = (began.elapsed(), parts[0].as_ref().unwrap());
    assert_eq!(values(&part.records), on(&[(0, "a")]));
    assert!(took < SOON / 2, "{took:?}");
}

#[tokio::test]
async fn fetch_waits_for_enough_bytes_or_until_its_time_is_up() {
    let site = site(&alone());
    committed(&site.replicas, &["a"]).await;
    let parts = site
        .replicas
        .fetch(&fetch(0, 10_000, Duration::from_millis(10)))
        .await;
    assert_eq!(values(&parts[0].as_ref().unwrap().records), on(&[(0, "a")]));
    let parts = site.replicas.fetch(&fetch(1, 1, Duration::from_millis(10))).await;
    assert_eq!(parts[0].as_ref().unwrap().records, Vec::<Bytes>::new());
}

#[tokio::test]
async fn fetch_out_of_range_or_in_another_epoch_is_answered_at_once() {
    let site = site(&alone());
    committed(&site.replicas, &["a"]).await;
    let parts = site.replicas.fetch(&fetch(2, 1, SOON)).await;
    assert_eq!(
        parts,
        [Err(ReadError::OutOfRange {
            asked: Offset(2),
            log_start: Offset(0),
            log_end: Offset(1),
            high_watermark: Offset(1),
        })]
    );
    let mut fenced = fetch(0, 1, SOON);
    fenced.partitions[0].1.leader_epoch = LeaderEpoch(2);
    let parts = site.replicas.fetch(&fenced).await;
    assert!(matches!(
        parts[0],
        Err(ReadError::Unavailable(Unavailable::Epoch(_)))
    ));
}

#[tokio::test]
async fn repeated_batch_is_answered_with_its_first_place() {
    let site = site(&alone());
    let put = |sequence, values: &[&str]| {
        let batch = idempotent(7, sequence, values);
        site.replicas.append(key(1, 0), &batch, Acks::All, Origin::Client)
    };
    assert_eq!(put(0, &["a", "b"]).unwrap().base_offset, Offset(0));
    assert_eq!(put(2, &["c"]).unwrap().base_offset, Offset(2));
    let again = put(0, &["a", "b"]).unwrap();
    assert!(again.is_duplicate);
    assert_eq!((again.base_offset, again.last_offset), (Offset(0), Offset(1)));
    again.commit.unwrap().wait(SOON).await.unwrap();
    assert!(matches!(
        put(5, &["f"]).unwrap_err(),
        AppendError::Producer(producer_state::Error::OutOfOrderSequence { found: 5, .. })
    ));
    assert_eq!(site.replicas.log_end(key(1, 0)), Some(Offset(3)));
}

#[tokio::test]
async fn batches_behind_a_refused_one_are_refused_likewise_until_it_comes_again() {
    let mut image = alone();
    fold(
        &mut image,
        [
            broker(1, 1),
            setting("orders", "min.insync.replicas", "2"),
            partition(1, 0, &[0, 1], &[0, 1], 4),
        ],
    );
    let site = site(&image);
    let put = |sequence, values: &[&str]| {
        let batch = idempotent(7, sequence, values);
        site.replicas.append(key(1, 0), &batch, Acks::All, Origin::Client)
    };
    let mut in_sync = |isr: &[i32], epoch| {
        fold(&mut image, [partition(1, 0, &[0, 1], isr, epoch)]);
        site.replicas.apply(&Arc::new(image.clone()));
    };
    assert_eq!(put(0, &["a"]).unwrap().base_offset, Offset(0));
    in_sync(&[0], 5);
    let refused = put(1, &["b", "c"]).unwrap_err();
    assert!(
        matches!(refused, AppendError::NotEnoughReplicas(_)),
        "{refused:?}"
    );
    // The other replica is back before the batches come that were on their way behind it.
    in_sync(&[0, 1], 6);
    for sequence in 3..7 {
        assert_eq!(put(sequence, &["d"]).unwrap_err(), refused);
    }
    // More than five cannot be on their way: this producer has lost a batch.
    let lost = put(7, &["e"]).unwrap_err();
    assert!(
        matches!(
            lost,
            AppendError::Producer(producer_state::Error::OutOfOrderSequence { .. })
        ),
        "{lost:?}"
    );
    assert_eq!(put(1, &["b", "c"]).unwrap().base_offset, Offset(1));
    assert_eq!(put(3, &["d"]).unwrap().base_offset, Offset(3));
    let gap = put(5, &["f"]).unwrap_err();
    assert!(
        matches!(
            gap,
            AppendError::Producer(producer_state::Error::OutOfOrderSequence { found: 5, .. })
        ),
        "{gap:?}"
    );
}

#[tokio::test]
async fn gap_may_be_what_the_leader_before_refused() {
    let mut image = alone();
    let site = site(&image);
    let put = |sequence, values: &[&str]| {
        let batch = idempotent(7, sequence, values);
        site.replicas.append(key(1, 0), &batch, Acks::All, Origin::Client)
    };
    let is_gap = |error: &AppendError| {
        let gap = AppendError::Producer(producer_state::Error::OutOfOrderSequence {
            producer_id: ProducerId(7),
            last: 0,
            found: 7,
        });
        *error == gap
    };
    put(0, &["a"]).unwrap();
    fold(&mut image, [partition(1, 0, &[0], &[0], 9)]);
    site.replicas.apply(&Arc::new(image));
    for sequence in 3..7 {
        let refused = put(sequence, &["d"]).unwrap_err();
        assert_eq!(refused, Unavailable::NotLeader.into(), "it comes again");
    }
    // More than five cannot be on their way: this producer has lost a batch.
    for _ in 0..2 {
        let lost = put(7, &["e"]).unwrap_err();
        assert!(is_gap(&lost), "{lost:?}");
    }
    put(1, &["b", "c"]).unwrap();
    let gap = put(4, &["e"]).unwrap_err();
    assert!(
        matches!(
            gap,
            AppendError::Producer(producer_state::Error::OutOfOrderSequence { last: 2, .. })
        ),
        "it has written here: {gap:?}"
    );
}

/// As after epoch 4 of the leader, and not in another one.
fn in_the_same_leadership(fact: Fact) -> Fact {
    match fact {
        Fact::Partition(partition) => Fact::Partition(proto::Partition {
            leader_epoch: 4,
            ..partition
        }),
        other => other,
    }
}

#[tokio::test]
async fn gap_that_does_not_begin_with_the_refused_batch_is_told() {
    let mut image = alone();
    fold(
        &mut image,
        [
            broker(1, 1),
            setting("orders", "min.insync.replicas", "2"),
            partition(1, 0, &[0, 1], &[0, 1], 4),
        ],
    );
    let site = site(&image);
    let put = |sequence, values: &[&str]| {
        let batch = idempotent(7, sequence, values);
        site.replicas.append(key(1, 0), &batch, Acks::All, Origin::Client)
    };
    put(0, &["a"]).unwrap();
    fold(
        &mut image,
        [in_the_same_leadership(partition(1, 0, &[0, 1], &[0], 5))],
    );
    site.replicas.apply(&Arc::new(image.clone()));
    let refused = put(2, &["c"]).unwrap_err();
    assert!(
        matches!(refused, AppendError::NotEnoughReplicas(_)),
        "{refused:?}"
    );
    fold(
        &mut image,
        [in_the_same_leadership(partition(1, 0, &[0, 1], &[0, 1], 6))],
    );
    site.replicas.apply(&Arc::new(image));
    for sequence in [2, 3] {
        let gap = put(sequence, &["d"]).unwrap_err();
        assert!(
            matches!(
                gap,
                AppendError::Producer(producer_state::Error::OutOfOrderSequence { last: 0, .. })
            ),
            "{gap:?}"
        );
    }
}

#[tokio::test]
async fn acks_all_is_refused_below_the_minimum_and_acks_one_is_not() {
    let mut image = alone();
    fold(
        &mut image,
        [
            broker(1, 1),
            setting("orders", "min.insync.replicas", "2"),
            partition(1, 0, &[0, 1], &[0], 4),
        ],
    );
    let site = site(&image);
    let put = |acks| {
        site.replicas
            .append(key(1, 0), &batch(&["a"]), acks, Origin::Client)
    };
    assert_eq!(
        put(Acks::All).unwrap_err(),
        AppendError::NotEnoughReplicas(NotEnoughReplicas {
            in_sync: 1,
            needed: 2
        })
    );
    assert_eq!(put(Acks::Leader).unwrap().base_offset, Offset(0));
    assert_eq!(site.replicas.high_watermark(key(1, 0)), Some(Offset(0)));
    assert_eq!(site.replicas.census().under_min_isr, 1);
}

#[tokio::test]
async fn producers_of_a_lost_leadership_are_told() {
    let mut image = alone();
    fold(&mut image, [broker(1, 1), partition(1, 0, &[0, 1], &[0, 1], 4)]);
    let site = site(&image);
    let waiting = append(&site.replicas, &["a"]).commit.unwrap();
    fold(&mut image, [partition(1, 0, &[0, 1], &[1, 0], 5)]);
    site.replicas.apply(&Arc::new(image));
    assert_eq!(
        waiting.wait(SOON).await,
        Err(AppendError::Unavailable(Unavailable::NotLeader))
    );
    let refused = site
        .replicas
        .append(key(1, 0), &batch(&["b"]), Acks::Leader, Origin::Client);
    assert_eq!(
        refused.unwrap_err(),
        AppendError::Unavailable(Unavailable::NotLeader)
    );
}

#[tokio::test]
async fn coordinator_of_an_earlier_epoch_may_not_write() {
    let site = site(&alone());
    let put = |epoch| {
        let origin = Origin::Coordinator {
            leader_epoch: LeaderEpoch(epoch),
            guard: None,
        };
        site.replicas.append(key(1, 0), &batch(&["a"]), Acks::All, origin)
    };
    assert_eq!(
        put(2).unwrap_err(),
        AppendError::Unavailable(Unavailable::NotLeader)
    );
    let end = put(3).unwrap().last_offset.plus(1);
    let (replicas, key) = (&site.replicas, key(1, 0));
    replicas
        .wait_high_watermark(key, LeaderEpoch(3), end, SOON)
        .await
        .unwrap();
    assert_eq!(
        replicas.wait_high_watermark(key, LeaderEpoch(2), end, SOON).await,
        Err(AppendError::Unavailable(Unavailable::NotLeader))
    );
}

#[tokio::test]
async fn metadata_of_an_earlier_incarnation_gives_no_role() {
    let sim: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let replicas = testing::open(&sim, Path::new(DIR), ME, testing::incarnation(ME, 2));
    replicas.apply(&Arc::new(alone()));
    assert!(!replicas.is_hosted(key(1, 0)));
}

#[tokio::test]
async fn deleted_topic_goes_from_the_disk_and_its_name_begins_anew() {
    let site = site(&alone());
    committed(&site.replicas, &["a"]).await;
    let mut image = alone();
    fold(
        &mut image,
        [Fact::RemoveTopic(proto::RemoveTopic {
            topic_id: testing::topic_id(1).0.to_vec(),
        })],
    );
    site.replicas.apply(&Arc::new(image.clone()));
    assert!(!site.replicas.is_hosted(key(1, 0)));
    let left: Vec<_> = site
        .sim
        .paths()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("orders"))
        .collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    fold(&mut image, [topic("orders", 2), partition(2, 0, &[0], &[0], 0)]);
    site.replicas.apply(&Arc::new(image));
    assert_eq!(site.replicas.log_end(key(2, 0)), Some(Offset(0)));
}

#[tokio::test]
async fn topic_that_was_replaced_while_the_broker_was_down_begins_anew() {
    let Site { sim, replicas } = site(&alone());
    committed(&replicas, &["a"]).await;
    drop(replicas);
    sim.crash(0);
    let disk: Arc<dyn Disk> = sim.clone();
    let again = testing::open(&disk, Path::new(DIR), ME, testing::incarnation(ME, 2));
    let after = image([broker(0, 2), topic("orders", 2), partition(2, 0, &[0], &[0], 0)]);
    again.apply(&Arc::new(after));
    assert!(!again.is_hosted(key(1, 0)));
    assert_eq!(again.log_end(key(2, 0)), Some(Offset(0)));
}

#[tokio::test]
async fn stray_is_kept_until_the_metadata_is_complete() {
    let Site { sim, replicas } = site(&alone());
    committed(&replicas, &["a"]).await;
    drop(replicas);
    sim.crash(0);
    let disk: Arc<dyn Disk> = sim.clone();
    let again = testing::open(&disk, Path::new(DIR), ME, testing::incarnation(ME, 2));
    let Fact::Broker(own) = broker(0, 2) else {
        unreachable!("a broker is a broker")
    };
    let fenced = proto::Broker {
        fenced: true,
        ..own.clone()
    };
    let mut after = image([Fact::Broker(fenced)]);
    again.apply(&Arc::new(after.clone()));
    assert!(again.is_hosted(key(1, 0)));
    fold(&mut after, [Fact::Broker(own)]);
    again.apply(&Arc::new(after));
    assert!(!again.is_hosted(key(1, 0)));
}

#[tokio::test]
async fn records_before_an_offset_are_deleted_on_demand() {
    let site = site(&alone());
    for value in ["a", "b", "c"] {
        committed(&site.replicas, &[value]).await;
    }
    let delete = |before| site.replicas.delete_records(key(1, 0), before, SOON);
    assert_eq!(delete(Some(Offset(2))).await, Ok(Offset(2)));
    assert_eq!(
        read_all(&site.replicas, key(1, 0), Upto::HighWatermark).await,
        on(&[(2, "c")])
    );
    assert!(matches!(
        delete(Some(Offset(4))).await,
        Err(ReadError::OutOfRange { .. })
    ));
    assert_eq!(delete(None).await, Ok(Offset(3)));
}

#[tokio::test]
async fn compacted_topic_lets_no_records_be_deleted() {
    let mut image = alone();
    fold(&mut image, [setting("orders", "cleanup.policy", "compact")]);
    let site = site(&image);
    assert_eq!(
        site.replicas.delete_records(key(1, 0), None, SOON).await,
        Err(ReadError::NotDeletable)
    );
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let site = site(&alone());
    let before_ms = crate::clock::now_ms();
    committed(&site.replicas, &["a"]).await;
    committed(&site.replicas, &["b"]).await;
    let reader = Some(Reader::Consumer {
        read_committed: false,
    });
    let list = async |at| {
        let unknown = LeaderEpoch::UNKNOWN;
        site.replicas
            .list_offset(key(1, 0), at, unknown, reader)
            .await
            .unwrap()
    };
    let listed = |offset| {
        Some(Listed {
            offset: Offset(offset),
            timestamp_ms: None,
            leader_epoch: Some(LeaderEpoch(3)),
        })
    };
    assert_eq!(list(At::Earliest).await, listed(0));
    assert_eq!(list(At::Latest).await, listed(2));
    assert_eq!(
        list(At::Timestamp(before_ms)).await.map(|l| l.offset),
        Some(Offset(0))
    );
    assert_eq!(list(At::Timestamp(i64::MAX)).await, None);
    assert!(list(At::MaxTimestamp).await.is_some());
}

#[tokio::test]
async fn full_volume_refuses_records_and_still_reads() {
    let site = site(&alone());
    committed(&site.replicas, &["a"]).await;
    site.sim.set_capacity(Some(1));
    let put = || {
        site.replicas
            .append(key(1, 0), &batch(&["b"]), Acks::Leader, Origin::Client)
    };
    assert_eq!(put().unwrap_err(), AppendError::Full);
    assert_eq!(site.replicas.volumes()[0].health(), Health::Full);
    let told = site.replicas.storage_full();
    site.replicas.note_space();
    assert!(*told.borrow());
    assert_eq!(
        read_all(&site.replicas, key(1, 0), Upto::HighWatermark).await,
        on(&[(0, "a")])
    );
    site.sim.set_capacity(None);
    site.replicas.volumes()[0].files().check_space();
    site.replicas.note_space();
    assert!(!*told.borrow());
    assert_eq!(put().unwrap().base_offset, Offset(1));
}

#[tokio::test]
async fn failed_sync_takes_the_volume_offline_and_acknowledges_nothing() {
    let site = site(&alone());
    committed(&site.replicas, &["a"]).await;
    site.sim.fail_syncs_of(".log");
    let waiting = append(&site.replicas, &["b"]).commit.unwrap();
    let failed = tokio::time::timeout(SOON, site.replicas.failed()).await.unwrap();
    assert!(failed.contains(DIR), "{failed}");
    assert_eq!(
        waiting.wait(Duration::from_millis(1)).await,
        Err(AppendError::Timeout)
    );
    let refused = site
        .replicas
        .append(key(1, 0), &batch(&["c"]), Acks::Leader, Origin::Client);
    assert_eq!(
        refused.unwrap_err(),
        AppendError::Unavailable(Unavailable::Offline)
    );
}

#[tokio::test]
async fn changed_settings_of_a_topic_hold_at_once() {
    let site = site(&alone());
    let mut image = alone();
    fold(&mut image, [setting("orders", "max.message.bytes", "10")]);
    site.replicas.apply(&Arc::new(image));
    let refused = site
        .replicas
        .append(key(1, 0), &batch(&["a"]), Acks::Leader, Origin::Client);
    assert!(matches!(refused.unwrap_err(), AppendError::TooLarge { .. }));
}

#[tokio::test]
async fn leaderships_of_a_topic_are_told_in_order() {
    let mut image = alone();
    let site = site(&image);
    let mut roles = site.replicas.leadership("orders");
    fold(&mut image, [broker(1, 1), partition(1, 0, &[0, 1], &[1], 4)]);
    site.replicas.apply(&Arc::new(image.clone()));
    fold(&mut image, [partition(1, 0, &[0, 1], &[0], 5)]);
    site.replicas.apply(&Arc::new(image.clone()));
    fold(&mut image, [partition(1, 0, &[1], &[1], 6)]);
    site.replicas.apply(&Arc::new(image));
    let mut told = Vec::new();
    while let Ok(LeadershipChange { role, .. }) = roles.try_recv() {
        told.push(role);
    }
    assert_eq!(
        told,
        [
            Role::Leader(LeaderEpoch(3)),
            Role::Follower,
            Role::Leader(LeaderEpoch(5)),
            Role::Gone,
        ]
    );
}

#[tokio::test]
async fn leader_that_was_deposed_before_it_wrote_forgets_its_epoch_and_follows() {
    let mut image = alone();
    fold(&mut image, [broker(1, 1), partition(1, 0, &[0, 1], &[0], 4)]);
    let site = site(&image);
    committed(&site.replicas, &["a"]).await;
    // It leads again, writes nothing, and loses the partition to broker 1.
    for (isr, epoch) in [([0, 1], 5), ([1, 0], 6)] {
        fold(&mut image, [partition(1, 0, &[0, 1], &isr, epoch)]);
        site.replicas.apply(&Arc::new(image.clone()));
    }
    let hosted = site.replicas.hosted(key(1, 0)).unwrap();
    let (ask, _) = hosted.ask(BrokerId(1)).unwrap();
    assert_eq!(
        (ask.fetch_offset, ask.last_fetched_epoch),
        (Offset(1), LeaderEpoch(5))
    );
    let diverging = Fetched {
        said: Said::Other(Answer::Diverging {
            epoch: LeaderEpoch(4),
            end: Offset(1),
        }),
        records: Bytes::new(),
    };
    hosted.fetched(&ask, &diverging);
    let (ask, _) = hosted.ask(BrokerId(1)).unwrap();
    assert_eq!(
        (ask.fetch_offset, ask.last_fetched_epoch),
        (Offset(1), LeaderEpoch(4))
    );
}

fn transactional(sequence: i32, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Offset(0))
        .producer(ProducerId(7), ProducerEpoch(0), sequence)
        .transactional();
    builder.push(crate::clock::now_ms(), None, Some(value.as_bytes()), &[]);
    builder.build().freeze()
}

fn marker(epoch: i16, committed: bool) -> Marker {
    Marker {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(epoch),
        committed,
        coordinator_epoch: 1,
        is_bumped: true,
    }
}

async fn ended(site: &Site, marker: &Marker) -> Offset {
    let marked = site.replicas.end_transaction(key(1, 0), marker, None).unwrap();
    marked.commit.unwrap().wait(SOON).await.unwrap();
    marked.end
}

async fn read_committed(site: &Site) -> (Offset, usize, Vec<(i64, i64)>) {
    let mut fetch = fetch(0, 0, Duration::ZERO);
    fetch.reader = Reader::Consumer { read_committed: true };
    let part = site.replicas.fetch(&fetch).await.remove(0).unwrap();
    let aborted = part.aborted.iter();
    let aborted = aborted
        .map(|one| (one.producer_id.0, one.first_offset.0))
        .collect();
    (part.last_stable_offset, part.size_bytes, aborted)
}

#[tokio::test]
async fn reader_of_what_is_decided_waits_for_the_marker_and_hears_of_aborts() {
    let site = site(&alone());
    committed(&site.replicas, &["before"]).await;
    let batch = transactional(0, "one");
    let verified = site.replicas.verification(key(1, 0), &batch).unwrap().unwrap();
    let origin = Origin::Transaction(verified);
    let put = |batch, origin| site.replicas.append(key(1, 0), batch, Acks::All, origin);
    let refused = put(&batch, Origin::Client).unwrap_err();
    let not_in_transaction = AppendError::Producer(producer_state::Error::NotInTransaction {
        producer_id: ProducerId(7),
    });
    assert_eq!(refused, not_in_transaction);
    put(&batch, origin)
        .unwrap()
        .commit
        .unwrap()
        .wait(SOON)
        .await
        .unwrap();
    // It is open now: nobody need be asked any more.
    let second = transactional(1, "two");
    assert_eq!(site.replicas.verification(key(1, 0), &second), Ok(None));
    put(&second, Origin::Client)
        .unwrap()
        .commit
        .unwrap()
        .wait(SOON)
        .await
        .unwrap();
    let (stable, size, aborted) = read_committed(&site).await;
    assert_eq!((stable, aborted), (Offset(1), vec![]));
    assert!(size > 0 && size < batch.len() * 2);
    let latest = |read_committed| {
        let reader = Some(Reader::Consumer { read_committed });
        let listed = site
            .replicas
            .list_offset(key(1, 0), At::Latest, LeaderEpoch(3), reader);
        async move { listed.await.unwrap().unwrap().offset }
    };
    assert_eq!((latest(true).await, latest(false).await), (Offset(1), Offset(3)));
    let producers = site.replicas.active_producers(key(1, 0)).unwrap();
    assert_eq!(producers[0].transaction_start, Some(Offset(1)));

    assert_eq!(ended(&site, &marker(1, false)).await, Offset(4));
    let (stable, _, aborted) = read_committed(&site).await;
    assert_eq!((stable, aborted), (Offset(4), vec![(7, 1)]));
    // The same marker again is harmless, and one of the transaction's own epoch is of the past.
    assert_eq!(ended(&site, &marker(1, false)).await, Offset(4));
    let late = site.replicas.end_transaction(key(1, 0), &marker(0, true), None);
    assert!(matches!(
        late.unwrap_err(),
        AppendError::Producer(producer_state::Error::InvalidEpoch { .. })
    ));
    let again = site
        .replicas
        .fetch(&fetch(0, 0, Duration::ZERO))
        .await
        .remove(0)
        .unwrap();
    assert_eq!(again.aborted, vec![], "who reads everything needs no list");
}

#[tokio::test]
async fn marker_of_the_transaction_before_does_not_get_in_the_way_of_the_next() {
    let site = site(&alone());
    let of_epoch = |epoch| {
        let mut builder = BatchBuilder::new(Offset(0))
            .producer(ProducerId(7), ProducerEpoch(epoch), 0)
            .transactional();
        builder.push(crate::clock::now_ms(), None, Some(b"one"), &[]);
        builder.build().freeze()
    };
    let put = |batch: &Bytes, verified| {
        let origin = Origin::Transaction(verified);
        let appended = site.replicas.append(key(1, 0), batch, Acks::All, origin);
        appended.map(|appended| appended.base_offset)
    };
    let (first, second) = (of_epoch(0), of_epoch(1));
    let verified = |batch| site.replicas.verification(key(1, 0), batch).unwrap().unwrap();
    assert_eq!(put(&first, verified(&first)), Ok(Offset(0)));
    // The coordinator is asked about the second one, and answers once the first one has its markers.
    let asked = verified(&second);
    ended(&site, &marker(1, true)).await;
    assert_eq!(put(&second, asked), Ok(Offset(2)));
}

#[tokio::test]
async fn transaction_that_a_marker_ended_while_it_was_verified_is_not_opened_again() {
    let site = site(&alone());
    let batch = transactional(0, "late");
    let verified = site.replicas.verification(key(1, 0), &batch).unwrap().unwrap();
    let of_older_client = Marker {
        is_bumped: false,
        ..marker(0, false)
    };
    ended(&site, &of_older_client).await;
    let put = |verified| {
        let appended = site
            .replicas
            .append(key(1, 0), &batch, Acks::All, Origin::Transaction(verified));
        appended.unwrap_err()
    };
    assert!(matches!(
        put(verified),
        AppendError::Producer(producer_state::Error::NotInTransaction { .. })
    ));
    let verified = site.replicas.verification(key(1, 0), &batch).unwrap().unwrap();
    let mut image = alone();
    fold(&mut image, [partition(1, 0, &[0], &[0], 4)]);
    site.replicas.apply(&Arc::new(image));
    assert_eq!(put(verified), AppendError::Unavailable(Unavailable::NotLeader));
}
