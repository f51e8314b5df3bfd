//! Reading what is new, and writing what is left.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flotilla_protocol::Offset;
use flotilla_protocol::records::{BatchHeader, HEADER_BYTES};

use super::filter::{Filter, Kept, Lasts};
use super::group::{Group, groups};
use super::keys::Keys;
use super::map::OffsetMap;
use super::survey::Cleanable;
use super::transactions::Transactions;
use super::{Pace, spend};
use crate::log::cold::{damaged, removed};
use crate::log::disk::Disk;
use crate::log::epochs::Epochs;
use crate::log::error::{During, Error};
use crate::log::index::Indexes;
use crate::log::segment::{FileKind, Sealed, Visit};
use crate::log::sound_walk::Walk;
use crate::log::{Config, Log};

/// What a compaction may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Memory for keys (`log.cleaner.dedupe.buffer.size`, of one thread), in bytes.
    pub keys_bytes: usize,
    /// How full it may become, as a fraction (`log.cleaner.io.buffer.load.factor`).
    pub keys_load_factor: f64,
    /// What is read and what is written at a time, in bytes (`log.cleaner.io.buffer.size`, half of one thread's).
    pub buffer_bytes: usize,
}

/// A compaction that is about to begin.
pub struct Compaction {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    config: Config,
    epochs: Epochs,
    segments: Vec<(Arc<Sealed>, Offset)>,
    first_dirty: Offset,
    upto: Offset,
    lasts: Lasts,
    limits: Limits,
    salt: [u8; 16],
    now_ms: i64,
}

impl Log {
    /// Prepares to compact what a survey found. `salt` is drawn at random for each compaction, and kept secret: see
    /// `compaction/map.rs`.
    #[must_use]
    pub fn begin_compaction(
        &mut self,
        cleanable: &Cleanable,
        limits: Limits,
        salt: [u8; 16],
        now_ms: i64,
    ) -> Compaction {
        self.was_lowered = false;
        let survey = self.survey(cleanable.upto);
        let first_dirty = self.first_dirty();
        let mut segments = survey.segments;
        segments.retain(|(_, end)| *end <= cleanable.upto);
        // Something may have been found broken since.
        let reached = segments.last().map_or(first_dirty, |(_, end)| *end);
        if reached < first_dirty {
            segments.clear();
        }
        Compaction {
            disk: survey.disk,
            dir: survey.dir,
            config: survey.config,
            epochs: survey.epochs,
            segments,
            first_dirty,
            upto: reached.max(first_dirty),
            lasts: Lasts::of(&self.producers),
            limits,
            salt,
            now_ms,
        }
    }
}

impl Compaction {
    /// Reads the keys of what is new. Blocks.
    ///
    /// # Errors
    /// [`Error::Removed`] if the log has let go of a segment meanwhile, [`Error::Interrupted`], [`Error::Damaged`], and
    /// those of the disk.
    pub fn read_keys(self, pace: Pace<'_>) -> Result<Rewrite, Error> {
        let mut dirty = self.segments.clone();
        dirty.retain(|(_, end)| *end > self.first_dirty);
        let transactions = Transactions::find(&*self.disk, &self.dir, &dirty, pace).map_err(|error| {
            let is_replaced = |segment: &&(Arc<Sealed>, Offset)| segment.0.replaced.is_set();
            match dirty.iter().find(is_replaced) {
                Some((segment, _)) => in_place(error, segment, &self.dir),
                None => removed(error),
            }
        })?;
        let keys = u64::try_from(self.upto.0 - self.first_dirty.0).unwrap_or(0);
        let Limits {
            keys_bytes,
            keys_load_factor,
            buffer_bytes,
        } = self.limits;
        let mut keys = Keys::new(OffsetMap::new(self.salt, keys, keys_bytes, keys_load_factor));
        for segment in &dirty {
            if keys.are_all() {
                break;
            }
            self.read_segment(segment, &transactions, &mut keys, pace)
                .map_err(|error| in_place(error, &segment.0, &self.dir))?;
        }
        let (mut map, is_full) = keys.into_map();
        let end = if is_full { map.latest().plus(1) } else { self.upto };
        map.reached(end.plus(-1));
        let reached = |segment: &&(Arc<Sealed>, Offset)| segment.0.base < end;
        let segments: Vec<_> = self.segments.iter().take_while(reached).cloned().collect();
        let groups = groups(&segments, &self.config);
        let segments_end = segments.last().map_or(end, |(_, end)| *end);
        let filter = Filter {
            map,
            transactions,
            lasts: self.lasts,
            now_ms: self.now_ms,
            delete_retention_ms: self.config.delete_retention_ms,
        };
        Ok(Rewrite {
            disk: self.disk,
            dir: self.dir,
            index_interval_bytes: self.config.index_interval_bytes,
            epochs: self.epochs,
            segments_end,
            buffer_bytes: buffer_bytes.max(HEADER_BYTES),
            suffix: format!(
                ".{:02x}{:02x}{:02x}{:02x}.cleaned",
                self.salt[0], self.salt[1], self.salt[2], self.salt[3]
            ),
            groups,
            filter,
            end,
        })
    }

