mod mending;
mod serving;

use super::*;
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::coordination::{Controller, Metadata, Options, solo};
use crate::log::{Disk, SimDisk};
use crate::metadata::{Fact, Image};
use crate::replica::testing::{self, broker, fold, image, partition, topic};
use crate::replica::{Acks, Appended, Dial, Link, LinkError, Origin, Running, Upto};
use crate::request::{self, Session};
use flotilla_control::proto::metadata::{
    BrokerHeartbeat, FenceBrokers, RegisterBroker, Request, request::Request as Ask,
};
use flotilla_protocol::messages::{FetchRequest, FetchResponse};
use flotilla_protocol::{BrokerId, LeaderEpoch, Uuid};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Brokers by id, as they can be reached.
type Network = Arc<Mutex<BTreeMap<BrokerId, Arc<Broker>>>>;

/// Connections that hand requests over in memory, to the very handler that the wire leads to.
struct MemoryDial {
    me: BrokerId,
    network: Network,
}

struct MemoryLink {
    me: BrokerId,
    leader: BrokerId,
    network: Network,
}

impl Dial for MemoryDial {
    fn dial<'a>(
        &'a self,
        leader: &'a crate::metadata::Broker,
    ) -> BoxFuture<'a, Result<Box<dyn Link>, LinkError>> {
        Box::pin(async move {
            Ok(Box::new(MemoryLink {
                me: self.me,
                leader: leader.id,
                network: self.network.clone(),
            }) as Box<dyn Link>)
        })
    }
}

impl Link for MemoryLink {
    fn fetch(&mut self, fetch: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, LinkError>> {
        Box::pin(async move {
            let leader = self.network.lock().get(&self.leader).cloned();
            let leader = leader.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
            let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let mut session = Session::new(1, "replication".into(), Principal::anonymous(), host);
            session.peer_broker = Some(self.me);
            let mut ctx = request::testing::context_of(leader, Principal::anonymous(), 18);
            ctx.session = Arc::new(session);
            let response = request::fetch::handle(&ctx, fetch).await;
            // What was under way when a broker went away does not arrive any more.
            let is_there = self.network.lock().contains_key(&self.leader);
            is_there
                .then_some(response)
                .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
        })
    }
}

struct Site {
    id: BrokerId,
    sim: Arc<SimDisk>,
    replicas: Arc<Replicas>,
    running: Running,
}

struct Fleet {
    metadata: Metadata,
    controller: Controller,
    network: Network,
}

impl Fleet {
    fn new(image: Image) -> Self {
        let options = Options {
            session_timeout: Duration::from_secs(3600),
            settings: Arc::new(|_| None),
            now_ms: crate::clock::now_ms,
            fresh_id: Arc::new(|| Uuid(*uuid::Uuid::new_v4().as_bytes())),
        };
        let (metadata, controller, _) = solo(BrokerId(0), image, options);
        Self {
            metadata,
            controller,
            network: Network::default(),
        }
    }

    fn start(&self, id: BrokerId, sim: Arc<SimDisk>, start: u8) -> Site {
        let disk: Arc<dyn Disk> = sim.clone();
        let replicas = testing::open(&disk, Path::new("/data"), id, testing::incarnation(id, start));
        let dial = Arc::new(MemoryDial {
            me: id,
            network: self.network.clone(),
        });
        let running = replicas.start(self.metadata.clone(), self.controller.clone(), dial);
        let broker = Broker::in_memory_of(
            replicas.clone(),
            self.metadata.clone(),
            self.controller.clone(),
            Authorizer::none(),
        );
        self.network.lock().insert(id, broker);
        Site {
            id,
            sim,
            replicas,
            running,
        }
    }

    /// Ends a broker as `kill -9` does. Its disk keeps what the seed says of what was not synced.
    fn kill(&self, site: Site, seed: u64) -> Arc<SimDisk> {
        self.network.lock().remove(&site.id);
        drop(site.running);
        for hosted in site.replicas.all() {
            hosted.leave();
        }
        drop(site.replicas);
        site.sim.crash(seed);
        site.sim
    }

    async fn submit(&self, ask: Ask) {
        let request = Request {
            validate_only: false,
            request: Some(ask),
        };
        let response = self.controller.submit(request).await.unwrap();
        assert_eq!(response.refusal, 0, "{response:?}");
    }

