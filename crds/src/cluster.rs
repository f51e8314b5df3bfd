// The derive takes several columns, each with a `type_`.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SettingValue;

/// A fleet of brokers.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "flotilla.dev",
    version = "v1alpha1",
    kind = "Cluster",
    namespaced,
    status = "ClusterStatus",
    derive = "PartialEq",
    shortname = "fc",
    category = "flotilla",
    doc = "A fleet of Kafka-compatible brokers.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name of a Cluster has at most 40 of a-z, 0-9 and -, and begins with a letter: Services are named after it"),
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.replicas) || !has(self.pools) || self.pools.filter(p, !has(p.replicas)).size() == 1")
        .message("spec.replicas is the size of the one pool that sets none of its own"),
    validation = Rule::new("!has(self.pools) || self.pools.exists(p, !has(p.roles) || 'coordinator' in p.roles)")
        .message("at least one pool needs the role coordinator"),
    validation = Rule::new("!has(self.listeners) || self.listeners.all(a, self.listeners.exists_one(b, a.port == b.port))")
        .message("two listeners cannot share a port")
)]
pub struct ClusterSpec {
    /// Brokers of the one pool that sets no size of its own. This is what `kubectl scale` changes. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub replicas: Option<i32>,
    /// Version of the brokers. Default: kept as it is when the operator is upgraded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Image of the brokers. Default: the one that belongs to `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// How many brokers vote in the quorum. Default: 3, or 1 with fewer than three eligible brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in [1, 3, 5]").message("spec.coordinators is 1, 3 or 5"))]
    pub coordinators: Option<i32>,
    /// Groups of like brokers. Default: one pool, `main`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pools: Vec<Pool>,
    /// The node label that says in which rack a broker stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack_topology_key: Option<String>,
    /// Where clients connect. Default: one plaintext listener `internal` on 9092.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<Listener>,
    /// Who may do what. Default: everybody everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// Where certificates come from. Default: authorities of the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClusterTls>,
    /// Kafka's own broker settings by their own names; numbers and booleans need no quotes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, SettingValue>,
    /// Whose Topics and Users the Cluster takes. Default: those of its own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub allowed_namespaces: Vec<AllowedNamespaces>,
    /// When brokers may be restarted for changes. Default: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// Leave everything as it is until this is taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// A Secret or the like in the same namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalObjectReference {
    /// Its name.
    pub name: String,
}

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
    /// What becomes of volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// CPU and memory of each broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// An overlay on the pod: affinity, tolerations, annotations, sidecars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object")]
    pub template: Option<serde_json::Value>,
}

/// A typed pod template makes the definition larger than client-side apply can carry.
fn open_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
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
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Its name.
    #[schemars(length(min = 1, max = 30), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Its size, such as `100Gi`. Can grow.
    pub size: String,
    /// Its storage class. Default: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// What becomes of volumes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Persistence {
    /// When the Cluster is deleted.
    #[serde(default)]
    pub when_deleted: Retention,
    /// When a broker is scaled away.
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

/// Where clients connect.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.authentication) || !('mtls' in self.authentication) || (has(self.tls) && self.tls)")
        .message("mtls needs tls: true"),
    validation = Rule::new("!has(self.authentication) || !('plain' in self.authentication) || (has(self.tls) && self.tls)")
        .message("plain sends passwords as they are and needs tls: true")
)]
pub struct Listener {
    /// Its name.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The port that brokers listen on.
    #[schemars(range(min = 1_024, max = 65_535))]
    pub port: u16,
    /// Whether connections are encrypted.
    #[serde(default)]
    pub tls: bool,
    /// How clients prove who they are. Default: not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub authentication: Vec<Authentication>,
    /// How it is reached from outside. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Authentication {
    /// SCRAM with SHA-512 (RFC 5802).
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// SCRAM with SHA-256 (RFC 7677).
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// A password as it is, over TLS only (RFC 4616).
    #[serde(rename = "plain")]
    Plain,
    /// A client certificate.
    #[serde(rename = "mtls")]
    Mtls,
}

