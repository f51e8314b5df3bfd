//! Group commit: many appends, one sync, outside of the partition's lock.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flotilla_protocol::Offset;

use super::PARTITION_METADATA;
use super::disk::Disk;
use super::error::{During, Error};

/// Counts how often the log threw away what was appended, so that a sync of before is not taken for one of after.
#[derive(Clone, Debug, Default)]
pub(super) struct Generation(Arc<AtomicU64>);

impl Generation {
    pub(super) fn advance(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What a syncer needs to make a log durable up to [`SyncHandle::end`] without holding its lock.
pub struct SyncHandle {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    end: Offset,
    /// The partition's directory, where its names and those in it are not synced yet.
    new_dir: Option<Arc<Path>>,
    generation: Generation,
    taken_at: u64,
}

impl SyncHandle {
    pub(super) fn new(disk: &Arc<dyn Disk>, path: PathBuf, end: Offset, generation: &Generation) -> Self {
        let (disk, generation) = (Arc::clone(disk), generation.clone());
        let taken_at = generation.now();
        Self {
            disk,
            path,
            end,
            new_dir: None,
            generation,
            taken_at,
        }
    }

    /// Syncs the names of what lies in `dir` too, and its own.
    pub(super) fn with_names(mut self, dir: Option<Arc<Path>>) -> Self {
        self.new_dir = dir;
        self
    }

    pub(super) fn holds_names(&self) -> bool {
        self.new_dir.is_some()
    }

    /// The end of the log when the handle was taken.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The segment that will be synced.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs. Blocks. Afterwards the log has to be told by [`super::Log::mark_synced`].
    ///
    /// # Errors
    /// [`Error::Sync`]: the volume has to be taken offline, and the sync must not be tried again.
    pub fn sync(&self) -> Result<(), Error> {
        match self.sync_files() {
            // The log itself took the file away; what was in it needs no sync any more.
            Err(Error::Sync { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !self.is_current() =>
            {
                Ok(())
            }
            synced => synced,
        }
    }

    fn sync_files(&self) -> Result<(), Error> {
        if let Some(dir) = &self.new_dir {
            sync_names(&*self.disk, dir)?;
        }
        self.disk.sync(&self.path).during_sync(&self.path)
    }

    pub(super) fn is_current(&self) -> bool {
        self.generation.now() == self.taken_at
    }
}

/// Makes the directory of a partition durable that may be new: itself, what is in it, and whose it is.
pub(super) fn sync_names(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let metadata = dir.join(PARTITION_METADATA);
    disk.sync(&metadata).during_sync(&metadata)?;
    if let Some(parent) = dir.parent() {
        disk.sync_dir(parent).during_sync(parent)?;
    }
    disk.sync_dir(dir).during_sync(dir)
}
