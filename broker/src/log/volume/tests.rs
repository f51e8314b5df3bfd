use std::collections::BTreeMap;

use flotilla_protocol::Offset;

use super::*;
use crate::log::disk::{RealDisk, SimDisk};

const CLUSTER: &str = "BwcHBwcHBwcHBwcHBwcHBw";

fn identity() -> Identity {
    Identity {
        cluster_id: CLUSTER.to_owned(),
        broker_id: BrokerId(3),
        directory_id: Uuid([9; 16]),
    }
}

fn path() -> &'static Path {
    Path::new("/data")
}

fn formatted() -> (Arc<SimDisk>, Arc<dyn Disk>) {
    let disk = Arc::new(SimDisk::new());
    Volume::format(&*disk, path(), &identity()).unwrap();
    (disk.clone(), disk)
}

fn open(disk: &Arc<dyn Disk>) -> Result<(Volume, Opened), VolumeError> {
    Volume::open(disk, path(), CLUSTER, BrokerId(3), VolumeOptions::default())
}

fn refusal(disk: &Arc<dyn Disk>, cluster_id: &str, broker_id: i32) -> String {
    let opened = Volume::open(
        disk,
        path(),
        cluster_id,
        BrokerId(broker_id),
        VolumeOptions::default(),
    );
    opened.map(drop).unwrap_err().to_string()
}

/// All that lies on the disk, to prove that nothing was touched.
fn contents(disk: &SimDisk) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let read = |path: &PathBuf| Some(disk.read_at(path, 0, 1 << 20).ok()?.to_vec());
    disk.paths()
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

#[test]
fn a_formatted_volume_knows_whose_it_is_also_after_a_crash() {
    let disk = SimDisk::new();
    assert_eq!(Volume::inspect(&disk, path()).unwrap(), None);
    Volume::format(&disk, path(), &identity()).unwrap();
    disk.crash(0);
    assert_eq!(Volume::inspect(&disk, path()).unwrap(), Some(identity()));
    let text = disk.read_at(&path().join("meta.properties"), 0, 1_000).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&text),
        checkpoint::seal(
            "version=1\ncluster.id=BwcHBwcHBwcHBwcHBwcHBw\nnode.id=3\ndirectory.id=CQkJCQkJCQkJCQkJCQkJCQ\n"
        )
    );
    let crc = crc32c::crc32c(&text[..text.len() - 16]);
    assert!(text.ends_with(format!("crc32c={crc:08x}\n").as_bytes()));
    assert!(matches!(
        Volume::format(&disk, path(), &identity()),
        Err(VolumeError::NotEmpty { .. })
    ));
}

#[test]
fn a_format_that_was_interrupted_can_be_done_again() {
    let disk = SimDisk::new();
    disk.create_dir(&path().join("lost+found")).unwrap();
    disk.create(&path().join("meta.properties.tmp")).unwrap();
    disk.create(&path().join(".lock")).unwrap();
    Volume::format(&disk, path(), &identity()).unwrap();
    assert_eq!(Volume::inspect(&disk, path()).unwrap(), Some(identity()));
}

#[test]
fn another_clusters_or_brokers_directory_is_refused_untouched() {
    let (sim, disk) = formatted();
    let before = contents(&sim);
    assert_eq!(
        refusal(&disk, "CQkJCQkJCQkJCQkJCQkJCQ", 3),
        "/data belongs to the cluster BwcHBwcHBwcHBwcHBwcHBw, not to CQkJCQkJCQkJCQkJCQkJCQ: \
         give this broker the directory of its own cluster, or an empty one"
    );
    assert_eq!(
        refusal(&disk, CLUSTER, 4),
        "/data belongs to broker 3, not to broker 4: give each broker its own directory, or an empty one"
    );
    assert_eq!(contents(&sim), before);
}

#[test]
fn somebody_elses_files_are_left_alone() {
    let disk = SimDisk::new();
    disk.create_dir(path()).unwrap();
    disk.create(&path().join("thesis.txt")).unwrap();
    let before = contents(&disk);
    let refused = Volume::format(&disk, path(), &identity()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "/data holds files but no meta.properties, so it is not a data directory: give an empty directory"
    );
    assert_eq!(contents(&disk), before);
}

