//! `kafka-reassign-partitions.sh` moves replicas between the volumes of a broker (KIP-113).

use std::time::Duration;

use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::tools::{java, java_with_input};

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";

/// Each directory of the broker, and whether the partition lies there.
fn dirs(bootstrap: &[&str; 2]) -> Vec<(String, bool)> {
    let args = [bootstrap.as_slice(), &["--describe", "--topic-list", "orders"]].concat();
    let said = java("LogDirsCommand", &args).ok();
    let line = said
        .lines()
        .find(|line| line.starts_with('{'))
        .expect("a line of JSON");
    let described: Value = serde_json::from_str(line).expect("JSON");
    let dirs = described["brokers"][0]["logDirs"]
        .as_array()
        .expect("directories");
    dirs.iter()
        .map(|dir| {
            let partitions = dir["partitions"].as_array().expect("partitions");
            let path = dir["logDir"].as_str().expect("a path").to_owned();
            (path, !partitions.is_empty())
        })
        .collect()
}

#[test]
fn kafka_reassign_partitions_moves_a_replica_to_another_volume() {
    let mut files = manifests(1, &[("orders", 1, 1)]);
    let cluster = files.get_mut("cluster.yaml").expect("the cluster's manifest");
    cluster.push_str("  pools: [{name: main, volumes: [{name: one, size: 1Gi}, {name: two, size: 1Gi}]}]\n");
    let fleet = Fleet::start(&files);
    let bootstrap = ["--bootstrap-server", fleet.bootstrap()];
    let records: String = (0..500).map(|n| format!("{n}\n")).collect();
    let producer = [bootstrap.as_slice(), &["--topic", "orders"]].concat();
    java_with_input("ConsoleProducer", &producer, records.as_bytes()).ok();

    let before = dirs(&bootstrap);
    let to = before
        .iter()
        .find(|(_, is_there)| !is_there)
        .expect("a volume without it");
    let plan = json!({
        "version": 1,
        "partitions": [{"topic": "orders", "partition": 0, "replicas": [0], "log_dirs": [to.0]}]
    });
    let file = fleet.data().join("plan.json");
    std::fs::write(&file, plan.to_string()).expect("write the plan");
    let file = file.to_string_lossy();
    let planned = [bootstrap.as_slice(), &["--reassignment-json-file", &*file]].concat();
    let throttled = ["--execute", "--replica-alter-log-dirs-throttle", "10000000"];
    let executed = java(REASSIGN, &[planned.as_slice(), &throttled].concat()).ok();
    assert!(
        executed.contains("Successfully started moving log directory"),
        "{executed}"
    );
    eventually(Duration::from_secs(60), "the move to be complete", || {
        let verified = java(REASSIGN, &[planned.as_slice(), &["--verify"]].concat()).ok();
        let is_done = verified.contains("Reassignment of replica orders-0-0 completed successfully");
        is_done.then_some(()).ok_or(verified)
    });
    let after = dirs(&bootstrap);
    let moved: Vec<_> = before
        .iter()
        .map(|(dir, is_there)| (dir.clone(), !is_there))
        .collect();
    assert_eq!(after, moved);
    let consumer = [
        bootstrap.as_slice(),
        &[
            "--topic",
            "orders",
            "--from-beginning",
            "--max-messages",
            "500",
            "--timeout-ms",
            "60000",
        ],
    ];
    let read = java(CONSOLE_CONSUMER, &consumer.concat()).ok();
    assert_eq!(read.lines().filter(|line| !line.is_empty()).count(), 500);
}
