//! Up to where a log is compacted, in a file of its directory.
//!
//! Kafka keeps one file of that name for all partitions of a volume. Here each log has its own, which is cut before the log
//! is: were it to say that records are compacted which were appended since, their tombstones would go too early.

use std::io;
use std::path::Path;

use flotilla_protocol::Offset;

use crate::log::checkpoint::{Durability, ReadError, read_lines, write_lines};
use crate::log::disk::Disk;
use crate::log::error::{During, Error};
use crate::log::{Log, SyncHandle};

const FILE_NAME: &str = "cleaner-offset-checkpoint";

/// 0 if there is no file, or none that can be believed: then all of the log is compacted anew.
pub(in crate::log) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Offset> {
    let lines = match read_lines(disk, &dir.join(FILE_NAME)) {
        Ok(lines) => lines.unwrap_or_default(),
        Err(ReadError::Damaged) => return Ok(Offset(0)),
        Err(ReadError::Io(error)) => return Err(error),
    };
    let offset = lines.first().and_then(|line| line.parse().ok());
    Ok(Offset(offset.filter(|offset| *offset > 0).unwrap_or(0)))
}

impl Log {
    /// Up to where the log is compacted: the next compaction begins here.
    #[must_use]
    pub fn first_dirty(&self) -> Offset {
        self.cleaned_to.max(self.log_start)
    }

    /// Notes that all swaps of a compaction up to `to` are done. What is returned makes the note safe; until then a loss of
    /// power costs no more than the same work again. Where something was put into the log or cut off meanwhile, all stays as it
    /// is.
    ///
    /// # Errors
    /// Those of the disk; the note is not taken then.
    pub fn mark_cleaned(&mut self, to: Offset) -> Result<SyncHandle, Error> {
        self.check_usable()?;
        let to = if self.was_lowered {
            self.cleaned_to
        } else {
            to.min(self.log_end)
        };
        self.write_cleaned(to, Durability::Later)?;
        let path = self.dir.join(FILE_NAME);
        Ok(SyncHandle::new(&self.storage.disk, path, to, &self.generation))
    }

    /// Takes back that the log is compacted beyond `to`, durably: it is going to be cut there, or what another replica has,
    /// which may have been compacted less, is going to be put there.
    pub(in crate::log) fn lower_cleaned(&mut self, to: Offset) -> Result<(), Error> {
        self.was_lowered = true;
        if self.cleaned_to <= to {
            return Ok(());
        }
        self.write_cleaned(to, Durability::Synced)
    }

    /// This copy of `log` is compacted as far as that is.
    pub(in crate::log) fn take_over_cleaned(&mut self, log: &Log) -> Result<(), Error> {
        if self.cleaned_to == log.cleaned_to {
            return Ok(());
        }
        self.write_cleaned(log.cleaned_to, Durability::Synced)
    }

    fn write_cleaned(&mut self, to: Offset, durability: Durability) -> Result<(), Error> {
        let path = self.dir.join(FILE_NAME);
        write_lines(&*self.storage.disk, &path, &[to.to_string()], durability).during("write", &path)?;
        self.cleaned_to = to;
        Ok(())
    }
}
