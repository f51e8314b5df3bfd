//! The sparse indexes of a segment: offset to position, and timestamp to offset, in Kafka's layout.
//!
//! Indexes are hints: whatever they say is held against the batches, and one that is missing or wrong is built anew.

use std::io;
use std::path::Path;

use flotilla_protocol::Offset;
use flotilla_protocol::records::{BatchHeader, NO_TIMESTAMP};

use super::disk::Disk;

/// Entries that are kept in memory before they are written together: 4 KiB of an index are 2 MiB of log.
const PENDING_MAX: usize = 512;

/// An entry of fixed size. Offsets are relative to the segment's base offset.
pub(super) trait Entry: Copy {
    const BYTES: usize;
    fn write(&self, out: &mut Vec<u8>);
    /// `bytes` has [`Entry::BYTES`] bytes.
    fn read(bytes: &[u8]) -> Self;
}

/// The last offset of a batch, and where that batch begins in the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    pub relative_offset: u32,
    pub position: u32,
}

/// The latest timestamp up to some place in the segment, and the last offset of the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub timestamp_ms: i64,
    pub relative_offset: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        Self {
            relative_offset: u32_at(bytes, 0),
            position: u32_at(bytes, 4),
        }
    }
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        let timestamp = u64::from(u32_at(bytes, 0)) << 32 | u64::from(u32_at(bytes, 4));
        Self {
            timestamp_ms: timestamp as i64,
            relative_offset: u32_at(bytes, 8),
        }
    }
}

/// An index whose beginning lies in a file and whose end is in memory.
#[derive(Clone, Debug)]
pub(super) struct Index<E> {
    written: u32,
    pending: Vec<E>,
    last: Option<E>,
}

pub(super) type OffsetIndex = Index<OffsetEntry>;
pub(super) type TimeIndex = Index<TimeEntry>;

impl<E> Default for Index<E> {
    fn default() -> Self {
        Self {
            written: 0,
            pending: Vec::new(),
            last: None,
        }
    }
}

impl<E: Entry> Index<E> {
    /// An index that lies in a file as a whole. `None` if the file is not a sequence of entries.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Option<Self>> {
        let size_bytes = match disk.stat(path) {
            Ok(stat) => stat.size_bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if size_bytes % E::BYTES as u64 != 0 || size_bytes > u64::from(u32::MAX) {
            return Ok(None);
        }
        let written = (size_bytes / E::BYTES as u64) as u32;
        let mut index = Self {
            written,
            pending: Vec::new(),
            last: None,
        };
        if written > 0 {
            index.last = index.get(disk, path, written as usize - 1)?;
        }
        Ok(Some(index))
    }

    pub(super) fn len(&self) -> usize {
        self.written as usize + self.pending.len()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.len() * E::BYTES
    }

    pub(super) fn last(&self) -> Option<E> {
        self.last
    }

