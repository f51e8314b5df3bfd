//! Listeners and connections: from sockets to requests, with TLS, SASL and the limits that keep one client from taking what
//! all need.
//!
//! What a client can make the broker hold is bounded: a frame by `socket.request.max.bytes` (`sasl.server.max.receive.size` before
//! authentication), all frames in flight by `queued.max.request.bytes`, answers by taking no request while one is unsent, connections by
//! `max.connections` and by half of the files that the process may open, handshakes and half-sent frames by time.

mod budget;
mod connection;
mod creation_rate;
mod gate;
mod inbox;
mod jwks;
mod listener;
mod outbox;
mod read_ahead;
mod registry;
mod sasl;
mod send_file;
mod socket;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

pub use read_ahead::ReadAhead;
pub(crate) use socket::above_zero;
pub use socket::{BACKLOG, bind, listen};
pub use tls::Error as TlsError;

use crate::broker::Broker;
use crate::metadata::changed_users;
use crate::telemetry::{CloseReason, ListenerMetrics};
use budget::Budget;
use creation_rate::CreationRate;
use flotilla_control::config::{self, Authentication, BrokerConfig};
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::Uuid;
use registry::Registry;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::{ClientCertificate, Reloading, Source};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where the keys are that tokens are checked with.
const JWKS_URL: &str = "sasl.oauthbearer.jwks.endpoint.url";
/// The limit of request bytes in flight where `queued.max.request.bytes` sets none.
const REQUEST_BYTES_MAX: usize = 256 << 20;
/// The same for clients that have not authenticated yet.
const UNAUTHENTICATED_BYTES_MAX: usize = 32 << 20;
/// How often certificates are looked at for changes.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(5);
/// The name of the reserved listener between brokers, in logs and metrics.
pub const REPLICATION_LISTENER: &str = "replication";

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("listener `{listener}` cannot listen on {address}: {}", advice(source))]
    Bind {
        /// Its name.
        listener: String,
        /// Where it should listen.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Its buffers cannot have the sizes that are set.
    #[error(
        "listener `{listener}`: its buffers cannot be sized as `socket.receive.buffer.bytes` and `socket.send.buffer.bytes` say: {source}"
    )]
    Buffers {
        /// Its name.
        listener: String,
        /// Why not.
        source: io::Error,
    },
    /// Its certificates are missing or wrong.
    #[error("listener `{listener}`: {source}")]
    Tls {
        /// Its name.
        listener: String,
        /// What is wrong.
        source: TlsError,
    },
    /// The keys that tokens are checked with have no address.
    #[error("sasl.oauthbearer.jwks.endpoint.url: {0}")]
    Keys(String),
    /// It asks for something that it cannot have.
    #[error("listener `{listener}`: {reason}")]
    Config {
        /// Its name.
        listener: String,
        /// What, and what to do.
        reason: &'static str,
    },
}

/// What is wrong with an address, and what to do about it.
fn advice(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another process has that port. Stop it, or choose another port",
        io::ErrorKind::PermissionDenied => {
            "the port is reserved for root. Choose one above 1023, or grant CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address. Bind to one that it has, or to 0.0.0.0"
        }
        _ => return error.to_string(),
    };
    format!("{advice} ({error})")
}

/// The sockets of a broker, taken before anything else is touched, so that a port that is taken costs nothing.
pub struct Sockets {
    clients: Vec<(config::Listener, TcpSocket, Option<Reloading>)>,
    replication: (TcpSocket, Reloading),
}

