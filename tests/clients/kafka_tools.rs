//! The classes of `kafka-tools` and `kafka_2.13` do their ordinary work.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::tools::{java, java_with_input};

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";

/// A fleet whose anonymous clients may administrate, with rules enforced for all the others.
fn fleet_with_acls() -> Fleet {
    let mut files: BTreeMap<String, String> = manifests(3, &[]);
    let cluster = files.get_mut("cluster.yaml").expect("the cluster's manifest");
    cluster.push_str("  authorization: {type: acl, superUsers: [ANONYMOUS]}\n");
    Fleet::start(&files)
}

#[test]
fn kafka_tools_do_their_ordinary_work() {
    let fleet = fleet_with_acls();
    let bootstrap = ["--bootstrap-server", fleet.bootstrap()];
    topics(&bootstrap);
    console(&bootstrap);
    groups(&bootstrap);
    configs(&bootstrap);
    acls(&bootstrap);
    reassignment(&fleet, &bootstrap);
    verifiable(&bootstrap);
    compatibility(&bootstrap);
    compaction(&bootstrap);
    rest(&fleet, &bootstrap);
}

fn with(bootstrap: &[&str; 2], class: &str, args: &[&str]) -> String {
    println!("{class} {}", args.join(" "));
    java(class, &[bootstrap.as_slice(), args].concat()).ok()
}

fn topics(bootstrap: &[&str; 2]) {
    with(
        bootstrap,
        "TopicCommand",
        &[
            "--create",
            "--topic",
            "orders",
            "--partitions",
            "3",
            "--replication-factor",
            "3",
            "--config",
            "retention.ms=3600000",
        ],
    );
    let again = java(
        "TopicCommand",
        &[bootstrap.as_slice(), &["--create", "--topic", "orders"]].concat(),
    );
    assert!(
        !again.success && again.all().contains("already exists"),
        "{again:?}"
    );
    let too_many = java(
        "TopicCommand",
        &[
            bootstrap.as_slice(),
            &["--create", "--topic", "wide", "--replication-factor", "9"],
        ]
        .concat(),
    );
    assert!(
        !too_many.success && too_many.all().contains("9 replicas need 9 brokers"),
        "{too_many:?}"
    );
    assert!(
        with(bootstrap, "TopicCommand", &["--list"])
            .lines()
            .any(|line| line == "orders")
    );
    let described = with(bootstrap, "TopicCommand", &["--describe", "--topic", "orders"]);
    assert!(
        described.contains("PartitionCount: 3")
            && described.contains("ReplicationFactor: 3")
            && described.contains("retention.ms=3600000"),
        "{described}"
    );
    with(
        bootstrap,
        "TopicCommand",
        &["--alter", "--topic", "orders", "--partitions", "6"],
    );
    let described = with(bootstrap, "TopicCommand", &["--describe", "--topic", "orders"]);
    assert!(described.contains("PartitionCount: 6"), "{described}");
    with(bootstrap, "TopicCommand", &["--create", "--topic", "gone"]);
    with(bootstrap, "TopicCommand", &["--delete", "--topic", "gone"]);
    assert!(
        !with(bootstrap, "TopicCommand", &["--list"])
            .lines()
            .any(|line| line == "gone")
    );
}

fn console(bootstrap: &[&str; 2]) {
    let lines: String = (0..500).map(|n| format!("key-{}:{n:03}\n", n % 10)).collect();
    let args = [
        bootstrap.as_slice(),
        &[
            "--topic",
            "orders",
            "--property",
            "parse.key=true",
            "--property",
            "key.separator=:",
        ],
    ]
    .concat();
    java_with_input("ConsoleProducer", &args, lines.as_bytes()).ok();
    let read = with(
        bootstrap,
        CONSOLE_CONSUMER,
        &[
            "--topic",
            "orders",
            "--from-beginning",
            "--max-messages",
            "500",
            "--group",
            "console",
            "--timeout-ms",
            "60000",
        ],
    );
    let mut read: Vec<&str> = read.lines().collect();
    read.sort_unstable();
    let expected: Vec<String> = (0..500).map(|n| format!("{n:03}")).collect();
    assert_eq!(read, expected);
}

