//! Compaction: of each key the last record stays, and goes too where it is a tombstone whose time is over.
//!
//! A compaction takes three steps, of which only the first and the last need the partition's lock, and briefly:
//!
//! 1. [`Log::survey`] and [`Log::begin_compaction`] note which segments there are. Only ended segments are compacted whose
//!    records are all committed and decided.
//! 2. [`Compaction::read_keys`] reads the part that is new since the last compaction, and notes the latest offset of each
//!    key in memory that is bounded. Where it is full, the compaction ends at the record that it came to, and the next one
//!    goes on from there. [`Rewrite::next`] then writes, from the beginning of the log on, segments that take the place of
//!    one or more others.
//! 3. [`Log::swap`] puts such a segment in their place. What is being read of them meanwhile is read anew.
//!
//! What must not happen:
//!
//! - A tombstone goes before the records that it covers. Segments are swapped from the oldest on, each durably before the
//!   next, and a delete horizon (KIP-534) is set only where the same compaction removed what the tombstone covers.
//! - Half a swap. A segment's replacement is whole and synced before it gets the name `.swap`; from then on it counts, and a
//!   start after a crash finishes what was begun ([`finish_swaps`]).
//! - What a disk has changed gets a checksum that says it is whole, or says which record of a key is the latest. Every batch is
//!   checked before it counts, its offsets and its epoch too, which the CRC does not cover. A log is compacted up to where it is
//!   known to be broken, and not at all where that is in the part that was compacted before: what covers a record must not go
//!   while nobody can say whether the record is still there.
//! - Offsets move or the log ends elsewhere. Batches keep their offsets, and the last batch of what is replaced stays, if
//!   with no record in it. So does the last batch of each producer that is known, whose sequence goes on.

mod checkpoint;
mod filter;
mod group;
mod keys;
mod map;
mod rewrite;
mod survey;
mod swap;
mod transactions;

use super::error::Error;

pub(super) use checkpoint::load;
pub use rewrite::{Cleaned, Compaction, Limits, Rewrite};
pub use survey::{Cleanable, Survey};
pub(super) use swap::finish_swaps;

/// Is told how many bytes were read or written, may take its time, and says whether to go on.
pub type Pace<'a> = &'a mut dyn FnMut(u64) -> bool;

fn spend(pace: &mut dyn FnMut(u64) -> bool, bytes: u64) -> Result<(), Error> {
    if pace(bytes) {
        Ok(())
    } else {
        Err(Error::Interrupted)
    }
}
