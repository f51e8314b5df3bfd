//! Telling what was being written when the power went from what a disk has changed since.

use std::path::Path;

use flotilla_protocol::Offset;
use flotilla_protocol::records::{BatchHeader, HEADER_BYTES};

use super::damage::{Between, Damage};
use super::disk::Disk;
use super::error::{During, Error};
use super::segment::FileKind;

/// What disks write at once: all of it is there after a loss of power, or nothing.
const SECTOR_BYTES: u64 = 512;
/// A shorter run of zeroes at the edge of a sector may well have been written.
const EDGE_BYTES_MIN: u64 = 16;

/// Whether `bytes`, which lie at `position` of a file that only ever grew, have a sector that was never written: the file grew
/// over it, and it holds zeroes. At the edges, parts of sectors count, too.
#[must_use]
pub fn has_unwritten_sector(bytes: &[u8], position: u64) -> bool {
    let end = position + bytes.len() as u64;
    let mut start = position;
    while start < end {
        let next = (start / SECTOR_BYTES + 1) * SECTOR_BYTES;
        let stop = next.min(end);
        let part = &bytes[(start - position) as usize..(stop - position) as usize];
        if stop - start >= EDGE_BYTES_MIN && part.iter().all(|byte| *byte == 0) {
            return true;
        }
        start = stop;
    }
    false
}

/// Whether a broken stretch of the last segment is to be kept. What was being written when the power went may be half there: the
/// file ends within a batch, or a sector of it was never written and holds zeroes, unless a sync has promised it. Everything else
/// was whole once and has been changed since: the disk has failed, which is no reason to throw it away.
pub(super) fn settle(
    disk: &dyn Disk,
    dir: &Path,
    damage: &mut Damage,
    size_bytes: u64,
    synced_to: Offset,
) -> Result<bool, Error> {
    let path = FileKind::Log.path(dir, damage.segment);
    let reaches_end = damage.end() == size_bytes;
    let ends = if reaches_end {
        last_end(disk, &path, damage, size_bytes)?
    } else {
        Some(damage.next)
    };
    let Some(ends) = ends else { return Ok(false) };
    if damage.from >= synced_to && was_never_written(disk, &path, damage)? {
        return Ok(false);
    }
    damage.next = ends;
    Ok(true)
}

/// Where a broken end ends by what the headers of its batches say, if these reach to the end of the file.
fn last_end(disk: &dyn Disk, path: &Path, damage: &Damage, size_bytes: u64) -> Result<Option<Offset>, Error> {
    let (mut position, mut after) = (damage.position, damage.from);
    while position < size_bytes {
        let bytes = disk.read_at(path, position, HEADER_BYTES).during("read", path)?;
        let Ok(header) = BatchHeader::parse(&bytes) else {
            return Ok(None);
        };
        // Nothing was compacted here yet: one of the two numbers confirms the other.
        if header.records_count < 1 || header.records_count - 1 != header.last_offset_delta {
            return Ok(None);
        }
        let before = Offset(after.0.saturating_add(i64::from(i32::MAX)));
        after = match (Between { after, before }).holds(&header) {
            Ok(()) => header.next_offset(),
            // The base offset is what is broken.
            Err(_) => after.plus(i64::from(header.last_offset_delta) + 1),
        };
        position += header.size_bytes() as u64;
    }
    Ok((position == size_bytes).then_some(after))
}

/// What is looked at together: a multiple of what disks write at once.
const LOOK_BYTES: u64 = 1 << 20;

fn was_never_written(disk: &dyn Disk, path: &Path, damage: &Damage) -> Result<bool, Error> {
    let mut position = damage.position;
    while position < damage.end() {
        let next = (position / LOOK_BYTES + 1) * LOOK_BYTES;
        let length = next.min(damage.end()) - position;
        let bytes = disk
            .read_at(path, position, length as usize)
            .during("read", path)?;
        if has_unwritten_sector(&bytes, position) {
            return Ok(true);
        }
        position = next;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sector_of_zeroes_was_never_written_and_a_few_zeroes_may_have_been() {
        let mut bytes = vec![1; 2_000];
        assert!(!has_unwritten_sector(&bytes, 100));
        // From 924 to 1436 of the file: parts of two sectors, neither of them whole.
        bytes[824..1_336].fill(0);
        assert!(!has_unwritten_sector(&bytes[..1_400], 100));
        bytes[824..1_436].fill(0);
        assert!(has_unwritten_sector(&bytes, 100));
        assert!(has_unwritten_sector(&[0; 16], 0) && !has_unwritten_sector(&[0; 15], 0));
        assert!(!has_unwritten_sector(&[], 7));
    }
}
