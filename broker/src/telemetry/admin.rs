//! The admin port: probes, metrics, the log's level. Plain HTTP, for the kubelet, for Prometheus and for people.

use super::{Phase, Telemetry, log};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// More connections than these wait until one ends.
const CONNECTIONS_MAX: usize = 64;
/// A client that has not sent its request's head within this is left.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last, so that idle ones do not keep others out.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// A log filter is no longer than this.
const BODY_BYTES_MAX: usize = 4096;
/// After accepting failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the port shows and changes.
#[derive(Clone)]
pub struct Admin {
    /// Metrics and phase.
    pub telemetry: Telemetry,
    /// The log's level.
    pub level: log::Level,
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, admin: Admin) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin port could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let admin = admin.clone();
                async move { Ok::<_, Infallible>(admin.answer(request, peer).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
                tracing::debug!(%error, %peer, "admin connection ended early");
            }
            drop(permit);
        });
    }
}

type Answer = Response<Full<Bytes>>;

impl Admin {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match (&method, path.as_str()) {
            (&Method::GET | &Method::HEAD, "/healthz") => self.health(),
            (&Method::GET | &Method::HEAD, "/readyz") => self.ready(),
            (&Method::GET | &Method::HEAD, "/metrics") => self.metrics(),
            (&Method::GET | &Method::HEAD, "/loglevel") => plain(StatusCode::OK, self.level.current()),
            (&Method::PUT | &Method::POST, "/loglevel") => self.set_level(request, peer).await,
            (_, "/healthz" | "/readyz" | "/metrics") => not_allowed("GET, HEAD"),
            (_, "/loglevel") => not_allowed("GET, HEAD, PUT, POST"),
            _ => plain(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz, /metrics and /loglevel".into(),
            ),
        }
    }

    /// Whether the process is worth keeping: never depends on the quorum, nor on how long recovery takes.
    fn health(&self) -> Answer {
        match self.telemetry.readiness.phase() {
            phase @ Phase::Broken(_) => plain(StatusCode::SERVICE_UNAVAILABLE, phase.to_string()),
            _ => plain(StatusCode::OK, "ok".into()),
        }
    }

    fn ready(&self) -> Answer {
        let phase = self.telemetry.readiness.phase();
        let status = if phase == Phase::Ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        plain(status, phase.to_string())
    }

    fn metrics(&self) -> Answer {
        let mut answer = plain(StatusCode::OK, self.telemetry.metrics.encode());
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        answer
            .headers_mut()
            .insert(CONTENT_TYPE, kind.parse().expect("a valid header value"));
        answer
    }

    /// Only from this machine (in a pod: through `kubectl exec` or `port-forward`): whoever can turn on traces can fill
    /// the disk and read what clients send.
    async fn set_level(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        if !peer.ip().to_canonical().is_loopback() {
            let why =
                "the log level is changed from the broker's own machine only, as with kubectl port-forward";
            return plain(StatusCode::FORBIDDEN, why.into());
        }
        let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await else {
            return plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                "a log filter has at most 4096 bytes".into(),
            );
        };
        let filter = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        match self.level.set(&filter) {
            Ok(()) => plain(StatusCode::OK, self.level.current()),
            Err(error @ log::Error::Filter { .. }) => plain(StatusCode::BAD_REQUEST, error.to_string()),
            Err(error @ log::Error::NotOurs) => plain(StatusCode::CONFLICT, error.to_string()),
        }
    }
}

fn plain(status: StatusCode, mut text: String) -> Answer {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let kind = "text/plain; charset=utf-8".parse().expect("a valid header value");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {methods}"));
    answer
        .headers_mut()
        .insert(ALLOW, methods.parse().expect("a valid header value"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn start() -> (SocketAddr, Telemetry) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let telemetry = Telemetry::default();
        let admin = Admin {
            telemetry: telemetry.clone(),
            level: log::Level::default(),
        };
        tokio::spawn(serve(listener, admin));
        (address, telemetry)
    }

    async fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        let length = body.len();
        let request =
            format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("open");
        // A server that refuses by the head may have closed already.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).expect("text");
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status line");
        (
            status,
            answer
                .split_once("\r\n\r\n")
                .map_or("", |(_, body)| body)
                .to_owned(),
        )
    }

    #[tokio::test]
    async fn readiness_follows_the_phase_and_health_does_not() {
        let (address, telemetry) = start().await;
        assert_eq!(ask(address, "GET /readyz", "").await, (503, "starting\n".into()));
        assert_eq!(ask(address, "GET /healthz", "").await, (200, "ok\n".into()));
        telemetry.readiness.set(Phase::Ready);
        assert_eq!(ask(address, "GET /readyz", "").await, (200, "ready\n".into()));
        telemetry
            .readiness
            .set(Phase::Broken("the volume /data failed".into()));
        assert_eq!(
            ask(address, "GET /healthz", "").await,
            (503, "broken: the volume /data failed\n".into())
        );
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics() {
        let (address, telemetry) = start().await;
        telemetry.metrics.request_unsupported();
        let (status, page) = ask(address, "GET /metrics", "").await;
        assert_eq!(status, 200);
        assert!(page.contains("flotilla_unsupported_requests_total 1\n"), "{page}");
    }

    #[tokio::test]
    async fn what_is_not_there_is_refused_with_what_is() {
        let (address, _telemetry) = start().await;
        assert_eq!(
            ask(address, "DELETE /metrics", "").await,
            (405, "allowed here: GET, HEAD\n".into())
        );
        assert_eq!(ask(address, "GET /", "").await.0, 404);
        assert_eq!(ask(address, "PUT /loglevel", "x=loud").await.0, 400);
        assert_eq!(
            ask(address, "PUT /loglevel", "debug").await.0,
            409,
            "this process has a log of its own"
        );
        assert_eq!(ask(address, "PUT /loglevel", &"x".repeat(10_000)).await.0, 413);
    }
}
