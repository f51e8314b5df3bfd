//! Letting go of old records: by age, by size, and by the start that DeleteRecords moved.

use flotilla_protocol::Offset;

use super::Log;
use super::error::{During, Error};
use super::segment::FileKind;

/// What retention let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Segments that are gone.
    pub segments: usize,
    /// Bytes of batches that are gone.
    pub size_bytes: u64,
}

impl Log {
    /// Moves the start of the log (KIP-107). What lies before it is deleted by the next retention.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] beyond the end of the log; callers hold it against the high watermark. Before the
    /// start nothing happens.
    pub fn advance_start(&mut self, to: Offset) -> Result<(), Error> {
        if to > self.log_end {
            return Err(Error::OffsetOutOfRange {
                offset: to,
                log_start: self.log_start,
                log_end: self.log_end,
            });
        }
        if to > self.log_start {
            self.log_start = to;
            self.epochs.truncate_start(to);
            self.forget_gone_damages();
            self.changed = true;
        }
        Ok(())
    }

    /// Deletes whole segments from the beginning: those before the start of the log, and, where `cleanup.policy`
    /// says `delete`, those whose records are all older than `retention.ms` and those that are more than
    /// `retention.bytes`. Never a record at or above the high watermark. Also forgets idle producers.
    ///
    /// # Errors
    /// Those of the disk. Segments that could not be removed are none of the log's any more; a start would find them.
    pub fn apply_retention(&mut self, now_ms: i64, high_watermark: Offset) -> Result<Deleted, Error> {
        self.check_usable()?;
        self.producers
            .expire(now_ms.saturating_sub(self.config.producer_id_expiration_ms));
        if self.active_is_expired(now_ms) && self.log_end <= high_watermark {
            self.roll(now_ms)?;
        }
        let mut count = 0;
        let mut left_bytes = self.size_bytes;
        for place in 0..self.sealed.len() {
            let next = self.base_after(place);
            if next > high_watermark || !self.is_due(place, next, left_bytes, now_ms)? {
                break;
            }
            left_bytes -= self.sealed[place].size_bytes;
            count += 1;
        }
        let deleted = Deleted {
            segments: count,
            size_bytes: self.size_bytes - left_bytes,
        };
        if count == 0 {
            return Ok(deleted);
        }
        let start = self.base_after(count - 1).max(self.log_start);
        self.advance_start(start)?;
        self.size_bytes = left_bytes;
        let gone: Vec<_> = self.sealed.drain(..count).collect();
        // Oldest first: what a crash leaves behind has no hole.
        for segment in gone {
            self.remove_segment(segment.base)?;
        }
        self.forget_gone_damages();
        Ok(deleted)
    }

    /// Where the segment after the one at `place` begins.
    fn base_after(&self, place: usize) -> Offset {
        let active = self.active.as_ref().map_or(self.log_end, |active| active.base);
        self.sealed.get(place + 1).map_or(active, |next| next.base)
    }

    fn is_due(&self, place: usize, next: Offset, left_bytes: u64, now_ms: i64) -> Result<bool, Error> {
        if next <= self.log_start {
            return Ok(true);
        }
        if !self.config.delete {
            return Ok(false);
        }
        let segment = &self.sealed[place];
        if self
            .config
            .retention_bytes
            .is_some_and(|kept| left_bytes.saturating_sub(segment.size_bytes) >= kept)
        {
            return Ok(true);
        }
        let Some(retention_ms) = self.config.retention_ms else {
            return Ok(false);
        };
        let (latest_ms, _) = segment.max_timestamp(&*self.storage.disk, &self.dir)?;
        let latest_ms = if self.damages.iter().any(|damage| damage.segment == segment.base) {
            // What is broken may have been later.
            latest_ms.max(segment.modified_ms)
        } else if latest_ms >= 0 {
            latest_ms
        } else {
            segment.modified_ms
        };
        Ok(now_ms.saturating_sub(latest_ms) > retention_ms)
    }

    fn active_is_expired(&self, now_ms: i64) -> bool {
        let (Some(active), true, Some(retention_ms)) =
            (&self.active, self.config.delete, self.config.retention_ms)
        else {
            return false;
        };
        let (latest_ms, _) = active.indexes.max_timestamp();
        let latest_ms = if latest_ms >= 0 {
            latest_ms
        } else {
            active.modified_ms
        };
        active.size_bytes > 0 && now_ms.saturating_sub(latest_ms) > retention_ms
    }

    /// Removes the files of a segment. Indexes and snapshots may be missing. The list of aborted transactions goes last: a loss of power
    /// may bring the segment back, and without its list what was aborted would be read as committed.
    pub(super) fn remove_segment(&self, base: Offset) -> Result<(), Error> {
        let disk = &self.storage.disk;
        for kind in [
            FileKind::OffsetIndex,
            FileKind::TimeIndex,
            FileKind::Snapshot,
            FileKind::Log,
        ] {
            let path = kind.path(&self.dir, base);
            match disk.remove(&path) {
                Err(error) if kind != FileKind::Log && error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.during("remove", &path)?,
            }
        }
        let list = FileKind::Aborted.path(&self.dir, base);
        if disk.stat(&list).is_ok() {
            disk.sync_dir(&self.dir).during_sync(&self.dir)?;
            disk.remove(&list).during("remove", &list)?;
        }
        Ok(())
    }
}
