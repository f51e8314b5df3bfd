//! The composition: everything that one broker consists of.

use crate::auth::Authorizer;
use crate::coordination::{Controller, Metadata};
use crate::coordinator_runtime::Groups;
use crate::replica::{ProducerIds, Replicas};
use crate::telemetry::Telemetry;
use arc_swap::ArcSwap;
use flotilla_control::config::BrokerConfig;
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::BrokerId;
use std::sync::Arc;

/// All that a request handler can reach.
pub struct Broker {
    /// Who this broker is.
    pub id: BrokerId,
    /// Kafka's id of the cluster, 22 characters.
    pub cluster_id: String,
    /// The configuration file.
    pub config: BrokerConfig,
    /// The settings as they hold now: the file's, and over them those that were set while the broker runs.
    pub settings: ArcSwap<BrokerSettings>,
    /// Who may do what.
    pub authorizer: Authorizer,
    /// What the quorum has committed.
    pub metadata: Metadata,
    /// Takes what has to be decided.
    pub controller: Controller,
    /// The partitions that are stored here.
    pub replicas: Arc<Replicas>,
    /// Numbers for idempotent producers.
    pub producer_ids: ProducerIds,
    /// The coordinators of groups that run here.
    pub groups: Arc<Groups>,
    /// Metrics and readiness.
    pub telemetry: Telemetry,
}

impl Broker {
    /// The settings as they hold now.
    #[must_use]
    pub fn settings(&self) -> Arc<BrokerSettings> {
        self.settings.load_full()
    }
}

#[cfg(test)]
impl Broker {
    /// A broker with id 0 and that metadata, whose controller decides in memory. To be made on a tokio runtime.
    pub(crate) fn in_memory(image: crate::metadata::Image) -> Arc<Self> {
        Self::in_memory_with(image, Authorizer::none())
    }

    /// The same with access rules.
    pub(crate) fn in_memory_with(image: crate::metadata::Image, authorizer: Authorizer) -> Arc<Self> {
        use crate::coordination;
        use std::time::Duration;
        let config: BrokerConfig = testing::config();
        let options = coordination::Options {
            session_timeout: Duration::from_secs(3600),
            settings: Arc::new(|_| None),
            now_ms: crate::clock::now_ms,
            fresh_id: Arc::new(|| flotilla_protocol::Uuid(*uuid::Uuid::new_v4().as_bytes())),
        };
        let replicas = crate::replica::testing::in_memory(config.broker_id, &image);
        let (metadata, controller, _) = coordination::solo(config.broker_id, image, options);
        let groups = crate::coordinator_runtime::testing::groups(&metadata);
        Arc::new(Self {
            id: config.broker_id,
            cluster_id: config.cluster_id.to_string(),
            settings: ArcSwap::from_pointee(BrokerSettings::resolve(&|_| None)),
            authorizer,
            metadata,
            controller,
            replicas,
            producer_ids: ProducerIds::default(),
            groups,
            telemetry: Telemetry::default(),
            config,
        })
    }
}

#[cfg(test)]
mod testing {
    use flotilla_control::config::{
        Admin, Advertised, Authorization, BrokerConfig, Internal, InternalTls, Quorum, Role,
    };
    use flotilla_protocol::{BrokerId, Uuid};
    use std::net::{Ipv4Addr, SocketAddr};

    /// Of a broker whose addresses are any.
    pub(super) fn config() -> BrokerConfig {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let internal = || Internal {
            bind: any,
            advertised: Advertised {
                host: "127.0.0.1".into(),
                port: 1,
            },
        };
        BrokerConfig {
            cluster_id: Uuid([7; 16]),
            broker_id: BrokerId(0),
            version: None,
            rack: None,
            roles: vec![Role::Broker, Role::Coordinator],
            data_dirs: Vec::new(),
            listeners: Vec::new(),
            replication: internal(),
            control: internal(),
            admin: Admin { bind: any },
            internal_tls: InternalTls {
                ca: "ca".into(),
                certificate: "crt".into(),
                key: "key".into(),
            },
            quorum: Quorum {
                voters: Vec::new(),
                bootstrapped: false,
                peers: Vec::new(),
            },
            authorization: Authorization::default(),
            settings: Default::default(),
        }
    }
}
