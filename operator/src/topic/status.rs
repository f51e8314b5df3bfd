use flotilla_control::Uuid;
use flotilla_crds::{Topic, TopicStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::kafka_name;
use crate::{Standing, conditions};

/// A topic as the fleet has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Kafka's id of it.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: i32,
    /// The replicas of the partition that has fewest.
    pub replicas: i32,
}

/// The status of a Topic. `observed` is `None` while nobody can tell: then what was known stays. The settings that the resource names
/// become its own once the fleet took them.
#[must_use]
pub fn status(topic: &Topic, now: &Time, observed: Option<Observed>, standing: &Standing) -> TopicStatus {
    let previous = topic.status.clone().unwrap_or_default();
    let generation = topic.metadata.generation;
    let managed_config = match standing {
        Standing::Ready(_) => topic.spec.config.keys().cloned().collect(),
        // What this resource set before is still set, and what it names now may be.
        _ => {
            let mut names = previous.managed_config.clone();
            names.extend(topic.spec.config.keys().cloned());
            names.sort();
            names.dedup();
            names
        }
    };
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
        managed_config,
        conditions: conditions(&previous.conditions, generation, now, standing),
    }
}

#[cfg(test)]
mod tests {
    use flotilla_crds::Reason;
    use serde_json::json;

    use super::*;

    fn topic(config: serde_json::Value) -> Topic {
        serde_json::from_value(json!({
            "apiVersion": "flotilla.dev/v1alpha1",
            "kind": "Topic",
            "metadata": {"name": "page-views", "namespace": "shop", "generation": 2},
            "spec": {"name": "page_views", "cluster": {"name": "events"}, "config": config},
        }))
        .unwrap()
    }

    fn at(text: &str) -> Time {
        serde_json::from_value(json!(text)).unwrap()
    }

    const OBSERVED: Observed = Observed {
        id: Uuid([1; 16]),
        partitions: 12,
        replicas: 3,
    };

    #[test]
    fn status_is_whole() {
        let topic = topic(json!({"retention.ms": 1000}));
        let standing = Standing::Ready("12 partitions of 3 replicas".into());
        let now = "2026-01-01T00:00:00Z";
        assert_eq!(
            serde_json::to_value(status(&topic, &at(now), Some(OBSERVED), &standing)).unwrap(),
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
        let mut topic = topic(json!({"retention.ms": 1000}));
        let (one, two) = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        topic.status = Some(status(
            &topic,
            &one,
            Some(OBSERVED),
            &Standing::Ready(String::new()),
        ));
        topic.spec.config = [("segment.ms".to_owned(), flotilla_crds::SettingValue::Integer(5))].into();
        let unknown = Standing::Unknown(Reason::Unreachable, "no broker answers".into());
        let now = status(&topic, &two, None, &unknown);
        assert_eq!((now.partitions, now.replicas), (Some(12), Some(3)));
        assert_eq!(now.managed_config, ["retention.ms", "segment.ms"]);
        topic.status = Some(now.clone());
        assert_eq!(status(&topic, &at("2026-01-03T00:00:00Z"), None, &unknown), now);
    }
}
