//! What caches drop, because nobody reads it and there is much of it. What is applied must stay: it is compared with what is asked for.

use k8s_openapi::api::core::v1::{Node, NodeStatus, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The whole object again, as `kubectl apply` saw it last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// From every object.
pub(super) fn metadata(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.self_link = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.annotations = None;
        }
    }
}

/// From objects of which only the metadata is asked for: labels stay, since policies select by them.
pub(super) fn annotations(metadata: &mut ObjectMeta) {
    metadata.annotations = None;
    metadata.owner_references = None;
}

/// From a Secret's metadata: only that it changed is of interest.
pub(super) fn all_but_identity(metadata: &mut ObjectMeta) {
    annotations(metadata);
    metadata.labels = None;
    metadata.finalizers = None;
}

/// From a pod: all of its specification but the node that it runs on.
pub(super) fn pod(pod: &mut Pod) {
    let node_name = pod.spec.take().and_then(|spec| spec.node_name);
    pod.spec = Some(PodSpec {
        node_name,
        ..PodSpec::default()
    });
}

/// From a node: all but labels, addresses, and whether pods may be placed there.
pub(super) fn node(node: &mut Node) {
    node.metadata.annotations = None;
    if let Some(spec) = &mut node.spec {
        let (taints, unschedulable) = (spec.taints.take(), spec.unschedulable);
        *spec = k8s_openapi::api::core::v1::NodeSpec {
            taints,
            unschedulable,
            ..Default::default()
        };
    }
    let addresses = node.status.take().and_then(|status| status.addresses);
    node.status = Some(NodeStatus {
        addresses,
        ..NodeStatus::default()
    });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn metadata_keeps_what_is_ours() {
        let mut found: ObjectMeta = serde_json::from_value(json!({
            "name": "a", "annotations": {LAST_APPLIED: "{}", "mine": "1"}, "managedFields": [{"manager": "x"}],
        }))
        .unwrap();
        metadata(&mut found);
        assert_eq!(
            serde_json::to_value(found).unwrap(),
            json!({"name": "a", "annotations": {"mine": "1"}})
        );
    }

    #[test]
    fn node_is_labels_and_addresses() {
        let mut found: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"zone": "a"}, "annotations": {"x": "y"}},
            "spec": {"podCIDR": "10.0.0.0/24", "unschedulable": true},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
        .unwrap();
        node(&mut found);
        let mut left: Value = serde_json::to_value(found).unwrap();
        left.as_object_mut()
            .unwrap()
            .retain(|name, _| name != "apiVersion" && name != "kind");
        assert_eq!(
            left,
            json!({
                "metadata": {"name": "n1", "labels": {"zone": "a"}}, "spec": {"unschedulable": true},
                "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
            })
        );
    }
}
