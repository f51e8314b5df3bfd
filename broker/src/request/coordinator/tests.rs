mod consumer;
mod streams;

use std::sync::Arc;

use bytes::Bytes;
use flotilla_control::proto::metadata::{self as proto, record};
use flotilla_protocol::messages::delete_groups_response::DeletableGroupResult;
use flotilla_protocol::messages::find_coordinator_response::Coordinator;
use flotilla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use flotilla_protocol::messages::leave_group_request::MemberIdentity;
use flotilla_protocol::messages::list_groups_response::ListedGroup;
use flotilla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use flotilla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use flotilla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use flotilla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions,
};
use flotilla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use flotilla_protocol::messages::*;
use flotilla_protocol::{ApiKey, ErrorCode, Message, Str, Uuid, frame};

use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::group;
use crate::metadata::Image;
use crate::request::{
    Context, delete_groups, describe_groups, find_coordinator, heartbeat, join_group, leave_group,
    list_groups, offset_commit, offset_delete, offset_fetch, sync_group, testing,
};

const GROUPS_ID: Uuid = Uuid([5; 16]);
const ORDERS_ID: Uuid = Uuid([6; 16]);
const BILLS_ID: Uuid = Uuid([7; 16]);

fn record(record: record::Record) -> proto::Record {
    proto::Record { record: Some(record) }
}

fn topic(name: &str, id: Uuid) -> [proto::Record; 2] {
    [
        record(record::Record::Topic(proto::Topic {
            name: name.to_owned(),
            topic_id: id.0.to_vec(),
            owner: None,
        })),
        record(record::Record::Partition(proto::Partition {
            topic_id: id.0.to_vec(),
            replicas: vec![0],
            isr: vec![0],
            leader: 0,
            ..proto::Partition::default()
        })),
    ]
}

fn broker() -> proto::Record {
    record(record::Record::Broker(proto::Broker {
        broker_epoch: 1,
        incarnation_id: vec![1; 16],
        directory_id: vec![1; 16],
        endpoints: vec![proto::Endpoint {
            listener: "internal".to_owned(),
            host: "broker-0.example".to_owned(),
            port: 9092,
            security_protocol: 0,
        }],
        roles: vec!["broker".to_owned()],
        flotilla_version_max: 1,
        ..proto::Broker::default()
    }))
}

/// Allows a user one operation on one resource, by Kafka's numbers.
fn allow(user: &str, resource_type: i32, name: &str, operation: i32) -> proto::Record {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&operation.to_be_bytes());
    id[4..8].copy_from_slice(&resource_type.to_be_bytes());
    for (place, byte) in name.bytes().take(8).enumerate() {
        id[8 + place] = byte;
    }
    record(record::Record::Acl(proto::Acl {
        id: id.to_vec(),
        resource_type,
        resource_name: name.to_owned(),
        pattern_type: 3,
        principal: format!("User:{user}"),
        host: "*".to_owned(),
        operation,
        permission_type: 3,
    }))
}

const TOPIC: i32 = 2;
const GROUP: i32 = 3;
const READ: i32 = 3;
const DELETE: i32 = 6;
const DESCRIBE: i32 = 8;

fn image(more: impl IntoIterator<Item = proto::Record>) -> Image {
    let mut records = vec![broker()];
    records.extend(topic(group::TOPIC, GROUPS_ID));
    records.extend(topic("orders", ORDERS_ID));
    records.extend(topic("bills", BILLS_ID));
    records.extend(more);
    let mut image = Image::default();
    image.fold_all(&records).expect("known records");
    image
}

/// A broker that coordinates every group.
async fn coordinating() -> Arc<Broker> {
    let broker = Broker::in_memory(image([]));
    broker.groups.lead(GROUPS_ID).await;
    broker
}

/// The same, where `ann` may do what these rules say, and nobody else anything.
async fn guarded(rules: impl IntoIterator<Item = proto::Record>) -> Arc<Broker> {
    let broker = Broker::in_memory_with(image(rules), Authorizer::acl([], false));
    broker.groups.lead(GROUPS_ID).await;
    broker
}

fn anyone(broker: &Arc<Broker>, version: i16) -> Context {
    testing::context_of(broker.clone(), Principal::anonymous(), version)
}

fn ann(broker: &Arc<Broker>, version: i16) -> Context {
    testing::context_of(broker.clone(), Principal::user("ann"), version)
}

