//! How a broker starts and ends, in order: sockets first, so that a port that is taken costs nothing; then the volumes and
//! their logs; then the quorum; then the replicas, the groups and the clients; last it asks to be let in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use flotilla_control::config::{BrokerConfig, Role};
use flotilla_control::proto::metadata::Endpoint;
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::{BrokerId, Uuid};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broker::{Broker, authorizer, resolve_settings};
use crate::clock;
use crate::coordination::{self, Lifecycle, Registration, Timing, VoterId, VoterNode};
use crate::coordinator_runtime::{self, Groups};
use crate::log::{Disk, Identity, Opened, RealDisk, TailBudget, Volume, VolumeError, VolumeOptions};
use crate::metadata::Image;
use crate::net::{self, Net, Sockets};
use crate::replica::{self, Metrics, ProducerIds, Replicas, TlsDial};
use crate::telemetry::{Phase, Telemetry, admin, log};

/// The directory of the metadata log in the first volume, named as Kafka names its own.
const METADATA_DIR: &str = "__cluster_metadata-0";
/// The highest `flotilla.version` that this binary supports.
const FLOTILLA_VERSION_MAX: i32 = 1;
/// What a controlled shutdown waits for before the broker goes all the same.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(10);
/// What open connections get to end.
const CONNECTIONS_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the progress of recovery is shown.
const RECOVERY_INTERVAL: Duration = Duration::from_millis(250);

/// Why a broker does not start. The messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener for clients or brokers.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// A data directory.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// What is stored.
    #[error(transparent)]
    Replicas(#[from] replica::OpenError),
    /// The quorum.
    #[error(transparent)]
    Coordination(#[from] coordination::StartError),
    /// The configuration names none.
    #[error("no data directory is configured: name at least one in dataDirs")]
    NoDataDir,
}

/// A broker at work.
pub struct Running {
    broker: Arc<Broker>,
    coordination: coordination::Running,
    lifecycle: Lifecycle,
    replicas: replica::Running,
    net: Net,
    /// Ends with the value.
    tasks: JoinSet<()>,
}

/// Starts a broker. It is on its way into the fleet then; [`Phase::Ready`] says when it is in.
///
/// # Errors
/// What keeps it from starting. No data was touched, but for what recovery mends.
pub async fn start(config: BrokerConfig, level: log::Level) -> Result<Running, StartError> {
    let telemetry = Telemetry::default();
    let mut tasks = JoinSet::new();
    let admin_socket = net::bind("admin", config.admin.bind).await?;
    let sockets = Sockets::open(&config).await?;
    let admin = admin::Admin {
        telemetry: telemetry.clone(),
        level,
    };
    tasks.spawn(admin::serve(admin_socket, admin));

    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(RealDisk::OPEN_FILES_MAX));
    let volumes = open_volumes(&disk, &config)?;
    let directory_id = volumes[0].0.identity().directory_id;
    let clean_shutdown = volumes.iter().all(|(_, opened)| opened.clean);
    let incarnation = Uuid(*uuid::Uuid::new_v4().as_bytes());
    let replicas = load(&config, volumes, incarnation, &telemetry).await?;

    telemetry.readiness.set(Phase::Joining);
    let settings = resolve_settings(&config, &Image::default());
    let coordination =
        coordination::start(coordination_config(&config, directory_id, disk, &settings)).await?;
    let (metadata, controller) = (coordination.metadata(), coordination.controller());
    let (partitions, leadership) = coordinator_runtime::of_replicas(&replicas);
    let groups = Groups::new(
        metadata.clone(),
        partitions,
        coordinator_runtime::config(&settings),
    );
    tasks.spawn(groups.clone().run(leadership));
    let dial = TlsDial::new(config.cluster_id, config.broker_id, coordination.tls());
    let running_replicas = replicas.start(metadata.clone(), controller.clone(), Arc::new(dial));

    let registration = registration(
        &config,
        &sockets,
        &coordination,
        directory_id,
        incarnation,
        clean_shutdown,
    );
    let broker = Arc::new(Broker {
        id: config.broker_id,
        cluster_id: config.cluster_id.to_string(),
        authorizer: authorizer(&config),
        settings: ArcSwap::from_pointee(settings),
        metadata,
        controller,
        replicas,
        producer_ids: ProducerIds::default(),
        groups,
        telemetry,
        config,
    });
    tasks.spawn(broker.clone().follow_settings());
    let net = Net::start(&broker, sockets);
    let lifecycle = coordination.join(registration);
    lifecycle.set_ready(true);
    tasks.spawn(follow_standing(lifecycle.watch(), broker.telemetry.clone()));
    Ok(Running {
        broker,
        coordination,
        lifecycle,
        replicas: running_replicas,
        net,
        tasks,
    })
}

