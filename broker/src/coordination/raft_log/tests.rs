use flotilla_protocol::{BrokerId, Uuid};
use openraft::{CommittedLeaderId, EntryPayload};

use super::*;
use crate::coordination::wire::Decided;
use crate::log::{RealDisk, SimDisk};

/// A small one, so that there are many.
const SEGMENT: u64 = 2 << 10;

fn id(term: u64, index: u64) -> LogId<VoterId> {
    let voter = VoterId::new(BrokerId(1), Uuid([1; 16]));
    LogId::new(CommittedLeaderId::new(term, voter), index)
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let payload = EntryPayload::Normal(Decided(vec![index as u8; bytes].into()));
    Entry {
        log_id: id(term, index),
        payload,
    }
}

fn entries(term: u64, range: std::ops::Range<u64>) -> Vec<Entry> {
    range.map(|index| entry(term, index, 100)).collect()
}

fn open(dir: &Path) -> RaftLog {
    RaftLog::with_segments(Arc::new(RealDisk::new(8)), dir, SEGMENT).unwrap()
}

fn all(log: &RaftLog) -> Vec<Entry> {
    log.read(.., usize::MAX).unwrap()
}

#[test]
fn entries_vote_and_purge_mark_are_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert!(log.is_new());
    log.append(entries(1, 0..10)).unwrap().sync().unwrap();
    log.save_vote(Vote::new(3, VoterId::default())).unwrap();
    log.purge(id(1, 3)).unwrap();
    let log = open(dir.path());
    assert_eq!(all(&log), entries(1, 4..10));
    assert_eq!(log.ends(), (Some(id(1, 3)), Some(id(1, 9))));
    assert_eq!(log.vote(), Some(Vote::new(3, VoterId::default())));
    assert!(!log.is_new());
    assert_eq!(log.read(5..7, usize::MAX).unwrap(), entries(1, 5..7));
    assert_eq!(log.read(5..9, 1).unwrap(), entries(1, 5..6));
}

#[test]
fn id_of_an_entry_is_known_until_it_is_purged_and_that_of_the_last_purged_one_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert_eq!(log.id_at(0), None);
    log.append(entries(1, 0..5)).unwrap().sync().unwrap();
    log.purge(id(1, 2)).unwrap();
    let ids: Vec<_> = (0..6).map(|index| log.id_at(index)).collect();
    let known = |index| Some(id(1, index));
    assert_eq!(ids, [None, None, known(2), known(3), known(4), None]);
    log.purge(id(1, 4)).unwrap();
    assert_eq!((log.id_at(3), log.id_at(4)), (None, known(4)));
}

#[test]
fn a_torn_tail_is_cut_and_the_log_goes_on_after_it() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(entries(1, 0..5)).unwrap().sync().unwrap();
    let path = dir.path().join(format!("log-{:020}", 0));
    let whole = std::fs::read(&path).unwrap();
    for cut in [1, 50, whole.len() / 5 - 1] {
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let log = open(dir.path());
        assert_eq!(all(&log), entries(1, 0..4));
        log.append(entries(2, 4..6)).unwrap().sync().unwrap();
        drop(log);
        let expected: Vec<Entry> = entries(1, 0..4).into_iter().chain(entries(2, 4..6)).collect();
        assert_eq!(all(&open(dir.path())), expected);
    }
    let mut zeroes = whole.clone();
    zeroes.extend([0; 4096]);
    std::fs::write(&path, &zeroes).unwrap();
    assert_eq!(all(&open(dir.path())), entries(1, 0..5));
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn damage_before_the_tail_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(vec![entry(1, 0, SEGMENT as usize)])
        .unwrap()
        .sync()
        .unwrap();
    log.append(entries(1, 1..3)).unwrap().sync().unwrap();
    let path = dir.path().join(format!("log-{:020}", 0));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = RaftLog::open(Arc::new(RealDisk::new(8)), dir.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("is damaged: no whole entry at byte 0"), "{error}");
    std::fs::write(dir.path().join("vote"), b"not a vote").unwrap();
    let error = RaftLog::open(Arc::new(RealDisk::new(8)), dir.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("vote is damaged"), "{error}");
}

#[test]
fn any_flipped_bit_of_what_was_synced_is_refused_with_what_to_do() {
    let dir = Path::new("/metadata");
    let written = || {
        let disk = Arc::new(SimDisk::new());
        let log = RaftLog::with_segments(disk.clone(), dir, SEGMENT).unwrap();
        for index in 0..25 {
            log.append(entries(1, index..index + 1)).unwrap().sync().unwrap();
        }
        log.save_vote(Vote::new(3, VoterId::default())).unwrap();
        log.purge(id(1, 2)).unwrap();
        disk
    };
    let disk = written();
    let mut looked_at = 0;
    for path in disk.paths() {
        let Some(size) = disk.stat(&path).ok().map(|stat| stat.size_bytes as usize) else {
            continue;
        };
        for at in 0..size {
            let disk = written();
            disk.tamper(&path, |bytes| bytes[at] ^= 1 << (at % 8));
            let what = format!("{} byte {at}", path.display());
            let refused = RaftLog::with_segments(disk.clone(), dir, SEGMENT);
            let message = refused.err().map(|error| error.to_string()).expect(&what);
            assert!(
                message.contains(path.file_name().unwrap().to_str().unwrap())
                    && message.contains("empty this broker's metadata directory"),
                "{what}: {message}"
            );
            looked_at += 1;
        }
    }
    assert!(looked_at > 2_000, "{looked_at}");
}

