//! Share groups on one broker, through the handlers, as clients send their requests (KIP-932).

use std::sync::Arc;

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::messages::alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use flotilla_protocol::messages::delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic;
use flotilla_protocol::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
use flotilla_protocol::messages::share_acknowledge_request::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch,
};
use flotilla_protocol::messages::share_fetch_request::{self, FetchPartition, FetchTopic};
use flotilla_protocol::messages::share_fetch_response::AcquiredRecords;
use flotilla_protocol::messages::*;
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{ErrorCode, Message, Offset, PartitionIndex, frame};

use super::testing::context_of;
use super::*;
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::metadata::{Fact, Image};
use crate::replica::testing::{broker, image, partition, topic, topic_id};
use crate::replica::{Acks, Origin, PartitionKey};

fn group_setting(key: &str, value: &str) -> Fact {
    Fact::Config(proto::Config {
        resource_type: crate::metadata::ResourceType::Group.into(),
        resource_name: "g".into(),
        key: key.into(),
        value: Some(value.into()),
    })
}

/// A broker alone, with a topic `orders` and those of coordinators: it leads a partition of each.
fn alone() -> Image {
    image([
        broker(0, 1),
        topic("orders", 1),
        partition(1, 0, &[0], &[0], 3),
        topic(crate::group::TOPIC, 2),
        partition(2, 0, &[0], &[0], 1),
        topic(crate::share::TOPIC, 3),
        partition(3, 0, &[0], &[0], 1),
        group_setting("share.auto.offset.reset", "earliest"),
    ])
}

async fn coordinating(authorizer: Authorizer) -> Arc<Broker> {
    let broker = Broker::in_memory_with(alone(), authorizer);
    broker.groups.lead(topic_id(2)).await;
    broker.share_states.lead(topic_id(3)).await;
    broker
}

fn ctx(broker: &Arc<Broker>, version: i16) -> Context {
    context_of(broker.clone(), Principal::anonymous(), version)
}

/// What the handler answered can be said in that version.
fn said<M: Message>(api: ApiKey, version: i16, message: M) -> M {
    frame::response(api, version, 1, &message).expect("the version has a place for everything");
    message
}

/// Writes one batch of so many records, and waits until they are committed.
async fn put(broker: &Arc<Broker>, count: usize) {
    let mut builder = BatchBuilder::new(Offset(0));
    for _ in 0..count {
        builder.push(crate::clock::now_ms(), None, Some(b"a"), &[]);
    }
    let key = PartitionKey {
        topic_id: topic_id(1),
        partition: PartitionIndex(0),
    };
    let batch = builder.build().freeze();
    let appended = broker
        .replicas
        .append(key, &batch, Acks::All, Origin::Client)
        .unwrap();
    let commit = appended.commit.unwrap();
    commit.wait(std::time::Duration::from_secs(20)).await.unwrap();
}

async fn join(broker: &Arc<Broker>, member: &'static str) -> ShareGroupHeartbeatResponse {
    let request = ShareGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        subscribed_topic_names: Some(vec!["orders".into()]),
        ..ShareGroupHeartbeatRequest::default()
    };
    let response = share_group_heartbeat::handle(&ctx(broker, 1), request).await;
    said(ApiKey::ShareGroupHeartbeat, 1, response)
}

async fn leave(broker: &Arc<Broker>, member: &'static str) {
    let request = ShareGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: -1,
        ..ShareGroupHeartbeatRequest::default()
    };
    let left = share_group_heartbeat::handle(&ctx(broker, 1), request).await;
    assert_eq!(left.error_code, i16::from(ErrorCode::None));
}

fn fetch_request(member: &'static str, epoch: i32) -> ShareFetchRequest {
    ShareFetchRequest {
        group_id: Some("g".into()),
        member_id: Some(member.into()),
        share_session_epoch: epoch,
        max_records: 500,
        batch_size: 500,
        topics: vec![FetchTopic {
            topic_id: topic_id(1),
            partitions: vec![FetchPartition::default()],
        }],
        ..ShareFetchRequest::default()
    }
}

fn with(mut request: ShareFetchRequest, first: i64, last: i64, types: &[i8]) -> ShareFetchRequest {
    let said = share_fetch_request::AcknowledgementBatch {
        first_offset: first,
        last_offset: last,
        acknowledge_types: types.to_vec(),
    };
    request.topics[0].partitions[0].acknowledgement_batches.push(said);
    request
}

