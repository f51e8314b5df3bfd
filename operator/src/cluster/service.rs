use std::collections::BTreeMap;

use flotilla_crds::{Cluster, ExposureType, Listener};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::{Names, owned, selector};
use super::site::{ADMIN_PORT, CONTROL_PORT, REPLICATION_PORT};
use super::{Member, config, exposure};

/// The label that every pod of a StatefulSet has.
const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";

/// All Services of a Cluster.
#[must_use]
pub fn services(cluster: &Cluster, members: &[Member]) -> Vec<Service> {
    let mut services = vec![headless(cluster)];
    for listener in config::listeners(cluster) {
        services.push(bootstrap(cluster, &listener));
        if listener.exposure.is_some() {
            services.extend(members.iter().map(|member| broker(cluster, &listener, member)));
        }
    }
    services
}

/// Gives pods their names in DNS, from the moment that they have an address: brokers find each other before they are ready.
fn headless(cluster: &Cluster) -> Service {
    let mut ports = vec![
        port("control", CONTROL_PORT),
        port("replication", REPLICATION_PORT),
        port("admin", ADMIN_PORT),
    ];
    ports.extend(
        config::listeners(cluster)
            .iter()
            .map(|listener| port(&listener.name, listener.port)),
    );
    Service {
        metadata: owned(cluster, Names::of(cluster).brokers()),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: selector(cluster).match_labels,
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Where clients of a listener begin: any broker that is ready.
fn bootstrap(cluster: &Cluster, listener: &Listener) -> Service {
    let names = Names::of(cluster);
    let host = exposure::bootstrap_host(listener);
    Service {
        metadata: annotated(
            owned(cluster, names.bootstrap(&listener.name)),
            exposure::service_annotations(listener, None, host.as_deref()),
        ),
        spec: Some(ServiceSpec {
            type_: Some(type_of(listener).to_owned()),
            selector: selector(cluster).match_labels,
            ports: Some(vec![port(&listener.name, listener.port)]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Where clients from outside reach one broker. It does not wait for the readiness probe: a broker leads partitions from the
/// moment that the fleet takes it in, which is before the next probe.
fn broker(cluster: &Cluster, listener: &Listener, member: &Member) -> Service {
    let names = Names::of(cluster);
    let host = exposure::broker_host(listener, member.id);
    Service {
        metadata: annotated(
            owned(cluster, names.broker(&listener.name, member.id)),
            exposure::service_annotations(listener, Some(member.id), host.as_deref()),
        ),
        spec: Some(ServiceSpec {
            type_: Some(type_of(listener).to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(BTreeMap::from([(POD_NAME_LABEL.to_owned(), names.pod(member))])),
            ports: Some(vec![port(&listener.name, listener.port)]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn type_of(listener: &Listener) -> &'static str {
    match listener.exposure.as_ref().map(|exposure| exposure.type_) {
        Some(ExposureType::NodePort) => "NodePort",
        Some(ExposureType::LoadBalancer) => "LoadBalancer",
        Some(ExposureType::Ingress) | None => "ClusterIP",
    }
}

fn annotated(metadata: ObjectMeta, annotations: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..metadata
    }
}

fn port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing;
    use super::*;

    fn built(cluster: &Cluster) -> Vec<Value> {
        services(cluster, &testing::members(cluster)[..2])
            .iter()
            .map(|service| serde_json::to_value(service).unwrap())
            .collect()
    }

    fn service(name: &str, spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": testing::metadata(name), "spec": spec})
    }

    fn on(name: &str, port: u16) -> Value {
        json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"})
    }

    #[test]
    fn services_of_inner_and_node_port_listeners_are_whole() {
        let all = json!({"flotilla.dev/cluster": "events"});
        let of_pod = |pod: &str| json!({"statefulset.kubernetes.io/pod-name": pod});
        assert_eq!(
            built(&testing::cluster()),
            [
                service(
                    "events-brokers",
                    json!({
                        "clusterIP": "None", "publishNotReadyAddresses": true, "selector": all,
                        "ports": [
                            on("control", 9090), on("replication", 9091), on("admin", 8080), on("internal", 9092), on("external", 9094),
                        ],
                    })
                ),
                service(
                    "events-internal",
                    json!({"type": "ClusterIP", "selector": all, "ports": [on("internal", 9092)]})
                ),
                service(
                    "events-external",
                    json!({"type": "NodePort", "selector": all, "ports": [on("external", 9094)]})
                ),
                service(
                    "events-external-0",
                    json!({
                        "type": "NodePort", "publishNotReadyAddresses": true, "selector": of_pod("events-main-0"),
                        "ports": [on("external", 9094)],
                    })
                ),
                service(
                    "events-external-1",
                    json!({
                        "type": "NodePort", "publishNotReadyAddresses": true, "selector": of_pod("events-main-1"),
                        "ports": [on("external", 9094)],
                    })
                ),
            ]
        );
    }

    #[test]
    fn load_balancers_carry_the_annotations_with_host_and_id_filled_in() {
        let cluster = testing::with(json!({"listeners": [{
            "name": "out", "port": 9094, "tls": true,
            "exposure": {
                "type": "LoadBalancer", "hostTemplate": "b{id}.example.com", "bootstrapHost": "kafka.example.com",
                "annotations": {"dns/hostname": "{host}", "lb/name": "broker-{id}", "lb/scheme": "internal"},
            },
        }]}));
        let annotations: Vec<Value> = built(&cluster)[1..]
            .iter()
            .map(|service| service["metadata"]["annotations"].clone())
            .collect();
        assert_eq!(
            annotations,
            [
                json!({"dns/hostname": "kafka.example.com", "lb/scheme": "internal"}),
                json!({"dns/hostname": "b0.example.com", "lb/name": "broker-0", "lb/scheme": "internal"}),
                json!({"dns/hostname": "b1.example.com", "lb/name": "broker-1", "lb/scheme": "internal"}),
            ]
        );
    }
}
