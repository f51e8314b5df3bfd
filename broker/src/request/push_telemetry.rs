//! PushTelemetry: a client brings the metrics that it was asked for (KIP-714). Whoever is let in may bring them.

use flotilla_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};

use super::Context;
use super::client_metrics::code;
use crate::client_metrics::Push;

/// Takes them, or says why not.
pub(super) async fn handle(ctx: &Context, request: PushTelemetryRequest) -> PushTelemetryResponse {
    let push = Push {
        instance_id: request.client_instance_id,
        subscription_id: request.subscription_id,
        terminating: request.terminating,
        codec: request.compression_type,
        bytes: request.metrics.len(),
    };
    let error_code = match ctx.broker.client_metrics.push(ctx, push, &request.metrics) {
        Ok(()) => 0,
        Err(refusal) => code(refusal).into(),
    };
    PushTelemetryResponse {
        error_code,
        ..PushTelemetryResponse::default()
    }
}
