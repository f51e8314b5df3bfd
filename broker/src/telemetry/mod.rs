//! What an operator sees of a running broker: logs, metrics, probes.

pub mod admin;
pub mod log;
mod metrics;
mod readiness;

pub use metrics::{ApiLabel, CloseReason, ListenerMetrics, Metrics, Outcome};
pub use readiness::{Phase, Readiness};

/// The handles that the rest of the broker reports to.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// What is counted.
    pub metrics: Metrics,
    /// Whether the broker can serve, and if not, why.
    pub readiness: Readiness,
}
