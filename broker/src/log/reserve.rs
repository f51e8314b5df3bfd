//! Room for what will be appended, set aside in large pieces: a file system that is asked for each batch anew spends more time on finding
//! blocks than on copying bytes into them. What is not used is given back when the segment ends or the log is closed.

use std::path::Path;

use super::Config;
use super::disk::Disk;
use super::error::{During, Error};
use super::segment::Active;

/// A segment that is smaller has nothing set aside for it: there may be ten thousand of them.
const FROM_BYTES: u64 = 1 << 20;
/// What is set aside at a time at the most.
const AHEAD_BYTES_MAX: u64 = 16 << 20;

/// Sets room aside where the segment will end at `end`, beyond what is: for as much again as there is, or for all that the segment
/// may hold (`preallocate`).
pub(super) fn reserve(disk: &dyn Disk, path: &Path, active: &mut Active, end: u64, config: &Config) {
    if end <= active.reserved_bytes || (end < FROM_BYTES && !config.preallocate) {
        return;
    }
    let segment_bytes = u64::from(config.segment_bytes);
    let to = if config.preallocate {
        segment_bytes
    } else {
        end.saturating_add(end.min(AHEAD_BYTES_MAX)).min(segment_bytes)
    };
    if to > end {
        disk.reserve(path, active.size_bytes..to);
        active.reserved_bytes = to;
    }
}

/// Gives back what was set aside and not used.
///
/// # Errors
/// Those of the disk.
pub(super) fn give_back(disk: &dyn Disk, path: &Path, active: &mut Active) -> Result<(), Error> {
    if active.reserved_bytes > active.size_bytes {
        disk.truncate(path, active.size_bytes).during("truncate", path)?;
    }
    active.reserved_bytes = 0;
    Ok(())
}
