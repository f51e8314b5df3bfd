//! What `up` does beside following edits of topics: settings and listeners of the Cluster, manifests that go away, a second
//! `up`; and what `status` tells of groups.

use std::process::Command;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests, topic};
use crate::kafka::{config, produce};

const SOON: Duration = Duration::from_secs(20);

fn records(count: usize) -> Vec<(Option<&'static str>, String)> {
    (0..count)
        .map(|number| (Some("key"), number.to_string()))
        .collect()
}

fn flotilla(arguments: &[&str], fleet: &Fleet) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_flotilla"))
        .args(arguments)
        .arg("--data")
        .arg(fleet.data())
        .output()
        .expect("run flotilla");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn has_topic(status: &serde_json::Value, name: &str) -> bool {
    let topics = status["topics"].as_array().expect("topics are a list");
    topics.iter().any(|topic| topic["name"] == name)
}

#[test]
fn manifests_that_go_away_take_along_what_their_policies_say() {
    let mut files = manifests(1, &[("gone", 1, 1)]);
    for (name, policy) in [
        ("kept", "Retain"),
        ("full", "DeleteIfEmpty"),
        ("empty", "DeleteIfEmpty"),
    ] {
        let text = format!("{}  deletionPolicy: {policy}\n", topic(name, 1, 1, ""));
        files.insert(format!("topic-{name}.yaml"), text);
    }
    let fleet = Fleet::start(&files);
    produce(fleet.bootstrap(), "full", &records(3), "none");
    let directory = fleet.manifest_directory();
    let (ended_well, said) = flotilla(&["up", directory.to_str().expect("UTF-8")], &fleet);
    assert!(!ended_well && said.contains("another `flotilla up`"), "{said}");
    for name in ["gone", "kept", "full", "empty"] {
        std::fs::remove_file(directory.join(format!("topic-{name}.yaml"))).expect("remove the manifest");
    }
    let status = fleet.wait_for_status(SOON, "the topics to go", |status| {
        !has_topic(status, "gone") && !has_topic(status, "empty")
    });
    assert!(
        has_topic(&status, "kept") && has_topic(&status, "full"),
        "{status:#}"
    );
    fleet.wait_for_report(SOON, "topic `full`");
}

#[test]
fn edited_cluster_is_followed_without_a_restart_where_that_can_be_and_one_by_one_where_not() {
    let files = manifests(3, &[("orders", 3, 3)]);
    let fleet = Fleet::start(&files);
    let cluster = files["cluster.yaml"].replace("min.insync.replicas: 2", "min.insync.replicas: 1");
    fleet.write_manifest("cluster.yaml", &cluster);
    fleet.wait_for_report(SOON, "followed: settings of the brokers");
    assert!(!fleet.reports().contains("is restarted"), "{}", fleet.reports());
    let cluster = cluster.replace(
        "port: 9092}\n",
        "port: 9092}\n    - {name: users, port: 9192, authentication: [scram-sha-512]}\n",
    );
    fleet.write_manifest("cluster.yaml", &cluster);
    fleet.wait_for_status(
        Duration::from_secs(60),
        "three brokers with both listeners",
        |status| {
            let brokers = status["brokers"].as_array().expect("brokers are a list");
            let restarts = fleet
                .reports()
                .matches("is restarted for its new configuration")
                .count();
            restarts == 3
                && brokers
                    .iter()
                    .all(|broker| broker["state"] == "online" && broker["listeners"]["users"].is_string())
        },
    );
    assert_eq!(
        produce(fleet.bootstrap(), "orders", &records(10), "none").len(),
        10
    );
}

#[test]
fn status_tells_groups_with_their_lag_and_shows_the_metadata_as_a_tree() {
    let fleet = Fleet::start(&manifests(1, &[("orders", 1, 1)]));
    produce(fleet.bootstrap(), "orders", &records(10), "none");
    let consumer: BaseConsumer = config(fleet.bootstrap())
        .set("group.id", "readers")
        .create()
        .expect("a consumer");
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset("orders", 0, Offset::Offset(4))
        .expect("an offset");
    eventually(SOON, "a commit", || {
        consumer
            .commit(&offsets, CommitMode::Sync)
            .map_err(|error| error.to_string())
    });
    let status = fleet.wait_for_status(SOON, "the group", |status| {
        status["groups"]
            .as_array()
            .is_some_and(|groups| !groups.is_empty())
    });
    assert_eq!(
        status["groups"],
        serde_json::json!([{
            "name": "readers", "state": "Empty", "lag": 6,
            "partitions": [{"topic": "orders", "partition": 0, "committed": 4, "end": 10, "lag": 6}],
        }])
    );
    assert_eq!(
        flotilla(&["status", "--tree", "/brokers/ids"], &fleet),
        (true, "0\n".to_owned())
    );
    let (ended_well, state) = flotilla(&["status", "--tree", "/topics/orders/partitions/0/state"], &fleet);
    assert!(ended_well && state.contains("\"leader\": 0"), "{state}");
    let (ended_well, said) = flotilla(&["status", "--tree", "/nowhere"], &fleet);
    assert!(
        !ended_well && said.contains("there is nothing at /nowhere"),
        "{said}"
    );
}
