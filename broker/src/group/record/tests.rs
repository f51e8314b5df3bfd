//! Records are written as Kafka writes them, and read as anybody may write them.

use super::*;
use proptest::prelude::*;

fn text(text: &str) -> Text {
    text.into()
}

fn commit() -> OffsetCommit {
    OffsetCommit {
        offset: 42,
        leader_epoch: 7,
        metadata: text("m"),
        commit_timestamp_ms: 0x0102,
        expire_timestamp_ms: None,
        topic_id: Uuid([0xAB; 16]),
    }
}

fn offset_record(value: Option<OffsetCommit>) -> Record {
    Record::OffsetCommit {
        group: text("g"),
        topic: text("to"),
        partition: 5,
        value,
    }
}

const OFFSET_KEY: &[u8] = &[0, 1, 0, 1, b'g', 0, 2, b't', b'o', 0, 0, 0, 5];

#[test]
fn an_offset_is_written_as_key_1_and_value_4() {
    let mut value = vec![0, 4, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 7, 2, b'm'];
    value.extend([0, 0, 0, 0, 0, 0, 1, 2]);
    value.extend([1, 0, 16]);
    value.extend([0xAB; 16]);
    let record = offset_record(Some(commit()));
    let (key, written) = record.encode().expect("short texts");
    assert_eq!((&key[..], written.as_deref()), (OFFSET_KEY, Some(&value[..])));
    assert_eq!(Record::decode(&key, written.as_deref()), Ok(Some(record)));
}

#[test]
fn a_topic_id_that_is_not_known_leaves_the_tags_empty() {
    let record = offset_record(Some(OffsetCommit {
        topic_id: Uuid::ZERO,
        ..commit()
    }));
    let (_, written) = record.encode().expect("short texts");
    assert_eq!(written.expect("a value").last(), Some(&0));
}

#[test]
fn an_offset_with_its_own_expiry_is_written_as_value_1() {
    let record = offset_record(Some(OffsetCommit {
        leader_epoch: -1,
        expire_timestamp_ms: Some(9),
        topic_id: Uuid::ZERO,
        ..commit()
    }));
    let value = [
        &[0, 1, 0, 0, 0, 0, 0, 0, 0, 42, 0, 1, b'm'][..],
        &[0, 0, 0, 0, 0, 0, 1, 2],
        &[0, 0, 0, 0, 0, 0, 0, 9],
    ]
    .concat();
    let (key, written) = record.encode().expect("short texts");
    assert_eq!(written.as_deref(), Some(&value[..]));
    assert_eq!(Record::decode(&key, written.as_deref()), Ok(Some(record)));
}

#[test]
fn offsets_of_older_brokers_are_read() {
    let plain = OffsetCommit {
        leader_epoch: -1,
        topic_id: Uuid::ZERO,
        ..commit()
    };
    let head = [0, 0, 0, 0, 0, 0, 0, 42];
    let tail = [0, 1, b'm', 0, 0, 0, 0, 0, 0, 1, 2];
    for (version, epoch, expected) in [
        (0, &[][..], plain.clone()),
        (2, &[], plain.clone()),
        (
            3,
            &[0, 0, 0, 7],
            OffsetCommit {
                leader_epoch: 7,
                ..plain
            },
        ),
    ] {
        let value = [&[0, version][..], &head, epoch, &tail].concat();
        assert_eq!(
            Record::decode(OFFSET_KEY, Some(&value)),
            Ok(Some(offset_record(Some(expected)))),
            "version {version}"
        );
    }
    let mut legacy_key = OFFSET_KEY.to_vec();
    legacy_key[1] = 0;
    assert_eq!(Record::decode(&legacy_key, None), Ok(Some(offset_record(None))));
}

fn group_record() -> Record {
    Record::GroupMetadata {
        group: text("g"),
        value: Some(GroupMetadata {
            protocol_type: text("c"),
            generation: 3,
            protocol: Some(text("r")),
            leader: None,
            state_timestamp_ms: 5,
            members: vec![MemberMetadata {
                member_id: text("m"),
                instance_id: None,
                client_id: text("i"),
                client_host: text("/h"),
                rebalance_timeout_ms: 6,
                session_timeout_ms: 7,
                subscription: Bytes::from_static(&[8]),
                assignment: Bytes::from_static(&[9, 10]),
            }],
        }),
    }
}

