//! DescribeGroups: state and members of groups.

use std::collections::BTreeMap;

use flotilla_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use flotilla_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use flotilla_protocol::{ErrorCode, Str};
use futures::future::join_all;

use super::Context;
use super::coordinator::{code, optional_wire, text, wire};
use crate::auth::{Operation, ResourceType};
use crate::group::{self, Error, Reply, Request, State, Text};
use crate::metadata::Image;

/// Describes each group that the client may see.
pub(super) async fn handle(ctx: &Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let image = ctx.image();
    let mut groups = Vec::with_capacity(request.groups.len());
    let mut by_partition: BTreeMap<_, Vec<Text>> = BTreeMap::new();
    for name in request.groups {
        if ctx.allowed_in(&image, Operation::Describe, ResourceType::Group, &name) {
            let partition = ctx.broker.groups.partition_of(&image, &name);
            by_partition.entry(partition).or_default().push(text(&name));
        } else {
            groups.push(refusal(name, ErrorCode::GroupAuthorizationFailed));
        }
    }
    let asked = by_partition.into_iter().map(async |(partition, names)| {
        let reply = match partition {
            Some(partition) => {
                ctx.broker
                    .groups
                    .ask_shard(partition, Request::Describe(names.clone()))
                    .await
            }
            None => Reply::Describe(Err(Error::NotCoordinator)),
        };
        match reply {
            Reply::Describe(Ok(found)) => names.into_iter().zip(found).collect::<Vec<_>>(),
            Reply::Describe(Err(error)) => names.into_iter().map(|name| (name, Err(error))).collect(),
            _ => names
                .into_iter()
                .map(|name| (name, Err(Error::Unexpected)))
                .collect(),
        }
    });
    for (name, found) in join_all(asked).await.into_iter().flatten() {
        groups.push(match found {
            Ok(found) => described(ctx, &image, found, request.include_authorized_operations),
            Err(Error::GroupNotFound) => missing(ctx, &image, &name, request.include_authorized_operations),
            Err(error) => refusal(wire(&name), code(error)),
        });
    }
    DescribeGroupsResponse {
        groups,
        ..DescribeGroupsResponse::default()
    }
}

fn described(
    ctx: &Context,
    image: &Image,
    found: group::DescribedGroup,
    with_operations: bool,
) -> DescribedGroup {
    let members = found.members.into_iter().map(|member| DescribedGroupMember {
        member_id: wire(&member.member_id),
        group_instance_id: optional_wire(member.instance_id.as_ref()),
        client_id: wire(&member.client_id),
        client_host: wire(&member.client_host),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    });
    DescribedGroup {
        group_id: wire(&found.group),
        group_state: Str::from_static(found.state.name()),
        protocol_type: wire(&found.protocol_type),
        protocol_data: wire(&found.protocol),
        members: members.collect(),
        authorized_operations: operations(ctx, image, &found.group, with_operations),
        ..DescribedGroup::default()
    }
}

/// A group that does not exist is an error since version 6 (KIP-1043), and before that a dead one.
fn missing(ctx: &Context, image: &Image, name: &str, with_operations: bool) -> DescribedGroup {
    let dead = DescribedGroup {
        group_id: wire(name),
        group_state: Str::from_static(State::Dead.name()),
        ..DescribedGroup::default()
    };
    if ctx.version >= 6 {
        DescribedGroup {
            error_code: ErrorCode::GroupIdNotFound.into(),
            error_message: Some(format!("Group {name} not found.").into()),
            ..dead
        }
    } else {
        DescribedGroup {
            authorized_operations: operations(ctx, image, name, with_operations),
            ..dead
        }
    }
}

fn refusal(name: Str, error: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        group_id: name,
        error_code: error.into(),
        ..DescribedGroup::default()
    }
}

fn operations(ctx: &Context, image: &Image, name: &str, asked: bool) -> i32 {
    if asked {
        ctx.authorized_operations(image, ResourceType::Group, name)
    } else {
        super::OPERATIONS_NOT_ASKED
    }
}
