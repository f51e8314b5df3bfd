use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::Uuid;
use crate::frame::{self, concat};
use crate::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use crate::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::messages::{FetchResponse, JoinGroupRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest};

const PLAIN: Schema = Schema {
    name: "Plain",
    versions: (0, 0),
    flexible_from: i16::MAX,
};
const FLEXIBLE: Schema = Schema {
    name: "Flexible",
    versions: (0, 0),
    flexible_from: 0,
};

fn reader(schema: &Schema, bytes: &[u8]) -> Reader {
    let mut r = Reader::new(Bytes::copy_from_slice(bytes));
    r.begin(schema, 0).expect("version 0 exists");
    r
}

fn written(schema: &Schema, write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut w = Writer::new();
    w.begin(schema, 0).expect("version 0 exists");
    write(&mut w);
    w.into_bytes()
}

#[test]
fn primitive_types_lie_on_the_wire_as_kafka_documents_them() {
    let plain = written(&PLAIN, |w| {
        w.bool(true);
        w.i8(-2);
        w.u16(0xfffe);
        w.str(&Str::from("é")).expect("short");
        w.nullable_str(None).expect("null");
        w.nullable_bytes(None).expect("null");
        w.array(&[1_i16, -1], 0).expect("short");
        w.nullable_array::<i32>(None, 0).expect("null");
        w.no_tags();
    });
    assert_eq!(
        &plain[..],
        [
            &[1, 0xfe, 0xff, 0xfe][..],
            &[0, 2, 0xc3, 0xa9],
            &[0xff, 0xff],
            &[0xff; 4],
            &[0, 0, 0, 2, 0, 1, 0xff, 0xff],
            &[0xff; 4],
        ]
        .concat()
    );
    let flexible = written(&FLEXIBLE, |w| {
        w.str(&Str::from("é")).expect("short");
        w.nullable_str(None).expect("null");
        w.bytes(&Bytes::from(vec![7; 127])).expect("short");
        w.array(&[1_i16, -1], 0).expect("short");
        w.nullable_struct::<i32>(None, 0).expect("null");
        w.nullable_struct(Some(&5_i32), 0).expect("a number");
        w.no_tags();
    });
    let parts: [&[u8]; 7] = [
        &[3, 0xc3, 0xa9],
        &[0],
        &[&[0x80, 1][..], &[7; 127]].concat(),
        &[3, 0, 1, 0xff, 0xff],
        &[0xff],
        &[1, 0, 0, 0, 5],
        &[0],
    ];
    assert_eq!(&flexible[..], parts.concat());
}

