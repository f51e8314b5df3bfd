//! Flotilla's custom resources: [`Cluster`], [`Topic`] and [`User`], as users write them, and the conditions that report on them.
//!
//! The YAML beside this crate (`cluster.yaml`, `topic.yaml`, `user.yaml`) is generated from these types by
//! `just crds-generate`, and so are two documents in `docs/`; a test fails when one is stale.

use serde_json::Value;

mod cluster;
mod condition;
mod listener;
mod pool;
pub mod reference;
mod setting;
mod topic;
mod user;

pub use cluster::{
    AllowedNamespaces, Authorization, AuthorizationType, BrokerStatus, CertificateAuthority, Cluster,
    ClusterSpec, ClusterStatus, ClusterTls, From, IssuerRef, LocalObjectReference, MaintenanceWindow,
    OwnCertificateAuthority, PoolStatus,
};
pub use condition::{ConditionType, Reason};
pub use listener::{Authentication, Exposure, ExposureType, Listener};
pub use pool::{Persistence, Pool, Retention, Role, Volume, default_pools};
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
pub fn definitions() -> Vec<(&'static str, Value)> {
    use kube::CustomResourceExt as _;
    let json = |definition| {
        let mut definition = serde_json::to_value(definition).expect("a CustomResourceDefinition is JSON");
        plain(&mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
        definition
    };
    vec![
        ("cluster.yaml", json(Cluster::crd())),
        ("topic.yaml", json(Topic::crd())),
        ("user.yaml", json(User::crd())),
    ]
}

/// How Kubernetes writes amounts, such as `500m` or `1.5Gi`.
const QUANTITY: &str = r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$";

/// Takes away what would make the API server add to what users wrote, which shows as drift wherever lists are compared as a whole, and
/// what it would not give back as it was: defaults (the operator knows them), `null` as a value of its own, whole numbers with a
/// fraction, formats that it does not know.
fn plain(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    schema.remove("default");
    schema.remove("nullable");
    for bound in ["minimum", "maximum"] {
        if let Some(number) = schema.get(bound).and_then(Value::as_f64)
            && number.fract() == 0.0
        {
            schema.insert(bound.to_owned(), Value::from(number as i64));
        }
    }
    if schema.get("format").is_some_and(|format| format == "uint16") {
        schema.insert("format".to_owned(), Value::from("int32"));
    }
    // The only ones of this kind are quantities.
    if schema.get("x-kubernetes-int-or-string").is_some() {
        schema.insert("pattern".to_owned(), Value::from(QUANTITY));
    }
    for inner in ["items", "additionalProperties"] {
        schema.get_mut(inner).into_iter().for_each(plain);
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    properties
        .into_iter()
        .flat_map(|properties| properties.values_mut())
        .for_each(plain);
}
