//! AlterShareGroupOffsets: an administrator says where the deliveries of a share group begin anew (KIP-932).

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::messages::alter_share_group_offsets_request::AlterShareGroupOffsetsRequestTopic;
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

/// Sets them, where the group has no members.
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
    let standing = match standing(ctx, &group, Request::ShareAltering(group.clone())).await {
        Ok(standing) => standing,
        Err(error) => return refusal(code(error), Some(error.to_string())),
    };
    let topics = request
        .topics
        .iter()
        .map(|topic| one(ctx, &image, &group, topic, standing.epoch));
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

/// The partitions of a topic that were set.
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

async fn one(
    ctx: &Context,
    image: &Image,
    group: &Text,
    asked: &AlterShareGroupOffsetsRequestTopic,
    state_epoch: i32,
) -> Topic {
    let name = &asked.topic_name;
    let known = image.topic(name);
    let topic_id = known.map_or(Uuid::ZERO, |topic| topic.id);
    let may = ctx.allowed_in(image, Operation::Read, ResourceType::Topic, name);
    let partitions = asked.partitions.iter().map(async |partition| {
        let index = partition.partition_index;
        let is_known = known.is_some_and(|topic| topic.partition(PartitionIndex(index)).is_some());
        let (error_code, error_message) = if !may {
            plain(ErrorCode::TopicAuthorizationFailed)
        } else if !is_known {
            plain(ErrorCode::UnknownTopicOrPartition)
        } else {
            let of = SharePartition {
                group: group.clone(),
                topic_id,
                partition: index,
            };
            set(ctx, of, state_epoch, partition.start_offset).await
        };
        Partition {
            partition_index: index,
            error_code,
            error_message,
        }
    });
    Topic {
        topic_name: name.clone(),
        topic_id,
        partitions: join_all(partitions).await,
    }
}

async fn set(ctx: &Context, of: SharePartition, state_epoch: i32, start: i64) -> (i16, Option<Str>) {
    if start < 0 {
        return share_state::refusal(share::Error::InvalidRequest);
    }
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