async fn fetch(broker: &Arc<Broker>, request: ShareFetchRequest) -> ShareFetchResponse {
    let response = share_fetch::handle(&ctx(broker, 2), request).await;
    said(ApiKey::ShareFetch, 2, response)
}

/// What was acquired, as (first, last, delivery count), and what became of what was said.
fn got(response: &ShareFetchResponse) -> (Vec<(i64, i64, i16)>, i16) {
    assert_eq!(response.error_code, i16::from(ErrorCode::None), "{response:?}");
    let data = response
        .responses
        .first()
        .and_then(|topic| topic.partitions.first());
    let Some(data) = data else {
        return (Vec::new(), 0);
    };
    assert_eq!(data.error_code, i16::from(ErrorCode::None), "{data:?}");
    let triple = |one: &AcquiredRecords| (one.first_offset, one.last_offset, one.delivery_count);
    let acquired: Vec<_> = data.acquired_records.iter().map(triple).collect();
    assert_eq!(acquired.is_empty(), data.records.is_empty());
    (acquired, data.acknowledge_error_code)
}

fn acknowledge_request(
    member: &'static str,
    epoch: i32,
    first: i64,
    last: i64,
    types: &[i8],
) -> ShareAcknowledgeRequest {
    ShareAcknowledgeRequest {
        group_id: Some("g".into()),
        member_id: Some(member.into()),
        share_session_epoch: epoch,
        is_renew_ack: types.contains(&4),
        topics: vec![AcknowledgeTopic {
            topic_id: topic_id(1),
            partitions: vec![AcknowledgePartition {
                partition_index: 0,
                acknowledgement_batches: vec![AcknowledgementBatch {
                    first_offset: first,
                    last_offset: last,
                    acknowledge_types: types.to_vec(),
                }],
            }],
        }],
    }
}

async fn acknowledge(broker: &Arc<Broker>, request: ShareAcknowledgeRequest) -> ErrorCode {
    let response = share_acknowledge::handle(&ctx(broker, 2), request).await;
    let response = said(ApiKey::ShareAcknowledge, 2, response);
    match ErrorCode::from(response.error_code) {
        ErrorCode::None => response.responses[0].partitions[0].error_code.into(),
        code => code,
    }
}

/// Start offset and lag of the group in the partition.
async fn standing(broker: &Arc<Broker>) -> (i64, i64) {
    let request = DescribeShareGroupOffsetsRequest {
        groups: vec![DescribeShareGroupOffsetsRequestGroup {
            group_id: "g".into(),
            topics: None,
        }],
    };
    let response = describe_share_group_offsets::handle(&ctx(broker, 1), request).await;
    let mut response = said(ApiKey::DescribeShareGroupOffsets, 1, response);
    let group = response.groups.remove(0);
    assert_eq!(group.error_code, i16::from(ErrorCode::None), "{group:?}");
    let partition = &group.topics[0].partitions[0];
    assert_eq!(partition.error_code, i16::from(ErrorCode::None), "{partition:?}");
    (partition.start_offset, partition.lag)
}

const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const RENEW: i8 = 4;

#[tokio::test]
async fn members_are_given_records_and_say_what_became_of_them() {
    let broker = coordinating(Authorizer::none()).await;
    let joined = join(&broker, "a").await;
    let assignment = joined.assignment.clone().expect("news");
    assert_eq!(assignment.topic_partitions[0].partitions, [0], "{joined:?}");
    put(&broker, 10).await;
    put(&broker, 10).await;
    let first = fetch(&broker, fetch_request("a", 0)).await;
    assert_eq!(first.acquisition_lock_timeout_ms, 30_000);
    assert_eq!(got(&first), (vec![(0, 9, 1), (10, 19, 1)], 0));
    // Another one gets what the first gives back, and no more.
    let types: Vec<i8> = (0..10).map(|n| if n < 3 { RELEASE } else { ACCEPT }).collect();
    let second = fetch(&broker, with(fetch_request("a", 1), 0, 9, &types)).await;
    assert_eq!(got(&second), (vec![(0, 2, 2)], 0));
    assert_eq!(standing(&broker).await, (0, 13));
    assert_eq!(
        acknowledge(&broker, acknowledge_request("a", 2, 0, 2, &[ACCEPT])).await,
        ErrorCode::None
    );
    assert_eq!(standing(&broker).await, (10, 10));
    // What is not held cannot be spoken of, nor what nobody was given.
    let (_, code) = got(&fetch(&broker, fetch_request("b", 0)).await);
    assert_eq!(code, 0);
    let other = with(fetch_request("b", 1), 10, 19, &[ACCEPT]);
    let (acquired, code) = got(&fetch(&broker, other).await);
    assert_eq!(
        (acquired, code),
        (vec![], i16::from(ErrorCode::InvalidRecordState))
    );
    let beyond = acknowledge_request("a", 3, 10, 20, &[ACCEPT]);
    assert_eq!(acknowledge(&broker, beyond).await, ErrorCode::InvalidRequest);
    // The session ends, and what it held goes to others.
    let last = fetch(&broker, fetch_request("a", -1)).await;
    assert_eq!(got(&last), (vec![], 0));
    let rest = fetch(&broker, fetch_request("b", 2)).await;
    assert_eq!(got(&rest), (vec![(10, 19, 2)], 0));
}

