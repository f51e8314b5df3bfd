//! Reading from the disk. What comes from there is checked before it goes out, batch by batch: the CRC, the offsets of the
//! batches around it, the epoch. What the CRC does not cover is told by its neighbours. What was found sound is vouched for, so that for some
//! minutes it may be sent without being read ([`super::in_place`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flotilla_protocol::Offset;
use flotilla_protocol::records::{BatchError, BatchHeader, HEADER_BYTES};

use super::damage::{Between, Damage, Unsound, sound};
use super::disk::{Disk, Version};
use super::epochs::Epochs;
use super::error::{During, Error};
use super::read::{Limits, Read};
use super::segment::{FileKind, View};
use super::sound_walk::sound_at;

/// What is read beyond what was asked for, to skip the batches between an index entry and the offset.
pub(super) const SLACK_BYTES: usize = 8 * 1024;
/// What is read at once, except for a single batch that is larger.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// A read from the disk. It sees the log as it was when it was planned.
pub struct ColdRead {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: Arc<Path>,
    /// With the offset that each has to end at.
    pub(super) views: Vec<(View, Offset)>,
    pub(super) epochs: Epochs,
    pub(super) damages: Arc<[Damage]>,
    pub(super) from: Offset,
    pub(super) limits: Limits,
    /// What can be sent from its file is left there.
    pub(super) leaves: bool,
}

/// A batch that was passed over on the way to where the read begins.
struct Passed {
    path: PathBuf,
    position: u64,
    size_bytes: u64,
    segment: Offset,
}

/// Where a read is, and what it has.
struct Progress {
    read: Read,
    /// Nothing that comes may begin before.
    after: Offset,
    /// The next batch has the offsets that it should have.
    is_sure: bool,
    passed: Option<Passed>,
    /// Of the file that is read, before anything of it was; where that is of use.
    version: Option<Version>,
}

/// What to do with a batch.
enum Step {
    Pass,
    Take,
    /// The limits are reached.
    Stop,
}

impl ColdRead {
    /// Reads. Blocks. What lies before a batch that is broken is returned; a read that begins at it fails.
    ///
    /// # Errors
    /// [`Error::Removed`] if the log has let go of the segment meanwhile: plan anew. [`Error::Damaged`],
    /// [`Error::Io`].
    pub fn run(self) -> Result<Read, Error> {
        let left = match self.leaves {
            true => self.leave(),
            false => Ok(None),
        };
        let read = left.and_then(|left| left.map_or_else(|| self.read_views(), Ok));
        // What looks broken may be half of what was there and half of what has taken its place.
        check_in_place(self.views.iter().map(|(view, _)| view), &self.dir)?;
        read.map_err(removed)
    }