/// What the handler answered can be said in that version.
fn said<M: Message>(api: ApiKey, version: i16, message: M) -> M {
    frame::response(api, version, 1, &message).expect("the version has a place for everything");
    message
}

async fn join(ctx: &Context, member_id: &str) -> JoinGroupResponse {
    let request = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: Str::copy_from(member_id),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: subscription(),
        }],
        ..JoinGroupRequest::default()
    };
    said(
        ApiKey::JoinGroup,
        ctx.version,
        join_group::handle(ctx, request).await,
    )
}

/// To the topic `orders`.
fn subscription() -> Bytes {
    Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\xFF\xFF\xFF\xFF")
}

async fn sync(ctx: &Context, member_id: &Str, generation: i32) -> SyncGroupResponse {
    let request = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: generation,
        member_id: member_id.clone(),
        protocol_type: (ctx.version >= 5).then(|| "consumer".into()),
        protocol_name: (ctx.version >= 5).then(|| "range".into()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member_id.clone(),
            assignment: Bytes::from_static(b"mine"),
        }],
        ..SyncGroupRequest::default()
    };
    said(
        ApiKey::SyncGroup,
        ctx.version,
        sync_group::handle(ctx, request).await,
    )
}

async fn beat(ctx: &Context, member_id: &Str, generation: i32) -> i16 {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: generation,
        member_id: member_id.clone(),
        ..HeartbeatRequest::default()
    };
    let response = said(
        ApiKey::Heartbeat,
        ctx.version,
        heartbeat::handle(ctx, request).await,
    );
    response.error_code
}

fn commit_request(version: i16, topics: &[(&'static str, Uuid, i32, i64)]) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: "g".into(),
        topics: topics
            .iter()
            .map(|(name, id, partition, offset)| OffsetCommitRequestTopic {
                name: if version < 10 { (*name).into() } else { Str::EMPTY },
                topic_id: if version < 10 { Uuid::ZERO } else { *id },
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: *partition,
                    committed_offset: *offset,
                    ..OffsetCommitRequestPartition::default()
                }],
            })
            .collect(),
        ..OffsetCommitRequest::default()
    }
}

async fn commit(ctx: &Context, request: OffsetCommitRequest) -> Vec<i16> {
    let response = offset_commit::handle(ctx, request).await;
    let response = said(ApiKey::OffsetCommit, ctx.version, response);
    response
        .topics
        .iter()
        .map(|topic| topic.partitions[0].error_code)
        .collect()
}

async fn leave(ctx: &Context, member_id: &Str) -> LeaveGroupResponse {
    let request = LeaveGroupRequest {
        group_id: "g".into(),
        member_id: if ctx.version < 3 {
            member_id.clone()
        } else {
            Str::EMPTY
        },
        members: if ctx.version < 3 {
            vec![]
        } else {
            vec![MemberIdentity {
                member_id: member_id.clone(),
                reason: (ctx.version >= 5).then(|| "done".into()),
                ..MemberIdentity::default()
            }]
        },
    };
    said(
        ApiKey::LeaveGroup,
        ctx.version,
        leave_group::handle(ctx, request).await,
    )
}

/// How far a group has read `orders`, asked in any version.
async fn fetched(ctx: &Context) -> (i64, i16, i16) {
    let request = OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: "orders".into(),
            partition_indexes: vec![0],
        }]),
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: if ctx.version < 10 {
                    "orders".into()
                } else {
                    Str::EMPTY
                },
                topic_id: if ctx.version < 10 { Uuid::ZERO } else { ORDERS_ID },
                partition_indexes: vec![0],
            }]),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let response = said(
        ApiKey::OffsetFetch,
        ctx.version,
        offset_fetch::handle(ctx, request).await,
    );
    if ctx.version < 8 {
        let found = response.topics.first().map(|topic| &topic.partitions[0]);
        let found = found.map_or((-2, 0), |found| (found.committed_offset, found.error_code));
        (found.0, found.1, response.error_code)
    } else {
        let group = &response.groups[0];
        let found = group.topics.first().map(|topic| &topic.partitions[0]);
        let found = found.map_or((-2, 0), |found| (found.committed_offset, found.error_code));
        (found.0, found.1, group.error_code)
    }
}

