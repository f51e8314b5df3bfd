//! Putting a segment in the place of others, so that a crash leaves the ones or the other.
//!
//! The order: the indexes get the suffix `.swap`, then the segment does, and the directory is synced. From here on the
//! segment counts. The segments that it covers go, the indexes get their names, and the segment gets its own last: as long as
//! one with that suffix is there, a start does all of it again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use flotilla_protocol::Offset;

use super::rewrite::{Cleaned, beside};
use crate::log::Log;
use crate::log::aborted::{self, Aborted};
use crate::log::checkpoint::Durability;
use crate::log::damage::Damage;
use crate::log::disk::{Disk, Entry};
use crate::log::error::{During, Error};
use crate::log::segment::{FileKind, Sealed, Visit, walk};

const SWAP: &str = ".swap";
const INDEXES: [FileKind; 2] = [FileKind::OffsetIndex, FileKind::TimeIndex];

impl Log {
    /// Puts a segment in the place of those that it was made from, durably. Gives how many bytes are saved. Those who read
    /// them at the moment are told to read again.
    ///
    /// # Errors
    /// [`Error::Removed`] if they are not there any more: truncation or retention was faster; nothing was done then. Those
    /// of the disk; where the log cannot go on with it, it says so from then on.
    pub fn swap(&mut self, mut cleaned: Cleaned) -> Result<u64, Error> {
        self.check_usable()?;
        let base = cleaned.group[0].base;
        let first = self.sealed.partition_point(|sealed| sealed.base < base);
        let range = first..first + cleaned.group.len();
        let is_there = self.sealed.get(range.clone()).is_some_and(|sealed| {
            sealed
                .iter()
                .zip(&cleaned.group)
                .all(|(now, then)| Arc::ptr_eq(now, then))
        });
        if !is_there {
            let path = FileKind::Log.path(&self.dir, base);
            return Err(Error::Removed { path });
        }
        let disk = Arc::clone(&self.storage.disk);
        let has_aborted = self.merge_aborted(&cleaned)?;
        for kind in INDEXES.into_iter().chain([FileKind::Log]) {
            let (from, to) = (cleaned.path(kind), swap_path(kind, &self.dir, base));
            disk.rename(&from, &to).during("rename", &from)?;
        }
        cleaned.is_draft = false;
        for segment in &cleaned.group {
            segment.replaced.set();
        }
        let covers: Vec<Offset> = cleaned.group.iter().map(|segment| segment.base).collect();
        let swapped = disk
            .sync_dir(&self.dir)
            .during_sync(&self.dir)
            .and_then(|()| finish(&*disk, &self.dir, base, &covers[1..]));
        if let Err(error) = swapped {
            // What lies there is neither what it was nor what it is going to be: the next start finishes it.
            self.failed = true;
            return Err(error);
        }
        let before = cleaned.replaced_bytes();
        let modified_ms = cleaned
            .group
            .iter()
            .map(|segment| segment.modified_ms)
            .max()
            .unwrap_or(0);
        let segment = Sealed::rewritten(
            base,
            cleaned.size_bytes,
            modified_ms,
            &cleaned.indexes,
            has_aborted,
        );
        self.sealed.splice(range, [segment]);
        // What was found broken since they were read whole is gone with them.
        let is_left = |damage: &&Damage| covers.iter().all(|base| damage.segment != *base);
        self.damages = self.damages.iter().filter(is_left).cloned().collect();
        let end = self.sealed.get(first + 1).map(|next| next.base);
        let end = end.or(self.active.as_ref().map(|active| active.base));
        self.tail.forget_below(end.unwrap_or(self.log_end));
        self.size_bytes = self.size_bytes - before + cleaned.size_bytes;
        Ok(before.saturating_sub(cleaned.size_bytes))
    }

