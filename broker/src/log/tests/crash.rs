//! Random work, random losses of power: what was synced survives, and what is left is a log.

use std::collections::BTreeMap;

use flotilla_protocol::records::{
    BatchHeader, ControlType, EndTransactionMarker, Origin, check, parse_batches,
};
use flotilla_protocol::{ProducerEpoch, ProducerId};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: usize,
        value_bytes: usize,
        producer: i64,
    },
    AppendMany {
        batches: usize,
    },
    Transactional {
        producer: i64,
    },
    EndTransaction {
        producer: i64,
        committed: bool,
    },
    NewEpoch,
    Sync,
    /// Saves the recovery point and the start, as a volume does from time to time.
    Checkpoint,
    TruncateTo(f64),
    AdvanceStart(f64),
    Retain {
        keep_bytes: u64,
    },
    StartOver,
    Close,
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..5_usize, 0..120_usize, -1..3_i64)
            .prop_map(|(records, value_bytes, producer)| Step::Append { records, value_bytes, producer }),
        2 => (1..6_usize).prop_map(|batches| Step::AppendMany { batches }),
        4 => (10..13_i64).prop_map(|producer| Step::Transactional { producer }),
        3 => (10..13_i64, any::<bool>()).prop_map(|(producer, committed)| Step::EndTransaction { producer, committed }),
        1 => Just(Step::NewEpoch),
        3 => Just(Step::Sync),
        1 => Just(Step::Checkpoint),
        1 => (0.0..1.0).prop_map(Step::TruncateTo),
        1 => (0.0..1.0).prop_map(Step::AdvanceStart),
        1 => (0..2_000_u64).prop_map(|keep_bytes| Step::Retain { keep_bytes }),
        1 => Just(Step::Close),
        3 => any::<u64>().prop_map(Step::Crash),
        1 => Just(Step::StartOver),
    ]
}

/// The log, and beside it what it should hold.
struct World {
    disk: Arc<SimDisk>,
    storage: Storage,
    log: Log,
    batches: Vec<(BatchHeader, Vec<u8>)>,
    epoch: i32,
    clock_ms: i64,
    sequences: BTreeMap<i64, i32>,
    checkpoint: (Option<Offset>, Option<Offset>),
    crashed: bool,
}

impl World {
    fn new() -> Self {
        let (disk, storage, log) = new(small());
        let (batches, sequences) = (Vec::new(), BTreeMap::new());
        Self {
            disk,
            storage,
            log,
            batches,
            epoch: 0,
            clock_ms: 0,
            sequences,
            checkpoint: (None, None),
            crashed: false,
        }
    }

    fn build(&mut self, records: usize, value_bytes: usize, producer: i64) -> BytesMut {
        let mut builder = BatchBuilder::new(Offset(0));
        if producer >= 0 {
            let sequence = self.sequences.entry(producer).or_default();
            builder = builder.producer(ProducerId(producer), ProducerEpoch(0), *sequence);
            *sequence += records as i32;
        }
        for _ in 0..records {
            self.clock_ms += 1;
            builder.push(self.clock_ms, None, Some(&vec![b'v'; value_bytes]), &[]);
        }
        builder.build()
    }

    fn append(&mut self, bytes: BytesMut) {
        let at = self.log.log_end();
        self.log
            .append_leader(bytes, LeaderEpoch(self.epoch), self.clock_ms)
            .unwrap();
        let read = self
            .log
            .read(at, usize::MAX, self.log.log_end(), true)
            .unwrap()
            .batches
            .concat();
        for batch in parse_batches(&read) {
            let (_, header, bytes) = batch.unwrap();
            self.batches.push((header, bytes.to_vec()));
        }
    }

