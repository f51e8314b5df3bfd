//! Streams groups, as requests (KIP-1071).

use flotilla_protocol::messages::streams_group_describe_response::{self as described, DescribedGroup};
use flotilla_protocol::messages::streams_group_heartbeat_request::{
    KeyValue, Subtopology, TopicInfo, Topology,
};
use flotilla_protocol::messages::streams_group_heartbeat_response::{Status, TaskIds};
use flotilla_protocol::messages::update_features_request::FeatureUpdateKey;

use super::*;
use crate::request::{streams_group_describe, streams_group_heartbeat, update_features};

const CREATE: i32 = 5;
const CHANGELOG: &str = "counts-changelog";

/// Nobody is waited for, and tasks are assigned at once.
fn prompt() -> [proto::Record; 2] {
    let config = |key: &str| {
        record(record::Record::Config(proto::Config {
            resource_type: crate::metadata::ResourceType::Group.into(),
            resource_name: "g".to_owned(),
            key: key.to_owned(),
            value: Some("0".to_owned()),
        }))
    };
    [
        config("streams.initial.rebalance.delay.ms"),
        config("streams.assignment.interval.ms"),
    ]
}

async fn prompt_broker() -> Arc<Broker> {
    let broker = Broker::in_memory(image(prompt()));
    broker.groups.lead(GROUPS_ID).await;
    broker
}

/// Counts orders, where these changelogs are needed for it.
fn counting(changelogs: &[&'static str]) -> Topology {
    let changelog = |name: &&'static str| TopicInfo {
        name: (*name).into(),
        replication_factor: 1,
        topic_configs: vec![KeyValue {
            key: "cleanup.policy".into(),
            value: "compact".into(),
        }],
        ..TopicInfo::default()
    };
    Topology {
        epoch: 0,
        subtopologies: vec![Subtopology {
            subtopology_id: "0".into(),
            source_topics: vec!["orders".into()],
            state_changelog_topics: changelogs.iter().map(changelog).collect(),
            ..Subtopology::default()
        }],
    }
}

fn joining(topology: Topology) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "a".into(),
        rebalance_timeout_ms: 30_000,
        topology: Some(topology),
        active_tasks: Some(vec![]),
        standby_tasks: Some(vec![]),
        warmup_tasks: Some(vec![]),
        process_id: Some("p".into()),
        ..StreamsGroupHeartbeatRequest::default()
    }
}

fn in_epoch(member_epoch: i32) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "a".into(),
        member_epoch,
        ..StreamsGroupHeartbeatRequest::default()
    }
}

async fn heartbeat(ctx: &Context, request: StreamsGroupHeartbeatRequest) -> StreamsGroupHeartbeatResponse {
    let response = streams_group_heartbeat::handle(ctx, request).await;
    said(ApiKey::StreamsGroupHeartbeat, 0, response)
}

