//! What `up` does with manifests: follows edits, adds brokers, reports what it cannot follow by file and line.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests, partition_of, topic};
use crate::kafka::{config, produce, read_all};

#[test]
fn edited_topic_is_followed_within_two_seconds() {
    let fleet = Fleet::start(&manifests(3, &[("views", 3, 3)]));
    fleet.leader("views", 2);
    fleet.write_manifest("topic-views.yaml", &topic("views", 5, 3, "retention.ms: 3600000"));
    fleet.wait_for_status(Duration::from_secs(2), "five partitions", |status| {
        partition_of(status, "views", 4).is_some()
    });
    let retention = eventually(Duration::from_secs(2), "the new retention", || {
        topic_setting(fleet.bootstrap(), "views", "retention.ms")
    });
    assert_eq!(retention, "3600000");
}

#[test]
fn added_broker_joins_and_gets_its_share() {
    let fleet = Fleet::start(&manifests(3, &[("shares", 12, 3)]));
    let written = produce(fleet.bootstrap(), "shares", &numbers(500), "none");
    let cluster = manifests(4, &[])
        .remove("cluster.yaml")
        .expect("the cluster's manifest");
    fleet.write_manifest("cluster.yaml", &cluster);
    fleet.wait_for_status(
        Duration::from_secs(60),
        "broker 3 to hold its share in sync",
        |status| {
            let partitions: Vec<_> = (0..12)
                .filter_map(|p| partition_of(status, "shares", p))
                .collect();
            let on_three = partitions.iter().filter(|p| contains(&p["replicas"], 3)).count();
            let settled = partitions.iter().all(|p| {
                p["replicas"].as_array().map(Vec::len) == Some(3)
                    && p["isr"].as_array().map(Vec::len) == Some(3)
            });
            // 36 replicas over four brokers.
            on_three == 9 && settled
        },
    );
    assert_eq!(
        read_all(&config(fleet.bootstrap()), "shares").len(),
        written.len()
    );
}

#[test]
fn bad_manifests_are_reported_by_file_and_line_and_the_rest_goes_on() {
    let mut files = manifests(1, &[("good", 2, 1)]);
    files.insert(
        "unknown-field.yaml".into(),
        topic("a", 1, 1, "").replace("replicas:", "replicaz:"),
    );
    files.insert(
        "unknown-setting.yaml".into(),
        topic("b", 1, 1, "retention.mss: 1"),
    );
    files.insert("too-many-replicas.yaml".into(), topic("c", 1, 2, ""));
    files.insert(
        "no-such-cluster.yaml".into(),
        topic("d", 1, 1, "").replace("name: test}", "name: other}"),
    );
    files.insert("not-yaml.yaml".into(), "kind: [".into());
    let twice = "apiVersion: flotilla.dev/v1alpha1\nkind: Topic\nmetadata: {name: again}\nspec:\n  name: good\n  cluster: {name: test}\n";
    files.insert("z-twice.yaml".into(), twice.into());
    let fleet = Fleet::start(&files);
    for (file, what) in [
        ("unknown-field.yaml:", "replicaz"),
        ("unknown-setting.yaml:", "retention.mss"),
        ("too-many-replicas.yaml", "2 replicas"),
        ("no-such-cluster.yaml", "other"),
        ("not-yaml.yaml:", ""),
        ("twice.yaml", "good"),
    ] {
        eventually(
            Duration::from_secs(10),
            &format!("a report of {file} that says {what}"),
            || {
                let reports = fleet.reports();
                let told = reports
                    .lines()
                    .any(|line| line.starts_with("error: ") && line.contains(file) && line.contains(what));
                if told { Ok(()) } else { Err(reports) }
            },
        );
    }
    assert_eq!(produce(fleet.bootstrap(), "good", &numbers(10), "none").len(), 10);

    fleet.write_manifest("topic-good.yaml", &topic("good", 1, 1, ""));
    fleet.wait_for_report(Duration::from_secs(5), "partitions");
    let status = fleet.status().expect("the status");
    assert!(
        partition_of(&status, "good", 1).is_some(),
        "fewer partitions than now changes nothing"
    );
}

#[test]
fn second_up_on_the_same_data_finds_everything_again() {
    let mut fleet = Fleet::start(&manifests(3, &[("kept", 2, 3)]));
    let written = produce(fleet.bootstrap(), "kept", &numbers(1_000), "none");
    let (before, bootstrap) = (fleet.status().expect("the status"), fleet.bootstrap().to_owned());
    assert!(fleet.stop().success(), "Ctrl-C ends up with success");
    fleet.up();
    assert_eq!(fleet.bootstrap(), bootstrap);
    let after = fleet.status().expect("the status");
    assert_eq!(after["clusterId"], before["clusterId"]);
    let mut read: Vec<_> = read_all(&config(fleet.bootstrap()), "kept");
    let mut written = written;
    read.sort_by_key(|record| (record.partition, record.offset));
    written.sort_by_key(|record| (record.partition, record.offset));
    assert_eq!(read, written);
}

#[test]
fn broker_that_dies_is_started_again() {
    let fleet = Fleet::start(&manifests(1, &[("again", 1, 1)]));
    produce(fleet.bootstrap(), "again", &numbers(10), "none");
    let first = fleet.broker_pid(0);
    fleet.kill_broker(0);
    fleet.wait_for_status(Duration::from_secs(20), "another process", |status| {
        status["brokers"][0]["pid"]
            .as_u64()
            .is_some_and(|pid| pid != u64::from(first))
            && status["brokers"][0]["state"] == "online"
    });
    assert_eq!(read_all(&config(fleet.bootstrap()), "again").len(), 10);
}

fn numbers(count: usize) -> Vec<(Option<&'static str>, String)> {
    (0..count).map(|number| (None, number.to_string())).collect()
}

fn contains(list: &serde_json::Value, broker: i64) -> bool {
    list.as_array()
        .is_some_and(|list| list.iter().any(|id| *id == broker))
}

fn topic_setting(bootstrap: &str, topic: &str, setting: &str) -> Result<String, String> {
    let admin: AdminClient<DefaultClientContext> =
        config(bootstrap).create().expect("create an admin client");
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let described = runtime.block_on(admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options));
    let resource = described
        .map_err(|error| error.to_string())?
        .remove(0)
        .map_err(|error| error.to_string())?;
    let entry = resource
        .entries
        .into_iter()
        .find(|entry| entry.name == setting)
        .ok_or("no such setting")?;
    match entry.value {
        Some(value) if !entry.is_default => Ok(value),
        other => Err(format!("{other:?}")),
    }
}
