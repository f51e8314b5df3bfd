//! What batches say of transactions: which were aborted, and which of them nothing is left of but the marker.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use flotilla_protocol::records::{BatchError, BatchHeader, ControlType, Origin, check};
use flotilla_protocol::{Offset, ProducerId};

use super::{Pace, spend};
use crate::log::cold::damaged;
use crate::log::damage::Between;
use crate::log::disk::Disk;
use crate::log::error::{During, Error};
use crate::log::segment::{FileKind, Sealed, walk_headers};

/// The transactions of the part of a log that is being compacted. All of them are decided there: nothing from the first
/// open transaction on is compacted.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// First and last offset of each aborted transaction, in order.
    aborted: BTreeMap<ProducerId, Vec<(Offset, Offset)>>,
    /// Whose batches were met since their last marker.
    met: BTreeSet<ProducerId>,
}

impl Transactions {
    /// Looks through the headers of these segments for transactions that were aborted.
    ///
    /// # Errors
    /// Those of the disk, and of batches that are none.
    pub(super) fn find(
        disk: &dyn Disk,
        dir: &Path,
        segments: &[(Arc<Sealed>, Offset)],
        pace: Pace<'_>,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut open: BTreeMap<ProducerId, Offset> = BTreeMap::new();
        for (segment, end) in segments {
            let path = FileKind::Log.path(dir, segment.base);
            let mut between = Between {
                after: segment.base,
                before: *end,
            };
            let stop = walk_headers(disk, &path, segment.size_bytes, |position, header| {
                spend(pace, 0)?;
                between
                    .holds(header)
                    .map_err(|reason| damaged(&path, position, &reason))?;
                between.after = header.next_offset();
                if position + header.size_bytes() as u64 > segment.size_bytes {
                    return Err(damaged(
                        &path,
                        position,
                        &"it reaches beyond the end of the segment",
                    ));
                }
                if header.is_control() {
                    let batch = disk
                        .read_at(&path, position, header.size_bytes())
                        .during("read", &path)?;
                    let kind = check(&batch, Origin::Log).and_then(|_| ControlType::of_batch(header, &batch));
                    found.ended(
                        &mut open,
                        header,
                        kind.map_err(|reason| damaged(&path, position, &reason))?,
                    );
                } else if header.is_transactional() {
                    open.entry(header.producer_id).or_insert(header.base_offset);
                }
                Ok(())
            })?;
            if let Some(stop) = stop {
                return Err(damaged(&path, stop.position, &stop.reason));
            }
        }
        Ok(found)
    }

    fn ended(
        &mut self,
        open: &mut BTreeMap<ProducerId, Offset>,
        header: &BatchHeader,
        kind: Option<ControlType>,
    ) {
        let (Some(ControlType::Abort | ControlType::Commit), Some(first)) =
            (kind, open.remove(&header.producer_id))
        else {
            return;
        };
        if kind == Some(ControlType::Abort) {
            self.aborted
                .entry(header.producer_id)
                .or_default()
                .push((first, header.last_offset()));
        }
    }

    /// Whether the records of a batch belong to a transaction that was aborted.
    pub(super) fn is_aborted(&self, header: &BatchHeader) -> bool {
        if !header.is_transactional() || header.is_control() {
            return false;
        }
        let Some(ranges) = self.aborted.get(&header.producer_id) else {
            return false;
        };
        let at = ranges.partition_point(|(_, last)| *last < header.base_offset);
        ranges
            .get(at)
            .is_some_and(|(first, _)| *first <= header.base_offset)
    }

    /// Takes note of the next batch, from the beginning of the log on. Whether it is of no use any more: the records of an
    /// aborted transaction, or the marker of one that no batch is left of. Such a marker still stays until its delete
    /// horizon, for those who read what was there before.
    ///
    /// # Errors
    /// Those of [`ControlType::of_batch`].
    pub(super) fn is_spent(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<bool, BatchError> {
        if header.is_control() {
            return Ok(match ControlType::of_batch(header, batch)? {
                // It was emptied, because it was of no use then.
                None => true,
                Some(ControlType::Abort | ControlType::Commit) => !self.met.remove(&header.producer_id),
                Some(ControlType::Other(_)) => false,
            });
        }
        if header.is_transactional() {
            self.met.insert(header.producer_id);
        }
        Ok(self.is_aborted(header))
    }
}
