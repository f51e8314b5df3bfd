//! What the handlers for transactions have in common: errors on the wire, and asking the coordinator wherever it is.

use std::collections::BTreeSet;
use std::time::Duration;

use flotilla_protocol::{ErrorCode, PartitionIndex};
use tokio::time::{Instant, sleep};

use super::Context;
use crate::auth::{Operation, ResourceType};
use crate::broker::Broker;
use crate::courier::{Joining, Outcomes};
use crate::transaction::{Add, Error, Partition, ProducerRef, Reply, Request, Version};

/// The code of a coordinator's refusal.
pub(super) fn code(error: Error) -> ErrorCode {
    match error {
        Error::InvalidId => ErrorCode::InvalidRequest,
        Error::InvalidTimeout => ErrorCode::InvalidTransactionTimeout,
        Error::ProducerIdMapping => ErrorCode::InvalidProducerIdMapping,
        Error::Fenced => ErrorCode::ProducerFenced,
        Error::Concurrent => ErrorCode::ConcurrentTransactions,
        Error::InvalidState => ErrorCode::InvalidTxnState,
        Error::Abortable => ErrorCode::TransactionAbortable,
        Error::NotFound => ErrorCode::TransactionalIdNotFound,
        Error::NotCoordinator => ErrorCode::NotCoordinator,
        Error::LoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        Error::NotAvailable => ErrorCode::CoordinatorNotAvailable,
        Error::Unexpected => ErrorCode::UnknownServerError,
    }
}

/// The same for a client that knows being fenced by its own name only since a version (KIP-588).
pub(super) fn code_for(ctx: &Context, fenced_since: i16, error: Error) -> ErrorCode {
    match code(error) {
        ErrorCode::ProducerFenced if ctx.version < fenced_since => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}

/// Whether the client may act for the transactional id.
pub(super) fn may_write(ctx: &Context, id: &str) -> bool {
    ctx.allowed(Operation::Write, ResourceType::TransactionalId, id)
}

/// How it went for partitions that all fared alike.
pub(super) fn all(partitions: &BTreeSet<Partition>, code: ErrorCode) -> Outcomes {
    let partitions = partitions.iter();
    partitions.map(|partition| (partition.clone(), code)).collect()
}

/// Asks the coordinator on this broker.
pub(super) async fn join_here(broker: &Broker, joining: &Joining, version: Version) -> Outcomes {
    let image = broker.metadata.image();
    let is_known = |(topic, index): &Partition| image.partition(topic, PartitionIndex(*index)).is_some();
    if !joining.verify_only && !joining.partitions.iter().all(is_known) {
        // A partition that was known here when it joined, and is not any more, has been deleted, and gets no marker. One
        // that this broker has not heard of yet must not be taken for that: the client comes again.
        return all(&joining.partitions, ErrorCode::UnknownTopicOrPartition);
    }
    let partitions: Vec<Partition> = joining.partitions.iter().cloned().collect();
    let add = Add {
        id: joining.id.clone(),
        producer: ProducerRef {
            id: joining.producer_id,
            epoch: joining.producer_epoch,
        },
        partitions: partitions.clone(),
        version,
    };
    let request = if joining.verify_only {
        Request::Verify(add)
    } else {
        Request::Add(add)
    };
    match broker.transactions.ask(&joining.id, request).await {
        Reply::Add(Ok(())) => all(&joining.partitions, ErrorCode::None),
        Reply::Verify(Ok(results)) => partitions
            .into_iter()
            .zip(
                results
                    .into_iter()
                    .map(|result| result.err().map_or(ErrorCode::None, code)),
            )
            .collect(),
        Reply::Add(Err(error)) | Reply::Verify(Err(error)) => all(&joining.partitions, code(error)),
        _ => all(&joining.partitions, ErrorCode::UnknownServerError),
    }
}

/// Asks the coordinator, wherever it is. Where the transaction before is still ending, an addition is tried again for a
/// moment, so that the client need not come again (`add.partitions.to.txn.retry.backoff.ms`).
pub(super) async fn join(broker: &Broker, joining: &Joining) -> Outcomes {
    let settings = broker.settings();
    let ms = |value: i32| Duration::from_millis(u64::try_from(value).unwrap_or(0));
    let deadline = Instant::now() + ms(settings.add_partitions_to_txn_retry_backoff_max_ms);
    loop {
        let outcomes = ask(broker, joining).await;
        let is_busy = outcomes
            .iter()
            .any(|(_, code)| *code == ErrorCode::ConcurrentTransactions);
        if joining.verify_only || !is_busy || Instant::now() >= deadline {
            return outcomes;
        }
        sleep(ms(settings.add_partitions_to_txn_retry_backoff_ms)).await;
    }
}

async fn ask(broker: &Broker, joining: &Joining) -> Outcomes {
    let image = broker.metadata.image();
    let coordinator = broker.transactions.coordinator_of(&image, &joining.id);
    match coordinator.filter(|coordinator| image.is_alive(*coordinator)) {
        Some(coordinator) if coordinator == broker.id => join_here(broker, joining, Version::V2).await,
        Some(coordinator) => {
            let answered = broker.courier.join(coordinator, joining.clone()).await;
            answered.unwrap_or_else(|| all(&joining.partitions, ErrorCode::CoordinatorNotAvailable))
        }
        None => all(&joining.partitions, ErrorCode::CoordinatorNotAvailable),
    }
}