#[tokio::test]
async fn a_consumer_lives_its_life_in_every_version() {
    for version in 0..=10 {
        let broker = coordinating().await;
        let at = |max: i16| anyone(&broker, version.min(max));
        let ctx = at(9);
        let mut joined = join(&ctx, "").await;
        if ctx.version >= 4 {
            assert_eq!(joined.error_code, ErrorCode::MemberIdRequired);
            joined = join(&ctx, joined.member_id.as_str()).await;
        }
        assert_eq!(
            (joined.error_code, joined.generation_id),
            (0, 1),
            "version {version}"
        );
        assert!(joined.member_id.starts_with("test-"));
        assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1));
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));

        let id = joined.member_id;
        assert_eq!(sync(&at(5), &id, 1).await.assignment, Bytes::from_static(b"mine"));
        assert_eq!(beat(&at(4), &id, 1).await, ErrorCode::None);
        let mut request = commit_request(version, &[("orders", ORDERS_ID, 0, 42)]);
        request.member_id = id.clone();
        request.generation_id_or_member_epoch = 1;
        assert_eq!(commit(&anyone(&broker, version.max(2)), request).await, [0]);
        assert_eq!(fetched(&anyone(&broker, version.max(1))).await, (42, 0, 0));
        assert_eq!(leave(&at(5), &id).await.error_code, ErrorCode::None);
        assert_eq!(beat(&at(4), &id, 1).await, ErrorCode::UnknownMemberId);
        let again = leave(&at(5), &id).await;
        let of_member = again.members.first().map(|member| member.error_code);
        let expected = match version {
            0..=2 => (ErrorCode::UnknownMemberId.into(), None),
            _ => (0, Some(ErrorCode::UnknownMemberId.into())),
        };
        assert_eq!((again.error_code, of_member), expected, "version {version}");
    }
}

#[tokio::test]
async fn a_broker_that_does_not_coordinate_says_so() {
    let broker = Broker::in_memory(image([]));
    let not = ErrorCode::NotCoordinator;
    let ctx = anyone(&broker, 5);
    let id: Str = "m".into();
    assert_eq!(join(&ctx, "").await.error_code, not);
    assert_eq!(sync(&ctx, &id, 1).await.error_code, not);
    assert_eq!(beat(&anyone(&broker, 4), &id, 1).await, not);
    assert_eq!(leave(&ctx, &id).await.error_code, not);
    let request = commit_request(9, &[("orders", ORDERS_ID, 0, 1)]);
    assert_eq!(commit(&anyone(&broker, 9), request).await, [i16::from(not)]);
    assert_eq!(fetched(&anyone(&broker, 9)).await, (-2, 0, not.into()));
    assert_eq!(fetched(&anyone(&broker, 1)).await, (-1, not.into(), not.into()));
    let listed = list_groups::handle(&ctx, ListGroupsRequest::default()).await;
    assert_eq!((listed.error_code, listed.groups), (0, vec![]));
}

#[tokio::test]
async fn members_need_to_be_allowed_to_read_the_group() {
    let broker = guarded([]).await;
    let denied = ErrorCode::GroupAuthorizationFailed;
    let ctx = ann(&broker, 5);
    let id: Str = "m".into();
    assert_eq!(join(&ctx, "").await.error_code, denied);
    assert_eq!(sync(&ctx, &id, 1).await.error_code, denied);
    assert_eq!(beat(&ann(&broker, 4), &id, 1).await, denied);
    assert_eq!(leave(&ctx, &id).await.error_code, denied);
    let request = commit_request(9, &[("orders", ORDERS_ID, 0, 1)]);
    assert_eq!(commit(&ann(&broker, 9), request).await, [i16::from(denied)]);
    assert_eq!(fetched(&ann(&broker, 9)).await, (-2, 0, denied.into()));
    let delete = DeleteGroupsRequest {
        groups_names: vec!["g".into(), "g".into()],
    };
    let deleted = delete_groups::handle(&ann(&broker, 2), delete).await;
    assert_eq!(
        deleted.results,
        [DeletableGroupResult {
            group_id: "g".into(),
            error_code: denied.into()
        }]
    );
    let offsets = OffsetDeleteRequest {
        group_id: "g".into(),
        topics: vec![],
    };
    assert_eq!(
        offset_delete::handle(&ann(&broker, 0), offsets).await.error_code,
        denied
    );
}

/// Name, id, and offset and error of each partition.
type FetchedTopic = (Str, Uuid, Vec<(i64, i16)>);

