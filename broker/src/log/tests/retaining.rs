//! What retention lets go of, with a clock of the test's.

use super::*;

/// 40 records with timestamps 0 to 39, in segments of a few.
fn filled(config: Config) -> (Arc<SimDisk>, Storage, Log) {
    let (disk, storage, mut log) = new(Config {
        segment_bytes: 410,
        ..config
    });
    fill(&mut log, 20);
    (disk, storage, log)
}

fn keep(ms: Option<i64>, bytes: Option<u64>) -> Config {
    Config {
        retention_ms: ms,
        retention_bytes: bytes,
        ..small()
    }
}

/// The bases of all segments.
fn bases(log: &Log) -> Vec<i64> {
    log.sealed
        .iter()
        .map(|sealed| sealed.base.0)
        .chain(log.active.iter().map(|active| active.base.0))
        .collect()
}

#[test]
fn segments_go_when_all_their_records_are_too_old() {
    let (disk, storage, mut log) = filled(keep(Some(10), None));
    assert_eq!(bases(&log), [0, 8, 16, 24, 32]);
    let size = log.size_bytes() / 5;
    assert_eq!(log.apply_retention(17, Offset(40)).unwrap(), Deleted::default());
    assert_eq!(
        log.apply_retention(18, Offset(40)).unwrap(),
        Deleted {
            segments: 1,
            size_bytes: size
        }
    );
    assert_eq!((bases(&log), log.log_start()), (vec![8, 16, 24, 32], Offset(8)));
    assert_eq!(log.epochs().entries(), [(EPOCH, Offset(8))]);
    assert_eq!(log.apply_retention(41, Offset(40)).unwrap().segments, 2);
    assert!(
        !names(&disk)
            .iter()
            .any(|name| name.starts_with("00000000000000000008"))
    );
    assert_eq!(log.size_bytes(), 2 * size);
    log.close().unwrap();
    let (log, _) = open(&storage, options(small(), true));
    assert_eq!((log.log_start(), log.log_end()), (Offset(24), Offset(40)));
}

#[test]
fn the_last_segment_goes_too_once_it_is_too_old() {
    let (_, _, mut log) = filled(keep(Some(10), None));
    let deleted = log.apply_retention(1_000, Offset(40)).unwrap();
    assert_eq!((deleted.segments, log.size_bytes()), (5, 0));
    assert_eq!(
        (log.log_start(), log.log_end(), bases(&log)),
        (Offset(40), Offset(40), vec![40])
    );
    assert_eq!(
        log.append_leader(batch(&[1]), EPOCH, 0).unwrap().first_offset,
        Offset(40)
    );
}

#[test]
fn nothing_at_or_above_the_high_watermark_goes() {
    let (_, _, mut log) = filled(keep(Some(10), Some(0)));
    assert_eq!(log.apply_retention(1_000, Offset(7)).unwrap().segments, 0);
    assert_eq!(log.apply_retention(1_000, Offset(17)).unwrap().segments, 2);
    assert_eq!(bases(&log), [16, 24, 32]);
}

#[test]
fn size_keeps_at_least_what_is_asked_for() {
    let (_, _, log) = filled(keep(None, None));
    let size = log.size_bytes();
    for (kept, segments) in [
        (size, 0),
        (size - 1, 0),
        (size / 5 * 4, 1),
        (size / 5 * 4 - 1, 1),
        (0, 4),
    ] {
        let (_, _, mut log) = filled(keep(None, Some(kept)));
        assert_eq!(
            log.apply_retention(0, Offset(40)).unwrap().segments,
            segments,
            "{kept} of {size}"
        );
        assert!(log.size_bytes() >= kept);
    }
}

#[test]
fn without_limits_or_without_delete_everything_stays() {
    let (_, _, mut log) = filled(keep(None, None));
    assert_eq!(
        log.apply_retention(i64::MAX, Offset(40)).unwrap(),
        Deleted::default()
    );
    log.set_config(Config {
        delete: false,
        ..keep(Some(1), Some(1))
    });
    assert_eq!(
        log.apply_retention(i64::MAX, Offset(40)).unwrap(),
        Deleted::default()
    );
    log.set_config(keep(Some(1), None));
    assert_eq!(log.apply_retention(1_000, Offset(40)).unwrap().segments, 5);
}

#[test]
fn records_that_were_deleted_by_request_go_whatever_the_policy() {
    let (_, _, mut log) = filled(Config {
        delete: false,
        ..keep(None, None)
    });
    log.advance_start(Offset(17)).unwrap();
    log.advance_start(Offset(3)).unwrap();
    assert!(matches!(
        log.advance_start(Offset(41)),
        Err(Error::OffsetOutOfRange { .. })
    ));
    assert_eq!(log.log_start(), Offset(17));
    assert_eq!(log.apply_retention(0, Offset(40)).unwrap().segments, 2);
    assert_eq!((log.log_start(), bases(&log)), (Offset(17), vec![16, 24, 32]));
}

#[test]
fn a_start_that_was_moved_is_found_again_by_the_checkpoint() {
    let (_, storage, mut log) = filled(keep(None, None));
    log.advance_start(Offset(19)).unwrap();
    log.close().unwrap();
    let from = |start| OpenOptions {
        start_offset: Some(Offset(start)),
        ..options(small(), true)
    };
    assert_eq!(open(&storage, from(19)).0.log_start(), Offset(19));
    assert_eq!(open(&storage, options(small(), true)).0.log_start(), Offset(0));
    let (log, _) = open(&storage, from(60));
    assert_eq!((log.log_start(), log.log_end()), (Offset(60), Offset(60)));
}

#[test]
fn records_without_timestamps_go_by_when_they_were_written() {
    let (_, _, mut log) = new(keep(Some(10), None));
    for now_ms in [100, 101] {
        log.append_leader(batch(&[-1]), EPOCH, now_ms).unwrap();
    }
    assert_eq!(log.apply_retention(111, Offset(2)).unwrap().segments, 0);
    assert_eq!(log.apply_retention(112, Offset(2)).unwrap().segments, 1);
}
