//! Compaction of logs that a disk has changed: what is broken is neither read as if it were whole nor written again.

use super::*;

/// Ended segments in which one key comes again and again, and what they hold.
fn written() -> (Arc<SimDisk>, Log, Bytes) {
    let (disk, _, mut log) = new(compacted());
    for n in 0..10 {
        append(
            &mut log,
            &[("a", Some(&format!("{n}"))), (&format!("k{}", n % 4), Some("v"))],
            n,
        );
    }
    log.roll(10).unwrap();
    let all = read_all(&log, Offset(0), 1 << 20).into();
    (disk, log, all)
}

/// What is left of it, by a log that nothing happened to.
fn left() -> Vec<(i64, String, Option<String>)> {
    let (_, mut log, _) = written();
    clean(&mut log, 20);
    records(&log)
}

fn path(base: i64) -> PathBuf {
    dir().join(format!("{base:020}.log"))
}

/// The bytes of all segments.
fn files(disk: &SimDisk, log: &Log) -> Vec<Bytes> {
    bases(log)
        .into_iter()
        .map(|base| {
            let length = disk.stat(&path(base)).unwrap().size_bytes as usize;
            disk.read_at(&path(base), 0, length).unwrap()
        })
        .collect()
}

/// What an inspection of the segment finds.
fn inspected(log: &Log, base: i64) -> Inspected {
    let inspection = log.inspect(Offset(base)).unwrap();
    inspection.run(&mut |_| true).unwrap().unwrap()
}

/// Changes a byte of a record in the segment's batch at that position, and has the log know it.
fn break_and_note(disk: &SimDisk, log: &mut Log, base: i64, position: usize) -> Damage {
    disk.tamper(&path(base), |bytes| bytes[position + HEADER_BYTES + 2] ^= 1);
    let found = inspected(log, base).damages;
    assert_eq!((found.len(), log.note_damages(found).unwrap()), (1, 1));
    log.damages()[0].clone()
}

#[test]
fn no_changed_byte_is_taken_for_what_was_written() {
    let (disk, log, _) = written();
    for (place, base) in bases(&log).into_iter().enumerate() {
        let length = files(&disk, &log)[place].len();
        for at in (0..length).step_by(3) {
            let (disk, mut log, _) = written();
            disk.tamper(&path(base), |bytes| bytes[at] ^= 0x10);
            let before = (names(&disk), files(&disk, &log));
            let error = try_clean(&mut log, LIMITS, 20).unwrap_err();
            let what = format!("segment {base} byte {at}: {error}");
            assert!(matches!(error, Error::Damaged { known: false, .. }), "{what}");
            assert_eq!(error.damaged_segment(), Some(Offset(base)), "{what}");
            assert_eq!((names(&disk), files(&disk, &log)), before, "{what}");
            assert_eq!(log.first_dirty(), Offset(0), "{what}");
        }
    }
}

#[test]
fn changed_byte_in_what_was_compacted_before_gets_no_new_checksum() {
    let again = || {
        let (disk, mut log, _) = written();
        clean(&mut log, 20);
        append(&mut log, &[("a", Some("new")), ("k1", None)], 21);
        log.roll(21).unwrap();
        (disk, log)
    };
    let (disk, log) = again();
    // Of the first batch, as nothing but a neighbour tells its base offset, and compaction has left a gap there.
    let size = BatchHeader::parse(&files(&disk, &log)[0]).unwrap().size_bytes();
    for at in 8..size {
        let (disk, mut log) = again();
        disk.tamper(&path(0), |bytes| bytes[at] ^= 0x10);
        let before = files(&disk, &log);
        let error = try_clean(&mut log, LIMITS, 30).unwrap_err();
        assert_eq!(error.damaged_segment(), Some(Offset(0)), "byte {at}: {error}");
        assert_eq!(files(&disk, &log), before, "byte {at}");
    }
}