/// How a listener is reached from outside Kubernetes.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exposure {
    /// By what.
    #[serde(rename = "type")]
    pub type_: ExposureType,
    /// Host of each broker, with `{id}` where the broker's id belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_template: Option<String>,
    /// Host for bootstrapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_host: Option<String>,
    /// Annotations of the objects that expose it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// By what a listener is exposed.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ExposureType {
    /// A port of every node.
    NodePort,
    /// A load balancer a broker.
    LoadBalancer,
    /// An ingress that passes TLS through.
    Ingress,
}

/// Who may do what.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authorization {
    /// Whether rules are enforced.
    #[serde(rename = "type", default)]
    pub type_: AuthorizationType,
    /// Users that may do everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "set"))]
    pub super_users: Vec<String>,
}

/// Whether rules are enforced.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthorizationType {
    /// Only what a rule allows.
    #[default]
    Acl,
    /// Everybody everything.
    None,
}

/// Where certificates come from.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterTls {
    /// The authority of the brokers' certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_ca: Option<CertificateAuthority>,
    /// The authority of the clients' certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_ca: Option<CertificateAuthority>,
}

/// An authority: one of the operator's own, a Secret, or an issuer of cert-manager.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.own), has(self.secret), has(self.issuerRef)].filter(x, x).size() <= 1")
        .message("an authority is one of own, secret and issuerRef")
)]
pub struct CertificateAuthority {
    /// One that the operator makes and renews. This is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnCertificateAuthority>,
    /// One from a Secret of type `kubernetes.io/tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<LocalObjectReference>,
    /// One of cert-manager's issuers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

/// An authority that the operator makes and renews.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnCertificateAuthority {
    /// Days that a certificate is valid. Default: 365.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36_500))]
    pub validity_days: Option<i32>,
    /// Days before its end at which it is renewed. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36_500))]
    pub renew_before_days: Option<i32>,
}

/// One of cert-manager's issuers.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerRef {
    /// Its name.
    pub name: String,
    /// `Issuer` or `ClusterIssuer`. Default: `Issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its API group. Default: `cert-manager.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Whose Topics and Users a Cluster takes.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.from != 'Selector' || has(self.selector)").message("from: Selector needs a selector")
)]
pub struct AllowedNamespaces {
    /// Which namespaces.
    pub from: From,
    /// Labels of the namespaces, where `from` is `Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// What names of topics, groups and transactional ids must begin with. Default: no rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub prefixes: Vec<String>,
}

/// Which namespaces.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum From {
    /// The Cluster's own.
    Same,
    /// All.
    All,
    /// Those whose labels match.
    Selector,
}

/// When brokers may be restarted for changes.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaintenanceWindow {
    /// When it begins, as a cron expression of five fields, in UTC.
    pub schedule: String,
    /// How long it lasts, in minutes.
    #[schemars(range(min = 1, max = 10_080))]
    pub duration_minutes: i32,
}

/// What is known of a fleet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Kafka's id of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Version that all brokers run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Brokers that there are in the pool that `spec.replicas` speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Selects their pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Ids of the brokers that vote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coordinators: Vec<i32>,
    /// Bootstrap servers by listener.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listeners: BTreeMap<String, String>,
    /// The pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pools: Vec<PoolStatus>,
    /// The brokers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub brokers: Vec<BrokerStatus>,
    /// The settings that `spec.config` changed while brokers ran, so that one which is taken away goes back to its default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_config: Vec<String>,
    /// `Ready` always; `Reconciling`, `Stalled` and `Paused` while they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What is known of a pool.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// Id of its first broker.
    pub first_broker_id: i32,
    /// Brokers that there are.
    pub replicas: i32,
    /// Brokers that are ready.
    pub ready_replicas: i32,
}

/// What is known of a broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// Its id.
    pub id: i32,
    /// Its pod.
    pub pod: String,
    /// Where it stands, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// Version that it runs, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `Ready`, `Starting`, `Broken` or `Gone`.
    pub state: String,
}
