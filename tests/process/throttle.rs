//! Replicas that move are held to a rate (KIP-73), and replicas that are in sync are not.

use std::time::{Duration, Instant};

use flotilla_control::proto::metadata::{
    AlterConfig, ConfigOperation, Reassignment, Replicas, ResourceConfigs, ResourceType,
};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::contract::Operator;
use crate::fleet::{Fleet, manifests, partition_of};
use crate::kafka::{config, produce};
use crate::writer::{Writer, check};

const RATE: usize = 2_000_000;
const RECORDS: usize = 100;
const RECORD_BYTES: usize = 100_000;
/// Saved up before the first byte moves: a second's worth, by the leader and by the follower.
const SAVED: Duration = Duration::from_secs(1);

#[test]
fn moved_replica_keeps_to_the_rate_while_in_sync_ones_go_on() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 3, 3)]));
    let operator = Operator::of(&fleet);
    create(fleet.bootstrap(), "bulk");
    let bulk: Vec<_> = (0..RECORDS).map(|_| (None, "x".repeat(RECORD_BYTES))).collect();
    produce(fleet.bootstrap(), "bulk", &bulk, "none");
    throttle(&operator, Some(RATE));
    let writer = Writer::start_with(
        &config(fleet.bootstrap()),
        "orders",
        &[("message.timeout.ms", "3000")],
    );
    writer.wait_for_more(200, Duration::from_secs(20));

    let source = fleet.leader("bulk", 0);
    let target = (source + 1) % 3;
    let began = Instant::now();
    assign(&operator, "bulk", &[source as i32, target as i32]);
    let in_sync = |status: &serde_json::Value| {
        partition_of(status, "bulk", 0).is_some_and(|p| p["isr"].as_array().map(Vec::len) == Some(2))
    };
    let before = writer.acknowledged();
    fleet.wait_for_status(Duration::from_secs(60), "the replica in sync", in_sync);
    let took = began.elapsed();
    let written = writer.acknowledged() - before;
    let fair = Duration::from_secs_f64((RECORDS * RECORD_BYTES) as f64 / RATE as f64);
    println!("10 MB moved at 2 MB/s in {took:?}, {written} records acknowledged meanwhile");
    assert!(took >= fair - SAVED, "faster than the rate: {took:?}");
    assert!(
        took <= fair + Duration::from_secs(3),
        "far slower than the rate: {took:?}"
    );
    assert!(written > 1_000, "in-sync replicas were held back: {written}");
    assert_eq!(writer.failures(), Vec::<String>::new());
    check(&config(fleet.bootstrap()), "orders", &writer.finish());

    // Without a throttle the third replica takes no time.
    throttle(&operator, None);
    let third = (source + 2) % 3;
    let began = Instant::now();
    assign(&operator, "bulk", &[source as i32, target as i32, third as i32]);
    fleet.wait_for_status(Duration::from_secs(60), "the third in sync", |status| {
        partition_of(status, "bulk", 0).is_some_and(|p| p["isr"].as_array().map(Vec::len) == Some(3))
    });
    println!("10 MB moved without a rate in {:?}", began.elapsed());
    assert!(began.elapsed() < fair - SAVED, "still throttled");
}

/// Sets the rates for all brokers, or takes them away.
fn throttle(operator: &Operator, rate: Option<usize>) {
    let (rate, all) = (rate.map(|rate| rate.to_string()), rate.map(|_| "*".to_owned()));
    let change = |key: &str, value: &Option<String>| AlterConfig {
        operation: match value {
            Some(_) => ConfigOperation::Set.into(),
            None => ConfigOperation::Delete.into(),
        },
        key: key.to_owned(),
        value: value.clone(),
    };
    operator.apply_config(ResourceConfigs {
        resource_type: ResourceType::Broker.into(),
        resource_name: String::new(),
        changes: vec![
            change("leader.replication.throttled.rate", &rate),
            change("follower.replication.throttled.rate", &rate),
            change("leader.replication.throttled.replicas", &all),
            change("follower.replication.throttled.replicas", &all),
        ],
        replace: false,
    });
}

fn assign(operator: &Operator, topic: &str, brokers: &[i32]) {
    operator.assign(Reassignment {
        topic: topic.to_owned(),
        partition: 0,
        target: Some(Replicas {
            broker_ids: brokers.to_vec(),
        }),
    });
}

/// One partition with one replica, which no manifest names.
fn create(bootstrap: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        config(bootstrap).create().expect("create an admin client");
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "2000000");
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let created = runtime.block_on(admin.create_topics([&new], &options));
    let created = created.expect("an answer").remove(0);
    created.expect("the topic is created");
}
