//! Probes and metrics over HTTP.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection lasts at most.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

/// How far the operator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has begun.
    Starting,
    /// Another instance works.
    Waiting,
    /// It holds the lease, and has not heard of everything yet.
    Reading,
    /// It works.
    Working,
    /// It was told to stop.
    Stopping,
}

/// How far the operator is, for whoever asks. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<AtomicU8>);

impl Health {
    /// It is so far now.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    fn ready(&self) -> Result<&'static str, &'static str> {
        let is = |phase: Phase| self.0.load(Ordering::Relaxed) == phase as u8;
        match () {
            () if is(Phase::Working) => Ok("working"),
            () if is(Phase::Waiting) => Ok("waiting: another instance holds the lease"),
            () if is(Phase::Reading) => Err("reading what there is in Kubernetes"),
            () if is(Phase::Stopping) => Err("stopping"),
            () => Err("starting"),
        }
    }
}

/// Where probes and metrics are answered.
pub struct Probes {
    listener: TcpListener,
}

impl Probes {
    /// Listens.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(address: IpAddr, port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(address, port)).await?;
        Ok(Self { listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers, for ever.
    pub async fn serve(self, health: Health, metrics: Metrics) -> Infallible {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of a probe");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (health, metrics) = (health.clone(), metrics.clone());
            tokio::spawn(async move {
                let _slot = slot;
                let answer = service_fn(move |request| {
                    let answer = answer(&request, &health, &metrics);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                let connection = http.serve_connection(TokioIo::new(stream), answer);
                // Whoever left early needs no answer.
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            });
        }
    }
}

fn answer<B>(request: &Request<B>, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "alive"),
        "/readyz" => match health.ready() {
            Ok(why) => text(StatusCode::OK, why),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        "/metrics" => {
            let mut answer = text(StatusCode::OK, &metrics.text());
            let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let form = header::HeaderValue::from_static(form);
            answer.headers_mut().insert(header::CONTENT_TYPE, form);
            answer
        }
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics"),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(format!("{}\n", body.trim_end())));
    *answer.status_mut() = status;
    let form = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, form);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str, phase: Phase) -> u16 {
        let health = Health::default();
        health.set(phase);
        let request = Request::get(path).body(()).unwrap();
        answer(&request, &health, &Metrics::new()).status().as_u16()
    }

    #[test]
    fn one_that_waits_is_ready_and_one_that_still_reads_is_not() {
        let phases = [
            Phase::Starting,
            Phase::Waiting,
            Phase::Reading,
            Phase::Working,
            Phase::Stopping,
        ];
        assert_eq!(
            phases.map(|phase| ask("/readyz", phase)),
            [503, 200, 503, 200, 503]
        );
        assert_eq!(phases.map(|phase| ask("/healthz", phase)), [200; 5]);
        assert_eq!(ask("/metrics", Phase::Starting), 200);
        assert_eq!(ask("/", Phase::Working), 404);
        let request = Request::post("/metrics").body(()).unwrap();
        let refused = answer(&request, &Health::default(), &Metrics::new());
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
