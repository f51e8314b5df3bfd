//! Streams groups (KIP-1071): StreamsGroupHeartbeat, StreamsGroupDescribe.

use anyhow::{Result, ensure};
use flotilla_protocol::messages::streams_group_heartbeat_request::{
    CopartitionGroup, Subtopology, TaskIds, TopicInfo, Topology,
};
use flotilla_protocol::messages::{StreamsGroupDescribeRequest, StreamsGroupHeartbeatRequest};
use flotilla_protocol::{ErrorCode, Str};

use crate::case::{Case, case};
use crate::scene::Scene;

pub fn cases() -> Vec<Case> {
    let mut cases = joining();
    cases.extend(going_on());
    cases.extend(refused());
    cases.extend(describe());
    cases
}

/// A topology that only reads the topic.
fn reading(topic: Str) -> Topology {
    Topology {
        epoch: 0,
        subtopologies: vec![Subtopology {
            subtopology_id: "0".into(),
            source_topics: vec![topic],
            ..Default::default()
        }],
    }
}

/// One that reads the topic, and has a repartition topic with so many partitions joined with it.
fn joining_repartitioned(topic: &Str, partitions: i32) -> Topology {
    let repartition = Str::from(format!("{topic}-repartition"));
    let mut topology = reading(topic.clone());
    topology.subtopologies[0].repartition_sink_topics = vec![repartition.clone()];
    topology.subtopologies.push(Subtopology {
        subtopology_id: "1".into(),
        source_topics: vec![topic.clone()],
        repartition_source_topics: vec![internal(repartition, partitions)],
        copartition_groups: vec![CopartitionGroup {
            source_topics: vec![0],
            repartition_source_topics: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    });
    topology
}

fn internal(name: Str, partitions: i32) -> TopicInfo {
    TopicInfo {
        name,
        partitions,
        replication_factor: 1,
        topic_configs: Vec::new(),
    }
}

/// A heartbeat of a new member of the group of this case.
fn joins(at: &Scene<'_>, topology: Topology) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        endpoint_information_epoch: -1,
        rebalance_timeout_ms: 60_000,
        topology: Some(topology),
        active_tasks: Some(Vec::new()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        process_id: Some("a-process".into()),
        ..goes_on(at, 0)
    }
}

/// One of the same member, in an epoch.
fn goes_on(at: &Scene<'_>, epoch: i32) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: at.name(),
        member_id: at.member_name().into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// The only member of a group that reads the topic of this case; its epoch.
fn member(at: &mut Scene<'_>) -> Result<i32> {
    let answer = at.call(0, &joins(at, reading(at.name())))?;
    ensure!(answer.error_code == 0, "{answer:?}");
    Ok(answer.member_epoch)
}

/// The same, once it has its tasks; its epoch then.
fn member_with_tasks(at: &mut Scene<'_>) -> Result<i32> {
    at.topic_for_consumers(2)?;
    let epoch = member(at)?;
    Ok(at.wait_for("the first assignment", |at| {
        let answer = at.call(0, &goes_on(at, epoch))?;
        ensure!(answer.error_code == 0, "{answer:?}");
        ensure!(answer.member_epoch > epoch, "{answer:?}");
        Ok(answer.member_epoch)
    }))
}

fn joining() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a new member", E::None, |at| {
            let topic = at.topic_for_consumers(2)?;
            Ok(joins(at, reading(topic.name)))
        }),
        case("a new member whose topics are not there", E::None, |at| {
            Ok(joins(at, reading("not-there".into())))
        }),
        case("a new member whose topics do not fit", E::None, |at| {
            let topic = at.topic_for_consumers(2)?;
            Ok(joins(at, joining_repartitioned(&topic.name, 3)))
        }),
        case("a new member that needs topics", E::None, |at| {
            let topic = at.topic_for_consumers(2)?;
            let mut topology = joining_repartitioned(&topic.name, 0);
            let changelog = format!("{}-changelog", topic.name);
            topology.subtopologies[1].state_changelog_topics = vec![internal(changelog.into(), 0)];
            Ok(joins(at, topology))
        }),
        case("a new member with an older topology", E::None, |at| {
            let of_epoch = |epoch| Topology {
                epoch,
                ..reading("not-there".into())
            };
            let answer = at.call(0, &joins(at, of_epoch(1)))?;
            ensure!(answer.error_code == 0, "{answer:?}");
            Ok(StreamsGroupHeartbeatRequest {
                member_id: "another-member".into(),
                ..joins(at, of_epoch(0))
            })
        }),
    ]
}

