use std::collections::BTreeMap;

use flotilla_crds::{Cluster, Pool, Role};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::super::names::Names;
use super::super::pod::{CERTIFICATES_VOLUME, CONFIG_VOLUME};
use super::super::{Site, member, quantity, statefulset};
use super::name;
use crate::Problem;

/// The StatefulSet's controller puts the name and a digest into a label of 63 characters.
const STATEFUL_SET_NAME_MAX: usize = 52;
/// A ConfigMap is named after Cluster and pool, and these are the fleet's own.
const RESERVED_NAMES: [&str; 2] = ["identity", "pending"];
/// Smaller volumes cannot hold what a broker keeps besides records.
const VOLUME_BYTES_MIN: f64 = 64.0 * 1_024.0 * 1_024.0;

pub(super) fn check(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    let sized = member::pools(cluster);
    for (place, (pool, size)) in sized.iter().enumerate() {
        let field = |name: &str| format!("spec.pools[{}]{name}", pool.name);
        if sized[..place].iter().any(|(other, _)| other.name == pool.name) {
            wrong.push(Problem::spec(field(".name"), "two pools have this name"));
        }
        if !name::is_name(&pool.name) || pool.name.len() > 20 {
            wrong.push(Problem::spec(
                field(".name"),
                "a pool is named with at most 20 of a-z, 0-9 and -, beginning with a letter",
            ));
        }
        if RESERVED_NAMES.contains(&pool.name.as_str()) {
            wrong.push(Problem::spec(
                field(".name"),
                format!("`{}` is the fleet's own", pool.name),
            ));
        }
        let set = Names::of(cluster).pool(&pool.name);
        if set.len() > STATEFUL_SET_NAME_MAX {
            wrong.push(Problem::spec(
                field(".name"),
                format!("`{set}` would have {} characters, and the name of a StatefulSet has at most {STATEFUL_SET_NAME_MAX}", set.len()),
            ));
        }
        if !(0..=1_000).contains(size) {
            wrong.push(Problem::spec(
                field(".replicas"),
                format!("a pool has 0 to 1000 brokers, not {size}"),
            ));
        }
        if pool.roles.is_empty() {
            wrong.push(Problem::spec(
                field(".roles"),
                "a broker does something: broker, coordinator or both",
            ));
        }
        volumes(pool, &field, wrong);
        resources(pool, &field, wrong);
        if let Err(problem) = statefulset::stateful_set(cluster, pool, *size, &anywhere()) {
            wrong.push(problem);
        }
    }
    for (role, word, what) in [
        (Role::Coordinator, "coordinator", "forms the quorum"),
        (Role::Broker, "broker", "holds records"),
    ] {
        let any = sized
            .iter()
            .any(|(pool, size)| *size > 0 && pool.roles.contains(&role));
        if !any {
            wrong.push(Problem::spec(
                "spec.pools",
                format!("nobody {what}: a pool that is not empty needs the role {word}"),
            ));
        }
    }
    sizes(cluster, wrong);
    ids(&sized, wrong);
}

/// `spec.replicas` speaks of one pool.
fn sizes(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    let pools = &cluster.spec.pools;
    let unsized_pools = pools.iter().filter(|pool| pool.replicas.is_none()).count();
    if cluster.spec.replicas.is_some() && !pools.is_empty() && unsized_pools != 1 {
        wrong.push(Problem::spec(
            "spec.replicas",
            format!(
                "it is the size of the one pool that sets none of its own, and {unsized_pools} pools do so"
            ),
        ));
    }
}

/// Ids that pools name themselves; those that the operator allots never meet them.
fn ids(sized: &[(Pool, i32)], wrong: &mut Vec<Problem>) {
    let mut ranges: Vec<(i64, i64, &str)> = Vec::new();
    for (pool, size) in sized {
        let Some(first) = pool.first_broker_id.map(i64::from) else {
            continue;
        };
        let field = format!("spec.pools[{}].firstBrokerId", pool.name);
        if !(0..=2_000_000_000).contains(&first) {
            wrong.push(Problem::spec(
                field,
                format!("broker ids go from 0 to 2000000000, not {first}"),
            ));
            continue;
        }
        let range = (first, first + i64::from((*size).max(1)), pool.name.as_str());
        if let Some(other) = ranges.iter().find(|other| range.0 < other.1 && other.0 < range.1) {
            wrong.push(Problem::spec(
                field,
                format!(
                    "brokers of the pools `{}` and `{}` would have the same ids",
                    other.2, range.2
                ),
            ));
        }
        ranges.push(range);
    }
}

fn volumes(pool: &Pool, field: &dyn Fn(&str) -> String, wrong: &mut Vec<Problem>) {
    for (place, volume) in pool.volumes.iter().enumerate() {
        let field = |name: &str| field(&format!(".volumes[{}]{name}", volume.name));
        let taken = [CONFIG_VOLUME, CERTIFICATES_VOLUME].contains(&volume.name.as_str());
        if !name::is_name(&volume.name) || volume.name.len() > 30 || taken {
            wrong.push(Problem::spec(
                field(".name"),
                "a volume is named with at most 30 of a-z, 0-9 and -, beginning with a letter, and not `config` or `certificates`",
            ));
        }
        if pool.volumes[..place]
            .iter()
            .any(|other| other.name == volume.name)
        {
            wrong.push(Problem::spec(field(".name"), "two volumes have this name"));
        }
        match quantity::read(&volume.size) {
            Some(bytes) if bytes >= VOLUME_BYTES_MIN => {}
            Some(_) => wrong.push(Problem::spec(
                field(".size"),
                format!("`{}` is too small: a volume has at least 64Mi", volume.size),
            )),
            None => wrong.push(Problem::spec(
                field(".size"),
                format!("`{}` is not a size such as 100Gi", volume.size),
            )),
        }
        if let Some(class) = &volume.storage_class_name
            && !class.is_empty()
            && !name::is_host(class)
        {
            wrong.push(Problem::spec(
                field(".storageClassName"),
                format!("`{class}` is not the name of a StorageClass"),
            ));
        }
    }
}

fn resources(pool: &Pool, field: &dyn Fn(&str) -> String, wrong: &mut Vec<Problem>) {
    let Some(ResourceRequirements { requests, limits, .. }) = &pool.resources else {
        return;
    };
    let empty = BTreeMap::new();
    let (requests, limits) = (
        requests.as_ref().unwrap_or(&empty),
        limits.as_ref().unwrap_or(&empty),
    );
    for (kind, amounts) in [("requests", requests), ("limits", limits)] {
        for (resource, Quantity(amount)) in amounts {
            if quantity::read(amount).is_none_or(|amount| amount < 0.0) {
                wrong.push(Problem::spec(
                    field(&format!(".resources.{kind}.{resource}")),
                    format!("`{amount}` is not an amount such as 500m or 1Gi"),
                ));
            }
        }
    }
    for (resource, Quantity(request)) in requests {
        let limit = limits
            .get(resource)
            .and_then(|Quantity(limit)| quantity::read(limit));
        if let (Some(request), Some(limit)) = (quantity::read(request), limit)
            && request > limit
        {
            wrong.push(Problem::spec(
                field(&format!(".resources.requests.{resource}")),
                "it asks for more than its limit",
            ));
        }
    }
}

/// Overlays are checked alike wherever the operator runs.
fn anywhere() -> Site {
    Site {
        broker_image: String::new(),
        version: String::new(),
        bind: std::net::Ipv4Addr::UNSPECIFIED.into(),
        operator_namespace: String::new(),
    }
}
