//! Putting right what is broken, from the bytes of another replica.
//!
//! Only bytes that are known to be bad are written over, with batches whose CRC, offsets and epochs are those that belong there.
//! The end of the log never moves, so that a replica which mends itself has never less than it told its leader.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flotilla_protocol::records::{BatchHeader, Origin, check, parse_batches};
use flotilla_protocol::{LeaderEpoch, Offset};

use super::Log;
use super::damage::{Between, Damage, Unsound};
use super::disk::Disk;
use super::error::{During, Error};
use super::segment::{FileKind, Sealed};

/// What is copied at a time where a segment is written anew.
const COPY_BYTES: u64 = 1 << 20;

/// What came of an attempt to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// The damage is gone.
    Whole,
    /// Its first part is; what is left begins here.
    UpTo(Offset),
    /// It was gone already.
    Gone,
}

/// Why what another replica sent cannot take the place of what is broken.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is not what belongs there: the logs part, or the other copy is no better.
    #[error("what the other replica has is not what belongs there: {0}")]
    Content(String),
    /// It has nothing of it.
    #[error("the other replica sent nothing of it")]
    Nothing,
    /// The disk.
    #[error(transparent)]
    Disk(#[from] Error),
}

impl From<Unsound> for Unfit {
    fn from(reason: Unsound) -> Self {
        Self::Content(reason.to_string())
    }
}

/// The part of what came that belongs into the damage.
struct Piece {
    bytes: Bytes,
    headers: Vec<BatchHeader>,
    /// It reaches to the damage's end: what came goes on behind it.
    is_last: bool,
}

impl Log {
    /// Writes `batches`, which another replica has at [`Damage::from`], over what is broken. They may begin before and go on
    /// behind. Where they take more or less room than the broken bytes, because the replicas were compacted apart, the
    /// segment is written anew. Synced when this returns.
    ///
    /// # Errors
    /// [`Unfit`]; nothing was changed then, except after an error of the disk.
    pub fn mend(&mut self, damage: &Damage, batches: &Bytes, now_ms: i64) -> Result<Mended, Unfit> {
        self.check_usable()?;
        if !self.damages.contains(damage) {
            return Ok(Mended::Gone);
        }
        let piece = self.fitting_piece(damage, batches)?;
        // The other replica may still have what was compacted away here.
        self.lower_cleaned(damage.from)?;
        let size = piece.bytes.len() as u64;
        let mended = if size == damage.size_bytes && piece.is_last {
            self.write_over(damage, &piece.bytes)?;
            self.without(damage, None);
            Mended::Whole
        } else if size < damage.size_bytes && !piece.is_last {
            let next = piece
                .headers
                .last()
                .map(BatchHeader::next_offset)
                .ok_or(Unfit::Nothing)?;
            self.write_over(damage, &piece.bytes)?;
            let rest = Damage {
                from: next,
                position: damage.position + size,
                size_bytes: damage.size_bytes - size,
                ..damage.clone()
            };
            self.without(damage, Some(rest));
            Mended::UpTo(next)
        } else if piece.is_last {
            self.write_segment_anew(damage, &piece.bytes, now_ms)?;
            Mended::Whole
        } else {
            return Err(Unfit::Content(
                "it takes more room than what was there".to_owned(),
            ));
        };
        for header in &piece.headers {
            self.epochs
                .learn(header.partition_leader_epoch, header.base_offset);
        }
        if mended == Mended::Whole && damage.next > self.replayed_from {
            // What these batches say of producers and transactions has been missing since the start, and in what was written
            // of them since.
            self.reload_producers(Some(damage.segment))?;
        }
        self.changed = true;
        Ok(mended)
    }

    /// Whether [`Log::mend`] would take these batches.
    #[must_use]
    pub fn would_mend(&self, damage: &Damage, batches: &Bytes) -> bool {
        self.fitting_piece(damage, batches).is_ok()
    }

    fn fitting_piece(&self, damage: &Damage, batches: &Bytes) -> Result<Piece, Unfit> {
        let (mut start, mut end, mut is_last) = (None, 0, false);
        let mut headers: Vec<BatchHeader> = Vec::new();
        let mut between = Between {
            after: damage.from,
            before: damage.next,
        };
        let mut epoch = self.epochs.epoch_for(damage.from).unwrap_or(LeaderEpoch::UNKNOWN);
        let last_epoch = self.epochs.epoch_for(damage.next).or(self.epochs.latest());
        for parsed in parse_batches(batches) {
            let Ok((position, header, batch)) = parsed else {
                break;
            };
            if header.next_offset() <= damage.from {
                continue;
            }
            if header.base_offset >= damage.next {
                is_last = true;
                break;
            }
            check(batch, Origin::Log).map_err(Unsound::from)?;
            between.holds(&header)?;
            let found = header.partition_leader_epoch;
            if found < epoch || last_epoch.is_some_and(|last| found > last) {
                let offset = header.base_offset;
                return Err(Unsound::Epoch {
                    offset,
                    found,
                    expected: epoch,
                }
                .into());
            }
            epoch = found;
            between.after = header.next_offset();
            start.get_or_insert(position);
            end = position + batch.len();
            headers.push(header);
        }
        let is_last = is_last || between.after == damage.next;
        if headers.is_empty() && !is_last {
            return Err(Unfit::Nothing);
        }
        let bytes = start.map_or_else(Bytes::new, |start| batches.slice(start..end));
        Ok(Piece {
            bytes,
            headers,
            is_last,
        })
    }

