//! Reading whole batches from an offset on, from memory where they were just appended, or else from the disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flotilla_protocol::Offset;
use flotilla_protocol::records::{BatchError, BatchHeader, HEADER_BYTES};

use super::disk::Disk;
use super::error::{During, Error};
use super::segment::{FileKind, View};

/// What is read beyond what was asked for, to skip the batches between an index entry and the offset.
const SLACK_BYTES: usize = 8 * 1024;
/// What is read at once, except for a single batch that is larger.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Batches as they lie in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Pieces of one or more whole batches. The first may begin below the offset that was asked for.
    pub batches: Vec<Bytes>,
    /// Bytes in all pieces.
    pub size_bytes: usize,
    /// Where to read on: the offset after the last batch, or what was asked for if there is none.
    pub next_offset: Offset,
}

/// What a read may return.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub bytes_max: usize,
    /// No batch that reaches to this offset or beyond.
    pub upto: Offset,
    /// The first batch comes even if it is larger than `bytes_max` (KIP-74).
    pub min_one_batch: bool,
}

/// Collects batches until the limits are reached.
pub(super) struct Gathered {
    read: Read,
    limits: Limits,
}

/// Why no more was taken from a chunk.
pub(super) enum End {
    /// The chunk has no more.
    Chunk,
    /// The limits are reached.
    Limits,
    /// The next batch needs so many bytes, and the chunk ends before.
    Partial(usize),
    /// What comes next is no batch.
    Broken(BatchError),
}

impl Gathered {
    pub(super) fn new(from: Offset, limits: Limits) -> Self {
        Self {
            read: Read {
                next_offset: from,
                ..Read::default()
            },
            limits,
        }
    }

    /// Takes what fits of a chunk that ends with a whole batch. Whether the next chunk is wanted.
    pub(super) fn add(&mut self, chunk: &Bytes) -> bool {
        matches!(self.take(chunk).1, End::Chunk)
    }

    /// Takes what fits of a chunk that begins with a batch. Gives how far it came, which may be behind the chunk, and
    /// why not further.
    fn take(&mut self, chunk: &Bytes) -> (usize, End) {
        let mut start = None;
        let mut at = 0;
        let end = loop {
            let rest = chunk.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break End::Chunk;
            }
            if rest.len() < HEADER_BYTES {
                break End::Partial(HEADER_BYTES);
            }
            let header = match BatchHeader::parse(rest) {
                Ok(header) => header,
                Err(error) => break End::Broken(error),
            };
            let size = header.size_bytes();
            if header.next_offset() <= self.read.next_offset {
                at += size;
                continue;
            }
            let too_much = self.read.size_bytes + size > self.limits.bytes_max
                && !(self.limits.min_one_batch && self.read.size_bytes == 0);
            if header.next_offset() > self.limits.upto || too_much {
                break End::Limits;
            }
            if rest.len() < size {
                break End::Partial(size);
            }
            start.get_or_insert(at);
            at += size;
            self.read.size_bytes += size;
            self.read.next_offset = header.next_offset();
        };
        if let Some(start) = start {
            self.read.batches.push(chunk.slice(start..at));
        }
        (at, end)
    }

    /// Lets go of a chunk that little was taken of.
    fn shrink_last(&mut self, chunk_bytes: usize) {
        if let Some(last) = self
            .read
            .batches
            .last_mut()
            .filter(|last| last.len() < chunk_bytes / 2)
        {
            *last = Bytes::copy_from_slice(last);
        }
    }

    fn room(&self) -> usize {
        self.limits.bytes_max.saturating_sub(self.read.size_bytes)
    }

    pub(super) fn into_read(self) -> Read {
        self.read
    }
}

/// Where the batches are that a read wants.
pub enum Plan {
    /// In memory; here they are.
    Hot(Read),
    /// On the disk. To be run where blocking is fine, and not under the partition's lock.
    Cold(ColdRead),
}

/// A read from the disk. It sees the log as it was when it was planned.
pub struct ColdRead {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: Arc<Path>,
    pub(super) views: Vec<View>,
    pub(super) from: Offset,
    pub(super) limits: Limits,
}

impl ColdRead {
    /// Reads. Blocks.
    ///
    /// # Errors
    /// [`Error::Removed`] if the log has let go of the segment meanwhile: plan anew. [`Error::Damaged`],
    /// [`Error::Io`].
    pub fn run(self) -> Result<Read, Error> {
        let read = self.read_views();
        check_in_place(&self.views, &self.dir)?;
        read.map_err(removed)
    }

    fn read_views(&self) -> Result<Read, Error> {
        let mut gathered = Gathered::new(self.from, self.limits);
        for view in &self.views {
            if !self.read_view(view, &mut gathered)? {
                break;
            }
        }
        Ok(gathered.into_read())
    }

    /// Whether to go on with the next segment.
    fn read_view(&self, view: &View, gathered: &mut Gathered) -> Result<bool, Error> {
        let path = FileKind::Log.path(&self.dir, view.base());
        let end = view.size_bytes();
        let mut position = view.position_before(&*self.disk, &self.dir, gathered.read.next_offset)?;
        let mut least = HEADER_BYTES;
        while position < end {
            let wanted = gathered
                .room()
                .saturating_add(SLACK_BYTES)
                .min(CHUNK_BYTES_MAX)
                .max(least);
            let length = (wanted as u64).min(end - position) as usize;
            let chunk = self.disk.read_at(&path, position, length).during("read", &path)?;
            let damaged = |reason: String, at: u64| Error::Damaged {
                path: path.clone(),
                position: at,
                reason,
            };
            if chunk.len() < length {
                return Err(damaged(
                    "the file ends early".to_owned(),
                    position + chunk.len() as u64,
                ));
            }
            let (taken, why) = gathered.take(&chunk);
            gathered.shrink_last(chunk.len());
            position += taken as u64;
            least = HEADER_BYTES;
            match why {
                End::Chunk => {}
                End::Limits => return Ok(false),
                End::Partial(needed) if needed as u64 <= end - position => least = needed,
                End::Partial(_) => return Err(damaged("the last batch is cut off".to_owned(), position)),
                End::Broken(error) => return Err(damaged(error.to_string(), position)),
            }
        }
        Ok(true)
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
pub(super) fn check_in_place(views: &[View], dir: &Path) -> Result<(), Error> {
    match views.iter().find(|view| view.is_replaced()) {
        Some(view) => Err(Error::Removed {
            path: FileKind::Log.path(dir, view.base()),
        }),
        None => Ok(()),
    }
}
