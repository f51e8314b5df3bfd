//! Compaction against a model that is too simple to be wrong: the list of all records that were written.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Records with one of a few keys; none of a value is a tombstone.
    Append(Vec<(u8, Option<u8>)>, usize),
    Roll,
    /// With room for so many keys.
    Clean(usize),
    Wait(i64),
    Reopen,
    Crash(u64),
    Retain,
    AdvanceStart(f64),
    TruncateTo(f64),
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..8_u8, proptest::option::weighted(0.8, any::<u8>()));
    prop_oneof![
        8 => (proptest::collection::vec(record, 1..5), 0..5_usize).prop_map(|(records, codec)| Step::Append(records, codec)),
        3 => Just(Step::Roll),
        6 => (1..10_usize).prop_map(Step::Clean),
        2 => (1..RETENTION_MS).prop_map(Step::Wait),
        1 => Just(Step::Reopen),
        2 => any::<u64>().prop_map(Step::Crash),
        1 => Just(Step::Retain),
        1 => (0.0..0.3).prop_map(Step::AdvanceStart),
        1 => (0.9..1.0).prop_map(Step::TruncateTo),
    ]
}

struct World {
    disk: Arc<SimDisk>,
    storage: Storage,
    log: Log,
    /// Every record that was written and not cut off, by offset.
    written: BTreeMap<i64, (String, Option<String>)>,
    clock_ms: i64,
    /// Up to where a compaction has come, also if a crash took its note away.
    compacted_to: i64,
    /// Where the segments end that a compaction has looked at: all of that is committed, and never cut, also where such a segment
    /// is the last one again.
    committed: Offset,
}

impl World {
    fn new() -> Self {
        let (disk, storage, log) = new(compacted());
        let (written, clock_ms) = (BTreeMap::new(), 0);
        Self {
            disk,
            storage,
            log,
            written,
            clock_ms,
            compacted_to: 0,
            committed: Offset(0),
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append(records, codec) => self.append(&records, Compression::ALL[codec]),
            Step::Roll => self.log.roll(self.clock_ms).unwrap(),
            Step::Clean(keys) => self.clean(keys),
            Step::Wait(ms) => self.clock_ms += ms,
            Step::Reopen => {
                self.log.close().unwrap();
                self.disk.sync_all(Path::new("/volume")).unwrap();
                self.open(true, Offset(0));
            }
            Step::Crash(seed) => {
                let synced = self.log.synced_end();
                self.disk.crash(seed);
                self.open(false, synced);
                let end = self.log.log_end();
                assert!(end >= synced);
                self.written.retain(|offset, _| *offset < end.0);
            }
            Step::Retain => {
                let end = self.log.log_end();
                self.log.apply_retention(self.clock_ms, end).unwrap();
            }
            Step::AdvanceStart(share) => {
                let to = self.inside(share);
                self.log.advance_start(to).unwrap();
            }
            Step::TruncateTo(share) => {
                let committed = self.committed.min(self.log.log_end());
                self.log.truncate_to(self.inside(share).max(committed)).unwrap();
                let end = self.log.log_end();
                self.written.retain(|offset, _| *offset < end.0);
            }
        }
        self.verify();
    }

    fn inside(&self, share: f64) -> Offset {
        let span = self.log.log_end().0 - self.log.log_start().0;
        self.log.log_start().plus((span as f64 * share) as i64)
    }

    fn open(&mut self, clean: bool, recovery_point: Offset) {
        let start = self.log.log_start();
        let opened = OpenOptions {
            start_offset: Some(start),
            recovery_point: Some(recovery_point),
            ..options(compacted(), clean)
        };
        self.log = open(&self.storage, opened).0;
    }

    fn append(&mut self, records: &[(u8, Option<u8>)], codec: Compression) {
        self.clock_ms += 1;
        let mut builder = BatchBuilder::new(Offset(0)).compression(codec);
        for (offset, (key, value)) in (self.log.log_end().0..).zip(records) {
            let (key, value) = (format!("key {key}"), value.map(|value| format!("value {value}")));
            let bytes = value.as_ref().map(String::as_bytes);
            builder.push(self.clock_ms, Some(key.as_bytes()), bytes, &[]);
            self.written.insert(offset, (key, value));
        }
        self.log
            .append_leader(builder.build(), EPOCH, self.clock_ms)
            .unwrap();
    }

    fn clean(&mut self, keys: usize) {
        let limits = CompactionLimits {
            keys_bytes: keys * 24 + 24,
            keys_load_factor: 1.0,
            ..LIMITS
        };
        let active = self.log.active.as_ref().map(|active| active.base);
        self.committed = self.committed.max(active.unwrap_or(self.log.log_end()));
        let before = self.log.first_dirty();
        let end = try_clean(&mut self.log, limits, self.clock_ms).unwrap();
        assert!(end >= before);
        self.compacted_to = self.compacted_to.max(end.0);
    }

    /// The last record of each key at or below an offset.
    fn latest(&self, upto: i64) -> BTreeMap<&str, i64> {
        let upto = self.written.range(..upto);
        upto.map(|(offset, (key, _))| (key.as_str(), *offset)).collect()
    }

    fn verify(&self) {
        let (start, cleaned) = (self.log.log_start().0, self.log.first_dirty().0);
        let all = records(&self.log);
        let offsets: Vec<i64> = all.iter().map(|(offset, ..)| *offset).collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "order is kept: {offsets:?}");
        for (offset, key, value) in &all {
            let written = self.written.get(offset);
            assert_eq!(
                written,
                Some(&(key.clone(), value.clone())),
                "what is there was written there"
            );
        }
        // Of what is compacted, the last record of each key and no other.
        let latest = self.latest(cleaned);
        for (offset, key, _) in all
            .iter()
            .filter(|(offset, ..)| (start..cleaned).contains(offset))
        {
            assert_eq!(latest.get(key.as_str()), Some(offset), "{key} was written later");
        }
        // The last value of each key is there, wherever it was written.
        for (key, offset) in self
            .latest(i64::MAX)
            .into_iter()
            .filter(|(_, offset)| *offset >= start)
        {
            let is_tombstone = self.written[&offset].1.is_none();
            assert!(
                is_tombstone || offsets.contains(&offset),
                "{key} at {offset} is lost"
            );
            // What a tombstone covers does not come back.
            if is_tombstone && !offsets.contains(&offset) {
                assert!(all.iter().all(|(_, other, _)| other != key), "{key} is back");
            }
        }
        // What is not compacted is all there.
        let from = self.compacted_to.max(start);
        let dirty = offsets.iter().filter(|offset| **offset >= from).count();
        assert_eq!(dirty, self.written.range(from..).count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn last_value_of_each_key_and_no_other_is_left(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
    }
}
