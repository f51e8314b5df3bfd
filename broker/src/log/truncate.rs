//! Cutting the end of a log off, where a leader's log says that it is not what was committed.

use std::sync::Arc;

use flotilla_protocol::Offset;
use flotilla_protocol::records::BatchHeader;

use super::Log;
use super::aborted;
use super::checkpoint::Durability;
use super::error::{During, Error};
use super::recovery::resume;
use super::segment::{Active, FileKind, Visit};
use super::sound_walk::{CHUNK_BYTES, Walk};
use crate::partition::producer_state::ProducerState;

impl Log {
    /// Removes all records at or above `offset`, durably, and epochs that begin where the log ends then. Where `offset` lies within a batch, all of that batch goes,
    /// and the log ends where the batch began.
    ///
    /// # Errors
    /// Those of the disk; the log takes no more records then.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), Error> {
        self.check_usable()?;
        if offset >= self.log_end {
            // This broker may have been the leader of an epoch that it never wrote a record in.
            let known = self.epochs.entries().len();
            self.epochs.truncate_end(self.log_end);
            self.changed |= self.epochs.entries().len() < known;
            return Ok(());
        }
        if offset <= self.first_base() {
            return self.start_over_at(offset);
        }
        // Where to cut is known before anything is changed: what is broken on the way is no reason to use the log no more.
        let base = self.base_below(offset);
        let at = self.find_cut(base, offset)?;
        self.generation.advance();
        self.tail.clear();
        self.changed = true;
        let cut = self.cut(offset, at);
        self.failed |= cut.is_err();
        cut
    }

    /// Where the segment begins that the cut goes through.
    fn base_below(&self, offset: Offset) -> Offset {
        let active = self
            .active
            .as_ref()
            .map(|active| active.base)
            .filter(|base| *base < offset);
        let place = self.sealed.partition_point(|sealed| sealed.base < offset);
        let sealed = place.checked_sub(1).map(|place| self.sealed[place].base);
        active
            .or(sealed)
            .expect("the first segment begins below the offset")
    }

    fn cut(&mut self, offset: Offset, (position, end): (u64, Offset)) -> Result<(), Error> {
        self.sync_new_names()?;
        // Newest first: what a crash leaves behind has no hole.
        while let Some(active) = self.active.take_if(|active| active.base >= offset) {
            active.replaced.set();
            self.remove_segment(active.base)?;
            self.size_bytes -= active.size_bytes;
            let last = self.sealed.last();
            let aborted = match last.filter(|last| last.has_aborted) {
                Some(last) => self.aborted_of(last.base)?,
                None => Vec::new(),
            };
            if let Some(sealed) = self.sealed.pop() {
                sealed.replaced.set();
                self.active = Some(Active {
                    size_bytes: sealed.size_bytes,
                    aborted: Arc::new(aborted),
                    ..Active::new(sealed.base, sealed.modified_ms)
                });
            }
        }
        let disk = self.storage.disk.clone();
        disk.sync_dir(&self.dir).during_sync(&self.dir)?;
        let mut active = self
            .active
            .take()
            .expect("the first segment begins below the offset");
        let path = FileKind::Log.path(&self.dir, active.base);
        self.lower_cleaned(end)?;
        // What is appended next lies where others may still read what is cut off.
        std::mem::take(&mut active.replaced).set();
        disk.truncate(&path, position).during("truncate", &path)?;
        disk.sync(&path).during_sync(&path)?;
        self.size_bytes -= active.size_bytes - position;
        active.size_bytes = position;
        let interval = self.config.index_interval_bytes;
        let found = match resume(&*disk, &self.dir, &mut active, Some(offset), interval)? {
            Ok(found) => found.unwrap_or(active.base),
            Err(_) => {
                // Something on the way is broken: the long way.
                self.epochs.truncate_end(active.base);
                let mut scanned = active.base;
                self.scan(&mut active, &mut scanned, (Some(end), end), &mut |_| {})?;
                scanned
            }
        };
        let kept = active.aborted.partition_point(|one| one.last_offset < end);
        if kept < active.aborted.len() {
            Arc::make_mut(&mut active.aborted).truncate(kept);
        }
        // What an earlier life of the segment wrote may name what is cut off.
        aborted::write(
            &*disk,
            &self.dir,
            active.base,
            &active.aborted,
            Durability::Synced,
        )?;
        self.active = Some(active);
        self.log_end = end;
        self.log_start = self.log_start.min(end);
        self.synced_end = self.synced_end.min(end);
        self.epochs.truncate_end(end);
        self.forget_gone_damages();
        self.reload_producers(None)?;
        if found < end {
            // Compaction has left a gap there: this speaks for it after a crash.
            self.write_snapshot()?;
        }
        Ok(())
    }

    /// Where in the segment the first batch begins that reaches to `offset`, and where the log ends without it. Each batch on the way is
    /// checked: a base offset that a disk has changed would otherwise have the log say that it holds what was cut off.
    fn find_cut(&self, base: Offset, offset: Offset) -> Result<(u64, Offset), Error> {
        let disk = &*self.storage.disk;
        let view = self.view_of(base).expect("its base was just looked up");
        let mut walk = Walk {
            disk,
            dir: &self.dir,
            base,
            from: view.position_before(disk, &self.dir, offset)?,
            size_bytes: view.size_bytes(),
            end: self.end_of_segment(base),
            epochs: &self.epochs,
            chunk_bytes: CHUNK_BYTES,
        };
        let at_end = (walk.size_bytes, offset);
        let mut cut = at_end;
        let found = walk.run_sound(|position, header, _| {
            if header.last_offset() < offset {
                return Ok(Visit::Next);
            }
            cut = (position, offset.min(header.base_offset));
            Ok(Visit::Done)
        });
        match found {
            Ok(()) => return Ok(cut),
            Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        // Something on the way is broken: what lies behind it counts.
        walk.from = 0;
        let mut behind: Option<(u64, Offset)> = None;
        let mut visit = |position, header: &BatchHeader, _: &[u8]| {
            if header.last_offset() >= offset {
                behind.get_or_insert((position, offset.min(header.base_offset)));
            }
        };
        let damages = walk.run(&mut |_| true, &mut visit, &mut true)?;
        let cut = behind.unwrap_or(at_end);
        let through = damages
            .iter()
            .find(|damage| damage.position < cut.0 && damage.next > offset);
        // Where the cut goes through what is broken, nothing of that can be kept.
        Ok(through.map_or(cut, |damage| (damage.position, offset.min(damage.from))))
    }

    /// Removes everything and goes on at `offset`, durably: for a follower that is too far behind to go on where it
    /// was.
    ///
    /// # Errors
    /// Those of the disk; the log takes no more records then.
    pub fn start_over_at(&mut self, offset: Offset) -> Result<(), Error> {
        self.check_usable()?;
        self.lower_cleaned(offset)?;
        self.generation.advance();
        self.tail.clear();
        self.changed = true;
        let emptied = self.empty_at(offset);
        self.failed |= emptied.is_err();
        emptied
    }

    fn empty_at(&mut self, offset: Offset) -> Result<(), Error> {
        if let Some(active) = self.active.take() {
            active.replaced.set();
            self.remove_segment(active.base)?;
        }
        while let Some(sealed) = self.sealed.pop() {
            sealed.replaced.set();
            self.remove_segment(sealed.base)?;
        }
        self.size_bytes = 0;
        self.damages = Arc::default();
        (self.log_start, self.log_end, self.synced_end) = (offset, offset, offset);
        self.epochs.clear();
        self.epochs
            .persist(&*self.storage.disk, &self.dir, Durability::Synced)
            .during("write", &self.dir)?;
        // Nothing that producers wrote before is in the log that follows: neither what is open there nor how far they came.
        self.producers = ProducerState::default();
        self.remove_snapshots()?;
        // The name of this file is what says where the log begins.
        self.begin_segment(offset, 0)
    }
}
