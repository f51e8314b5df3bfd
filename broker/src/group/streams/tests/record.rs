//! Records as bytes.

use proptest::prelude::*;

use super::*;
use crate::group::consumer::TargetEpoch;
use crate::group::record::Record as Any;
use crate::group::streams::{Assignment, Current, Endpoint, GroupEpoch, Held, MemberState, Record, Told};

fn encoded(record: Record) -> (Vec<u8>, Option<Vec<u8>>) {
    let record = Any::Streams {
        group: text("g"),
        record,
    };
    let (key, value) = record.encode().expect("short texts");
    assert_eq!(Any::decode(&key, value.as_deref()), Ok(Some(record)));
    (key.to_vec(), value.map(|value| value.to_vec()))
}

#[test]
fn epochs_are_written_as_kafka_writes_them() {
    let (key, value) = encoded(Record::Group(Some(GroupEpoch {
        epoch: 5,
        metadata_hash: 9,
        validated_topology_epoch: 2,
        assignment_configs: [(text("k"), text("v"))].into(),
    })));
    assert_eq!(key, [0, 17, 0, 1, b'g']);
    let expected = [
        &[0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9][..],
        &[2, 0, 4, 0, 0, 0, 2, 1, 6, 2, 2, b'k', 2, b'v', 0],
    ]
    .concat();
    assert_eq!(value, Some(expected));
    let (_, value) = encoded(Record::Group(Some(GroupEpoch {
        epoch: 5,
        ..GroupEpoch::default()
    })));
    let expected = [&[0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0][..], &[1, 1, 1, 1]].concat();
    assert_eq!(value, Some(expected));
    // A list that is null.
    let null = [&[0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0][..], &[1, 1, 1, 0]].concat();
    assert_eq!(
        Any::decode(&[0, 17, 0, 1, b'g'], Some(&null)),
        Ok(Some(Any::Streams {
            group: text("g"),
            record: Record::Group(Some(GroupEpoch {
                epoch: 5,
                ..GroupEpoch::default()
            })),
        }))
    );
    let (key, value) = encoded(Record::TargetEpoch(Some(TargetEpoch {
        epoch: 5,
        timestamp_ms: 9,
    })));
    assert_eq!(key, [0, 20, 0, 1, b'g']);
    assert_eq!(
        value.as_deref(),
        Some(&[0, 0, 0, 0, 0, 5, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9][..])
    );
}

#[test]
fn a_member_is_written_as_key_19() {
    let told = Told {
        instance_id: None,
        rack_id: Some(text("r")),
        client_id: text("c"),
        client_host: text("/h"),
        rebalance_timeout_ms: 3,
        topology_epoch: 4,
        process_id: text("p"),
        endpoint: Some(Endpoint {
            host: text("e"),
            port: 0xFFFE,
        }),
        client_tags: [(text("k"), text("v"))].into(),
    };
    let (key, value) = encoded(Record::Member {
        member: text("m"),
        value: Some(told.clone()),
    });
    assert_eq!(key, [0, 19, 0, 1, b'g', 0, 1, b'm']);
    let expected = [
        &[
            0, 0, 0, 2, b'r', 2, b'c', 3, b'/', b'h', 0, 0, 0, 3, 0, 0, 0, 4, 2, b'p',
        ][..],
        &[1, 2, b'e', 0xFF, 0xFE, 0, 2, 2, b'k', 2, b'v', 0, 0],
    ]
    .concat();
    assert_eq!(value, Some(expected));
    encoded(Record::Member {
        member: text("m"),
        value: Some(Told {
            endpoint: None,
            ..told
        }),
    });
}

#[test]
fn tasks_are_written_as_keys_21_and_22() {
    let (key, value) = encoded(Record::Target {
        member: text("m"),
        value: Some(Assignment {
            active: tasks(&[("0", 1), ("0", 2)]),
            standby: tasks(&[("1", 3)]),
            ..Assignment::default()
        }),
    });
    assert_eq!(key, [0, 21, 0, 1, b'g', 0, 1, b'm']);
    let expected = [
        &[0, 0, 2, 2, b'0', 3, 0, 0, 0, 1, 0, 0, 0, 2, 0][..],
        &[2, 2, b'1', 2, 0, 0, 0, 3, 0, 1, 0],
    ]
    .concat();
    assert_eq!(value, Some(expected));
    let (key, value) = encoded(Record::Current {
        member: text("m"),
        value: Some(Current {
            epoch: 5,
            previous_epoch: 4,
            state: MemberState::UnrevokedTasks,
            assigned: Held {
                active: [(text("0"), 1, 3)].into_iter().collect(),
                standby: tasks(&[("1", 3)]),
                ..Held::default()
            },
            revoking: Held::default(),
        }),
    });
    assert_eq!(key, [0, 22, 0, 1, b'g', 0, 1, b'm']);
    let expected = [
        &[0, 0, 0, 0, 0, 5, 0, 0, 0, 4, 2][..],
        &[2, 2, b'0', 2, 0, 0, 0, 1, 1, 0, 5, 2, 0, 0, 0, 3],
        &[2, 2, b'1', 2, 0, 0, 0, 3, 0, 1, 1, 1, 1, 0],
    ]
    .concat();
    assert_eq!(value, Some(expected));
}

#[test]
fn a_topology_is_written_as_key_23() {
    let part = Subtopology {
        repartition_sinks: vec![text("s")],
        repartition_sources: vec![internal("r", 2)],
        copartition_groups: vec![copartitioned(&[0], &[0])],
        ..reading(&["t"])
    };
    let (key, value) = encoded(Record::Topology(Some(topology(vec![("0", part)]))));
    assert_eq!(key, [0, 23, 0, 1, b'g']);
    let expected = [
        &[0, 0, 0, 0, 0, 0, 2, 2, b'0', 2, 2, b't', 1, 1, 2, 2, b's'][..],
        &[2, 2, b'r', 0, 0, 0, 2, 0, 0, 2, 15],
        b"cleanup.policy",
        &[8],
        b"compact",
        &[0, 0, 2, 2, 0, 0, 1, 2, 0, 0, 0, 0, 0],
    ]
    .concat();
    assert_eq!(value, Some(expected));
}

#[test]
fn tombstones_have_no_value() {
    let member = || text("m");
    for record in [
        Record::Group(None),
        Record::Member {
            member: member(),
            value: None,
        },
        Record::TargetEpoch(None),
        Record::Target {
            member: member(),
            value: None,
        },
        Record::Current {
            member: member(),
            value: None,
        },
        Record::Topology(None),
    ] {
        assert_eq!(encoded(record).1, None);
    }
}

proptest! {
    #[test]
    fn any_value_is_read_without_panic(
        kind in 17_u8..24,
        value in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut all = vec![0, 0];
        all.extend(value);
        let _ = Any::decode(&[0, kind, 0, 1, b'g', 0, 1, b'm'], Some(&all));
    }
}
