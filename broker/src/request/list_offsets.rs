//! ListOffsets: the offset of a time (KIP-79), and of the start and the end.

use super::{Context, error};
use crate::auth::{Operation, ResourceType};
use crate::replica::{At, Listed, PartitionKey, Reader};
use flotilla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use flotilla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use flotilla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use flotilla_protocol::{ErrorCode, LeaderEpoch, PartitionIndex};
use std::collections::BTreeSet;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// KIP-734.
const MAX_TIMESTAMP: i64 = -3;
/// The earliest that is not tiered away: here all is local (KIP-405).
const EARLIEST_LOCAL: i64 = -4;
/// The latest that is tiered: here nothing is (KIP-1005).
const LATEST_TIERED: i64 = -5;
/// The earliest that is still to be tiered: here nothing is (KIP-1023).
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Finds them, one partition after the other.
pub(super) async fn handle(ctx: &Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    // Only a proven broker sees what is not committed.
    let reader =
        (!(request.replica_id >= 0 && ctx.session.is_replication_listener())).then_some(Reader::Consumer {
            read_committed: request.isolation_level == 1,
        });
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        topics.push(list_topic(ctx, topic, reader).await);
    }
    ListOffsetsResponse {
        topics,
        ..ListOffsetsResponse::default()
    }
}

async fn list_topic(
    ctx: &Context,
    topic: &ListOffsetsTopic,
    reader: Option<Reader>,
) -> ListOffsetsTopicResponse {
    let image = ctx.image();
    let allowed = ctx.allowed_in(&image, Operation::Describe, ResourceType::Topic, &topic.name);
    let found = image.topic(&topic.name);
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<i32> = topic
        .partitions
        .iter()
        .map(|partition| partition.partition_index)
        .filter(|index| !seen.insert(*index))
        .collect();
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    let mut answered = BTreeSet::new();
    for asked in &topic.partitions {
        // What is asked for twice is answered once.
        if !answered.insert(asked.partition_index) {
            continue;
        }
        let index = PartitionIndex(asked.partition_index);
        let listed = match found.filter(|topic| topic.partition(index).is_some()) {
            _ if !allowed => Err(ErrorCode::TopicAuthorizationFailed),
            _ if twice.contains(&index.0) => Err(ErrorCode::InvalidRequest),
            None => Err(ErrorCode::UnknownTopicOrPartition),
            Some(topic) => {
                let key = PartitionKey {
                    topic_id: topic.id,
                    partition: index,
                };
                list(ctx, key, asked, reader).await
            }
        };
        partitions.push(respond(ctx, asked, listed));
    }
    ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions,
    }
}

async fn list(
    ctx: &Context,
    key: PartitionKey,
    asked: &ListOffsetsPartition,
    reader: Option<Reader>,
) -> Result<Option<Listed>, ErrorCode> {
    let since = |version: i16, at: Option<At>| {
        if ctx.version >= version {
            Ok(at)
        } else {
            Err(ErrorCode::UnsupportedVersion)
        }
    };
    let at = match asked.timestamp {
        LATEST => Some(At::Latest),
        EARLIEST => Some(At::Earliest),
        MAX_TIMESTAMP => since(7, Some(At::MaxTimestamp))?,
        EARLIEST_LOCAL => since(8, Some(At::Earliest))?,
        LATEST_TIERED => since(9, None)?,
        EARLIEST_PENDING_UPLOAD => since(11, None)?,
        timestamp if timestamp < 0 => return Err(ErrorCode::UnsupportedVersion),
        timestamp => Some(At::Timestamp(timestamp)),
    };
    // What is about tiers is asked of the leader too: whoever is not must say so.
    let epoch = LeaderEpoch(asked.current_leader_epoch);
    let listed = ctx
        .broker
        .replicas
        .list_offset(key, at.unwrap_or(At::Earliest), epoch, reader)
        .await
        .map_err(|refused| error::of_read(&refused))?;
    Ok(listed.filter(|_| at.is_some()))
}

fn respond(
    ctx: &Context,
    asked: &ListOffsetsPartition,
    listed: Result<Option<Listed>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let mut response = ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
        ..ListOffsetsPartitionResponse::default()
    };
    match listed {
        Ok(None) => {}
        Ok(Some(listed)) => {
            response.timestamp = listed.timestamp_ms.unwrap_or(-1);
            response.offset = listed.offset.0;
            if ctx.version >= 4 {
                response.leader_epoch = listed.leader_epoch.unwrap_or(LeaderEpoch::UNKNOWN).0;
            }
        }
        // Older clients know this state by another name.
        Err(ErrorCode::OffsetNotAvailable) if ctx.version < 5 => {
            response.error_code = ErrorCode::LeaderNotAvailable.into();
        }
        Err(code) => response.error_code = code.into(),
    }
    response
}

#[cfg(test)]
#[path = "list_offsets_tests.rs"]
mod tests;
