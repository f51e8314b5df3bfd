//! Appending, rolling, truncating, closing.

use flotilla_protocol::records::{BatchError, BatchHeader, Origin, TimestampType, check, parse_batches};
use flotilla_protocol::{ProducerEpoch, ProducerId};

use super::*;

fn headers(bytes: &[u8]) -> Vec<BatchHeader> {
    parse_batches(bytes).map(|batch| batch.unwrap().1).collect()
}

#[test]
fn leader_gives_offsets_and_its_epoch() {
    let (_, _, mut log) = new(Config::default());
    let appended = log.append_leader(batch(&[5, 6, 7]), LeaderEpoch(3), 50).unwrap();
    assert_eq!(
        (appended.first_offset, appended.last_offset),
        (Offset(0), Offset(2))
    );
    assert_eq!(appended.log_append_time_ms, None);
    let two = [batch(&[8]), batch(&[9])].concat();
    let appended = log
        .append_leader(two.as_slice().into(), LeaderEpoch(4), 50)
        .unwrap();
    assert_eq!(
        (appended.first_offset, appended.last_offset),
        (Offset(3), Offset(4))
    );
    let all = read_all(&log, Offset(0), 10_000);
    let seen: Vec<(i64, i32)> = headers(&all)
        .iter()
        .map(|header| (header.base_offset.0, header.partition_leader_epoch.0))
        .collect();
    assert_eq!(seen, [(0, 3), (3, 4), (4, 4)]);
    assert_eq!(
        log.epochs().entries(),
        [(LeaderEpoch(3), Offset(0)), (LeaderEpoch(4), Offset(3))]
    );
    assert_eq!(log.size_bytes(), all.len() as u64);
    for batch in parse_batches(&all) {
        assert!(check(batch.unwrap().2, Origin::Log).is_ok());
    }
}

#[test]
fn log_append_time_replaces_timestamps() {
    let config = Config {
        timestamp_type: TimestampType::LogAppendTime,
        ..Config::default()
    };
    let (_, _, mut log) = new(config);
    let appended = log.append_leader(batch(&[5]), EPOCH, 1_234).unwrap();
    assert_eq!(appended.log_append_time_ms, Some(1_234));
    let all = read_all(&log, Offset(0), 10_000);
    let header = check(&all, Origin::Log).unwrap();
    assert_eq!(
        (header.timestamp_type(), header.max_timestamp_ms),
        (TimestampType::LogAppendTime, 1_234)
    );
}

#[test]
fn a_missing_latest_timestamp_is_made_up_for() {
    let (_, _, mut log) = new(Config::default());
    let mut bytes = batch(&[500]);
    flotilla_protocol::records::set_max_timestamp(&mut bytes, TimestampType::CreateTime, 0);
    log.append_leader(bytes, EPOCH, 0).unwrap();
    assert_eq!(
        check(&read_all(&log, Offset(0), 1_000), Origin::Log)
            .unwrap()
            .max_timestamp_ms,
        500
    );
}

#[test]
fn an_empty_log_has_no_segment_and_the_first_append_makes_one() {
    let (disk, storage, mut log) = new(Config::default());
    assert_eq!(names(&disk), ["partition.metadata"]);
    assert_eq!(
        (log.segments(), log.size_bytes(), log.log_end()),
        (0, 0, Offset(0))
    );
    log.close().unwrap();
    assert_eq!(names(&disk), ["partition.metadata"]);
    fill(&mut log, 1);
    log.close().unwrap();
    let zero = "00000000000000000000";
    let expected = [
        format!("{zero}.index"),
        format!("{zero}.log"),
        format!("{zero}.timeindex"),
        "00000000000000000002.snapshot".to_owned(),
        "leader-epoch-checkpoint".to_owned(),
        "partition.metadata".to_owned(),
    ];
    assert_eq!(names(&disk), expected);
    let (log, recovery) = open(&storage, options(Config::default(), true));
    assert_eq!((log.log_end(), recovery), (Offset(2), Recovery::default()));
}

