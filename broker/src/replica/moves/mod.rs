//! Moving replicas from one volume of this broker to another (KIP-113), while they are led or follow, are written and read.
//!
//! A copy grows on the other volume from what the log has, committed or not, and follows it where it is cut or begins later. Once it
//! has all of it, it takes the log's place while nobody writes: see [`crate::log`]. Meanwhile the log is not compacted: a tombstone
//! might go that the copy has not met yet, and what it deletes would be back. A copy that a stop has interrupted is begun anew.

mod copying;
mod found;

use super::hosted::Hosted;
use super::replicas::Replicas;
use super::throttle::Throttle;
use super::volume::{Health, Volume};
use super::{PartitionKey, census::LogDirPartition};
use crate::log::{Log, Storage, copy_name};
use flotilla_protocol::{Offset, PartitionIndex, Uuid};
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

pub(super) use found::settle_doubles;

/// Kafka's setting for how many copies grow at a time; by default as many as there are volumes.
const THREADS: &str = "num.replica.alter.log.dirs.threads";

/// Why a replica is not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// With the name of a copy, the directory would be longer than file systems allow.
    #[error("the name of the topic is too long for its replicas to be moved between volumes")]
    NameTooLong,
    /// This broker has no such directory.
    #[error("{path} is not one of this broker's data directories")]
    NoSuchDir {
        /// What was asked for.
        path: String,
    },
    /// One of the two volumes has failed.
    #[error("{path} is offline", path = path.display())]
    Offline {
        /// That volume.
        path: PathBuf,
    },
    /// It is not stored here. If it comes, it is stored in that directory.
    #[error("the partition is not stored here: if it comes, it is put into that directory")]
    NotHosted,
    /// The copy that an earlier move has begun is still being removed.
    #[error("the copy of an earlier move is still being removed: try again")]
    StillRemoving,
    /// The copy cannot be begun.
    #[error("the replica cannot be moved: {0}")]
    Disk(#[from] crate::log::Error),
}

