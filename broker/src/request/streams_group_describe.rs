//! StreamsGroupDescribe: state, topology and members of streams groups (KIP-1071).

use flotilla_protocol::messages::streams_group_describe_response::{
    Assignment, DescribedGroup, Endpoint, KeyValue, Member, Subtopology, TaskIds, TopicInfo, Topology,
};
use flotilla_protocol::messages::{StreamsGroupDescribeRequest, StreamsGroupDescribeResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::coordinator::{describe, optional_wire, seen, streams_groups_off, wire};
use crate::auth::{Operation, ResourceType};
use crate::group::streams::{self, Described, DescribedMember, Tasks};
use crate::group::{Reply, Request, Text};
use crate::metadata::Image;

/// Describes each group that the client may see.
pub(super) async fn handle(
    ctx: &Context,
    request: StreamsGroupDescribeRequest,
) -> StreamsGroupDescribeResponse {
    let image = ctx.image();
    let off = streams_groups_off(&image);
    let question = |groups| Request::StreamsDescribe {
        groups,
        seen: seen(ctx),
    };
    let answered = |reply| match reply {
        Reply::StreamsDescribe(found) => Some(found),
        _ => None,
    };
    let found = describe(ctx, &image, off, request.group_ids, question, answered).await;
    let groups = found.into_iter().map(|(name, found)| match found {
        Ok(found) => described(ctx, &image, &found, request.include_authorized_operations),
        Err((error, message)) => refusal(name, error, message),
    });
    StreamsGroupDescribeResponse {
        groups: groups.collect(),
        ..StreamsGroupDescribeResponse::default()
    }
}

fn described(ctx: &Context, image: &Image, found: &Described, with_operations: bool) -> DescribedGroup {
    let may_see = |topic: &&Text| ctx.allowed_in(image, Operation::Describe, ResourceType::Topic, topic);
    let mut topics = found.topology.iter().flat_map(streams::Topology::topics);
    if !topics.all(|topic| may_see(&topic)) {
        return refusal(
            wire(&found.group),
            ErrorCode::TopicAuthorizationFailed,
            Some("the group uses topics that this client may not describe".to_owned()),
        );
    }
    DescribedGroup {
        group_id: wire(&found.group),
        group_state: Str::from_static(found.state.name()),
        group_epoch: found.epoch,
        assignment_epoch: found.target_epoch,
        topology: found.topology.as_ref().map(topology),
        members: found.members.iter().map(member).collect(),
        authorized_operations: match with_operations {
            true => ctx.authorized_operations(image, ResourceType::Group, &found.group),
            false => super::OPERATIONS_NOT_ASKED,
        },
        ..DescribedGroup::default()
    }
}

fn topology(topology: &streams::Topology) -> Topology {
    let parts = topology.subtopologies.iter();
    Topology {
        epoch: topology.epoch,
        subtopologies: Some(parts.map(|(id, part)| subtopology(id, part)).collect()),
    }
}

fn subtopology(id: &Text, part: &streams::Subtopology) -> Subtopology {
    Subtopology {
        subtopology_id: wire(id),
        source_topics: sorted(&part.source_topics),
        repartition_sink_topics: sorted(&part.repartition_sinks),
        state_changelog_topics: topic_infos(&part.changelogs),
        repartition_source_topics: topic_infos(&part.repartition_sources),
    }
}

fn sorted(names: &[Text]) -> Vec<Str> {
    let mut names: Vec<&Text> = names.iter().collect();
    names.sort_unstable();
    names.into_iter().map(|name| wire(name)).collect()
}

fn topic_infos(topics: &[streams::InternalTopic]) -> Vec<TopicInfo> {
    let mut topics: Vec<&streams::InternalTopic> = topics.iter().collect();
    topics.sort_unstable_by_key(|topic| &topic.name);
    let one = |topic: &streams::InternalTopic| TopicInfo {
        name: wire(&topic.name),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        topic_configs: pairs(topic.configs.iter().map(|(key, value)| (key, value))),
    };
    topics.into_iter().map(one).collect()
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a Text, &'a Text)>) -> Vec<KeyValue> {
    let one = |(key, value): (&Text, &Text)| KeyValue {
        key: wire(key),
        value: wire(value),
    };
    pairs.map(one).collect()
}

fn member(member: &DescribedMember) -> Member {
    let told = &member.told;
    Member {
        member_id: wire(&member.member_id),
        member_epoch: member.epoch,
        instance_id: optional_wire(told.instance_id.as_ref()),
        rack_id: optional_wire(told.rack_id.as_ref()),
        client_id: wire(&told.client_id),
        client_host: wire(&told.client_host),
        topology_epoch: told.topology_epoch,
        process_id: wire(&told.process_id),
        user_endpoint: told.endpoint.as_ref().map(|endpoint| Endpoint {
            host: wire(&endpoint.host),
            port: endpoint.port,
        }),
        client_tags: pairs(told.client_tags.iter()),
        assignment: assignment(&member.assigned),
        target_assignment: assignment(&member.target),
        ..Member::default()
    }
}

fn assignment(tasks: &streams::Assignment) -> Assignment {
    Assignment {
        active_tasks: task_ids(&tasks.active),
        standby_tasks: task_ids(&tasks.standby),
        warmup_tasks: task_ids(&tasks.warmup),
    }
}

fn task_ids(tasks: &Tasks) -> Vec<TaskIds> {
    let of = tasks.topics().map(|(subtopology, partitions)| TaskIds {
        subtopology_id: wire(&subtopology),
        partitions: partitions.iter().copied().collect(),
    });
    of.collect()
}

fn refusal(name: Str, error: ErrorCode, message: Option<String>) -> DescribedGroup {
    DescribedGroup {
        group_id: name,
        error_code: error.into(),
        error_message: message.map(Into::into),
        ..DescribedGroup::default()
    }
}
