//! Loading what lies on the volumes, before the broker registers.

use super::hosted::{Hosted, Shared};
use super::metrics::Metrics;
use super::moves::{Moves, settle_doubles};
use super::replicas::{Inner, Replicas, log_config};
use super::throttle::Throttles;
use super::volume::Volume;
use super::{PartitionKey, leadership};
use crate::log::{self, Log, OpenOptions, Opened, PartitionDir, Storage};
use crate::metadata::Image;
use arc_swap::ArcSwap;
use flotilla_control::settings::{BrokerSettings, TopicConfig};
use flotilla_protocol::{BrokerId, Uuid};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{mpsc, watch};

/// What replicas need to know before they are loaded.
pub struct Config {
    /// This broker.
    pub broker: BrokerId,
    /// Drawn when the process started. Roles are taken only from metadata that knows it: what was decided for an earlier
    /// incarnation did not know what the crash took away.
    pub incarnation: Uuid,
    /// The settings in the configuration file; those set while the broker runs come over them.
    pub settings: BTreeMap<String, String>,
    /// The volumes, and what was found on them.
    pub volumes: Vec<(log::Volume, Opened)>,
    /// The memory for the ends of logs, shared by all volumes.
    pub tail: Arc<log::TailBudget>,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Who waits for disks.
    pub blocking: Blocking,
}

/// Where work is done that waits for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// On threads that may wait: reads on those of the runtime, syncs on one of each volume.
    Threads,
    /// Where it is asked for. Nothing syncs by itself: a simulation says when (`replica::stepped`).
    InPlace,
}

/// Why replicas could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nowhere to store anything.
    #[error("no data directory is configured: name at least one in dataDirs")]
    NoVolumes,
    /// A log cannot be read.
    #[error("partition {topic}-{partition} cannot be loaded: {source}")]
    Log {
        /// The topic's name.
        topic: String,
        /// Which partition.
        partition: i32,
        /// Why not.
        source: log::Error,
    },
    /// A partition lies on two volumes, and not because it was being moved.
    #[error(
        "{one} and {other} are the same partition, and neither says that it is the newer one: move the older one out of its data directory",
        one = one.display(), other = other.display()
    )]
    Twice {
        /// One directory.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Replicas {
    /// Loads all logs; after an unclean stop that means looking through their ends. Blocks. `progress` gets the counters
    /// before the work begins, so that it can be shown.
    ///
    /// # Errors
    /// A log that cannot be read, other than by a damaged end, which is cut.
    pub fn open(config: Config, progress: impl FnOnce(Arc<Metrics>)) -> Result<Arc<Self>, OpenError> {
        if config.volumes.is_empty() {
            return Err(OpenError::NoVolumes);
        }
        let (failed, _) = watch::channel(None);
        let (proposals, proposed) = mpsc::unbounded_channel();
        let metrics = Arc::new(Metrics::default());
        progress(metrics.clone());
        let shared = Arc::new(Shared {
            broker: config.broker,
            proposals,
            metrics,
            throttles: Throttles::default(),
            troubled: super::broken::Troubled::default(),
            clock: config.clock,
            blocking: config.blocking,
        });
        let static_settings = config.settings;
        let settings = BrokerSettings::resolve(&|name| static_settings.get(name).cloned());
        let topic_config = TopicConfig::resolve(&BTreeMap::new(), &|name| static_settings.get(name).cloned());
        let mut volumes = Vec::new();
        let mut found = Vec::new();
        for (volume, opened) in config.volumes {
            let volume = Volume::new(volume, failed.clone());
            shared.metrics.recovery_total.add(opened.partitions.len() as u64);
            found.push((volume.clone(), opened));
            volumes.push(volume);
        }
        settle_doubles(&mut found)?;
        let mut copies = Vec::new();
        let mut partitions = BTreeMap::new();
        for (volume, opened) in found {
            copies.extend(opened.copies.iter().cloned().map(|dir| (volume.clone(), dir)));
            let loading = Loading {
                shared: &shared,
                storage: Storage {
                    disk: volume.files().disk().clone(),
                    tail: config.tail.clone(),
                },
                volume: &volume,
                opened: &opened,
                config: Arc::new(topic_config.clone()),
                log_config: log_config(&topic_config, &settings),
            };
            let threads = usize::try_from(settings.num_recovery_threads_per_data_dir).unwrap_or(1);
            for hosted in loading.all(threads.max(1))? {
                partitions.insert(hosted.key(), hosted);
            }
        }
        let moves = Moves::default();
        moves.resume(copies, &partitions, &config.tail, shared.now_ms());
        let replicas = Arc::new(Self {
            inner: Inner {
                shared,
                incarnation: config.incarnation,
                static_settings,
                settings: ArcSwap::from_pointee(settings),
                volumes,
                tail: config.tail,
                partitions: RwLock::new(partitions),
                applied: Mutex::new(Arc::new(Image::default())),
                followers: Mutex::new(leadership::Followers::default()),
                is_closed: AtomicBool::new(false),
                is_settled: AtomicBool::new(false),
                syncers: Mutex::default(),
                missing: Mutex::default(),
                failed,
                storage_full: watch::Sender::new(false),
                written_high_watermarks: Mutex::default(),
                written_recovery_points: Mutex::default(),
                written_log_starts: Mutex::default(),
                proposed: Mutex::new(Some(proposed)),
                fetchers: super::fetcher::Fetchers::default(),
                cleaner: super::cleaner::Cleaner::default(),
                moves,
            },
            polls: super::poll::Polls::default(),
        });
        replicas.note_troubled();
        if config.blocking == Blocking::Threads {
            replicas.start_syncers()?;
        }
        Ok(replicas)
    }

    fn start_syncers(self: &Arc<Self>) -> std::io::Result<()> {
        for (place, volume) in self.inner.volumes.iter().enumerate() {
            for number in 0..super::sync_queue::SYNCS_AT_ONCE {
                let (volume, shared) = (volume.clone(), self.inner.shared.clone());
                let syncer = std::thread::Builder::new()
                    .name(format!("sync-{place}-{number}"))
                    .spawn(move || volume.run_syncs(&shared.metrics))?;
                self.inner.syncers.lock().push(syncer);
            }
        }
        Ok(())
    }
}

