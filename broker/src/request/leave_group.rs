//! LeaveGroup: members go, or are removed by an administrator (KIP-345).

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::leave_group_request::MemberIdentity;
use flotilla_protocol::messages::leave_group_response::MemberResponse;
use flotilla_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::Context;
use super::coordinator::{code, code_of, may_read_group, optional_text, text};
use crate::group::{Leave, Leaving, Reply, Request};

/// Takes members out of a group. Before version 3 it is one, and its error is the response's.
pub(super) async fn handle(ctx: &Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    if !may_read_group(ctx, &request.group_id) {
        return refusal(ErrorCode::GroupAuthorizationFailed);
    }
    let members = match ctx.version {
        0..=2 => vec![MemberIdentity {
            member_id: request.member_id,
            ..MemberIdentity::default()
        }],
        _ => request.members,
    };
    for member in &members {
        // KIP-800: why, as the client says.
        if let Some(reason) = &member.reason {
            tracing::info!(group = %request.group_id, member = %member.member_id, %reason, "member leaves");
        }
    }
    let asked = Request::Leave(Leave {
        group: text(&request.group_id),
        members: members
            .iter()
            .map(|member| Leaving {
                member_id: text(&member.member_id),
                instance_id: optional_text(member.group_instance_id.as_ref()),
            })
            .collect(),
    });
    let results = match ctx.broker.groups.ask(&request.group_id, asked).await {
        Reply::Leave(Ok(results)) => results,
        Reply::Leave(Err(error)) => return refusal(code(error)),
        _ => return refusal(ErrorCode::UnknownServerError),
    };
    if ctx.version < 3 {
        return refusal(results.first().map_or(ErrorCode::None, code_of));
    }
    LeaveGroupResponse {
        members: members
            .into_iter()
            .zip(&results)
            .map(|(member, result)| MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: code_of(result).into(),
            })
            .collect(),
        ..LeaveGroupResponse::default()
    }
}

fn refusal(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse {
        error_code: error.into(),
        ..LeaveGroupResponse::default()
    }
}
