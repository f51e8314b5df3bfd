//! What is counted, in the form that Prometheus reads.

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which API a request was for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ApiLabel {
    /// Kafka's name of it.
    pub api: &'static str,
}

/// Which listener a connection came in on. There are as many as the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: String,
}

/// How an attempt to authenticate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// The client is who it says.
    Accepted,
    /// It is not, or could not say it properly.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthenticationLabel {
    mechanism: &'static str,
    outcome: Outcome,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum CloseReason {
    /// The client left.
    Client,
    /// Nothing came for `connections.max.idle.ms`.
    Idle,
    /// A frame stayed half sent, an answer half taken, or a handshake half done.
    Stalled,
    /// What came is not Kafka's protocol, or a request that cannot be read.
    Malformed,
    /// A frame larger than `socket.request.max.bytes`, or than what is taken before authentication.
    TooLarge,
    /// The TLS handshake failed.
    Tls,
    /// Wrong credentials, or requests before there were any.
    Unauthenticated,
    /// A request that expects no answer failed.
    Unacknowledged,
    /// The user is gone, or its credentials have changed.
    Revoked,
    /// More connections than the limits allow.
    Limit,
    /// A handler failed in a way that it never should: a bug.
    Panic,
    /// The broker stops.
    Shutdown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabel {
    reason: CloseReason,
}

/// Everything that is counted. Clones count into the same numbers.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<ApiLabel, Counter>,
    request_seconds: Family<ApiLabel, Histogram, fn() -> Histogram>,
    unsupported_requests: Counter,
    connections: Family<ListenerLabel, Gauge>,
    connections_closed: Family<CloseLabel, Counter>,
    authentications: Family<AuthenticationLabel, Counter>,
    received_bytes: Family<ListenerLabel, Counter>,
    sent_bytes: Family<ListenerLabel, Counter>,
    certificate_expiry: Family<ListenerLabel, Gauge>,
    certificate_failures: Family<ListenerLabel, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// From half a millisecond to 16 seconds.
fn request_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("flotilla");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Which broker this is", Info::new(version));
        let requests = Family::default();
        registry.register("requests", "Requests that were answered", requests.clone());
        let request_seconds = Family::new_with_constructor(request_histogram as fn() -> Histogram);
        registry.register(
            "request_seconds",
            "From a request's arrival to its answer, waiting for records or acknowledgements included",
            request_seconds.clone(),
        );
        let unsupported_requests = Counter::default();
        registry.register(
            "unsupported_requests",
            "Requests for an API or version that is not served",
            unsupported_requests.clone(),
        );
        let connections = Family::default();
        registry.register("connections", "Open connections", connections.clone());
        let connections_closed = Family::default();
        registry.register(
            "connections_closed",
            "Connections closed, by reason",
            connections_closed.clone(),
        );
        let authentications = Family::default();
        registry.register(
            "authentications",
            "Attempts to authenticate",
            authentications.clone(),
        );
        let received_bytes = Family::default();
        registry.register("received_bytes", "Bytes of requests", received_bytes.clone());
        let sent_bytes = Family::default();
        registry.register("sent_bytes", "Bytes of answers", sent_bytes.clone());
        let certificate_expiry = Family::default();
        registry.register(
            "certificate_expiry_seconds",
            "When the certificate in use ends, in seconds since 1970",
            certificate_expiry.clone(),
        );
        let certificate_failures = Family::default();
        registry.register(
            "certificate_reload_failures",
            "Times that changed certificates could not be used, so that the old ones stayed",
            certificate_failures.clone(),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
            requests,
            request_seconds,
            unsupported_requests,
            connections,
            connections_closed,
            authentications,
            received_bytes,
            sent_bytes,
            certificate_expiry,
            certificate_failures,
        }
    }
}

impl Metrics {
    /// Lets another room register what it counts. Names get the prefix `flotilla_`; counters the suffix `_total`.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock());
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut page = String::new();
        // Writing into a String cannot fail; a metric that cannot be encoded leaves the page cut short.
        if text::encode(&mut page, &self.registry.lock()).is_err() {
            tracing::error!("a metric could not be encoded");
        }
        page
    }

    /// A request was answered.
    pub fn request_answered(&self, api: &'static str, took: Duration) {
        let label = ApiLabel { api };
        self.requests.get_or_create(&label).inc();
        self.request_seconds
            .get_or_create(&label)
            .observe(took.as_secs_f64());
    }

    /// A request for what is not served.
    pub fn request_unsupported(&self) {
        self.unsupported_requests.inc();
    }

    /// The numbers of one listener, looked up once.
    #[must_use]
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let label = ListenerLabel {
            listener: name.to_owned(),
        };
        ListenerMetrics {
            connections: self.connections.get_or_create(&label).clone(),
            received_bytes: self.received_bytes.get_or_create(&label).clone(),
            sent_bytes: self.sent_bytes.get_or_create(&label).clone(),
            closed: self.connections_closed.clone(),
            certificate_expiry: self.certificate_expiry.clone(),
            certificate_failures: self.certificate_failures.clone(),
            label,
        }
    }

    /// An attempt to authenticate ended.
    pub fn authenticated(&self, mechanism: &'static str, outcome: Outcome) {
        self.authentications
            .get_or_create(&AuthenticationLabel { mechanism, outcome })
            .inc();
    }

    /// A connection ended.
    pub fn connection_closed(&self, reason: CloseReason) {
        self.connections_closed
            .get_or_create(&CloseLabel { reason })
            .inc();
    }

    /// How many connections ended for that reason.
    #[must_use]
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.connections_closed
            .get_or_create(&CloseLabel { reason })
            .get()
    }
}

/// The numbers of one listener.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    /// Open connections.
    pub connections: Gauge,
    /// Of requests.
    pub received_bytes: Counter,
    /// Of answers.
    pub sent_bytes: Counter,
    closed: Family<CloseLabel, Counter>,
    certificate_expiry: Family<ListenerLabel, Gauge>,
    certificate_failures: Family<ListenerLabel, Counter>,
    label: ListenerLabel,
}

impl ListenerMetrics {
    /// A certificate is in use from now on, until then (seconds since 1970).
    pub fn certificate_taken(&self, expires: i64) {
        self.certificate_expiry.get_or_create(&self.label).set(expires);
    }

    /// Changed certificates could not be used.
    pub fn certificate_refused(&self) {
        self.certificate_failures.get_or_create(&self.label).inc();
    }

    /// A connection ended.
    pub fn closed(&self, reason: CloseReason) {
        self.closed.get_or_create(&CloseLabel { reason }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_shows_what_was_counted() {
        let metrics = Metrics::default();
        metrics.request_answered("Metadata", Duration::from_millis(3));
        metrics.connection_closed(CloseReason::TooLarge);
        metrics.authenticated("SCRAM-SHA-256", Outcome::Refused);
        metrics.listener("internal").connections.inc();
        let page = metrics.encode();
        for line in [
            "flotilla_requests_total{api=\"Metadata\"} 1",
            "flotilla_connections_closed_total{reason=\"TooLarge\"} 1",
            "flotilla_authentications_total{mechanism=\"SCRAM-SHA-256\",outcome=\"Refused\"} 1",
            "flotilla_connections{listener=\"internal\"} 1",
            "flotilla_request_seconds_count{api=\"Metadata\"} 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert_eq!(page.lines().last(), Some("# EOF"));
    }
}
