// The derive takes several columns, each with a `type_`.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Listener, Pool, SettingValue};

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
    validation = Rule::new("!has(self.spec.pools) || self.spec.pools.all(p, self.metadata.name.size() + p.name.size() <= 51)")
        .message("the names of the Cluster and of a pool have at most 51 characters together: the StatefulSet is named after both"),
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.replicas) || !has(self.pools) || self.pools.filter(p, !has(p.replicas)).size() == 1")
        .message("spec.replicas is the size of the one pool that sets none of its own"),
    validation = Rule::new("!has(self.pools) || self.pools.exists(p, !has(p.roles) || 'coordinator' in p.roles)")
        .message("nobody forms the quorum: at least one pool needs the role coordinator"),
    validation = Rule::new("!has(self.pools) || self.pools.exists(p, !has(p.roles) || 'broker' in p.roles)")
        .message("nobody holds records: at least one pool needs the role broker"),
    validation = Rule::new("!has(self.coordinators) || has(self.pools) || self.coordinators <= (has(self.replicas) ? self.replicas : 3)")
        .message("more brokers should vote (spec.coordinators) than there are (spec.replicas)"),
    validation = Rule::new("!has(self.coordinators) || !has(self.pools) || self.coordinators <= self.pools.filter(p, !has(p.roles) || 'coordinator' in p.roles).map(p, has(p.replicas) ? p.replicas : (has(self.replicas) ? self.replicas : 3)).sum()")
        .message("more brokers should vote (spec.coordinators) than have the role coordinator"),
    validation = Rule::new("!has(self.pools) || self.pools.all(a, !has(a.firstBrokerId) || self.pools.all(b, !has(b.firstBrokerId) || a.name == b.name || a.firstBrokerId > b.firstBrokerId || a.firstBrokerId + (has(a.replicas) ? a.replicas : (has(self.replicas) ? self.replicas : 3)) <= b.firstBrokerId))")
        .message("brokers of two pools would have the same ids: see firstBrokerId"),
    validation = Rule::new("!has(self.listeners) || self.listeners.all(a, self.listeners.exists_one(b, a.port == b.port))")
        .message("two listeners cannot share a port")
)]
pub struct ClusterSpec {
    /// Brokers of the one pool that sets no size of its own. This is what `kubectl scale` changes. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub replicas: Option<i32>,
    /// Version of the brokers, such as `0.1.0`. Default: the operator's own at first, and then kept when the operator is upgraded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 100),
        regex(pattern = r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}([-+][-+._a-zA-Z0-9]*)?$")
    )]
    pub version: Option<String>,
    /// Image of the brokers. Default: the one that belongs to `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1_000),
        regex(pattern = r"^[a-zA-Z0-9]([-_.:/@a-zA-Z0-9]*[a-zA-Z0-9])?$")
    )]
    pub image: Option<String>,
    /// Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// How many brokers vote in the quorum. Default: 3, or 1 with fewer than three eligible brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in [1, 3, 5]").message("spec.coordinators is 1, 3 or 5"))]
    pub coordinators: Option<i32>,
    /// Groups of like brokers. Default: one pool, `main`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pools: Vec<Pool>,
    /// The label of nodes that says in which rack a broker stands, such as `topology.kubernetes.io/zone`. Default: no racks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$")
    )]
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
    #[schemars(extend("maxProperties" = 500))]
    pub config: BTreeMap<String, SettingValue>,
    /// Whose Topics and Users the Cluster takes. Default: those of its own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub allowed_namespaces: Vec<AllowedNamespaces>,
    /// When brokers may be restarted for changes. Default: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// Leave everything as it is until this is taken away. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// A Secret or the like in the same namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalObjectReference {
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// Who may do what.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authorization {
    /// `acl`: only what a rule allows; `none`: everybody everything. Default: `acl`.
    #[serde(rename = "type", default)]
    pub type_: AuthorizationType,
    /// Users that may do everything, by name, without `User:`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(
        validation = Rule::new("self.all(u, !u.startsWith('User:'))").message("name super users without `User:`"),
        validation = Rule::new("!('*' in self)").message("`*` is nobody's name: with type: none everybody may do everything")
    )]
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
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(has(self.renewBeforeDays) ? self.renewBeforeDays : 30) < (has(self.validityDays) ? self.validityDays : 365)")
        .message("a certificate cannot be renewed (renewBeforeDays, default 30) before it is made (validityDays, default 365)")
)]
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
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
    /// `Issuer` or `ClusterIssuer`. Default: `Issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,
    /// Its API group. Default: `cert-manager.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub group: Option<String>,
}

/// Whose Topics and Users a Cluster takes.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.from != 'Selector' || has(self.selector)").message("from: Selector needs a selector"),
    validation = Rule::new("self.from == 'Selector' || !has(self.selector)").message("a selector has no effect without from: Selector")
)]
pub struct AllowedNamespaces {
    /// Which namespaces: `Same`: the Cluster's own; `All`: all; `Selector`: those whose labels match.
    pub from: From,
    /// Labels of the namespaces, where `from` is `Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// What names of topics, groups and transactional ids must begin with. Default: no rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 249)))]
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
    /// When it begins, as a cron expression of five fields, in UTC, such as `0 2 * * sun`.
    #[schemars(length(max = 200), regex(pattern = r"^\s*\S+(\s+\S+){4}\s*$"))]
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
