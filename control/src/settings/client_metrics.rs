//! The settings of a subscription to client metrics, as a broker works with them.

use std::collections::BTreeMap;

use super::client_metrics_table::selector;
use super::value::{Value, items};
use super::{Scope, find};

/// A subscription to client metrics (KIP-714), resolved: what is set, else the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMetricsConfig {
    /// What the names of metrics begin with; `*` is all of them (`metrics`).
    pub metrics: Vec<String>,
    /// How often clients push, in milliseconds (`interval.ms`).
    pub interval_ms: i32,
    /// What clients are selected by, and the regular expression that it has to match (`match`).
    pub selectors: Vec<(&'static str, String)>,
}

impl ClientMetricsConfig {
    /// From what is set. A value that its setting does not take counts as not set: values are checked where they are set.
    #[must_use]
    pub fn resolve(set: &BTreeMap<String, String>) -> Self {
        let list = |name: &'static str| items(value(set, name));
        Self {
            metrics: list("metrics").map(str::to_owned).collect(),
            interval_ms: i32::read(value(set, "interval.ms")).unwrap_or(i32::MAX),
            selectors: list("match")
                .filter_map(selector)
                .map(|(name, expression)| (name, expression.to_owned()))
                .collect(),
        }
    }
}

/// The value that holds.
fn value<'a>(set: &'a BTreeMap<String, String>, name: &'static str) -> &'a str {
    let setting = find(Scope::ClientMetrics, name);
    let taken = set
        .get(name)
        .map(String::as_str)
        .filter(|value| setting.is_some_and(|setting| setting.check(value).is_ok()));
    taken
        .or(setting.and_then(|setting| setting.default))
        .unwrap_or_default()
}
