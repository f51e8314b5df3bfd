//! What clients push of their metrics (KIP-714), and how that goes.

use std::fmt::{self, Write as _};

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Page;
use crate::broker::Broker;
use crate::client_metrics::{Family, Row};

/// In front of the name of each metric of clients: none of them can be taken for one of the broker.
const PREFIX: &str = "client_metric_";

pub(super) fn show(page: &mut Page<'_>, broker: &Broker) -> fmt::Result {
    let numbers = broker.client_metrics.numbers();
    page.gauge(
        "client_telemetry_instances",
        "Clients that asked which metrics they are to push (KIP-714)",
        numbers.counts.instances,
    )?;
    page.gauge(
        "client_telemetry_series",
        "Series that clients pushed and that are shown",
        numbers.series,
    )?;
    for (name, help, value) in [
        (
            "client_telemetry_pushes",
            "Pushes of clients' metrics that were taken",
            numbers.counts.pushes,
        ),
        (
            "client_telemetry_throttles",
            "Requests for or with clients' metrics that came before their interval was over",
            numbers.counts.throttled,
        ),
        (
            "client_telemetry_unknown_subscriptions",
            "Pushes for a subscription that the client did not have",
            numbers.counts.unknown_subscriptions,
        ),
        (
            "client_telemetry_evictions",
            "Clients that had to be forgotten for others",
            numbers.counts.evictions,
        ),
        (
            "client_telemetry_dropped_points",
            "Values that clients pushed and that were not kept, for want of room or because they cannot be shown or were not asked for",
            numbers.dropped,
        ),
    ] {
        page.counter(name, help, value)?;
    }
    broker
        .client_metrics
        .with_families(|families| families.iter().try_for_each(|of| family(page, of)))
}

fn family(page: &mut Page<'_>, family: &Family<'_>) -> fmt::Result {
    let name = format!("{PREFIX}{}", family.name);
    let kind = if family.is_total {
        MetricType::Counter
    } else {
        MetricType::Gauge
    };
    let mut encoder = page
        .0
        .encode_descriptor(&name, "Pushed by clients (KIP-714)", None, kind)?;
    family
        .rows
        .iter()
        .try_for_each(|row| value(&mut encoder, family.is_total, row))
}

fn value(encoder: &mut MetricEncoder<'_>, is_total: bool, row: &Row<'_>) -> fmt::Result {
    let labels = Labels(row);
    let mut encoder = encoder.encode_family(&labels)?;
    match is_total {
        true => encoder.encode_counter::<NoLabelSet, f64, u64>(&row.value, None),
        false => encoder.encode_gauge(&row.value),
    }
}

/// Whose a series is, and its attributes.
#[derive(Debug)]
struct Labels<'a>(&'a Row<'a>);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(encoder, "client_id", self.0.client_id)?;
        label(encoder, "client_instance_id", &self.0.instance_id.to_string())?;
        self.0
            .labels
            .iter()
            .try_for_each(|(name, value)| label(encoder, name, value))
    }
}

/// Writes a label. Its value comes from a client: what would end it is escaped, which the encoder leaves to us.
fn label(encoder: &mut LabelSetEncoder<'_>, name: &str, value: &str) -> fmt::Result {
    let mut encoder = encoder.encode_label();
    let mut key = encoder.encode_label_key()?;
    key.write_str(name)?;
    let mut written = key.encode_label_value()?;
    for c in value.chars() {
        match c {
            '\\' => written.write_str("\\\\")?,
            '"' => written.write_str("\\\"")?,
            '\n' => written.write_str("\\n")?,
            c => written.write_char(c)?,
        }
    }
    written.finish()
}
