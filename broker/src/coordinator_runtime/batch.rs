//! Writes of a shard, made into record batches.

use bytes::Bytes;
use flotilla_protocol::Offset;
use flotilla_protocol::records::BatchBuilder;

use crate::group::{Record, TooLong, WriteId};

/// A batch that several writes share, so that they share its append and its commit.
pub(super) struct Batch {
    builder: BatchBuilder,
    first: WriteId,
    last: WriteId,
}

impl Batch {
    /// A batch of one write.
    pub(super) fn of(write: WriteId, records: &[Record], now_ms: i64) -> Result<Self, TooLong> {
        let mut builder = BatchBuilder::new(Offset(0));
        for record in records {
            let (key, value) = record.encode()?;
            builder.push(now_ms, Some(&key), value.as_deref(), &[]);
        }
        Ok(Self {
            builder,
            first: write,
            last: write,
        })
    }

    /// Adds a later write.
    pub(super) fn join(&mut self, write: WriteId, records: &[Record], now_ms: i64) -> Result<(), TooLong> {
        let encoded: Result<Vec<_>, _> = records.iter().map(Record::encode).collect();
        for (key, value) in encoded? {
            self.builder.push(now_ms, Some(&key), value.as_deref(), &[]);
        }
        self.last = write;
        Ok(())
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.builder.size_bytes()
    }

    pub(super) fn first(&self) -> WriteId {
        self.first
    }

    pub(super) fn last(&self) -> WriteId {
        self.last
    }

    pub(super) fn build(self) -> Bytes {
        self.builder.build().freeze()
    }
}
