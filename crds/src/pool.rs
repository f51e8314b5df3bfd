use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A group of like brokers.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.firstBrokerId) == has(oldSelf.firstBrokerId) && (!has(self.firstBrokerId) || self.firstBrokerId == oldSelf.firstBrokerId)")
        .message("firstBrokerId cannot change: make a new pool")
)]
pub struct Pool {
    /// Its name.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!(self in ['identity', 'pending'])")
        .message("the names `identity` and `pending` are the fleet's own"))]
    pub name: String,
    /// How many brokers. Default: `spec.replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000))]
    pub replicas: Option<i32>,
    /// What the brokers do. Default: both.
    #[serde(default = "both_roles")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<Role>,
    /// Id of the pool's first broker; the others follow. Cannot change. Default: a block of 1,000 that the operator allots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_000_000_000))]
    pub first_broker_id: Option<i32>,
    /// The volumes of each broker. Default: one, `data`, of 10Gi.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<Volume>,
    /// What becomes of volumes. Default: they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// CPU and memory of each broker, as in a pod. Default: none asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// An overlay on the pod, with `metadata` and `spec` as a pod has them: affinity, tolerations, annotations, sidecars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object")]
    pub template: Option<serde_json::Value>,
}

/// A typed pod template makes the definition larger than client-side apply can carry.
fn open_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn both_roles() -> Vec<Role> {
    vec![Role::Broker, Role::Coordinator]
}

/// The pools of a Cluster that names none.
#[must_use]
pub fn default_pools() -> Vec<Pool> {
    vec![Pool {
        name: "main".to_owned(),
        replicas: None,
        roles: both_roles(),
        first_broker_id: None,
        volumes: Vec::new(),
        persistence: None,
        resources: None,
        template: None,
    }]
}

/// What a broker does.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Holds partitions and serves clients.
    Broker,
    /// May vote in the quorum.
    Coordinator,
}

/// A volume of each broker.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!isQuantity(self.size) || !isQuantity(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
        .message(Message::Expression("'the volume `' + self.name + '` has ' + oldSelf.size + ' and cannot shrink to ' + self.size + ': volumes only grow'".into()))
        .field_path(".size")
)]
pub struct Volume {
    /// Its name.
    #[schemars(length(min = 1, max = 30), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!(self in ['config', 'certificates'])")
        .message("the names `config` and `certificates` are the fleet's own"))]
    pub name: String,
    /// Its size, such as `100Gi`; at least `64Mi`. Can grow, and never shrink.
    #[schemars(length(min = 1, max = 30))]
    #[x_kube(
        validation = Rule::new("isQuantity(self)").message("a size is a number and a unit, such as 100Gi"),
        validation = Rule::new("!isQuantity(self) || quantity(self).compareTo(quantity('64Mi')) >= 0")
            .message("a volume has at least 64Mi")
    )]
    pub size: String,
    /// Its storage class. Default: the one that Kubernetes has for claims which name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

/// What becomes of volumes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Persistence {
    /// When the Cluster is deleted. Default: `Retain`.
    #[serde(default)]
    pub when_deleted: Retention,
    /// When a broker is scaled away. Default: `Retain`.
    #[serde(default)]
    pub when_scaled: Retention,
}

/// Whether volumes stay.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Retention {
    /// They stay.
    #[default]
    Retain,
    /// They go, and the data with them.
    Delete,
}
