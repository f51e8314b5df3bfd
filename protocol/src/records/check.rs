//! What is looked at before a batch is let in.

use super::header::{AT_ATTRIBUTES, AT_CRC, AT_MAGIC};
use super::{BatchError, BatchHeader, HEADER_BYTES, LENGTH_END, NO_TIMESTAMP, TimestampType};

/// Who wrote a batch, which says how much of it is a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client: nothing of what brokers set, and no gaps.
    Producer,
    /// The log of a broker, by replication or from the disk: compaction may have made gaps, control batches exist.
    Log,
}

/// Walks over batches that lie one after the other, without looking into them.
///
/// After the first error the iterator ends. A last batch that is not whole is [`BatchError::Truncated`]: fetch
/// responses of other brokers may end so, produced records may not.
#[must_use]
pub fn parse_batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0 }
}

/// See [`parse_batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Iterator for Batches<'a> {
    /// Where the batch begins, its header, and all its bytes, header included.
    type Item = Result<(usize, BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.position..)?;
        if rest.is_empty() {
            return None;
        }
        let position = self.position;
        let parsed = BatchHeader::parse(rest).and_then(|header| match rest.get(..header.size_bytes()) {
            Some(batch) => Ok((position, header, batch)),
            None => Err(BatchError::Truncated {
                needed: header.size_bytes() as u64,
                available: rest.len(),
            }),
        });
        self.position = match &parsed {
            Ok((_, header, _)) => position + header.size_bytes(),
            Err(_) => self.bytes.len(),
        };
        Some(parsed)
    }
}

/// Checks that `batch` is exactly one whole batch: size, magic, CRC-32C, counts, producer fields, codec.
///
/// Records are not looked at. From a producer it also refuses what only brokers may set.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(batch: &[u8], origin: Origin) -> Result<BatchHeader, BatchError> {
    // An old batch is told so even where it is shorter than our header.
    if let Some(magic @ 0..=1) = batch.get(AT_MAGIC) {
        return Err(BatchError::OldMagic(*magic as i8));
    }
    if batch.len() >= LENGTH_END && batch.len() < HEADER_BYTES {
        return Err(BatchError::Truncated {
            needed: HEADER_BYTES as u64,
            available: batch.len(),
        });
    }
    let header = BatchHeader::parse(batch)?;
    let size_bytes = header.size_bytes();
    if batch.len() < size_bytes {
        return Err(BatchError::Truncated {
            needed: size_bytes as u64,
            available: batch.len(),
        });
    }
    if batch.len() > size_bytes {
        return Err(BatchError::TrailingBytes(batch.len() - size_bytes));
    }
    let computed = crc(batch);
    if computed != header.crc {
        return Err(BatchError::Crc {
            stored: header.crc,
            computed,
        });
    }
    check_counts(&header, origin)?;
    header.compression()?;
    check_producer(&header, origin)?;
    if origin == Origin::Producer {
        if header.base_offset.0 != 0 {
            return Err(BatchError::BaseOffset(header.base_offset.0));
        }
        if header.is_control() {
            return Err(BatchError::ControlFromClient);
        }
        if header.has_delete_horizon() {
            return Err(BatchError::DeleteHorizonFromClient);
        }
        if header.timestamp_type() == TimestampType::LogAppendTime {
            return Err(BatchError::TimestampTypeFromClient);
        }
    }
    Ok(header)
}

/// The CRC-32C of a batch that is known to be longer than its header.
pub(super) fn crc(batch: &[u8]) -> u32 {
    debug_assert!(AT_CRC < AT_ATTRIBUTES && batch.len() >= HEADER_BYTES);
    crc32c::crc32c(&batch[AT_ATTRIBUTES..])
}

fn check_counts(header: &BatchHeader, origin: Origin) -> Result<(), BatchError> {
    let BatchHeader {
        records_count,
        last_offset_delta,
        ..
    } = *header;
    // The offset after the batch has to exist too.
    let room = header
        .base_offset
        .0
        .checked_add(i64::from(last_offset_delta))
        .is_some_and(|last| last < i64::MAX);
    let fits = match origin {
        Origin::Producer => records_count > 0 && i64::from(last_offset_delta) == i64::from(records_count) - 1,
        Origin::Log => {
            header.base_offset.0 >= 0
                && records_count >= 0
                && last_offset_delta >= 0
                && i64::from(records_count) <= i64::from(last_offset_delta) + 1
        }
    };
    if fits && room {
        Ok(())
    } else {
        Err(BatchError::Count {
            records_count,
            last_offset_delta,
        })
    }
}

fn check_producer(header: &BatchHeader, origin: Origin) -> Result<(), BatchError> {
    let fits = if header.has_producer_id() {
        // Markers carry no sequence.
        header.producer_epoch.0 >= 0
            && (header.base_sequence >= 0 || (origin == Origin::Log && header.is_control()))
    } else {
        !header.is_transactional() || origin == Origin::Log
    };
    if fits {
        Ok(())
    } else {
        Err(BatchError::Producer {
            producer_id: header.producer_id.0,
            producer_epoch: header.producer_epoch.0,
            base_sequence: header.base_sequence,
        })
    }
}

/// Holds the timestamps in a producer's header against `message.timestamp.before.max.ms` and
/// `message.timestamp.after.max.ms` (KIP-937). A batch without timestamps passes.
///
/// # Errors
/// [`BatchError::Timestamp`].
pub fn check_timestamps(
    header: &BatchHeader,
    now_ms: i64,
    before_max_ms: i64,
    after_max_ms: i64,
) -> Result<(), BatchError> {
    let earliest_ms = now_ms.saturating_sub(before_max_ms);
    let latest_ms = now_ms.saturating_add(after_max_ms);
    for timestamp_ms in [header.base_timestamp_ms, header.max_timestamp_ms] {
        if timestamp_ms != NO_TIMESTAMP && !(earliest_ms..=latest_ms).contains(&timestamp_ms) {
            return Err(BatchError::Timestamp {
                timestamp_ms,
                earliest_ms,
                latest_ms,
            });
        }
    }
    Ok(())
}