#[test]
fn an_identity_that_cannot_be_read_is_refused_with_the_reason() {
    for (text, reason) in [
        (
            "version=1\ncluster.id=x\nnode.id=3\n",
            "`directory.id` is missing",
        ),
        (
            "version=1\ncluster.id=x\nnode.id=three\ndirectory.id=CQkJCQkJCQkJCQkJCQkJCQ\n",
            "`node.id` is not what it should be",
        ),
        ("version=0\nbroker.id=3\n", "only version 1 is known"),
        ("garbage", "`garbage` is not a property"),
        ("", "`version` is missing"),
    ] {
        let (sim, disk) = formatted();
        sim.tamper(&path().join("meta.properties"), |bytes| {
            *bytes = text.as_bytes().to_vec()
        });
        let before = contents(&sim);
        let refused = refusal(&disk, CLUSTER, 3);
        assert_eq!(
            refused,
            format!(
                "/data/meta.properties cannot be read as the identity of a data directory ({reason}): \
                 restore it from a backup, or give an empty directory"
            )
        );
        assert_eq!(contents(&sim), before);
    }
}

#[test]
fn a_directory_without_write_permission_says_what_to_do() {
    let (sim, disk) = formatted();
    sim.set_read_only(true);
    let before = contents(&sim);
    let told = "no permission to write to /data/.lock: give the user that the broker runs as read and write permission there";
    assert_eq!(refusal(&disk, CLUSTER, 3), told);
    assert_eq!(contents(&sim), before);
    let empty = SimDisk::new();
    empty.set_read_only(true);
    let refused = Volume::format(&empty, path(), &identity()).unwrap_err();
    assert!(matches!(refused, VolumeError::NoPermission { .. }));
}

#[test]
fn a_full_disk_says_what_to_do() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(10));
    let refused = Volume::format(&disk, path(), &identity()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the file system of /data/meta.properties is full: free some space, then start again"
    );
}

#[test]
fn a_volume_that_was_never_formatted_is_refused() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    assert_eq!(
        refusal(&disk, CLUSTER, 3),
        "/data has not been formatted as a data directory yet"
    );
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(4));
    Volume::format(&*disk, &root, &identity()).unwrap();
    let open = || Volume::open(&disk, &root, CLUSTER, BrokerId(3), VolumeOptions::default());
    let first = open().unwrap();
    let refused = open().map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "{} is in use by another process: stop that broker, or give another directory",
            root.display()
        )
    );
    drop(first);
    assert!(open().is_ok());
}

#[test]
fn the_mark_of_a_clean_stop_counts_once() {
    let (sim, disk) = formatted();
    let (volume, opened) = open(&disk).unwrap();
    assert!(!opened.clean);
    volume.mark_clean().unwrap();
    drop(volume);
    sim.crash(5);
    let (volume, opened) = open(&disk).unwrap();
    assert!(opened.clean);
    drop(volume);
    for seed in 0..8 {
        sim.crash(seed);
        let (_, opened) = open(&disk).unwrap();
        assert!(
            !opened.clean,
            "the mark is gone for good before any log is loaded"
        );
    }
}

#[test]
fn checkpoints_read_back_and_a_damaged_one_counts_as_missing() {
    let (sim, disk) = formatted();
    let offsets = |at: i64| Offsets::from([(("orders".to_owned(), PartitionIndex(1)), Offset(at))]);
    let (volume, _) = open(&disk).unwrap();
    volume.write_start_offsets(&offsets(1)).unwrap();
    volume.write_recovery_points(&offsets(2)).unwrap();
    volume.write_high_watermarks(&offsets(3)).unwrap();
    drop(volume);
    sim.crash(0);
    let (volume, opened) = open(&disk).unwrap();
    assert_eq!(
        (
            opened.start_offsets,
            opened.recovery_points,
            opened.high_watermarks
        ),
        (offsets(1), offsets(2), offsets(3))
    );
    drop(volume);
    sim.tamper(&path().join(RECOVERY_POINTS), |bytes| bytes[4] ^= 1);
    let (_, opened) = open(&disk).unwrap();
    assert_eq!(
        (opened.start_offsets, opened.recovery_points),
        (offsets(1), Offsets::new())
    );
}

#[test]
fn no_changed_letter_makes_a_volume_somebody_elses() {
    let (sim, _) = formatted();
    let file = path().join("meta.properties");
    let size = sim.stat(&file).unwrap().size_bytes as usize;
    for at in 0..size {
        for bit in 0..7 {
            let (sim, disk) = formatted();
            sim.tamper(&file, |bytes| bytes[at] ^= 1 << bit);
            match open(&disk) {
                // In the name of the line with the checksum.
                Ok((volume, _)) => assert_eq!(*volume.identity(), identity(), "byte {at} bit {bit}"),
                Err(VolumeError::BadIdentity { .. }) => {}
                Err(other) => panic!("byte {at} bit {bit}: {other}"),
            }
        }
    }
}

