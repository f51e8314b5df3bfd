//! InitProducerId: a number for an idempotent producer (KIP-98).

use super::{Context, error};
use crate::auth::{Operation, ResourceType};
use crate::replica::NoProducerId;
use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// The name by which rules know the cluster itself.
const CLUSTER: &str = "kafka-cluster";

/// Gives an idempotent producer its id. Transactional producers are refused for good, not to be retried: there is no
/// transaction coordinator.
pub(super) async fn handle(ctx: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    if (request.producer_id < 0) != (request.producer_epoch < 0) {
        return refused(ErrorCode::InvalidRequest);
    }
    if let Some(id) = &request.transactional_id {
        return refused(if id.is_empty() {
            ErrorCode::InvalidRequest
        } else if !ctx.allowed(Operation::Write, ResourceType::TransactionalId, id) {
            ErrorCode::TransactionalIdAuthorizationFailed
        } else {
            ErrorCode::UnsupportedVersion
        });
    }
    // Who may write to any topic may do so idempotently (KIP-679).
    let allowed = ctx.allowed(Operation::IdempotentWrite, ResourceType::Cluster, CLUSTER)
        || ctx.allowed_on_any(Operation::Write, ResourceType::Topic);
    if !allowed {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let broker = &ctx.broker;
    let Some(epoch) = ctx.image().broker(broker.id).map(|own| own.epoch) else {
        return refused(ErrorCode::CoordinatorNotAvailable);
    };
    match broker
        .producer_ids
        .next(&broker.controller, broker.id, epoch)
        .await
    {
        Ok(id) => InitProducerIdResponse {
            producer_id: id.0,
            producer_epoch: 0,
            ..InitProducerIdResponse::default()
        },
        // Java's clients wait and ask again for this one, and for no other that fits.
        Err(NoProducerId::Submit(cause)) => {
            tracing::warn!(
                "no producer id could be given: {cause} ({})",
                error::of_submit(&cause)
            );
            refused(ErrorCode::CoordinatorLoadInProgress)
        }
        Err(cause @ NoProducerId::Refused(_)) => {
            tracing::warn!("no producer id could be given: {cause}");
            refused(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code.into(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    }
}
