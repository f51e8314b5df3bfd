//! Coordinators at work: the shards of [`crate::group`], of [`crate::transaction`] and of [`crate::share`] that this broker
//! hosts, one for each partition of `__consumer_offsets`, `__transaction_state` and `__share_group_state` that it leads.
//!
//! A task per shard reads the partition's log when leadership comes, serves requests one after the other, appends what
//! they cause, and answers when that is committed. It ends when leadership goes. What it needs of partitions stands
//! behind [`Partitions`]: the replicas of this broker, or a simulation. What a shard has to be is a [`Machine`].

mod batch;
mod groups;
mod host;
mod load;
mod machine;
mod partitions;
mod replicas;
mod share;
mod stepped;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod topic;
mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::{BrokerId, PartitionIndex};
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::coordination::Metadata;
use crate::group::consumer::MigrationPolicy;
use crate::group::consumer::assignor::Assignor;
use crate::group::{self, Config};
use crate::metadata::Image;
use crate::{share as sharing, transaction};
use host::Job;

pub use machine::{Content, Effect, Machine, Refusal, TopicShape};
pub use partitions::{Chunk, Leadership, Partitions, Place, ReadError, Role};
pub use replicas::of_replicas;
pub use share::share_config;
pub use stepped::Stepped;
pub use transactions::transaction_config;

/// Most requests that wait for one shard. At the limit, connections wait before they hand over another.
const JOBS_WAITING_MAX: usize = 1_024;

/// The group coordinators of this broker.
pub type Groups = Coordinators<group::Shard>;
/// The transaction coordinators of this broker.
pub type Transactions = Coordinators<transaction::Shard>;
/// The share coordinators of this broker.
pub type ShareStates = Coordinators<sharing::Shard>;
/// What coordinators want done elsewhere, each with the shard that wants it.
pub type Errands<M> = mpsc::UnboundedReceiver<(Place, <M as Machine>::Errand)>;

/// The coordinators of one kind on this broker.
pub struct Coordinators<M: Machine> {
    metadata: Metadata,
    partitions: Arc<dyn Partitions>,
    config: watch::Sender<M::Config>,
    errands: mpsc::UnboundedSender<(Place, M::Errand)>,
    shards: Mutex<BTreeMap<PartitionIndex, Hosted<M>>>,
    /// Held while the topic is being created, so that one request does it and the others wait.
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

struct Hosted<M: Machine> {
    place: Place,
    jobs: mpsc::Sender<Job<M>>,
    phase: watch::Receiver<Phase>,
    stop: CancellationToken,
}

impl<M: Machine> Drop for Hosted<M> {
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
        consumer: consumer_config(settings),
        share: share_group_config(settings),
        streams: streams_config(settings),
    }
}

/// The settings of groups of the new protocol.
fn consumer_config(settings: &BrokerSettings) -> group::consumer::Config {
    let ms = |value: i32| u64::try_from(value).unwrap_or(0);
    let range = |min, max| (ms(min), ms(max));
    let assignors: Vec<Assignor> = settings
        .group_consumer_assignors
        .iter()
        .filter_map(|name| {
            let assignor = Assignor::named(name);
            if assignor.is_none() {
                warn!(%name, "`group.consumer.assignors` names an assignor that this broker does not have: uniform and range are there");
            }
            assignor
        })
        .collect();
    let defaults = group::consumer::Config::default();
    group::consumer::Config {
        session_timeout_ms: ms(settings.group_consumer_session_timeout_ms),
        session_timeout_range_ms: range(
            settings.group_consumer_min_session_timeout_ms,
            settings.group_consumer_max_session_timeout_ms,
        ),
        heartbeat_interval_ms: ms(settings.group_consumer_heartbeat_interval_ms),
        heartbeat_interval_range_ms: range(
            settings.group_consumer_min_heartbeat_interval_ms,
            settings.group_consumer_max_heartbeat_interval_ms,
        ),
        assignment_interval_ms: ms(settings.group_consumer_assignment_interval_ms),
        assignment_interval_range_ms: range(
            settings.group_consumer_min_assignment_interval_ms,
            settings.group_consumer_max_assignment_interval_ms,
        ),
        members_max: usize::try_from(settings.group_consumer_max_size).unwrap_or(defaults.members_max),
        // The table of settings takes no other names.
        migration_policy: MigrationPolicy::named(&settings.group_consumer_migration_policy)
            .unwrap_or(defaults.migration_policy),
        assignors: match assignors.is_empty() {
            true => defaults.assignors,
            false => assignors,
        },
    }
}

