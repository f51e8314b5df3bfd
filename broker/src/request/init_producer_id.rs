//! InitProducerId: a number for an idempotent or transactional producer (KIP-98, KIP-360).

use super::transaction::{code_for, may_write};
use super::{CLUSTER, Context, error};
use crate::auth::{Operation, ResourceType};
use crate::replica::NoProducerId;
use crate::transaction::{Init, ProducerRef, Reply, Request};
use flotilla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use flotilla_protocol::{ErrorCode, ProducerId};

/// Gives an idempotent producer its id, and a transactional one its next incarnation.
pub(super) async fn handle(ctx: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    if (request.producer_id < 0) != (request.producer_epoch < 0) {
        return refused(ErrorCode::InvalidRequest);
    }
    let Some(id) = request.transactional_id.clone() else {
        return idempotent(ctx).await;
    };
    if id.is_empty() {
        return refused(ErrorCode::InvalidRequest);
    }
    // Two-phase commit (KIP-939) is not enabled in Kafka either, unless somebody does.
    if !may_write(ctx, &id) || request.enable2_pc {
        return refused(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if request.keep_prepared_txn {
        return refused(ErrorCode::UnsupportedVersion);
    }
    let fresh = match fresh_producer_id(ctx).await {
        Ok(fresh) => fresh,
        Err(code) => return refused(code),
    };
    let expected =
        (request.producer_id >= 0).then(|| ProducerRef::of(request.producer_id, request.producer_epoch));
    let init = Init {
        id: id.as_str().into(),
        timeout_ms: request.transaction_timeout_ms,
        expected,
        fresh,
    };
    match ctx.broker.transactions.ask(&id, Request::Init(init)).await {
        Reply::Init(Ok(initialized)) => InitProducerIdResponse {
            producer_id: initialized.producer.id.0,
            producer_epoch: initialized.producer.epoch.0,
            ..InitProducerIdResponse::default()
        },
        Reply::Init(Err(error)) => refused(code_for(ctx, 4, error)),
        _ => refused(ErrorCode::UnknownServerError),
    }
}

async fn idempotent(ctx: &Context) -> InitProducerIdResponse {
    // Who may write to any topic may do so idempotently (KIP-679).
    let allowed = ctx.allowed(Operation::IdempotentWrite, ResourceType::Cluster, CLUSTER)
        || ctx.allowed_on_any(Operation::Write, ResourceType::Topic);
    if !allowed {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    match fresh_producer_id(ctx).await {
        Ok(id) => InitProducerIdResponse {
            producer_id: id.0,
            producer_epoch: 0,
            ..InitProducerIdResponse::default()
        },
        Err(code) => refused(code),
    }
}

/// A producer id that nobody has.
///
/// # Errors
/// The one for which Java's clients wait and ask again, and for no other that fits.
pub(super) async fn fresh_producer_id(ctx: &Context) -> Result<ProducerId, ErrorCode> {
    let broker = &ctx.broker;
    let Some(epoch) = ctx.image().broker(broker.id).map(|own| own.epoch) else {
        return Err(ErrorCode::CoordinatorNotAvailable);
    };
    let drawn = broker
        .producer_ids
        .next(&broker.controller, broker.id, epoch)
        .await;
    drawn.map_err(|cause| {
        match &cause {
            NoProducerId::Submit(submit) => tracing::warn!(
                "no producer id could be given: {submit} ({})",
                error::of_submit(submit)
            ),
            NoProducerId::Refused(_) => tracing::warn!("no producer id could be given: {cause}"),
        }
        ErrorCode::CoordinatorLoadInProgress
    })
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code.into(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    }
}
