//! Records: Produce, Fetch, ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use bytes::Bytes;
use flotilla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use flotilla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::{
    DeleteRecordsRequest, FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};
use flotilla_protocol::records::{BatchBuilder, Compression};
use flotilla_protocol::{ErrorCode, Offset, ProducerEpoch, ProducerId, Records, Uuid};

use crate::case::{Case, case};
use crate::scene::{Scene, Topic};

/// Of all records: lately, and always the same.
pub const TIME_MS: i64 = 1_700_000_000_000;
/// Consumers name no replica.
const CONSUMER: i32 = -1;

pub fn cases() -> Vec<Case> {
    [produce(), fetch(), list_offsets(), epochs(), delete_records()]
        .into_iter()
        .flatten()
        .collect()
}

/// A batch of one record with a key.
pub fn record() -> BatchBuilder {
    let mut batch = BatchBuilder::new(Offset(0));
    batch.push(TIME_MS, Some(b"key"), Some(b"value"), &[]);
    batch
}

/// Writes a batch to partition 0 of a topic, by its name or its id as the version has it.
pub fn write(topic: &Topic, version: i16, batch: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: if version < 13 {
                topic.name.clone()
            } else {
                "".into()
            },
            topic_id: if version < 13 { Uuid::ZERO } else { topic.id },
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::from(batch)),
            }],
        }],
        ..Default::default()
    }
}

fn built(batch: &BatchBuilder) -> Bytes {
    batch.clone().build().freeze()
}

impl Scene<'_> {
    /// A topic with three records, a batch each.
    fn filled(&mut self) -> anyhow::Result<Topic> {
        let topic = self.topic()?;
        for n in 0..3 {
            let mut batch = BatchBuilder::new(Offset(0));
            batch.push(TIME_MS + n, Some(b"key"), Some(b"value"), &[]);
            let answer = self.call(9, &write(&topic, 9, built(&batch)))?;
            anyhow::ensure!(
                answer.responses[0].partition_responses[0].error_code == 0,
                "{answer:?}"
            );
        }
        Ok(topic)
    }
}