async fn describe(ctx: &Context, groups: &[&'static str]) -> Vec<DescribedGroup> {
    let request = StreamsGroupDescribeRequest {
        group_ids: groups.iter().map(|group| (*group).into()).collect(),
        include_authorized_operations: false,
    };
    let response = streams_group_describe::handle(ctx, request).await;
    said(ApiKey::StreamsGroupDescribe, 0, response).groups
}

/// The only task of the only subtopology.
fn the_task() -> Vec<TaskIds> {
    vec![TaskIds {
        subtopology_id: "0".into(),
        partitions: vec![0],
    }]
}

fn told(member_epoch: i32) -> StreamsGroupHeartbeatResponse {
    StreamsGroupHeartbeatResponse {
        member_id: "a".into(),
        member_epoch,
        heartbeat_interval_ms: 5_000,
        status: Some(vec![]),
        ..StreamsGroupHeartbeatResponse::default()
    }
}

fn statuses(answer: &StreamsGroupHeartbeatResponse) -> Vec<(i8, &str)> {
    let all = answer.status.iter().flatten();
    all.map(|status| (status.status_code, &*status.status_detail))
        .collect()
}

#[tokio::test]
async fn a_member_joins_commits_and_leaves() {
    let broker = prompt_broker().await;
    let ctx = anyone(&broker, 0);
    assert_eq!(
        heartbeat(&ctx, joining(counting(&[]))).await,
        StreamsGroupHeartbeatResponse {
            active_tasks: Some(the_task()),
            standby_tasks: Some(vec![]),
            warmup_tasks: Some(vec![]),
            ..told(2)
        }
    );
    assert_eq!(heartbeat(&ctx, in_epoch(2)).await, told(2));

    let mut request = commit_request(10, &[("orders", ORDERS_ID, 0, 42)]);
    request.member_id = "a".into();
    request.generation_id_or_member_epoch = 2;
    assert_eq!(commit(&anyone(&broker, 10), request.clone()).await, [0]);
    request.generation_id_or_member_epoch = 3;
    let stale = i16::from(ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(&anyone(&broker, 10), request).await, [stale]);
    assert_eq!(fetched(&anyone(&broker, 9)).await, (42, 0, 0));

    let left = StreamsGroupHeartbeatResponse {
        heartbeat_interval_ms: 0,
        ..told(-1)
    };
    assert_eq!(heartbeat(&ctx, in_epoch(-1)).await, left);
    let again = heartbeat(&ctx, in_epoch(2)).await;
    assert_eq!(
        (again.error_code, again.error_message.as_deref(), again.status),
        (
            ErrorCode::UnknownMemberId.into(),
            Some("group g has no member a"),
            Some(vec![])
        )
    );
}

#[tokio::test]
async fn a_group_is_described_with_its_topology_and_members() {
    let broker = prompt_broker().await;
    let ctx = anyone(&broker, 0);
    heartbeat(&ctx, joining(counting(&[]))).await;
    let assignment = described::Assignment {
        active_tasks: vec![described::TaskIds {
            subtopology_id: "0".into(),
            partitions: vec![0],
        }],
        ..described::Assignment::default()
    };
    let expected = DescribedGroup {
        group_id: "g".into(),
        group_state: "Stable".into(),
        group_epoch: 2,
        assignment_epoch: 2,
        topology: Some(described::Topology {
            epoch: 0,
            subtopologies: Some(vec![described::Subtopology {
                subtopology_id: "0".into(),
                source_topics: vec!["orders".into()],
                ..described::Subtopology::default()
            }]),
        }),
        members: vec![described::Member {
            member_id: "a".into(),
            member_epoch: 2,
            client_id: "test".into(),
            client_host: "/127.0.0.1".into(),
            topology_epoch: 0,
            process_id: "p".into(),
            assignment: assignment.clone(),
            target_assignment: assignment,
            ..described::Member::default()
        }],
        ..DescribedGroup::default()
    };
    let unknown = DescribedGroup {
        group_id: "h".into(),
        error_code: ErrorCode::GroupIdNotFound.into(),
        error_message: Some("there is no streams group h".into()),
        ..DescribedGroup::default()
    };
    assert_eq!(describe(&ctx, &["g", "h"]).await, [expected, unknown]);
    let nameless = &describe(&ctx, &[""]).await[0];
    assert_eq!(nameless.error_code, ErrorCode::InvalidGroupId);
    let listed = list_groups::handle(&anyone(&broker, 5), ListGroupsRequest::default()).await;
    assert_eq!(
        listed.groups,
        [ListedGroup {
            group_id: "g".into(),
            protocol_type: "streams".into(),
            group_state: "Stable".into(),
            group_type: "streams".into(),
        }]
    );
}

#[tokio::test]
async fn topics_that_the_application_needs_are_created() {
    let broker = prompt_broker().await;
    let ctx = anyone(&broker, 0);
    let first = heartbeat(&ctx, joining(counting(&[CHANGELOG]))).await;
    let missing = Status {
        status_code: 3,
        status_detail: "internal topics are missing: counts-changelog".into(),
    };
    assert_eq!(
        first,
        StreamsGroupHeartbeatResponse {
            status: Some(vec![missing]),
            active_tasks: Some(vec![]),
            standby_tasks: Some(vec![]),
            warmup_tasks: Some(vec![]),
            ..told(2)
        }
    );
    let image = ctx.image();
    let topic = image.topic(CHANGELOG).expect("created");
    assert_eq!(topic.partition_count(), 1);
    let set = image.config(crate::metadata::ResourceType::Topic, CHANGELOG);
    let policy = set.and_then(|set| set.get("cleanup.policy").map(ToString::to_string));
    assert_eq!(policy.as_deref(), Some("compact"));
    let next = heartbeat(&ctx, in_epoch(2)).await;
    assert_eq!(
        (next.member_epoch, statuses(&next), next.active_tasks.clone()),
        (3, vec![], Some(the_task()))
    );
    let described = &describe(&ctx, &["g"]).await[0];
    let topology = described.topology.as_ref().expect("a topology");
    let parts = topology.subtopologies.as_ref().expect("subtopologies");
    assert_eq!(
        parts[0].state_changelog_topics,
        [described::TopicInfo {
            name: CHANGELOG.into(),
            partitions: 1,
            replication_factor: 1,
            topic_configs: vec![described::KeyValue {
                key: "cleanup.policy".into(),
                value: "compact".into(),
            }],
        }]
    );
}

#[tokio::test]
async fn topics_that_cannot_be_created_are_told_with_the_reason() {
    let broker = prompt_broker().await;
    let ctx = anyone(&broker, 0);
    let mut topology = counting(&[CHANGELOG]);
    topology.subtopologies[0].state_changelog_topics[0].replication_factor = 7;
    let answer = heartbeat(&ctx, joining(topology)).await;
    let [(3, detail)] = statuses(&answer)[..] else {
        panic!("one status: {answer:?}");
    };
    let begins = "internal topics are missing: counts-changelog; counts-changelog could not be created: ";
    assert!(detail.starts_with(begins), "{detail}");
    assert!(ctx.image().topic(CHANGELOG).is_none());
}

#[tokio::test]
async fn the_rules_say_who_is_let_in_and_whose_topics_are_created() {
    let of_group = || {
        let rules = [
            allow("ann", GROUP, "g", READ),
            allow("ann", GROUP, "g", DESCRIBE),
            allow("ann", TOPIC, "orders", DESCRIBE),
        ];
        prompt().into_iter().chain(rules)
    };
    let code = async |rules: Vec<proto::Record>| {
        let ctx = ann(&guarded(rules).await, 0);
        let answer = heartbeat(&ctx, joining(counting(&[CHANGELOG]))).await;
        let created = ctx.image().topic(CHANGELOG).is_some();
        let details = statuses(&answer).into_iter().map(|(_, detail)| detail.to_owned());
        (
            ErrorCode::from(answer.error_code),
            details.collect::<Vec<_>>(),
            created,
        )
    };
    assert_eq!(
        code(prompt().into()).await,
        (ErrorCode::GroupAuthorizationFailed, vec![], false)
    );
    assert_eq!(
        code(of_group().collect()).await,
        (ErrorCode::TopicAuthorizationFailed, vec![], false)
    );
    let sees = || of_group().chain([allow("ann", TOPIC, CHANGELOG, DESCRIBE)]);
    let forbidden = "internal topics are missing: counts-changelog; the client may not create them: it needs CREATE on the cluster, or on \
                     counts-changelog";
    assert_eq!(
        code(sees().collect()).await,
        (ErrorCode::None, vec![forbidden.to_owned()], false)
    );
    let creates = sees().chain([allow("ann", TOPIC, CHANGELOG, CREATE)]);
    let missing = "internal topics are missing: counts-changelog".to_owned();
    assert_eq!(
        code(creates.collect()).await,
        (ErrorCode::None, vec![missing], true)
    );

    let broker = guarded(
        prompt()
            .into_iter()
            .chain([allow("ann", GROUP, "g", READ), allow("ann", GROUP, "g", DESCRIBE)]),
    )
    .await;
    assert_eq!(
        describe(&ann(&broker, 0), &["h"]).await[0].error_code,
        ErrorCode::GroupAuthorizationFailed
    );
}

#[tokio::test]
async fn topologies_that_cannot_be_are_refused() {
    let broker = prompt_broker().await;
    let ctx = anyone(&broker, 0);
    let refused = async |topology| {
        let answer = heartbeat(&ctx, joining(topology)).await;
        let why = answer.error_message.as_deref().unwrap_or_default().to_owned();
        (ErrorCode::from(answer.error_code), why)
    };
    let invalid = |why: &str| (ErrorCode::StreamsInvalidTopology, why.to_owned());
    let reading = |topic: &'static str| {
        let mut topology = counting(&[]);
        topology.subtopologies[0].source_topics = vec![topic.into()];
        topology
    };
    assert_eq!(
        refused(reading("__consumer_offsets")).await,
        invalid(
            "the topology names __consumer_offsets, which is a topic that the brokers keep for themselves"
        )
    );
    assert_eq!(
        refused(reading("no/name")).await,
        invalid("the topology names `no/name`, which cannot be the name of a topic")
    );
    let mut twice = counting(&[]);
    twice.subtopologies.push(twice.subtopologies[0].clone());
    assert_eq!(
        refused(twice).await,
        invalid("the topology has two subtopologies 0")
    );
    let mut partly = joining(counting(&[]));
    partly.standby_tasks = None;
    assert_eq!(
        heartbeat(&ctx, partly).await.error_code,
        ErrorCode::InvalidRequest
    );
}

