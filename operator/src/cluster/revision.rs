use std::collections::BTreeMap;
use std::fmt;

use flotilla_control::settings::{self, Scope, Update};
use flotilla_crds::{Cluster, Pool};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{Site, config, volume};

/// The annotation of a pod that holds its [`Revision`].
pub const REVISION_ANNOTATION: &str = "flotilla.dev/revision";

/// All of a pool's specification that reaches a broker only by a restart, each part as a digest. It is drawn from the Cluster
/// alone, never from the objects that the operator builds: a newer operator that builds other pods restarts nobody, and
/// brokers take what it changed when they restart anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision(BTreeMap<String, String>);

impl Revision {
    /// What the Cluster asks of a pool's brokers.
    #[must_use]
    pub fn wanted(cluster: &Cluster, pool: &Pool, site: &Site) -> Self {
        let parts = [
            ("image", json!(site.image(cluster))),
            ("resources", json!(pool.resources)),
            ("template", json!(pool.template)),
            ("volumes", volumes(pool)),
            ("listeners", listeners(cluster)),
            ("authorization", json!(cluster.spec.authorization)),
            ("roles", json!(pool.roles)),
            ("rackTopologyKey", json!(cluster.spec.rack_topology_key)),
            ("config", json!(static_settings(cluster))),
        ];
        Self(
            parts
                .into_iter()
                .map(|(part, value)| (part.to_owned(), short_digest(&value)))
                .collect(),
        )
    }

    /// Reads what [`fmt::Display`] writes. What is not understood counts as another revision.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(
            text.split(' ')
                .filter_map(|part| part.split_once('='))
                .map(|(part, digest)| (part.to_owned(), digest.to_owned()))
                .collect(),
        )
    }

    /// The parts in which another revision differs. A part that only one of the two has does not count: the operators that
    /// wrote them knew of different parts, and that alone restarts nobody. A revision without any part differs in all.
    #[must_use]
    pub fn changes(&self, other: &Self) -> Vec<&str> {
        if self.0.is_empty() != other.0.is_empty() {
            return vec!["pod"];
        }
        self.0
            .iter()
            .filter(|(part, digest)| other.0.get(*part).is_some_and(|theirs| theirs != *digest))
            .map(|(part, _)| part.as_str())
            .collect()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (part, digest)) in self.0.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{part}={digest}")?;
        }
        Ok(())
    }
}

/// Which volumes there are; a size that grows needs no restart.
fn volumes(pool: &Pool) -> Value {
    volume::volumes(pool)
        .iter()
        .map(|volume| volume.name.clone())
        .collect()
}

/// What a broker reads of its listeners when it starts. Where they are exposed is told to the fleet instead.
fn listeners(cluster: &Cluster) -> Value {
    config::listeners(cluster)
        .iter()
        .map(|listener| {
            json!({
                "name": listener.name,
                "port": listener.port,
                "tls": listener.tls,
                "authentication": listener.authentication,
                "exposed": listener.exposure.is_some(),
            })
        })
        .collect()
}

/// The settings that brokers read from their files, at start: all that are not changed for all of them while they run.
fn static_settings(cluster: &Cluster) -> BTreeMap<&str, String> {
    cluster
        .spec
        .config
        .iter()
        .filter(|(name, _)| {
            settings::find(Scope::Broker, name).is_some_and(|setting| setting.update != Update::ClusterWide)
        })
        .map(|(name, value)| (name.as_str(), value.to_string()))
        .collect()
}

/// Six bytes tell two states of one Cluster apart, and leave the annotation readable.
fn short_digest(value: &Value) -> String {
    digest(&SHA256, value.to_string().as_bytes()).as_ref()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The annotations of a pool's pods.
pub(super) fn annotations(cluster: &Cluster, pool: &Pool, site: &Site) -> BTreeMap<String, String> {
    BTreeMap::from([(
        REVISION_ANNOTATION.to_owned(),
        Revision::wanted(cluster, pool, site).to_string(),
    )])
}

#[cfg(test)]
mod tests {
    use flotilla_crds::default_pools;
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn revision(fields: Value) -> Revision {
        Revision::wanted(&testing::with(fields), &default_pools()[0], &testing::site())
    }

    #[test]
    fn only_what_needs_a_restart_changes_the_revision() {
        let before = revision(json!({}));
        for (fields, changes) in [
            (json!({"image": "other:1"}), vec!["image"]),
            (json!({"version": "0.2.0"}), vec!["image"]),
            (json!({"config": {"min.insync.replicas": 1}}), vec![]),
            (
                json!({"config": {"min.insync.replicas": 2, "controlled.shutdown.enable": true}}),
                vec!["config"],
            ),
            (
                json!({"authorization": {"type": "acl", "superUsers": []}}),
                vec!["authorization"],
            ),
            (
                json!({"config": {"min.insync.replicas": 2, "ssl.enabled.protocols": "TLSv1.3"}}),
                vec!["config"],
            ),
            (json!({"listeners": null}), vec!["listeners"]),
            (json!({"replicas": 5}), vec![]),
            (
                json!({"allowedNamespaces": [{"from": "All"}], "maintenanceWindows": []}),
                vec![],
            ),
        ] {
            assert_eq!(before.changes(&revision(fields.clone())), changes, "{fields}");
        }
    }

    #[test]
    fn revision_reads_back_and_parts_of_other_operators_restart_nobody() {
        let revision = revision(json!({}));
        let text = revision.to_string();
        assert_eq!(Revision::parse(&text), revision);
        assert_eq!(
            Revision::parse(&format!("{text} futurePart=1")).changes(&revision),
            [""; 0]
        );
        assert_eq!(revision.changes(&Revision::default()), ["pod"]);
    }

    /// Pods carry what an older operator computed: another way to compute it would restart every broker.
    #[test]
    fn digests_stay_the_same_from_operator_to_operator() {
        assert_eq!(short_digest(&json!("flotilla-broker:0.1.0")), "7408dbed5849");
        assert_eq!(
            revision(json!({})).to_string(),
            "authorization=157de598dc00 config=44136fa355b3 image=7408dbed5849 listeners=6fde0174ab72 \
             rackTopologyKey=74234e98afe7 resources=74234e98afe7 roles=43bdb457eceb template=74234e98afe7 volumes=0bb0bfa71b01"
        );
    }
}
