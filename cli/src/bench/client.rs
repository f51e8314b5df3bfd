//! Connections to brokers: made, authenticated, and split in two, so that requests go out while responses come in.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Buf, Bytes, BytesMut};
use flotilla_broker::auth::scram;
use flotilla_broker::net::ReadAhead;
use flotilla_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use flotilla_protocol::{ApiKey, ErrorCode, Message as _, Request, Str, frame};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::endpoint::{Login, Security, Way};
use crate::home::random_bytes;

/// How long a connection may take to be made, and a broker to answer what is asked before the load.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest response that is asked for here is a fetch of Kafka's `fetch.max.bytes` and one batch.
const FRAME_BYTES_MAX: usize = 256 << 20;
const READ_BYTES: usize = 256 * 1024;
/// How an alert of TLS begins (RFC 8446, 5.1), which is no frame of Kafka's: none is that large.
const TLS_ALERT: [u8; 2] = [21, 3];

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A connection on which one request waits for its response.
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
}

/// The half that requests go out by.
pub struct Sender {
    writer: WriteHalf<Box<dyn Stream>>,
    client_id: Str,
    correlation_id: i32,
}

/// The half that responses come in by.
pub struct Receiver {
    reader: ReadHalf<Box<dyn Stream>>,
    received: BytesMut,
}

impl Connection {
    /// Connects and, where that is asked for, proves who connects.
    pub async fn open(address: &str, security: &Security) -> anyhow::Result<Self> {
        let opened = tokio::time::timeout(PATIENCE, Self::try_open(address, security));
        opened
            .await
            .unwrap_or_else(|_| bail!("no connection within {} seconds", PATIENCE.as_secs()))
            .with_context(|| format!("broker {address}"))
    }

    async fn try_open(address: &str, security: &Security) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &security.tls {
            None => Box::new(stream),
            Some(config) => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
                let connector = TlsConnector::from(Arc::clone(config));
                Box::new(
                    connector
                        .connect(name, ReadAhead::new(stream))
                        .await
                        .context("TLS")?,
                )
            }
        };
        let (reader, writer) = tokio::io::split(stream);
        let mut connection = Self {
            sender: Sender {
                writer,
                client_id: Str::from("flotilla-bench"),
                correlation_id: 0,
            },
            receiver: Receiver {
                reader,
                received: BytesMut::new(),
            },
        };
        if let Some(login) = &security.login {
            connection.log_in(login).await?;
        }
        Ok(connection)
    }

    /// Asks, and waits for the answer.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        let answered = tokio::time::timeout(PATIENCE, async {
            let asked = self.sender.send(version, request).await?;
            let response = self.receiver.receive().await?;
            decode::<R>(response, version, asked)
        });
        answered
            .await
            .unwrap_or_else(|_| bail!("no answer within {} seconds", PATIENCE.as_secs()))
            .with_context(|| format!("{:?}", R::KEY))
    }

    /// For requests that do not wait for one another.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    async fn log_in(&mut self, login: &Login) -> anyhow::Result<()> {
        let mechanism = match login.way {
            Way::Plain => "PLAIN",
            Way::Scram(mechanism) => mechanism.name(),
        };
        let handshake = SaslHandshakeRequest {
            mechanism: mechanism.into(),
        };
        let answer = self.call(1, &handshake).await?;
        check(answer.error_code)
            .with_context(|| format!("SASL {mechanism}; the broker has {:?}", answer.mechanisms))?;
        match login.way {
            Way::Plain => {
                let token = format!("\0{}\0{}", login.user, login.password);
                self.token(token).await?;
            }
            Way::Scram(mechanism) => {
                let nonce: String = random_bytes::<16>()?
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                let client = scram::Client::new(mechanism, &login.user, &login.password, &nonce);
                let first = self.token(client.first_message()).await?;
                let (last, proof) = client.answer(&first)?;
                proof.verify(&self.token(last).await?)?;
            }
        }
        Ok(())
    }

    async fn token(&mut self, token: impl Into<Bytes>) -> anyhow::Result<Bytes> {
        let request = SaslAuthenticateRequest {
            auth_bytes: token.into(),
        };
        let answer = self.call(2, &request).await?;
        if answer.error_code != 0 {
            let why = answer
                .error_message
                .map(|message| message.to_string())
                .unwrap_or_default();
            bail!("the broker does not let this user in: {why}");
        }
        Ok(answer.auth_bytes)
    }
}

