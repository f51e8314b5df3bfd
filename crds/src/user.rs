// The derive takes several columns, each with a `type_`.
#![allow(clippy::duplicated_attributes)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ClusterRef;

/// A user: how it proves who it is, what it may do, and how much.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "flotilla.dev",
    version = "v1alpha1",
    kind = "User",
    namespaced,
    status = "UserStatus",
    derive = "PartialEq",
    shortname = "fu",
    category = "flotilla",
    doc = "A user of a Flotilla Cluster.",
    validation = Rule::new("self.metadata.name != 'anonymous'").message("the name `anonymous` belongs to clients that do not say who they are"),
    validation = Rule::new("!has(self.spec.authentication.passwordFrom) || self.spec.authentication.passwordFrom.name != self.metadata.name")
        .message("the Secret of the User's own name is the one that is written for it: keep the password in another")
        .field_path(".spec.authentication.passwordFrom.name"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster.name"),
    printcolumn(
        name = "Authentication",
        type_ = "string",
        json_path = ".spec.authentication.type"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.cluster == oldSelf.cluster")
        .message("spec.cluster cannot change: make a new User there")
        .field_path(".cluster")
)]
pub struct UserSpec {
    /// The Cluster that the user belongs to. Cannot change.
    pub cluster: ClusterRef,
    /// How the user proves who it is.
    pub authentication: UserAuthentication,
    /// What the user may do, whole. Left out: rules that clients made stay, in the Cluster's own namespace; a User of another namespace has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<UserAuthorization>,
    /// How much the user may do, whole. Left out: limits that clients set stay, in the Cluster's own namespace; a User of another namespace has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
}

/// How a user proves who it is.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.type != 'mtls' || !has(self.passwordFrom)")
        .message("a user with a client certificate has no password")
)]
pub struct UserAuthentication {
    /// `scram-sha-512`, `scram-sha-256` or `mtls`.
    #[serde(rename = "type")]
    pub type_: UserAuthenticationType,
    /// A password of the user's own. Default: one is made, also for a user that exists already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_from: Option<SecretKeyRef>,
}

/// The ways for a user to prove who it is.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum UserAuthenticationType {
    /// SCRAM with SHA-512 (RFC 5802).
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// SCRAM with SHA-256 (RFC 7677).
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// A client certificate.
    #[serde(rename = "mtls")]
    Mtls,
}

/// A key of a Secret in the resource's own namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// What a user may do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserAuthorization {
    /// The rules. There is nothing else that the user may do. Default: none.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    pub acls: Vec<AclRule>,
}

/// One rule: operations on a resource.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.operations.all(o, o == 'All' || (self.resource.type == 'topic' ? o in ['Read', 'Write', 'Create', 'Delete', 'Alter', 'Describe', 'DescribeConfigs', 'AlterConfigs'] : self.resource.type == 'group' ? o in ['Read', 'Delete', 'Describe', 'DescribeConfigs', 'AlterConfigs'] : self.resource.type == 'cluster' ? o in ['Create', 'Alter', 'Describe', 'ClusterAction', 'DescribeConfigs', 'AlterConfigs', 'IdempotentWrite'] : self.resource.type == 'transactionalId' ? o in ['Write', 'Describe'] : o in ['Describe', 'CreateTokens', 'DescribeTokens']))")
        .message("an operation that resources of this type do not have: topics have Read, Write, Create, Delete, Alter, Describe, DescribeConfigs and AlterConfigs; groups Read, Delete, Describe, DescribeConfigs and AlterConfigs; the cluster Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs and IdempotentWrite; transactional ids Write and Describe; all have All")
        .field_path(".operations")
)]
pub struct AclRule {
    /// What it is about.
    pub resource: AclResource,
    /// What may be done with it.
    #[schemars(length(min = 1, max = 16))]
    pub operations: Vec<AclOperation>,
    /// From which address; `*`: from any. Default: `*`.
    #[serde(default = "any_host")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self == '*' || isIP(self)").message("a host is an address such as 10.0.0.1, or `*`"))]
    pub host: String,
    /// Whether the rule allows or denies. A denial wins. Default: `Allow`.
    #[serde(default)]
    pub permission: AclPermission,
}

fn any_host() -> String {
    "*".to_owned()
}

/// What a rule is about.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.type == 'cluster' || (has(self.name) && self.name != '')")
        .message("a rule needs the name of its resource, or `*`; only the cluster has none"),
    validation = Rule::new("!has(self.name) || self.name != '*' || !has(self.pattern) || self.pattern == 'literal'")
        .message("`*` stands for all by itself: leave `pattern: prefixed` out")
)]
pub struct AclResource {
    /// The kind of resource.
    #[serde(rename = "type")]
    pub type_: AclResourceType,
    /// Its name, the beginning of its name, or `*` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 249))]
    pub name: Option<String>,
    /// How the name is meant. Default: `literal`.
    #[serde(default)]
    pub pattern: PatternType,
}

/// The kinds of resources that rules speak of.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AclResourceType {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// The cluster itself.
    Cluster,
    /// A transactional id.
    TransactionalId,
    /// A delegation token.
    DelegationToken,
}

/// How the name in a rule is meant.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PatternType {
    /// The name itself.
    #[default]
    Literal,
    /// Every name that begins so (KIP-290).
    Prefixed,
}

/// Kafka's operations.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub enum AclOperation {
    All,
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
    CreateTokens,
    DescribeTokens,
}

/// Whether a rule allows or denies.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum AclPermission {
    /// It allows.
    #[default]
    Allow,
    /// It denies, and wins over every rule that allows.
    Deny,
}

/// How much a user may do, on each broker (KIP-13, KIP-124, KIP-599).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quotas {
    /// Bytes a second that it may write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub producer_byte_rate: Option<i64>,
    /// Bytes a second that it may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub consumer_byte_rate: Option<i64>,
    /// Share of a request thread's time that it may use, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub request_percentage: Option<f64>,
    /// Partitions a second that it may create or delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub controller_mutation_rate: Option<f64>,
}

/// What is known of a user.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// The generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Kafka's name of the user, without `User:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The Secret with all that an application needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// `Ready` always; `Reconciling`, `Stalled` and `Paused` while they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