#[test]
fn segments_end_at_their_size_age_and_index() {
    let batch_bytes = batch(&[0, 1]).len() as u32;
    let segments = |config: Config, step_ms: i64| {
        let (_, _, mut log) = new(config);
        for n in 0..10 {
            log.append_leader(batch(&[n * step_ms, n * step_ms]), EPOCH, 0)
                .unwrap();
        }
        let sizes: Vec<u64> = log
            .sealed
            .iter()
            .map(|sealed| sealed.size_bytes / u64::from(batch_bytes))
            .collect();
        assert_eq!(read_all(&log, Offset(0), 1_000).len() as u32, 10 * batch_bytes);
        sizes
    };
    let config = Config::default();
    assert_eq!(
        segments(
            Config {
                segment_bytes: 4 * batch_bytes,
                ..config
            },
            0
        ),
        [4, 4]
    );
    assert_eq!(
        segments(
            Config {
                segment_ms: 20,
                ..config
            },
            10
        ),
        [3, 3, 3]
    );
    assert_eq!(
        segments(
            Config {
                segment_index_bytes: 48,
                index_interval_bytes: 1,
                ..config
            },
            1
        ),
        [4, 4]
    );
}

#[test]
fn jitter_ends_segments_sooner_each_by_another_time_and_never_later() {
    let config = |segment_jitter_ms| Config {
        segment_ms: 1_000,
        segment_jitter_ms,
        ..Config::default()
    };
    // Records that are 10 ms apart: how many each segment got says when it ended.
    let ages_ms = |config: Config| -> Vec<i64> {
        let (_, _, mut log) = new(config);
        for at in 0..2_000 {
            log.append_leader(batch(&[at * 10]), EPOCH, at * 10).unwrap();
        }
        let bases: Vec<i64> = log.sealed.iter().map(|segment| segment.base.0).collect();
        bases.windows(2).map(|pair| (pair[1] - pair[0]) * 10).collect()
    };
    let plain = ages_ms(config(0));
    assert!(plain.iter().all(|age| *age == 1_010), "{plain:?}");
    let spread = ages_ms(config(400));
    assert!(spread.iter().all(|age| (600..=1_010).contains(age)), "{spread:?}");
    assert!(spread.windows(2).any(|pair| pair[0] != pair[1]), "{spread:?}");
    assert_eq!(ages_ms(config(400)), spread, "a restart changes nothing");
    let all = ages_ms(config(i64::MAX));
    assert!(
        all.iter().all(|age| (10..=1_010).contains(age)),
        "no more than segment.ms: {all:?}"
    );
}

#[test]
fn more_than_a_segment_at_once_is_refused() {
    let (_, _, mut log) = new(Config {
        segment_bytes: 100,
        ..Config::default()
    });
    let refused = log.append_leader([batch(&[0]), batch(&[0])].concat().as_slice().into(), EPOCH, 0);
    assert!(matches!(
        refused,
        Err(Error::TooLarge {
            segment_bytes: 100,
            ..
        })
    ));
    assert_eq!((log.log_end(), log.size_bytes()), (Offset(0), 0));
}

#[test]
fn what_is_no_batch_is_refused_and_changes_nothing() {
    let (_, _, mut log) = new(Config::default());
    for bytes in [&b""[..], b"garbage", &batch(&[1])[..70]] {
        let refused = log.append_leader(bytes.into(), EPOCH, 0);
        assert!(matches!(refused, Err(Error::Batch(BatchError::Truncated { .. }))));
    }
    assert_eq!((log.log_end(), log.segments()), (Offset(0), 0));
}

