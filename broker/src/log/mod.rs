//! The log of a partition: segments of batches on a disk, in Kafka's layout, and the volume that they lie on.
//!
//! A [`Log`] belongs to whoever holds the partition's lock. What takes long can be done without that lock: syncing
//! ([`Log::sync_handle`]), reading what is not in memory ([`Log::plan_read`]), searching for a time
//! ([`Log::search`]). Nothing here is asynchronous, and nothing asks a clock: times are arguments.
//!
//! Data counts only once it is synced. Everything beside the batches (indexes, epochs, producer state) can be built
//! from them, and is where it is missing or damaged.

mod aborted;
mod append;
mod checkpoint;
mod cold;
mod compaction;
mod damage;
pub(crate) mod disk;
mod epochs;
mod error;
mod in_place;
mod index;
mod index_check;
mod inspection;
mod mend;
mod producers;
mod read;
mod recovery;
mod relocation;
mod reserve;
mod retention;
mod scan;
mod segment;
mod sound_walk;
mod sync;
mod tail;
mod timestamp;
mod torn;
mod truncate;
mod volume;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flotilla_protocol::records::TimestampType;
use flotilla_protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Uuid};

use crate::partition::producer_state::ProducerState;
use crate::partition::verification::Guard;

pub use aborted::{Aborted, AbortedSearch};
pub use append::Appended;
pub use checkpoint::Offsets;
pub use cold::ColdRead;
pub use compaction::{Cleanable, Cleaned, Compaction, Limits as CompactionLimits, Pace, Rewrite, Survey};
pub use damage::Damage;
pub use disk::{Disk, Entry, Lock, RealDisk, SimDisk, Space, Stat, Version};
pub use epochs::Epochs;
pub use error::{Error, Severity};
pub use inspection::{Inspected, Inspection};
pub use mend::{Mended, Unfit};
pub use read::{Plan, Read};
pub use recovery::{Cut, OpenOptions, Recovery};
pub use relocation::{NotReplaced, moves_of, take_away};
pub use retention::Deleted;
pub use sync::SyncHandle;
pub use tail::TailBudget;
pub use timestamp::{Found, Search, Target};
pub use torn::has_unwritten_sector;
pub use volume::{Identity, Opened, PartitionDir, State, Volume, VolumeError, VolumeOptions, copy_name};

use checkpoint::Durability;
use error::During;
use reserve::give_back;
use segment::{Active, FileKind, Sealed, write_indexes};
use sync::Generation;
use tail::Tail;

/// Name of the file that says which topic a directory belongs to (KIP-516).
const PARTITION_METADATA: &str = "partition.metadata";

/// What all logs of a broker share.
#[derive(Clone)]
pub struct Storage {
    /// Where the logs lie.
    pub disk: Arc<dyn Disk>,
    /// The memory for the ends of the logs.
    pub tail: Arc<TailBudget>,
}

impl Storage {
    /// With the default budget for tails.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        let tail = TailBudget::new(TailBudget::BYTES_MAX, TailBudget::PER_LOG_BYTES_MAX);
        Self { disk, tail }
    }
}

/// The settings of a topic that its logs follow. All of them may change while the log is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// `segment.bytes`: a segment that would grow beyond is ended.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment whose first record is older than the one that comes is ended.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: by up to so much sooner it is ended, differently for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment whose index is full is ended.
    pub segment_index_bytes: u32,
    /// `preallocate`: room for all of a segment is set aside with its first batch.
    pub preallocate: bool,
    /// `index.interval.bytes`: bytes of log between two entries of an index.
    pub index_interval_bytes: u32,
    /// Whether `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// Whether `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `min.compaction.lag.ms`: for so long at least a record is left as it is.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: after so long at most it is compacted; a segment with older records is ended.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: how long a tombstone stays after the first compaction that found it.
    pub delete_retention_ms: i64,
    /// `retention.ms`: how long records are kept; `None` (-1): without end.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`: how much is kept; `None` (-1): everything.
    pub retention_bytes: Option<u64>,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `producer.id.expiration.ms`: how long an idle producer is remembered.
    pub producer_id_expiration_ms: i64,
}

impl Default for Config {
    /// Kafka's defaults.
    fn default() -> Self {
        const HOUR_MS: i64 = 60 * 60 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 168 * HOUR_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            preallocate: false,
            index_interval_bytes: 4096,
            delete: true,
            compact: false,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * HOUR_MS,
            retention_ms: Some(168 * HOUR_MS),
            retention_bytes: None,
            timestamp_type: TimestampType::CreateTime,
            producer_id_expiration_ms: 24 * HOUR_MS,
        }
    }
}

impl Config {
    /// When a segment is ended at the latest: records of the active one are not compacted.
    fn segment_ms_max(&self) -> i64 {
        if self.compact {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }
}

/// The log of one partition.
pub struct Log {
    storage: Storage,
    dir: Arc<Path>,
    topic_id: Uuid,
    config: Config,
    /// Oldest first.
    sealed: Vec<Arc<Sealed>>,
    /// `None` until the first append: an empty partition has no segment.
    active: Option<Active>,
    log_start: Offset,
    log_end: Offset,
    synced_end: Offset,
    size_bytes: u64,
    epochs: Epochs,
    producers: ProducerState,
    /// They were built from the batches from here on, the last time: what was broken there is not in them.
    replayed_from: Offset,
    tail: Tail,
    /// What is known to be broken, by offset.
    damages: Arc<[Damage]>,
    generation: Generation,
    /// Compaction goes on from here: before it no key comes twice.
    cleaned_to: Offset,
    /// That was taken back since the compaction began that is under way.
    was_lowered: bool,
    /// Something is to be written before the log can be closed cleanly.
    changed: bool,
    /// The names of the directory and of the first segment are not synced yet.
    is_new: bool,
    failed: bool,
}

impl Log {
    /// The first offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Everything before this offset survives a loss of power.
    #[must_use]
    pub fn synced_end(&self) -> Offset {
        self.synced_end
    }

