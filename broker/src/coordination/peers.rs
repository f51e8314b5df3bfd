//! Where the other brokers are, and the connections to their gRPC services: mutual TLS, checked against the broker that is
//! meant, made when they are first needed and made again when they break.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use flotilla_control::proto::coordination::coordination_client::CoordinationClient;
use flotilla_control::proto::coordination::{
    DescribeQuorumRequest, DescribeQuorumResponse, ObserveRequest, RaftMessage, SubmitRequest, SubmitResponse,
};
use flotilla_control::proto::fleet::fleet_client::FleetClient;
use flotilla_control::tls::server_name;
use flotilla_protocol::{BrokerId, Uuid};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};

use super::carrier::{Call, Carrier, Observed};
use super::client::Remote;
use super::connections::Knocked;
use super::latest::Metadata;
use super::tls::Tls;
use super::voter::{VoterId, VoterNode};

/// TCP and TLS handshake with a broker.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a machine may take to say that nobody listens.
const KNOCK_TIMEOUT: Duration = Duration::from_millis(100);
/// A connection over which nothing comes is asked for a sign of life after this, and given up after as much again.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// No message between brokers is larger.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a connection is for. Raft has its own, so that its heartbeats never wait behind a snapshot for an observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Votes and entries.
    Raft,
    /// Snapshots on their way to a voter.
    Snapshot,
    /// Everything else.
    Requests,
}

/// The other brokers. Clones share connections.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    cluster_id: Uuid,
    own: BrokerId,
    configured: BTreeMap<BrokerId, String>,
    metadata: Metadata,
    tls: Tls,
    channels: Mutex<BTreeMap<(BrokerId, Purpose), Channel>>,
}

impl Peers {
    /// The brokers that configuration names, and those that metadata will name.
    pub fn new(
        cluster_id: Uuid,
        own: BrokerId,
        configured: BTreeMap<BrokerId, String>,
        metadata: Metadata,
        tls: Tls,
    ) -> Self {
        let channels = Mutex::default();
        Self {
            inner: Arc::new(Inner {
                cluster_id,
                own,
                configured,
                metadata,
                tls,
                channels,
            }),
        }
    }

    /// Where a broker may be reached, the likeliest address first. Configuration wins: the operator writes it anew when
    /// addresses change, and what a broker registered may be old.
    fn addresses(&self, broker: BrokerId, remembered: Option<&str>) -> Vec<String> {
        let image = self.inner.metadata.image();
        let registered = image.broker(broker).map(|broker| broker.control_address.as_str());
        let mut addresses: Vec<String> = Vec::new();
        let all = [
            self.inner.configured.get(&broker).map(String::as_str),
            registered,
            remembered,
        ];
        for address in all.into_iter().flatten() {
            if !address.is_empty() && !addresses.iter().any(|known| known == address) {
                addresses.push(address.to_owned());
            }
        }
        addresses
    }