#[test]
fn a_follower_keeps_offsets_and_epochs_and_splits_at_segments() {
    let (_, _, mut leader) = new(Config::default());
    for n in 0..20 {
        leader
            .append_leader(batch(&[n, n]), LeaderEpoch(n as i32 / 8), n)
            .unwrap();
    }
    let (_, _, mut follower) = new(small());
    let sent = Bytes::from(read_all(&leader, Offset(0), 100_000));
    let appended = follower
        .append_follower(&sent.slice(..sent.len() - 5), 0)
        .unwrap()
        .unwrap();
    assert_eq!(
        (appended.first_offset, appended.last_offset),
        (Offset(0), Offset(37))
    );
    let rest = leader
        .read(Offset(38), 10_000, Offset(40), true)
        .unwrap()
        .batches
        .concat();
    follower.append_follower(&Bytes::from(rest), 0).unwrap();
    assert_eq!(follower.append_follower(&Bytes::new(), 0).unwrap(), None);
    assert_eq!(read_all(&follower, Offset(0), 1_000), &sent[..]);
    assert_eq!(follower.epochs().entries(), leader.epochs().entries());
    assert!(follower.segments() > 3);
    assert!(follower.sealed.iter().all(|sealed| sealed.size_bytes <= 600));
}

#[test]
fn a_follower_takes_gaps_but_nothing_twice_and_nothing_broken() {
    let at = |offset: i64| {
        let mut builder = BatchBuilder::new(Offset(offset)).leader_epoch(EPOCH);
        builder.push(0, None, None, &[]);
        builder.build()
    };
    let (_, _, mut log) = new(Config::default());
    log.append_follower(&Bytes::from([at(0), at(5)].concat()), 0)
        .unwrap();
    assert_eq!(log.log_end(), Offset(6));
    let again = log.append_follower(&at(5).freeze(), 0);
    assert!(matches!(
        again,
        Err(Error::Unordered {
            expected: Offset(6),
            found: Offset(5)
        })
    ));
    let mut broken = at(7);
    broken[66] ^= 1;
    let refused = log.append_follower(&Bytes::from([at(6), broken].concat()), 0);
    assert!(matches!(refused, Err(Error::Batch(BatchError::Crc { .. }))));
    assert_eq!(log.log_end(), Offset(7), "the good batch in front is kept");
}

#[test]
fn truncation_cuts_whole_batches_and_what_is_known_of_them() {
    for cut in 0..=40 {
        let (_, storage, mut log) = new(small());
        for n in 0..20 {
            log.append_leader(batch(&[n * 2, n * 2 + 1]), LeaderEpoch(n as i32 / 5), n)
                .unwrap();
        }
        let before = read_all(&log, Offset(0), 100_000);
        log.truncate_to(Offset(cut)).unwrap();
        let end = if cut == 40 { 40 } else { cut / 2 * 2 };
        assert_eq!(log.log_end(), Offset(end));
        let kept = before.len() / 20 * (end as usize / 2);
        assert_eq!(read_all(&log, Offset(0), 300), &before[..kept], "cut at {cut}");
        assert_eq!(log.size_bytes(), kept as u64);
        let expected: Vec<_> = (0..4)
            .map(|n| (LeaderEpoch(n), Offset(i64::from(n) * 10)))
            .collect();
        let expected: Vec<_> = expected.into_iter().filter(|(_, start)| start.0 < end).collect();
        assert_eq!(log.epochs().entries(), expected);
        for _ in 0..15 {
            let at = log.log_end().0;
            log.append_leader(batch(&[at, at + 1]), LeaderEpoch(4), at)
                .unwrap();
        }
        let after = read_all(&log, Offset(0), 100_000);
        assert_eq!(
            log.search(Target::MaxTimestamp).run().unwrap().unwrap().offset,
            log.log_end().plus(-1)
        );
        log.close().unwrap();
        let (log, recovery) = open(&storage, options(small(), true));
        assert_eq!(
            (read_all(&log, Offset(0), 500), recovery),
            (after, Recovery::default())
        );
    }
}

#[test]
fn an_epoch_without_records_is_forgotten_by_a_truncation_to_the_end() {
    let (_, _, mut log) = new(Config::default());
    fill(&mut log, 1);
    log.assign_epoch(LeaderEpoch(5));
    assert_eq!(log.epochs().latest(), Some(LeaderEpoch(5)));
    log.truncate_to(Offset(2)).unwrap();
    assert_eq!(
        (log.epochs().entries(), log.log_end()),
        (&[(EPOCH, Offset(0))][..], Offset(2))
    );
}