#[test]
fn log_is_compacted_up_to_what_is_known_to_be_broken_and_beyond_once_that_is_mended() {
    let (disk, mut log, all) = written();
    let bases = bases(&log);
    let damage = break_and_note(&disk, &mut log, bases[1], 0);
    let before = files(&disk, &log);
    let upto = log.survey(log.log_end()).cleanable(20).unwrap().upto;
    assert_eq!(upto, Offset(bases[1]));
    assert_eq!(clean(&mut log, 20), Offset(bases[1]));
    assert_eq!(files(&disk, &log)[1..], before[1..]);
    assert_ne!(files(&disk, &log)[0], before[0]);
    assert_eq!(log.mend(&damage, &all, 20).unwrap(), Mended::Whole);
    assert_eq!(clean(&mut log, 20), Offset(20));
    assert_eq!(records(&log), left());
}

#[test]
fn nothing_is_compacted_while_something_compacted_before_is_known_to_be_broken() {
    let (disk, mut log, _) = written();
    clean(&mut log, 20);
    append(&mut log, &[("a", None), ("k1", None)], 21);
    log.roll(21).unwrap();
    let noticed_too_late = log.survey(log.log_end()).cleanable(30).unwrap();
    assert_eq!(noticed_too_late.upto, Offset(22));
    break_and_note(&disk, &mut log, 0, 0);
    let before = files(&disk, &log);
    let cleanable = log.survey(log.log_end()).cleanable(30).unwrap();
    assert_eq!((cleanable.upto, cleanable.dirty_bytes), (Offset(20), 0));
    assert!(!cleanable.is_due(0.0));
    let compaction = log.begin_compaction(&noticed_too_late, LIMITS, [5; 16], 30);
    let mut rewrite = compaction.read_keys(&mut |_| true).unwrap();
    assert!(rewrite.next(&mut |_| true).unwrap().is_none());
    assert_eq!((rewrite.end(), rewrite.next_bytes()), (Offset(20), None));
    assert_eq!(files(&disk, &log), before);
}

#[test]
fn swap_forgets_what_was_found_broken_in_what_it_replaced() {
    let (disk, mut log, _) = written();
    let cleanable = log.survey(log.log_end()).cleanable(20).unwrap();
    let compaction = log.begin_compaction(&cleanable, LIMITS, [5; 16], 20);
    let mut rewrite = compaction.read_keys(&mut |_| true).unwrap();
    let cleaned = rewrite.next(&mut |_| true).unwrap().unwrap();
    // All of it was read while it was whole.
    break_and_note(&disk, &mut log, 0, 0);
    let found = inspected(&log, 0);
    assert!(!found.is_outdated() && !found.damages.is_empty());
    log.swap(cleaned).unwrap();
    assert!(log.damages().is_empty());
    // It speaks of a file that is not there any more.
    assert!(found.is_outdated());
    while rewrite.next_bytes().is_some() {
        if let Some(cleaned) = rewrite.next(&mut |_| true).unwrap() {
            log.swap(cleaned).unwrap();
        }
    }
    assert_eq!(records(&log), left());
    for base in bases(&log) {
        let found = inspected(&log, base);
        assert!(found.damages.is_empty() && !found.bad_indexes, "{found:?}");
    }
}

#[test]
fn what_comes_from_a_replica_that_has_not_compacted_yet_is_compacted_again() {
    let (_, mut other, _) = written();
    let (disk, mut log, _) = written();
    clean(&mut log, 20);
    append(&mut other, &[("z", Some("1"))], 21);
    append(&mut log, &[("z", Some("1"))], 21);
    let under_way = log.survey(Offset(20)).cleanable(20).unwrap();
    let compaction = log.begin_compaction(&under_way, LIMITS, [5; 16], 20);
    let rewrite = compaction.read_keys(&mut |_| true).unwrap();
    let damage = break_and_note(&disk, &mut log, 0, 0);
    let theirs = read_all(&other, damage.from, 1 << 20);
    assert_eq!(log.mend(&damage, &theirs.into(), 22).unwrap(), Mended::Whole);
    let keys: Vec<String> = records(&log).into_iter().map(|record| record.1).collect();
    assert!(keys.iter().filter(|key| *key == "a").count() > 1, "{keys:?}");
    // The compaction that was under way does not know of these records.
    log.mark_cleaned(rewrite.end()).unwrap();
    assert_eq!(log.first_dirty(), damage.from);
    log.roll(22).unwrap();
    assert_eq!(clean(&mut log, 30), Offset(21));
    other.roll(22).unwrap();
    clean(&mut other, 30);
    assert_eq!(records(&log), records(&other));
}
