//! Raft's log, vote and purge mark on disk. Entries lie in segment files, each framed with its length and a CRC-32C; what
//! was appended is synced before it is answered for, and a tail that a crash tore is cut when the log is opened.

use std::collections::VecDeque;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};
use openraft::{LogId, Vote};
use parking_lot::Mutex;

use super::voter::VoterId;
use super::wire::{self, Entry, Malformed};
use crate::log::Disk;

/// A segment that has grown to this is followed by a new one.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Entries of at most this size together are kept in memory, so that replication seldom reads the disk.
const RECENT_BYTES_MAX: usize = 256 << 10;
/// One reading gives no more than this, except for a single larger entry.
const READ_BYTES_MAX: usize = 1 << 20;
/// Length and checksum before each frame.
const FRAME_HEADER_BYTES: usize = 8;
/// No entry is larger; a length beyond it is damage.
const ENTRY_BYTES_MAX: usize = 64 << 20;

const VOTE: &str = "vote";
const PURGED: &str = "purged";
const SEGMENT_PREFIX: &str = "log-";

/// Why the log cannot be opened, or not be used any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system failed.
    #[error("metadata log in {dir}: {source}")]
    Io {
        /// The directory of the log.
        dir: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A file is not what this broker wrote.
    #[error(
        "{file} is damaged: {what}. Restore it, or empty this broker's metadata directory to let it join anew"
    )]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Where one entry lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: LogId<VoterId>,
    position: u64,
    frame_bytes: usize,
}

/// A file of entries.
#[derive(Debug)]
struct Segment {
    first_index: u64,
    size_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    purged: Option<LogId<VoterId>>,
    segments: VecDeque<Segment>,
    places: VecDeque<Place>,
    recent: VecDeque<(Entry, usize)>,
    recent_bytes: usize,
    vote: Option<Vote<VoterId>>,
    /// A sync failed: nobody knows what is on disk, so nothing more may be answered for.
    broken: bool,
}

/// The log of one voter. All calls block.
pub struct RaftLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: Mutex<State>,
}

