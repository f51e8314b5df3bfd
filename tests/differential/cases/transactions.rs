//! Producer ids and transactions.

use flotilla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use flotilla_protocol::messages::describe_producers_request::TopicRequest;
use flotilla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use flotilla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use flotilla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, InitProducerIdRequest, ListTransactionsRequest, TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
};
use flotilla_protocol::{ErrorCode, ProducerEpoch, ProducerId, Str};

use super::data;
use crate::case::{Case, case};
use crate::scene::{Member, Producer, Topic};

pub fn cases() -> Vec<Case> {
    [
        init_producer_id(),
        add_partitions(),
        add_partitions_of_brokers(),
        add_offsets(),
        commit_offsets(),
        end(),
        markers(),
        describe_producers(),
        describe_transactions(),
        list_transactions(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn init(id: Option<Str>) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: id,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    }
}

fn init_producer_id() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("an idempotent producer", E::None, |_| Ok(init(None))),
        case("a transactional producer", E::None, |at| {
            Ok(init(Some(at.name())))
        }),
        case("a transactional producer again", E::None, |at| {
            at.producer()?;
            Ok(init(Some(at.name())))
        }),
        case("a producer that goes on", E::None, |at| {
            let producer = at.producer()?;
            Ok(InitProducerIdRequest {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                ..init(Some(at.name()))
            })
        })
        .versions(3..=i16::MAX),
        case("an empty transactional id", E::InvalidRequest, |_| {
            Ok(init(Some("".into())))
        }),
        case("no time", E::InvalidTransactionTimeout, |at| {
            Ok(InitProducerIdRequest {
                transaction_timeout_ms: 0,
                ..init(Some(at.name()))
            })
        }),
        case("too much time", E::InvalidTransactionTimeout, |at| {
            Ok(InitProducerIdRequest {
                transaction_timeout_ms: i32::MAX,
                ..init(Some(at.name()))
            })
        }),
        case("an old epoch", E::InvalidProducerEpoch, |at| {
            let producer = at.producer()?;
            at.producer()?;
            at.producer()?;
            Ok(InitProducerIdRequest {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                ..init(Some(at.name()))
            })
        })
        .versions(3..=i16::MAX)
        .since(4, E::ProducerFenced),
        case("another's producer id", E::InvalidProducerEpoch, |at| {
            let producer = at.producer()?;
            Ok(InitProducerIdRequest {
                producer_id: producer.id + 1_000_000,
                producer_epoch: producer.epoch,
                ..init(Some(at.name()))
            })
        })
        .versions(3..=i16::MAX)
        .since(4, E::ProducerFenced),
        case("a producer id without an epoch", E::InvalidRequest, |at| {
            Ok(InitProducerIdRequest {
                producer_id: 5,
                ..init(Some(at.name()))
            })
        })
        .versions(3..=i16::MAX),
        case("while a transaction is open", E::ConcurrentTransactions, |at| {
            let topic = at.topic()?;
            at.open_transaction(&topic)?;
            Ok(init(Some(at.name())))
        }),
        case("idempotent, by nobody", E::ClusterAuthorizationFailed, |_| {
            Ok(init(None))
        })
        .by_nobody(),
        case("by nobody", E::TransactionalIdAuthorizationFailed, |at| {
            Ok(init(Some(at.name())))
        })
        .by_nobody(),
    ]
}

fn add(id: Str, producer: Producer, topic: &Topic) -> AddPartitionsToTxnRequest {
    AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id,
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: topic.name.clone(),
            partitions: vec![0],
        }],
        ..Default::default()
    }
}

