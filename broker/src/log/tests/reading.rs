//! Reading from memory and from the disk, and finding times.

use flotilla_protocol::records::{BatchHeader, Compression};

use super::*;

/// Twenty batches of two records with the offset as timestamp, over several segments, and the same without a tail.
fn both() -> [Log; 2] {
    [new(small()), new(small())].map(|(_, _, mut log)| {
        fill(&mut log, 20);
        log
    })
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset_and_keeps_the_limits() {
    let [hot, mut cold] = both();
    cold.drop_tail();
    let all = read_all(&cold, Offset(0), 100_000);
    let size = all.len() / 20;
    for log in [&hot, &cold] {
        for from in 0..=40 {
            for upto in [0, 1, 7, 8, 25, 40, 99] {
                for bytes_max in [0, 1, size, size * 2 + 1, size * 8, 100_000] {
                    for min_one_batch in [false, true] {
                        let read = log
                            .read(Offset(from), bytes_max, Offset(upto), min_one_batch)
                            .unwrap();
                        let first = from as usize / 2;
                        let below_upto = (upto.min(40) as usize / 2).max(first);
                        let fitting = (bytes_max / size).max(usize::from(min_one_batch));
                        let end = if from >= upto {
                            first
                        } else {
                            below_upto.min(first + fitting)
                        };
                        assert_eq!(
                            read.batches.concat(),
                            &all[first * size..end * size],
                            "{from} {upto} {bytes_max}"
                        );
                        let next = if end == first { from } else { end as i64 * 2 };
                        assert_eq!(read.next_offset, Offset(next));
                    }
                }
            }
        }
    }
}

#[test]
fn the_end_of_the_log_is_read_from_memory() {
    let [mut log, _] = both();
    let is_hot = |log: &Log, from: i64| {
        matches!(
            log.plan_read(Offset(from), 1_000, Offset(40), true),
            Ok(Plan::Hot(_))
        )
    };
    assert!(is_hot(&log, 39) && is_hot(&log, 36) && !is_hot(&log, 0));
    assert!(log.storage.tail.used_bytes() <= 1024);
    log.drop_tail();
    assert!(!is_hot(&log, 39) && is_hot(&log, 40));
    assert_eq!(log.storage.tail.used_bytes(), 0);
}

#[test]
fn tails_share_their_budget_and_give_it_back() {
    let (_, storage) = sim();
    let mut logs: Vec<Log> = (0..8)
        .map(|n| {
            let path = PathBuf::from(format!("/volume/orders-{n}"));
            Log::open(&storage, &path, options(Config::default(), true), &mut |_| {})
                .unwrap()
                .0
        })
        .collect();
    for _ in 0..3 {
        for log in &mut logs {
            fill(log, 10);
            assert!(storage.tail.used_bytes() <= 4096);
        }
    }
    for log in &logs {
        assert_eq!(
            log.read(Offset(0), 1 << 20, log.log_end(), true)
                .unwrap()
                .next_offset,
            log.log_end()
        );
    }
    drop(logs);
    assert_eq!(storage.tail.used_bytes(), 0);
}

#[test]
fn offsets_outside_of_the_log_are_refused_with_its_bounds() {
    let [mut log, _] = both();
    log.advance_start(Offset(10)).unwrap();
    for offset in [-1, 9, 41] {
        let refused = log.read(Offset(offset), 1, Offset(40), true).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("offset {offset} is not between 10 and 40")
        );
    }
    assert!(
        log.read(Offset(40), 1, Offset(40), true)
            .unwrap()
            .batches
            .is_empty()
    );
    let read = log.read(Offset(10), 1, Offset(40), true).unwrap();
    assert_eq!(
        BatchHeader::parse(&read.batches[0]).unwrap().base_offset,
        Offset(10)
    );
}

#[test]
fn a_read_across_a_gap_goes_on_behind_it() {
    let at = |offset: i64| {
        let mut builder = BatchBuilder::new(Offset(offset)).leader_epoch(EPOCH);
        builder.push(offset, None, Some(&[0; 200]), &[]);
        builder.build()
    };
    let (_, _, mut log) = new(small());
    for offset in [0, 10, 20, 30, 40] {
        log.append_follower(&at(offset).freeze(), 0).unwrap();
    }
    assert!(log.segments() > 2);
    for from in 0..=40 {
        let read = log.read(Offset(from), 1, Offset(41), true).unwrap();
        let first = BatchHeader::parse(&read.batches[0]).unwrap().base_offset.0;
        assert_eq!(first, (from + 9) / 10 * 10);
    }
}

