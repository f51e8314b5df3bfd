//! A disk in memory that can lose what was not synced, fill up, and fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::{Disk, Entry, Lock, Space, Stat};

/// Keeps what is synced apart from what is not. [`SimDisk::crash`] leaves what a real disk may leave: for each file
/// some first part of the writes since its last sync, the last of them possibly torn, and of the names created,
/// renamed and removed since their directory's last sync some first part too.
pub struct SimDisk {
    state: Mutex<State>,
    released: Condvar,
}

impl Default for SimDisk {
    fn default() -> Self {
        let root: Names = BTreeMap::from([(PathBuf::from("/"), None)]);
        let state = State {
            names: root.clone(),
            durable_names: root,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            released: Condvar::new(),
        }
    }
}

#[derive(Default)]
struct State {
    files: Vec<File>,
    names: Names,
    durable_names: Names,
    /// In order, what happened to names and is not durable yet.
    pending_names: Vec<Change>,
    locks: BTreeMap<PathBuf, Arc<AtomicBool>>,
    capacity_bytes: Option<u64>,
    fail_syncs_of: Option<String>,
    holds_syncs: bool,
    read_only: bool,
    syncs: u64,
    now_ms: i64,
}

/// `None` is a directory, `Some` a file's place in [`State::files`].
type Names = BTreeMap<PathBuf, Option<usize>>;

#[derive(Default)]
struct File {
    content: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
    modified_ms: i64,
}

#[derive(Clone)]
enum Write {
    At(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Clone)]
enum Change {
    Link(PathBuf, Option<usize>),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::At(position, bytes) => {
                let position = *position as usize;
                let end = position + bytes.len();
                content.resize(content.len().max(end), 0);
                content[position..end].copy_from_slice(bytes);
            }
            Self::Truncate(size_bytes) => content.resize(*size_bytes as usize, 0),
        }
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Unlink(path) => names.retain(|name, _| !name.starts_with(path)),
            Self::Rename(from, to) => {
                let moved: Vec<PathBuf> = names
                    .keys()
                    .filter(|name| name.starts_with(from))
                    .cloned()
                    .collect();
                for name in moved {
                    let node = names.remove(&name).expect("it was just listed");
                    let below = name.strip_prefix(from).expect("it was listed by that prefix");
                    let name = if below.as_os_str().is_empty() {
                        to.clone()
                    } else {
                        to.join(below)
                    };
                    names.insert(name, node);
                }
            }
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Link(path, _) | Self::Unlink(path) => path.parent() == Some(dir),
            Self::Rename(from, to) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

/// Splitmix64: a seed gives the same crash each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % bound as u64) as usize
    }
}

impl SimDisk {
    /// An empty disk, which holds only the directory `/`: paths on it are absolute.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses power: what is left then is what is synced, and some of the rest, as the seed says. All locks are free.
    pub fn crash(&self, seed: u64) {
        let mut dice = Dice(seed);
        let mut state = self.state.lock();
        let kept = dice.below(state.pending_names.len() + 1);
        for change in state.pending_names.split_off(0).into_iter().take(kept) {
            change.apply(&mut state.durable_names);
        }
        state.names = state.durable_names.clone();
        for file in &mut state.files {
            let kept = dice.below(file.pending.len() + 1);
            for write in &file.pending[..kept] {
                write.apply(&mut file.durable);
            }
            if let Some(Write::At(position, bytes)) = file.pending.get(kept) {
                let torn = dice.below(bytes.len() + 1);
                Write::At(*position, bytes[..torn].to_vec()).apply(&mut file.durable);
            }
            file.pending.clear();
            file.content = file.durable.clone();
        }
        state.locks.clear();
        state.fail_syncs_of = None;
    }

    /// The process that used it is gone, and the machine is not: all that was written is there, and all locks are free.
    pub fn release(&self) {
        self.state.lock().locks.clear();
    }

