//! What is answered while a coordinator reads its partition, and where there is none yet.

use std::sync::Arc;

use flotilla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use flotilla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use flotilla_protocol::messages::leave_group_request::MemberIdentity;
use flotilla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use flotilla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use flotilla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use flotilla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use flotilla_protocol::messages::*;
use flotilla_protocol::{ErrorCode, Str};

use super::testing::{context_of, with_coordinators};
use super::*;
use crate::auth::Principal;
use crate::broker::Broker;
use crate::replica::testing::{broker, image, partition, topic, topic_id};

const LOADING: ErrorCode = ErrorCode::CoordinatorLoadInProgress;

/// A broker that leads all coordinators' partitions and has not read them yet.
fn loading() -> Arc<Broker> {
    let broker = Broker::in_memory(with_coordinators());
    broker.groups.load_for_ever(topic_id(2));
    broker.transactions.load_for_ever(topic_id(3));
    broker
}

fn ctx(broker: &Arc<Broker>, version: i16) -> Context {
    context_of(broker.clone(), Principal::anonymous(), version)
}

fn group() -> Str {
    "g".into()
}

#[tokio::test]
async fn members_are_told_that_their_coordinator_loads() {
    let broker = loading();
    let join = JoinGroupRequest {
        group_id: group(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            ..JoinGroupRequestProtocol::default()
        }],
        ..JoinGroupRequest::default()
    };
    let sync = SyncGroupRequest {
        group_id: group(),
        member_id: "m".into(),
        generation_id: 1,
        ..SyncGroupRequest::default()
    };
    let leave = LeaveGroupRequest {
        group_id: group(),
        members: vec![MemberIdentity {
            member_id: "m".into(),
            ..MemberIdentity::default()
        }],
        ..LeaveGroupRequest::default()
    };
    let modern = ConsumerGroupHeartbeatRequest {
        group_id: group(),
        member_id: "m".into(),
        member_epoch: 1,
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let streams = StreamsGroupHeartbeatRequest {
        group_id: group(),
        member_id: "m".into(),
        member_epoch: 1,
        ..StreamsGroupHeartbeatRequest::default()
    };
    let share = ShareGroupHeartbeatRequest {
        group_id: group(),
        member_id: "m".into(),
        member_epoch: 1,
        ..ShareGroupHeartbeatRequest::default()
    };
    let said = [
        join_group::handle(&ctx(&broker, 3), join).await.error_code,
        sync_group::handle(&ctx(&broker, 4), sync).await.error_code,
        leave_group::handle(&ctx(&broker, 5), leave).await.error_code,
        consumer_group_heartbeat::handle(&ctx(&broker, 1), modern)
            .await
            .error_code,
        streams_group_heartbeat::handle(&ctx(&broker, 0), streams)
            .await
            .error_code,
        share_group_heartbeat::handle(&ctx(&broker, 1), share)
            .await
            .error_code,
    ];
    assert_eq!(said.map(ErrorCode::from), [LOADING; 6]);
    // A member is not put off by this: it goes on, as with Apache Kafka.
    let beat = HeartbeatRequest {
        group_id: group(),
        member_id: "m".into(),
        generation_id: 1,
        ..HeartbeatRequest::default()
    };
    let beat = heartbeat::handle(&ctx(&broker, 4), beat).await;
    assert_eq!(ErrorCode::from(beat.error_code), ErrorCode::None);
}

#[tokio::test]
async fn offsets_wait_for_a_coordinator_that_loads() {
    let broker = loading();
    let commit = OffsetCommitRequest {
        group_id: group(),
        topics: vec![OffsetCommitRequestTopic {
            name: "orders".into(),
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group(),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let delete = OffsetDeleteRequest {
        group_id: group(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "orders".into(),
            partitions: vec![OffsetDeleteRequestPartition::default()],
        }],
    };
    let in_transaction = TxnOffsetCommitRequest {
        transactional_id: "t".into(),
        group_id: group(),
        producer_id: 1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "orders".into(),
            partitions: vec![TxnOffsetCommitRequestPartition::default()],
        }],
        ..TxnOffsetCommitRequest::default()
    };
    let committed = offset_commit::handle(&ctx(&broker, 9), commit).await;
    let fetched = offset_fetch::handle(&ctx(&broker, 9), fetch).await;
    let deleted = offset_delete::handle(&ctx(&broker, 0), delete).await;
    let part = txn_offset_commit::handle(&ctx(&broker, 3), in_transaction).await;
    let said = [
        committed.topics[0].partitions[0].error_code,
        fetched.groups[0].error_code,
        deleted.error_code,
        part.topics[0].partitions[0].error_code,
    ];
    assert_eq!(said.map(ErrorCode::from), [LOADING; 4]);
}