/// The settings of share groups.
fn share_group_config(settings: &BrokerSettings) -> group::share::Config {
    let ms = |value: i32| u64::try_from(value).unwrap_or(0);
    let range = |min, max| (ms(min), ms(max));
    let defaults = group::share::Config::default();
    group::share::Config {
        session_timeout_ms: ms(settings.group_share_session_timeout_ms),
        session_timeout_range_ms: range(
            settings.group_share_min_session_timeout_ms,
            settings.group_share_max_session_timeout_ms,
        ),
        heartbeat_interval_ms: ms(settings.group_share_heartbeat_interval_ms),
        heartbeat_interval_range_ms: range(
            settings.group_share_min_heartbeat_interval_ms,
            settings.group_share_max_heartbeat_interval_ms,
        ),
        assignment_interval_ms: ms(settings.group_share_assignment_interval_ms),
        assignment_interval_range_ms: range(
            settings.group_share_min_assignment_interval_ms,
            settings.group_share_max_assignment_interval_ms,
        ),
        members_max: usize::try_from(settings.group_share_max_size).unwrap_or(defaults.members_max),
    }
}

/// The settings of streams groups.
fn streams_config(settings: &BrokerSettings) -> group::streams::Config {
    let ms = |value: i32| u64::try_from(value).unwrap_or(0);
    let range = |min, max| (ms(min), ms(max));
    group::streams::Config {
        session_timeout_ms: ms(settings.group_streams_session_timeout_ms),
        session_timeout_range_ms: range(
            settings.group_streams_min_session_timeout_ms,
            settings.group_streams_max_session_timeout_ms,
        ),
        heartbeat_interval_ms: ms(settings.group_streams_heartbeat_interval_ms),
        heartbeat_interval_range_ms: range(
            settings.group_streams_min_heartbeat_interval_ms,
            settings.group_streams_max_heartbeat_interval_ms,
        ),
        assignment_interval_ms: ms(settings.group_streams_assignment_interval_ms),
        assignment_interval_range_ms: range(
            settings.group_streams_min_assignment_interval_ms,
            settings.group_streams_max_assignment_interval_ms,
        ),
        initial_rebalance_delay_ms: ms(settings.group_streams_initial_rebalance_delay_ms),
        standby_replicas: ms(settings.group_streams_num_standby_replicas),
        standby_replicas_max: ms(settings.group_streams_max_standby_replicas),
        members_max: usize::try_from(settings.group_streams_max_size).unwrap_or(usize::MAX),
    }
}

impl<M: Machine> Coordinators<M> {
    /// Hosts nothing yet: [`Coordinators::run`] has to be spawned. Gives what is to be done elsewhere.
    #[must_use]
    pub fn new(
        metadata: Metadata,
        partitions: Arc<dyn Partitions>,
        config: M::Config,
    ) -> (Arc<Self>, Errands<M>) {
        let (errands, wanted) = mpsc::unbounded_channel();
        let coordinators = Arc::new(Self {
            metadata,
            partitions,
            config: watch::Sender::new(config),
            errands,
            shards: Mutex::default(),
            creating: tokio::sync::Mutex::default(),
            started: Instant::now(),
        });
        (coordinators, wanted)
    }

    /// Takes over changed settings.
    pub fn configure(&self, config: M::Config) {
        self.config.send_replace(config);
    }

