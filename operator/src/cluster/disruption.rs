use flotilla_crds::Cluster;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::{Names, owned, selector};

/// Whoever drains nodes takes one broker at a time. One that is not ready serves nobody, and never holds a drain up.
#[must_use]
pub fn disruption_budget(cluster: &Cluster) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owned(cluster, Names::of(cluster).cluster.to_owned()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(cluster)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn budget_lets_one_broker_go_at_a_time() {
        assert_eq!(
            serde_json::to_value(disruption_budget(&testing::cluster())).unwrap(),
            json!({
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": testing::metadata("events"),
                "spec": {
                    "maxUnavailable": 1,
                    "selector": {"matchLabels": {"flotilla.dev/cluster": "events"}},
                    "unhealthyPodEvictionPolicy": "AlwaysAllow",
                },
            })
        );
    }
}
