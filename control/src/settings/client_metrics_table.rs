//! Every setting of a subscription to client metrics (KIP-714) of Kafka 4.3.1.

use super::Allowed::{Any, Between, ClientMatch};
use super::Kind::{Int, List};
use super::{Allowed, Kind, Scope, Setting, Update};

/// What a client can be matched by, with a regular expression that the whole value has to match.
pub(super) const SELECTORS: [&str; 6] = [
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

const fn s(name: &'static str, kind: Kind, default: &'static str, allowed: Allowed) -> Setting {
    Setting::new(
        Scope::ClientMetrics,
        name,
        kind,
        Some(default),
        allowed,
        Update::ClusterWide,
    )
}

/// Sorted by name.
#[rustfmt::skip]
pub(super) static SETTINGS: &[Setting] = &[
    s("interval.ms", Int, "300000", Between(100, 3_600_000)),
    s("match", List, "", ClientMatch),
    s("metrics", List, "", Any),
];

/// All of them have an effect here.
pub(super) const DOCS: &[(&str, &str)] = &[
    (
        "interval.ms",
        "How often a client pushes its metrics, in milliseconds.",
    ),
    (
        "match",
        "Which clients are meant: selectors and what they have to match as regular expressions, such as client_id=orders-.*; all of them have to. \
         Without any, all clients are meant.",
    ),
    (
        "metrics",
        "What the names of the metrics begin with that clients push; * for all of them.",
    ),
];

/// A selector and its expression; none where an item of `match` is not the one and the other around one `=`.
pub(super) fn selector(item: &str) -> Option<(&'static str, &str)> {
    let (name, expression) = item.split_once('=')?;
    let (name, expression) = (name.trim(), expression.trim());
    let known = SELECTORS.into_iter().find(|selector| *selector == name)?;
    (!expression.is_empty() && !expression.contains('=')).then_some((known, expression))
}
