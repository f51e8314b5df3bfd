//! A fleet's coordination in one process: real certificates, loopback, temporary directories.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flotilla_control::config::InternalTls;
use flotilla_control::proto::metadata::{
    AlterConfig, AlterConfigs, ConfigOperation, Request, ResourceConfigs, ResourceType, request,
};
use flotilla_control::tls::{Identity, Member, server_name};
use flotilla_protocol::{BrokerId, Uuid};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tokio::time::Instant;

use super::{Config, Registration, Running, Timing, VoterId, VoterNode, start};
use crate::log::RealDisk;

/// The fleet of most tests.
pub(crate) const CLUSTER: Uuid = Uuid([9; 16]);
/// Nothing here takes longer, unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Issues certificates into a directory.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Authority {
    pub(crate) fn new(dir: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(dir.join("ca.pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            dir: dir.to_owned(),
        }
    }

    /// Files with a certificate for a member of a cluster.
    pub(crate) fn issue(&self, cluster_id: Uuid, identity: Identity) -> InternalTls {
        let key = KeyPair::generate().unwrap();
        let names = match identity {
            Identity::Broker(broker) => vec![server_name(cluster_id, broker)],
            Identity::Operator => Vec::new(),
        };
        let mut params = CertificateParams::new(names).unwrap();
        let uri = Member { cluster_id, identity }.to_string();
        params
            .subject_alt_names
            .push(SanType::URI(uri.try_into().unwrap()));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let name = format!("{cluster_id}-{identity:?}").replace(['(', ')'], "-");
        let file = |suffix: &str| self.dir.join(format!("{name}.{suffix}"));
        std::fs::write(file("pem"), certificate.pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        InternalTls {
            ca: self.dir.join("ca.pem"),
            certificate: file("pem"),
            key: file("key"),
        }
    }
}

/// Some brokers, the first of which vote.
pub(crate) struct Fleet {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) authority: Authority,
    pub(crate) running: BTreeMap<i32, Running>,
    pub(crate) configs: BTreeMap<i32, Config>,
}

/// The directory of a broker that was formatted once.
pub(crate) fn directory(broker: i32) -> Uuid {
    Uuid([broker as u8 + 1; 16])
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

impl Fleet {
    /// Configurations for `brokers` brokers, the first `voters` of which vote. None runs yet.
    pub(crate) fn of(brokers: i32, voters: i32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path());
        let addresses: BTreeMap<i32, SocketAddr> = (0..brokers).map(|id| (id, free_address())).collect();
        let first: BTreeMap<VoterId, VoterNode> = (0..voters)
            .map(|id| {
                let node = VoterNode {
                    address: addresses[&id].to_string(),
                };
                (VoterId::new(BrokerId(id), directory(id)), node)
            })
            .collect();
        let configs = addresses
            .iter()
            .map(|(id, address)| {
                let config = Config {
                    cluster_id: CLUSTER,
                    broker: BrokerId(*id),
                    directory_id: directory(*id),
                    dir: dir.path().join(format!("broker-{id}")),
                    disk: Arc::new(RealDisk::new(64)),
                    voters: first.clone(),
                    bootstrapped: false,
                    peers: addresses
                        .iter()
                        .map(|(id, address)| (BrokerId(*id), address.to_string()))
                        .collect(),
                    bind: *address,
                    tls: authority.issue(CLUSTER, Identity::Broker(BrokerId(*id))),
                    timing: Timing {
                        heartbeat: Duration::from_millis(250),
                        session: Duration::from_millis(1_000),
                    },
                    settings: Arc::new(|_| None),
                };
                (*id, config)
            })
            .collect();
        Self {
            dir,
            authority,
            running: BTreeMap::new(),
            configs,
        }
    }

    pub(crate) fn config(&mut self, broker: i32) -> &mut Config {
        self.configs.get_mut(&broker).unwrap()
    }

    pub(crate) async fn start(&mut self, broker: i32) -> &Running {
        let running = start(self.configs[&broker].clone()).await.unwrap();
        self.running.entry(broker).or_insert(running)
    }

    pub(crate) async fn start_all(&mut self) {
        for broker in self.configs.keys().copied().collect::<Vec<_>>() {
            self.start(broker).await;
        }
    }

    pub(crate) async fn stop(&mut self, broker: i32) {
        self.running.remove(&broker).unwrap().stop().await;
    }

    pub(crate) async fn stop_all(&mut self) {
        for broker in self.running.keys().copied().collect::<Vec<_>>() {
            self.stop(broker).await;
        }
    }

    /// Waits until one of those that run leads, with a majority behind it.
    pub(crate) async fn leader(&self) -> i32 {
        let found = async {
            loop {
                let leads = |running: &&Running| running.leadership().borrow().leading;
                if let Some(leader) = self.running.values().find(leads) {
                    return leader.config.broker.0;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .expect("a leader in time")
    }

    pub(crate) fn registration(&self, broker: i32) -> Registration {
        let config = &self.configs[&broker];
        Registration {
            broker: config.broker,
            cluster_id: config.cluster_id,
            directory_id: config.directory_id,
            incarnation_id: Uuid(*uuid::Uuid::new_v4().as_bytes()),
            endpoints: Vec::new(),
            replication: None,
            control_address: config.bind.to_string(),
            rack: String::new(),
            roles: vec!["broker".to_owned()],
            version: "0.1.0".to_owned(),
            flotilla_version_max: crate::metadata::FLOTILLA_VERSION,
            clean_shutdown: true,
        }
    }

    /// Waits until a broker's metadata is as wanted.
    pub(crate) async fn until(&self, broker: i32, wanted: impl Fn(&crate::metadata::Image) -> bool) {
        let metadata = self.running[&broker].metadata();
        let mut changes = metadata.subscribe();
        let reached = async {
            while !wanted(&metadata.image()) {
                changes.changed().await.expect("the broker runs");
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .expect("the metadata in time");
    }
}

/// Sets a setting of the whole cluster.
pub(crate) fn set(key: &str, value: &str) -> Request {
    let change = AlterConfig {
        operation: ConfigOperation::Set.into(),
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    let resource = ResourceConfigs {
        resource_type: ResourceType::Broker.into(),
        resource_name: String::new(),
        changes: vec![change],
        replace: false,
    };
    let alter = AlterConfigs {
        resources: vec![resource],
    };
    Request {
        validate_only: false,
        request: Some(request::Request::AlterConfigs(alter)),
    }
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}
