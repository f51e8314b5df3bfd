//! DeleteRecords: lets go of records before an offset (KIP-107).

use super::{Context, error};
use crate::auth::{Operation, ResourceType};
use crate::metadata::Image;
use crate::replica::PartitionKey;
use flotilla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use flotilla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use flotilla_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use flotilla_protocol::{ErrorCode, Offset, PartitionIndex};
use futures::future::join_all;
use std::time::Duration;

/// All that is committed.
const HIGH_WATERMARK: i64 = -1;

/// Deletes, and waits until the live replicas have followed.
pub(super) async fn handle(ctx: &Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let image = ctx.image();
    let limit = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let topics = request
        .topics
        .iter()
        .map(|topic| delete_topic(ctx, &image, topic, limit));
    DeleteRecordsResponse {
        topics: join_all(topics).await,
        ..DeleteRecordsResponse::default()
    }
}

async fn delete_topic(
    ctx: &Context,
    image: &Image,
    topic: &DeleteRecordsTopic,
    limit: Duration,
) -> DeleteRecordsTopicResult {
    let allowed = ctx.allowed_in(image, Operation::Delete, ResourceType::Topic, &topic.name);
    let found = image.topic(&topic.name);
    let partitions = topic.partitions.iter().map(|asked| async move {
        let index = PartitionIndex(asked.partition_index);
        match found.filter(|topic| topic.partition(index).is_some()) {
            _ if !allowed => refused(asked, ErrorCode::TopicAuthorizationFailed),
            None => refused(asked, ErrorCode::UnknownTopicOrPartition),
            Some(topic) => {
                let key = PartitionKey {
                    topic_id: topic.id,
                    partition: index,
                };
                delete(ctx, key, asked, limit).await
            }
        }
    });
    DeleteRecordsTopicResult {
        name: topic.name.clone(),
        partitions: join_all(partitions).await,
    }
}

async fn delete(
    ctx: &Context,
    key: PartitionKey,
    asked: &DeleteRecordsPartition,
    limit: Duration,
) -> DeleteRecordsPartitionResult {
    let before = (asked.offset != HIGH_WATERMARK).then_some(Offset(asked.offset));
    match ctx.broker.replicas.delete_records(key, before, limit).await {
        Ok(low_watermark) => DeleteRecordsPartitionResult {
            partition_index: asked.partition_index,
            low_watermark: low_watermark.0,
            ..DeleteRecordsPartitionResult::default()
        },
        Err(refusal) => refused(asked, error::of_read(&refusal)),
    }
}

fn refused(asked: &DeleteRecordsPartition, code: ErrorCode) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult {
        partition_index: asked.partition_index,
        low_watermark: -1,
        error_code: code.into(),
    }
}
