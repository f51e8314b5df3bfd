use proptest::prelude::*;

use super::*;
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<OwnedHeader>,
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max)
}

fn record() -> impl Strategy<Value = Owned> {
    let header = (bytes(4), proptest::option::of(bytes(6)));
    let headers = proptest::collection::vec(header, 0..3);
    (
        0..2_000_000_000_000_i64,
        proptest::option::of(bytes(12)),
        proptest::option::of(bytes(200)),
        headers,
    )
        .prop_map(|(timestamp_ms, key, value, headers)| Owned {
            timestamp_ms,
            key,
            value,
            headers,
        })
}

fn codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(Compression::ALL.to_vec())
}

fn built(builder: BatchBuilder, records: &[Owned]) -> Vec<u8> {
    let mut builder = builder;
    for record in records {
        let headers: Vec<Header<'_>> = record
            .headers
            .iter()
            .map(|(k, v)| (k.as_slice(), v.as_deref()))
            .collect();
        builder.push(
            record.timestamp_ms,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    builder.build().to_vec()
}

fn read_back(batch: &[u8]) -> Result<Vec<Owned>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let payload = decompress(&header, &batch[HEADER_BYTES..], 1 << 20)?;
    Records::new(&header, &payload)
        .map(|record| {
            let record = record?;
            Ok(Owned {
                timestamp_ms: record.timestamp_ms,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record
                    .headers()
                    .map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec)))
                    .collect(),
            })
        })
        .collect()
}

fn simple(count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset(0));
    for index in 0..count {
        builder.push(1_000 + index as i64, Some(b"key"), Some(b"value"), &[]);
    }
    builder.build().to_vec()
}

/// Computes the CRC anew, so that what is tested is the check behind it.
fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_was_built_is_checked_and_read_back(
        records in proptest::collection::vec(record(), 1..12), codec in codec(), sequence in 0..i32::MAX,
    ) {
        let builder = BatchBuilder::new(Offset(0))
            .compression(codec)
            .producer(ProducerId(7), ProducerEpoch(3), sequence);
        let batch = built(builder, &records);
        let header = check(&batch, Origin::Producer).unwrap();
        prop_assert_eq!(header.compression(), Ok(codec));
        prop_assert_eq!(header.records_count as usize, records.len());
        prop_assert_eq!(header.max_timestamp_ms, records.iter().map(|r| r.timestamp_ms).max().unwrap());
        prop_assert_eq!(read_back(&batch).unwrap(), records);
    }

    #[test]
    fn any_flipped_bit_from_the_crc_on_is_found(
        records in proptest::collection::vec(record(), 1..4), codec in codec(), at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let mut batch = built(BatchBuilder::new(Offset(0)).compression(codec), &records);
        let at = 17 + at.index(batch.len() - 17);
        batch[at] ^= 1_u8 << bit;
        let found = matches!(check(&batch, Origin::Log), Err(BatchError::Crc { .. }));
        prop_assert!(found);
    }

    #[test]
    fn a_truncated_batch_is_refused(records in proptest::collection::vec(record(), 1..4), at in any::<prop::sample::Index>()) {
        let batch = built(BatchBuilder::new(Offset(0)), &records);
        let cut = &batch[..at.index(batch.len())];
        let truncated = matches!(check(cut, Origin::Producer), Err(BatchError::Truncated { .. }));
        prop_assert!(truncated);
        if !cut.is_empty() {
            prop_assert_eq!(parse_batches(cut).count(), 1);
            let truncated = matches!(parse_batches(cut).next(), Some(Err(BatchError::Truncated { .. })));
            prop_assert!(truncated);
        }
    }

    #[test]
    fn garbage_is_never_a_panic(garbage in bytes(300), codec in 0..8_u8, count in any::<i32>(), delta in any::<i32>()) {
        let _ = check(&garbage, Origin::Producer);
        let _ = parse_batches(&garbage).count();
        let mut batch = simple(1);
        batch.truncate(HEADER_BYTES);
        batch.extend_from_slice(&garbage);
        let length = (batch.len() - LENGTH_END) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[22] = codec;
        batch[23..27].copy_from_slice(&delta.to_be_bytes());
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        let batch = sealed(batch);
        let _ = check(&batch, Origin::Producer);
        let _ = check(&batch, Origin::Log);
        let _ = read_back(&batch);
    }

    #[test]
    fn a_payload_broken_after_compression_is_never_a_panic(
        records in proptest::collection::vec(record(), 1..6), codec in codec(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut batch = built(BatchBuilder::new(Offset(0)).compression(codec), &records);
        let at = HEADER_BYTES + at.index(batch.len() - HEADER_BYTES);
        batch[at] = byte;
        let _ = read_back(&batch);
        batch.truncate(at);
        let _ = read_back(&batch);
    }
}

