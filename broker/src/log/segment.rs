//! One file of batches and its indexes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flotilla_protocol::Offset;
use flotilla_protocol::records::{BatchError, BatchHeader, HEADER_BYTES};

use super::aborted::Aborted;
use super::disk::Disk;
use super::error::{During, Error};
use super::index::{Index, Indexes, OffsetEntry, OffsetIndex, TimeEntry, TimeIndex};

/// What is read at a time where a segment is walked through.
const WALK_BYTES: usize = 256 * 1024;

/// The files of a segment; each is named by the segment's base offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    /// Producer state at the base offset.
    Snapshot,
    /// Transactions whose abort lies in the segment. There is none where there are none.
    Aborted,
}

impl FileKind {
    pub(super) const ALL: [Self; 5] = [
        Self::Log,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::Snapshot,
        Self::Aborted,
    ];

    fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::OffsetIndex => "index",
            Self::TimeIndex => "timeindex",
            Self::Snapshot => "snapshot",
            Self::Aborted => "txnindex",
        }
    }

    /// The path of this file of the segment that begins at `base`.
    pub(super) fn path(self, dir: &Path, base: Offset) -> PathBuf {
        dir.join(format!("{:020}.{}", base.0, self.extension()))
    }

    /// Which file of which segment a name stands for.
    pub(super) fn parse(name: &str) -> Option<(Self, Offset)> {
        let (base, extension) = name.split_once('.')?;
        let kind = Self::ALL.into_iter().find(|kind| kind.extension() == extension)?;
        let digits = base.len() == 20 && base.bytes().all(|digit| digit.is_ascii_digit());
        let base = digits.then(|| base.parse().ok()).flatten()?;
        Some((kind, Offset(base)))
    }
}

/// Why a walk ended before its end.
#[derive(Debug)]
pub(super) struct Stop {
    /// Where the batch begins that is not one.
    pub position: u64,
    pub reason: BatchError,
}

/// What a visitor of batches wants next.
pub(super) enum Visit {
    Next,
    Done,
}

/// Goes through the batches in a file from `position` to `end`, handing each to `visit` with its position and all
/// its bytes. `None` if every batch was one, up to the end or to where the visitor was done.
pub(super) fn walk(
    disk: &dyn Disk,
    path: &Path,
    mut position: u64,
    end: u64,
    mut visit: impl FnMut(u64, &BatchHeader, &[u8]) -> Visit,
) -> Result<Option<Stop>, Error> {
    let read = |position: u64, length: usize| {
        let length = (length as u64).min(end - position) as usize;
        disk.read_at(path, position, length).during("read", path)
    };
    let mut chunk = Bytes::new();
    while position < end {
        if chunk.len() < HEADER_BYTES {
            chunk = read(position, WALK_BYTES)?;
        }
        let header = match BatchHeader::parse(&chunk) {
            Ok(header) => header,
            Err(reason) => return Ok(Some(Stop { position, reason })),
        };
        let size = header.size_bytes();
        if chunk.len() < size && (size as u64) <= end - position {
            chunk = read(position, size.max(WALK_BYTES))?;
        }
        if chunk.len() < size {
            let reason = BatchError::Truncated {
                needed: size as u64,
                available: (end - position) as usize,
            };
            return Ok(Some(Stop { position, reason }));
        }
        let batch = chunk.split_to(size);
        match visit(position, &header, &batch) {
            Visit::Next => {}
            Visit::Done => return Ok(None),
        }
        position += size as u64;
    }
    Ok(None)
}

/// What is read at a time where only headers are of interest: the batches of a log are mostly larger.
const HEADERS_BYTES: usize = 1024;

/// Goes through the headers of the batches in a file up to `end`, and reads little of what lies between them. `None` if
/// every header was one.
pub(super) fn walk_headers(
    disk: &dyn Disk,
    path: &Path,
    end: u64,
    mut visit: impl FnMut(u64, &BatchHeader) -> Result<(), Error>,
) -> Result<Option<Stop>, Error> {
    let mut position = 0;
    let mut chunk = Bytes::new();
    while position < end {
        if chunk.len() < HEADER_BYTES {
            let length = (HEADERS_BYTES as u64).min(end - position) as usize;
            chunk = disk.read_at(path, position, length).during("read", path)?;
        }
        let header = match BatchHeader::parse(&chunk) {
            Ok(header) => header,
            Err(reason) => return Ok(Some(Stop { position, reason })),
        };
        visit(position, &header)?;
        let size = header.size_bytes();
        chunk = chunk.slice(size.min(chunk.len())..);
        position += size as u64;
    }
    Ok(None)
}