    /// Whether [`Index::flush`] is due.
    pub(super) fn is_pending_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }

    pub(super) fn push(&mut self, entry: E) {
        self.pending.push(entry);
        self.last = Some(entry);
    }

    /// Writes what is in memory behind what is in the file, and creates the file if it is the first.
    pub(super) fn flush(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        if self.written == 0 {
            disk.create(path)?;
        }
        if !self.pending.is_empty() {
            let mut bytes = Vec::with_capacity(self.pending.len() * E::BYTES);
            for entry in &self.pending {
                entry.write(&mut bytes);
            }
            disk.write_at(path, u64::from(self.written) * E::BYTES as u64, &bytes)?;
            self.written += self.pending.len() as u32;
            self.pending = Vec::new();
        }
        Ok(())
    }

    /// Cuts the index after its last entry that `keep` holds for.
    pub(super) fn truncate(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        keep: impl Fn(&E) -> bool,
    ) -> io::Result<()> {
        let (mut low, mut high) = (0, self.len());
        self.last = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(disk, path, middle)? {
                Some(entry) if keep(&entry) => {
                    self.last = Some(entry);
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        self.pending.truncate(low.saturating_sub(self.written as usize));
        if low < self.written as usize {
            disk.truncate(path, (low * E::BYTES) as u64)?;
            self.written = low as u32;
        }
        Ok(())
    }

    fn get(&self, disk: &dyn Disk, path: &Path, place: usize) -> io::Result<Option<E>> {
        if let Some(pending) = place.checked_sub(self.written as usize) {
            return Ok(self.pending.get(pending).copied());
        }
        let bytes = disk.read_at(path, place as u64 * E::BYTES as u64, E::BYTES)?;
        Ok((bytes.len() == E::BYTES).then(|| E::read(&bytes)))
    }

    /// The last entry that `before` holds for; it has to hold for a first part of the index and for nothing after.
    pub(super) fn floor(
        &self,
        disk: &dyn Disk,
        path: &Path,
        before: impl Fn(&E) -> bool,
    ) -> io::Result<Option<E>> {
        if self.pending.first().is_some_and(&before) {
            return Ok(self.pending[..self.pending.partition_point(before)]
                .last()
                .copied());
        }
        let (mut low, mut high) = (0, self.written as usize);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(disk, path, middle)? {
                Some(entry) if before(&entry) => {
                    found = Some(entry);
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        Ok(found)
    }
}

/// Builds both indexes of a segment while its batches are walked through or appended.
#[derive(Clone, Debug)]
pub(super) struct Indexes {
    base: Offset,
    pub offsets: OffsetIndex,
    pub times: TimeIndex,
    bytes_since_entry: u64,
    max_timestamp_ms: i64,
    max_timestamp_offset: Offset,
}

/// The latest time in a batch. One that compaction has emptied has none: nothing is found there.
pub(super) fn time_of(header: &BatchHeader) -> i64 {
    if header.records_count == 0 {
        NO_TIMESTAMP
    } else {
        header.max_timestamp_ms
    }
}

impl Indexes {
    pub(super) fn new(base: Offset) -> Self {
        Self {
            base,
            offsets: Index::default(),
            times: Index::default(),
            bytes_since_entry: 0,
            max_timestamp_ms: -1,
            max_timestamp_offset: base,
        }
    }

    /// Goes on with indexes that were found on the disk.
    pub(super) fn resume(base: Offset, offsets: OffsetIndex, times: TimeIndex) -> Self {
        let mut indexes = Self {
            offsets,
            times,
            ..Self::new(base)
        };
        if let Some(last) = indexes.times.last() {
            indexes.max_timestamp_ms = last.timestamp_ms;
            indexes.max_timestamp_offset = base.plus(i64::from(last.relative_offset));
        }
        indexes
    }

    /// The latest timestamp of the segment, and the last offset of the batch that has it. `-1`: there is none.
    pub(super) fn max_timestamp(&self) -> (i64, Offset) {
        (self.max_timestamp_ms, self.max_timestamp_offset)
    }

    /// Notes a batch that begins at `position`.
    pub(super) fn add_batch(&mut self, position: u64, header: &BatchHeader, interval: u32) {
        let (last, size) = (header.last_offset(), header.size_bytes());
        self.add(position, last, size, time_of(header), interval);
    }

    fn add(&mut self, position: u64, last_offset: Offset, size: usize, timestamp_ms: i64, interval: u32) {
        if timestamp_ms > self.max_timestamp_ms {
            self.max_timestamp_ms = timestamp_ms;
            self.max_timestamp_offset = last_offset;
        }
        if self.bytes_since_entry > u64::from(interval) {
            let relative_offset = self.relative(last_offset);
            self.offsets.push(OffsetEntry {
                relative_offset,
                position: position as u32,
            });
            self.add_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += size as u64;
    }

    fn relative(&self, offset: Offset) -> u32 {
        (offset.0 - self.base.0) as u32
    }

    fn add_time(&mut self) {
        if self
            .times
            .last()
            .is_none_or(|last| self.max_timestamp_ms > last.timestamp_ms)
        {
            let relative_offset = self.relative(self.max_timestamp_offset);
            self.times.push(TimeEntry {
                timestamp_ms: self.max_timestamp_ms,
                relative_offset,
            });
        }
    }

    /// Ends the time index with the segment's latest timestamp, so that it can be read from there.
    pub(super) fn finish(&mut self) {
        self.add_time();
    }

    pub(super) fn is_full(&self, size_bytes_max: u32) -> bool {
        let full = |bytes: usize, entry: usize| bytes + 2 * entry > size_bytes_max as usize;
        full(self.offsets.size_bytes(), OffsetEntry::BYTES) || full(self.times.size_bytes(), TimeEntry::BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::SimDisk;

    #[test]
    fn floor_is_found_in_the_file_and_in_memory() {
        let disk = SimDisk::new();
        let path = Path::new("/00000000000000000000.index");
        for flushed in [0, 1, 50, 100] {
            let mut index = OffsetIndex::default();
            for n in 0..100_u32 {
                if n == flushed {
                    index.flush(&disk, path).unwrap();
                }
                index.push(OffsetEntry {
                    relative_offset: n * 10 + 5,
                    position: n,
                });
            }
            if flushed == 100 {
                index.flush(&disk, path).unwrap();
            }
            for target in 0..1_010 {
                let found = index
                    .floor(&disk, path, |entry| entry.relative_offset <= target)
                    .unwrap();
                assert_eq!(
                    found.map(|entry| entry.position),
                    (target + 5).checked_sub(10).map(|n| (n / 10).min(99))
                );
            }
            index.flush(&disk, path).unwrap();
            let reopened = OffsetIndex::open(&disk, path).unwrap().unwrap();
            assert_eq!((reopened.len(), reopened.last()), (100, index.last()));
        }
    }

    #[test]
    fn a_cut_index_ends_with_the_last_entry_kept() {
        let disk = SimDisk::new();
        let path = Path::new("/00000000000000000000.index");
        for keep in 0..=20_u32 {
            let mut index = OffsetIndex::default();
            for n in 0..20_u32 {
                if n == 10 {
                    index.flush(&disk, path).unwrap();
                }
                index.push(OffsetEntry {
                    relative_offset: n,
                    position: n,
                });
            }
            index
                .truncate(&disk, path, |entry| entry.position < keep)
                .unwrap();
            assert_eq!(index.len(), keep as usize);
            assert_eq!(index.last().map(|entry| entry.position), keep.checked_sub(1));
            index.push(OffsetEntry {
                relative_offset: 77,
                position: 77,
            });
            index.flush(&disk, path).unwrap();
            let reopened = OffsetIndex::open(&disk, path).unwrap().unwrap();
            assert_eq!(
                (reopened.len(), reopened.last()),
                (keep as usize + 1, index.last())
            );
        }
    }

    #[test]
    fn a_file_that_is_cut_within_an_entry_or_missing_is_no_index() {
        let disk = SimDisk::new();
        let path = Path::new("/00000000000000000000.timeindex");
        assert!(TimeIndex::open(&disk, path).unwrap().is_none());
        let mut index = TimeIndex::default();
        index.push(TimeEntry {
            timestamp_ms: 1 << 40,
            relative_offset: 7,
        });
        index.flush(&disk, path).unwrap();
        assert_eq!(
            TimeIndex::open(&disk, path).unwrap().unwrap().last(),
            index.last()
        );
        disk.truncate(path, 11).unwrap();
        assert!(TimeIndex::open(&disk, path).unwrap().is_none());
    }

    #[test]
    fn entries_are_an_interval_apart_and_times_only_grow() {
        let mut indexes = Indexes::new(Offset(100));
        for (n, timestamp_ms) in [50, 40, 60, 60, 55, 70].into_iter().enumerate() {
            indexes.add(n as u64 * 10, Offset(100 + n as i64), 10, timestamp_ms, 15);
        }
        indexes.finish();
        indexes.finish();
        let entry = |relative_offset, position| OffsetEntry {
            relative_offset,
            position,
        };
        assert_eq!(indexes.offsets.pending, [entry(2, 20), entry(4, 40)]);
        let entry = |timestamp_ms, relative_offset| TimeEntry {
            timestamp_ms,
            relative_offset,
        };
        assert_eq!(indexes.times.pending, [entry(60, 2), entry(70, 5)]);
        assert_eq!(indexes.max_timestamp(), (70, Offset(105)));
    }
}