struct Loading<'a> {
    shared: &'a Arc<Shared>,
    storage: Storage,
    volume: &'a Arc<Volume>,
    opened: &'a Opened,
    config: Arc<TopicConfig>,
    log_config: log::Config,
}

impl Loading<'_> {
    fn all(&self, threads: usize) -> Result<Vec<Arc<Hosted>>, OpenError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut loaded = Vec::new();
            while let Some(dir) = self.opened.partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(hosted) = self.one(dir)? {
                    loaded.push(hosted);
                }
                self.shared.metrics.recovery_done.add(1);
            }
            Ok(loaded)
        };
        let threads = threads.min(self.opened.partitions.len()).max(1);
        if threads == 1 {
            return work();
        }
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut all = Vec::new();
            for worker in workers {
                all.extend(worker.join().expect("loading does not panic")?);
            }
            Ok(all)
        })
    }

    fn one(&self, dir: &PartitionDir) -> Result<Option<Arc<Hosted>>, OpenError> {
        let Some(topic_id) = dir.topic_id else {
            tracing::warn!(path = %dir.path.display(), "the directory does not say which topic it belongs to, and is left alone");
            return Ok(None);
        };
        let place = (dir.topic.clone(), dir.partition);
        let options = OpenOptions {
            topic_id,
            config: self.log_config,
            now_ms: self.shared.now_ms(),
            clean: self.opened.clean,
            start_offset: self.opened.start_offsets.get(&place).copied(),
            recovery_point: self.opened.recovery_points.get(&place).copied(),
        };
        let (log, recovery) =
            Log::open(&self.storage, &dir.path, options, &mut |_| {}).map_err(|source| OpenError::Log {
                topic: dir.topic.clone(),
                partition: dir.partition.0,
                source,
            })?;
        if let Some(cut) = &recovery.cut {
            tracing::warn!(
                topic = %dir.topic,
                partition = dir.partition.0,
                log_end = cut.log_end.0,
                bytes = cut.size_bytes,
                "cut a damaged end of the log: {}", cut.reason
            );
        }
        let high_watermark = self
            .opened
            .high_watermarks
            .get(&place)
            .copied()
            .unwrap_or_default();
        let key = PartitionKey {
            topic_id,
            partition: dir.partition,
        };
        Ok(Some(Hosted::new(
            key,
            dir.topic.as_str().into(),
            self.volume.clone(),
            self.shared.clone(),
            self.config.clone(),
            log,
            high_watermark,
        )))
    }
}