    fn read_segment(
        &self,
        (segment, end): &(Arc<Sealed>, Offset),
        transactions: &Transactions,
        keys: &mut Keys,
        pace: Pace<'_>,
    ) -> Result<(), Error> {
        let path = FileKind::Log.path(&self.dir, segment.base);
        let walk = Walk {
            disk: &*self.disk,
            dir: &self.dir,
            base: segment.base,
            from: 0,
            size_bytes: segment.size_bytes,
            end: *end,
            epochs: &self.epochs,
            chunk_bytes: self.limits.buffer_bytes,
        };
        let read = |position: u64, header: &BatchHeader, batch: &[u8]| {
            spend(pace, batch.len() as u64)?;
            if header.last_offset() >= self.first_dirty {
                keys.read(header, batch, transactions, self.first_dirty)
                    .map_err(|reason| damaged(&path, position, &reason))?;
            }
            Ok(if keys.are_all() { Visit::Done } else { Visit::Next })
        };
        walk.run_sound(read)?;
        check_unchanged(segment, &self.dir)
    }
}

/// What went wrong with a segment, unless it is that something else has taken its place.
fn in_place(error: Error, segment: &Sealed, dir: &Path) -> Error {
    match check_unchanged(segment, dir) {
        Ok(()) => removed(error),
        Err(removed) => removed,
    }
}

fn check_unchanged(segment: &Sealed, dir: &Path) -> Result<(), Error> {
    if segment.replaced.is_set() {
        let path = FileKind::Log.path(dir, segment.base);
        return Err(Error::Removed { path });
    }
    Ok(())
}

/// A compaction that knows the keys, and writes segment by segment.
pub struct Rewrite {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    index_interval_bytes: u32,
    epochs: Epochs,
    /// Where the last of the segments ends.
    segments_end: Offset,
    buffer_bytes: usize,
    suffix: String,
    groups: VecDeque<Group>,
    filter: Filter,
    end: Offset,
}

/// A segment, written and synced, that may take the place of others: by [`Log::swap`]. Dropped, it goes away.
pub struct Cleaned {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: Arc<Path>,
    pub(super) suffix: String,
    pub(super) group: Group,
    pub(super) size_bytes: u64,
    pub(super) indexes: Indexes,
    /// Offsets of the markers that are left out, in order.
    pub(super) markers_gone: Vec<Offset>,
    /// Its files are still under their first names.
    pub(super) is_draft: bool,
}

impl Cleaned {
    fn new(rewrite: &Rewrite, group: Group) -> Self {
        let indexes = Indexes::new(group[0].base);
        Self {
            disk: Arc::clone(&rewrite.disk),
            dir: Arc::clone(&rewrite.dir),
            suffix: rewrite.suffix.clone(),
            group,
            size_bytes: 0,
            indexes,
            markers_gone: Vec::new(),
            is_draft: true,
        }
    }

    /// Bytes of the batches that it takes the place of.
    #[must_use]
    pub fn replaced_bytes(&self) -> u64 {
        self.group.iter().map(|segment| segment.size_bytes).sum()
    }

    /// Bytes of the batches that are left.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn path(&self, kind: FileKind) -> PathBuf {
        beside(&kind.path(&self.dir, self.group[0].base), &self.suffix)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(FileKind::Log);
        self.disk
            .write_at(&path, self.size_bytes, bytes)
            .during("write", &path)?;
        self.size_bytes += bytes.len() as u64;
        self.write_indexes(false)
    }

    fn write_indexes(&mut self, finishes: bool) -> Result<(), Error> {
        if finishes {
            self.indexes.finish();
        }
        if finishes || self.indexes.offsets.is_pending_full() {
            let path = self.path(FileKind::OffsetIndex);
            self.indexes
                .offsets
                .flush(&*self.disk, &path)
                .during("write", &path)?;
            let path = self.path(FileKind::TimeIndex);
            self.indexes
                .times
                .flush(&*self.disk, &path)
                .during("write", &path)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.write_indexes(true)?;
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::Log] {
            let path = self.path(kind);
            self.disk.sync(&path).during_sync(&path)?;
        }
        Ok(())
    }
}

impl Drop for Cleaned {
    fn drop(&mut self) {
        if self.is_draft {
            for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
                // One that was not written yet is not there; whatever stays is removed by the next start.
                let _ = self.disk.remove(&self.path(kind));
            }
        }
    }
}