#[test]
fn header_has_kafkas_layout() {
    let mut builder = BatchBuilder::new(Offset(0x0102))
        .leader_epoch(LeaderEpoch(9))
        .producer(ProducerId(5), ProducerEpoch(6), 7)
        .transactional();
    builder.push(1_000, None, Some(b"v"), &[]);
    builder.push(999, Some(b"k"), None, &[(b"h", Some(b"1")), (b"h", None)]);
    let batch = builder.build();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(
        header,
        BatchHeader {
            base_offset: Offset(0x0102),
            batch_length: batch.len() as i32 - 12,
            partition_leader_epoch: LeaderEpoch(9),
            magic: 2,
            crc: crc32c::crc32c(&batch[21..]),
            attributes: 0x10,
            last_offset_delta: 1,
            base_timestamp_ms: 1_000,
            max_timestamp_ms: 1_000,
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(6),
            base_sequence: 7,
            records_count: 2,
        }
    );
    // Each record: length, attributes, timestamp delta, offset delta, key, value, headers.
    let records: &[u8] = &[
        14, 0, 0, 0, 1, 2, b'v', 0, //
        28, 0, 1, 2, 2, b'k', 1, 4, 2, b'h', 2, b'1', 2, b'h', 1,
    ];
    assert_eq!(&batch[61..], records);
    assert_eq!(header.next_offset(), Offset(0x0104));
    assert_eq!(header.last_sequence(), 8);
}

#[test]
fn sequence_wraps_to_zero_after_the_largest() {
    let mut builder = BatchBuilder::new(Offset(0)).producer(ProducerId(5), ProducerEpoch(0), i32::MAX);
    builder.push(0, None, None, &[]);
    assert_eq!(
        BatchHeader::parse(&builder.clone().build())
            .unwrap()
            .last_sequence(),
        i32::MAX
    );
    builder.push(0, None, None, &[]);
    assert_eq!(BatchHeader::parse(&builder.build()).unwrap().last_sequence(), 0);
}

