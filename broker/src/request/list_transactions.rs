//! ListTransactions: the transactional ids that this broker coordinates (KIP-664, KIP-994, KIP-1152).

use std::collections::BTreeSet;

use flotilla_protocol::messages::list_transactions_response::TransactionState;
use flotilla_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use flotilla_protocol::{ErrorCode, ProducerId, Str};

use super::Context;
use super::coordinator::wire;
use super::transaction::code;
use crate::auth::{Operation, ResourceType};
use crate::pattern::Pattern;
use crate::transaction::{Filter, Reply, Request, Status};

/// Lists those that pass all filters, and that the client may know of.
pub(super) async fn handle(ctx: &Context, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let refused = |code: ErrorCode| ListTransactionsResponse {
        error_code: code.into(),
        ..ListTransactionsResponse::default()
    };
    let (known, unknown): (Vec<_>, Vec<_>) = request
        .state_filters
        .into_iter()
        .partition(|name| status(name).is_some());
    let statuses: BTreeSet<Status> = known.iter().filter_map(|name| status(name)).collect();
    if statuses.is_empty() && !unknown.is_empty() {
        return ListTransactionsResponse {
            unknown_state_filters: unknown,
            ..ListTransactionsResponse::default()
        };
    }
    let pattern = request
        .transactional_id_pattern
        .filter(|pattern| !pattern.is_empty());
    let pattern = match pattern.map(|pattern| Pattern::compile(&pattern)).transpose() {
        Ok(pattern) => pattern,
        Err(_) => return refused(ErrorCode::InvalidRegularExpression),
    };
    let filter = Filter {
        statuses,
        producer_ids: request.producer_id_filters.into_iter().map(ProducerId).collect(),
        open_for_ms: request.duration_filter,
    };
    let mut listed = Vec::new();
    let transactions = &ctx.broker.transactions;
    for partition in transactions.hosted() {
        match transactions
            .ask_shard(partition, Request::List(filter.clone()))
            .await
        {
            Reply::List(Ok(found)) => listed.extend(found),
            // It has moved meanwhile: its new coordinator is asked, too.
            Reply::List(Err(crate::transaction::Error::NotCoordinator)) => {}
            Reply::List(Err(error)) => return refused(code(error)),
            _ => return refused(ErrorCode::UnknownServerError),
        }
    }
    let shown = listed.into_iter().filter(|listed| {
        pattern.as_ref().is_none_or(|pattern| pattern.matches(&listed.id))
            && ctx.allowed(Operation::Describe, ResourceType::TransactionalId, &listed.id)
    });
    ListTransactionsResponse {
        transaction_states: shown
            .map(|listed| TransactionState {
                transactional_id: wire(&listed.id),
                producer_id: listed.producer_id.0,
                transaction_state: Str::from_static(listed.status.name()),
            })
            .collect(),
        unknown_state_filters: unknown,
        ..ListTransactionsResponse::default()
    }
}

fn status(name: &str) -> Option<Status> {
    Status::ALL.into_iter().find(|status| status.name() == name)
}
