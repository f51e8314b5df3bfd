//! Bytes that are not what was written.

use flotilla_protocol::records::{BatchHeader, EndTransactionMarker};
use flotilla_protocol::{ProducerEpoch, ProducerId};

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

/// What is read outside of what is known to be broken is what was written there; what is broken is refused.
fn assert_only_the_damage_is_missing(log: &Log, all: &[u8], damage: &Damage, what: &str) {
    let size = all.len() / 20;
    let of = |offset: Offset| offset.0 as usize / 2 * size;
    let mut at = Offset(0);
    while at < log.log_end() {
        match log.read(at, 1_000, log.log_end(), true) {
            Ok(read) => {
                assert_eq!(read.batches.concat(), all[of(at)..of(read.next_offset)], "{what}");
                assert!(
                    read.next_offset > at && (at >= damage.next || read.next_offset <= damage.from),
                    "{what}"
                );
                at = read.next_offset;
            }
            Err(error) => {
                assert!(
                    matches!(error, Error::Damaged { known: true, .. }),
                    "{what}: {error}"
                );
                assert_eq!(
                    (at, error.damaged_segment()),
                    (damage.from, Some(damage.segment)),
                    "{what}"
                );
                at = damage.next;
            }
        }
    }
}

#[test]
fn after_an_unclean_stop_what_is_broken_is_kept_apart_and_mended() {
    let (disk, _, all) = closed();
    let size = all.len() / 20;
    let files = ending(&disk, ".log");
    for (place, path) in files.iter().enumerate() {
        let length = disk.stat(path).unwrap().size_bytes as usize;
        for at in (0..length).step_by(7) {
            let (disk, storage, all) = closed();
            let is_last = place + 1 == files.len() && at / size == length / size - 1;
            // Only its neighbours tell the leader epoch of a batch, and behind the last there is none.
            if is_last && (12..16).contains(&(at % size)) {
                continue;
            }
            disk.tamper(path, |bytes| bytes[at] ^= 0x10);
            let (mut log, recovery) = open(&storage, options(small(), false));
            let what = format!("{} byte {at}", path.display());
            let Some(damage) = log.damages().first().cloned() else {
                // Where it ends is not to be known any more.
                let says_where = [8..12, 16..17, 23..27, 57..61];
                assert!(is_last && recovery.cut.is_some(), "{what}");
                assert!(
                    says_where.iter().any(|field| field.contains(&(at % size))),
                    "{what}"
                );
                assert_eq!(
                    read_all(&log, Offset(0), 1_000),
                    &all[..all.len() - size],
                    "{what}"
                );
                continue;
            };
            assert_eq!((log.damages().len(), recovery.cut), (1, None), "{what}");
            assert_eq!(log.log_end(), Offset(40), "{what}");
            assert!(
                damage.position <= at as u64 && (at as u64) < damage.end(),
                "{what}: {damage:?}"
            );
            assert_only_the_damage_is_missing(&log, &all, &damage, &what);
            let good = Bytes::copy_from_slice(&all[damage.from.0 as usize / 2 * size..]);
            assert_eq!(log.mend(&damage, &good, 40).unwrap(), Mended::Whole, "{what}");
            assert_eq!(
                (read_all(&log, Offset(0), 1_000), log.damages()),
                (all, &[][..]),
                "{what}"
            );
            assert_eq!(log.epochs().entries(), &[(EPOCH, Offset(0))], "{what}");
        }
    }
}