#[test]
fn old_formats_are_told_apart_from_garbage() {
    let mut batch = simple(1);
    batch[16] = 1;
    assert_eq!(check(&batch, Origin::Producer), Err(BatchError::OldMagic(1)));
    assert_eq!(
        check(&batch[..30], Origin::Producer),
        Err(BatchError::OldMagic(1))
    );
    assert_eq!(
        parse_batches(&batch).next().unwrap().unwrap_err(),
        BatchError::OldMagic(1)
    );
    batch[16] = 3;
    assert_eq!(check(&batch, Origin::Producer), Err(BatchError::UnknownMagic(3)));
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    for length in [i32::MIN, -1, 0, 48] {
        let mut batch = simple(1);
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(check(&batch, Origin::Log), Err(BatchError::Length(length)));
    }
    let mut batch = simple(1);
    batch[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let available = batch.len();
    let needed = i32::MAX as u64 + 12;
    assert_eq!(
        check(&batch, Origin::Log),
        Err(BatchError::Truncated { needed, available })
    );
}

#[test]
fn a_second_batch_is_not_one_batch() {
    let one = simple(1);
    let two = [one.clone(), one.clone()].concat();
    assert_eq!(
        check(&two, Origin::Producer),
        Err(BatchError::TrailingBytes(one.len()))
    );
    let positions: Vec<usize> = parse_batches(&two).map(|batch| batch.unwrap().0).collect();
    assert_eq!(positions, [0, one.len()]);
}

#[test]
fn counts_that_contradict_are_refused_from_producers() {
    for (count, delta) in [(0, 0), (-1, -2), (2, 2), (2, 0), (i32::MIN, i32::MAX)] {
        let mut batch = simple(2);
        batch[23..27].copy_from_slice(&delta.to_be_bytes());
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        let refused = Err(BatchError::Count {
            records_count: count,
            last_offset_delta: delta,
        });
        assert_eq!(check(&sealed(batch), Origin::Producer), refused);
    }
}

#[test]
fn gaps_are_fine_in_a_log_but_more_records_than_offsets_are_not() {
    for (count, delta, fine) in [
        (0, 5, true),
        (2, 5, true),
        (6, 5, true),
        (7, 5, false),
        (-1, 5, false),
        (0, -1, false),
    ] {
        let mut batch = simple(2);
        batch[23..27].copy_from_slice(&i32::to_be_bytes(delta));
        batch[57..61].copy_from_slice(&i32::to_be_bytes(count));
        assert_eq!(
            check(&sealed(batch), Origin::Log).is_ok(),
            fine,
            "{count} records to delta {delta}"
        );
    }
}

#[test]
fn offsets_that_overflow_are_refused() {
    let mut batch = simple(2);
    set_base_offset(&mut batch, Offset(i64::MAX - 1));
    assert!(matches!(
        check(&batch, Origin::Log),
        Err(BatchError::Count { .. })
    ));
    set_base_offset(&mut batch, Offset(-3));
    assert!(matches!(
        check(&batch, Origin::Log),
        Err(BatchError::Count { .. })
    ));
}

#[test]
fn producers_may_not_set_what_brokers_set() {
    let with_attributes = |bits: u8| {
        let mut batch = simple(1);
        batch[22] |= bits;
        check(&sealed(batch), Origin::Producer)
    };
    assert_eq!(with_attributes(5), Err(BatchError::UnknownCompression(5)));
    assert_eq!(with_attributes(1 << 3), Err(BatchError::TimestampTypeFromClient));
    assert_eq!(with_attributes(1 << 5), Err(BatchError::ControlFromClient));
    assert_eq!(with_attributes(1 << 6), Err(BatchError::DeleteHorizonFromClient));
    let not_together = |id, epoch, sequence| {
        Err(BatchError::Producer {
            producer_id: id,
            producer_epoch: epoch,
            base_sequence: sequence,
        })
    };
    assert_eq!(with_attributes(1 << 4), not_together(-1, -1, -1));
    let with_producer = |id, epoch, sequence| {
        let builder = BatchBuilder::new(Offset(0)).producer(ProducerId(id), ProducerEpoch(epoch), sequence);
        let record = Owned {
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: vec![],
        };
        check(&built(builder, &[record]), Origin::Producer).map(drop)
    };
    assert_eq!(with_producer(1, 0, 0), Ok(()));
    assert_eq!(with_producer(1, -1, 0), not_together(1, -1, 0).map(drop));
    assert_eq!(with_producer(1, 0, -1), not_together(1, 0, -1).map(drop));
    let mut batch = simple(1);
    set_base_offset(&mut batch, Offset(4));
    assert_eq!(check(&batch, Origin::Producer), Err(BatchError::BaseOffset(4)));
}

#[test]
fn timestamps_outside_of_the_window_are_refused() {
    let header = BatchHeader::parse(&simple(2)).unwrap();
    assert_eq!(check_timestamps(&header, 1_000, i64::MAX, 1), Ok(()));
    let refused = |timestamp_ms, earliest_ms, latest_ms| {
        Err(BatchError::Timestamp {
            timestamp_ms,
            earliest_ms,
            latest_ms,
        })
    };
    assert_eq!(
        check_timestamps(&header, 1_000, 10, 0),
        refused(1_001, 990, 1_000)
    );
    assert_eq!(
        check_timestamps(&header, 2_000, 10, i64::MAX),
        refused(1_000, 1_990, i64::MAX)
    );
    let mut none = BatchBuilder::new(Offset(0));
    none.push(NO_TIMESTAMP, None, None, &[]);
    let header = BatchHeader::parse(&none.build()).unwrap();
    assert_eq!(check_timestamps(&header, 1_000_000, 10, 10), Ok(()));
}

#[test]
fn patches_keep_the_batch_valid() {
    let mut batch = simple(2);
    set_base_offset(&mut batch, Offset(41));
    set_leader_epoch(&mut batch, LeaderEpoch(3));
    let header = check(&batch, Origin::Log).unwrap();
    assert_eq!(
        (
            header.base_offset,
            header.last_offset(),
            header.partition_leader_epoch
        ),
        (Offset(41), Offset(42), LeaderEpoch(3))
    );
    set_log_append_time(&mut batch, 77);
    let header = check(&batch, Origin::Log).unwrap();
    assert_eq!(
        (header.timestamp_type(), header.max_timestamp_ms),
        (TimestampType::LogAppendTime, 77)
    );
    let times: Vec<i64> = read_back(&batch)
        .unwrap()
        .iter()
        .map(|record| record.timestamp_ms)
        .collect();
    assert_eq!(times, [77, 77]);
}

#[test]
fn payload_that_grows_beyond_the_limit_is_refused() {
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(Offset(0)).compression(codec);
        builder.push(0, None, Some(&[0; 100_000]), &[]);
        let batch = builder.build();
        let header = check(&batch, Origin::Producer).unwrap();
        let payload = &batch[HEADER_BYTES..];
        let size = decompress(&header, payload, DECOMPRESSED_BYTES_MAX)
            .unwrap()
            .len();
        assert!(decompress(&header, payload, size).is_ok(), "{codec}");
        assert_eq!(
            decompress(&header, payload, size - 1),
            Err(BatchError::DecompressedTooLarge(size - 1)),
            "{codec}"
        );
    }
}

