//! Takes connections in: limits first, then TLS, then who the certificate names.

use super::connection::Connection;
use super::gate::Gate;
use super::read_ahead::ReadAhead;
use super::registry::{Limits, Proof, Ticket, limit_of};
use super::send_file::SendFile;
use super::tls::common_name;
use super::{Role, Shared};
use crate::auth::Principal;
use crate::request::Session;
use crate::telemetry::CloseReason;
use flotilla_control::tls::{Identity, identity_of};
use flotilla_protocol::Uuid;
use rustls::pki_types::CertificateDer;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// After accepting failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The least time between two log lines about connections over the limit.
const LIMIT_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Accepts until `stop`.
pub(super) async fn serve(
    socket: TcpListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let mut last_refusal: Option<std::time::Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(listener = %shared.name, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !paced(&shared, &stop).await {
            return;
        }
        let address = peer.ip().to_canonical();
        let Some((ticket, closed)) = shared.registry.admit(address, limits(&shared, address)) else {
            shared.metrics.closed(CloseReason::Limit);
            if last_refusal.is_none_or(|last| last.elapsed() >= LIMIT_LOG_INTERVAL) {
                last_refusal = Some(std::time::Instant::now());
                tracing::warn!(
                    listener = %shared.name, %peer,
                    "connection refused: max.connections or max.connections.per.ip is reached"
                );
            }
            continue;
        };
        let span = tracing::info_span!("connection", id = ticket.id, listener = %shared.name, %peer);
        let shared = shared.clone();
        tasks.spawn(serve_one(stream, peer, shared, ticket, closed).instrument(span));
    }
}

/// Waits until `max.connection.creation.rate` lets one more connection of clients in. Whether it does before `stop`.
async fn paced(shared: &Shared, stop: &CancellationToken) -> bool {
    while let Role::Clients = shared.role {
        let rate = shared.broker.settings().max_connection_creation_rate;
        let Some(wait) = shared.creation_rate.wait(rate, Instant::now()) else {
            break;
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return false,
        }
    }
    true
}

fn limits(shared: &Shared, address: IpAddr) -> Limits {
    let settings = shared.broker.settings();
    let connections_max = usize::try_from(settings.max_connections)
        .unwrap_or(0)
        .min(shared.connections_max);
    match shared.role {
        // Brokers among themselves are not counted out by clients.
        Role::Brokers(_) => Limits {
            connections_max: usize::MAX,
            from_this_address_max: usize::MAX,
        },
        Role::Clients => Limits {
            connections_max,
            from_this_address_max: limit_of(
                address,
                &settings.max_connections_per_ip_overrides,
                settings.max_connections_per_ip,
            ),
        },
    }
}

/// One connection, from its acceptance to its end.
async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    ticket: Ticket,
    closed: oneshot::Receiver<CloseReason>,
) {
    shared.metrics.connections.inc();
    let reason = greet(stream, peer, &shared, ticket, closed).await;
    shared.metrics.connections.dec();
    shared.metrics.closed(reason);
    tracing::debug!(?reason, "connection ended");
}

async fn greet(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    ticket: Ticket,
    mut closed: oneshot::Receiver<CloseReason>,
) -> CloseReason {
    // Answers are written whole: waiting for more only delays them. A peer that vanished is noticed in the end.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    let Some(tls) = &shared.tls else {
        return converse(stream, peer, None, shared, ticket, closed).await;
    };
    let handshake = TlsAcceptor::from(tls.current()).accept(ReadAhead::new(stream));
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(shared.patience.handshake, Box::pin(handshake)) => accepted,
        reason = &mut closed => return reason.unwrap_or(CloseReason::Shutdown),
    };
    match accepted {
        Err(_) => CloseReason::Stalled,
        Ok(Err(error)) => {
            tracing::info!(%error, "TLS handshake failed");
            CloseReason::Tls
        }
        Ok(Ok(stream)) => {
            let certificate = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first());
            let certificate = certificate.map(|certificate| certificate.clone().into_owned());
            converse(stream, peer, certificate, shared, ticket, closed).await
        }
    }
}

async fn converse<S: AsyncRead + SendFile>(
    stream: S,
    peer: SocketAddr,
    certificate: Option<CertificateDer<'static>>,
    shared: &Arc<Shared>,
    ticket: Ticket,
    closed: oneshot::Receiver<CloseReason>,
) -> CloseReason {
    let mut session = Session::new(ticket.id, shared.name.clone(), Principal::anonymous(), peer.ip());
    session.client_port = Some(peer.port());
    let gate = match shared.role {
        Role::Brokers(cluster_id) => match member_of(certificate.as_ref(), cluster_id) {
            Some(member) => {
                session.is_internal = true;
                session.principal = match member {
                    Identity::Broker(id) => {
                        session.peer_broker = Some(id);
                        Principal::user(&format!("broker-{id}"))
                    }
                    Identity::Operator => Principal::user("operator"),
                };
                Gate::open()
            }
            None => {
                tracing::warn!("the certificate is none of this fleet");
                return CloseReason::Unauthenticated;
            }
        },
        Role::Clients => match (
            user_of(certificate.as_ref(), shared),
            shared.mechanisms.is_empty(),
        ) {
            (Some(user), _) => {
                ticket.authenticated(&user, Proof::Certificate, || shared.broker.metadata.image());
                session.principal = Principal::user(&user);
                Gate::open()
            }
            (None, false) => Gate::closed(),
            (None, true) if shared.takes_certificates => {
                tracing::info!("the client's certificate names no user that may come in so");
                return CloseReason::Unauthenticated;
            }
            (None, true) => Gate::open(),
        },
    };
    Connection::new(stream, shared.clone(), session, gate, ticket, closed)
        .run()
        .await
}

/// The user that a verified certificate names, if there is one and it is to be recognised so.
fn user_of(certificate: Option<&CertificateDer<'_>>, shared: &Shared) -> Option<String> {
    let user = certificate
        .filter(|_| shared.takes_certificates)
        .and_then(common_name)?;
    Proof::Certificate
        .holds(&shared.broker.metadata.image(), &user)
        .then_some(user)
}

/// The broker or operator of this cluster that a verified certificate names.
fn member_of(certificate: Option<&CertificateDer<'_>>, cluster_id: Uuid) -> Option<Identity> {
    let member = identity_of(certificate?).ok()?;
    (member.cluster_id == cluster_id).then_some(member.identity)
}
