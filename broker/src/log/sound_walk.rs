//! Going through a segment batch by batch, each held against what is known of it, and on behind what is broken.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use flotilla_protocol::records::{BatchError, BatchHeader, HEADER_BYTES};
use flotilla_protocol::{LeaderEpoch, Offset};

use super::cold::damaged;
use super::damage::{Between, Damage, Unsound, sound};
use super::disk::Disk;
use super::epochs::Epochs;
use super::error::{During, Error};
use super::index::{Entry as _, OffsetEntry};
use super::index_check::read_whole;
use super::segment::{FileKind, Visit};

/// What is read at a time.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// A walk through a segment that knows how to go on behind what is broken.
pub(super) struct Walk<'a> {
    pub disk: &'a dyn Disk,
    pub dir: &'a Path,
    pub base: Offset,
    /// Where it begins: the place of a batch, 0 for the first.
    pub from: u64,
    pub size_bytes: u64,
    /// Where its batches have to end.
    pub end: Offset,
    pub epochs: &'a Epochs,
    /// What is read at a time, a larger batch aside.
    pub chunk_bytes: usize,
}

/// How far a walk is.
struct Standing {
    position: u64,
    /// Nothing that comes may begin before.
    after: Offset,
    /// Nor be of an earlier epoch.
    epoch: LeaderEpoch,
    /// What was read of what comes.
    chunk: Bytes,
}

impl Standing {
    fn pass(&mut self, header: &BatchHeader) {
        (self.after, self.epoch) = (header.next_offset(), header.partition_leader_epoch);
        self.position += header.size_bytes() as u64;
    }
}

