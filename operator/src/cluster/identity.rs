use std::collections::BTreeMap;

use flotilla_control::{BrokerId, Uuid};
use flotilla_crds::{Cluster, Role};
use serde::{Deserialize, Serialize};

use super::member::{members, pools};
use crate::Problem;

/// Broker ids that a pool gets when it names no first one.
const BLOCK: i32 = 1_000;

/// What is decided once, before the first broker starts, and must never be lost: Kubernetes keeps it in the ConfigMap
/// `<cluster>-identity`, `flotilla up` beside the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// Kafka's id of the cluster.
    #[serde(with = "text")]
    pub cluster_id: Uuid,
    /// The first voters: broker ids, and the directory id that each is formatted with (KIP-853).
    #[serde(with = "voters")]
    pub voters: BTreeMap<BrokerId, Uuid>,
    /// The first broker id of each pool.
    #[serde(with = "blocks")]
    pub blocks: BTreeMap<String, BrokerId>,
    /// Whether the quorum has been formed. From then on an empty directory never begins a second cluster.
    pub bootstrapped: bool,
}

impl Identity {
    /// Decides it for a new fleet. `fresh` draws ids.
    ///
    /// # Errors
    /// Too few eligible brokers for `spec.coordinators`, or pools whose broker ids overlap.
    pub fn draw(cluster: &Cluster, fresh: &mut dyn FnMut() -> Uuid) -> Result<Self, Problem> {
        let mut identity = Self {
            cluster_id: fresh(),
            voters: BTreeMap::new(),
            blocks: BTreeMap::new(),
            bootstrapped: false,
        };
        identity.allot_blocks(cluster);
        let eligible: Vec<BrokerId> = members(cluster, &identity)?
            .into_iter()
            .filter(|member| member.roles.contains(&Role::Coordinator))
            .map(|member| member.id)
            .collect();
        let wanted = match cluster.spec.coordinators {
            Some(wanted @ (1 | 3 | 5)) => wanted as usize,
            Some(other) => {
                return Err(Problem::spec(
                    "spec.coordinators",
                    format!("{other} is none of 1, 3 and 5"),
                ));
            }
            None if eligible.len() < 3 => 1,
            None => 3,
        };
        if eligible.len() < wanted {
            return Err(Problem::spec(
                "spec.coordinators",
                format!(
                    "{wanted} brokers should vote, but only {} have the role coordinator",
                    eligible.len()
                ),
            ));
        }
        identity.voters = eligible
            .into_iter()
            .take(wanted)
            .map(|id| (id, fresh()))
            .collect();
        Ok(identity)
    }

    /// Gives ids to pools that have none yet; what is allotted stays.
    pub fn allot_blocks(&mut self, cluster: &Cluster) {
        for (pool, _) in pools(cluster) {
            if self.blocks.contains_key(&pool.name) {
                continue;
            }
            let free = self
                .blocks
                .values()
                .map(|first| (first.0 / BLOCK + 1) * BLOCK)
                .max()
                .unwrap_or(0);
            self.blocks
                .insert(pool.name, BrokerId(pool.first_broker_id.unwrap_or(free)));
        }
    }
}

mod text {
    use flotilla_control::Uuid;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

mod voters {
    use std::collections::BTreeMap;