impl Running {
    /// What request handlers see.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Waits until something happens that this broker must stop for, and says what.
    pub async fn failed(&self) -> String {
        let why = tokio::select! {
            why = self.coordination.failed() => why,
            why = self.broker.replicas.failed() => why,
        };
        self.broker.telemetry.readiness.set(Phase::Broken(why.clone()));
        why
    }

    /// Ends in order: leadership is handed over, clients go, logs are closed, the quorum is left to the others.
    pub async fn drain(mut self) {
        self.broker.telemetry.readiness.set(Phase::Draining);
        if !self.lifecycle.shut_down(Instant::now() + HAND_OVER_TIMEOUT).await {
            tracing::warn!(
                "the controller did not take everything over in time; the others will notice by themselves"
            );
        }
        self.net.stop(CONNECTIONS_TIMEOUT).await;
        self.replicas.stop().await;
        self.tasks.shutdown().await;
        self.coordination.stop().await;
    }

    /// Ends without handing over, for a broker that cannot go on.
    pub async fn abandon(self) {
        self.net.stop(CONNECTIONS_TIMEOUT).await;
        self.coordination.stop().await;
    }
}

/// Formats directories that are empty, and takes all into use.
fn open_volumes(disk: &Arc<dyn Disk>, config: &BrokerConfig) -> Result<Vec<(Volume, Opened)>, StartError> {
    if config.data_dirs.is_empty() {
        return Err(StartError::NoDataDir);
    }
    let mut volumes = Vec::new();
    for (place, path) in config.data_dirs.iter().enumerate() {
        if Volume::inspect(&**disk, path)?.is_none() {
            Volume::format(&**disk, path, &fresh_identity(config, place == 0))?;
            tracing::info!(path = %path.display(), "formatted an empty data directory");
        }
        let cluster_id = config.cluster_id.to_string();
        volumes.push(Volume::open(
            disk,
            path,
            &cluster_id,
            config.broker_id,
            VolumeOptions::default(),
        )?);
    }
    Ok(volumes)
}

/// Before the cluster exists, the first directory of a first voter gets the id that all first voters expect. Later an empty
/// directory is a stranger's (KIP-853).
fn fresh_identity(config: &BrokerConfig, first: bool) -> Identity {
    let expected = config
        .quorum
        .voters
        .iter()
        .find(|voter| voter.broker_id == config.broker_id);
    let directory_id = match expected {
        Some(voter) if first && !config.quorum.bootstrapped => voter.directory_id,
        _ => Uuid(*uuid::Uuid::new_v4().as_bytes()),
    };
    Identity {
        cluster_id: config.cluster_id.to_string(),
        broker_id: config.broker_id,
        directory_id,
    }
}

/// Opens all logs, showing how far it is: after an unclean stop this takes long.
async fn load(
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
    };
    let (progress_sender, progress) = tokio::sync::oneshot::channel();
    let opening = tokio::task::spawn_blocking(move || {
        // Nobody may look any more: then nobody needs it.
        Replicas::open(replicas, |metrics| drop(progress_sender.send(metrics)))
    });
    let readiness = telemetry.readiness.clone();
    let show = async move {
        let Ok(metrics) = progress.await else { return };
        let metrics: Arc<Metrics> = metrics;
        loop {
            let count = |counter: &replica::Counter| usize::try_from(counter.get()).unwrap_or(usize::MAX);
            readiness.set(Phase::Recovering {
                done: count(&metrics.recovery_done),
                total: count(&metrics.recovery_total),
            });
            tokio::time::sleep(RECOVERY_INTERVAL).await;
        }
    };
    let shown = tokio::spawn(show);
    let opened = opening.await;
    shown.abort();
    Ok(opened.expect("opening replicas does not panic, and is not cancelled")?)
}

