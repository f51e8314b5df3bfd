use flotilla_crds::{Topic, TopicStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Observed, kafka_name};
use crate::{Standing, conditions, paused};

/// What is known of the settings that a resource names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settings {
    /// The fleet was not told of them.
    Untold,
    /// The fleet may have been told of them.
    Told,
    /// The fleet has them, and those that the resource named before are gone.
    Settled,
}

/// The status of a Topic. `observed` is `None` while nobody can tell: then what was known stays.
#[must_use]
pub fn status(
    topic: &Topic,
    now: &Time,
    observed: Option<Observed>,
    settings: Settings,
    standing: &Standing,
) -> TopicStatus {
    let previous = topic.status.clone().unwrap_or_default();
    let generation = topic.metadata.generation;
    TopicStatus {
        observed_generation: generation,
        topic_name: Some(kafka_name(topic).to_owned()),
        topic_id: observed
            .map(|observed| observed.id.to_string())
            .or(previous.topic_id),
        partitions: observed
            .map(|observed| observed.partitions)
            .or(previous.partitions),
        replicas: observed.map(|observed| observed.replicas).or(previous.replicas),
        managed_config: managed(topic, previous.managed_config, settings),
        conditions: conditions(&previous.conditions, generation, now, standing),
    }
}

/// The status of a Topic whose Cluster is paused.
#[must_use]
pub fn status_paused(topic: &Topic, now: &Time) -> TopicStatus {
    let previous = topic.status.clone().unwrap_or_default();
    TopicStatus {
        conditions: paused(&previous.conditions, topic.metadata.generation, now),
        ..previous
    }
}

/// The settings that are this resource's own, so that one which it names no more goes back to its default.
fn managed(topic: &Topic, mut before: Vec<String>, settings: Settings) -> Vec<String> {
    let named = topic.spec.config.keys().cloned();
    match settings {
        Settings::Untold => before,
        Settings::Told => {
            before.extend(named);
            before.sort();
            before.dedup();
            before
        }
        Settings::Settled => named.collect(),
    }
}

#[cfg(test)]
mod tests {
    use flotilla_control::Uuid;
    use flotilla_crds::Reason;
    use serde_json::json;

    use super::super::testing::{followed, topic};
    use super::*;

    fn at(text: &str) -> Time {
        serde_json::from_value(json!(text)).unwrap()
    }

    const OBSERVED: Observed = Observed {
        id: Uuid([1; 16]),
        partitions: 12,
        replicas: 3,
        changing: 0,
    };

    #[test]
    fn status_is_whole() {
        let topic = topic(json!({}));
        let standing = Standing::Ready("12 partitions of 3 replicas".into());
        let now = "2026-01-01T00:00:00Z";
        assert_eq!(
            serde_json::to_value(status(
                &topic,
                &at(now),
                Some(OBSERVED),
                Settings::Settled,
                &standing
            ))
            .unwrap(),
            json!({
                "observedGeneration": 2,
                "topicName": "page_views",
                "topicId": Uuid([1; 16]).to_string(),
                "partitions": 12,
                "replicas": 3,
                "managedConfig": ["retention.ms"],
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Available", "message": "12 partitions of 3 replicas",
                    "observedGeneration": 2, "lastTransitionTime": now,
                }],
            })
        );
    }

    #[test]
    fn fleet_that_does_not_answer_leaves_what_was_known() {
        let mut topic = followed(json!({"config": {"segment.ms": 5}}), &["retention.ms"]);
        let unknown = Standing::Unknown(Reason::Unreachable, "no broker answers".into());
        let draw = |topic: &Topic, day: u8| {
            let now = at(&format!("2026-01-0{day}T00:00:00Z"));
            status(topic, &now, None, Settings::Untold, &unknown)
        };
        let now = draw(&topic, 2);
        assert_eq!((now.partitions, now.replicas), (Some(2), Some(2)));
        assert_eq!(now.managed_config, ["retention.ms"]);
        topic.status = Some(now.clone());
        assert_eq!(draw(&topic, 3), now);
    }

    #[test]
    fn settings_stay_the_resources_own_until_they_are_taken_back() {
        let topic = followed(json!({"config": {"segment.ms": 5}}), &["retention.ms"]);
        let managed = |settings| managed(&topic, vec!["retention.ms".to_owned()], settings);
        assert_eq!(managed(Settings::Untold), ["retention.ms"]);
        assert_eq!(managed(Settings::Told), ["retention.ms", "segment.ms"]);
        assert_eq!(managed(Settings::Settled), ["segment.ms"]);
    }

    #[test]
    fn paused_stands_beside_what_was_known() {
        let topic = followed(json!({}), &["retention.ms"]);
        let status = status_paused(&topic, &at("2026-01-02T00:00:00Z"));
        let types: Vec<&str> = status
            .conditions
            .iter()
            .map(|condition| condition.type_.as_str())
            .collect();
        assert_eq!(types, ["Ready", "Paused"]);
        assert_eq!(status.partitions, Some(2));
    }
}