#[tokio::test]
async fn offsets_are_committed_and_shown_for_allowed_and_known_topics_only() {
    let broker = guarded([
        allow("ann", GROUP, "g", READ),
        allow("ann", TOPIC, "orders", READ),
    ])
    .await;
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let request = commit_request(
        9,
        &[
            ("orders", ORDERS_ID, 0, 7),
            ("orders", ORDERS_ID, 1, 7),
            ("bills", BILLS_ID, 0, 7),
            ("nowhere", Uuid([9; 16]), 0, 7),
        ],
    );
    let denied = ErrorCode::TopicAuthorizationFailed;
    assert_eq!(
        commit(&ann(&broker, 9), request).await,
        [0, unknown.into(), denied.into(), denied.into()]
    );
    let request = commit_request(
        10,
        &[
            ("orders", ORDERS_ID, 0, 8),
            ("bills", BILLS_ID, 0, 8),
            ("nowhere", Uuid([9; 16]), 0, 8),
        ],
    );
    assert_eq!(
        commit(&ann(&broker, 10), request).await,
        [0, denied.into(), ErrorCode::UnknownTopicId.into()]
    );
    let named = |name: &'static str, topic_id: Uuid| OffsetFetchRequestTopics {
        name: name.into(),
        topic_id,
        partition_indexes: vec![0, 1],
    };
    let ask = async |version: i16, topics: Option<Vec<OffsetFetchRequestTopics>>| -> Vec<FetchedTopic> {
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: "g".into(),
                topics,
                ..OffsetFetchRequestGroup::default()
            }],
            require_stable: true,
            ..OffsetFetchRequest::default()
        };
        let response = offset_fetch::handle(&ann(&broker, version), request).await;
        let response = said(ApiKey::OffsetFetch, version, response);
        let outcome = |one: &OffsetFetchResponsePartitions| (one.committed_offset, one.error_code);
        response.groups[0]
            .topics
            .iter()
            .map(|topic| {
                (
                    topic.name.clone(),
                    topic.topic_id,
                    topic.partitions.iter().map(outcome).collect(),
                )
            })
            .collect()
    };
    let orders = vec![(8, 0), (-1, 0)];
    let refused = |error: ErrorCode| vec![(-1, error.into()); 2];
    assert_eq!(
        ask(
            9,
            Some(vec![named("bills", Uuid::ZERO), named("orders", Uuid::ZERO)])
        )
        .await,
        [
            ("orders".into(), Uuid::ZERO, orders.clone()),
            ("bills".into(), Uuid::ZERO, refused(denied))
        ]
    );
    assert_eq!(
        ask(
            10,
            Some(vec![
                named("", Uuid([9; 16])),
                named("", ORDERS_ID),
                named("", BILLS_ID)
            ])
        )
        .await,
        [
            ("orders".into(), ORDERS_ID, orders),
            ("".into(), Uuid([9; 16]), refused(ErrorCode::UnknownTopicId)),
            ("".into(), BILLS_ID, refused(denied)),
        ]
    );
    for (version, id) in [(9, Uuid::ZERO), (10, ORDERS_ID)] {
        assert_eq!(ask(version, None).await, [("orders".into(), id, vec![(8, 0)])]);
    }
}

