//! What goes on while a broker runs: metadata is followed, leaders are fetched from, time passes.

use super::alter;
use super::cleaner;
use super::fetcher;
use super::hosted::Hosted;
use super::link::Dial;
use super::mend;
use super::moves;
use super::replicas::Replicas;
use super::scrub;
use super::volume::{Health, Volume};
use crate::coordination::{Controller, Metadata};
use crate::log::Offsets;
use flotilla_protocol::Offset;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

/// How often volumes are looked at for room, and `flush.ms` is seen to.
const SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// The tasks of the replicas. Dropped, they end at once, as in a crash; [`Running::stop`] ends them in order.
pub struct Running {
    replicas: Arc<Replicas>,
    tasks: JoinSet<()>,
    loops: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Replicas {
    /// Begins to follow metadata and leaders. Call once, on a runtime.
    ///
    /// # Panics
    /// When called again.
    #[must_use]
    pub fn start(
        self: &Arc<Self>,
        metadata: Metadata,
        controller: Controller,
        dial: Arc<dyn Dial>,
    ) -> Running {
        let mut tasks = JoinSet::new();
        let proposed = self
            .inner
            .proposed
            .lock()
            .take()
            .expect("replicas are started once");
        tasks.spawn(alter::run(
            self.clone(),
            metadata.clone(),
            controller.clone(),
            proposed,
        ));
        tasks.spawn(mend::run(
            self.clone(),
            metadata.clone(),
            controller,
            dial.clone(),
        ));
        for volume in self.volumes() {
            tasks.spawn(scrub::run(self.clone(), volume.clone()));
        }
        let loops: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let (of_loops, replicas, of_fetchers) = (loops.clone(), self.clone(), metadata.clone());
        let runtime = tokio::runtime::Handle::current();
        self.inner.fetchers.begin(move |leader, lane| {
            let follow = fetcher::run(replicas.clone(), of_fetchers.clone(), dial.clone(), leader, lane);
            of_loops.lock().push(runtime.spawn(follow));
        });
        tasks.spawn(follow(self.clone(), metadata));
        tasks.spawn(cleaner::run(self.clone()));
        tasks.spawn(moves::run(self.clone()));
        let settings = self.settings();
        let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(1).max(1));
        // A follower that stopped fetching is found out within one and a half lag times, as in Kafka.
        self.every(&mut tasks, ms(settings.replica_lag_time_max_ms / 2), |replicas| {
            replicas.all().iter().for_each(|hosted| hosted.tick());
        });
        self.every(
            &mut tasks,
            ms(settings.replica_high_watermark_checkpoint_interval_ms),
            Self::write_high_watermarks,
        );
        self.every(
            &mut tasks,
            ms(settings.log_flush_offset_checkpoint_interval_ms.into()),
            Self::write_recovery_points,
        );
        self.every(
            &mut tasks,
            ms(settings.log_flush_start_offset_checkpoint_interval_ms.into()),
            Self::write_log_starts,
        );
        self.every(
            &mut tasks,
            ms(settings.log_retention_check_interval_ms),
            |replicas| {
                replicas.all().iter().for_each(|hosted| hosted.retain());
            },
        );
        self.every(&mut tasks, SPACE_INTERVAL, Self::look_after_volumes);
        Running {
            replicas: self.clone(),
            tasks,
            loops,
        }
    }