    /// From where on the log has to be looked through after an unclean stop; kept in the volume's checkpoint.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        self.synced_end
    }

    /// Bytes of all batches on the disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How many segments there are.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.sealed.len() + usize::from(self.active.is_some())
    }

    /// Where each leader's records begin.
    #[must_use]
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Records that a leader begins here and now, before it has appended anything (KIP-101).
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch) {
        self.changed |= self.epochs.latest().is_none_or(|latest| epoch > latest);
        self.epochs.assign(epoch, self.log_end);
    }

    /// Nobody has led in a later epoch than this yet: what a batch says otherwise is not what was written there.
    pub fn disbelieve_epochs_above(&mut self, latest: LeaderEpoch) {
        let known = self.epochs.entries().len();
        self.epochs.truncate_above(latest);
        self.changed |= self.epochs.entries().len() < known;
    }

    /// What the producers of this partition have written last. Batches are checked against it before they are
    /// appended; appending keeps it up to date.
    #[must_use]
    pub fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// Where the log is stable to, if all below `high_watermark` is committed (KIP-98).
    #[must_use]
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        self.producers.last_stable_offset(high_watermark)
    }

    /// All below `high_watermark` is committed.
    pub fn committed(&mut self, high_watermark: Offset) {
        self.producers.committed(high_watermark);
    }

    /// Ends what is being verified of a transaction that a marker ends: see [`ProducerState::marked`].
    pub fn marked(&mut self, producer_id: ProducerId, epoch: ProducerEpoch, is_bumped: bool) {
        self.producers.marked(producer_id, epoch, is_bumped);
    }

    /// Begins to verify a producer's transaction: see [`ProducerState::verify`].
    pub fn verify(&mut self, producer_id: ProducerId, epoch: ProducerEpoch, first_sequence: i32) -> Guard {
        self.producers.verify(producer_id, epoch, first_sequence)
    }

    /// Prepares to look for the aborted transactions that a read from `from` on may meet.
    #[must_use]
    pub fn aborted_search(&self, from: Offset) -> AbortedSearch {
        let views = self.views_from(from, u64::MAX);
        AbortedSearch::new(&self.storage.disk, &self.dir, from, views)
    }

    /// The topic that the log belongs to.
    #[must_use]
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// The partition's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings that hold now.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Follows other settings from now on.
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    /// Lets go of the memory that the end of the log is kept in, for logs that nobody appends to any more.
    pub fn drop_tail(&mut self) {
        self.tail.clear();
    }

    fn check_usable(&self) -> Result<(), Error> {
        if self.failed {
            Err(Error::Failed {
                path: self.dir.to_path_buf(),
            })
        } else {
            Ok(())
        }
    }

    /// What has to be synced for everything up to the end of the log to be safe. `None` if it is already.
    #[must_use]
    pub fn sync_handle(&self) -> Option<SyncHandle> {
        let active = self.active.as_ref().filter(|_| self.synced_end < self.log_end)?;
        let path = FileKind::Log.path(&self.dir, active.base);
        let handle = SyncHandle::new(&self.storage.disk, path, self.log_end, &self.generation);
        Some(handle.with_names(self.is_new.then(|| Arc::clone(&self.dir))))
    }

    /// Notes that [`SyncHandle::sync`] has returned without an error. Where the log was truncated meanwhile, the sync
    /// says nothing about what was appended since, and is passed over.
    pub fn mark_synced(&mut self, handle: &SyncHandle) {
        if handle.is_current() {
            self.synced_end = self.synced_end.max(handle.end().min(self.log_end));
            self.is_new &= !handle.holds_names();
        }
    }

    /// Syncs here and now.
    ///
    /// # Errors
    /// [`Error::Sync`]; the log takes no more records then.
    pub fn sync(&mut self) -> Result<(), Error> {
        if let Some(handle) = self.sync_handle() {
            handle.sync().inspect_err(|_| self.failed = true)?;
            self.mark_synced(&handle);
        }
        Ok(())
    }

    /// Writes all that a next start needs, so that it need not look through the log. None of it is synced, records
    /// included: [`Volume::mark_clean`] does that for all logs at once, before it says that the stop was a clean one.
    /// The log can be used further; it has to be closed again then. Nothing is written for a log that did not change.
    ///
    /// # Errors
    /// Those of the disk. The stop is not a clean one then.
    pub fn close(&mut self) -> Result<(), Error> {
        self.check_usable()?;
        if !self.changed {
            return Ok(());
        }
        let disk = &*self.storage.disk;
        if let Some(active) = &mut self.active {
            if active.size_bytes > 0 {
                active.indexes.finish();
            }
            give_back(disk, &FileKind::Log.path(&self.dir, active.base), active)?;
            write_indexes(disk, &self.dir, active.base, &mut active.indexes)?;
            aborted::write(disk, &self.dir, active.base, &active.aborted, Durability::Later)?;
            self.write_snapshot()?;
        }
        self.epochs
            .persist(disk, &self.dir, Durability::Later)
            .during("write", &self.dir)?;
        self.changed = false;
        Ok(())
    }

    /// Takes the log out of service: its directory gets a name that nobody takes for a partition, at once and
    /// durably. The caller removes that directory when there is time, with [`Disk::remove_dir`]; a start does, too.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn delete(mut self, unique: Uuid) -> Result<PathBuf, Error> {
        self.generation.advance();
        self.tail.clear();
        take_away(&*self.storage.disk, &self.dir, unique)
    }
}

#[cfg(test)]
mod tests;
