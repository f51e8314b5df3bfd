//! ShareGroupDescribe: state and members of share groups (KIP-932).

use flotilla_protocol::messages::share_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use flotilla_protocol::messages::{ShareGroupDescribeRequest, ShareGroupDescribeResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::coordinator::{describe, optional_wire, share_groups_off, wire};
use crate::auth::{Operation, ResourceType};
use crate::group::consumer::Partitions;
use crate::group::share::{Described, DescribedMember};
use crate::group::{Reply, Request};
use crate::metadata::Image;

/// The only assignor of share groups.
const ASSIGNOR: &str = "simple";

/// Describes each group that the client may see.
pub(super) async fn handle(ctx: &Context, request: ShareGroupDescribeRequest) -> ShareGroupDescribeResponse {
    let image = ctx.image();
    let off = share_groups_off(&image);
    let answered = |reply| match reply {
        Reply::ShareDescribe(found) => Some(found),
        _ => None,
    };
    let found = describe(
        ctx,
        &image,
        off,
        request.group_ids,
        Request::ShareDescribe,
        answered,
    )
    .await;
    let groups = found.into_iter().map(|(name, found)| match found {
        Ok(found) => described(ctx, &image, &found, request.include_authorized_operations),
        Err((error, message)) => refusal(name, error, message),
    });
    ShareGroupDescribeResponse {
        groups: groups.collect(),
        ..ShareGroupDescribeResponse::default()
    }
}

fn described(ctx: &Context, image: &Image, found: &Described, with_operations: bool) -> DescribedGroup {
    let mut topics: Vec<&str> = Vec::new();
    for member in &found.members {
        let assigned = member.assigned.topics();
        topics.extend(assigned.filter_map(|(id, _)| Some(image.topic_by_id(id)?.name.as_str())));
        topics.extend(member.subscription.topics.iter().map(|topic| &**topic));
    }
    topics.sort_unstable();
    topics.dedup();
    let may_see = |topic: &str| ctx.allowed_in(image, Operation::Describe, ResourceType::Topic, topic);
    if !topics.into_iter().all(may_see) {
        return refusal(
            wire(&found.group),
            ErrorCode::TopicAuthorizationFailed,
            Some("the group subscribes to topics that this client may not describe".to_owned()),
        );
    }
    DescribedGroup {
        group_id: wire(&found.group),
        group_state: Str::from_static(found.state),
        group_epoch: found.epoch,
        assignment_epoch: found.target_epoch,
        assignor_name: Str::from_static(ASSIGNOR),
        members: found
            .members
            .iter()
            .map(|member| described_member(image, member))
            .collect(),
        authorized_operations: match with_operations {
            true => ctx.authorized_operations(image, ResourceType::Group, &found.group),
            false => super::OPERATIONS_NOT_ASKED,
        },
        ..DescribedGroup::default()
    }
}

fn described_member(image: &Image, member: &DescribedMember) -> Member {
    let told = &member.subscription;
    Member {
        member_id: wire(&member.member_id),
        rack_id: optional_wire(told.rack_id.as_ref()),
        member_epoch: member.epoch,
        client_id: wire(&told.client_id),
        client_host: wire(&told.client_host),
        subscribed_topic_names: told.topics.iter().map(|topic| wire(topic)).collect(),
        assignment: assignment(image, &member.assigned),
    }
}

/// Topics that are gone meanwhile have no name, and are left out.
fn assignment(image: &Image, partitions: &Partitions) -> Assignment {
    let topic_partitions = partitions.topics().filter_map(|(topic_id, partitions)| {
        Some(TopicPartitions {
            topic_id,
            topic_name: wire(&image.topic_by_id(topic_id)?.name),
            partitions: partitions.iter().copied().collect(),
        })
    });
    Assignment {
        topic_partitions: topic_partitions.collect(),
    }
}

fn refusal(name: Str, error: ErrorCode, message: Option<String>) -> DescribedGroup {
    DescribedGroup {
        group_id: name,
        error_code: error.into(),
        error_message: message.map(Into::into),
        ..DescribedGroup::default()
    }
}
