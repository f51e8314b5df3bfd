//! What can go wrong with a log, and what it means for its volume.

use std::io;
use std::path::{Path, PathBuf};

use flotilla_protocol::records::BatchError;
use flotilla_protocol::{Offset, Uuid};

use super::segment::FileKind;

/// Why a log could not do what was asked. Which partition it is, the caller knows; paths say which file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The offset is not between the beginning and the end of the log. On the wire: `OFFSET_OUT_OF_RANGE`.
    #[error("offset {offset} is not between {log_start} and {log_end}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The first offset that could be there.
        log_start: Offset,
        /// The offset of the next record.
        log_end: Offset,
    },
    /// What was to be appended is not a sequence of batches.
    #[error("the records cannot be appended: {0}")]
    Batch(#[from] BatchError),
    /// A replicated batch begins before the end of the log, or before the one in front of it.
    #[error("a replicated batch begins at offset {found}, but the log goes on at {expected}")]
    Unordered {
        /// The end of the log or of the batch in front.
        expected: Offset,
        /// Where the batch begins.
        found: Offset,
    },
    /// The batches do not fit into one segment. On the wire: `RECORD_LIST_TOO_LARGE`.
    #[error(
        "{size_bytes} bytes of records do not fit into a segment of {segment_bytes} bytes (segment.bytes)"
    )]
    TooLarge {
        /// Size of what was to be appended.
        size_bytes: u64,
        /// What a segment may have.
        segment_bytes: u64,
    },
    /// The directory belongs to another topic, such as one of the same name that was deleted.
    #[error("{path} holds records of the topic with id {found}, not {expected}", path = path.display())]
    TopicId {
        /// The partition's directory.
        path: PathBuf,
        /// The topic that is asked for.
        expected: Uuid,
        /// What `partition.metadata` says.
        found: Uuid,
    },
    /// What lies on the disk between good records is none. A replica has to be fetched anew from another.
    #[error("{path} is damaged at byte {position}: {reason}", path = path.display())]
    Damaged {
        /// The segment, or the file beside it.
        path: PathBuf,
        /// Where the first bad batch begins.
        position: u64,
        /// What is wrong with it.
        reason: String,
        /// It stands in [`super::Log::damages`] already.
        known: bool,
    },
    /// Retention or a truncation took the segment away while it was read. Looking again tells what is there now.
    #[error("{path} was removed while it was read", path = path.display())]
    Removed {
        /// The segment.
        path: PathBuf,
    },
    /// Whoever had it done wants it no more.
    #[error("it was stopped before it was done")]
    Interrupted,
    /// The file system refuses.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A sync has failed: nobody knows what of the file is safe, and trying again would not tell.
    #[error("cannot sync {path}, its volume must not be used any more: {source}", path = path.display())]
    Sync {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Where a log is to be moved, something else lies.
    #[error("{path} is in the way: look what it is, and move it out of the data directory", path = path.display())]
    InTheWay {
        /// The directory.
        path: PathBuf,
    },
    /// An earlier error has left the log in a state that nothing may be added to.
    #[error("the log in {path} has failed before and takes no more records", path = path.display())]
    Failed {
        /// The partition's directory.
        path: PathBuf,
    },
}

/// What an error means for the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing: the request is at fault, or this one log.
    Log,
    /// It is full: it has to be read-only until there is space.
    VolumeFull,
    /// It has failed: it has to be taken offline.
    VolumeFailed,
}

impl Error {
    /// Where the segment begins that is damaged, if that is what is wrong.
    #[must_use]
    pub fn damaged_segment(&self) -> Option<Offset> {
        let Self::Damaged { path, .. } = self else {
            return None;
        };
        let (_, base) = FileKind::parse(path.file_name()?.to_str()?)?;
        Some(base)
    }

    /// What the error means for the volume.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Io { source, .. } if is_full(source) => Severity::VolumeFull,
            Self::Io { .. } | Self::Sync { .. } | Self::Failed { .. } => Severity::VolumeFailed,
            _ => Severity::Log,
        }
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Says what was done with which file when it went wrong.
pub(super) trait During<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, Error>;
    fn during_sync(self, path: &Path) -> Result<T, Error>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        })
    }

    fn during_sync(self, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Sync {
            path: path.to_owned(),
            source,
        })
    }
}
