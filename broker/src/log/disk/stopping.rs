//! A disk that refuses to go on, for tests of what each single step leaves.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;

use super::{Disk, Entry, Lock, SimDisk, Space, Stat};

/// For how many changes disks work; several may share it.
pub(crate) struct Power {
    left: AtomicUsize,
    /// Only one change fails.
    comes_back: AtomicBool,
}

impl Default for Power {
    fn default() -> Self {
        Self {
            left: AtomicUsize::new(usize::MAX),
            comes_back: AtomicBool::new(false),
        }
    }
}

impl Power {
    /// Every change after so many is refused.
    pub(crate) fn last_for(&self, changes: usize) {
        self.comes_back.store(false, Ordering::SeqCst);
        self.left.store(changes, Ordering::SeqCst);
    }

    /// The one change after so many is refused.
    pub(crate) fn fail_once_after(&self, changes: usize) {
        self.left.store(changes, Ordering::SeqCst);
        self.comes_back.store(true, Ordering::SeqCst);
    }

    /// Whether nothing was refused yet.
    pub(crate) fn is_on(&self) -> bool {
        let left = self.left.load(Ordering::SeqCst);
        left > 0 && (!self.comes_back.load(Ordering::SeqCst) || left < usize::MAX / 2)
    }

    fn step(&self) -> io::Result<()> {
        let taken = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if taken.is_err() && self.comes_back.load(Ordering::SeqCst) {
            self.left.store(usize::MAX, Ordering::SeqCst);
        }
        taken.map(drop).map_err(|_| io::Error::other("the power is gone"))
    }
}

/// A disk that works as long as its [`Power`] lasts.
pub(crate) struct Stopping {
    disk: Arc<SimDisk>,
    power: Arc<Power>,
}

impl Stopping {
    pub(crate) fn new(disk: &Arc<SimDisk>, power: &Arc<Power>) -> Self {
        Self {
            disk: Arc::clone(disk),
            power: Arc::clone(power),
        }
    }
}

impl Disk for Stopping {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.power.step()?;
        self.disk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<()> {
        self.power.step()?;
        self.disk.create(path)
    }
    fn write_at(&self, path: &Path, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.power.step()?;
        self.disk.write_at(path, position, bytes)
    }
    fn read_at(&self, path: &Path, position: u64, length: usize) -> io::Result<Bytes> {
        self.disk.read_at(path, position, length)
    }
    fn truncate(&self, path: &Path, size_bytes: u64) -> io::Result<()> {
        self.power.step()?;
        self.disk.truncate(path, size_bytes)
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        self.power.step()?;
        self.disk.sync(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.power.step()?;
        self.disk.sync_dir(path)
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.power.step()?;
        self.disk.sync_all(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.power.step()?;
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.power.step()?;
        self.disk.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.power.step()?;
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
