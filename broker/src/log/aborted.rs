//! Transactions that were aborted, beside the segment that holds the marker: a fetch with `read_committed` brings
//! records of theirs along, and has to say which (KIP-98).
//!
//! Of the active segment the list is in memory, and is written when the segment ends or is closed. Those of other
//! segments are read when they are asked for. The file is laid out as Kafka's `.txnindex`, 34 bytes an entry in the
//! order of the markers, but each entry ends with the CRC-32C of those: one that was changed would hide records, or show
//! aborted ones. A list that is damaged is built anew from the batches.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flotilla_protocol::{Offset, ProducerId};

use super::checkpoint::{Durability, write_whole};
use super::cold::removed;
use super::disk::Disk;
use super::error::{During, Error};
use super::segment::{FileKind, View};

const FIELDS_BYTES: usize = 34;
const ENTRY_BYTES: usize = FIELDS_BYTES + 4;
/// Kafka's is 0, and has no checksum.
const VERSION: i16 = 1;
/// Entries that are read at a time.
const ENTRIES_AT_ONCE: usize = 4096;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record in the partition.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// Where the log was stable to with the marker: all that was aborted before ends before it, or is known by then.
    pub stable_to: Offset,
}

impl Aborted {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        out[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [
            self.producer_id.0,
            self.first_offset.0,
            self.last_offset.0,
            self.stable_to.0,
        ];
        for (at, field) in fields.into_iter().enumerate() {
            out[2 + at * 8..10 + at * 8].copy_from_slice(&field.to_be_bytes());
        }
        let checksum = crc32c::crc32c(&out[..FIELDS_BYTES]);
        out[FIELDS_BYTES..].copy_from_slice(&checksum.to_be_bytes());
        out
    }

    fn decode(entry: &[u8]) -> Option<Self> {
        let (fields, checksum) = entry.split_last_chunk()?;
        if u32::from_be_bytes(*checksum) != crc32c::crc32c(fields) {
            return None;
        }
        let (version, mut rest) = fields.split_first_chunk()?;
        if i16::from_be_bytes(*version) != VERSION {
            return None;
        }
        let mut next = || {
            let (field, left) = rest.split_first_chunk()?;
            rest = left;
            Some(i64::from_be_bytes(*field))
        };
        Some(Self {
            producer_id: ProducerId(next()?),
            first_offset: Offset(next()?),
            last_offset: Offset(next()?),
            stable_to: Offset(next()?),
        })
    }
}

/// Writes the list of a segment; an empty one is no file.
pub(super) fn write(
    disk: &dyn Disk,
    dir: &Path,
    base: Offset,
    aborted: &[Aborted],
    durability: Durability,
) -> Result<(), Error> {
    let path = FileKind::Aborted.path(dir, base);
    if aborted.is_empty() {
        return match disk.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(()) if durability == Durability::Synced => disk.sync_dir(dir).during_sync(dir),
            removed => removed.during("remove", &path),
        };
    }
    let content: Vec<u8> = aborted.iter().flat_map(Aborted::encode).collect();
    write_whole(disk, &path, &content, durability).during("write", &path)
}

/// All of a segment's list.
pub(super) fn read(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<Vec<Aborted>, Error> {
    let file = File::open(disk, dir, base)?;
    let mut all = Vec::with_capacity(file.entries);
    file.visit(0, |aborted| {
        all.push(aborted);
        true
    })?;
    Ok(all)
}

/// A list on the disk.
struct File<'a> {
    disk: &'a dyn Disk,
    path: std::path::PathBuf,
    entries: usize,
}

impl<'a> File<'a> {
    fn open(disk: &'a dyn Disk, dir: &Path, base: Offset) -> Result<Self, Error> {
        let path = FileKind::Aborted.path(dir, base);
        let size_bytes = disk.stat(&path).during("read", &path)?.size_bytes;
        let entries = usize::try_from(size_bytes).unwrap_or(usize::MAX) / ENTRY_BYTES;
        let file = Self { disk, path, entries };
        if entries == 0 || size_bytes != (entries * ENTRY_BYTES) as u64 {
            return Err(file.damaged(entries, "its last entry is cut off"));
        }
        Ok(file)
    }

