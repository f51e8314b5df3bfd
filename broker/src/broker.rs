//! The composition: everything that one broker consists of, as request handlers reach it.

use crate::auth::Authorizer;
use crate::coordination::{Connections, Controller, Metadata};
use crate::coordinator_runtime::{self, Groups, ShareStates, Transactions};
use crate::courier::Courier;
use crate::metadata::{self, Image};
use crate::replica::{ProducerIds, Replicas};
use crate::request::{ClientMetrics, FetchSessions, Quotas};
use crate::share_runtime::Shares;
use crate::telemetry::Telemetry;
use arc_swap::ArcSwap;
use flotilla_control::config::{AuthorizationKind, BrokerConfig};
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::BrokerId;
use std::sync::Arc;
use tokio::sync::Notify;

/// Whether a resource that no rule names is open to everybody.
const ALLOW_IF_NO_RULE: &str = "allow.everyone.if.no.acl.found";

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
    /// Wakes requests that wait, when the access rules are not those any more that let them in.
    pub rules_changed: Notify,
    /// What the quorum has committed.
    pub metadata: Metadata,
    /// Takes what has to be decided.
    pub controller: Controller,
    /// Which brokers are connected, and which are known to be gone.
    pub connections: Arc<Connections>,
    /// The partitions that this broker stores.
    pub replicas: Arc<Replicas>,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// The coordinators of groups that run here.
    pub groups: Arc<Groups>,
    /// The coordinators of transactions that run here.
    pub transactions: Arc<Transactions>,
    /// The coordinators of share partitions that run here.
    pub share_states: Arc<ShareStates>,
    /// What members of share groups fetch from this broker.
    pub shares: Shares,
    /// Carries what coordinators need to other brokers.
    pub courier: Courier,
    /// What consumers and followers fetch in sessions.
    pub fetch_sessions: FetchSessions,
    /// What clients used of their quotas.
    pub quotas: Quotas,
    /// What clients push of their metrics.
    pub client_metrics: ClientMetrics,
    /// Metrics and readiness.
    pub telemetry: Telemetry,
}

impl Broker {
    /// A broker that clients may be sent to: registered, unfenced, and its process not known to be gone. Who is gone is about to be
    /// fenced; a client that is sent there until then comes back, and asks again at its own pace.
    #[must_use]
    pub fn present<'a>(&self, image: &'a Image, id: BrokerId) -> Option<&'a metadata::Broker> {
        let broker = image.broker(id).filter(|broker| !broker.fenced)?;
        let is_gone = self
            .connections
            .is_gone(id, broker.epoch, tokio::time::Instant::now());
        (!is_gone).then_some(broker)
    }

    /// The settings as they hold now.
    #[must_use]
    pub fn settings(&self) -> Arc<BrokerSettings> {
        self.settings.load_full()
    }

    /// A connection has ended, and what was kept for it goes.
    pub(crate) fn disconnected(self: &Arc<Self>, connection: u64) {
        self.share_disconnected(connection);
        self.client_metrics.disconnected(connection);
    }

    /// Takes over the settings of an image, until the metadata ends.
    pub(crate) async fn follow_settings(self: Arc<Self>) {
        let mut images = self.metadata.subscribe();
        let mut latest = Some(images.latest());
        let mut seen: Option<Arc<Image>> = None;
        let none = Image::default();
        while let Some(indexed) = latest {
            let changed = metadata::changed_configs(seen.as_deref().unwrap_or(&none), &indexed.image);
            let of_clients =
                |change: &metadata::ConfigChange| change.resource == metadata::ResourceType::ClientMetrics;
            if changed.iter().any(of_clients) {
                self.client_metrics.follow(&indexed.image);
            }
            if seen.is_none() || !changed.is_empty() {
                let settings = resolve_settings(&self.config, &indexed.image);
                self.groups.configure(coordinator_runtime::config(&settings));
                self.transactions
                    .configure(coordinator_runtime::transaction_config(&settings));
                self.share_states
                    .configure(coordinator_runtime::share_config(&settings));
                self.settings.store(Arc::new(settings));
            }
            seen = Some(indexed.image);
            latest = images.changed().await;
        }
    }
}

/// A broker's settings: those set for it alone, then those set for all brokers, then its file's, then Kafka's defaults
/// (KIP-226).
pub(crate) fn resolve_settings(config: &BrokerConfig, image: &Image) -> BrokerSettings {
    BrokerSettings::resolve(&|name| {
        image
            .broker_setting(config.broker_id, name)
            .map(str::to_owned)
            .or_else(|| config.setting(name).map(str::to_owned))
    })
}

