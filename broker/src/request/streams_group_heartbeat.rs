//! StreamsGroupHeartbeat: joining a streams group, staying in it, and leaving it (KIP-1071).

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::messages::streams_group_heartbeat_request as asked;
use flotilla_protocol::messages::streams_group_heartbeat_response::{
    Endpoint, EndpointToPartitions, Status, TaskIds, TopicPartition,
};
use flotilla_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::coordinator::{code, may_read_group, optional_text, seen, streams_groups_off, text, wire};
use super::partition_view::is_topic_name;
use super::{Context, streams_internal_topics};
use crate::auth::{Operation, ResourceType};
use crate::group::consumer::Refused;
use crate::group::streams::{self, Assignment, Beat, Heartbeat, Notice, Owned, Tasks, Topology};
use crate::group::{Reply, Request, Text};
use crate::metadata::{Image, is_internal};

/// Answers with the member's epoch, what it has to know of the group, and with what it is to hold where that is news to it. Creates the
/// topics that the application needs, if the client may.
pub(super) async fn handle(
    ctx: &Context,
    request: StreamsGroupHeartbeatRequest,
) -> StreamsGroupHeartbeatResponse {
    let image = ctx.image();
    if let Some(why) = streams_groups_off(&image) {
        return refusal(ErrorCode::UnsupportedVersion, Some(why));
    }
    if !may_read_group(ctx, &request.group_id) {
        return refusal(ErrorCode::GroupAuthorizationFailed, None);
    }
    let heartbeat = match heartbeat(ctx, &image, &request) {
        Ok(heartbeat) => Request::StreamsHeartbeat(Box::new(heartbeat)),
        Err((error, why)) => return refusal(error, why),
    };
    match ctx.broker.groups.ask(&request.group_id, heartbeat).await {
        Reply::StreamsHeartbeat(Ok(mut beat)) => {
            let to_create = std::mem::take(&mut beat.to_create);
            if let Err(why) = streams_internal_topics::create(ctx, &to_create).await {
                tell(&mut beat, &why);
            }
            response(beat)
        }
        Reply::StreamsHeartbeat(Err(Refused { error, message })) => refusal(code(error), message),
        _ => refusal(ErrorCode::UnknownServerError, None),
    }
}

/// Says with the missing topics why they were not created.
fn tell(beat: &mut Beat, why: &str) {
    let missing = streams::Status::MissingInternalTopics;
    let notices = beat.notices.iter_mut();
    for Notice { detail, .. } in notices.filter(|notice| notice.status == missing) {
        detail.push_str("; ");
        detail.push_str(why);
    }
}

type Refusal = (ErrorCode, Option<String>);

fn heartbeat(
    ctx: &Context,
    image: &Image,
    request: &StreamsGroupHeartbeatRequest,
) -> Result<Heartbeat, Refusal> {
    let topology = request.topology.as_ref().map(topology).transpose()?;
    if let Some(topology) = &topology {
        check_topics(ctx, image, topology)?;
    }
    Ok(Heartbeat {
        group: text(&request.group_id),
        member_id: text(&request.member_id),
        epoch: request.member_epoch,
        endpoint_epoch: request.endpoint_information_epoch,
        instance_id: optional_text(request.instance_id.as_ref()),
        rack_id: optional_text(request.rack_id.as_ref()),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topology,
        owned: owned(request),
        process_id: optional_text(request.process_id.as_ref()),
        endpoint: request.user_endpoint.as_ref().map(|endpoint| streams::Endpoint {
            host: text(&endpoint.host),
            port: endpoint.port,
        }),
        client_tags: request.client_tags.as_ref().map(|tags| {
            let tags = tags.iter();
            tags.map(|tag| (text(&tag.key), text(&tag.value))).collect()
        }),
        tells_offsets: request.task_offsets.is_some() || request.task_end_offsets.is_some(),
        shuts_down: request.shutdown_application,
        client_id: text(ctx.client_id.as_deref().unwrap_or("")),
        client_host: format!("/{}", ctx.session.client_address).into(),
        seen: seen(ctx),
    })
}

fn owned(request: &StreamsGroupHeartbeatRequest) -> Owned {
    let roles = [
        &request.active_tasks,
        &request.standby_tasks,
        &request.warmup_tasks,
    ];
    let said = roles.iter().filter(|tasks| tasks.is_some()).count();
    let [active, standby, warmup] = roles.map(|of| tasks(of.as_deref().unwrap_or_default()));
    let tasks = Assignment {
        active,
        standby,
        warmup,
    };
    match said {
        0 => Owned::Unsaid,
        3 => Owned::All(tasks),
        _ => Owned::Partly(tasks),
    }
}

fn tasks(ids: &[asked::TaskIds]) -> Tasks {
    let of = |ids: &asked::TaskIds| {
        let subtopology = text(&ids.subtopology_id);
        let tasks = ids.partitions.iter();
        tasks
            .map(|partition| (subtopology.clone(), *partition))
            .collect::<Vec<_>>()
    };
    ids.iter().flat_map(of).collect()
}