/// The path of a file whose name is longer by `suffix`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl Rewrite {
    /// Up to where the log is compacted once all is written and swapped.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// How many keys the part had that was new.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.filter.map.len()
    }

    /// Bytes that the next segment to be written takes the place of; it needs as many at most beside them. `None`: all are
    /// written.
    #[must_use]
    pub fn next_bytes(&self) -> Option<u64> {
        let group = self.groups.front()?;
        Some(group.iter().map(|segment| segment.size_bytes).sum())
    }

    /// Writes the next segment. `None`: it is as it should be already. Blocks.
    ///
    /// # Errors
    /// As [`Compaction::read_keys`]; what was swapped before stays swapped.
    pub fn next(&mut self, pace: Pace<'_>) -> Result<Option<Cleaned>, Error> {
        let Some(group) = self.groups.pop_front() else {
            return Ok(None);
        };
        let is_alone = group.len() == 1;
        let mut out = Output {
            cleaned: Cleaned::new(self, group.clone()),
            buffer: Vec::new(),
            buffer_bytes: self.buffer_bytes,
            same_bytes: is_alone.then_some(0),
            interval: self.index_interval_bytes,
        };
        if !is_alone {
            out.begin()?;
        }
        let behind = self.groups.front().map(|next| next[0].base);
        let ends = group[1..].iter().map(|segment| segment.base);
        let ends = ends.chain([behind.unwrap_or(self.segments_end)]);
        for (place, (segment, end)) in group.iter().zip(ends).enumerate() {
            let is_last = place + 1 == group.len();
            self.filter_segment((&**segment, end), is_last, &mut out, pace)
                .map_err(|error| in_place(error, segment, &self.dir))?;
        }
        out.end()
    }

    fn filter_segment(
        &mut self,
        (segment, end): (&Sealed, Offset),
        is_last: bool,
        out: &mut Output,
        pace: Pace<'_>,
    ) -> Result<(), Error> {
        let path = FileKind::Log.path(&self.dir, segment.base);
        let walk = Walk {
            disk: &*self.disk,
            dir: &self.dir,
            base: segment.base,
            from: 0,
            size_bytes: segment.size_bytes,
            end,
            epochs: &self.epochs,
            chunk_bytes: self.buffer_bytes,
        };
        let filter = &mut self.filter;
        walk.run_sound(|position, header, batch| {
            let must_stay = is_last && position + batch.len() as u64 == segment.size_bytes;
            let kept = filter
                .keep(header, batch, must_stay)
                .map_err(|reason| damaged(&path, position, &reason))?;
            let written = out.size_bytes();
            out.take(header, batch, &kept, &path)?;
            spend(pace, batch.len() as u64 + out.size_bytes() - written)?;
            Ok(Visit::Next)
        })?;
        check_unchanged(segment, &self.dir)
    }
}

/// Collects what stays. Nothing is written for a segment that is alone as long as all of it stays.
struct Output {
    cleaned: Cleaned,
    buffer: Vec<u8>,
    buffer_bytes: usize,
    /// So much of the one segment was looked at, and all of it stays.
    same_bytes: Option<u64>,
    interval: u32,
}

impl Output {
    fn begin(&self) -> Result<(), Error> {
        let path = self.cleaned.path(FileKind::Log);
        self.cleaned.disk.create(&path).during("create", &path)
    }

    fn size_bytes(&self) -> u64 {
        self.cleaned.size_bytes + self.buffer.len() as u64
    }

    fn take(&mut self, header: &BatchHeader, batch: &[u8], kept: &Kept, source: &Path) -> Result<(), Error> {
        if let Some(same_bytes) = self.same_bytes {
            if *kept == Kept::Same {
                self.cleaned.indexes.add_batch(same_bytes, header, self.interval);
                self.same_bytes = Some(same_bytes + batch.len() as u64);
                return Ok(());
            }
            self.same_bytes = None;
            self.begin()?;
            self.copy(source, same_bytes)?;
        }
        let bytes: &[u8] = match kept {
            Kept::Nothing => {
                self.marker_goes(header);
                return Ok(());
            }
            Kept::Same => batch,
            Kept::Changed(bytes) => bytes,
        };
        let left = BatchHeader::parse(bytes)?;
        if left.records_count == 0 {
            self.marker_goes(header);
        }
        self.cleaned
            .indexes
            .add_batch(self.size_bytes(), &left, self.interval);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= self.buffer_bytes {
            self.flush()?;
        }
        Ok(())
    }

    fn marker_goes(&mut self, header: &BatchHeader) {
        if header.is_control() {
            self.cleaned.markers_gone.push(header.last_offset());
        }
    }

    fn copy(&mut self, source: &Path, bytes: u64) -> Result<(), Error> {
        while self.cleaned.size_bytes < bytes {
            let length = (self.buffer_bytes as u64).min(bytes - self.cleaned.size_bytes) as usize;
            let disk = Arc::clone(&self.cleaned.disk);
            let chunk = disk
                .read_at(source, self.cleaned.size_bytes, length)
                .during("read", source)?;
            if chunk.is_empty() {
                let path = source.to_owned();
                return Err(Error::Removed { path });
            }
            self.cleaned.write(&chunk)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let bytes = std::mem::take(&mut self.buffer);
        let written = self.cleaned.write(&bytes);
        self.buffer = bytes;
        self.buffer.clear();
        written
    }

    fn end(mut self) -> Result<Option<Cleaned>, Error> {
        if self.same_bytes.is_some() {
            return Ok(None);
        }
        self.flush()?;
        self.cleaned.finish()?;
        Ok(Some(self.cleaned))
    }
}
