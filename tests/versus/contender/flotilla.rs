//! Our broker: `flotilla broker` on configurations that the operator's own functions make, without `flotilla up` beside it, which
//! would share the brokers' core.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use flotilla_control::Uuid;
use flotilla_control::config::{Advertised, Internal, InternalTls, ListenerTls, Peer};
use flotilla_crds::Cluster;
use flotilla_operator::certificate::{Authority, Issued};
use flotilla_operator::cluster::{self, Address, Identity, Place};

use super::{Addresses, Plan, authority_file, validity};
use crate::apache::process::CommandLine;

/// Voters of the quorum: five survive the loss of two.
const VOTERS_MAX: usize = 5;

pub fn prepare(
    plan: &Plan,
    addresses: &[Addresses],
    data: &[PathBuf],
    authority: &Authority,
) -> anyhow::Result<Vec<CommandLine>> {
    let cluster = resource(plan)?;
    let identity = Identity::draw(&cluster, &mut fresh_id)?;
    let members = cluster::members(&cluster, &identity)?;
    let seats = || members.iter().zip(addresses);
    let peers: Vec<Peer> = seats()
        .map(|(member, of)| Peer {
            broker_id: member.id,
            address: inner(of.inner[1]).advertised.to_string(),
        })
        .collect();
    let mut commands = Vec::new();
    for ((member, of), data) in seats().zip(data) {
        let issued = authority.issue_broker(identity.cluster_id, member.id, validity()?)?;
        let listener = authority.issue_listener(&["localhost", "127.0.0.1"], validity()?)?;
        let name = |what: &str| plan.directory.join(format!("{what}-{}", member.id));
        let (certificate, key) = write(&name("listener"), &listener)?;
        let listeners = cluster::listeners(&cluster);
        let ports = [of.plain, of.secure];
        let place = Place {
            data_dirs: vec![data.clone()],
            rack: None,
            listeners: listeners
                .iter()
                .zip(ports)
                .map(|(listener, port)| {
                    let inner = inner(port);
                    let address = Address {
                        bind: inner.bind,
                        advertised: Some(inner.advertised),
                    };
                    (listener.name.clone(), address)
                })
                .collect::<BTreeMap<_, _>>(),
            listener_tls: Some(ListenerTls {
                certificate,
                key,
                client_ca: None,
            }),
            replication: inner(of.inner[0]),
            control: inner(of.inner[1]),
            admin: inner(of.inner[2]).bind,
            internal_tls: internal_tls(plan.directory, &name("internal"), &issued)?,
            peers: peers.clone(),
        };
        let config = cluster::broker_config(&cluster, &identity, member, &place)?;
        let file = name("broker").with_extension("yaml");
        fs::write(&file, config.to_yaml())?;
        commands.push(vec![
            plan.flotilla.into(),
            "broker".into(),
            "--config".into(),
            file.into(),
        ]);
    }
    Ok(commands)
}

fn resource(plan: &Plan) -> anyhow::Result<Cluster> {
    let mut listeners = vec![serde_json::json!({"name": "plain", "port": 9092})];
    if plan.tls {
        listeners.push(serde_json::json!({"name": "secure", "port": 9093, "tls": true}));
    }
    let mut config = serde_json::json!({"offsets.topic.replication.factor": plan.brokers.min(3)});
    if let Some(ms) = plan.retention_check_ms {
        config["log.retention.check.interval.ms"] = ms.into();
    }
    let spec = serde_json::json!({
        "replicas": plan.brokers,
        "coordinators": plan.brokers.min(VOTERS_MAX),
        "listeners": listeners,
        "config": config,
    });
    Ok(Cluster::new("versus", serde_json::from_value(spec)?))
}

fn inner(port: u16) -> Internal {
    Internal {
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        advertised: Advertised {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
        },
    }
}

fn internal_tls(directory: &Path, name: &Path, issued: &Issued) -> anyhow::Result<InternalTls> {
    let (certificate, key) = write(name, issued)?;
    Ok(InternalTls {
        ca: authority_file(directory),
        certificate,
        key,
    })
}

fn write(name: &Path, issued: &Issued) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (name.with_extension("crt"), name.with_extension("key"));
    fs::write(&certificate, &issued.certificate)?;
    fs::write(&key, &issued.key)?;
    Ok((certificate, key))
}

/// A random id (RFC 9562, version 4), as of any new cluster.
fn fresh_id() -> Uuid {
    let mut bytes = [0; 16];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    filled.expect("the system gives random bytes");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes)
}