#[tokio::test]
async fn a_group_that_is_not_there_has_no_offsets_and_takes_no_generations() {
    let broker = coordinating().await;
    assert_eq!(fetched(&anyone(&broker, 9)).await, (-1, 0, 0));
    let mut request = commit_request(9, &[("orders", ORDERS_ID, 0, 1)]);
    request.generation_id_or_member_epoch = 3;
    let codes = (
        commit(&anyone(&broker, 8), request.clone()).await,
        commit(&anyone(&broker, 9), request).await,
    );
    assert_eq!(
        codes,
        (
            vec![ErrorCode::IllegalGeneration.into()],
            vec![ErrorCode::GroupIdNotFound.into()]
        )
    );
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted() {
    let broker = coordinating().await;
    let joined = join(&anyone(&broker, 3), "").await;
    sync(&anyone(&broker, 5), &joined.member_id, 1).await;
    let mut simple = commit_request(9, &[("orders", ORDERS_ID, 0, 1)]);
    simple.group_id = "simple".into();
    assert_eq!(commit(&anyone(&broker, 9), simple).await, [0]);

    let list = async |states: &[&'static str], types: &[&'static str]| {
        let texts = |texts: &[&'static str]| texts.iter().map(|text| Str::from_static(text)).collect();
        let request = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(types),
        };
        let listed = list_groups::handle(&anyone(&broker, 5), request).await;
        said(ApiKey::ListGroups, 5, listed).groups
    };
    let listed =
        |group_id: &'static str, protocol_type: &'static str, group_state: &'static str| ListedGroup {
            group_id: group_id.into(),
            protocol_type: protocol_type.into(),
            group_state: group_state.into(),
            group_type: "classic".into(),
        };
    let (member, simple) = (listed("g", "consumer", "Stable"), listed("simple", "", "Empty"));
    assert_eq!(list(&[], &[]).await, [member.clone(), simple.clone()]);
    assert_eq!(list(&["stable"], &[]).await, [member]);
    assert_eq!(list(&["Empty", "Dead"], &["classic"]).await, [simple]);
    assert_eq!(list(&[], &["consumer"]).await, []);

    for version in 0..=6 {
        let request = DescribeGroupsRequest {
            groups: vec!["g".into(), "nobody".into()],
            include_authorized_operations: version >= 3,
        };
        let response = describe_groups::handle(&anyone(&broker, version), request).await;
        let groups = said(ApiKey::DescribeGroups, version, response).groups;
        assert_eq!(
            (&*groups[0].group_state, &*groups[0].protocol_data),
            ("Stable", "range")
        );
        let member = &groups[0].members[0];
        assert_eq!((&*member.client_id, &*member.client_host), ("test", "/127.0.0.1"));
        assert_eq!(
            (&member.member_metadata, &*member.member_assignment),
            (&subscription(), &b"mine"[..])
        );
        assert_eq!(groups[0].authorized_operations != i32::MIN, version >= 3);
        let missing = if version >= 6 {
            ErrorCode::GroupIdNotFound
        } else {
            ErrorCode::None
        };
        assert_eq!(
            (&*groups[1].group_state, groups[1].error_code),
            ("Dead", missing.into())
        );
    }

    let delete = DeleteGroupsRequest {
        groups_names: vec!["simple".into(), "g".into(), "nobody".into()],
    };
    let deleted = delete_groups::handle(&anyone(&broker, 2), delete).await;
    let codes: Vec<(Str, i16)> = deleted
        .results
        .into_iter()
        .map(|one| (one.group_id, one.error_code))
        .collect();
    assert_eq!(
        codes,
        [
            ("g".into(), ErrorCode::NonEmptyGroup.into()),
            ("nobody".into(), ErrorCode::GroupIdNotFound.into()),
            ("simple".into(), 0)
        ]
    );
    assert_eq!(list(&["Empty"], &[]).await, []);
}

#[tokio::test]
async fn only_groups_that_may_be_described_are_listed_and_described() {
    let rules = [
        allow("ann", GROUP, "mine", READ),
        allow("ann", GROUP, "mine", DELETE),
        allow("ann", GROUP, "mine", DESCRIBE),
        allow("ann", TOPIC, "orders", READ),
    ];
    let broker = guarded(rules).await;
    let mut mine = commit_request(9, &[("orders", ORDERS_ID, 0, 1)]);
    mine.group_id = "mine".into();
    assert_eq!(commit(&ann(&broker, 9), mine).await, [0]);
    let names = |response: ListGroupsResponse| -> Vec<Str> {
        response.groups.into_iter().map(|group| group.group_id).collect()
    };
    assert_eq!(
        names(list_groups::handle(&ann(&broker, 5), ListGroupsRequest::default()).await),
        ["mine"]
    );
    let other = list_groups::handle(&anyone(&broker, 5), ListGroupsRequest::default()).await;
    assert_eq!(names(other), Vec::<Str>::new());
    let request = DescribeGroupsRequest {
        groups: vec!["mine".into(), "theirs".into()],
        include_authorized_operations: false,
    };
    let described = describe_groups::handle(&ann(&broker, 5), request).await;
    let codes: Vec<(Str, i16)> = described
        .groups
        .into_iter()
        .map(|group| (group.group_id, group.error_code))
        .collect();
    assert_eq!(
        codes,
        [
            ("theirs".into(), ErrorCode::GroupAuthorizationFailed.into()),
            ("mine".into(), 0)
        ]
    );
}

