//! Group coordinators at work: the shards of [`crate::group`] that this broker hosts, one for each partition of
//! `__consumer_offsets` that it leads.
//!
//! A task per shard reads the partition's log when leadership comes, serves requests one after the other, appends what
//! they cause, and answers when that is committed. It ends when leadership goes. What it needs of partitions stands
//! behind [`Partitions`]: the replicas of this broker, or a simulation.

mod batch;
mod host;
mod load;
mod partitions;
mod replicas;
mod stepped;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::{BrokerId, PartitionIndex};
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::coordination::Metadata;
use crate::group::{self, Config, DeletedTopic, Error, Reply, Request};
use crate::metadata::{Image, changed_topics};
use host::Job;

pub use partitions::{Chunk, Leadership, Partitions, Place, ReadError, Role};
pub use replicas::of_replicas;
pub use stepped::Stepped;

/// Most requests that wait for one shard. At the limit, connections wait before they hand over another.
const JOBS_WAITING_MAX: usize = 1_024;

/// The group coordinators of this broker.
pub struct Groups {
    metadata: Metadata,
    partitions: Arc<dyn Partitions>,
    config: watch::Sender<Config>,
    shards: Mutex<BTreeMap<PartitionIndex, Hosted>>,
    /// Held while `__consumer_offsets` is being created, so that one request does it and the others wait.
    creating: tokio::sync::Mutex<()>,
    started: Instant,
}

/// How far a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Gone,
}

struct Hosted {
    place: Place,
    jobs: mpsc::Sender<Job>,
    phase: watch::Receiver<Phase>,
    stop: CancellationToken,
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The settings of groups, from those of the broker.
#[must_use]
pub fn config(settings: &BrokerSettings) -> Config {
    let ms = |value: i64| u64::try_from(value).unwrap_or(0);
    let defaults = Config::default();
    Config {
        initial_rebalance_delay_ms: ms(settings.group_initial_rebalance_delay_ms.into()),
        session_timeout_min_ms: settings.group_min_session_timeout_ms,
        session_timeout_max_ms: settings.group_max_session_timeout_ms,
        members_max: usize::try_from(settings.group_max_size).unwrap_or(defaults.members_max),
        new_member_join_timeout_ms: defaults.new_member_join_timeout_ms,
        offsets_retention_ms: i64::from(settings.offsets_retention_minutes) * 60_000,
        offsets_retention_check_interval_ms: ms(settings.offsets_retention_check_interval_ms).max(1),
        offset_metadata_max_bytes: usize::try_from(settings.offset_metadata_max_bytes).unwrap_or(0),
        commit_timeout_ms: ms(settings.offsets_commit_timeout_ms.into()),
    }
}

impl Groups {
    /// Hosts nothing yet: [`Groups::run`] has to be spawned.
    #[must_use]
    pub fn new(metadata: Metadata, partitions: Arc<dyn Partitions>, config: Config) -> Arc<Self> {
        Arc::new(Self {
            metadata,
            partitions,
            config: watch::Sender::new(config),
            shards: Mutex::default(),
            creating: tokio::sync::Mutex::default(),
            started: Instant::now(),
        })
    }

    /// Takes over changed settings.
    pub fn configure(&self, config: Config) {
        self.config.send_replace(config);
    }

    /// Follows leadership and metadata until leadership's stream ends or the metadata stops, then lets all shards go.
    /// `leadership` yields each change of a partition of `__consumer_offsets`, the present leaders first.
    pub async fn run(self: Arc<Self>, mut leadership: BoxStream<'static, Leadership>) {
        let mut subscription = self.metadata.subscribe();
        let mut seen = subscription.latest().image;
        loop {
            tokio::select! {
                change = leadership.next() => match change {
                    Some(change) => self.take(change),
                    None => break,
                },
                changed = subscription.changed() => match changed {
                    Some(changed) => {
                        self.forget_deleted(&seen, &changed.image).await;
                        seen = changed.image;
                    }
                    None => break,
                },
            }
        }
        self.shards.lock().clear();
    }

