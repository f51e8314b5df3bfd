//! From a configuration to a broker that serves, and back again.
//!
//! The order matters. Ports are taken first and certificates read, so that what cannot work touches no data. Then the volumes are
//! recognised or formatted, the quorum is joined, logs are recovered, the broker registers, and only when the fleet takes it as
//! alive do clients get in: until then their connections are refused, and they go to another broker at once.

use crate::broker::{Broker, authorizer, resolve_settings};
use crate::clock;
use crate::coordination::{self, Lifecycle, Registration, VoterId, VoterNode};
use crate::coordinator_runtime::{self, Groups, ShareStates, Transactions, of_replicas};
use crate::courier::{self, Courier, DialPeer};
use crate::group;
use crate::log::{Disk, Identity, Opened, RealDisk, TailBudget, Volume, VolumeError, VolumeOptions};
use crate::metadata::{Endpoint, FLOTILLA_VERSION, Image};
use crate::net::{self, Net, REPLICATION_LISTENER, Sockets};
use crate::numbers;
use crate::replica::{self, ProducerIds, Replicas, TlsDial};
use crate::request::{ClientMetrics, FetchSessions, Quotas};
use crate::share_runtime::Shares;
use crate::telemetry::admin::{self, Admin};
use crate::telemetry::{Phase, Telemetry, log};
use crate::{share, transaction};
use arc_swap::ArcSwap;
use flotilla_control::config::{Advertised, BrokerConfig, Role};
use flotilla_control::proto::coordination::LogEnd;
use flotilla_control::proto::metadata::SecurityProtocol;
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::Uuid;
use futures::future::BoxFuture;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Where the metadata log lies, in the first data directory.
const METADATA_DIR: &str = "metadata";
/// Connections get this long to end.
const CONNECTIONS_GRACE: Duration = Duration::from_secs(5);
/// Leadership is handed over within this, or not at all.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(15);
/// A broker that stops together with the others must not wait for a quorum that is no more.
const HANDOVER_WITHOUT_QUORUM: Duration = Duration::from_millis(1500);
/// How often the phase shows how far recovery is.
const RECOVERY_INTERVAL: Duration = Duration::from_millis(200);

