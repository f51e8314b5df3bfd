//! ListGroups: the groups that this broker coordinates.

use flotilla_protocol::messages::list_groups_response::ListedGroup;
use flotilla_protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use flotilla_protocol::{ErrorCode, Str};
use futures::future::join_all;

use super::Context;
use super::coordinator::{code, wire};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::group::{Error, Reply, Request};

/// Lists the groups that the client may see, by state (KIP-518) and type (KIP-848) if it says so.
pub(super) async fn handle(ctx: &Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let image = ctx.image();
    let sees_all = ctx.allowed_in(
        &image,
        Operation::Describe,
        ResourceType::Cluster,
        CLUSTER_RESOURCE,
    );
    let matches = |filter: &[Str], value: &str| {
        filter.is_empty()
            || filter
                .iter()
                .any(|wanted| wanted.trim().eq_ignore_ascii_case(value))
    };
    let asked = ctx.broker.groups.hosted().into_iter();
    let replies =
        join_all(asked.map(|partition| ctx.broker.groups.ask_shard(partition, Request::List))).await;
    let mut groups = Vec::new();
    for reply in replies {
        let listed = match reply {
            Reply::List(Ok(listed)) => listed,
            // It has just moved to another broker, which lists its groups.
            Reply::List(Err(Error::NotCoordinator)) => continue,
            Reply::List(Err(error)) => return refusal(code(error)),
            _ => return refusal(ErrorCode::UnknownServerError),
        };
        for group in listed {
            let is_seen =
                sees_all || ctx.allowed_in(&image, Operation::Describe, ResourceType::Group, &group.group);
            let (state, kind) = (group.state, group.kind.name());
            if is_seen && matches(&request.states_filter, state) && matches(&request.types_filter, kind) {
                groups.push(ListedGroup {
                    group_id: wire(&group.group),
                    protocol_type: wire(&group.protocol_type),
                    group_state: Str::from_static(state),
                    group_type: Str::from_static(kind),
                });
            }
        }
    }
    ListGroupsResponse {
        groups,
        ..ListGroupsResponse::default()
    }
}

fn refusal(error: ErrorCode) -> ListGroupsResponse {
    ListGroupsResponse {
        error_code: error.into(),
        ..ListGroupsResponse::default()
    }
}
