//! Writes of a shard, made into record batches.

use bytes::Bytes;
use flotilla_protocol::Offset;
use flotilla_protocol::records::BatchBuilder;

use super::machine::Machine;
use crate::group::{Producer, WriteId};

/// A record does not fit into a batch.
pub(super) struct TooLarge;

/// A batch that several writes share, so that they share its append and its commit.
pub(super) struct Batch {
    builder: BatchBuilder,
    first: WriteId,
    last: WriteId,
}

impl Batch {
    /// A batch of one write; of a producer's transaction, where there is one.
    pub(super) fn of<M: Machine>(
        write: WriteId,
        producer: Option<Producer>,
        records: &[M::Record],
        now_ms: i64,
    ) -> Result<Self, TooLarge> {
        let mut builder = BatchBuilder::new(Offset(0));
        if let Some(producer) = producer {
            // Coordinators count nothing, as in Kafka.
            builder = builder.producer(producer.id, producer.epoch, 0).transactional();
        }
        let mut batch = Self {
            builder,
            first: write,
            last: write,
        };
        batch.join::<M>(write, records, now_ms)?;
        Ok(batch)
    }

    /// Adds a later write.
    pub(super) fn join<M: Machine>(
        &mut self,
        write: WriteId,
        records: &[M::Record],
        now_ms: i64,
    ) -> Result<(), TooLarge> {
        let encoded: Option<Vec<_>> = records.iter().map(M::encode).collect();
        for (key, value) in encoded.ok_or(TooLarge)? {
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