    /// Bytes in all files together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used_bytes()
    }

    /// Limits what all files together may hold. `None`: no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Lets syncs of files fail whose path ends with `suffix`, until the next crash.
    pub fn fail_syncs_of(&self, suffix: &str) {
        self.state.lock().fail_syncs_of = Some(suffix.to_owned());
    }

    /// Holds syncs of files back until it is told otherwise, as a slow disk does.
    pub fn hold_syncs(&self, hold: bool) {
        self.state.lock().holds_syncs = hold;
        self.released.notify_all();
    }

    /// Refuses every change, as a directory without write permission does.
    pub fn set_read_only(&self, read_only: bool) {
        self.state.lock().read_only = read_only;
    }

    /// Sets the clock that files get their time from, in milliseconds of the epoch.
    pub fn set_now(&self, now_ms: i64) {
        self.state.lock().now_ms = now_ms;
    }

    /// How many syncs of files there have been.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Alters what a file holds behind everyone's back, as a failing disk does.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let file = state.file(path).expect("a file to tamper with");
        change(&mut file.content);
        file.durable = file.content.clone();
        file.pending.clear();
    }

    /// All files and directories, as they are now.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state.lock().names.keys().cloned().collect()
    }
}

fn error(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

impl State {
    fn file(&mut self, path: &Path) -> io::Result<&mut File> {
        match self.names.get(path) {
            Some(Some(file)) => Ok(&mut self.files[*file]),
            Some(None) => Err(error(io::ErrorKind::IsADirectory)),
            None => Err(error(io::ErrorKind::NotFound)),
        }
    }

    fn used_bytes(&self) -> u64 {
        let linked: BTreeSet<usize> = self.names.values().copied().flatten().collect();
        linked
            .into_iter()
            .map(|file| self.files[file].content.len() as u64)
            .sum()
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.read_only {
            Err(error(io::ErrorKind::PermissionDenied))
        } else {
            Ok(())
        }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        self.check_writable()?;
        change.apply(&mut self.names);
        self.pending_names.push(change);
        Ok(())
    }

    fn write(&mut self, path: &Path, write: Write) -> io::Result<()> {
        self.check_writable()?;
        let now_ms = self.now_ms;
        let file = self.file(path)?;
        write.apply(&mut file.content);
        file.pending.push(write);
        file.modified_ms = now_ms;
        Ok(())
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|dir| !state.names.contains_key(*dir))
            .collect();
        for dir in missing.into_iter().rev() {
            state.change(Change::Link(dir.to_owned(), None))?;
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.names.contains_key(path) {
            return state.write(path, Write::Truncate(0));
        }
        if path
            .parent()
            .is_none_or(|dir| state.names.get(dir) != Some(&None))
        {
            return Err(error(io::ErrorKind::NotFound));
        }
        state.check_writable()?;
        let file = File {
            modified_ms: state.now_ms,
            ..File::default()
        };
        state.files.push(file);
        let node = Some(state.files.len() - 1);
        state.change(Change::Link(path.to_owned(), node))
    }

    fn write_at(&self, path: &Path, position: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let size = state.file(path)?.content.len() as u64;
        let growth = (position + bytes.len() as u64).saturating_sub(size);
        if let Some(capacity) = state.capacity_bytes {
            let room = capacity.saturating_sub(state.used_bytes());
            if growth > room {
                // As much as fits is written, as file systems do.
                let fits =
                    (bytes.len() as u64 - growth.min(bytes.len() as u64) + room).min(bytes.len() as u64);
                state.write(path, Write::At(position, bytes[..fits as usize].to_vec()))?;
                return Err(error(io::ErrorKind::StorageFull));
            }
        }
        state.write(path, Write::At(position, bytes.to_vec()))
    }

    fn read_at(&self, path: &Path, position: u64, length: usize) -> io::Result<Bytes> {
        let mut state = self.state.lock();
        let content = &state.file(path)?.content;
        let start = (position as usize).min(content.len());
        let end = start.saturating_add(length).min(content.len());
        Ok(Bytes::copy_from_slice(&content[start..end]))
    }

    fn truncate(&self, path: &Path, size_bytes: u64) -> io::Result<()> {
        self.state.lock().write(path, Write::Truncate(size_bytes))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        while state.holds_syncs {
            self.released.wait(&mut state);
        }
        state.syncs += 1;
        if state
            .fail_syncs_of
            .as_ref()
            .is_some_and(|suffix| path.to_string_lossy().ends_with(suffix))
        {
            return Err(io::Error::other("input/output error"));
        }
        let file = state.file(path)?;
        let File {
            content,
            durable,
            pending,
            ..
        } = file;
        // Replaying what is pending is cheaper than copying the whole file at each sync.
        for write in pending.drain(..) {
            write.apply(durable);
        }
        debug_assert_eq!(content.len(), durable.len());
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.names.get(path) != Some(&None) {
            return Err(error(io::ErrorKind::NotFound));
        }
        for change in state.pending_names.split_off(0) {
            if change.touches(path) {
                change.apply(&mut state.durable_names);
            } else {
                state.pending_names.push(change);
            }
        }
        Ok(())
    }

    fn sync_all(&self, _path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.fail_syncs_of.is_some() {
            return Err(io::Error::other("input/output error"));
        }
        state.pending_names.clear();
        state.durable_names = state.names.clone();
        for File { durable, pending, .. } in &mut state.files {
            for write in pending.drain(..) {
                write.apply(durable);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(from) {
            return Err(error(io::ErrorKind::NotFound));
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.file(path)?;
        state.change(Change::Unlink(path.to_owned()))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.names.get(path) != Some(&None) {
            return Err(error(io::ErrorKind::NotFound));
        }
        state.change(Change::Unlink(path.to_owned()))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state.lock();
        if state.names.get(path) != Some(&None) {
            return Err(error(io::ErrorKind::NotFound));
        }
        let below = state.names.iter().filter(|(name, _)| name.parent() == Some(path));
        let entry = |(name, node): (&PathBuf, &Option<usize>)| {
            Some(Entry {
                name: name.file_name()?.to_str()?.to_owned(),
                is_dir: node.is_none(),
            })
        };
        Ok(below.filter_map(entry).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let mut state = self.state.lock();
        let file = state.file(path)?;
        Ok(Stat {
            size_bytes: file.content.len() as u64,
            modified_ms: file.modified_ms,
        })
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.state.lock();
        let total_bytes = state.capacity_bytes.unwrap_or(1 << 50);
        Ok(Space {
            free_bytes: total_bytes.saturating_sub(state.used_bytes()),
            total_bytes,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let mut state = self.state.lock();
        state.check_writable()?;
        let held = state.locks.entry(path.to_owned()).or_default();
        if held.swap(true, Ordering::SeqCst) {
            return Err(error(io::ErrorKind::WouldBlock));
        }
        Ok(Box::new(Held(Arc::clone(held))))
    }
}

struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file() -> (SimDisk, PathBuf) {
        let disk = SimDisk::default();
        let dir = Path::new("/d");
        disk.create_dir(dir).unwrap();
        disk.create(&dir.join("f")).unwrap();
        disk.sync_dir(dir).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        (disk, dir.join("f"))
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_a_first_part_of_the_rest() {
        let mut seen = BTreeSet::new();
        for seed in 0..64 {
            let (disk, path) = with_file();
            disk.write_at(&path, 0, b"abc").unwrap();
            disk.sync(&path).unwrap();
            disk.write_at(&path, 3, b"de").unwrap();
            disk.write_at(&path, 5, b"f").unwrap();
            disk.crash(seed);
            seen.insert(disk.read_at(&path, 0, 100).unwrap());
        }
        let seen: Vec<&[u8]> = seen.iter().map(|bytes| &bytes[..]).collect();
        assert_eq!(seen, [&b"abc"[..], b"abcd", b"abcde", b"abcdef"]);
    }

    #[test]
    fn a_name_is_safe_only_once_its_directory_is_synced() {
        let lost_and_kept: BTreeSet<bool> = (0..32)
            .map(|seed| {
                let (disk, path) = with_file();
                disk.rename(&path, &path.with_file_name("g")).unwrap();
                disk.crash(seed);
                assert_eq!(disk.paths().len(), 3);
                disk.paths().contains(&path)
            })
            .collect();
        assert_eq!(lost_and_kept.len(), 2);
        let (disk, path) = with_file();
        disk.rename(&path, &path.with_file_name("g")).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        disk.crash(0);
        assert!(!disk.paths().contains(&path));
    }

    #[test]
    fn a_full_disk_takes_what_fits_and_says_so() {
        let (disk, path) = with_file();
        disk.set_capacity(Some(4));
        disk.write_at(&path, 0, b"abc").unwrap();
        assert_eq!(
            disk.write_at(&path, 3, b"def").unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        assert_eq!(&disk.read_at(&path, 0, 100).unwrap()[..], b"abcd");
        disk.write_at(&path, 0, b"xyz").unwrap();
    }
}
