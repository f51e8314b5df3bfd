//! ConsumerGroupHeartbeat: joining a group of the new protocol, staying in it, and leaving it (KIP-848).

use std::collections::BTreeSet;

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use flotilla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::Context;
use super::coordinator::{code, consumer_groups_off, may_read_group, optional_text, seen, text, wire};
use crate::auth::{Operation, ResourceType};
use crate::group::consumer::{Beat, Heartbeat, Partitions, Refused, Resolution, regex};
use crate::group::{Reply, Request, Text};

/// Answers with the member's epoch, and with what it is to hold where that is news to it.
pub(super) async fn handle(
    ctx: &Context,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let image = ctx.image();
    if let Some(why) = consumer_groups_off(&image) {
        return ConsumerGroupHeartbeatResponse {
            error_message: Some(why.into()),
            ..refusal(ErrorCode::UnsupportedVersion)
        };
    }
    if !may_read_group(ctx, &request.group_id) {
        return refusal(ErrorCode::GroupAuthorizationFailed);
    }
    let mut names = request.subscribed_topic_names.iter().flatten();
    if !names.all(|name| ctx.allowed_in(&image, Operation::Describe, ResourceType::Topic, name)) {
        return refusal(ErrorCode::TopicAuthorizationFailed);
    }
    let heartbeat = Request::ConsumerHeartbeat(Box::new(heartbeat(ctx, &request)));
    match ctx.broker.groups.ask(&request.group_id, heartbeat).await {
        Reply::ConsumerHeartbeat(Ok(mut beat)) => {
            let to_resolve = std::mem::take(&mut beat.to_resolve);
            if !to_resolve.is_empty() {
                resolve(ctx, &request.group_id, to_resolve).await;
            }
            response(beat)
        }
        Reply::ConsumerHeartbeat(Err(Refused { error, message })) => ConsumerGroupHeartbeatResponse {
            error_message: message.map(Into::into),
            ..refusal(code(error))
        },
        _ => refusal(ErrorCode::UnknownServerError),
    }
}

fn heartbeat(ctx: &Context, request: &ConsumerGroupHeartbeatRequest) -> Heartbeat {
    let owned = request.topic_partitions.as_ref().map(|owned| {
        owned
            .iter()
            .flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(move |partition| (topic.topic_id, *partition))
            })
            .collect()
    });
    Heartbeat {
        group: text(&request.group_id),
        member_id: text(&request.member_id),
        epoch: request.member_epoch,
        instance_id: optional_text(request.instance_id.as_ref()),
        rack_id: optional_text(request.rack_id.as_ref()),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics: request
            .subscribed_topic_names
            .as_ref()
            .map(|names| names.iter().map(|name| text(name)).collect()),
        regex: optional_text(request.subscribed_topic_regex.as_ref()),
        assignor: optional_text(request.server_assignor.as_ref()),
        owned,
        classic: None,
        client_id: text(ctx.client_id.as_deref().unwrap_or("")),
        client_host: format!("/{}", ctx.session.client_address).into(),
        fresh_id: uuid::Uuid::new_v4().to_string().into(),
        draws_own_id: ctx.version >= 1,
        seen: seen(ctx),
    }
}

/// Looks up which topics regular expressions of the group match, of those that this member may see. What comes of it is told
/// with the next heartbeat.
async fn resolve(ctx: &Context, group: &str, expressions: BTreeSet<Text>) {
    let seen = seen(ctx);
    let searched = seen.clone();
    // Many topics and many expressions take long: other requests are not to wait for it.
    let looked_up = tokio::task::spawn_blocking(move || regex::resolve(&expressions, &searched)).await;
    // Should it be lost, the coordinator asks again.
    let Ok(mut topics) = looked_up else { return };
    let may_see = |topic: &Text| ctx.allowed_in(&seen.image, Operation::Describe, ResourceType::Topic, topic);
    for matched in topics.values_mut() {
        matched.retain(may_see);
    }
    let resolution = Resolution {
        group: text(group),
        topics,
        seen,
    };
    let _ = ctx
        .broker
        .groups
        .ask(group, Request::Resolution(resolution))
        .await;
}

fn response(beat: Beat) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        member_id: Some(wire(&beat.member_id)),
        member_epoch: beat.epoch,
        heartbeat_interval_ms: beat.heartbeat_interval_ms,
        assignment: beat.assignment.as_ref().map(assignment),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

fn assignment(partitions: &Partitions) -> Assignment {
    let topic_partitions = partitions.topics().map(|(topic_id, partitions)| TopicPartitions {
        topic_id,
        partitions: partitions.iter().copied().collect(),
    });
    Assignment {
        topic_partitions: topic_partitions.collect(),
    }
}

fn refusal(error: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: error.into(),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
