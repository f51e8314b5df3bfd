//! Whole transactions on one broker, through the handlers, as clients of both versions send them.

use std::sync::Arc;
use std::time::Duration;

use flotilla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use flotilla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use flotilla_protocol::messages::*;
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{ErrorCode, Offset, ProducerEpoch, ProducerId, Uuid};
use tokio::time::timeout;

use super::testing::{context_of, with_coordinators};
use super::*;
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::replica::testing::topic_id;

const LIMIT: Duration = Duration::from_secs(20);

/// A broker that coordinates everything and leads everything.
async fn alone(authorizer: Authorizer) -> Arc<Broker> {
    let broker = Broker::in_memory_with(with_coordinators(), authorizer);
    broker.groups.lead(topic_id(2)).await;
    broker.transactions.lead(topic_id(3)).await;
    broker
}

struct Producer {
    broker: Arc<Broker>,
    id: i64,
    epoch: i16,
    sequence: i32,
}

fn ctx(broker: &Arc<Broker>, version: i16) -> Context {
    context_of(broker.clone(), Principal::anonymous(), version)
}

async fn init(broker: &Arc<Broker>, version: i16) -> Result<(i64, i16), ErrorCode> {
    let ctx = ctx(broker, version);
    let begun = tokio::time::Instant::now();
    loop {
        let request = InitProducerIdRequest {
            transactional_id: Some("payments".into()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let response = init_producer_id::handle(&ctx, request).await;
        match ErrorCode::from(response.error_code) {
            ErrorCode::None => return Ok((response.producer_id, response.producer_epoch)),
            // As clients do: they come again.
            ErrorCode::ConcurrentTransactions if begun.elapsed() < LIMIT => tokio::task::yield_now().await,
            code => return Err(code),
        }
    }
}

impl Producer {
    async fn new(broker: &Arc<Broker>) -> Self {
        let (id, epoch) = init(broker, 5).await.unwrap();
        Self {
            broker: broker.clone(),
            id,
            epoch,
            sequence: 0,
        }
    }

    async fn add(&self) -> ErrorCode {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: "payments".into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: "orders".into(),
                partitions: vec![0],
            }],
            ..AddPartitionsToTxnRequest::default()
        };
        let mut response = add_partitions_to_txn::handle(&ctx(&self.broker, 3), request).await;
        let mut topic = response.results_by_topic_v3_and_below.remove(0);
        topic.results_by_partition.remove(0).partition_error_code.into()
    }

    async fn send(&mut self, version: i16) -> ErrorCode {
        let mut builder = BatchBuilder::new(Offset(0))
            .producer(ProducerId(self.id), ProducerEpoch(self.epoch), self.sequence)
            .transactional();
        builder.push(crate::clock::now_ms(), None, Some(b"paid"), &[]);
        let request = ProduceRequest {
            transactional_id: Some("payments".into()),
            acks: -1,
            timeout_ms: 20_000,
            topic_data: vec![TopicProduceData {
                name: if version >= 13 { "" } else { "orders" }.into(),
                topic_id: if version >= 13 { topic_id(1) } else { Uuid::ZERO },
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(builder.build().freeze().into()),
                }],
            }],
        };
        let mut response = match produce::handle(&ctx(&self.broker, version), request).await {
            Reply::Now(response) => response,
            Reply::Later(response) => response.await,
            _ => panic!("a response is expected"),
        };
        let code = response
            .responses
            .remove(0)
            .partition_responses
            .remove(0)
            .error_code;
        if code == 0 {
            self.sequence += 1;
        }
        code.into()
    }

    /// Sends until the transaction before has ended.
    async fn send_at_last(&mut self, version: i16) {
        let sent = async {
            loop {
                match self.send(version).await {
                    ErrorCode::None => return,
                    ErrorCode::ConcurrentTransactions => tokio::task::yield_now().await,
                    code => panic!("{code}"),
                }
            }
        };
        timeout(LIMIT, sent).await.expect("in time");
    }

    async fn end(&mut self, version: i16, committed: bool) -> ErrorCode {
        let request = EndTxnRequest {
            transactional_id: "payments".into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        };
        let response = end_txn::handle(&ctx(&self.broker, version), request).await;
        let code = ErrorCode::from(response.error_code);
        if code == ErrorCode::None && version >= 5 {
            if response.producer_epoch != self.epoch {
                self.sequence = 0;
            }
            (self.id, self.epoch) = (response.producer_id, response.producer_epoch);
        }
        code
    }
}

