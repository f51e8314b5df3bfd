//! AlterShareGroupOffsets: an administrator says where the deliveries of a share group begin anew (KIP-932).

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::messages::alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use flotilla_protocol::messages::alter_share_group_offsets_response::{
    AlterShareGroupOffsetsResponsePartition, AlterShareGroupOffsetsResponseTopic,
};
use flotilla_protocol::messages::{AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse};
use flotilla_protocol::{ErrorCode, Offset, PartitionIndex, Str, Uuid};
use futures::future::join_all;

use super::Context;
use super::coordinator::{code, may_read_group, share_groups_off, text};
use super::share_offsets::standing;
use super::share_state;
use crate::auth::{Operation, ResourceType};
use crate::group::share::Named;
use crate::group::{Request, Text};
use crate::metadata::Image;
use crate::share::{self, SharePartition};
use crate::share_runtime;

type Topic = AlterShareGroupOffsetsResponseTopic;
type Partition = AlterShareGroupOffsetsResponsePartition;

/// Sets them, where the group has no members. A group that is not there begins with them, unless none can be set.
pub(super) async fn handle(
    ctx: &Context,
    request: AlterShareGroupOffsetsRequest,
) -> AlterShareGroupOffsetsResponse {
    let image = ctx.image();
    if let Some(why) = share_groups_off(&image) {
        return refusal(ErrorCode::UnsupportedVersion, Some(why));
    }
    if !may_read_group(ctx, &request.group_id) {
        return refusal(ErrorCode::GroupAuthorizationFailed, None);
    }
    let group = text(&request.group_id);
    let checked: Vec<Topic> = request
        .topics
        .iter()
        .map(|topic| checked(ctx, &image, topic))
        .collect();
    let altering = Request::ShareAltering {
        group: group.clone(),
        sets: checked.iter().any(|topic| !named(topic).partitions.is_empty()),
    };
    let standing = match standing(ctx, &group, altering).await {
        Ok(standing) => standing,
        Err(error) => return refusal(code(error), Some(error.to_string())),
    };
    let topics = checked
        .into_iter()
        .zip(&request.topics)
        .map(|(topic, asked)| set_in(ctx, &group, standing.epoch, topic, &asked.partitions));
    let responses = join_all(topics).await;
    let set: BTreeMap<Uuid, Named> = responses
        .iter()
        .map(|topic| (topic.topic_id, named(topic)))
        .filter(|(_, named)| !named.partitions.is_empty())
        .collect();
    if !set.is_empty() {
        let request = Request::ShareInitialized {
            group: group.clone(),
            topics: set,
        };
        // Should it be lost, the group's next member finds them as they were set.
        drop(ctx.broker.groups.ask(&group, request).await);
    }
    AlterShareGroupOffsetsResponse {
        responses,
        ..AlterShareGroupOffsetsResponse::default()
    }
}

/// The partitions of a topic that nothing was refused of.
fn named(topic: &Topic) -> Named {
    let set = topic
        .partitions
        .iter()
        .filter(|one| ErrorCode::from(one.error_code) == ErrorCode::None);
    let partitions: BTreeSet<i32> = set.map(|one| one.partition_index).collect();
    Named {
        name: topic.topic_name.as_str().into(),
        partitions,
    }
}

/// The answer for a topic so far: what keeps its partitions from being set.
fn checked(ctx: &Context, image: &Image, asked: &AlterShareGroupOffsetsRequestTopic) -> Topic {
    let name = &asked.topic_name;
    let known = image.topic(name);
    let may = ctx.allowed_in(image, Operation::Read, ResourceType::Topic, name);
    let partitions = asked.partitions.iter().map(|partition| {
        let index = partition.partition_index;
        let is_known = known.is_some_and(|topic| topic.partition(PartitionIndex(index)).is_some());
        let (error_code, error_message) = if !may {
            plain(ErrorCode::TopicAuthorizationFailed)
        } else if !is_known {
            plain(ErrorCode::UnknownTopicOrPartition)
        } else if partition.start_offset < 0 {
            share_state::refusal(share::Error::InvalidRequest)
        } else {
            (ErrorCode::None.into(), None)
        };
        Partition {
            partition_index: index,
            error_code,
            error_message,
        }
    });
    Topic {
        topic_name: name.clone(),
        topic_id: known.map_or(Uuid::ZERO, |topic| topic.id),
        partitions: partitions.collect(),
    }
}

/// Sets those partitions of a topic that nothing was refused of.
async fn set_in(
    ctx: &Context,
    group: &Text,
    state_epoch: i32,
    topic: Topic,
    asked: &[AlterShareGroupOffsetsRequestPartition],
) -> Topic {
    let topic_id = topic.topic_id;
    let partitions = topic
        .partitions
        .into_iter()
        .zip(asked)
        .map(async |(partition, asked)| {
            if ErrorCode::from(partition.error_code) != ErrorCode::None {
                return partition;
            }
            let of = SharePartition {
                group: group.clone(),
                topic_id,
                partition: partition.partition_index,
            };
            let (error_code, error_message) = set(ctx, of, state_epoch, asked.start_offset).await;
            Partition {
                error_code,
                error_message,
                ..partition
            }
        });
    Topic {
        partitions: join_all(partitions).await,
        topic_name: topic.topic_name,
        topic_id,
    }
}

async fn set(ctx: &Context, of: SharePartition, state_epoch: i32, start: i64) -> (i16, Option<Str>) {
    let request = share::Request::Initialize {
        of,
        state_epoch,
        start: Offset(start),
    };
    share_state::outcome(&share_state::done(share_runtime::ask(&ctx.broker, request).await))
}

fn plain(code: ErrorCode) -> (i16, Option<Str>) {
    (code.into(), Some(Str::from_static(code.message())))
}

fn refusal(error: ErrorCode, message: Option<String>) -> AlterShareGroupOffsetsResponse {
    AlterShareGroupOffsetsResponse {
        error_code: error.into(),
        error_message: Some(message.unwrap_or_else(|| error.message().to_owned()).into()),
        ..AlterShareGroupOffsetsResponse::default()
    }
}