    fn run(&mut self, step: Step) {
        let span = self.log.log_end().0 - self.log.log_start().0;
        let inside = |share: f64| self.log.log_start().plus((span as f64 * share) as i64);
        match step {
            Step::Append {
                records,
                value_bytes,
                producer,
            } => {
                let bytes = self.build(records, value_bytes, producer);
                self.append(bytes);
            }
            Step::AppendMany { batches } => {
                let many: Vec<BytesMut> = (0..batches).map(|_| self.build(1, 5, -1)).collect();
                self.append(many.concat().as_slice().into());
            }
            Step::Transactional { producer } => {
                let sequence = self.sequences.entry(producer).or_default();
                let mut builder = BatchBuilder::new(Offset(0))
                    .producer(ProducerId(producer), ProducerEpoch(0), *sequence)
                    .transactional();
                *sequence += 1;
                self.clock_ms += 1;
                builder.push(self.clock_ms, None, Some(b"in doubt"), &[]);
                self.append(builder.build());
            }
            Step::EndTransaction { producer, committed } => {
                let marker = EndTransactionMarker {
                    committed,
                    coordinator_epoch: 0,
                };
                self.clock_ms += 1;
                let batch = marker.batch(ProducerId(producer), ProducerEpoch(0), self.clock_ms);
                self.append(batch.build());
            }
            Step::NewEpoch => {
                self.epoch += 1;
                self.log.assign_epoch(LeaderEpoch(self.epoch));
            }
            Step::Sync => self.log.sync().unwrap(),
            Step::Checkpoint => {
                self.checkpoint = (Some(self.log.log_start()), Some(self.log.recovery_point()));
            }
            Step::TruncateTo(share) => {
                let to = inside(share);
                self.log.truncate_to(to).unwrap();
                let end = self.log.log_end();
                assert!(end <= to);
                self.batches.retain(|(header, _)| header.last_offset() < to);
                // The volume is told before anybody relies on it.
                self.checkpoint.0 = self.checkpoint.0.map(|start| start.min(end));
            }
            Step::AdvanceStart(share) => {
                let to = inside(share);
                self.log.advance_start(to).unwrap();
            }
            Step::Retain { keep_bytes } => {
                self.log.set_config(Config {
                    retention_bytes: Some(keep_bytes),
                    retention_ms: None,
                    ..small()
                });
                let end = self.log.log_end();
                self.log.apply_retention(self.clock_ms, end).unwrap();
            }
            Step::StartOver => {
                let at = self.log.log_end().plus(7);
                self.log.start_over_at(at).unwrap();
                self.batches.clear();
                self.checkpoint.0 = None;
            }
            Step::Close => {
                self.log.close().unwrap();
                self.disk.sync_all(Path::new("/volume")).unwrap();
                let start = Some(self.log.log_start());
                let expected = (
                    self.log.log_end(),
                    self.log.epochs().clone(),
                    self.log.producers().clone(),
                );
                let opened = OpenOptions {
                    start_offset: start,
                    ..options(small(), true)
                };
                let (log, recovery) = open(&self.storage, opened);
                self.log = log;
                assert_eq!(recovery, Recovery::default());
                assert_eq!(
                    (self.log.log_end(), self.log.producers()),
                    (expected.0, &expected.2)
                );
                assert_eq!(self.log.epochs().entries(), expected.1.entries());
            }
            Step::Crash(seed) => self.crash(seed),
        }
        self.verify();
    }

    fn crash(&mut self, seed: u64) {
        let (start, synced, end) = (self.log.log_start(), self.log.synced_end(), self.log.log_end());
        self.crashed = true;
        self.disk.crash(seed);
        let (start_offset, recovery_point) = self.checkpoint;
        let (log, _) = open(
            &self.storage,
            OpenOptions {
                start_offset,
                recovery_point,
                ..options(small(), false)
            },
        );
        self.log = log;
        assert!(
            self.log.log_end() >= synced && self.log.log_end() <= end,
            "{synced} <= {} <= {end}",
            self.log.log_end()
        );
        assert!(self.log.log_start() <= start);
        assert_eq!(self.log.synced_end(), self.log.log_end());
        let end = self.log.log_end();
        self.batches.retain(|(header, _)| header.last_offset() < end);
    }

    /// Everything that can be asked agrees with what was done.
    fn verify(&self) {
        let (start, end) = (self.log.log_start(), self.log.log_end());
        let live: Vec<&(BatchHeader, Vec<u8>)> = self
            .batches
            .iter()
            .filter(|(header, _)| header.last_offset() >= start)
            .collect();
        let expected: Vec<u8> = live.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        for bytes_max in [1, 700, 1 << 20] {
            assert_eq!(read_all(&self.log, start, bytes_max), expected);
        }
        for batch in parse_batches(&expected) {
            check(batch.unwrap().2, Origin::Log).unwrap();
        }
        assert_eq!(live.last().map_or(end, |(header, _)| header.next_offset()), end);
        for (header, bytes) in &live {
            for offset in [header.base_offset.max(start), header.last_offset()] {
                let read = self.log.read(offset, 1, end, true).unwrap();
                assert_eq!(&read.batches.concat(), bytes);
            }
            let found = self
                .log
                .search(Target::At(header.max_timestamp_ms))
                .run()
                .unwrap()
                .unwrap();
            assert_eq!(
                (found.offset, found.timestamp_ms),
                (header.last_offset(), header.max_timestamp_ms)
            );
            // A start that a crash took back may lie before the epochs that are still known, as in Kafka.
            let known = self
                .log
                .epochs()
                .entries()
                .first()
                .is_some_and(|(_, first)| *first <= header.last_offset());
            let epoch = self.log.epochs().epoch_for(header.last_offset());
            assert_eq!(epoch, known.then_some(header.partition_leader_epoch));
            assert!(known || self.crashed);
            if header.has_producer_id() {
                assert!(self.log.producers().get(header.producer_id).is_some());
            }
        }
        self.verify_aborted();
        for producer in self.sequences.keys() {
            let last = live
                .iter()
                .rev()
                .find(|(header, _)| header.producer_id.0 == *producer && !header.is_control());
            if let Some((header, _)) = last {
                let known = self.log.producers().get(ProducerId(*producer)).unwrap();
                assert_eq!(known.last_sequence(), header.last_sequence());
            }
        }
    }
}

