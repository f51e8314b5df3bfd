//! What a broker says of partitions and of coordinators that are another's, and of partitions whose brokers stand still.

use std::time::Duration;

use bytes::Bytes;
use flotilla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use flotilla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use flotilla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use flotilla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use flotilla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DeleteRecordsRequest, DescribeProducersRequest,
    DescribeTopicPartitionsRequest, DescribeTransactionsRequest, ElectLeadersRequest, EndTxnRequest,
    FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    ProduceRequest, WriteTxnMarkersRequest, describe_producers_request, describe_topic_partitions_request,
    elect_leaders_request,
};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{ErrorCode, Offset, Records};
use rustix::process::Signal;

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests, signal, topic};
use crate::raw::Connection;

const SOON: Duration = Duration::from_secs(30);
const TRANSACTION: &str = "t";
const GROUP: &str = "g";
/// Kinds of coordinators, as FindCoordinator counts.
const GROUP_KEY: i8 = 0;
const TRANSACTION_KEY: i8 = 1;

/// A topic and a partition of it.
type Place = (&'static str, i32);

const ORDERS: Place = ("orders", 0);

/// A broker that stands still for as long as the value lives.
struct Still(u32);

impl Still {
    fn stand(fleet: &Fleet, broker: i64) -> Self {
        let pid = fleet.pid_of(broker);
        signal(pid, Signal::STOP);
        Self(pid)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        signal(self.0, Signal::CONT);
    }
}

fn connect(fleet: &Fleet, broker: i64) -> Connection {
    Connection::open(&fleet.address_of(broker))
}

fn produced(connection: &mut Connection, place: Place, timeout_ms: i32) -> ErrorCode {
    let mut batch = BatchBuilder::new(Offset(0));
    batch.push(1_700_000_000_000, None, Some(b"a record"), &[]);
    let request = ProduceRequest {
        acks: -1,
        timeout_ms,
        topic_data: vec![TopicProduceData {
            name: place.0.into(),
            partition_data: vec![PartitionProduceData {
                index: place.1,
                records: Some(Records::from(Bytes::from(batch.build()))),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = connection.call(9, &request).expect("an answer");
    answer.responses[0].partition_responses[0].error_code.into()
}

fn listed(connection: &mut Connection, place: Place) -> ErrorCode {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: place.0.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: place.1,
                current_leader_epoch: -1,
                timestamp: -1,
            }],
        }],
        ..Default::default()
    };
    let answer = connection.call(7, &request).expect("an answer");
    answer.topics[0].partitions[0].error_code.into()
}

fn records_deleted(connection: &mut Connection, place: Place, timeout_ms: i32) -> ErrorCode {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: place.0.into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: place.1,
                offset: -1,
            }],
        }],
        timeout_ms,
    };
    let answer = connection.call(2, &request).expect("an answer");
    answer.topics[0].partitions[0].error_code.into()
}

fn end_of_epoch(connection: &mut Connection, place: Place) -> ErrorCode {
    let request = OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: place.0.into(),
            partitions: vec![OffsetForLeaderPartition {
                partition: place.1,
                current_leader_epoch: -1,
                leader_epoch: 0,
            }],
        }],
    };
    let answer = connection.call(4, &request).expect("an answer");
    answer.topics[0].partitions[0].error_code.into()
}

fn producers_described(connection: &mut Connection, place: Place) -> ErrorCode {
    let request = DescribeProducersRequest {
        topics: vec![describe_producers_request::TopicRequest {
            name: place.0.into(),
            partition_indexes: vec![place.1],
        }],
    };
    let answer = connection.call(0, &request).expect("an answer");
    answer.topics[0].partitions[0].error_code.into()
}

fn marked(connection: &mut Connection, place: Place) -> ErrorCode {
    let request = WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: 1,
            topics: vec![WritableTxnMarkerTopic {
                name: place.0.into(),
                partition_indexes: vec![place.1],
            }],
            ..Default::default()
        }],
    };
    let answer = connection.call(1, &request).expect("an answer");
    answer.markers[0].topics[0].partitions[0].error_code.into()
}

#[test]
fn broker_that_does_not_lead_says_so_in_every_api() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 1, 2)]));
    let leader = fleet.leader("orders", 0);
    let mut elsewhere = connect(&fleet, (leader + 1) % 3);
    let not = ErrorCode::NotLeaderOrFollower;
    eventually(SOON, "the broker to know the topic", || {
        match produced(&mut elsewhere, ORDERS, 5_000) {
            error if error == not => Ok(()),
            error => Err(error.name().to_owned()),
        }
    });
    let said = [
        ("ListOffsets", listed(&mut elsewhere, ORDERS)),
        ("DeleteRecords", records_deleted(&mut elsewhere, ORDERS, 5_000)),
        ("OffsetForLeaderEpoch", end_of_epoch(&mut elsewhere, ORDERS)),
        ("DescribeProducers", producers_described(&mut elsewhere, ORDERS)),
        ("WriteTxnMarkers", marked(&mut elsewhere, ORDERS)),
    ];
    for (api, error) in said {
        assert_eq!(error, not, "{api}");
    }
    let mut leading = connect(&fleet, leader);
    assert_eq!(produced(&mut leading, ORDERS, 5_000), ErrorCode::None);
    assert_eq!(listed(&mut leading, ORDERS), ErrorCode::None);
}