#[test]
fn broken_batch_is_never_served_and_an_inspection_tells_it_from_the_others() {
    let (disk, _, all) = closed();
    let size = all.len() / 20;
    for path in ending(&disk, ".log") {
        let length = disk.stat(&path).unwrap().size_bytes as usize;
        for at in (0..length).step_by(3) {
            for bit in [0, 3, 7] {
                let (disk, storage, all) = closed();
                disk.tamper(&path, |bytes| bytes[at] ^= 1 << bit);
                let what = format!("{} byte {at} bit {bit}", path.display());
                let Ok((mut log, _)) = Log::open(&storage, &dir(), options(small(), true), &mut |_| {})
                else {
                    panic!("{what}");
                };
                if !log.damages().is_empty() || log.log_end() == Offset(38) {
                    // The last batch, which is looked at when the log is opened.
                    continue;
                }
                assert_eq!(log.log_end(), Offset(40), "{what}");
                let mut served = Offset(0);
                for from in 0..40 {
                    let mut at = Offset(from);
                    while let Ok(read) = log.read(at, 300, Offset(40), true) {
                        let from = at.0 as usize / 2 * size;
                        let upto = read.next_offset.0 as usize / 2 * size;
                        assert_eq!(read.batches.concat(), all[from..upto], "{what} from {at}");
                        at = read.next_offset;
                        if at == Offset(40) {
                            break;
                        }
                        assert!(!read.batches.is_empty(), "{what} from {at}");
                    }
                    served = served.max(at);
                }
                let mut found = Vec::new();
                for base in log.segment_bases() {
                    let inspected = log.inspect(base).unwrap().run(&mut |_| true).unwrap().unwrap();
                    assert!(!inspected.bad_indexes, "{what}");
                    found.extend(inspected.damages);
                }
                assert_eq!(log.note_damages(found.clone()).unwrap(), 1, "{what} {found:?}");
                let damage = log.damages()[0].clone();
                assert_only_the_damage_is_missing(&log, &all, &damage, &what);
                let good = Bytes::copy_from_slice(&all[damage.from.0 as usize / 2 * size..]);
                assert_eq!(log.mend(&damage, &good, 40).unwrap(), Mended::Whole, "{what}");
                assert_eq!(log.note_damages(found).unwrap(), 0, "{what}");
                assert_eq!(read_all(&log, Offset(0), 1_000), all, "{what}");
            }
        }
    }
}

/// A log whose third batch is broken, and that knows it.
fn broken() -> (Arc<SimDisk>, Log, Vec<u8>, Damage) {
    let (disk, storage, all) = closed();
    let (size, first) = (all.len() / 20, ending(&disk, ".log").remove(0));
    disk.tamper(&first, |bytes| bytes[2 * size + 70] ^= 1);
    let (mut log, _) = open(&storage, options(small(), true));
    let inspected = log
        .inspect(Offset(0))
        .unwrap()
        .run(&mut |_| true)
        .unwrap()
        .unwrap();
    log.note_damages(inspected.damages).unwrap();
    let damage = log.damages()[0].clone();
    assert_eq!((damage.from, damage.next), (Offset(4), Offset(6)));
    (disk, log, all, damage)
}

#[test]
fn only_what_belongs_there_takes_the_place_of_what_is_broken() {
    let (_, mut log, all, damage) = broken();
    let size = all.len() / 20;
    let batch = |number: usize, change: &dyn Fn(&mut [u8])| {
        let mut bytes = all[number * size..(number + 1) * size].to_vec();
        change(&mut bytes);
        Bytes::from(bytes)
    };
    let mut refused = |batches: &Bytes| {
        assert!(!log.would_mend(&damage, batches));
        log.mend(&damage, batches, 0).unwrap_err().to_string()
    };
    assert_eq!(refused(&Bytes::new()), "the other replica sent nothing of it");
    assert_eq!(
        refused(&batch(1, &|_| {})),
        "the other replica sent nothing of it"
    );
    assert!(refused(&batch(2, &|bytes| bytes[70] ^= 1)).contains("CRC-32C"));
    assert!(refused(&batch(2, &|bytes| bytes[15] = 9)).contains("leader epoch 9 stands at offset 4"));
    assert!(refused(&batch(2, &|bytes| bytes[7] = 3)).contains("offsets 3 to 4 stand between 4 and 6"));
    assert_eq!(log.damages(), std::slice::from_ref(&damage));
    assert_eq!(log.mend(&damage, &batch(2, &|_| {}), 0).unwrap(), Mended::Whole);
    assert_eq!(log.mend(&damage, &batch(2, &|_| {}), 0).unwrap(), Mended::Gone);
    assert_eq!(read_all(&log, Offset(0), 1_000), all);
}

#[test]
fn what_the_other_replica_compacted_away_goes_here_too_when_it_is_broken() {
    let (disk, mut log, all, damage) = broken();
    let size = all.len() / 20;
    let behind = Bytes::copy_from_slice(&all[3 * size..4 * size]);
    assert_eq!(log.mend(&damage, &behind, 0).unwrap(), Mended::Whole);
    let left = [&all[..2 * size], &all[3 * size..]].concat();
    assert_eq!(read_all(&log, Offset(0), 1_000), left);
    assert_eq!(log.size_bytes() as usize, left.len());
    assert!(!names(&disk).iter().any(|name| name.ends_with(".tmp")));
    log.close().unwrap();
    let storage = log.storage.clone();
    drop(log);
    for clean in [true, false] {
        let (log, _) = open(&storage, options(small(), clean));
        assert_eq!(
            (read_all(&log, Offset(0), 1_000), log.damages()),
            (left.clone(), &[][..])
        );
    }
}

