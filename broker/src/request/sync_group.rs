//! SyncGroup: the leader hands assignments in, everyone gets their own.

use bytes::Bytes;
use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::Context;
use super::coordinator::{code, may_read_group, optional_text, optional_wire, seen, text};
use crate::group::{Reply, Request, Sync};

/// Waits for the assignment of the member's generation.
pub(super) async fn handle(ctx: &Context, request: SyncGroupRequest) -> SyncGroupResponse {
    if !may_read_group(ctx, &request.group_id) {
        return refusal(ErrorCode::GroupAuthorizationFailed);
    }
    // Since version 5 both are sent (KIP-559); a client that leaves them out has not understood its own version.
    if ctx.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return refusal(ErrorCode::InconsistentGroupProtocol);
    }
    let asked = Request::Sync(Sync {
        group: text(&request.group_id),
        generation: request.generation_id,
        member_id: text(&request.member_id),
        instance_id: optional_text(request.group_instance_id.as_ref()),
        protocol_type: optional_text(request.protocol_type.as_ref()),
        protocol: optional_text(request.protocol_name.as_ref()),
        assignments: request
            .assignments
            .iter()
            .map(|one| (text(&one.member_id), Bytes::copy_from_slice(&one.assignment)))
            .collect(),
        seen: seen(ctx),
    });
    let reply = ctx.broker.groups.ask(&request.group_id, asked).await;
    // The answer may have taken minutes, and the rules may be others by now.
    if !may_read_group(ctx, &request.group_id) {
        return refusal(ErrorCode::GroupAuthorizationFailed);
    }
    match reply {
        Reply::Sync(Ok(assigned)) => SyncGroupResponse {
            protocol_type: optional_wire(assigned.protocol_type.as_ref()),
            protocol_name: optional_wire(assigned.protocol.as_ref()),
            assignment: assigned.assignment,
            ..SyncGroupResponse::default()
        },
        Reply::Sync(Err(error)) => refusal(code(error)),
        _ => refusal(ErrorCode::UnknownServerError),
    }
}

fn refusal(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error.into(),
        ..SyncGroupResponse::default()
    }
}