    fn damaged(&self, entry: usize, reason: &str) -> Error {
        Error::Damaged {
            path: self.path.clone(),
            position: (entry * ENTRY_BYTES) as u64,
            reason: reason.to_owned(),
            known: false,
        }
    }

    fn bytes(&self, entry: usize, count: usize) -> Result<Bytes, Error> {
        let count = count.min(self.entries - entry);
        let at = (entry * ENTRY_BYTES) as u64;
        let bytes = self.disk.read_at(&self.path, at, count * ENTRY_BYTES);
        let bytes = bytes.during("read", &self.path)?;
        if bytes.len() < count * ENTRY_BYTES {
            return Err(self.damaged(entry, "the file ends early"));
        }
        Ok(bytes)
    }

    fn decode(&self, entry: usize, bytes: &[u8]) -> Result<Aborted, Error> {
        Aborted::decode(bytes).ok_or_else(|| self.damaged(entry, "its checksum or its version is wrong"))
    }

    /// The first entry whose marker is at or behind `offset`.
    fn first_at(&self, offset: Offset) -> Result<usize, Error> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let aborted = self.decode(middle, &self.bytes(middle, 1)?)?;
            if aborted.last_offset < offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Hands out entries from one on until `take` has enough. Whether it has.
    fn visit(&self, mut from: usize, mut take: impl FnMut(Aborted) -> bool) -> Result<bool, Error> {
        while from < self.entries {
            let bytes = self.bytes(from, ENTRIES_AT_ONCE)?;
            for entry in bytes.chunks_exact(ENTRY_BYTES) {
                if !take(self.decode(from, entry)?) {
                    return Ok(true);
                }
                from += 1;
            }
        }
        Ok(false)
    }
}

enum Place {
    File(Offset),
    Memory(Arc<Vec<Aborted>>),
}

/// A search for the transactions whose records a read may hold though they were aborted. It sees the log as it was when
/// the search was prepared.
pub struct AbortedSearch {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    from: Offset,
    places: Vec<Place>,
}

impl AbortedSearch {
    pub(super) fn new(disk: &Arc<dyn Disk>, dir: &Arc<Path>, from: Offset, views: Vec<View>) -> Self {
        let places = views.into_iter().filter_map(|view| match view {
            View::Sealed(sealed) => sealed.has_aborted.then_some(Place::File(sealed.base)),
            View::Active(active) => (!active.aborted.is_empty()).then_some(Place::Memory(active.aborted)),
        });
        Self {
            disk: Arc::clone(disk),
            dir: Arc::clone(dir),
            from,
            places: places.collect(),
        }
    }

    /// Whether [`AbortedSearch::run`] has to read from the disk.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::File(_)))
    }

    /// All aborted transactions that overlap what lies between the beginning of the read and `upto`, in the order of their
    /// markers. May block.
    ///
    /// # Errors
    /// [`Error::Removed`] if the log has let go of a segment meanwhile: plan anew. [`Error::Damaged`], [`Error::Io`].
    pub fn run(&self, upto: Offset) -> Result<Vec<Aborted>, Error> {
        let mut found: Vec<Aborted> = Vec::new();
        // With a marker behind which all before `upto` was stable, there is nothing more to find.
        let mut take = |aborted: Aborted| {
            // A compaction that was interrupted lists some twice; clients count on one marker for each.
            let is_listed = found
                .last()
                .is_some_and(|last| last.last_offset >= aborted.last_offset);
            if aborted.last_offset >= self.from && aborted.first_offset < upto && !is_listed {
                found.push(aborted);
            }
            aborted.stable_to < upto
        };
        for place in &self.places {
            let is_done = match place {
                Place::File(base) => {
                    let file = File::open(&*self.disk, &self.dir, *base).map_err(removed)?;
                    let first = file.first_at(self.from).map_err(removed)?;
                    file.visit(first, &mut take).map_err(removed)?
                }
                Place::Memory(all) => {
                    let first = all.partition_point(|aborted| aborted.last_offset < self.from);
                    !all[first..].iter().all(|aborted| take(*aborted))
                }
            };
            if is_done {
                break;
            }
        }
        Ok(found)
    }
}