fn groups(bootstrap: &[&str; 2]) {
    assert!(
        with(bootstrap, GROUPS, &["--list"])
            .lines()
            .any(|line| line.trim() == "console")
    );
    let described = with(bootstrap, GROUPS, &["--describe", "--group", "console"]);
    let lag: i64 = described
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5)?.parse::<i64>().ok())
        .sum();
    assert_eq!(lag, 0, "{described}");
    with(
        bootstrap,
        GROUPS,
        &[
            "--group",
            "console",
            "--topic",
            "orders",
            "--reset-offsets",
            "--to-earliest",
            "--execute",
        ],
    );
    let described = with(bootstrap, GROUPS, &["--describe", "--group", "console"]);
    let lag: i64 = described
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5)?.parse::<i64>().ok())
        .sum();
    assert_eq!(lag, 500, "{described}");
    with(
        bootstrap,
        GROUPS,
        &["--group", "console", "--delete-offsets", "--topic", "orders"],
    );
    with(bootstrap, GROUPS, &["--delete", "--group", "console"]);
    assert!(
        !with(bootstrap, GROUPS, &["--list"])
            .lines()
            .any(|line| line.trim() == "console")
    );
}

fn configs(bootstrap: &[&str; 2]) {
    let topic = ["--entity-type", "topics", "--entity-name", "orders"];
    with(
        bootstrap,
        CONFIGS,
        &[
            &topic[..],
            &["--alter", "--add-config", "max.message.bytes=2000000"],
        ]
        .concat(),
    );
    let described = with(bootstrap, CONFIGS, &[&topic[..], &["--describe"]].concat());
    assert!(described.contains("max.message.bytes=2000000"), "{described}");
    with(
        bootstrap,
        CONFIGS,
        &[&topic[..], &["--alter", "--delete-config", "max.message.bytes"]].concat(),
    );
    let refused = java(
        CONFIGS,
        &[
            bootstrap.as_slice(),
            &topic,
            &["--alter", "--add-config", "max.message.bytes=many"],
        ]
        .concat(),
    );
    assert!(
        !refused.success && refused.all().contains("max.message.bytes"),
        "{refused:?}"
    );
    with(
        bootstrap,
        CONFIGS,
        &[
            "--entity-type",
            "brokers",
            "--entity-default",
            "--alter",
            "--add-config",
            "log.retention.ms=7200000",
        ],
    );
    let described = with(
        bootstrap,
        CONFIGS,
        &["--entity-type", "brokers", "--entity-default", "--describe"],
    );
    assert!(described.contains("log.retention.ms=7200000"), "{described}");
    with(
        bootstrap,
        CONFIGS,
        &[
            "--entity-type",
            "brokers",
            "--entity-name",
            "0",
            "--describe",
            "--all",
        ],
    );
    let user = ["--entity-type", "users", "--entity-name", "alice"];
    with(
        bootstrap,
        CONFIGS,
        &[
            &user[..],
            &[
                "--alter",
                "--add-config",
                "SCRAM-SHA-256=[iterations=8192,password=wonderland]",
            ],
        ]
        .concat(),
    );
    let described = with(bootstrap, CONFIGS, &[&user[..], &["--describe"]].concat());
    assert!(described.contains("SCRAM-SHA-256=iterations=8192"), "{described}");
    with(
        bootstrap,
        CONFIGS,
        &[
            &user[..],
            &["--alter", "--add-config", "producer_byte_rate=1048576"],
        ]
        .concat(),
    );
    let described = with(bootstrap, CONFIGS, &[&user[..], &["--describe"]].concat());
    assert!(described.contains("producer_byte_rate=1048576"), "{described}");
}

