//! Batches that are left in their file for who sends them from there, on the file system of this machine.

use std::os::unix::fs::FileExt;

use flotilla_protocol::records::parse_batches;

use super::*;

/// One record each, of sizes around 10 KB.
const BATCHES: usize = 100;

struct Site {
    directory: tempfile::TempDir,
    log: Log,
}

fn config() -> Config {
    Config {
        segment_bytes: 400_000,
        ..Config::default()
    }
}

fn site() -> Site {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::new(Arc::new(RealDisk::new(8)));
    let dir = directory.path().join("orders-0");
    let (mut log, _) = Log::open(&storage, &dir, options(config(), true), &mut |_| {}).unwrap();
    for at in 0..BATCHES {
        let mut builder = BatchBuilder::new(Offset(0));
        builder.push(0, None, Some(&vec![b'x'; 8_000 + 50 * at]), &[]);
        log.append_leader(builder.build(), EPOCH, 0).unwrap();
    }
    log.drop_tail();
    Site { directory, log }
}

impl Site {
    /// The same log under a process that knows nothing of its files.
    fn again(self) -> Self {
        let Self { directory, log } = self;
        drop(log);
        let storage = Storage::new(Arc::new(RealDisk::new(8)));
        let dir = directory.path().join("orders-0");
        let (log, _) = Log::open(&storage, &dir, options(config(), false), &mut |_| {}).unwrap();
        Self { directory, log }
    }

    fn read(&self, from: i64, bytes_max: usize, upto: i64) -> Read {
        let plan = self.log.plan_read(Offset(from), bytes_max, Offset(upto), true);
        match plan.unwrap().leaving() {
            Plan::Hot(read) => read,
            Plan::Cold(read) => read.run().unwrap(),
        }
    }

    fn fail(&self, from: i64) -> Error {
        let plan = self.log.plan_read(Offset(from), 100_000, Offset(i64::MAX), true);
        match plan.unwrap().leaving() {
            Plan::Hot(read) => panic!("it was not looked at: {read:?}"),
            Plan::Cold(read) => read.run().unwrap_err(),
        }
    }

    fn segment(&self, base: i64) -> PathBuf {
        FileKind::Log.path(&self.directory.path().join("orders-0"), Offset(base))
    }
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"y", at).unwrap();
}

/// The base offsets of what was read, wherever it lies.
fn offsets(read: &Read) -> Vec<i64> {
    let bytes = match &read.region {
        Some(region) => region.read().unwrap(),
        None => read.batches.concat().into(),
    };
    assert_eq!(bytes.len(), read.size_bytes);
    let mut offsets = Vec::new();
    for batch in parse_batches(&bytes) {
        let (_, header, _) = batch.unwrap();
        offsets.push(header.base_offset.0);
    }
    assert_eq!(
        offsets.last().map_or(read.next_offset.0, |last| last + 1),
        read.next_offset.0
    );
    offsets
}

/// Reads all, which finds it sound.
fn look(site: &Site) {
    let mut at = 0;
    while at < BATCHES as i64 {
        let read = site.read(at, 1 << 20, i64::MAX);
        assert_eq!(read.region, None, "nobody has looked at it");
        at = read.next_offset.0;
    }
}

#[test]
fn what_was_found_sound_lately_is_left_in_its_file_within_the_same_limits_as_a_read() {
    let site = site();
    look(&site);
    let mut left = 0;
    for from in 0..BATCHES as i64 {
        for bytes_max in [1, 60_000, 64 * 1024, 100_000, 1 << 20] {
            for upto in [from + 1, from + 7, from + 30, i64::MAX] {
                let read = site.read(from, bytes_max, upto);
                let found = offsets(&read);
                assert_eq!(found, (from..read.next_offset.0).collect::<Vec<_>>());
                assert!(read.size_bytes <= bytes_max || found.len() == 1);
                assert!(read.next_offset <= Offset(upto));
                let plan = site.log.read(Offset(from), bytes_max, Offset(upto), true);
                let whole = plan.unwrap();
                assert!(read.next_offset <= whole.next_offset);
                if read.region.is_some() {
                    left += 1;
                    assert!(read.batches.is_empty());
                } else {
                    assert_eq!(read, whole);
                }
            }
        }
    }
    assert!(left > BATCHES, "{left}");
    assert!(site.read(0, 100_000, i64::MAX).region.is_some());
    assert_eq!(site.read(0, 60_000, i64::MAX).region, None, "little is copied");
}

#[test]
fn what_was_changed_is_read_and_checked_again() {
    let mut site = site();
    look(&site);
    assert!(site.read(0, 100_000, i64::MAX).region.is_some());
    flip(&site.segment(0), 50_000);
    let read = site.read(0, 100_000, i64::MAX);
    assert_eq!((read.region, read.next_offset), (None, Offset(6)));
    assert!(matches!(site.fail(6), Error::Damaged { .. }));
    // What is appended to is read, and what is sealed stays where it lies.
    let last = site.log.log_end().0 - 12;
    assert!(site.read(last, 1 << 20, i64::MAX).region.is_some());
    fill(&mut site.log, 1);
    site.log.drop_tail();
    assert_eq!(site.read(last, 1 << 20, i64::MAX).region, None);
    assert!(site.read(45, 100_000, i64::MAX).region.is_some());
}

#[test]
fn what_nobody_has_looked_at_is_read_and_checked_once() {
    let site = site().again();
    let first = site.read(3, 100_000, i64::MAX);
    assert_eq!(first.region, None);
    let next = first.next_offset.0;
    assert_eq!(site.read(next, 100_000, i64::MAX).region, None);
    let again = site.read(next, 100_000, i64::MAX);
    assert!(again.region.is_some());
    assert_eq!(offsets(&again), (next..again.next_offset.0).collect::<Vec<_>>());
}

#[test]
fn broken_batch_is_not_vouched_for() {
    let site = site().again();
    flip(&site.segment(0), 50_000);
    for _ in 0..3 {
        let read = site.read(0, 100_000, i64::MAX);
        assert_eq!((read.region.is_some(), read.next_offset), (false, Offset(6)));
        assert!(matches!(site.fail(6), Error::Damaged { .. }));
    }
}

#[test]
fn wrong_index_only_costs_the_reading() {
    let site = site();
    look(&site);
    let index = FileKind::OffsetIndex.path(&site.directory.path().join("orders-0"), Offset(0));
    let mut bytes = std::fs::read(&index).unwrap();
    assert!(!bytes.is_empty());
    for entry in bytes.chunks_mut(8) {
        entry[7] ^= 0x55;
    }
    std::fs::write(&index, bytes).unwrap();
    for from in 0..20 {
        let read = site.read(from, 100_000, i64::MAX);
        assert_eq!(offsets(&read), (from..read.next_offset.0).collect::<Vec<_>>());
    }
}
