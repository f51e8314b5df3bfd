use super::*;
use crate::auth::Principal;
use crate::broker::Broker;
use crate::replica::testing::{broker, image, partition, topic, topic_id};
use crate::replica::{Acks, Origin};
use crate::request::testing::context_of;
use flotilla_protocol::Offset;
use flotilla_protocol::records::BatchBuilder;
use std::time::Duration;

fn context(version: i16) -> Context {
    let image = image([broker(0, 1), topic("orders", 1), partition(1, 0, &[0], &[0], 3)]);
    context_of(Broker::in_memory(image), Principal::anonymous(), version)
}

async fn put(ctx: &Context, timestamp_ms: i64) {
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(timestamp_ms, None, Some(b"a"), &[]);
    let key = PartitionKey {
        topic_id: topic_id(1),
        partition: PartitionIndex(0),
    };
    let batch = builder.build().freeze();
    let appended = ctx
        .broker
        .replicas
        .append(key, &batch, Acks::All, Origin::Client)
        .unwrap();
    appended
        .commit
        .unwrap()
        .wait(Duration::from_secs(20))
        .await
        .unwrap();
}

async fn list(ctx: &Context, timestamp: i64) -> ListOffsetsPartitionResponse {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "orders".into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: 0,
                current_leader_epoch: -1,
                timestamp,
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    handle(ctx, request).await.topics.remove(0).partitions.remove(0)
}

fn found(timestamp: i64, offset: i64, leader_epoch: i32) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: 0,
        timestamp,
        offset,
        leader_epoch,
        ..ListOffsetsPartitionResponse::default()
    }
}

#[tokio::test]
async fn special_times_and_real_ones_are_found() {
    let ctx = context(11);
    let at_ms = crate::clock::now_ms();
    put(&ctx, at_ms).await;
    put(&ctx, at_ms + 10).await;
    put(&ctx, at_ms + 5).await;
    assert_eq!(list(&ctx, LATEST).await, found(-1, 3, 3));
    assert_eq!(list(&ctx, EARLIEST).await, found(-1, 0, 3));
    assert_eq!(list(&ctx, MAX_TIMESTAMP).await, found(at_ms + 10, 1, 3));
    assert_eq!(list(&ctx, EARLIEST_LOCAL).await, found(-1, 0, 3));
    assert_eq!(list(&ctx, LATEST_TIERED).await, found(-1, -1, -1));
    assert_eq!(list(&ctx, EARLIEST_PENDING_UPLOAD).await, found(-1, -1, -1));
    assert_eq!(list(&ctx, at_ms + 1).await, found(at_ms + 10, 1, 3));
    assert_eq!(list(&ctx, at_ms + 11).await, found(-1, -1, -1));
}

#[tokio::test]
async fn time_that_a_version_does_not_know_is_refused() {
    for (timestamp, version) in [
        (MAX_TIMESTAMP, 6),
        (EARLIEST_LOCAL, 7),
        (LATEST_TIERED, 8),
        (EARLIEST_PENDING_UPLOAD, 10),
        (-7, 11),
    ] {
        let refused = list(&context(version), timestamp).await;
        assert_eq!(
            refused.error_code,
            i16::from(ErrorCode::UnsupportedVersion),
            "{timestamp} in version {version}"
        );
    }
}

#[tokio::test]
async fn partition_named_twice_is_refused() {
    let ctx = context(11);
    let partition = ListOffsetsPartition {
        partition_index: 0,
        current_leader_epoch: -1,
        timestamp: LATEST,
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "orders".into(),
            partitions: vec![partition.clone(), partition],
        }],
        ..ListOffsetsRequest::default()
    };
    let response = handle(&ctx, request).await;
    let codes: Vec<i16> = response.topics[0]
        .partitions
        .iter()
        .map(|answer| answer.error_code)
        .collect();
    assert_eq!(codes, [i16::from(ErrorCode::InvalidRequest)]);
}

#[tokio::test]
async fn new_leader_that_has_not_heard_of_its_followers_does_not_tell_the_end() {
    let facts = |epoch| {
        let leading = partition(1, 0, &[0, 1], &[0, 1], epoch);
        image([broker(0, 1), broker(1, 1), topic("orders", 1), leading])
    };
    let ctx = context_of(Broker::in_memory(facts(3)), Principal::anonymous(), 5);
    let key = PartitionKey {
        topic_id: topic_id(1),
        partition: PartitionIndex(0),
    };
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(crate::clock::now_ms(), None, Some(b"a"), &[]);
    let batch = builder.build().freeze();
    let replicas = &ctx.broker.replicas;
    replicas
        .append(key, &batch, Acks::Leader, Origin::Client)
        .unwrap();
    assert_eq!(list(&ctx, LATEST).await, found(-1, 0, 3));
    replicas.apply(&std::sync::Arc::new(facts(4)));
    let told = |code: ErrorCode| ListOffsetsPartitionResponse {
        error_code: code.into(),
        ..found(-1, -1, -1)
    };
    assert_eq!(list(&ctx, LATEST).await, told(ErrorCode::OffsetNotAvailable));
    let older = Context { version: 4, ..ctx };
    assert_eq!(list(&older, LATEST).await, told(ErrorCode::LeaderNotAvailable));
}