/// Why a broker does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// A data directory cannot be used.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// This broker's part in the quorum.
    #[error(transparent)]
    Coordination(#[from] coordination::StartError),
    /// The logs.
    #[error(transparent)]
    Replicas(#[from] replica::OpenError),
    /// No data directory is named.
    #[error("no data directory is configured: name at least one under dataDirs")]
    NoDataDirs,
    /// The fleet will not have this broker, or a disk failed.
    #[error("{0}")]
    Failed(String),
    /// Something ended that never should have.
    #[error("recovery of the logs ended unexpectedly: this is a bug, please report it")]
    Recovery,
}

/// A broker at work.
pub struct Running {
    broker: Arc<Broker>,
    coordination: coordination::Running,
    lifecycle: Lifecycle,
    replicas: replica::Running,
    net: Net,
    tasks: Vec<JoinHandle<()>>,
    admin: SocketAddr,
}

/// Starts a broker and waits until it serves.
///
/// # Errors
/// [`StartError`]; nothing goes on in the background then.
pub async fn start(config: BrokerConfig, level: log::Level) -> Result<Running, StartError> {
    let telemetry = Telemetry::default();
    let sockets = Sockets::open(&config)?;
    drop(net::bind("control", config.control.bind)?);
    let admin_socket = net::listen(net::bind("admin", config.admin.bind)?, "admin", net::BACKLOG)?;
    let admin_address = admin_socket.local_addr().unwrap_or(config.admin.bind);
    let admin = Admin {
        telemetry: telemetry.clone(),
        level,
    };
    let mut tasks = Tasks(vec![tokio::spawn(admin::serve(admin_socket, admin))]);

    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(open_files_max()));
    let settings = resolve_settings(&config, &Image::default());
    let volumes = open_volumes(&disk, &config, &settings)?;
    let (first, _) = volumes.first().ok_or(StartError::NoDataDirs)?;
    let directory_id = first.identity().directory_id;
    let clean_shutdown = volumes.iter().all(|(_, opened)| opened.clean);
    let coordination =
        coordination::start(coordination_config(&config, &settings, &disk, directory_id)).await?;
    let metadata = coordination.metadata();

    let incarnation = Uuid(*uuid::Uuid::new_v4().as_bytes());
    let replicas = recover(&config, volumes, incarnation, &telemetry).await?;
    let led = replicas.clone();
    coordination.answer_log_ends(Arc::new(move |topic_id| led_ends(&led, topic_id)));
    let (partitions, leadership) = of_replicas(&replicas, group::TOPIC, settings.offsets_load_buffer_size);
    let (groups, _) = Groups::new(
        metadata.clone(),
        partitions,
        coordinator_runtime::config(&settings),
    );
    tasks.0.push(tokio::spawn(groups.clone().run(leadership)));
    let read_bytes = settings.transaction_state_log_load_buffer_size;
    let (partitions, leadership) = of_replicas(&replicas, transaction::TOPIC, read_bytes);
    let (transactions, errands) = Transactions::new(
        metadata.clone(),
        partitions,
        coordinator_runtime::transaction_config(&settings),
    );
    tasks.0.push(tokio::spawn(transactions.clone().run(leadership)));
    let read_bytes = settings.share_coordinator_load_buffer_size;
    let (partitions, leadership) = of_replicas(&replicas, share::TOPIC, read_bytes);
    let (share_states, _) = ShareStates::new(
        metadata.clone(),
        partitions,
        coordinator_runtime::share_config(&settings),
    );
    tasks.0.push(tokio::spawn(share_states.clone().run(leadership)));
    let dial = Arc::new(TlsDial::new(
        config.cluster_id,
        config.broker_id,
        coordination.tls(),
        coordination.connections(),
        net::above_zero(settings.replica_socket_receive_buffer_bytes),
    ));
    let dial_peer: Arc<dyn DialPeer> = dial.clone();
    let courier = Courier::new(&metadata, &dial_peer);
    let broker = Arc::new(Broker {
        id: config.broker_id,
        cluster_id: config.cluster_id.to_string(),
        fetch_sessions: FetchSessions::new(settings.max_incremental_fetch_session_cache_slots),
        quotas: Quotas::new(&settings),
        client_metrics: ClientMetrics::default(),
        settings: ArcSwap::from_pointee(settings),
        authorizer: authorizer(&config),
        rules_changed: tokio::sync::Notify::new(),
        metadata,
        controller: coordination.controller(),
        connections: coordination.connections(),
        replicas: replicas.clone(),
        producer_ids: ProducerIds::default(),
        groups,
        transactions,
        share_states,
        shares: Shares::default(),
        courier,
        telemetry,
        config,
    });
    let markers = courier::run_markers(Arc::downgrade(&broker), errands);
    tasks.0.push(tokio::spawn(markers));
    let following = replicas.start(broker.metadata.clone(), broker.controller.clone(), dial);
    tasks.0.push(tokio::spawn(broker.clone().follow_settings()));
    numbers::register(&broker);

    broker.telemetry.readiness.set(Phase::Joining);
    let registration = registration(
        &broker,
        &sockets,
        &coordination,
        directory_id,
        incarnation,
        clean_shutdown,
    );
    let lifecycle = coordination.join(registration);
    tasks.0.push(lifecycle.follow_space(replicas.storage_full()));
    lifecycle.set_ready(true);
    let mut standing = lifecycle.watch();
    tokio::select! {
        alive = standing.wait_for(|standing| !standing.fenced) => drop(alive),
        why = coordination.failed() => return Err(StartError::Failed(why)),
        why = replicas.failed() => return Err(StartError::Failed(why)),
    }
    let net = Net::start(&broker, sockets)?;
    broker.telemetry.readiness.set(Phase::Ready);
    tasks
        .0
        .push(tokio::spawn(follow_standing(broker.clone(), standing)));
    Ok(Running {
        broker,
        coordination,
        lifecycle,
        replicas: following,
        net,
        tasks: tasks.take(),
        admin: admin_address,
    })
}