#[test]
fn starting_over_keeps_only_the_offset() {
    let (disk, storage, mut log) = new(small());
    fill(&mut log, 20);
    log.start_over_at(Offset(1_000)).unwrap();
    assert_eq!(
        (log.log_start(), log.log_end(), log.synced_end()),
        (Offset(1_000), Offset(1_000), Offset(1_000))
    );
    assert_eq!((log.size_bytes(), log.epochs().entries()), (0, &[][..]));
    disk.crash(1);
    let (mut log, _) = open(&storage, options(small(), false));
    assert_eq!((log.log_start(), log.log_end()), (Offset(1_000), Offset(1_000)));
    let appended = log.append_leader(batch(&[1]), EPOCH, 0).unwrap();
    assert_eq!(appended.first_offset, Offset(1_000));
}

#[test]
fn one_sync_covers_many_appends_and_a_roll_syncs_what_it_ends() {
    let (disk, _, mut log) = new(Config::default());
    fill(&mut log, 1);
    log.sync().unwrap();
    fill(&mut log, 9);
    assert_eq!(log.synced_end(), Offset(2));
    let before = disk.syncs();
    let handle = log.sync_handle().unwrap();
    fill(&mut log, 1);
    handle.sync().unwrap();
    log.mark_synced(&handle);
    assert_eq!(
        (log.synced_end(), log.log_end(), disk.syncs()),
        (Offset(20), Offset(22), before + 1)
    );
    log.roll(0).unwrap();
    assert_eq!(log.synced_end(), Offset(22));
    assert!(log.sync_handle().is_none());
}

#[test]
fn a_new_log_is_synced_with_its_names_by_who_syncs_it_and_not_by_who_appends() {
    for is_rolled in [false, true] {
        let (disk, storage, mut log) = new(Config::default());
        let before = disk.syncs();
        fill(&mut log, 5);
        assert_eq!(disk.syncs(), before, "an append waits for no disk");
        if is_rolled {
            log.roll(0).unwrap();
        } else {
            log.sync().unwrap();
        }
        assert_eq!(log.synced_end(), Offset(10));
        drop(log);
        disk.crash(7);
        let (log, _) = open(&storage, options(Config::default(), false));
        assert_eq!(log.log_end(), Offset(10), "rolled: {is_rolled}");
    }
}

#[test]
fn a_sync_from_before_a_truncation_says_nothing_about_what_came_after() {
    let (_, _, mut log) = new(Config::default());
    fill(&mut log, 5);
    let handle = log.sync_handle().unwrap();
    log.truncate_to(Offset(2)).unwrap();
    fill(&mut log, 5);
    handle.sync().unwrap();
    log.mark_synced(&handle);
    assert_eq!(log.synced_end(), Offset(0));
    let handle = log.sync_handle().unwrap();
    log.start_over_at(Offset(50)).unwrap();
    handle.sync().unwrap();
}

#[test]
fn a_failed_sync_takes_the_volume_down() {
    let (disk, _, mut log) = new(Config::default());
    fill(&mut log, 1);
    disk.fail_syncs_of(".log");
    let handle = log.sync_handle().unwrap();
    assert_eq!(handle.sync().unwrap_err().severity(), Severity::VolumeFailed);
    let failed = log.roll(0).unwrap_err();
    assert!(matches!(failed, Error::Sync { .. }));
    let refused = log.append_leader(batch(&[1]), EPOCH, 0).unwrap_err();
    assert!(matches!(refused, Error::Failed { .. }));
    assert!(log.close().is_err());
}