impl RaftLog {
    /// Opens the log in a directory, creating it where there is none.
    ///
    /// # Errors
    /// When the file system fails, or entries before the tail are damaged.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            dir: dir.to_owned(),
            source,
        };
        disk.create_dir(dir).map_err(io)?;
        let log = Self {
            disk,
            dir: dir.to_owned(),
            state: Mutex::default(),
        };
        let state = log.load()?;
        *log.state.lock() = state;
        Ok(log)
    }

    fn load(&self) -> Result<State, Error> {
        let io = |source| Error::Io {
            dir: self.dir.clone(),
            source,
        };
        let mut state = State::default();
        if let Some(bytes) = self.read_marked(VOTE)? {
            state.vote = Some(wire::decode_vote(bytes).map_err(|error| self.damaged(VOTE, &error))?);
        }
        if let Some(bytes) = self.read_marked(PURGED)? {
            state.purged = Some(wire::decode_log_id(bytes).map_err(|error| self.damaged(PURGED, &error))?);
        }
        let mut firsts: Vec<u64> = self
            .disk
            .list(&self.dir)
            .map_err(io)?
            .iter()
            .filter_map(|entry| entry.name.strip_prefix(SEGMENT_PREFIX)?.parse().ok())
            .collect();
        firsts.sort_unstable();
        for (place, first_index) in firsts.iter().enumerate() {
            let last = place + 1 == firsts.len();
            self.load_segment(&mut state, *first_index, last)?;
        }
        self.drop_purged_segments(&mut state).map_err(io)?;
        Ok(state)
    }

    fn load_segment(&self, state: &mut State, first_index: u64, last: bool) -> Result<(), Error> {
        let io = |source| Error::Io {
            dir: self.dir.clone(),
            source,
        };
        let path = self.segment_path(first_index);
        let damaged = |what: String| Error::Damaged {
            file: path.clone(),
            what,
        };
        let size = self.disk.stat(&path).map_err(io)?.size_bytes;
        let length = usize::try_from(size).map_err(|_| damaged(format!("it has {size} bytes")))?;
        let mut bytes = self.disk.read_at(&path, 0, length).map_err(io)?;
        let mut position = 0;
        let purged_to = state.purged.map_or(0, |id| id.index + 1);
        let mut expected = first_index;
        while !bytes.is_empty() {
            let Some(payload) = next_frame(&mut bytes) else {
                if !last {
                    return Err(damaged(format!(
                        "no whole entry at byte {position}, and more entries follow"
                    )));
                }
                tracing::warn!(file = %path.display(), position, "cutting off an entry that was not written whole");
                self.disk.truncate(&path, position).map_err(io)?;
                self.disk.sync(&path).map_err(io)?;
                break;
            };
            let frame_bytes = FRAME_HEADER_BYTES + payload.len();
            let entry = wire::decode_entry(payload)
                .map_err(|error| damaged(format!("at byte {position}: {error}")))?;
            let next = state.places.back().map_or(purged_to, |place| place.id.index + 1);
            if entry.log_id.index != expected
                || (entry.log_id.index >= purged_to && entry.log_id.index != next)
            {
                return Err(damaged(format!(
                    "entry {} follows entry {next}",
                    entry.log_id.index
                )));
            }
            if entry.log_id.index >= purged_to {
                state.places.push_back(Place {
                    id: entry.log_id,
                    position,
                    frame_bytes,
                });
            }
            expected += 1;
            position += frame_bytes as u64;
        }
        state.segments.push_back(Segment {
            first_index,
            size_bytes: position,
        });
        Ok(())
    }

    /// The last purged and the last entry.
    pub fn ends(&self) -> (Option<LogId<VoterId>>, Option<LogId<VoterId>>) {
        let state = self.state.lock();
        (
            state.purged,
            state.places.back().map(|place| place.id).or(state.purged),
        )
    }

    /// Whether there has never been anything in this log.
    pub fn is_new(&self) -> bool {
        let state = self.state.lock();
        state.places.is_empty() && state.purged.is_none() && state.vote.is_none()
    }

    /// Bytes on disk.
    pub fn size_bytes(&self) -> u64 {
        self.state
            .lock()
            .segments
            .iter()
            .map(|segment| segment.size_bytes)
            .sum()
    }

    /// The vote that was saved last.
    pub fn vote(&self) -> Option<Vote<VoterId>> {
        self.state.lock().vote
    }

    /// Saves a vote; it is on disk when this returns.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save_vote(&self, vote: Vote<VoterId>) -> io::Result<()> {
        let mut state = self.state.lock();
        self.write_marked(&mut state, VOTE, &wire::encode_vote(vote))?;
        state.vote = Some(vote);
        Ok(())
    }

    /// Writes entries behind the last one; they can be read from now on. What is returned must be synced before anyone is
    /// told that they are kept.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidInput` when they do not follow the last entry.
    pub fn append(&self, entries: Vec<Entry>) -> io::Result<Unsynced<'_>> {
        let mut state = self.state.lock();
        usable(&state)?;
        let Some(first) = entries.first().map(|entry| entry.log_id.index) else {
            return Ok(Unsynced {
                log: self,
                path: None,
            });
        };
        let mut next = state.places.back().map(|place| place.id.index + 1);
        next = next.or(state.purged.map(|id| id.index + 1));
        let last = state.segments.back();
        let roll = last.is_none_or(|segment| segment.size_bytes >= SEGMENT_BYTES);
        if roll {
            let path = self.segment_path(first);
            self.disk.create(&path)?;
            self.disk.sync_dir(&self.dir)?;
            state.segments.push_back(Segment {
                first_index: first,
                size_bytes: 0,
            });
        }
        let segment = state
            .segments
            .back()
            .expect("a segment was made where there was none");
        let (path, start) = (self.segment_path(segment.first_index), segment.size_bytes);
        let mut bytes = Vec::new();
        let mut written = Vec::with_capacity(entries.len());
        for entry in entries {
            let index = entry.log_id.index;
            if next.is_some_and(|next| next != index) {
                return Err(invalid(format!(
                    "entry {index} does not follow the last entry of the log"
                )));
            }
            next = Some(index + 1);
            let position = start + bytes.len() as u64;
            let payload = wire::encode_entry(&entry).map_err(|error| invalid(error.to_string()))?;
            put_frame(&mut bytes, &payload);
            let frame_bytes = FRAME_HEADER_BYTES + payload.len();
            written.push((
                entry,
                Place {
                    id: LogId::default(),
                    position,
                    frame_bytes,
                },
            ));
        }
        // What a failed write left behind must never be followed by another one.
        self.disk
            .write_at(&path, start, &bytes)
            .inspect_err(|_| state.broken = true)?;
        if let Some(segment) = state.segments.back_mut() {
            segment.size_bytes = start + bytes.len() as u64;
        }
        for (entry, place) in written {
            state.places.push_back(Place {
                id: entry.log_id,
                ..place
            });
            remember(&mut state, entry, place.frame_bytes);
        }
        Ok(Unsynced {
            log: self,
            path: Some(path),
        })
    }

    /// The entries of a range that are there, from its begin on; fewer than asked for when they are large.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` when an entry is damaged.
    pub fn read(&self, range: impl RangeBounds<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (mut found, mut wanted) = (Vec::new(), Vec::new());
        {
            let state = self.state.lock();
            let Some(base) = state.places.front().map(|place| place.id.index) else {
                return Ok(Vec::new());
            };
            let start = match range.start_bound() {
                Bound::Included(start) => *start,
                Bound::Excluded(start) => start + 1,
                Bound::Unbounded => base,
            };
            let end = match range.end_bound() {
                Bound::Included(end) => end + 1,
                Bound::Excluded(end) => *end,
                Bound::Unbounded => u64::MAX,
            };
            let skip = usize::try_from(start.saturating_sub(base)).unwrap_or(usize::MAX);
            let mut bytes = 0;
            for place in state
                .places
                .iter()
                .skip(skip)
                .take_while(|place| place.id.index < end)
            {
                bytes += place.frame_bytes;
                if bytes > bytes_max && bytes != place.frame_bytes {
                    break;
                }
                wanted.push(*place);
            }
            let recent_from = state
                .recent
                .front()
                .map_or(u64::MAX, |(entry, _)| entry.log_id.index);
            let cold = wanted
                .iter()
                .take_while(|place| place.id.index < recent_from)
                .count();
            let hot_from = wanted.get(cold).map_or(0, |place| place.id.index - recent_from);
            let hot = wanted.len() - cold;
            found.extend(
                state
                    .recent
                    .iter()
                    .skip(hot_from as usize)
                    .take(hot)
                    .map(|(entry, _)| entry.clone()),
            );
            wanted.truncate(cold);
            let firsts: Vec<u64> = state.segments.iter().map(|segment| segment.first_index).collect();
            drop(state);
            self.read_cold(&wanted, &firsts)?
        }
        .into_iter()
        .chain(found)
        .map(Ok)
        .collect()
    }

    fn read_cold(&self, places: &[Place], firsts: &[u64]) -> io::Result<Vec<Entry>> {
        places
            .iter()
            .map(|place| {
                let segment = firsts
                    .partition_point(|first| *first <= place.id.index)
                    .saturating_sub(1);
                let path = self.segment_path(firsts.get(segment).copied().unwrap_or_default());
                let mut bytes = self.disk.read_at(&path, place.position, place.frame_bytes)?;
                let damaged = || {
                    let at = place.position;
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("{}: damage at byte {at}", path.display()),
                    )
                };
                let payload = next_frame(&mut bytes).ok_or_else(damaged)?;
                wire::decode_entry(payload).map_err(|_| damaged())
            })
            .collect()
    }

    /// Removes the entries from `index` on, which another leader replaces; done on disk when this returns.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn truncate(&self, index: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        usable(&state)?;
        let kept = state.places.partition_point(|place| place.id.index < index);
        let Some(first_gone) = state.places.get(kept).copied() else {
            return Ok(());
        };
        // Backwards, so that a crash in between leaves no hole.
        while state
            .segments
            .back()
            .is_some_and(|segment| segment.first_index > first_gone.id.index)
        {
            if let Some(segment) = state.segments.pop_back() {
                self.disk.remove(&self.segment_path(segment.first_index))?;
                self.disk.sync_dir(&self.dir)?;
            }
        }
        if let Some(segment) = state.segments.back_mut() {
            let path = self.segment_path(segment.first_index);
            self.disk.truncate(&path, first_gone.position)?;
            segment.size_bytes = first_gone.position;
            if let Err(error) = self.disk.sync(&path) {
                state.broken = true;
                return Err(error);
            }
        }
        state.places.truncate(kept);
        while state
            .recent
            .back()
            .is_some_and(|(entry, _)| entry.log_id.index >= index)
        {
            if let Some((_, bytes)) = state.recent.pop_back() {
                state.recent_bytes -= bytes;
            }
        }
        Ok(())
    }

    /// Forgets the entries up to `id`, which a snapshot holds. The log may end before it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn purge(&self, id: LogId<VoterId>) -> io::Result<()> {
        let mut state = self.state.lock();
        usable(&state)?;
        if state.purged.is_some_and(|purged| purged.index >= id.index) {
            return Ok(());
        }
        self.write_marked(&mut state, PURGED, &wire::encode_log_id(id))?;
        state.purged = Some(id);
        let gone = state.places.partition_point(|place| place.id.index <= id.index);
        state.places.drain(..gone);
        while state
            .recent
            .front()
            .is_some_and(|(entry, _)| entry.log_id.index <= id.index)
        {
            if let Some((_, bytes)) = state.recent.pop_front() {
                state.recent_bytes -= bytes;
            }
        }
        self.drop_purged_segments(&mut state)
    }

    /// Removes the segments that hold nothing any more. A segment whose entries are all purged goes too when it is the last:
    /// what is appended next need not follow them.
    fn drop_purged_segments(&self, state: &mut State) -> io::Result<()> {
        let first_kept = state.places.front().map(|place| place.id.index);
        while let Some(segment) = state.segments.front() {
            let next_first = state.segments.get(1).map(|next| next.first_index);
            let needed = match (first_kept, next_first) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(kept), Some(next)) => kept < next,
            };
            if needed {
                break;
            }
            self.disk.remove(&self.segment_path(segment.first_index))?;
            state.segments.pop_front();
        }
        self.disk.sync_dir(&self.dir)
    }

    fn segment_path(&self, first_index: u64) -> PathBuf {
        self.dir.join(format!("{SEGMENT_PREFIX}{first_index:020}"))
    }

    fn damaged(&self, file: &str, error: &Malformed) -> Error {
        Error::Damaged {
            file: self.dir.join(file),
            what: error.to_string(),
        }
    }

    /// Reads a small file that was replaced as a whole; `None` where there is none yet.
    fn read_marked(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let path = self.dir.join(name);
        let io = |source| Error::Io {
            dir: self.dir.clone(),
            source,
        };
        let size = match self.disk.stat(&path) {
            Ok(stat) => stat.size_bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut bytes = self.disk.read_at(&path, 0, size as usize).map_err(io)?;
        let damaged = || Error::Damaged {
            file: path.clone(),
            what: "its checksum does not fit".to_owned(),
        };
        next_frame(&mut bytes).map(Some).ok_or_else(damaged)
    }

    fn write_marked(&self, state: &mut State, name: &str, payload: &[u8]) -> io::Result<()> {
        usable(state)?;
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
        put_frame(&mut bytes, payload);
        replace_file(self.disk.as_ref(), &self.dir, name, &bytes).inspect_err(|_| state.broken = true)
    }
}

