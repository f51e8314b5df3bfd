//! Replicas that move between the volumes of their broker (KIP-113), under load and through a kill.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flotilla_control::proto::metadata::{AlterConfig, ConfigOperation, ResourceConfigs, ResourceType};
use flotilla_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use flotilla_protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};
use flotilla_protocol::{ErrorCode, Str};

use crate::contract::Operator;
use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests, partition_of};
use crate::kafka::{config, produce};
use crate::raw::Connection;
use crate::writer::{Writer, check};

const SOON: Duration = Duration::from_secs(60);
const TOPIC: &str = "orders";
/// What is there before the move begins, and how fast it goes: some seconds, in which a broker is killed.
const BEFORE: (usize, usize) = (120, 50_000);
const RATE: usize = 1_000_000;

/// A fleet whose brokers have two volumes each.
fn fleet() -> Fleet {
    let mut files: BTreeMap<String, String> = manifests(3, &[(TOPIC, 1, 3)]);
    let cluster = files.get_mut("cluster.yaml").expect("a Cluster");
    cluster.push_str(
        "\x20 pools:\n\
         \x20   - name: main\n\
         \x20     volumes: [{name: one, size: 1Gi}, {name: two, size: 1Gi}]\n",
    );
    Fleet::start(&files)
}

/// A replica in a directory of a broker: the directory, and whether it is a copy that grows.
type Place = (PathBuf, bool);

/// Where the replica lies, the other directory, and the copies. An error: the broker does not answer.
fn places(fleet: &Fleet, broker: i64) -> std::io::Result<(Vec<Place>, Vec<PathBuf>)> {
    let mut connection = Connection::try_open(&fleet.address_of(broker))?;
    let answer = connection.call(4, &DescribeLogDirsRequest { topics: None })?;
    let (mut places, mut dirs) = (Vec::new(), Vec::new());
    for dir in &answer.results {
        let path = PathBuf::from(&*dir.log_dir);
        let topics = dir.topics.iter().filter(|topic| &*topic.name == TOPIC);
        for partition in topics.flat_map(|topic| &topic.partitions) {
            places.push((path.clone(), partition.is_future_key));
        }
        dirs.push(path);
    }
    Ok((places, dirs))
}

/// Asks a broker to move its replica to the volume where it is not, and says which that is.
fn move_replica(fleet: &Fleet, broker: i64) -> PathBuf {
    let (places, dirs) = places(fleet, broker).expect("the broker answers");
    let [(from, false)] = places.as_slice() else {
        panic!("one replica in one place: {places:?}");
    };
    let to = dirs.into_iter().find(|dir| dir != from).expect("another volume");
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: Str::copy_from(&to.to_string_lossy()),
            topics: vec![AlterReplicaLogDirTopic {
                name: TOPIC.into(),
                partitions: vec![0],
            }],
        }],
    };
    let mut connection = Connection::open(&fleet.address_of(broker));
    let answer = connection.call(2, &request).expect("an answer");
    let code = answer.results[0].partitions[0].error_code;
    assert_eq!(ErrorCode::from(code), ErrorCode::None);
    to
}

fn wait_until_moved(fleet: &Fleet, broker: i64, to: &Path) {
    eventually(SOON, "the replica to lie on the other volume", || {
        let (places, _) = places(fleet, broker).map_err(|error| error.to_string())?;
        let expected = [(to.to_owned(), false)];
        (places == expected)
            .then_some(())
            .ok_or_else(|| format!("{places:?}"))
    });
    let dir = to.join(format!("{TOPIC}-0"));
    assert!(dir.is_dir(), "{}", dir.display());
}

fn throttle(operator: &Operator, rate: usize) {
    operator.apply_config(ResourceConfigs {
        resource_type: ResourceType::Broker.into(),
        resource_name: String::new(),
        changes: vec![AlterConfig {
            operation: ConfigOperation::Set.into(),
            key: "replica.alter.log.dirs.io.max.bytes.per.second".to_owned(),
            value: Some(rate.to_string()),
        }],
        replace: false,
    });
}

fn wait_until_in_sync(fleet: &Fleet) {
    fleet.wait_for_status(SOON, "all in sync", |status| {
        partition_of(status, TOPIC, 0).is_some_and(|p| p["isr"].as_array().map(Vec::len) == Some(3))
    });
}

/// All directories of the partition, on all volumes of all brokers.
fn directories(fleet: &Fleet) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for broker in 0..3 {
        for volume in ["one", "two"] {
            let dir = fleet.data().join(format!("brokers/{broker}/data/{volume}"));
            let entries = std::fs::read_dir(&dir).expect("a volume").flatten();
            found.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| path.to_string_lossy().contains("/orders-0")),
            );
        }
    }
    found
}

#[test]
fn replica_moves_between_volumes_under_load_and_through_a_kill() {
    let fleet = fleet();
    let client = config(fleet.bootstrap());
    let before: Vec<_> = (0..BEFORE.0)
        .map(|n| (None, format!("{n:0width$}", width = BEFORE.1)))
        .collect();
    produce(fleet.bootstrap(), TOPIC, &before, "none");
    let writer = Writer::start(&client, TOPIC);
    writer.wait_for_more(200, Duration::from_secs(20));
    let leader = fleet.leader(TOPIC, 0);
    let follower = (leader + 1) % 3;
    // Both kinds of replicas move, as fast as they can.
    for broker in [leader, follower] {
        let to = move_replica(&fleet, broker);
        wait_until_moved(&fleet, broker, &to);
        writer.wait_for_more(200, Duration::from_secs(20));
    }
    // The leader is killed in the middle of another move: it begins anew, and ends, whoever leads by then.
    throttle(&Operator::of(&fleet), RATE);
    let leader = fleet.leader(TOPIC, 0);
    let to = move_replica(&fleet, leader);
    writer.wait_for_more(200, Duration::from_secs(20));
    let (places, _) = places(&fleet, leader).expect("the broker answers");
    assert!(places.contains(&(to.clone(), true)), "the copy grows: {places:?}");
    fleet.kill_broker(leader);
    writer.wait_for_more(200, SOON);
    throttle(&Operator::of(&fleet), 100 * RATE);
    wait_until_moved(&fleet, leader, &to);
    wait_until_in_sync(&fleet);
    eventually(SOON, "one directory for each replica", || {
        let found = directories(&fleet);
        (found.len() == 3)
            .then_some(())
            .ok_or_else(|| format!("{found:?}"))
    });
    check(&client, TOPIC, &writer.finish());
    // What was moved is what is read: each of the brokers leads once.
    for _ in 0..3 {
        let leader = fleet.leader(TOPIC, 0);
        wait_until_in_sync(&fleet);
        fleet.kill_broker(leader);
        eventually(SOON, "another leader", || {
            let now = fleet.leader(TOPIC, 0);
            (now != leader)
                .then_some(())
                .ok_or_else(|| format!("broker {now} leads"))
        });
        let read = crate::kafka::read_all(&client, TOPIC);
        let kept = read
            .iter()
            .filter(|record| record.value.len() == BEFORE.1)
            .count();
        assert_eq!(kept, BEFORE.0);
    }
}
