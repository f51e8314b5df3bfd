//! A follower's connection to a leader: Kafka's Fetch over mutual TLS, or whatever a simulation puts in its place.

use crate::coordination::{Connections, Tls};
use crate::metadata::Broker;
use crate::net::ReadAhead;
use bytes::{Buf, BytesMut};
use flotilla_control::tls;
use flotilla_protocol::messages::{FetchRequest, FetchResponse};
use flotilla_protocol::{BrokerId, Message, Request, Str, Uuid, frame};
use futures::future::BoxFuture;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The version that brokers speak to one another.
pub(super) const FETCH_VERSION: i16 = 18;
/// What a response may have beyond the bytes of records that were asked for: at most a batch for each partition that is
/// larger than what was asked for, and the fields around them.
const RESPONSE_BYTES_SURPLUS: usize = 128 * 1024 * 1024;
/// How long a connection may take to be made.
const DIAL_LIMIT: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 64 * 1024;

/// Why a leader could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The metadata has no address for it.
    #[error("broker {0} has no address for replication")]
    NoAddress(BrokerId),
    /// The connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not in time.
    #[error("no answer in time")]
    Timeout,
    /// It was fenced, or started again, before it answered.
    #[error("broker {0} was given up before it answered")]
    Dead(BrokerId),
    /// What came is not what was asked for.
    #[error("the answer cannot be read: {0}")]
    Answer(String),
}

/// A connection to one leader. One fetch at a time.
pub trait Link: Send {
    /// Fetches. A link that failed, or whose fetch was dropped before it was answered, is of no further use.
    fn fetch(&mut self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, LinkError>>;
}

/// Makes connections to leaders.
pub trait Dial: Send + Sync + 'static {
    /// Connects.
    fn dial<'a>(&'a self, leader: &'a Broker) -> BoxFuture<'a, Result<Box<dyn Link>, LinkError>>;
}

/// Connects over TCP with mutual TLS.
pub struct TlsDial {
    cluster_id: Uuid,
    client_id: Str,
    tls: Tls,
    connections: Arc<Connections>,
    receive_buffer_bytes: Option<u32>,
}

impl TlsDial {
    /// For `broker` of a cluster, with the certificates that it proves itself by. `connections` are told of leaders that hang up.
    /// `receive_buffer_bytes` (`replica.socket.receive.buffer.bytes`) is what connections may hold that was not read yet; `None`: as the
    /// system says.
    #[must_use]
    pub fn new(
        cluster_id: Uuid,
        broker: BrokerId,
        tls: Tls,
        connections: Arc<Connections>,
        receive_buffer_bytes: Option<u32>,
    ) -> Self {
        Self {
            cluster_id,
            client_id: format!("broker-{broker}-fetcher").into(),
            tls,
            connections,
            receive_buffer_bytes,
        }
    }
}

impl TlsDial {
    /// Connects to the reserved listener of a broker.
    ///
    /// # Errors
    /// It has no address, does not answer, or is another broker.
    pub async fn connect(&self, broker: &Broker) -> Result<TlsLink, LinkError> {
        let endpoint = broker
            .replication
            .as_ref()
            .ok_or(LinkError::NoAddress(broker.id))?;
        let port = u16::try_from(endpoint.port).map_err(|_| LinkError::NoAddress(broker.id))?;
        let connector = TlsConnector::from(self.tls.client());
        let name = ServerName::try_from(tls::server_name(self.cluster_id, broker.id))
            .map_err(|error| LinkError::Answer(error.to_string()))?;
        let connect = async {
            let stream = connect_tcp(&endpoint.host, port, self.receive_buffer_bytes).await?;
            connector.connect(name, ReadAhead::new(stream)).await
        };
        let stream = tokio::time::timeout(DIAL_LIMIT, connect)
            .await
            .map_err(|_| LinkError::Timeout)??;
        Ok(TlsLink {
            stream,
            received: BytesMut::new(),
            client_id: self.client_id.clone(),
            correlation_id: 0,
        })
    }
}

async fn connect_tcp(host: &str, port: u16, receive_buffer_bytes: Option<u32>) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    if let Some(bytes) = receive_buffer_bytes {
        set_socket_recv_buffer_size(&stream, bytes as usize)?;
    }
    Ok(stream)
}

impl Dial for TlsDial {
    fn dial<'a>(&'a self, leader: &'a Broker) -> BoxFuture<'a, Result<Box<dyn Link>, LinkError>> {
        Box::pin(async move {
            let lost = Lost {
                leader: leader.id,
                connections: self.connections.clone(),
            };
            let link = self.connect(leader).await.inspect_err(|error| lost.note(error))?;
            Ok(Box::new(FetchLink { link, lost }) as Box<dyn Link>)
        })
    }
}

/// Tells when a leader hangs up.
struct Lost {
    leader: BrokerId,
    connections: Arc<Connections>,
}

impl Lost {
    fn note(&self, error: &LinkError) {
        if matches!(error, LinkError::Io(_)) {
            self.connections.hung_up(self.leader, Instant::now());
        }
    }
}

struct FetchLink {
    link: TlsLink,
    lost: Lost,
}

impl Link for FetchLink {
    fn fetch(&mut self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, LinkError>> {
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0) + RESPONSE_BYTES_SURPLUS;
        Box::pin(async move {
            let answer = self.link.ask(FETCH_VERSION, request, bytes_max).await;
            answer.inspect_err(|error| self.lost.note(error))
        })
    }
}

/// A connection with mutual TLS to another broker.
pub struct TlsLink {
    stream: TlsStream<ReadAhead<TcpStream>>,
    received: BytesMut,
    client_id: Str,
    correlation_id: i32,
}

impl TlsLink {
    /// Asks, and waits for the answer, of at most `bytes_max` bytes. A link that failed is of no further use.
    ///
    /// # Errors
    /// The connection broke, or what came is not the answer.
    pub async fn ask<R: Request>(
        &mut self,
        version: i16,
        request: R,
        bytes_max: usize,
    ) -> Result<R::Response, LinkError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let unreadable = |error: &dyn std::fmt::Display| LinkError::Answer(error.to_string());
        let segments = frame::request(version, self.correlation_id, Some(&self.client_id), &request)
            .map_err(|error| unreadable(&error))?;
        for mut segment in segments {
            while segment.has_remaining() {
                self.stream.write_buf(&mut segment).await?;
            }
        }
        self.stream.flush().await?;
        loop {
            if let Some(response) =
                frame::split(&mut self.received, bytes_max).map_err(|error| unreadable(&error))?
            {
                let (correlation_id, mut body) =
                    frame::decode_response(response, R::KEY, version).map_err(|error| unreadable(&error))?;
                if correlation_id != self.correlation_id {
                    return Err(LinkError::Answer(
                        "it is the answer to another request".to_owned(),
                    ));
                }
                return R::Response::decode(&mut body, version).map_err(|error| unreadable(&error));
            }
            self.received.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt::socket_recv_buffer_size;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn receive_buffer_of_a_followers_connection_is_as_large_as_is_set() {
        let leader = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = leader.local_addr().unwrap().port();
        let connected = async |bytes| {
            let stream = connect_tcp("127.0.0.1", port, bytes).await.unwrap();
            socket_recv_buffer_size(&stream).unwrap()
        };
        assert_eq!(connected(Some(20_000)).await, 40_000, "the kernel doubles it");
        assert_ne!(connected(None).await, 40_000);
    }
}
