//! A loss of power after each single step of a compaction.

use super::transactional::{end, transactional};
use super::*;
use crate::log::disk::stopping::{Power, Stopping};

/// Values, overwritten ones, tombstones that are new and one whose time is over, in segments of which some become one.
fn prepared() -> (Arc<SimDisk>, Config) {
    let config = Config {
        segment_bytes: 400,
        ..compacted()
    };
    let (disk, _, mut log) = new(config);
    append(&mut log, &[("old", Some("1")), ("kept", Some("1"))], 1);
    append(&mut log, &[("old", None)], 2);
    log.roll(2).unwrap();
    clean(&mut log, 3);
    for n in 0..14 {
        append(
            &mut log,
            &[
                ("a", Some(&format!("{n}"))),
                (&format!("k{}", n % 4), Some(&"v".repeat(30))),
            ],
            10 + n,
        );
        // What is aborted would replace what stays, and its producer commits later on.
        if n % 4 == 1 {
            let (id, sequence) = (n % 2, (n / 4) as i32 * 2);
            let aborted = transactional(id, sequence, &[("a", Some("aborted")), ("t", None)], 10 + n);
            log.append_leader(aborted, EPOCH, 10 + n).unwrap();
            end(&mut log, id, false, 10 + n);
        }
        if n % 4 == 3 {
            let (id, sequence) = (n % 2, 100 + (n / 4) as i32);
            let committed = transactional(id, sequence, &[("t", Some(&format!("{n}")))], 10 + n);
            log.append_leader(committed, EPOCH, 10 + n).unwrap();
            end(&mut log, id, true, 10 + n);
        }
        if n % 3 == 0 {
            log.roll(10 + n).unwrap();
        }
    }
    append(&mut log, &[("k1", None), ("k2", None)], 40);
    log.roll(40).unwrap();
    append(&mut log, &[("active", Some("1"))], 41);
    log.close().unwrap();
    disk.sync_all(Path::new("/volume")).unwrap();
    (disk, config)
}

/// When the compaction runs: the first tombstone's time is over.
const NOW_MS: i64 = 10_000;

/// What a reader that keeps the last value of each key knows in the end.
fn table(log: &Log) -> std::collections::BTreeMap<String, String> {
    let mut table = std::collections::BTreeMap::new();
    for (_, key, value) in committed(log) {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
    table
}

#[test]
fn power_lost_at_any_step_leaves_a_log_with_the_same_last_values() {
    let finished = {
        let (disk, config) = prepared();
        let storage = Storage::new(disk);
        let (mut log, _) = open(&storage, options(config, true));
        let before = table(&log);
        clean(&mut log, NOW_MS);
        assert_eq!(table(&log), before);
        assert!(log.sealed.len() > 1, "{:?}", bases(&log));
        (before, records(&log), log.log_end())
    };
    let mut steps = 0;
    loop {
        let mut completed = false;
        for seed in 3 * steps as u64..3 * steps as u64 + 3 {
            let (disk, config) = prepared();
            let power = Arc::new(Power::default());
            let stopping = Arc::new(Stopping::new(&disk, &power));
            let (mut log, _) = open(&Storage::new(stopping.clone()), options(config, true));
            power.last_for(steps);
            completed = try_clean(&mut log, LIMITS, NOW_MS).is_ok();
            drop(log);
            disk.crash(seed);
            let storage = Storage::new(disk.clone());
            let opened = OpenOptions {
                recovery_point: Some(finished.2),
                ..options(config, false)
            };
            let (mut log, recovery) = open(&storage, opened);
            assert_eq!(recovery.cut, None, "step {steps}, seed {seed}");
            assert_eq!(table(&log), finished.0, "step {steps}, seed {seed}");
            assert_eq!((log.log_start(), log.log_end()), (Offset(0), finished.2));
            let leftovers: Vec<String> = names(&disk)
                .into_iter()
                .filter(|name| name.ends_with(".swap") || name.ends_with(".cleaned"))
                .collect();
            assert_eq!(leftovers, Vec::<String>::new(), "step {steps}, seed {seed}");
            for offset in 0..finished.2.0 {
                // Whatever offset is asked for, what comes is the next that there is.
                let read = log.read(Offset(offset), 1, log.log_end(), true).unwrap();
                assert!(read.next_offset > Offset(offset), "step {steps}, seed {seed}");
            }
            clean(&mut log, NOW_MS);
            assert_eq!(records(&log), finished.1, "step {steps}, seed {seed}");
        }
        if completed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 30, "{steps} steps");
}

#[test]
fn swap_that_lost_its_indexes_is_finished_without_them() {
    let (disk, config) = prepared();
    let storage = Storage::new(disk.clone());
    let (mut log, _) = open(&storage, options(config, true));
    let before = table(&log);
    let stable = log.log_end();
    let cleanable = log.survey(stable).cleanable(NOW_MS).unwrap();
    let compaction = log.begin_compaction(&cleanable, LIMITS, [5; 16], NOW_MS);
    let mut rewrite = compaction.read_keys(&mut |_| true).unwrap();
    let cleaned = rewrite.next(&mut |_| true).unwrap().unwrap();
    let path = names(&disk)
        .into_iter()
        .find(|name| name.contains(".log.") && name.ends_with(".cleaned"));
    let path = dir().join(path.unwrap());
    disk.rename(&path, &dir().join("00000000000000000000.log.swap"))
        .unwrap();
    drop(cleaned);
    drop(log);
    let (log, _) = open(&storage, options(config, false));
    assert_eq!(table(&log), before);
    assert_eq!(log.log_end(), stable);
    assert!(!names(&disk).iter().any(|name| name.ends_with(".swap")));
}
