//! What is counted, in the form that Prometheus reads. `docs/metrics.md` says what each means.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::Key;

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do, or it waits for something.
    Done,
    /// It is tried again.
    Failed,
    /// It broke: a fault of ours. It is tried again.
    Panicked,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabel {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabel {
    verb: &'static str,
    kind: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadyLabel {
    kind: &'static str,
    ready: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabel {
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabel {
    namespace: String,
    cluster: String,
}

impl ClusterLabel {
    fn of(key: &Key) -> Self {
        Self {
            namespace: key.namespace.clone(),
            cluster: key.name.clone(),
        }
    }
}

type Durations = Family<KindLabel, Histogram, fn() -> Histogram>;

/// Asked for whenever somebody reads the metrics, to bring gauges up to date.
type Refresh = Box<dyn Fn(&Metrics) + Send + Sync>;

/// What is counted. A clone counts into the same.
#[derive(Clone)]
pub struct Metrics(Arc<Numbers>);

struct Numbers {
    registry: Registry,
    reconciles: Family<ReconcileLabel, Counter>,
    durations: Durations,
    queued: Family<KindLabel, Gauge>,
    resources: Family<ReadyLabel, Gauge>,
    undecodable: Family<KindLabel, Gauge>,
    writes: Family<WriteLabel, Counter>,
    watch_failures: Family<KindLabel, Counter>,
    fleets: Family<ClusterLabel, Gauge>,
    fleet_calls: Family<CallLabel, Counter>,
    certificates: Family<ClusterLabel, Gauge>,
    lease: Gauge,
    refresh: Mutex<Vec<Refresh>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("flotilla_operator");
        let numbers = Numbers {
            reconciles: Family::default(),
            durations: Durations::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_5, 4.0, 10))
            }),
            queued: Family::default(),
            resources: Family::default(),
            undecodable: Family::default(),
            writes: Family::default(),
            watch_failures: Family::default(),
            fleets: Family::default(),
            fleet_calls: Family::default(),
            certificates: Family::default(),
            lease: Gauge::default(),
            refresh: Mutex::default(),
            registry: Registry::default(),
        };
        registry.register(
            "reconciles",
            "Reconciles by kind and result",
            numbers.reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "How long a reconcile took",
            numbers.durations.clone(),
        );
        registry.register(
            "queue_depth",
            "Resources that wait for a reconcile",
            numbers.queued.clone(),
        );
        registry.register(
            "resources",
            "Resources by kind and status of their condition Ready",
            numbers.resources.clone(),
        );
        registry.register(
            "undecodable_resources",
            "Resources that the operator cannot read",
            numbers.undecodable.clone(),
        );
        registry.register(
            "api_writes",
            "Requests to the API server that write, by verb, kind and result",
            numbers.writes.clone(),
        );
        registry.register(
            "watch_failures",
            "Watches that broke off and were begun again",
            numbers.watch_failures.clone(),
        );
        registry.register(
            "fleet_connected",
            "Whether the brokers of a Cluster can be reached",
            numbers.fleets.clone(),
        );
        registry.register(
            "fleet_calls",
            "Calls to brokers, by name",
            numbers.fleet_calls.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the first certificate of a Cluster ends, in seconds since 1970",
            numbers.certificates.clone(),
        );
        registry.register("lease_held", "Whether this instance works", numbers.lease.clone());
        Self(Arc::new(Numbers { registry, ..numbers }))
    }

    /// All of it, as text.
    #[must_use]
    pub fn text(&self) -> String {
        for refresh in self.0.refresh.lock().iter() {
            refresh(self);
        }
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry).expect("a String takes everything");
        text
    }

    /// Calls this before every reading, to set gauges.
    pub(crate) fn before_reading(&self, refresh: impl Fn(&Self) + Send + Sync + 'static) {
        self.0.refresh.lock().push(Box::new(refresh));
    }

    pub(crate) fn reconciled(&self, kind: &'static str, outcome: Outcome, took: Duration) {
        let result = match outcome {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Panicked => "panicked",
        };
        self.0
            .reconciles
            .get_or_create(&ReconcileLabel { kind, result })
            .inc();
        self.0
            .durations
            .get_or_create(&KindLabel { kind })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn queued(&self, kind: &'static str, depth: usize) {
        let depth = i64::try_from(depth).unwrap_or(i64::MAX);
        self.0.queued.get_or_create(&KindLabel { kind }).set(depth);
    }

    /// `ready` counts resources whose condition is True, False and Unknown or missing.
    pub(crate) fn resources(&self, kind: &'static str, ready: [usize; 3], undecodable: usize) {
        for (ready, count) in ["True", "False", "Unknown"].into_iter().zip(ready) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.0
                .resources
                .get_or_create(&ReadyLabel { kind, ready })
                .set(count);
        }
        let undecodable = i64::try_from(undecodable).unwrap_or(i64::MAX);
        self.0
            .undecodable
            .get_or_create(&KindLabel { kind })
            .set(undecodable);
    }

    pub(crate) fn written(&self, verb: &'static str, kind: &str, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        let kind = kind.to_owned();
        self.0
            .writes
            .get_or_create(&WriteLabel { verb, kind, result })
            .inc();
    }

    pub(crate) fn watch_failed(&self, kind: &'static str) {
        self.0.watch_failures.get_or_create(&KindLabel { kind }).inc();
    }

    /// Whether the brokers of a Cluster can be reached.
    pub(crate) fn fleet(&self, cluster: &Key, connected: bool) {
        self.0
            .fleets
            .get_or_create(&ClusterLabel::of(cluster))
            .set(i64::from(connected));
    }

    /// `calls` counts since the start.
    pub(crate) fn fleet_calls(&self, calls: &BTreeMap<&'static str, u64>) {
        for (call, count) in calls {
            let counter = self.0.fleet_calls.get_or_create(&CallLabel { call });
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    /// When the first certificate of a Cluster ends, in seconds since 1970.
    pub fn certificate_expiry(&self, cluster: &Key, seconds: i64) {
        self.0
            .certificates
            .get_or_create(&ClusterLabel::of(cluster))
            .set(seconds);
    }

    /// Forgets a Cluster that is gone.
    pub fn forget(&self, cluster: &Key) {
        self.0.fleets.remove(&ClusterLabel::of(cluster));
        self.0.certificates.remove(&ClusterLabel::of(cluster));
    }

    pub(crate) fn lease(&self, held: bool) {
        self.0.lease.set(i64::from(held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text_and_a_cluster_that_is_gone_is_not() {
        let metrics = Metrics::new();
        metrics.before_reading(|metrics| metrics.queued("Topic", 3));
        metrics.reconciled("Topic", Outcome::Done, Duration::from_millis(1));
        metrics.written("patch", "Service", true);
        metrics.resources("User", [1, 2, 0], 4);
        let (events, gone) = (Key::new("streaming", "events"), Key::new("streaming", "gone"));
        for key in [&events, &gone] {
            metrics.fleet(key, true);
            metrics.certificate_expiry(key, 1_800_000_000);
        }
        metrics.forget(&gone);
        metrics.lease(true);
        for count in [2, 5] {
            metrics.fleet_calls(&BTreeMap::from([("ApplyTopic", count)]));
        }
        let text = metrics.text();
        for line in [
            "flotilla_operator_reconciles_total{kind=\"Topic\",result=\"done\"} 1",
            "flotilla_operator_reconcile_duration_seconds_count{kind=\"Topic\"} 1",
            "flotilla_operator_queue_depth{kind=\"Topic\"} 3",
            "flotilla_operator_resources{kind=\"User\",ready=\"False\"} 2",
            "flotilla_operator_undecodable_resources{kind=\"User\"} 4",
            "flotilla_operator_api_writes_total{verb=\"patch\",kind=\"Service\",result=\"ok\"} 1",
            "flotilla_operator_fleet_connected{namespace=\"streaming\",cluster=\"events\"} 1",
            "flotilla_operator_certificate_expiry_timestamp_seconds{namespace=\"streaming\",cluster=\"events\"} 1800000000",
            "flotilla_operator_fleet_calls_total{call=\"ApplyTopic\"} 5",
            "flotilla_operator_lease_held 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("gone"), "{text}");
    }
}
