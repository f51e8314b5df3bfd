use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flotilla_control::proto::metadata::{self as proto, record, request};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{LeaderEpoch, Offset, Uuid};
use tokio::time::timeout;

use super::testing::Partition;
use super::*;
use crate::coordination::{self, Controller};
use crate::group::consumer::Seen;
use crate::group::{
    Assigned, Commit, CommitPartition, Error, Fetch, FetchedPartition, Join, Joined, OffsetCommit, Protocol,
    Reply, Request, Sync, Text, WriteError,
};

const TOPIC_ID: Uuid = Uuid([5; 16]);
const ORDERS_ID: Uuid = Uuid([6; 16]);

fn topic_records(name: &str, id: Uuid) -> Vec<proto::Record> {
    let of = |record| proto::Record { record: Some(record) };
    vec![
        of(record::Record::Topic(proto::Topic {
            name: name.to_owned(),
            topic_id: id.0.to_vec(),
            owner: None,
        })),
        of(record::Record::Partition(proto::Partition {
            topic_id: id.0.to_vec(),
            partition: 0,
            replicas: vec![0],
            isr: vec![0],
            leader: 0,
            ..proto::Partition::default()
        })),
    ]
}

fn broker_record(id: i32) -> proto::Record {
    proto::Record {
        record: Some(record::Record::Broker(proto::Broker {
            broker_id: id,
            broker_epoch: 1,
            incarnation_id: vec![id as u8 + 1; 16],
            directory_id: vec![id as u8 + 1; 16],
            roles: vec!["broker".to_owned()],
            flotilla_version_max: 1,
            ..proto::Broker::default()
        })),
    }
}

fn image(records: &[proto::Record]) -> Image {
    let mut image = Image::default();
    image.fold_all(records).expect("known records");
    image
}

fn solo(image: Image) -> (Metadata, Controller) {
    let drawn = AtomicU8::new(100);
    let options = coordination::Options {
        session_timeout: Duration::from_secs(3_600),
        settings: Arc::new(|_| None),
        now_ms: || 0,
        fresh_id: Arc::new(move || Uuid([drawn.fetch_add(1, Ordering::Relaxed); 16])),
    };
    let (metadata, controller, quorum) = coordination::solo(BrokerId(0), image, options);
    quorum.elect();
    (metadata, controller)
}

/// A broker's groups on one partition, which it may or may not lead.
struct Bench {
    groups: Arc<Groups>,
    leadership: mpsc::UnboundedSender<Leadership>,
    partition: Arc<Partition>,
    controller: Controller,
}

impl Bench {
    fn on(partition: Arc<Partition>) -> Self {
        let mut records = topic_records(group::TOPIC, TOPIC_ID);
        records.extend(topic_records("orders", ORDERS_ID));
        let (metadata, controller) = solo(image(&records));
        let config = Config {
            initial_rebalance_delay_ms: 0,
            ..Config::default()
        };
        let (groups, _) = Groups::new(metadata, Arc::new(partition.clone()), config);
        let (leadership, changes) = mpsc::unbounded_channel();
        let changes = futures::stream::unfold(changes, |mut changes: mpsc::UnboundedReceiver<_>| async {
            changes.recv().await.map(|change| (change, changes))
        });
        tokio::spawn(groups.clone().run(changes.boxed()));
        Self {
            groups,
            leadership,
            partition,
            controller,
        }
    }

    /// A bench whose broker leads and has loaded.
    async fn leading() -> Self {
        let bench = Self::on(Partition::new());
        bench.lead(1).await;
        bench
    }

    fn become_leader(&self, epoch: i32) {
        self.partition.log.lock().epoch = LeaderEpoch(epoch);
        self.tell(Role::Leader(LeaderEpoch(epoch)));
    }

    fn tell(&self, role: Role) {
        let change = Leadership {
            topic_id: TOPIC_ID,
            partition: PartitionIndex(0),
            role,
        };
        self.leadership.send(change).expect("groups run");
    }

    async fn lead(&self, epoch: i32) {
        self.become_leader(epoch);
        self.until(|reply| !matches!(reply, Reply::List(Err(_)))).await;
    }

