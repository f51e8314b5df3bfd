//! Builds batches: for what brokers write themselves, and for tests.

use bytes::BytesMut;

use super::check::crc;
use super::header::{
    AT_CRC, CODEC_BITS, CONTROL_BIT, DELETE_HORIZON_BIT, LOG_APPEND_TIME_BIT, TRANSACTIONAL_BIT,
};
use super::{
    BatchError, BatchHeader, Compression, HEADER_BYTES, Header, LENGTH_END, NO_SEQUENCE, NO_TIMESTAMP,
    compress_at, varint,
};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Collects records and makes one batch of them.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: Compression,
    level: Option<i32>,
    records: Vec<u8>,
    /// The batch ends here at least, also without a record.
    last_offset_delta_least: i32,
}

impl BatchBuilder {
    /// An empty batch that begins at `base_offset` (0 for what a leader is going to append).
    #[must_use]
    pub fn new(base_offset: Offset) -> Self {
        Self {
            header: BatchHeader {
                base_offset,
                batch_length: 0,
                partition_leader_epoch: LeaderEpoch::UNKNOWN,
                magic: 2,
                crc: 0,
                attributes: 0,
                last_offset_delta: -1,
                base_timestamp_ms: NO_TIMESTAMP,
                max_timestamp_ms: NO_TIMESTAMP,
                producer_id: ProducerId(-1),
                producer_epoch: ProducerEpoch(-1),
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            compression: Compression::None,
            level: None,
            records: Vec::new(),
            last_offset_delta_least: 0,
        }
    }

    /// A batch that takes the place of another and is going to hold some of its records: its offsets, the epoch of its
    /// leader, its producer, codec and flags stay, a delete horizon too.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub fn in_place_of(header: &BatchHeader) -> Result<Self, BatchError> {
        let base_timestamp_ms = if header.has_delete_horizon() {
            header.base_timestamp_ms
        } else {
            NO_TIMESTAMP
        };
        Ok(Self {
            compression: header.compression()?,
            level: None,
            records: Vec::new(),
            last_offset_delta_least: header.last_offset_delta,
            header: BatchHeader {
                attributes: header.attributes & !CODEC_BITS,
                last_offset_delta: -1,
                base_timestamp_ms,
                max_timestamp_ms: NO_TIMESTAMP,
                records_count: 0,
                ..*header
            },
        })
    }

    /// Compresses at this level, as [`compress_at`] says.
    #[must_use]
    pub fn level(mut self, level: Option<i32>) -> Self {
        self.level = level;
        self
    }

    /// Compresses the records when the batch is built.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the epoch of the leader, for batches that are replicated rather than produced.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// Makes the batch idempotent (KIP-98).
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Makes the batch part of its producer's transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.header.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// Makes it a control batch of a transaction, which has no sequence.
    #[must_use]
    pub fn control(self, id: ProducerId, epoch: ProducerEpoch) -> Self {
        let mut batch = self.producer(id, epoch, NO_SEQUENCE).transactional();
        batch.header.attributes |= CONTROL_BIT;
        batch
    }

    /// Says that the timestamps are the broker's.
    #[must_use]
    pub fn log_append_time(mut self) -> Self {
        self.header.attributes |= LOG_APPEND_TIME_BIT;
        self
    }

    /// Says from when on tombstones and markers in the batch may go, in milliseconds of the epoch (KIP-534). To be said
    /// before the first record.
    #[must_use]
    pub fn delete_horizon(mut self, horizon_ms: i64) -> Self {
        self.header.attributes |= DELETE_HORIZON_BIT;
        self.header.base_timestamp_ms = horizon_ms;
        self
    }

    /// Whether no record was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// Size of the batch before compression.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Adds a record after the last one.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        self.push_at(
            self.header.last_offset_delta + 1,
            timestamp_ms,
            key,
            value,
            headers,
        );
    }

    /// Adds a record at an offset relative to the batch, leaving a gap as compaction does.
    ///
    /// # Panics
    /// If the offset is not above that of the last record.
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        assert!(
            offset_delta > self.header.last_offset_delta,
            "records are added in order"
        );
        if self.header.records_count == 0 && !self.header.has_delete_horizon() {
            self.header.base_timestamp_ms = timestamp_ms;
        }
        let mut body = vec![0];
        varint::write(
            &mut body,
            timestamp_ms.wrapping_sub(self.header.base_timestamp_ms),
        );
        varint::write(&mut body, i64::from(offset_delta));
        write_nullable(&mut body, key);
        write_nullable(&mut body, value);
        varint::write(&mut body, headers.len() as i64);
        for (key, value) in headers {
            write_nullable(&mut body, Some(key));
            write_nullable(&mut body, *value);
        }
        varint::write(&mut self.records, body.len() as i64);
        self.records.extend_from_slice(&body);
        self.header.last_offset_delta = offset_delta;
        self.header.records_count += 1;
        self.header.max_timestamp_ms = self.header.max_timestamp_ms.max(timestamp_ms);
    }

    /// Extends the batch to an offset that has no record, as compaction leaves it.
    #[must_use]
    pub fn last_offset_delta(mut self, delta: i32) -> Self {
        self.last_offset_delta_least = self.last_offset_delta_least.max(delta);
        self
    }

    /// The bytes of the batch.
    #[must_use]
    pub fn build(mut self) -> BytesMut {
        let payload = match self.compression {
            Compression::None => self.records,
            codec => compress_at(codec, self.level, &self.records)
                .expect("codecs take any bytes that are in memory"),
        };
        self.header.attributes |= i16::from(self.compression.code());
        self.header.last_offset_delta = self.header.last_offset_delta.max(self.last_offset_delta_least);
        assemble(self.header, &payload)
    }
}

/// A batch without records in the place of another. It still says what the producer wrote last there: its sequence, its
/// epoch, and when.
#[must_use]
pub fn emptied(header: &BatchHeader) -> BytesMut {
    let header = BatchHeader {
        attributes: header.attributes & !(CODEC_BITS | DELETE_HORIZON_BIT),
        base_timestamp_ms: header.max_timestamp_ms,
        records_count: 0,
        ..*header
    };
    assemble(header, &[])
}

/// A batch without records in the place of another, which says nothing but that the log reaches that far.
#[must_use]
pub fn gap(header: &BatchHeader) -> BytesMut {
    emptied(&BatchHeader {
        attributes: header.attributes & LOG_APPEND_TIME_BIT,
        producer_id: ProducerId(-1),
        producer_epoch: ProducerEpoch(-1),
        base_sequence: NO_SEQUENCE,
        ..*header
    })
}

fn assemble(mut header: BatchHeader, payload: &[u8]) -> BytesMut {
    header.batch_length = (HEADER_BYTES - LENGTH_END + payload.len()) as i32;
    let mut bytes = [0; HEADER_BYTES];
    header.write(&mut bytes);
    let mut batch = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    batch.extend_from_slice(&bytes);
    batch.extend_from_slice(payload);
    let crc = crc(&batch);
    batch[AT_CRC..AT_CRC + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write(out, -1),
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
