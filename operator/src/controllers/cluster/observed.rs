use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_crds::Cluster;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;
use serde_json::Value;

use crate::Key;
use crate::cache::Cache;
use crate::cluster::{POOL_LABEL, Reach, reach};

/// What Kubernetes has of a Cluster, at one moment.
pub(super) struct Observed {
    pub(super) config_maps: Vec<Arc<ConfigMap>>,
    pub(super) secrets: Vec<Arc<Secret>>,
    pub(super) services: Vec<Arc<Service>>,
    pub(super) ingresses: Vec<Arc<Ingress>>,
    pub(super) policies: Vec<Arc<NetworkPolicy>>,
    pub(super) budgets: Vec<Arc<PodDisruptionBudget>>,
    pub(super) claims: Vec<Arc<PersistentVolumeClaim>>,
    pub(super) pods: Vec<Arc<Pod>>,
    /// By pool.
    pub(super) sets: BTreeMap<String, Arc<StatefulSet>>,
    pub(super) reach: Reach,
}

impl Observed {
    pub(super) fn read(cache: &Cache, key: &Key) -> Self {
        let pods: Vec<Arc<Pod>> = cache.owned(key);
        let services: Vec<Arc<Service>> = cache.owned(key);
        let sets: Vec<Arc<StatefulSet>> = cache.owned(key);
        let nodes = cache.nodes();
        let reach = reach(
            services.iter().map(AsRef::as_ref),
            nodes.iter().map(AsRef::as_ref),
            pods.iter().map(AsRef::as_ref),
        );
        Self {
            config_maps: cache.owned(key),
            secrets: cache.owned(key),
            ingresses: cache.owned(key),
            policies: cache.owned(key),
            budgets: cache.owned(key),
            claims: cache.owned(key),
            sets: sets
                .into_iter()
                .filter_map(|set| Some((pool_of(&set.metadata)?.to_owned(), set)))
                .collect(),
            services,
            pods,
            reach,
        }
    }

    /// As [`sizes`].
    pub(super) fn sizes(&self) -> BTreeMap<String, i32> {
        sizes(&self.sets, &self.pods)
    }

    pub(super) fn secret(&self, name: &str) -> Option<&Arc<Secret>> {
        named(&self.secrets, name)
    }

    pub(super) fn config_map(&self, name: &str) -> Option<&Arc<ConfigMap>> {
        named(&self.config_maps, name)
    }

    pub(super) fn pod(&self, name: &str) -> Option<&Arc<Pod>> {
        named(&self.pods, name)
    }

    /// An object as JSON.
    pub(super) fn live(&self, kind: &str, name: &str) -> Option<Value> {
        match kind {
            "ConfigMap" => json(named(&self.config_maps, name)?.as_ref()),
            "Secret" => json(named(&self.secrets, name)?.as_ref()),
            "Service" => json(named(&self.services, name)?.as_ref()),
            "Ingress" => json(named(&self.ingresses, name)?.as_ref()),
            "NetworkPolicy" => json(named(&self.policies, name)?.as_ref()),
            "PodDisruptionBudget" => json(named(&self.budgets, name)?.as_ref()),
            "StatefulSet" => json(
                self.sets
                    .values()
                    .find(|set| set.metadata.name.as_deref() == Some(name))?
                    .as_ref(),
            ),
            _ => None,
        }
    }

    /// Everything that belongs to a Cluster and goes with it, by kind and name, with its uid.
    pub(super) fn owned_by(&self, cluster: &Cluster) -> Vec<(Kind, String, String)> {
        let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
        let mut found = Vec::new();
        collect(&self.ingresses, Kind::Ingress, uid, &mut found);
        collect(&self.services, Kind::Service, uid, &mut found);
        collect(&self.policies, Kind::NetworkPolicy, uid, &mut found);
        collect(&self.budgets, Kind::PodDisruptionBudget, uid, &mut found);
        let sets: Vec<Arc<StatefulSet>> = self.sets.values().cloned().collect();
        collect(&sets, Kind::StatefulSet, uid, &mut found);
        collect(&self.config_maps, Kind::ConfigMap, uid, &mut found);
        collect(&self.secrets, Kind::Secret, uid, &mut found);
        found
    }
}

/// The kinds of objects that are taken away when they are no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Ingress,
    Service,
    NetworkPolicy,
    PodDisruptionBudget,
    StatefulSet,
    ConfigMap,
    Secret,
}

fn collect<K: Resource<DynamicType = ()>>(
    objects: &[Arc<K>],
    kind: Kind,
    cluster_uid: &str,
    found: &mut Vec<(Kind, String, String)>,
) {
    for object in objects {
        let metadata = object.meta();
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let ours = owners
            .iter()
            .any(|owner| owner.uid == cluster_uid && owner.controller == Some(true));
        if let (true, None, Some(name), Some(uid)) =
            (ours, &metadata.deletion_timestamp, &metadata.name, &metadata.uid)
        {
            found.push((kind, name.clone(), uid.clone()));
        }
    }
}

pub(super) fn pool_of(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(POOL_LABEL).map(String::as_str)
}

fn named<'a, K: Resource>(objects: &'a [Arc<K>], name: &str) -> Option<&'a Arc<K>> {
    objects
        .iter()
        .find(|object| object.meta().name.as_deref() == Some(name))
}

pub(super) fn json<K: Serialize>(object: &K) -> Option<Value> {
    serde_json::to_value(object).ok()
}

/// How many pods each pool has: as its StatefulSet says, and while that is being replaced, as many as its pods need.
fn sizes(sets: &BTreeMap<String, Arc<StatefulSet>>, pods: &[Arc<Pod>]) -> BTreeMap<String, i32> {
    let mut sizes: BTreeMap<String, i32> = BTreeMap::new();
    for pod in pods {
        let ordinal = pod
            .metadata
            .name
            .as_deref()
            .and_then(|name| name.rsplit_once('-')?.1.parse::<i32>().ok());
        if let (Some(pool), Some(ordinal)) = (pool_of(&pod.metadata), ordinal)
            && !sets.contains_key(pool)
        {
            let size = sizes.entry(pool.to_owned()).or_default();
            *size = (*size).max(ordinal + 1);
        }
    }
    for (pool, set) in sets {
        let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        sizes.insert(pool.clone(), replicas);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pool_whose_statefulset_is_being_replaced_is_as_large_as_its_pods_need() {
        let pod = |name: &str, pool: &str| -> Arc<Pod> {
            let pod = json!({"metadata": {"name": name, "labels": {POOL_LABEL: pool}}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let set: StatefulSet =
            serde_json::from_value(json!({"spec": {"replicas": 2, "selector": {}, "template": {}}})).unwrap();
        let sets = BTreeMap::from([("main".to_owned(), Arc::new(set))]);
        let pods = [
            pod("events-main-4", "main"),
            pod("events-other-1", "other"),
            pod("x", "other"),
        ];
        assert_eq!(
            sizes(&sets, &pods),
            BTreeMap::from([("main".to_owned(), 2), ("other".to_owned(), 2)])
        );
    }
}
