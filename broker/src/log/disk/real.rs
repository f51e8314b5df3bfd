//! The file system of this machine.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::{Bound, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use bytes::Bytes;
use flotilla_protocol::wire::Region;
use parking_lot::Mutex;
use rustix::fs::FallocateFlags;

use super::buffers::Buffers;
use super::vouched::{Version, Vouched};
use super::{Disk, Entry, Lock, Space, Stat};

/// What must be free before anything is reserved: so many bytes, and this part of the file system.
const ROOM_BYTES: u64 = 1 << 30;
const ROOM_PART: u64 = 10;

/// Files through a bounded number of open handles: the least recently used one is closed for the next.
///
/// A handle may be closed with writes that are not synced yet. The kernel keeps an error of their writing back with
/// the file until someone has seen it, so the sync through the next handle still finds it.
pub struct RealDisk {
    open: Mutex<OpenFiles>,
    buffers: Buffers,
}

struct OpenFiles {
    limit: usize,
    clock: u64,
    /// How often names came to stand for other files.
    changes: u64,
    /// In the order of the bytes of their paths, so that what lies in a directory stands together.
    files: BTreeMap<OsString, (u64, Handle)>,
    by_age: BTreeMap<u64, PathBuf>,
}

/// An open file, and what is known of it.
#[derive(Clone, Debug)]
struct Handle {
    file: Arc<File>,
    vouched: Arc<Mutex<Vouched>>,
}

impl Handle {
    fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            vouched: Arc::default(),
        }
    }

    fn version(&self) -> Option<Version> {
        self.file.metadata().ok().as_ref().map(Version::of)
    }
}

impl RealDisk {
    /// How many files are kept open where nobody says otherwise. A process may have 20,000, connections included.
    pub const OPEN_FILES_MAX: usize = 4096;

    /// `open_files_max` handles at most are kept, apart from those in use at the moment.
    #[must_use]
    pub fn new(open_files_max: usize) -> Self {
        let limit = open_files_max.max(1);
        let (files, by_age) = (BTreeMap::new(), BTreeMap::new());
        Self {
            open: Mutex::new(OpenFiles {
                limit,
                clock: 0,
                changes: 0,
                files,
                by_age,
            }),
            buffers: Buffers::default(),
        }
    }

    /// Handles that are kept at the moment.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.open.lock().files.len()
    }

    fn file(&self, path: &Path) -> io::Result<Arc<File>> {
        Ok(self.handle(path)?.file)
    }

    fn handle(&self, path: &Path) -> io::Result<Handle> {
        let changes = {
            let mut open = self.open.lock();
            if let Some(handle) = open.touch(path) {
                return Ok(handle);
            }
            open.changes
        };
        let handle = Handle::new(OpenOptions::new().read(true).write(true).open(path)?);
        self.open.lock().keep(path, &handle, changes);
        Ok(handle)
    }

    /// Changes names, and forgets the handles of those at or below `paths`: once before, so that nobody takes one up, and
    /// once after, for who opened a file meanwhile.
    fn renaming<T>(&self, paths: &[&Path], change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.open.lock().changed(paths);
        let changed = change();
        self.open.lock().changed(paths);
        changed
    }
}

impl OpenFiles {
    fn touch(&mut self, path: &Path) -> Option<Handle> {
        let (age, handle) = self.files.get_mut(path.as_os_str())?;
        self.clock += 1;
        let path = self.by_age.remove(age).expect("each open file has an age");
        *age = self.clock;
        self.by_age.insert(self.clock, path);
        Some(handle.clone())
    }

    /// Keeps a file that was opened when there had been so many changes. Another one since may have given its name to
    /// another file: then it is used once.
    fn keep(&mut self, path: &Path, handle: &Handle, changes: u64) {
        if self.changes == changes {
            self.insert(path, handle);
        }
    }

    fn changed(&mut self, paths: &[&Path]) {
        self.changes += 1;
        for path in paths {
            self.forget_below(path);
        }
    }

    fn insert(&mut self, path: &Path, handle: &Handle) {
        self.forget(path);
        self.clock += 1;
        self.files.insert(path.into(), (self.clock, handle.clone()));
        self.by_age.insert(self.clock, path.to_owned());
        while self.files.len() > self.limit {
            let (_, oldest) = self.by_age.pop_first().expect("each open file has an age");
            self.files.remove(oldest.as_os_str());
        }
    }