#[tokio::test]
async fn deliveries_outlive_the_broker_that_decided_on_them() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    put(&broker, 10).await;
    assert_eq!(got(&fetch(&broker, fetch_request("a", 0)).await).0, [(0, 9, 1)]);
    let types: Vec<i8> = (0..10)
        .map(|n| if n % 2 == 0 { ACCEPT } else { RELEASE })
        .collect();
    assert_eq!(
        acknowledge(&broker, acknowledge_request("a", 1, 0, 9, &types)).await,
        ErrorCode::None
    );
    // Nobody fetches any more: what is known is what was stored.
    broker.share_disconnected(1);
    assert_eq!(broker.shares.hosted_count(), 0);
    let again = got(&fetch(&broker, fetch_request("b", 0)).await).0;
    let odd: Vec<(i64, i64, i16)> = (0..5).map(|n| (2 * n + 1, 2 * n + 1, 2)).collect();
    assert_eq!(again, odd);
    assert_eq!(standing(&broker).await.0, 1);
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_for_locks_that_end() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    let waiting = {
        let (broker, mut request) = (broker.clone(), fetch_request("a", 0));
        request.max_wait_ms = 20_000;
        tokio::spawn(async move { got(&fetch(&broker, request).await).0 })
    };
    tokio::task::yield_now().await;
    put(&broker, 3).await;
    assert_eq!(waiting.await.unwrap(), [(0, 2, 1)]);
    let waiting = {
        let (broker, mut request) = (broker.clone(), fetch_request("b", 0));
        request.max_wait_ms = 20_000;
        tokio::spawn(async move { got(&fetch(&broker, request).await).0 })
    };
    tokio::task::yield_now().await;
    broker.share_disconnected(2);
    let released = acknowledge_request("a", 1, 0, 2, &[RELEASE]);
    assert_eq!(acknowledge(&broker, released).await, ErrorCode::None);
    assert_eq!(waiting.await.unwrap(), [(0, 2, 2)]);
}

#[tokio::test]
async fn limits_of_records_hold_and_locks_are_renewed() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    put(&broker, 10).await;
    let mut request = fetch_request("a", 0);
    (request.max_records, request.share_acquire_mode) = (4, 1);
    assert_eq!(got(&fetch(&broker, request.clone()).await).0, [(0, 3, 1)]);
    let renewed = acknowledge_request("a", 1, 0, 3, &[RENEW]);
    assert_eq!(acknowledge(&broker, renewed).await, ErrorCode::None);
    let mut renewal = with(fetch_request("a", 2), 0, 3, &[RENEW]);
    renewal.is_renew_ack = true;
    let refused = fetch(&broker, renewal.clone()).await;
    assert_eq!(refused.error_code, i16::from(ErrorCode::InvalidRequest));
    (renewal.max_records, renewal.max_bytes) = (0, 0);
    assert_eq!(got(&fetch(&broker, renewal).await), (vec![], 0));
    // Without saying so, locks are not renewed.
    let unsaid = with(fetch_request("a", 3), 0, 3, &[RENEW]);
    let (_, code) = got(&fetch(&broker, unsaid).await);
    assert_eq!(code, i16::from(ErrorCode::InvalidRequest));
    request.share_session_epoch = 4;
    request.share_acquire_mode = 0;
    // The rest was given with the fetch before.
    assert_eq!(got(&fetch(&broker, request).await).0, []);
}