    /// Knocks at the door of a broker. A machine that is gone itself, or cut off, says nothing. Who registers after the knock has listened
    /// before.
    pub async fn knock(&self, broker: BrokerId) -> Knocked {
        let Some(epoch) = self
            .inner
            .metadata
            .image()
            .broker(broker)
            .map(|broker| broker.epoch)
        else {
            return Knocked::Silent;
        };
        for address in &self.addresses(broker, None) {
            match timeout(KNOCK_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(_)) => return Knocked::Listens,
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Ok(Err(_)) | Err(_) => return Knocked::Silent,
            }
        }
        Knocked::Gone(epoch)
    }

    /// A connection to a broker; it is made when it is first used. `remembered` is an address that is tried last.
    pub fn channel(&self, broker: BrokerId, purpose: Purpose, remembered: Option<&str>) -> Channel {
        let mut channels = self.inner.channels.lock();
        if let Some(channel) = channels.get(&(broker, purpose)) {
            return channel.clone();
        }
        let connector = Connector {
            peers: self.clone(),
            broker,
            remembered: remembered.map(str::to_owned),
        };
        // The connector knows where to go and whom to expect; what stands here only fills the headers.
        let channel = Endpoint::from_static("http://broker.flotilla.internal")
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .tcp_nodelay(true)
            .connect_with_connector_lazy(connector);
        channels.insert((broker, purpose), channel.clone());
        channel
    }

    /// The Coordination service of a broker.
    pub fn coordination(
        &self,
        broker: BrokerId,
        purpose: Purpose,
        remembered: Option<&str>,
    ) -> CoordinationClient<Channel> {
        CoordinationClient::new(self.channel(broker, purpose, remembered))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The Fleet service of a broker.
    pub fn fleet(&self, broker: BrokerId) -> FleetClient<Channel> {
        FleetClient::new(self.channel(broker, Purpose::Requests, None))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

impl Remote for Peers {
    fn brokers(&self) -> Vec<BrokerId> {
        let image = self.inner.metadata.image();
        let mut brokers: Vec<BrokerId> = self.inner.configured.keys().copied().collect();
        brokers.extend(
            image
                .brokers()
                .map(|broker| broker.id)
                .filter(|id| !self.inner.configured.contains_key(id)),
        );
        brokers.retain(|broker| *broker != self.inner.own);
        brokers
    }

    fn submit(&self, to: BrokerId, request: SubmitRequest) -> BoxFuture<'_, Result<SubmitResponse, String>> {
        let mut client = self.coordination(to, Purpose::Requests, None);
        Box::pin(async move {
            client
                .submit(request)
                .await
                .map(tonic::Response::into_inner)
                .map_err(said)
        })
    }

    fn describe_quorum(&self, to: BrokerId) -> BoxFuture<'_, Result<DescribeQuorumResponse, String>> {
        let mut client = self.coordination(to, Purpose::Requests, None);
        Box::pin(async move {
            let described = client.describe_quorum(DescribeQuorumRequest {}).await;
            described.map(tonic::Response::into_inner).map_err(said)
        })
    }
}

impl Carrier for Peers {
    fn raft<'a>(
        &'a self,
        call: Call,
        to: VoterId,
        node: &'a VoterNode,
        message: RaftMessage,
    ) -> BoxFuture<'a, Result<RaftMessage, String>> {
        let purpose = match call {
            Call::AppendEntries | Call::Vote => Purpose::Raft,
            Call::InstallSnapshot => Purpose::Snapshot,
        };
        let mut client = self.coordination(to.broker, purpose, Some(&node.address));
        Box::pin(async move {
            let answered = match call {
                Call::AppendEntries => client.append_entries(message).await,
                Call::Vote => client.vote(message).await,
                Call::InstallSnapshot => client.install_snapshot(message).await,
            };
            answered.map(tonic::Response::into_inner).map_err(said)
        })
    }

    fn observe(&self, voter: BrokerId, request: ObserveRequest) -> BoxFuture<'_, Result<Observed, String>> {
        let mut client = self.coordination(voter, Purpose::Requests, None);
        Box::pin(async move {
            let stream = client.observe(request).await.map_err(said)?.into_inner();
            let observed: Observed = Box::pin(stream.map(|response| response.map_err(said)));
            Ok(observed)
        })
    }
}

/// What a failed call says, with the cause that a broken connection hides below it.
pub fn said(status: tonic::Status) -> String {
    let mut message = status.message().to_owned();
    let mut cause = std::error::Error::source(&status);
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    message
}

/// Connects to one broker.
struct Connector {
    peers: Peers,
    broker: BrokerId,
    remembered: Option<String>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let addresses = self.peers.addresses(self.broker, self.remembered.as_deref());
        let name = server_name(self.peers.inner.cluster_id, self.broker);
        let config = self.peers.inner.tls.client();
        let broker = self.broker;
        Box::pin(async move {
            let mut last = io::Error::new(
                io::ErrorKind::NotFound,
                format!("no address of broker {broker} is known"),
            );
            for address in addresses {
                match timeout(CONNECT_TIMEOUT, connect(&address, &name, &config)).await {
                    Ok(Ok(stream)) => return Ok(TokioIo::new(stream)),
                    Ok(Err(error)) => {
                        last = io::Error::new(error.kind(), format!("broker {broker} at {address}: {error}"))
                    }
                    Err(_) => {
                        let what = format!("broker {broker} at {address} does not answer");
                        last = io::Error::new(io::ErrorKind::TimedOut, what);
                    }
                }
            }
            Err(last)
        })
    }
}

async fn connect(
    address: &str,
    name: &str,
    config: &rustls::ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let mut config = config.clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
