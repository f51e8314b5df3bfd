//! OffsetForLeaderEpoch: where an epoch ends, so that clients notice when their log was cut under them (KIP-320).

use super::{Context, error};
use crate::auth::{Operation, ResourceType};
use crate::metadata::Image;
use crate::replica::PartitionKey;
use flotilla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use flotilla_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use flotilla_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use flotilla_protocol::{ErrorCode, LeaderEpoch, PartitionIndex};

/// Answers from the leader's own epochs.
pub(super) async fn handle(
    ctx: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let image = ctx.image();
    OffsetForLeaderEpochResponse {
        topics: request
            .topics
            .iter()
            .map(|topic| find_topic(ctx, &image, topic))
            .collect(),
        ..OffsetForLeaderEpochResponse::default()
    }
}

fn find_topic(ctx: &Context, image: &Image, topic: &OffsetForLeaderTopic) -> OffsetForLeaderTopicResult {
    let allowed = ctx.allowed_in(image, Operation::Describe, ResourceType::Topic, &topic.topic);
    let found = image.topic(&topic.topic);
    let partitions = topic.partitions.iter().map(|asked| {
        let index = PartitionIndex(asked.partition);
        match found.filter(|topic| topic.partition(index).is_some()) {
            _ if !allowed => refused(asked, ErrorCode::TopicAuthorizationFailed),
            None => refused(asked, ErrorCode::UnknownTopicOrPartition),
            Some(topic) => {
                let key = PartitionKey {
                    topic_id: topic.id,
                    partition: index,
                };
                find(ctx, key, asked)
            }
        }
    });
    OffsetForLeaderTopicResult {
        topic: topic.topic.clone(),
        partitions: partitions.collect(),
    }
}

fn find(ctx: &Context, key: PartitionKey, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let current = LeaderEpoch(asked.current_leader_epoch);
    match ctx
        .broker
        .replicas
        .offset_for_epoch(key, current, LeaderEpoch(asked.leader_epoch))
    {
        Ok(Some(end)) => EpochEndOffset {
            partition: asked.partition,
            leader_epoch: end.epoch.0,
            end_offset: end.end.0,
            ..EpochEndOffset::default()
        },
        Ok(None) => refused(asked, ErrorCode::None),
        Err(unavailable) => refused(asked, error::of_unavailable(&unavailable)),
    }
}

fn refused(asked: &OffsetForLeaderPartition, code: ErrorCode) -> EpochEndOffset {
    EpochEndOffset {
        error_code: code.into(),
        partition: asked.partition,
        leader_epoch: -1,
        end_offset: -1,
    }
}
