//! A client that speaks Kafka, properly or not.

use super::setup::{Bench, PASSWORD, PATIENCE};
use crate::auth::scram;
use bytes::{Bytes, BytesMut};
use flotilla_protocol::messages::metadata_request::MetadataRequestTopic;
use flotilla_protocol::messages::{
    ApiVersionsRequest, MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest,
};
use flotilla_protocol::{ErrorCode, Message, Request, Uuid, frame};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const NONCE: &str = "nonce-of-the-client";

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(crate) struct Client {
    pub(super) stream: Box<dyn Stream>,
    received: BytesMut,
}

impl Client {
    pub(super) async fn connect(bench: &Bench, listener: &str) -> Self {
        let stream = TcpStream::connect(bench.address(listener)).await.unwrap();
        Self {
            stream: Box::new(stream),
            received: BytesMut::new(),
        }
    }

    pub(crate) fn of(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            received: BytesMut::new(),
        }
    }

    /// With TLS; an error where the broker refuses the handshake.
    pub(super) async fn connect_tls(bench: &Bench, listener: &str, tls: ClientConfig) -> io::Result<Self> {
        let stream = TcpStream::connect(bench.address(listener)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        Ok(Self {
            stream: Box::new(stream),
            received: BytesMut::new(),
        })
    }

    /// Sends bytes as they are. A broker that has closed already is no failure.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    pub(super) async fn send_frame(&mut self, body: &[u8]) {
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        self.send(&frame).await;
    }

    /// The next frame; `None` when the broker closes the connection.
    pub(super) async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            loop {
                if let Some(frame) = frame::split(&mut self.received, 1 << 28).unwrap() {
                    return Some(frame);
                }
                match self.stream.read_buf(&mut self.received).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer or the end of the connection")
    }

    /// Whether the broker closes the connection without a word.
    pub(super) async fn is_closed(&mut self) -> bool {
        self.frame().await.is_none()
    }

    /// Sends a request and reads its response; `None` when the broker closes the connection instead.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.send_request(version, request).await;
        self.response::<R>(version).await
    }

    pub(super) async fn send_request<R: Request>(&mut self, version: i16, request: &R) {
        let segments = frame::request(version, 7, None, request).unwrap();
        self.send(&segments.concat()).await;
    }

    /// The response to what was sent; `None` when the broker closes the connection instead.
    pub(super) async fn response<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let (correlation_id, mut body) =
            frame::decode_response(self.frame().await?, R::KEY, version).unwrap();
        assert_eq!(correlation_id, 7);
        let response = R::Response::decode(&mut body, version).unwrap();
        body.finish().unwrap();
        Some(response)
    }

    /// Whether the broker answers an ordinary request.
    pub(crate) async fn is_served(&mut self) -> bool {
        self.call(0, &ApiVersionsRequest::default()).await.is_some()
    }

    /// What Metadata says of the topic `orders`; `None` when the broker closes the connection.
    pub(super) async fn orders(&mut self) -> Option<ErrorCode> {
        let topic = MetadataRequestTopic {
            name: Some("orders".into()),
            topic_id: Uuid::ZERO,
        };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        Some(self.call(12, &request).await?.topics[0].error_code.into())
    }

    pub(super) async fn handshake(&mut self, version: i16, mechanism: &'static str) -> Option<ErrorCode> {
        let request = SaslHandshakeRequest {
            mechanism: mechanism.into(),
        };
        Some(self.call(version, &request).await?.error_code.into())
    }

    pub(super) async fn token(&mut self, token: impl Into<Bytes>) -> Option<SaslAuthenticateResponse> {
        self.call(
            2,
            &SaslAuthenticateRequest {
                auth_bytes: token.into(),
            },
        )
        .await
    }

    /// The whole of SCRAM; the last answer of the broker.
    pub(super) async fn scram(
        &mut self,
        mechanism: scram::Mechanism,
        user: &str,
        password: &str,
    ) -> Option<SaslAuthenticateResponse> {
        self.converse(mechanism, scram::Client::new(mechanism, user, password, NONCE))
            .await
    }

    /// The same with a delegation token.
    pub(super) async fn scram_with_token(
        &mut self,
        mechanism: scram::Mechanism,
        id: &str,
        password: &str,
    ) -> Option<SaslAuthenticateResponse> {
        self.converse(
            mechanism,
            scram::Client::with_token(mechanism, id, password, NONCE),
        )
        .await
    }

    async fn converse(
        &mut self,
        mechanism: scram::Mechanism,
        client: scram::Client<'_>,
    ) -> Option<SaslAuthenticateResponse> {
        assert_eq!(self.handshake(1, mechanism.name()).await, Some(ErrorCode::None));
        let first = self.token(client.first_message()).await?;
        assert_eq!(first.error_code, ErrorCode::None);
        let (last, proof) = client.answer(&first.auth_bytes).unwrap();
        let answer = self.token(last).await?;
        if answer.error_code == ErrorCode::None {
            proof.verify(&answer.auth_bytes).unwrap();
        }
        Some(answer)
    }

    pub(super) async fn alice(bench: &Bench) -> Self {
        let mut client = Self::connect(bench, "scram").await;
        let answer = client
            .scram(scram::Mechanism::Sha256, "alice", PASSWORD)
            .await
            .unwrap();
        assert_eq!(answer.error_code, ErrorCode::None);
        client
    }
}
