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

const NOT_STORED: &str =
    "nothing is stored of the topic's deliveries to the group: there is nothing to delete";

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
    let mut asked: Vec<(Uuid, Str)> = Vec::new();
    for topic in request.topics {
        let name = topic.topic_name;
        if ctx.allowed_in(&image, Operation::Read, ResourceType::Topic, &name) {
            asked.push((image.topic(&name).map_or(Uuid::ZERO, |topic| topic.id), name));
        } else {
            let code = ErrorCode::TopicAuthorizationFailed;
            responses.push(refused(name, code, code.message()));
        }
    }
    let group = text(&request.group_id);
    let topics: BTreeSet<Uuid> = asked.iter().map(|(id, _)| *id).collect();
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
    for (topic_id, topic_name) in asked {
        match outcomes.get(&topic_id) {
            Some(outcome) => {
                let (error_code, error_message) = share_state::outcome(outcome);
                responses.push(Topic {
                    topic_name,
                    topic_id,
                    error_code,
                    error_message,
                });
            }
            // As in Kafka: nothing is said of any topic to a group that has never read one.
            None if !standing.has_read => {}
            None => responses.push(refused(
                topic_name,
                ErrorCode::UnknownTopicOrPartition,
                NOT_STORED,
            )),
        }
    }
    DeleteShareGroupOffsetsResponse {
        responses,
        ..DeleteShareGroupOffsetsResponse::default()
    }
}

fn refused(topic_name: Str, code: ErrorCode, message: &'static str) -> Topic {
    Topic {
        topic_name,
        topic_id: Uuid::ZERO,
        error_code: code.into(),
        error_message: Some(Str::from_static(message)),
    }
}

fn refusal(error: ErrorCode, message: Option<String>) -> DeleteShareGroupOffsetsResponse {
    DeleteShareGroupOffsetsResponse {
        error_code: error.into(),
        error_message: Some(message.unwrap_or_else(|| error.message().to_owned()).into()),
        ..DeleteShareGroupOffsetsResponse::default()
    }
}
