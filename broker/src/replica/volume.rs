//! One data directory: its group commit.

use super::hosted::Hosted;
use super::metrics::Metrics;
use crate::log;
use parking_lot::{Condvar, Mutex};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// What a volume can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// All.
    Online,
    /// It is nearly full: nothing is appended, all is read.
    Full,
    /// A write or a sync failed: what it holds cannot be trusted until the broker starts again.
    Offline,
}

/// A volume.
pub struct Volume {
    volume: log::Volume,
    queue: Mutex<Queue>,
    wake: Condvar,
    failed: watch::Sender<Option<String>>,
}

/// Those whose appends wait for a sync. No longer than there are partitions: each stands in it once.
#[derive(Default)]
struct Queue {
    dirty: Vec<Arc<Hosted>>,
    done: Vec<oneshot::Sender<()>>,
    closing: bool,
}

/// What one group commit syncs, and who waits for it.
pub(super) struct Commit {
    pub dirty: Vec<Arc<Hosted>>,
    pub done: Vec<oneshot::Sender<()>>,
}

impl Queue {
    fn take(&mut self) -> Commit {
        Commit {
            dirty: std::mem::take(&mut self.dirty),
            done: std::mem::take(&mut self.done),
        }
    }
}

impl Volume {
    /// Commits in groups what is appended on `volume`. `failed` is told when it goes offline.
    #[must_use]
    pub fn new(volume: log::Volume, failed: watch::Sender<Option<String>>) -> Arc<Self> {
        Arc::new(Self {
            volume,
            queue: Mutex::default(),
            wake: Condvar::new(),
            failed,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.volume.path()
    }

    /// What lies on it, and how full it is.
    #[must_use]
    pub fn files(&self) -> &log::Volume {
        &self.volume
    }

    /// What it can do.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.volume.state() {
            log::State::Writable => Health::Online,
            log::State::Full { .. } => Health::Full,
            log::State::Failed { .. } => Health::Offline,
        }
    }

    /// Takes note of an error: it may fill the volume or take it offline.
    pub fn note(&self, error: &log::Error) {
        if self.volume.note(error) == log::Severity::VolumeFailed {
            let message = format!("volume {}: {error}", self.dir().display());
            self.failed.send_if_modified(|failed| {
                let first = failed.is_none();
                if first {
                    tracing::error!("{message}. The volume is offline until the broker is started again");
                    *failed = Some(message);
                }
                first
            });
        }
    }

    /// Has `hosted` synced with the next group commit. Call only when it is not in the queue already.
    pub(super) fn enqueue(&self, hosted: Arc<Hosted>) {
        self.queue.lock().dirty.push(hosted);
        self.wake.notify_one();
    }

    /// Resolves once all that was enqueued before is synced. An error: the volume went offline or closes.
    pub(super) fn synced(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.queue.lock().done.push(sender);
        self.wake.notify_one();
        receiver
    }

    /// The group commit: runs on a thread of its own until [`Volume::close`].
    pub(super) fn run_syncs(&self, metrics: &Metrics) {
        loop {
            let Commit { dirty, done } = {
                let mut queue = self.queue.lock();
                while queue.dirty.is_empty() && queue.done.is_empty() {
                    if queue.closing {
                        return;
                    }
                    self.wake.wait(&mut queue);
                }
                queue.take()
            };
            for hosted in dirty {
                // A sync that failed is never tried again: the next may succeed without having written what was lost.
                if self.health() == Health::Offline {
                    break;
                }
                metrics.syncs.add(1);
                if let Err(error) = hosted.sync() {
                    // It may have been moved since it was put here.
                    hosted.volume().note(&error);
                }
            }
            self.answer(done);
        }
    }

    /// All that waits for a sync now. None where nothing does.
    pub(super) fn take_commit(&self) -> Option<Commit> {
        let mut queue = self.queue.lock();
        (!queue.dirty.is_empty() || !queue.done.is_empty()).then(|| queue.take())
    }

    /// Tells those who waited that it is done, unless the volume failed: then they learn it from its end.
    pub(super) fn answer(&self, done: Vec<oneshot::Sender<()>>) {
        if self.health() != Health::Offline {
            for done in done {
                // Who no longer waits needs no answer.
                let _ = done.send(());
            }
        }
    }

    /// Ends the group commit once all that waits is synced.
    pub(super) fn close(&self) {
        self.queue.lock().closing = true;
        self.wake.notify_one();
    }
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volume")
            .field("dir", &self.dir())
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}
