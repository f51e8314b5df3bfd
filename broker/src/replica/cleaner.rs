//! The threads that compact logs: which log is next, how fast, and what becomes of one that cannot be compacted.
//!
//! Leader and followers compact by themselves. Of all logs that are due, the one is next whose records have waited longest
//! beyond `max.compaction.lag.ms`, else the one with the largest part that is new (`min.cleanable.dirty.ratio`). The work is
//! done on threads that may block; a partition's lock is held only to list segments and to swap them.

use super::PartitionKey;
use super::hosted::Hosted;
use super::replicas::Replicas;
use super::throttle::Throttle;
use super::volume::Health;
use crate::log::{self, Cleanable, CompactionLimits};
use flotilla_control::settings::BrokerSettings;
use futures::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::{Condvar, Mutex};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// How often `log.cleaner.threads` is looked at.
const THREADS_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest rest where nothing is due, whatever `log.cleaner.backoff.ms` says: looking costs something, too.
const REST_MIN: Duration = Duration::from_millis(50);
/// After so long a log that could not be compacted is tried again, or as soon as it was mended from another replica.
const DAMAGED_RETRY_MS: i64 = 60 * 60 * 1000;
/// After so long a log is tried again for which there was no room on its volume.
const ROOM_RETRY_MS: i64 = 60 * 1000;

/// What the cleaners of a broker share.
#[derive(Default)]
pub(super) struct Cleaner {
    state: Mutex<State>,
    wake: Condvar,
    throttle: Throttle,
    numbers: Numbers,
}

#[derive(Default)]
struct State {
    closing: bool,
    /// Being compacted.
    busy: BTreeSet<PartitionKey>,
    /// Not to be compacted: being moved to another volume.
    paused: BTreeSet<PartitionKey>,
    held: BTreeMap<PartitionKey, Held>,
}

/// A log that is left alone for a while.
#[derive(Clone, Copy)]
struct Held {
    until_ms: i64,
    size_bytes: u64,
}

/// What the last look at all logs found.
#[derive(Default)]
struct Numbers {
    dirty_permille: AtomicU64,
    overdue_ms: AtomicI64,
}

/// What the cleaners find at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CleanerCensus {
    /// The largest part of a log that is new, from 0 to 1.
    pub dirty_ratio_max: f64,
    /// For how long records have waited beyond `max.compaction.lag.ms`, in milliseconds.
    pub overdue_ms_max: i64,
    /// Logs that cannot be compacted: damaged, or without room on their volume.
    pub uncleanable_partitions: usize,
    /// Their bytes.
    pub uncleanable_bytes: u64,
}

