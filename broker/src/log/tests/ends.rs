//! Where a log ends, and where it is cut, if a disk has changed what its batches say of it: the CRC covers neither where a batch
//! begins nor its epoch.

use super::*;

/// A log over several segments that was closed, and all that it holds.
fn closed() -> (Arc<SimDisk>, Storage, Vec<u8>) {
    let (disk, storage, mut log) = new(small());
    fill(&mut log, 20);
    log.close().unwrap();
    let all = read_all(&log, Offset(0), 100_000);
    (disk, storage, all)
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    disk.paths()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect()
}

/// Looks for what is broken, and has it mended from `good`, the bytes of all batches of two records each.
fn mend_all(log: &mut Log, good: &[u8], size: usize) {
    for base in log.segment_bases() {
        if let Some(inspection) = log.inspect(base) {
            let inspected = inspection.run(&mut |_| true).unwrap().unwrap();
            log.note_damages(inspected.damages).unwrap();
        }
    }
    while let Some(damage) = log.damages().first().cloned() {
        let batches = Bytes::copy_from_slice(&good[damage.from.0 as usize / 2 * size..]);
        log.mend(&damage, &batches, 0).unwrap();
    }
}

#[test]
fn end_of_a_log_is_not_where_a_changed_offset_says() {
    let (disk, _, all) = closed();
    let size = all.len() / 20;
    let last = segments(&disk).pop().unwrap();
    for clean in [true, false] {
        for bit in 0..64 {
            let (disk, storage, _) = closed();
            disk.tamper(&last, |bytes| {
                let at = bytes.len() - size + bit / 8;
                bytes[at] ^= 1 << (bit % 8);
            });
            let what = format!("clean {clean} bit {bit}");
            let (mut log, recovery) = open(&storage, options(small(), clean));
            assert_eq!((log.log_end(), recovery.cut), (Offset(40), None), "{what}");
            let found: Vec<_> = log
                .damages()
                .iter()
                .map(|damage| (damage.from, damage.next))
                .collect();
            assert_eq!(found, [(Offset(38), Offset(40))], "{what}");
            mend_all(&mut log, &all, size);
            assert_eq!(read_all(&log, Offset(0), 1_000), all, "{what}");
        }
    }
}

#[test]
fn cut_past_a_changed_offset_or_epoch_leaves_no_hole() {
    let (disk, _, all) = closed();
    let size = all.len() / 20;
    for path in segments(&disk) {
        let length = disk.stat(&path).unwrap().size_bytes as usize;
        for batch in 0..length / size {
            for bit in (0..64).step_by(3).chain((12 * 8..16 * 8).step_by(5)) {
                for cut in [13, 24, 30] {
                    let (disk, storage, _) = closed();
                    disk.tamper(&path, |bytes| {
                        bytes[batch * size + bit / 8] ^= 1 << (bit % 8);
                    });
                    let what = format!("{} batch {batch} bit {bit} cut {cut}", path.display());
                    let (mut log, _) = open(&storage, options(small(), true));
                    log.truncate_to(Offset(cut)).unwrap();
                    // Nothing of a batch that is cut through is left.
                    let end = log.log_end();
                    assert_eq!(end, Offset(cut / 2 * 2), "{what}");
                    mend_all(&mut log, &all, size);
                    let left = end.0 as usize / 2 * size;
                    assert_eq!(read_all(&log, Offset(0), 1_000), &all[..left], "{what}");
                    log.append_follower(&Bytes::copy_from_slice(&all[left..]), 0)
                        .unwrap();
                    assert_eq!(read_all(&log, Offset(0), 1_000), all, "{what}");
                }
            }
        }
    }
}

#[test]
fn replica_that_was_catching_up_on_a_compacted_log_goes_on_after_a_crash() {
    let (_, _, all) = closed();
    let size = all.len() / 20;
    // What the leader has: offsets 10 to 29 are compacted away.
    let left = [&all[..5 * size], &all[15 * size..]].concat();
    for (clean, recovery_point) in [(true, None), (false, None), (false, Some(Offset(32)))] {
        let (_, storage, mut log) = new(Config::default());
        log.append_follower(&Bytes::copy_from_slice(&left[..6 * size]), 0)
            .unwrap();
        assert_eq!(log.log_end(), Offset(32));
        if clean {
            log.close().unwrap();
        } else {
            log.sync().unwrap();
        }
        drop(log);
        let after = OpenOptions {
            recovery_point,
            ..options(Config::default(), clean)
        };
        let (mut log, _) = open(&storage, after);
        let is_sure = clean || recovery_point.is_some();
        let end = if is_sure { Offset(32) } else { Offset(12) };
        assert_eq!((log.log_end(), log.damages().is_empty()), (end, is_sure));
        // What the leader sends from there on.
        let from = if is_sure { 6 } else { 5 };
        log.append_follower(&Bytes::copy_from_slice(&left[from * size..]), 0)
            .unwrap();
        while let Some(damage) = log.damages().first().cloned() {
            log.mend(&damage, &Bytes::copy_from_slice(&left[5 * size..]), 0)
                .unwrap();
        }
        assert_eq!(read_all(&log, Offset(0), 1_000), left);
    }
}

#[test]
fn last_epoch_that_cannot_have_been_is_broken_and_not_asked_for() {
    let (disk, storage, all) = closed();
    let size = all.len() / 20;
    let last = segments(&disk).pop().unwrap();
    disk.tamper(&last, |bytes| {
        let at = bytes.len() - size + 13;
        bytes[at] ^= 1;
    });
    let (mut log, _) = open(&storage, options(small(), false));
    assert_eq!(log.epochs().latest(), Some(LeaderEpoch(1 << 16)));
    log.disbelieve_epochs_above(LeaderEpoch(3));
    assert_eq!(log.epochs().entries(), [(EPOCH, Offset(0))]);
    mend_all(&mut log, &all, size);
    assert_eq!(read_all(&log, Offset(0), 1_000), all);
}