fn acls(bootstrap: &[&str; 2]) {
    with(
        bootstrap,
        "AclCommand",
        &[
            "--add",
            "--allow-principal",
            "User:alice",
            "--operation",
            "Read",
            "--operation",
            "Write",
            "--topic",
            "orders",
        ],
    );
    let listed = with(bootstrap, "AclCommand", &["--list", "--topic", "orders"]);
    assert!(
        listed.contains("User:alice") && listed.contains("operation=WRITE"),
        "{listed}"
    );
    with(
        bootstrap,
        "AclCommand",
        &[
            "--remove",
            "--force",
            "--allow-principal",
            "User:alice",
            "--operation",
            "Write",
            "--topic",
            "orders",
        ],
    );
    let listed = with(bootstrap, "AclCommand", &["--list", "--topic", "orders"]);
    assert!(
        listed.contains("operation=READ") && !listed.contains("operation=WRITE"),
        "{listed}"
    );
}

fn reassignment(fleet: &Fleet, bootstrap: &[&str; 2]) {
    with(
        bootstrap,
        "TopicCommand",
        &["--create", "--topic", "moved", "--replica-assignment", "0:1"],
    );
    let plan = fleet.data().join("reassignment.json");
    std::fs::write(
        &plan,
        r#"{"version":1,"partitions":[{"topic":"moved","partition":0,"replicas":[2,1]}]}"#,
    )
    .expect("write the plan");
    let plan = plan.to_string_lossy().into_owned();
    with(
        bootstrap,
        REASSIGN,
        &["--reassignment-json-file", &plan, "--execute"],
    );
    eventually(Duration::from_secs(60), "the reassignment", || {
        let verified = with(
            bootstrap,
            REASSIGN,
            &["--reassignment-json-file", &plan, "--verify"],
        );
        if verified.contains("is completed") {
            Ok(())
        } else {
            Err(verified)
        }
    });
    let described = with(bootstrap, "TopicCommand", &["--describe", "--topic", "moved"]);
    assert!(described.contains("Replicas: 2,1"), "{described}");
    let listed = with(bootstrap, REASSIGN, &["--list"]);
    assert!(listed.contains("No partition reassignments found"), "{listed}");
}

