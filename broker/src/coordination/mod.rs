//! The coordination service, in the place of ZooKeeper and of KRaft's controller: a Raft quorum of a few brokers keeps the
//! fleet's metadata, all others observe it, and the leader of the quorum is the controller.

mod carrier;
mod client;
mod connections;
mod driver;
mod electorate;
mod fleet;
mod following;
mod frame;
mod latest;
mod lifecycle;
mod listener;
mod members;
mod network;
mod observer;
mod options;
mod parting;
mod peers;
mod quorum;
mod raft;
mod raft_log;
mod reign;
mod router;
mod runtime;
mod seat;
mod service;
mod sessions;
#[cfg(feature = "simulation")]
pub mod simulation;
mod snapshot;
mod solo;
mod state_machine;
mod storage;
mod tls;
mod vigil;
mod voter;
mod watched;
mod wire;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flotilla_control::config::InternalTls;
use flotilla_control::proto::coordination::coordination_server::CoordinationServer;
use flotilla_control::proto::fleet::fleet_server::FleetServer;
use flotilla_protocol::{BrokerId, Uuid};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::log::Disk;
use electorate::Electorate;
use fleet::Fleet;
use listener::Incoming;
use peers::Peers;
use router::Router;
use seat::{Place, Seat, until};
use service::Service;

pub use client::{Controller, Local, Remote, SUBMIT_TIMEOUT, SubmitError};
pub use connections::{Connections, KNOCK_INTERVAL, Knocked};
pub use driver::{Answer, Driver, NotController, QUEUE_MAX};
pub use latest::{Indexed, Metadata, Publisher, Subscription, WaitError};
pub use lifecycle::{Lifecycle, Registration, Standing, Timing};
pub use options::{Options, StaticSettings};
pub use quorum::{Applied, Leadership, LeadershipLost, Quorum, Solo};
pub use service::LogEnds;
pub use sessions::Sessions;
pub use solo::solo;
pub use tls::Tls;
pub use voter::{InvalidVoterId, VoterId, VoterNode};

/// Connections that are open when the broker stops get this long to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the coordination service is started with.
#[derive(Clone)]
pub struct Config {
    /// Kafka's id of the cluster.
    pub cluster_id: Uuid,
    /// This broker.
    pub broker: BrokerId,
    /// Drawn when this broker's data directory was formatted.
    pub directory_id: Uuid,
    /// Where the metadata log and its snapshots are; it is made where there is none.
    pub dir: PathBuf,
    /// What holds that directory.
    pub disk: Arc<dyn Disk>,
    /// The first voters, and where their gRPC services are.
    pub voters: BTreeMap<VoterId, VoterNode>,
    /// Whether the quorum has been founded already, so that an empty directory must never found another one.
    pub bootstrapped: bool,
    /// Where the gRPC services of other brokers are, `host:port`.
    pub peers: BTreeMap<BrokerId, String>,
    /// The control listener. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// Certificates for it, and for calls to other brokers.
    pub tls: InternalTls,
    /// Heartbeats and sessions.
    pub timing: Timing,
    /// A broker setting as this broker's own file says it, if it does.
    pub settings: StaticSettings,
}

/// Why the coordination service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The control listener cannot be opened.
    #[error("cannot listen on {address} for other brokers: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] flotilla_control::tls::Error),
    /// This broker's part in the quorum does not start.
    #[error(transparent)]
    Raft(#[from] raft::Error),
}

/// The coordination service while it runs.
pub struct Running {
    metadata: Metadata,
    connections: Arc<Connections>,
    seat: Seat,
    tls: Tls,
    config: Config,
    address: SocketAddr,
}

