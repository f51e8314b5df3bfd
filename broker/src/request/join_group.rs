//! JoinGroup: becoming a member, and staying one through a rebalance.

use bytes::Bytes;
use flotilla_protocol::messages::join_group_response::JoinGroupResponseMember;
use flotilla_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::coordinator::{code, may_read_group, optional_text, optional_wire, seen, text, wire};
use crate::group::{Join, Joined, Protocol, Reply, Request};

/// Joins a group. The answer comes when the group's next generation begins.
pub(super) async fn handle(ctx: &Context, request: JoinGroupRequest) -> JoinGroupResponse {
    if !may_read_group(ctx, &request.group_id) {
        return refusal(ctx, ErrorCode::GroupAuthorizationFailed);
    }
    let asked = Request::Join(join(ctx, &request));
    let reply = ctx.broker.groups.ask(&request.group_id, asked).await;
    // The answer may have taken minutes, and the rules may be others by now.
    if !may_read_group(ctx, &request.group_id) {
        return refusal(ctx, ErrorCode::GroupAuthorizationFailed);
    }
    match reply {
        Reply::Join(joined) => response(ctx, joined),
        _ => refusal(ctx, ErrorCode::UnknownServerError),
    }
}

fn join(ctx: &Context, request: &JoinGroupRequest) -> Join {
    let client_id = ctx.client_id.as_deref().unwrap_or("");
    Join {
        group: text(&request.group_id),
        member_id: text(&request.member_id),
        instance_id: optional_text(request.group_instance_id.as_ref()),
        client_id: text(client_id),
        client_host: format!("/{}", ctx.session.client_address).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match ctx.version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: text(&request.protocol_type),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| Protocol {
                name: text(&protocol.name),
                metadata: Bytes::copy_from_slice(&protocol.metadata),
            })
            .collect(),
        requires_known_member_id: ctx.version >= 4,
        can_skip_assignment: ctx.version >= 9,
        fresh_id: uuid::Uuid::new_v4().to_string().into(),
        seen: seen(ctx),
    }
}

fn response(ctx: &Context, joined: Joined) -> JoinGroupResponse {
    let error = joined.error.map_or(ErrorCode::None, code);
    JoinGroupResponse {
        error_code: error.into(),
        generation_id: joined.generation,
        protocol_type: optional_wire(joined.protocol_type.as_ref()),
        protocol_name: protocol_name(ctx, joined.protocol.as_deref()),
        leader: wire(&joined.leader),
        skip_assignment: joined.skip_assignment,
        member_id: wire(&joined.member_id),
        members: joined
            .members
            .into_iter()
            .map(|member| JoinGroupResponseMember {
                member_id: wire(&member.member_id),
                group_instance_id: optional_wire(member.instance_id.as_ref()),
                metadata: member.metadata,
            })
            .collect(),
        ..JoinGroupResponse::default()
    }
}

fn refusal(ctx: &Context, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.into(),
        protocol_name: protocol_name(ctx, None),
        ..JoinGroupResponse::default()
    }
}

/// Null only where the version has a null for it.
fn protocol_name(ctx: &Context, name: Option<&str>) -> Option<Str> {
    match name {
        None if ctx.version < 7 => Some(Str::EMPTY),
        name => name.map(wire),
    }
}
