//! All partitions of this broker, by name.

use super::append::{Acks, Appended, Commit, Origin};
use super::cleaner::Cleaner;
use super::error::{AppendError, ReadError, Unavailable};
use super::fetcher::Fetchers;
use super::hosted::{Hosted, Shared};
use super::leadership::{self, LeadershipChange, Role};
use super::metrics::Metrics;
use super::moves::Moves;
use super::poll::Polls;
use super::read::{At, Listed, Part, Reader, Upto};
use super::volume::{Health, Volume};
use super::{PartitionKey, hosted};
use crate::log::{self, Offsets, TailBudget};
use crate::metadata::{Image, ResourceType};
use crate::partition::follower::EpochEnd;
use crate::partition::isr::Proposal;
use arc_swap::ArcSwap;
use bytes::Bytes;
use flotilla_control::settings::{self, BrokerSettings, TopicConfig};
use flotilla_protocol::records::TimestampType;
use flotilla_protocol::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Uuid};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The partitions stored here. See [`crate::replica`].
pub struct Replicas {
    pub(super) inner: Inner,
    pub(super) polls: Polls,
}

pub(super) struct Inner {
    pub shared: Arc<Shared>,
    pub incarnation: Uuid,
    pub static_settings: BTreeMap<String, String>,
    pub settings: ArcSwap<BrokerSettings>,
    pub volumes: Vec<Arc<Volume>>,
    pub tail: Arc<TailBudget>,
    /// In order, so that what is done to all of them is done in the same order each time.
    pub partitions: RwLock<BTreeMap<PartitionKey, Arc<Hosted>>>,
    /// The metadata that all roles follow. Held while it is applied.
    pub applied: Mutex<Arc<Image>>,
    pub followers: Mutex<leadership::Followers>,
    /// Whether roles are over for good: the replicas are closed, or being closed.
    pub is_closed: AtomicBool,
    /// Whether what lies here was held against complete metadata once.
    pub is_settled: AtomicBool,
    pub syncers: Mutex<Vec<std::thread::JoinHandle<()>>>,
    /// Partitions whose logs could not be created yet.
    pub missing: Mutex<BTreeSet<PartitionKey>>,
    pub failed: watch::Sender<Option<String>>,
    /// Whether a volume is full.
    pub storage_full: watch::Sender<bool>,
    pub written_high_watermarks: Mutex<HashMap<PathBuf, Offsets>>,
    pub written_recovery_points: Mutex<HashMap<PathBuf, Offsets>>,
    pub written_log_starts: Mutex<HashMap<PathBuf, Offsets>>,
    pub proposed: Mutex<Option<mpsc::UnboundedReceiver<(PartitionKey, Proposal)>>>,
    pub fetchers: Fetchers,
    pub cleaner: Cleaner,
    pub moves: Moves,
}

impl Replicas {
    /// This broker.
    #[must_use]
    pub fn broker(&self) -> BrokerId {
        self.inner.shared.broker
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.shared.metrics
    }

    /// The volumes.
    #[must_use]
    pub fn volumes(&self) -> &[Arc<Volume>] {
        &self.inner.volumes
    }

    /// The settings as they hold now.
    #[must_use]
    pub fn settings(&self) -> Arc<BrokerSettings> {
        self.inner.settings.load_full()
    }