fn produce() -> Vec<Case> {
    use ErrorCode as E;
    let idempotent = |sequence| record().producer(ProducerId(900_000), ProducerEpoch(3), sequence);
    vec![
        case("a record", E::None, |at| {
            let topic = at.topic()?;
            Ok(write(&topic, at.version, built(&record())))
        }),
        case("acks of the leader", E::None, |at| {
            let topic = at.topic()?;
            Ok(ProduceRequest {
                acks: 1,
                ..write(&topic, at.version, built(&record()))
            })
        }),
        case("compressed records", E::None, |at| {
            let topic = at.topic()?;
            let batch = record().compression(Compression::Gzip);
            Ok(write(&topic, at.version, built(&batch)))
        }),
        case("the broker's time", E::None, |at| {
            let topic = at.topic_with(1, &[("message.timestamp.type", "LogAppendTime")])?;
            Ok(write(&topic, at.version, built(&record())))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            Ok(write(&Topic::unknown(at.name()), at.version, built(&record())))
        })
        .since(13, E::UnknownTopicId),
        case("an unknown partition", E::UnknownTopicOrPartition, |at| {
            let topic = at.topic()?;
            let mut request = write(&topic, at.version, built(&record()));
            request.topic_data[0].partition_data[0].index = 9;
            Ok(request)
        }),
        case("a broken batch", E::CorruptMessage, |at| {
            let topic = at.topic()?;
            let mut batch = built(&record()).to_vec();
            let last = batch.len() - 1;
            batch[last] ^= 1;
            Ok(write(&topic, at.version, batch.into()))
        }),
        case("two batches in one", E::InvalidRecord, |at| {
            let topic = at.topic()?;
            let two = [built(&record()), built(&record())].concat();
            Ok(write(&topic, at.version, two.into()))
        }),
        case("acks that there are not", E::InvalidRequiredAcks, |at| {
            let topic = at.topic()?;
            Ok(ProduceRequest {
                acks: 2,
                ..write(&topic, at.version, built(&record()))
            })
        }),
        case("a batch that is too large", E::MessageTooLarge, |at| {
            let topic = at.topic_with(1, &[("max.message.bytes", "20")])?;
            Ok(write(&topic, at.version, built(&record())))
        }),
        case("a timestamp that is too old", E::InvalidTimestamp, |at| {
            let topic = at.topic_with(1, &[("message.timestamp.before.max.ms", "1000")])?;
            Ok(write(&topic, at.version, built(&record())))
        }),
        case("no key on a compacted topic", E::InvalidRecord, |at| {
            let topic = at.topic_with(1, &[("cleanup.policy", "compact")])?;
            let mut batch = BatchBuilder::new(Offset(0));
            batch.push(TIME_MS, None, Some(b"value"), &[]);
            Ok(write(&topic, at.version, built(&batch)))
        }),
        case("zstd before its version", E::UnsupportedCompressionType, |at| {
            let topic = at.topic()?;
            let batch = record().compression(Compression::Zstd);
            Ok(write(&topic, at.version, built(&batch)))
        })
        .versions(0..=6),
        case("an internal topic", E::InvalidTopicException, |at| {
            let topic = Topic {
                name: "__consumer_offsets".into(),
                id: Uuid::ZERO,
            };
            Ok(write(&topic, at.version, built(&record())))
        })
        .versions(0..=12),
        case("a producer that begins in the middle", E::None, move |at| {
            let topic = at.topic()?;
            Ok(write(&topic, at.version, built(&idempotent(40))))
        }),
        case(
            "a sequence that is out of order",
            E::OutOfOrderSequenceNumber,
            move |at| {
                let topic = at.topic()?;
                at.call(9, &write(&topic, 9, built(&idempotent(0))))?;
                Ok(write(&topic, at.version, built(&idempotent(5))))
            },
        ),
        case("a batch that is there already", E::None, move |at| {
            let topic = at.topic()?;
            at.call(9, &write(&topic, 9, built(&idempotent(0))))?;
            Ok(write(&topic, at.version, built(&idempotent(0))))
        }),
        case("an old epoch of a producer", E::InvalidProducerEpoch, move |at| {
            let topic = at.topic()?;
            at.call(9, &write(&topic, 9, built(&idempotent(0))))?;
            let old = record().producer(ProducerId(900_000), ProducerEpoch(2), 1);
            Ok(write(&topic, at.version, built(&old)))
        }),
        case(
            "transactional without an id",
            E::TransactionalIdAuthorizationFailed,
            |at| {
                let topic = at.topic()?;
                let batch = record()
                    .producer(ProducerId(900_000), ProducerEpoch(0), 0)
                    .transactional();
                Ok(write(&topic, at.version, built(&batch)))
            },
        ),
        case("no records", E::InvalidRecord, |at| {
            let topic = at.topic()?;
            Ok(write(&topic, at.version, Bytes::new()))
        }),
        case("by nobody", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(write(&topic, at.version, built(&record())))
        })
        .by_nobody(),
        case(
            "a transaction of nobody's",
            E::TransactionalIdAuthorizationFailed,
            |at| {
                let topic = at.topic()?;
                let batch = record()
                    .producer(ProducerId(1), ProducerEpoch(0), 0)
                    .transactional();
                Ok(ProduceRequest {
                    transactional_id: Some(at.name()),
                    ..write(&topic, at.version, built(&batch))
                })
            },
        )
        .by_nobody(),
    ]
}

