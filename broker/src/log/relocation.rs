//! Moving a log to another volume (KIP-113): a copy of it grows there while the log is in use, and takes its place once it has all
//! of it.
//!
//! The order: all of the copy is synced, with a count of the moves that is one higher than the log's; the copy gets the name of
//! the partition; the log gets one that nobody takes for a partition. A crash in between leaves two directories of that name, and
//! the one that has been moved more often is the log: the other may be behind it.

use std::path::{Path, PathBuf};

use flotilla_protocol::{Offset, Uuid};

use super::checkpoint::{self, Durability, ReadError};
use super::disk::Disk;
use super::error::{During, Error};
use super::read::Read;
use super::segment::FileKind;
use super::{Log, OpenOptions, PARTITION_METADATA, Storage, volume};

/// How often the log was moved, in a file of its directory. Without it: never.
const MOVES: &str = "moves-checkpoint";

/// Why a copy is not in the place of its log. The log is what it was, but where it is not known whether the copy has its name after a
/// loss of power, it takes no more records.
pub struct NotReplaced {
    /// The copy.
    pub copy: Box<Log>,
    /// Why.
    pub error: Error,
}

/// How often the log in `dir` was moved. `None` where what the file says cannot be believed.
///
/// # Errors
/// Those of the disk.
pub fn moves_of(disk: &dyn Disk, dir: &Path) -> Result<Option<u64>, Error> {
    let path = dir.join(MOVES);
    match checkpoint::read_lines(disk, &path) {
        Ok(None) => Ok(Some(0)),
        Ok(Some(lines)) => Ok(lines.first().and_then(|line| line.parse().ok())),
        Err(ReadError::Damaged) => Ok(None),
        Err(ReadError::Io(source)) => Err(Error::Io {
            action: "read",
            path,
            source,
        }),
    }
}

/// Gives the directory of a partition a name that nobody takes for a partition, durably. It is to be removed then, with
/// [`Disk::remove_dir`]; a start does it, too.
///
/// # Errors
/// Those of the disk.
pub fn take_away(disk: &dyn Disk, dir: &Path, unique: Uuid) -> Result<PathBuf, Error> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let deleted = dir.with_file_name(volume::deleted_name(name, unique));
    disk.rename(dir, &deleted).during("rename", dir)?;
    if let Some(parent) = dir.parent() {
        disk.sync_dir(parent).during_sync(parent)?;
    }
    Ok(deleted)
}

impl Log {
    /// Begins a copy in `dir`, with nothing in it yet but where it begins. What was there is removed.
    ///
    /// # Errors
    /// Those of the disk that `storage` names.
    pub fn begin_copy(&self, storage: &Storage, dir: &Path, now_ms: i64) -> Result<Self, Error> {
        let disk = &*storage.disk;
        if disk.list(dir).is_ok() {
            disk.remove_dir(dir).during("remove", dir)?;
        }
        let options = OpenOptions {
            topic_id: self.topic_id,
            config: self.config,
            now_ms,
            clean: false,
            start_offset: None,
            recovery_point: None,
        };
        let (mut copy, _) = Self::open(storage, dir, options, &mut |_| {})?;
        if self.log_start > copy.log_end {
            copy.start_over_at(self.log_start)?;
        }
        Ok(copy)
    }

    /// Makes what the copy has a part of `log` again: the log may have been cut since, down to `lowest_end`, or begin later.
    ///
    /// # Errors
    /// Those of the disk; the copy is of no use then.
    pub fn align_copy(&mut self, log: &Self, lowest_end: Offset, now_ms: i64) -> Result<(), Error> {
        self.config = log.config;
        let common_end = lowest_end.min(log.log_end);
        if common_end < self.log_end {
            self.truncate_to(common_end)?;
        }
        if log.log_start > self.log_end {
            return self.start_over_at(log.log_start);
        }
        if log.log_start > self.log_start {
            self.advance_start(log.log_start)?;
            // Nothing but what lies before the start goes: nothing is committed of the copy.
            self.apply_retention(now_ms, log.log_start)?;
        }
        Ok(())
    }

