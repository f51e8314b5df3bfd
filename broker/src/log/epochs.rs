//! Where each leader's records begin (KIP-101): what followers and clients cut and check their logs by.

use std::path::Path;

use flotilla_protocol::{LeaderEpoch, Offset};

use super::checkpoint::{self, Durability, ReadError};
use super::disk::Disk;

/// Name of the file in the partition's directory.
pub(super) const FILE_NAME: &str = "leader-epoch-checkpoint";

/// The first offset of each leader epoch that has records here, or whose leader this broker is. Both grow from one
/// entry to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<(LeaderEpoch, Offset)>,
    /// Differs from the file.
    changed: bool,
}

impl Epochs {
    /// All entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The latest epoch known.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch that a record at `offset` was written in.
    #[must_use]
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        self.entries[..after].last().map(|(epoch, _)| *epoch)
    }

    /// The largest epoch here that is not above `epoch`, and where it ends (KIP-101, KIP-279): the start of the next
    /// one, or `log_end` for the latest. `None` if `epoch` is unknown (-1) or above all that are known. For an epoch
    /// before the first known one the answer is that epoch itself, ending where the first begins.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let latest = self.latest()?;
        if epoch == LeaderEpoch::UNKNOWN || epoch > latest {
            return None;
        }
        if epoch == latest {
            return Some((epoch, log_end));
        }
        let after = self.entries.partition_point(|(known, _)| *known <= epoch);
        let (_, end) = self.entries[after];
        let known = self.entries[..after].last().map_or(epoch, |(known, _)| *known);
        Some((known, end))
    }

    /// Records that `epoch` begins at `start`. Where it is the latest one already, its first offset stays. Entries that
    /// contradict it are forgotten: those that begin at or after `start`, and those of later epochs, which this broker
    /// noted when it became leader and never wrote a record in.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        if epoch.0 < 0 {
            return;
        }
        while let Some((known, at)) = self.entries.last().copied() {
            if known == epoch && at <= start {
                return;
            }
            if known < epoch && at < start {
                break;
            }
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        self.changed = true;
    }

    /// Records where an epoch begins that is not the latest one: of a batch that could not be read when the others were. Ignored
    /// where it contradicts what is known.
    pub(super) fn learn(&mut self, epoch: LeaderEpoch, start: Offset) {
        let place = self.entries.partition_point(|(known, _)| *known < epoch);
        let before = place.checked_sub(1).map(|before| self.entries[before].1);
        if epoch.0 < 0 || before.is_some_and(|before| before >= start) {
            return;
        }
        match self.entries.get_mut(place) {
            Some((known, at)) if *known == epoch => {
                self.changed |= *at > start;
                *at = (*at).min(start);
            }
            Some((_, at)) if *at <= start => {}
            _ => {
                self.entries.insert(place, (epoch, start));
                self.changed = true;
            }
        }
    }

    /// Forgets epochs that cannot have been yet.
    pub(super) fn truncate_above(&mut self, latest: LeaderEpoch) {
        let kept = self.entries.partition_point(|(epoch, _)| *epoch <= latest);
        self.changed |= kept < self.entries.len();
        self.entries.truncate(kept);
    }

    /// Forgets epochs that begin at or after `end`, which the log was cut to.
    pub(super) fn truncate_end(&mut self, end: Offset) {
        let kept = self.entries.partition_point(|(_, start)| *start < end);
        self.changed |= kept < self.entries.len();
        self.entries.truncate(kept);
    }

    /// Forgets epochs that end at or before `start`, where the log begins now; the one that covers it begins there.
    pub(super) fn truncate_start(&mut self, start: Offset) {
        let after = self.entries.partition_point(|(_, known)| *known <= start);
        if let Some(covering) = after.checked_sub(1) {
            self.changed |= self.entries[covering].1 != start || covering > 0;
            self.entries[covering].1 = start;
            self.entries.drain(..covering);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.changed |= !self.entries.is_empty();
        self.entries.clear();
    }

    /// Has the entries of `other` from now on.
    pub(super) fn take_over(&mut self, other: &Self) {
        self.entries.clone_from(&other.entries);
        self.changed = true;
    }

    /// Makes the file hold these entries; does nothing where it holds them already.
    pub(super) fn persist(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        durability: Durability,
    ) -> std::io::Result<()> {
        if self.changed {
            let lines: Vec<String> = self
                .entries
                .iter()
                .map(|(epoch, start)| format!("{epoch} {start}"))
                .collect();
            checkpoint::write_lines(disk, &dir.join(FILE_NAME), &lines, durability)?;
            self.changed = false;
        }
        Ok(())
    }

    /// `None` if there is no file or it is damaged: the epochs are in the batches, too.
    pub(super) fn load(disk: &dyn Disk, dir: &Path) -> std::io::Result<Option<Self>> {
        let lines = match checkpoint::read_lines(disk, &dir.join(FILE_NAME)) {
            Ok(Some(lines)) => lines,
            Ok(None) | Err(ReadError::Damaged) => return Ok(None),
            Err(ReadError::Io(error)) => return Err(error),
        };
        let parse = |line: &String| {
            let (epoch, start) = line.split_once(' ')?;
            Some((LeaderEpoch(epoch.parse().ok()?), Offset(start.parse().ok()?)))
        };
        let entries: Option<Vec<_>> = lines.iter().map(parse).collect();
        let sorted = |entries: &Vec<(LeaderEpoch, Offset)>| {
            entries
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1)
        };
        Ok(entries.filter(sorted).map(|entries| Self {
            entries,
            changed: false,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::SimDisk;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, start) in entries {
            epochs.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        epochs
    }

    fn pairs(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs
            .entries()
            .iter()
            .map(|(epoch, start)| (epoch.0, start.0))
            .collect()
    }

    #[test]
    fn the_end_of_an_epoch_is_where_the_next_begins() {
        let epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
        let end = |epoch| {
            epochs
                .end_offset_for(LeaderEpoch(epoch), Offset(35))
                .map(|(e, o)| (e.0, o.0))
        };
        assert_eq!(end(-1), None);
        assert_eq!(end(1), Some((1, 10)));
        assert_eq!(end(2), Some((2, 20)));
        assert_eq!(end(3), Some((2, 20)));
        assert_eq!(end(4), Some((4, 30)));
        assert_eq!(end(6), Some((4, 30)));
        assert_eq!(end(7), Some((7, 35)));
        assert_eq!(end(8), None);
        assert_eq!(Epochs::default().end_offset_for(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn an_epoch_without_records_gives_way_to_the_next() {
        let mut epochs = epochs(&[(1, 0), (2, 10), (3, 10)]);
        assert_eq!(pairs(&epochs), [(1, 0), (3, 10)]);
        epochs.assign(LeaderEpoch(3), Offset(12));
        epochs.assign(LeaderEpoch(-1), Offset(12));
        assert_eq!(pairs(&epochs), [(1, 0), (3, 10)]);
        assert_eq!(epochs.epoch_for(Offset(9)), Some(LeaderEpoch(1)));
        assert_eq!(epochs.epoch_for(Offset(10)), Some(LeaderEpoch(3)));
    }

    #[test]
    fn records_of_an_earlier_epoch_prove_a_later_one_never_was() {
        let mut epochs = epochs(&[(1, 0), (2, 10), (5, 20)]);
        epochs.assign(LeaderEpoch(2), Offset(20));
        assert_eq!(pairs(&epochs), [(1, 0), (2, 10)]);
        epochs.assign(LeaderEpoch(5), Offset(25));
        epochs.assign(LeaderEpoch(4), Offset(25));
        assert_eq!(pairs(&epochs), [(1, 0), (2, 10), (4, 25)]);
    }

    #[test]
    fn epoch_that_was_not_readable_is_put_where_it_belongs() {
        let learnt = |epoch, start| {
            let mut epochs = epochs(&[(1, 0), (3, 20), (5, 40)]);
            epochs.learn(LeaderEpoch(epoch), Offset(start));
            pairs(&epochs)
        };
        assert_eq!(learnt(3, 15), [(1, 0), (3, 15), (5, 40)]);
        assert_eq!(learnt(2, 10), [(1, 0), (2, 10), (3, 20), (5, 40)]);
        for (epoch, start) in [(3, 25), (2, 20), (2, 0), (5, 20), (4, 45), (-1, 10)] {
            assert_eq!(
                learnt(epoch, start),
                [(1, 0), (3, 20), (5, 40)],
                "{epoch} at {start}"
            );
        }
    }

    #[test]
    fn epochs_that_cannot_have_been_yet_are_forgotten() {
        let mut epochs = epochs(&[(1, 0), (3, 20), (1_027, 40)]);
        epochs.truncate_above(LeaderEpoch(5));
        assert_eq!(pairs(&epochs), [(1, 0), (3, 20)]);
        epochs.truncate_above(LeaderEpoch(3));
        assert_eq!(pairs(&epochs), [(1, 0), (3, 20)]);
    }

    #[test]
    fn cuts_at_both_ends_keep_the_epochs_of_what_is_left() {
        let full = epochs(&[(1, 0), (2, 10), (3, 20)]);
        let cut = |change: &dyn Fn(&mut Epochs)| {
            let mut epochs = full.clone();
            change(&mut epochs);
            pairs(&epochs)
        };
        assert_eq!(cut(&|epochs| epochs.truncate_end(Offset(20))), [(1, 0), (2, 10)]);
        assert_eq!(cut(&|epochs| epochs.truncate_end(Offset(0))), []);
        assert_eq!(
            cut(&|epochs| epochs.truncate_start(Offset(15))),
            [(2, 15), (3, 20)]
        );
        assert_eq!(cut(&|epochs| epochs.truncate_start(Offset(20))), [(3, 20)]);
        assert_eq!(
            cut(&|epochs| epochs.truncate_start(Offset(0))),
            [(1, 0), (2, 10), (3, 20)]
        );
    }

    #[test]
    fn the_checkpoint_reads_back_and_is_written_only_when_it_changed() {
        let disk = SimDisk::new();
        let dir = Path::new("/");
        assert_eq!(Epochs::load(&disk, dir).unwrap(), None);
        let mut epochs = epochs(&[(1, 0), (5, 17)]);
        epochs.persist(&disk, dir, Durability::Synced).unwrap();
        let syncs = disk.syncs();
        epochs.persist(&disk, dir, Durability::Synced).unwrap();
        assert_eq!(disk.syncs(), syncs);
        assert_eq!(Epochs::load(&disk, dir).unwrap(), Some(epochs));
        disk.tamper(&dir.join(FILE_NAME), |bytes| bytes[4] ^= 1);
        assert_eq!(Epochs::load(&disk, dir).unwrap(), None);
    }
}
