use super::*;
use crate::log::{Disk, SimDisk, TailBudget};
use crate::metadata::Image;
use crate::replica::hosted::Synced;
use crate::replica::testing::{self, broker, fold, image, partition, topic};
use crate::replica::{Acks, Blocking, Config, Lane, Later, Origin};
use flotilla_protocol::messages::FetchResponse;
use flotilla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use flotilla_protocol::{BrokerId, LeaderEpoch};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const ME: BrokerId = BrokerId(2);

fn open(image: &Image) -> Arc<Replicas> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let replicas = Replicas::open(
        Config {
            broker: ME,
            incarnation: testing::incarnation(ME, 1),
            settings: BTreeMap::new(),
            volumes: vec![testing::volume(&disk, Path::new("/data"), ME)],
            tail: TailBudget::new(TailBudget::BYTES_MAX, TailBudget::PER_LOG_BYTES_MAX),
            clock: Arc::new(crate::clock::now_ms),
            blocking: Blocking::InPlace,
        },
        |_| {},
    )
    .unwrap();
    replicas.apply(&Arc::new(image.clone()));
    replicas
}

fn lane_to(replicas: &Replicas, leader: i32) -> Lane {
    let leader = BrokerId(leader);
    let lanes = replicas.lanes();
    lanes.into_iter().find(|lane| lane.leader == leader).unwrap()
}

/// Three records, as a leader of epoch 3 sends them.
fn response() -> FetchResponse {
    let mut builder = BatchBuilder::new(Offset(0)).leader_epoch(LeaderEpoch(3));
    for value in ["a", "b", "c"] {
        builder.push(crate::clock::now_ms(), None, Some(value.as_bytes()), &[]);
    }
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id: testing::topic_id(1),
            partitions: vec![PartitionData {
                high_watermark: 0,
                log_start_offset: 0,
                records: Some(vec![builder.build().freeze()].into()),
                ..PartitionData::default()
            }],
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

#[test]
fn follower_tells_a_new_leader_only_what_is_on_its_disk() {
    let mut image = image([
        broker(0, 1),
        broker(1, 1),
        broker(2, 1),
        topic("orders", 1),
        partition(1, 0, &[1, 0, 2], &[1, 0], 3),
    ]);
    let replicas = open(&image);
    let asking = replicas.ask(lane_to(&replicas, 1), &image).ok().unwrap();
    let mut syncing = replicas.take(asking, response());
    let rounds = replicas.begin_commits();
    // Before that is on the disk, another broker leads: another loop follows it.
    fold(&mut image, [partition(1, 0, &[1, 0, 2], &[0], 4)]);
    replicas.apply(&Arc::new(image.clone()));
    let lane = lane_to(&replicas, 0);
    let Err(Later::Synced(mut of_new_loop)) = replicas.ask(lane, &image) else {
        panic!("what is not on the disk yet is confirmed to the new leader");
    };
    assert_eq!((syncing.now(), of_new_loop.now()), (None, None));
    for round in rounds {
        replicas.end_commit(round);
    }
    assert_eq!(syncing.now(), Some(Ok(())));
    for round in replicas.begin_commits() {
        replicas.end_commit(round);
    }
    assert_eq!(of_new_loop.now(), Some(Ok(())));
    let asking = replicas.ask(lane, &image).ok().unwrap();
    assert_eq!(asking.request.topics[0].partitions[0].fetch_offset, 3);
}

#[test]
fn sync_is_in_bulk_where_much_came_that_no_producer_waits_for() {
    let image = image([broker(2, 1), topic("orders", 1), partition(1, 0, &[2], &[2], 3)]);
    let replicas = open(&image);
    let hosted = replicas.hosted(key(1, 0)).unwrap();
    let (much, little) = ("x".repeat(700_000), "x".repeat(10_000));
    let synced = |appends: &[(&str, Acks)]| {
        let append = |(value, acks): &(&str, Acks)| {
            let appended = replicas.append(key(1, 0), &batch(&[value]), *acks, Origin::Client);
            appended.unwrap()
        };
        // Who waits does so until it is let go.
        let _waiting: Vec<_> = appends.iter().map(append).collect();
        let (handle, what) = hosted.begin_sync().unwrap();
        hosted.end_sync(&handle, handle.sync()).unwrap();
        what
    };
    let twice_much = [(&*much, Acks::Leader), (&*much, Acks::Leader)];
    assert_eq!(synced(&twice_much), Synced::Bulk);
    assert_eq!(synced(&[(&*little, Acks::Leader)]), Synced::Awaited);
    let waited_for = [twice_much[0], twice_much[1], (&*little, Acks::All)];
    assert_eq!(synced(&waited_for), Synced::Awaited);
    assert_eq!(synced(&twice_much), Synced::Bulk, "what was waited for is done");
}