/// Tasks that end when starting fails half way.
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    fn take(&mut self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Recognises the data directories, and formats the empty ones. A first voter of a cluster that is being founded gets the
/// directory id that it votes with; everybody else draws one, so that an emptied disk is a stranger (KIP-853).
fn open_volumes(
    disk: &Arc<dyn Disk>,
    config: &BrokerConfig,
    settings: &BrokerSettings,
) -> Result<Vec<(Volume, Opened)>, VolumeError> {
    let options = VolumeOptions {
        reserve_bytes: u64::try_from(settings.log_dir_free_min_bytes).ok(),
    };
    let cluster_id = config.cluster_id.to_string();
    let given = config
        .quorum
        .voters
        .iter()
        .find(|voter| voter.broker_id == config.broker_id);
    let given = given
        .filter(|_| !config.quorum.bootstrapped)
        .map(|voter| voter.directory_id);
    // All are looked at before any is changed.
    let found: Vec<Option<Identity>> = config
        .data_dirs
        .iter()
        .map(|dir| Volume::inspect(&**disk, dir))
        .collect::<Result<_, _>>()?;
    let mut volumes = Vec::new();
    for (place, (dir, found)) in config.data_dirs.iter().zip(found).enumerate() {
        if found.is_none() {
            let drawn = Uuid(*uuid::Uuid::new_v4().as_bytes());
            let directory_id = given.filter(|_| place == 0).unwrap_or(drawn);
            let identity = Identity {
                cluster_id: cluster_id.clone(),
                broker_id: config.broker_id,
                directory_id,
            };
            Volume::format(&**disk, dir, &identity)?;
            tracing::info!(dir = %dir.display(), %directory_id, "data directory formatted");
        }
        volumes.push(Volume::open(disk, dir, &cluster_id, config.broker_id, options)?);
    }
    Ok(volumes)
}

fn coordination_config(
    config: &BrokerConfig,
    settings: &BrokerSettings,
    disk: &Arc<dyn Disk>,
    directory_id: Uuid,
) -> coordination::Config {
    let ms = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(1).max(1));
    let voters = config.quorum.voters.iter().map(|voter| {
        let node = VoterNode {
            address: voter.address.clone(),
        };
        (VoterId::new(voter.broker_id, voter.directory_id), node)
    });
    let of_file = config.settings.clone();
    coordination::Config {
        cluster_id: config.cluster_id,
        broker: config.broker_id,
        directory_id,
        dir: metadata_dir(&config.data_dirs),
        disk: disk.clone(),
        voters: voters.collect(),
        bootstrapped: config.quorum.bootstrapped,
        peers: config
            .quorum
            .peers
            .iter()
            .map(|peer| (peer.broker_id, peer.address.clone()))
            .collect(),
        bind: config.control.bind,
        tls: config.internal_tls.clone(),
        timing: coordination::Timing {
            heartbeat: ms(settings.broker_heartbeat_interval_ms),
            session: ms(settings.broker_session_timeout_ms),
        },
        settings: Arc::new(move |name| of_file.get(name).cloned()),
    }
}

fn metadata_dir(data_dirs: &[PathBuf]) -> PathBuf {
    data_dirs
        .first()
        .map(PathBuf::as_path)
        .unwrap_or(Path::new(""))
        .join(METADATA_DIR)
}

/// Loads all logs, on threads that may wait, and shows how far that is.
async fn recover(
    config: &BrokerConfig,
    volumes: Vec<(Volume, Opened)>,
    incarnation: Uuid,
    telemetry: &Telemetry,
) -> Result<Arc<Replicas>, StartError> {
    let replicas = replica::Config {
        broker: config.broker_id,
        incarnation,
        settings: config.settings.clone(),
        volumes,
        tail: TailBudget::new(TailBudget::BYTES_MAX, TailBudget::PER_LOG_BYTES_MAX),
        clock: Arc::new(clock::now_ms),
        blocking: replica::Blocking::Threads,
    };
    let readiness = telemetry.readiness.clone();
    let (counters, counted) = tokio::sync::oneshot::channel::<Arc<replica::Metrics>>();
    let progress = Tasks(vec![tokio::spawn(async move {
        let Ok(metrics) = counted.await else { return };
        let count = |counter: &replica::Counter| usize::try_from(counter.get()).unwrap_or(usize::MAX);
        loop {
            let (done, total) = (count(&metrics.recovery_done), count(&metrics.recovery_total));
            readiness.set(Phase::Recovering { done, total });
            tokio::time::sleep(RECOVERY_INTERVAL).await;
        }
    })]);
    let opened =
        tokio::task::spawn_blocking(move || Replicas::open(replicas, |metrics| drop(counters.send(metrics))))
            .await;
    drop(progress);
    Ok(opened.map_err(|_| StartError::Recovery)??)
}

/// Where the logs that this broker leads start and end: a topic is empty when all of them are.
fn led_ends(replicas: &Replicas, topic_id: Uuid) -> Vec<LogEnd> {
    let ends = replicas.led_ends(topic_id).into_iter();
    ends.map(|(partition, start, end)| LogEnd {
        partition: partition.0,
        log_start_offset: start.0,
        log_end_offset: end.0,
    })
    .collect()
}