    /// A crash in between leaves bytes bad that were bad before.
    fn write_over(&mut self, damage: &Damage, bytes: &[u8]) -> Result<(), Error> {
        let path = FileKind::Log.path(&self.dir, damage.segment);
        let disk = &*self.storage.disk;
        disk.write_at(&path, damage.position, bytes)
            .during("write", &path)?;
        disk.sync(&path)
            .during_sync(&path)
            .inspect_err(|_| self.failed = true)
    }

    fn without(&mut self, damage: &Damage, rest: Option<Damage>) {
        let mut left: Vec<Damage> = self
            .damages
            .iter()
            .filter(|other| *other != damage)
            .cloned()
            .collect();
        left.extend(rest);
        left.sort_by_key(|damage| (damage.from, damage.position));
        self.damages = Arc::from(left);
    }

    fn write_segment_anew(&mut self, damage: &Damage, bytes: &[u8], now_ms: i64) -> Result<(), Error> {
        if self
            .active
            .as_ref()
            .is_some_and(|active| active.base == damage.segment)
        {
            self.roll(now_ms)?;
        }
        let Ok(place) = self
            .sealed
            .binary_search_by_key(&damage.segment, |sealed| sealed.base)
        else {
            return Ok(());
        };
        let sealed = Arc::clone(&self.sealed[place]);
        let disk = Arc::clone(&self.storage.disk);
        let path = FileKind::Log.path(&self.dir, sealed.base);
        // A start removes files of this name.
        let new = path.with_extension("log.mended.tmp");
        disk.create(&new).during("create", &new)?;
        let mut end = copy(&*disk, &path, (0, damage.position), &new, 0)?;
        disk.write_at(&new, end, bytes).during("write", &new)?;
        end += bytes.len() as u64;
        end = copy(&*disk, &path, (damage.end(), sealed.size_bytes), &new, end)?;
        disk.sync(&new).during_sync(&new)?;
        sealed.replaced.set();
        // The indexes go first: those of before would not fit what is there then, and missing ones are built anew.
        self.remove_indexes(sealed.base)?;
        disk.rename(&new, &path).during("rename", &new)?;
        disk.sync_dir(&self.dir).during_sync(&self.dir)?;
        self.sealed[place] = Sealed::found(sealed.base, end, sealed.modified_ms, sealed.has_aborted);
        self.size_bytes = self.size_bytes - sealed.size_bytes + end;
        self.without(damage, None);
        let moved = self.damages.iter().cloned().map(|mut other| {
            if other.segment == damage.segment && other.position >= damage.end() {
                other.position = other.position - damage.size_bytes + bytes.len() as u64;
            }
            other
        });
        self.damages = moved.collect();
        Ok(())
    }

    /// Throws the indexes of a segment away that contradict it. They are built anew when they are asked for.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn rebuild_indexes(&mut self, base: Offset) -> Result<(), Error> {
        let Ok(place) = self.sealed.binary_search_by_key(&base, |sealed| sealed.base) else {
            return Ok(());
        };
        let sealed = &self.sealed[place];
        sealed.replaced.set();
        self.remove_indexes(base)?;
        self.sealed[place] = Sealed::found(
            sealed.base,
            sealed.size_bytes,
            sealed.modified_ms,
            sealed.has_aborted,
        );
        Ok(())
    }

    fn remove_indexes(&self, base: Offset) -> Result<(), Error> {
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = kind.path(&self.dir, base);
            match self.storage.disk.remove(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.during("remove", &path)?,
            }
        }
        self.storage.disk.sync_dir(&self.dir).during_sync(&self.dir)
    }
}

/// Copies a part of a file to the end of another, and gives that one's new end.
fn copy(disk: &dyn Disk, from: &Path, part: (u64, u64), to: &Path, mut end: u64) -> Result<u64, Error> {
    let mut position = part.0;
    while position < part.1 {
        let length = COPY_BYTES.min(part.1 - position) as usize;
        let bytes = disk.read_at(from, position, length).during("read", from)?;
        if bytes.is_empty() {
            break;
        }
        disk.write_at(to, end, &bytes).during("write", to)?;
        position += bytes.len() as u64;
        end += bytes.len() as u64;
    }
    Ok(end)
}
