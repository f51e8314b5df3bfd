//! EndTxn: a transaction is committed or aborted.

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::{EndTxnRequest, EndTxnResponse};

use super::Context;
use super::init_producer_id::fresh_producer_id;
use super::transaction::{code_for, may_write};
use crate::transaction::{End, ProducerRef, Reply, Request, Version};

/// Since version 5 each end raises the producer's epoch (KIP-890).
const BUMPS_SINCE: i16 = 5;

/// Decides, and answers once that is committed: the markers follow.
pub(super) async fn handle(ctx: &Context, request: EndTxnRequest) -> EndTxnResponse {
    let refused = |code: ErrorCode| EndTxnResponse {
        error_code: code.into(),
        ..EndTxnResponse::default()
    };
    if !may_write(ctx, &request.transactional_id) {
        return refused(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let bumps = ctx.version >= BUMPS_SINCE;
    // The last epoch is for fencing: the next transaction needs another producer id.
    let fresh = if bumps && request.producer_epoch >= i16::MAX - 1 {
        match fresh_producer_id(ctx).await {
            Ok(id) => Some(id),
            Err(code) => return refused(code),
        }
    } else {
        None
    };
    let end = End {
        id: request.transactional_id.as_str().into(),
        producer: ProducerRef::of(request.producer_id, request.producer_epoch),
        committed: request.committed,
        version: if bumps { Version::V2 } else { Version::V0 },
        fresh,
    };
    let transactions = &ctx.broker.transactions;
    match transactions
        .ask(&request.transactional_id, Request::End(end))
        .await
    {
        Reply::End(Ok(ended)) => EndTxnResponse {
            producer_id: ended.producer.id.0,
            producer_epoch: ended.producer.epoch.0,
            ..EndTxnResponse::default()
        },
        Reply::End(Err(error)) => refused(code_for(ctx, 2, error)),
        _ => refused(ErrorCode::UnknownServerError),
    }
}