#[tokio::test]
async fn sessions_are_held_to_their_epochs() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    let code = async |request| ErrorCode::from(fetch(&broker, request).await.error_code);
    assert_eq!(code(fetch_request("a", 1)).await, ErrorCode::ShareSessionNotFound);
    let opening = with(fetch_request("a", 0), 0, 0, &[ACCEPT]);
    assert_eq!(code(opening).await, ErrorCode::InvalidRequest);
    assert_eq!(code(fetch_request("a", 0)).await, ErrorCode::None);
    assert_eq!(
        code(fetch_request("a", 2)).await,
        ErrorCode::InvalidShareSessionEpoch
    );
    let acknowledged = acknowledge(&broker, acknowledge_request("a", 0, 0, 0, &[ACCEPT])).await;
    assert_eq!(acknowledged, ErrorCode::InvalidShareSessionEpoch);
    assert_eq!(code(fetch_request("", 0)).await, ErrorCode::InvalidRequest);
    let mut nobody = fetch_request("a", 0);
    nobody.group_id = None;
    assert_eq!(code(nobody).await, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn administrators_set_and_forget_where_a_group_stands() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    put(&broker, 10).await;
    let alter = async |partition, start| {
        let request = AlterShareGroupOffsetsRequest {
            group_id: "g".into(),
            topics: vec![AlterShareGroupOffsetsRequestTopic {
                topic_name: "orders".into(),
                partitions: vec![AlterShareGroupOffsetsRequestPartition {
                    partition_index: partition,
                    start_offset: start,
                }],
            }],
        };
        let response = alter_share_group_offsets::handle(&ctx(&broker, 0), request).await;
        let response = said(ApiKey::AlterShareGroupOffsets, 0, response);
        match ErrorCode::from(response.error_code) {
            ErrorCode::None => response.responses[0].partitions[0].error_code.into(),
            code => code,
        }
    };
    let delete = async |topic: &'static str| {
        let request = DeleteShareGroupOffsetsRequest {
            group_id: "g".into(),
            topics: vec![DeleteShareGroupOffsetsRequestTopic {
                topic_name: topic.into(),
            }],
        };
        let response = delete_share_group_offsets::handle(&ctx(&broker, 0), request).await;
        let response = said(ApiKey::DeleteShareGroupOffsets, 0, response);
        match ErrorCode::from(response.error_code) {
            ErrorCode::None => response.responses[0].error_code.into(),
            code => code,
        }
    };
    assert_eq!(alter(0, 7).await, ErrorCode::NonEmptyGroup);
    assert_eq!(delete("orders").await, ErrorCode::NonEmptyGroup);
    leave(&broker, "a").await;
    assert_eq!(alter(1, 7).await, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(alter(0, 7).await, ErrorCode::None);
    assert_eq!(standing(&broker).await, (7, 3));
    assert_eq!(got(&fetch(&broker, fetch_request("a", 0)).await).0, [(7, 9, 1)]);
    broker.share_disconnected(1);
    assert_eq!(delete("nothing").await, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete("orders").await, ErrorCode::None);
    let request = DeleteGroupsRequest {
        groups_names: vec!["g".into()],
    };
    let deleted = delete_groups::handle(&ctx(&broker, 2), request).await;
    assert_eq!(deleted.results[0].error_code, i16::from(ErrorCode::None));
    let request = ShareGroupDescribeRequest {
        group_ids: vec!["g".into()],
        include_authorized_operations: false,
    };
    let described = share_group_describe::handle(&ctx(&broker, 1), request).await;
    assert_eq!(
        described.groups[0].error_code,
        i16::from(ErrorCode::GroupIdNotFound)
    );
}

#[tokio::test]
async fn nobody_reads_or_stores_without_being_allowed_to() {
    let broker = coordinating(Authorizer::acl([], false)).await;
    let group = i16::from(ErrorCode::GroupAuthorizationFailed);
    assert_eq!(join(&broker, "a").await.error_code, group);
    assert_eq!(fetch(&broker, fetch_request("a", 0)).await.error_code, group);
    let acknowledged = acknowledge(&broker, acknowledge_request("a", 1, 0, 0, &[ACCEPT])).await;
    assert_eq!(i16::from(acknowledged), group);
    let request = ReadShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![read_share_group_state_request::ReadStateData {
            topic_id: topic_id(1),
            partitions: vec![read_share_group_state_request::PartitionData::default()],
        }],
    };
    let read = read_share_group_state::handle(&ctx(&broker, 0), request).await;
    assert_eq!(
        read.results[0].partitions[0].error_code,
        i16::from(ErrorCode::ClusterAuthorizationFailed)
    );
    let request = FindCoordinatorRequest {
        key_type: 2,
        coordinator_keys: vec!["g:AQEBAQEBAQEBAQEBAQEBAQ:0".into()],
        ..FindCoordinatorRequest::default()
    };
    let found = find_coordinator::handle(&ctx(&broker, 6), request).await;
    assert_eq!(
        found.coordinators[0].error_code,
        i16::from(ErrorCode::ClusterAuthorizationFailed)
    );
}