/// Reads partition 0 of a topic from an offset on, by its name or its id as the version has it.
pub fn read(topic: &Topic, version: i16, offset: i64) -> FetchRequest {
    FetchRequest {
        replica_id: CONSUMER,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: if version < 13 {
                topic.name.clone()
            } else {
                "".into()
            },
            topic_id: if version < 13 { Uuid::ZERO } else { topic.id },
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}

fn fetch() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("all records", E::None, |at| {
            let topic = at.filled()?;
            Ok(read(&topic, at.version, 0))
        }),
        case("from the middle", E::None, |at| {
            let topic = at.filled()?;
            Ok(read(&topic, at.version, 2))
        }),
        case("less than a batch", E::None, |at| {
            let topic = at.filled()?;
            let mut request = read(&topic, at.version, 0);
            request.max_bytes = 1;
            request.topics[0].partitions[0].partition_max_bytes = 1;
            Ok(request)
        }),
        case("only committed", E::None, |at| {
            let topic = at.filled()?;
            Ok(FetchRequest {
                isolation_level: 1,
                ..read(&topic, at.version, 0)
            })
        }),
        case("at the end", E::None, |at| {
            let topic = at.filled()?;
            Ok(read(&topic, at.version, 3))
        }),
        case("an epoch that diverged", E::None, |at| {
            let topic = at.filled()?;
            let mut request = read(&topic, at.version, 3);
            request.topics[0].partitions[0].last_fetched_epoch = 0;
            request.topics[0].partitions[0].current_leader_epoch = 0;
            request.topics[0].partitions[0].fetch_offset = 9;
            Ok(request)
        })
        .versions(12..=i16::MAX),
        case("behind the end", E::OffsetOutOfRange, |at| {
            let topic = at.filled()?;
            Ok(read(&topic, at.version, 4))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            Ok(read(&Topic::unknown(at.name()), at.version, 0))
        })
        .since(13, E::UnknownTopicId),
        case("an unknown partition", E::UnknownTopicOrPartition, |at| {
            let topic = at.topic()?;
            let mut request = read(&topic, at.version, 0);
            request.topics[0].partitions[0].partition = 9;
            Ok(request)
        }),
        case("a leader epoch of the future", E::UnknownLeaderEpoch, |at| {
            let topic = at.topic()?;
            let mut request = read(&topic, at.version, 0);
            request.topics[0].partitions[0].current_leader_epoch = 99;
            Ok(request)
        })
        .versions(9..=i16::MAX),
        case("a new session", E::None, |at| {
            let topic = at.filled()?;
            Ok(FetchRequest {
                session_epoch: 0,
                ..read(&topic, at.version, 0)
            })
        })
        .versions(7..=i16::MAX),
        case("a session that goes on", E::None, |at| {
            let topic = at.filled()?;
            let begin = FetchRequest {
                session_epoch: 0,
                ..read(&topic, at.version, 0)
            };
            let begun = at.call(at.version, &begin)?;
            Ok(FetchRequest {
                session_id: begun.session_id,
                session_epoch: 1,
                topics: Vec::new(),
                ..begin
            })
        })
        .versions(7..=i16::MAX),
        case("an unknown session", E::FetchSessionIdNotFound, |at| {
            let topic = at.topic()?;
            Ok(FetchRequest {
                session_id: 12_345,
                session_epoch: 1,
                ..read(&topic, at.version, 0)
            })
        })
        .versions(7..=i16::MAX),
        case("a wrong epoch of a session", E::InvalidFetchSessionEpoch, |at| {
            let topic = at.filled()?;
            let begin = FetchRequest {
                session_epoch: 0,
                ..read(&topic, at.version, 0)
            };
            let begun = at.call(at.version, &begin)?;
            Ok(FetchRequest {
                session_id: begun.session_id,
                session_epoch: 5,
                ..begin
            })
        })
        .versions(7..=i16::MAX),
        case("zstd before its version", E::None, |at| {
            let topic = at.topic()?;
            let batch = record().compression(Compression::Zstd);
            at.call(9, &write(&topic, 9, built(&batch)))?;
            Ok(read(&topic, at.version, 0))
        })
        .versions(0..=9),
        case("by nobody", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(read(&topic, at.version, 0))
        })
        .by_nobody(),
    ]
}