    /// Lists the aborted transactions of all segments of the group for the first of them, and says whether there are any. One
    /// whose marker is left out has no records any more either: a reader who is told of it, and meets no marker, takes what
    /// the producer wrote later for aborted.
    ///
    /// A crash before the swap leaves some listed twice, or some unlisted of which only the marker is there. Readers
    /// pass over both.
    fn merge_aborted(&self, cleaned: &Cleaned) -> Result<bool, Error> {
        if !cleaned.group.iter().any(|segment| segment.has_aborted) {
            return Ok(false);
        }
        let disk = &*self.storage.disk;
        let mut merged: Vec<Aborted> = Vec::new();
        for segment in cleaned.group.iter().filter(|segment| segment.has_aborted) {
            for aborted in self.aborted_of(segment.base)? {
                let is_gone = cleaned.markers_gone.binary_search(&aborted.last_offset).is_ok();
                let is_listed = merged
                    .last()
                    .is_some_and(|last| last.last_offset >= aborted.last_offset);
                if !is_gone && !is_listed {
                    merged.push(aborted);
                }
            }
        }
        let base = cleaned.group[0].base;
        aborted::write(disk, &self.dir, base, &merged, Durability::Synced)?;
        Ok(!merged.is_empty())
    }
}

fn swap_path(kind: FileKind, dir: &Path, base: Offset) -> std::path::PathBuf {
    beside(&kind.path(dir, base), SWAP)
}

/// Does what is left once the segment has the suffix `.swap`, durably. May be done again after any part of it.
fn finish(disk: &dyn Disk, dir: &Path, base: Offset, covered: &[Offset]) -> Result<(), Error> {
    for covered in covered {
        for kind in FileKind::ALL {
            remove(disk, &kind.path(dir, *covered))?;
        }
    }
    for kind in INDEXES {
        let (from, to) = (swap_path(kind, dir, base), kind.path(dir, base));
        match disk.rename(&from, &to) {
            // It has its name already, or never came to have the suffix: then what lies there is of the segment before.
            // Either way it is built anew.
            Err(error) if error.kind() == io::ErrorKind::NotFound => remove(disk, &to)?,
            renamed => renamed.during("rename", &from)?,
        }
    }
    let (from, to) = (swap_path(FileKind::Log, dir, base), FileKind::Log.path(dir, base));
    disk.rename(&from, &to).during("rename", &from)
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.during("remove", path),
    }
}

/// Finishes the swaps that a crash interrupted. Gives what is in the directory then.
///
/// A segment covers all that begin before its own last batch ends: that batch always stays, if without a record.
///
/// # Errors
/// Those of the disk.
pub(in crate::log) fn finish_swaps(
    disk: &dyn Disk,
    dir: &Path,
    entries: Vec<Entry>,
) -> Result<Vec<Entry>, Error> {
    let bases = |suffix: &str| -> Vec<Offset> {
        let names = entries.iter().filter_map(|entry| entry.name.strip_suffix(suffix));
        let logs = names
            .filter_map(FileKind::parse)
            .filter(|(kind, _)| *kind == FileKind::Log);
        logs.map(|(_, base)| base).collect()
    };
    let (swaps, segments) = (bases(SWAP), bases(""));
    if swaps.is_empty() {
        return Ok(entries);
    }
    for base in swaps {
        let path = swap_path(FileKind::Log, dir, base);
        let size_bytes = disk.stat(&path).during("read", &path)?.size_bytes;
        let mut end = base;
        let stop = walk(disk, &path, 0, size_bytes, |_, header, _| {
            end = header.next_offset();
            Visit::Next
        })?;
        if let Some(stop) = stop {
            // It was synced before it got its name. What follows the damage is found to be missing by who reads it.
            tracing::error!(path = %path.display(), position = stop.position, reason = %stop.reason,
                "a compacted segment is damaged");
        }
        let covered: Vec<Offset> = segments
            .iter()
            .copied()
            .filter(|other| *other > base && *other < end)
            .collect();
        tracing::info!(path = %path.display(), segments = covered.len() + 1, "finishing a compaction that was interrupted");
        finish(disk, dir, base, &covered)?;
    }
    disk.sync_dir(dir).during_sync(dir)?;
    disk.list(dir).during("list", dir)
}