/// Why a log was not compacted.
#[derive(Debug, thiserror::Error)]
enum CleanError {
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error(
        "compacting needs {needed_bytes} bytes beside the old ones, and {free_bytes} are free, of which {kept_bytes} stay free"
    )]
    NoRoom {
        needed_bytes: u64,
        free_bytes: u64,
        kept_bytes: u64,
    },
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl Cleaner {
    /// What was found when the logs were looked at last.
    pub(super) fn census(&self) -> CleanerCensus {
        let state = self.state.lock();
        CleanerCensus {
            dirty_ratio_max: self.numbers.dirty_permille.load(Ordering::Relaxed) as f64 / 1_000.0,
            overdue_ms_max: self.numbers.overdue_ms.load(Ordering::Relaxed),
            uncleanable_partitions: state.held.len(),
            uncleanable_bytes: state.held.values().map(|held| held.size_bytes).sum(),
        }
    }

    /// No compaction goes on from here, and none that is under way does.
    pub(super) fn stop(&self) {
        self.state.lock().closing = true;
        self.wake.notify_all();
    }

    /// Blocks until the compactions have ended that were under way. They end at the next batch.
    pub(super) fn wait_stopped(&self) {
        let mut state = self.state.lock();
        while !state.busy.is_empty() {
            self.wake.wait(&mut state);
        }
    }

    /// A log was mended: it need not be left alone any longer.
    pub(super) fn release(&self, key: PartitionKey) {
        self.state.lock().held.remove(&key);
    }

    /// The log is not compacted from here on. False: it is being compacted at the moment.
    pub(super) fn pause(&self, key: PartitionKey) -> bool {
        let mut state = self.state.lock();
        state.paused.insert(key);
        !state.busy.contains(&key)
    }

    /// The log may be compacted again.
    pub(super) fn resume(&self, key: PartitionKey) {
        self.state.lock().paused.remove(&key);
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().closing
    }

    /// Waits until so many bytes may be read or written under `log.cleaner.io.max.bytes.per.second`. False: it was stopped.
    fn spend(&self, replicas: &Replicas, bytes: u64) -> bool {
        loop {
            let rate = replicas.settings().log_cleaner_io_max_bytes_per_second;
            // What is more than any disk does is no limit; so is what does not fit.
            let room = self.throttle.room(rate as i64, replicas.inner.shared.now_ms());
            let mut state = self.state.lock();
            if state.closing {
                return false;
            }
            if room.bytes > 0 {
                drop(state);
                self.throttle.moved(usize::try_from(bytes).unwrap_or(usize::MAX));
                return true;
            }
            let again = Duration::from_millis(u64::try_from(room.again_in_ms).unwrap_or(0).max(1));
            self.wake.wait_for(&mut state, again);
        }
    }
}

/// Keeps a partition from being compacted twice at a time.
struct Busy<'a>(&'a Cleaner, PartitionKey);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state.lock().busy.remove(&self.1);
        self.0.wake.notify_all();
    }
}

/// As many threads as the settings ask for, until it is aborted. They end with it: none holds on to the replicas behind its back.
pub(super) async fn run(replicas: Arc<Replicas>) {
    let mut threads = FuturesUnordered::new();
    loop {
        while threads.len() < wanted(&replicas.settings()) {
            threads.push(work(replicas.clone(), threads.len()));
        }
        tokio::select! {
            () = tokio::time::sleep(THREADS_INTERVAL) => {}
            // They have no end of their own.
            Some(()) = threads.next() => {}
        }
    }
}

fn wanted(settings: &BrokerSettings) -> usize {
    if settings.log_cleaner_enable {
        usize::try_from(settings.log_cleaner_threads).unwrap_or(0)
    } else {
        0
    }
}

/// One thread. It rests while fewer are asked for.
async fn work(replicas: Arc<Replicas>, place: usize) {
    loop {
        let settings = replicas.settings();
        if place >= wanted(&settings) {
            tokio::time::sleep(THREADS_INTERVAL).await;
            continue;
        }
        let of_task = replicas.clone();
        let done = tokio::task::spawn_blocking(move || of_task.clean_next()).await;
        if let Err(error) = &done {
            tracing::error!("a compaction ended in a fault of ours: {error}");
            replicas.metrics().cleaner_failures.add(1);
        }
        if !done.unwrap_or(false) {
            let backoff_ms = u64::try_from(settings.log_cleaner_backoff_ms).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(backoff_ms).max(REST_MIN)).await;
        }
    }
}

impl Replicas {
    /// How the compaction of logs stands.
    #[must_use]
    pub fn cleaner_census(&self) -> CleanerCensus {
        self.inner.cleaner.census()
    }