impl Sockets {
    /// Takes all of them. Connections are refused until [`Net::start`].
    ///
    /// # Errors
    /// The first listener that cannot be opened.
    pub fn open(config: &BrokerConfig) -> Result<Self, Error> {
        let settings = BrokerSettings::resolve(&|name| config.setting(name).map(str::to_owned));
        let mut clients = Vec::new();
        for listener in &config.listeners {
            let wrong = |reason| Error::Config {
                listener: listener.name.clone(),
                reason,
            };
            let ways = &listener.authentication;
            let (plain, mtls) = (
                ways.contains(&Authentication::Plain),
                ways.contains(&Authentication::Mtls),
            );
            let has_authority = listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
            if plain && listener.tls.is_none() {
                return Err(wrong(
                    "PLAIN shows passwords on the way: give the listener TLS, or use SCRAM",
                ));
            }
            if ways.contains(&Authentication::OauthBearer) {
                if listener.tls.is_none() {
                    return Err(wrong(
                        "OAUTHBEARER shows tokens on the way: give the listener TLS",
                    ));
                }
                if config.setting(JWKS_URL).is_none_or(str::is_empty) {
                    return Err(wrong(
                        "OAUTHBEARER needs keys to check tokens with: set `sasl.oauthbearer.jwks.endpoint.url`",
                    ));
                }
            }
            if mtls && !has_authority {
                return Err(wrong(
                    "client certificates need TLS with a client CA to check them by",
                ));
            }
            let tls = match &listener.tls {
                Some(files) => Some(load(
                    &listener.name,
                    Source::Clients(files.clone(), certificate(ways)),
                    &settings,
                )?),
                None => None,
            };
            let socket = bind_sized(&listener.name, listener.bind, &settings)?;
            clients.push((listener.clone(), socket, tls));
        }
        let tls = load(
            REPLICATION_LISTENER,
            Source::Brokers(config.internal_tls.clone()),
            &settings,
        )?;
        let replication = bind_sized(REPLICATION_LISTENER, config.replication.bind, &settings)?;
        Ok(Self {
            clients,
            replication: (replication, tls),
        })
    }

    /// Where a listener for clients is: the port may have been chosen by the system.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        let (_, socket, _) = self.clients.iter().find(|(config, ..)| config.name == listener)?;
        socket.local_addr().ok()
    }

    /// Where the other brokers connect to.
    #[must_use]
    pub fn replication_address(&self) -> Option<SocketAddr> {
        self.replication.0.local_addr().ok()
    }
}

/// Takes an address for connections whose buffers are sized as the settings say.
fn bind_sized(listener: &str, address: SocketAddr, settings: &BrokerSettings) -> Result<TcpSocket, Error> {
    let socket = bind(listener, address)?;
    socket::size_buffers(&socket, settings).map_err(|source| Error::Buffers {
        listener: listener.to_owned(),
        source,
    })?;
    Ok(socket)
}

fn load(listener: &str, source: Source, settings: &BrokerSettings) -> Result<Reloading, Error> {
    Reloading::load(source, &settings.ssl_enabled_protocols).map_err(|source| Error::Tls {
        listener: listener.to_owned(),
        source,
    })
}

/// With SASL beside them, certificates are welcome but not asked of everybody.
fn certificate(ways: &[Authentication]) -> ClientCertificate {
    match (
        ways.contains(&Authentication::Mtls),
        ways.iter().any(|way| way.is_sasl()),
    ) {
        (false, _) => ClientCertificate::Never,
        (true, true) => ClientCertificate::Optional,
        (true, false) => ClientCertificate::Required,
    }
}

/// For whom a listener is.
#[derive(Clone, Copy, Debug)]
enum Role {
    Clients,
    /// Brokers of this cluster.
    Brokers(Uuid),
}

/// How long silence is borne.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// A TLS handshake has to be done within this.
    handshake: Duration,
    /// A client has to authenticate within this.
    authentication: Duration,
    /// A frame that has begun to arrive has to go on arriving.
    frame: Duration,
    /// An answer has to be taken, a little at a time at least.
    answer: Duration,
}

const PATIENCE: Patience = Patience {
    handshake: Duration::from_secs(10),
    authentication: Duration::from_secs(30),
    frame: Duration::from_secs(30),
    answer: Duration::from_secs(60),
};

