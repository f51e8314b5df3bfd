//! DescribeShareGroupOffsets: where the deliveries of share groups stand, and how far behind they are (KIP-932, KIP-1226).

use flotilla_protocol::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
use flotilla_protocol::messages::describe_share_group_offsets_response::{
    DescribeShareGroupOffsetsResponseGroup, DescribeShareGroupOffsetsResponsePartition,
    DescribeShareGroupOffsetsResponseTopic,
};
use flotilla_protocol::messages::{DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex, Str, Uuid};
use futures::future::join_all;

use super::Context;
use super::coordinator::{code, share_groups_off, text, wire};
use super::share_offsets::standing;
use crate::auth::{Operation, ResourceType};
use crate::group::share::Standing;
use crate::group::{Error, Request, Text};
use crate::metadata::Image;
use crate::replica::PartitionKey;
use crate::share::{self, SharePartition, Summary};
use crate::share_runtime;

/// What is not known.
const UNKNOWN: i64 = -1;

type Topic = DescribeShareGroupOffsetsResponseTopic;
type Partition = DescribeShareGroupOffsetsResponsePartition;
type Group = DescribeShareGroupOffsetsResponseGroup;

/// Describes each group; without topics, all that it has read.
pub(super) async fn handle(
    ctx: &Context,
    request: DescribeShareGroupOffsetsRequest,
) -> DescribeShareGroupOffsetsResponse {
    let image = ctx.image();
    let groups = request.groups.iter().map(|group| one(ctx, &image, group));
    DescribeShareGroupOffsetsResponse {
        groups: join_all(groups).await,
        ..DescribeShareGroupOffsetsResponse::default()
    }
}

async fn one(ctx: &Context, image: &Image, asked: &DescribeShareGroupOffsetsRequestGroup) -> Group {
    let name = &asked.group_id;
    if let Some(why) = share_groups_off(image) {
        return refusal(name, ErrorCode::UnsupportedVersion, Some(why));
    }
    if !ctx.allowed_in(image, Operation::Describe, ResourceType::Group, name) {
        return refusal(name, ErrorCode::GroupAuthorizationFailed, None);
    }
    let group = text(name);
    let standing = match standing(ctx, &group, Request::ShareStanding(group.clone())).await {
        Ok(standing) => standing,
        // Nothing is stored of a group that is not there, nor of one of another kind: that is no error.
        Err(Error::GroupNotFound) => Standing::default(),
        Err(error) => return refusal(name, code(error), Some(error.to_string())),
    };
    let may_read = |topic: &str| ctx.allowed_in(image, Operation::Describe, ResourceType::Topic, topic);
    let mut topics: Vec<Topic> = Vec::new();
    match &asked.topics {
        Some(topics_asked) => {
            for topic in topics_asked {
                let id = image
                    .topic(&topic.topic_name)
                    .map_or(Uuid::ZERO, |topic| topic.id);
                let is_stored = |partition| standing.partitions.is_initialized(id, partition);
                topics.push(match may_read(&topic.topic_name) {
                    true => {
                        described(
                            ctx,
                            image,
                            &group,
                            (id, &topic.topic_name),
                            &topic.partitions,
                            is_stored,
                        )
                        .await
                    }
                    false => refused(&topic.topic_name, id, &topic.partitions),
                });
            }
        }
        None => {
            for (id, named) in &standing.partitions.initialized {
                let partitions: Vec<i32> = named.partitions.iter().copied().collect();
                if may_read(&named.name) {
                    let topic = (*id, &wire(&named.name));
                    topics.push(described(ctx, image, &group, topic, &partitions, |_| true).await);
                }
            }
        }
    }
    Group {
        group_id: name.clone(),
        topics,
        ..Group::default()
    }
}

async fn described(
    ctx: &Context,
    image: &Image,
    group: &Text,
    (topic_id, topic_name): (Uuid, &Str),
    partitions: &[i32],
    is_stored: impl Fn(i32) -> bool,
) -> Topic {
    let partitions = partitions.iter().map(|partition| {
        let of = SharePartition {
            group: group.clone(),
            topic_id,
            partition: *partition,
        };
        partition_of(ctx, image, of, is_stored(*partition))
    });
    Topic {
        topic_name: topic_name.clone(),
        topic_id,
        partitions: join_all(partitions).await,
    }
}

async fn partition_of(ctx: &Context, image: &Image, of: SharePartition, is_stored: bool) -> Partition {
    let key = PartitionKey {
        topic_id: of.topic_id,
        partition: PartitionIndex(of.partition),
    };
    let nothing = Partition {
        partition_index: of.partition,
        start_offset: UNKNOWN,
        lag: UNKNOWN,
        ..Partition::default()
    };
    if !is_stored {
        return nothing;
    }
    let summary = match share_runtime::ask(&ctx.broker, share::Request::Summary(of)).await {
        share::Reply::Summary(Ok(summary)) => summary,
        share::Reply::Summary(Err(error)) => {
            let code = super::share_state::code(error);
            return Partition {
                error_code: code.into(),
                error_message: Some(error.to_string().into()),
                ..nothing
            };
        }
        _ => {
            return Partition {
                error_code: ErrorCode::UnknownServerError.into(),
                ..nothing
            };
        }
    };
    let Some(summary) = summary.filter(|summary| summary.start.0 >= 0) else {
        return nothing;
    };
    let known = image
        .topic_by_id(key.topic_id)
        .and_then(|topic| topic.partition(key.partition));
    Partition {
        start_offset: summary.start.0,
        leader_epoch: known.map_or(0, |known| known.leader_epoch.0),
        lag: lag(ctx, key, &summary),
        ..nothing
    }
}

/// How many records are still to be finished. Not known where this broker has no replica, or what is finished is not known.
fn lag(ctx: &Context, key: PartitionKey, summary: &Summary) -> i64 {
    let end = ctx
        .broker
        .replicas
        .high_watermark(key)
        .filter(|_| summary.finished >= 0);
    end.map_or(UNKNOWN, |end| {
        (end.0 - summary.start.0 - i64::from(summary.finished)).max(0)
    })
}

fn refused(topic_name: &Str, topic_id: Uuid, partitions: &[i32]) -> Topic {
    let code = ErrorCode::TopicAuthorizationFailed;
    let partitions = partitions.iter().map(|partition| Partition {
        partition_index: *partition,
        start_offset: UNKNOWN,
        lag: UNKNOWN,
        error_code: code.into(),
        error_message: Some(Str::from_static(code.message())),
        ..Partition::default()
    });
    Topic {
        topic_name: topic_name.clone(),
        topic_id,
        partitions: partitions.collect(),
    }
}

fn refusal(name: &Str, error: ErrorCode, message: Option<String>) -> Group {
    Group {
        group_id: name.clone(),
        error_code: error.into(),
        error_message: Some(message.unwrap_or_else(|| error.message().to_owned()).into()),
        ..Group::default()
    }
}
