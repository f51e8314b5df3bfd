//! OffsetCommit: how far a group has read.

use flotilla_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use flotilla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use flotilla_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex, Str, Uuid};

use super::Context;
use super::coordinator::{code, code_of, may_read_group, optional_text, text};
use crate::auth::{Operation, ResourceType};
use crate::group::{Commit, CommitPartition, Reply, Request, Text};
use crate::metadata::Image;

/// Commits what may be committed, and says so for each partition. Since version 10 topics go by their ids.
pub(super) async fn handle(ctx: &Context, mut request: OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = std::mem::take(&mut request.topics);
    if !may_read_group(ctx, &request.group_id) {
        return refusal(&topics, ErrorCode::GroupAuthorizationFailed);
    }
    let image = ctx.image();
    // The answer as it will be, and where in it each partition stands that the coordinator is asked about.
    let mut response = refusal(&topics, ErrorCode::None);
    let mut asked = Vec::new();
    let mut places = Vec::new();
    for (at_topic, topic) in topics.iter().enumerate() {
        let known = find(ctx, &image, topic);
        for (at_partition, partition) in topic.partitions.iter().enumerate() {
            let exists = |index| {
                image
                    .topic(&known.name)
                    .is_some_and(|topic| topic.partition(index).is_some())
            };
            let error = match known.error {
                ErrorCode::None if !exists(PartitionIndex(partition.partition_index)) => {
                    ErrorCode::UnknownTopicOrPartition
                }
                error => error,
            };
            if error.is_error() {
                response.topics[at_topic].partitions[at_partition].error_code = error.into();
                continue;
            }
            places.push((at_topic, at_partition));
            asked.push(CommitPartition {
                topic: known.name.clone(),
                topic_id: known.id,
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: text(partition.committed_metadata.as_deref().unwrap_or("")),
            });
        }
    }
    if asked.is_empty() {
        return response;
    }
    let commit = Request::Commit(Commit {
        group: text(&request.group_id),
        generation: request.generation_id_or_member_epoch,
        member_id: text(&request.member_id),
        instance_id: optional_text(request.group_instance_id.as_ref()),
        retention_ms: request.retention_time_ms,
        knows_group_not_found: ctx.version >= 9,
        partitions: asked,
    });
    let codes: Vec<ErrorCode> = match ctx.broker.groups.ask(&request.group_id, commit).await {
        Reply::Commit(Ok(results)) => results.iter().map(code_of).collect(),
        Reply::Commit(Err(error)) => vec![code(error); places.len()],
        _ => vec![ErrorCode::UnknownServerError; places.len()],
    };
    for ((at_topic, at_partition), code) in places.into_iter().zip(codes) {
        response.topics[at_topic].partitions[at_partition].error_code = code.into();
    }
    response
}

struct Known {
    name: Text,
    id: Uuid,
    error: ErrorCode,
}

fn find(ctx: &Context, image: &Image, topic: &OffsetCommitRequestTopic) -> Known {
    let by_id = ctx.version >= 10;
    let found = match by_id {
        true => image.topic_by_id(topic.topic_id),
        false => image.topic(&topic.name),
    };
    let name: &str = match found {
        Some(found) => &found.name,
        None => &topic.name,
    };
    let error = if by_id && found.is_none() {
        ErrorCode::UnknownTopicId
    } else if !ctx.allowed_in(image, Operation::Read, ResourceType::Topic, name) {
        ErrorCode::TopicAuthorizationFailed
    } else if found.is_none() {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::None
    };
    Known {
        name: text(name),
        id: found.map(|found| found.id).unwrap_or_default(),
        error,
    }
}

/// The same code for all that was asked.
fn refusal(topics: &[OffsetCommitRequestTopic], error: ErrorCode) -> OffsetCommitResponse {
    let topics = topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: Str::clone(&topic.name),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.into(),
            })
            .collect(),
    });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..OffsetCommitResponse::default()
    }
}
