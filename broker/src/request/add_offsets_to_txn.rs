//! AddOffsetsToTxn: a transaction will commit offsets of a group.

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::Context;
use super::coordinator::may_read_group;
use super::transaction::{code_for, may_write};
use crate::group::TOPIC;
use crate::transaction::{Add, ProducerRef, Reply, Request, Version};

/// Adds the partition of `__consumer_offsets` that the group lives in.
pub(super) async fn handle(ctx: &Context, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let answer = |code: ErrorCode| AddOffsetsToTxnResponse {
        error_code: code.into(),
        ..AddOffsetsToTxnResponse::default()
    };
    if !may_write(ctx, &request.transactional_id) {
        return answer(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if !may_read_group(ctx, &request.group_id) {
        return answer(ErrorCode::GroupAuthorizationFailed);
    }
    let broker = &ctx.broker;
    let Some(partition) = broker.groups.partition_of(&ctx.image(), &request.group_id) else {
        return answer(ErrorCode::CoordinatorNotAvailable);
    };
    let add = Add {
        id: request.transactional_id.as_str().into(),
        producer: ProducerRef::of(request.producer_id, request.producer_epoch),
        partitions: vec![(TOPIC.into(), partition.0)],
        version: Version::V0,
    };
    match broker
        .transactions
        .ask(&request.transactional_id, Request::Add(add))
        .await
    {
        Reply::Add(Ok(())) => answer(ErrorCode::None),
        Reply::Add(Err(error)) => answer(code_for(ctx, 2, error)),
        _ => answer(ErrorCode::UnknownServerError),
    }
}
