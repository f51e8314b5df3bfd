//! The control listener: connections from brokers, the operator and the command line, each with a certificate of the fleet.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flotilla_control::tls::{Identity, identity_of};
use flotilla_protocol::{BrokerId, Uuid};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use super::connections::{Connections, Counted};
use super::tls::Tls;

/// A TLS handshake takes no longer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at the same time; further connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 64;
/// After the system could not accept a connection, as without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections whose handshake succeeded, until it is dropped.
pub type Incoming = ReceiverStream<io::Result<Counted<TlsStream<TcpStream>>>>;

/// Takes connections.
pub fn incoming(listener: TcpListener, tls: Tls, connections: Arc<Connections>) -> Incoming {
    let (sender, receiver) = mpsc::channel(HANDSHAKES_MAX);
    tokio::spawn(accept(listener, tls, connections, sender));
    ReceiverStream::new(receiver)
}

async fn accept(
    listener: TcpListener,
    tls: Tls,
    connections: Arc<Connections>,
    sender: mpsc::Sender<io::Result<Counted<TlsStream<TcpStream>>>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection from another broker");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, connections, sender) = (tls.clone(), connections.clone(), sender.clone());
        tokio::spawn(async move {
            if let Some(stream) = handshake(stream, from, &tls).await {
                let open = broker_of(&stream).map(|broker| connections.open(broker));
                // The receiver is gone only when the broker stops.
                let _ = sender.send(Ok(Counted::new(stream, open))).await;
            }
            drop(permit);
        });
    }
}

async fn handshake(stream: TcpStream, from: SocketAddr, tls: &Tls) -> Option<TlsStream<TcpStream>> {
    let mut config = rustls::ServerConfig::clone(&tls.server());
    config.alpn_protocols = vec![b"h2".to_vec()];
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%from, %error, "a connection broke at once");
        return None;
    }
    match timeout(
        HANDSHAKE_TIMEOUT,
        TlsAcceptor::from(Arc::new(config)).accept(stream),
    )
    .await
    {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::info!(%from, %error, "refused a connection to the control listener");
            None
        }
        Err(_) => {
            tracing::info!(%from, timeout = ?HANDSHAKE_TIMEOUT, "a TLS handshake on the control listener took too long");
            None
        }
    }
}

/// The broker at the other end, if it is one.
fn broker_of(stream: &TlsStream<TcpStream>) -> Option<BrokerId> {
    let (_, session) = stream.get_ref();
    let member = identity_of(session.peer_certificates()?.first()?).ok()?;
    match member.identity {
        Identity::Broker(broker) => Some(broker),
        Identity::Operator => None,
    }
}

/// Who calls.
///
/// # Errors
/// `Unauthenticated` without a certificate that names a member of a fleet, `PermissionDenied` for another fleet's.
pub fn caller<T>(request: &tonic::Request<T>, cluster_id: Uuid) -> Result<Identity, Status> {
    let info = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
    let certificates = info.and_then(TlsConnectInfo::peer_certs);
    let certificate = certificates.as_ref().and_then(|chain| chain.first());
    let certificate =
        certificate.ok_or_else(|| Status::unauthenticated("a client certificate is required"))?;
    let member = identity_of(certificate).map_err(|error| Status::unauthenticated(error.to_string()))?;
    if member.cluster_id != cluster_id {
        return Err(Status::permission_denied(format!(
            "the certificate is of cluster {}, and this broker belongs to cluster {cluster_id}",
            member.cluster_id
        )));
    }
    Ok(member.identity)
}
