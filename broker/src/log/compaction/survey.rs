//! How much of a log there is to compact.

use std::path::Path;
use std::sync::Arc;

use flotilla_protocol::Offset;
use flotilla_protocol::records::{BatchHeader, HEADER_BYTES};

use crate::log::disk::Disk;
use crate::log::epochs::Epochs;
use crate::log::error::{During, Error};
use crate::log::segment::{FileKind, Sealed};
use crate::log::{Config, Log};

/// The ended segments of a log, as they were when they were looked up.
pub struct Survey {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: Arc<Path>,
    pub(super) config: Config,
    pub(super) epochs: Epochs,
    /// Oldest first, each with the offset where the next one begins. None that ends before the start of the log, and none from
    /// the first on that is known to be broken.
    pub(super) segments: Vec<(Arc<Sealed>, Offset)>,
    first_dirty: Offset,
    stable: Offset,
}

/// What could be compacted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanable {
    /// The last compaction came to here.
    pub first_dirty: Offset,
    /// The next one may come to here.
    pub upto: Offset,
    /// Bytes of the segments before.
    pub clean_bytes: u64,
    /// Bytes of the segments that are new since.
    pub dirty_bytes: u64,
    /// For how long records have been waiting beyond `max.compaction.lag.ms`, in milliseconds. 0: none has.
    pub overdue_ms: i64,
}

impl Cleanable {
    /// The part of what is new, from 0 to 1.
    #[must_use]
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 {
            0.0
        } else {
            self.dirty_bytes as f64 / total as f64
        }
    }

    /// Whether to compact now, with that `min.cleanable.dirty.ratio`.
    #[must_use]
    pub fn is_due(&self, dirty_ratio_min: f64) -> bool {
        self.dirty_bytes > 0 && (self.overdue_ms > 0 || self.dirty_ratio() > dirty_ratio_min)
    }
}

impl Log {
    /// Lists the segments that might be compacted. `stable` is up to where all is committed and decided: nothing beyond is
    /// compacted.
    #[must_use]
    pub fn survey(&self, stable: Offset) -> Survey {
        let ends = self.sealed.iter().skip(1).map(|sealed| sealed.base);
        let last = self.active.as_ref().map_or(self.log_end, |active| active.base);
        let segments = self.sealed.iter().cloned().zip(ends.chain([last]));
        let is_whole = |segment: &Sealed| self.damages.iter().all(|damage| damage.segment != segment.base);
        Survey {
            disk: Arc::clone(&self.storage.disk),
            dir: Arc::clone(&self.dir),
            config: self.config,
            epochs: self.epochs.clone(),
            segments: segments
                .filter(|(_, end)| *end > self.log_start)
                .take_while(|(segment, _)| is_whole(segment))
                .collect(),
            first_dirty: self.first_dirty(),
            stable,
        }
    }

    /// Ends the active segment where its records have waited for longer than `max.compaction.lag.ms`, so that they are
    /// compacted also where nothing more is appended. Whether it did.
    ///
    /// # Errors
    /// Those of [`Log::roll`].
    pub fn roll_overdue(&mut self, now_ms: i64) -> Result<bool, Error> {
        let Some(active) = self.active.as_ref().filter(|active| active.size_bytes > 0) else {
            return Ok(false);
        };
        let since_ms = if active.first_timestamp_ms >= 0 {
            active.first_timestamp_ms
        } else {
            active.created_ms
        };
        if !self.config.compact || now_ms.saturating_sub(since_ms) <= self.config.max_compaction_lag_ms {
            return Ok(false);
        }
        self.roll(now_ms)?;
        Ok(true)
    }
}

impl Survey {
    /// Looks how much there is to do. Blocks; not to be run under the partition's lock.
    ///
    /// # Errors
    /// [`Error::Removed`] if the log has let go of a segment meanwhile, and those of the disk.
    pub fn cleanable(&self, now_ms: i64) -> Result<Cleanable, Error> {
        let mut cleanable = Cleanable {
            first_dirty: self.first_dirty,
            upto: self.first_dirty,
            clean_bytes: 0,
            dirty_bytes: 0,
            overdue_ms: 0,
        };
        for (segment, end) in &self.segments {
            if *end <= self.first_dirty {
                cleanable.clean_bytes += segment.size_bytes;
                continue;
            }
            if *end > self.stable
                || self
                    .is_too_young(segment, now_ms)
                    .map_err(crate::log::cold::removed)?
            {
                break;
            }
            cleanable.dirty_bytes += segment.size_bytes;
            cleanable.upto = *end;
            let overdue_ms = self
                .overdue_ms(segment, now_ms)
                .map_err(crate::log::cold::removed)?;
            cleanable.overdue_ms = cleanable.overdue_ms.max(overdue_ms);
        }
        Ok(cleanable)
    }

    fn is_too_young(&self, segment: &Sealed, now_ms: i64) -> Result<bool, Error> {
        let lag_ms = self.config.min_compaction_lag_ms;
        if lag_ms <= 0 {
            return Ok(false);
        }
        let (latest_ms, _) = segment.max_timestamp(&*self.disk, &self.dir)?;
        let latest_ms = if latest_ms >= 0 {
            latest_ms
        } else {
            segment.modified_ms
        };
        Ok(now_ms.saturating_sub(latest_ms) < lag_ms)
    }

    fn overdue_ms(&self, segment: &Sealed, now_ms: i64) -> Result<i64, Error> {
        let lag_ms = self.config.max_compaction_lag_ms;
        if lag_ms == i64::MAX {
            return Ok(0);
        }
        let path = FileKind::Log.path(&self.dir, segment.base);
        let bytes = self.disk.read_at(&path, 0, HEADER_BYTES).during("read", &path)?;
        // A damaged batch is found by who compacts.
        let first_ms = BatchHeader::parse(&bytes).map_or(-1, |header| header.max_timestamp_ms);
        if first_ms < 0 {
            return Ok(0);
        }
        Ok(now_ms.saturating_sub(first_ms).saturating_sub(lag_ms).max(0))
    }
}
