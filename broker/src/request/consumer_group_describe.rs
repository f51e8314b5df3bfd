//! ConsumerGroupDescribe: state and members of groups of the new protocol (KIP-848).

use flotilla_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use flotilla_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::coordinator::{consumer_groups_off, describe, optional_wire, wire};
use crate::auth::{Operation, ResourceType};
use crate::group::consumer::{Described, DescribedMember, Partitions};
use crate::group::{Reply, Request};
use crate::metadata::Image;

/// Members that speak the classic protocol, and those that speak this one.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

/// Describes each group that the client may see.
pub(super) async fn handle(
    ctx: &Context,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let image = ctx.image();
    let off = consumer_groups_off(&image);
    let answered = |reply| match reply {
        Reply::ConsumerDescribe(found) => Some(found),
        _ => None,
    };
    let found = describe(
        ctx,
        &image,
        off,
        request.group_ids,
        Request::ConsumerDescribe,
        answered,
    )
    .await;
    let groups = found.into_iter().map(|(name, found)| match found {
        Ok(found) => described(ctx, &image, &found, request.include_authorized_operations),
        Err((error, message)) => refusal(name, error, message),
    });
    ConsumerGroupDescribeResponse {
        groups: groups.collect(),
        ..ConsumerGroupDescribeResponse::default()
    }
}

fn described(ctx: &Context, image: &Image, found: &Described, with_operations: bool) -> DescribedGroup {
    let topics = found.members.iter().flat_map(|member| {
        let ids = member.assigned.topics().chain(member.target.topics());
        let by_id = ids.filter_map(move |(id, _)| image.topic_by_id(id).map(|topic| &*topic.name));
        by_id.chain(member.subscription.topics.iter().map(|topic| &**topic))
    });
    let mut topics: Vec<&str> = topics.collect();
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
        group_state: Str::from_static(found.state.name()),
        group_epoch: found.epoch,
        assignment_epoch: found.target_epoch,
        assignor_name: wire(&found.assignor),
        members: found
            .members
            .iter()
            .map(|member| described_member(ctx, image, member))
            .collect(),
        authorized_operations: match with_operations {
            true => ctx.authorized_operations(image, ResourceType::Group, &found.group),
            false => super::OPERATIONS_NOT_ASKED,
        },
        ..DescribedGroup::default()
    }
}

fn described_member(ctx: &Context, image: &Image, member: &DescribedMember) -> Member {
    let told = &member.subscription;
    Member {
        member_id: wire(&member.member_id),
        instance_id: optional_wire(told.instance_id.as_ref()),
        rack_id: optional_wire(told.rack_id.as_ref()),
        member_epoch: member.epoch,
        client_id: wire(&told.client_id),
        client_host: wire(&told.client_host),
        subscribed_topic_names: told.topics.iter().map(|topic| wire(topic)).collect(),
        subscribed_topic_regex: optional_wire(told.regex.as_ref().filter(|regex| !regex.is_empty())),
        assignment: assignment(image, &member.assigned),
        target_assignment: assignment(image, &member.target),
        member_type: match (ctx.version, &told.classic) {
            (0, _) => Member::default().member_type,
            (_, Some(_)) => CLASSIC_MEMBER,
            (_, None) => CONSUMER_MEMBER,
        },
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