fn topology(told: &asked::Topology) -> Result<Topology, Refusal> {
    let mut subtopologies = BTreeMap::new();
    for part in &told.subtopologies {
        let id = text(&part.subtopology_id);
        if subtopologies.insert(id.clone(), subtopology(part)).is_some() {
            let why = format!("the topology has two subtopologies {id}");
            return Err((ErrorCode::StreamsInvalidTopology, Some(why)));
        }
    }
    Ok(Topology {
        epoch: told.epoch,
        subtopologies,
    })
}

fn subtopology(part: &asked::Subtopology) -> streams::Subtopology {
    let texts = |names: &[Str]| names.iter().map(|name| text(name)).collect();
    let internal = |topics: &[asked::TopicInfo]| topics.iter().map(internal_topic).collect();
    let groups = part.copartition_groups.iter();
    streams::Subtopology {
        source_topics: texts(&part.source_topics),
        source_topic_regex: texts(&part.source_topic_regex),
        changelogs: internal(&part.state_changelog_topics),
        repartition_sinks: texts(&part.repartition_sink_topics),
        repartition_sources: internal(&part.repartition_source_topics),
        copartition_groups: groups
            .map(|group| streams::CopartitionGroup {
                source_topics: group.source_topics.clone(),
                source_topic_regex: group.source_topic_regex.clone(),
                repartition_sources: group.repartition_source_topics.clone(),
            })
            .collect(),
    }
}

fn internal_topic(topic: &asked::TopicInfo) -> streams::InternalTopic {
    let configs = topic.topic_configs.iter();
    streams::InternalTopic {
        name: text(&topic.name),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        configs: configs
            .map(|config| (text(&config.key), text(&config.value)))
            .collect(),
    }
}

/// Whether all topics can be topics of an application, and the client may see them.
fn check_topics(ctx: &Context, image: &Image, topology: &Topology) -> Result<(), Refusal> {
    let topics = topology.topics();
    let invalid = |why: String| Err((ErrorCode::StreamsInvalidTopology, Some(why)));
    if let Some(topic) = topics.iter().find(|topic| is_internal(topic)) {
        return invalid(format!(
            "the topology names {topic}, which is a topic that the brokers keep for themselves"
        ));
    }
    if let Some(topic) = topics.iter().find(|topic| !is_topic_name(topic)) {
        return invalid(format!(
            "the topology names `{topic}`, which cannot be the name of a topic"
        ));
    }
    let may_see = |topic: &&Text| ctx.allowed_in(image, Operation::Describe, ResourceType::Topic, topic);
    match topics.iter().all(may_see) {
        true => Ok(()),
        false => Err((ErrorCode::TopicAuthorizationFailed, None)),
    }
}

fn response(beat: Beat) -> StreamsGroupHeartbeatResponse {
    let (mut active, mut standby, mut warmup) = (None, None, None);
    if let Some(assignment) = &beat.assignment {
        active = Some(task_ids(&assignment.active));
        standby = Some(task_ids(&assignment.standby));
        warmup = Some(task_ids(&assignment.warmup));
    }
    let statuses = beat.notices.into_iter().map(|notice| Status {
        status_code: notice.status as i8,
        status_detail: notice.detail.into(),
    });
    StreamsGroupHeartbeatResponse {
        member_id: wire(&beat.member_id),
        member_epoch: beat.epoch,
        heartbeat_interval_ms: beat.heartbeat_interval_ms,
        status: Some(statuses.collect()),
        active_tasks: active,
        standby_tasks: standby,
        warmup_tasks: warmup,
        endpoint_information_epoch: beat.endpoint_epoch,
        partitions_by_user_endpoint: beat
            .endpoints
            .map(|all| all.iter().map(endpoint_to_partitions).collect()),
        ..StreamsGroupHeartbeatResponse::default()
    }
}

fn task_ids(tasks: &Tasks) -> Vec<TaskIds> {
    let of = tasks.topics().map(|(subtopology, partitions)| TaskIds {
        subtopology_id: wire(&subtopology),
        partitions: partitions.iter().copied().collect(),
    });
    of.collect()
}

fn endpoint_to_partitions(of: &streams::EndpointPartitions) -> EndpointToPartitions {
    let partitions = |topics: &BTreeMap<Text, BTreeSet<i32>>| {
        let one = |(topic, partitions): (&Text, &BTreeSet<i32>)| TopicPartition {
            topic: wire(topic),
            partitions: partitions.iter().copied().collect(),
        };
        topics.iter().map(one).collect()
    };
    EndpointToPartitions {
        user_endpoint: Endpoint {
            host: wire(&of.endpoint.host),
            port: of.endpoint.port,
        },
        active_partitions: partitions(&of.active),
        standby_partitions: partitions(&of.standby),
    }
}

fn refusal(error: ErrorCode, why: Option<String>) -> StreamsGroupHeartbeatResponse {
    StreamsGroupHeartbeatResponse {
        error_code: error.into(),
        error_message: why.map(Into::into),
        ..StreamsGroupHeartbeatResponse::default()
    }
}