fn add_partitions() -> Vec<Case> {
    use ErrorCode as E;
    let cases = vec![
        case("a partition", E::None, |at| {
            let (topic, producer) = (at.topic()?, at.producer()?);
            Ok(add(at.name(), producer, &topic))
        }),
        case("a partition again", E::None, |at| {
            let topic = at.topic()?;
            let producer = at.open_transaction(&topic)?;
            Ok(add(at.name(), producer, &topic))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            let producer = at.producer()?;
            Ok(add(at.name(), producer, &Topic::unknown(at.name())))
        }),
        case("beside an unknown topic", E::OperationNotAttempted, |at| {
            let (topic, producer) = (at.topic()?, at.producer()?);
            let mut request = add(at.name(), producer, &topic);
            let unknown = AddPartitionsToTxnTopic {
                name: Str::copy_from(&format!("{}-unknown", at.name)),
                partitions: vec![0],
            };
            request.v3_and_below_topics.push(unknown);
            Ok(request)
        }),
        case("an unknown transactional id", E::InvalidProducerIdMapping, |at| {
            let topic = at.topic()?;
            Ok(add(at.name(), Producer { id: 5, epoch: 0 }, &topic))
        }),
        case("another's producer id", E::InvalidProducerIdMapping, |at| {
            let (topic, mut producer) = (at.topic()?, at.producer()?);
            producer.id += 1_000_000;
            Ok(add(at.name(), producer, &topic))
        }),
        case("an old epoch", E::InvalidProducerEpoch, |at| {
            let (topic, producer) = (at.topic()?, at.producer()?);
            at.producer()?;
            Ok(add(at.name(), producer, &topic))
        })
        .since(2, E::ProducerFenced),
        case("an empty transactional id", E::InvalidRequest, |at| {
            let (topic, producer) = (at.topic()?, at.producer()?);
            Ok(add("".into(), producer, &topic))
        }),
        case("by nobody", E::TransactionalIdAuthorizationFailed, |at| {
            let (topic, producer) = (at.topic()?, at.producer()?);
            Ok(add(at.name(), producer, &topic))
        })
        .by_nobody(),
        case(
            "a topic that nobody may write",
            E::TopicAuthorizationFailed,
            |at| {
                let (topic, producer) = (at.topic()?, at.producer()?);
                at.allow_transactional_id()?;
                Ok(add(at.name(), producer, &topic))
            },
        )
        .by_nobody(),
    ];
    cases.into_iter().map(|case| case.versions(0..=3)).collect()
}

/// From version 4 on brokers ask, for several transactions at once.
fn add_partitions_of_brokers() -> Vec<Case> {
    use ErrorCode as E;
    let ask = |id: Str, producer: Producer, topic: &Topic, verify_only| AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: id,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            verify_only,
            topics: vec![AddPartitionsToTxnTopic {
                name: topic.name.clone(),
                partitions: vec![0],
            }],
        }],
        ..Default::default()
    };
    let cases = vec![
        case("for a broker", E::None, move |at| {
            let (topic, producer) = (at.topic()?, at.producer()?);
            Ok(ask(at.name(), producer, &topic, false))
        }),
        case("whether it is there", E::None, move |at| {
            let topic = at.topic()?;
            let producer = at.open_transaction(&topic)?;
            Ok(ask(at.name(), producer, &topic, true))
        }),
        case(
            "whether one is there that is not",
            E::TransactionAbortable,
            move |at| {
                let (topic, producer) = (at.topic()?, at.producer()?);
                Ok(ask(at.name(), producer, &topic, true))
            },
        ),
        case(
            "for a broker, by nobody",
            E::ClusterAuthorizationFailed,
            move |at| {
                let (topic, producer) = (at.topic()?, at.producer()?);
                Ok(ask(at.name(), producer, &topic, false))
            },
        )
        .by_nobody(),
    ];
    cases
        .into_iter()
        .map(|case| case.versions(4..=i16::MAX))
        .collect()
}

fn add_offsets() -> Vec<Case> {
    use ErrorCode as E;
    let add = |id: Str, producer: Producer| AddOffsetsToTxnRequest {
        transactional_id: id.clone(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: id,
    };
    vec![
        case("a group", E::None, move |at| {
            let producer = at.producer()?;
            Ok(add(at.name(), producer))
        }),
        case(
            "an unknown transactional id",
            E::InvalidProducerIdMapping,
            move |at| Ok(add(at.name(), Producer { id: 5, epoch: 0 })),
        ),
        case("an old epoch", E::InvalidProducerEpoch, move |at| {
            let producer = at.producer()?;
            at.producer()?;
            Ok(add(at.name(), producer))
        })
        .since(2, E::ProducerFenced),
        case("an empty transactional id", E::InvalidRequest, move |at| {
            let producer = at.producer()?;
            Ok(AddOffsetsToTxnRequest {
                transactional_id: "".into(),
                ..add(at.name(), producer)
            })
        }),
        case("by nobody", E::TransactionalIdAuthorizationFailed, move |at| {
            let producer = at.producer()?;
            Ok(add(at.name(), producer))
        })
        .by_nobody(),
        case("a group of nobody's", E::GroupAuthorizationFailed, move |at| {
            let producer = at.producer()?;
            at.allow_transactional_id()?;
            Ok(add(at.name(), producer))
        })
        .by_nobody(),
    ]
}

fn commit(name: Str, producer: Producer, topic: &Topic) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        transactional_id: name.clone(),
        group_id: name,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: topic.name.clone(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                committed_offset: 5,
                committed_metadata: Some("about it".into()),
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}

fn with(member: &Member, request: TxnOffsetCommitRequest) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        generation_id: member.generation,
        member_id: member.id.clone(),
        ..request
    }
}

