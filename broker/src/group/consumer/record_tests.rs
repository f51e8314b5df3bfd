use flotilla_protocol::Uuid;
use proptest::prelude::*;

use super::*;
use crate::group::record::Record as Any;

fn encoded(record: Record) -> (Vec<u8>, Option<Vec<u8>>) {
    let record = Any::Consumer {
        group: "g".into(),
        record,
    };
    let (key, value) = record.encode().expect("short texts");
    assert_eq!(Any::decode(&key, value.as_deref()), Ok(Some(record)));
    (key.to_vec(), value.map(|value| value.to_vec()))
}

const TOPIC: Uuid = Uuid([7; 16]);

#[test]
fn epochs_are_written_as_kafka_writes_them() {
    let (key, value) = encoded(Record::Group(Some(GroupEpoch {
        epoch: 5,
        metadata_hash: 9,
    })));
    assert_eq!(key, [0, 3, 0, 1, b'g']);
    assert_eq!(
        value.as_deref(),
        Some(&[0, 0, 0, 0, 0, 5, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9][..])
    );
    let (_, value) = encoded(Record::Group(Some(GroupEpoch {
        epoch: 5,
        metadata_hash: 0,
    })));
    assert_eq!(value.as_deref(), Some(&[0, 0, 0, 0, 0, 5, 0][..]));
    let (key, value) = encoded(Record::TargetEpoch(Some(TargetEpoch {
        epoch: 5,
        timestamp_ms: 9,
    })));
    assert_eq!(key, [0, 6, 0, 1, b'g']);
    assert_eq!(
        value.as_deref(),
        Some(&[0, 0, 0, 0, 0, 5, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9][..])
    );
}

#[test]
fn a_member_is_written_as_key_5() {
    let subscription = Subscription {
        instance_id: None,
        rack_id: Some("r".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        topics: ["t".into()].into(),
        regex: None,
        rebalance_timeout_ms: 3,
        assignor: Some("u".into()),
        classic: None,
    };
    let (key, value) = encoded(Record::Member {
        member: "m".into(),
        value: Some(subscription.clone()),
    });
    assert_eq!(key, [0, 5, 0, 1, b'g', 0, 1, b'm']);
    let expected = [
        &[0, 0, 0, 2, b'r', 2, b'c', 3, b'/', b'h', 2, 2, b't', 0][..],
        &[0, 0, 0, 3, 2, b'u', 0],
    ]
    .concat();
    assert_eq!(value, Some(expected));
    let (_, value) = encoded(Record::Member {
        member: "m".into(),
        value: Some(Subscription {
            classic: Some(Classic {
                session_timeout_ms: 4,
                protocols: vec![Protocol {
                    name: "p".into(),
                    metadata: Bytes::from_static(&[8]),
                }],
            }),
            ..subscription
        }),
    });
    let tail = [1, 0, 12, 1, 0, 0, 0, 4, 2, 2, b'p', 2, 8, 0, 0];
    let value = value.expect("a value");
    assert_eq!(value[value.len() - 15..], tail, "{value:?}");
}

#[test]
fn targets_and_what_members_hold_are_written_by_topic() {
    let (key, value) = encoded(Record::Target {
        member: "m".into(),
        value: Some([(TOPIC, 1), (TOPIC, 3)].into_iter().collect()),
    });
    assert_eq!(key, [0, 7, 0, 1, b'g', 0, 1, b'm']);
    let expected = [&[0, 0, 2][..], &TOPIC.0, &[3, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0]].concat();
    assert_eq!(value, Some(expected));
    let (key, value) = encoded(Record::Current {
        member: "m".into(),
        value: Some(Current {
            epoch: 6,
            previous_epoch: 5,
            state: MemberState::UnrevokedPartitions,
            assigned: [(TOPIC, 1, 4)].into_iter().collect(),
            revoking: PartitionsByEpoch::default(),
        }),
    });
    assert_eq!(key, [0, 8, 0, 1, b'g', 0, 1, b'm']);
    let expected = [
        &[0, 0, 0, 0, 0, 6, 0, 0, 0, 5, 1, 2][..],
        &TOPIC.0,
        &[2, 0, 0, 0, 1, 1, 0, 5, 2, 0, 0, 0, 4, 1, 0],
    ]
    .concat();
    assert_eq!(value, Some(expected));
}

#[test]
fn partitions_of_before_kafka_4_3_count_from_the_members_epoch() {
    let value = [
        &[0, 0, 0, 0, 0, 6, 0, 0, 0, 5, 0, 2][..],
        &TOPIC.0,
        &[2, 0, 0, 0, 1, 0, 1, 0],
    ]
    .concat();
    let Ok(Some(Any::Consumer { record, .. })) = Any::decode(&[0, 8, 0, 1, b'g', 0, 1, b'm'], Some(&value))
    else {
        panic!("a record");
    };
    let expected = Current {
        epoch: 6,
        previous_epoch: 5,
        assigned: [(TOPIC, 1, 6)].into_iter().collect(),
        ..Current::default()
    };
    assert_eq!(
        record,
        Record::Current {
            member: "m".into(),
            value: Some(expected)
        }
    );
}

#[test]
fn a_regular_expression_is_written_as_key_16() {
    let (key, value) = encoded(Record::Regex {
        regex: "a.*".into(),
        value: Some(Resolved {
            topics: ["ab".into()].into(),
            version: 2,
            timestamp_ms: 3,
        }),
    });
    assert_eq!(key, [0, 16, 0, 1, b'g', 0, 3, b'a', b'.', b'*']);
    let expected = [
        &[0, 0, 2, 3, b'a', b'b'][..],
        &[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0],
    ]
    .concat();
    assert_eq!(value, Some(expected));
}

#[test]
fn tombstones_have_no_value_and_counts_are_not_believed() {
    for record in [
        Record::Group(None),
        Record::TopicMetadata { is_present: false },
        Record::TargetEpoch(None),
        Record::Member {
            member: "m".into(),
            value: None,
        },
        Record::Regex {
            regex: "r".into(),
            value: None,
        },
    ] {
        assert!(record.is_tombstone());
        assert_eq!(encoded(record).1, None);
    }
    let huge = [0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
    assert_eq!(
        Any::decode(&[0, 7, 0, 1, b'g', 0, 1, b'm'], Some(&huge)),
        Err(Malformed::Truncated)
    );
    assert_eq!(
        Any::decode(&[0, 3, 0, 1, b'g'], Some(&[0, 1])),
        Err(Malformed::Version(1))
    );
}

proptest! {
    #[test]
    fn any_value_is_read_without_panic(
        kind in 3_u8..17,
        value in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let value = [&[0, 0][..], &value].concat();
        let _ = Any::decode(&[0, kind, 0, 1, b'g', 0, 1, b'm'], Some(&value));
    }
}
