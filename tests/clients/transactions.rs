//! Java's clients and `kafka-transactions.sh` in transactions of the second version (KIP-890).

use std::path::Path;

use crate::fleet::{Fleet, manifests};
use crate::tools::java;

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const PERFORMANCE: &str = "org.apache.kafka.tools.ProducerPerformance";

fn program(bootstrap: &str, args: &[&str]) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients/Transactions.java");
    let source = source.to_str().expect("a path of text");
    java(source, &[&[bootstrap], args].concat()).ok()
}

fn tool(bootstrap: &str, args: &[&str]) -> String {
    let all = [&["--bootstrap-server", bootstrap], args].concat();
    java("TransactionsCommand", &all).ok()
}

fn read_committed(bootstrap: &str, topic: &str, count: usize) -> Vec<String> {
    let count = count.to_string();
    let args = [
        "--bootstrap-server",
        bootstrap,
        "--topic",
        topic,
        "--from-beginning",
        "--isolation-level",
        "read_committed",
        "--max-messages",
        &count,
        "--timeout-ms",
        "60000",
    ];
    let read = java(CONSOLE_CONSUMER, &args).ok();
    let mut read: Vec<String> = read.lines().map(str::to_owned).collect();
    read.sort_unstable();
    read
}

#[test]
fn java_copies_exactly_once_and_the_tool_finds_and_ends_what_hangs() {
    let topics = [("source", 2, 3), ("sink", 2, 3), ("hung", 1, 3), ("load", 2, 3)];
    let fleet = Fleet::start(&manifests(3, &topics));
    let bootstrap = fleet.bootstrap();
    let mut expected: Vec<String> = (0..20)
        .filter(|round| round % 3 != 2)
        .flat_map(|round| [format!("{round}-0"), format!("{round}-1")])
        .collect();
    expected.sort_unstable();
    let count = expected.len();
    program(bootstrap, &["write", "source", "20"]);
    assert_eq!(read_committed(bootstrap, "source", count), expected);
    program(bootstrap, &["copy", "source", "sink", &count.to_string()]);
    assert_eq!(read_committed(bootstrap, "sink", count), expected);
    let fenced = program(bootstrap, &["fence", "sink"]);
    assert!(
        fenced.contains("fenced by ProducerFencedException")
            || fenced.contains("fenced by InvalidProducerEpochException"),
        "{fenced}"
    );

    let hung = program(bootstrap, &["hang", "hung"]);
    let offset = hung
        .lines()
        .find_map(|line| line.strip_prefix("offset "))
        .expect("the offset of what hangs");
    let listed = tool(bootstrap, &["list"]);
    let line = listed.lines().find(|line| line.contains("hanging"));
    assert!(line.is_some_and(|line| line.contains("Ongoing")), "{listed}");
    let described = tool(bootstrap, &["describe", "--transactional-id", "hanging"]);
    assert!(described.contains("hung-0"), "{described}");
    let producers = tool(
        bootstrap,
        &["describe-producers", "--topic", "hung", "--partition", "0"],
    );
    assert_eq!(producers.lines().count(), 2, "{producers}");
    tool(
        bootstrap,
        &[
            "abort",
            "--topic",
            "hung",
            "--partition",
            "0",
            "--start-offset",
            offset,
        ],
    );
    let producers = tool(
        bootstrap,
        &["describe-producers", "--topic", "hung", "--partition", "0"],
    );
    assert!(
        producers
            .lines()
            .last()
            .is_some_and(|line| line.trim_end().ends_with("None")),
        "{producers}"
    );
    tool(
        bootstrap,
        &["forceTerminateTransaction", "--transactionalId", "hanging"],
    );
    let listed = tool(bootstrap, &["list"]);
    let line = listed.lines().find(|line| line.contains("hanging"));
    assert!(line.is_some_and(|line| !line.contains("Ongoing")), "{listed}");

    let performed = java(
        PERFORMANCE,
        &[
            "--bootstrap-server",
            bootstrap,
            "--topic",
            "load",
            "--num-records",
            "5000",
            "--record-size",
            "100",
            "--throughput",
            "-1",
            "--transactional-id",
            "performance",
            "--transaction-duration-ms",
            "50",
        ],
    )
    .ok();
    assert!(performed.contains("5000 records sent"), "{performed}");
    println!("{}", performed.lines().last().unwrap_or_default());
}
