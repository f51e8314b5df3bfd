//! Copies of logs on another volume.

use super::*;
use flotilla_protocol::{ProducerEpoch, ProducerId};

/// A volume of the same kind beside it.
fn other() -> (Arc<SimDisk>, Storage, PathBuf) {
    let disk = Arc::new(SimDisk::new());
    disk.create_dir(Path::new("/other")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let tail = TailBudget::new(4096, 1024);
    let storage = Storage {
        disk: disk.clone(),
        tail,
    };
    (disk, storage, PathBuf::from("/other/copy"))
}

const END: Offset = Offset(i64::MAX);

/// Copies all that there is, in pieces of one batch.
fn copy_all(copy: &mut Log, log: &Log, lowest_end: Offset) {
    copy.align_copy(log, lowest_end, 0).unwrap();
    loop {
        let read = log.read(copy.log_end(), 1, log.log_end(), true).unwrap();
        if read.batches.is_empty() {
            return;
        }
        copy.extend_copy(&read, 0).unwrap();
    }
}

fn replace(log: &mut Log, copy: Log) -> PathBuf {
    match log.replace_by(copy, Path::new("/other/orders-0"), Uuid([1; 16])) {
        Ok(old) => old.unwrap(),
        Err(NotReplaced { error, .. }) => panic!("{error}"),
    }
}

fn reopened(storage: &Storage) -> Log {
    let dir = Path::new("/other/orders-0");
    Log::open(storage, dir, options(small(), false), &mut |_| {})
        .unwrap()
        .0
}

#[test]
fn copy_follows_a_log_that_is_cut_and_begins_later() {
    let (_, _, mut log) = new(small());
    let (_, storage, dir) = other();
    fill(&mut log, 12);
    let mut copy = log.begin_copy(&storage, &dir, 0).unwrap();
    copy_all(&mut copy, &log, END);
    assert_eq!(copy.log_end(), Offset(24));
    // Another leader has something else from 13 on.
    log.truncate_to(Offset(13)).unwrap();
    let cut_to = log.log_end();
    log.append_leader(batch(&[100, 101]), EPOCH, 0).unwrap();
    fill(&mut log, 9);
    log.advance_start(Offset(5)).unwrap();
    copy_all(&mut copy, &log, cut_to);
    assert_eq!(
        read_all(&copy, Offset(5), 1 << 20),
        read_all(&log, Offset(5), 1 << 20)
    );
    assert_eq!((copy.log_start(), copy.log_end()), (Offset(5), log.log_end()));
    // It begins elsewhere altogether.
    for at in [Offset(1000), Offset(3)] {
        log.start_over_at(at).unwrap();
        fill(&mut log, 2);
        copy_all(&mut copy, &log, at);
        assert_eq!((copy.log_start(), copy.log_end()), (at, log.log_end()));
    }
    let before = read_all(&log, Offset(3), 1 << 20);
    replace(&mut log, copy);
    assert_eq!(read_all(&log, Offset(3), 1 << 20), before);
}

#[test]
fn copy_has_what_is_not_in_the_batches() {
    let (_, _, mut log) = new(small());
    let (disk, storage, dir) = other();
    for sequence in 0..8 {
        let producer = BatchBuilder::new(Offset(0)).producer(ProducerId(7), ProducerEpoch(2), sequence);
        let mut builder = producer;
        builder.push(0, None, Some(b"value"), &[]);
        log.append_leader(builder.build(), EPOCH, 0).unwrap();
    }
    // All of the producer's batches are gone, and it is still known; so is an epoch that has no records.
    log.advance_start(Offset(8)).unwrap();
    log.assign_epoch(LeaderEpoch(6));
    let mut copy = log.begin_copy(&storage, &dir, 0).unwrap();
    copy_all(&mut copy, &log, END);
    let (producers, epochs) = (log.producers().clone(), log.epochs().entries().to_vec());
    assert!(copy.producers().get(ProducerId(7)).is_none());
    assert_eq!(epochs, [(LeaderEpoch(6), Offset(8))]);
    let handle = log.sync_handle();
    let old = replace(&mut log, copy);
    assert_eq!(log.producers().get(ProducerId(7)), producers.get(ProducerId(7)));
    assert_eq!(log.epochs().entries(), epochs);
    assert_eq!((log.log_start(), log.synced_end()), (Offset(8), Offset(8)));
    assert!(is_gone_name(&old));
    // A sync of the log that was says nothing.
    if let Some(handle) = handle {
        log.mark_synced(&handle);
    }
    // It survives a loss of power, and goes on.
    drop(log);
    disk.crash(3);
    let mut log = reopened(&storage);
    assert_eq!(log.log_end(), Offset(8));
    assert!(log.producers().get(ProducerId(7)).is_some());
    assert_eq!(moves_of(&*storage.disk, log.dir()).unwrap(), Some(1));
    fill(&mut log, 1);
    assert_eq!(log.log_end(), Offset(10));
}

fn is_gone_name(dir: &Path) -> bool {
    let name = dir.file_name().unwrap().to_str().unwrap();
    name.starts_with("orders-0.") && name.ends_with("-delete")
}

#[test]
fn reader_of_the_log_that_was_is_told_to_read_again() {
    let (disk, _, mut log) = new(small());
    let (_, storage, dir) = other();
    fill(&mut log, 12);
    let mut copy = log.begin_copy(&storage, &dir, 0).unwrap();
    copy_all(&mut copy, &log, END);
    let Plan::Cold(cold) = log.plan_read(Offset(0), 1 << 20, log.log_end(), true).unwrap() else {
        panic!("a read from the disk is planned");
    };
    let inspection = log.inspect(Offset(0)).unwrap();
    let old = replace(&mut log, copy);
    assert!(matches!(cold.run(), Err(Error::Removed { .. })));
    disk.remove_dir(&old).unwrap();
    assert!(matches!(
        inspection.run(&mut |_| true),
        Err(Error::Removed { .. })
    ));
}

#[test]
fn what_is_in_the_way_is_left_alone() {
    let (_, _, mut log) = new(small());
    let (disk, storage, at) = other();
    fill(&mut log, 3);
    disk.create_dir(Path::new("/other/orders-0")).unwrap();
    let mut copy = log.begin_copy(&storage, &at, 0).unwrap();
    copy_all(&mut copy, &log, END);
    let refused = log.replace_by(copy, Path::new("/other/orders-0"), Uuid([1; 16]));
    let Err(NotReplaced { error, .. }) = refused else {
        panic!("something is written over");
    };
    assert!(matches!(error, Error::InTheWay { .. }), "{error}");
    fill(&mut log, 1);
    assert_eq!((log.log_end(), log.dir()), (Offset(8), &*dir()));
}