    fn forget(&mut self, path: &Path) {
        if let Some((age, _)) = self.files.remove(path.as_os_str()) {
            self.by_age.remove(&age);
        }
    }

    /// Also forgets what lies below `path`, for directories.
    fn forget_below(&mut self, path: &Path) {
        self.forget(path);
        let inside = path.join("");
        let below: Vec<PathBuf> = self
            .files
            .range::<OsStr, _>((Bound::Included(inside.as_os_str()), Bound::Unbounded))
            .map(|(open, _)| Path::new(open))
            .take_while(|open| open.starts_with(&inside))
            .map(Path::to_owned)
            .collect();
        for path in below {
            self.forget(&path);
        }
    }
}

/// Reads until `bytes` are full or the file ends. How many there were.
fn read_full(file: &File, position: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl RealDisk {
    /// Whether the file system that holds `path` has enough free for anything to be reserved on it.
    pub(in crate::log) fn has_room(&self, path: &Path) -> bool {
        self.space(path)
            .is_ok_and(|space| space.free_bytes >= (space.total_bytes / ROOM_PART).max(ROOM_BYTES))
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        self.open.lock().insert(path, &Handle::new(file));
        Ok(())
    }

    fn write_at(&self, path: &Path, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(path)?.write_all_at(bytes, position)
    }

    fn reserve(&self, path: &Path, bytes: Range<u64>) {
        if !self.has_room(path) {
            return;
        }
        if let Ok(file) = self.file(path) {
            // A file system that cannot do it goes on as it would without.
            let length = bytes.end.saturating_sub(bytes.start);
            let _ = rustix::fs::fallocate(&*file, FallocateFlags::KEEP_SIZE, bytes.start, length);
        }
    }

    fn read_at(&self, path: &Path, position: u64, length: usize) -> io::Result<Bytes> {
        let file = self.file(path)?;
        self.buffers
            .filled(length, |bytes| read_full(&file, position, bytes))
    }

    fn version(&self, path: &Path) -> Option<Version> {
        self.handle(path).ok()?.version()
    }

    fn vouch(&self, path: &Path, bytes: Range<u64>, version: Version) {
        // Of a file that is not open any more, nothing is remembered.
        if let Some(handle) = self.open.lock().touch(path) {
            handle.vouched.lock().add(version, bytes, Instant::now());
        }
    }

    fn region(&self, path: &Path, bytes: Range<u64>, known: Range<u64>) -> Option<Region> {
        let handle = self.open.lock().touch(path)?;
        let version = handle.version()?;
        let is_known = handle.vouched.lock().covers(version, &known, Instant::now());
        is_known.then(|| Region {
            file: handle.file,
            position: bytes.start,
            length: (bytes.end - bytes.start) as usize,
        })
    }

    fn truncate(&self, path: &Path, size_bytes: u64) -> io::Result<()> {
        self.file(path)?.set_len(size_bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.file(path)?.sync_data()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.renaming(&[from, to], || fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let forget = |mut open: parking_lot::MutexGuard<'_, OpenFiles>| {
            open.changes += 1;
            open.forget(path);
        };
        forget(self.open.lock());
        let removed = fs::remove_file(path);
        forget(self.open.lock());
        removed
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.renaming(&[path], || fs::remove_dir_all(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry {
                    name,
                    is_dir: entry.file_type()?.is_dir(),
                });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let metadata = fs::metadata(path)?;
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Stat {
            size_bytes: metadata.len(),
            modified_ms: modified.as_millis() as i64,
        })
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_stay_within_the_limit_and_writes_are_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(3);
        let paths: Vec<PathBuf> = (0..20).map(|n| dir.path().join(n.to_string())).collect();
        for path in &paths {
            disk.create(path).unwrap();
        }
        for (round, path) in [0, 1]
            .into_iter()
            .flat_map(|round| paths.iter().map(move |path| (round, path)))
        {
            disk.write_at(path, round * 2, b"ab").unwrap();
            assert!(disk.open_files() <= 3);
        }
        for path in &paths {
            assert_eq!(&disk.read_at(path, 1, 100).unwrap()[..], b"bab");
            disk.sync(path).unwrap();
        }
    }

    #[test]
    fn what_is_reserved_does_not_show_and_is_given_back() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let (disk, path) = (RealDisk::new(8), dir.path().join("segment.log"));
        let taken = || {
            let stat = fs::metadata(&path).unwrap();
            (stat.size(), stat.blocks() * 512)
        };
        disk.create(&path).unwrap();
        disk.write_at(&path, 0, b"abc").unwrap();
        disk.sync(&path).unwrap();
        let before = taken();
        disk.reserve(&path, 0..1 << 20);
        if disk.has_room(&path) {
            assert_eq!(taken().0, before.0);
            assert!(taken().1 >= 1 << 20, "{:?}", taken());
        } else {
            assert_eq!(taken(), before);
        }
        disk.truncate(&path, 3).unwrap();
        assert!(taken().1 < 1 << 20, "{:?}", taken());
        assert_eq!(&disk.read_at(&path, 0, 10).unwrap()[..], b"abc");
        disk.reserve(&dir.path().join("none"), 0..10);
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn handles_follow_renames_and_removals() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(8);
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        disk.create_dir(&old).unwrap();
        disk.create(&old.join("file")).unwrap();
        disk.write_at(&old.join("file"), 0, b"x").unwrap();
        disk.rename(&old, &new).unwrap();
        assert_eq!(
            disk.read_at(&old.join("file"), 0, 1).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(&disk.read_at(&new.join("file"), 0, 1).unwrap()[..], b"x");
        assert_eq!(
            disk.list(dir.path()).unwrap(),
            [Entry {
                name: "new".to_owned(),
                is_dir: true
            }]
        );
        disk.remove_dir(&new).unwrap();
        assert_eq!(
            disk.stat(&new.join("file")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(disk.open_files(), 0);
    }

    #[test]
    fn file_that_was_opened_before_its_name_went_to_another_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(8);
        let (old, new) = (
            dir.path().join("segment.log"),
            dir.path().join("segment.log.swap"),
        );
        for (path, content) in [(&old, b"old"), (&new, b"new")] {
            disk.create(path).unwrap();
            disk.write_at(path, 0, content).unwrap();
        }
        // A reader opens the file, and before it can keep the handle, the other one takes the name.
        let changes = disk.open.lock().changes;
        let opened = Handle::new(File::open(&old).unwrap());
        disk.rename(&new, &old).unwrap();
        disk.open.lock().keep(&old, &opened, changes);
        assert_eq!(&disk.read_at(&old, 0, 3).unwrap()[..], b"new");
        let opened = Handle::new(File::open(&old).unwrap());
        let changes = disk.open.lock().changes;
        disk.remove(&old).unwrap();
        disk.open.lock().keep(&old, &opened, changes);
        assert_eq!(
            disk.read_at(&old, 0, 3).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn region_is_of_what_was_found_sound_in_a_file_that_nobody_has_changed_since() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment.log");
        fs::write(&path, b"0123456789").unwrap();
        let disk = RealDisk::new(1);
        let region = |bytes: Range<u64>| disk.region(&path, bytes.clone(), bytes);
        let vouch = |bytes| disk.vouch(&path, bytes, disk.version(&path).unwrap());
        assert_eq!(region(2..4), None, "nobody has looked at it");
        vouch(0..4);
        assert_eq!(&region(2..4).unwrap().read().unwrap()[..], b"23");
        assert_eq!(region(2..5), None);
        assert_eq!(
            disk.region(&path, 2..4, 2..5),
            None,
            "what lies around it is unknown"
        );

        let changes: [&dyn Fn(); 3] = [
            &|| disk.write_at(&path, 8, b"AB").unwrap(),
            &|| fs::write(&path, b"9876543210").unwrap(),
            &|| disk.truncate(&path, 6).unwrap(),
        ];
        for change in changes {
            let (version, handed_out) = (disk.version(&path).unwrap(), region(0..4).unwrap());
            while disk.version(&path).unwrap() == version {
                change();
            }
            assert_eq!(region(0..4), None);
            // What was read before counts for what the file was before.
            disk.vouch(&path, 0..4, version);
            assert_eq!(region(0..4), None);
            assert_eq!(handed_out.read().unwrap().len(), 4);
            vouch(0..4);
            assert!(region(0..4).is_some());
        }

        let handed_out = region(0..4).unwrap();
        disk.remove(&path).unwrap();
        assert_eq!(region(0..4), None);
        assert_eq!(
            &handed_out.read().unwrap()[..],
            b"9876",
            "it is sent though its name is gone"
        );
    }

    #[test]
    fn a_lock_is_held_by_one_and_freed_by_dropping() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let disk = RealDisk::new(1);
        let lock = disk.lock(&path).unwrap();
        assert_eq!(
            disk.lock(&path).map(drop).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(lock);
        assert!(disk.lock(&path).is_ok());
    }
}
