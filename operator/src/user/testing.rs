//! Users and Clusters as one writes them, for the tests of this room.

use flotilla_control::proto::metadata::Owner;
use flotilla_crds::{Cluster, User};
use serde_json::{Value, json};

pub(super) fn user(authentication: Value) -> User {
    serde_json::from_value(json!({
        "apiVersion": "flotilla.dev/v1alpha1",
        "kind": "User",
        "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-of-checkout", "generation": 3},
        "spec": {"cluster": {"name": "events", "namespace": "streaming"}, "authentication": authentication},
    }))
    .expect("a User")
}

pub(super) fn cluster(spec: Value) -> Cluster {
    serde_json::from_value(json!({
        "apiVersion": "flotilla.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "events", "namespace": "streaming"},
        "spec": spec,
    }))
    .expect("a Cluster")
}

pub(super) fn owner(namespace: &str, name: &str, uid: &str) -> Owner {
    Owner {
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.into(),
        deletion_policy: "Delete".into(),
    }
}