    /// Resolves when a volume has failed, with what went wrong. The broker has to stop then: the partitions on the volume
    /// are led by others once it does, and stay unavailable while it does not.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(message) => message.clone().unwrap_or_default(),
            // The sender lives as long as the replicas.
            Err(_) => std::future::pending().await,
        }
    }

    /// Follows whether a volume is full, as it was found at the last look.
    #[must_use]
    pub fn storage_full(&self) -> watch::Receiver<bool> {
        self.inner.storage_full.subscribe()
    }

    /// Takes note of whether a volume is full.
    pub(super) fn note_space(&self) {
        let is_full = |volume: &Arc<Volume>| volume.health() == Health::Full;
        let full = self.volumes().iter().any(is_full);
        self.inner
            .storage_full
            .send_if_modified(|known| std::mem::replace(known, full) != full);
    }

    /// Whether the replicas are closed, or being closed.
    pub(super) fn is_closed(&self) -> bool {
        self.inner.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn hosted(&self, key: PartitionKey) -> Option<Arc<Hosted>> {
        self.inner.partitions.read().get(&key).cloned()
    }

    /// How many fetches wait for a partition.
    #[cfg(test)]
    pub(crate) fn watching(&self, key: PartitionKey) -> usize {
        let hosted = self.hosted(key);
        let state = hosted.as_ref().and_then(|hosted| hosted.here());
        state.map_or(0, |state| state.watchers.len())
    }

    fn find(&self, key: PartitionKey) -> Result<Arc<Hosted>, Unavailable> {
        self.hosted(key).ok_or(Unavailable::NotHosted)
    }

    pub(super) fn all(&self) -> Vec<Arc<Hosted>> {
        self.inner.partitions.read().values().cloned().collect()
    }

    /// Whether this broker stores the partition.
    #[must_use]
    pub fn is_hosted(&self, key: PartitionKey) -> bool {
        self.inner.partitions.read().contains_key(&key)
    }

    /// Appends one batch as the leader. With [`Acks::All`] the records count once [`Appended::commit`] is there.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn append(
        &self,
        key: PartitionKey,
        records: &Bytes,
        acks: Acks,
        origin: Origin,
    ) -> Result<Appended, AppendError> {
        let appended = match self.find(key) {
            Ok(hosted) => hosted.append(records, acks, origin),
            Err(unavailable) => Err(unavailable.into()),
        };
        if appended.is_err() {
            self.metrics().produce_failures.add(1);
        }
        appended
    }

    /// Waits until all below `offset` is committed, while this broker leads in `leader_epoch`.
    ///
    /// # Errors
    /// As [`Commit::wait`].
    pub async fn wait_high_watermark(
        &self,
        key: PartitionKey,
        leader_epoch: LeaderEpoch,
        offset: Offset,
        limit: Duration,
    ) -> Result<(), AppendError> {
        self.commit_of(key, leader_epoch, offset)?.wait(limit).await
    }

    /// What to wait on until all below `offset` is committed, while this broker leads in `leader_epoch`.
    ///
    /// # Errors
    /// It does not.
    pub fn commit_of(
        &self,
        key: PartitionKey,
        leader_epoch: LeaderEpoch,
        offset: Offset,
    ) -> Result<Commit, AppendError> {
        self.find(key)?.commit_of(leader_epoch, offset)
    }

    /// Reads whole batches as the leader. Never fewer than one where there is one. Begins at the log's start where `from`
    /// lies before it.
    ///
    /// # Errors
    /// Not here, not now; or the disk refused.
    pub async fn read(
        &self,
        key: PartitionKey,
        from: Offset,
        bytes_max: usize,
        upto: Upto,
    ) -> Result<Part, ReadError> {
        self.find(key)?.read(from, bytes_max, upto).await
    }

    /// What is committed, as far as is known here. None: not stored here.
    #[must_use]
    pub fn high_watermark(&self, key: PartitionKey) -> Option<Offset> {
        self.hosted(key)?.here().map(|state| state.high_watermark)
    }

    /// The start of the log. None: not stored here.
    #[must_use]
    pub fn log_start(&self, key: PartitionKey) -> Option<Offset> {
        self.hosted(key)?.here().map(|state| state.log.log_start())
    }

    /// The end of the log. None: not stored here.
    #[must_use]
    pub fn log_end(&self, key: PartitionKey) -> Option<Offset> {
        self.hosted(key)?.here().map(|state| state.log.log_end())
    }

    /// Finds an offset by time, as the leader. `reader` is none for a follower or a tool of ours that may see all. None:
    /// there is no such record.
    ///
    /// # Errors
    /// Not here, not now; or the disk refused.
    pub async fn list_offset(
        &self,
        key: PartitionKey,
        at: At,
        leader_epoch: LeaderEpoch,
        reader: Option<Reader>,
    ) -> Result<Option<Listed>, ReadError> {
        self.find(key)?.list_offset(at, leader_epoch, reader).await
    }

    /// Where an epoch ends in this leader's log (KIP-101, KIP-279, KIP-320).
    ///
    /// # Errors
    /// Not here, not now.
    pub fn offset_for_epoch(
        &self,
        key: PartitionKey,
        current: LeaderEpoch,
        asked: LeaderEpoch,
    ) -> Result<Option<EpochEnd>, Unavailable> {
        self.find(key)?.epoch_end(current, asked)
    }

    /// Deletes all records before `before` (None: all that are committed), and waits until no live replica has them. Gives
    /// the low watermark (KIP-107).
    ///
    /// # Errors
    /// Not here, not now; an offset that is not committed; or the replicas did not follow in time.
    pub async fn delete_records(
        &self,
        key: PartitionKey,
        before: Option<Offset>,
        limit: Duration,
    ) -> Result<Offset, ReadError> {
        let hosted = self.find(key)?;
        let (mut wait, offset) = hosted.delete_before(before)?;
        match tokio::time::timeout(limit, wait.outcome()).await {
            Ok(crate::partition::leader::Outcome::NotLeader) => Err(Unavailable::NotLeader.into()),
            Ok(_) => Ok(offset),
            Err(_) => Err(ReadError::Timeout),
        }
    }

    /// The leader and its epoch, where this broker leads.
    #[must_use]
    pub fn led(&self, key: PartitionKey) -> Option<LeaderEpoch> {
        match &self.hosted(key)?.here()?.role {
            hosted::Role::Leader(leader) => Some(leader.epoch()),
            _ => None,
        }
    }

    /// Where the logs of a topic's partitions start and end, of those that this broker leads.
    #[must_use]
    pub fn led_ends(&self, topic_id: Uuid) -> Vec<(PartitionIndex, Offset, Offset)> {
        let ends = self.all().into_iter().filter_map(|hosted| {
            let key = hosted.key();
            let state = hosted.here().filter(|_| key.topic_id == topic_id)?;
            matches!(state.role, hosted::Role::Leader(_))
                .then(|| (key.partition, state.log.log_start(), state.log.log_end()))
        });
        ends.collect()
    }

    /// Follows what this broker is to the partitions of a topic: what it leads now, then every change, in order.
    pub fn leadership(&self, topic: &str) -> mpsc::UnboundedReceiver<LeadershipChange> {
        // While metadata is not applied, roles do not change.
        let _applied = self.inner.applied.lock();
        let current: Vec<_> = self
            .all()
            .into_iter()
            .filter(|hosted| &**hosted.topic() == topic)
            .filter_map(|hosted| {
                let key = hosted.key();
                Some(LeadershipChange {
                    topic: hosted.topic().clone(),
                    topic_id: key.topic_id,
                    partition: key.partition,
                    role: Role::Leader(self.led(key)?),
                })
            })
            .collect();
        self.inner.followers.lock().add(topic, current)
    }

    /// What is set on the broker, dynamically or in its file.
    pub(super) fn broker_setting(&self, image: &Image, name: &str) -> Option<String> {
        image
            .broker_setting(self.broker(), name)
            .map(str::to_owned)
            .or_else(|| self.inner.static_settings.get(name).cloned())
    }

    /// The settings of a topic as they hold on this broker.
    pub(super) fn topic_config(&self, image: &Image, topic: &str) -> TopicConfig {
        static NOTHING: BTreeMap<String, String> = BTreeMap::new();
        let own = image.config(ResourceType::Topic, topic).unwrap_or(&NOTHING);
        TopicConfig::resolve(own, &|name| self.broker_setting(image, name))
    }
}

/// The part of the settings that a log follows.
pub(super) fn log_config(topic: &TopicConfig, broker: &BrokerSettings) -> log::Config {
    let size = |bytes: i32| u32::try_from(bytes).unwrap_or(0);
    log::Config {
        segment_bytes: size(topic.segment_bytes),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        segment_index_bytes: size(topic.segment_index_bytes),
        preallocate: topic.preallocate,
        index_interval_bytes: size(topic.index_interval_bytes),
        delete: topic.cleanup_policy.delete,
        compact: topic.cleanup_policy.compact,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        delete_retention_ms: topic.delete_retention_ms,
        retention_ms: (topic.retention_ms >= 0).then_some(topic.retention_ms),
        retention_bytes: u64::try_from(topic.retention_bytes).ok(),
        timestamp_type: match topic.message_timestamp_type {
            settings::TimestampType::CreateTime => TimestampType::CreateTime,
            settings::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        producer_id_expiration_ms: i64::from(broker.producer_id_expiration_ms),
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        // The threads of the group commit end.
        for volume in &self.inner.volumes {
            volume.close();
        }
    }
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicas")
            .field("broker", &self.broker())
            .finish_non_exhaustive()
    }
}
