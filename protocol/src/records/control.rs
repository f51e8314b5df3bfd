//! Control records: the marks in the log that end transactions (KIP-98).

use super::{BatchBuilder, BatchError, BatchHeader, HEADER_BYTES, Record, Records};
use crate::{Offset, ProducerEpoch, ProducerId};

/// What a control record says; its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction was aborted.
    Abort,
    /// The transaction was committed.
    Commit,
    /// A type of a newer Kafka or of its metadata log, which partitions of users pass over.
    Other(i16),
}

impl ControlType {
    /// From the key of a control record: a version, and the type.
    ///
    /// # Errors
    /// [`BatchError::Control`].
    pub fn from_key(key: Option<&[u8]>) -> Result<Self, BatchError> {
        let key = key.ok_or(BatchError::Control("it has no key"))?;
        let (version, rest) = key
            .split_first_chunk()
            .ok_or(BatchError::Control("its key is cut off"))?;
        if i16::from_be_bytes(*version) < 0 {
            return Err(BatchError::Control("the version of its key is negative"));
        }
        let (kind, _) = rest
            .split_first_chunk()
            .ok_or(BatchError::Control("its key is cut off"))?;
        Ok(match i16::from_be_bytes(*kind) {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }

    /// The type of the one record in a control batch. `None` where the batch was compacted away to nothing.
    ///
    /// # Errors
    /// Those of [`Records`] and of [`ControlType::from_key`].
    pub fn of_batch(header: &BatchHeader, batch: &[u8]) -> Result<Option<Self>, BatchError> {
        let payload = batch.get(HEADER_BYTES..).unwrap_or_default();
        match Records::new(header, payload).next() {
            None => Ok(None),
            Some(record) => Self::from_key(record?.key).map(Some),
        }
    }
}

/// The record that a transaction's coordinator has the leaders write (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Committed, or else aborted.
    pub committed: bool,
    /// Fences markers of a coordinator that was replaced.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// The batch to append.
    #[must_use]
    pub fn batch(self, producer_id: ProducerId, producer_epoch: ProducerEpoch, now_ms: i64) -> BatchBuilder {
        let mut key = [0; 4];
        key[3] = u8::from(self.committed);
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let mut builder = BatchBuilder::new(Offset(0)).control(producer_id, producer_epoch);
        builder.push(now_ms, Some(&key), Some(&value), &[]);
        builder
    }

    /// Reads a control record. `None` if it is not the end of a transaction.
    ///
    /// # Errors
    /// [`BatchError::Control`].
    pub fn from_record(record: &Record<'_>) -> Result<Option<Self>, BatchError> {
        let committed = match ControlType::from_key(record.key)? {
            ControlType::Abort => false,
            ControlType::Commit => true,
            ControlType::Other(_) => return Ok(None),
        };
        let value = record.value.ok_or(BatchError::Control("it has no value"))?;
        let epoch = value.get(2..6).and_then(|bytes| bytes.first_chunk());
        let epoch = epoch.ok_or(BatchError::Control("its value is cut off"))?;
        Ok(Some(Self {
            committed,
            coordinator_epoch: i32::from_be_bytes(*epoch),
        }))
    }
}
