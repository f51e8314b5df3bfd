//! Holding the indexes of a segment against its batches, all of them.

use std::path::Path;

use flotilla_protocol::Offset;
use flotilla_protocol::records::BatchHeader;

use super::disk::Disk;
use super::error::{During, Error};
use super::index::{Entry, OffsetEntry, TimeEntry, time_of};
use super::segment::FileKind;

/// Both indexes of a segment, as they lie on the disk.
pub(super) struct IndexCheck {
    base: Offset,
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    seen_offsets: usize,
    seen_times: usize,
    max_timestamp_ms: i64,
    fits: bool,
}

impl IndexCheck {
    /// `None` where one is missing: both are built anew when they are asked for.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<Option<Self>, Error> {
        let offsets = entries::<OffsetEntry>(disk, &FileKind::OffsetIndex.path(dir, base))?;
        let times = entries::<TimeEntry>(disk, &FileKind::TimeIndex.path(dir, base))?;
        let (Some((offsets, is_whole)), Some((times, are_whole))) = (offsets, times) else {
            return Ok(None);
        };
        // Where the first batches have no timestamp, that is what the first entry says.
        let without_time = times.first().is_some_and(|first| first.timestamp_ms == -1);
        Ok(Some(Self {
            base,
            offsets,
            seen_times: usize::from(without_time),
            times,
            seen_offsets: 0,
            max_timestamp_ms: -1,
            fits: is_whole && are_whole,
        }))
    }

    /// The next batch of the segment.
    pub(super) fn see(&mut self, position: u64, header: &BatchHeader) {
        let relative = header.last_offset().0 - self.base.0;
        if let Some(entry) = self.offsets.get(self.seen_offsets)
            && u64::from(entry.position) <= position
        {
            self.fits &=
                u64::from(entry.position) == position && i64::from(entry.relative_offset) == relative;
            self.seen_offsets += 1;
        }
        let is_later = time_of(header) > self.max_timestamp_ms;
        self.max_timestamp_ms = self.max_timestamp_ms.max(time_of(header));
        if let Some(entry) = self.times.get(self.seen_times)
            && i64::from(entry.relative_offset) <= relative
        {
            self.fits &= is_later
                && i64::from(entry.relative_offset) == relative
                && entry.timestamp_ms == self.max_timestamp_ms;
            self.seen_times += 1;
        }
    }

    /// Whether every entry was true, and the last one is the latest time of the segment.
    pub(super) fn fits(&self) -> bool {
        self.fits
            && self.seen_offsets == self.offsets.len()
            && self.seen_times == self.times.len()
            && self
                .times
                .last()
                .is_some_and(|last| last.timestamp_ms == self.max_timestamp_ms)
    }
}

/// What a file holds, and whether it ends with a whole entry. `None` if there is no such file.
fn entries<E: Entry>(disk: &dyn Disk, path: &Path) -> Result<Option<(Vec<E>, bool)>, Error> {
    let Some(bytes) = read_whole(disk, path)? else {
        return Ok(None);
    };
    let entries = bytes.chunks_exact(E::BYTES);
    let is_whole = entries.remainder().is_empty();
    Ok(Some((entries.map(E::read).collect(), is_whole)))
}

/// All of an index. `None` if there is no such file.
pub(super) fn read_whole(disk: &dyn Disk, path: &Path) -> Result<Option<bytes::Bytes>, Error> {
    let size_bytes = match disk.stat(path) {
        Ok(stat) => stat.size_bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).during("read", path),
    };
    let length = size_bytes.min(INDEX_BYTES_MAX) as usize;
    disk.read_at(path, 0, length).during("read", path).map(Some)
}

/// More than any index has that a broker of ours wrote: `segment.index.bytes` is a 32-bit number, and a segment of 2 GiB has
/// an entry for each 4 KiB by default. Of a larger file only so much is looked at, and it does not fit then.
const INDEX_BYTES_MAX: u64 = 64 << 20;
