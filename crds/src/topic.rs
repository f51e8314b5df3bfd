// The derive takes several columns, each with a `type_`.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SettingValue;

/// A Cluster, by name.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterRef {
    /// Name of the Cluster.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Cluster. Default: the namespace of the resource that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What becomes of a topic when its resource is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum DeletionPolicy {
    /// The topic and its records go.
    #[default]
    Delete,
    /// The topic stays.
    Retain,
    /// The topic goes if it holds no record; otherwise the resource stays and says so.
    DeleteIfEmpty,
}

/// A topic: its partitions, replicas and settings.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "flotilla.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    status = "TopicStatus",
    derive = "PartialEq",
    shortname = "ft",
    category = "flotilla",
    doc = "A topic of a Flotilla Cluster.",
    validation = Rule::new("self.metadata.name.size() <= 249").message("the name of a topic has at most 249 characters"),
    validation = Rule::new("(has(self.spec.name) ? self.spec.name : self.metadata.name) == (has(oldSelf.spec.name) ? oldSelf.spec.name : oldSelf.metadata.name)")
        .message("spec.name cannot change: make a new Topic and copy the records")
        .field_path(".spec.name"),
    validation = Rule::new("!has(self.spec.partitions) || !has(oldSelf.status) || !has(oldSelf.status.partitions) || (has(oldSelf.spec.partitions) && self.spec.partitions == oldSelf.spec.partitions) || self.spec.partitions >= oldSelf.status.partitions")
        .message(Message::Expression("'the topic has %d partitions and cannot shrink to %d: records would be lost, and keys would change their partition. Ask for %d or more, or make a new Topic'.format([oldSelf.status.partitions, self.spec.partitions, oldSelf.status.partitions])".into()))
        .field_path(".spec.partitions"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster.name"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.cluster == oldSelf.cluster")
        .message("spec.cluster cannot change: make a new Topic there and copy the records")
        .field_path(".cluster"),
    validation = Rule::new("!has(self.partitions) || !has(oldSelf.partitions) || self.partitions >= oldSelf.partitions")
        .message(Message::Expression("'spec.partitions cannot shrink from %d to %d: records would be lost, and keys would change their partition. Ask for %d or more, or make a new Topic'.format([oldSelf.partitions, self.partitions, oldSelf.partitions])".into()))
        .field_path(".partitions")
)]
pub struct TopicSpec {
    /// Name of the topic in Kafka. Cannot change. Default: `metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    #[x_kube(
        validation = Rule::new("self != '.' && self != '..'").message("a topic cannot be named `.` or `..`"),
        validation = Rule::new("!self.startsWith('__')").message("names that begin with `__` belong to the fleet itself")
    )]
    pub name: Option<String>,
    /// The Cluster that holds the topic. Cannot change.
    pub cluster: ClusterRef,
    /// How many partitions. Can only grow. Default: the Cluster's `num.partitions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub partitions: Option<i32>,
    /// How many replicas each partition has. Default: the Cluster's `default.replication.factor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub replicas: Option<i32>,
    /// Kafka's own topic settings by their own names; numbers and booleans need no quotes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 500))]
    pub config: BTreeMap<String, SettingValue>,
    /// What becomes of the topic when this resource is deleted: `Delete`: it goes, and its records with it; `Retain`: it stays;
    /// `DeleteIfEmpty`: it goes if it holds no record, and otherwise the resource stays and says so. Default: `Delete`.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// What is known of a topic.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// The generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Name of the topic in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Kafka's id of the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Partitions that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Replicas that each partition has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The settings that this resource set, so that one which is taken away goes back to its default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_config: Vec<String>,
    /// `Ready` always; `Reconciling`, `Stalled` and `Paused` while they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