/// Tells those who still read a segment that its file has become another meanwhile: what they read may be of both.
///
/// Set before the file is touched, and looked at after the last read: who does not find it set has read the old file.
#[derive(Clone, Debug, Default)]
pub(super) struct Replaced(Arc<AtomicBool>);

impl Replaced {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A segment that nothing is appended to any more.
#[derive(Debug)]
pub(super) struct Sealed {
    pub base: Offset,
    pub size_bytes: u64,
    pub modified_ms: i64,
    pub replaced: Replaced,
    /// Whether there is an index of aborted transactions.
    pub has_aborted: bool,
    /// Read when it is asked for first: a start must not open two files for each segment.
    facts: OnceLock<Facts>,
}

#[derive(Clone, Debug)]
struct Facts {
    offsets: OffsetIndex,
    times: TimeIndex,
    max_timestamp: (i64, Offset),
}

impl Sealed {
    /// A segment as it was found on the disk.
    pub(super) fn found(base: Offset, size_bytes: u64, modified_ms: i64, has_aborted: bool) -> Arc<Self> {
        Arc::new(Self {
            base,
            size_bytes,
            modified_ms,
            replaced: Replaced::default(),
            has_aborted,
            facts: OnceLock::new(),
        })
    }

    /// The active segment, ended: its indexes have just been finished and written.
    pub(super) fn finished(active: &Active) -> Arc<Self> {
        let Active {
            base,
            size_bytes,
            modified_ms,
            indexes,
            replaced,
            aborted,
            ..
        } = active;
        let has_aborted = !aborted.is_empty();
        Self::written(
            *base,
            *size_bytes,
            *modified_ms,
            indexes,
            replaced.clone(),
            has_aborted,
        )
    }

    /// A segment that compaction has written, indexes included.
    pub(super) fn rewritten(
        base: Offset,
        size_bytes: u64,
        modified_ms: i64,
        indexes: &Indexes,
        has_aborted: bool,
    ) -> Arc<Self> {
        Self::written(
            base,
            size_bytes,
            modified_ms,
            indexes,
            Replaced::default(),
            has_aborted,
        )
    }

    fn written(
        base: Offset,
        size_bytes: u64,
        modified_ms: i64,
        indexes: &Indexes,
        replaced: Replaced,
        has_aborted: bool,
    ) -> Arc<Self> {
        let sealed = Self {
            base,
            size_bytes,
            modified_ms,
            replaced,
            has_aborted,
            facts: OnceLock::new(),
        };
        let facts = Facts {
            offsets: indexes.offsets.clone(),
            times: indexes.times.clone(),
            max_timestamp: indexes.max_timestamp(),
        };
        let _ = sealed.facts.set(facts);
        Arc::new(sealed)
    }

    /// The same segment, with or without an index of aborted transactions.
    pub(super) fn with_aborted(&self, has_aborted: bool) -> Arc<Self> {
        Arc::new(Self {
            base: self.base,
            size_bytes: self.size_bytes,
            modified_ms: self.modified_ms,
            has_aborted,
            replaced: self.replaced.clone(),
            facts: self.facts.clone(),
        })
    }

    fn facts(&self, disk: &dyn Disk, dir: &Path) -> Result<&Facts, Error> {
        if let Some(facts) = self.facts.get() {
            return Ok(facts);
        }
        let facts = match self.load(disk, dir)? {
            Some(facts) => facts,
            None => self.rebuild(disk, dir)?,
        };
        Ok(self.facts.get_or_init(|| facts))
    }

