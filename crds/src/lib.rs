//! Flotilla's custom resources: [`Cluster`], [`Topic`] and [`User`], as users write them, and the conditions that report on them.
//!
//! The YAML beside this crate (`cluster.yaml`, `topic.yaml`, `user.yaml`) is generated from these types by
//! `just crds-generate`; a test fails when it is stale.

mod cluster;
mod condition;
mod setting;
mod topic;
mod user;

pub use cluster::{
    AllowedNamespaces, Authentication, Authorization, AuthorizationType, BrokerStatus, CertificateAuthority,
    Cluster, ClusterSpec, ClusterStatus, ClusterTls, Exposure, ExposureType, From, IssuerRef, Listener,
    LocalObjectReference, MaintenanceWindow, OwnCertificateAuthority, Persistence, Pool, PoolStatus,
    Retention, Role, Volume, default_pools,
};
pub use condition::{ConditionType, Reason};
pub use setting::SettingValue;
pub use topic::{ClusterRef, DeletionPolicy, Topic, TopicSpec, TopicStatus};
pub use user::{
    AclOperation, AclPermission, AclResource, AclResourceType, AclRule, PatternType, Quotas, SecretKeyRef,
    User, UserAuthentication, UserAuthenticationType, UserAuthorization, UserSpec, UserStatus,
};

/// The API group of all three.
pub const GROUP: &str = "flotilla.dev";
/// The one version that is served.
pub const VERSION: &str = "v1alpha1";

/// The three CustomResourceDefinitions, by the name of the file that holds each.
#[must_use]
pub fn definitions() -> Vec<(&'static str, serde_json::Value)> {
    use kube::CustomResourceExt as _;
    let json = |definition| serde_json::to_value(definition).expect("a CustomResourceDefinition is JSON");
    vec![
        ("cluster.yaml", json(Cluster::crd())),
        ("topic.yaml", json(Topic::crd())),
        ("user.yaml", json(User::crd())),
    ]
}