    /// Adds to the copy what was read from its log where the copy ends.
    ///
    /// # Errors
    /// As [`Log::append_follower`].
    pub fn extend_copy(&mut self, read: &Read, now_ms: i64) -> Result<(), Error> {
        for batches in &read.batches {
            self.append_follower(batches, now_ms)?;
        }
        Ok(())
    }

    /// Puts `copy`, which has all batches of this log, in its place, under the name `dir`, durably. Blocks for some syncs. Whoever
    /// reads the log at the moment is told to read again, and syncs of it say nothing any more: all of the copy is synced.
    ///
    /// Gives the directory that the log had, to be removed with [`Disk::remove_dir`], which a start does, too; or why it could not be
    /// taken out of the way.
    ///
    /// # Errors
    /// [`NotReplaced`].
    pub fn replace_by(
        &mut self,
        mut copy: Self,
        dir: &Path,
        unique: Uuid,
    ) -> Result<Result<PathBuf, Error>, NotReplaced> {
        let ready = copy.take_over(self).and_then(|()| copy.check_free(dir));
        if let Err(error) = ready {
            let copy = Box::new(copy);
            return Err(NotReplaced { copy, error });
        }
        if let Err(error) = copy.take_name(dir) {
            // Either of them may be the log after a loss of power: nothing may come to one that the other does not have.
            self.failed = true;
            let copy = Box::new(copy);
            return Err(NotReplaced { copy, error });
        }
        self.end_readers();
        let log = std::mem::replace(self, copy);
        Ok(take_away(&*log.storage.disk, &log.dir, unique))
    }

    /// Gives the directory another name, durably.
    fn take_name(&mut self, dir: &Path) -> Result<(), Error> {
        let disk = self.storage.disk.clone();
        disk.rename(&self.dir, dir).during("rename", &self.dir)?;
        self.dir = dir.into();
        match dir.parent() {
            Some(parent) => disk.sync_dir(parent).during_sync(parent),
            None => Ok(()),
        }
    }

    /// What is not in the batches, and the end: durably.
    fn take_over(&mut self, log: &Self) -> Result<(), Error> {
        self.check_usable()?;
        let path = log.dir.join(MOVES);
        let moves = moves_of(&*log.storage.disk, &log.dir)?.ok_or_else(|| Error::Damaged {
            path,
            position: 0,
            reason: "it does not say how often the log was moved".to_owned(),
            known: true,
        })?;
        self.sync()?;
        // Behind the last batch compaction may have left a gap.
        (self.log_end, self.synced_end) = (log.log_end, log.log_end);
        self.log_start = log.log_start;
        self.producers = log.producers.clone();
        self.replayed_from = log.replayed_from;
        self.config = log.config;
        self.epochs.take_over(&log.epochs);
        self.changed = true;
        let disk = self.storage.disk.clone();
        self.write_snapshot()?;
        // Where compaction has left a gap at the end, this alone says where the log ends.
        let snapshot = FileKind::Snapshot.path(&self.dir, self.log_end);
        disk.sync(&snapshot).during_sync(&snapshot)?;
        self.epochs
            .persist(&*disk, &self.dir, Durability::Synced)
            .during("write", &self.dir)?;
        // Nothing was compacted while it was copied.
        self.take_over_cleaned(log)?;
        let metadata = self.dir.join(PARTITION_METADATA);
        disk.sync(&metadata).during_sync(&metadata)?;
        let path = self.dir.join(MOVES);
        checkpoint::write_lines(&*disk, &path, &[(moves + 1).to_string()], Durability::Synced)
            .during("write", &path)
    }

    fn check_free(&self, dir: &Path) -> Result<(), Error> {
        match self.storage.disk.list(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(Error::Io {
                action: "list",
                path: dir.to_owned(),
                source,
            }),
            Ok(_) => Err(Error::InTheWay { path: dir.to_owned() }),
        }
    }

    /// Nobody reads or syncs the files of this log any more, or believes that it did.
    fn end_readers(&mut self) {
        self.generation.advance();
        self.tail.clear();
        for sealed in &self.sealed {
            sealed.replaced.set();
        }
        if let Some(active) = &self.active {
            active.replaced.set();
        }
    }
}