    fn every(
        self: &Arc<Self>,
        tasks: &mut JoinSet<()>,
        period: Duration,
        work: impl Fn(&Replicas) + Send + Sync + 'static,
    ) {
        let (replicas, work) = (self.clone(), Arc::new(work));
        tasks.spawn(async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first tick comes at once: what there is to do then was done by loading.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let (replicas, work) = (replicas.clone(), work.clone());
                // Disks are waited for on threads that may wait.
                let _ = tokio::task::spawn_blocking(move || work(&replicas)).await;
            }
        });
    }

    pub(super) fn look_after_volumes(&self) {
        for volume in self.volumes() {
            if volume.health() != Health::Offline {
                volume.files().check_space();
            }
        }
        self.note_space();
        for hosted in self.all() {
            hosted.flush_if_due();
        }
        if !self.inner.missing.lock().is_empty() {
            let applied = self.inner.applied.lock().clone();
            self.apply(&applied);
        }
    }

    pub(super) fn offsets(&self, offset: impl Fn(&Hosted) -> Option<Offset>) -> HashMap<PathBuf, Offsets> {
        let mut by_volume: HashMap<PathBuf, Offsets> = HashMap::new();
        for hosted in self.all() {
            if let Some(offset) = offset(&hosted) {
                by_volume
                    .entry(hosted.volume().dir().to_owned())
                    .or_default()
                    .insert((hosted.topic().to_string(), hosted.key().partition), offset);
            }
        }
        by_volume
    }

    fn checkpoint(
        &self,
        offsets: &HashMap<PathBuf, Offsets>,
        write: impl Fn(&Volume, &Offsets) -> Result<(), crate::log::Error>,
    ) {
        let nothing = Offsets::default();
        for volume in self.volumes() {
            if volume.health() == Health::Offline {
                continue;
            }
            if let Err(error) = write(volume, offsets.get(volume.dir()).unwrap_or(&nothing)) {
                tracing::warn!("a checkpoint cannot be written: {error}");
                volume.note(&error);
            }
        }
    }

    pub(super) fn write_high_watermarks(&self) {
        let mut written = self.inner.written_high_watermarks.lock();
        let offsets = self.offsets(|hosted| hosted.here().map(|state| state.high_watermark));
        // An idle broker leaves its disk alone.
        if *written != offsets {
            self.checkpoint(&offsets, |volume, offsets| {
                volume.files().write_high_watermarks(offsets)
            });
            *written = offsets;
        }
    }

    pub(super) fn write_recovery_points(&self) {
        let mut written = self.inner.written_recovery_points.lock();
        let offsets = self.offsets(|hosted| hosted.here().map(|state| state.log.recovery_point()));
        if *written != offsets {
            self.checkpoint(&offsets, |volume, offsets| {
                volume.files().write_recovery_points(offsets)
            });
            *written = offsets;
        }
    }

    pub(super) fn write_log_starts(&self) {
        let mut written = self.inner.written_log_starts.lock();
        let offsets = self.offsets(|hosted| hosted.here().map(|state| state.log.log_start()));
        if *written != offsets {
            self.checkpoint(&offsets, |volume, offsets| {
                volume.files().write_start_offsets(offsets)
            });
            *written = offsets;
        }
    }

    /// Ends all roles, syncs and closes all logs, and marks the volumes as cleanly stopped. Blocks.
    pub(super) fn close(&self) {
        self.inner.fetchers.end();
        self.inner.moves.stop();
        self.inner.cleaner.stop();
        self.inner.cleaner.wait_stopped();
        {
            // An image that is being applied is waited for; none is after it.
            let _applied = self.inner.applied.lock();
            self.inner.is_closed.store(true, Ordering::Release);
        }
        let all = self.all();
        for hosted in &all {
            hosted.idle();
        }
        self.write_high_watermarks();
        self.write_log_starts();
        let mut unclean: Vec<PathBuf> = Vec::new();
        for hosted in &all {
            if let Err(error) = hosted.close() {
                hosted.disk_failed(&error);
                unclean.push(hosted.volume().dir().to_owned());
            }
        }
        self.write_recovery_points();
        self.volumes().iter().for_each(|volume| volume.close());
        for syncer in std::mem::take(&mut *self.inner.syncers.lock()) {
            if syncer.join().is_err() {
                tracing::error!("a thread that syncs ended in a panic");
            }
        }
        for volume in self.volumes() {
            if volume.health() == Health::Offline || unclean.iter().any(|dir| dir == volume.dir()) {
                continue;
            }
            if let Err(error) = volume.files().mark_clean() {
                tracing::warn!("the next start has to look through the logs: {error}");
            }
        }
    }
}

/// Applies images in order; those that came faster than they were applied are skipped over.
async fn follow(replicas: Arc<Replicas>, metadata: Metadata) {
    let mut images = metadata.subscribe();
    let mut latest = Some(images.latest());
    while let Some(indexed) = latest {
        let of_task = replicas.clone();
        let _ = tokio::task::spawn_blocking(move || of_task.apply(&indexed.image)).await;
        latest = images.changed().await;
    }
}

impl Running {
    /// Ends in order: what is appended is synced, and the next start need not look through the logs. Call once clients
    /// are gone and leadership is handed over.
    pub async fn stop(mut self) {
        self.replicas.inner.fetchers.end();
        self.tasks.shutdown().await;
        let loops = std::mem::take(&mut *self.loops.lock());
        for following in loops {
            following.abort();
            // It was aborted, and says so.
            let _ = following.await;
        }
        let replicas = self.replicas.clone();
        let _ = tokio::task::spawn_blocking(move || replicas.close()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.replicas.inner.fetchers.end();
        self.replicas.inner.moves.end();
        self.replicas.inner.cleaner.stop();
        // What looks through a volume on a thread of its own looks up from that for this.
        self.replicas.inner.is_closed.store(true, Ordering::Release);
        for handle in self.loops.lock().drain(..) {
            handle.abort();
        }
        for volume in self.replicas.volumes() {
            volume.close();
        }
    }
}
