use std::collections::BTreeMap;

use flotilla_crds::Cluster;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::{MANAGER, Names, owned, selector};
use super::site::{ADMIN_PORT, CONTROL_PORT, REPLICATION_PORT};
use super::{Site, config};

/// The label by which namespaces are told apart.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Who may connect to brokers: to the internal ports, other brokers and the operator; to listeners, everybody, who then have to
/// prove who they are; to probes and metrics, every pod.
#[must_use]
pub fn network_policy(cluster: &Cluster, site: &Site) -> NetworkPolicy {
    let brokers = NetworkPolicyPeer {
        pod_selector: Some(selector(cluster)),
        ..NetworkPolicyPeer::default()
    };
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(labelled(NAMESPACE_LABEL, &site.operator_namespace)),
        pod_selector: Some(labelled("app.kubernetes.io/name", MANAGER)),
        ..NetworkPolicyPeer::default()
    };
    let every_pod = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let listeners: Vec<u16> = config::listeners(cluster)
        .iter()
        .map(|listener| listener.port)
        .collect();
    NetworkPolicy {
        metadata: owned(cluster, Names::of(cluster).cluster.to_owned()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(cluster)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                rule(vec![brokers.clone()], &[REPLICATION_PORT]),
                rule(vec![brokers, operator], &[CONTROL_PORT]),
                rule(vec![every_pod], &[ADMIN_PORT]),
                rule(Vec::new(), &listeners),
            ]),
            egress: None,
        }),
    }
}

/// No peers: everybody.
fn rule(from: Vec<NetworkPolicyPeer>, ports: &[u16]) -> NetworkPolicyIngressRule {
    let ports = ports.iter().map(|port| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(*port))),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    });
    NetworkPolicyIngressRule {
        from: (!from.is_empty()).then_some(from),
        ports: Some(ports.collect()),
    }
}

fn labelled(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        match_expressions: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn internal_ports_are_for_brokers_and_the_operator_alone() {
        let brokers = json!({"matchLabels": {"flotilla.dev/cluster": "events"}});
        let on = |ports: &[u16]| -> Vec<_> {
            ports
                .iter()
                .map(|port| json!({"port": port, "protocol": "TCP"}))
                .collect()
        };
        assert_eq!(
            serde_json::to_value(network_policy(&testing::cluster(), &testing::site())).unwrap(),
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": testing::metadata("events"),
                "spec": {
                    "podSelector": brokers,
                    "policyTypes": ["Ingress"],
                    "ingress": [
                        {"from": [{"podSelector": brokers}], "ports": on(&[9091])},
                        {
                            "from": [
                                {"podSelector": brokers},
                                {
                                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "flotilla-system"}},
                                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "flotilla-operator"}},
                                },
                            ],
                            "ports": on(&[9090]),
                        },
                        {"from": [{"namespaceSelector": {}}], "ports": on(&[8080])},
                        {"ports": on(&[9092, 9094])},
                    ],
                },
            })
        );
    }
}
