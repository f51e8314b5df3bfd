//! A broker alone that serves a share group `g`, what its members send, and what they are answered (KIP-932).

use std::sync::Arc;

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::messages::alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use flotilla_protocol::messages::delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic;
use flotilla_protocol::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
use flotilla_protocol::messages::describe_share_group_offsets_response::DescribeShareGroupOffsetsResponseGroup;
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
pub(super) fn alone() -> Image {
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

/// One that knows who leads `orders`: the other one.
pub(super) fn led_elsewhere() -> Image {
    image([
        broker(0, 1),
        broker(1, 1),
        topic("orders", 1),
        partition(1, 0, &[1], &[1], 3),
        topic(crate::share::TOPIC, 3),
        partition(3, 0, &[0], &[0], 1),
    ])
}

/// A broker that coordinates all groups and share partitions.
pub(super) async fn coordinating(authorizer: Authorizer) -> Arc<Broker> {
    let broker = Broker::in_memory_with(alone(), authorizer);
    broker.groups.lead(topic_id(2)).await;
    broker.share_states.lead(topic_id(3)).await;
    broker
}

pub(super) fn ctx(broker: &Arc<Broker>, version: i16) -> Context {
    context_of(broker.clone(), Principal::anonymous(), version)
}

/// What the handler answered can be said in that version.
pub(super) fn said<M: Message>(api: ApiKey, version: i16, message: M) -> M {
    frame::response(api, version, 1, &message).expect("the version has a place for everything");
    message
}

/// Writes one batch of so many records, and waits until they are committed.
pub(super) async fn put(broker: &Arc<Broker>, count: usize) {
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

pub(super) async fn join(broker: &Arc<Broker>, member: &'static str) -> ShareGroupHeartbeatResponse {
    let request = ShareGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        subscribed_topic_names: Some(vec!["orders".into()]),
        ..ShareGroupHeartbeatRequest::default()
    };
    let response = share_group_heartbeat::handle(&ctx(broker, 1), request).await;
    said(ApiKey::ShareGroupHeartbeat, 1, response)
}

pub(super) async fn leave(broker: &Arc<Broker>, member: &'static str) {
    let request = ShareGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: -1,
        ..ShareGroupHeartbeatRequest::default()
    };
    let left = share_group_heartbeat::handle(&ctx(broker, 1), request).await;
    assert_eq!(left.error_code, i16::from(ErrorCode::None));
}

pub(super) fn fetch_request(member: &'static str, epoch: i32) -> ShareFetchRequest {
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

pub(super) fn with(mut request: ShareFetchRequest, first: i64, last: i64, types: &[i8]) -> ShareFetchRequest {
    let said = share_fetch_request::AcknowledgementBatch {
        first_offset: first,
        last_offset: last,
        acknowledge_types: types.to_vec(),
    };
    request.topics[0].partitions[0].acknowledgement_batches.push(said);
    request
}

pub(super) async fn fetch(broker: &Arc<Broker>, request: ShareFetchRequest) -> ShareFetchResponse {
    let response = share_fetch::handle(&ctx(broker, 2), request).await;
    said(ApiKey::ShareFetch, 2, response)
}

/// What was acquired, as (first, last, delivery count), and what became of what was said.
pub(super) fn got(response: &ShareFetchResponse) -> (Vec<(i64, i64, i16)>, i16) {
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

pub(super) fn acknowledge_request(
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

pub(super) async fn acknowledge(broker: &Arc<Broker>, request: ShareAcknowledgeRequest) -> ErrorCode {
    let response = share_acknowledge::handle(&ctx(broker, 2), request).await;
    let response = said(ApiKey::ShareAcknowledge, 2, response);
    match ErrorCode::from(response.error_code) {
        ErrorCode::None => response.responses[0].partitions[0].error_code.into(),
        code => code,
    }
}

/// Where the group stands in all that it has read.
pub(super) async fn offsets(broker: &Arc<Broker>) -> DescribeShareGroupOffsetsResponseGroup {
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
    group
}

/// Start offset and lag of the group in the partition.
pub(super) async fn standing(broker: &Arc<Broker>) -> (i64, i64) {
    let group = offsets(broker).await;
    let partition = &group.topics[0].partitions[0];
    assert_eq!(partition.error_code, i16::from(ErrorCode::None), "{partition:?}");
    (partition.start_offset, partition.lag)
}

pub(super) const ACCEPT: i8 = 1;
pub(super) const RELEASE: i8 = 2;
pub(super) const RENEW: i8 = 4;

/// Sets where the group stands in a partition of `orders`: what became of that.
pub(super) async fn alter(ctx: &Context, partition: i32, start: i64) -> ErrorCode {
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
    let response = alter_share_group_offsets::handle(ctx, request).await;
    let response = said(ApiKey::AlterShareGroupOffsets, 0, response);
    match ErrorCode::from(response.error_code) {
        ErrorCode::None => response.responses[0].partitions[0].error_code.into(),
        code => code,
    }
}

/// Forgets where the group stands in a topic: what became of that. None: the topic is left out of the answer.
pub(super) async fn delete(ctx: &Context, topic: &'static str) -> Option<ErrorCode> {
    let request = DeleteShareGroupOffsetsRequest {
        group_id: "g".into(),
        topics: vec![DeleteShareGroupOffsetsRequestTopic {
            topic_name: topic.into(),
        }],
    };
    let response = delete_share_group_offsets::handle(ctx, request).await;
    let response = said(ApiKey::DeleteShareGroupOffsets, 0, response);
    match ErrorCode::from(response.error_code) {
        ErrorCode::None => response.responses.first().map(|topic| topic.error_code.into()),
        code => Some(code),
    }
}