    fn read_views(&self) -> Result<Read, Error> {
        let mut progress = Progress {
            read: Read {
                next_offset: self.from,
                ..Read::default()
            },
            after: Offset(0),
            is_sure: false,
            passed: None,
            version: None,
        };
        for (view, end) in &self.views {
            match self.read_view(view, *end, &mut progress) {
                Ok(true) => {}
                Ok(false) => break,
                // The next read begins there, and finds it.
                Err(Error::Damaged { .. }) if progress.read.size_bytes > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(progress.read)
    }

    /// Whether to go on with the next segment.
    fn read_view(&self, view: &View, end: Offset, progress: &mut Progress) -> Result<bool, Error> {
        let path = FileKind::Log.path(&self.dir, view.base());
        progress.version = self.leaves.then(|| self.disk.version(&path)).flatten();
        let mut position = view.position_before(&*self.disk, &self.dir, progress.read.next_offset)?;
        progress.after = progress.after.max(view.base());
        // What an index entry leads to has the offset that the entry says.
        progress.is_sure = position > 0;
        let mut chunk = Bytes::new();
        // The first byte of the chunk that is taken and not handed over yet.
        let mut taken: Option<usize> = None;
        let mut at = 0;
        let result = loop {
            if position >= view.size_bytes() {
                break Ok(true);
            }
            if let Some(damage) = self.damage_at(view.base(), position) {
                if progress.read.next_offset < damage.next {
                    break Err(Error::Damaged {
                        path: path.clone(),
                        position,
                        reason: damage.reason.clone(),
                        known: true,
                    });
                }
                self.hand_over(progress, (&path, position), (&chunk, at), &mut taken);
                (position, at, chunk) = (damage.end(), 0, Bytes::new());
                progress.after = progress.after.max(damage.next);
                progress.passed = None;
                continue;
            }
            let place = Place {
                view,
                path: &path,
                position,
                end,
            };
            match self.step(&place, chunk.get(at..).unwrap_or_default(), progress)? {
                Looked::Needs(bytes) => {
                    self.hand_over(progress, (&path, position), (&chunk, at), &mut taken);
                    chunk = self.read_chunk(&place, bytes, progress)?;
                    at = 0;
                }
                Looked::Batch(header, Step::Pass) => {
                    let size = header.size_bytes();
                    progress.passed = Some(Passed {
                        path: path.clone(),
                        position,
                        size_bytes: view.size_bytes(),
                        segment: view.base(),
                    });
                    self.hand_over(progress, (&path, position), (&chunk, at), &mut taken);
                    (progress.after, progress.is_sure) = (header.next_offset(), false);
                    (position, at) = (position + size as u64, at + size);
                }
                Looked::Batch(header, Step::Take) => {
                    let size = header.size_bytes();
                    taken.get_or_insert(at);
                    (progress.after, progress.is_sure) = (header.next_offset(), false);
                    progress.read.next_offset = header.next_offset();
                    progress.read.size_bytes += size;
                    (position, at) = (position + size as u64, at + size);
                }
                Looked::Batch(_, Step::Stop) => break Ok(false),
                Looked::Broken(reason) => break Err(damaged(&path, position, &reason)),
            }
        };
        self.hand_over(progress, (&path, position), (&chunk, at), &mut taken);
        result
    }

    /// Gives what was taken of a chunk to the read: it ends at `at`, which is `position` in the file. Where that is little, the chunk itself is
    /// not kept for it.
    fn hand_over(
        &self,
        progress: &mut Progress,
        (path, position): (&Path, u64),
        (chunk, at): (&Bytes, usize),
        taken: &mut Option<usize>,
    ) {
        let Some(start) = taken.take() else {
            return;
        };
        if let Some(version) = progress.version {
            let begin = position - (at - start) as u64;
            self.disk.vouch(path, begin..position, version);
        }
        let piece = chunk.slice(start..at);
        let piece = if piece.len() < chunk.len() / 2 {
            Bytes::copy_from_slice(&piece)
        } else {
            piece
        };
        progress.read.batches.push(piece);
    }

    fn damage_at(&self, segment: Offset, position: u64) -> Option<&Damage> {
        self.damages.iter().find(|damage| damage.holds(segment, position))
    }

    fn read_chunk(&self, place: &Place<'_>, least: usize, progress: &Progress) -> Result<Bytes, Error> {
        let room = self.limits.bytes_max.saturating_sub(progress.read.size_bytes);
        let wanted = room.saturating_add(SLACK_BYTES).min(CHUNK_BYTES_MAX).max(least);
        let length = (wanted as u64).min(place.view.size_bytes() - place.position) as usize;
        let chunk = self
            .disk
            .read_at(place.path, place.position, length)
            .during("read", place.path)?;
        if chunk.len() < length {
            let ends = place.position + chunk.len() as u64;
            return Err(damaged(place.path, ends, &"the file ends early"));
        }
        Ok(chunk)
    }

    /// Looks at the batch that `rest` begins with.
    fn step(&self, place: &Place<'_>, rest: &[u8], progress: &Progress) -> Result<Looked, Error> {
        let left = place.view.size_bytes() - place.position;
        if rest.len() < HEADER_BYTES {
            return Ok(needs(HEADER_BYTES, left));
        }
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(error) => return Ok(Looked::Broken(error.into())),
        };
        let between = Between {
            after: progress.after,
            before: place.end,
        };
        if let Err(error) = between.holds(&header) {
            return Ok(Looked::Broken(error));
        }
        if header.base_offset > progress.after
            && !progress.is_sure
            && let Err(error) = self.fits_next(place, rest, &header, progress.after)?
        {
            return Ok(Looked::Broken(error));
        }
        let (size, next_offset) = (header.size_bytes(), progress.read.next_offset);
        if size as u64 > left {
            return Ok(needs(size, left));
        }
        if header.next_offset() <= next_offset {
            return Ok(Looked::Batch(header, Step::Pass));
        }
        let is_empty = progress.read.size_bytes == 0;
        if is_empty && header.base_offset > next_offset {
            self.look_back(progress)?;
        }
        let too_much = progress.read.size_bytes + size > self.limits.bytes_max
            && !(self.limits.min_one_batch && is_empty);
        let stops = header.next_offset() > self.limits.upto || too_much;
        // A read that returns nothing must not return nothing because of what is broken.
        if stops && (too_much || !is_empty) {
            return Ok(Looked::Batch(header, Step::Stop));
        }
        if rest.len() < size {
            return Ok(needs(size, left));
        }
        Ok(match sound(&rest[..size], &self.epochs) {
            Ok(header) if stops => Looked::Batch(header, Step::Stop),
            Ok(header) => Looked::Batch(header, Step::Take),
            Err(error) => Looked::Broken(error),
        })
    }

    /// Where offsets are missing in front of a batch, compaction took them, or its base offset is not what was written. The
    /// batch behind it must leave room for it, then.
    fn fits_next(
        &self,
        place: &Place<'_>,
        rest: &[u8],
        header: &BatchHeader,
        after: Offset,
    ) -> Result<Result<(), Unsound>, Error> {
        let behind = place.position + header.size_bytes() as u64;
        if behind >= place.view.size_bytes() {
            return Ok(Ok(()));
        }
        let here = rest
            .get(header.size_bytes()..)
            .filter(|next| next.len() >= HEADER_BYTES);
        let read = match here {
            Some(_) => Bytes::new(),
            None => self
                .disk
                .read_at(place.path, behind, HEADER_BYTES)
                .during("read", place.path)?,
        };
        let Ok(next) = BatchHeader::parse(here.unwrap_or(&read)) else {
            // That one is broken, and found when it is its turn.
            return Ok(Ok(()));
        };
        if next.base_offset < after {
            return Ok(Ok(()));
        }
        let before = next.base_offset;
        Ok((Between { after, before }).holds(header))
    }

    /// What the read begins with may have been in the batch that was passed over last, if that is not what was written.
    fn look_back(&self, progress: &Progress) -> Result<(), Error> {
        let Some(passed) = &progress.passed else {
            return Ok(());
        };
        if self.damage_at(passed.segment, passed.position).is_some() {
            return Ok(());
        }
        let found = sound_at(
            &*self.disk,
            &passed.path,
            passed.position,
            passed.size_bytes,
            &self.epochs,
        )?;
        found
            .map(|_| ())
            .map_err(|reason| damaged(&passed.path, passed.position, &reason))
    }
}

/// Where in a segment a read is.
struct Place<'a> {
    view: &'a View,
    path: &'a Path,
    position: u64,
    end: Offset,
}

