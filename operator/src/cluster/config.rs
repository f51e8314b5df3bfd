use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use flotilla_control::config::{
    self, Admin, Advertised, BrokerConfig, Internal, InternalTls, ListenerTls, Peer, Quorum, Voter,
};
use flotilla_control::settings;
use flotilla_crds::{Authentication, AuthorizationType, Cluster, Listener, Role};

use super::{Identity, Member};
use crate::Problem;

/// Where a listener of one broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where it listens.
    pub bind: SocketAddr,
    /// What others are told. Absent: nothing, until the fleet is told an address.
    pub advertised: Option<Advertised>,
}

/// What differs from place to place: everything about one broker that the Cluster does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// One directory for each volume.
    pub data_dirs: Vec<PathBuf>,
    /// The rack, where it is known.
    pub rack: Option<String>,
    /// The client listeners by name.
    pub listeners: BTreeMap<String, Address>,
    /// The certificate of listeners with TLS, and the authority of their clients.
    pub listener_tls: Option<ListenerTls>,
    /// The internal listener for replication.
    pub replication: Internal,
    /// The internal listener for gRPC.
    pub control: Internal,
    /// Probes and metrics.
    pub admin: SocketAddr,
    /// What proves the broker to the others.
    pub internal_tls: InternalTls,
    /// The control addresses of all brokers.
    pub peers: Vec<Peer>,
}

/// The Cluster's broker settings as Kafka writes them.
///
/// # Errors
/// The first setting that is unknown, decided elsewhere in the resource, or has a value that is refused.
pub fn settings(cluster: &Cluster) -> Result<BTreeMap<String, String>, Problem> {
    let settings: BTreeMap<String, String> = cluster
        .spec
        .config
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect();
    settings::check_broker(&settings).map_err(|error| Problem::spec("spec.config", error.to_string()))?;
    Ok(settings)
}

/// The configuration file of one broker.
///
/// # Errors
/// Settings that are refused, or a listener that the place has no address or no certificate for.
pub fn broker_config(
    cluster: &Cluster,
    identity: &Identity,
    member: &Member,
    place: &Place,
) -> Result<BrokerConfig, Problem> {
    let listeners = listeners(cluster)
        .iter()
        .map(|listener| client_listener(listener, place))
        .collect::<Result<_, _>>()?;
    Ok(BrokerConfig {
        cluster_id: identity.cluster_id,
        broker_id: member.id,
        version: cluster.spec.version.clone(),
        rack: place.rack.clone(),
        roles: member
            .roles
            .iter()
            .map(|role| match role {
                Role::Broker => config::Role::Broker,
                Role::Coordinator => config::Role::Coordinator,
            })
            .collect(),
        data_dirs: place.data_dirs.clone(),
        listeners,
        replication: place.replication.clone(),
        control: place.control.clone(),
        admin: Admin { bind: place.admin },
        internal_tls: place.internal_tls.clone(),
        quorum: quorum(identity, place)?,
        authorization: authorization(cluster),
        settings: settings(cluster)?,
    })
}

/// The listeners of a Cluster; one in plaintext where it names none.
#[must_use]
pub fn listeners(cluster: &Cluster) -> Vec<Listener> {
    if !cluster.spec.listeners.is_empty() {
        return cluster.spec.listeners.clone();
    }
    vec![Listener {
        name: "internal".to_owned(),
        port: 9_092,
        tls: false,
        authentication: Vec::new(),
        exposure: None,
    }]
}

fn client_listener(listener: &Listener, place: &Place) -> Result<config::Listener, Problem> {
    let field = format!("spec.listeners[{}]", listener.name);
    let address = place
        .listeners
        .get(&listener.name)
        .ok_or_else(|| Problem::spec(&field, "the listener has no address on this broker"))?;
    let needs_tls = listener.authentication.iter().find_map(|way| match way {
        Authentication::Mtls => Some("mtls"),
        Authentication::Plain => Some("plain"),
        Authentication::OauthBearer => Some("oauthbearer"),
        Authentication::ScramSha256 | Authentication::ScramSha512 => None,
    });
    if let (false, Some(name)) = (listener.tls, needs_tls) {
        return Err(Problem::spec(
            format!("{field}.authentication"),
            format!("{name} needs `tls: true`"),
        ));
    }
    let tls = match (listener.tls, &place.listener_tls) {
        (false, _) => None,
        (true, Some(tls)) => {
            let client_ca = tls
                .client_ca
                .clone()
                .filter(|_| listener.authentication.contains(&Authentication::Mtls));
            Some(ListenerTls {
                client_ca,
                ..tls.clone()
            })
        }
        (true, None) => {
            return Err(Problem::spec(
                format!("{field}.tls"),
                "there is no certificate for this listener",
            ));
        }
    };
    Ok(config::Listener {
        name: listener.name.clone(),
        bind: address.bind,
        advertised: address.advertised.clone(),
        tls,
        authentication: listener
            .authentication
            .iter()
            .map(|way| match way {
                Authentication::ScramSha512 => config::Authentication::ScramSha512,
                Authentication::ScramSha256 => config::Authentication::ScramSha256,
                Authentication::Plain => config::Authentication::Plain,
                Authentication::OauthBearer => config::Authentication::OauthBearer,
                Authentication::Mtls => config::Authentication::Mtls,
            })
            .collect(),
    })
}

