//! Topics, as an administrator's client sees and makes them.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka;

const WITHIN: Duration = Duration::from_secs(20);

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    kafka::config(bootstrap).create().expect("create an admin client")
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// What a topic is set to, where that is not the default.
pub fn settings(bootstrap: &str, topic: &str) -> Result<BTreeMap<String, String>, String> {
    let options = AdminOptions::new().request_timeout(Some(WITHIN));
    let described = wait(admin(bootstrap).describe_configs(&[ResourceSpecifier::Topic(topic)], &options));
    let resource = described
        .map_err(|error| error.to_string())?
        .remove(0)
        .map_err(|error| format!("{topic}: {error}"))?;
    let set = resource.entries.into_iter().filter(|entry| !entry.is_default);
    Ok(set.filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// Creates a topic.
pub fn create(bootstrap: &str, topic: &str, partitions: i32, replicas: i32, settings: &[(&str, &str)]) {
    let mut topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(WITHIN));
    let created = wait(admin(bootstrap).create_topics([&topic], &options)).expect("an answer");
    for topic in created {
        topic.expect("the topic is created");
    }
}

/// Adds partitions to a topic, up to so many.
pub fn grow(bootstrap: &str, topic: &str, partitions: i32) {
    let (wanted, options) = (
        NewPartitions::new(topic, partitions as usize),
        AdminOptions::new(),
    );
    let grown = wait(admin(bootstrap).create_partitions([&wanted], &options)).expect("an answer");
    for topic in grown {
        topic.expect("the topic grows");
    }
}

/// Sets one setting of a topic, and with it all others to their defaults, as AlterConfigs does.
pub fn alter(bootstrap: &str, topic: &str, name: &str, value: &str) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    let altered = wait(admin(bootstrap).alter_configs([&change], &AdminOptions::new())).expect("an answer");
    for topic in altered {
        topic.expect("the topic is altered");
    }
}

/// Where a partition begins and ends.
pub fn ends(bootstrap: &str, topic: &str, partition: i32) -> Result<(i64, i64), String> {
    let consumer: BaseConsumer = kafka::config(bootstrap)
        .create()
        .expect("create a client that asks");
    consumer
        .fetch_watermarks(topic, partition, WITHIN)
        .map_err(|error| error.to_string())
}

/// Up to where a group has committed that it has read.
pub fn committed(bootstrap: &str, group: &str, topic: &str, partition: i32) -> Result<i64, String> {
    let consumer: BaseConsumer = kafka::config(bootstrap)
        .set("group.id", group)
        .create()
        .expect("create a client that asks");
    let mut places = TopicPartitionList::new();
    places.add_partition(topic, partition);
    let committed = consumer
        .committed_offsets(places, WITHIN)
        .map_err(|error| error.to_string())?;
    match committed
        .find_partition(topic, partition)
        .map(|place| place.offset())
    {
        Some(Offset::Offset(offset)) => Ok(offset),
        other => Err(format!("{group} has committed {other:?}")),
    }
}
