use std::collections::BTreeMap;

use flotilla_control::BrokerId;
use flotilla_crds::{Cluster, GROUP, VERSION};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use super::Member;
use crate::namespace_of;

/// The label that names the Cluster on everything made for it.
pub const CLUSTER_LABEL: &str = "flotilla.dev/cluster";
/// The label that names the pool on pods and claims.
pub const POOL_LABEL: &str = "flotilla.dev/pool";
/// The name of whoever writes to Kubernetes: server-side apply's field manager, and `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "flotilla-operator";

/// What the objects of one Cluster are called. Pods are called after their StatefulSet, and Services are what users type,
/// so that both are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    /// The Cluster's name.
    pub cluster: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
}

impl<'a> Names<'a> {
    /// The names of a Cluster's objects.
    #[must_use]
    pub fn of(cluster: &'a Cluster) -> Self {
        Self {
            cluster: cluster.metadata.name.as_deref().unwrap_or_default(),
            namespace: namespace_of(&cluster.metadata),
        }
    }

    /// The ConfigMap with what was decided once: [`super::Identity`].
    #[must_use]
    pub fn identity(self) -> String {
        format!("{}-identity", self.cluster)
    }

    /// The ConfigMap with deletions that the brokers have not been told yet: [`super::Pending`].
    #[must_use]
    pub fn pending(self) -> String {
        format!("{}-pending", self.cluster)
    }

    /// The StatefulSet of a pool, and the ConfigMap with its brokers' configuration files.
    #[must_use]
    pub fn pool(self, pool: &str) -> String {
        format!("{}-{pool}", self.cluster)
    }

    /// A broker's pod.
    #[must_use]
    pub fn pod(self, member: &Member) -> String {
        format!("{}-{}", self.pool(&member.pool), member.ordinal)
    }

    /// The headless Service that gives pods their names in DNS.
    #[must_use]
    pub fn brokers(self) -> String {
        format!("{}-brokers", self.cluster)
    }

    /// A pod's name in DNS. It leaves the cluster's domain out: that differs from place to place, and resolvers add it.
    #[must_use]
    pub fn pod_host(self, member: &Member) -> String {
        format!("{}.{}.{}.svc", self.pod(member), self.brokers(), self.namespace)
    }

    /// The Service where clients of a listener begin.
    #[must_use]
    pub fn bootstrap(self, listener: &str) -> String {
        format!("{}-{listener}", self.cluster)
    }

    /// The name in DNS of the Service where clients of a listener begin.
    #[must_use]
    pub fn bootstrap_host(self, listener: &str) -> String {
        format!("{}.{}.svc", self.bootstrap(listener), self.namespace)
    }

    /// The Service, and the Ingress, of one broker for a listener that is exposed.
    #[must_use]
    pub fn broker(self, listener: &str, broker: BrokerId) -> String {
        format!("{}-{broker}", self.bootstrap(listener))
    }

    /// The Secret with the certificates of a pool's brokers.
    #[must_use]
    pub fn certificates(self, pool: &str) -> String {
        format!("{}-certificates", self.pool(pool))
    }

    /// The Secret of an authority.
    #[must_use]
    pub fn authority(self, role: &str) -> String {
        format!("{}-{role}-ca", self.cluster)
    }
}

/// What selects all brokers of a Cluster.
#[must_use]
pub fn selector(cluster: &Cluster) -> LabelSelector {
    matching(BTreeMap::from([(
        CLUSTER_LABEL.to_owned(),
        Names::of(cluster).cluster.to_owned(),
    )]))
}

/// What selects the brokers of a pool.
#[must_use]
pub fn pool_selector(cluster: &Cluster, pool: &str) -> LabelSelector {
    matching(BTreeMap::from([
        (CLUSTER_LABEL.to_owned(), Names::of(cluster).cluster.to_owned()),
        (POOL_LABEL.to_owned(), pool.to_owned()),
    ]))
}

fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    }
}

/// The labels of everything that is made for a Cluster.
#[must_use]
pub fn labels(cluster: &Cluster) -> BTreeMap<String, String> {
    let name = Names::of(cluster).cluster;
    [
        ("app.kubernetes.io/name", "flotilla-broker"),
        ("app.kubernetes.io/instance", name),
        ("app.kubernetes.io/component", "broker"),
        ("app.kubernetes.io/part-of", "flotilla"),
        ("app.kubernetes.io/managed-by", MANAGER),
        (CLUSTER_LABEL, name),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The labels of what belongs to a pool.
#[must_use]
pub fn pool_labels(cluster: &Cluster, pool: &str) -> BTreeMap<String, String> {
    let mut labels = labels(cluster);
    labels.insert(POOL_LABEL.to_owned(), pool.to_owned());
    labels
}

/// The metadata of an object that goes when its Cluster goes.
#[must_use]
pub fn owned(cluster: &Cluster, name: String) -> ObjectMeta {
    ObjectMeta {
        owner_references: owner_reference(cluster).map(|owner| vec![owner]),
        ..kept(cluster, name)
    }
}

/// The metadata of an object that outlives its Cluster.
#[must_use]
pub fn kept(cluster: &Cluster, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(Names::of(cluster).namespace.to_owned()),
        labels: Some(labels(cluster)),
        ..ObjectMeta::default()
    }
}

/// A Cluster that is not in Kubernetes has no uid, and nothing can refer to it.
fn owner_reference(cluster: &Cluster) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "Cluster".to_owned(),
        name: cluster.metadata.name.clone()?,
        uid: cluster.metadata.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: Some(true),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn names_of_objects_follow_from_cluster_pool_listener_and_broker() {
        let cluster = testing::cluster();
        let names = Names::of(&cluster);
        let member = &testing::members(&cluster)[1];
        assert_eq!(
            [
                names.identity(),
                names.pool("main"),
                names.pod(member),
                names.brokers(),
                names.pod_host(member),
                names.bootstrap_host("internal"),
                names.broker("external", BrokerId(1)),
                names.certificates("main"),
                names.authority("clients"),
            ],
            [
                "events-identity",
                "events-main",
                "events-main-1",
                "events-brokers",
                "events-main-1.events-brokers.streaming.svc",
                "events-internal.streaming.svc",
                "events-external-1",
                "events-main-certificates",
                "events-clients-ca",
            ]
        );
    }

    #[test]
    fn kept_objects_have_no_owner() {
        let cluster = testing::cluster();
        assert_eq!(kept(&cluster, "x".into()).owner_references, None);
        assert_eq!(
            serde_json::to_value(owned(&cluster, "x".into()).owner_references).unwrap(),
            serde_json::json!([{
                "apiVersion": "flotilla.dev/v1alpha1", "kind": "Cluster", "name": "events", "uid": "uid-of-events",
                "controller": true, "blockOwnerDeletion": true,
            }])
        );
    }
}
