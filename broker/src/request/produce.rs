//! Produce: records in.

use super::leader_hint::{LeaderHints, NEWS};
use super::transaction::{join, may_write};
use super::{Context, Reply, error};
use crate::auth::{Operation, ResourceType};
use crate::courier::Joining;
use crate::metadata::{Image, is_internal};
use crate::replica::{Acks, AppendError, Commit, Origin, PartitionKey, Verification};
use crate::transaction::Partition;
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use flotilla_protocol::messages::{ProduceRequest, ProduceResponse};
use flotilla_protocol::records::{BatchError, BatchHeader, Compression};
use flotilla_protocol::{ErrorCode, PartitionIndex, Str};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Kafka's tools write to internal topics under this client id; nobody else may.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// Since this version partitions join a transaction as they are written to (KIP-890).
const JOINS_SINCE: i16 = 12;
/// Since this version records may be compressed with zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
/// Since this version clients know that they may have to abort (KIP-890).
const KNOWS_ABORTABLE_SINCE: i16 = 11;

/// What the coordinator said of partitions whose transaction has no records there yet, by topic and place in the request.
type Verified = BTreeMap<(usize, usize), Result<Verification, ErrorCode>>;

/// A partition's answer that still depends on its commit.
struct Pending {
    topic: usize,
    partition: usize,
    commit: Commit,
}

