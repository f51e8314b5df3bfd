//! What compaction does with producers and transactions, by what batches say.

use flotilla_protocol::records::{ControlType, EndTransactionMarker};

use super::*;

/// A batch of an idempotent producer.
fn produced(id: i64, sequence: i32, records: &[Keyed<'_>], now_ms: i64) -> BytesMut {
    let builder = BatchBuilder::new(Offset(0)).producer(ProducerId(id), ProducerEpoch(0), sequence);
    filled(builder, records, now_ms)
}

pub(super) fn transactional(id: i64, sequence: i32, records: &[Keyed<'_>], now_ms: i64) -> BytesMut {
    let builder = BatchBuilder::new(Offset(0)).producer(ProducerId(id), ProducerEpoch(0), sequence);
    filled(builder.transactional(), records, now_ms)
}

pub(super) fn end(log: &mut Log, id: i64, committed: bool, now_ms: i64) {
    let marker = EndTransactionMarker {
        committed,
        coordinator_epoch: 1,
    };
    let batch = marker.batch(ProducerId(id), ProducerEpoch(0), now_ms).build();
    log.append_leader(batch, EPOCH, now_ms).unwrap();
}

/// Offset and kind of each marker that is left.
fn markers(log: &Log) -> Vec<(i64, ControlType)> {
    let of = |(header, payload): &(BatchHeader, Vec<u8>)| {
        let record = Records::new(header, payload).next()?.unwrap();
        Some((header.base_offset.0, ControlType::from_key(record.key).unwrap()))
    };
    batches(log)
        .iter()
        .filter(|(header, _)| header.is_control())
        .filter_map(of)
        .collect()
}

/// Producer, first record and marker of each aborted transaction that readers from `from` on are told of.
fn aborted_from(log: &Log, from: i64) -> Vec<(i64, i64, i64)> {
    let found = log.aborted_search(Offset(from)).run(log.log_end()).unwrap();
    found
        .iter()
        .map(|one| (one.producer_id.0, one.first_offset.0, one.last_offset.0))
        .collect()
}

/// Something else goes on, so that there is something to compact.
fn go_on(log: &mut Log, now_ms: i64) {
    append(log, &[("other", Some("x"))], now_ms);
    log.roll(now_ms).unwrap();
}

#[test]
fn records_of_aborted_transactions_go_and_what_they_would_have_replaced_stays() {
    let (_, _, mut log) = new(compacted());
    append(&mut log, &[("a", Some("before")), ("b", Some("before"))], 1);
    log.append_leader(transactional(1, 0, &[("a", Some("aborted"))], 2), EPOCH, 2)
        .unwrap();
    log.append_leader(transactional(2, 0, &[("b", Some("committed"))], 2), EPOCH, 2)
        .unwrap();
    log.append_leader(
        transactional(1, 1, &[("c", Some("aborted")), ("b", None)], 2),
        EPOCH,
        2,
    )
    .unwrap();
    end(&mut log, 1, false, 3);
    log.append_leader(transactional(1, 3, &[("c", Some("after"))], 4), EPOCH, 4)
        .unwrap();
    end(&mut log, 2, true, 5);
    end(&mut log, 1, true, 5);
    log.roll(5).unwrap();
    clean(&mut log, 10);
    let left = found(&[
        (0, "a", Some("before")),
        (3, "b", Some("committed")),
        (7, "c", Some("after")),
    ]);
    assert_eq!(records(&log), left);
    let (abort, commit) = (ControlType::Abort, ControlType::Commit);
    assert_eq!(markers(&log), [(6, abort), (8, commit), (9, commit)]);
}

#[test]
fn aborted_transactions_are_listed_for_as_long_as_their_markers_are_there() {
    let (_, storage, mut log) = new(compacted());
    for id in [1, 2] {
        log.append_leader(transactional(id, 0, &[("a", Some("aborted"))], 1), EPOCH, 1)
            .unwrap();
        end(&mut log, id, false, 1);
        log.roll(1).unwrap();
    }
    // The producers go on, so that nothing of the aborted transactions is their last batch.
    for id in [1, 2] {
        log.append_leader(transactional(id, 1, &[("b", Some("committed"))], 2), EPOCH, 2)
            .unwrap();
        end(&mut log, id, true, 2);
    }
    append(&mut log, &[("c", Some("1"))], 2);
    log.roll(2).unwrap();
    let listed = [(1, 0, 1), (2, 2, 3)];
    assert_eq!(aborted_from(&log, 0), listed);
    clean(&mut log, 100);
    assert_eq!(bases(&log), [0, 4], "the first two became one segment");
    assert_eq!(aborted_from(&log, 0), listed);
    assert_eq!(aborted_from(&log, 2), listed[1..]);
    log.close().unwrap();
    let (mut log, _) = open(&storage, options(compacted(), true));
    assert_eq!(aborted_from(&log, 0), listed);
    go_on(&mut log, 101);
    clean(&mut log, 200);
    go_on(&mut log, 201);
    clean(&mut log, 200 + RETENTION_MS);
    let commit = ControlType::Commit;
    assert_eq!(markers(&log), [(5, commit), (7, commit)]);
    // A reader who was told of one, and met no marker, would take what its producer wrote later for aborted.
    assert_eq!(aborted_from(&log, 0), []);
    log.close().unwrap();
    assert_eq!(aborted_from(&open(&storage, options(compacted(), true)).0, 0), []);
}

#[test]
fn nothing_from_the_first_open_transaction_on_is_compacted() {
    let (_, _, mut log) = new(compacted());
    append(&mut log, &[("a", Some("1"))], 1);
    append(&mut log, &[("a", Some("2"))], 1);
    log.roll(1).unwrap();
    log.append_leader(transactional(1, 0, &[("a", Some("open"))], 2), EPOCH, 2)
        .unwrap();
    append(&mut log, &[("a", Some("3"))], 2);
    log.roll(2).unwrap();
    assert_eq!(clean(&mut log, 10), Offset(2));
    let left = found(&[(1, "a", Some("2")), (2, "a", Some("open")), (3, "a", Some("3"))]);
    assert_eq!(records(&log), left);
    end(&mut log, 1, false, 11);
    log.roll(11).unwrap();
    clean(&mut log, 12);
    assert_eq!(records(&log), found(&[(3, "a", Some("3"))]));
}

#[test]
fn marker_stays_until_nothing_is_left_of_its_transaction_and_its_time_is_over() {
    for committed in [false, true] {
        let (_, _, mut log) = new(compacted());
        log.append_leader(transactional(1, 0, &[("a", Some("1"))], 1), EPOCH, 1)
            .unwrap();
        end(&mut log, 1, committed, 2);
        // The producer goes on, so that neither is its last batch.
        log.append_leader(transactional(1, 1, &[("z", Some("1"))], 3), EPOCH, 3)
            .unwrap();
        end(&mut log, 1, true, 3);
        append(&mut log, &[("a", Some("2"))], 4);
        log.roll(4).unwrap();
        let kind = if committed {
            ControlType::Commit
        } else {
            ControlType::Abort
        };
        let (with, without) = (
            vec![(1, kind), (3, ControlType::Commit)],
            vec![(3, ControlType::Commit)],
        );
        // Its records go now; it has been met with them.
        clean(&mut log, 100);
        assert_eq!(markers(&log), with);
        go_on(&mut log, 101);
        // Nothing is left: its time begins to run.
        clean(&mut log, 200);
        assert_eq!(markers(&log), with);
        go_on(&mut log, 201);
        clean(&mut log, 200 + RETENTION_MS - 1);
        assert_eq!(markers(&log), with);
        go_on(&mut log, 202);
        clean(&mut log, 200 + RETENTION_MS);
        assert_eq!(markers(&log), without);
    }
}

#[test]
fn last_batch_of_a_producer_stays_empty_and_its_sequence_goes_on_after_a_start_without_snapshots() {
    let (disk, storage, mut log) = new(compacted());
    log.append_leader(produced(1, 0, &[("a", Some("1")), ("b", Some("1"))], 1), EPOCH, 1)
        .unwrap();
    log.append_leader(produced(1, 2, &[("a", Some("2"))], 2), EPOCH, 2)
        .unwrap();
    log.append_leader(transactional(2, 5, &[("b", Some("2"))], 3), EPOCH, 3)
        .unwrap();
    end(&mut log, 2, false, 3);
    append(&mut log, &[("a", Some("3")), ("b", Some("3"))], 4);
    log.roll(4).unwrap();
    append(&mut log, &[("active", Some("1"))], 5);
    let last = |log: &Log, id| {
        let producer = log.producers().get(ProducerId(id)).unwrap();
        (
            producer.last_sequence(),
            producer.last_timestamp_ms,
            producer.transaction_start,
        )
    };
    let expected = [(2, 2, None), (5, 3, None)];
    assert_eq!([last(&log, 1), last(&log, 2)], expected);
    for now_ms in [10, 10_000, 20_000] {
        clean(&mut log, now_ms);
        let mut kept: Vec<_> = batches(&log)
            .iter()
            .map(|(header, _)| (header.producer_id.0, header.base_offset.0, header.records_count))
            .collect();
        kept.truncate(4);
        assert_eq!(kept, [(1, 2, 0), (2, 3, 0), (2, 4, 1), (-1, 5, 2)]);
        log.close().unwrap();
        for name in names(&disk).iter().filter(|name| name.ends_with(".snapshot")) {
            disk.remove(&dir().join(name)).unwrap();
        }
        let now = open(&storage, options(compacted(), true)).0;
        log = now;
        assert_eq!([last(&log, 1), last(&log, 2)], expected);
        assert_eq!(log.producers().first_open_transaction(), None);
        go_on(&mut log, now_ms + 1);
    }
    // Once the producer has written on, what it wrote before is of no use.
    log.append_leader(produced(1, 3, &[("c", Some("1"))], 30_000), EPOCH, 30_000)
        .unwrap();
    go_on(&mut log, 30_001);
    clean(&mut log, 40_000);
    assert!(
        batches(&log)
            .iter()
            .all(|(header, _)| header.base_offset != Offset(2))
    );
}

#[test]
fn fenced_producer_is_remembered_by_the_marker_that_fenced_it() {
    let (_, _, mut log) = new(compacted());
    log.append_leader(transactional(1, 0, &[("a", Some("1"))], 1), EPOCH, 1)
        .unwrap();
    let marker = EndTransactionMarker {
        committed: false,
        coordinator_epoch: 1,
    };
    let batch = marker.batch(ProducerId(1), ProducerEpoch(1), 2).build();
    log.append_leader(batch, EPOCH, 2).unwrap();
    go_on(&mut log, 3);
    for now_ms in [10_000, 20_000, 30_000, 40_000] {
        clean(&mut log, now_ms);
        go_on(&mut log, now_ms);
    }
    let left: Vec<_> = batches(&log)
        .iter()
        .filter(|(header, _)| header.has_producer_id())
        .map(|(header, _)| {
            (
                header.base_offset.0,
                header.producer_epoch.0,
                header.records_count,
            )
        })
        .collect();
    assert_eq!(left, [(1, 1, 0)]);
}

#[test]
fn marker_behind_a_full_map_is_believed_only_once_it_was_checked() {
    // Room for two keys, and a transaction that is decided far behind them.
    let limits = CompactionLimits {
        keys_bytes: 3 * 24,
        keys_load_factor: 0.7,
        ..LIMITS
    };
    let written = || {
        let (disk, _, mut log) = new(compacted());
        append(&mut log, &[("a", Some("before")), ("b", Some("before"))], 1);
        log.append_leader(transactional(1, 0, &[("a", Some("aborted"))], 2), EPOCH, 2)
            .unwrap();
        for n in 0..10 {
            append(&mut log, &[(&format!("{n}"), Some("v"))], 3);
        }
        end(&mut log, 1, false, 4);
        log.roll(5).unwrap();
        (disk, log)
    };
    let (_, mut log) = written();
    let end = try_clean(&mut log, limits, 10).unwrap();
    assert!(end < Offset(13), "{end}");
    assert!(records(&log).contains(&(0, "a".to_owned(), Some("before".to_owned()))));
    let (disk, mut log) = written();
    let base = bases(&log).pop().unwrap();
    assert!(base > end.0, "{base}");
    let path = dir().join(format!("{base:020}.log"));
    let last = log.sealed.last().unwrap().size_bytes as usize;
    let marker = batches(&log).last().unwrap().0.size_bytes();
    // The bit that says it is a marker: without it, the transaction is undecided.
    disk.tamper(&path, |bytes| bytes[last - marker + 22] ^= 0x20);
    let error = try_clean(&mut log, limits, 10).unwrap_err();
    assert_eq!(error.damaged_segment(), Some(Offset(base)), "{error}");
}