#[test]
fn partitions_are_found_and_deleted_ones_cleared_away() {
    let (sim, disk) = formatted();
    let topic_id = Uuid([5; 16]);
    for name in ["my-topic.v2-12", "orders-0", "quorum", "x-"] {
        disk.create_dir(&path().join(name)).unwrap();
    }
    let metadata = path().join("orders-0").join("partition.metadata");
    disk.create(&metadata).unwrap();
    disk.write_at(
        &metadata,
        0,
        format!("version: 0\ntopic_id: {topic_id}").as_bytes(),
    )
    .unwrap();
    let deleted = path().join(deleted_name("orders-1", Uuid([0xcd; 16])));
    disk.create_dir(&deleted).unwrap();
    disk.create(&deleted.join("00000000000000000000.log")).unwrap();
    let (volume, opened) = open(&disk).unwrap();
    let found = |topic: &str, partition, topic_id| PartitionDir {
        topic: topic.to_owned(),
        partition: PartitionIndex(partition),
        path: volume.partition_dir(topic, PartitionIndex(partition)),
        topic_id,
    };
    assert_eq!(
        opened.partitions,
        [found("my-topic.v2", 12, None), found("orders", 0, Some(topic_id))]
    );
    assert!(!sim.paths().iter().any(|path| path.starts_with(&deleted)));
}

#[test]
fn names_of_deleted_directories_fit_and_are_no_partitions() {
    let long = format!("{}-7", "t".repeat(249));
    let name = deleted_name(&long, Uuid([0xab; 16]));
    assert_eq!(name.len(), 255);
    assert!(is_deleted_name(&name) && parse_partition(&name).is_none());
    for name in [
        "orders-delete-0",
        "orders.abc-delete",
        "a.0123456789abcdef0123456789abcdef-0",
    ] {
        assert!(!is_deleted_name(name));
    }
}

#[test]
fn a_volume_is_read_only_before_it_is_full_and_comes_back_by_itself() {
    const MIB: u64 = 1 << 20;
    let (sim, disk) = formatted();
    sim.set_capacity(Some(100 * MIB));
    let (volume, _) = open(&disk).unwrap();
    assert!(volume.is_writable());
    let with_free = |free: u64| {
        let used = 100 * MIB - sim.space(path()).unwrap().free_bytes;
        sim.set_capacity(Some(used + free));
        let state = volume.check_space();
        sim.set_capacity(Some(100 * MIB));
        state
    };
    assert_eq!(with_free(64 * MIB), State::Writable);
    let full = |free_bytes| State::Full {
        free_bytes,
        reserve_bytes: 64 * MIB,
    };
    assert_eq!(with_free(64 * MIB - 1), full(64 * MIB - 1));
    assert_eq!(
        with_free(70 * MIB),
        full(70 * MIB),
        "a little more is not enough to come back"
    );
    assert_eq!(with_free(72 * MIB), State::Writable);
}

#[test]
fn errors_decide_what_becomes_of_the_volume() {
    let (_, disk) = formatted();
    let (volume, _) = open(&disk).unwrap();
    let io = |kind: io::ErrorKind| Error::Io {
        action: "write",
        path: path().join("x"),
        source: kind.into(),
    };
    let out_of_range = Error::OffsetOutOfRange {
        offset: Offset(9),
        log_start: Offset(0),
        log_end: Offset(1),
    };
    assert_eq!(volume.note(&out_of_range), Severity::Log);
    assert!(volume.is_writable());
    assert_eq!(volume.note(&io(io::ErrorKind::StorageFull)), Severity::VolumeFull);
    assert!(matches!(volume.state(), State::Full { .. }));
    assert_eq!(volume.check_space(), State::Writable);
    assert_eq!(volume.note(&io(io::ErrorKind::Other)), Severity::VolumeFailed);
    assert_eq!(
        volume.state(),
        State::Failed {
            reason: "cannot write /data/x: other error".to_owned()
        }
    );
    assert!(
        matches!(volume.check_space(), State::Failed { .. }),
        "a failed disk does not come back"
    );
}

#[test]
fn what_a_killed_broker_left_is_safe_once_the_volume_is_open() {
    let (sim, disk) = formatted();
    let dir = path().join("orders-0");
    disk.create_dir(&dir).unwrap();
    disk.create(&dir.join("00000000000000000000.log")).unwrap();
    disk.write_at(&dir.join("00000000000000000000.log"), 0, b"records")
        .unwrap();
    let (volume, _) = open(&disk).unwrap();
    drop(volume);
    sim.crash(1);
    assert_eq!(
        &disk
            .read_at(&dir.join("00000000000000000000.log"), 0, 100)
            .unwrap()[..],
        b"records"
    );
}