fn offsets(topic: &Topic, timestamp: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: CONSUMER,
        topics: vec![ListOffsetsTopic {
            name: topic.name.clone(),
            partitions: vec![ListOffsetsPartition {
                timestamp,
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}

fn list_offsets() -> Vec<Case> {
    use ErrorCode as E;
    let at_time = |name, first, timestamp| {
        case(name, E::None, move |at| {
            let topic = at.filled()?;
            Ok(offsets(&topic, timestamp))
        })
        .versions(first..=i16::MAX)
    };
    vec![
        at_time("the end", 0, -1),
        at_time("the start", 0, -2),
        at_time("the latest timestamp", 7, -3),
        at_time("the start of what is local", 8, -4),
        at_time("the end of what is tiered", 9, -5),
        at_time("what is to be tiered", 11, -6),
        at_time("a time", 0, TIME_MS + 1),
        at_time("a time in the future", 0, TIME_MS + 1_000_000),
        case("the end of what is committed", E::None, |at| {
            let topic = at.filled()?;
            Ok(ListOffsetsRequest {
                isolation_level: 1,
                ..offsets(&topic, -1)
            })
        })
        .versions(2..=i16::MAX),
        case(
            "the latest timestamp before its version",
            E::UnsupportedVersion,
            |at| {
                let topic = at.topic()?;
                Ok(offsets(&topic, -3))
            },
        )
        .versions(0..=6),
        case("a special time that there is not", E::UnsupportedVersion, |at| {
            let topic = at.topic()?;
            Ok(offsets(&topic, -77))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            Ok(offsets(&Topic::unknown(at.name()), -1))
        }),
        case("an unknown partition", E::UnknownTopicOrPartition, |at| {
            let topic = at.topic()?;
            let mut request = offsets(&topic, -1);
            request.topics[0].partitions[0].partition_index = 9;
            Ok(request)
        }),
        case("the same partition twice", E::InvalidRequest, |at| {
            let topic = at.topic()?;
            let mut request = offsets(&topic, -1);
            let again = request.topics[0].partitions[0].clone();
            request.topics[0].partitions.push(again);
            Ok(request)
        }),
        case("a leader epoch of the future", E::UnknownLeaderEpoch, |at| {
            let topic = at.topic()?;
            let mut request = offsets(&topic, -1);
            request.topics[0].partitions[0].current_leader_epoch = 99;
            Ok(request)
        })
        .versions(4..=i16::MAX),
        case("by nobody", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(offsets(&topic, -1))
        })
        .by_nobody(),
    ]
}

fn epochs() -> Vec<Case> {
    use ErrorCode as E;
    let end_of = |topic: &Topic, leader_epoch, current_leader_epoch| OffsetForLeaderEpochRequest {
        replica_id: CONSUMER,
        topics: vec![OffsetForLeaderTopic {
            topic: topic.name.clone(),
            partitions: vec![OffsetForLeaderPartition {
                partition: 0,
                current_leader_epoch,
                leader_epoch,
            }],
        }],
    };
    vec![
        case("the end of an epoch", E::None, move |at| {
            let topic = at.filled()?;
            Ok(end_of(&topic, 0, -1))
        }),
        case("the end of an epoch that never was", E::None, move |at| {
            let topic = at.filled()?;
            Ok(end_of(&topic, 7, -1))
        }),
        case("a leader epoch of the future", E::UnknownLeaderEpoch, move |at| {
            let topic = at.topic()?;
            Ok(end_of(&topic, 0, 99))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, move |at| {
            Ok(end_of(&Topic::unknown(at.name()), 0, -1))
        }),
        case("by nobody", E::TopicAuthorizationFailed, move |at| {
            let topic = at.topic()?;
            Ok(end_of(&topic, 0, -1))
        })
        .by_nobody(),
    ]
}

fn delete_records() -> Vec<Case> {
    use ErrorCode as E;
    let before = |topic: &Topic, offset| DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.name.clone(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset,
            }],
        }],
        timeout_ms: 10_000,
    };
    vec![
        case("the first records", E::None, move |at| {
            let topic = at.filled()?;
            Ok(before(&topic, 2))
        }),
        case("all records", E::None, move |at| {
            let topic = at.filled()?;
            Ok(before(&topic, -1))
        }),
        case("behind the end", E::OffsetOutOfRange, move |at| {
            let topic = at.filled()?;
            Ok(before(&topic, 9))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, move |at| {
            Ok(before(&Topic::unknown(at.name()), 1))
        }),
        case("a compacted topic", E::PolicyViolation, move |at| {
            let topic = at.topic_with(1, &[("cleanup.policy", "compact")])?;
            Ok(before(&topic, 0))
        }),
        case("by nobody", E::TopicAuthorizationFailed, move |at| {
            let topic = at.topic()?;
            Ok(before(&topic, 0))
        })
        .by_nobody(),
    ]
}