    /// Asks for the list of groups until the answer is as wanted.
    async fn until(&self, wanted: impl Fn(&Reply) -> bool) {
        let reached = async {
            while !wanted(&self.groups.ask_shard(PartitionIndex(0), Request::List).await) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), reached).await.expect("in time");
    }

    async fn ask(&self, request: Request) -> Reply {
        timeout(Duration::from_secs(10), self.groups.ask("g", request))
            .await
            .expect("an answer in time")
    }

    fn asking(&self, request: Request) -> tokio::task::JoinHandle<Reply> {
        let groups = self.groups.clone();
        tokio::spawn(async move { groups.ask("g", request).await })
    }

    async fn committed(&self) -> Option<i64> {
        match self.ask(fetch()).await {
            Reply::Fetch(Ok(found)) => found.first().map(offset),
            other => panic!("not fetched: {other:?}"),
        }
    }
}

fn offset(found: &FetchedPartition) -> i64 {
    let committed: &Option<OffsetCommit> = found.committed.as_ref().expect("no error");
    committed.as_ref().expect("an offset").offset
}

fn text(text: &str) -> Text {
    text.into()
}

fn commit(offset: i64) -> Request {
    Request::Commit(Commit {
        group: text("g"),
        generation: -1,
        member_id: text(""),
        instance_id: None,
        retention_ms: -1,
        knows_group_not_found: true,
        partitions: vec![CommitPartition {
            topic: text("orders"),
            topic_id: ORDERS_ID,
            partition: 0,
            offset,
            leader_epoch: -1,
            metadata: text(""),
        }],
    })
}

const COMMITTED: Reply = Reply::Commit(Ok(Vec::new()));

fn is_committed(reply: &Reply) -> bool {
    assert_eq!(std::mem::discriminant(reply), std::mem::discriminant(&COMMITTED));
    matches!(reply, Reply::Commit(Ok(each)) if each[..] == [Ok(())])
}

fn fetch() -> Request {
    Request::Fetch(Fetch {
        group: text("g"),
        partitions: None,
        require_stable: false,
        member: None,
    })
}

fn join() -> Request {
    Request::Join(Join {
        group: text("g"),
        member_id: text(""),
        instance_id: None,
        client_id: text("c"),
        client_host: text("/127.0.0.1"),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: text("consumer"),
        protocols: vec![Protocol {
            name: text("range"),
            metadata: Bytes::new(),
        }],
        requires_known_member_id: false,
        can_skip_assignment: false,
        fresh_id: text("1"),
        seen: Seen::default(),
    })
}

#[tokio::test]
async fn groups_are_served_once_their_partition_is_led_and_loaded() {
    let bench = Bench::on(Partition::new());
    assert_eq!(
        bench.ask(commit(1)).await,
        Reply::Commit(Err(Error::NotCoordinator))
    );
    bench.partition.log.lock().unreadable = true;
    bench.become_leader(1);
    bench
        .until(|reply| *reply == Reply::List(Err(Error::LoadInProgress)))
        .await;
    assert_eq!(
        bench.ask(commit(1)).await,
        Reply::Commit(Err(Error::LoadInProgress))
    );
    bench.partition.log.lock().unreadable = false;
    bench.until(|reply| matches!(reply, Reply::List(Ok(_)))).await;
    assert!(is_committed(&bench.ask(commit(1)).await));
    assert_eq!(bench.committed().await, Some(1));
}

#[tokio::test]
async fn a_commit_is_answered_when_the_high_watermark_has_passed_it() {
    let bench = Bench::leading().await;
    bench.partition.hold(true);
    let first = bench.asking(commit(1));
    let second = bench.asking(commit(2));
    let appended = async {
        while bench.partition.log.lock().end < Offset(2) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), appended)
        .await
        .expect("both in the log");
    assert_eq!(bench.committed().await, None);
    assert!(!first.is_finished() && !second.is_finished());
    bench.partition.hold(false);
    assert!(is_committed(&first.await.expect("no panic")));
    assert!(is_committed(&second.await.expect("no panic")));
    assert!(bench.committed().await.is_some());
}

