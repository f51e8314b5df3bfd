use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::metadata::{AlterConfig, ConfigOperation};
use flotilla_control::settings::{self, Scope, Update};
use flotilla_crds::Cluster;

use crate::Problem;

/// The annotation of a Cluster that says how many bytes a second each broker may spend on replicas that move, in and out;
/// `none`: all that it has.
pub const THROTTLE_ANNOTATION: &str = "flotilla.dev/replication-throttle";
/// Bytes a second where the Cluster does not say: enough to move a terabyte in half a working day, and less than half of a
/// gigabit link.
pub const THROTTLE_DEFAULT: i64 = 50 << 20;
/// Kafka's settings for it (KIP-73).
const RATES: [&str; 2] = [
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
];
/// Which replicas it is about; those that are in sync are never throttled (KIP-1009).
const REPLICAS: [&str; 2] = [
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
];

/// Whether a setting takes effect while brokers run.
#[must_use]
pub fn is_dynamic(name: &str) -> bool {
    settings::find(Scope::Broker, name).is_some_and(|setting| setting.update == Update::ClusterWide)
}

/// The settings that hold while replicas move. Nothing where the Cluster wants no throttle.
///
/// # Errors
/// The annotation holds no number.
pub fn throttle(cluster: &Cluster) -> Result<BTreeMap<String, String>, Problem> {
    let given = cluster
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(THROTTLE_ANNOTATION));
    let rate = match given.map(String::as_str) {
        None => THROTTLE_DEFAULT,
        Some("none") => return Ok(BTreeMap::new()),
        Some(text) => match text.parse() {
            Ok(rate) if rate > 0 => rate,
            _ => {
                return Err(Problem::spec(
                    format!("metadata.annotations[{THROTTLE_ANNOTATION}]"),
                    format!("`{text}` is neither a number of bytes a second nor `none`"),
                ));
            }
        },
    };
    let known = |name: &&str| settings::find(Scope::Broker, name).is_some();
    let rates = RATES.into_iter().map(|name| (name, rate.to_string()));
    let replicas = REPLICAS.into_iter().map(|name| (name, "*".to_owned()));
    Ok(rates
        .chain(replicas)
        .filter(|(name, _)| known(name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}

/// What has to be told to the fleet about settings that take effect while brokers run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dynamic {
    /// Only what differs.
    pub changes: Vec<AlterConfig>,
    /// The settings that the Cluster names, and those that it named and that are still set.
    pub managed: Vec<String>,
}

/// Compares what the Cluster asks for with what is set in the fleet. `managed` are the settings that it named before; `meanwhile` what
/// holds besides for as long as replicas move. What clients of Kafka set, and the Cluster never named, is left alone.
#[must_use]
pub fn dynamic(
    cluster: &Cluster,
    set: &BTreeMap<String, String>,
    managed: &[String],
    meanwhile: &BTreeMap<String, String>,
) -> Dynamic {
    let asked: BTreeMap<String, String> = cluster
        .spec
        .config
        .iter()
        .filter(|(name, _)| is_dynamic(name))
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect();
    let mut wanted = meanwhile.clone();
    wanted.extend(asked.clone());
    let changed = wanted
        .iter()
        .filter(|(name, value)| set.get(*name) != Some(*value))
        .map(|(name, value)| alter(ConfigOperation::Set, name, Some(value.clone())));
    let ours: BTreeSet<&str> = managed
        .iter()
        .map(String::as_str)
        .chain(RATES)
        .chain(REPLICAS)
        .collect();
    let gone: Vec<&str> = ours
        .into_iter()
        .filter(|name| set.contains_key(*name) && !wanted.contains_key(*name))
        .collect();
    let left = gone
        .iter()
        .filter(|name| managed.iter().any(|managed| managed == *name))
        .map(|name| (*name).to_owned());
    let managed: BTreeSet<String> = asked.into_keys().chain(left).collect();
    Dynamic {
        changes: changed
            .chain(gone.iter().map(|name| alter(ConfigOperation::Delete, name, None)))
            .collect(),
        managed: managed.into_iter().collect(),
    }
}

fn alter(operation: ConfigOperation, key: &str, value: Option<String>) -> AlterConfig {
    AlterConfig {
        operation: operation.into(),
        key: key.to_owned(),
        value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn map(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let cluster = testing::with(
            json!({"config": {"min.insync.replicas": 2, "log.retention.ms": 7, "controlled.shutdown.enable": true}}),
        );
        let told = dynamic(
            &cluster,
            &map(&[
                ("min.insync.replicas", "2"),
                ("message.max.bytes", "9"),
                ("log.segment.bytes", "8"),
            ]),
            &names(&["log.segment.bytes", "log.cleaner.threads"]),
            &BTreeMap::new(),
        );
        assert_eq!(
            told,
            Dynamic {
                changes: vec![
                    alter(ConfigOperation::Set, "log.retention.ms", Some("7".into())),
                    alter(ConfigOperation::Delete, "log.segment.bytes", None),
                ],
                managed: names(&["log.retention.ms", "log.segment.bytes", "min.insync.replicas"]),
            }
        );
        let set = map(&[
            ("min.insync.replicas", "2"),
            ("log.retention.ms", "7"),
            ("message.max.bytes", "9"),
        ]);
        let again = dynamic(&cluster, &set, &told.managed, &BTreeMap::new());
        assert_eq!(
            (again.changes, again.managed),
            (vec![], names(&["log.retention.ms", "min.insync.replicas"]))
        );
    }

    #[test]
    fn throttle_holds_while_replicas_move_and_no_longer() {
        let mut cluster = testing::with(json!({"config": null}));
        let meanwhile = throttle(&cluster).unwrap();
        assert_eq!(meanwhile["leader.replication.throttled.rate"], "52428800");
        let told = dynamic(&cluster, &BTreeMap::new(), &[], &meanwhile);
        assert_eq!(told.changes.len(), meanwhile.len());
        assert_eq!(told.managed, names(&[]));
        let told = dynamic(&cluster, &meanwhile, &[], &BTreeMap::new());
        assert!(
            told.changes
                .iter()
                .all(|change| change.operation() == ConfigOperation::Delete)
        );
        assert_eq!(told.changes.len(), meanwhile.len());
        cluster.metadata.annotations = Some(map(&[(THROTTLE_ANNOTATION, "none")]));
        assert_eq!(throttle(&cluster).unwrap(), BTreeMap::new());
        cluster.metadata.annotations = Some(map(&[(THROTTLE_ANNOTATION, "fast")]));
        assert!(throttle(&cluster).unwrap_err().message.contains("`fast`"));
        // What the user sets stands above it.
        let own = testing::with(json!({"config": {"leader.replication.throttled.rate": 1}}));
        let told = dynamic(&own, &BTreeMap::new(), &[], &meanwhile);
        let rate = told
            .changes
            .iter()
            .find(|change| change.key.starts_with("leader") && change.key.ends_with("rate"));
        assert_eq!(rate.unwrap().value.as_deref(), Some("1"));
    }
}