#[tokio::test]
async fn groups_are_not_told_of_while_their_coordinator_loads() {
    let broker = loading();
    let describe = DescribeGroupsRequest {
        groups: vec![group()],
        ..DescribeGroupsRequest::default()
    };
    let modern = ConsumerGroupDescribeRequest {
        group_ids: vec![group()],
        ..ConsumerGroupDescribeRequest::default()
    };
    let streams = StreamsGroupDescribeRequest {
        group_ids: vec![group()],
        ..StreamsGroupDescribeRequest::default()
    };
    let share = ShareGroupDescribeRequest {
        group_ids: vec![group()],
        ..ShareGroupDescribeRequest::default()
    };
    let delete = DeleteGroupsRequest {
        groups_names: vec![group()],
    };
    let list = ListGroupsRequest::default();
    let said = [
        describe_groups::handle(&ctx(&broker, 5), describe).await.groups[0].error_code,
        consumer_group_describe::handle(&ctx(&broker, 1), modern)
            .await
            .groups[0]
            .error_code,
        streams_group_describe::handle(&ctx(&broker, 0), streams)
            .await
            .groups[0]
            .error_code,
        share_group_describe::handle(&ctx(&broker, 1), share).await.groups[0].error_code,
        delete_groups::handle(&ctx(&broker, 2), delete).await.results[0].error_code,
        list_groups::handle(&ctx(&broker, 4), list).await.error_code,
    ];
    assert_eq!(said.map(ErrorCode::from), [LOADING; 6]);
}

/// What each API about transactions says: InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, DescribeTransactions.
async fn of_transactions(broker: &Arc<Broker>) -> [ErrorCode; 5] {
    let begin = InitProducerIdRequest {
        transactional_id: Some("t".into()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let add = AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: "t".into(),
            producer_id: 1,
            topics: vec![AddPartitionsToTxnTopic {
                name: "orders".into(),
                partitions: vec![0],
            }],
            ..AddPartitionsToTxnTransaction::default()
        }],
        ..AddPartitionsToTxnRequest::default()
    };
    let offsets = AddOffsetsToTxnRequest {
        transactional_id: "t".into(),
        producer_id: 1,
        group_id: group(),
        ..AddOffsetsToTxnRequest::default()
    };
    let end = EndTxnRequest {
        transactional_id: "t".into(),
        producer_id: 1,
        ..EndTxnRequest::default()
    };
    let describe = DescribeTransactionsRequest {
        transactional_ids: vec!["t".into()],
    };
    let added = add_partitions_to_txn::handle(&ctx(broker, 5), add).await;
    let described = describe_transactions::handle(&ctx(broker, 0), describe).await;
    [
        init_producer_id::handle(&ctx(broker, 4), begin).await.error_code,
        added.results_by_transaction[0].topic_results[0].results_by_partition[0].partition_error_code,
        add_offsets_to_txn::handle(&ctx(broker, 4), offsets)
            .await
            .error_code,
        end_txn::handle(&ctx(broker, 4), end).await.error_code,
        described.transaction_states[0].error_code,
    ]
    .map(ErrorCode::from)
}

#[tokio::test]
async fn producers_are_told_that_their_coordinator_loads() {
    let broker = loading();
    assert_eq!(of_transactions(&broker).await, [LOADING; 5]);
    let listed = list_transactions::handle(&ctx(&broker, 1), ListTransactionsRequest::default()).await;
    assert_eq!(ErrorCode::from(listed.error_code), LOADING);
}

#[tokio::test]
async fn producers_are_told_that_this_is_no_coordinator() {
    let broker = Broker::in_memory(image([
        broker(0, 1),
        topic("orders", 1),
        partition(1, 0, &[0], &[0], 3),
    ]));
    let [begin, add, offsets, end, describe] = of_transactions(&broker).await;
    assert_eq!([begin, add, end, describe], [ErrorCode::NotCoordinator; 4]);
    // Nobody coordinates the group either, and that is looked at first.
    assert_eq!(offsets, ErrorCode::CoordinatorNotAvailable);
}
