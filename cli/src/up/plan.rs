//! From a Cluster to what its brokers need on this machine: ids, ports, certificates and configuration files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use flotilla_control::BrokerId;
use flotilla_control::config::{Advertised, BrokerConfig, Internal, InternalTls, ListenerTls, Peer};
use flotilla_crds::Cluster;
use flotilla_operator::Problem;
use flotilla_operator::certificate::{Authority, Issued, Validity};
use flotilla_operator::cluster::{self, Address, Identity, Member, Place};

use super::ports::{self, Base};
use crate::home::{Home, Memory, random_uuid, write_whole};

/// What brokers on one machine are reached by.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Authorities outlive the fleets of a development machine.
const AUTHORITY_DAYS: u32 = 3_650;

/// Certificates are issued anew at every start; more than 825 days some clients refuse.
const CERTIFICATE_DAYS: u32 = 825;

/// Why a Cluster cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The resource says what cannot be.
    #[error("{0}")]
    Spec(#[from] Problem),
    /// There are no ports.
    #[error("{0}")]
    Ports(#[from] ports::Error),
    /// The machine does not let us.
    #[error("{0:#}")]
    Machine(#[from] anyhow::Error),
}

/// The authorities of a fleet.
pub struct Authorities {
    /// Of brokers, for each other and for clients.
    pub cluster: Authority,
    /// Of users.
    pub clients: Authority,
}

impl Authorities {
    /// Those in the directory, made if they are not there.
    pub fn open(home: &Home) -> anyhow::Result<Self> {
        Ok(Self {
            cluster: authority(home, "cluster")?,
            clients: authority(home, "clients")?,
        })
    }
}

/// How long a certificate holds that is issued now.
pub fn validity(days: u32) -> Validity {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Validity::days(now.as_secs(), days)
}

/// Certificates of users and brokers.
pub fn certificate_validity() -> Validity {
    validity(CERTIFICATE_DAYS)
}

fn authority(home: &Home, name: &str) -> anyhow::Result<Authority> {
    let directory = home.authorities();
    let (certificate, key) = (
        directory.join(format!("{name}.crt")),
        directory.join(format!("{name}.key")),
    );
    if let (Ok(certificate), Ok(key)) = (fs::read_to_string(&certificate), fs::read_to_string(&key)) {
        return Authority::load(Issued { certificate, key }).with_context(|| {
            format!(
                "{} holds no usable authority: move it away, and a new one is made",
                directory.display()
            )
        });
    }
    let made = Authority::generate(&format!("flotilla {name}"), validity(AUTHORITY_DAYS))?;
    write_whole(&key, made.pem().key.as_bytes(), 0o600)?;
    write_whole(&certificate, made.pem().certificate.as_bytes(), 0o644)?;
    Ok(made)
}

/// What is remembered of a new fleet.
pub fn begin(cluster: &Cluster) -> Result<Memory, Error> {
    let mut drawn = Ok(());
    let mut fresh = || {
        random_uuid().unwrap_or_else(|error| {
            drawn = Err(error);
            flotilla_control::Uuid::ZERO
        })
    };
    let identity = Identity::draw(cluster, &mut fresh)?;
    drawn?;
    Ok(Memory {
        cluster: cluster.metadata.name.clone().unwrap_or_default(),
        identity,
        port_base: None,
        ports: BTreeMap::new(),
        topics: BTreeMap::new(),
        users: BTreeMap::new(),
        dynamic_settings: Vec::new(),
        joining: Vec::new(),
    })
}

/// The configurations of all brokers that the Cluster asks for, written to their files. What is decided on the way (ids and
/// ports of new brokers) is put into `memory`, which the caller must write down before a broker starts. Ports of brokers in
/// `running` are theirs.
pub fn brokers(
    home: &Home,
    cluster: &Cluster,
    memory: &mut Memory,
    authorities: &Authorities,
    base: Base,
    running: &BTreeSet<BrokerId>,
) -> Result<Vec<BrokerConfig>, Error> {
    memory.identity.allot_blocks(cluster);
    let members = cluster::members(cluster, &memory.identity)?;
    let ids: Vec<BrokerId> = members.iter().map(|member| member.id).collect();
    ports::allot(
        &mut memory.ports,
        &ids,
        &cluster::listeners(cluster),
        base,
        running,
    )?;
    let operator = authorities
        .cluster
        .issue_operator(memory.identity.cluster_id, certificate_validity())
        .context("cannot make the command line's certificate")?;
    let tls = home.operator_tls();
    if running.is_empty() {
        write_whole(&tls.key, operator.key.as_bytes(), 0o600)?;
        write_whole(&tls.certificate, operator.certificate.as_bytes(), 0o644)?;
    }
    // Brokers that are no longer asked for still run until they are taken away: they stay known.
    let peers: Vec<Peer> = memory
        .ports
        .iter()
        .filter_map(|(id, ports)| {
            Some(Peer {
                broker_id: BrokerId(*id),
                address: SocketAddr::new(HOST, *ports.get("@control")?).to_string(),
            })
        })
        .collect();
    members
        .iter()
        .map(|member| {
            broker(
                home,
                cluster,
                memory,
                authorities,
                member,
                &peers,
                running.contains(&member.id),
            )
        })
        .collect()
}

fn broker(
    home: &Home,
    cluster: &Cluster,
    memory: &Memory,
    authorities: &Authorities,
    member: &Member,
    peers: &[Peer],
    running: bool,
) -> Result<BrokerConfig, Error> {
    let directory = home.broker(member.id);
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let directory =
        fs::canonicalize(&directory).with_context(|| format!("cannot find {}", directory.display()))?;
    let authority = fs::canonicalize(home.authorities()).context("cannot find the authorities")?;
    let tls = directory.join("tls");
    if !running {
        let internal = authorities
            .cluster
            .issue_broker(memory.identity.cluster_id, member.id, certificate_validity())
            .context("cannot make a broker's certificate")?;
        let listener = authorities
            .cluster
            .issue_listener(&["localhost", "127.0.0.1", "::1"], certificate_validity())
            .context("cannot make a listener's certificate")?;
        write_pair(&tls, "internal", &internal)?;
        write_pair(&tls, "listener", &listener)?;
    }
    let ports = &memory.ports[&member.id.0];
    let inner = |name: &str| Internal {
        bind: SocketAddr::new(HOST, ports[name]),
        advertised: advertised(ports[name]),
    };
    let place = Place {
        data_dirs: data_directories(cluster, member, &directory),
        rack: None,
        listeners: cluster::listeners(cluster)
            .iter()
            .map(|listener| {
                let port = ports[&listener.name];
                let address = Address {
                    bind: SocketAddr::new(HOST, port),
                    advertised: Some(advertised(port)),
                };
                (listener.name.clone(), address)
            })
            .collect(),
        listener_tls: Some(ListenerTls {
            certificate: tls.join("listener.crt"),
            key: tls.join("listener.key"),
            client_ca: Some(authority.join("clients.crt")),
        }),
        replication: inner("@replication"),
        control: inner("@control"),
        admin: SocketAddr::new(HOST, ports["@admin"]),
        internal_tls: InternalTls {
            ca: authority.join("cluster.crt"),
            certificate: tls.join("internal.crt"),
            key: tls.join("internal.key"),
        },
        peers: peers.to_vec(),
    };
    let config = cluster::broker_config(cluster, &memory.identity, member, &place)?;
    write(home, &config)?;
    Ok(config)
}

/// Puts a broker's configuration where the broker reads it.
pub fn write(home: &Home, config: &BrokerConfig) -> anyhow::Result<()> {
    write_whole(
        &home.broker_config(config.broker_id),
        config.to_yaml().as_bytes(),
        0o644,
    )
}

/// One directory for each volume that the broker's pool names: `data` where it names none.
fn data_directories(cluster: &Cluster, member: &Member, directory: &Path) -> Vec<std::path::PathBuf> {
    let pool = cluster.spec.pools.iter().find(|pool| pool.name == member.pool);
    let volumes = pool.map(|pool| pool.volumes.as_slice()).unwrap_or_default();
    if volumes.len() < 2 {
        return vec![directory.join("data")];
    }
    volumes
        .iter()
        .map(|volume| directory.join("data").join(&volume.name))
        .collect()
}

fn write_pair(directory: &Path, name: &str, issued: &Issued) -> anyhow::Result<()> {
    write_whole(
        &directory.join(format!("{name}.key")),
        issued.key.as_bytes(),
        0o600,
    )?;
    write_whole(
        &directory.join(format!("{name}.crt")),
        issued.certificate.as_bytes(),
        0o644,
    )
}

fn advertised(port: u16) -> Advertised {
    Advertised {
        host: HOST.to_string(),
        port,
    }
}

#[cfg(test)]
mod tests {
    use flotilla_crds::ClusterSpec;

    use super::*;

    fn cluster(replicas: i32) -> Cluster {
        Cluster::new(
            "quickstart",
            ClusterSpec {
                replicas: Some(replicas),
                ..ClusterSpec::default()
            },
        )
    }

    fn plan(home: &Home, memory: &mut Memory, replicas: i32) -> Vec<BrokerConfig> {
        let authorities = Authorities::open(home).unwrap();
        let base = Base::Any(std::process::id() + 100);
        brokers(
            home,
            &cluster(replicas),
            memory,
            &authorities,
            base,
            &BTreeSet::new(),
        )
        .unwrap()
    }

    #[test]
    fn a_second_run_finds_the_same_brokers_and_a_larger_one_adds_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().to_owned());
        let mut memory = begin(&cluster(3)).unwrap();
        let first = plan(&home, &mut memory, 3);
        assert_eq!(first.len(), 3);
        let second = plan(&home, &mut memory, 3);
        assert_eq!(second, first);
        let third = plan(&home, &mut memory, 4);
        assert_eq!(third.len(), 4);
        assert_eq!(third[0].listeners, first[0].listeners);
        assert_eq!(third[0].quorum.voters, first[0].quorum.voters);
        assert_eq!(third[0].quorum.peers.len(), 4);
        let loaded = BrokerConfig::load(&home.broker_config(BrokerId(3))).unwrap();
        assert_eq!(loaded, third[3]);
        assert_eq!(home.broker_configs().unwrap(), third);
        flotilla_control::tls::server_config(&third[0].internal_tls).unwrap();
        flotilla_control::tls::client_config(&home.operator_tls()).unwrap();
    }
}