/// What was seen at a place.
enum Looked {
    /// So many bytes have to be there to tell.
    Needs(usize),
    Batch(BatchHeader, Step),
    Broken(Unsound),
}

fn needs(bytes: usize, left: u64) -> Looked {
    if bytes as u64 <= left {
        return Looked::Needs(bytes);
    }
    let (needed, available) = (bytes as u64, left as usize);
    Looked::Broken(BatchError::Truncated { needed, available }.into())
}

pub(super) fn damaged(path: &Path, position: u64, reason: &dyn std::fmt::Display) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        position,
        reason: reason.to_string(),
        known: false,
    }
}

/// A file that is not there any more was taken away by the log itself.
pub(super) fn removed(error: Error) -> Error {
    match error {
        Error::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => Error::Removed { path },
        other => other,
    }
}

/// To be asked after the last read: whether all that was read lay in the files that were looked up.
///
/// # Errors
/// [`Error::Removed`].
pub(super) fn check_in_place<'a>(views: impl IntoIterator<Item = &'a View>, dir: &Path) -> Result<(), Error> {
    match views.into_iter().find(|view| view.is_replaced()) {
        Some(view) => Err(Error::Removed {
            path: FileKind::Log.path(dir, view.base()),
        }),
        None => Ok(()),
    }
}