/// Starts this broker's part in the quorum and its control listener.
///
/// # Errors
/// When the listener cannot be opened, or what is stored or configured cannot be used.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let bind = |source| StartError::Bind {
        address: config.bind,
        source,
    };
    let listener = TcpListener::bind(config.bind).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let tls = Tls::load(&config.tls)?;
    let (publisher, metadata) = Publisher::new(Indexed::default());
    let peers = Peers::new(
        config.cluster_id,
        config.broker,
        known_peers(&config),
        metadata.clone(),
        tls.clone(),
    );
    let options = Options {
        session_timeout: config.timing.session,
        settings: config.settings.clone(),
        now_ms: crate::clock::now_ms,
        fresh_id: Arc::new(|| Uuid(*uuid::Uuid::new_v4().as_bytes())),
    };
    let connections = Arc::new(Connections::default());
    let mut seat = Seat::take(Place {
        cluster_id: config.cluster_id,
        id: VoterId::new(config.broker, config.directory_id),
        dir: &config.dir,
        disk: config.disk.clone(),
        publisher,
        metadata: metadata.clone(),
        options: options.clone(),
        connections: connections.clone(),
        carrier: Arc::new(peers.clone()),
    })
    .await?;
    let electorate = Electorate::new(seat.service.clone(), peers.clone());
    seat.controller.join_electorate(electorate.clone());
    let fleet = Fleet {
        service: seat.service.clone(),
        controller: seat.controller.clone(),
        options,
        electorate,
        peers: peers.clone(),
    };
    let knocking = connections
        .clone()
        .knock(async move |broker| peers.knock(broker).await);
    let incoming = listener::incoming(listener, tls.clone(), connections.clone());
    let served = serve(incoming, seat.service.clone(), fleet, seat.stop.clone());
    seat.tasks.extend([
        tokio::spawn(served),
        until(&seat.stop, knocking),
        until(&seat.stop, tls.clone().follow(config.tls.clone())),
    ]);
    // The listener is open by now, so that the first votes find it.
    seat.found(&config.voters, config.bootstrapped).await?;
    Ok(Running {
        metadata,
        connections,
        seat,
        tls,
        config,
        address,
    })
}

/// Peers by configuration; the first voters are peers too.
fn known_peers(config: &Config) -> BTreeMap<BrokerId, String> {
    let voters = config
        .voters
        .iter()
        .map(|(id, node)| (id.broker, node.address.clone()));
    voters
        .chain(config.peers.clone())
        .filter(|(broker, _)| *broker != config.broker)
        .collect()
}

async fn serve(incoming: Incoming, service: Service, fleet: Fleet, stop: CancellationToken) {
    let coordination = CoordinationServer::new(service)
        .max_decoding_message_size(peers::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(peers::MESSAGE_BYTES_MAX);
    let router = Router {
        fleet: FleetServer::new(fleet),
        coordination,
    };
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .serve_with_incoming_shutdown(router, incoming, stop.clone().cancelled_owned());
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::error!(%error, "the control listener failed");
        },
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_TIMEOUT).await } => {}
    }
}

impl Running {
    /// The newest image.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    /// The way to the controller.
    #[must_use]
    pub fn controller(&self) -> Controller {
        self.seat.controller.clone()
    }

    /// Which brokers are connected, and which are known to be gone.
    #[must_use]
    pub fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }

    /// Mutual TLS between brokers, kept up to date with its files; for the replication listener and its clients too.
    #[must_use]
    pub fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Where the control listener is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who leads the quorum.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.seat.member.leadership()
    }

    /// Says from now on where the logs begin and end that this broker leads: so the fleet knows whether a topic is empty.
    pub fn answer_log_ends(&self, log_ends: LogEnds) {
        // Only the first one counts: there is one set of logs.
        let _ = self.seat.log_ends.set(log_ends);
    }

    /// Registers this broker and keeps its session alive.
    #[must_use]
    pub fn join(&self, registration: Registration) -> Lifecycle {
        Lifecycle::start(
            registration,
            self.config.timing,
            self.seat.controller.clone(),
            self.metadata.clone(),
            self.seat.failure.clone(),
        )
    }

    /// Waits until something happens that this broker must stop for, and says what.
    pub async fn failed(&self) -> String {
        let mut failure = self.seat.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(message) => message.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Leaves the quorum's work to the others and closes the listener. What was acknowledged stays on disk.
    pub async fn stop(self) {
        self.seat.member.stop().await;
        self.seat.stop.cancel();
        for task in self.seat.tasks {
            if timeout(STOP_TIMEOUT, task).await.is_err() {
                tracing::warn!("a task of the coordination service did not end in time");
            }
        }
    }
}
