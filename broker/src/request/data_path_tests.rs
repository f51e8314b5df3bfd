//! The smaller APIs of the data path: DeleteRecords, DescribeLogDirs, InitProducerId, OffsetForLeaderEpoch.

use super::testing::context_of;
use super::{
    Context, alter_replica_log_dirs, delete_records, describe_log_dirs, init_producer_id,
    offset_for_leader_epoch,
};
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::metadata::Image;
use crate::replica::testing::{broker, fold, image, partition, setting, topic, topic_id};
use crate::replica::{Acks, Origin, PartitionKey};
use flotilla_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use flotilla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use flotilla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use flotilla_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use flotilla_protocol::messages::{
    AlterReplicaLogDirsRequest, DeleteRecordsRequest, DescribeLogDirsRequest, InitProducerIdRequest,
    OffsetForLeaderEpochRequest,
};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{ErrorCode, Offset, PartitionIndex};
use std::time::Duration;

fn orders() -> Image {
    image([broker(0, 1), topic("orders", 1), partition(1, 0, &[0], &[0], 3)])
}

fn context(version: i16) -> Context {
    context_of(Broker::in_memory(orders()), Principal::anonymous(), version)
}

fn stranger(version: i16) -> Context {
    let broker = Broker::in_memory_with(orders(), Authorizer::acl([], false));
    context_of(broker, Principal::anonymous(), version)
}

async fn put(ctx: &Context) {
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(crate::clock::now_ms(), None, Some(b"a"), &[]);
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

async fn delete(ctx: &Context, topic: &'static str, offset: i64) -> (i64, ErrorCode) {
    let request = DeleteRecordsRequest {
        timeout_ms: 20_000,
        topics: vec![DeleteRecordsTopic {
            name: topic.into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset,
            }],
        }],
    };
    let answer = delete_records::handle(ctx, request)
        .await
        .topics
        .remove(0)
        .partitions
        .remove(0);
    (answer.low_watermark, answer.error_code.into())
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_or_all() {
    let ctx = context(2);
    put(&ctx).await;
    put(&ctx).await;
    assert_eq!(delete(&ctx, "orders", 1).await, (1, ErrorCode::None));
    assert_eq!(delete(&ctx, "orders", 3).await, (-1, ErrorCode::OffsetOutOfRange));
    assert_eq!(
        delete(&ctx, "orders", -2).await,
        (-1, ErrorCode::OffsetOutOfRange)
    );
    assert_eq!(delete(&ctx, "orders", -1).await, (2, ErrorCode::None));
    assert_eq!(
        delete(&ctx, "nothing", -1).await,
        (-1, ErrorCode::UnknownTopicOrPartition)
    );
    assert_eq!(
        delete(&stranger(2), "orders", -1).await,
        (-1, ErrorCode::TopicAuthorizationFailed)
    );
}

#[tokio::test]
async fn compacted_topic_keeps_its_records() {
    let mut image = orders();
    fold(&mut image, [setting("orders", "cleanup.policy", "compact")]);
    let ctx = context_of(Broker::in_memory(image), Principal::anonymous(), 2);
    assert_eq!(delete(&ctx, "orders", -1).await, (-1, ErrorCode::PolicyViolation));
}

async fn move_to(ctx: &Context, dir: &'static str, topic: &str, partitions: &[i32]) -> Vec<(i32, ErrorCode)> {
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: dir.into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: flotilla_protocol::Str::copy_from(topic),
                partitions: partitions.to_vec(),
            }],
        }],
    };
    let mut results = alter_replica_log_dirs::handle(ctx, request).await.results;
    assert_eq!((results.len(), &*results[0].topic_name), (1, topic));
    let partitions = results.remove(0).partitions.into_iter();
    partitions
        .map(|answer| (answer.partition_index, answer.error_code.into()))
        .collect()
}