/// What all connections of one listener share.
struct Shared {
    patience: Patience,
    broker: Arc<Broker>,
    name: Arc<str>,
    role: Role,
    tls: Option<Reloading>,
    takes_certificates: bool,
    mechanisms: Vec<sasl::Mechanism>,
    secrets: sasl::SharedSecrets,
    registry: Arc<Registry>,
    connections_max: usize,
    metrics: ListenerMetrics,
    /// None between brokers: clients' requests that wait for replicas must not keep the replicas from fetching.
    budget: Option<Budget>,
    unauthenticated_budget: Budget,
    frame_bytes_max: usize,
    unauthenticated_frame_bytes_max: usize,
    /// One for all listeners of clients.
    creation_rate: Arc<CreationRate>,
    idle_max: Option<Duration>,
}

/// The listeners at work.
pub struct Net {
    registry: Arc<Registry>,
    stop: CancellationToken,
    tasks: TaskTracker,
    addresses: Vec<(String, SocketAddr)>,
}

impl Net {
    /// Takes connections.
    ///
    /// # Errors
    /// [`Error::Bind`], where another process listens on one of the addresses by now.
    pub fn start(broker: &Arc<Broker>, sockets: Sockets) -> Result<Self, Error> {
        Self::start_with(broker, sockets, PATIENCE)
    }

    fn start_with(broker: &Arc<Broker>, sockets: Sockets, patience: Patience) -> Result<Self, Error> {
        let mut net = Self {
            addresses: Vec::new(),
            registry: Arc::new(Registry::default()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let settings = broker.settings();
        let at_least = |bytes: i64| usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        let frame_bytes_max = at_least(settings.socket_request_max_bytes.into()).unwrap_or(1);
        let unauthenticated_frame_bytes_max =
            at_least(settings.sasl_server_max_receive_size.into()).unwrap_or(1);
        let backlog = above_zero(settings.socket_listen_backlog_size).unwrap_or(BACKLOG);
        let creation_rate = Arc::new(CreationRate::default());
        let budget =
            at_least(settings.queued_max_request_bytes).unwrap_or(REQUEST_BYTES_MAX.max(2 * frame_bytes_max));
        let idle_max = u64::try_from(settings.connections_max_idle_ms)
            .ok()
            .map(Duration::from_millis);
        let budget = Budget::new(budget);
        let unauthenticated_budget = Budget::new(UNAUTHENTICATED_BYTES_MAX);
        let secrets = Arc::new(sasl::Secrets::new(net.read_keys(&settings, &sockets)?));
        let (replication, replication_tls) = sockets.replication;
        let shared = |name: &str, role, tls, ways: &[Authentication]| Shared {
            patience,
            broker: broker.clone(),
            name: name.into(),
            role,
            takes_certificates: ways.contains(&Authentication::Mtls),
            mechanisms: sasl::Mechanism::of_listener(ways, Option::is_some(&tls)),
            tls,
            secrets: secrets.clone(),
            registry: net.registry.clone(),
            connections_max: connections_max(),
            metrics: broker.telemetry.metrics.listener(name),
            budget: matches!(role, Role::Clients).then(|| budget.clone()),
            unauthenticated_budget: unauthenticated_budget.clone(),
            frame_bytes_max,
            unauthenticated_frame_bytes_max,
            creation_rate: creation_rate.clone(),
            idle_max,
        };
        let brokers = Role::Brokers(broker.config.cluster_id);
        let mut listeners = vec![(
            replication,
            shared(REPLICATION_LISTENER, brokers, Some(replication_tls), &[]),
        )];
        for (config, socket, tls) in sockets.clients {
            listeners.push((
                socket,
                shared(&config.name, Role::Clients, tls, &config.authentication),
            ));
        }
        for (socket, shared) in listeners {
            let socket = listen(socket, &shared.name, backlog)?;
            let address = socket
                .local_addr()
                .map(|address| (shared.name.to_string(), address));
            net.addresses.extend(address);
            net.serve(socket, Arc::new(shared));
        }
        net.follow_access(broker.clone());
        Ok(net)
    }

    /// Where a listener is.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.addresses
            .iter()
            .find(|(name, _)| name == listener)
            .map(|(_, address)| *address)
    }

    /// Begins to read the keys that tokens are checked with, where a listener takes any.
    fn read_keys(&self, settings: &BrokerSettings, sockets: &Sockets) -> Result<Option<jwks::Keys>, Error> {
        let takes_tokens = sockets
            .clients
            .iter()
            .any(|(config, ..)| config.authentication.contains(&Authentication::OauthBearer));
        if !takes_tokens {
            return Ok(None);
        }
        let (keys, reader) = jwks::keys(settings).map_err(|error| Error::Keys(error.to_string()))?;
        self.tasks.spawn(reader.run(self.stop.clone()));
        Ok(Some(keys))
    }

    fn serve(&self, socket: TcpListener, shared: Arc<Shared>) {
        if shared.tls.is_some() {
            self.tasks
                .spawn(follow_certificates(shared.clone(), self.stop.clone()));
        }
        self.tasks.spawn(listener::serve(
            socket,
            shared,
            self.stop.clone(),
            self.tasks.clone(),
        ));
    }

    /// Ends the connections of users that are gone or have other credentials, and has waiting requests look at the rules
    /// again, as soon as the metadata says so.
    fn follow_access(&self, broker: Arc<Broker>) {
        let (registry, stop) = (self.registry.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let mut changes = broker.metadata.subscribe();
            let mut seen = changes.latest().image;
            let users = registry.users();
            registry.revoke(&seen, users.iter().map(AsRef::as_ref));
            loop {
                let latest = tokio::select! {
                    latest = changes.changed() => latest,
                    () = stop.cancelled() => return,
                };
                let Some(latest) = latest else { return };
                let users = changed_users(&seen, &latest.image);
                let ended = registry.revoke(&latest.image, users.iter().map(String::as_str));
                if ended > 0 {
                    tracing::info!(
                        ended,
                        "connections of users that are gone or have other credentials now are closed"
                    );
                }
                if !latest.image.shares_rules(&seen) {
                    broker.rules_changed.notify_waiters();
                }
                seen = latest.image;
            }
        });
    }