fn quorum(identity: &Identity, place: &Place) -> Result<Quorum, Problem> {
    let voters = identity
        .voters
        .iter()
        .map(|(id, directory)| {
            let peer = place.peers.iter().find(|peer| peer.broker_id == *id);
            let peer = peer.ok_or_else(|| {
                Problem::spec("spec.replicas", format!("broker {id} votes and has no address"))
            })?;
            Ok(Voter {
                broker_id: *id,
                directory_id: *directory,
                address: peer.address.clone(),
            })
        })
        .collect::<Result<_, Problem>>()?;
    Ok(Quorum {
        voters,
        bootstrapped: identity.bootstrapped,
        peers: place.peers.clone(),
    })
}

/// Absent, everybody may do everything; present, its rules hold.
fn authorization(cluster: &Cluster) -> config::Authorization {
    let Some(authorization) = &cluster.spec.authorization else {
        return config::Authorization::default();
    };
    config::Authorization {
        kind: match authorization.type_ {
            AuthorizationType::Acl => config::AuthorizationKind::Acl,
            AuthorizationType::None => config::AuthorizationKind::None,
        },
        super_users: authorization.super_users.clone(),
    }
}

#[cfg(test)]
mod tests {
    use flotilla_control::{BrokerId, Uuid};
    use flotilla_crds::{ClusterSpec, SettingValue};

    use super::*;

    fn address(port: u16) -> Address {
        Address {
            bind: SocketAddr::from(([127, 0, 0, 1], port)),
            advertised: Some(Advertised {
                host: "127.0.0.1".into(),
                port,
            }),
        }
    }

    fn internal(port: u16) -> Internal {
        let address = address(port);
        Internal {
            bind: address.bind,
            advertised: address.advertised.unwrap(),
        }
    }

    fn place() -> Place {
        Place {
            data_dirs: vec!["/data".into()],
            rack: None,
            listeners: BTreeMap::from([("internal".into(), address(9_092))]),
            listener_tls: None,
            replication: internal(1),
            control: internal(2),
            admin: address(3).bind,
            internal_tls: InternalTls {
                ca: "ca".into(),
                certificate: "c".into(),
                key: "k".into(),
            },
            peers: vec![Peer {
                broker_id: BrokerId(0),
                address: "127.0.0.1:2".into(),
            }],
        }
    }

    fn config(spec: ClusterSpec) -> Result<BrokerConfig, Problem> {
        let cluster = Cluster::new(
            "events",
            ClusterSpec {
                replicas: Some(1),
                ..spec
            },
        );
        let identity = Identity::draw(&cluster, &mut || Uuid([7; 16])).unwrap();
        let member = &super::super::members(&cluster, &identity).unwrap()[0];
        broker_config(&cluster, &identity, member, &place())
    }

    #[test]
    fn configuration_of_a_plain_cluster_is_whole() {
        let settings = BTreeMap::from([("min.insync.replicas".into(), SettingValue::Integer(2))]);
        let config = config(ClusterSpec {
            config: settings,
            ..ClusterSpec::default()
        })
        .unwrap();
        let text = config.to_yaml();
        let back = BrokerConfig::parse(&text, std::path::Path::new("broker.yaml")).unwrap();
        assert_eq!(back, config);
        assert_eq!(config.settings["min.insync.replicas"], "2");
        assert_eq!(config.listeners[0].name, "internal");
        assert_eq!(config.quorum.voters[0].directory_id, Uuid([7; 16]));
        assert_eq!(config.authorization.kind, config::AuthorizationKind::None);
    }

    #[test]
    fn unknown_and_managed_settings_are_refused_by_name() {
        for name in ["min.insync.replica", "listeners", "log.dirs"] {
            let settings = BTreeMap::from([(name.to_owned(), SettingValue::Text("x".into()))]);
            let problem = config(ClusterSpec {
                config: settings,
                ..ClusterSpec::default()
            })
            .unwrap_err();
            assert_eq!(problem.field, "spec.config");
            assert!(problem.message.contains(name), "{problem}");
        }
    }

    #[test]
    fn settings_without_effect_are_refused_with_the_reason_but_for_their_defaults() {
        let with = |value: i64| {
            config(ClusterSpec {
                config: BTreeMap::from([("num.io.threads".into(), SettingValue::Integer(value))]),
                ..ClusterSpec::default()
            })
        };
        assert_eq!(with(8).unwrap().settings["num.io.threads"], "8");
        let problem = with(16).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "spec.config: `num.io.threads` cannot be `16`: listeners, requests and upkeep share one thread for each processor: there \
             are no pools to size. Leave it out, or at Kafka's default `8`"
        );
    }

    #[test]
    fn authentication_that_needs_tls_is_refused_without_it() {
        let listener = Listener {
            name: "internal".into(),
            port: 9_092,
            tls: false,
            authentication: vec![Authentication::ScramSha512, Authentication::Plain],
            exposure: None,
        };
        let problem = config(ClusterSpec {
            listeners: vec![listener],
            ..ClusterSpec::default()
        })
        .unwrap_err();
        assert_eq!(
            problem.to_string(),
            "spec.listeners[internal].authentication: plain needs `tls: true`"
        );
    }
}