/// All moves of a broker.
#[derive(Default)]
pub(super) struct Moves {
    state: Mutex<State>,
    /// Something is to be done.
    due: Notify,
    /// Something was done.
    done: Condvar,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`.
    throttle: Throttle,
}

/// No more of each than there are partitions in the metadata.
#[derive(Default)]
struct State {
    closing: bool,
    /// What is to be moved, by partition: one move of each at a time.
    moves: BTreeMap<PartitionKey, Arc<Move>>,
    /// Given up: their copies are to be removed.
    given_up: Vec<Arc<Move>>,
    /// A thread works on it.
    running: BTreeSet<PartitionKey>,
    /// Where replicas are to be stored once they come.
    wishes: BTreeMap<PartitionKey, Arc<Volume>>,
}

/// One replica on its way.
pub(super) struct Move {
    hosted: Arc<Hosted>,
    target: Arc<Volume>,
    /// Where the copy grows.
    dir: PathBuf,
    /// None: it has taken its log's place, or was removed.
    copy: Mutex<Option<Log>>,
    progress: Mutex<Progress>,
    is_given_up: AtomicBool,
    not_before_ms: AtomicI64,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    log_end: Offset,
    size_bytes: u64,
}

/// What a thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Looks again.
    Now,
    /// Rests for so many milliseconds, or until something changes.
    After(i64),
    /// Rests until something changes.
    Idle,
}

impl Moves {
    /// Nothing is copied any further; waits for what is being done. What is not whole yet is begun anew after the next start.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        while !state.running.is_empty() {
            self.done.wait(&mut state);
        }
    }

    /// The same, without waiting.
    pub(super) fn end(&self) {
        self.state.lock().closing = true;
    }

    fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// Where a replica that comes is to be stored, if somebody said so.
    pub(super) fn wish(&self, key: PartitionKey) -> Option<Arc<Volume>> {
        self.state.lock().wishes.get(&key).cloned()
    }

    /// A replica came, or its partition is gone.
    pub(super) fn forget_wish(&self, key: PartitionKey) {
        self.state.lock().wishes.remove(&key);
    }

    /// A replica is not moved any more.
    pub(super) fn give_up(&self, key: PartitionKey) {
        let mut state = self.state.lock();
        if let Some(given_up) = state.moves.remove(&key) {
            given_up.is_given_up.store(true, Ordering::SeqCst);
            given_up.not_before_ms.store(i64::MIN, Ordering::Relaxed);
            state.given_up.push(given_up);
            self.due.notify_waiters();
        }
    }

    fn begin(&self, hosted: &Arc<Hosted>, target: &Arc<Volume>, dir: PathBuf, copy: Log) {
        let progress = Progress::of(&copy);
        let begun = Move {
            hosted: hosted.clone(),
            target: target.clone(),
            dir,
            copy: Mutex::new(Some(copy)),
            progress: Mutex::new(progress),
            is_given_up: AtomicBool::new(false),
            not_before_ms: AtomicI64::new(i64::MIN),
        };
        self.state.lock().moves.insert(hosted.key(), Arc::new(begun));
        self.due.notify_waiters();
    }

    fn target_of(&self, key: PartitionKey) -> Option<Arc<Volume>> {
        let state = self.state.lock();
        state.moves.get(&key).map(|under_way| under_way.target.clone())
    }

    /// Takes something to do. An error: when there will be something.
    fn take(&self, now_ms: i64) -> Result<Taken<'_>, Next> {
        let mut state = self.state.lock();
        if state.closing {
            return Err(Next::Idle);
        }
        let is_free = |key: &PartitionKey| !state.running.contains(key);
        let given_up = |key: &PartitionKey| state.given_up.iter().any(|other| other.hosted.key() == *key);
        let place = state.given_up.iter().position(|over| is_free(&over.hosted.key()));
        let due = |candidate: &Move| candidate.not_before_ms.load(Ordering::Relaxed);
        let waiting = state
            .moves
            .iter()
            .filter(|(key, _)| is_free(key) && !given_up(key))
            .min_by_key(|(_, candidate)| due(candidate));
        let taken = match (place, waiting) {
            (Some(place), _) => state.given_up.swap_remove(place),
            (None, Some((_, first))) if due(first) <= now_ms => first.clone(),
            (None, Some((_, first))) => return Err(Next::After(due(first).saturating_sub(now_ms))),
            (None, None) => return Err(Next::Idle),
        };
        state.running.insert(taken.hosted.key());
        Ok(Taken {
            moves: self,
            taken,
            is_over: false,
        })
    }

    fn is_giving_up(&self, key: PartitionKey) -> bool {
        let state = self.state.lock();
        state.given_up.iter().any(|over| over.hosted.key() == key)
    }

    fn is_moving(&self, key: PartitionKey) -> bool {
        self.state.lock().moves.contains_key(&key)
    }
}

/// Keeps a move from being worked on twice at a time.
struct Taken<'a> {
    moves: &'a Moves,
    taken: Arc<Move>,
    /// It is not to be taken again.
    is_over: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.moves.state.lock();
        let key = self.taken.hosted.key();
        state.running.remove(&key);
        let is_this = |known: &Arc<Move>| Arc::ptr_eq(known, &self.taken);
        if self.is_over && state.moves.get(&key).is_some_and(is_this) {
            state.moves.remove(&key);
        }
        self.moves.done.notify_all();
        self.moves.due.notify_waiters();
    }
}

impl Progress {
    fn of(copy: &Log) -> Self {
        Self {
            log_end: copy.log_end(),
            size_bytes: copy.size_bytes(),
        }
    }
}

impl Replicas {
    /// Moves the replica of a partition to another data directory of this broker, or stops such a move where it is stored there
    /// already. Returns once the copy is begun; it grows in the background. Blocks.
    ///
    /// # Errors
    /// Each of [`MoveError`].
    pub fn alter_log_dir(&self, topic: &str, key: PartitionKey, path: &str) -> Result<(), MoveError> {
        let unique = Uuid(*uuid::Uuid::new_v4().as_bytes());
        let (name, target) = self.target(topic, key.partition, path, unique)?;
        // No replica comes or goes meanwhile.
        let _applied = self.inner.applied.lock();
        let moves = &self.inner.moves;
        let Some(hosted) = self.hosted(key) else {
            moves.state.lock().wishes.insert(key, target.clone());
            return Err(MoveError::NotHosted);
        };
        // No copy takes its log's place meanwhile.
        let mut state = hosted.here().ok_or(MoveError::NotHosted)?;
        let source = hosted.volume();
        check_online(&source)?;
        if moves
            .target_of(key)
            .is_some_and(|under_way| Arc::ptr_eq(&under_way, target))
        {
            return Ok(());
        }
        if moves.is_moving(key) && moves.is_giving_up(key) {
            return Err(MoveError::StillRemoving);
        }
        moves.give_up(key);
        if Arc::ptr_eq(&source, target) {
            return Ok(());
        }
        check_free(target, topic, key.partition)?;
        let dir = target.files().path().join(name);
        let storage = self.storage_on(target);
        let copy = state
            .log
            .begin_copy(&storage, &dir, self.inner.shared.now_ms())
            .inspect_err(|error| {
                target.note(error);
            })?;
        state.lowest_end = Offset(i64::MAX);
        moves.begin(&hosted, target, dir, copy);
        tracing::info!(topic, partition = key.partition.0, from = %source.dir().display(), to = %target.dir().display(),
            "begins to move the replica to another volume");
        Ok(())
    }

    /// Whether a replica of that partition could be moved to that directory, if there was one.
    ///
    /// # Errors
    /// As [`Replicas::alter_log_dir`].
    pub fn check_log_dir(&self, topic: &str, partition: PartitionIndex, path: &str) -> Result<(), MoveError> {
        self.target(topic, partition, path, Uuid::default()).map(drop)
    }

    /// What the copy would be called, and on which volume it would grow.
    fn target(
        &self,
        topic: &str,
        partition: PartitionIndex,
        path: &str,
        unique: Uuid,
    ) -> Result<(String, &Arc<Volume>), MoveError> {
        let name = copy_name(topic, partition, unique).ok_or(MoveError::NameTooLong)?;
        let target = self
            .volumes()
            .iter()
            .find(|volume| volume.dir().to_str() == Some(path));
        let target = target.ok_or_else(|| MoveError::NoSuchDir {
            path: path.to_owned(),
        })?;
        check_online(target)?;
        Ok((name, target))
    }

    fn storage_on(&self, volume: &Volume) -> Storage {
        Storage {
            disk: volume.files().disk().clone(),
            tail: self.inner.tail.clone(),
        }
    }

    /// Copies on a volume that are to become replicas, with how far they are behind the logs that they are made from.
    pub(super) fn copies_on(&self, dir: &Path) -> Vec<LogDirPartition> {
        let moves: Vec<Arc<Move>> = self.inner.moves.state.lock().moves.values().cloned().collect();
        let on_it = moves.iter().filter(|under_way| under_way.target.dir() == dir);
        on_it
            .filter_map(|under_way| {
                let log_end = under_way.hosted.here()?.log.log_end();
                let progress = *under_way.progress.lock();
                Some(LogDirPartition {
                    topic: under_way.hosted.topic().clone(),
                    key: under_way.hosted.key(),
                    size_bytes: progress.size_bytes,
                    lag: log_end.0 - progress.log_end.0,
                    is_copy: true,
                })
            })
            .collect()
    }

    fn move_threads(&self) -> usize {
        let set = self.inner.static_settings.get(THREADS);
        let set = set.and_then(|threads| threads.trim().parse().ok());
        set.filter(|threads| *threads > 0).unwrap_or(self.volumes().len())
    }
}

fn check_online(volume: &Volume) -> Result<(), MoveError> {
    match volume.health() {
        Health::Online | Health::Full => Ok(()),
        Health::Offline => Err(MoveError::Offline {
            path: volume.dir().to_owned(),
        }),
    }
}

/// Nothing else may lie where the replica is going to.
fn check_free(target: &Volume, topic: &str, partition: PartitionIndex) -> Result<(), MoveError> {
    let path = target.files().partition_dir(topic, partition);
    match target.files().disk().list(&path) {
        Ok(_) => Err(crate::log::Error::InTheWay { path }.into()),
        Err(_) => Ok(()),
    }
}

/// Moves what is to be moved until it is aborted.
pub(super) async fn run(replicas: Arc<Replicas>) {
    let threads = (0..replicas.move_threads()).map(|_| work(replicas.clone()));
    futures::future::join_all(threads).await;
}

async fn work(replicas: Arc<Replicas>) {
    loop {
        let mut due = std::pin::pin!(replicas.inner.moves.due.notified());
        // What becomes due from here on is not missed.
        due.as_mut().enable();
        let of_task = replicas.clone();
        let next = tokio::task::spawn_blocking(move || of_task.move_next()).await;
        match next {
            Ok(Next::Now) => {}
            Ok(Next::After(ms)) => {
                let rest = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
                let _ = tokio::time::timeout(rest, due).await;
            }
            Ok(Next::Idle) => due.await,
            Err(error) => {
                tracing::error!("moving a replica ended in a fault of ours: {error}");
                due.await;
            }
        }
    }
}