#[tokio::test]
async fn replica_is_not_moved_to_where_it_cannot_be_kip_113() {
    let mut image = orders();
    fold(&mut image, [broker(1, 1), partition(1, 1, &[1], &[1], 3)]);
    let ctx = context_of(Broker::in_memory(image), Principal::anonymous(), 2);
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let here_and_elsewhere = [
        (0, ErrorCode::None),
        (1, ErrorCode::ReplicaNotAvailable),
        (2, unknown),
    ];
    assert_eq!(
        move_to(&ctx, "/data", "orders", &[2, 1, 0, 1]).await,
        here_and_elsewhere
    );
    assert_eq!(move_to(&ctx, "/data", "nothing", &[0]).await, [(0, unknown)]);
    for topic in ["orders", "nothing"] {
        for dir in ["/other", "/data/"] {
            assert_eq!(
                move_to(&ctx, dir, topic, &[0]).await,
                [(0, ErrorCode::LogDirNotFound)]
            );
        }
    }
    let long = "o".repeat(249);
    let too_long = [(0, ErrorCode::InvalidTopicException)];
    assert_eq!(move_to(&ctx, "/other", &long, &[0]).await, too_long);
    let refused = [(0, ErrorCode::ClusterAuthorizationFailed)];
    assert_eq!(move_to(&stranger(2), "/data", "orders", &[0]).await, refused);
}

#[tokio::test]
async fn log_dirs_tell_sizes_to_those_who_may_know() {
    let ctx = context(4);
    put(&ctx).await;
    let response = describe_log_dirs::handle(&ctx, DescribeLogDirsRequest { topics: None }).await;
    let dir = &response.results[0];
    assert_eq!((dir.error_code, &*dir.log_dir), (0, "/data"));
    assert_eq!(&*dir.topics[0].name, "orders");
    let partition = &dir.topics[0].partitions[0];
    assert_eq!((partition.partition_index, partition.offset_lag), (0, 0));
    assert!(partition.partition_size > 0);
    let none = DescribeLogDirsRequest {
        topics: Some(Vec::new()),
    };
    assert_eq!(describe_log_dirs::handle(&ctx, none).await.results[0].topics, []);
    for (version, expected) in [(2, ErrorCode::None), (3, ErrorCode::ClusterAuthorizationFailed)] {
        let refused =
            describe_log_dirs::handle(&stranger(version), DescribeLogDirsRequest { topics: None }).await;
        assert_eq!(
            (ErrorCode::from(refused.error_code), refused.results.len()),
            (expected, 0)
        );
    }
}

#[tokio::test]
async fn every_idempotent_producer_gets_an_id_of_its_own() {
    let ctx = context(5);
    let request = || InitProducerIdRequest {
        transactional_id: None,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let mut ids = Vec::new();
    // One more than a block.
    for _ in 0..1001 {
        let response = init_producer_id::handle(&ctx, request()).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        ids.push(response.producer_id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1001);
    let refused = init_producer_id::handle(&stranger(5), request()).await;
    assert_eq!(
        refused.error_code,
        i16::from(ErrorCode::ClusterAuthorizationFailed)
    );
}

#[tokio::test]
async fn end_of_an_epoch_is_told_by_the_leader_alone() {
    let ctx = context(4);
    put(&ctx).await;
    let ask = async |ctx: &Context, partition, current_leader_epoch, leader_epoch| {
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: "orders".into(),
                partitions: vec![OffsetForLeaderPartition {
                    partition,
                    current_leader_epoch,
                    leader_epoch,
                }],
            }],
        };
        offset_for_leader_epoch::handle(ctx, request)
            .await
            .topics
            .remove(0)
            .partitions
            .remove(0)
    };
    let answer = |error: ErrorCode, partition, leader_epoch, end_offset| EpochEndOffset {
        error_code: error.into(),
        partition,
        leader_epoch,
        end_offset,
    };
    assert_eq!(ask(&ctx, 0, 3, 3).await, answer(ErrorCode::None, 0, 3, 1));
    assert_eq!(ask(&ctx, 0, -1, 2).await, answer(ErrorCode::None, 0, 2, 0));
    assert_eq!(ask(&ctx, 0, -1, 9).await, answer(ErrorCode::None, 0, -1, -1));
    assert_eq!(
        ask(&ctx, 0, 2, 3).await,
        answer(ErrorCode::FencedLeaderEpoch, 0, -1, -1)
    );
    assert_eq!(
        ask(&ctx, 0, 4, 3).await,
        answer(ErrorCode::UnknownLeaderEpoch, 0, -1, -1)
    );
    assert_eq!(
        ask(&ctx, 1, 3, 3).await,
        answer(ErrorCode::UnknownTopicOrPartition, 1, -1, -1)
    );
    assert_eq!(
        ask(&stranger(4), 0, 3, 3).await,
        answer(ErrorCode::TopicAuthorizationFailed, 0, -1, -1)
    );
}