fn commit_offsets() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("an offset", E::None, |at| {
            let (topic, producer) = (at.topic()?, at.open_transaction_of_group()?);
            Ok(commit(at.name(), producer, &topic))
        }),
        case("an offset of a member", E::None, |at| {
            let (topic, member) = (at.topic()?, at.stable_member(None)?);
            let producer = at.open_transaction_of_group()?;
            Ok(with(&member, commit(at.name(), producer, &topic)))
        })
        .versions(3..=i16::MAX),
        case("without the group in the transaction", E::None, |at| {
            let (topic, producer) = (at.topic()?, at.producer()?);
            Ok(commit(at.name(), producer, &topic))
        })
        .versions(5..=i16::MAX),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            let producer = at.open_transaction_of_group()?;
            Ok(commit(at.name(), producer, &Topic::unknown(at.name())))
        }),
        case("an unknown member", E::UnknownMemberId, |at| {
            let topic = at.topic()?;
            at.stable_member(None)?;
            let producer = at.open_transaction_of_group()?;
            Ok(with(&Member::made_up(), commit(at.name(), producer, &topic)))
        })
        .versions(3..=i16::MAX),
        case("another generation", E::IllegalGeneration, |at| {
            let (topic, mut member) = (at.topic()?, at.stable_member(None)?);
            member.generation += 1;
            let producer = at.open_transaction_of_group()?;
            Ok(with(&member, commit(at.name(), producer, &topic)))
        })
        .versions(3..=i16::MAX),
        case("another's instance", E::FencedInstanceId, |at| {
            let (topic, mut member) = (at.topic()?, at.stable_member(Some("instance"))?);
            member.id = "made-up".into();
            let producer = at.open_transaction_of_group()?;
            Ok(TxnOffsetCommitRequest {
                group_instance_id: Some("instance".into()),
                ..with(&member, commit(at.name(), producer, &topic))
            })
        })
        .versions(3..=i16::MAX),
        case("an old epoch", E::InvalidProducerEpoch, |at| {
            let (topic, producer) = (at.topic()?, at.fenced_producer()?);
            Ok(commit(at.name(), producer, &topic))
        }),
        case("metadata that is too long", E::OffsetMetadataTooLarge, |at| {
            let (topic, producer) = (at.topic()?, at.open_transaction_of_group()?);
            let mut request = commit(at.name(), producer, &topic);
            request.topics[0].partitions[0].committed_metadata = Some("x".repeat(5_000).into());
            Ok(request)
        }),
        case("an empty group id", E::InvalidGroupId, |at| {
            let (topic, producer) = (at.topic()?, at.open_transaction_of_group()?);
            Ok(TxnOffsetCommitRequest {
                group_id: "".into(),
                ..commit(at.name(), producer, &topic)
            })
        }),
        case("by nobody", E::TransactionalIdAuthorizationFailed, |at| {
            let (topic, producer) = (at.topic()?, at.open_transaction_of_group()?);
            Ok(commit(at.name(), producer, &topic))
        })
        .by_nobody(),
        case("a group of nobody's", E::GroupAuthorizationFailed, |at| {
            let (topic, producer) = (at.topic()?, at.open_transaction_of_group()?);
            at.allow_transactional_id()?;
            Ok(commit(at.name(), producer, &topic))
        })
        .by_nobody(),
        case(
            "a topic that nobody may read",
            E::TopicAuthorizationFailed,
            |at| {
                let (topic, producer) = (at.topic()?, at.open_transaction_of_group()?);
                at.allow_transactional_id()?;
                at.allow_group()?;
                Ok(commit(at.name(), producer, &topic))
            },
        )
        .by_nobody(),
    ]
}

fn end() -> Vec<Case> {
    use ErrorCode as E;
    let end = |id: Str, producer: Producer, committed| EndTxnRequest {
        transactional_id: id,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed,
    };
    vec![
        case("committed", E::None, move |at| {
            let topic = at.topic()?;
            let producer = at.open_transaction(&topic)?;
            Ok(end(at.name(), producer, true))
        }),
        case("aborted", E::None, move |at| {
            let topic = at.topic()?;
            let producer = at.open_transaction(&topic)?;
            Ok(end(at.name(), producer, false))
        }),
        case("committed where none was begun", E::InvalidTxnState, move |at| {
            let producer = at.producer()?;
            Ok(end(at.name(), producer, true))
        }),
        case("aborted where none was begun", E::InvalidTxnState, move |at| {
            let producer = at.producer()?;
            Ok(end(at.name(), producer, false))
        })
        .since(5, E::None),
        case(
            "an unknown transactional id",
            E::InvalidProducerIdMapping,
            move |at| Ok(end(at.name(), Producer { id: 5, epoch: 0 }, true)),
        ),
        case("an old epoch", E::InvalidProducerEpoch, move |at| {
            let producer = at.producer()?;
            at.producer()?;
            Ok(end(at.name(), producer, true))
        })
        .since(2, E::ProducerFenced),
        case("an empty transactional id", E::InvalidRequest, move |_| {
            Ok(end("".into(), Producer { id: 5, epoch: 0 }, true))
        }),
        case("by nobody", E::TransactionalIdAuthorizationFailed, move |at| {
            let producer = at.producer()?;
            Ok(end(at.name(), producer, true))
        })
        .by_nobody(),
    ]
}

