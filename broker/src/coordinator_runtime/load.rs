//! Reading a shard back from its partition's log.

use flotilla_protocol::Offset;
use flotilla_protocol::records::{
    BatchError, DECOMPRESSED_BYTES_MAX, HEADER_BYTES, Records, decompress, parse_batches,
};

use super::partitions::{Partitions, Place, ReadError};
use crate::group::{Config, Record, Shard};

/// Why a shard could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the log holds a batch that cannot be read: {0}")]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Commit(#[from] crate::group::WriteError),
}

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) records: u64,
    /// Of kinds that this broker does not know, or that are not laid out as they should be.
    pub(super) skipped: u64,
}

/// Replays the whole log, and waits until all of it is committed: what a former leader left behind uncommitted becomes
/// part of this leader's log, but might not survive it.
pub(super) async fn load(
    partitions: &dyn Partitions,
    place: Place,
    config: Config,
) -> Result<(Shard, Tally), Error> {
    let mut shard = Shard::new(config);
    let mut tally = Tally::default();
    let mut next = Offset(0);
    loop {
        let chunk = partitions.read(place, next).await?;
        if chunk.batches.is_empty() && chunk.log_start <= next {
            break;
        }
        next = next.max(chunk.log_start);
        for bytes in &chunk.batches {
            next = replay(&mut shard, bytes, next, &mut tally)?;
        }
        // A large log is read in many pieces; others get their turn in between.
        tokio::task::yield_now().await;
    }
    partitions.wait_committed(place, next).await?;
    Ok((shard, tally))
}

fn replay(
    shard: &mut Shard,
    bytes: &[u8],
    mut next: Offset,
    tally: &mut Tally,
) -> Result<Offset, BatchError> {
    for batch in parse_batches(bytes) {
        let (_, header, batch) = batch?;
        next = next.max(header.next_offset());
        if header.is_control() || header.is_transactional() {
            // Offsets committed inside a transaction count once it is; this broker does not write any.
            tally.skipped += u64::from(header.records_count.unsigned_abs());
            continue;
        }
        let payload = decompress(&header, &batch[HEADER_BYTES..], DECOMPRESSED_BYTES_MAX)?;
        for record in Records::new(&header, &payload) {
            let record = record?;
            tally.records += 1;
            match Record::decode(record.key.unwrap_or_default(), record.value) {
                Ok(Some(record)) => shard.replay(&record),
                // One record that cannot be read must not cost a whole partition its groups.
                Ok(None) | Err(_) => tally.skipped += 1,
            }
        }
    }
    Ok(next)
}
