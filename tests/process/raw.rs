//! A client made of `protocol` and a blocking socket, where the wire itself is the subject: over plaintext or TLS, with SCRAM.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flotilla_broker::auth::scram::{Client as Scram, Mechanism};
use flotilla_protocol::messages::{
    ApiVersionsRequest, MetadataRequest, MetadataResponse, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use flotilla_protocol::{ErrorCode, Message, Request, Str, frame};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub struct Connection {
    stream: Box<dyn Stream>,
    received: BytesMut,
    next: i32,
}

/// A socket to the first of the bootstrap servers.
pub fn socket(bootstrap: &str) -> TcpStream {
    let first = bootstrap.split(',').next().expect("at least one server");
    try_socket(first).unwrap_or_else(|error| panic!("connect to {first}: {error}"))
}

fn try_socket(address: &str) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

impl Connection {
    pub fn open(bootstrap: &str) -> Self {
        Self::over(socket(bootstrap))
    }

    /// The same, where it may be that nobody listens yet.
    #[allow(dead_code)]
    pub fn try_open(address: &str) -> std::io::Result<Self> {
        Ok(Self::over(try_socket(address)?))
    }

    /// TLS that trusts one authority.
    pub fn open_tls(bootstrap: &str, authority_pem: &str) -> Self {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
            roots
                .add(certificate.expect("a certificate"))
                .expect("an authority");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
        let session = rustls::ClientConnection::new(Arc::new(config), name).expect("a TLS session");
        Self::over(rustls::StreamOwned::new(session, socket(bootstrap)))
    }

    fn over(stream: impl Read + Write + Send + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            received: BytesMut::new(),
            next: 0,
        }
    }

    /// Sends a request and reads its answer; an error: the connection was closed, or nothing came.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> std::io::Result<R::Response> {
        self.next += 1;
        let frame =
            frame::request(version, self.next, Some(&Str::from_static("raw")), request).expect("a request");
        self.send(&frame.concat())?;
        let answer = self.receive()?;
        let (correlation_id, mut reader) =
            frame::decode_response(answer, R::KEY, version).expect("a response's header");
        assert_eq!(correlation_id, self.next);
        Ok(R::Response::decode(&mut reader, version).expect("a response"))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next frame, without its length; an error: the connection was closed, or nothing came.
    pub fn receive(&mut self) -> std::io::Result<Bytes> {
        loop {
            if let Some(frame) = frame::split(&mut self.received, 64 << 20).map_err(std::io::Error::other)? {
                return Ok(frame);
            }
            let mut buffer = [0; 64 << 10];
            match self.stream.read(&mut buffer)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Authenticates with SCRAM-SHA-512; gives the error code that ends it.
    pub fn scram(&mut self, user: &str, password: &str) -> std::io::Result<ErrorCode> {
        let handshake = SaslHandshakeRequest {
            mechanism: Str::from_static("SCRAM-SHA-512"),
        };
        let shaken = self.call(1, &handshake)?;
        if shaken.error_code != ErrorCode::None {
            return Ok(ErrorCode::from(shaken.error_code));
        }
        let scram = Scram::new(Mechanism::Sha512, user, password, "a-nonce-of-the-client");
        let first = self.call(
            2,
            &SaslAuthenticateRequest {
                auth_bytes: Bytes::from(scram.first_message()),
            },
        )?;
        if first.error_code != ErrorCode::None {
            return Ok(ErrorCode::from(first.error_code));
        }
        let (answer, proof) = scram.answer(&first.auth_bytes).expect("the server speaks SCRAM");
        let last = self.call(
            2,
            &SaslAuthenticateRequest {
                auth_bytes: Bytes::from(answer),
            },
        )?;
        if last.error_code == ErrorCode::None {
            proof
                .verify(&last.auth_bytes)
                .expect("the server proves itself, too");
        }
        Ok(ErrorCode::from(last.error_code))
    }

    /// The names of all topics that this client may see.
    pub fn topics(&mut self) -> std::io::Result<Vec<String>> {
        let request = MetadataRequest {
            topics: None,
            ..MetadataRequest::default()
        };
        let response: MetadataResponse = self.call(12, &request)?;
        Ok(response
            .topics
            .iter()
            .filter_map(|topic| topic.name.as_ref())
            .map(|name| name.to_string())
            .collect())
    }
}

/// Whether somebody else is served now.
pub fn assert_served(bootstrap: &str) {
    let answer = Connection::open(bootstrap).call(
        3,
        &ApiVersionsRequest {
            client_software_name: Str::from_static("raw"),
            client_software_version: Str::from_static("1"),
        },
    );
    assert_eq!(answer.expect("others are served").error_code, ErrorCode::None);
}