fn markers() -> Vec<Case> {
    use ErrorCode as E;
    let write = |producer: Producer, topic: &Topic| WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: topic.name.clone(),
                partition_indexes: vec![0],
            }],
            ..Default::default()
        }],
    };
    vec![
        case("of a transaction", E::None, move |at| {
            let topic = at.topic()?;
            let producer = at.open_transaction(&topic)?;
            Ok(write(producer, &topic))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, move |at| {
            let producer = Producer { id: 5, epoch: 0 };
            Ok(write(producer, &Topic::unknown(at.name())))
        }),
        case("an old epoch", E::InvalidProducerEpoch, move |at| {
            let topic = at.topic()?;
            let (id, epoch) = (ProducerId(900_000), ProducerEpoch(3));
            let batch = data::record().producer(id, epoch, 0).build().freeze();
            at.call(9, &data::write(&topic, 9, batch))?;
            Ok(write(Producer { id: id.0, epoch: 1 }, &topic))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, move |at| {
            let topic = at.topic()?;
            Ok(write(Producer { id: 5, epoch: 0 }, &topic))
        })
        .by_nobody(),
    ]
}

fn describe_producers() -> Vec<Case> {
    use ErrorCode as E;
    let of = |topic: &Topic| DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: topic.name.clone(),
            partition_indexes: vec![0],
        }],
    };
    vec![
        case("of a topic without producers", E::None, move |at| {
            let topic = at.topic()?;
            Ok(of(&topic))
        }),
        case("of a topic with a producer", E::None, move |at| {
            let topic = at.topic()?;
            at.write_idempotent(&topic)?;
            Ok(of(&topic))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, move |at| {
            Ok(of(&Topic::unknown(at.name())))
        }),
        case("an invalid name", E::InvalidTopicException, move |_| {
            Ok(of(&Topic::unknown("not a name!".into())))
        }),
        case("by nobody", E::TopicAuthorizationFailed, move |at| {
            let topic = at.topic()?;
            Ok(of(&topic))
        })
        .by_nobody(),
    ]
}

fn describe_transactions() -> Vec<Case> {
    use ErrorCode as E;
    let of = |id| DescribeTransactionsRequest {
        transactional_ids: vec![id],
    };
    vec![
        case("none yet", E::None, move |at| {
            at.producer()?;
            Ok(of(at.name()))
        }),
        case("an open one", E::None, move |at| {
            let topic = at.topic()?;
            at.open_transaction(&topic)?;
            Ok(of(at.name()))
        }),
        case(
            "an unknown transactional id",
            E::TransactionalIdNotFound,
            move |at| Ok(of(at.name())),
        ),
        case("by nobody", E::TransactionalIdAuthorizationFailed, move |at| {
            Ok(of(at.name()))
        })
        .by_nobody(),
    ]
}

fn list_transactions() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("all", E::None, |at| {
            let topic = at.topic()?;
            at.open_transaction(&topic)?;
            Ok(ListTransactionsRequest::default())
        })
        .own("transaction_states"),
        case("those of a state", E::None, |at| {
            let topic = at.topic()?;
            at.open_transaction(&topic)?;
            Ok(ListTransactionsRequest {
                state_filters: vec!["Ongoing".into()],
                ..Default::default()
            })
        })
        .own("transaction_states"),
        case("those of a state that there is not", E::None, |_| {
            Ok(ListTransactionsRequest {
                state_filters: vec!["made-up".into()],
                ..Default::default()
            })
        })
        .own("transaction_states"),
        case("those that are open for long", E::None, |at| {
            let topic = at.topic()?;
            at.open_transaction(&topic)?;
            Ok(ListTransactionsRequest {
                duration_filter: 3_600_000,
                ..Default::default()
            })
        })
        .versions(1..=i16::MAX)
        .own("transaction_states"),
        case("those that fit a pattern", E::None, |at| {
            let topic = at.topic()?;
            at.open_transaction(&topic)?;
            Ok(ListTransactionsRequest {
                transactional_id_pattern: Some("ListTransactions-.*".into()),
                ..Default::default()
            })
        })
        .versions(2..=i16::MAX)
        .own("transaction_states"),
        case("a pattern that is not valid", E::InvalidRegularExpression, |_| {
            Ok(ListTransactionsRequest {
                transactional_id_pattern: Some("(".into()),
                ..Default::default()
            })
        })
        .versions(2..=i16::MAX),
        case("by nobody", E::None, |at| {
            at.producer()?;
            Ok(ListTransactionsRequest::default())
        })
        .by_nobody()
        .own("transaction_states"),
    ]
}
