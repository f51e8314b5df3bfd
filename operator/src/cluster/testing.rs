//! A Cluster as users write it, for the tests of this room.

use flotilla_control::Uuid;
use flotilla_crds::Cluster;
use serde_json::{Value, json};

use super::{Identity, Member, Site};
use crate::testing::with_fields;

/// Three brokers with a listener for each way to be reached from inside and by NodePort.
pub(super) fn cluster() -> Cluster {
    with(json!({}))
}

/// As [`cluster`], with these fields of the specification instead.
pub(super) fn with(fields: Value) -> Cluster {
    let spec = json!({
        "replicas": 3,
        "version": "0.1.0",
        "listeners": [
            {"name": "internal", "port": 9092, "tls": true, "authentication": ["scram-sha-512", "mtls"]},
            {"name": "external", "port": 9094, "tls": true, "authentication": ["scram-sha-512"], "exposure": {"type": "NodePort"}},
        ],
        "authorization": {"type": "acl", "superUsers": ["admin"]},
        "config": {"min.insync.replicas": 2},
    });
    serde_json::from_value(json!({
        "apiVersion": "flotilla.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "events", "namespace": "streaming", "uid": "uid-of-events", "generation": 4},
        "spec": with_fields(spec, &fields),
    }))
    .expect("a Cluster")
}

pub(super) fn identity(cluster: &Cluster) -> Identity {
    let mut next = 0;
    Identity::draw(cluster, &mut || {
        next += 1;
        Uuid([next; 16])
    })
    .expect("a Cluster that can be made")
}

pub(super) fn members(cluster: &Cluster) -> Vec<Member> {
    super::members(cluster, &identity(cluster)).expect("members")
}

pub(super) fn site() -> Site {
    Site {
        broker_image: "flotilla-broker".to_owned(),
        version: "0.1.0".to_owned(),
        bind: std::net::Ipv4Addr::UNSPECIFIED.into(),
        operator_namespace: "flotilla-system".to_owned(),
    }
}

/// The labels of everything that belongs to [`cluster`].
pub(super) fn labels() -> Value {
    json!({
        "app.kubernetes.io/component": "broker",
        "app.kubernetes.io/instance": "events",
        "app.kubernetes.io/managed-by": "flotilla-operator",
        "app.kubernetes.io/name": "flotilla-broker",
        "app.kubernetes.io/part-of": "flotilla",
        "flotilla.dev/cluster": "events",
    })
}

pub(super) fn pool_labels() -> Value {
    let mut labels = labels();
    labels["flotilla.dev/pool"] = "main".into();
    labels
}

pub(super) fn owners() -> Value {
    json!([{
        "apiVersion": "flotilla.dev/v1alpha1", "kind": "Cluster", "name": "events", "uid": "uid-of-events",
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// The metadata of an owned object of [`cluster`].
pub(super) fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": "streaming", "labels": labels(), "ownerReferences": owners()})
}
