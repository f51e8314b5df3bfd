//! OffsetFetch: how far groups have read.

use flotilla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use flotilla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use flotilla_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use flotilla_protocol::{ErrorCode, Str, Uuid};
use futures::future::join_all;

use super::Context;
use super::coordinator::{code, text, wire};
use crate::auth::{Operation, ResourceType};
use crate::group::{Error, Fetch, FetchedPartition, PartitionRef, Reply, Request};
use crate::metadata::Image;

/// Answers for one group, and since version 8 for several (KIP-709).
pub(super) async fn handle(ctx: &Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let image = ctx.image();
    if ctx.version >= 8 {
        let groups = request.groups.into_iter();
        let fetched = groups.map(|group| fetch(ctx, &image, group, request.require_stable));
        return OffsetFetchResponse {
            groups: join_all(fetched).await,
            ..OffsetFetchResponse::default()
        };
    }
    let topics = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| OffsetFetchRequestTopics {
                name: topic.name,
                topic_id: Uuid::ZERO,
                partition_indexes: topic.partition_indexes,
            })
            .collect()
    });
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..OffsetFetchRequestGroup::default()
    };
    let fetched = fetch(ctx, &image, group, request.require_stable).await;
    OffsetFetchResponse {
        error_code: fetched.error_code,
        topics: fetched.topics.into_iter().map(of_one_group).collect(),
        ..OffsetFetchResponse::default()
    }
}

fn of_one_group(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter();
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: partitions
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
            })
            .collect(),
    }
}

async fn fetch(
    ctx: &Context,
    image: &Image,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    if !ctx.allowed_in(image, Operation::Describe, ResourceType::Group, &group.group_id) {
        return refusal(ctx, &group, ErrorCode::GroupAuthorizationFailed);
    }
    // Topics that the coordinator is asked about, and those that are answered here.
    let mut asked = group.topics.as_ref().map(|_| Vec::new());
    let mut refused = Vec::new();
    for topic in group.topics.iter().flatten() {
        match find(ctx, image, topic) {
            Ok(name) => {
                let partitions = topic.partition_indexes.iter().map(|partition| PartitionRef {
                    topic: text(&name),
                    topic_id: topic.topic_id,
                    partition: *partition,
                });
                asked.get_or_insert_default().extend(partitions);
            }
            Err(error) => refused.push(refuse_topic(topic, error)),
        }
    }
    let is_all = asked.is_none();
    // A client that names neither is none of the group's members, or does not know of members' epochs.
    let member = match (&group.member_id, group.member_epoch) {
        (None, epoch) if epoch < 0 => None,
        (member_id, epoch) => Some((text(member_id.as_deref().unwrap_or("")), epoch)),
    };
    let request = Request::Fetch(Fetch {
        group: text(&group.group_id),
        partitions: asked,
        require_stable,
        member,
    });
    let fetched = match ctx.broker.groups.ask(&group.group_id, request).await {
        Reply::Fetch(Ok(fetched)) => fetched,
        // Clients know no other way here to be sent looking for the coordinator again.
        Reply::Fetch(Err(Error::NotAvailable)) => return refusal(ctx, &group, ErrorCode::NotCoordinator),
        Reply::Fetch(Err(error)) => return refusal(ctx, &group, code(error)),
        _ => return refusal(ctx, &group, ErrorCode::UnknownServerError),
    };
    let mut topics = by_topic(fetched);
    if is_all {
        topics.retain(|topic| ctx.allowed_in(image, Operation::Describe, ResourceType::Topic, &topic.name));
    }
    if ctx.version >= 10 {
        for topic in &mut topics {
            topic.topic_id = image.topic(&topic.name).map(|known| known.id).unwrap_or_default();
        }
        topics.retain(|topic| !topic.topic_id.is_zero());
    }
    topics.extend(refused);
    OffsetFetchResponseGroup {
        group_id: group.group_id,
        topics,
        ..OffsetFetchResponseGroup::default()
    }
}

fn find(ctx: &Context, image: &Image, topic: &OffsetFetchRequestTopics) -> Result<Str, ErrorCode> {
    let name = if ctx.version >= 10 {
        let known = image
            .topic_by_id(topic.topic_id)
            .ok_or(ErrorCode::UnknownTopicId)?;
        wire(&known.name)
    } else {
        topic.name.clone()
    };
    if ctx.allowed_in(image, Operation::Describe, ResourceType::Topic, &name) {
        Ok(name)
    } else {
        Err(ErrorCode::TopicAuthorizationFailed)
    }
}

/// Neighbours of one topic together, in the order that they come in.
fn by_topic(fetched: Vec<FetchedPartition>) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for FetchedPartition {
        topic,
        partition,
        committed,
    } in fetched
    {
        let answer = match committed {
            Err(error) => no_offset(partition, code(error)),
            Ok(None) => no_offset(partition, ErrorCode::None),
            Ok(Some(committed)) => OffsetFetchResponsePartitions {
                partition_index: partition,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch,
                metadata: Some(wire(&committed.metadata)),
                error_code: ErrorCode::None.into(),
            },
        };
        match topics.last_mut().filter(|last| *last.name == *topic) {
            Some(last) => last.partitions.push(answer),
            None => topics.push(OffsetFetchResponseTopics {
                name: wire(&topic),
                topic_id: Uuid::ZERO,
                partitions: vec![answer],
            }),
        }
    }
    topics
}

fn no_offset(partition: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::EMPTY),
        error_code: error.into(),
    }
}

fn refuse_topic(topic: &OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.iter();
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.map(|partition| no_offset(*partition, error)).collect(),
    }
}

/// No to a group as a whole. Version 1 has no place for that but the partitions.
fn refusal(ctx: &Context, group: &OffsetFetchRequestGroup, error: ErrorCode) -> OffsetFetchResponseGroup {
    let topics = match ctx.version {
        1 => group
            .topics
            .iter()
            .flatten()
            .map(|topic| refuse_topic(topic, error))
            .collect(),
        _ => Vec::new(),
    };
    OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        topics,
        error_code: error.into(),
    }
}