#[tokio::test]
async fn there_are_no_more_sessions_than_allowed() {
    let mut config = crate::broker::testing::config();
    config
        .settings
        .insert("group.share.max.share.sessions".to_owned(), "1".to_owned());
    let broker = Broker::in_memory_configured(config, alone(), Authorizer::none());
    broker.share_states.lead(topic_id(3)).await;
    assert_eq!(fetch(&broker, fetch_request("a", 0)).await.error_code, 0);
    let refused = fetch(&broker, fetch_request("b", 0)).await;
    assert_eq!(refused.error_code, i16::from(ErrorCode::ShareSessionLimitReached));
}

#[tokio::test]
async fn there_are_no_share_groups_at_share_version_0() {
    let broker = coordinating(Authorizer::none()).await;
    let update = update_features_request::FeatureUpdateKey {
        feature: "share.version".into(),
        max_version_level: 0,
        upgrade_type: 2,
        ..Default::default()
    };
    let request = UpdateFeaturesRequest {
        feature_updates: vec![update],
        ..UpdateFeaturesRequest::default()
    };
    let answer = update_features::handle(&ctx(&broker, 1), request).await;
    assert_eq!(answer.error_code, 0, "{answer:?}");
    let off = i16::from(ErrorCode::UnsupportedVersion);
    let joined = join(&broker, "a").await;
    assert_eq!(joined.error_code, off);
    assert_eq!(
        joined.error_message.as_deref(),
        Some("share groups are off: share.version is 0, kafka-features.sh raises it to 1")
    );
    assert_eq!(fetch(&broker, fetch_request("a", 0)).await.error_code, off);
    let acknowledged = acknowledge(&broker, acknowledge_request("a", 1, 0, 0, &[ACCEPT])).await;
    assert_eq!(i16::from(acknowledged), off);
}

#[tokio::test]
async fn a_full_group_takes_nobody_more() {
    let mut config = crate::broker::testing::config();
    config
        .settings
        .insert("group.share.max.size".to_owned(), "1".to_owned());
    let broker = Broker::in_memory_configured(config, alone(), Authorizer::none());
    broker.groups.lead(topic_id(2)).await;
    broker.share_states.lead(topic_id(3)).await;
    assert_eq!(join(&broker, "a").await.error_code, 0);
    let refused = join(&broker, "b").await;
    assert_eq!(refused.error_code, i16::from(ErrorCode::GroupMaxSizeReached));
}

#[tokio::test]
async fn records_of_a_partition_led_elsewhere_are_not_here() {
    let elsewhere = image([
        broker(0, 1),
        broker(1, 1),
        topic("orders", 1),
        partition(1, 0, &[1], &[1], 3),
        topic(crate::share::TOPIC, 3),
        partition(3, 0, &[0], &[0], 1),
    ]);
    let broker = Broker::in_memory_with(elsewhere, Authorizer::none());
    let response = fetch(&broker, fetch_request("a", 0)).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, i16::from(ErrorCode::NotLeaderOrFollower));
    assert_eq!(
        (data.current_leader.leader_id, data.current_leader.leader_epoch),
        (1, 3)
    );
    let acknowledged = with(fetch_request("a", 1), 0, 0, &[ACCEPT]);
    let response = fetch(&broker, acknowledged).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!(
        data.acknowledge_error_code,
        i16::from(ErrorCode::NotLeaderOrFollower)
    );
}

#[tokio::test]
async fn members_are_told_that_their_coordinator_is_not_here() {
    let broker = Broker::in_memory_with(alone(), Authorizer::none());
    let not_here = i16::from(ErrorCode::NotCoordinator);
    assert_eq!(join(&broker, "a").await.error_code, not_here);
    let describe = ShareGroupDescribeRequest {
        group_ids: vec!["g".into()],
        ..ShareGroupDescribeRequest::default()
    };
    let described = share_group_describe::handle(&ctx(&broker, 1), describe).await;
    assert_eq!(described.groups[0].error_code, not_here);
}