#[tokio::test]
async fn another_broker_finds_groups_and_offsets_in_the_log() {
    let bench = Bench::leading().await;
    let Reply::Join(Joined {
        error: None,
        member_id,
        generation: 1,
        ..
    }) = bench.ask(join()).await
    else {
        panic!("joined");
    };
    let assigned = bench
        .ask(Request::Sync(Sync {
            group: text("g"),
            generation: 1,
            member_id: member_id.clone(),
            instance_id: None,
            protocol_type: None,
            protocol: None,
            assignments: vec![(member_id.clone(), Bytes::from_static(b"a"))],
            seen: Seen::default(),
        }))
        .await;
    let expected = Assigned {
        protocol_type: Some(text("consumer")),
        protocol: Some(text("range")),
        assignment: Bytes::from_static(b"a"),
    };
    assert_eq!(assigned, Reply::Sync(Ok(expected)));
    let Request::Commit(simple) = commit(7) else {
        panic!("a commit")
    };
    let from_member = Commit {
        member_id: member_id.clone(),
        generation: 1,
        ..simple
    };
    assert!(is_committed(&bench.ask(Request::Commit(from_member)).await));

    let other = Bench::on(bench.partition.clone());
    other.lead(2).await;
    assert_eq!(other.committed().await, Some(7));
    let heartbeat = Request::Heartbeat {
        group: text("g"),
        member_id,
        instance_id: None,
        generation: 1,
        seen: Seen::default(),
    };
    assert_eq!(other.ask(heartbeat.clone()).await, Reply::Heartbeat(Ok(())));

    // The first broker has not heard yet that it leads no more: its log refuses what it wants to write.
    assert_eq!(
        bench.ask(commit(8)).await,
        Reply::Commit(Err(Error::UnknownMember))
    );
    let Request::Commit(other_group) = commit(8) else {
        panic!("a commit")
    };
    let refused = bench
        .groups
        .ask(
            "h",
            Request::Commit(Commit {
                group: text("h"),
                ..other_group
            }),
        )
        .await;
    assert_eq!(refused, Reply::Commit(Err(Error::NotCoordinator)));
    assert_eq!(
        bench.ask(heartbeat).await,
        Reply::Heartbeat(Err(Error::NotCoordinator))
    );
    assert_eq!(other.committed().await, Some(7));
}

#[tokio::test]
async fn a_shard_whose_write_failed_is_read_again_while_its_partition_is_led() {
    let bench = Bench::leading().await;
    assert!(is_committed(&bench.ask(commit(1)).await));
    bench.partition.log.lock().failure = Some(WriteError::NotLeader);
    let refused = bench.ask(commit(2)).await;
    assert_eq!(refused, Reply::Commit(Err(Error::NotCoordinator)));
    bench.partition.log.lock().failure = None;
    bench.until(|reply| matches!(reply, Reply::List(Ok(_)))).await;
    assert_eq!(bench.committed().await, Some(1));
    assert!(is_committed(&bench.ask(commit(3)).await));
}

/// The partition as a cleaner leaves it: every tombstone's time is over, too.
fn compacted(partition: &Partition) -> Arc<Partition> {
    use crate::log::{CompactionLimits, Config, Log, OpenOptions, SimDisk, Storage};
    let storage = Storage::new(Arc::new(SimDisk::new()));
    let opened = OpenOptions {
        topic_id: TOPIC_ID,
        config: Config {
            compact: true,
            delete: false,
            delete_retention_ms: 0,
            ..Config::default()
        },
        now_ms: 0,
        clean: true,
        start_offset: None,
        recovery_point: None,
    };
    let (mut log, _) = Log::open(&storage, std::path::Path::new("/offsets-0"), opened, &mut |_| {}).unwrap();
    for batch in &partition.log.lock().batches {
        log.append_leader(batch[..].into(), LeaderEpoch(1), 0).unwrap();
    }
    log.roll(0).unwrap();
    let end = log.log_end();
    // Once to find the tombstones, and again to let them go.
    for now_ms in [1, 2] {
        let cleanable = log.survey(log.log_end()).cleanable(now_ms).unwrap();
        let limits = CompactionLimits {
            keys_bytes: 1 << 16,
            keys_load_factor: 0.9,
            buffer_bytes: 1 << 16,
        };
        let compaction = log.begin_compaction(&cleanable, limits, [1; 16], now_ms);
        let mut rewrite = compaction.read_keys(&mut |_| true).unwrap();
        while rewrite.next_bytes().is_some() {
            if let Some(cleaned) = rewrite.next(&mut |_| true).unwrap() {
                log.swap(cleaned).unwrap();
            }
        }
        log.mark_cleaned(rewrite.end()).unwrap();
    }
    let read = log.read(Offset(0), 1 << 20, end, true).unwrap().batches.concat();
    let of_log = Partition::new();
    {
        let mut inside = of_log.log.lock();
        let batches = flotilla_protocol::records::parse_batches(&read);
        inside.batches = batches
            .map(|batch| Bytes::copy_from_slice(batch.unwrap().2))
            .collect();
        inside.end = end;
    }
    of_log.hold(false);
    of_log
}

