//! DeleteShareGroupOffsets: an administrator has forgotten where the deliveries of topics to a share group stand (KIP-932).

use std::collections::BTreeSet;

use flotilla_protocol::messages::delete_share_group_offsets_response::DeleteShareGroupOffsetsResponseTopic;
use flotilla_protocol::messages::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use super::Context;
use super::coordinator::{code, share_groups_off, text};
use super::share_offsets::{forget, standing};
use super::share_state;
use crate::auth::{Operation, ResourceType};
use crate::group::Request;

type Topic = DeleteShareGroupOffsetsResponseTopic;

/// Forgets them, where the group has no members.
pub(super) async fn handle(
    ctx: &Context,
    request: DeleteShareGroupOffsetsRequest,
) -> DeleteShareGroupOffsetsResponse {
    let image = ctx.image();
    if let Some(why) = share_groups_off(&image) {
        return refusal(ErrorCode::UnsupportedVersion, Some(why));
    }
    if !ctx.allowed_in(&image, Operation::Delete, ResourceType::Group, &request.group_id) {
        return refusal(ErrorCode::GroupAuthorizationFailed, None);
    }
    let mut responses: Vec<Topic> = Vec::with_capacity(request.topics.len());
    let mut known: Vec<(Uuid, Str)> = Vec::new();
    for topic in request.topics {
        let name = topic.topic_name;
        if !ctx.allowed_in(&image, Operation::Read, ResourceType::Topic, &name) {
            responses.push(refused(name, Uuid::ZERO, ErrorCode::TopicAuthorizationFailed));
        } else if let Some(topic) = image.topic(&name) {
            known.push((topic.id, name));
        } else {
            responses.push(refused(name, Uuid::ZERO, ErrorCode::UnknownTopicOrPartition));
        }
    }
    let group = text(&request.group_id);
    let topics: BTreeSet<Uuid> = known.iter().map(|(id, _)| *id).collect();
    let deleting = Request::ShareDeleting {
        group: group.clone(),
        topics: Some(topics.clone()),
    };
    let standing = match standing(ctx, &group, deleting).await {
        Ok(standing) => standing,
        Err(error) => return refusal(code(error), Some(error.to_string())),
    };
    let going = standing.partitions.deleting.keys().copied();
    let outcomes = forget(ctx, &group, going.filter(|topic| topics.contains(topic))).await;
    for (topic_id, topic_name) in known {
        // What is not stored needs not be forgotten.
        let outcome = outcomes.get(&topic_id).copied().unwrap_or(Ok(()));
        let (error_code, error_message) = share_state::outcome(&outcome);
        responses.push(Topic {
            topic_name,
            topic_id,
            error_code,
            error_message,
        });
    }
    DeleteShareGroupOffsetsResponse {
        responses,
        ..DeleteShareGroupOffsetsResponse::default()
    }
}

fn refused(topic_name: Str, topic_id: Uuid, code: ErrorCode) -> Topic {
    Topic {
        topic_name,
        topic_id,
        error_code: code.into(),
        error_message: Some(Str::from_static(code.message())),
    }
}

fn refusal(error: ErrorCode, message: Option<String>) -> DeleteShareGroupOffsetsResponse {
    DeleteShareGroupOffsetsResponse {
        error_code: error.into(),
        error_message: Some(message.unwrap_or_else(|| error.message().to_owned()).into()),
        ..DeleteShareGroupOffsetsResponse::default()
    }
}