#[test]
fn variable_length_number_of_more_than_32_bits_is_refused() {
    assert_eq!(
        reader(&FLEXIBLE, &[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint(),
        Ok(u32::MAX)
    );
    for bytes in [[0xff, 0xff, 0xff, 0xff, 0x1f], [0x80, 0x80, 0x80, 0x80, 0x80]] {
        let error = Err(DecodeError::Varint {
            message: "Flexible",
            at: 0,
        });
        assert_eq!(reader(&FLEXIBLE, &bytes).uvarint(), error);
    }
}

#[test]
fn string_that_is_not_utf8_is_refused() {
    let error = reader(&PLAIN, &[0, 2, b'a', 0xff]).str();
    assert_eq!(
        error,
        Err(DecodeError::Utf8 {
            message: "Plain",
            at: 2
        })
    );
}

/// Kafka takes no longer ones in flexible versions either.
#[test]
fn string_of_more_than_32767_bytes_is_neither_written_nor_read() {
    let text = Str::from("x".repeat(32_768));
    for schema in [&PLAIN, &FLEXIBLE] {
        let mut w = Writer::new();
        w.begin(schema, 0).expect("version 0 exists");
        let error = EncodeError::TooLong {
            message: schema.name,
            length: 32_768,
            limit: 32_767,
        };
        assert_eq!(w.str(&text), Err(error));
    }
    let mut bytes = vec![0x81, 0x80, 0x02];
    bytes.extend_from_slice(text.as_bytes());
    let error = DecodeError::Length {
        message: "Flexible",
        at: 0,
        length: 32_768,
        left: 32_768,
    };
    assert_eq!(reader(&FLEXIBLE, &bytes).str(), Err(error));
}

/// A few bytes that claim gigabytes: KAFKA-14063.
#[test]
fn lengths_beyond_the_frame_are_refused() {
    let refused = |schema: &Schema, length, left| DecodeError::Length {
        message: schema.name,
        at: 0,
        length,
        left,
    };
    let claims = [0x7f, 0xff, 0xff, 0xff, 1, 2, 3];
    let most = i32::MAX as usize;
    assert_eq!(reader(&PLAIN, &claims).bytes(), Err(refused(&PLAIN, most, 3)));
    assert_eq!(
        reader(&PLAIN, &claims).array::<i64>(0),
        Err(refused(&PLAIN, most, 3))
    );
    let claims = [0xff, 0xff, 0xff, 0xff, 0x07, 1, 2];
    let most = most - 1;
    assert_eq!(
        reader(&FLEXIBLE, &claims).bytes(),
        Err(refused(&FLEXIBLE, most, 2))
    );
    assert_eq!(
        reader(&FLEXIBLE, &claims).array::<i64>(0),
        Err(refused(&FLEXIBLE, most, 2))
    );
    // Two elements of eight bytes, and room for one and a half.
    let claims = [&[0, 0, 0, 2][..], &[0; 12]].concat();
    assert_eq!(
        reader(&PLAIN, &claims).array::<i64>(0),
        Err(refused(&PLAIN, 2, 12))
    );
}

#[test]
fn strings_and_payloads_are_slices_of_the_frame() {
    let frame = Bytes::from(vec![0, 3, b'a', b'b', b'c', 0, 0, 0, 2, 1, 2]);
    let mut r = Reader::new(frame.clone());
    let text = r.str().expect("valid");
    assert_eq!(text.as_bytes().as_ptr(), frame[2..].as_ptr());
    let records = r.records().expect("valid").into_bytes();
    assert_eq!(records.as_ptr(), frame[9..].as_ptr());
    assert_ne!(text.detached().as_bytes().as_ptr(), text.as_bytes().as_ptr());
}

#[test]
fn tagged_fields_that_are_not_known_are_passed_over_and_bounded() {
    let mut r = reader(&FLEXIBLE, &[2, 9, 3, 1, 2, 3, 10, 0, 42]);
    assert_eq!(r.skip_tags(), Ok(()));
    assert_eq!(r.i8(), Ok(42));
    let error = reader(&FLEXIBLE, &[1, 9, 4, 1, 2, 3]).skip_tags();
    assert_eq!(
        error,
        Err(DecodeError::Length {
            message: "Flexible",
            at: 2,
            length: 4,
            left: 3
        })
    );
    let error = reader(&FLEXIBLE, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]).skip_tags();
    assert_eq!(
        error,
        Err(DecodeError::Truncated {
            message: "Flexible",
            at: 7,
            needed: 1,
            left: 0
        })
    );
}

#[test]
fn tagged_field_of_another_size_than_announced_is_refused() {
    // Version 16: four fields, then a tag 0 (node endpoints, here an empty array) that claims two bytes.
    let bytes = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 2, 1, 0];
    let error = FetchResponse::decode(&mut Reader::new(Bytes::copy_from_slice(&bytes)), 16);
    let expected = DecodeError::TagSize {
        message: "FetchResponse",
        at: 14,
        announced: 2,
        read: 1,
    };
    assert_eq!(error, Err(expected));
}

#[test]
fn large_payloads_are_written_by_reference() {
    let payload = Bytes::from(vec![7; SHARED_BYTES_MIN]);
    let chunks = vec![payload.clone(), Bytes::from_static(b"small"), payload.clone()];
    let partition = PartitionData {
        records: Some(Records::from(chunks)),
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        partitions: vec![partition],
        ..FetchableTopicResponse::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..FetchResponse::default()
    };
    let mut w = Writer::new();
    response.encode(&mut w, 12).expect("valid");
    let length = w.len();
    let segments = w.finish();
    assert_eq!(segments.iter().map(Segment::len).sum::<usize>(), length);
    let bytes: Vec<&Bytes> = segments
        .iter()
        .map(|segment| match segment {
            Segment::Memory(bytes) => bytes,
            Segment::File(region) => panic!("{region:?} comes from nowhere"),
        })
        .collect();
    assert_eq!(bytes.len(), 5);
    assert_eq!(bytes[1].as_ptr(), payload.as_ptr());
    assert_eq!(&bytes[2][..], b"small");
    assert_eq!(bytes[3].as_ptr(), payload.as_ptr());
    let mut r = Reader::new(concat(&segments).expect("in memory").into());
    assert_eq!(FetchResponse::decode(&mut r, 12), Ok(response));
}