#[test]
fn a_group_is_written_as_key_2_and_value_3() {
    let value = [
        &[0, 3, 0, 1, b'c', 0, 0, 0, 3, 0, 1, b'r', 0xFF, 0xFF][..],
        &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1],
        &[0, 1, b'm', 0xFF, 0xFF, 0, 1, b'i', 0, 2, b'/', b'h'],
        &[0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 1, 8, 0, 0, 0, 2, 9, 10],
    ]
    .concat();
    let (key, written) = group_record().encode().expect("short texts");
    assert_eq!(
        (&key[..], written.as_deref()),
        (&[0, 2, 0, 1, b'g'][..], Some(&value[..]))
    );
    assert_eq!(Record::decode(&key, written.as_deref()), Ok(Some(group_record())));
}

#[test]
fn a_flexible_group_is_read_and_its_unknown_tags_skipped() {
    let value = [
        &[0, 4, 2, b'c', 0, 0, 0, 3, 2, b'r', 0][..],
        &[0, 0, 0, 0, 0, 0, 0, 5, 2],
        &[
            2, b'm', 0, 2, b'i', 3, b'/', b'h', 0, 0, 0, 6, 0, 0, 0, 7, 2, 8, 3, 9, 10, 0,
        ],
        &[1, 3, 2, 1, 1],
    ]
    .concat();
    assert_eq!(
        Record::decode(&[0, 2, 0, 1, b'g'], Some(&value)),
        Ok(Some(group_record()))
    );
}

#[test]
fn a_group_of_version_0_has_neither_timestamp_nor_rebalance_timeout() {
    let value = [
        &[0, 0, 0, 1, b'c', 0, 0, 0, 3, 0, 1, b'r', 0xFF, 0xFF, 0, 0, 0, 1][..],
        &[
            0, 1, b'm', 0, 1, b'i', 0, 2, b'/', b'h', 0, 0, 0, 7, 0, 0, 0, 1, 8, 0, 0, 0, 2, 9, 10,
        ],
    ]
    .concat();
    let Ok(Some(Record::GroupMetadata {
        value: Some(read), ..
    })) = Record::decode(&[0, 2, 0, 1, b'g'], Some(&value))
    else {
        panic!("a group");
    };
    assert_eq!(read.state_timestamp_ms, -1);
    assert_eq!(read.members[0].rebalance_timeout_ms, -1);
}

#[test]
fn former_kind_of_streams_groups_is_none() {
    assert_eq!(Record::decode(&[0, 18, 0, 1, b'g'], None), Ok(None));
}

#[test]
fn a_count_of_two_thousand_million_members_is_refused() {
    let value = [
        &[0, 3, 0, 1, b'c', 0, 0, 0, 3, 0, 1, b'r', 0xFF, 0xFF][..],
        &[0, 0, 0, 0, 0, 0, 0, 5, 0x77, 0, 0, 0],
    ]
    .concat();
    assert_eq!(
        Record::decode(&[0, 2, 0, 1, b'g'], Some(&value)),
        Err(Malformed::Truncated)
    );
}

#[test]
fn versions_not_known_and_texts_too_long_are_refused() {
    assert_eq!(
        Record::decode(OFFSET_KEY, Some(&[0, 5])),
        Err(Malformed::Version(5))
    );
    let record = Record::GroupMetadata {
        group: "x".repeat(40_000).into(),
        value: None,
    };
    assert_eq!(record.encode(), Err(TooLong(40_000)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(
        key in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
        kind in 0_u8..25,
        version in 0_u8..6,
    ) {
        let mut key = key;
        if key.len() >= 2 { key[0] = 0; key[1] = kind; }
        let mut value = value;
        if let Some(value) = value.as_mut().filter(|value| value.len() >= 2) { value[0] = 0; value[1] = version; }
        let _ = Record::decode(&key, value.as_deref());
    }
}