#[tokio::test]
async fn groups_are_found_in_a_log_that_was_compacted() {
    let bench = Bench::leading().await;
    let of = |group: &str, request| {
        let Request::Commit(request) = request else {
            panic!("a commit")
        };
        let group = text(group);
        Request::Commit(Commit { group, ..request })
    };
    let commits = |group: &'static str, upto: i64| {
        let groups = bench.groups.clone();
        async move {
            for at in 1..=upto {
                assert!(is_committed(&groups.ask(group, of(group, commit(at))).await));
            }
        }
    };
    commits("h", 3).await;
    commits("g", 20).await;
    commits("i", 5).await;
    let deleted = bench.groups.ask("h", Request::Delete(vec![text("h")])).await;
    assert_eq!(deleted, Reply::Delete(Ok(vec![Ok(())])));
    let forgotten = Request::DeleteOffsets {
        group: text("i"),
        partitions: vec![group::PartitionRef {
            topic: text("orders"),
            topic_id: ORDERS_ID,
            partition: 0,
        }],
    };
    bench.groups.ask("i", forgotten).await;
    commits("g", 21).await;
    commits("i", 2).await;
    let records = |partition: &Partition| -> i32 {
        let headers = partition.log.lock().batches.clone();
        let header = |batch: &Bytes| flotilla_protocol::records::BatchHeader::parse(batch).unwrap();
        headers.iter().map(|batch| header(batch).records_count).sum()
    };
    let small = compacted(&bench.partition);
    assert!(records(&bench.partition) > 50);
    assert_eq!(records(&small), 2, "of `g` and of `i`, and no tombstone");
    let whole = Bench::on(bench.partition.clone());
    whole.lead(2).await;
    let other = Bench::on(small);
    other.lead(2).await;
    for group in ["g", "h", "i"] {
        let asked = Request::Fetch(Fetch {
            group: text(group),
            partitions: None,
            require_stable: false,
            member: None,
        });
        let expected = whole.groups.ask(group, asked.clone()).await;
        assert_eq!(other.groups.ask(group, asked).await, expected, "{group}");
    }
    assert_eq!(other.committed().await, Some(21));
    assert_eq!(other.ask(Request::List).await, whole.ask(Request::List).await);
    // The log goes on behind what compaction left.
    assert!(is_committed(&other.ask(commit(22)).await));
    assert_eq!(other.committed().await, Some(22));
}

#[tokio::test]
async fn whoever_waits_is_sent_away_when_leadership_goes() {
    let bench = Bench::leading().await;
    bench.partition.hold(true);
    let waiting = bench.asking(commit(1));
    let appended = async {
        while bench.partition.log.lock().end < Offset(1) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), appended)
        .await
        .expect("in the log");
    bench.tell(Role::Other);
    let reply = timeout(Duration::from_secs(10), waiting).await.expect("in time");
    assert_eq!(
        reply.expect("no panic"),
        Reply::Commit(Err(Error::NotCoordinator))
    );
    bench
        .until(|reply| *reply == Reply::List(Err(Error::NotCoordinator)))
        .await;
}

#[tokio::test]
async fn a_new_epoch_reads_the_log_anew() {
    let bench = Bench::leading().await;
    assert!(is_committed(&bench.ask(commit(1)).await));
    bench.partition.log.lock().epoch = LeaderEpoch(2);
    assert_eq!(
        bench.ask(commit(2)).await,
        Reply::Commit(Err(Error::NotCoordinator))
    );
    bench.lead(2).await;
    assert_eq!(bench.committed().await, Some(1));
    assert!(is_committed(&bench.ask(commit(3)).await));
}

#[tokio::test]
async fn what_cannot_be_appended_is_refused_and_others_go_on() {
    let bench = Bench::leading().await;
    for (failure, error) in [
        (WriteError::NotReplicated, Error::NotAvailable),
        (WriteError::Storage, Error::NotCoordinator),
        (WriteError::TooLarge, Error::Unexpected),
    ] {
        bench.partition.log.lock().failure = Some(failure);
        assert_eq!(bench.ask(commit(1)).await, Reply::Commit(Err(error)));
    }
    bench.partition.log.lock().failure = None;
    assert_eq!(bench.committed().await, None);
    assert!(is_committed(&bench.ask(commit(2)).await));
}

#[tokio::test]
async fn a_large_write_fails_alone() {
    let bench = Bench::leading().await;
    let Request::Commit(mut large) = commit(1) else {
        panic!("a commit")
    };
    let one = large.partitions[0].clone();
    // A topic's name that does not fit into a record; nobody can create such a topic.
    large.partitions.push(CommitPartition {
        topic: "x".repeat(40_000).into(),
        ..one
    });
    let (large, small) = tokio::join!(bench.ask(Request::Commit(large)), bench.ask(commit(2)));
    assert_eq!(large, Reply::Commit(Err(Error::Unexpected)));
    assert!(is_committed(&small));
    assert!(is_committed(&bench.ask(commit(3)).await));
}

