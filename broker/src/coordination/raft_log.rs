//! Raft's log, vote and purge mark on disk. Entries lie in segment files, each framed with its length and a CRC-32C; what
//! was appended is synced before it is answered for, and a tail that a crash tore is cut when the log is opened.

mod load;

use std::collections::VecDeque;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::{LogId, Vote};
use parking_lot::Mutex;

use super::frame::{FRAME_HEADER_BYTES, next_frame, put_frame, replace_file};
use super::voter::VoterId;
use super::wire::{self, Entry};
use crate::log::Disk;

/// A segment that has grown to this is followed by a new one.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Entries of at most this size together are kept in memory, so that replication seldom reads the disk.
const RECENT_BYTES_MAX: usize = 256 << 10;
/// One reading gives no more than this, except for a single larger entry.
const READ_BYTES_MAX: usize = 1 << 20;

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
    segment_bytes: u64,
    state: Mutex<State>,
}

impl RaftLog {
    /// Opens the log in a directory, creating it where there is none.
    ///
    /// # Errors
    /// When the file system fails, or entries before the tail are damaged.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, Error> {
        Self::with_segments(disk, dir, SEGMENT_BYTES)
    }

    fn with_segments(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: u64) -> Result<Self, Error> {
        let io = |source| Error::Io {
            dir: dir.to_owned(),
            source,
        };
        disk.create_dir(dir).map_err(io)?;
        // Without its name the directory would be lost with all that is synced in it.
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            disk.sync_dir(parent).map_err(io)?;
        }
        let log = Self {
            disk,
            dir: dir.to_owned(),
            segment_bytes,
            state: Mutex::default(),
        };
        let state = log.load()?;
        *log.state.lock() = state;
        Ok(log)
    }

    /// The last purged and the last entry.
    pub fn ends(&self) -> (Option<LogId<VoterId>>, Option<LogId<VoterId>>) {
        let state = self.state.lock();
        (
            state.purged,
            state.places.back().map(|place| place.id).or(state.purged),
        )
    }

    /// The id of the entry at an index. None: it is not there, or purged before the last one that was.
    pub fn id_at(&self, index: u64) -> Option<LogId<VoterId>> {
        let state = self.state.lock();
        if state.purged.is_some_and(|purged| purged.index == index) {
            return state.purged;
        }
        let first = state.places.front()?.id.index;
        let ahead = usize::try_from(index.checked_sub(first)?).ok()?;
        Some(state.places.get(ahead)?.id)
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
        let roll = last.is_none_or(|segment| segment.size_bytes >= self.segment_bytes);
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
mod tests;
