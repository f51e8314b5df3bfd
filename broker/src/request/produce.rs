//! Produce: records in.

use super::leader_hint::LeaderHints;
use super::{Context, Reply, error};
use crate::auth::{Operation, ResourceType};
use crate::metadata::Image;
use crate::replica::{Acks, AppendError, Commit, Origin, PartitionKey};
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use flotilla_protocol::messages::{ProduceRequest, ProduceResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex, Str};
use std::time::Duration;
use tokio::time::Instant;

/// Kafka's tools write to internal topics under this client id; nobody else may.
const ADMIN_CLIENT_ID: &str = "__admin_client";
/// Topics that only coordinators write to.
const INTERNAL_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// A partition's answer that still depends on its commit.
struct Pending {
    topic: usize,
    partition: usize,
    commit: Commit,
}

/// Appends at once, so that the order of requests is the order of records; the answer comes when the acknowledgements
/// are there that the client asked for.
pub(super) fn handle(ctx: &Context, request: ProduceRequest) -> Reply<ProduceResponse> {
    let image = ctx.image();
    let acks = match request.acks {
        0 | 1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    let mut pending = Vec::new();
    let mut response = ProduceResponse::default();
    for (place, topic) in request.topic_data.iter().enumerate() {
        response
            .responses
            .push(topic_response(ctx, &image, acks, place, topic, &mut pending));
    }
    if request.acks == 0 {
        let failed = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .any(|partition| partition.error_code != i16::from(ErrorCode::None));
        return if failed { Reply::Close } else { Reply::Silent };
    }
    if pending.is_empty() {
        add_hints(ctx, &image, &mut response);
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
        add_hints(&ctx, &ctx.image(), &mut response);
        response
    }))
}

fn topic_response(
    ctx: &Context,
    image: &Image,
    acks: Option<Acks>,
    place: usize,
    data: &TopicProduceData,
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
        match (refusal, known, acks) {
            (Some(refusal), ..) => refused(partition, refusal),
            (None, Some(topic), Some(acks)) => {
                let key = PartitionKey {
                    topic_id: topic.id,
                    partition: index,
                };
                let (answer, commit) = append(ctx, key, partition, acks);
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

fn is_closed_to(ctx: &Context, topic: &str) -> bool {
    INTERNAL_TOPICS.contains(&topic) && ctx.client_id.as_deref() != Some(ADMIN_CLIENT_ID)
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
) -> (PartitionProduceResponse, Option<Commit>) {
    let records = partition
        .records
        .clone()
        .map(flotilla_protocol::Records::into_bytes);
    let appended = ctx
        .broker
        .replicas
        .append(key, &records.unwrap_or_default(), acks, Origin::Client);
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
            (answer, None)
        }
    }
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

fn add_hints(ctx: &Context, image: &Image, response: &mut ProduceResponse) {
    if ctx.version < 10 {
        return;
    }
    let mut hints = LeaderHints::new(image);
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
        .nodes(ctx)
        .into_iter()
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: node.host,
            port: node.port,
            rack: node.rack,
        })
        .collect();
}

#[cfg(test)]
#[path = "produce_tests.rs"]
mod tests;