    /// Compacts the log that needs it most. False: none does. Blocks.
    pub(super) fn clean_next(&self) -> bool {
        let Some((hosted, cleanable, _busy)) = self.pick() else {
            return false;
        };
        let (topic, partition) = (hosted.topic().clone(), hosted.key().partition.0);
        match self.clean(&hosted, &cleanable) {
            Ok(()) => {
                self.metrics().cleanings.add(1);
                true
            }
            // The log moved on, or the broker stops: nothing is wrong with it, and there is no hurry.
            Err(CleanError::Log(log::Error::Removed { .. } | log::Error::Interrupted)) => false,
            Err(error) => {
                self.metrics().cleaner_failures.add(1);
                if let CleanError::Log(error) = &error {
                    hosted.suspect(error);
                }
                let retry_ms = match &error {
                    CleanError::Log(error) => match error.severity() {
                        log::Severity::Log => DAMAGED_RETRY_MS,
                        log::Severity::VolumeFull | log::Severity::VolumeFailed => {
                            hosted.volume().note(error);
                            ROOM_RETRY_MS
                        }
                    },
                    CleanError::NoRoom { .. } | CleanError::NoRandomness => ROOM_RETRY_MS,
                };
                tracing::error!(
                    %topic,
                    partition,
                    "the log cannot be compacted, and grows until it can: {error}. It is tried again in {} minutes",
                    retry_ms / 60_000
                );
                self.hold(&hosted, retry_ms);
                true
            }
        }
    }

    fn hold(&self, hosted: &Hosted, ms: i64) {
        let size_bytes = hosted.here().map_or(0, |state| state.log.size_bytes());
        let held = Held {
            until_ms: self.inner.shared.now_ms().saturating_add(ms),
            size_bytes,
        };
        self.inner.cleaner.state.lock().held.insert(hosted.key(), held);
    }

    /// Looks at all logs, and takes the one that needs it most.
    fn pick(&self) -> Option<(Arc<Hosted>, Cleanable, Busy<'_>)> {
        let now_ms = self.inner.shared.now_ms();
        let cleaner = &self.inner.cleaner;
        let all = self.all();
        {
            let mut state = cleaner.state.lock();
            let known: BTreeSet<PartitionKey> = all.iter().map(|hosted| hosted.key()).collect();
            state
                .held
                .retain(|key, held| held.until_ms > now_ms && known.contains(key));
        }
        let mut found = Vec::new();
        for hosted in all {
            if cleaner.is_stopped() {
                return None;
            }
            if let Some(cleanable) = hosted.cleanable(now_ms) {
                found.push((hosted, cleanable));
            }
        }
        let dirty_max = found
            .iter()
            .map(|(_, cleanable)| cleanable.dirty_ratio())
            .fold(0.0, f64::max);
        let overdue_max = found
            .iter()
            .map(|(_, cleanable)| cleanable.overdue_ms)
            .max()
            .unwrap_or(0);
        cleaner
            .numbers
            .dirty_permille
            .store((dirty_max * 1_000.0) as u64, Ordering::Relaxed);
        cleaner.numbers.overdue_ms.store(overdue_max, Ordering::Relaxed);
        found.retain(|(hosted, cleanable)| cleanable.is_due(hosted.config().min_cleanable_dirty_ratio));
        found.sort_by(|(_, a), (_, b)| {
            let by_ratio = || a.dirty_ratio().total_cmp(&b.dirty_ratio());
            a.overdue_ms.cmp(&b.overdue_ms).then_with(by_ratio)
        });
        let mut state = cleaner.state.lock();
        if state.closing {
            return None;
        }
        while let Some((hosted, cleanable)) = found.pop() {
            let key = hosted.key();
            let is_free = !state.held.contains_key(&key) && !state.paused.contains(&key);
            if is_free && state.busy.insert(key) {
                drop(state);
                return Some((hosted, cleanable, Busy(cleaner, key)));
            }
        }
        None
    }