#[test]
fn log_is_truncated_behind_what_is_broken_and_forgets_what_it_cut_off() {
    let (_, mut log, all, damage) = broken();
    log.truncate_to(Offset(10)).unwrap();
    assert_eq!((log.log_end(), log.damages()), (Offset(10), &[damage][..]));
    log.truncate_to(Offset(5)).unwrap();
    assert_eq!((log.log_end(), log.damages()), (Offset(4), &[][..]));
    assert_eq!(read_all(&log, Offset(0), 1_000), &all[..2 * (all.len() / 20)]);
}

#[test]
fn records_that_are_deleted_are_not_broken_any_more() {
    let (_, mut log, _, _) = broken();
    log.advance_start(Offset(6)).unwrap();
    assert_eq!(log.damages(), &[]);
}

#[test]
fn what_a_sync_has_promised_is_not_taken_for_half_written() {
    for (synced_to, kept) in [(Offset(40), true), (Offset(38), false)] {
        let (disk, storage, mut log) = new(Config::default());
        fill(&mut log, 19);
        let mut builder = BatchBuilder::new(Offset(0));
        builder.push(38, None, Some(&[7; 2_000]), &[]);
        builder.push(39, None, None, &[]);
        log.append_leader(builder.build(), EPOCH, 38).unwrap();
        log.close().unwrap();
        let size = log.size_bytes() as usize;
        drop(log);
        let path = ending(&disk, ".log").remove(0);
        // A sector that was never written.
        disk.tamper(&path, |bytes| {
            bytes[size / 512 * 512 - 512..size / 512 * 512].fill(0)
        });
        let after = OpenOptions {
            recovery_point: Some(synced_to),
            ..options(Config::default(), false)
        };
        let (log, recovery) = open(&storage, after);
        let damages: Vec<_> = log
            .damages()
            .iter()
            .map(|damage| (damage.from, damage.next))
            .collect();
        assert_eq!(
            (recovery.cut.is_none(), log.log_end() == Offset(40)),
            (kept, kept)
        );
        assert_eq!(
            damages,
            if kept {
                vec![(Offset(38), Offset(40))]
            } else {
                vec![]
            }
        );
    }
}

