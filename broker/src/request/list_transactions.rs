//! ListTransactions: the transactional ids that this broker coordinates (KIP-664, KIP-994, KIP-1152).

use std::collections::BTreeSet;

use flotilla_protocol::messages::list_transactions_response::TransactionState;
use flotilla_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use flotilla_protocol::{ErrorCode, ProducerId, Str};
use regex_automata::Input;
use regex_automata::dfa::Automaton;
use regex_automata::dfa::dense::{self, DFA};
use regex_automata::util::syntax;

use super::Context;
use super::coordinator::wire;
use super::transaction::code;
use crate::auth::{Operation, ResourceType};
use crate::transaction::{Filter, Reply, Request, Status};

/// What a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

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
    let pattern = match pattern.map(|pattern| compile(&pattern)) {
        Some(None) => return refused(ErrorCode::InvalidRegularExpression),
        compiled => compiled.flatten(),
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
        pattern
            .as_ref()
            .is_none_or(|pattern| matches(pattern, &listed.id))
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

/// The whole id has to match. The engine takes linear time, whatever the pattern; classes such as `\d` are those of ASCII. None: it
/// is no pattern, or too large a one.
fn compile(pattern: &str) -> Option<DFA<Vec<u32>>> {
    let config = dense::Config::new()
        .dfa_size_limit(Some(PATTERN_BYTES_MAX))
        .determinize_size_limit(Some(PATTERN_BYTES_MAX));
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    dense::Builder::new()
        .configure(config)
        .syntax(syntax)
        .build(&format!(r"\A(?:{pattern})\z"))
        .ok()
}

fn matches(pattern: &DFA<Vec<u32>>, id: &str) -> bool {
    matches!(pattern.try_search_fwd(&Input::new(id)), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_is_matched_against_the_whole_id() {
        let pattern = compile("orders-[0-9]+|payments").unwrap();
        for (id, expected) in [
            ("orders-17", true),
            ("payments", true),
            ("orders-", false),
            ("my-orders-17", false),
            ("payments-2", false),
        ] {
            assert_eq!(matches(&pattern, id), expected, "{id}");
        }
        assert!(compile("(").is_none());
        assert!(compile("(a{1000}){1000}").is_none(), "larger than is allowed");
    }
}
