//! The fleet that libraries meet: three brokers, a plain listener, and one with SCRAM over TLS.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::program::Access;
use crate::fleet::{Fleet, manifests, partition_of};
use crate::kafka;

const CLUSTER: &str = "apiVersion: flotilla.dev/v1alpha1
kind: Cluster
metadata: {name: test}
spec:
  replicas: 3
  listeners:
    - {name: plain, port: 9092}
    - {name: secure, port: 9192, tls: true, authentication: [scram-sha-512]}
  authorization: {type: acl, superUsers: [ANONYMOUS]}
  config:
    min.insync.replicas: 2
    group.initial.rebalance.delay.ms: 200
";

const USER: &str = "apiVersion: flotilla.dev/v1alpha1
kind: User
metadata: {name: app}
spec:
  cluster: {name: test}
  authentication: {type: scram-sha-512}
  authorization:
    acls:
      - {resource: {type: topic, name: secure}, operations: [Read, Write, Describe]}
      - {resource: {type: group, name: app, pattern: prefixed}, operations: [Read]}
";

/// Starts it, with all topics but the one that the library makes.
pub fn start() -> Fleet {
    let topics = [
        ("codec-none", 3, 3),
        ("codec-gzip", 3, 3),
        ("codec-snappy", 3, 3),
        ("codec-lz4", 3, 3),
        ("codec-zstd", 3, 3),
        ("group", 4, 3),
        ("transactions", 1, 3),
        ("secure", 1, 3),
        ("killed", 3, 3),
    ];
    let mut files = manifests(3, &topics);
    files.insert("cluster.yaml".into(), CLUSTER.into());
    files.insert("user.yaml".into(), USER.into());
    let fleet = Fleet::start(&files);
    for (topic, partitions, _) in topics {
        for partition in 0..partitions {
            fleet.leader(topic, i64::from(partition));
        }
    }
    fleet
}

/// Waits for a topic of this shape.
pub fn wait_for_topic(fleet: &Fleet, topic: &str, partitions: usize, replicas: usize) {
    fleet.wait_for_status(Duration::from_secs(20), "the topic that was created", |status| {
        (0..partitions).all(|partition| {
            partition_of(status, topic, partition as i64).is_some_and(|partition| {
                partition["replicas"]
                    .as_array()
                    .is_some_and(|all| all.len() == replicas)
            })
        }) && partition_of(status, topic, partitions as i64).is_none()
    });
}

/// Waits until there is no such topic.
pub fn wait_until_gone(fleet: &Fleet, topic: &str) {
    fleet.wait_for_status(Duration::from_secs(20), "the topic to be gone", |status| {
        partition_of(status, topic, 0).is_none()
    });
}

/// How the user gets in, by the files that are laid out for it.
pub fn secure_access(fleet: &Fleet) -> Access {
    let properties = fleet.user_file("app", "client.properties");
    let bootstrap = properties
        .lines()
        .find_map(|line| line.strip_prefix("bootstrap.servers="))
        .expect("the properties say where the brokers are");
    Access(vec![
        bootstrap.to_owned(),
        fleet
            .data()
            .join("users/app/ca.crt")
            .to_string_lossy()
            .into_owned(),
        "app".to_owned(),
        fleet.user_file("app", "password").trim().to_owned(),
    ])
}

/// What a library that has transactions does, for one that only reads them.
pub fn transact(fleet: &Fleet, topic: &str) {
    const WITHIN: Duration = Duration::from_secs(30);
    let producer: BaseProducer = kafka::config(fleet.bootstrap())
        .set("transactional.id", "librdkafka")
        .create()
        .expect("create a transactional producer");
    producer.init_transactions(WITHIN).expect("initialise");
    let send = |keys: &[&str]| {
        producer.begin_transaction().expect("begin");
        for key in keys {
            let record = BaseRecord::to(topic).key(*key).payload(*key);
            producer.send(record).map_err(|(error, _)| error).expect("send");
        }
        producer.flush(WITHIN).expect("flush");
    };
    send(&["committed-0", "committed-1", "committed-2"]);
    producer.commit_transaction(WITHIN).expect("commit");
    send(&["aborted-0", "aborted-1", "aborted-2"]);
    producer.abort_transaction(WITHIN).expect("abort");
    send(&["last"]);
    producer.commit_transaction(WITHIN).expect("commit");
}