/// How far the partition is stable, and which transactions in it were aborted.
async fn stable(broker: &Arc<Broker>) -> (i64, Vec<(i64, i64)>) {
    let request = FetchRequest {
        replica_id: -1,
        max_bytes: 1 << 20,
        isolation_level: 1,
        topics: vec![FetchTopic {
            topic_id: topic_id(1),
            partitions: vec![FetchPartition {
                partition: 0,
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let mut response = fetch::handle(&ctx(broker, 16), request).await;
    let data = response.responses.remove(0).partitions.remove(0);
    let aborted = data.aborted_transactions.unwrap_or_default();
    let aborted = aborted.iter().map(|one| (one.producer_id, one.first_offset));
    (data.last_stable_offset, aborted.collect())
}

async fn until_stable(broker: &Arc<Broker>, offset: i64) -> Vec<(i64, i64)> {
    let reached = async {
        loop {
            let (stable, aborted) = stable(broker).await;
            if stable >= offset {
                return aborted;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, reached).await.expect("in time")
}

async fn describe(broker: &Arc<Broker>) -> (String, usize) {
    let request = DescribeTransactionsRequest {
        transactional_ids: vec!["payments".into()],
    };
    let mut response = describe_transactions::handle(&ctx(broker, 0), request).await;
    let state = response.transaction_states.remove(0);
    (state.transaction_state.to_string(), state.topics.len())
}

#[tokio::test]
async fn client_of_the_first_version_commits_and_aborts() {
    let broker = alone(Authorizer::none()).await;
    let mut producer = Producer::new(&broker).await;
    assert_eq!(
        producer.send(9).await,
        ErrorCode::InvalidTxnState,
        "nothing was added"
    );
    assert_eq!(producer.add().await, ErrorCode::None);
    assert_eq!(producer.send(9).await, ErrorCode::None);
    assert_eq!(stable(&broker).await, (0, vec![]));
    assert_eq!(describe(&broker).await, ("Ongoing".to_owned(), 1));
    assert_eq!(producer.end(3, true).await, ErrorCode::None);
    assert_eq!(until_stable(&broker, 2).await, []);
    let added = async {
        while producer.add().await == ErrorCode::ConcurrentTransactions {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, added).await.expect("in time");
    assert_eq!(producer.send(9).await, ErrorCode::None);
    assert_eq!(producer.end(3, false).await, ErrorCode::None);
    assert_eq!(until_stable(&broker, 4).await, [(producer.id, 2)]);
}

#[tokio::test]
async fn client_of_the_second_version_adds_nothing_and_gets_a_new_epoch_each_time() {
    let broker = alone(Authorizer::none()).await;
    let mut producer = Producer::new(&broker).await;
    for round in 0..3 {
        assert_eq!(producer.epoch, round);
        let version = if round == 2 { 13 } else { 12 };
        producer.send_at_last(version).await;
        producer.send_at_last(version).await;
        assert_eq!(producer.end(5, round != 1).await, ErrorCode::None);
    }
    let aborted = until_stable(&broker, 9).await;
    assert_eq!(aborted, [(producer.id, 3)]);
    // The end of a transaction before, late.
    producer.epoch = 1;
    assert_eq!(producer.end(5, true).await, ErrorCode::ProducerFenced);
}

#[tokio::test]
async fn partition_that_the_coordinator_has_not_heard_of_does_not_join_yet() {
    let broker = alone(Authorizer::none()).await;
    let producer = Producer::new(&broker).await;
    let join = async |partitions: Vec<i32>| {
        let request = AddPartitionsToTxnRequest {
            transactions: vec![AddPartitionsToTxnTransaction {
                transactional_id: "payments".into(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                verify_only: false,
                topics: vec![AddPartitionsToTxnTopic {
                    name: "orders".into(),
                    partitions,
                }],
            }],
            ..AddPartitionsToTxnRequest::default()
        };
        let mut response = add_partitions_to_txn::handle(&ctx(&broker, 5), request).await;
        let topic = response.results_by_transaction.remove(0).topic_results.remove(0);
        let codes = topic.results_by_partition.iter();
        codes
            .map(|partition| ErrorCode::from(partition.partition_error_code))
            .collect::<Vec<_>>()
    };
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(join(vec![0, 9]).await, [unknown, unknown]);
    assert_eq!(describe(&broker).await, ("Empty".to_owned(), 0));
    assert_eq!(join(vec![0]).await, [ErrorCode::None]);
    assert_eq!(describe(&broker).await, ("Ongoing".to_owned(), 1));
}

#[tokio::test]
async fn new_instance_of_a_producer_ends_the_old_one() {
    let broker = alone(Authorizer::none()).await;
    let mut old = Producer::new(&broker).await;
    old.send_at_last(12).await;
    let new = Producer::new(&broker).await;
    assert_eq!((new.id, new.epoch), (old.id, old.epoch + 2));
    assert_eq!(until_stable(&broker, 2).await, [(old.id, 0)]);
    assert_eq!(old.send(12).await, ErrorCode::InvalidProducerEpoch);
    assert_eq!(old.end(5, true).await, ErrorCode::ProducerFenced);
    assert_eq!(old.end(1, true).await, ErrorCode::InvalidProducerEpoch);
    assert_eq!(old.add().await, ErrorCode::ProducerFenced);
}

#[tokio::test]
async fn offsets_go_with_the_transaction() {
    let broker = alone(Authorizer::none()).await;
    let mut producer = Producer::new(&broker).await;
    let offsets = async |producer: &Producer, version: i16| {
        let request = TxnOffsetCommitRequest {
            transactional_id: "payments".into(),
            group_id: "billing".into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: "orders".into(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: 7,
                    ..TxnOffsetCommitRequestPartition::default()
                }],
            }],
            ..TxnOffsetCommitRequest::default()
        };
        let mut response = txn_offset_commit::handle(&ctx(&broker, version), request).await;
        ErrorCode::from(response.topics.remove(0).partitions.remove(0).error_code)
    };
    assert_eq!(offsets(&producer, 3).await, ErrorCode::InvalidTxnState);
    assert_eq!(offsets(&producer, 4).await, ErrorCode::TransactionAbortable);
    let add = AddOffsetsToTxnRequest {
        transactional_id: "payments".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: "billing".into(),
    };
    let added = add_offsets_to_txn::handle(&ctx(&broker, 3), add).await;
    assert_eq!(added.error_code, 0);
    assert_eq!(offsets(&producer, 3).await, ErrorCode::None);
    let committed = async |require_stable| {
        let request = OffsetFetchRequest {
            group_id: "billing".into(),
            topics: None,
            require_stable,
            ..OffsetFetchRequest::default()
        };
        let response = offset_fetch::handle(&ctx(&broker, 7), request).await;
        let first = response.topics.into_iter().next();
        first.map(|topic| {
            let partition = &topic.partitions[0];
            (partition.committed_offset, ErrorCode::from(partition.error_code))
        })
    };
    assert_eq!(committed(true).await, Some((-1, ErrorCode::UnstableOffsetCommit)));
    assert_eq!(committed(false).await, None);
    assert_eq!(producer.end(5, true).await, ErrorCode::None);
    let shown = async {
        while committed(true).await != Some((7, ErrorCode::None)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, shown).await.expect("in time");
    // Since version 5 the group's partition joins by itself.
    let joined = async {
        loop {
            match offsets(&producer, 5).await {
                ErrorCode::ConcurrentTransactions => tokio::task::yield_now().await,
                code => return code,
            }
        }
    };
    assert_eq!(timeout(LIMIT, joined).await.expect("in time"), ErrorCode::None);
}

#[tokio::test]
async fn hung_transaction_is_found_and_aborted_by_hand() {
    let broker = alone(Authorizer::none()).await;
    let mut producer = Producer::new(&broker).await;
    producer.send_at_last(12).await;
    let request = DescribeProducersRequest {
        topics: vec![describe_producers_request::TopicRequest {
            name: "orders".into(),
            partition_indexes: vec![0, 9],
        }],
    };
    let mut described = describe_producers::handle(&ctx(&broker, 0), request).await;
    let mut partitions = described.topics.remove(0).partitions;
    let unknown = partitions.remove(1);
    assert_eq!(unknown.error_code, i16::from(ErrorCode::UnknownTopicOrPartition));
    let found = partitions.remove(0).active_producers.remove(0);
    assert_eq!(
        (found.producer_id, found.current_txn_start_offset),
        (producer.id, 0)
    );
    let write = async |epoch| {
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: found.producer_id,
                producer_epoch: epoch,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: "orders".into(),
                    partition_indexes: vec![0, 9],
                }],
                coordinator_epoch: found.coordinator_epoch,
                transaction_version: 0,
            }],
        };
        let mut response = write_txn_markers::handle(&ctx(&broker, 1), request).await;
        let topic = response.markers.remove(0).topics.remove(0);
        let codes = topic.partitions.iter();
        codes
            .map(|partition| ErrorCode::from(partition.error_code))
            .collect::<Vec<_>>()
    };
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(write(-1).await, [ErrorCode::InvalidProducerEpoch, unknown]);
    let epoch = i16::try_from(found.producer_epoch).unwrap();
    assert_eq!(write(epoch).await, [ErrorCode::None, unknown]);
    assert_eq!(stable(&broker).await, (2, vec![(producer.id, 0)]));
}

#[tokio::test]
async fn lists_show_what_is_asked_for() {
    let broker = alone(Authorizer::none()).await;
    let mut producer = Producer::new(&broker).await;
    producer.send_at_last(12).await;
    let list = async |states: &[&'static str], pattern: Option<&'static str>| {
        let request = ListTransactionsRequest {
            state_filters: states.iter().map(|state| (*state).into()).collect(),
            duration_filter: -1,
            transactional_id_pattern: pattern.map(Into::into),
            ..ListTransactionsRequest::default()
        };
        let response = list_transactions::handle(&ctx(&broker, 2), request).await;
        (
            ErrorCode::from(response.error_code),
            response.transaction_states.len(),
            response.unknown_state_filters.len(),
        )
    };
    assert_eq!(list(&[], None).await, (ErrorCode::None, 1, 0));
    assert_eq!(
        list(&["Ongoing", "Lost"], Some("pay.*")).await,
        (ErrorCode::None, 1, 1)
    );
    assert_eq!(list(&["Lost"], None).await, (ErrorCode::None, 0, 1));
    assert_eq!(list(&["Empty"], None).await, (ErrorCode::None, 0, 0));
    assert_eq!(list(&[], Some("pay")).await, (ErrorCode::None, 0, 0));
    assert_eq!(
        list(&[], Some("(")).await,
        (ErrorCode::InvalidRegularExpression, 0, 0)
    );
}

#[tokio::test]
async fn who_may_not_is_told_so_by_every_api() {
    let broker = alone(Authorizer::acl([], false)).await;
    assert_eq!(
        init(&broker, 5).await,
        Err(ErrorCode::TransactionalIdAuthorizationFailed)
    );
    let mut stranger = Producer {
        broker: broker.clone(),
        id: 1,
        epoch: 0,
        sequence: 0,
    };
    let denied = ErrorCode::TransactionalIdAuthorizationFailed;
    assert_eq!(stranger.add().await, denied);
    assert_eq!(stranger.end(5, true).await, denied);
    assert_eq!(stranger.send(12).await, denied);
    let request = AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction::default()],
        ..AddPartitionsToTxnRequest::default()
    };
    let response = add_partitions_to_txn::handle(&ctx(&broker, 5), request).await;
    assert_eq!(
        ErrorCode::from(response.error_code),
        ErrorCode::ClusterAuthorizationFailed
    );
    let response = end_markers(&broker).await;
    assert_eq!(response, ErrorCode::ClusterAuthorizationFailed);
    let request = DescribeTransactionsRequest {
        transactional_ids: vec!["payments".into()],
    };
    let response = describe_transactions::handle(&ctx(&broker, 0), request).await;
    assert_eq!(ErrorCode::from(response.transaction_states[0].error_code), denied);
}

async fn end_markers(broker: &Arc<Broker>) -> ErrorCode {
    let request = WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: 1,
            topics: vec![WritableTxnMarkerTopic {
                name: "orders".into(),
                partition_indexes: vec![0],
            }],
            ..WritableTxnMarker::default()
        }],
    };
    let response = write_txn_markers::handle(&ctx(broker, 2), request).await;
    response.markers[0].topics[0].partitions[0].error_code.into()
}

