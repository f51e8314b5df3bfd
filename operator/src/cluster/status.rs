use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::BrokerId;
use flotilla_crds::{BrokerStatus, Cluster, ClusterStatus, PoolStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::exposure::{Reach, bootstrap_servers};
use super::member::pools;
use super::names::{CLUSTER_LABEL, Names, POOL_LABEL};
use super::{Identity, config};
use crate::{Standing, conditions, paused};

/// The pods of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolObserved {
    /// Pods that there are.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
}

/// What a Cluster's status is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct StatusInput<'a> {
    /// What was decided once.
    pub identity: Option<&'a Identity>,
    /// The pods of each pool.
    pub pools: &'a BTreeMap<String, PoolObserved>,
    /// Who votes; empty while nobody can tell.
    pub voters: &'a BTreeSet<BrokerId>,
    /// The version that all brokers run, once all run the same.
    pub version: Option<&'a str>,
    /// The brokers.
    pub brokers: &'a [BrokerStatus],
    /// The settings that are changed while brokers run; `None` while nobody can tell.
    pub managed_config: Option<&'a [String]>,
    /// How listeners are reached.
    pub reach: &'a Reach,
    /// How it stands.
    pub standing: &'a Standing,
}

/// The status of a Cluster. What cannot be told now stays as it was.
#[must_use]
pub fn status(cluster: &Cluster, now: &Time, input: StatusInput<'_>) -> ClusterStatus {
    let previous = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    if cluster.spec.paused {
        return ClusterStatus {
            conditions: paused(&previous.conditions, generation, now),
            ..previous
        };
    }
    let scaled = scaled_pool(cluster);
    let listeners = config::listeners(cluster)
        .iter()
        .filter_map(|listener| {
            Some((
                listener.name.clone(),
                bootstrap_servers(cluster, listener, input.reach)?,
            ))
        })
        .collect();
    ClusterStatus {
        observed_generation: generation,
        cluster_id: input
            .identity
            .map(|identity| identity.cluster_id.to_string())
            .or(previous.cluster_id),
        version: input.version.map(str::to_owned).or(previous.version),
        replicas: scaled
            .as_ref()
            .map(|pool| input.pools.get(pool).copied().unwrap_or_default().replicas),
        selector: scaled.map(|pool| {
            format!(
                "{CLUSTER_LABEL}={},{POOL_LABEL}={pool}",
                Names::of(cluster).cluster
            )
        }),
        coordinators: if input.voters.is_empty() {
            previous.coordinators
        } else {
            input.voters.iter().map(|voter| voter.0).collect()
        },
        listeners,
        pools: pool_statuses(input),
        brokers: input.brokers.to_vec(),
        managed_config: input
            .managed_config
            .map_or(previous.managed_config, <[String]>::to_vec),
        conditions: conditions(&previous.conditions, generation, now, input.standing),
    }
}

/// The pool that `spec.replicas` and `kubectl scale` speak of.
fn scaled_pool(cluster: &Cluster) -> Option<String> {
    pools(cluster)
        .into_iter()
        .find(|(pool, _)| pool.replicas.is_none())
        .map(|(pool, _)| pool.name)
}

fn pool_statuses(input: StatusInput<'_>) -> Vec<PoolStatus> {
    let blocks = input.identity.map(|identity| &identity.blocks);
    input
        .pools
        .iter()
        .filter_map(|(name, observed)| {
            Some(PoolStatus {
                name: name.clone(),
                first_broker_id: blocks?.get(name)?.0,
                replicas: observed.replicas,
                ready_replicas: observed.ready,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use flotilla_crds::Reason;
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn at(text: &str) -> Time {
        serde_json::from_value(json!(text)).unwrap()
    }

    fn drawn(cluster: &Cluster, voters: &[i32], now: &str, standing: &Standing) -> ClusterStatus {
        let identity = testing::identity(cluster);
        let input = StatusInput {
            identity: Some(&identity),
            pools: &BTreeMap::from([(
                "main".to_owned(),
                PoolObserved {
                    replicas: 3,
                    ready: 2,
                },
            )]),
            voters: &voters.iter().copied().map(BrokerId).collect(),
            version: Some("0.1.0"),
            brokers: &[BrokerStatus {
                id: 0,
                pod: "events-main-0".into(),
                rack: Some("a".into()),
                version: None,
                state: "Ready".into(),
            }],
            managed_config: Some(&["min.insync.replicas".into()]),
            reach: &Reach::default(),
            standing,
        };
        status(cluster, &at(now), input)
    }

    #[test]
    fn status_is_whole() {
        let standing = Standing::Working(Reason::Creating, "2 of 3 brokers are ready".into());
        let cluster = testing::cluster();
        let now = "2026-01-01T00:00:00Z";
        let condition = |type_: &str, status: &str| {
            json!({
                "type": type_, "status": status, "reason": "Creating", "message": "2 of 3 brokers are ready",
                "observedGeneration": 4, "lastTransitionTime": now,
            })
        };
        assert_eq!(
            serde_json::to_value(drawn(&cluster, &[0, 1, 2], now, &standing)).unwrap(),
            json!({
                "observedGeneration": 4,
                "clusterId": flotilla_control::Uuid([1; 16]).to_string(),
                "version": "0.1.0",
                "replicas": 3,
                "selector": "flotilla.dev/cluster=events,flotilla.dev/pool=main",
                "coordinators": [0, 1, 2],
                "listeners": {"internal": "events-internal.streaming.svc:9092"},
                "pools": [{"name": "main", "firstBrokerId": 0, "replicas": 3, "readyReplicas": 2}],
                "brokers": [{"id": 0, "pod": "events-main-0", "rack": "a", "state": "Ready"}],
                "managedConfig": ["min.insync.replicas"],
                "conditions": [condition("Ready", "False"), condition("Reconciling", "True")],
            })
        );
    }

    #[test]
    fn status_that_says_the_same_is_the_same() {
        let standing = Standing::Ready("3 brokers serve".into());
        let mut cluster = testing::cluster();
        let first = drawn(&cluster, &[0, 1, 2], "2026-01-01T00:00:00Z", &standing);
        cluster.status = Some(first.clone());
        assert_eq!(
            drawn(&cluster, &[0, 1, 2], "2026-01-02T00:00:00Z", &standing),
            first
        );
        // Nobody can tell who votes: what was known stays.
        assert_eq!(
            drawn(&cluster, &[], "2026-01-02T00:00:00Z", &standing).coordinators,
            [0, 1, 2]
        );
    }

    #[test]
    fn paused_cluster_keeps_its_status() {
        let standing = Standing::Ready("3 brokers serve".into());
        let mut cluster = testing::cluster();
        let before = drawn(&cluster, &[0, 1, 2], "2026-01-01T00:00:00Z", &standing);
        cluster.status = Some(before.clone());
        cluster.spec.paused = true;
        cluster.metadata.generation = Some(5);
        let now = drawn(&cluster, &[0], "2026-01-02T00:00:00Z", &standing);
        assert_eq!(now.observed_generation, Some(4));
        assert_eq!(
            (&now.conditions[0], now.conditions.len()),
            (&before.conditions[0], 2)
        );
        assert_eq!(
            ClusterStatus {
                conditions: before.conditions.clone(),
                ..now
            },
            before
        );
    }
}
