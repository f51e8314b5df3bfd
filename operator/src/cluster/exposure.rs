use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::BrokerId;
use flotilla_control::proto::metadata::{BrokerPlacement, Endpoint, SecurityProtocol};
use flotilla_crds::{Authentication, Cluster, ExposureType, Listener};

use super::ingress::INGRESS_PORT;
use super::names::Names;
use super::{Member, config};

/// What stands in `hostTemplate` and in annotations for the broker's id.
const ID: &str = "{id}";
/// What stands in annotations for the host that the object exposes.
const HOST: &str = "{host}";
/// Addresses of nodes that a bootstrap list names: enough to survive two that are down.
const BOOTSTRAP_NODES: usize = 3;

/// Nodes that certificates name whether a broker runs on them yet or not: a broker that moves has its certificate already. In larger
/// clusters they name the nodes that run brokers alone.
const NAMED_NODES_MAX: usize = 50;

/// What is known of how brokers are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The Services of the Cluster by name.
    pub services: BTreeMap<String, ServiceReach>,
    /// The nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// The node that each pod runs on, by the pod's name.
    pub pods: BTreeMap<String, String>,
}

/// What Kubernetes gave a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceReach {
    /// Its port on every node.
    pub node_port: Option<u16>,
    /// Its address at the load balancer: a host name, or an IP address.
    pub load_balancer: Option<String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its address for those outside: the external one where it has one, else the internal one.
    pub address: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Reach {
    fn node_of(&self, pod: &str) -> Option<&Node> {
        self.nodes.get(self.pods.get(pod)?)
    }

    /// The addresses by which brokers are reached on nodes, or will be.
    fn names_of_nodes(&self) -> BTreeSet<&str> {
        if self.nodes.len() > NAMED_NODES_MAX {
            return self.addresses();
        }
        self.nodes
            .values()
            .filter_map(|node| node.address.as_deref())
            .collect()
    }

    /// The addresses of the nodes that run pods of the Cluster, sorted.
    fn addresses(&self) -> BTreeSet<&str> {
        self.pods
            .values()
            .filter_map(|node| self.nodes.get(node)?.address.as_deref())
            .collect()
    }
}

/// The host that the user named for bootstrapping.
pub(super) fn bootstrap_host(listener: &Listener) -> Option<String> {
    listener.exposure.as_ref()?.bootstrap_host.clone()
}

/// The host that the user named for a broker.
pub(super) fn broker_host(listener: &Listener, broker: BrokerId) -> Option<String> {
    let template = listener.exposure.as_ref()?.host_template.as_ref()?;
    Some(template.replace(ID, &broker.to_string()))
}

/// The user's annotations for an object, filled in. Those that speak of a broker are left out where there is none.
pub(super) fn annotations(
    listener: &Listener,
    broker: Option<BrokerId>,
    host: Option<&str>,
) -> BTreeMap<String, String> {
    let given = listener
        .exposure
        .iter()
        .flat_map(|exposure| &exposure.annotations);
    given
        .filter_map(|(key, value)| {
            let value = fill(value, ID, broker.map(|id| id.to_string()).as_deref())?;
            Some((key.clone(), fill(&value, HOST, host)?))
        })
        .collect()
}

fn fill(text: &str, mark: &str, with: Option<&str>) -> Option<String> {
    match with {
        Some(with) => Some(text.replace(mark, with)),
        None if text.contains(mark) => None,
        None => Some(text.to_owned()),
    }
}

/// As [`annotations`], for a Service: where an Ingress exposes the listener, the annotations are for that.
pub(super) fn service_annotations(
    listener: &Listener,
    broker: Option<BrokerId>,
    host: Option<&str>,
) -> BTreeMap<String, String> {
    match &listener.exposure {
        Some(exposure) if exposure.type_ != ExposureType::Ingress => annotations(listener, broker, host),
        _ => BTreeMap::new(),
    }
}

/// What the fleet is told about a broker: its rack, and where it is reached from outside. What is not known yet is not told,
/// and then not advertised.
#[must_use]
pub fn placement(cluster: &Cluster, member: &Member, reach: &Reach) -> BrokerPlacement {
    let node = reach.node_of(&Names::of(cluster).pod(member));
    let rack = cluster
        .spec
        .rack_topology_key
        .as_ref()
        .and_then(|key| node?.labels.get(key).cloned());
    let endpoints = config::listeners(cluster)
        .iter()
        .filter_map(|listener| {
            let (host, port) = outside(cluster, listener, member, reach)?;
            Some(Endpoint {
                listener: listener.name.clone(),
                host,
                port: u32::from(port),
                security_protocol: security_protocol(listener).into(),
            })
        })
        .collect();
    BrokerPlacement {
        broker_id: member.id.0,
        rack: rack.unwrap_or_default(),
        endpoints,
    }
}

