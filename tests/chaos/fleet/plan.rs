//! What each broker is told, made by the same functions that the operator and `flotilla up` use.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use flotilla_control::Uuid;
use flotilla_control::config::{Advertised, BrokerConfig, Internal, InternalTls, Peer};
use flotilla_control::tls::Credentials;
use flotilla_crds::Cluster;
use flotilla_operator::certificate::{Authority, Issued, Validity};
use flotilla_operator::cluster::{self, Address, Identity, Place};
use flotilla_operator::fleet::Access;

use super::{ADMIN_PORT, CLIENT_PORT};
use crate::switch;

const REPLICATION_PORT: u16 = 9_093;
const CONTROL_PORT: u16 = 9_094;

/// Brokers whose clocks are behind must not take certificates for not yet valid: that is not what is tested here.
const BACKDATED_S: u64 = 10 * 86_400;

/// The Cluster that the fleet is.
fn resource(brokers: usize) -> anyhow::Result<Cluster> {
    let spec = serde_json::json!({
        "replicas": brokers,
        "coordinators": brokers,
        "config": {
            "min.insync.replicas": 2,
            "auto.create.topics.enable": false,
            "group.initial.rebalance.delay.ms": 200,
            // Nothing is deleted, so that all that was written can be read in the end; segments are small, so that there are many.
            "log.retention.ms": -1,
            "log.segment.bytes": 1_048_576,
            // What is broken is found soon, also where nobody reads.
            "log.scrub.interval.ms": 2_000,
            "log.scrub.max.bytes.per.second": 1_000_000_000,
        },
    });
    Ok(Cluster::new("chaos", serde_json::from_value(spec)?))
}

/// The configurations of brokers with these data directories, and the way to the fleet.
pub fn brokers(directory: &Path, data: &[PathBuf]) -> anyhow::Result<(Vec<BrokerConfig>, Access)> {
    let cluster = resource(data.len())?;
    let identity = Identity::draw(&cluster, &mut fresh_id)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let validity = Validity::days(now - BACKDATED_S, 365);
    let authority = Authority::generate("flotilla chaos", validity)?;
    let tls = directory.join("tls");
    fs::create_dir_all(&tls)?;
    let ca = tls.join("ca.crt");
    fs::write(&ca, &authority.pem().certificate)?;
    let operator = authority.issue_operator(identity.cluster_id, validity)?;
    let operator = write(&tls, "operator", &ca, &operator)?;
    let members = cluster::members(&cluster, &identity)?;
    let peers: Vec<Peer> = members
        .iter()
        .map(|member| Peer {
            broker_id: member.id,
            address: internal(member.id.0, CONTROL_PORT).advertised.to_string(),
        })
        .collect();
    let mut configs = Vec::new();
    for (member, data) in members.iter().zip(data) {
        let issued = authority.issue_broker(identity.cluster_id, member.id, validity)?;
        let client = internal(member.id.0, CLIENT_PORT);
        let place = Place {
            data_dirs: vec![data.clone()],
            rack: None,
            listeners: cluster::listeners(&cluster)
                .iter()
                .map(|listener| {
                    let address = Address {
                        bind: client.bind,
                        advertised: Some(client.advertised.clone()),
                    };
                    (listener.name.clone(), address)
                })
                .collect::<BTreeMap<_, _>>(),
            listener_tls: None,
            replication: internal(member.id.0, REPLICATION_PORT),
            control: internal(member.id.0, CONTROL_PORT),
            admin: internal(member.id.0, ADMIN_PORT).bind,
            internal_tls: write(&tls, &format!("broker-{}", member.id), &ca, &issued)?,
            peers: peers.clone(),
        };
        configs.push(cluster::broker_config(&cluster, &identity, member, &place)?);
    }
    let access = Access {
        cluster_id: identity.cluster_id,
        credentials: Credentials::read(&operator)?,
        brokers: peers
            .into_iter()
            .map(|peer| (peer.broker_id, peer.address))
            .collect(),
    };
    Ok((configs, access))
}

fn internal(broker: i32, port: u16) -> Internal {
    let address = switch::address(broker as usize);
    Internal {
        bind: SocketAddr::from((address, port)),
        advertised: Advertised {
            host: address.to_string(),
            port,
        },
    }
}

fn write(directory: &Path, name: &str, ca: &Path, issued: &Issued) -> anyhow::Result<InternalTls> {
    let file = |extension: &str, text: &str| {
        let path = directory.join(format!("{name}.{extension}"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        anyhow::Ok(path)
    };
    Ok(InternalTls {
        ca: ca.to_owned(),
        certificate: file("crt", &issued.certificate)?,
        key: file("key", &issued.key)?,
    })
}

/// A random id. That of a broker's directory or of a cluster must be another in each run, whatever the seed.
fn fresh_id() -> Uuid {
    let mut bytes = [0; 16];
    let read = fs::File::open("/dev/urandom")
        .and_then(|mut source| std::io::Read::read_exact(&mut source, &mut bytes));
    read.expect("/dev/urandom gives bytes");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes)
}