impl std::fmt::Debug for RaftLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftLog")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Entries that are written, and not kept until [`Unsynced::sync`] has returned.
#[must_use]
pub struct Unsynced<'a> {
    log: &'a RaftLog,
    path: Option<PathBuf>,
}

impl Unsynced<'_> {
    /// Makes the entries survive a loss of power. Readers are not held up meanwhile.
    ///
    /// # Errors
    /// Those of the file system; after one the log takes nothing more.
    pub fn sync(self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        self.log
            .disk
            .sync(path)
            .inspect_err(|_| self.log.state.lock().broken = true)
    }
}

/// Replaces a file as a whole: after a crash either the old one or the new one is there.
///
/// # Errors
/// Those of the file system.
pub fn replace_file(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    disk.create(&new)?;
    disk.write_at(&new, 0, bytes)?;
    disk.sync(&new)?;
    disk.rename(&new, &path)?;
    disk.sync_dir(dir)
}

/// Appends a frame: length, checksum, payload.
pub fn put_frame(bytes: &mut Vec<u8>, payload: &[u8]) {
    bytes.put_u32_le(payload.len() as u32);
    bytes.put_u32_le(crc32c::crc32c(payload));
    bytes.put_slice(payload);
}

/// Takes the next frame; `None` when there is no whole and undamaged one.
pub fn next_frame(bytes: &mut Bytes) -> Option<Bytes> {
    let mut header = bytes.get(..FRAME_HEADER_BYTES)?;
    let (length, checksum) = (header.get_u32_le() as usize, header.get_u32_le());
    let payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES.checked_add(length)?)?;
    // An empty frame would fit a file that a crash left full of zeroes.
    if length == 0 || length > ENTRY_BYTES_MAX || crc32c::crc32c(payload) != checksum {
        return None;
    }
    let payload = bytes.slice(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length);
    bytes.advance(FRAME_HEADER_BYTES + length);
    Some(payload)
}