#[tokio::test]
async fn a_broker_that_does_not_coordinate_the_group_says_so() {
    let broker = Broker::in_memory(image(prompt()));
    let ctx = anyone(&broker, 0);
    let joined = heartbeat(&ctx, joining(counting(&[]))).await;
    assert_eq!(joined.error_code, ErrorCode::NotCoordinator);
    assert_eq!(
        describe(&ctx, &["g"]).await[0].error_code,
        ErrorCode::NotCoordinator
    );
}

#[tokio::test]
async fn there_are_no_streams_groups_at_streams_version_0() {
    let broker = prompt_broker().await;
    let ctx = anyone(&broker, 0);
    let set_level = async |level| {
        let update = FeatureUpdateKey {
            feature: "streams.version".into(),
            max_version_level: level,
            upgrade_type: if level == 0 { 2 } else { 1 },
            ..FeatureUpdateKey::default()
        };
        let request = UpdateFeaturesRequest {
            feature_updates: vec![update],
            ..UpdateFeaturesRequest::default()
        };
        let answer = update_features::handle(&anyone(&broker, 1), request).await;
        assert_eq!(answer.error_code, 0, "{answer:?}");
    };
    set_level(0).await;
    let why = "streams groups are off: streams.version is 0, kafka-features.sh raises it to 1";
    let refused = heartbeat(&ctx, joining(counting(&[]))).await;
    assert_eq!(
        (refused.error_code, refused.error_message.as_deref()),
        (ErrorCode::UnsupportedVersion.into(), Some(why))
    );
    let described = &describe(&ctx, &["g"]).await[0];
    assert_eq!(
        (described.error_code, described.error_message.as_deref()),
        (ErrorCode::UnsupportedVersion.into(), Some(why))
    );
    set_level(1).await;
    let joined = heartbeat(&ctx, joining(counting(&[]))).await;
    assert_eq!(joined.error_code, ErrorCode::None);
}

