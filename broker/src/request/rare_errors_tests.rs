//! Errors that need something rare: a broken disk, a controller that is ahead, a coordinator whose writes reach nobody, a full group.

use std::sync::Arc;

use flotilla_control::proto::coordination::{DescribeQuorumResponse, SubmitRequest, SubmitResponse};
use flotilla_control::proto::metadata::Response;
use flotilla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use flotilla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use flotilla_protocol::messages::create_topics_request::CreatableTopic;
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use flotilla_protocol::messages::*;
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{BrokerId, ErrorCode, Offset, Str};
use futures::future::BoxFuture;

use super::testing::{context_of, with_coordinators};
use super::*;
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::broker::testing::config;
use crate::coordination::{Controller, Indexed, Publisher, Remote};
use crate::replica::testing::{in_memory, topic_id};

fn ctx(broker: &Arc<Broker>, version: i16) -> Context {
    context_of(broker.clone(), Principal::anonymous(), version)
}

/// A broker with coordinators, of which that is set.
fn with(name: &str, value: &str) -> Arc<Broker> {
    let mut config = config();
    config.settings.insert(name.to_owned(), value.to_owned());
    Broker::in_memory_configured(config, with_coordinators(), Authorizer::none())
}

#[tokio::test]
async fn failed_disk_is_told_by_all_that_need_it() {
    let broker = Broker::in_memory(with_coordinators());
    let failed = crate::log::Error::Sync {
        path: "/data/orders-0".into(),
        source: std::io::Error::other("a broken disk"),
    };
    broker.replicas.volumes()[0].note(&failed);
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(crate::clock::now_ms(), None, Some(b"a"), &[]);
    let produce = ProduceRequest {
        acks: 1,
        timeout_ms: 1_000,
        topic_data: vec![TopicProduceData {
            name: "orders".into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(builder.build().freeze().into()),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let fetch = FetchRequest {
        topics: vec![FetchTopic {
            topic: "orders".into(),
            partitions: vec![FetchPartition::default()],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let move_it = AlterReplicaLogDirsRequest {
        dirs: vec![alter_replica_log_dirs_request::AlterReplicaLogDir {
            path: "/data".into(),
            topics: vec![alter_replica_log_dirs_request::AlterReplicaLogDirTopic {
                name: "orders".into(),
                partitions: vec![0],
            }],
        }],
    };
    let produced = match produce::handle(&ctx(&broker, 9), produce).await {
        Reply::Now(response) => response,
        Reply::Later(response) => response.await,
        Reply::Silent | Reply::Close => panic!("a response is expected"),
    };
    let fetched = fetch::handle(&ctx(&broker, 12), fetch).await;
    let moved = alter_replica_log_dirs::handle(&ctx(&broker, 2), move_it).await;
    let dirs = DescribeLogDirsRequest { topics: None };
    let described = describe_log_dirs::handle(&ctx(&broker, 4), dirs).await;
    let said = [
        produced.responses[0].partition_responses[0].error_code,
        fetched.responses[0].partitions[0].error_code,
        moved.results[0].partitions[0].error_code,
        described.results[0].error_code,
    ];
    assert_eq!(said.map(ErrorCode::from), [ErrorCode::KafkaStorageError; 4]);
}

/// A controller that has decided, and whose decisions never come here.
struct Ahead;

impl Remote for Ahead {
    fn brokers(&self) -> Vec<BrokerId> {
        vec![BrokerId(1)]
    }

    fn submit(&self, _: BrokerId, _: SubmitRequest) -> BoxFuture<'_, Result<SubmitResponse, String>> {
        Box::pin(async {
            Ok(SubmitResponse {
                response: Some(Response::default()),
                index: 1_000,
                ..SubmitResponse::default()
            })
        })
    }

    fn describe_quorum(&self, _: BrokerId) -> BoxFuture<'_, Result<DescribeQuorumResponse, String>> {
        Box::pin(async { Err("it is not asked".to_owned()) })
    }
}

#[tokio::test]
async fn change_that_does_not_show_here_in_time_may_have_been_made() {
    let image = Arc::new(with_coordinators());
    let replicas = in_memory(BrokerId(0), &image);
    let (_publisher, metadata) = Publisher::new(Indexed { index: 0, image });
    let controller = Controller::new(
        BrokerId(0),
        String::new(),
        metadata.clone(),
        None,
        Arc::new(Ahead),
    );
    let broker = Broker::in_memory_of(replicas, metadata, controller, Authorizer::none());
    let create = CreateTopicsRequest {
        timeout_ms: 100,
        topics: vec![CreatableTopic {
            name: "bills".into(),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    let grow = CreatePartitionsRequest {
        timeout_ms: 100,
        topics: vec![CreatePartitionsTopic {
            name: "orders".into(),
            count: 2,
            assignments: None,
        }],
        ..CreatePartitionsRequest::default()
    };
    let delete = DeleteTopicsRequest {
        timeout_ms: 100,
        topic_names: vec!["orders".into()],
        ..DeleteTopicsRequest::default()
    };
    let said = [
        create_topics::handle(&ctx(&broker, 7), create).await.topics[0].error_code,
        create_partitions::handle(&ctx(&broker, 3), grow).await.results[0].error_code,
        delete_topics::handle(&ctx(&broker, 5), delete).await.responses[0].error_code,
    ];
    assert_eq!(said.map(ErrorCode::from), [ErrorCode::RequestTimedOut; 3]);
}

#[tokio::test]
async fn topics_are_not_deleted_where_that_is_switched_off() {
    let broker = with("delete.topic.enable", "false");
    for (version, expected) in [
        (2, ErrorCode::InvalidRequest),
        (5, ErrorCode::TopicDeletionDisabled),
    ] {
        let delete = DeleteTopicsRequest {
            timeout_ms: 1_000,
            topic_names: vec!["orders".into()],
            ..DeleteTopicsRequest::default()
        };
        let deleted = delete_topics::handle(&ctx(&broker, version), delete).await;
        assert_eq!(ErrorCode::from(deleted.responses[0].error_code), expected);
    }
    assert!(broker.metadata.image().topic("orders").is_some());
}

#[tokio::test]
async fn classic_group_takes_as_many_members_as_group_max_size_says() {
    let broker = with("group.max.size", "1");
    broker.groups.lead(topic_id(2)).await;
    let join = async || {
        let request = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                ..JoinGroupRequestProtocol::default()
            }],
            ..JoinGroupRequest::default()
        };
        ErrorCode::from(join_group::handle(&ctx(&broker, 3), request).await.error_code)
    };
    assert_eq!(join().await, ErrorCode::None);
    assert_eq!(join().await, ErrorCode::GroupMaxSizeReached);
}

#[tokio::test]
async fn consumer_group_takes_as_many_members_as_group_consumer_max_size_says() {
    let broker = with("group.consumer.max.size", "1");
    broker.groups.lead(topic_id(2)).await;
    let join = async |member: &'static str| {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: member.into(),
            rebalance_timeout_ms: 30_000,
            subscribed_topic_names: Some(vec!["orders".into()]),
            topic_partitions: Some(vec![]),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let joined = consumer_group_heartbeat::handle(&ctx(&broker, 1), request).await;
        ErrorCode::from(joined.error_code)
    };
    assert_eq!(join("a").await, ErrorCode::None);
    assert_eq!(join("b").await, ErrorCode::GroupMaxSizeReached);
}

async fn init(broker: &Arc<Broker>, id: &'static str) -> InitProducerIdResponse {
    let request = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    init_producer_id::handle(&ctx(broker, 4), request).await
}

async fn add(broker: &Arc<Broker>, producer: &InitProducerIdResponse, topic: &'static str) -> ErrorCode {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "t".into(),
        v3_and_below_producer_id: producer.producer_id,
        v3_and_below_producer_epoch: producer.producer_epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: topic.into(),
            partitions: vec![0],
        }],
        ..AddPartitionsToTxnRequest::default()
    };
    let mut added = add_partitions_to_txn::handle(&ctx(broker, 3), request).await;
    let mut topic = added.results_by_topic_v3_and_below.remove(0);
    topic.results_by_partition.remove(0).partition_error_code.into()
}