#[tokio::test]
async fn offsets_are_deleted_by_partition() {
    let broker = coordinating().await;
    let joined = join(&anyone(&broker, 3), "").await;
    sync(&anyone(&broker, 5), &joined.member_id, 1).await;
    let request = |group_id: &'static str| OffsetDeleteRequest {
        group_id: group_id.into(),
        topics: ["orders", "bills", "nowhere"]
            .iter()
            .map(|name| OffsetDeleteRequestTopic {
                name: (*name).into(),
                partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
            })
            .collect(),
    };
    let deleted = offset_delete::handle(&anyone(&broker, 0), request("g")).await;
    let codes: Vec<i16> = deleted
        .topics
        .iter()
        .map(|topic| topic.partitions[0].error_code)
        .collect();
    assert_eq!(
        codes,
        [
            ErrorCode::GroupSubscribedToTopic.into(),
            0,
            ErrorCode::UnknownTopicOrPartition.into()
        ]
    );
    let nobody = offset_delete::handle(&anyone(&broker, 0), request("nobody")).await;
    assert_eq!(
        (nobody.error_code, nobody.topics),
        (ErrorCode::GroupIdNotFound.into(), vec![])
    );
}

#[tokio::test]
async fn a_coordinator_is_found_in_every_version() {
    let broker = coordinating().await;
    let request = |key_type: i8| FindCoordinatorRequest {
        key: "g".into(),
        key_type,
        coordinator_keys: vec!["g".into(), "h".into()],
    };
    let found = |key: &'static str| Coordinator {
        key: key.into(),
        node_id: 0,
        host: "broker-0.example".into(),
        port: 9092,
        error_code: 0,
        error_message: Some(Str::EMPTY),
    };
    for version in 0..=6 {
        let ctx = anyone(&broker, version);
        let response = find_coordinator::handle(&ctx, request(0)).await;
        let response = said(ApiKey::FindCoordinator, version, response);
        if version < 4 {
            assert_eq!(
                (response.node_id, &*response.host, response.port),
                (0, "broker-0.example", 9092)
            );
        } else {
            assert_eq!(response.coordinators, [found("g"), found("h")]);
        }
        for key_type in [2, 9] {
            let response = find_coordinator::handle(&ctx, request(key_type)).await;
            let response = said(ApiKey::FindCoordinator, version, response);
            let error = match version {
                0..=3 => response.error_code,
                _ => response.coordinators[1].error_code,
            };
            assert_eq!(error, ErrorCode::InvalidRequest);
        }
    }
}

#[tokio::test]
async fn a_coordinator_that_cannot_be_reached_or_seen_is_not_told() {
    let unreachable = Broker::in_memory(image([record(record::Record::Broker(proto::Broker {
        fenced: true,
        incarnation_id: vec![1; 16],
        directory_id: vec![1; 16],
        ..proto::Broker::default()
    }))]));
    let guarded = guarded([]).await;
    for (ctx, error) in [
        (anyone(&unreachable, 3), ErrorCode::CoordinatorNotAvailable),
        (ann(&guarded, 3), ErrorCode::GroupAuthorizationFailed),
    ] {
        let request = FindCoordinatorRequest {
            key: "g".into(),
            ..FindCoordinatorRequest::default()
        };
        let response = find_coordinator::handle(&ctx, request).await;
        assert_eq!(
            (
                response.error_code,
                response.node_id,
                &*response.host,
                response.port
            ),
            (error.into(), -1, "", -1)
        );
        assert_eq!(response.error_message.as_deref(), Some(error.message()));
    }
}

#[tokio::test]
async fn many_groups_are_fetched_at_once() {
    let broker = coordinating().await;
    let group = |group_id: &'static str| OffsetFetchRequestGroup {
        group_id: group_id.into(),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group("a"), group("b")],
        ..OffsetFetchRequest::default()
    };
    let response = offset_fetch::handle(&anyone(&broker, 8), request).await;
    let empty = |group_id: &'static str| OffsetFetchResponseGroup {
        group_id: group_id.into(),
        ..OffsetFetchResponseGroup::default()
    };
    assert_eq!(response.groups, [empty("a"), empty("b")]);
}

#[tokio::test]
async fn a_sync_of_version_5_must_name_type_and_protocol() {
    let broker = coordinating().await;
    let request = SyncGroupRequest {
        group_id: "g".into(),
        ..SyncGroupRequest::default()
    };
    let response = sync_group::handle(&anyone(&broker, 5), request).await;
    assert_eq!(response.error_code, ErrorCode::InconsistentGroupProtocol);
}