#[tokio::test]
async fn a_group_takes_as_many_members_as_group_streams_max_size_says() {
    let mut config = crate::broker::testing::config();
    config
        .settings
        .insert("group.streams.max.size".to_owned(), "1".to_owned());
    let broker = Broker::in_memory_configured(config, image(prompt()), Authorizer::none());
    broker.groups.lead(GROUPS_ID).await;
    let ctx = anyone(&broker, 0);
    assert_eq!(heartbeat(&ctx, joining(counting(&[]))).await.error_code, 0);
    let mut second = joining(counting(&[]));
    (second.member_id, second.process_id) = ("b".into(), Some("q".into()));
    let refused = heartbeat(&ctx, second).await;
    assert_eq!(
        ErrorCode::from(refused.error_code),
        ErrorCode::GroupMaxSizeReached
    );
}

#[tokio::test]
async fn a_member_is_told_where_its_coordinator_can_write_nothing() {
    let broker = Broker::in_memory(image(prompt()));
    broker.groups.lead_alone(GROUPS_ID).await;
    let refused = heartbeat(&anyone(&broker, 0), joining(counting(&[]))).await;
    assert_eq!(
        ErrorCode::from(refused.error_code),
        ErrorCode::CoordinatorNotAvailable
    );
}

#[tokio::test]
async fn who_may_see_a_group_and_not_its_topics_is_told_nothing_of_it() {
    let mut rules: Vec<_> = prompt().into();
    rules.extend([allow("ann", GROUP, "g", READ), allow("ann", GROUP, "g", DESCRIBE)]);
    rules.extend([allow("bob", GROUP, "g", DESCRIBE)]);
    rules.extend([
        allow("ann", TOPIC, "orders", READ),
        allow("ann", TOPIC, "orders", DESCRIBE),
    ]);
    let broker = guarded(rules).await;
    assert_eq!(
        heartbeat(&ann(&broker, 0), joining(counting(&[])))
            .await
            .error_code,
        0
    );
    let bob = testing::context_of(broker.clone(), Principal::user("bob"), 0);
    for (ctx, error) in [
        (ann(&broker, 0), ErrorCode::None),
        (bob, ErrorCode::TopicAuthorizationFailed),
    ] {
        let group = describe(&ctx, &["g"]).await.remove(0);
        assert_eq!(ErrorCode::from(group.error_code), error);
        assert_eq!(group.members.is_empty(), error != ErrorCode::None);
    }
}