impl Sender {
    /// Sends, and gives back the number that the response repeats. The bytes of records are not copied, but for TLS.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<i32> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let segments = frame::request(version, self.correlation_id, Some(&self.client_id), request)?;
        let mut chain = Segments { segments, current: 0 };
        self.writer.write_all_buf(&mut chain).await?;
        self.writer.flush().await?;
        Ok(self.correlation_id)
    }
}

impl Receiver {
    /// The next response, its header included.
    pub async fn receive(&mut self) -> anyhow::Result<Bytes> {
        loop {
            if self.received.starts_with(&TLS_ALERT) {
                bail!(
                    "the broker speaks TLS; say so with security.protocol=SSL or SASL_SSL in --command-config"
                );
            }
            if let Some(frame) = frame::split(&mut self.received, FRAME_BYTES_MAX)? {
                return Ok(frame);
            }
            let missing = frame::peek_size(&self.received, FRAME_BYTES_MAX)?
                .map_or(0, |size| (size + 4).saturating_sub(self.received.len()));
            self.received.reserve(missing.max(READ_BYTES));
            if self.reader.read_buf(&mut self.received).await? == 0 {
                bail!("the broker closed the connection");
            }
        }
    }
}

/// Reads the response to request `asked`.
pub fn decode<R: Request>(response: Bytes, version: i16, asked: i32) -> anyhow::Result<R::Response> {
    let (correlation_id, mut reader) = frame::decode_response(response, R::KEY, version)?;
    if correlation_id != asked {
        bail!("the broker answered request {correlation_id} instead of {asked}");
    }
    Ok(R::Response::decode(&mut reader, version)?)
}

/// An error code as an error.
pub fn check(code: i16) -> anyhow::Result<()> {
    match ErrorCode::from(code) {
        ErrorCode::None => Ok(()),
        error => bail!("the broker says {error:?} ({code})"),
    }
}

/// The version of an API that both sides know: the newest up to `ours`.
pub fn version(offered: &[(i16, i16, i16)], api: ApiKey, floor: i16, ours: i16) -> anyhow::Result<i16> {
    let key = i16::from(api);
    let (min, max) = offered
        .iter()
        .find(|(offered, ..)| *offered == key)
        .map(|(_, min, max)| (*min, *max))
        .with_context(|| format!("the broker has no {api:?}"))?;
    let version = max.min(ours);
    if version < min.max(floor) {
        bail!("the broker has {api:?} in versions {min} to {max}, and {floor} to {ours} are known here");
    }
    Ok(version)
}

/// Segments one behind the other, written by one system call where that is possible.
struct Segments {
    segments: Vec<Bytes>,
    current: usize,
}

impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.segments[self.current..].iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.segments.get(self.current).map_or(&[], |segment| segment)
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [std::io::IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, segment) in out.iter_mut().zip(&self.segments[self.current..]) {
            *slice = std::io::IoSlice::new(segment);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let segment = &mut self.segments[self.current];
            let step = count.min(segment.len());
            segment.advance(step);
            count -= step;
            if segment.is_empty() {
                self.current += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_one_run_of_bytes() {
        let mut segments = Segments {
            segments: vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de")],
            current: 0,
        };
        assert_eq!((segments.remaining(), segments.chunk()), (5, &b"abc"[..]));
        segments.advance(4);
        assert_eq!((segments.remaining(), segments.chunk()), (1, &b"e"[..]));
        segments.advance(1);
        assert_eq!((segments.remaining(), segments.chunk()), (0, &b""[..]));
    }

    #[test]
    fn version_is_the_newest_that_both_know() {
        let offered = [(0, 3, 13), (1, 4, 18)];
        let chosen = |floor, ours| version(&offered, ApiKey::Produce, floor, ours).ok();
        assert_eq!(chosen(7, 12), Some(12));
        assert_eq!(chosen(7, 99), Some(13));
        assert_eq!(chosen(14, 15), None);
        assert_eq!(chosen(0, 2), None);
        assert!(version(&offered, ApiKey::Metadata, 0, 1).is_err());
    }
}