/// Where one broker's listener is reached from outside.
fn outside(cluster: &Cluster, listener: &Listener, member: &Member, reach: &Reach) -> Option<(String, u16)> {
    let names = Names::of(cluster);
    let host = broker_host(listener, member.id);
    let service = || reach.services.get(&names.broker(&listener.name, member.id));
    match listener.exposure.as_ref()?.type_ {
        ExposureType::NodePort => {
            let node = || reach.node_of(&names.pod(member))?.address.clone();
            Some((host.or_else(node)?, service()?.node_port?))
        }
        ExposureType::LoadBalancer => {
            // A name that the user gave is advertised only once something stands behind it.
            let given = service()?.load_balancer.clone()?;
            Some((host.unwrap_or(given), listener.port))
        }
        ExposureType::Ingress => Some((host?, INGRESS_PORT)),
    }
}

/// Where clients of a listener begin: `HOST:PORT`, several separated by commas. `None` while that is not known.
#[must_use]
pub fn bootstrap_servers(cluster: &Cluster, listener: &Listener, reach: &Reach) -> Option<String> {
    let names = Names::of(cluster);
    let Some(exposure) = &listener.exposure else {
        return Some(format!(
            "{}:{}",
            names.bootstrap_host(&listener.name),
            listener.port
        ));
    };
    let host = bootstrap_host(listener);
    let service = || reach.services.get(&names.bootstrap(&listener.name));
    match exposure.type_ {
        ExposureType::NodePort => {
            let port = service()?.node_port?;
            let servers: Vec<String> = match &host {
                Some(host) => vec![server(host, port)],
                None => reach
                    .addresses()
                    .into_iter()
                    .take(BOOTSTRAP_NODES)
                    .map(|address| server(address, port))
                    .collect(),
            };
            (!servers.is_empty()).then(|| servers.join(","))
        }
        ExposureType::LoadBalancer => {
            let given = service()?.load_balancer.clone()?;
            Some(server(&host.unwrap_or(given), listener.port))
        }
        ExposureType::Ingress => Some(server(&host?, INGRESS_PORT)),
    }
}