    use flotilla_control::{BrokerId, Uuid};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(
        voters: &BTreeMap<BrokerId, Uuid>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(voters.iter().map(|(id, directory)| (id.0, directory.to_string())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<BrokerId, Uuid>, D::Error> {
        let read = BTreeMap::<i32, String>::deserialize(deserializer)?;
        read.into_iter()
            .map(|(id, text)| Ok((BrokerId(id), text.parse().map_err(D::Error::custom)?)))
            .collect()
    }
}

mod blocks {
    use std::collections::BTreeMap;

    use flotilla_control::BrokerId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        blocks: &BTreeMap<String, BrokerId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(blocks.iter().map(|(pool, first)| (pool, first.0)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, BrokerId>, D::Error> {
        let read = BTreeMap::<String, i32>::deserialize(deserializer)?;
        Ok(read
            .into_iter()
            .map(|(pool, first)| (pool, BrokerId(first)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use flotilla_crds::{ClusterSpec, default_pools};

    use super::*;

    fn counter() -> impl FnMut() -> Uuid {
        let mut next = 0;
        move || {
            next += 1;
            Uuid([next; 16])
        }
    }

    fn cluster(spec: ClusterSpec) -> Cluster {
        Cluster::new("events", spec)
    }

    #[test]
    fn three_of_the_brokers_vote_unless_told_otherwise() {
        for (replicas, coordinators, voters) in [
            (1, None, vec![0]),
            (2, None, vec![0]),
            (4, None, vec![0, 1, 2]),
            (5, Some(5), vec![0, 1, 2, 3, 4]),
        ] {
            let spec = ClusterSpec {
                replicas: Some(replicas),
                coordinators,
                ..ClusterSpec::default()
            };
            let identity = Identity::draw(&cluster(spec), &mut counter()).unwrap();
            assert_eq!(identity.voters.keys().map(|id| id.0).collect::<Vec<_>>(), voters);
            assert!(!identity.bootstrapped);
        }
    }

    #[test]
    fn more_voters_than_eligible_brokers_are_refused() {
        let spec = ClusterSpec {
            replicas: Some(2),
            coordinators: Some(3),
            ..ClusterSpec::default()
        };
        let problem = Identity::draw(&cluster(spec), &mut counter()).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "spec.coordinators: 3 brokers should vote, but only 2 have the role coordinator"
        );
    }

    #[test]
    fn pools_get_blocks_of_a_thousand_and_keep_them() {
        let pool = |name: &str, first_broker_id| {
            let mut pool = default_pools().remove(0);
            (pool.name, pool.first_broker_id, pool.replicas) = (name.to_owned(), first_broker_id, Some(1));
            pool
        };
        let mut spec = ClusterSpec {
            pools: vec![pool("a", None), pool("b", Some(40)), pool("c", None)],
            ..ClusterSpec::default()
        };
        let mut identity = Identity::draw(&cluster(spec.clone()), &mut counter()).unwrap();
        let blocks = |identity: &Identity| {
            identity
                .blocks
                .iter()
                .map(|(n, id)| (n.clone(), id.0))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            blocks(&identity),
            [("a".into(), 0), ("b".into(), 40), ("c".into(), 1_000)]
        );
        spec.pools.insert(0, pool("d", None));
        identity.allot_blocks(&cluster(spec));
        assert_eq!(blocks(&identity)[3], ("d".into(), 2_000));
        assert_eq!(
            blocks(&identity)[..3],
            [("a".into(), 0), ("b".into(), 40), ("c".into(), 1_000)]
        );
    }

    #[test]
    fn brokers_of_two_pools_with_one_id_are_refused() {
        let mut pools = default_pools();
        pools[0].replicas = Some(3);
        let mut other = pools[0].clone();
        (other.name, other.first_broker_id) = ("other".into(), Some(2));
        pools.push(other);
        let problem = Identity::draw(
            &cluster(ClusterSpec {
                pools,
                ..ClusterSpec::default()
            }),
            &mut counter(),
        )
        .unwrap_err();
        assert_eq!(
            problem.to_string(),
            "spec.pools[other].firstBrokerId: broker 2 would belong to the pools `main` and `other`"
        );
    }

    #[test]
    fn identity_reads_back_as_it_was_written() {
        let identity = Identity::draw(&cluster(ClusterSpec::default()), &mut counter()).unwrap();
        let text = serde_json::to_string(&identity).unwrap();
        assert_eq!(serde_json::from_str::<Identity>(&text).unwrap(), identity);
    }
}
