//! A user that is held to its quotas: as the resource says, by a broker that tells it and then does not listen.

use std::time::{Duration, Instant};

use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{ErrorCode, Offset, Records};

use crate::eventually::eventually;
use crate::fleet::Fleet;
use crate::raw::Connection;
use crate::security::{manifests_with, password};

/// Bytes a second, of the producer and of the consumer.
const RATE: usize = 200_000;
const BATCH_BYTES: usize = 100_000;
const BATCHES: usize = 12;
/// What is saved up: the one window that is over, of the two that count.
const SAVED: usize = RATE;

#[test]
fn user_is_slowed_to_the_rates_of_its_resource() {
    let mut files = manifests_with(false);
    let windows = "  config: {quota.window.num: 2}\n  listeners:";
    let cluster = files.remove("cluster.yaml").expect("the cluster's manifest");
    files.insert("cluster.yaml".into(), cluster.replace("  listeners:", windows));
    let user = files.remove("user.yaml").expect("the user's manifest");
    let quotas = format!("  quotas: {{producerByteRate: {RATE}, consumerByteRate: {RATE}}}\n");
    files.insert("user.yaml".into(), user + &quotas);
    let fleet = Fleet::start(&files);
    let password = password(&fleet);
    let mut connection = eventually(Duration::from_secs(20), "the user to write", || {
        let mut connection = Connection::open(fleet.bootstrap());
        match connection.scram("app", &password) {
            Ok(ErrorCode::None) => {}
            other => return Err(format!("{other:?}")),
        }
        match connection.call(9, &produce(1)).expect("an answer").responses[0].partition_responses[0]
            .error_code
        {
            0 => Ok(connection),
            refused => Err(format!("error {refused}")),
        }
    });

    // Not even waiting as it is told, it is not faster: the broker takes nothing from it meanwhile.
    let (began, mut told_ms) = (Instant::now(), 0);
    for _ in 0..BATCHES {
        let answer = connection.call(9, &produce(BATCH_BYTES)).expect("an answer");
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        told_ms += answer.throttle_time_ms;
    }
    // After the last answer the client is held back, too.
    connection.topics().expect("topics");
    let took = began.elapsed();
    println!(
        "{} bytes at {RATE}/s in {took:?}, told {told_ms} ms",
        BATCHES * BATCH_BYTES
    );
    slowed(BATCHES * BATCH_BYTES, took);
    assert!(told_ms > 0);

    let (began, mut offset, mut bytes, mut empty) = (Instant::now(), 0, 0, 0);
    while bytes < BATCHES * BATCH_BYTES {
        let answer: FetchResponse = connection.call(12, &fetch(offset)).expect("an answer");
        assert_eq!(answer.error_code, 0);
        let Some(topic) = answer.responses.first() else {
            assert!(answer.throttle_time_ms > 0, "nothing, and no reason");
            empty += 1;
            continue;
        };
        let records = topic.partitions[0].records.as_ref().expect("records").len();
        assert!(records > 0);
        bytes += records;
        offset += 1;
    }
    let took = began.elapsed();
    println!("{bytes} bytes fetched in {took:?}, {empty} answers held back");
    slowed(bytes, took);
    assert!(empty > 0);
}

/// No faster than the rate but for what was saved up, and no more than twice as slow.
fn slowed(bytes: usize, took: Duration) {
    let seconds = |bytes: usize| Duration::from_secs_f64(bytes as f64 / RATE as f64);
    let least = seconds(bytes - SAVED - BATCH_BYTES);
    assert!(took >= least, "{took:?} is less than {least:?}");
    let most = 2 * seconds(bytes) + Duration::from_secs(10);
    assert!(took <= most, "{took:?} is more than {most:?}");
}

/// One record of that size to the topic `open`.
fn produce(bytes: usize) -> ProduceRequest {
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(1_700_000_000_000, None, Some(&vec![7; bytes]), &[]);
    ProduceRequest {
        acks: 1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: "open".into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::from(builder.build().freeze())),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

/// One batch from there on.
fn fetch(offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 1_000,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: "open".into(),
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: 1,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}