/// Appends at once, so that the order of requests is the order of records; the answer comes when the acknowledgements
/// are there that the client asked for.
pub(super) async fn handle(ctx: &Context, request: ProduceRequest) -> Reply<ProduceResponse> {
    let image = ctx.image();
    let verified = verify(ctx, &image, &request).await;
    let acks = match request.acks {
        0 | 1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    let mut pending = Vec::new();
    let mut response = ProduceResponse::default();
    for (place, topic) in request.topic_data.iter().enumerate() {
        response.responses.push(topic_response(
            ctx,
            &image,
            acks,
            place,
            topic,
            &verified,
            &mut pending,
        ));
    }
    if request.acks == 0 {
        let failed = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .any(|partition| partition.error_code != i16::from(ErrorCode::None));
        return if failed { Reply::Close } else { Reply::Silent };
    }
    if pending.is_empty() && !add_hints(ctx, &image, &mut response) {
        return Reply::Now(response);
    }
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let ctx = ctx.clone();
    Reply::Later(Box::pin(async move {
        for Pending {
            topic,
            partition,
            commit,
        } in pending
        {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(refused) = commit.wait(left).await {
                let answer = &mut response.responses[topic].partition_responses[partition];
                refuse(&ctx, answer, &refused);
            }
        }
        if add_hints(&ctx, &ctx.image(), &mut response) {
            sleep(NEWS).await;
        }
        response
    }))
}

fn topic_response(
    ctx: &Context,
    image: &Image,
    acks: Option<Acks>,
    place: usize,
    data: &TopicProduceData,
    verified: &Verified,
    pending: &mut Vec<Pending>,
) -> TopicProduceResponse {
    let by_id = ctx.version >= 13;
    let topic = if by_id {
        image.topic_by_id(data.topic_id)
    } else {
        image.topic(&data.name)
    };
    // A name is judged before it is looked up, so that nobody learns what exists.
    let name = topic.map_or(data.name.as_str(), |topic| topic.name.as_str());
    let refusal = match topic {
        None if by_id => Some(ErrorCode::UnknownTopicId),
        _ if !ctx.allowed_in(image, Operation::Write, ResourceType::Topic, name) => {
            Some(ErrorCode::TopicAuthorizationFailed)
        }
        _ if is_closed_to(ctx, name) => Some(ErrorCode::InvalidTopicException),
        None => Some(ErrorCode::UnknownTopicOrPartition),
        Some(_) if acks.is_none() => Some(ErrorCode::InvalidRequiredAcks),
        Some(_) => None,
    };
    let partitions = data.partition_data.iter().enumerate().map(|(at, partition)| {
        let index = PartitionIndex(partition.index);
        let known = topic.filter(|topic| topic.partition(index).is_some());
        // Who may not use the transactional id learns nothing of topics.
        if let Some(Err(code @ ErrorCode::TransactionalIdAuthorizationFailed)) = verified.get(&(place, at)) {
            return refused(partition, *code);
        }
        match (refusal, known, acks) {
            (Some(refusal), ..) => refused(partition, refusal),
            (None, Some(_), Some(_)) if ctx.version < ZSTD_SINCE && is_zstd(partition) => {
                refused(partition, ErrorCode::UnsupportedCompressionType)
            }
            (None, Some(topic), Some(acks)) => {
                let key = PartitionKey {
                    topic_id: topic.id,
                    partition: index,
                };
                let origin = match verified.get(&(place, at)) {
                    None => Origin::Client,
                    Some(Ok(verification)) => Origin::Transaction(*verification),
                    Some(Err(code)) => return refused(partition, *code),
                };
                let (answer, commit) = append(ctx, key, partition, acks, origin);
                pending.extend(commit.map(|commit| Pending {
                    topic: place,
                    partition: at,
                    commit,
                }));
                answer
            }
            _ => refused(partition, ErrorCode::UnknownTopicOrPartition),
        }
    });
    TopicProduceResponse {
        partition_responses: partitions.collect(),
        name: data.name.clone(),
        topic_id: data.topic_id,
    }
}

/// Asks the coordinator about partitions that a transaction is about to write its first records to (KIP-890). Nothing is
/// appended before it has answered: the start of a transaction is as durable as its records.
async fn verify(ctx: &Context, image: &Image, request: &ProduceRequest) -> Verified {
    let mut verified = Verified::new();
    let mut asked: BTreeMap<Partition, ((usize, usize), Verification)> = BTreeMap::new();
    let id = request.transactional_id.as_ref().filter(|id| may_write(ctx, id));
    for (at_topic, topic) in request.topic_data.iter().enumerate() {
        let known = if ctx.version >= 13 {
            image.topic_by_id(topic.topic_id)
        } else {
            image.topic(&topic.name)
        };
        for (at_partition, data) in topic.partition_data.iter().enumerate() {
            let place = (at_topic, at_partition);
            let records = data.records.clone().map(flotilla_protocol::Records::into_bytes);
            let records = records.unwrap_or_default();
            if !is_transactional(&records) {
                continue;
            }
            if id.is_none() {
                verified.insert(place, Err(ErrorCode::TransactionalIdAuthorizationFailed));
                continue;
            }
            let partition = PartitionIndex(data.index);
            // What is not known or not allowed is refused later, for that reason.
            let Some(known) = known.filter(|known| {
                known.partition(partition).is_some()
                    && ctx.allowed_in(image, Operation::Write, ResourceType::Topic, &known.name)
            }) else {
                continue;
            };
            let topic_id = known.id;
            let key = PartitionKey { topic_id, partition };
            match ctx.broker.replicas.verification(key, &records) {
                Ok(None) => {}
                Ok(Some(verification)) => {
                    asked.insert((known.name.as_str().into(), partition.0), (place, verification));
                }
                Err(unavailable) => {
                    verified.insert(place, Err(error::of_unavailable(&unavailable)));
                }
            }
        }
    }
    let Some((id, (_, first))) = id.zip(asked.values().next().copied()) else {
        return verified;
    };
    let joins = ctx.version >= JOINS_SINCE;
    if !joins && !ctx.broker.settings().transaction_partition_verification_enable {
        verified.extend(
            asked
                .into_values()
                .map(|(place, verification)| (place, Ok(verification))),
        );
        return verified;
    }
    let joining = Joining {
        id: id.as_str().into(),
        producer_id: first.producer_id,
        producer_epoch: first.producer_epoch,
        verify_only: !joins,
        partitions: asked.keys().cloned().collect(),
    };
    let outcomes: BTreeMap<_, _> = join(&ctx.broker, &joining).await.into_iter().collect();
    for (partition, (place, verification)) in asked {
        let is_of_producer = verification.producer_id == first.producer_id
            && verification.producer_epoch == first.producer_epoch;
        let outcome = match outcomes.get(&partition) {
            // One request is of one producer.
            _ if !is_of_producer => Err(ErrorCode::InvalidRecord),
            Some(ErrorCode::None) => Ok(verification),
            Some(code) => Err(unverified(ctx, *code)),
            None => Err(unverified(ctx, ErrorCode::CoordinatorNotAvailable)),
        };
        verified.insert(place, outcome);
    }
    verified
}

fn is_transactional(records: &[u8]) -> bool {
    BatchHeader::parse(records).is_ok_and(|header| header.is_transactional())
}

/// What a producer is told where its transaction's coordinator did not say yes. What passes is told in words that every
/// producer knows to try again for.
fn unverified(ctx: &Context, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::ConcurrentTransactions if ctx.version >= JOINS_SINCE => code,
        ErrorCode::ConcurrentTransactions
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if ctx.version < KNOWS_ABORTABLE_SINCE => ErrorCode::InvalidTxnState,
        code => code,
    }
}

