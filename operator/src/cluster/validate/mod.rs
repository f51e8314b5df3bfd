//! What is wrong with a Cluster's specification: every rule by which something that Kubernetes let in cannot be followed. Admission
//! refuses most of it before; this also holds where admission does not look, and for Clusters that are older than a rule.

mod access;
mod listener;
mod name;
mod pool;

use flotilla_crds::{Cluster, Role};

use super::names::Names;
use super::schedule::Schedule;
use super::{config, member};
use crate::Problem;

/// All that is wrong with a Cluster, in the order of its fields. Empty: it can be followed.
#[must_use]
pub fn validate(cluster: &Cluster) -> Vec<Problem> {
    let mut wrong = Vec::new();
    cluster_itself(cluster, &mut wrong);
    pool::check(cluster, &mut wrong);
    coordinators(cluster, &mut wrong);
    if let Some(key) = &cluster.spec.rack_topology_key
        && !name::is_label_key(key)
    {
        wrong.push(Problem::spec(
            "spec.rackTopologyKey",
            format!("`{key}` is not the key of a label, such as `topology.kubernetes.io/zone`"),
        ));
    }
    listener::check(cluster, &mut wrong);
    access::check(cluster, &mut wrong);
    wrong.extend(config::settings(cluster).err());
    defaults(cluster, &mut wrong);
    windows(cluster, &mut wrong);
    wrong
}

fn cluster_itself(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    let name = Names::of(cluster).cluster;
    if !name::is_name(name) || name.len() > 40 {
        wrong.push(Problem::spec(
            "metadata.name",
            format!("`{name}` is none of at most 40 of a-z, 0-9 and -, beginning with a letter: Services are named after it"),
        ));
    }
    if let Some(replicas) = cluster.spec.replicas
        && !(1..=1_000).contains(&replicas)
    {
        wrong.push(Problem::spec(
            "spec.replicas",
            format!("a pool has 1 to 1000 brokers, not {replicas}"),
        ));
    }
    if let Some(version) = &cluster.spec.version
        && !is_version(version)
    {
        wrong.push(Problem::spec(
            "spec.version",
            format!("`{version}` is not a version such as 0.1.0"),
        ));
    }
    if let Some(image) = &cluster.spec.image
        && !name::is_image(image)
    {
        wrong.push(Problem::spec(
            "spec.image",
            format!("`{image}` is not the name of an image, such as flotilla-broker:0.1.0"),
        ));
    }
    for secret in &cluster.spec.image_pull_secrets {
        if !name::is_host(&secret.name) {
            wrong.push(Problem::spec(
                format!("spec.imagePullSecrets[{}]", secret.name),
                "this is not the name of a Secret",
            ));
        }
    }
}

/// Three numbers, and what may follow them (semver.org), which must also do as the tag of an image.
fn is_version(version: &str) -> bool {
    let (numbers, rest) = match version.find(['-', '+']) {
        Some(end) => version.split_at(end),
        None => (version, ""),
    };
    let parts: Vec<&str> = numbers.split('.').collect();
    let number =
        |part: &&str| !part.is_empty() && part.len() < 10 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3
        && parts.iter().all(number)
        && rest.len() <= 64
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn coordinators(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    let Some(asked) = cluster.spec.coordinators else {
        return;
    };
    let eligible: i64 = member::pools(cluster)
        .iter()
        .filter(|(pool, _)| pool.roles.contains(&Role::Coordinator))
        .map(|(_, size)| i64::from((*size).max(0)))
        .sum();
    let message = if ![1, 3, 5].contains(&asked) {
        format!("{asked} is none of 1, 3 and 5")
    } else if i64::from(asked) > eligible {
        format!("{asked} brokers should vote, but only {eligible} have the role coordinator")
    } else {
        return;
    };
    wrong.push(Problem::spec("spec.coordinators", message));
}

/// Settings that ask for more brokers than there are: the fleet would start, and the first topic would fail.
fn defaults(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    let brokers: i64 = member::pools(cluster)
        .iter()
        .filter(|(pool, _)| pool.roles.contains(&Role::Broker))
        .map(|(_, size)| i64::from((*size).max(0)))
        .sum();
    for setting in [
        "default.replication.factor",
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
        "min.insync.replicas",
    ] {
        let Some(value) = cluster.spec.config.get(setting) else {
            continue;
        };
        if value.to_string().parse().is_ok_and(|value: i64| value > brokers) {
            wrong.push(Problem::spec(
                "spec.config",
                format!("`{setting}` is {value}, but there are only {brokers} brokers"),
            ));
        }
    }
}

fn windows(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    for (place, window) in cluster.spec.maintenance_windows.iter().enumerate() {
        let field = |name: &str| format!("spec.maintenanceWindows[{place}].{name}");
        if let Err(error) = Schedule::parse(&window.schedule) {
            wrong.push(Problem::spec(field("schedule"), error));
        }
        if !(1..=10_080).contains(&window.duration_minutes) {
            wrong.push(Problem::spec(
                field("durationMinutes"),
                format!(
                    "a window lasts 1 to 10080 minutes (a week), not {}",
                    window.duration_minutes
                ),
            ));
        }
    }
}

#[cfg(test)]
mod tests;