impl World {
    /// Aborted transactions that the log still has all records of are found, wherever they are looked for from.
    fn verify_aborted(&self) {
        let (start, end) = (self.log.log_start(), self.log.log_end());
        let mut open = BTreeMap::new();
        let mut aborted = Vec::new();
        for (header, bytes) in &self.batches {
            let producer_id = header.producer_id;
            if header.is_control() {
                let Some(first_offset) = open.remove(&producer_id) else {
                    continue;
                };
                if ControlType::of_batch(header, bytes).unwrap() == Some(ControlType::Abort) {
                    aborted.push((producer_id, first_offset, header.base_offset));
                }
            } else if header.is_transactional() {
                open.entry(producer_id).or_insert(header.base_offset);
            }
        }
        let whole = |(_, first, _): &&(ProducerId, Offset, Offset)| *first >= start;
        for (from, upto) in [
            (start, end),
            (start, start.plus(2)),
            (start.plus((end.0 - start.0) / 2), end),
        ] {
            let found = self.log.aborted_search(from).run(upto).unwrap();
            let found: Vec<_> = found
                .iter()
                .map(|one| (one.producer_id, one.first_offset, one.last_offset))
                .collect();
            let expected = aborted
                .iter()
                .filter(|(_, first, last)| *last >= from && *first < upto);
            let expected: Vec<_> = expected.filter(whole).collect();
            let found: Vec<_> = found.iter().filter(whole).collect();
            assert!(expected.iter().all(|one| found.contains(one)));
            // Where its beginning went with an old segment, a transaction may have begun anew.
            let began_before = |one: &(ProducerId, Offset, Offset)| {
                aborted
                    .iter()
                    .any(|(id, first, last)| (*id, *last) == (one.0, one.2) && *first < start)
            };
            assert!(
                found
                    .iter()
                    .all(|one| expected.contains(one) || began_before(one))
            );
        }
        // Where retention took the beginning away, a transaction may have been forgotten as a whole.
        let first_open = open.values().copied().filter(|first| *first >= start).min();
        let stable = self.log.producers().first_open_transaction();
        match first_open {
            Some(first) => assert!(stable.is_some_and(|stable| stable <= first)),
            None if open.is_empty() => assert!(stable.is_none_or(|stable| stable < start)),
            None => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_synced_survives_and_what_is_left_is_a_log(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
    }
}

/// The list of a segment went, and a loss of power brought the segment back.
#[test]
fn aborted_transactions_of_a_segment_that_comes_back_are_known() {
    let append = |records, value_bytes| Step::Append {
        records,
        value_bytes,
        producer: 0,
    };
    for seed in (0..200).chain([8_020_094_061_897_488_707]) {
        let mut world = World::new();
        for step in [
            Step::Transactional { producer: 10 },
            Step::EndTransaction {
                producer: 10,
                committed: false,
            },
            append(1, 15),
            append(3, 92),
            Step::Checkpoint,
            Step::AdvanceStart(0.671_823_891_463_439_5),
            Step::TruncateTo(0.0),
            Step::Retain { keep_bytes: 0 },
            Step::Crash(seed),
        ] {
            world.run(step);
        }
    }
}

#[test]
fn on_the_real_disk_a_log_lives_through_the_same() {
    let root = tempfile::tempdir().unwrap();
    // Fewer open files than segments: none of them may be relied on.
    let disk = Arc::new(RealDisk::new(2));
    let storage = Storage {
        disk: disk.clone(),
        tail: TailBudget::new(4096, 1024),
    };
    let path = root.path().join("orders-0");
    let open = |clean: bool| Log::open(&storage, &path, options(small(), clean), &mut |_| {}).unwrap();
    let (mut log, _) = open(true);
    fill(&mut log, 20);
    let all = read_all(&log, Offset(0), 1_000);
    log.close().unwrap();
    drop(log);
    let (log, recovery) = open(true);
    assert_eq!(
        (read_all(&log, Offset(0), 1_000), recovery),
        (all.clone(), Recovery::default())
    );
    drop(log);
    let (mut log, recovery) = open(false);
    assert_eq!(
        (read_all(&log, Offset(0), 1_000), recovery.segments_scanned),
        (all.clone(), 4)
    );
    for offset in 0..40 {
        assert_eq!(
            log.search(Target::At(offset)).run().unwrap().unwrap().offset,
            Offset(offset)
        );
    }
    log.truncate_to(Offset(21)).unwrap();
    assert_eq!(read_all(&log, Offset(0), 1_000), &all[..all.len() / 2]);
    log.set_config(Config {
        retention_bytes: Some(0),
        ..small()
    });
    assert_eq!(log.apply_retention(0, Offset(20)).unwrap().segments, 2);
    let handle = log.sync_handle();
    assert!(handle.is_none());
    fill(&mut log, 1);
    let handle = log.sync_handle().unwrap();
    handle.sync().unwrap();
    log.mark_synced(&handle);
    assert_eq!(log.synced_end(), Offset(22));
    assert!(disk.open_files() <= 2);
    let deleted = log.delete(Uuid([1; 16])).unwrap();
    assert!(!path.exists() && deleted.exists());
    disk.remove_dir(&deleted).unwrap();
}