#[test]
fn snappy_is_understood_raw_and_framed() {
    let header = BatchHeader {
        attributes: 2,
        ..BatchHeader::parse(&simple(1)).unwrap()
    };
    let data: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let raw = snap::raw::Encoder::new().compress_vec(&data).unwrap();
    let framed = compress(Compression::Snappy, &data).unwrap();
    assert_eq!(&framed[..16], b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    for payload in [raw, framed] {
        assert_eq!(*decompress(&header, &payload, 1 << 20).unwrap(), data);
    }
}

#[test]
fn snappy_that_claims_gigabytes_allocates_nothing() {
    let header = BatchHeader {
        attributes: 2,
        ..BatchHeader::parse(&simple(1)).unwrap()
    };
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(matches!(
        decompress(&header, &claim, usize::MAX),
        Err(BatchError::Compression(Compression::Snappy, _))
    ));
}

#[test]
fn broken_records_say_which_and_why() {
    let batch_of = |records: &[u8], count: i32| {
        let mut batch = simple(1);
        batch.truncate(HEADER_BYTES);
        batch.extend_from_slice(records);
        batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        let length = (batch.len() - LENGTH_END) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        read_back(&batch).unwrap_err()
    };
    let broken = |index, reason| BatchError::Record { index, reason };
    let good = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(
        batch_of(&[&good[..], &[1]].concat(), 1),
        broken(1, "bytes follow the last record")
    );
    assert_eq!(batch_of(&good, 2), broken(1, "its length is cut off or too long"));
    assert_eq!(batch_of(&[1], 1), broken(0, "its length is negative"));
    assert_eq!(batch_of(&[0], 1), broken(0, "it is empty"));
    assert_eq!(
        batch_of(&[40, 0, 0, 0, 1, 1, 0], 1),
        broken(0, "it ends after the batch")
    );
    assert_eq!(
        batch_of(&[12, 0, 0, 2, 1, 1, 0], 1),
        broken(0, "its offset is outside of the batch")
    );
    assert_eq!(
        batch_of(&[&good[..], &good].concat(), 2),
        broken(1, "its offset is not above that of the record before")
    );
    assert_eq!(
        batch_of(&[12, 0, 0, 0, 3, 1, 0], 1),
        broken(0, "its key is cut off or of negative length")
    );
    assert_eq!(
        batch_of(&[12, 0, 0, 0, 1, 1, 1], 1),
        broken(0, "its number of headers is negative")
    );
    assert_eq!(
        batch_of(&[14, 0, 0, 0, 1, 1, 2, 1], 1),
        broken(0, "a header is cut off or has no key")
    );
    let two_thousand_million = [20, 0, 0, 0, 1, 1, 0x80, 0xd0, 0xac, 0xf3, 0x0e];
    assert_eq!(
        batch_of(&two_thousand_million, 1),
        broken(0, "a header is cut off or has no key")
    );
}

#[test]
fn end_of_transaction_reads_back() {
    for committed in [false, true] {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 12,
        };
        let batch = marker.batch(ProducerId(4), ProducerEpoch(2), 50).build();
        let header = check(&batch, Origin::Log).unwrap();
        assert!(header.is_control() && header.is_transactional());
        assert_eq!(
            check(&batch, Origin::Producer),
            Err(BatchError::Producer {
                producer_id: 4,
                producer_epoch: 2,
                base_sequence: -1
            })
        );
        let record = Records::new(&header, &batch[HEADER_BYTES..])
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(EndTransactionMarker::from_record(&record), Ok(Some(marker)));
        let kind = if committed {
            ControlType::Commit
        } else {
            ControlType::Abort
        };
        assert_eq!(ControlType::of_batch(&header, &batch), Ok(Some(kind)));
    }
    assert!(ControlType::from_key(None).is_err());
    assert!(ControlType::from_key(Some(&[0, 0, 0])).is_err());
    assert_eq!(
        ControlType::from_key(Some(&[0, 0, 0, 9])),
        Ok(ControlType::Other(9))
    );
}