    /// Follows leadership and metadata until leadership's stream ends or the metadata stops, then lets all shards go.
    /// `leadership` yields each change of a partition of the topic, the present leaders first.
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
                        self.tell_changes(&seen, &changed.image).await;
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

    fn host(&self, place: Place) -> Hosted<M> {
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
        let (told, phase) = watch::channel(Phase::Loading);
        let stop = CancellationToken::new();
        tokio::spawn(host::run(host::Task {
            place,
            partitions: self.partitions.clone(),
            config: self.config.subscribe(),
            jobs: waiting,
            errands: self.errands.clone(),
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

    async fn tell_changes(&self, old: &Image, new: &Image) {
        let Some(request) = M::changed(old, new) else {
            return;
        };
        for partition in self.hosted() {
            // Not awaited for its answer: shards follow at their own pace. One that is not there or still loading has to
            // find out by itself.
            let _ = self.send(partition, M::copied(&request)).await;
        }
    }

    /// Partitions of the topic that this broker coordinates for, or is about to.
    #[must_use]
    pub fn hosted(&self) -> Vec<PartitionIndex> {
        self.shards.lock().keys().copied().collect()
    }

    /// Whether the shard of that leadership is here still.
    #[must_use]
    pub fn is_hosted(&self, place: Place) -> bool {
        let shards = self.shards.lock();
        shards
            .get(&place.partition)
            .is_some_and(|hosted| hosted.place == place && *hosted.phase.borrow() != Phase::Gone)
    }

    /// The partition that a group or a transactional id lives in; `None` while the topic is not there.
    #[must_use]
    pub fn partition_of(&self, image: &Image, key: &str) -> Option<PartitionIndex> {
        let topic = image.topic(M::TOPIC)?;
        let count = i32::try_from(topic.partition_count())
            .ok()
            .filter(|count| *count > 0)?;
        Some(PartitionIndex(machine::partition_of(key, count)))
    }

    /// The broker that coordinates a group or a transactional id; `None` while there is none.
    #[must_use]
    pub fn coordinator_of(&self, image: &Image, key: &str) -> Option<BrokerId> {
        let partition = self.partition_of(image, key)?;
        image.partition(M::TOPIC, partition)?.leader
    }

    /// Asks the coordinator of one group or transactional id, if that is here.
    pub async fn ask(&self, key: &str, request: M::Request) -> M::Reply {
        match self.partition_of(&self.metadata.image(), key) {
            Some(partition) => self.ask_shard(partition, request).await,
            None => M::refused(&request, Refusal::NotCoordinator),
        }
    }

    /// Asks the shard of a partition of the topic.
    pub async fn ask_shard(&self, partition: PartitionIndex, request: M::Request) -> M::Reply {
        let gone = M::refused(&request, Refusal::NotCoordinator);
        match self.send(partition, request).await {
            Ok(answer) => answer.await.unwrap_or(gone),
            Err(refusal) => refusal,
        }
    }

    async fn send(
        &self,
        partition: PartitionIndex,
        request: M::Request,
    ) -> Result<oneshot::Receiver<M::Reply>, M::Reply> {
        let door = {
            let shards = self.shards.lock();
            let hosted = shards.get(&partition);
            hosted.map(|hosted| (hosted.jobs.clone(), *hosted.phase.borrow()))
        };
        let Some((jobs, phase)) = door else {
            return Err(M::refused(&request, Refusal::NotCoordinator));
        };
        match phase {
            Phase::Loading => return Err(M::refused(&request, Refusal::LoadInProgress)),
            Phase::Gone => return Err(M::refused(&request, Refusal::NotCoordinator)),
            Phase::Active => {}
        }
        let (answer, answered) = oneshot::channel();
        match jobs.send(Job { request, answer }).await {
            Ok(()) => Ok(answered),
            Err(mpsc::error::SendError(job)) => Err(M::refused(&job.request, Refusal::NotCoordinator)),
        }
    }
}