#[test]
fn conflicting_entries_are_replaced_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for index in 0..4 {
        log.append(vec![entry(1, index, SEGMENT as usize)])
            .unwrap()
            .sync()
            .unwrap();
    }
    log.truncate(2).unwrap();
    assert_eq!(log.ends(), (None, Some(id(1, 1))));
    assert!(log.append(entries(2, 3..4)).is_err(), "a hole");
    log.append(entries(2, 2..4)).unwrap().sync().unwrap();
    let ids = |log: &RaftLog| all(log).iter().map(|entry| entry.log_id).collect::<Vec<_>>();
    assert_eq!(ids(&log), [id(1, 0), id(1, 1), id(2, 2), id(2, 3)]);
    assert_eq!(ids(&open(dir.path())), [id(1, 0), id(1, 1), id(2, 2), id(2, 3)]);
}

#[test]
fn purging_beyond_the_end_begins_a_new_log_behind_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(entries(1, 0..5)).unwrap().sync().unwrap();
    log.purge(id(4, 100)).unwrap();
    assert_eq!(
        (log.ends(), log.size_bytes()),
        ((Some(id(4, 100)), Some(id(4, 100))), 0)
    );
    log.append(entries(4, 101..103)).unwrap().sync().unwrap();
    assert_eq!(all(&open(dir.path())), entries(4, 101..103));
}

/// Numbers that look random and follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn what_was_answered_for_survives_any_loss_of_power() {
    for seed in 0..10 {
        let disk = Arc::new(SimDisk::new());
        let dir = Path::new("/metadata");
        let mut dice = Dice(seed);
        let (mut kept, mut purged, mut term) = (Vec::<Entry>::new(), 0, 1);
        let mut vote = None;
        for round in 0..4 {
            let log = RaftLog::with_segments(disk.clone(), dir, SEGMENT).unwrap();
            let found = all(&log);
            let answered = &kept[purged as usize..];
            assert_eq!(
                found.get(..answered.len()),
                Some(answered),
                "seed {seed}, round {round}"
            );
            assert_eq!(log.vote(), vote, "seed {seed}, round {round}");
            // What was written and not answered for may be there too.
            kept.truncate(purged as usize);
            kept.extend(found);
            for _ in 0..dice.below(12) {
                let next = kept.len() as u64;
                match dice.below(8) {
                    0 => {
                        term += 1;
                        let saved = Vote::new(term, VoterId::default());
                        log.save_vote(saved).unwrap();
                        vote = Some(saved);
                    }
                    1 if next > purged => {
                        let from = purged + dice.below(next - purged);
                        log.truncate(from).unwrap();
                        kept.truncate(from as usize);
                        term += 1;
                    }
                    2 if next > purged => {
                        let upto = purged + dice.below(next - purged);
                        log.purge(kept[upto as usize].log_id).unwrap();
                        purged = upto + 1;
                    }
                    _ => {
                        let count = 1 + dice.below(3);
                        let size = if dice.below(10) == 0 {
                            SEGMENT_BYTES
                        } else {
                            dice.below(600)
                        };
                        let new: Vec<Entry> = (next..next + count)
                            .map(|index| entry(term, index, size as usize))
                            .collect();
                        log.append(new.clone()).unwrap().sync().unwrap();
                        kept.extend(new);
                    }
                }
            }
            let next = kept.len() as u64;
            let unsynced: Vec<Entry> = (next..next + dice.below(3))
                .map(|index| entry(term, index, 300))
                .collect();
            drop(log.append(unsynced).unwrap());
            disk.crash(seed * 10 + round);
        }
    }
}

#[test]
fn entries_that_a_killed_process_left_unsynced_survive_once_they_were_seen() {
    for seed in 0..10 {
        let disk = Arc::new(SimDisk::new());
        let open = || RaftLog::with_segments(disk.clone(), Path::new("/metadata"), SEGMENT).unwrap();
        let log = open();
        log.append(entries(1, 0..2)).unwrap().sync().unwrap();
        drop(log.append(entries(1, 2..5)).unwrap());
        assert_eq!(
            open().ends().1,
            Some(id(1, 4)),
            "the system kept what was written"
        );
        disk.crash(seed);
        assert_eq!(all(&open()), entries(1, 0..5), "seed {seed}");
    }
}

#[test]
fn after_a_sync_that_failed_nothing_is_taken_any_more() {
    let disk = Arc::new(SimDisk::new());
    let log = RaftLog::open(disk.clone(), Path::new("/metadata")).unwrap();
    log.append(entries(1, 0..1)).unwrap().sync().unwrap();
    disk.fail_syncs_of("0000");
    assert!(log.append(entries(1, 1..2)).unwrap().sync().is_err());
    disk.fail_syncs_of("nothing");
    let error = log.append(entries(1, 2..3)).map(drop).unwrap_err().to_string();
    assert!(error.contains("restart the broker on a sound disk"), "{error}");
    assert!(log.save_vote(Vote::new(3, VoterId::default())).is_err());
}