/// The broker that coordinates a group or a transactional id, once there is one.
fn coordinator(connection: &mut Connection, key_type: i8, key: &'static str) -> i64 {
    eventually(SOON, "a coordinator", || {
        let request = FindCoordinatorRequest {
            key_type,
            coordinator_keys: vec![key.into()],
            ..Default::default()
        };
        let answer = connection.call(6, &request).expect("an answer");
        let found = &answer.coordinators[0];
        match found.error_code.into() {
            ErrorCode::None => Ok(i64::from(found.node_id)),
            error => Err(error.name().to_owned()),
        }
    })
}

#[test]
fn broker_that_does_not_coordinate_transactions_says_so_in_every_api() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 1, 3)]));
    let mut any = Connection::open(fleet.bootstrap());
    coordinator(&mut any, GROUP_KEY, GROUP);
    let coordinator = coordinator(&mut any, TRANSACTION_KEY, TRANSACTION);
    let mut elsewhere = connect(&fleet, (coordinator + 1) % 3);
    let begin = InitProducerIdRequest {
        transactional_id: Some(TRANSACTION.into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let add = AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: TRANSACTION.into(),
            producer_id: 1,
            topics: vec![AddPartitionsToTxnTopic {
                name: "orders".into(),
                partitions: vec![0],
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let offsets = AddOffsetsToTxnRequest {
        transactional_id: TRANSACTION.into(),
        producer_id: 1,
        group_id: GROUP.into(),
        ..Default::default()
    };
    let end = EndTxnRequest {
        transactional_id: TRANSACTION.into(),
        producer_id: 1,
        ..Default::default()
    };
    let describe = DescribeTransactionsRequest {
        transactional_ids: vec![TRANSACTION.into()],
    };
    let added = elsewhere.call(5, &add).expect("an answer");
    let added = &added.results_by_transaction[0].topic_results[0].results_by_partition[0];
    let described = elsewhere.call(0, &describe).expect("an answer");
    let said = [
        (
            "InitProducerId",
            elsewhere.call(4, &begin).expect("an answer").error_code,
        ),
        ("AddPartitionsToTxn", added.partition_error_code),
        (
            "AddOffsetsToTxn",
            elsewhere.call(4, &offsets).expect("an answer").error_code,
        ),
        ("EndTxn", elsewhere.call(4, &end).expect("an answer").error_code),
        ("DescribeTransactions", described.transaction_states[0].error_code),
    ];
    for (api, error) in said {
        assert_eq!(ErrorCode::from(error), ErrorCode::NotCoordinator, "{api}");
    }
}

/// How an election of the leader of a partition ends.
fn elected(connection: &mut Connection, election_type: i8, place: Place) -> ErrorCode {
    let request = ElectLeadersRequest {
        election_type,
        topic_partitions: Some(vec![elect_leaders_request::TopicPartitions {
            topic: place.0.into(),
            partitions: vec![place.1],
        }]),
        timeout_ms: 10_000,
    };
    let answer = connection.call(2, &request).expect("an answer");
    answer.replica_election_results[0].partition_result[0]
        .error_code
        .into()
}

fn described(connection: &mut Connection, place: Place) -> ErrorCode {
    let request = DescribeTopicPartitionsRequest {
        topics: vec![describe_topic_partitions_request::TopicRequest { name: place.0.into() }],
        response_partition_limit: 10,
        cursor: None,
    };
    let answer = connection.call(0, &request).expect("an answer");
    let partitions = &answer.topics[0].partitions;
    let found = partitions.iter().find(|found| found.partition_index == place.1);
    found.expect("the partition is described").error_code.into()
}

#[test]
fn what_waits_for_a_broker_that_stands_still_ends_with_its_error() {
    const PREFERRED: i8 = 0;
    const UNCLEAN: i8 = 1;
    let mut files = manifests(3, &[("alone", 3, 1), ("spread", 3, 3)]);
    let strict = topic("strict", 1, 3, "min.insync.replicas: \"3\"");
    files.insert("strict.yaml".into(), strict);
    let fleet = Fleet::start(&files);
    let leader = fleet.leader("strict", 0);
    let broker = (leader + 1) % 3;
    let led_by_it = |topic: &'static str| {
        let led = (0..3).find(|partition| fleet.leader(topic, i64::from(*partition)) == broker);
        (topic, led.expect("each broker leads a partition"))
    };
    let (alone, spread, strict) = (led_by_it("alone"), led_by_it("spread"), ("strict", 0));
    let mut leading = connect(&fleet, leader);
    assert_eq!(produced(&mut leading, strict, 5_000), ErrorCode::None);

    let still = Still::stand(&fleet, broker);
    let said = [
        ("Produce", produced(&mut leading, strict, 100)),
        ("DeleteRecords", records_deleted(&mut leading, strict, 100)),
    ];
    for (api, error) in said {
        assert_eq!(error, ErrorCode::RequestTimedOut, "{api}");
    }
    eventually(SOON, "the broker to be fenced", || {
        match described(&mut leading, alone) {
            ErrorCode::LeaderNotAvailable => Ok(()),
            error => Err(error.name().to_owned()),
        }
    });
    eventually(SOON, "too few to be in sync", || {
        match produced(&mut leading, strict, 5_000) {
            ErrorCode::NotEnoughReplicas => Ok(()),
            error => Err(error.name().to_owned()),
        }
    });
    let preferred = elected(&mut leading, PREFERRED, spread);
    assert_eq!(preferred, ErrorCode::PreferredLeaderNotAvailable);
    let unclean = elected(&mut leading, UNCLEAN, alone);
    assert_eq!(unclean, ErrorCode::EligibleLeadersNotAvailable);
    drop(still);
    eventually(SOON, "it to be in sync again", || {
        match produced(&mut leading, strict, 5_000) {
            ErrorCode::None => Ok(()),
            error => Err(error.name().to_owned()),
        }
    });
}