impl Walk<'_> {
    fn path(&self) -> PathBuf {
        FileKind::Log.path(self.dir, self.base)
    }

    /// Hands each good batch to `visit`, and gives the stretches between them that are not good. `goes_on` becomes false where
    /// `pace` ends the walk early.
    pub(super) fn run(
        &self,
        pace: &mut dyn FnMut(u64) -> bool,
        visit: &mut dyn FnMut(u64, &BatchHeader, &[u8]),
        goes_on: &mut bool,
    ) -> Result<Vec<Damage>, Error> {
        let path = self.path();
        let mut damages: Vec<Damage> = Vec::new();
        let mut at = self.start();
        while at.position < self.size_bytes {
            let taken = self.take(&path, &mut at, pace, goes_on)?;
            if !*goes_on {
                return Ok(damages);
            }
            match taken {
                Ok((header, batch)) => {
                    visit(at.position, &header, &batch);
                    at.pass(&header);
                }
                Err(reason) => {
                    let damage = self.delimit(at.position, at.after, &reason)?;
                    (at.position, at.after) = (damage.end(), damage.next);
                    at.chunk = Bytes::new();
                    damages.push(damage);
                }
            }
        }
        Ok(damages)
    }

    /// Hands each batch to `visit` until that is done, and ends at the first one that is not what was written.
    ///
    /// # Errors
    /// [`Error::Damaged`], those of `visit`, and those of the disk.
    pub(super) fn run_sound(
        &self,
        mut visit: impl FnMut(u64, &BatchHeader, &[u8]) -> Result<Visit, Error>,
    ) -> Result<(), Error> {
        let path = self.path();
        let mut at = self.start();
        while at.position < self.size_bytes {
            let (header, batch) = self
                .take(&path, &mut at, &mut |_| true, &mut true)?
                .map_err(|reason| damaged(&path, at.position, &reason))?;
            if let Visit::Done = visit(at.position, &header, &batch)? {
                break;
            }
            at.pass(&header);
        }
        Ok(())
    }

    fn start(&self) -> Standing {
        Standing {
            position: self.from,
            after: self.base,
            epoch: LeaderEpoch::UNKNOWN,
            chunk: Bytes::new(),
        }
    }

    /// The next batch, or why it is not what was written.
    fn take(
        &self,
        path: &Path,
        at: &mut Standing,
        pace: &mut dyn FnMut(u64) -> bool,
        goes_on: &mut bool,
    ) -> Result<Result<(BatchHeader, Bytes), Unsound>, Error> {
        let batch = match self.next(path, at.position, &mut at.chunk, pace, goes_on)? {
            Ok(batch) => batch,
            Err(error) => return Ok(Err(error.into())),
        };
        let header = match sound(&batch, self.epochs) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let fits = self.fits(at.position, &header, (at.after, at.epoch), &at.chunk)?;
        Ok(fits.map(|()| (header, batch)))
    }

    /// Whether offsets and epoch of a batch fit what is in front of it, and where they leave a gap there, what is behind it. The
    /// CRC covers neither.
    fn fits(
        &self,
        position: u64,
        header: &BatchHeader,
        (after, epoch): (Offset, LeaderEpoch),
        rest: &[u8],
    ) -> Result<Result<(), Unsound>, Error> {
        let before = self.end;
        if let Err(error) = (Between { after, before }).holds(header) {
            return Ok(Err(error));
        }
        let found = header.partition_leader_epoch;
        let of_epoch = |expected| Unsound::Epoch {
            offset: header.base_offset,
            found,
            expected,
        };
        if found < epoch {
            return Ok(Err(of_epoch(epoch)));
        }
        let behind = position + header.size_bytes() as u64;
        if (header.base_offset == after && found == epoch) || behind >= self.size_bytes {
            return Ok(Ok(()));
        }
        let here = rest.get(..HEADER_BYTES);
        let read = match here {
            Some(_) => Bytes::new(),
            None => {
                let path = self.path();
                self.disk
                    .read_at(&path, behind, HEADER_BYTES)
                    .during("read", &path)?
            }
        };
        let Ok(next) = BatchHeader::parse(here.unwrap_or(&read)) else {
            return Ok(Ok(()));
        };
        // Where the next one is below what is in front of both, that one is wrong.
        if header.base_offset > after && next.base_offset >= after {
            let before = next.base_offset;
            if let Err(error) = (Between { after, before }).holds(header) {
                return Ok(Err(error));
            }
        }
        let behind = next.partition_leader_epoch;
        let is_alone = found > epoch && behind < found && behind >= epoch;
        Ok(if is_alone { Err(of_epoch(behind)) } else { Ok(()) })
    }

    /// The bytes of the batch at `position`, if they are all there.
    fn next(
        &self,
        path: &Path,
        position: u64,
        chunk: &mut Bytes,
        pace: &mut dyn FnMut(u64) -> bool,
        goes_on: &mut bool,
    ) -> Result<Result<Bytes, BatchError>, Error> {
        let mut read = |length: usize| {
            let length = (length as u64).min(self.size_bytes - position) as usize;
            let read = self.disk.read_at(path, position, length).during("read", path);
            *goes_on &= pace(length as u64);
            read
        };
        if chunk.len() < HEADER_BYTES {
            *chunk = read(self.chunk_bytes.max(HEADER_BYTES))?;
        }
        let size = match BatchHeader::parse(chunk) {
            Ok(header) => header.size_bytes(),
            Err(error) => return Ok(Err(error)),
        };
        if chunk.len() < size && (size as u64) <= self.size_bytes - position {
            *chunk = read(size.max(self.chunk_bytes))?;
        }
        if chunk.len() < size {
            return Ok(Err(BatchError::Truncated {
                needed: size as u64,
                available: chunk.len(),
            }));
        }
        Ok(Ok(chunk.split_to(size)))
    }

    /// How far the damage reaches that begins at `position`, where offset `from` should be: to the next batch that is good, found
    /// by the lengths of the batches, or else by the offset index. Bytes alone are not searched for something that looks like a
    /// batch: records may hold such bytes.
    fn delimit(&self, position: u64, from: Offset, reason: &Unsound) -> Result<Damage, Error> {
        let found = match self.follow_lengths(position, from)? {
            Some(found) => found,
            None => self
                .follow_index(position, from)?
                .unwrap_or((self.size_bytes, self.end)),
        };
        Ok(Damage {
            from,
            next: found.1,
            segment: self.base,
            position,
            size_bytes: found.0 - position,
            reason: reason.to_string(),
        })
    }

    fn follow_lengths(&self, position: u64, from: Offset) -> Result<Option<(u64, Offset)>, Error> {
        let path = self.path();
        let mut at = position;
        loop {
            let bytes = self.disk.read_at(&path, at, HEADER_BYTES).during("read", &path)?;
            let Ok(header) = BatchHeader::parse(&bytes) else {
                return Ok(None);
            };
            at += header.size_bytes() as u64;
            if at == self.size_bytes {
                return Ok(Some((at, self.end)));
            }
            if at > self.size_bytes {
                return Ok(None);
            }
            if let Some(next) = self.good_at(&path, at, from)? {
                return Ok(Some((at, next.base_offset)));
            }
        }
    }

    fn follow_index(&self, position: u64, from: Offset) -> Result<Option<(u64, Offset)>, Error> {
        let path = self.path();
        for entry in read_index(self.disk, self.dir, self.base)? {
            let at = u64::from(entry.position);
            if at <= position {
                continue;
            }
            let indexed = self.base.plus(i64::from(entry.relative_offset));
            if let Some(header) = self.good_at(&path, at, from)?
                && header.last_offset() == indexed
            {
                return Ok(Some((at, header.base_offset)));
            }
        }
        Ok(None)
    }

    fn good_at(&self, path: &Path, position: u64, after: Offset) -> Result<Option<BatchHeader>, Error> {
        let found = sound_at(self.disk, path, position, self.size_bytes, self.epochs)?;
        let between = Between {
            after,
            before: self.end,
        };
        Ok(found.ok().filter(|header| between.holds(header).is_ok()))
    }
}

/// Checks the batch at a position of a file of `size_bytes`.
pub(super) fn sound_at(
    disk: &dyn Disk,
    path: &Path,
    position: u64,
    size_bytes: u64,
    epochs: &Epochs,
) -> Result<Result<BatchHeader, Unsound>, Error> {
    let bytes = disk.read_at(path, position, HEADER_BYTES).during("read", path)?;
    let header = match BatchHeader::parse(&bytes) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error.into())),
    };
    let size = header.size_bytes();
    if size as u64 > size_bytes.saturating_sub(position) {
        let available = size_bytes.saturating_sub(position) as usize;
        let needed = size as u64;
        return Ok(Err(BatchError::Truncated { needed, available }.into()));
    }
    let batch = disk.read_at(path, position, size).during("read", path)?;
    Ok(sound(&batch, epochs))
}

/// All entries of a segment's offset index on the disk; none where there is no whole file.
pub(super) fn read_index(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<Vec<OffsetEntry>, Error> {
    let path = FileKind::OffsetIndex.path(dir, base);
    let bytes = read_whole(disk, &path)?.unwrap_or_default();
    Ok(bytes
        .chunks_exact(OffsetEntry::BYTES)
        .map(OffsetEntry::read)
        .collect())
}
