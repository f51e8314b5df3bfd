use std::collections::BTreeMap;

use flotilla_control::proto::metadata::{ApplyTopic, KeyValue};
use flotilla_control::settings;
use flotilla_crds::{Reason, Topic};

use super::kafka_name;
use crate::{Problem, owner};

/// What is known of a topic that exists already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// Partitions that it has.
    pub partitions: i32,
    /// Settings that this resource set before.
    pub managed_config: Vec<String>,
}

/// The command for a Topic. `brokers` is how many can hold replicas.
///
/// # Errors
/// Settings that are refused, fewer partitions than now, more replicas than brokers.
pub fn apply(topic: &Topic, existing: Option<&Existing>, brokers: usize) -> Result<ApplyTopic, Problem> {
    let managed_config = existing.map_or(&[][..], |existing| &existing.managed_config);
    let command = command(topic, managed_config)?;
    if let Some(existing) = existing {
        check_partitions(topic, existing.partitions)?;
    }
    check_replicas(topic, brokers)?;
    Ok(command)
}

/// The command as the resource says it, whatever the fleet is like.
///
/// # Errors
/// A name or settings that are refused.
pub(super) fn command(topic: &Topic, managed_config: &[String]) -> Result<ApplyTopic, Problem> {
    let name = kafka_name(topic);
    check_name(name)?;
    let config: BTreeMap<String, String> = topic
        .spec
        .config
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect();
    settings::check_topic(&config).map_err(|error| Problem::spec("spec.config", error.to_string()))?;
    Ok(ApplyTopic {
        name: name.to_owned(),
        partitions: topic.spec.partitions.unwrap_or(0),
        replicas: topic.spec.replicas.unwrap_or(0),
        configs: config
            .into_iter()
            .map(|(key, value)| KeyValue {
                key,
                value: Some(value),
            })
            .collect(),
        assignments: Vec::new(),
        owner: Some(owner(&topic.metadata, topic.spec.deletion_policy)),
        previous_configs: managed_config.to_vec(),
        previous_owner: None,
    })
}

/// Partitions are never taken away.
pub(super) fn check_partitions(topic: &Topic, there_are: i32) -> Result<(), Problem> {
    match topic.spec.partitions {
        Some(wanted) if wanted < there_are => Err(Problem::spec(
            "spec.partitions",
            format!(
                "topic `{}` has {there_are} partitions and cannot shrink to {wanted}: records would be lost, and keys would \
                 change their partition. Ask for {there_are} or more, or make a new topic",
                kafka_name(topic)
            ),
        )),
        _ => Ok(()),
    }
}

/// A broker holds at most one replica of a partition.
pub(super) fn check_replicas(topic: &Topic, brokers: usize) -> Result<(), Problem> {
    match topic.spec.replicas {
        Some(wanted) if wanted as usize > brokers => Err(Problem::because(
            Reason::NotEnoughBrokers,
            "spec.replicas",
            format!(
                "topic `{}` asks for {wanted} replicas, but there are only {brokers} brokers. Ask for fewer, or add brokers",
                kafka_name(topic)
            ),
        )),
        _ => Ok(()),
    }
}

/// Kafka's rules for names of topics.
fn check_name(name: &str) -> Result<(), Problem> {
    let wrong = if name.is_empty() || name == "." || name == ".." {
        Some("a topic cannot be named so")
    } else if name.len() > 249 {
        Some("the name of a topic has at most 249 characters")
    } else if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    {
        Some("the name of a topic holds only a-z, A-Z, 0-9, `.`, `_` and `-`")
    } else if name.starts_with("__") {
        Some("names that begin with `__` belong to the fleet itself")
    } else {
        None
    };
    wrong.map_or(Ok(()), |why| {
        Err(Problem::spec("spec.name", format!("`{name}`: {why}")))
    })
}

#[cfg(test)]
mod tests {
    use flotilla_crds::{ClusterRef, DeletionPolicy, SettingValue, TopicSpec};

    use super::*;

    fn topic(name: &str) -> Topic {
        let spec = TopicSpec {
            name: None,
            cluster: ClusterRef {
                name: "events".into(),
                namespace: None,
            },
            partitions: Some(6),
            replicas: Some(3),
            config: BTreeMap::from([("retention.ms".into(), SettingValue::Integer(1_000))]),
            deletion_policy: DeletionPolicy::Retain,
        };
        Topic::new(name, spec)
    }

    #[test]
    fn command_says_all_that_the_resource_says() {
        let existing = Existing {
            partitions: 6,
            managed_config: vec!["segment.ms".into()],
        };
        let command = apply(&topic("orders"), Some(&existing), 3).unwrap();
        assert_eq!(
            command,
            ApplyTopic {
                name: "orders".into(),
                partitions: 6,
                replicas: 3,
                configs: vec![KeyValue {
                    key: "retention.ms".into(),
                    value: Some("1000".into())
                }],
                assignments: vec![],
                owner: Some(flotilla_control::proto::metadata::Owner {
                    namespace: "default".into(),
                    name: "orders".into(),
                    uid: "default/orders".into(),
                    deletion_policy: "Retain".into(),
                }),
                previous_configs: vec!["segment.ms".into()],
                previous_owner: None,
            }
        );
    }

    #[test]
    fn fewer_partitions_more_replicas_and_bad_names_are_refused() {
        let existing = Existing {
            partitions: 7,
            managed_config: vec![],
        };
        assert_eq!(
            apply(&topic("orders"), Some(&existing), 3).unwrap_err().field,
            "spec.partitions"
        );
        let problem = apply(&topic("orders"), None, 2).unwrap_err();
        assert_eq!(
            (problem.reason, problem.field.as_str()),
            (Reason::NotEnoughBrokers, "spec.replicas")
        );
        for name in ["..", "a b", "__consumer_offsets", ""] {
            assert_eq!(
                apply(&topic(name), None, 3).unwrap_err().field,
                "spec.name",
                "{name}"
            );
        }
        let mut unknown = topic("orders");
        unknown
            .spec
            .config
            .insert("retention.mss".into(), SettingValue::Integer(1));
        let problem = apply(&unknown, None, 3).unwrap_err();
        assert!(problem.to_string().contains("retention.mss"), "{problem}");
        let mut tiered = topic("orders");
        let config = &mut tiered.spec.config;
        config.insert("remote.storage.enable".into(), SettingValue::Boolean(true));
        let problem = apply(&tiered, None, 3).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "spec.config: `remote.storage.enable` cannot be `true`: there is no tiered storage (KIP-405): all records lie on the \
             volumes of the brokers. Leave it out, or at Kafka's default `false`"
        );
    }
}
