//! Compaction of whole logs: what stays, what goes, and what a crash at any step leaves.

mod broken;
mod crashing;
mod model;
mod transactional;

use flotilla_protocol::records::{
    BatchHeader, Compression, ControlType, DECOMPRESSED_BYTES_MAX, HEADER_BYTES, Records, decompress,
    parse_batches,
};
use flotilla_protocol::{ProducerEpoch, ProducerId};

use super::*;

const LIMITS: CompactionLimits = CompactionLimits {
    keys_bytes: 1 << 20,
    keys_load_factor: 0.9,
    buffer_bytes: 512,
};
/// `delete.retention.ms` of these tests.
const RETENTION_MS: i64 = 1_000;

fn compacted() -> Config {
    Config {
        compact: true,
        delete: false,
        delete_retention_ms: RETENTION_MS,
        ..small()
    }
}

/// A record: its key, and its value or none.
type Keyed<'a> = (&'a str, Option<&'a str>);

/// A batch of keyed records, with the time as timestamp.
fn keyed(records: &[Keyed<'_>], now_ms: i64) -> BytesMut {
    filled(BatchBuilder::new(Offset(0)), records, now_ms)
}

fn filled(mut builder: BatchBuilder, records: &[Keyed<'_>], now_ms: i64) -> BytesMut {
    for (key, value) in records {
        builder.push(now_ms, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    builder.build()
}

fn append(log: &mut Log, records: &[Keyed<'_>], now_ms: i64) {
    log.append_leader(keyed(records, now_ms), EPOCH, now_ms).unwrap();
}

/// Compacts once, as a cleaner does. Gives where it ended.
fn try_clean(log: &mut Log, limits: CompactionLimits, now_ms: i64) -> Result<Offset, Error> {
    let stable = log.producers().last_stable_offset(log.log_end());
    let cleanable = log.survey(stable).cleanable(now_ms)?;
    let compaction = log.begin_compaction(&cleanable, limits, [5; 16], now_ms);
    let mut rewrite = compaction.read_keys(&mut |_| true)?;
    while rewrite.next_bytes().is_some() {
        if let Some(cleaned) = rewrite.next(&mut |_| true)? {
            log.swap(cleaned)?;
        }
    }
    log.mark_cleaned(rewrite.end())?.sync()?;
    Ok(rewrite.end())
}

fn clean(log: &mut Log, now_ms: i64) -> Offset {
    try_clean(log, LIMITS, now_ms).unwrap()
}

/// All batches with their payload.
fn batches(log: &Log) -> Vec<(BatchHeader, Vec<u8>)> {
    let bytes = read_all(log, log.log_start(), 1 << 20);
    parse_batches(&bytes)
        .map(|batch| {
            let (_, header, batch) = batch.unwrap();
            let payload = decompress(&header, &batch[HEADER_BYTES..], DECOMPRESSED_BYTES_MAX).unwrap();
            (header, payload.into_owned())
        })
        .collect()
}

/// Offset, key and value of every record that is no marker.
fn records(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    for (header, payload) in batches(log).iter().filter(|(header, _)| !header.is_control()) {
        for record in Records::new(header, payload) {
            let record = record.unwrap();
            let key = record.key.map_or_else(|| "(none)".to_owned(), text);
            found.push((record.offset.0, key, record.value.map(text)));
        }
    }
    found
}

/// The same as a reader sees it who wants what is committed, and goes by what the log says of aborted transactions.
fn committed(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let mut told = log.aborted_search(log.log_start()).run(log.log_end()).unwrap();
    told.sort_by_key(|aborted| aborted.first_offset);
    let mut told = told.into_iter().peekable();
    let mut aborted = std::collections::BTreeSet::new();
    let mut hidden = std::collections::BTreeSet::new();
    for (header, payload) in batches(log) {
        while let Some(next) = told.next_if(|next| next.first_offset <= header.last_offset()) {
            aborted.insert(next.producer_id);
        }
        if header.is_control() {
            let record = Records::new(&header, &payload).next().map(Result::unwrap);
            if record.is_some_and(|record| ControlType::from_key(record.key) == Ok(ControlType::Abort)) {
                aborted.remove(&header.producer_id);
            }
        } else if header.is_transactional() && aborted.contains(&header.producer_id) {
            hidden.extend(header.base_offset.0..=header.last_offset().0);
        }
    }
    let mut records = records(log);
    records.retain(|(offset, ..)| !hidden.contains(offset));
    records
}

fn found(records: &[(i64, &str, Option<&str>)]) -> Vec<(i64, String, Option<String>)> {
    records
        .iter()
        .map(|(offset, key, value)| (*offset, (*key).to_owned(), value.map(str::to_owned)))
        .collect()
}

fn bases(log: &Log) -> Vec<i64> {
    log.sealed.iter().map(|sealed| sealed.base.0).collect()
}

#[test]
fn last_record_of_each_key_stays_where_it_was_and_no_other() {
    let (_, storage, mut log) = new(compacted());
    append(
        &mut log,
        &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))],
        10,
    );
    append(&mut log, &[("c", Some("1"))], 11);
    append(&mut log, &[("b", Some("2")), ("a", Some("3"))], 12);
    log.roll(12).unwrap();
    append(&mut log, &[("c", Some("in the active segment"))], 13);
    assert_eq!(clean(&mut log, 20), Offset(6));
    let left = [
        (3, "c", Some("1")),
        (4, "b", Some("2")),
        (5, "a", Some("3")),
        (6, "c", Some("in the active segment")),
    ];
    assert_eq!(records(&log), found(&left));
    assert_eq!(
        (log.log_start(), log.log_end(), log.first_dirty()),
        (Offset(0), Offset(7), Offset(6))
    );
    log.close().unwrap();
    let before = read_all(&log, Offset(0), 1 << 20);
    let (log, recovery) = open(&storage, options(compacted(), true));
    assert_eq!((recovery, log.first_dirty()), (Recovery::default(), Offset(6)));
    assert_eq!(read_all(&log, Offset(0), 1 << 20), before);
    assert_eq!(log.size_bytes() as usize, before.len());
    // A gap is read over from within.
    let read = log.read(Offset(1), 1 << 20, log.log_end(), true).unwrap();
    assert_eq!(
        BatchHeader::parse(&read.batches.concat()).unwrap().base_offset,
        Offset(3)
    );
}

#[test]
fn records_that_are_rewritten_keep_all_that_they_carry() {
    for codec in Compression::ALL {
        for append_time in [false, true] {
            let config = Config {
                timestamp_type: if append_time {
                    TimestampType::LogAppendTime
                } else {
                    TimestampType::CreateTime
                },
                ..compacted()
            };
            let (_, storage, mut log) = new(config);
            let mut builder = BatchBuilder::new(Offset(0)).compression(codec).producer(
                ProducerId(7),
                ProducerEpoch(1),
                100,
            );
            for (n, key) in ["a", "b", "a", "c", "b"].iter().enumerate() {
                let value = format!("{key} {n}");
                let headers = [(&b"trace"[..], Some(key.as_bytes())), (&b"trace"[..], None)];
                builder.push(
                    50 - n as i64,
                    Some(key.as_bytes()),
                    Some(value.as_bytes()),
                    &headers,
                );
            }
            log.append_leader(builder.build(), LeaderEpoch(4), 77).unwrap();
            let (original, _) = batches(&log).remove(0);
            log.roll(78).unwrap();
            clean(&mut log, 80);
            let (header, payload) = batches(&log).remove(0);
            let max_timestamp_ms = if append_time { 77 } else { 48 };
            let expected = BatchHeader {
                batch_length: header.batch_length,
                crc: header.crc,
                base_timestamp_ms: max_timestamp_ms,
                max_timestamp_ms,
                records_count: 3,
                ..original
            };
            assert_eq!(header, expected);
            let times: Vec<_> = Records::new(&header, &payload)
                .map(|record| {
                    let record = record.unwrap();
                    let headers: Vec<_> = record.headers().collect();
                    assert_eq!(headers, [(&b"trace"[..], record.key), (&b"trace"[..], None)]);
                    (record.offset.0, record.timestamp_ms)
                })
                .collect();
            let expected = if append_time {
                [(2, 77), (3, 77), (4, 77)]
            } else {
                [(2, 48), (3, 47), (4, 46)]
            };
            assert_eq!(times, expected);
            // By time, too, also once the indexes are read from the disk.
            for _ in 0..2 {
                let first = log.search(Target::At(47)).run().unwrap().unwrap();
                assert_eq!(first.offset, Offset(2));
                let last = log.search(Target::MaxTimestamp).run().unwrap().unwrap();
                assert_eq!(last.timestamp_ms, max_timestamp_ms);
                log.close().unwrap();
                log = open(&storage, options(config, true)).0;
            }
        }
    }
}

#[test]
fn tombstone_goes_when_its_time_is_over_counted_from_the_first_compaction() {
    let (_, _, mut log) = new(compacted());
    append(&mut log, &[("a", Some("1")), ("b", Some("1"))], 10);
    log.roll(10).unwrap();
    clean(&mut log, 20);
    append(&mut log, &[("a", None), ("c", Some("1"))], 30);
    log.roll(30).unwrap();
    // Long ago, but nobody has compacted since.
    let first_ms = 1_000_000;
    clean(&mut log, first_ms);
    let with_tombstone = found(&[(1, "b", Some("1")), (2, "a", None), (3, "c", Some("1"))]);
    assert_eq!(records(&log), with_tombstone);
    let header = batches(&log).pop().unwrap().0;
    assert_eq!(
        (header.has_delete_horizon(), header.base_timestamp_ms),
        (true, first_ms + RETENTION_MS)
    );
    assert_eq!(header.max_timestamp_ms, 30);
    append(&mut log, &[("d", Some("1"))], 40);
    log.roll(40).unwrap();
    clean(&mut log, first_ms + RETENTION_MS - 1);
    assert_eq!(records(&log)[..3], with_tombstone);
    append(&mut log, &[("d", Some("2"))], 50);
    log.roll(50).unwrap();
    clean(&mut log, first_ms + RETENTION_MS);
    assert_eq!(
        records(&log),
        found(&[(1, "b", Some("1")), (3, "c", Some("1")), (5, "d", Some("2"))])
    );
    assert_eq!(log.log_end(), Offset(6));
}

#[test]
fn tombstone_stays_while_what_it_covers_may_be_there() {
    let (_, _, mut log) = new(compacted());
    append(&mut log, &[("a", Some("1"))], 10);
    append(&mut log, &[("a", None)], 11);
    log.roll(11).unwrap();
    // A checkpoint that says too much, as no crash here can make it: the key is never looked for again.
    log.mark_cleaned(Offset(2)).unwrap();
    append(&mut log, &[("b", Some("1"))], 12);
    log.roll(12).unwrap();
    for now_ms in [100, 100_000, 200_000] {
        clean(&mut log, now_ms);
        append(&mut log, &[("b", Some("2"))], now_ms);
        log.roll(now_ms).unwrap();
    }
    assert_eq!(records(&log)[..2], found(&[(0, "a", Some("1")), (1, "a", None)]));
}

#[test]
fn records_without_a_key_go() {
    let (_, _, mut log) = new(compacted());
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(1, None, Some(b"from before the topic was compacted"), &[]);
    builder.push(1, Some(b"a"), Some(b"1"), &[]);
    log.append_leader(builder.build(), EPOCH, 1).unwrap();
    log.roll(1).unwrap();
    clean(&mut log, 2);
    assert_eq!(records(&log), found(&[(1, "a", Some("1"))]));
}

#[test]
fn a_map_that_is_full_needs_several_rounds_and_comes_to_the_same() {
    let limits = CompactionLimits {
        keys_bytes: 24 * 5,
        ..LIMITS
    };
    let (_, _, mut log) = new(compacted());
    let mut latest = std::collections::BTreeMap::new();
    for n in 0..60_i64 {
        let (key, value) = (format!("{}", n * 7 % 20), format!("{n}"));
        append(&mut log, &[(&key, Some(&value)), ("all", Some(&value))], n);
        latest.insert(key, (2 * n, value.clone()));
        latest.insert("all".to_owned(), (2 * n + 1, value));
    }
    log.roll(60).unwrap();
    let mut rounds = 0;
    while log.first_dirty() < log.log_end() {
        let before = log.first_dirty();
        assert!(try_clean(&mut log, limits, 100).unwrap() > before);
        rounds += 1;
    }
    assert!(rounds > 10, "{rounds}");
    let mut expected: Vec<_> = latest
        .into_iter()
        .map(|(key, (offset, value))| (offset, key, Some(value)))
        .collect();
    expected.sort();
    assert_eq!(records(&log), expected);
}

#[test]
fn small_segments_become_one_and_an_emptied_one_still_says_how_far_it_reaches() {
    let (disk, storage, mut log) = new(Config {
        segment_bytes: 1_000,
        ..compacted()
    });
    for n in 0..5 {
        append(&mut log, &[("a", Some(&format!("{n}"))), ("b", Some("b"))], n);
        log.roll(n).unwrap();
    }
    assert_eq!(bases(&log), [0, 2, 4, 6, 8]);
    clean(&mut log, 10);
    assert_eq!(bases(&log), [0]);
    assert_eq!(records(&log), found(&[(8, "a", Some("4")), (9, "b", Some("b"))]));
    append(&mut log, &[("a", Some("x")), ("b", Some("x"))], 11);
    log.roll(11).unwrap();
    // Alone in its group, all of it replaced: the offsets stay taken.
    log.set_config(Config {
        segment_bytes: 100,
        ..compacted()
    });
    clean(&mut log, 12);
    assert_eq!(bases(&log), [0, 10]);
    let headers: Vec<_> = batches(&log)
        .iter()
        .map(|(header, _)| (header.base_offset.0, header.next_offset().0, header.records_count))
        .collect();
    assert_eq!(headers, [(8, 10, 0), (10, 12, 2)]);
    let left = found(&[(10, "a", Some("x")), (11, "b", Some("x"))]);
    assert_eq!(records(&log), left);
    assert_eq!(
        log.search(Target::MaxTimestamp).run().unwrap().unwrap().offset,
        Offset(10)
    );
    log.close().unwrap();
    let (log, _) = open(&storage, options(compacted(), true));
    assert_eq!(
        (records(&log), log.log_start(), log.log_end()),
        (left, Offset(0), Offset(12))
    );
    assert_eq!(
        log.search(Target::MaxTimestamp).run().unwrap().unwrap().offset,
        Offset(10)
    );
    assert_eq!(
        log.search(Target::At(5)).run().unwrap().unwrap().offset,
        Offset(10)
    );
    let logs = names(&disk).into_iter().filter(|name| name.ends_with(".log"));
    assert_eq!(logs.count(), 3);
}

#[test]
fn nothing_is_written_where_all_stays() {
    let (disk, _, mut log) = new(compacted());
    for n in 0..8 {
        append(&mut log, &[(&format!("{n}"), Some(&"value ".repeat(12)))], n);
    }
    log.roll(8).unwrap();
    let before = read_all(&log, Offset(0), 1 << 20);
    let segments: Vec<_> = log.sealed.clone();
    assert!(segments.len() > 1);
    log.set_config(Config {
        segment_bytes: 200,
        ..compacted()
    });
    let syncs = disk.syncs();
    clean(&mut log, 10);
    assert_eq!(disk.syncs(), syncs + 1, "the checkpoint's alone");
    assert!(
        segments
            .iter()
            .zip(&log.sealed)
            .all(|(before, now)| Arc::ptr_eq(before, now))
    );
    assert_eq!(read_all(&log, Offset(0), 1 << 20), before);
}

#[test]
fn only_ended_segments_below_what_is_stable_and_old_enough_are_compacted() {
    let (_, _, mut log) = new(compacted());
    for n in 0..4 {
        append(&mut log, &[("a", Some("1"))], n * 100);
        log.roll(n * 100).unwrap();
    }
    append(&mut log, &[("a", Some("1"))], 400);
    let size = log.sealed[0].size_bytes;
    let upto = |log: &Log, stable, now_ms| {
        let cleanable = log.survey(Offset(stable)).cleanable(now_ms).unwrap();
        (
            cleanable.upto.0,
            cleanable.dirty_bytes / size,
            cleanable.overdue_ms,
        )
    };
    assert_eq!(upto(&log, 5, 400), (4, 4, 0));
    assert_eq!(upto(&log, 3, 400), (3, 3, 0));
    assert_eq!(upto(&log, 0, 400), (0, 0, 0));
    log.set_config(Config {
        min_compaction_lag_ms: 250,
        max_compaction_lag_ms: 390,
        ..compacted()
    });
    assert_eq!(upto(&log, 5, 400), (2, 2, 10));
    assert_eq!(upto(&log, 5, 350), (2, 2, 0));
    clean(&mut log, 400);
    let cleanable = log.survey(Offset(5)).cleanable(400).unwrap();
    assert_eq!(
        (
            cleanable.first_dirty,
            cleanable.dirty_ratio(),
            cleanable.is_due(0.0)
        ),
        (Offset(2), 0.0, false)
    );
    let cleanable = log.survey(Offset(5)).cleanable(500).unwrap();
    assert_eq!((cleanable.upto, cleanable.dirty_bytes), (Offset(3), size));
    assert!(cleanable.is_due(0.4) && !cleanable.is_due(0.5));
    let overdue = log.survey(Offset(5)).cleanable(600).unwrap();
    assert!(overdue.is_due(1.0), "{overdue:?}");
}

#[test]
fn active_segment_ends_when_its_records_have_waited_too_long() {
    let config = Config {
        max_compaction_lag_ms: 50,
        ..compacted()
    };
    let (_, _, mut log) = new(config);
    assert!(!log.roll_overdue(1_000).unwrap());
    append(&mut log, &[("a", Some("1"))], 100);
    assert!(!log.roll_overdue(150).unwrap());
    assert!(log.roll_overdue(151).unwrap());
    assert!(!log.roll_overdue(1_000).unwrap());
    append(&mut log, &[("a", Some("2"))], 200);
    // Also by the next append, as `segment.ms` does.
    append(&mut log, &[("a", Some("3"))], 251);
    assert_eq!(log.segments(), 3);
    log.set_config(Config {
        compact: false,
        ..config
    });
    assert!(!log.roll_overdue(10_000).unwrap());
}

#[test]
fn who_reads_a_segment_while_it_is_replaced_reads_anew() {
    let (_, _, mut log) = new(compacted());
    for n in 0..20 {
        append(&mut log, &[("a", Some(&format!("{n}"))), ("b", Some("b"))], n);
    }
    // One of these views is of the active segment, which is ended and then replaced.
    let Plan::Cold(cold) = log.plan_read(Offset(0), 1 << 20, log.log_end(), true).unwrap() else {
        panic!("the tail holds no more than the last batches");
    };
    let search = log.search(Target::MaxTimestamp);
    log.roll(20).unwrap();
    clean(&mut log, 30);
    assert!(matches!(cold.run(), Err(Error::Removed { .. })));
    assert!(matches!(search.run(), Err(Error::Removed { .. })));
    assert_eq!(
        records(&log),
        found(&[(38, "a", Some("19")), (39, "b", Some("b"))])
    );
    assert_eq!(
        log.search(Target::MaxTimestamp).run().unwrap().unwrap().offset,
        Offset(38)
    );
}

#[test]
fn swap_gives_way_to_truncation_and_retention() {
    for retains in [false, true] {
        let (disk, _, mut log) = new(compacted());
        for n in 0..20 {
            append(&mut log, &[("a", Some(&format!("{n}")))], n);
        }
        log.roll(20).unwrap();
        let cleanable = log.survey(Offset(20)).cleanable(30).unwrap();
        let compaction = log.begin_compaction(&cleanable, LIMITS, [1; 16], 30);
        let mut rewrite = compaction.read_keys(&mut |_| true).unwrap();
        let cleaned = rewrite.next(&mut |_| true).unwrap().unwrap();
        if retains {
            log.advance_start(Offset(15)).unwrap();
            log.apply_retention(30, Offset(20)).unwrap();
        } else {
            log.truncate_to(Offset(3)).unwrap();
        }
        let before = records(&log);
        assert!(matches!(log.swap(cleaned), Err(Error::Removed { .. })));
        assert_eq!(records(&log), before);
        let leftovers = names(&disk).into_iter().filter(|name| name.contains("cleaned"));
        assert_eq!(leftovers.count(), 0);
        append(&mut log, &[("b", Some("later"))], 40);
    }
}

#[test]
fn log_that_is_cut_is_compacted_from_there_on_anew() {
    let (_, storage, mut log) = new(compacted());
    for n in 0..20 {
        append(
            &mut log,
            &[("a", Some(&format!("{n}"))), ("b", Some(&format!("{n}")))],
            n,
        );
    }
    log.roll(20).unwrap();
    clean(&mut log, 30);
    log.truncate_to(Offset(39)).unwrap();
    assert_eq!(log.log_end(), Offset(38), "the last batch goes as a whole");
    assert_eq!(log.first_dirty(), Offset(38));
    append(&mut log, &[("a", Some("new"))], 40);
    drop(log);
    let (mut log, _) = open(&storage, options(compacted(), false));
    assert_eq!(log.first_dirty(), Offset(38));
    assert_eq!(records(&log), found(&[(38, "a", Some("new"))]));
    log.start_over_at(Offset(7)).unwrap();
    assert_eq!((log.first_dirty(), log.log_end()), (Offset(7), Offset(7)));
    let (log, _) = open(&storage, options(compacted(), false));
    assert_eq!(log.first_dirty(), Offset(7));
}

#[test]
fn retention_and_deleted_records_work_over_gaps() {
    let config = Config {
        delete: true,
        retention_ms: Some(100),
        ..compacted()
    };
    let (_, _, mut log) = new(config);
    for n in 0..40 {
        append(
            &mut log,
            &[(&format!("{}", n % 3), Some(&"v".repeat(90)))],
            n * 10,
        );
    }
    log.roll(400).unwrap();
    clean(&mut log, 400);
    assert_eq!(records(&log).len(), 3);
    log.advance_start(Offset(38)).unwrap();
    assert_eq!(
        records(&log)
            .into_iter()
            .filter(|(offset, ..)| *offset >= 38)
            .count(),
        2
    );
    let read = log.read(Offset(38), 1, log.log_end(), true).unwrap();
    assert_eq!(read.next_offset, Offset(39));
    let later = "later".repeat(20);
    append(&mut log, &[("0", Some(&later))], 450);
    log.roll(450).unwrap();
    clean(&mut log, 460);
    assert_eq!(log.log_start(), Offset(38));
    let deleted = log.apply_retention(491, Offset(41)).unwrap();
    assert!(deleted.segments >= 1, "{deleted:?}");
    assert_eq!(records(&log), found(&[(40, "0", Some(&later))]));
}

#[test]
fn damaged_batch_ends_the_compaction_and_changes_nothing() {
    let (disk, _, mut log) = new(compacted());
    for n in 0..20 {
        append(&mut log, &[("a", Some(&format!("{n}")))], n);
    }
    log.roll(20).unwrap();
    let path = dir().join(format!("{:020}.log", log.sealed[1].base.0));
    disk.tamper(&path, |bytes| bytes[HEADER_BYTES] = 0xff);
    let before = names(&disk);
    let error = try_clean(&mut log, LIMITS, 30).unwrap_err();
    assert!(
        matches!(&error, Error::Damaged { path: damaged, .. } if *damaged == path),
        "{error}"
    );
    assert_eq!(error.severity(), Severity::Log);
    assert_eq!((names(&disk), log.first_dirty()), (before, Offset(0)));
}

#[test]
fn full_disk_ends_the_compaction_and_loses_nothing() {
    let (disk, _, mut log) = new(compacted());
    for n in 0..20 {
        append(
            &mut log,
            &[
                ("a", Some(&format!("{n}"))),
                (&format!("{n}"), Some(&"v".repeat(60))),
            ],
            n,
        );
    }
    log.roll(20).unwrap();
    let (names_before, before) = (names(&disk), records(&log));
    disk.set_capacity(Some(log.size_bytes() + 600));
    let error = try_clean(&mut log, LIMITS, 30).unwrap_err();
    assert_eq!(error.severity(), Severity::VolumeFull, "{error}");
    assert_eq!((names(&disk), records(&log)), (names_before, before));
    disk.set_capacity(None);
    clean(&mut log, 40);
    assert_eq!(records(&log).len(), 21);
}

#[test]
fn compaction_ends_when_it_is_told_to() {
    let (disk, _, mut log) = new(compacted());
    for n in 0..20 {
        append(&mut log, &[("a", Some(&format!("{n}")))], n);
    }
    log.roll(20).unwrap();
    let before = names(&disk);
    let cleanable = log.survey(Offset(20)).cleanable(30).unwrap();
    for allowed in 0..60 {
        let mut left = allowed;
        let mut pace = |_: u64| {
            left -= 1;
            left >= 0
        };
        let compaction = log.begin_compaction(&cleanable, LIMITS, [1; 16], 30);
        let written = compaction
            .read_keys(&mut pace)
            .and_then(|mut rewrite| rewrite.next(&mut pace));
        match &written {
            Err(error) => assert!(matches!(error, Error::Interrupted), "{error}"),
            Ok(_) => assert!(allowed >= 40, "{allowed}"),
        }
        drop(written);
        assert_eq!(names(&disk), before);
    }
}

#[test]
fn follower_takes_over_what_its_leader_compacted_and_compacts_it_too() {
    let (_, _, mut leader) = new(compacted());
    let (_, storage, mut follower) = new(compacted());
    append(
        &mut leader,
        &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))],
        1,
    );
    let fetch = |leader: &Log, follower: &mut Log| {
        let read = leader
            .read(follower.log_end(), 1, leader.log_end(), true)
            .unwrap();
        follower
            .append_follower(&read.batches.concat().into(), 50)
            .unwrap();
    };
    fetch(&leader, &mut follower);
    append(&mut leader, &[("a", Some("2"))], 2);
    append(&mut leader, &[("a", Some("3")), ("b", None)], 3);
    leader.roll(3).unwrap();
    append(&mut leader, &[("d", Some("1"))], 4);
    clean(&mut leader, 10);
    while follower.log_end() < leader.log_end() {
        fetch(&leader, &mut follower);
    }
    let left = [
        (2, "c", Some("1")),
        (4, "a", Some("3")),
        (5, "b", None),
        (6, "d", Some("1")),
    ];
    assert_eq!(records(&leader), found(&left));
    follower.roll(60).unwrap();
    clean(&mut follower, 60);
    assert_eq!(records(&follower), found(&left));
    assert_eq!(follower.epochs().entries(), leader.epochs().entries());
    // The horizon came with the batch.
    append(&mut follower, &[("d", Some("2"))], 70);
    follower.roll(70).unwrap();
    clean(&mut follower, 10 + RETENTION_MS);
    let left = found(&[(2, "c", Some("1")), (4, "a", Some("3")), (7, "d", Some("2"))]);
    assert_eq!(records(&follower), left);
    let (follower, _) = open(&storage, options(compacted(), false));
    assert_eq!(records(&follower), left);
}