#[tokio::test]
async fn coordinator_whose_writes_reach_nobody_is_not_available() {
    let broker = Broker::in_memory(with_coordinators());
    broker.transactions.lead(topic_id(3)).await;
    let producer = init(&broker, "t").await;
    assert_eq!(producer.error_code, 0);
    assert_eq!(add(&broker, &producer, "orders").await, ErrorCode::None);
    broker.transactions.lead_alone(topic_id(3)).await;
    let not_available = ErrorCode::CoordinatorNotAvailable;
    assert_eq!(
        ErrorCode::from(init(&broker, "another").await.error_code),
        not_available
    );
    assert_eq!(add(&broker, &producer, crate::group::TOPIC).await, not_available);
    let end = EndTxnRequest {
        transactional_id: "t".into(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        committed: true,
    };
    let ended = end_txn::handle(&ctx(&broker, 4), end).await;
    assert_eq!(ErrorCode::from(ended.error_code), not_available);
}

#[tokio::test]
async fn marker_of_a_coordinator_that_was_replaced_is_refused() {
    let broker = Broker::in_memory(with_coordinators());
    let write = async |coordinator_epoch| {
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: 1,
                producer_epoch: 0,
                topics: vec![WritableTxnMarkerTopic {
                    name: Str::from_static("orders"),
                    partition_indexes: vec![0],
                }],
                coordinator_epoch,
                ..WritableTxnMarker::default()
            }],
        };
        let written = write_txn_markers::handle(&ctx(&broker, 1), request).await;
        ErrorCode::from(written.markers[0].topics[0].partitions[0].error_code)
    };
    assert_eq!(write(5).await, ErrorCode::None);
    assert_eq!(write(4).await, ErrorCode::TransactionCoordinatorFenced);
}
