//! Room that is set aside for the active segment, on the file system of this machine.

use std::os::unix::fs::MetadataExt;

use flotilla_protocol::records::{Origin, check};

use super::*;

const SEGMENT_BYTES: u32 = 8 << 20;

struct Site {
    directory: tempfile::TempDir,
    log: Log,
}

fn site() -> Site {
    site_with(false)
}

fn site_with(preallocate: bool) -> Site {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::new(Arc::new(RealDisk::new(8)));
    let config = Config {
        segment_bytes: SEGMENT_BYTES,
        preallocate,
        ..Config::default()
    };
    let dir = directory.path().join("orders-0");
    let (log, _) = Log::open(&storage, &dir, options(config, true), &mut |_| {}).unwrap();
    Site { directory, log }
}

impl Site {
    fn append(&mut self, bytes: usize) {
        let mut builder = BatchBuilder::new(Offset(0));
        builder.push(0, None, Some(&vec![b'x'; bytes]), &[]);
        self.log
            .append_leader(builder.build(), LeaderEpoch(0), 0)
            .unwrap();
    }

    /// Size and room on the disk of the first segment.
    fn first_segment(&self) -> (u64, u64) {
        let path = FileKind::Log.path(&self.directory.path().join("orders-0"), Offset(0));
        let stat = std::fs::metadata(path).unwrap();
        (stat.size(), stat.blocks() * 512)
    }
}

/// A file system gives out whole blocks.
fn is_about(room: u64, size: u64) -> bool {
    room >= size && room < size + (64 << 10)
}

#[test]
fn small_segment_has_no_room_set_aside() {
    let mut site = site();
    site.append(500_000);
    site.log.sync_handle().unwrap().sync().unwrap();
    let (size, room) = site.first_segment();
    assert!(is_about(room, size), "{size} {room}");
}

#[test]
fn room_for_as_much_again_is_set_aside_and_given_back_when_the_segment_ends() {
    let mut site = site();
    (0..3).for_each(|_| site.append(1 << 20));
    let (size, room) = site.first_segment();
    if RealDisk::new(1).has_room(site.directory.path()) {
        assert!(room >= size + (1 << 20), "{size} {room}");
        assert!(
            room < u64::from(SEGMENT_BYTES) + (64 << 10),
            "not beyond the segment's end: {room}"
        );
    }
    site.log.roll(0).unwrap();
    let (size, room) = site.first_segment();
    assert!(is_about(room, size), "{size} {room}");
}

#[test]
fn room_for_a_whole_segment_is_set_aside_with_its_first_record_where_the_topic_says_so() {
    let mut site = site_with(true);
    site.append(1_000);
    let (size, room) = site.first_segment();
    assert!(size < 2_000, "the file is as long as what it holds: {size}");
    if RealDisk::new(1).has_room(site.directory.path()) {
        assert!(is_about(room, u64::from(SEGMENT_BYTES)), "{room}");
    }
    site.log.roll(0).unwrap();
    let (size, room) = site.first_segment();
    assert!(is_about(room, size), "{size} {room}");
}

#[test]
fn room_is_given_back_when_the_log_is_closed() {
    let mut site = site();
    (0..3).for_each(|_| site.append(1 << 20));
    site.log.sync_handle().unwrap().sync().unwrap();
    site.log.close().unwrap();
    let (size, room) = site.first_segment();
    assert!(is_about(room, size), "{size} {room}");
}

#[test]
fn what_is_appended_into_it_is_read_back() {
    let mut site = site();
    let before = site.log.log_end();
    (0..20).for_each(|_| site.append(700_000));
    let mut from = before;
    let mut batches = 0;
    while from < site.log.log_end() {
        let read = site.log.read(from, 1, site.log.log_end(), true).unwrap();
        check(&read.batches[0], Origin::Log).unwrap();
        from = read.next_offset;
        batches += 1;
    }
    assert_eq!(batches, 20);
}