    fn clean(&self, hosted: &Arc<Hosted>, cleanable: &Cleanable) -> Result<(), CleanError> {
        let mut pace = |bytes: u64| {
            self.metrics().cleaner_bytes.add(bytes);
            self.inner.cleaner.spend(self, bytes)
        };
        let mut salt = [0; 16];
        SystemRandom::new()
            .fill(&mut salt)
            .map_err(|_| CleanError::NoRandomness)?;
        let now_ms = self.inner.shared.now_ms();
        let limits = limits(&self.settings());
        let compaction = hosted.with_log(|log| Ok(log.begin_compaction(cleanable, limits, salt, now_ms)))?;
        let mut rewrite = compaction.read_keys(&mut pace)?;
        let (mut before_bytes, mut saved_bytes) = (0, 0);
        while let Some(needed_bytes) = rewrite.next_bytes() {
            hosted.check_room(needed_bytes)?;
            before_bytes += needed_bytes;
            if let Some(cleaned) = rewrite.next(&mut pace)? {
                saved_bytes += hosted.with_log(|log| log.swap(cleaned))?;
            }
        }
        let note = hosted.with_log(|log| log.mark_cleaned(rewrite.end()))?;
        note.sync()?;
        self.metrics().cleaned_bytes.add(before_bytes);
        self.metrics().cleaner_saved_bytes.add(saved_bytes);
        tracing::info!(
            topic = %hosted.topic(),
            partition = hosted.key().partition.0,
            from = cleanable.first_dirty.0,
            upto = rewrite.end().0,
            keys = rewrite.keys(),
            bytes = before_bytes,
            saved_bytes,
            "compacted"
        );
        Ok(())
    }
}

/// What each of the threads may take.
fn limits(settings: &BrokerSettings) -> CompactionLimits {
    let threads = settings.log_cleaner_threads.max(1);
    let share = |bytes: i64| usize::try_from(bytes / i64::from(threads)).unwrap_or(0);
    CompactionLimits {
        keys_bytes: share(settings.log_cleaner_dedupe_buffer_size),
        keys_load_factor: settings.log_cleaner_io_buffer_load_factor,
        buffer_bytes: share(i64::from(settings.log_cleaner_io_buffer_size)) / 2,
    }
}

impl Hosted {
    /// What of the log could be compacted; nothing where the topic does not ask for it. Ends the active segment where that is
    /// overdue.
    fn cleanable(&self, now_ms: i64) -> Option<Cleanable> {
        if !self.config().cleanup_policy.compact || self.volume().health() == Health::Offline {
            return None;
        }
        let survey = {
            let mut state = self.here()?;
            if self.volume().health() == Health::Online
                && let Err(error) = state.log.roll_overdue(now_ms)
            {
                self.disk_failed(&error);
                return None;
            }
            let stable = state.log.producers().last_stable_offset(state.high_watermark);
            state.log.survey(stable)
        };
        match survey.cleanable(now_ms) {
            Ok(cleanable) => Some(cleanable),
            Err(log::Error::Removed { .. }) => None,
            Err(error) => {
                self.disk_failed(&error);
                None
            }
        }
    }

    /// The log, as long as it is to be compacted.
    fn with_log<T>(
        &self,
        work: impl FnOnce(&mut log::Log) -> Result<T, log::Error>,
    ) -> Result<T, log::Error> {
        let mut state = self.here().ok_or(log::Error::Interrupted)?;
        if !self.config().cleanup_policy.compact || self.volume().health() == Health::Offline {
            return Err(log::Error::Interrupted);
        }
        work(&mut state.log)
    }

    /// Whether a segment can be written beside those that it replaces. Half of what the volume keeps free is for this: a full
    /// volume may become less so.
    fn check_room(&self, needed_bytes: u64) -> Result<(), CleanError> {
        let volume = self.volume();
        let files = volume.files();
        let kept_bytes = files.reserve_bytes() / 2;
        let space = files
            .disk()
            .space(files.path())
            .map_err(|source| log::Error::Io {
                action: "look for room in",
                path: files.path().to_owned(),
                source,
            })?;
        let free_bytes = space.free_bytes;
        if needed_bytes.saturating_add(kept_bytes) > free_bytes {
            return Err(CleanError::NoRoom {
                needed_bytes,
                free_bytes,
                kept_bytes,
            });
        }
        Ok(())
    }
}
