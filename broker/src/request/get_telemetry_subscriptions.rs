//! GetTelemetrySubscriptions: a client asks which of its metrics it is to push, and how often (KIP-714). Whoever is let in may ask.

use flotilla_protocol::messages::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};
use flotilla_protocol::records::Compression;

use super::Context;
use super::client_metrics::code;

/// What a push may be compressed with, those that are liked best first. One that is not compressed is taken, too.
const ACCEPTED: [Compression; 4] = [
    Compression::Zstd,
    Compression::Lz4,
    Compression::Gzip,
    Compression::Snappy,
];

/// Answers what the subscriptions that mean the client ask of it. A client without an id gets one.
pub(super) async fn handle(
    ctx: &Context,
    request: GetTelemetrySubscriptionsRequest,
) -> GetTelemetrySubscriptionsResponse {
    let metrics = &ctx.broker.client_metrics;
    let client_instance_id = match request.client_instance_id {
        id if id.is_zero() => metrics.fresh_id(),
        id => id,
    };
    match metrics.get(ctx, client_instance_id) {
        Err(refusal) => GetTelemetrySubscriptionsResponse {
            error_code: code(refusal).into(),
            ..GetTelemetrySubscriptionsResponse::default()
        },
        Ok(wanted) => GetTelemetrySubscriptionsResponse {
            client_instance_id,
            subscription_id: wanted.subscription_id,
            accepted_compression_types: ACCEPTED.map(|codec| codec.code().cast_signed()).to_vec(),
            push_interval_ms: i32::try_from(wanted.interval_ms).unwrap_or(i32::MAX),
            telemetry_max_bytes: ctx.broker.settings().telemetry_max_bytes,
            delta_temporality: true,
            requested_metrics: wanted.metrics.into_iter().map(Into::into).collect(),
            ..GetTelemetrySubscriptionsResponse::default()
        },
    }
}
