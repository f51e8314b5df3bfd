//! ShareGroupHeartbeat: joining a share group, staying in it, and leaving it (KIP-932).

use std::collections::BTreeMap;

use flotilla_protocol::messages::share_group_heartbeat_response::{Assignment, TopicPartitions};
use flotilla_protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use flotilla_protocol::{ErrorCode, Offset, Uuid};
use futures::future::join_all;

use super::Context;
use super::coordinator::{code, may_read_group, optional_text, seen, share_groups_off, text, wire};
use crate::auth::{Operation, ResourceType};
use crate::group::consumer::{Partitions, Refused};
use crate::group::share::{Beat, Heartbeat, Named};
use crate::group::{Error, Reply, Request, Text};
use crate::share::{self, SharePartition};
use crate::share_runtime;

/// Answers with the member's epoch, and with what it is to have where that is news to it.
pub(super) async fn handle(
    ctx: &Context,
    request: ShareGroupHeartbeatRequest,
) -> ShareGroupHeartbeatResponse {
    let image = ctx.image();
    if let Some(why) = share_groups_off(&image) {
        return ShareGroupHeartbeatResponse {
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
    let group = text(&request.group_id);
    let mut answered = ask(ctx, &group, heartbeat(ctx, &request)).await;
    if let Ok(beat) = &answered
        && !beat.to_initialize.is_empty()
    {
        initialize(ctx, &group, beat).await;
        // The same once more: it is assigned what is there now. Where that is not all, a later heartbeat sees to the rest.
        answered = ask(ctx, &group, heartbeat(ctx, &request)).await;
    }
    match answered {
        Ok(beat) => response(beat),
        Err(Refused { error, message }) => ShareGroupHeartbeatResponse {
            error_message: message.map(Into::into),
            ..refusal(code(error))
        },
    }
}

async fn ask(ctx: &Context, group: &str, heartbeat: Heartbeat) -> Result<Beat, Refused> {
    let request = Request::ShareHeartbeat(Box::new(heartbeat));
    match ctx.broker.groups.ask(group, request).await {
        Reply::ShareHeartbeat(answered) => answered,
        _ => Err(Error::Unexpected.into()),
    }
}

fn heartbeat(ctx: &Context, request: &ShareGroupHeartbeatRequest) -> Heartbeat {
    Heartbeat {
        group: text(&request.group_id),
        member_id: text(&request.member_id),
        epoch: request.member_epoch,
        rack_id: optional_text(request.rack_id.as_ref()),
        topics: request
            .subscribed_topic_names
            .as_ref()
            .map(|names| names.iter().map(|name| text(name)).collect()),
        client_id: text(ctx.client_id.as_deref().unwrap_or("")),
        client_host: format!("/{}", ctx.session.client_address).into(),
        seen: seen(ctx),
    }
}

/// Has the delivery of partitions begin that the group has not read yet, and tells the group of those that did.
async fn initialize(ctx: &Context, group: &Text, beat: &Beat) {
    let begun = beat.to_initialize.iter().map(async |(topic_id, named)| {
        let partitions = named.partitions.iter().map(async |partition| {
            let of = SharePartition {
                group: group.clone(),
                topic_id: *topic_id,
                partition: *partition,
            };
            begin(ctx, of, beat.state_epoch).await.then_some(*partition)
        });
        let partitions = join_all(partitions).await.into_iter().flatten().collect();
        let name = named.name.clone();
        (*topic_id, Named { name, partitions })
    });
    let topics: BTreeMap<Uuid, Named> = join_all(begun)
        .await
        .into_iter()
        .filter(|(_, named)| !named.partitions.is_empty())
        .collect();
    let request = Request::ShareInitialized {
        group: group.clone(),
        topics,
    };
    // Should it be lost, a later heartbeat does all of it again: what is there already stays as it is.
    drop(ctx.broker.groups.ask(group, request).await);
}

/// Whether something is stored of the share partition now.
async fn begin(ctx: &Context, of: SharePartition, state_epoch: i32) -> bool {
    let request = share::Request::Initialize {
        of,
        state_epoch,
        start: Offset(-1),
    };
    matches!(
        share_runtime::ask(&ctx.broker, request).await,
        share::Reply::Done(Ok(()) | Err(share::Error::FencedStateEpoch))
    )
}

fn response(beat: Beat) -> ShareGroupHeartbeatResponse {
    ShareGroupHeartbeatResponse {
        member_id: Some(wire(&beat.member_id)),
        member_epoch: beat.epoch,
        heartbeat_interval_ms: beat.heartbeat_interval_ms,
        assignment: beat.assignment.as_ref().map(assignment),
        ..ShareGroupHeartbeatResponse::default()
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

fn refusal(error: ErrorCode) -> ShareGroupHeartbeatResponse {
    ShareGroupHeartbeatResponse {
        error_code: error.into(),
        ..ShareGroupHeartbeatResponse::default()
    }
}
