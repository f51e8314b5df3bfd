//! Bytes that are not what was written.

use super::*;

/// A log over several segments that was closed, and all that it holds.
fn closed() -> (Arc<SimDisk>, Storage, Vec<u8>) {
    let (disk, storage, mut log) = new(small());
    fill(&mut log, 20);
    log.close().unwrap();
    let all = read_all(&log, Offset(0), 100_000);
    (disk, storage, all)
}

fn ending(disk: &SimDisk, suffix: &str) -> Vec<PathBuf> {
    disk.paths()
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect()
}

#[test]
fn after_an_unclean_stop_the_log_is_cut_at_the_first_flipped_bit() {
    let (disk, _, _) = closed();
    for (place, path) in ending(&disk, ".log").into_iter().enumerate() {
        for at in (0..disk.stat(&path).unwrap().size_bytes as usize).step_by(7) {
            // Base offset and leader epoch are not under the checksum.
            let (disk, storage, all) = closed();
            let size = all.len() / 20;
            if (0..8).contains(&(at % size)) || (12..16).contains(&(at % size)) {
                continue;
            }
            disk.tamper(&path, |bytes| bytes[at] ^= 0x10);
            let (log, recovery) = open(&storage, options(small(), false));
            let whole = read_all(&log, Offset(0), 1_000);
            let good = whole.len() / size;
            assert_eq!(whole, &all[..good * size]);
            let cut = recovery.cut.unwrap();
            assert_eq!(
                (cut.log_end, cut.size_bytes as usize),
                (Offset(good as i64 * 2), all.len() - whole.len())
            );
            let bad = log
                .sealed
                .iter()
                .map(|sealed| sealed.size_bytes as usize)
                .sum::<usize>()
                + at / size * size;
            assert_eq!(log.sealed.len(), place);
            assert_eq!(whole.len(), bad);
        }
    }
}

#[test]
fn a_cut_end_is_cut_to_whole_batches_and_written_on() {
    let (disk, _, all) = closed();
    let size = all.len() / 20;
    let path = ending(&disk, ".log").pop().unwrap();
    for length in 0..disk.stat(&path).unwrap().size_bytes {
        for clean in [true, false] {
            let (disk, storage, _) = closed();
            let before = all.len() as u64 - disk.stat(&path).unwrap().size_bytes;
            disk.tamper(&path, |bytes| bytes.truncate(length as usize));
            let (mut log, recovery) = open(&storage, options(small(), clean));
            let left = (before + length) as usize / size * size;
            assert_eq!(read_all(&log, Offset(0), 1_000), &all[..left]);
            assert_eq!(
                recovery.cut.is_some(),
                !(before + length).is_multiple_of(size as u64)
            );
            fill(&mut log, 3);
            assert_eq!(read_all(&log, Offset(0), 1_000).len(), left + 3 * size);
        }
    }
}

#[test]
fn damaged_or_missing_indexes_change_nothing_that_is_read() {
    for suffix in [".index", ".timeindex"] {
        let (disk, _, _) = closed();
        for path in ending(&disk, suffix) {
            let size = disk.stat(&path).unwrap().size_bytes as usize;
            let check = |disk: &SimDisk, storage: &Storage, all: &[u8], what: &str| {
                let (mut log, recovery) = open(storage, options(small(), true));
                assert_eq!(recovery, Recovery::default(), "{what}");
                for from in 0..40 {
                    let found = log.search(Target::At(from)).run().unwrap();
                    assert_eq!(
                        found.map(|found| (found.offset, found.timestamp_ms)),
                        Some((Offset(from), from)),
                        "{what}"
                    );
                    let first = from as usize / 2 * (all.len() / 20);
                    assert_eq!(read_all(&log, Offset(from), 1_000), &all[first..], "{what}");
                }
                assert_eq!(
                    log.search(Target::MaxTimestamp).run().unwrap().unwrap().offset,
                    Offset(39),
                    "{what}"
                );
                log.set_config(Config {
                    retention_ms: Some(10),
                    ..small()
                });
                log.apply_retention(20, Offset(40)).unwrap();
                assert_eq!(log.log_start(), Offset(10), "{what}");
                log.truncate_to(Offset(20)).unwrap();
                assert_eq!(
                    log.search(Target::MaxTimestamp)
                        .run()
                        .unwrap()
                        .unwrap_or_else(|| panic!("{what} {:?} {:?}", log.sealed, log.active))
                        .offset,
                    Offset(19),
                    "{what}"
                );
                let _ = disk;
            };
            for at in 0..size {
                for bit in [0, 5, 7] {
                    let (disk, storage, all) = closed();
                    disk.tamper(&path, |bytes| bytes[at] ^= 1 << bit);
                    check(&disk, &storage, &all, &format!("{} byte {at}", path.display()));
                }
            }
            let (disk, storage, all) = closed();
            disk.tamper(&path, Vec::clear);
            check(&disk, &storage, &all, "emptied");
            let (disk, storage, all) = closed();
            disk.tamper(&path, |bytes| bytes.truncate(size - 1));
            check(&disk, &storage, &all, "cut");
            let (disk, storage, all) = closed();
            disk.remove(&path).unwrap();
            check(&disk, &storage, &all, "removed");
        }
    }
}

