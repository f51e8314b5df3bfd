//! What is known to be broken in a log: found by who reads, by recovery or by the scrub. It is never served, never thrown away
//! by itself, and put right from another replica's copy ([`super::Log::mend`]).

use std::sync::Arc;

use flotilla_protocol::records::{BatchError, BatchHeader, Origin, check};
use flotilla_protocol::{LeaderEpoch, Offset};

use super::Log;
use super::epochs::Epochs;
use super::error::Error;
use super::segment::{FileKind, View};
use super::sound_walk::sound_at;

/// A stretch of a segment that does not hold what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first offset that may be in it.
    pub from: Offset,
    /// The first offset behind it.
    pub next: Offset,
    /// Where its segment begins.
    pub segment: Offset,
    /// Where it begins in the segment's file.
    pub position: u64,
    /// How many bytes it takes there.
    pub size_bytes: u64,
    /// What is wrong with its first batch.
    pub reason: String,
}

impl Damage {
    /// Whether that position of that segment lies in it.
    pub(super) fn holds(&self, segment: Offset, position: u64) -> bool {
        self.segment == segment && self.position <= position && position < self.end()
    }

    /// The position behind it.
    pub(super) fn end(&self) -> u64 {
        self.position + self.size_bytes
    }
}

/// Why a batch is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsound {
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The CRC does not cover the leader epoch; the epochs of the log say what it has to be.
    #[error("leader epoch {found} stands at offset {offset}, which was written in epoch {expected}")]
    Epoch {
        offset: Offset,
        found: LeaderEpoch,
        expected: LeaderEpoch,
    },
    /// Nor does it cover the base offset; the batches around it do.
    #[error("offsets {first} to {last} stand between {after} and {before}")]
    Order {
        first: Offset,
        last: Offset,
        after: Offset,
        before: Offset,
    },
}

/// The offsets that a batch may have: from the end of the one in front to the beginning of what follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Between {
    pub after: Offset,
    pub before: Offset,
}

impl Between {
    pub(super) fn holds(self, header: &BatchHeader) -> Result<(), Unsound> {
        if header.base_offset >= self.after
            && header.last_offset_delta >= 0
            && header.next_offset() <= self.before
        {
            return Ok(());
        }
        Err(Unsound::Order {
            first: header.base_offset,
            last: header.last_offset(),
            after: self.after,
            before: self.before,
        })
    }
}

/// Whether the last batch of a log begins at `after`, where the one in front ends. The CRC does not cover its base offset, and
/// there is nothing behind it that could tell.
pub(super) fn follows(header: &BatchHeader, after: Offset) -> Result<(), Unsound> {
    let before = after.plus(i64::from(header.last_offset_delta) + 1);
    Between { after, before }.holds(header)
}

/// Checks one whole batch: CRC-32C, counts, and the epoch that the log knows for its offset, where it does.
pub(super) fn sound(batch: &[u8], epochs: &Epochs) -> Result<BatchHeader, Unsound> {
    let header = check(batch, Origin::Log)?;
    match epochs.epoch_for(header.base_offset) {
        Some(expected) if expected != header.partition_leader_epoch => Err(Unsound::Epoch {
            offset: header.base_offset,
            found: header.partition_leader_epoch,
            expected,
        }),
        _ => Ok(header),
    }
}

impl Log {
    /// What is known to be broken, by offset.
    #[must_use]
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Takes note of what an [`super::Inspection`] found. What was put right, cut off or replaced since is passed over. How many of
    /// them were not known before.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn note_damages(&mut self, found: Vec<Damage>) -> Result<usize, Error> {
        let mut known = self.damages.to_vec();
        let before = known.len();
        for damage in found {
            if !known.contains(&damage) && self.is_still_there(&damage)? {
                // A later look knows better than an earlier one where a damage ends.
                known.retain(|other| {
                    other.segment != damage.segment
                        || other.end() <= damage.position
                        || other.position >= damage.end()
                });
                known.push(damage);
            }
        }
        known.sort_by_key(|damage| (damage.from, damage.position));
        let fresh = known.len().saturating_sub(before);
        self.damages = Arc::from(known);
        Ok(fresh)
    }

    /// Whether the segment is there, reaches so far, and has nothing good at that place.
    fn is_still_there(&self, damage: &Damage) -> Result<bool, Error> {
        let Some(view) = self
            .view_of(damage.segment)
            .filter(|view| view.size_bytes() >= damage.end())
        else {
            return Ok(false);
        };
        if damage.next <= self.log_start {
            return Ok(false);
        }
        let path = FileKind::Log.path(&self.dir, view.base());
        let between = Between {
            after: damage.from,
            before: damage.next,
        };
        let found = sound_at(
            &*self.storage.disk,
            &path,
            damage.position,
            view.size_bytes(),
            &self.epochs,
        )?;
        Ok(!found.is_ok_and(|header| between.holds(&header).is_ok()))
    }

    /// The segment that begins at `base`.
    pub(super) fn view_of(&self, base: Offset) -> Option<View> {
        if let Some(active) = self.active.as_ref().filter(|active| active.base == base) {
            return Some(View::Active(Box::new(active.clone())));
        }
        let place = self
            .sealed
            .binary_search_by_key(&base, |sealed| sealed.base)
            .ok()?;
        Some(View::Sealed(Arc::clone(&self.sealed[place])))
    }

    /// Where the batches of the segment that begins at `base` have to end.
    pub(super) fn end_of_segment(&self, base: Offset) -> Offset {
        let after = self.sealed.partition_point(|sealed| sealed.base <= base);
        let next = self.sealed.get(after).map(|sealed| sealed.base);
        let active = self
            .active
            .as_ref()
            .map(|active| active.base)
            .filter(|active| *active > base);
        next.or(active).unwrap_or(self.log_end)
    }

    /// Forgets damages that were cut off, deleted, or lie before the log's start.
    pub(super) fn forget_gone_damages(&mut self) {
        if self.damages.is_empty() {
            return;
        }
        let kept: Vec<Damage> = self
            .damages
            .iter()
            .filter(|damage| {
                damage.next > self.log_start
                    && self
                        .view_of(damage.segment)
                        .is_some_and(|view| view.size_bytes() >= damage.end())
            })
            .cloned()
            .collect();
        self.damages = Arc::from(kept);
    }
}