/// Who may do what, as the configuration file says.
pub(crate) fn authorizer(config: &BrokerConfig) -> Authorizer {
    match config.authorization.kind {
        AuthorizationKind::None => Authorizer::none(),
        AuthorizationKind::Acl => Authorizer::acl(
            config.authorization.super_users.iter().map(String::as_str),
            config.setting(ALLOW_IF_NO_RULE) == Some("true"),
        ),
    }
}

#[cfg(test)]
impl Broker {
    /// A broker with id 0 and that metadata, whose controller decides in memory. To be made on a tokio runtime.
    pub(crate) fn in_memory(image: Image) -> Arc<Self> {
        Self::in_memory_with(image, Authorizer::none())
    }

    /// The same with access rules.
    pub(crate) fn in_memory_with(image: Image, authorizer: Authorizer) -> Arc<Self> {
        Self::in_memory_configured(testing::config(), image, authorizer)
    }

    /// The same with that configuration.
    pub(crate) fn in_memory_configured(
        config: BrokerConfig,
        image: Image,
        authorizer: Authorizer,
    ) -> Arc<Self> {
        use crate::coordination;
        use std::time::Duration;
        let options = coordination::Options {
            session_timeout: Duration::from_secs(3600),
            settings: {
                let of_file = config.settings.clone();
                Arc::new(move |name| of_file.get(name).cloned())
            },
            now_ms: crate::clock::now_ms,
            fresh_id: Arc::new(|| flotilla_protocol::Uuid(*uuid::Uuid::new_v4().as_bytes())),
        };
        let replicas = crate::replica::testing::in_memory(config.broker_id, &image);
        let (metadata, controller, _) = coordination::solo(config.broker_id, image, options);
        Self::in_memory_from(config, replicas, metadata, controller, authorizer)
    }

    /// A broker of those parts.
    pub(crate) fn in_memory_of(
        replicas: Arc<Replicas>,
        metadata: Metadata,
        controller: Controller,
        authorizer: Authorizer,
    ) -> Arc<Self> {
        Self::in_memory_from(testing::config(), replicas, metadata, controller, authorizer)
    }

    fn in_memory_from(
        config: BrokerConfig,
        replicas: Arc<Replicas>,
        metadata: Metadata,
        controller: Controller,
        authorizer: Authorizer,
    ) -> Arc<Self> {
        let settings = resolve_settings(&config, &Image::default());
        let groups = coordinator_runtime::testing::groups(&metadata, &settings);
        let (transactions, errands) = coordinator_runtime::testing::transactions(&metadata);
        let share_states = coordinator_runtime::testing::share_states(&metadata);
        let nobody: Arc<dyn crate::courier::DialPeer> = Arc::new(testing::Nobody);
        let courier = Courier::new(&metadata, &nobody);
        let broker = Arc::new(Self {
            id: replicas.broker(),
            cluster_id: config.cluster_id.to_string(),
            fetch_sessions: FetchSessions::new(settings.max_incremental_fetch_session_cache_slots),
            quotas: Quotas::new(&settings),
            client_metrics: ClientMetrics::default(),
            settings: ArcSwap::from_pointee(settings),
            authorizer,
            rules_changed: Notify::new(),
            metadata,
            controller,
            connections: Arc::default(),
            replicas,
            producer_ids: ProducerIds::default(),
            groups,
            transactions,
            share_states,
            shares: Shares::default(),
            courier,
            telemetry: Telemetry::default(),
            config,
        });
        tokio::spawn(crate::courier::run_markers(Arc::downgrade(&broker), errands));
        broker
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::courier::{DialPeer, Peer};
    use crate::metadata::Broker;
    use crate::replica::LinkError;
    use flotilla_control::config::{
        Admin, Advertised, Authorization, BrokerConfig, Internal, InternalTls, Quorum, Role,
    };
    use flotilla_protocol::{BrokerId, Uuid};
    use futures::future::BoxFuture;
    use std::net::{Ipv4Addr, SocketAddr};

    /// No other broker can be reached.
    pub(crate) struct Nobody;

    impl DialPeer for Nobody {
        fn dial_peer<'a>(&'a self, broker: &'a Broker) -> BoxFuture<'a, Result<Box<dyn Peer>, LinkError>> {
            Box::pin(async move { Err(LinkError::NoAddress(broker.id)) })
        }
    }

    /// Of a broker whose addresses are any.
    pub(crate) fn config() -> BrokerConfig {
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
