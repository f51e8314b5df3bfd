//! A disk whose power can fail at any operation, also in the middle of what one call of the code under test does.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use flotilla_broker::log::{Disk, Entry, Lock, SimDisk, Space, Stat};

/// A simulated disk, and after how many operations it goes dark.
#[derive(Default)]
pub struct FrailDisk {
    disk: SimDisk,
    /// Operations until the power fails; negative: it does not.
    left: AtomicI64,
    is_armed: AtomicBool,
}

impl FrailDisk {
    /// Lets the power fail after so many further changes; where it has failed it stays so.
    pub fn fail_after(&self, changes: u64) {
        if self.is_dark() {
            return;
        }
        self.left.store(changes.cast_signed(), Ordering::SeqCst);
        self.is_armed.store(true, Ordering::SeqCst);
    }

    /// Whether the power has failed.
    pub fn is_dark(&self) -> bool {
        self.is_armed.load(Ordering::SeqCst) && self.left.load(Ordering::SeqCst) < 0
    }

    /// The power comes back; what is left is for the seed to say.
    pub fn lose_power(&self, seed: u64) {
        self.is_armed.store(false, Ordering::SeqCst);
        self.disk.crash(seed);
    }

    /// Only the process went: the system keeps what it had not written yet.
    pub fn lose_process(&self) {
        self.is_armed.store(false, Ordering::SeqCst);
    }

    fn change(&self) -> io::Result<()> {
        if self.is_armed.load(Ordering::SeqCst) && self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.left.store(-1, Ordering::SeqCst);
            return Err(io::Error::other("the power has failed"));
        }
        Ok(())
    }
}

impl Disk for FrailDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.create(path)
    }

    fn write_at(&self, path: &Path, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.change()?;
        self.disk.write_at(path, position, bytes)
    }

    fn read_at(&self, path: &Path, position: u64, length: usize) -> io::Result<Bytes> {
        self.disk.read_at(path, position, length)
    }

    fn truncate(&self, path: &Path, size_bytes: u64) -> io::Result<()> {
        self.change()?;
        self.disk.truncate(path, size_bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.sync(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.sync_dir(path)
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.sync_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.disk.stat(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock(path)
    }
}