#[test]
fn damaged_or_missing_epochs_and_snapshots_are_built_anew() {
    let (disk, _, _) = closed();
    let files: Vec<PathBuf> = [
        ending(&disk, ".snapshot"),
        ending(&disk, "leader-epoch-checkpoint"),
    ]
    .concat();
    for path in files {
        let (disk, storage, all) = closed();
        disk.tamper(&path, |bytes| bytes[3] ^= 1);
        let (log, _) = open(&storage, options(small(), true));
        assert_eq!(
            (read_all(&log, Offset(0), 1_000), log.epochs().entries()),
            (all, &[(EPOCH, Offset(0))][..])
        );
        let (disk, storage, all) = closed();
        disk.remove(&path).unwrap();
        let (log, _) = open(&storage, options(small(), true));
        assert_eq!(
            (read_all(&log, Offset(0), 1_000), log.epochs().entries()),
            (all, &[(EPOCH, Offset(0))][..])
        );
    }
}

#[test]
fn damage_that_a_clean_start_believes_is_found_by_who_reads_it() {
    let (disk, storage, all) = closed();
    let first = ending(&disk, ".log").remove(0);
    disk.tamper(&first, |bytes| bytes[16] = 9);
    let (log, _) = open(&storage, options(small(), true));
    let refused = log.read(Offset(0), 1_000, Offset(40), true).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "/volume/orders-0/00000000000000000000.log is damaged at byte 0: magic 9 is not known"
    );
    assert_eq!(refused.severity(), Severity::Log);
    let from = log.sealed[1].base;
    assert_eq!(
        read_all(&log, from, 1_000),
        &all[all.len() / 20 * (from.0 as usize / 2)..]
    );
}

#[test]
fn leftovers_of_an_interrupted_roll_and_strangers_are_no_trouble() {
    let (disk, storage, all) = closed();
    for name in [
        "leader-epoch-checkpoint.tmp",
        "00000000000000000003.log.deleted",
        "00000000000000000099.index",
        "notes.txt",
    ] {
        disk.create(&dir().join(name)).unwrap();
    }
    // The file of a roll that failed behind it: the log went on in the segment before.
    disk.create(&dir().join("00000000000000000001.log")).unwrap();
    let (log, _) = open(&storage, options(small(), true));
    assert_eq!(read_all(&log, Offset(0), 1_000), all);
    let left = names(&disk);
    assert!(left.contains(&"notes.txt".to_owned()));
    assert!(!left.iter().any(|name| name.ends_with(".tmp")
        || name.ends_with(".deleted")
        || name.contains("0099")
        || name.contains("0001.")));
}

#[test]
fn recovery_looks_only_at_what_was_not_synced() {
    let (_, storage, _) = closed();
    let mut seen = 0;
    let last = OpenOptions {
        recovery_point: Some(Offset(39)),
        ..options(small(), false)
    };
    let (log, recovery) = Log::open(&storage, &dir(), last, &mut |bytes| seen += bytes).unwrap();
    assert_eq!((recovery.segments_scanned, recovery.cut), (1, None));
    assert_eq!(
        (seen, recovery.bytes_scanned),
        (log.active.as_ref().unwrap().size_bytes, seen)
    );
    let (_, recovery) = open(&storage, options(small(), false));
    assert_eq!(recovery.segments_scanned, log.segments());
}
