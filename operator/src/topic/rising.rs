//! Whether a Cluster is still coming up, so that a new topic had better wait for all of its brokers.

use flotilla_crds::{Cluster, ConditionType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A new Cluster may take this long, in seconds, to be ready before topics are created in it all the same.
const RISING_S: i64 = 90;

/// Whether a Cluster is new and not all there yet. A topic that is created then has all its preferred leaders on the brokers that came
/// first, for good. A Cluster that waits for its user, or takes longer than that to be ready, lacks something else, and has its
/// topics all the same.
#[must_use]
pub fn is_rising(cluster: &Cluster, now: &Time) -> bool {
    let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice());
    let is = |type_: ConditionType| {
        let mut conditions = conditions.unwrap_or_default().iter();
        conditions.any(|condition| condition.type_ == type_.to_string() && condition.status == "True")
    };
    let created = cluster.metadata.creation_timestamp.as_ref();
    let age_s = created.map(|created| now.0.as_second() - created.0.as_second());
    !is(ConditionType::Ready)
        && !is(ConditionType::Stalled)
        && age_s.is_some_and(|age_s| (0..RISING_S).contains(&age_s))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-01-01T00:10:00Z";

    fn cluster(created: &str, conditions: &[(&str, &str)]) -> Cluster {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(type_, status)| {
                json!({
                    "type": type_, "status": status, "reason": "Any", "message": "any",
                    "observedGeneration": 1, "lastTransitionTime": created,
                })
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "flotilla.dev/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": "events", "namespace": "streaming", "creationTimestamp": created},
            "spec": {"replicas": 3},
            "status": {"conditions": conditions},
        }))
        .expect("a Cluster")
    }

    /// The type of each, and its status.
    type Conditions = &'static [(&'static str, &'static str)];

    #[test]
    fn cluster_rises_until_it_is_ready_or_stalled_or_old() {
        let young = "2026-01-01T00:09:50Z";
        let now: Time = serde_json::from_value(json!(NOW)).expect("a time");
        let table: [(&str, Conditions, bool); 6] = [
            (young, &[], true),
            (young, &[("Ready", "False"), ("Reconciling", "True")], true),
            (young, &[("Ready", "True")], false),
            (young, &[("Ready", "False"), ("Stalled", "True")], false),
            ("2026-01-01T00:08:30Z", &[("Ready", "False")], false),
            // A clock that was put back says nothing about who is new.
            ("2026-01-01T00:10:01Z", &[("Ready", "False")], false),
        ];
        for (created, conditions, rising) in table {
            assert_eq!(
                is_rising(&cluster(created, conditions), &now),
                rising,
                "{created} {conditions:?}"
            );
        }
    }
}
