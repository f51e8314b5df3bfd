//! The 61 bytes that every batch begins with.

use std::fmt;

use super::BatchError;
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Size of a batch header, in bytes.
pub const HEADER_BYTES: usize = 61;
/// Where the length field ends: the length counts from here.
pub const LENGTH_END: usize = 12;
/// What the header says where a timestamp is missing.
pub const NO_TIMESTAMP: i64 = -1;
/// What the header says where there is no sequence.
pub const NO_SEQUENCE: i32 = -1;

pub(super) const AT_EPOCH: usize = 12;
pub(super) const AT_MAGIC: usize = 16;
pub(super) const AT_CRC: usize = 17;
pub(super) const AT_ATTRIBUTES: usize = 21;
pub(super) const AT_MAX_TIMESTAMP: usize = 35;

pub(super) const CODEC_BITS: i16 = 0b111;
pub(super) const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
pub(super) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(super) const CONTROL_BIT: i16 = 1 << 5;
pub(super) const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy in the framing of the xerial library; raw snappy is understood too.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Compression {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// From the code on the wire.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`] for 5 and above.
    pub fn from_code(code: u8) -> Result<Self, BatchError> {
        Self::ALL
            .get(usize::from(code))
            .copied()
            .ok_or(BatchError::UnknownCompression(code))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Whose clock a timestamp came from (KIP-32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

/// The header of a batch, field by field as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, also where compaction has removed that record.
    pub base_offset: Offset,
    /// Bytes of the batch after this field.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch (KIP-101).
    pub partition_leader_epoch: LeaderEpoch,
    /// Always 2 in a header that was parsed.
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type and flags; see the accessors.
    pub attributes: i16,
    /// Offset of the last record, relative to the base offset.
    pub last_offset_delta: i32,
    /// Milliseconds that the records' timestamps are relative to; the delete horizon where
    /// [`BatchHeader::has_delete_horizon`].
    pub base_timestamp_ms: i64,
    /// The latest timestamp in the batch, in milliseconds of the epoch; `-1` where there is none.
    pub max_timestamp_ms: i64,
    /// The producer (KIP-98); `-1` if neither idempotent nor transactional.
    pub producer_id: ProducerId,
    /// The producer's incarnation; `-1` if there is no producer id.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record; `-1` if there is no producer id.
    pub base_sequence: i32,
    /// Records that are in the batch.
    pub records_count: i32,
}

fn take<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl BatchHeader {
    /// Reads the header at the front of `bytes` and nothing else: whether the whole batch is there, and whether its
    /// content can be trusted, is for [`super::check`] to say.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] with fewer than 61 bytes, [`BatchError::OldMagic`] and [`BatchError::UnknownMagic`],
    /// [`BatchError::Length`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let truncated = || BatchError::Truncated {
            needed: HEADER_BYTES as u64,
            available: bytes.len(),
        };
        // The magic has had its place since the first format, and older batches are shorter than our header.
        let magic = *bytes.get(AT_MAGIC).ok_or_else(truncated)? as i8;
        match magic {
            2 => {}
            0 | 1 => return Err(BatchError::OldMagic(magic)),
            _ => return Err(BatchError::UnknownMagic(magic)),
        }
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or_else(truncated)?;
        let header = Self {
            base_offset: Offset(i64::from_be_bytes(take(bytes, 0))),
            batch_length: i32::from_be_bytes(take(bytes, 8)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(take(bytes, AT_EPOCH))),
            magic,
            crc: u32::from_be_bytes(take(bytes, AT_CRC)),
            attributes: i16::from_be_bytes(take(bytes, AT_ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(take(bytes, 23)),
            base_timestamp_ms: i64::from_be_bytes(take(bytes, 27)),
            max_timestamp_ms: i64::from_be_bytes(take(bytes, AT_MAX_TIMESTAMP)),
            producer_id: ProducerId(i64::from_be_bytes(take(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(take(bytes, 51))),
            base_sequence: i32::from_be_bytes(take(bytes, 53)),
            records_count: i32::from_be_bytes(take(bytes, 57)),
        };
        if header.batch_length < (HEADER_BYTES - LENGTH_END) as i32 {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(header)
    }

    pub(super) fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&self.base_offset.0.to_be_bytes());
        put(&self.batch_length.to_be_bytes());
        put(&self.partition_leader_epoch.0.to_be_bytes());
        put(&self.magic.to_be_bytes());
        put(&self.crc.to_be_bytes());
        put(&self.attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp_ms.to_be_bytes());
        put(&self.max_timestamp_ms.to_be_bytes());
        put(&self.producer_id.0.to_be_bytes());
        put(&self.producer_epoch.0.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.records_count.to_be_bytes());
    }

    /// Size of the whole batch, header included.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        // `parse` lets no negative length through.
        LENGTH_END + self.batch_length.max(0) as usize
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_code((self.attributes & CODEC_BITS) as u8)
    }

    /// Whose clock the timestamps came from.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction (KIP-98).
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch holds control records, which no consumer sees (KIP-98).
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether the base timestamp is a delete horizon (KIP-534).
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// Whether the batch carries a producer id, so that its sequence is checked.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id.0 >= 0
    }

    /// Offset of the last record, also where compaction has removed that record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// The offset after the batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// Sequence number of the last record; after `i32::MAX` comes 0. `-1` where there is none.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return NO_SEQUENCE;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (last & i64::from(i32::MAX)) as i32
    }
}