fn remember(state: &mut State, entry: Entry, bytes: usize) {
    state.recent.push_back((entry, bytes));
    state.recent_bytes += bytes;
    while state.recent_bytes > RECENT_BYTES_MAX {
        let Some((_, bytes)) = state.recent.pop_front() else {
            break;
        };
        state.recent_bytes -= bytes;
    }
}

fn usable(state: &State) -> io::Result<()> {
    if state.broken {
        return Err(io::Error::other(
            "an earlier sync of the metadata log failed: restart the broker on a sound disk",
        ));
    }
    Ok(())
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// How much one reading for another voter may take.
pub const REPLICATION_BYTES_MAX: usize = READ_BYTES_MAX;

#[cfg(test)]
mod tests {
    use flotilla_protocol::{BrokerId, Uuid};
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;
    use crate::coordination::wire::Decided;
    use crate::log::RealDisk;

    fn id(term: u64, index: u64) -> LogId<VoterId> {
        let voter = VoterId::new(BrokerId(1), Uuid([1; 16]));
        LogId::new(CommittedLeaderId::new(term, voter), index)
    }

    fn entry(term: u64, index: u64, bytes: usize) -> Entry {
        let payload = EntryPayload::Normal(Decided(vec![index as u8; bytes].into()));
        Entry {
            log_id: id(term, index),
            payload,
        }
    }

    fn entries(term: u64, range: std::ops::Range<u64>) -> Vec<Entry> {
        range.map(|index| entry(term, index, 100)).collect()
    }

    fn open(dir: &Path) -> RaftLog {
        RaftLog::open(Arc::new(RealDisk::new(8)), dir).unwrap()
    }

    fn all(log: &RaftLog) -> Vec<Entry> {
        log.read(.., usize::MAX).unwrap()
    }

    #[test]
    fn entries_vote_and_purge_mark_are_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        assert!(log.is_new());
        log.append(entries(1, 0..10)).unwrap().sync().unwrap();
        log.save_vote(Vote::new(3, VoterId::default())).unwrap();
        log.purge(id(1, 3)).unwrap();
        let log = open(dir.path());
        assert_eq!(all(&log), entries(1, 4..10));
        assert_eq!(log.ends(), (Some(id(1, 3)), Some(id(1, 9))));
        assert_eq!(log.vote(), Some(Vote::new(3, VoterId::default())));
        assert!(!log.is_new());
        assert_eq!(log.read(5..7, usize::MAX).unwrap(), entries(1, 5..7));
        assert_eq!(log.read(5..9, 1).unwrap(), entries(1, 5..6));
    }

    #[test]
    fn a_torn_tail_is_cut_and_the_log_goes_on_after_it() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).append(entries(1, 0..5)).unwrap().sync().unwrap();
        let path = dir.path().join(format!("log-{:020}", 0));
        let whole = std::fs::read(&path).unwrap();
        for cut in [1, 50, whole.len() / 5 - 1] {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let log = open(dir.path());
            assert_eq!(all(&log), entries(1, 0..4));
            log.append(entries(2, 4..6)).unwrap().sync().unwrap();
            drop(log);
            let expected: Vec<Entry> = entries(1, 0..4).into_iter().chain(entries(2, 4..6)).collect();
            assert_eq!(all(&open(dir.path())), expected);
        }
        let mut zeroes = whole.clone();
        zeroes.extend([0; 4096]);
        std::fs::write(&path, &zeroes).unwrap();
        assert_eq!(all(&open(dir.path())), entries(1, 0..5));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn damage_before_the_tail_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        log.append(vec![entry(1, 0, SEGMENT_BYTES as usize)])
            .unwrap()
            .sync()
            .unwrap();
        log.append(entries(1, 1..3)).unwrap().sync().unwrap();
        let path = dir.path().join(format!("log-{:020}", 0));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = RaftLog::open(Arc::new(RealDisk::new(8)), dir.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("is damaged: no whole entry at byte 0"), "{error}");
        std::fs::write(dir.path().join("vote"), b"not a vote").unwrap();
        let error = RaftLog::open(Arc::new(RealDisk::new(8)), dir.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("vote is damaged"), "{error}");
    }

    #[test]
    fn conflicting_entries_are_replaced_across_segments() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        for index in 0..4 {
            log.append(vec![entry(1, index, SEGMENT_BYTES as usize)])
                .unwrap()
                .sync()
                .unwrap();
        }
        log.truncate(2).unwrap();
        assert_eq!(log.ends(), (None, Some(id(1, 1))));
        assert!(log.append(entries(2, 3..4)).is_err(), "a hole");
        log.append(entries(2, 2..4)).unwrap().sync().unwrap();
        let ids = |log: &RaftLog| all(log).iter().map(|entry| entry.log_id).collect::<Vec<_>>();
        assert_eq!(ids(&log), [id(1, 0), id(1, 1), id(2, 2), id(2, 3)]);
        assert_eq!(ids(&open(dir.path())), [id(1, 0), id(1, 1), id(2, 2), id(2, 3)]);
    }

    #[test]
    fn purging_beyond_the_end_begins_a_new_log_behind_a_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        log.append(entries(1, 0..5)).unwrap().sync().unwrap();
        log.purge(id(4, 100)).unwrap();
        assert_eq!(
            (log.ends(), log.size_bytes()),
            ((Some(id(4, 100)), Some(id(4, 100))), 0)
        );
        log.append(entries(4, 101..103)).unwrap().sync().unwrap();
        assert_eq!(all(&open(dir.path())), entries(4, 101..103));
    }
}