    /// `None` if the indexes are missing or cannot be true.
    fn load(&self, disk: &dyn Disk, dir: &Path) -> Result<Option<Facts>, Error> {
        let path = FileKind::OffsetIndex.path(dir, self.base);
        let offsets = Index::open(disk, &path).during("read", &path)?;
        let path = FileKind::TimeIndex.path(dir, self.base);
        let times = Index::open(disk, &path).during("read", &path)?;
        let (Some(offsets), Some(times)) = (offsets, times) else {
            return Ok(None);
        };
        // A finished time index has an entry at least.
        let Some(last_time) = TimeIndex::last(&times) else {
            return Ok(None);
        };
        let place = Place {
            disk,
            dir,
            base: self.base,
            size_bytes: self.size_bytes,
            offsets: &offsets,
        };
        if !place.confirms(last_time)? {
            return Ok(None);
        }
        let max_timestamp = (
            last_time.timestamp_ms,
            self.base.plus(i64::from(last_time.relative_offset)),
        );
        Ok(Some(Facts {
            offsets,
            times,
            max_timestamp,
        }))
    }

    fn rebuild(&self, disk: &dyn Disk, dir: &Path) -> Result<Facts, Error> {
        let mut indexes = Indexes::new(self.base);
        let path = FileKind::Log.path(dir, self.base);
        let stop = walk(disk, &path, 0, self.size_bytes, |position, header, _| {
            indexes.add_batch(position, header, REBUILD_INTERVAL_BYTES);
            Visit::Next
        })?;
        if let Some(stop) = stop {
            // The batches before it can be read; what lies behind is found broken by who reads it.
            tracing::warn!(path = %path.display(), position = stop.position, reason = %stop.reason, "segment is damaged");
        }
        finish_indexes(disk, dir, self.base, &mut indexes)?;
        let max_timestamp = indexes.max_timestamp();
        Ok(Facts {
            offsets: indexes.offsets,
            times: indexes.times,
            max_timestamp,
        })
    }

    /// Latest timestamp, and the last offset of the batch that has it. `-1`: there is none.
    pub(super) fn max_timestamp(&self, disk: &dyn Disk, dir: &Path) -> Result<(i64, Offset), Error> {
        Ok(self.facts(disk, dir)?.max_timestamp)
    }

    pub(super) fn indexes(&self, disk: &dyn Disk, dir: &Path) -> Result<(&OffsetIndex, &TimeIndex), Error> {
        let facts = self.facts(disk, dir)?;
        Ok((&facts.offsets, &facts.times))
    }
}

/// The interval of indexes that are built anew after the fact: Kafka's default.
const REBUILD_INTERVAL_BYTES: u32 = 4096;

/// Writes what is in memory of both indexes. They are not synced: those of the active segment can be built anew.
pub(super) fn write_indexes(
    disk: &dyn Disk,
    dir: &Path,
    base: Offset,
    indexes: &mut Indexes,
) -> Result<(), Error> {
    let path = FileKind::OffsetIndex.path(dir, base);
    indexes.offsets.flush(disk, &path).during("write", &path)?;
    let path = FileKind::TimeIndex.path(dir, base);
    indexes.times.flush(disk, &path).during("write", &path)
}

/// Ends both indexes, durably: half a time index would make a segment look older than it is, and retention believe it.
pub(super) fn finish_indexes(
    disk: &dyn Disk,
    dir: &Path,
    base: Offset,
    indexes: &mut Indexes,
) -> Result<(), Error> {
    indexes.finish();
    write_indexes(disk, dir, base, indexes)?;
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
        let path = kind.path(dir, base);
        disk.sync(&path).during_sync(&path)?;
    }
    Ok(())
}

/// Where a segment lies, for looking into it by its offset index.
#[derive(Clone, Copy)]
struct Place<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    base: Offset,
    size_bytes: u64,
    offsets: &'a OffsetIndex,
}