#[test]
fn a_full_disk_refuses_and_leaves_the_log_as_it_was() {
    let (disk, storage, mut log) = new(small());
    fill(&mut log, 3);
    let before = read_all(&log, Offset(0), 10_000);
    for room in 0..120 {
        let used = (1_u64 << 40) - {
            disk.set_capacity(Some(1 << 40));
            disk.space(Path::new("/")).unwrap().free_bytes
        };
        disk.set_capacity(Some(used + room));
        if let Err(error) = log.append_leader(batch(&[6, 7]), EPOCH, 0) {
            assert_eq!(error.severity(), Severity::VolumeFull, "{error}");
            assert_eq!(read_all(&log, Offset(0), 10_000), before);
        } else {
            break;
        }
    }
    disk.set_capacity(None);
    log.append_leader(batch(&[8, 9]), EPOCH, 0).unwrap();
    log.sync().unwrap();
    let all = read_all(&log, Offset(0), 10_000);
    disk.crash(3);
    let (log, recovery) = open(&storage, options(small(), false));
    assert_eq!((read_all(&log, Offset(0), 1_000), recovery.cut), (all, None));
}

#[test]
fn deletion_takes_the_directory_away_at_once_and_syncs_in_flight_are_fine() {
    let (disk, storage, mut log) = new(Config::default());
    fill(&mut log, 3);
    let handle = log.sync_handle().unwrap();
    let deleted = log.delete(Uuid([0xab; 16])).unwrap();
    assert_eq!(
        deleted,
        Path::new("/volume/orders-0.abababababababababababababababab-delete")
    );
    handle.sync().unwrap();
    disk.crash(9);
    assert!(disk.list(&dir()).is_err());
    let (log, _) = open(&storage, options(Config::default(), true));
    assert_eq!(log.log_end(), Offset(0));
}

#[test]
fn another_topics_directory_is_refused() {
    let (disk, storage, mut log) = new(Config::default());
    fill(&mut log, 1);
    let before = disk.paths();
    let other = OpenOptions {
        topic_id: Uuid([8; 16]),
        ..options(Config::default(), true)
    };
    let refused = Log::open(&storage, &dir(), other, &mut |_| {})
        .map(drop)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "/volume/orders-0 holds records of the topic with id BwcHBwcHBwcHBwcHBwcHBw, not CAgICAgICAgICAgICAgICA"
    );
    assert_eq!(disk.paths(), before);
}

#[test]
fn producers_are_remembered_over_roll_restart_and_truncation() {
    let produce = |log: &mut Log, sequence: i32| {
        let mut builder = BatchBuilder::new(Offset(0)).producer(ProducerId(4), ProducerEpoch(0), sequence);
        builder.push(0, None, Some(&[0; 100]), &[]);
        log.append_leader(builder.build(), EPOCH, 0).unwrap();
    };
    for clean in [true, false] {
        let (disk, storage, mut log) = new(small());
        for sequence in 0..20 {
            produce(&mut log, sequence);
        }
        let expected = log.producers().clone();
        assert_eq!(expected.get(ProducerId(4)).unwrap().batches.len(), 5);
        if clean {
            log.close().unwrap();
        }
        drop(log);
        let (mut log, _) = open(&storage, options(small(), clean));
        assert_eq!(*log.producers(), expected, "clean: {clean}");
        log.truncate_to(Offset(7)).unwrap();
        let producer = log.producers().get(ProducerId(4)).unwrap();
        let sequences: Vec<i32> = producer.batches.iter().map(|batch| batch.last_sequence).collect();
        assert_eq!(sequences, [2, 3, 4, 5, 6]);
        assert!(
            names(&disk)
                .iter()
                .all(|name| !name.ends_with(".snapshot") || name < &"00000000000000000008".to_owned())
        );
    }
}

#[test]
fn log_that_starts_over_knows_no_producers_of_before() {
    let (_, storage, mut log) = new(small());
    let mut builder = BatchBuilder::new(Offset(0))
        .producer(ProducerId(4), ProducerEpoch(0), 0)
        .transactional();
    builder.push(0, None, Some(b"in doubt"), &[]);
    log.append_leader(builder.build(), EPOCH, 0).unwrap();
    log.close().unwrap();
    log.start_over_at(Offset(9)).unwrap();
    assert!(log.producers().is_empty());
    assert_eq!(log.last_stable_offset(Offset(9)), Offset(9));
    drop(log);
    let (log, _) = open(&storage, options(small(), false));
    assert!(log.producers().is_empty());
}