fn going_on() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a member that waits for others", E::None, |at| {
            at.topic_for_consumers(1)?;
            let epoch = member(at)?;
            Ok(goes_on(at, epoch))
        }),
        case("a member that has its tasks", E::None, |at| {
            let epoch = member_with_tasks(at)?;
            Ok(goes_on(at, epoch))
        }),
        case("a member that joins again", E::None, |at| {
            member_with_tasks(at)?;
            Ok(joins(at, reading(at.name())))
        }),
        case("a member that leaves", E::None, |at| {
            at.topic_for_consumers(1)?;
            member(at)?;
            Ok(goes_on(at, -1))
        }),
        case("a member that ends the application", E::None, |at| {
            at.topic_for_consumers(1)?;
            let epoch = member(at)?;
            Ok(StreamsGroupHeartbeatRequest {
                shutdown_application: true,
                ..goes_on(at, epoch)
            })
        }),
        case("tasks that there are not", E::InvalidRequest, |at| {
            let epoch = member_with_tasks(at)?;
            let tasks = TaskIds {
                subtopology_id: "0".into(),
                partitions: vec![7],
            };
            Ok(StreamsGroupHeartbeatRequest {
                active_tasks: Some(vec![tasks]),
                standby_tasks: Some(Vec::new()),
                warmup_tasks: Some(Vec::new()),
                ..goes_on(at, epoch)
            })
        }),
        case("an unknown member", E::UnknownMemberId, |at| {
            member(at)?;
            Ok(StreamsGroupHeartbeatRequest {
                member_id: "made-up".into(),
                ..goes_on(at, 5)
            })
        }),
        case("an unknown member that leaves", E::UnknownMemberId, |at| {
            member(at)?;
            Ok(StreamsGroupHeartbeatRequest {
                member_id: "made-up".into(),
                ..goes_on(at, -1)
            })
        }),
        case("an unknown group", E::GroupIdNotFound, |at| Ok(goes_on(at, 5))),
        case("a consumer group", E::GroupIdNotFound, |at| {
            at.consumer("")?;
            Ok(joins(at, reading(at.name())))
        }),
        case("an epoch of the future", E::FencedMemberEpoch, |at| {
            let epoch = member(at)?;
            Ok(goes_on(at, epoch + 7))
        }),
    ]
}

fn refused() -> Vec<Case> {
    use ErrorCode as E;
    let mut cases = refused_topologies();
    cases.extend([
        case("another topology", E::InvalidRequest, |at| {
            member(at)?;
            Ok(joins(at, reading("another".into())))
        }),
        case("an empty group id", E::InvalidRequest, |at| {
            Ok(StreamsGroupHeartbeatRequest {
                group_id: "".into(),
                ..joins(at, reading(at.name()))
            })
        }),
        case("no member id", E::InvalidRequest, |at| {
            Ok(StreamsGroupHeartbeatRequest {
                member_id: "".into(),
                ..joins(at, reading(at.name()))
            })
        }),
        case("no topology", E::InvalidRequest, |at| {
            Ok(StreamsGroupHeartbeatRequest {
                topology: None,
                ..joins(at, Topology::default())
            })
        }),
        case("no time to rebalance", E::InvalidRequest, |at| {
            Ok(StreamsGroupHeartbeatRequest {
                rebalance_timeout_ms: -1,
                ..joins(at, reading(at.name()))
            })
        }),
        case("an instance", E::InvalidRequest, |at| {
            Ok(StreamsGroupHeartbeatRequest {
                instance_id: Some("instance".into()),
                ..joins(at, reading(at.name()))
            })
        }),
        case("an empty rack", E::InvalidRequest, |at| {
            Ok(StreamsGroupHeartbeatRequest {
                rack_id: Some("".into()),
                ..joins(at, reading(at.name()))
            })
        }),
        case("tasks in one role only", E::InvalidRequest, |at| {
            Ok(StreamsGroupHeartbeatRequest {
                standby_tasks: None,
                ..joins(at, reading(at.name()))
            })
        }),
        case("an epoch that there is not", E::InvalidRequest, |at| {
            Ok(goes_on(at, -3))
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(joins(at, reading(at.name())))
        })
        .by_nobody(),
        case("a topic that nobody may see", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            at.allow_group()?;
            Ok(joins(at, reading(topic.name)))
        })
        .by_nobody(),
    ]);
    cases
}

fn refused_topologies() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a pattern", E::InvalidRequest, |at| {
            let mut topology = reading(at.name());
            topology.subtopologies[0].source_topic_regex = vec!["a.*".into()];
            Ok(joins(at, topology))
        }),
        case("a changelog with partitions", E::StreamsInvalidTopology, |at| {
            let mut topology = reading(at.name());
            topology.subtopologies[0].state_changelog_topics = vec![internal("changelog".into(), 3)];
            Ok(joins(at, topology))
        }),
        case("an internal topic", E::StreamsInvalidTopology, |at| {
            Ok(joins(at, reading("__consumer_offsets".into())))
        }),
        case("an invalid name", E::StreamsInvalidTopology, |at| {
            Ok(joins(at, reading("no/name".into())))
        }),
        case(
            "a repartition topic that nobody fills",
            E::StreamsInvalidTopology,
            |at| {
                at.topic_for_consumers(1)?;
                let mut topology = joining_repartitioned(&at.name(), 0);
                topology.subtopologies[0].repartition_sink_topics.clear();
                Ok(joins(at, topology))
            },
        ),
    ]
}

fn describe() -> Vec<Case> {
    use ErrorCode as E;
    let of = |group| StreamsGroupDescribeRequest {
        group_ids: vec![group],
        include_authorized_operations: false,
    };
    vec![
        case("a group", E::None, move |at| {
            member_with_tasks(at)?;
            Ok(of(at.name()))
        }),
        case("a group whose topics are not there", E::None, move |at| {
            member(at)?;
            Ok(of(at.name()))
        }),
        case("what may be done", E::None, |at| {
            member_with_tasks(at)?;
            Ok(StreamsGroupDescribeRequest {
                group_ids: vec![at.name()],
                include_authorized_operations: true,
            })
        }),
        case("an unknown group", E::GroupIdNotFound, move |at| {
            Ok(of(at.name()))
        }),
        case("a consumer group", E::GroupIdNotFound, move |at| {
            at.consumer("")?;
            Ok(of(at.name()))
        }),
        case("an empty group id", E::InvalidGroupId, move |_| Ok(of("".into()))),
        case("by nobody", E::GroupAuthorizationFailed, move |at| {
            Ok(of(at.name()))
        })
        .by_nobody(),
    ]
}
