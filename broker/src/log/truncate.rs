//! Cutting the end of a log off, where a leader's log says that it is not what was committed.

use flotilla_protocol::Offset;
use flotilla_protocol::records::BatchHeader;

use super::Log;
use super::checkpoint::Durability;
use super::error::{During, Error};
use super::recovery::resume;
use super::segment::{Active, FileKind, View, Visit, walk};

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
        self.generation.advance();
        self.tail.clear();
        self.changed = true;
        let cut = self.cut(offset);
        self.failed |= cut.is_err();
        cut
    }

    fn cut(&mut self, offset: Offset) -> Result<(), Error> {
        // Newest first: what a crash leaves behind has no hole.
        while let Some(active) = self.active.take_if(|active| active.base >= offset) {
            active.replaced.set();
            self.remove_segment(active.base)?;
            self.size_bytes -= active.size_bytes;
            if let Some(sealed) = self.sealed.pop() {
                sealed.replaced.set();
                let mut reopened = Active::new(sealed.base, sealed.modified_ms);
                reopened.size_bytes = sealed.size_bytes;
                self.active = Some(reopened);
            }
        }
        let disk = self.storage.disk.clone();
        disk.sync_dir(&self.dir).during_sync(&self.dir)?;
        let mut active = self
            .active
            .take()
            .expect("the first segment begins below the offset");
        let path = FileKind::Log.path(&self.dir, active.base);
        let (position, end) = self.find_cut(&active, offset)?;
        self.lower_cleaned(end)?;
        // What is appended next lies where others may still read what is cut off.
        std::mem::take(&mut active.replaced).set();
        disk.truncate(&path, position).during("truncate", &path)?;
        disk.sync(&path).during_sync(&path)?;
        self.size_bytes -= active.size_bytes - position;
        active.size_bytes = position;
        if let Err(stop) = resume(
            &*disk,
            &self.dir,
            &mut active,
            Some(offset),
            self.config.index_interval_bytes,
        )? {
            return Err(Error::Damaged {
                path,
                position: stop.position,
                reason: stop.reason.to_string(),
            });
        }
        self.active = Some(active);
        self.log_end = end;
        self.log_start = self.log_start.min(end);
        self.synced_end = self.synced_end.min(end);
        self.epochs.truncate_end(end);
        self.reload_producers()
    }

    /// Where in the segment the first batch begins that reaches to `offset`, and where the log ends without it.
    fn find_cut(&self, active: &Active, offset: Offset) -> Result<(u64, Offset), Error> {
        let disk = &*self.storage.disk;
        let path = FileKind::Log.path(&self.dir, active.base);
        let found = View::Active(Box::new(active.clone())).position_before(disk, &self.dir, offset)?;
        let mut cut = (active.size_bytes, offset);
        let stop = walk(
            disk,
            &path,
            found,
            active.size_bytes,
            |position, header: &BatchHeader, _| {
                if header.last_offset() < offset {
                    return Visit::Next;
                }
                cut = (position, offset.min(header.base_offset));
                Visit::Done
            },
        )?;
        match stop {
            Some(stop) => Err(Error::Damaged {
                path,
                position: stop.position,
                reason: stop.reason.to_string(),
            }),
            None => Ok(cut),
        }
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
        (self.log_start, self.log_end, self.synced_end) = (offset, offset, offset);
        self.epochs.clear();
        self.epochs
            .persist(&*self.storage.disk, &self.dir, Durability::Synced)
            .during("write", &self.dir)?;
        // The name of this file is what says where the log begins.
        self.begin_segment(offset, 0)?;
        self.reload_producers()
    }
}
