//! The changes that a leader makes to a batch, in place.

use super::check::crc;
use super::header::{AT_ATTRIBUTES, AT_CRC, AT_EPOCH, AT_MAX_TIMESTAMP, LOG_APPEND_TIME_BIT};
use super::{HEADER_BYTES, TimestampType};
use crate::{LeaderEpoch, Offset};

/// Gives the batch its place in the log. The CRC does not cover it.
///
/// # Panics
/// If `batch` is shorter than a header: callers have checked it.
pub fn set_base_offset(batch: &mut [u8], offset: Offset) {
    batch[..8].copy_from_slice(&offset.0.to_be_bytes());
}

/// Says which leader appended the batch. The CRC does not cover it.
///
/// # Panics
/// If `batch` is shorter than a header: callers have checked it.
pub fn set_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    batch[AT_EPOCH..AT_EPOCH + 4].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Replaces the timestamps of all records by the broker's, as `message.timestamp.type=LogAppendTime` asks for
/// (KIP-32), and computes the CRC anew. `batch` must be exactly one batch.
///
/// # Panics
/// If `batch` is shorter than a header: callers have checked it.
pub fn set_log_append_time(batch: &mut [u8], now_ms: i64) {
    set_max_timestamp(batch, TimestampType::LogAppendTime, now_ms);
}

/// Sets the latest timestamp and its type, and computes the CRC anew. `batch` must be exactly one batch.
///
/// # Panics
/// If `batch` is shorter than a header: callers have checked it.
pub fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, timestamp_ms: i64) {
    assert!(
        batch.len() >= HEADER_BYTES,
        "a batch has been checked before it is patched"
    );
    let mut attributes = i16::from_be_bytes([batch[AT_ATTRIBUTES], batch[AT_ATTRIBUTES + 1]]);
    match timestamp_type {
        TimestampType::CreateTime => attributes &= !LOG_APPEND_TIME_BIT,
        TimestampType::LogAppendTime => attributes |= LOG_APPEND_TIME_BIT,
    }
    batch[AT_ATTRIBUTES..AT_ATTRIBUTES + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[AT_MAX_TIMESTAMP..AT_MAX_TIMESTAMP + 8].copy_from_slice(&timestamp_ms.to_be_bytes());
    let crc = crc(batch);
    batch[AT_CRC..AT_CRC + 4].copy_from_slice(&crc.to_be_bytes());
}