    fn take(&self, change: Leadership) {
        let mut shards = self.shards.lock();
        match change.role {
            Role::Leader(leader_epoch) => {
                let place = Place {
                    topic_id: change.topic_id,
                    partition: change.partition,
                    leader_epoch,
                };
                if shards
                    .get(&change.partition)
                    .is_some_and(|hosted| hosted.place == place)
                {
                    return;
                }
                // A new epoch may have begun on another log than the one that a shard here was read from.
                shards.insert(change.partition, self.host(place));
            }
            Role::Other => {
                shards.remove(&change.partition);
            }
        }
    }

    fn host(&self, place: Place) -> Hosted {
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
        let (told, phase) = watch::channel(Phase::Loading);
        let stop = CancellationToken::new();
        tokio::spawn(host::run(host::Task {
            place,
            partitions: self.partitions.clone(),
            config: self.config.subscribe(),
            jobs: waiting,
            phase: told,
            stop: stop.clone(),
        }));
        Hosted {
            place,
            jobs,
            phase,
            stop,
        }
    }

    async fn forget_deleted(&self, old: &Image, new: &Image) {
        let deleted: Vec<DeletedTopic> = changed_topics(old, new)
            .into_iter()
            .filter_map(|change| match (change.old, change.new) {
                (Some(old), None) => Some(DeletedTopic {
                    name: (*old.name).into(),
                    id: old.id,
                }),
                _ => None,
            })
            .collect();
        if deleted.is_empty() {
            return;
        }
        for partition in self.hosted() {
            // Not awaited for its answer: shards delete at their own pace. One that is not there or still loading keeps
            // those offsets until they expire.
            let _ = self
                .send(partition, Request::TopicsDeleted(deleted.clone()))
                .await;
        }
    }

    /// Partitions of `__consumer_offsets` whose groups this broker coordinates, or is about to.
    #[must_use]
    pub fn hosted(&self) -> Vec<PartitionIndex> {
        self.shards.lock().keys().copied().collect()
    }

    /// The partition that a group lives in; `None` while there is no `__consumer_offsets`.
    #[must_use]
    pub fn partition_of(&self, image: &Image, group: &str) -> Option<PartitionIndex> {
        let topic = image.topic(group::TOPIC)?;
        let count = i32::try_from(topic.partition_count())
            .ok()
            .filter(|count| *count > 0)?;
        Some(PartitionIndex(group::partition_of(group, count)))
    }

    /// The broker that coordinates a group; `None` while there is none.
    #[must_use]
    pub fn coordinator_of(&self, image: &Image, group: &str) -> Option<BrokerId> {
        let partition = self.partition_of(image, group)?;
        image.partition(group::TOPIC, partition)?.leader
    }

    /// Asks the coordinator of one group.
    pub async fn ask(&self, group: &str, request: Request) -> Reply {
        match self.partition_of(&self.metadata.image(), group) {
            Some(partition) => self.ask_shard(partition, request).await,
            None => request.refused(Error::NotCoordinator),
        }
    }

    /// Asks the shard of a partition of `__consumer_offsets`.
    pub async fn ask_shard(&self, partition: PartitionIndex, request: Request) -> Reply {
        let gone = request.refused(Error::NotCoordinator);
        match self.send(partition, request).await {
            Ok(answer) => answer.await.unwrap_or(gone),
            Err(refusal) => refusal,
        }
    }

    async fn send(
        &self,
        partition: PartitionIndex,
        request: Request,
    ) -> Result<oneshot::Receiver<Reply>, Reply> {
        let door = {
            let shards = self.shards.lock();
            let hosted = shards.get(&partition);
            hosted.map(|hosted| (hosted.jobs.clone(), *hosted.phase.borrow()))
        };
        let Some((jobs, phase)) = door else {
            return Err(request.refused(Error::NotCoordinator));
        };
        match phase {
            Phase::Loading => return Err(request.refused(Error::LoadInProgress)),
            Phase::Gone => return Err(request.refused(Error::NotCoordinator)),
            Phase::Active => {}
        }
        let (answer, answered) = oneshot::channel();
        match jobs.send(Job { request, answer }).await {
            Ok(()) => Ok(answered),
            Err(mpsc::error::SendError(job)) => Err(job.request.refused(Error::NotCoordinator)),
        }
    }
}
