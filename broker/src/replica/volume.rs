//! One data directory: its group commit.

use super::hosted::Hosted;
use super::metrics::Metrics;
use super::sync_queue::{Commit, SyncQueue, Task};
use crate::log;
use parking_lot::{Condvar, Mutex};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
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
    queue: Mutex<SyncQueue>,
    wake: Condvar,
    failed: watch::Sender<Option<String>>,
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

    /// Has `hosted` synced in its turn. Call only when it does not wait for that already.
    pub(super) fn enqueue(&self, hosted: Arc<Hosted>) {
        self.queue.lock().push(hosted);
        self.wake.notify_one();
    }

    /// Resolves once all that was enqueued before is synced. An error: the volume went offline or closes.
    pub(super) fn synced(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.queue.lock();
        queue.tell(sender);
        self.answer(queue.take_done());
        receiver
    }

    /// Syncs what waits: on [`SYNCS_AT_ONCE`] threads, each of which runs this until [`Volume::close`]. What is appended while a log
    /// waits shares its sync.
    pub(super) fn run_syncs(&self, metrics: &Metrics) {
        let mut queue = self.queue.lock();
        loop {
            let since = Instant::now();
            let Some(task) = queue.begin(since) else {
                if queue.is_over() {
                    return;
                }
                match queue.wakes_at() {
                    // Whether one rests no more or another came: it is looked at again.
                    Some(until) => {
                        let _ = self.wake.wait_until(&mut queue, until);
                    }
                    None => self.wake.wait(&mut queue),
                }
                continue;
            };
            if queue.has_more() {
                // Who looked at the clock for one that rests may be who took this.
                self.wake.notify_one();
            }
            drop(queue);
            // A sync that failed is never tried again: the next may succeed without having written what was lost.
            if self.health() != Health::Offline {
                self.sync(&task, metrics);
            }
            queue = self.queue.lock();
            queue.end(&task, since, Instant::now());
            self.answer(queue.take_done());
            if queue.is_closing() || matches!(task, Task::All(_)) {
                // What others waited for is over.
                self.wake.notify_all();
            }
        }
    }

    fn sync(&self, task: &Task, metrics: &Metrics) {
        metrics.syncs.add(1);
        match task {
            Task::One(_, hosted) => {
                if let Err(error) = hosted.sync() {
                    // It may have been moved since it was put here.
                    hosted.volume().note(&error);
                }
            }
            Task::All(all) => self.sync_all(all),
        }
    }

    fn sync_all(&self, all: &[Arc<Hosted>]) {
        let begun = all
            .iter()
            .filter_map(|hosted| Some((hosted, hosted.begin_sync()?)));
        // What has moved to another volume meanwhile is not synced by what is synced here.
        let is_here = |handle: &log::SyncHandle| handle.path().starts_with(self.dir());
        let (here, elsewhere): (Vec<_>, Vec<_>) = begun.partition(|(_, handle)| is_here(handle));
        let end = |hosted: &Hosted, handle: &log::SyncHandle, synced| {
            if let Err(error) = hosted.end_sync(handle, synced) {
                hosted.volume().note(&error);
            }
        };
        match self.volume.sync() {
            Ok(()) => here
                .into_iter()
                .for_each(|(hosted, handle)| end(hosted, &handle, Ok(()))),
            Err(error) => self.note(&error),
        }
        for (hosted, handle) in elsewhere {
            end(hosted, &handle, handle.sync());
        }
    }

    /// All that waits for a sync now. None where nothing does.
    pub(super) fn take_commit(&self) -> Option<Commit> {
        self.queue.lock().take_commit()
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
        self.queue.lock().close();
        self.wake.notify_all();
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

#[cfg(test)]
mod tests {
    use super::super::testing::{self, broker, image, partition, setting, topic};
    use super::super::{Acks, Origin, PartitionKey, Replicas};
    use super::*;
    use crate::log::{Disk, SimDisk};
    use flotilla_protocol::records::BatchBuilder;
    use flotilla_protocol::{BrokerId, Offset, PartitionIndex};

    const KEY: PartitionKey = PartitionKey {
        topic_id: flotilla_protocol::Uuid([1; 16]),
        partition: PartitionIndex(0),
    };

    /// With a record that nobody syncs.
    fn unsynced(dir: &str) -> (Arc<SimDisk>, Arc<Replicas>) {
        let sim = Arc::new(SimDisk::new());
        let disk: Arc<dyn Disk> = sim.clone();
        let incarnation = testing::incarnation(BrokerId(0), 1);
        let replicas = testing::open(&disk, Path::new(dir), BrokerId(0), incarnation);
        let facts = [broker(0, 1), topic("orders", 1), partition(1, 0, &[0], &[0], 3)];
        let settings = [setting("orders", "flush.policy", "os")];
        replicas.apply(&Arc::new(image(facts.into_iter().chain(settings))));
        let mut batch = BatchBuilder::new(Offset(0));
        batch.push(crate::clock::now_ms(), None, Some(b"a"), &[]);
        replicas
            .append(KEY, &batch.build().freeze(), Acks::Leader, Origin::Client)
            .unwrap();
        (sim, replicas)
    }

    #[test]
    fn syncing_a_volume_as_a_whole_says_nothing_of_a_log_that_has_moved_to_another() {
        let ((sim, here), (other_sim, other)) = (unsynced("/here"), unsynced("/other"));
        let (syncs, other_syncs) = (sim.syncs(), other_sim.syncs());
        here.volumes()[0].sync_all(&[here.hosted(KEY).unwrap(), other.hosted(KEY).unwrap()]);
        for replicas in [&here, &other] {
            assert_eq!(replicas.stored(KEY).unwrap().synced_end, Offset(1));
        }
        assert_eq!(sim.syncs(), syncs, "it was synced as a whole");
        assert!(other_sim.syncs() > other_syncs, "it was synced by itself");
    }
}