#[test]
fn inspection_finds_indexes_that_do_not_fit_and_they_are_built_anew() {
    let (disk, _, _) = closed();
    for path in [".index", ".timeindex"]
        .iter()
        .flat_map(|suffix| ending(&disk, suffix))
    {
        let base = FileKind::parse(path.file_name().unwrap().to_str().unwrap())
            .unwrap()
            .1;
        let (whole, storage, all) = closed();
        let (log, _) = open(&storage, options(small(), true));
        if !log.sealed.iter().any(|sealed| sealed.base == base) {
            continue;
        }
        let before = whole.read_at(&path, 0, 1_000).unwrap();
        for at in 0..before.len() {
            let (disk, storage, _) = closed();
            disk.tamper(&path, |bytes| bytes[at] ^= 1);
            let (mut log, _) = open(&storage, options(small(), true));
            let inspected = log.inspect(base).unwrap().run(&mut |_| true).unwrap().unwrap();
            assert!(
                inspected.bad_indexes && inspected.damages.is_empty(),
                "{} byte {at}",
                path.display()
            );
            log.rebuild_indexes(base).unwrap();
            // They are built when somebody asks for them: until then nothing is wrong with them.
            let inspected = log.inspect(base).unwrap().run(&mut |_| true).unwrap().unwrap();
            assert!(!inspected.bad_indexes);
            assert_eq!(
                read_all(&log, base, 1_000),
                &all[base.0 as usize / 2 * (all.len() / 20)..]
            );
            assert!(log.search(Target::At(base.0 + 1)).run().unwrap().is_some());
            assert!(disk.read_at(&path, 0, 1_000).is_ok());
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

#[test]
fn directory_never_belongs_to_another_topic_by_a_changed_letter() {
    let (disk, _, _) = closed();
    let file = dir().join("partition.metadata");
    for at in 0..disk.stat(&file).unwrap().size_bytes as usize {
        let (disk, storage, all) = closed();
        disk.tamper(&file, |bytes| bytes[at] ^= 1);
        let said = recovery::read_topic_id(&*disk, &dir()).unwrap();
        assert!(
            said.is_none_or(|topic_id| topic_id == TOPIC_ID),
            "byte {at}: {said:?}"
        );
        // Whoever knows the topic writes it anew.
        let (log, _) = open(&storage, options(small(), false));
        assert_eq!(read_all(&log, Offset(0), 1_000), all, "byte {at}");
        assert_eq!(
            recovery::read_topic_id(&*disk, &dir()).unwrap(),
            Some(TOPIC_ID),
            "byte {at}"
        );
    }
}

fn in_transaction(log: &mut Log, sequence: i32) {
    let mut builder = BatchBuilder::new(Offset(0))
        .producer(ProducerId(1), ProducerEpoch(0), sequence)
        .transactional();
    builder.push(0, Some(b"key"), Some(b"in doubt"), &[]);
    log.append_leader(builder.build(), EPOCH, 0).unwrap();
}

fn abort(log: &mut Log) {
    let marker = EndTransactionMarker {
        committed: false,
        coordinator_epoch: 1,
    };
    let batch = marker.batch(ProducerId(1), ProducerEpoch(0), 0).build();
    log.append_leader(batch, EPOCH, 0).unwrap();
}

/// First record and marker of each aborted transaction, or that the list is damaged.
fn listed(log: &Log) -> Option<Vec<(i64, i64)>> {
    match log.aborted_search(Offset(0)).run(log.log_end()) {
        Ok(found) => Some(
            found
                .iter()
                .map(|one| (one.first_offset.0, one.last_offset.0))
                .collect(),
        ),
        Err(Error::Damaged { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn damaged_list_of_aborted_transactions_is_built_anew() {
    let aborted = || {
        let (disk, storage, mut log) = new(small());
        in_transaction(&mut log, 0);
        abort(&mut log);
        in_transaction(&mut log, 1);
        log.roll(0).unwrap();
        abort(&mut log);
        in_transaction(&mut log, 2);
        abort(&mut log);
        log.roll(0).unwrap();
        in_transaction(&mut log, 3);
        abort(&mut log);
        log.close().unwrap();
        (disk, storage)
    };
    let expected = vec![(0, 1), (2, 3), (4, 5), (6, 7)];
    let lists = ending(&aborted().0, ".txnindex");
    assert_eq!(lists.len(), 3);
    for path in lists {
        let length = aborted().0.stat(&path).unwrap().size_bytes as usize;
        for at in 0..length {
            for cuts in [false, true] {
                let (disk, storage) = aborted();
                disk.tamper(&path, |bytes| match cuts {
                    false => bytes[at] ^= 0x10,
                    true => bytes.truncate(at),
                });
                let what = format!("{} byte {at}, cut: {cuts}", path.display());
                let (mut log, recovery) = open(&storage, options(small(), true));
                assert_eq!(recovery, Recovery::default(), "{what}");
                if let Some(listed) = listed(&log) {
                    // That of the active segment is read when the log is opened. One that lost whole entries looks whole.
                    let lost = usize::from(cuts && at == 38);
                    assert_eq!(listed.len(), expected.len() - lost, "{what}");
                    continue;
                }
                log.mend_aborted().unwrap();
                assert_eq!(listed(&log).as_ref(), Some(&expected), "{what}");
                log.close().unwrap();
                let (log, _) = open(&storage, options(small(), true));
                assert_eq!(listed(&log).as_ref(), Some(&expected), "{what}");
            }
        }
    }
}

#[test]
fn marker_that_is_broken_at_the_start_ends_its_transaction_once_it_is_mended() {
    let (disk, storage, mut log) = new(small());
    in_transaction(&mut log, 0);
    abort(&mut log);
    fill(&mut log, 2);
    log.close().unwrap();
    let all = read_all(&log, Offset(0), 1 << 20);
    let marker = BatchHeader::parse(&all).unwrap().size_bytes();
    let path = ending(&disk, ".log").remove(0);
    disk.tamper(&path, |bytes| bytes[marker + 65] ^= 1);
    let opened = OpenOptions {
        recovery_point: Some(log.log_end()),
        ..options(small(), false)
    };
    let (mut log, _) = open(&storage, opened);
    let damage = log.damages()[0].clone();
    assert_eq!((damage.from, damage.next), (Offset(1), Offset(2)));
    // Nobody who reads what is decided gets further, and what comes behind it is known.
    assert_eq!(log.last_stable_offset(log.log_end()), Offset(0));
    in_transaction(&mut log, 1);
    let good = Bytes::copy_from_slice(&all[marker..]);
    assert_eq!(log.mend(&damage, &good, 0).unwrap(), Mended::Whole);
    assert_eq!(listed(&log), Some(vec![(0, 1)]));
    assert_eq!(log.last_stable_offset(log.log_end()), Offset(6));
}