impl Place<'_> {
    /// See [`View::position_before`].
    fn position_before(&self, offset: Offset) -> Result<u64, Error> {
        if offset <= self.base {
            return Ok(0);
        }
        let relative = u32::try_from(offset.0.saturating_sub(self.base.0)).unwrap_or(u32::MAX);
        let path = FileKind::OffsetIndex.path(self.dir, self.base);
        let entry = self
            .offsets
            .floor(self.disk, &path, |entry| entry.relative_offset <= relative);
        let Some(entry) = entry.during("read", &path)? else {
            return Ok(0);
        };
        let found = self.indexed(entry)?;
        Ok(found.map_or(0, |_| u64::from(entry.position)))
    }

    /// See [`View::indexed_within`].
    fn indexed_within(&self, most: u64, upto: Offset) -> Result<Option<(u64, BatchHeader)>, Error> {
        let path = FileKind::OffsetIndex.path(self.dir, self.base);
        let entry = self.offsets.floor(self.disk, &path, |entry| {
            u64::from(entry.position) <= most && self.offset_of(*entry) < upto
        });
        let Some(entry) = entry.during("read", &path)? else {
            return Ok(None);
        };
        let header = self.indexed(entry)?;
        Ok(header.map(|header| (u64::from(entry.position), header)))
    }

    fn offset_of(&self, entry: OffsetEntry) -> Offset {
        self.base.plus(i64::from(entry.relative_offset))
    }

    /// The header of the batch that the offset index speaks of. None: there is none such, and the index is wrong.
    fn indexed(&self, entry: OffsetEntry) -> Result<Option<BatchHeader>, Error> {
        let position = u64::from(entry.position);
        let path = FileKind::Log.path(self.dir, self.base);
        let mut found = None;
        if position + HEADER_BYTES as u64 <= self.size_bytes {
            let bytes = self
                .disk
                .read_at(&path, position, HEADER_BYTES)
                .during("read", &path)?;
            found = BatchHeader::parse(&bytes).ok().filter(|header| {
                header.base_offset >= self.base && header.last_offset() == self.offset_of(entry)
            });
        }
        if found.is_none() {
            tracing::warn!(path = %path.display(), position, "the offset index does not fit; reading without it");
        }
        Ok(found)
    }

    /// The header of the batch that `offset` is in.
    fn batch_with(&self, offset: Offset) -> Result<Option<BatchHeader>, Error> {
        let position = self.position_before(offset)?;
        let path = FileKind::Log.path(self.dir, self.base);
        let mut found = None;
        walk(self.disk, &path, position, self.size_bytes, |_, header, _| {
            if header.last_offset() < offset {
                return Visit::Next;
            }
            found = Some(*header).filter(|header| header.base_offset <= offset);
            Visit::Done
        })?;
        Ok(found)
    }

    /// Whether the batch that a time index speaks of has that timestamp.
    fn confirms(&self, entry: TimeEntry) -> Result<bool, Error> {
        let offset = self.base.plus(i64::from(entry.relative_offset));
        let batch = self.batch_with(offset)?;
        Ok(batch.is_some_and(|batch| {
            batch.last_offset() == offset && batch.max_timestamp_ms == entry.timestamp_ms
        }))
    }
}

/// The segment that is appended to.
#[derive(Clone, Debug)]
pub(super) struct Active {
    pub base: Offset,
    pub size_bytes: u64,
    /// Up to where the disk was asked to set bytes aside.
    pub reserved_bytes: u64,
    pub created_ms: i64,
    /// When something was appended last.
    pub modified_ms: i64,
    /// The first batch's latest timestamp, which `segment.ms` counts from; `-1` if there is none.
    pub first_timestamp_ms: i64,
    pub indexes: Indexes,
    pub replaced: Replaced,
    /// Transactions whose abort lies in the segment, in the order of their markers. Written when it ends or is closed.
    pub aborted: Arc<Vec<Aborted>>,
}

impl Active {
    pub(super) fn new(base: Offset, now_ms: i64) -> Self {
        Self {
            base,
            size_bytes: 0,
            reserved_bytes: 0,
            created_ms: now_ms,
            modified_ms: now_ms,
            first_timestamp_ms: -1,
            indexes: Indexes::new(base),
            replaced: Replaced::default(),
            aborted: Arc::default(),
        }
    }
}

/// A segment to read from, as it was when it was looked up: it can be read while the log goes on.
#[derive(Clone, Debug)]
pub(super) enum View {
    Sealed(Arc<Sealed>),
    Active(Box<Active>),
}

