//! Which records stay, batch by batch.

use std::collections::BTreeMap;

use bytes::BytesMut;
use flotilla_protocol::records::{
    BatchBuilder, BatchError, BatchHeader, DECOMPRESSED_BYTES_MAX, HEADER_BYTES, Record, Records, decompress,
    emptied, gap,
};
use flotilla_protocol::{Offset, ProducerEpoch, ProducerId};

use super::map::OffsetMap;
use super::transactions::Transactions;
use crate::partition::producer_state::ProducerState;

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It goes.
    Nothing,
    /// It stays as it is, to the byte.
    Same,
    /// This takes its place, at the same offsets.
    Changed(BytesMut),
}

/// What is left of the records of a batch.
enum Left {
    None,
    All,
    Some(BytesMut),
}

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// A tombstone that stays until its horizon; all that it covers is gone with this compaction.
    StaysForNow,
    Goes,
}

/// What a producer wrote last: it has to be found again, so that its next batch is told from one that was lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Lasts(BTreeMap<ProducerId, (Option<Offset>, ProducerEpoch)>);

impl Lasts {
    pub(super) fn of(producers: &ProducerState) -> Self {
        let last = |(id, producer): (ProducerId, &crate::partition::producer_state::Producer)| {
            let last_offset = producer.batches.back().map(|batch| batch.last_offset);
            (id, (last_offset, producer.epoch))
        };
        Self(producers.iter().map(last).collect())
    }

    /// Whether the batch is the last one of its producer, or, where that has written nothing in its epoch, the marker that
    /// says so.
    fn is_last(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        match self.0.get(&header.producer_id) {
            Some((Some(last_offset), _)) => *last_offset == header.last_offset(),
            Some((None, epoch)) => header.is_control() && *epoch == header.producer_epoch,
            None => false,
        }
    }
}

/// Decides batch by batch, from the beginning of the log on.
pub(super) struct Filter {
    pub map: OffsetMap,
    pub transactions: Transactions,
    pub lasts: Lasts,
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

impl Filter {
    /// What becomes of the next batch. With `must_stay` its offsets stay taken, if by nothing else then by an empty batch.
    ///
    /// # Errors
    /// A batch that cannot be looked into.
    pub(super) fn keep(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        must_stay: bool,
    ) -> Result<Kept, BatchError> {
        let is_spent = self.transactions.is_spent(header, batch)?;
        let left = if header.records_count == 0 {
            Left::None
        } else if header.is_control() {
            self.control(header, batch, is_spent)?
        } else if is_spent {
            Left::None
        } else if header.base_offset > self.map.latest() {
            Left::All
        } else {
            self.records(header, batch)?
        };
        Ok(match left {
            Left::All => Kept::Same,
            Left::Some(batch) => Kept::Changed(batch),
            Left::None if self.lasts.is_last(header) => kept_as(header, batch, emptied(header)),
            Left::None if must_stay => kept_as(header, batch, gap(header)),
            Left::None => Kept::Nothing,
        })
    }

    fn is_past_horizon(&self, header: &BatchHeader) -> bool {
        header.has_delete_horizon() && header.base_timestamp_ms <= self.now_ms
    }

    fn horizon_ms(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }

    fn control(&self, header: &BatchHeader, batch: &[u8], is_spent: bool) -> Result<Left, BatchError> {
        if !is_spent {
            return Ok(Left::All);
        }
        if header.has_delete_horizon() {
            return Ok(if self.is_past_horizon(header) {
                Left::None
            } else {
                Left::All
            });
        }
        let payload = batch.get(HEADER_BYTES..).unwrap_or_default();
        let records: Vec<Record<'_>> = Records::new(header, payload).collect::<Result<_, _>>()?;
        self.rebuild(header, &records, true).map(Left::Some)
    }

    fn records(&self, header: &BatchHeader, batch: &[u8]) -> Result<Left, BatchError> {
        let payload = batch.get(HEADER_BYTES..).unwrap_or_default();
        let payload = decompress(header, payload, DECOMPRESSED_BYTES_MAX)?;
        let is_past_horizon = self.is_past_horizon(header);
        let (mut kept, mut total, mut sets_horizon) = (Vec::new(), 0, false);
        for record in Records::new(header, &payload) {
            let record = record?;
            total += 1;
            match self.fate(&record, is_past_horizon) {
                Fate::Stays => kept.push(record),
                Fate::StaysForNow => {
                    sets_horizon = true;
                    kept.push(record);
                }
                Fate::Goes => {}
            }
        }
        sets_horizon &= !header.has_delete_horizon();
        if kept.is_empty() {
            Ok(Left::None)
        } else if kept.len() == total && !sets_horizon {
            Ok(Left::All)
        } else {
            self.rebuild(header, &kept, sets_horizon).map(Left::Some)
        }
    }

    fn fate(&self, record: &Record<'_>, is_past_horizon: bool) -> Fate {
        if record.offset > self.map.latest() {
            return Fate::Stays;
        }
        // Without a key nobody can say what replaces a record: it was written before the topic was compacted.
        let Some(key) = record.key else { return Fate::Goes };
        let latest = self.map.get(key);
        if latest.is_some_and(|latest| latest > record.offset) {
            return Fate::Goes;
        }
        match record.value {
            Some(_) => Fate::Stays,
            None if is_past_horizon => Fate::Goes,
            // Only where this compaction looks for the key's older records, in front of this one, is it known that none is
            // left once the tombstone goes.
            None if latest.is_some() => Fate::StaysForNow,
            None => Fate::Stays,
        }
    }

    fn rebuild(
        &self,
        header: &BatchHeader,
        records: &[Record<'_>],
        sets_horizon: bool,
    ) -> Result<BytesMut, BatchError> {
        let mut builder = BatchBuilder::in_place_of(header)?;
        if sets_horizon {
            builder = builder.delete_horizon(self.horizon_ms());
        }
        let mut headers = Vec::new();
        for record in records {
            headers.clear();
            headers.extend(record.headers());
            let delta = (record.offset.0 - header.base_offset.0) as i32;
            builder.push_at(delta, record.timestamp_ms, record.key, record.value, &headers);
        }
        Ok(builder.build())
    }
}

/// What replaces an emptied batch may be what it is already.
fn kept_as(header: &BatchHeader, batch: &[u8], replacement: BytesMut) -> Kept {
    if header.records_count == 0 && batch == &replacement[..] {
        Kept::Same
    } else {
        Kept::Changed(replacement)
    }
}
