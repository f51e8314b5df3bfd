//! What the handlers of requests between brokers about share groups' states have in common (KIP-932).

use flotilla_protocol::{ErrorCode, PartitionIndex, Str, Uuid};

use super::{CLUSTER, Context};
use crate::auth::{Operation, ResourceType};
use crate::share::{Error, Reply, Request, SharePartition};

/// The code of a share coordinator's refusal.
pub(super) fn code(error: Error) -> ErrorCode {
    match error {
        Error::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
        Error::FencedStateEpoch => ErrorCode::FencedStateEpoch,
        Error::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        Error::Uninitialized | Error::InvalidRequest => ErrorCode::InvalidRequest,
        Error::NotCoordinator => ErrorCode::NotCoordinator,
        Error::LoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        Error::NotAvailable => ErrorCode::CoordinatorNotAvailable,
        Error::Unexpected => ErrorCode::UnknownServerError,
    }
}

/// A code and its words, as all of these requests are answered for each partition.
pub(super) fn refusal(error: Error) -> (i16, Option<Str>) {
    (code(error).into(), Some(error.to_string().into()))
}

/// Code and words of an outcome.
pub(super) fn outcome<T>(result: &Result<T, Error>) -> (i16, Option<Str>) {
    match result {
        Ok(_) => (ErrorCode::None.into(), None),
        Err(error) => refusal(*error),
    }
}

/// Whether the client is a broker, or may do what brokers do.
pub(super) fn is_allowed(ctx: &Context) -> bool {
    ctx.allowed(Operation::ClusterAction, ResourceType::Cluster, CLUSTER)
}

/// Code and words of the refusal where it is not.
pub(super) fn not_allowed() -> (i16, Option<Str>) {
    let code = ErrorCode::ClusterAuthorizationFailed;
    (code.into(), Some(Str::from_static(code.message())))
}

/// The share partition of a request.
pub(super) fn share_partition(group: &Str, topic_id: Uuid, partition: i32) -> SharePartition {
    SharePartition {
        group: group.as_str().into(),
        topic_id,
        partition,
    }
}

/// Asks the coordinator here, where the partition exists.
pub(super) async fn ask(ctx: &Context, of: &SharePartition, request: Request) -> Reply {
    let image = ctx.image();
    let is_known = image
        .topic_by_id(of.topic_id)
        .is_some_and(|topic| topic.partition(PartitionIndex(of.partition)).is_some());
    // What is stored of a topic that is gone may still be deleted.
    if !is_known && !of.topic_id.is_zero() && of.partition >= 0 && !matches!(request, Request::Delete(_)) {
        return request.refused(Error::UnknownPartition);
    }
    ctx.broker.share_states.ask(&of.coordinator_key(), request).await
}

/// The outcome of a request that is done or not.
pub(super) fn done(reply: Reply) -> Result<(), Error> {
    match reply {
        Reply::Done(outcome) => outcome,
        _ => Err(Error::Unexpected),
    }
}