fn coordination_config(
    config: &BrokerConfig,
    directory_id: Uuid,
    disk: Arc<dyn Disk>,
    settings: &BrokerSettings,
) -> coordination::Config {
    let ms = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(1).max(1));
    let file_settings = config.settings.clone();
    coordination::Config {
        cluster_id: config.cluster_id,
        broker: config.broker_id,
        directory_id,
        dir: metadata_dir(&config.data_dirs[0]),
        disk,
        voters: config
            .quorum
            .voters
            .iter()
            .map(|voter| {
                let node = VoterNode {
                    address: voter.address.clone(),
                };
                (VoterId::new(voter.broker_id, voter.directory_id), node)
            })
            .collect(),
        bootstrapped: config.quorum.bootstrapped,
        peers: peers(config),
        bind: config.control.bind,
        tls: config.internal_tls.clone(),
        timing: Timing {
            heartbeat: ms(settings.broker_heartbeat_interval_ms),
            session: ms(settings.broker_session_timeout_ms),
        },
        settings: Arc::new(move |name| file_settings.get(name).cloned()),
    }
}

fn metadata_dir(volume: &Path) -> PathBuf {
    volume.join(METADATA_DIR)
}

fn peers(config: &BrokerConfig) -> BTreeMap<BrokerId, String> {
    config
        .quorum
        .peers
        .iter()
        .map(|peer| (peer.broker_id, peer.address.clone()))
        .collect()
}

/// What the broker says of itself. Port 0 in the configuration means the one that the system chose.
fn registration(
    config: &BrokerConfig,
    sockets: &Sockets,
    coordination: &coordination::Running,
    directory_id: Uuid,
    incarnation_id: Uuid,
    clean_shutdown: bool,
) -> Registration {
    let chosen = |advertised: u16, listening: Option<std::net::SocketAddr>| match advertised {
        0 => listening.map_or(0, |address| address.port()),
        port => port,
    };
    let endpoints = config
        .listeners
        .iter()
        .filter_map(|listener| {
            let advertised = listener.advertised.as_ref()?;
            Some(Endpoint {
                listener: listener.name.clone(),
                host: advertised.host.clone(),
                port: chosen(advertised.port, sockets.address(&listener.name)).into(),
                security_protocol: listener.security_protocol().into(),
            })
        })
        .collect();
    let replication = &config.replication.advertised;
    let control = &config.control.advertised;
    Registration {
        broker: config.broker_id,
        cluster_id: config.cluster_id,
        directory_id,
        incarnation_id,
        endpoints,
        replication: Some(Endpoint {
            listener: net::REPLICATION_LISTENER.to_owned(),
            host: replication.host.clone(),
            port: chosen(replication.port, sockets.replication_address()).into(),
            security_protocol: flotilla_control::proto::metadata::SecurityProtocol::Ssl.into(),
        }),
        control_address: flotilla_control::config::Advertised {
            host: control.host.clone(),
            port: chosen(control.port, Some(coordination.address())),
        }
        .to_string(),
        rack: config.rack.clone().unwrap_or_default(),
        roles: config
            .roles
            .iter()
            .map(|role| match role {
                Role::Broker => "broker".to_owned(),
                Role::Coordinator => "coordinator".to_owned(),
            })
            .collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        flotilla_version_max: FLOTILLA_VERSION_MAX,
        clean_shutdown,
    }
}

/// A broker is ready while the fleet takes it for one that serves.
async fn follow_standing(
    mut standing: tokio::sync::watch::Receiver<coordination::Standing>,
    telemetry: Telemetry,
) {
    loop {
        let fenced = standing.borrow_and_update().fenced;
        if telemetry.readiness.phase() != Phase::Draining {
            telemetry
                .readiness
                .set(if fenced { Phase::Joining } else { Phase::Ready });
        }
        if standing.changed().await.is_err() {
            return;
        }
    }
}