#[tokio::test]
async fn producer_ids_that_cannot_be_are_refused() {
    let broker = alone(Authorizer::none()).await;
    let ctx = ctx(&broker, 6);
    let ask = async |id: &'static str, timeout_ms, producer_id, producer_epoch, enable2_pc| {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: timeout_ms,
            producer_id,
            producer_epoch,
            enable2_pc,
            ..InitProducerIdRequest::default()
        };
        ErrorCode::from(init_producer_id::handle(&ctx, request).await.error_code)
    };
    for (answer, expected) in [
        (ask("", 1, -1, -1, false).await, ErrorCode::InvalidRequest),
        (ask("a", 1, 5, -1, false).await, ErrorCode::InvalidRequest),
        (
            ask("a", 900_001, -1, -1, false).await,
            ErrorCode::InvalidTransactionTimeout,
        ),
        (
            ask("a", 0, -1, -1, false).await,
            ErrorCode::InvalidTransactionTimeout,
        ),
        (
            ask("a", 1, -1, -1, true).await,
            ErrorCode::TransactionalIdAuthorizationFailed,
        ),
        (ask("a", 1, -1, -1, false).await, ErrorCode::None),
        (ask("a", 1, 999, 0, false).await, ErrorCode::ProducerFenced),
    ] {
        assert_eq!(answer, expected);
    }
}