fn verifiable(bootstrap: &[&str; 2]) {
    with(
        bootstrap,
        "TopicCommand",
        &[
            "--create",
            "--topic",
            "verified",
            "--partitions",
            "3",
            "--replication-factor",
            "3",
        ],
    );
    let produced = with(
        bootstrap,
        "VerifiableProducer",
        &["--topic", "verified", "--max-messages", "2000", "--acks", "-1"],
    );
    assert!(
        produced.contains(r#""sent":2000"#) && produced.contains(r#""acked":2000"#),
        "{produced}"
    );
    let consumed = with(
        bootstrap,
        "VerifiableConsumer",
        &[
            "--topic",
            "verified",
            "--group-id",
            "verifiers",
            "--max-messages",
            "2000",
            "--reset-policy",
            "earliest",
        ],
    );
    assert!(consumed.contains("records_consumed"), "{consumed}");
}

fn compatibility(bootstrap: &[&str; 2]) {
    with(bootstrap, "TopicCommand", &["--create", "--topic", "compatible"]);
    with(
        bootstrap,
        "ClientCompatibilityTest",
        &[
            "--topic",
            "compatible",
            "--num-cluster-nodes",
            "3",
            "--offsets-for-times-supported",
            "true",
            "--cluster-id-supported",
            "true",
            "--expect-record-too-large-exception",
            "false",
            "--create-topics-supported",
            "true",
            "--describe-acls-supported",
            "true",
            "--describe-configs-supported",
            "true",
            "--idempotent-producer-supported",
            "true",
        ],
    );
}

fn compaction(bootstrap: &[&str; 2]) {
    let cleaner = [
        "--entity-type",
        "brokers",
        "--entity-default",
        "--alter",
        "--add-config",
    ];
    with(
        bootstrap,
        CONFIGS,
        &[&cleaner[..], &["log.cleaner.backoff.ms=200"]].concat(),
    );
    let create = [
        "--create",
        "--topic",
        "table",
        "--replication-factor",
        "3",
        "--config",
        "cleanup.policy=compact",
    ];
    let lag = ["--config", "max.compaction.lag.ms=500"];
    with(bootstrap, "TopicCommand", &[&create[..], &lag].concat());
    let described = with(bootstrap, "TopicCommand", &["--describe", "--topic", "table"]);
    assert!(described.contains("cleanup.policy=compact"), "{described}");
    let lines: String = (0..300).map(|n| format!("key-{}:{n:03}\n", n % 10)).collect();
    let keyed = [
        "--topic",
        "table",
        "--property",
        "parse.key=true",
        "--property",
        "key.separator=:",
    ];
    let args = [bootstrap.as_slice(), &keyed].concat();
    java_with_input("ConsoleProducer", &args, lines.as_bytes()).ok();
    let expected: Vec<String> = (290..300).map(|n| format!("key-{}\t{n:03}", n % 10)).collect();
    let consume = [
        "--topic",
        "table",
        "--from-beginning",
        "--property",
        "print.key=true",
        "--timeout-ms",
        "5000",
    ];
    eventually(
        Duration::from_secs(120),
        "the last value of each key alone",
        || {
            let read = with(bootstrap, CONSOLE_CONSUMER, &consume);
            // The tool says on the same output that an option has a newer name.
            let mut read: Vec<&str> = read.lines().filter(|line| line.contains('\t')).collect();
            read.sort_unstable();
            if read == expected {
                Ok(())
            } else {
                Err(format!("{read:?}"))
            }
        },
    );
    let args = [bootstrap.as_slice(), &["--topic", "table"]].concat();
    let refused = java_with_input("ConsoleProducer", &args, b"no key\n");
    assert!(refused.all().contains("InvalidRecordException"), "{refused:?}");
    let topic = [
        "--entity-type",
        "topics",
        "--entity-name",
        "table",
        "--alter",
        "--add-config",
    ];
    with(
        bootstrap,
        CONFIGS,
        &[&topic[..], &["cleanup.policy=[compact,delete]"]].concat(),
    );
    let topic = ["--entity-type", "topics", "--entity-name", "table", "--describe"];
    let described = with(bootstrap, CONFIGS, &topic);
    assert!(described.contains("cleanup.policy=compact,delete"), "{described}");
    let refused = java(
        CONFIGS,
        &[bootstrap.as_slice(), &cleaner, &["log.cleaner.threads=1000"]].concat(),
    );
    assert!(
        !refused.success && refused.all().contains("log.cleaner.dedupe.buffer.size"),
        "{refused:?}"
    );
}

fn rest(fleet: &Fleet, bootstrap: &[&str; 2]) {
    let offsets = with(bootstrap, "GetOffsetShell", &["--topic", "verified"]);
    let ends: Vec<(i64, i64)> = offsets
        .lines()
        .filter_map(|line| {
            let (partition, end) = line.strip_prefix("verified:")?.split_once(':')?;
            Some((end.trim().parse().ok()?, partition.parse().ok()?))
        })
        .collect();
    assert_eq!(ends.iter().map(|(end, _)| end).sum::<i64>(), 2_000, "{offsets}");
    // Records without a key may leave a partition empty.
    let (_, fullest) = ends.into_iter().max().expect("there are partitions");
    let quorum = with(bootstrap, "MetadataQuorumCommand", &["describe", "--status"]);
    assert!(
        quorum.contains("LeaderId:") && quorum.contains("CurrentVoters:"),
        "{quorum}"
    );
    let dirs = with(
        bootstrap,
        "LogDirsCommand",
        &["--describe", "--topic-list", "verified"],
    );
    assert!(dirs.contains(r#""partition":"verified-0""#), "{dirs}");
    with(
        bootstrap,
        "LeaderElectionCommand",
        &["--election-type", "preferred", "--all-topic-partitions"],
    );
    let plan = fleet.data().join("delete-records.json");
    std::fs::write(
        &plan,
        format!(r#"{{"version":1,"partitions":[{{"topic":"verified","partition":{fullest},"offset":10}}]}}"#),
    )
    .expect("write the plan");
    let deleted = with(
        bootstrap,
        "DeleteRecordsCommand",
        &["--offset-json-file", &plan.to_string_lossy()],
    );
    assert!(deleted.contains("low_watermark: 10"), "{deleted}");
    let versions = with(bootstrap, "BrokerApiVersionsCommand", &[]);
    assert!(versions.contains("Produce(0): 0 to 13"), "{versions}");
}
