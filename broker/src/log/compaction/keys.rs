//! Which keys the new part of a log has, and where each was last.

use std::collections::BTreeSet;

use flotilla_protocol::records::{
    BatchError, BatchHeader, ControlType, DECOMPRESSED_BYTES_MAX, HEADER_BYTES, Records, decompress,
};
use flotilla_protocol::{Offset, ProducerId};

use super::map::OffsetMap;
use super::transactions::Transactions;

/// What is known of the new part so far.
pub(super) struct Keys {
    map: OffsetMap,
    is_full: bool,
    /// Transactions that are not decided yet in what was read. Where the map is full, they are read on to their end: only headers
    /// were looked at before, and what these said of them is believed once all of it was checked.
    open: BTreeSet<ProducerId>,
}

impl Keys {
    pub(super) fn new(map: OffsetMap) -> Self {
        Self {
            map,
            is_full: false,
            open: BTreeSet::new(),
        }
    }

    /// What was read, and whether the map is full.
    pub(super) fn into_map(self) -> (OffsetMap, bool) {
        (self.map, self.is_full)
    }

    /// Nothing more has to be read.
    pub(super) fn are_all(&self) -> bool {
        self.is_full && self.open.is_empty()
    }

    /// Takes what a batch says, if that is at or above `from`.
    pub(super) fn read(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        transactions: &Transactions,
        from: Offset,
    ) -> Result<(), BatchError> {
        if !header.is_control() {
            // Of those that begin behind the end nothing is asked.
            if header.is_transactional() && !self.is_full {
                self.open.insert(header.producer_id);
            }
        } else if let Some(ControlType::Abort | ControlType::Commit) = ControlType::of_batch(header, batch)? {
            self.open.remove(&header.producer_id);
        }
        if self.is_full {
            return Ok(());
        }
        if header.is_control() || transactions.is_aborted(header) {
            self.map.reached(header.last_offset());
            return Ok(());
        }
        self.is_full = !read_batch(header, batch, from, &mut self.map)?;
        Ok(())
    }
}

/// False: the map is full.
fn read_batch(
    header: &BatchHeader,
    batch: &[u8],
    from: Offset,
    map: &mut OffsetMap,
) -> Result<bool, BatchError> {
    let payload = decompress(header, &batch[HEADER_BYTES..], DECOMPRESSED_BYTES_MAX)?;
    for record in Records::new(header, &payload) {
        let record = record?;
        if let Some(key) = record.key
            && record.offset >= from
            && !map.insert(key, record.offset)
        {
            return Ok(false);
        }
    }
    map.reached(header.last_offset());
    Ok(true)
}
