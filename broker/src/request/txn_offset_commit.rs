//! TxnOffsetCommit: how far a group has read, if the transaction is committed (KIP-98, KIP-447).

use flotilla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use flotilla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use flotilla_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId};

use super::Context;
use super::coordinator::{code, code_of, may_read_group, optional_text, text};
use super::transaction::{join, may_write};
use crate::auth::{Operation, ResourceType};
use crate::courier::Joining;
use crate::group::{self, Commit, CommitPartition, Producer, Reply, Request};
use crate::partition::verification::Guard;
use crate::replica::{PartitionKey, Unavailable};

/// Since version 5 the group's partition joins the transaction by itself (KIP-890).
const JOINS_SINCE: i16 = 5;

/// Commits what may be committed, and says so for each partition.
pub(super) async fn handle(ctx: &Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let topics = &request.topics;
    if !may_write(ctx, &request.transactional_id) {
        return refusal(topics, ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if !may_read_group(ctx, &request.group_id) {
        return refusal(topics, ErrorCode::GroupAuthorizationFailed);
    }
    if request.group_id.is_empty() {
        return refusal(topics, ErrorCode::InvalidGroupId);
    }
    let image = ctx.image();
    let mut response = refusal(topics, ErrorCode::None);
    let mut asked = Vec::new();
    let mut places = Vec::new();
    for (at_topic, topic) in topics.iter().enumerate() {
        let allowed = ctx.allowed_in(&image, Operation::Read, ResourceType::Topic, &topic.name);
        let known = image.topic(&topic.name);
        for (at_partition, partition) in topic.partitions.iter().enumerate() {
            let index = PartitionIndex(partition.partition_index);
            let known = known.filter(|known| known.partition(index).is_some());
            let refused = match known {
                _ if !allowed => ErrorCode::TopicAuthorizationFailed,
                None => ErrorCode::UnknownTopicOrPartition,
                Some(_) => ErrorCode::None,
            };
            let Some(known) = known.filter(|_| allowed) else {
                response.topics[at_topic].partitions[at_partition].error_code = refused.into();
                continue;
            };
            places.push((at_topic, at_partition));
            asked.push(CommitPartition {
                topic: text(&topic.name),
                topic_id: known.id,
                partition: index.0,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: text(partition.committed_metadata.as_deref().unwrap_or("")),
            });
        }
    }
    if asked.is_empty() {
        return response;
    }
    let codes: Vec<ErrorCode> = match commit(ctx, &request, asked).await {
        Ok(codes) => codes,
        Err(code) => vec![code; places.len()],
    };
    for ((at_topic, at_partition), code) in places.into_iter().zip(codes) {
        response.topics[at_topic].partitions[at_partition].error_code = code.into();
    }
    response
}

async fn commit(
    ctx: &Context,
    request: &TxnOffsetCommitRequest,
    partitions: Vec<CommitPartition>,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    let producer = Producer {
        id: ProducerId(request.producer_id),
        epoch: ProducerEpoch(request.producer_epoch),
        guard: verify(ctx, request).await?,
    };
    let commit = Commit {
        group: text(&request.group_id),
        generation: request.generation_id,
        member_id: text(&request.member_id),
        instance_id: optional_text(request.group_instance_id.as_ref()),
        retention_ms: -1,
        knows_group_not_found: false,
        partitions,
    };
    let asked = Request::CommitInTransaction(commit, producer);
    match ctx.broker.groups.ask(&request.group_id, asked).await {
        Reply::Commit(Ok(results)) => Ok(results.iter().map(code_of).collect()),
        Reply::Commit(Err(error)) => Err(code(error)),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

/// Sees to it that the group's partition belongs to the transaction. None: it has offsets of it already.
async fn verify(ctx: &Context, request: &TxnOffsetCommitRequest) -> Result<Option<Guard>, ErrorCode> {
    let broker = &ctx.broker;
    let image = ctx.image();
    let topic = image
        .topic(group::TOPIC)
        .ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let partition = broker
        .groups
        .partition_of(&image, &request.group_id)
        .ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let key = PartitionKey {
        topic_id: topic.id,
        partition,
    };
    let (id, epoch) = (
        ProducerId(request.producer_id),
        ProducerEpoch(request.producer_epoch),
    );
    let verified = match broker.replicas.verify_producer(key, id, epoch, 0) {
        Ok(Some(verified)) => verified,
        Ok(None) => return Ok(None),
        Err(
            Unavailable::Offline | Unavailable::NotHosted | Unavailable::NotLeader | Unavailable::Epoch(_),
        ) => {
            return Err(ErrorCode::NotCoordinator);
        }
    };
    let joins = ctx.version >= JOINS_SINCE;
    if !joins && !broker.settings().transaction_partition_verification_enable {
        return Ok(Some(verified.guard()));
    }
    let joining = Joining {
        id: request.transactional_id.as_str().into(),
        producer_id: id,
        producer_epoch: epoch,
        verify_only: !joins,
        partitions: [(group::TOPIC.into(), partition.0)].into(),
    };
    let outcomes = join(broker, &joining).await;
    let outcome = outcomes
        .first()
        .map_or(ErrorCode::CoordinatorNotAvailable, |(_, code)| *code);
    match outcome {
        ErrorCode::None => Ok(Some(verified.guard())),
        // The group's coordinator is the right one: it is the transaction's that is to be waited for.
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
            Err(ErrorCode::CoordinatorLoadInProgress)
        }
        ErrorCode::ConcurrentTransactions if !joins => Err(ErrorCode::CoordinatorLoadInProgress),
        ErrorCode::ProducerFenced => Err(ErrorCode::InvalidProducerEpoch),
        ErrorCode::TransactionAbortable if ctx.version < 4 => Err(ErrorCode::InvalidTxnState),
        code => Err(code),
    }
}

/// The same code for all that was asked.
fn refusal(topics: &[TxnOffsetCommitRequestTopic], error: ErrorCode) -> TxnOffsetCommitResponse {
    let topics = topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.into(),
            })
            .collect(),
    });
    TxnOffsetCommitResponse {
        topics: topics.collect(),
        ..TxnOffsetCommitResponse::default()
    }
}
