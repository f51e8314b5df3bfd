//! Record batches of magic 2 (KIP-98): what a producer sends is what lies on the disk and what a consumer fetches.
//!
//! A batch is parsed in place and patched in place: the base offset and the leader epoch are outside of what the
//! CRC covers. Records are looked at only by those who need them, through [`decompress`] and [`Records`].
//! Batches of magic 0 and 1 are refused, never converted.

mod build;
mod check;
mod codec;
mod control;
mod header;
mod patch;
mod record;
mod varint;

pub use build::{BatchBuilder, emptied, gap};
pub use check::{Batches, Origin, check, check_timestamps, parse_batches};
pub use codec::{DECOMPRESSED_BYTES_MAX, compress, compress_at, decompress, expand};
pub use control::{ControlType, EndTransactionMarker};
pub use header::{
    BatchHeader, Compression, HEADER_BYTES, LENGTH_END, NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
pub use patch::{set_base_offset, set_leader_epoch, set_log_append_time, set_max_timestamp};
pub use record::{Header, Headers, Record, Records};

/// Why bytes are not a batch that can be accepted. None of these names the partition: who asked knows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does. On the wire: `CORRUPT_MESSAGE`.
    #[error("the batch needs {needed} bytes, but {available} are left")]
    Truncated {
        /// Bytes that the batch says it has, or the least that any batch has.
        needed: u64,
        /// Bytes that are there.
        available: usize,
    },
    /// The length field is smaller than a header or negative. On the wire: `CORRUPT_MESSAGE`.
    #[error("the batch length {0} is smaller than a batch header")]
    Length(i32),
    /// Bytes follow the batch, where exactly one is allowed (KIP-98). On the wire: `INVALID_RECORD`.
    #[error("{0} bytes follow the batch, where exactly one batch is allowed")]
    TrailingBytes(usize),
    /// A batch of a message format from before Kafka 0.11. On the wire: `UNSUPPORTED_FOR_MESSAGE_FORMAT`.
    #[error("message format {0} is not supported: records must have magic 2 (Kafka 0.11 and later)")]
    OldMagic(i8),
    /// A magic that no Kafka has written. On the wire: `CORRUPT_MESSAGE`.
    #[error("magic {0} is not known")]
    UnknownMagic(i8),
    /// The bytes are not those that were sent. On the wire: `CORRUPT_MESSAGE`.
    #[error("the CRC-32C of the batch is {computed:#010x}, but it says {stored:#010x}")]
    Crc {
        /// What the batch carries.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The number of records and the last offset delta contradict one another. On the wire: `INVALID_RECORD`.
    #[error("{records_count} records cannot end at offset delta {last_offset_delta}")]
    Count {
        /// The count in the header.
        records_count: i32,
        /// The last offset delta in the header.
        last_offset_delta: i32,
    },
    /// A producer has to leave the base offset to the broker. On the wire: `INVALID_RECORD`.
    #[error("the base offset of a produced batch must be 0, not {0}")]
    BaseOffset(i64),
    /// Only brokers write control batches (KIP-98). On the wire: `INVALID_RECORD`.
    #[error("clients may not write control batches")]
    ControlFromClient,
    /// Only the log cleaner sets a delete horizon. On the wire: `INVALID_RECORD`.
    #[error("clients may not set a delete horizon")]
    DeleteHorizonFromClient,
    /// Producer id, producer epoch and sequence have to be set all together (KIP-98). On the wire: `INVALID_RECORD`.
    #[error(
        "producer id {producer_id}, epoch {producer_epoch} and sequence {base_sequence} do not belong together"
    )]
    Producer {
        /// The producer id in the header.
        producer_id: i64,
        /// The producer epoch in the header.
        producer_epoch: i16,
        /// The base sequence in the header.
        base_sequence: i32,
    },
    /// Only the broker says log append time (KIP-32). On the wire: `INVALID_TIMESTAMP`.
    #[error("clients may not set the timestamp type to LogAppendTime")]
    TimestampTypeFromClient,
    /// Outside of what the topic takes (KIP-937). On the wire: `INVALID_TIMESTAMP`.
    #[error("timestamp {timestamp_ms} is not between {earliest_ms} and {latest_ms}")]
    Timestamp {
        /// The offending timestamp, in milliseconds of the epoch.
        timestamp_ms: i64,
        /// The earliest that is taken now.
        earliest_ms: i64,
        /// The latest that is taken now.
        latest_ms: i64,
    },
    /// The codec is none of ours. On the wire: `UNSUPPORTED_COMPRESSION_TYPE`.
    #[error("compression codec {0} is not known")]
    UnknownCompression(u8),
    /// The payload is not what its codec says. On the wire: `CORRUPT_MESSAGE`.
    #[error("the {0} payload does not decompress: {1}")]
    Compression(Compression, String),
    /// The payload would grow beyond what the caller allows. On the wire: `RECORD_LIST_TOO_LARGE`.
    #[error("the payload decompresses to more than {0} bytes")]
    DecompressedTooLarge(usize),
    /// A record inside the batch is broken. On the wire: `INVALID_RECORD`.
    #[error("record {index} of the batch is broken: {reason}")]
    Record {
        /// Its place in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key or value of a control record is not one that KIP-98 defines. On the wire: `CORRUPT_MESSAGE`.
    #[error("the control record is broken: {0}")]
    Control(&'static str),
}

#[cfg(test)]
mod tests;