#[test]
fn batch_in_place_of_another_keeps_all_but_the_records_that_are_gone() {
    for codec in Compression::ALL {
        let mut original = BatchBuilder::new(Offset(100))
            .compression(codec)
            .leader_epoch(LeaderEpoch(3))
            .producer(ProducerId(7), ProducerEpoch(2), 40)
            .transactional();
        for n in 0..5 {
            original.push(1_000 + n, Some(&[n as u8]), Some(b"value"), &[(b"h", None)]);
        }
        let original = check(&original.build(), Origin::Log).unwrap();
        let mut rebuilt = BatchBuilder::in_place_of(&original)
            .unwrap()
            .delete_horizon(9_000);
        rebuilt.push_at(1, 1_001, Some(&[1]), None, &[(b"h", None)]);
        rebuilt.push_at(3, NO_TIMESTAMP, Some(&[3]), Some(b"value"), &[]);
        let rebuilt = rebuilt.build();
        let header = check(&rebuilt, Origin::Log).unwrap();
        let expected = BatchHeader {
            batch_length: header.batch_length,
            crc: header.crc,
            attributes: original.attributes | 1 << 6,
            base_timestamp_ms: 9_000,
            max_timestamp_ms: 1_001,
            records_count: 2,
            ..original
        };
        assert_eq!(header, expected);
        let payload = decompress(&header, &rebuilt[HEADER_BYTES..], 1_000).unwrap();
        let records: Vec<_> = Records::new(&header, &payload).map(Result::unwrap).collect();
        let seen: Vec<_> = records
            .iter()
            .map(|r| (r.offset.0, r.timestamp_ms, r.key, r.value))
            .collect();
        let (one, three) = (&[1][..], &[3][..]);
        assert_eq!(
            seen,
            [
                (101, 1_001, Some(one), None),
                (103, NO_TIMESTAMP, Some(three), Some(&b"value"[..]))
            ]
        );
        assert_eq!(records[0].headers().collect::<Vec<_>>(), [(&b"h"[..], None)]);
        let again = BatchBuilder::in_place_of(&header).unwrap().build();
        let again = check(&again, Origin::Log).unwrap();
        assert!(again.has_delete_horizon() && again.base_timestamp_ms == 9_000);
    }
}

#[test]
fn emptied_batch_says_what_the_producer_wrote_and_a_gap_says_nothing() {
    let mut original = BatchBuilder::new(Offset(100))
        .compression(Compression::Zstd)
        .leader_epoch(LeaderEpoch(3))
        .producer(ProducerId(7), ProducerEpoch(2), 40)
        .transactional()
        .delete_horizon(5_000);
    for n in 0..5 {
        original.push(1_000 + n, Some(b"key"), None, &[]);
    }
    let original = check(&original.build(), Origin::Log).unwrap();
    let header = check(&emptied(&original), Origin::Log).unwrap();
    let expected = BatchHeader {
        batch_length: 49,
        crc: header.crc,
        attributes: 1 << 4,
        base_timestamp_ms: 1_004,
        records_count: 0,
        ..original
    };
    assert_eq!(header, expected);
    assert_eq!((header.last_sequence(), header.last_offset()), (44, Offset(104)));
    assert_eq!(Records::new(&header, &[]).next(), None);
    let header = check(&gap(&original), Origin::Log).unwrap();
    let expected = BatchHeader {
        crc: header.crc,
        attributes: 0,
        producer_id: ProducerId(-1),
        producer_epoch: ProducerEpoch(-1),
        base_sequence: NO_SEQUENCE,
        ..expected
    };
    assert_eq!(header, expected);
}
