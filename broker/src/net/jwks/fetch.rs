//! Reads a set of keys from where it is: `https:`, `file:`, or `http:` on this machine: on the way, anybody could put in a key of
//! his own, and sign tokens with it.

use crate::auth::oauth::{KeySet, KeySetError};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Larger than any set of keys.
const BODY_BYTES_MAX: usize = 1 << 20;
/// From connecting to the last byte.
const WITHIN: Duration = Duration::from_secs(10);

/// Why an endpoint is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no address of a key set: it begins with https:// or file:///, or with http:// for an address of this machine"
)]
pub(in crate::net) struct EndpointError(String);

/// Why no keys were read. All of it is put right from outside.
#[derive(Debug, thiserror::Error)]
pub(in crate::net) enum FetchError {
    #[error("cannot be read: {0}")]
    File(io::Error),
    #[error("cannot be reached: {0}")]
    Connect(io::Error),
    #[error(
        "the TLS handshake failed: {0}. Its authority has to be one of the system's, or in the file of SSL_CERT_FILE"
    )]
    Tls(io::Error),
    #[error("did not answer within 10 s")]
    Slow,
    #[error("broke off: {0}")]
    Http(#[from] hyper::Error),
    #[error("answered with status {0}")]
    Status(u16),
    #[error("the answer cannot be read, or is larger than 1 MiB: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

/// Where a set of keys is: `sasl.oauthbearer.jwks.endpoint.url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) enum Endpoint {
    File(PathBuf),
    Http(Box<Target>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) struct Target {
    tls: bool,
    host: String,
    port: u16,
    /// As the header says it.
    authority: String,
    path: String,
}

impl Endpoint {
    pub(in crate::net) fn parse(url: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(url.to_owned());
        if let Some(path) = url.strip_prefix("file://") {
            let path = Path::new(path);
            return path
                .is_absolute()
                .then(|| Self::File(path.to_owned()))
                .ok_or_else(wrong);
        }
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || !(tls || is_of_this_machine(&host)) {
            return Err(wrong());
        }
        Ok(Self::Http(Box::new(Target {
            tls,
            host,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
        })))
    }

    /// Reads the keys.
    pub(in crate::net) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let body = match self {
            Self::File(path) => read(path).await?,
            Self::Http(target) => tokio::time::timeout(WITHIN, target.get())
                .await
                .map_err(|_| FetchError::Slow)??,
        };
        Ok(KeySet::parse(&body)?)
    }
}

fn is_of_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

async fn read(path: &Path) -> Result<Bytes, FetchError> {
    let file = tokio::fs::File::open(path).await.map_err(FetchError::File)?;
    let mut text = Vec::new();
    file.take(BODY_BYTES_MAX as u64)
        .read_to_end(&mut text)
        .await
        .map_err(FetchError::File)?;
    Ok(text.into())
}

impl Target {
    async fn get(&self) -> Result<Bytes, FetchError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(FetchError::Connect)?;
        if !self.tls {
            return self.get_over(stream).await;
        }
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| FetchError::Tls(io::Error::other(error)))?;
        let stream = TlsConnector::from(trusted()?)
            .connect(name, stream)
            .await
            .map_err(FetchError::Tls)?;
        self.get_over(stream).await
    }

    async fn get_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Bytes, FetchError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(&self.path)
            .header(HOST, &self.authority)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "flotilla")
            .body(Empty::<Bytes>::new())
            .expect("the parts of an address that was read");
        // The connection is driven as long as the answer is read, and ends with this future.
        let answer = async {
            let response = sender.send_request(request).await?;
            if !response.status().is_success() {
                return Err(FetchError::Status(response.status().as_u16()));
            }
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            Ok(body.map_err(FetchError::Body)?.to_bytes())
        };
        let connection = async {
            match connection.await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            error = connection => Err(error.into()),
        }
    }
}

/// Whom the system trusts, looked at each time: its authorities change while a broker runs.
fn trusted() -> Result<Arc<ClientConfig>, FetchError> {
    let mut roots = RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    if loaded.certs.is_empty()
        && let Some(error) = loaded.errors.into_iter().next()
    {
        return Err(FetchError::Tls(io::Error::other(error)));
    }
    roots.add_parsable_certificates(loaded.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Tls(io::Error::other(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let target = |tls, host: &str, port, authority: &str, path: &str| {
            Endpoint::Http(Box::new(Target {
                tls,
                host: host.into(),
                port,
                authority: authority.into(),
                path: path.into(),
            }))
        };
        for (url, expected) in [
            (
                "https://id.example/realms/a/certs?x=1",
                target(true, "id.example", 443, "id.example", "/realms/a/certs?x=1"),
            ),
            (
                "http://127.0.0.1:81",
                target(false, "127.0.0.1", 81, "127.0.0.1:81", "/"),
            ),
            (
                "https://[::1]:8443/k",
                target(true, "::1", 8443, "[::1]:8443", "/k"),
            ),
            ("file:///etc/keys.json", Endpoint::File("/etc/keys.json".into())),
        ] {
            assert_eq!(Endpoint::parse(url).expect(url), expected);
        }
        for url in [
            "",
            "id.example/certs",
            "ftp://id.example/k",
            "file://keys",
            "https://",
            "http://id.example/k",
            "http://localhost.example/k",
        ] {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }
}
