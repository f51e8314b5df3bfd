//! Share groups (KIP-932): Java's share consumers, while a broker is killed, and Kafka's tool for them.

use std::path::Path;
use std::time::Duration;

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::kafka;
use crate::tools::java;

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ShareGroupCommand";
const TOPIC: &str = "numbers";
const GROUP: &str = "workers";
const VALUES: usize = 3_000;

fn program(bootstrap: &str, args: &[&str]) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients/ShareGroups.java");
    let source = source.to_str().expect("a path of text");
    java(source, &[&[bootstrap], args].concat()).ok()
}

fn groups(fleet: &Fleet, args: &[&str]) -> String {
    java(
        GROUPS,
        &[&["--bootstrap-server", fleet.bootstrap()], args].concat(),
    )
    .ok()
}

fn produce(fleet: &Fleet, numbers: std::ops::Range<usize>) {
    let records: Vec<(Option<&str>, String)> = numbers.map(|number| (None, number.to_string())).collect();
    let written = kafka::produce(fleet.bootstrap(), TOPIC, &records, "none");
    assert_eq!(written.len(), records.len());
}

/// Start offsets and lags by partition, as the tool prints them.
fn offsets(fleet: &Fleet) -> Vec<(i64, i64)> {
    let described = groups(fleet, &["--describe", "--group", GROUP, "--offsets"]);
    let numbers = |line: &str| {
        let mut columns = line
            .split_whitespace()
            .filter_map(|column| column.parse::<i64>().ok());
        let (_partition, start) = (columns.next()?, columns.next()?);
        Some((start, columns.next_back()?))
    };
    described
        .lines()
        .filter(|line| line.starts_with(GROUP))
        .filter_map(numbers)
        .collect()
}

#[test]
fn java_share_consumers_accept_every_record_though_a_broker_is_killed() {
    let fleet = Fleet::start(&manifests(3, &[(TOPIC, 3, 3)]));
    let bootstrap = fleet.bootstrap().to_owned();
    program(&bootstrap, &["set", GROUP, "share.auto.offset.reset", "earliest"]);
    program(
        &bootstrap,
        &["set", GROUP, "share.record.lock.duration.ms", "15000"],
    );
    produce(&fleet, 0..VALUES / 2);
    let values = VALUES.to_string();
    let said = std::thread::scope(|scope| {
        let consuming = scope.spawn(|| program(&bootstrap, &["consume", GROUP, TOPIC, "3", &values]));
        let state = || groups(&fleet, &["--describe", "--group", GROUP, "--state"]);
        eventually(Duration::from_secs(60), "the group to have members", || {
            let state = state();
            match state.contains("Stable") {
                true => Ok(()),
                false => Err(state),
            }
        });
        fleet.kill_broker(fleet.leader(TOPIC, 0));
        produce(&fleet, VALUES / 2..VALUES);
        consuming.join().expect("the members end")
    });
    assert!(said.contains(&format!("accepted {VALUES}")), "{said}");
    let listed = groups(&fleet, &["--list"]);
    assert!(listed.lines().any(|line| line.contains(GROUP)), "{listed}");
    // All is accounted for: nothing is left to be delivered.
    eventually(Duration::from_secs(60), "the group to have nothing left", || {
        let offsets = offsets(&fleet);
        let read: i64 = offsets.iter().map(|(start, _)| start).sum();
        let is_done = offsets.len() == 3 && read >= VALUES as i64;
        match is_done {
            true => Ok(()),
            false => Err(format!("{offsets:?}")),
        }
    });
    groups(&fleet, &["--delete", "--group", GROUP]);
    let listed = groups(&fleet, &["--list"]);
    assert!(!listed.lines().any(|line| line.contains(GROUP)), "{listed}");
}