fn registration(
    broker: &Broker,
    sockets: &Sockets,
    coordination: &coordination::Running,
    directory_id: Uuid,
    incarnation_id: Uuid,
    clean_shutdown: bool,
) -> Registration {
    let config = &broker.config;
    let endpoint = |listener: &str,
                    advertised: Option<&Advertised>,
                    bound: Option<SocketAddr>,
                    protocol: SecurityProtocol| {
        Endpoint {
            listener: listener.to_owned(),
            host: advertised.map(|address| address.host.clone()).unwrap_or_default(),
            port: advertised.map_or(0, |address| port_of(address, bound)).into(),
            security_protocol: protocol.into(),
        }
    };
    let endpoints = config.listeners.iter().map(|listener| {
        let bound = sockets.address(&listener.name);
        endpoint(
            &listener.name,
            listener.advertised.as_ref(),
            bound,
            listener.security_protocol(),
        )
    });
    let replication = endpoint(
        REPLICATION_LISTENER,
        Some(&config.replication.advertised),
        sockets.replication_address(),
        SecurityProtocol::Ssl,
    );
    let control = Advertised {
        host: config.control.advertised.host.clone(),
        port: port_of(&config.control.advertised, Some(coordination.address())),
    };
    let role = |role: &Role| match role {
        Role::Broker => "broker".to_owned(),
        Role::Coordinator => "coordinator".to_owned(),
    };
    Registration {
        broker: broker.id,
        cluster_id: config.cluster_id,
        directory_id,
        incarnation_id,
        endpoints: endpoints.collect(),
        replication: Some(replication),
        control_address: control.to_string(),
        rack: config.rack.clone().unwrap_or_default(),
        roles: config.roles.iter().map(role).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        flotilla_version_max: FLOTILLA_VERSION,
        clean_shutdown,
    }
}

/// An advertised port of 0 stands for the one that the system chose.
fn port_of(advertised: &Advertised, bound: Option<SocketAddr>) -> u16 {
    match (advertised.port, bound) {
        (0, Some(bound)) => bound.port(),
        (port, _) => port,
    }
}

/// A broker that the controller has fenced serves nobody well, and says so. One that no controller answers serves on, as in
/// Kafka: else a quorum that is lost for a moment would take all brokers away from their clients.
async fn follow_standing(
    broker: Arc<Broker>,
    mut standing: tokio::sync::watch::Receiver<coordination::Standing>,
) {
    while standing.changed().await.is_ok() {
        let fenced = standing.borrow_and_update().fenced;
        match (broker.telemetry.readiness.phase(), fenced) {
            (Phase::Ready, true) => broker.telemetry.readiness.set(Phase::Joining),
            (Phase::Joining, false) => broker.telemetry.readiness.set(Phase::Ready),
            _ => {}
        }
    }
}

impl Running {
    /// What request handlers reach.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Where the admin port is.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Where a listener for clients is.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.net.address(listener)
    }

    /// Waits until something happens that the broker must stop for, and says what.
    pub async fn failed(&self) -> String {
        let why = tokio::select! {
            why = self.coordination.failed() => why,
            why = self.broker.replicas.failed() => why,
        };
        self.broker.telemetry.readiness.set(Phase::Broken(why.clone()));
        why
    }

    /// Hands leadership over, ends connections, closes logs. Takes 25 seconds at most, and mostly far less.
    pub async fn drain(self) {
        self.broker.telemetry.readiness.set(Phase::Draining);
        if self.broker.settings().controlled_shutdown_enable {
            self.hand_over().await;
        }
        self.stop().await;
    }

    async fn hand_over(&self) {
        let deadline = Instant::now() + HANDOVER_TIMEOUT;
        let without_quorum: BoxFuture<'_, ()> = Box::pin(self.without_quorum());
        tokio::select! {
            done = self.lifecycle.shut_down(deadline) => {
                if done {
                    tracing::info!("leadership is handed over");
                } else {
                    tracing::warn!("leadership was not handed over in time: stopping all the same");
                }
            }
            () = without_quorum => tracing::warn!("there is no quorum to hand leadership over: stopping all the same"),
        }
    }

    /// Waits until nobody has led the quorum for a while.
    async fn without_quorum(&self) {
        let mut leadership = self.coordination.leadership();
        loop {
            let is_led = leadership
                .wait_for(|leadership| leadership.leader.is_none())
                .await;
            if is_led.map(drop).is_err() {
                return std::future::pending().await;
            }
            let led_again = leadership.wait_for(|leadership| leadership.leader.is_some());
            match tokio::time::timeout(HANDOVER_WITHOUT_QUORUM, led_again).await {
                Err(_) => return,
                Ok(led) => drop(led),
            }
        }
    }

    /// Ends connections, closes logs. Leadership is not handed over.
    pub async fn stop(self) {
        self.net.stop(CONNECTIONS_GRACE).await;
        self.replicas.stop().await;
        drop(self.lifecycle);
        self.coordination.stop().await;
        for task in self.tasks {
            task.abort();
            // Ended by us: there is nothing to learn from it.
            let _ = task.await;
        }
    }
}

/// The files that logs keep open: a quarter of those that the process may have, as half of them belong to connections.
fn open_files_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let quarter = limit
        .and_then(|files| usize::try_from(files / 4).ok())
        .unwrap_or(usize::MAX);
    quarter.min(RealDisk::OPEN_FILES_MAX)
}

#[cfg(test)]
mod tests;