    /// Takes no more connections and ends the open ones; waits until they are gone, `grace` at most.
    pub async fn stop(self, grace: Duration) {
        self.stop.cancel();
        self.registry.close_all(CloseReason::Shutdown);
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "connections did not end in time");
        }
    }
}

/// Half of the files that the process may open: the other half is for logs.
fn connections_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit
        .and_then(|files| usize::try_from(files / 2).ok())
        .unwrap_or(usize::MAX)
}

/// Takes new certificates when the files change, and the versions of TLS that are set, for the handshakes from then on.
async fn follow_certificates(shared: Arc<Shared>, stop: CancellationToken) {
    let show_expiry = || {
        if let Some(expires) = shared.tls.as_ref().and_then(Reloading::expires) {
            shared.metrics.certificate_taken(expires);
        }
    };
    show_expiry();
    let mut failed = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(CERTIFICATE_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        let listener = shared.name.clone();
        let reading = shared.clone();
        let reload = move || {
            let settings = reading.broker.settings();
            let tls = reading.tls.as_ref();
            tls.map_or(Ok(false), |tls| tls.reload(&settings.ssl_enabled_protocols))
        };
        match tokio::task::spawn_blocking(reload).await {
            Ok(Ok(changed)) => {
                failed = false;
                if changed {
                    show_expiry();
                    tracing::info!(%listener, "new certificates or versions of TLS are in use");
                }
            }
            Ok(Err(error)) => {
                shared.metrics.certificate_refused();
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(%listener, %error, "the certificates changed but cannot be used: the old ones stay");
                }
            }
            // The runtime ends.
            Err(_) => {}
        }
    }
}