    async fn fence(&self, id: BrokerId) {
        let broker_ids = vec![id.0];
        self.submit(Ask::FenceBrokers(FenceBrokers { broker_ids })).await;
    }

    /// Registers a broker's `start`-th process, and has it unfenced.
    async fn register(&self, id: BrokerId, start: u8) {
        let Fact::Broker(own) = broker(id.0, start) else {
            unreachable!("a broker is a broker")
        };
        self.submit(Ask::RegisterBroker(RegisterBroker {
            broker: Some(own),
            cluster_id: testing::CLUSTER.to_owned(),
            ..RegisterBroker::default()
        }))
        .await;
        let epoch = self.metadata.image().broker(id).unwrap().epoch;
        self.submit(Ask::BrokerHeartbeat(BrokerHeartbeat {
            broker_id: id.0,
            broker_epoch: epoch.0,
            applied_index: u64::MAX,
            ..BrokerHeartbeat::default()
        }))
        .await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&crate::metadata::Partition) -> bool) {
        let mut images = self.metadata.subscribe();
        let wait = async {
            let mut latest = images.latest();
            while !holds(latest.image.partition("orders", PartitionIndex(0)).unwrap()) {
                latest = images.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(SOON, wait).await.is_err() {
            let image = self.metadata.image();
            panic!("{what}: {:?}", image.partition("orders", PartitionIndex(0)));
        }
    }

    async fn until_in_sync(&self, isr: &[i32]) {
        let wanted: Vec<BrokerId> = isr.iter().copied().map(BrokerId).collect();
        self.until("in sync", |partition| {
            let mut isr = partition.isr.clone();
            isr.sort_unstable();
            isr == wanted
        })
        .await;
    }
}

/// Waits until a replica has applied that it leads in `epoch` or later.
async fn until_leads(replicas: &Replicas, epoch: i32) {
    let wait = async {
        let mut roles = replicas.leadership("orders");
        loop {
            if let Some(super::super::LeadershipChange {
                role: super::super::Role::Leader(LeaderEpoch(led)),
                ..
            }) = roles.recv().await
                && led >= epoch
            {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
}

async fn put(replicas: &Replicas, values: &[&str]) -> i64 {
    let appended = replicas
        .append(key(1, 0), &batch(values), Acks::All, Origin::Client)
        .unwrap();
    let base_offset = appended.base_offset;
    appended.commit.unwrap().wait(SOON).await.unwrap();
    base_offset.0
}

async fn two() -> (Fleet, Site, Site) {
    let fleet = Fleet::new(image([
        broker(0, 1),
        broker(1, 1),
        topic("orders", 1),
        partition(1, 0, &[0, 1], &[0], 3),
    ]));
    let first = fleet.start(BrokerId(0), Arc::default(), 1);
    let second = fleet.start(BrokerId(1), Arc::default(), 1);
    (fleet, first, second)
}

#[tokio::test]
async fn follower_fetches_joins_and_carries_the_high_watermark() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    assert_eq!(put(&first.replicas, &["a", "b"]).await, 0);
    assert_eq!(put(&first.replicas, &["c"]).await, 2);
    assert_eq!(second.replicas.log_end(key(1, 0)), Some(Offset(3)));
    assert_eq!(first.replicas.census().under_replicated, 0);
    assert_eq!(first.replicas.metrics().isr_expands.get(), 1);
}

/// Writes until the follower, which begins anew where its partitions changed, is in a session: the only one.
async fn until_in_one_session(leader: &Broker, replicas: &Replicas) {
    let wait = async {
        loop {
            put(replicas, &["a"]).await;
            let counts = leader.fetch_sessions.counts();
            if (counts.sessions, counts.partitions) == (1, 1) {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
}

#[tokio::test]
async fn follower_fetches_in_one_session_and_outlives_its_loss() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    let leader = fleet.network.lock()[&BrokerId(0)].clone();
    until_in_one_session(&leader, &first.replicas).await;
    leader.fetch_sessions.lose_all();
    until_in_one_session(&leader, &first.replicas).await;
    let last = put(&first.replicas, &["b"]).await;
    assert_eq!(second.replicas.log_end(key(1, 0)), Some(Offset(last + 1)));
}

#[tokio::test]
async fn acknowledged_records_survive_the_leader() {
    for seed in 0..4 {
        let (fleet, first, second) = two().await;
        fleet.until_in_sync(&[0, 1]).await;
        put(&first.replicas, &["a", "b"]).await;
        // What only the leader has when it dies was not acknowledged.
        let lost = first
            .replicas
            .append(key(1, 0), &batch(&["lost?"]), Acks::All, Origin::Client)
            .unwrap();
        drop(lost);
        let disk = fleet.kill(first, seed);
        fleet.fence(BrokerId(0)).await;
        until_leads(&second.replicas, 4).await;
        let found = read_all(&second.replicas, key(1, 0), Upto::LogEnd).await;
        assert_eq!(found[0], (0, "a".to_owned()), "seed {seed}");
        assert_eq!(found[1], (1, "b".to_owned()), "seed {seed}");
        put(&second.replicas, &["d"]).await;
        // The old leader comes back, drops what nobody else had, and follows.
        let first = fleet.start(BrokerId(0), disk, 2);
        fleet.register(BrokerId(0), 2).await;
        fleet.until_in_sync(&[0, 1]).await;
        put(&second.replicas, &["e"]).await;
        let led = read_all(&second.replicas, key(1, 0), Upto::LogEnd).await;
        let disk = fleet.kill(second, seed);
        fleet.fence(BrokerId(1)).await;
        until_leads(&first.replicas, 5).await;
        assert_eq!(
            read_all(&first.replicas, key(1, 0), Upto::LogEnd).await,
            led,
            "seed {seed}"
        );
        drop(disk);
    }
}

#[tokio::test]
async fn emptied_disk_is_filled_again_and_never_leads_before() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    put(&first.replicas, &["a", "b"]).await;
    fleet.kill(second, 0);
    let second = fleet.start(BrokerId(1), Arc::default(), 2);
    // The new incarnation leaves the in-sync set before it may fetch itself in again (KIP-903).
    fleet.register(BrokerId(1), 2).await;
    fleet.until_in_sync(&[0, 1]).await;
    assert_eq!(second.replicas.log_end(key(1, 0)), Some(Offset(2)));
    put(&first.replicas, &["c"]).await;
    assert_eq!(second.replicas.log_end(key(1, 0)), Some(Offset(3)));
}

#[tokio::test]
async fn clean_stop_keeps_everything() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    put(&first.replicas, &["a"]).await;
    let Site {
        sim,
        running,
        replicas,
        ..
    } = second;
    fleet.network.lock().remove(&BrokerId(1));
    running.stop().await;
    // Work that was under way on other threads lets go in its own time.
    while Arc::strong_count(&replicas) > 1 {
        tokio::task::yield_now().await;
    }
    drop(replicas);
    let disk: Arc<dyn Disk> = sim.clone();
    let (_, opened) = testing::volume(&disk, Path::new("/data"), BrokerId(1));
    assert!(opened.clean);
    assert_eq!(
        opened.recovery_points.into_values().collect::<Vec<_>>(),
        [Offset(1)]
    );
    drop(first);
}

#[tokio::test]
async fn new_topic_is_replicated_without_waiting_for_a_parked_fetch() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    let started = std::time::Instant::now();
    for number in 2..6 {
        let mut wanted = Image::clone(&fleet.metadata.image());
        fold(&mut wanted, [topic(&format!("t{number}"), number)]);
        let create = flotilla_control::proto::metadata::CreateTopics {
            topics: vec![flotilla_control::proto::metadata::CreateTopic {
                name: format!("t{number}"),
                partitions: 1,
                replication_factor: 2,
                assignments: vec![flotilla_control::proto::metadata::Replicas {
                    broker_ids: vec![0, 1],
                }],
                configs: Vec::new(),
            }],
        };
        fleet.submit(Ask::CreateTopics(create)).await;
        let image = fleet.metadata.image();
        let topic_id = image.topic(&format!("t{number}")).unwrap().id;
        let key = PartitionKey {
            topic_id,
            partition: PartitionIndex(0),
        };
        let wait = async {
            while first.replicas.led(key).is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, wait).await.unwrap();
        let appended = first
            .replicas
            .append(key, &batch(&["a"]), Acks::All, Origin::Client)
            .unwrap();
        appended.commit.unwrap().wait(SOON).await.unwrap();
        assert_eq!(second.replicas.log_end(key), Some(Offset(1)));
    }
    // A parked fetch lasts half a second.
    assert!(
        started.elapsed() < Duration::from_millis(1500),
        "{:?}",
        started.elapsed()
    );
}

/// Both brokers lose power, and only the follower comes back: what was acknowledged was synced there, too.
#[tokio::test]
async fn acknowledged_records_are_on_the_followers_disk_whatever_the_power_does() {
    for seed in 0..8 {
        let (fleet, first, second) = two().await;
        fleet.until_in_sync(&[0, 1]).await;
        put(&first.replicas, &["a", "b"]).await;
        put(&first.replicas, &["c"]).await;
        drop(fleet.kill(first, seed));
        let disk = fleet.kill(second, seed);
        fleet.fence(BrokerId(0)).await;
        let second = fleet.start(BrokerId(1), disk, 2);
        fleet.register(BrokerId(1), 2).await;
        until_leads(&second.replicas, 4).await;
        let found = read_all(&second.replicas, key(1, 0), Upto::LogEnd).await;
        let wanted = (0..).zip(["a", "b", "c"].map(str::to_owned)).collect::<Vec<_>>();
        assert_eq!(found, wanted, "seed {seed}");
    }
}

/// Appends a second record at `first`, which `second` gets and cannot sync.
async fn append_unsynced(first: &Site, second: &Site) -> Appended {
    second.sim.hold_syncs(true);
    let appended = first
        .replicas
        .append(key(1, 0), &batch(&["b"]), Acks::All, Origin::Client)
        .unwrap();
    let arrived = async {
        while second.replicas.log_end(key(1, 0)) != Some(Offset(2)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, arrived)
        .await
        .expect("the follower has the record");
    appended
}

#[tokio::test]
async fn follower_that_has_not_synced_holds_the_acknowledgement_back() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    put(&first.replicas, &["a"]).await;
    let appended = append_unsynced(&first, &second).await;
    let mut waiting = std::pin::pin!(appended.commit.unwrap().wait(SOON));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    second.sim.hold_syncs(false);
    assert!(
        early.is_err(),
        "acknowledged before the follower's disk had it: {early:?}"
    );
    waiting.await.unwrap();
}

/// DeleteRecords leaves a log that begins inside of a batch: what comes later gets that batch, whole, as its first.
#[tokio::test]
async fn replica_that_comes_after_records_were_deleted_inside_of_a_batch_is_filled() {
    let fleet = Fleet::new(image([
        broker(0, 1),
        broker(1, 1),
        topic("orders", 1),
        partition(1, 0, &[0, 1], &[0], 3),
    ]));
    let first = fleet.start(BrokerId(0), Arc::default(), 1);
    until_leads(&first.replicas, 3).await;
    put(&first.replicas, &["a", "b", "c"]).await;
    fleet.fence(BrokerId(1)).await;
    let low = first
        .replicas
        .delete_records(key(1, 0), Some(Offset(2)), SOON)
        .await;
    assert_eq!(low, Ok(Offset(2)));
    let second = fleet.start(BrokerId(1), Arc::default(), 2);
    fleet.register(BrokerId(1), 2).await;
    fleet.until_in_sync(&[0, 1]).await;
    put(&first.replicas, &["d"]).await;
    assert_eq!(second.replicas.log_end(key(1, 0)), Some(Offset(4)));
    let ends = |replicas: &Replicas| {
        let hosted = replicas.hosted(key(1, 0)).unwrap();
        let state = hosted.here().unwrap();
        (state.log.log_start(), state.log.log_end())
    };
    assert_eq!(ends(&second.replicas), (Offset(2), Offset(4)));
    // It can lead, and shows what is left.
    fleet.kill(first, 0);
    fleet.fence(BrokerId(0)).await;
    until_leads(&second.replicas, 4).await;
    let found = read_all(&second.replicas, key(1, 0), Upto::LogEnd).await;
    assert_eq!(found.last(), Some(&(3, "d".to_owned())));
}
