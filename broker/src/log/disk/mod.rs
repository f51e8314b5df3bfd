//! The seam between the log and what it is kept on: the real file system on one side, a simulated one on the other.
//!
//! Everything is addressed by path, so that an idle partition holds no open file. All calls block: who must not be
//! blocked calls from a thread that may be.

mod buffers;
mod real;
mod sim;
#[cfg(test)]
pub(crate) mod stopping;
mod vouched;

use std::any::Any;
use std::io;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use flotilla_protocol::wire::Region;

pub use real::RealDisk;
pub use sim::SimDisk;
pub use vouched::Version;

/// What the log needs of a file system. A write counts once [`Disk::sync`] of its file has returned, and a name in a
/// directory once [`Disk::sync_dir`] of that directory has.
pub trait Disk: Send + Sync + 'static {
    /// Creates a directory and those above it; it may be there already.
    ///
    /// # Errors
    /// Those of the file system.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates an empty file; what was there under that name is emptied.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&self, path: &Path) -> io::Result<()>;

    /// Writes all of `bytes` into a file that exists, from `position` on.
    ///
    /// # Errors
    /// Those of the file system; part of the bytes may be written then.
    fn write_at(&self, path: &Path, position: u64, bytes: &[u8]) -> io::Result<()>;

    /// Has the file system set bytes of a file aside that are to be appended, without changing its size: given out in one piece, they cost
    /// it less. [`Disk::truncate`] gives back what is not used. No more than a wish, which a disk that is filling up does not grant.
    fn reserve(&self, path: &Path, bytes: Range<u64>) {
        let _ = (path, bytes);
    }

    /// Reads up to `length` bytes; fewer only where the file ends.
    ///
    /// # Errors
    /// Those of the file system.
    fn read_at(&self, path: &Path, position: u64, length: usize) -> io::Result<Bytes>;

    /// The version of a file, for [`Disk::vouch`]: to be asked for before what is vouched for is read. None where nothing is sent from the disk's files.
    fn version(&self, path: &Path) -> Option<Version> {
        let _ = path;
        None
    }

    /// Notes that `bytes` of a file were read, in this version, and found sound.
    fn vouch(&self, path: &Path, bytes: Range<u64>, version: Version) {
        let _ = (path, bytes, version);
    }

    /// `bytes` of a file, to be sent from where they lie. None: not all of `known`, which are these bytes and some around them, was vouched for in the
    /// last ten minutes, or the file has changed since.
    fn region(&self, path: &Path, bytes: Range<u64>, known: Range<u64>) -> Option<Region> {
        let _ = (path, bytes, known);
        None
    }

    /// Cuts a file.
    ///
    /// # Errors
    /// Those of the file system.
    fn truncate(&self, path: &Path, size_bytes: u64) -> io::Result<()>;

    /// Makes what a file holds survive a loss of power. After an error nobody knows what does: never try again.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory survive a loss of power.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes everything on the file system that holds `path` survive a loss of power: cheaper than syncing ten
    /// thousand small files one by one.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync_all(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or a directory, replacing a file of the new name.
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of the file system; it is an error if there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all that is in it.
    ///
    /// # Errors
    /// Those of the file system.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// What is in a directory, by name. Names that are not UTF-8 are none of ours and left out.
    ///
    /// # Errors
    /// Those of the file system.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Size and age of a file.
    ///
    /// # Errors
    /// Those of the file system.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// How full the file system is that holds `path`.
    ///
    /// # Errors
    /// Those of the file system.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Takes a file's lock for this process, creating the file, until what is returned is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another holds it, and those of the file system.
    fn lock(&self, path: &Path) -> io::Result<Lock>;
}

/// Holds the lock that [`Disk::lock`] took.
pub type Lock = Box<dyn Any + Send + Sync>;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the directory's.
    pub name: String,
    /// A directory, or else a file.
    pub is_dir: bool,
}

/// See [`Disk::stat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Bytes in the file.
    pub size_bytes: u64,
    /// When it was written last, in milliseconds of the epoch.
    pub modified_ms: i64,
}

/// See [`Disk::space`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}
