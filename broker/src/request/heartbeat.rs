//! Heartbeat: a member is still there.

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::Context;
use super::coordinator::{code, may_read_group, optional_text, seen, text};
use crate::group::{Error, Reply, Request};

/// Keeps a member's session alive, and tells it when the group rebalances.
pub(super) async fn handle(ctx: &Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let error = if may_read_group(ctx, &request.group_id) {
        let asked = Request::Heartbeat {
            group: text(&request.group_id),
            member_id: text(&request.member_id),
            instance_id: optional_text(request.group_instance_id.as_ref()),
            generation: request.generation_id,
            seen: seen(ctx),
        };
        match ctx.broker.groups.ask(&request.group_id, asked).await {
            // A coordinator that is still loading has not forgotten anyone: the member goes on.
            Reply::Heartbeat(Ok(()) | Err(Error::LoadInProgress)) => ErrorCode::None,
            Reply::Heartbeat(Err(error)) => code(error),
            _ => ErrorCode::UnknownServerError,
        }
    } else {
        ErrorCode::GroupAuthorizationFailed
    };
    HeartbeatResponse {
        error_code: error.into(),
        ..HeartbeatResponse::default()
    }
}
