//! DescribeTransactions: where transactional ids stand (KIP-664).

use std::collections::BTreeMap;

use flotilla_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use flotilla_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use flotilla_protocol::{ErrorCode, Str};
use futures::future::join_all;

use super::Context;
use super::coordinator::wire;
use super::transaction::code;
use crate::auth::{Operation, ResourceType};
use crate::transaction::{Reply, Request, Status, Transaction};

/// Describes those that this broker coordinates.
pub(super) async fn handle(
    ctx: &Context,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let described = request.transactional_ids.iter().map(|id| describe(ctx, id));
    DescribeTransactionsResponse {
        transaction_states: join_all(described).await,
        ..DescribeTransactionsResponse::default()
    }
}

async fn describe(ctx: &Context, id: &Str) -> TransactionState {
    let refused = |code: ErrorCode| TransactionState {
        error_code: code.into(),
        transactional_id: id.clone(),
        producer_id: -1,
        producer_epoch: -1,
        ..TransactionState::default()
    };
    if !ctx.allowed(Operation::Describe, ResourceType::TransactionalId, id) {
        return refused(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let asked = Request::Describe(vec![id.as_str().into()]);
    match ctx.broker.transactions.ask(id, asked).await {
        Reply::Describe(Ok(described)) => match described.into_iter().next() {
            Some(Ok(described)) => shown(ctx, id, &described.transaction),
            Some(Err(error)) => refused(code(error)),
            None => refused(ErrorCode::UnknownServerError),
        },
        Reply::Describe(Err(error)) => refused(code(error)),
        _ => refused(ErrorCode::UnknownServerError),
    }
}

fn shown(ctx: &Context, id: &Str, transaction: &Transaction) -> TransactionState {
    let is_open = transaction.status == Status::Ongoing || transaction.status.is_prepared();
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in &transaction.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    // Topics that the client may not know of are left out.
    let topics = topics
        .into_iter()
        .filter(|(topic, _)| ctx.allowed(Operation::Describe, ResourceType::Topic, topic))
        .map(|(topic, partitions)| TopicData {
            topic: wire(topic),
            partitions,
        });
    TransactionState {
        error_code: ErrorCode::None.into(),
        transactional_id: id.clone(),
        transaction_state: Str::from_static(transaction.status.name()),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_start_time_ms: if is_open { transaction.start_ms } else { -1 },
        producer_id: transaction.producer_id.0,
        producer_epoch: transaction.epoch.0,
        topics: topics.collect(),
    }
}