#[tokio::test]
async fn records_that_cannot_be_read_do_not_cost_a_partition_its_groups() {
    let partition = Partition::new();
    let bench = Bench::on(partition.clone());
    bench.lead(1).await;
    assert!(is_committed(&bench.ask(commit(1)).await));
    let place = Place {
        topic_id: TOPIC_ID,
        partition: PartitionIndex(0),
        leader_epoch: LeaderEpoch(1),
    };
    let mut strange = BatchBuilder::new(Offset(0));
    strange.push(0, Some(&[0, 1, 0, 9, b'x']), Some(&[0, 3]), &[]);
    strange.push(0, None, None, &[]);
    strange.push(0, Some(&[0, 3, 0, 1, b'g']), Some(&[]), &[]);
    partition
        .append(place, strange.build().freeze(), None)
        .expect("appended");
    assert!(is_committed(&bench.ask(commit(2)).await));
    let other = Bench::on(partition);
    other.lead(2).await;
    assert_eq!(other.committed().await, Some(2));
}

#[tokio::test]
async fn offsets_of_a_deleted_topic_are_forgotten() {
    let bench = Bench::leading().await;
    assert!(is_committed(&bench.ask(commit(1)).await));
    let delete = proto::Request {
        validate_only: false,
        request: Some(request::Request::DeleteTopics(proto::DeleteTopics {
            topics: vec![proto::TopicRef {
                owner: None,
                topic: Some(proto::topic_ref::Topic::Name("orders".to_owned())),
            }],
        })),
    };
    bench.controller.submit(delete).await.expect("deleted");
    let forgotten = async {
        while bench.committed().await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), forgotten)
        .await
        .expect("in time");
}

#[tokio::test]
async fn the_topic_is_created_once_with_as_many_replicas_as_there_are_brokers() {
    let (metadata, controller) = solo(image(&[broker_record(0), broker_record(1)]));
    let (groups, _) = Groups::new(metadata.clone(), Arc::new(Partition::new()), Config::default());
    let settings = BrokerSettings::resolve(&|_| None);
    assert_eq!(groups.coordinator_of(&metadata.image(), "g"), None);
    let (first, second) = tokio::join!(
        groups.ensure_topic(&controller, &settings, 2),
        groups.ensure_topic(&controller, &settings, 2)
    );
    assert_eq!((first, second), (true, true));
    let image = metadata.image();
    let topic = image.topic(group::TOPIC).expect("created");
    assert_eq!((topic.partition_count(), topic.replication_factor()), (50, 2));
    let config = image
        .config(proto::ResourceType::Topic, group::TOPIC)
        .expect("configured");
    let config: Vec<(&str, &str)> = config.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(
        config,
        [
            ("cleanup.policy", "compact"),
            ("compression.type", "producer"),
            ("segment.bytes", "104857600")
        ]
    );
    let leaders: BTreeSet<Option<BrokerId>> = (0..200)
        .map(|n| groups.coordinator_of(&image, &format!("group-{n}")))
        .collect();
    assert_eq!(leaders, [Some(BrokerId(0)), Some(BrokerId(1))].into());
}

#[tokio::test]
async fn the_topic_waits_for_brokers_that_are_about_to_come() {
    let (metadata, controller) = solo(image(&[broker_record(0)]));
    let (groups, _) = Groups::new(metadata, Arc::new(Partition::new()), Config::default());
    let settings = BrokerSettings::resolve(&|_| None);
    assert!(!groups.ensure_topic(&controller, &settings, 3).await);
}

#[test]
fn settings_become_the_configuration_of_groups() {
    assert_eq!(config(&BrokerSettings::resolve(&|_| None)), Config::default());
    let set = |key: &str| match key {
        "group.initial.rebalance.delay.ms" => Some("0".to_owned()),
        "group.max.size" => Some("10".to_owned()),
        "group.consumer.migration.policy" => Some("Upgrade".to_owned()),
        "offsets.retention.minutes" => Some("1".to_owned()),
        _ => None,
    };
    let expected = Config {
        initial_rebalance_delay_ms: 0,
        members_max: 10,
        offsets_retention_ms: 60_000,
        consumer: group::consumer::Config {
            migration_policy: MigrationPolicy::Upgrade,
            ..group::consumer::Config::default()
        },
        ..Config::default()
    };
    assert_eq!(config(&BrokerSettings::resolve(&set)), expected);
}
