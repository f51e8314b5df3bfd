use flotilla_control::BrokerId;
use flotilla_crds::{Cluster, Pool, Role, default_pools};

use super::Identity;
use crate::Problem;

/// How many brokers a Cluster has that does not say.
const DEFAULT_REPLICAS: i32 = 3;

/// One broker of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id: the pool's first one, plus the ordinal.
    pub id: BrokerId,
    /// The pool that it belongs to.
    pub pool: String,
    /// Its place in the pool, from 0.
    pub ordinal: i32,
    /// What it does.
    pub roles: Vec<Role>,
}

/// The pools of a Cluster, with the size of each.
pub(crate) fn pools(cluster: &Cluster) -> Vec<(Pool, i32)> {
    let pools = if cluster.spec.pools.is_empty() {
        default_pools()
    } else {
        cluster.spec.pools.clone()
    };
    pools
        .into_iter()
        .map(|pool| {
            let size = pool
                .replicas
                .or(cluster.spec.replicas)
                .unwrap_or(DEFAULT_REPLICAS);
            (pool, size)
        })
        .collect()
}

/// The brokers that a Cluster asks for, by id.
///
/// # Errors
/// A pool that the identity does not know, or brokers of two pools with the same id.
pub fn members(cluster: &Cluster, identity: &Identity) -> Result<Vec<Member>, Problem> {
    let pools = pools(cluster)
        .into_iter()
        .map(|(pool, size)| (pool.name, pool.roles, size));
    seats(pools.collect(), identity)
}

/// As [`members`], with pools of other sizes: `size` is asked with the name and the wanted size of each pool of the Cluster, and with
/// 0 for each pool that the Cluster no longer has.
///
/// # Errors
/// As [`members`].
pub(super) fn members_at(
    cluster: &Cluster,
    identity: &Identity,
    size: &dyn Fn(&str, i32) -> i32,
) -> Result<Vec<Member>, Problem> {
    let mut sized: Vec<(String, Vec<Role>, i32)> = pools(cluster)
        .into_iter()
        .map(|(pool, wanted)| {
            let size = size(&pool.name, wanted);
            (pool.name, pool.roles, size)
        })
        .collect();
    for pool in identity.blocks.keys() {
        if !sized.iter().any(|(name, ..)| name == pool) {
            sized.push((pool.clone(), Vec::new(), size(pool, 0)));
        }
    }
    seats(sized, identity)
}

fn seats(pools: Vec<(String, Vec<Role>, i32)>, identity: &Identity) -> Result<Vec<Member>, Problem> {
    let mut members = Vec::new();
    for (name, roles, size) in pools {
        let field = format!("spec.pools[{name}]");
        if size < 0 {
            return Err(Problem::spec(
                format!("{field}.replicas"),
                "the number of brokers cannot be negative",
            ));
        }
        let first = identity
            .blocks
            .get(&name)
            .ok_or_else(|| Problem::spec(&field, "no broker ids are allotted to this pool yet"))?;
        members.extend((0..size).map(|ordinal| Member {
            id: BrokerId(first.0 + ordinal),
            pool: name.clone(),
            ordinal,
            roles: roles.clone(),
        }));
    }
    members.sort_by_key(|member| member.id);
    if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(Problem::spec(
            format!("spec.pools[{}].firstBrokerId", pair[1].pool),
            format!(
                "broker {} would belong to the pools `{}` and `{}`",
                pair[0].id, pair[0].pool, pair[1].pool
            ),
        ));
    }
    Ok(members)
}
