//! Finding the record of a time (KIP-79, KIP-734).

use std::path::Path;
use std::sync::Arc;

use flotilla_protocol::records::{
    BatchHeader, DECOMPRESSED_BYTES_MAX, HEADER_BYTES, Records, TimestampType, decompress,
};
use flotilla_protocol::{LeaderEpoch, Offset};

use super::cold::{check_in_place, removed};
use super::damage::{Damage, sound};
use super::disk::Disk;
use super::epochs::Epochs;
use super::error::Error;
use super::segment::{FileKind, View, Visit, walk};

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The first record at or after this time, in milliseconds of the epoch.
    At(i64),
    /// The first of the records with the latest timestamp of the log; `-3` in ListOffsets (KIP-734).
    MaxTimestamp,
}

/// A record that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, in milliseconds of the epoch.
    pub timestamp_ms: i64,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

/// A search through the log as it was when the search was planned. To be run where blocking is fine, and not under
/// the partition's lock.
pub struct Search {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: Arc<Path>,
    pub(super) views: Vec<View>,
    pub(super) epochs: Epochs,
    pub(super) damages: Arc<[Damage]>,
    pub(super) log_start: Offset,
    pub(super) target: Target,
}

impl Search {
    /// Searches. Blocks. `None` if there is no such record. Whether the record may be seen yet is not looked at.
    ///
    /// # Errors
    /// [`Error::Removed`] if the log has let go of a segment meanwhile: plan anew. [`Error::Damaged`],
    /// [`Error::Io`].
    pub fn run(self) -> Result<Option<Found>, Error> {
        let found = self.search();
        check_in_place(&self.views, &self.dir)?;
        found.map_err(removed)
    }

    fn search(&self) -> Result<Option<Found>, Error> {
        let mut latest = Vec::with_capacity(self.views.len());
        for view in &self.views {
            latest.push(view.max_timestamp(&*self.disk, &self.dir)?.0);
        }
        let timestamp_ms = match self.target {
            Target::At(timestamp_ms) => timestamp_ms,
            Target::MaxTimestamp => match latest.iter().max() {
                Some(latest) if *latest >= 0 => *latest,
                _ => return Ok(None),
            },
        };
        for (view, latest_ms) in self.views.iter().zip(latest) {
            if latest_ms < timestamp_ms {
                continue;
            }
            if let Some(found) = self.search_view(view, timestamp_ms)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn search_view(&self, view: &View, timestamp_ms: i64) -> Result<Option<Found>, Error> {
        let from = view
            .offset_before(&*self.disk, &self.dir, timestamp_ms)?
            .max(self.log_start);
        let position = view.position_before(&*self.disk, &self.dir, from)?;
        let path = FileKind::Log.path(&self.dir, view.base());
        let (mut found, mut broken) = (None, None);
        let stop = walk(
            &*self.disk,
            &path,
            position,
            view.size_bytes(),
            |position, header, batch| {
                // What is broken may say any time.
                if let Err(reason) = sound(batch, &self.epochs) {
                    broken = Some((position, reason.to_string()));
                    return Visit::Done;
                }
                let may_hold = header.records_count > 0 && header.max_timestamp_ms >= timestamp_ms;
                if may_hold && header.last_offset() >= self.log_start {
                    found = self.search_batch(header, batch, timestamp_ms);
                }
                if found.is_some() { Visit::Done } else { Visit::Next }
            },
        )?;
        match broken.or(stop.map(|stop| (stop.position, stop.reason.to_string()))) {
            Some((position, reason)) => Err(Error::Damaged {
                known: self
                    .damages
                    .iter()
                    .any(|damage| damage.holds(view.base(), position)),
                path,
                position,
                reason,
            }),
            None => Ok(found),
        }
    }

    fn search_batch(&self, header: &BatchHeader, batch: &[u8], timestamp_ms: i64) -> Option<Found> {
        let found = |offset: Offset, timestamp_ms| {
            Some(Found {
                offset,
                timestamp_ms,
                leader_epoch: header.partition_leader_epoch,
            })
        };
        let first = header.base_offset.max(self.log_start);
        // Compaction may have taken the first record.
        let is_dense = header.records_count > header.last_offset_delta;
        if header.timestamp_type() == TimestampType::LogAppendTime && is_dense {
            return found(first, header.max_timestamp_ms);
        }
        // Nobody has looked into the batch yet: where its content is broken, the batch is as near as one can come.
        let Ok(payload) = decompress(header, &batch[HEADER_BYTES..], DECOMPRESSED_BYTES_MAX) else {
            return found(first, header.max_timestamp_ms);
        };
        for record in Records::new(header, &payload) {
            match record {
                Ok(record) if record.offset >= first && record.timestamp_ms >= timestamp_ms => {
                    return found(record.offset, record.timestamp_ms);
                }
                Ok(_) => {}
                Err(_) => return found(first, header.max_timestamp_ms),
            }
        }
        None
    }
}
