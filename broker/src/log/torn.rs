//! Telling what was being written when the power went from what a disk has changed since.

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