impl View {
    pub(super) fn base(&self) -> Offset {
        match self {
            Self::Sealed(sealed) => sealed.base,
            Self::Active(active) => active.base,
        }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Sealed(sealed) => sealed.size_bytes,
            Self::Active(active) => active.size_bytes,
        }
    }

    /// Whether what was read of it may be of another file than the one that was looked up.
    pub(super) fn is_replaced(&self) -> bool {
        self.replaced().is_set()
    }

    pub(super) fn replaced(&self) -> &Replaced {
        match self {
            Self::Sealed(sealed) => &sealed.replaced,
            Self::Active(active) => &active.replaced,
        }
    }

    fn indexes(&self, disk: &dyn Disk, dir: &Path) -> Result<(&OffsetIndex, &TimeIndex), Error> {
        match self {
            Self::Sealed(sealed) => sealed.indexes(disk, dir),
            Self::Active(active) => Ok((&active.indexes.offsets, &active.indexes.times)),
        }
    }

    pub(super) fn max_timestamp(&self, disk: &dyn Disk, dir: &Path) -> Result<(i64, Offset), Error> {
        match self {
            Self::Sealed(sealed) => sealed.max_timestamp(disk, dir),
            Self::Active(active) => Ok(active.indexes.max_timestamp()),
        }
    }

    /// A position to look for `offset` from: a batch begins there, and `offset` is in it or behind it.
    ///
    /// What the index says is held against the batch that is there; where it is wrong, the segment is read from its
    /// beginning.
    pub(super) fn position_before(&self, disk: &dyn Disk, dir: &Path, offset: Offset) -> Result<u64, Error> {
        let (offsets, _) = self.indexes(disk, dir)?;
        self.place(disk, dir, offsets).position_before(offset)
    }

    /// The last batch in the offset index that begins at the position `most` or before it, and that `upto` is behind; with its position. None:
    /// the index has none, or is wrong.
    pub(super) fn indexed_within(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        most: u64,
        upto: Offset,
    ) -> Result<Option<(u64, BatchHeader)>, Error> {
        let (offsets, _) = self.indexes(disk, dir)?;
        self.place(disk, dir, offsets).indexed_within(most, upto)
    }

    fn place<'a>(&self, disk: &'a dyn Disk, dir: &'a Path, offsets: &'a OffsetIndex) -> Place<'a> {
        Place {
            disk,
            dir,
            base: self.base(),
            size_bytes: self.size_bytes(),
            offsets,
        }
    }

    /// Whether the batch that a time index speaks of has that timestamp.
    pub(super) fn confirms(&self, disk: &dyn Disk, dir: &Path, entry: TimeEntry) -> Result<bool, Error> {
        let (offsets, _) = self.indexes(disk, dir)?;
        self.place(disk, dir, offsets).confirms(entry)
    }

    /// An offset to look for `timestamp_ms` from: everything before it in the segment is earlier.
    pub(super) fn offset_before(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        timestamp_ms: i64,
    ) -> Result<Offset, Error> {
        let (_, times) = self.indexes(disk, dir)?;
        let path = FileKind::TimeIndex.path(dir, self.base());
        let entry = times
            .floor(disk, &path, |entry| entry.timestamp_ms < timestamp_ms)
            .during("read", &path)?;
        let Some(entry) = entry else {
            return Ok(self.base());
        };
        if self.confirms(disk, dir, entry)? {
            return Ok(self.base().plus(i64::from(entry.relative_offset)));
        }
        tracing::warn!(path = %path.display(), "the time index does not fit; searching without it");
        Ok(self.base())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas_and_read_back() {
        let path = FileKind::TimeIndex.path(Path::new("/d"), Offset(42));
        assert_eq!(path, Path::new("/d/00000000000000000042.timeindex"));
        for kind in FileKind::ALL {
            let path = kind.path(Path::new("/d"), Offset(i64::MAX));
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(FileKind::parse(name), Some((kind, Offset(i64::MAX))));
        }
        for name in [
            "42.log",
            "0000000000000000004x.log",
            "00000000000000000042.log.deleted",
            "99999999999999999999.log",
        ] {
            assert_eq!(FileKind::parse(name), None);
        }
    }
}