fn server(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The hosts and addresses that clients of a broker's TLS listeners may have connected to, sorted: what its certificate must name.
/// Clients begin at any broker, so that all certificates name what all brokers are reached by.
#[must_use]
pub fn certificate_hosts(cluster: &Cluster, member: &Member, reach: &Reach) -> Vec<String> {
    let names = Names::of(cluster);
    let mut hosts = BTreeSet::new();
    for listener in config::listeners(cluster).iter().filter(|listener| listener.tls) {
        let (service, namespace) = (names.bootstrap(&listener.name), names.namespace);
        hosts.extend([
            names.pod_host(member),
            format!("{service}.{namespace}"),
            format!("{service}.{namespace}.svc"),
            service.clone(),
        ]);
        let Some(exposure) = &listener.exposure else {
            continue;
        };
        hosts.extend(bootstrap_host(listener));
        hosts.extend(broker_host(listener, member.id));
        match exposure.type_ {
            ExposureType::NodePort => hosts.extend(reach.names_of_nodes().into_iter().map(str::to_owned)),
            ExposureType::LoadBalancer => {
                let given = |name: &str| reach.services.get(name)?.load_balancer.clone();
                hosts.extend(given(&service));
                hosts.extend(given(&names.broker(&listener.name, member.id)));
            }
            ExposureType::Ingress => {}
        }
    }
    hosts.into_iter().collect()
}

/// Kafka's security protocol of a listener. With SASL and client certificates both, SASL wins.
fn security_protocol(listener: &Listener) -> SecurityProtocol {
    let sasl = listener
        .authentication
        .iter()
        .any(|way| *way != Authentication::Mtls);
    match (sasl, listener.tls) {
        (false, false) => SecurityProtocol::Plaintext,
        (false, true) => SecurityProtocol::Ssl,
        (true, false) => SecurityProtocol::SaslPlaintext,
        (true, true) => SecurityProtocol::SaslSsl,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing;
    use super::*;

    fn reach() -> Reach {
        let node = |address: &str, zone: &str| Node {
            address: Some(address.to_owned()),
            labels: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
        };
        let service = |node_port, load_balancer: Option<&str>| ServiceReach {
            node_port,
            load_balancer: load_balancer.map(str::to_owned),
        };
        Reach {
            services: BTreeMap::from([
                (
                    "events-external".into(),
                    service(Some(30_000), Some("lb.example.com")),
                ),
                (
                    "events-external-0".into(),
                    service(Some(30_001), Some("10.1.1.1")),
                ),
                ("events-external-1".into(), service(Some(30_002), None)),
            ]),
            nodes: BTreeMap::from([
                ("n1".into(), node("10.0.0.1", "a")),
                ("n2".into(), node("10.0.0.2", "b")),
                ("n3".into(), node("10.0.0.3", "c")),
            ]),
            pods: BTreeMap::from([
                ("events-main-0".into(), "n2".into()),
                ("events-main-1".into(), "n1".into()),
            ]),
        }
    }

    fn exposed(exposure: Value) -> Cluster {
        testing::with(json!({
            "rackTopologyKey": "zone",
            "listeners": [{
                "name": "external", "port": 9094, "tls": true, "authentication": ["scram-sha-512"], "exposure": exposure,
            }],
        }))
    }

    fn told(cluster: &Cluster, broker: usize) -> BrokerPlacement {
        placement(cluster, &testing::members(cluster)[broker], &reach())
    }

    fn endpoint(host: &str, port: u32) -> Endpoint {
        Endpoint {
            listener: "external".into(),
            host: host.into(),
            port,
            security_protocol: SecurityProtocol::SaslSsl.into(),
        }
    }

    #[test]
    fn broker_is_told_the_rack_and_address_of_its_node() {
        let cluster = exposed(json!({"type": "NodePort"}));
        assert_eq!(
            told(&cluster, 0),
            BrokerPlacement {
                broker_id: 0,
                rack: "b".into(),
                endpoints: vec![endpoint("10.0.0.2", 30_001)],
            }
        );
        // Broker 2 has no pod yet.
        assert_eq!(
            told(&cluster, 2),
            BrokerPlacement {
                broker_id: 2,
                ..BrokerPlacement::default()
            }
        );
    }

    #[test]
    fn load_balancers_and_ingresses_are_advertised_once_they_stand() {
        let balanced = exposed(json!({"type": "LoadBalancer"}));
        assert_eq!(told(&balanced, 0).endpoints, [endpoint("10.1.1.1", 9_094)]);
        assert_eq!(told(&balanced, 1).endpoints, []);
        let named = exposed(json!({"type": "LoadBalancer", "hostTemplate": "b{id}.example.com"}));
        assert_eq!(told(&named, 0).endpoints, [endpoint("b0.example.com", 9_094)]);
        let ingress = exposed(
            json!({"type": "Ingress", "hostTemplate": "b{id}.example.com", "bootstrapHost": "k.example.com"}),
        );
        assert_eq!(told(&ingress, 2).endpoints, [endpoint("b2.example.com", 443)]);
    }

    #[test]
    fn bootstrap_servers_follow_the_exposure() {
        for (exposure, servers) in [
            (json!(null), Some("events-external.streaming.svc:9094")),
            (json!({"type": "NodePort"}), Some("10.0.0.1:30000,10.0.0.2:30000")),
            (
                json!({"type": "NodePort", "bootstrapHost": "nodes.example.com"}),
                Some("nodes.example.com:30000"),
            ),
            (json!({"type": "LoadBalancer"}), Some("lb.example.com:9094")),
            (
                json!({"type": "Ingress", "bootstrapHost": "k.example.com"}),
                Some("k.example.com:443"),
            ),
        ] {
            let cluster = exposed(exposure.clone());
            let listener = &cluster.spec.listeners[0];
            assert_eq!(
                bootstrap_servers(&cluster, listener, &reach()).as_deref(),
                servers,
                "{exposure}"
            );
        }
        let cluster = exposed(json!({"type": "NodePort"}));
        assert_eq!(
            bootstrap_servers(&cluster, &cluster.spec.listeners[0], &Reach::default()),
            None
        );
    }

    #[test]
    fn certificate_names_all_that_clients_connect_to() {
        let cluster = exposed(json!({"type": "NodePort", "bootstrapHost": "nodes.example.com"}));
        let member = &testing::members(&cluster)[1];
        assert_eq!(
            certificate_hosts(&cluster, member, &reach()),
            [
                "10.0.0.1",
                "10.0.0.2",
                "10.0.0.3",
                "events-external",
                "events-external.streaming",
                "events-external.streaming.svc",
                "events-main-1.events-brokers.streaming.svc",
                "nodes.example.com",
            ]
        );
        let plaintext = testing::with(json!({"listeners": null}));
        assert_eq!(
            certificate_hosts(&plaintext, member, &reach()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn address_of_the_sixth_version_is_bracketed() {
        assert_eq!(server("fd00::1", 9_094), "[fd00::1]:9094");
    }
}
