//! A Topic as users write it and a topic as the fleet has it, for the tests of this room.

use flotilla_control::Uuid;
use flotilla_control::proto::fleet::TopicState;
use flotilla_control::proto::metadata::{self as proto, KeyValue, Owner, Partition};
use flotilla_crds::Topic;
use serde_json::{Value, json};

use crate::testing::with_fields;

/// `shop/page-views`, the Kafka topic `page_views` with two partitions of two replicas, with these fields of the specification
/// besides or instead.
pub(super) fn topic(fields: Value) -> Topic {
    let spec = json!({
        "name": "page_views",
        "cluster": {"name": "events", "namespace": "streaming"},
        "partitions": 2,
        "replicas": 2,
        "config": {"retention.ms": 1000},
    });
    serde_json::from_value(json!({
        "apiVersion": "flotilla.dev/v1alpha1",
        "kind": "Topic",
        "metadata": {
            "name": "page-views", "namespace": "shop", "uid": "1", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": with_fields(spec, &fields),
    }))
    .expect("a Topic")
}

/// The same Topic once it was Ready, with these settings set by it.
pub(super) fn followed(fields: Value, managed: &[&str]) -> Topic {
    let mut topic = topic(fields);
    topic.status = Some(
        serde_json::from_value(json!({
            "observedGeneration": 2,
            "topicName": "page_views",
            "topicId": Uuid([1; 16]).to_string(),
            "partitions": 2,
            "replicas": 2,
            "managedConfig": managed,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Available", "message": "fine",
                "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        }))
        .expect("a status"),
    );
    topic
}

pub(super) fn owner(name: &str, uid: &str) -> Owner {
    Owner {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        deletion_policy: "Delete".to_owned(),
    }
}

/// The Kafka topic `page_views`, with so many replicas of each partition.
pub(super) fn held(owner: Option<Owner>, replicas: &[usize], configs: &[(&str, &str)]) -> TopicState {
    let partitions = replicas.iter().zip(0..).map(|(replicas, partition)| Partition {
        partition,
        replicas: (0..).take(*replicas).collect(),
        ..Partition::default()
    });
    TopicState {
        topic: Some(proto::Topic {
            name: "page_views".to_owned(),
            topic_id: vec![1; 16],
            owner,
        }),
        partitions: partitions.collect(),
        configs: configs
            .iter()
            .map(|(key, value)| KeyValue {
                key: (*key).to_owned(),
                value: Some((*value).to_owned()),
            })
            .collect(),
    }
}
