//! Reading a shard back from its partition's log.

use flotilla_protocol::Offset;
use flotilla_protocol::records::{
    BatchError, ControlType, DECOMPRESSED_BYTES_MAX, HEADER_BYTES, Records, decompress, parse_batches,
};

use super::machine::Machine;
use super::partitions::{Partitions, Place, ReadError};

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
pub(super) async fn load<M: Machine>(
    partitions: &dyn Partitions,
    place: Place,
    config: M::Config,
) -> Result<(M, Tally), Error> {
    let mut shard = M::new(config, place);
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

fn replay<M: Machine>(
    shard: &mut M,
    bytes: &[u8],
    mut next: Offset,
    tally: &mut Tally,
) -> Result<Offset, BatchError> {
    for batch in parse_batches(bytes) {
        let (_, header, batch) = batch?;
        next = next.max(header.next_offset());
        if header.is_control() {
            match ControlType::of_batch(&header, batch)? {
                Some(ControlType::Commit) => shard.replay_marker(&header, true),
                Some(ControlType::Abort) => shard.replay_marker(&header, false),
                Some(ControlType::Other(_)) | None => {
                    tally.skipped += u64::from(header.records_count.unsigned_abs());
                }
            }
            continue;
        }
        let payload = decompress(&header, &batch[HEADER_BYTES..], DECOMPRESSED_BYTES_MAX)?;
        for record in Records::new(&header, &payload) {
            let record = record?;
            tally.records += 1;
            // One record that cannot be read must not cost a whole partition its state.
            let is_known = shard.replay(&header, record.key.unwrap_or_default(), record.value);
            tally.skipped += u64::from(!is_known);
        }
    }
    Ok(next)
}