#[test]
fn records_in_a_file_are_written_as_the_region_in_which_they_lie_and_only_into_responses() {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(b"before, the records, after").expect("written");
    let region = Region {
        file: Arc::new(file),
        position: 8,
        length: 11,
    };
    let records = Records::from(region.clone());
    assert_eq!(
        (records.len(), records.is_empty(), records.chunks().len()),
        (11, false, 0)
    );
    assert_eq!(records, Records::from(region.clone()));
    assert_ne!(records, Records::from(Bytes::from_static(b"the records")));
    let response = FetchResponse {
        responses: vec![FetchableTopicResponse {
            partitions: vec![PartitionData {
                records: Some(records.clone()),
                ..PartitionData::default()
            }],
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    };
    let segments = frame::response(ApiKey::Fetch, 12, 1, &response).expect("valid");
    assert!(segments.contains(&Segment::File(region.clone())));
    let whole = concat(&segments).expect("readable");
    assert_eq!(
        whole.len() - 4,
        u32::from_be_bytes([whole[0], whole[1], whole[2], whole[3]]) as usize
    );
    let (_, mut body) =
        frame::decode_response(Bytes::from(whole).slice(4..), ApiKey::Fetch, 12).expect("a header");
    let read = FetchResponse::decode(&mut body, 12).expect("a response");
    assert_eq!(
        read.responses[0].partitions[0].records,
        Some(Records::from(Bytes::from_static(b"the records")))
    );

    let mut cut = Segment::File(Region {
        length: 100,
        ..region
    });
    cut.advance(4);
    assert_eq!(cut.len(), 96);
    assert!(concat(&[cut]).is_err(), "the file is shorter than that");
    let request = ProduceRequest {
        topic_data: vec![TopicProduceData {
            partition_data: vec![PartitionProduceData {
                records: Some(records),
                ..PartitionProduceData::default()
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    assert_eq!(
        frame::request(9, 1, None, &request).map_err(|error| error.to_string()),
        Err("ProduceRequest cannot carry records that lie in a file".to_owned())
    );
}

#[test]
fn field_that_the_version_cannot_carry_is_refused_unless_it_may_be_ignored() {
    let refused = |message: &dyn Fn(&mut Writer) -> Result<(), EncodeError>| {
        message(&mut Writer::new()).map_err(|error| error.to_string())
    };
    let join = JoinGroupRequest {
        group_instance_id: Some(Str::from("a")),
        ..JoinGroupRequest::default()
    };
    assert_eq!(
        refused(&|w| join.encode(w, 4)),
        Err("JoinGroupRequest.group_instance_id is set, but version 4 does not carry it".to_owned())
    );
    assert_eq!(refused(&|w| join.encode(w, 5)), Ok(()));
    // A reason may be left out (KIP-800).
    let join = JoinGroupRequest {
        reason: Some(Str::from("a")),
        ..JoinGroupRequest::default()
    };
    assert_eq!(refused(&|w| join.encode(w, 0)), Ok(()));
}

#[test]
fn null_is_refused_in_versions_that_do_not_know_it() {
    let all_topics = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let encode = |version| all_topics.encode(&mut Writer::new(), version);
    assert_eq!(
        encode(0),
        Err(EncodeError::Null {
            field: "MetadataRequest.topics",
            version: 0
        })
    );
    assert_eq!(encode(1), Ok(()));
}

#[test]
fn version_that_does_not_exist_is_not_written() {
    let error = ListOffsetsRequest::default().encode(&mut Writer::new(), 99);
    assert_eq!(
        error,
        Err(EncodeError::Version {
            message: "ListOffsetsRequest",
            version: 99
        })
    );
}

#[test]
fn records_are_equal_however_they_are_cut() {
    let whole = Records::from(Bytes::from_static(b"abc"));
    let cut = Records::from(vec![
        Bytes::from_static(b"a"),
        Bytes::new(),
        Bytes::from_static(b"bc"),
    ]);
    assert_eq!(whole, cut);
    assert_eq!((cut.len(), cut.chunks().len()), (3, 3));
    assert_ne!(whole, Records::from(Bytes::from_static(b"abd")));
    assert!(Records::from(Vec::new()).is_empty());
    assert_eq!(cut.into_bytes(), Bytes::from_static(b"abc"));
}

proptest! {
    #[test]
    fn strings_compare_hash_and_print_as_str(a in ".{0,4}", b in ".{0,4}") {
        let (x, y) = (Str::copy_from(&a), Str::copy_from(&b));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x == y, a == b);
        prop_assert_eq!(x.to_string(), a.clone());
        prop_assert_eq!(format!("{x:?}"), format!("{a:?}"));
        let map = HashMap::from([(x.clone(), 1)]);
        prop_assert_eq!(map.get(a.as_str()), Some(&1));
        let map = BTreeMap::from([(x, 1)]);
        prop_assert_eq!(map.get(a.as_str()), Some(&1));
    }

    #[test]
    fn primitive_types_read_back(
        flexible: bool,
        number: u32,
        text in proptest::option::of(".{0,40}"),
        bytes in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..2000)),
        array in proptest::option::of(proptest::collection::vec(any::<i64>(), 0..200)),
        uuid: [u8; 16],
    ) {
        let schema = if flexible { &FLEXIBLE } else { &PLAIN };
        let text = text.map(Str::from);
        let bytes = bytes.map(Bytes::from);
        let whole = written(schema, |w| {
            w.uvarint(number);
            w.nullable_str(text.as_ref()).expect("short");
            w.nullable_bytes(bytes.as_ref()).expect("short");
            w.nullable_array(array.as_deref(), 0).expect("short");
            w.uuid(Uuid(uuid));
        });
        let mut r = reader(schema, &whole);
        prop_assert_eq!(r.uvarint(), Ok(number));
        prop_assert_eq!(r.nullable_str(), Ok(text));
        prop_assert_eq!(r.nullable_bytes(), Ok(bytes));
        prop_assert_eq!(r.nullable_array(0), Ok(array));
        prop_assert_eq!(r.uuid(), Ok(Uuid(uuid)));
        prop_assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn random_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), version in -1..20_i16) {
        let mut r = Reader::new(bytes.into());
        let _ = FetchResponse::decode(&mut r, version);
    }
}