fn is_zstd(partition: &PartitionProduceData) -> bool {
    let records = partition
        .records
        .clone()
        .map(flotilla_protocol::Records::into_bytes);
    let header = records.and_then(|records| BatchHeader::parse(&records).ok());
    header.is_some_and(|header| header.compression() == Ok(Compression::Zstd))
}

fn is_closed_to(ctx: &Context, topic: &str) -> bool {
    is_internal(topic) && ctx.client_id.as_deref() != Some(ADMIN_CLIENT_ID)
}

fn refused(partition: &PartitionProduceData, refusal: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index: partition.index,
        error_code: refusal.into(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        ..PartitionProduceResponse::default()
    }
}

fn append(
    ctx: &Context,
    key: PartitionKey,
    partition: &PartitionProduceData,
    acks: Acks,
    origin: Origin,
) -> (PartitionProduceResponse, Option<Commit>) {
    let records = partition
        .records
        .clone()
        .map(flotilla_protocol::Records::into_bytes);
    let appended = ctx
        .broker
        .replicas
        .append(key, &records.unwrap_or_default(), acks, origin);
    match appended {
        Ok(appended) => {
            let answer = PartitionProduceResponse {
                index: partition.index,
                base_offset: appended.base_offset.0,
                log_append_time_ms: appended.log_append_time_ms.unwrap_or(-1),
                log_start_offset: if ctx.version >= 5 {
                    appended.log_start_offset.0
                } else {
                    -1
                },
                ..PartitionProduceResponse::default()
            };
            (answer, appended.commit)
        }
        Err(error) => {
            let mut answer = refused(partition, ErrorCode::None);
            refuse(ctx, &mut answer, &error);
            if ctx.version >= 5 && tells_log_start(&error) {
                let log_start = ctx.broker.replicas.log_start(key);
                answer.log_start_offset = log_start.map_or(-1, |offset| offset.0);
            }
            (answer, None)
        }
    }
}

/// Whether a producer that is refused for that is told where the log starts, as by Kafka: where the log itself was looked at.
fn tells_log_start(refused: &AppendError) -> bool {
    matches!(
        refused,
        AppendError::Producer(_)
            | AppendError::WithoutKey(_)
            | AppendError::Batch(BatchError::Timestamp { .. })
            | AppendError::NotEnoughReplicas(_)
    )
}

fn refuse(ctx: &Context, answer: &mut PartitionProduceResponse, refused: &AppendError) {
    let code = error::of_append(refused);
    answer.error_code = code.into();
    if ctx.version < 8 {
        return;
    }
    if let AppendError::WithoutKey(places) = refused {
        let message = Str::from_static("a compacted topic takes no record without a key");
        answer.record_errors = places
            .iter()
            .map(|place| BatchIndexAndErrorMessage {
                batch_index: *place,
                batch_index_error_message: Some(message.clone()),
            })
            .collect();
    }
    if !code.is_retriable() {
        answer.error_message = Some(Str::copy_from(&refused.to_string()));
    }
}

/// Whether another leader is named: it may hear later than the client that it leads.
fn add_hints(ctx: &Context, image: &Image, response: &mut ProduceResponse) -> bool {
    if ctx.version < 10 {
        return false;
    }
    let mut hints = LeaderHints::new(ctx, image);
    for topic in &mut response.responses {
        let name = match image.topic_by_id(topic.topic_id) {
            Some(topic) => topic.name.as_str(),
            None => topic.name.as_str(),
        };
        for partition in &mut topic.partition_responses {
            let index = PartitionIndex(partition.index);
            if let Some((leader, epoch)) = hints.hint(partition.error_code.into(), name, index) {
                partition.current_leader = LeaderIdAndEpoch {
                    leader_id: leader.0,
                    leader_epoch: epoch.0,
                };
            }
        }
    }
    response.node_endpoints = hints
        .nodes()
        .into_iter()
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: node.host,
            port: node.port,
            rack: node.rack,
        })
        .collect();
    !response.node_endpoints.is_empty()
}

#[cfg(test)]
#[path = "produce_tests.rs"]
mod tests;
