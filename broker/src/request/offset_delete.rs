//! OffsetDelete: offsets that a group does not need any more (KIP-496).

use flotilla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use flotilla_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex};

use super::Context;
use super::coordinator::{code, code_of, text};
use crate::auth::{Operation, ResourceType};
use crate::group::{PartitionRef, Reply, Request};

/// Forgets offsets of topics that no member reads.
pub(super) async fn handle(ctx: &Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let image = ctx.image();
    if !ctx.allowed_in(&image, Operation::Delete, ResourceType::Group, &request.group_id) {
        return refusal(ErrorCode::GroupAuthorizationFailed);
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut asked = Vec::new();
    let mut places = Vec::new();
    for topic in request.topics {
        let known = image.topic(&topic.name);
        let of_topic = if !ctx.allowed_in(&image, Operation::Read, ResourceType::Topic, &topic.name) {
            ErrorCode::TopicAuthorizationFailed
        } else if known.is_none() {
            ErrorCode::UnknownTopicOrPartition
        } else {
            ErrorCode::None
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let exists = known.is_some_and(|known| known.partition(PartitionIndex(index)).is_some());
            let error = match of_topic {
                ErrorCode::None if !exists => ErrorCode::UnknownTopicOrPartition,
                error => error,
            };
            if !error.is_error() {
                places.push((topics.len(), partitions.len()));
                asked.push(PartitionRef {
                    topic: text(&topic.name),
                    topic_id: known.map(|known| known.id).unwrap_or_default(),
                    partition: index,
                });
            }
            partitions.push(OffsetDeleteResponsePartition {
                partition_index: index,
                error_code: error.into(),
            });
        }
        topics.push(OffsetDeleteResponseTopic {
            name: topic.name,
            partitions,
        });
    }
    // Asked even about nothing: whether there is such a group counts for more than whether there is such a topic.
    let delete = Request::DeleteOffsets {
        group: text(&request.group_id),
        partitions: asked,
    };
    let results = match ctx.broker.groups.ask(&request.group_id, delete).await {
        Reply::DeleteOffsets(Ok(results)) => results,
        Reply::DeleteOffsets(Err(error)) => return refusal(code(error)),
        _ => return refusal(ErrorCode::UnknownServerError),
    };
    for ((at_topic, at_partition), result) in places.into_iter().zip(&results) {
        topics[at_topic].partitions[at_partition].error_code = code_of(result).into();
    }
    OffsetDeleteResponse {
        topics,
        ..OffsetDeleteResponse::default()
    }
}

fn refusal(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse {
        error_code: error.into(),
        ..OffsetDeleteResponse::default()
    }
}