#[test]
fn a_batch_larger_than_what_is_read_at_once_comes_whole() {
    let (_, _, mut log) = new(Config {
        index_interval_bytes: 100,
        ..Config::default()
    });
    for size in [10, 3_000_000, 10, 1_100_000] {
        let mut builder = BatchBuilder::new(Offset(0));
        builder.push(0, None, Some(&vec![7; size]), &[]);
        log.append_leader(builder.build(), EPOCH, 0).unwrap();
    }
    log.drop_tail();
    for from in 0..4 {
        let read = log.read(Offset(from), 1, Offset(4), true).unwrap();
        assert_eq!(read.next_offset, Offset(from + 1));
        assert_eq!(
            flotilla_protocol::records::check(
                &read.batches.concat(),
                flotilla_protocol::records::Origin::Log
            )
            .unwrap()
            .base_offset,
            Offset(from)
        );
    }
    let read = log.read(Offset(0), 10_000_000, Offset(4), true).unwrap();
    assert_eq!(read.size_bytes as u64, log.size_bytes());
}

#[test]
fn a_segment_that_goes_away_while_it_is_read_says_so() {
    let [mut log, _] = both();
    let Ok(Plan::Cold(read)) = log.plan_read(Offset(0), 1_000, Offset(40), true) else {
        panic!("in memory")
    };
    let search = log.search(Target::At(0));
    log.start_over_at(Offset(40)).unwrap();
    assert!(matches!(read.run(), Err(Error::Removed { .. })));
    assert!(matches!(search.run(), Err(Error::Removed { .. })));
}

#[test]
fn a_time_is_found_at_the_first_record_that_has_it_or_a_later_one() {
    let times = [5, 3, 9, 9, 2, 14, 1, 20, 20, 11, 30, 12, 13, 40, 0, 41];
    for codec in [Compression::None, Compression::Zstd] {
        let (_, _, mut log) = new(small());
        for chunk in times.chunks(2) {
            let mut builder = BatchBuilder::new(Offset(0)).compression(codec);
            for timestamp_ms in chunk {
                builder.push(*timestamp_ms, None, Some(&[1; 100]), &[]);
            }
            log.append_leader(builder.build(), LeaderEpoch(6), 0).unwrap();
        }
        for start in 0..16 {
            log.advance_start(Offset(start)).unwrap();
            for target in 0..45 {
                let expected = (start as usize..16).find(|offset| times[*offset] >= target);
                let found = log.search(Target::At(target)).run().unwrap();
                assert_eq!(
                    found,
                    expected.map(|offset| Found {
                        offset: Offset(offset as i64),
                        timestamp_ms: times[offset],
                        leader_epoch: LeaderEpoch(6)
                    }),
                    "{target} from {start}"
                );
            }
        }
    }
}

#[test]
fn the_latest_time_is_the_first_record_that_has_it() {
    let (_, _, mut log) = new(small());
    assert_eq!(log.search(Target::MaxTimestamp).run().unwrap(), None);
    log.append_leader(batch(&[-1, -1]), EPOCH, 0).unwrap();
    assert_eq!(log.search(Target::MaxTimestamp).run().unwrap(), None);
    for chunk in [[7, 50], [50, 3], [1, 2], [4, 4], [50, 50], [6, 6]] {
        log.append_leader(batch(&chunk), EPOCH, 0).unwrap();
    }
    let found = log.search(Target::MaxTimestamp).run().unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp_ms), (Offset(3), 50));
}

#[test]
fn records_that_nobody_can_read_are_found_as_near_as_can_be() {
    let mut bytes = batch(&[10, 20]);
    bytes[22] = 1;
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    let (_, _, mut log) = new(Config::default());
    log.append_leader(bytes, EPOCH, 0).unwrap();
    assert_eq!(
        log.search(Target::At(15)).run().unwrap().unwrap().offset,
        Offset(0)
    );
}
