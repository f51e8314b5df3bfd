//! Consumer groups of the new protocol (KIP-848): Java's console consumer, and Kafka's tool for groups.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::tools::{java, java_with_input};

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

fn groups(fleet: &Fleet, args: &[&str]) -> String {
    java(
        GROUPS,
        &[&["--bootstrap-server", fleet.bootstrap()], args].concat(),
    )
    .ok()
}

/// Reads as a member until it has so many records.
fn consume(fleet: &Fleet, topics: &[&str], count: &str) -> Vec<String> {
    let args = [
        &["--bootstrap-server", fleet.bootstrap()],
        topics,
        &[
            "--group",
            "modern",
            "--command-property",
            "group.protocol=consumer",
            "--command-property",
            "auto.offset.reset=earliest",
            "--max-messages",
            count,
            "--timeout-ms",
            "90000",
        ],
    ]
    .concat();
    let read = java(CONSOLE_CONSUMER, &args).ok();
    let mut read: Vec<String> = read.lines().map(str::to_owned).collect();
    read.sort_unstable();
    read
}

#[test]
fn java_consumers_of_the_new_protocol_read_commit_and_are_described() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 3, 3)]));
    let lines = |from: usize| -> Vec<String> { (from..from + 300).map(|n| format!("{n:04}")).collect() };
    let produce = |lines: &[String]| {
        let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let args = ["--bootstrap-server", fleet.bootstrap(), "--topic", "orders"];
        java_with_input("ConsoleProducer", &args, input.as_bytes()).ok();
    };
    produce(&lines(0));
    assert_eq!(consume(&fleet, &["--topic", "orders"], "300"), lines(0));
    // What the first one committed is not read again, also by one that subscribes by a regular expression.
    produce(&lines(300));
    assert_eq!(consume(&fleet, &["--include", "ord.*s"], "300"), lines(300));
    let listed = groups(&fleet, &["--list", "--type", "consumer"]);
    let kinds: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(kinds.contains(&vec!["modern", "Consumer"]), "{listed}");
    let lag: i64 = groups(&fleet, &["--describe", "--group", "modern"])
        .lines()
        .filter(|line| line.starts_with("modern"))
        .filter_map(|line| line.split_whitespace().nth(5)?.parse::<i64>().ok())
        .sum();
    assert_eq!(lag, 0);
    described_while_a_member_is_there(&fleet);
    groups(&fleet, &["--delete", "--group", "modern"]);
    let listed = groups(&fleet, &["--list"]);
    assert!(!listed.lines().any(|line| line.trim() == "modern"), "{listed}");
}

fn described_while_a_member_is_there(fleet: &Fleet) {
    let member: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", fleet.bootstrap())
        .set("group.id", "modern")
        .set("group.protocol", "consumer")
        .set("client.id", "librdkafka-member")
        .create()
        .expect("create a member");
    member.subscribe(&["orders"]).expect("subscribe");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = member.poll(Duration::from_millis(50));
            }
        });
        eventually(
            Duration::from_secs(90),
            "the group to be stable with its member",
            || {
                let state = groups(fleet, &["--describe", "--group", "modern", "--state"]);
                match state.contains("Stable") && state.contains("uniform") {
                    true => Ok(()),
                    false => Err(state),
                }
            },
        );
        let members = groups(
            fleet,
            &["--describe", "--group", "modern", "--members", "--verbose"],
        );
        stop.store(true, Ordering::Relaxed);
        assert!(
            members.contains("librdkafka-member") && members.contains("orders:0,1,2"),
            "{members}"
        );
    });
    drop(member);
    eventually(Duration::from_secs(60), "the member to have left", || {
        let state = groups(fleet, &["--describe", "--group", "modern", "--state"]);
        match state.contains("Empty") {
            true => Ok(()),
            false => Err(state),
        }
    });
}
