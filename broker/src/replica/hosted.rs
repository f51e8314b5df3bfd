//! One partition that this broker stores: its log, its role, and those who wait for it.

use super::PartitionKey;
use super::broken::{Suspects, Troubled};
use super::error::Unavailable;
use super::metrics::Metrics;
use super::open::Blocking;
use super::refused::Refused;
use super::throttle::Throttles;
use super::volume::{Health, Volume};
use crate::log::{self, Log, SyncHandle};
use crate::partition::follower::Follower;
use crate::partition::isr::Proposal;
use crate::partition::leader::{self, Assignment, Effect, Leader, Outcome};
use crate::partition::waiting::WaiterId;
use arc_swap::ArcSwap;
use flotilla_control::settings::{FlushPolicy, TopicConfig};
use flotilla_protocol::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinError, spawn_blocking};

/// What all hosted partitions of a broker share.
pub(super) struct Shared {
    /// This broker.
    pub broker: BrokerId,
    /// Where proposals for the controller go. A partition has no more than one under way, so the queue is no longer than
    /// there are partitions.
    pub proposals: mpsc::UnboundedSender<(PartitionKey, Proposal)>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Hold back replicas that are not in sync.
    pub throttles: Throttles,
    /// Partitions with something broken.
    pub troubled: Troubled,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Who waits for disks.
    pub blocking: Blocking,
}

impl Shared {
    pub(super) fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// Does what waits for a disk: the reactor's threads must not.
    pub(super) async fn off_reactor<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self.blocking {
            Blocking::Threads => spawn_blocking(work).await,
            Blocking::InPlace => Ok(work()),
        }
    }
}

/// A partition stored here.
pub struct Hosted {
    key: PartitionKey,
    topic: Arc<str>,
    /// Changes only while the state is locked.
    volume: ArcSwap<Volume>,
    pub(super) shared: Arc<Shared>,
    config: ArcSwap<TopicConfig>,
    sync_queued: AtomicBool,
    /// Whether the metadata counts this broker's replica as in sync.
    in_sync: AtomicBool,
    /// What readers ran into. Not part of the state: it is noted while that is locked.
    pub(super) suspects: Mutex<Suspects>,
    /// None once it is deleted: whoever still holds it must let go.
    state: Mutex<Option<State>>,
}

/// What the lock of a partition guards. Held for short writes into the page cache and for bookkeeping, never for a sync
/// and never across an await.
pub(super) struct State {
    pub log: Log,
    pub role: Role,
    pub high_watermark: Offset,
    /// The lowest end that the log was cut to since a copy of it was made to follow it last (KIP-113).
    pub lowest_end: Offset,
    pub watchers: Watchers,
    /// What producers have to send again first.
    pub refused: Refused,
    answers: HashMap<WaiterId, oneshot::Sender<Outcome>>,
    last_waiter: u64,
    /// Records appended since the last sync, and when the first of them came: for `flush.messages` and `flush.ms`.
    unflushed: Unflushed,
}

impl State {
    /// Waiting fetches look again: the log or the role is not what it was.
    pub fn wake_all(&mut self) {
        self.watchers.high_watermark_moved();
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Unflushed {
    messages: i64,
    since_ms: Option<i64>,
}

/// What this broker is to a partition.
pub(super) enum Role {
    /// It leads.
    Leader(Box<Leader>),
    /// It follows.
    Follower(Follower),
    /// Nobody leads, or the metadata has not said yet.
    Idle,
}

/// Fetches that wait for a partition to move, by a number of the fetch.
#[derive(Default)]
pub(super) struct Watchers {
    at_high_watermark: BTreeMap<u64, Arc<Notify>>,
    at_log_end: BTreeMap<u64, Arc<Notify>>,
}

impl Watchers {
    pub(super) fn watch(&mut self, fetch: u64, is_replica: bool, notify: &Arc<Notify>) {
        let list = if is_replica {
            &mut self.at_log_end
        } else {
            &mut self.at_high_watermark
        };
        list.insert(fetch, notify.clone());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.at_high_watermark.len() + self.at_log_end.len()
    }

    pub(super) fn forget(&mut self, fetch: u64) {
        self.at_high_watermark.remove(&fetch);
        self.at_log_end.remove(&fetch);
    }

    /// A follower's fetch is answered for a new high watermark too, so that a follower that takes over knows nearly all
    /// of it (KIP-1166).
    fn high_watermark_moved(&mut self) {
        self.log_end_moved();
        while let Some((_, notify)) = self.at_high_watermark.pop_first() {
            notify.notify_one();
        }
    }

    fn log_end_moved(&mut self) {
        while let Some((_, notify)) = self.at_log_end.pop_first() {
            notify.notify_one();
        }
    }
}

/// Waits for a mark of a partition. Dropped, it waits no longer.
pub(super) struct Wait {
    hosted: Arc<Hosted>,
    waiter: WaiterId,
    offset: Offset,
    answer: oneshot::Receiver<Outcome>,
}

impl Wait {
    /// How it ended. An error: the partition is gone.
    pub(super) async fn outcome(&mut self) -> Outcome {
        (&mut self.answer).await.unwrap_or(Outcome::NotLeader)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // One that was answered is known nowhere any more.
        if self.answer.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            self.hosted.forget(self.waiter, self.offset);
        }
    }
}

/// What a change of role came to, for those who follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    Leader(LeaderEpoch),
    Follower,
    /// The role is what it was.
    Same,
}

impl Hosted {
    pub(super) fn new(
        key: PartitionKey,
        topic: Arc<str>,
        volume: Arc<Volume>,
        shared: Arc<Shared>,
        config: Arc<TopicConfig>,
        log: Log,
        high_watermark: Offset,
    ) -> Arc<Self> {
        let high_watermark = high_watermark.max(log.log_start()).min(log.log_end());
        Arc::new(Self {
            key,
            topic,
            volume: ArcSwap::new(volume),
            shared,
            config: ArcSwap::new(config),
            sync_queued: AtomicBool::new(false),
            in_sync: AtomicBool::new(false),
            suspects: Mutex::default(),
            state: Mutex::new(Some(State {
                log,
                role: Role::Idle,
                high_watermark,
                lowest_end: Offset(i64::MAX),
                watchers: Watchers::default(),
                refused: Refused::default(),
                answers: HashMap::new(),
                last_waiter: 0,
                unflushed: Unflushed::default(),
            })),
        })
    }

    /// Which partition.
    #[must_use]
    pub fn key(&self) -> PartitionKey {
        self.key
    }

    /// The name of its topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Where it lies.
    #[must_use]
    pub fn volume(&self) -> Arc<Volume> {
        self.volume.load_full()
    }

    /// The settings that hold for it.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// Takes over what the metadata says of this broker's replica.
    pub(super) fn set_in_sync(&self, in_sync: bool) {
        self.in_sync.store(in_sync, Ordering::Relaxed);
    }

    /// Whether this broker's replica is in sync.
    pub(super) fn is_in_sync(&self) -> bool {
        self.in_sync.load(Ordering::Relaxed)
    }

    /// Whether `follower` is in sync with this leader.
    pub(super) fn has_in_sync(&self, follower: BrokerId) -> bool {
        self.here().is_some_and(|state| match &state.role {
            Role::Leader(leader) => leader.in_sync().committed().contains(&follower),
            Role::Follower(_) | Role::Idle => false,
        })
    }

    /// Whether what is appended counts only once it is synced.
    pub(super) fn waits_for_sync(&self) -> bool {
        self.config.load().flush_policy == FlushPolicy::Sync
    }

    /// The state, if this partition can be used at all.
    pub(super) fn lock(&self) -> Result<MappedMutexGuard<'_, State>, Unavailable> {
        if self.volume.load().health() == Health::Offline {
            return Err(Unavailable::Offline);
        }
        self.here().ok_or(Unavailable::NotHosted)
    }

    /// The state, unless the partition is deleted.
    pub(super) fn here(&self) -> Option<MappedMutexGuard<'_, State>> {
        MutexGuard::try_map(self.state.lock(), Option::as_mut).ok()
    }

    fn durable_end(&self, state: &State) -> Offset {
        if self.waits_for_sync() {
            state.log.synced_end()
        } else {
            state.log.log_end()
        }
    }

    /// Carries out what the leader decided.
    pub(super) fn run(&self, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::HighWatermark(offset) => {
                    state.high_watermark = offset;
                    state.log.committed(offset);
                    state.watchers.high_watermark_moved();
                }
                Effect::Answer(waiter, outcome) => {
                    if let Some(answer) = state.answers.remove(&waiter) {
                        // Who no longer waits needs no answer.
                        let _ = answer.send(outcome);
                    }
                }
                Effect::Propose(proposal) => {
                    // Closed only while the broker stops: then the next leader decides.
                    let _ = self.shared.proposals.send((self.key, proposal));
                }
                Effect::InSyncChanged { joined, left } => {
                    self.shared.metrics.isr_expands.add(joined as u64);
                    self.shared.metrics.isr_shrinks.add(left as u64);
                    tracing::info!(
                        topic = %self.topic,
                        partition = self.key.partition.0,
                        joined,
                        left,
                        "the in-sync replicas changed"
                    );
                }
            }
        }
    }

    /// Leads, or goes on leading, as `assignment` says.
    pub(super) fn lead(
        &self,
        me: (BrokerId, BrokerEpoch),
        assignment: &Assignment,
        settings: leader::Settings,
    ) -> Became {
        let now_ms = self.shared.now_ms();
        let Some(mut state) = self.here() else {
            return Became::Same;
        };
        let state = &mut *state;
        match &mut state.role {
            Role::Leader(leader) if leader.epoch() == assignment.leader_epoch => {
                let mut effects = leader.configure(me, settings, now_ms);
                effects.extend(leader.update(assignment, now_ms));
                self.run(state, effects);
                return Became::Same;
            }
            Role::Leader(_) | Role::Follower(_) | Role::Idle => {}
        }
        self.resign(state);
        state.log.assign_epoch(assignment.leader_epoch);
        let local = leader::Local {
            log_start: state.log.log_start(),
            log_end: state.log.log_end(),
            synced_end: self.durable_end(state),
            high_watermark: state.high_watermark,
        };
        let (leader, effects) = Leader::new(me, assignment, settings, local, now_ms);
        state.role = Role::Leader(Box::new(leader));
        self.run(state, effects);
        Became::Leader(assignment.leader_epoch)
    }

    /// Follows `leader`.
    pub(super) fn follow(&self, leader: BrokerId, epoch: LeaderEpoch) -> Became {
        let Some(mut state) = self.here() else {
            return Became::Same;
        };
        match &state.role {
            Role::Follower(follower) if follower.epoch() == epoch && follower.leader() == leader => {
                return Became::Same;
            }
            Role::Follower(_) => {
                state.log.disbelieve_epochs_above(epoch);
                state.role = Role::Follower(Follower::new(leader, epoch));
                // Consumers that are served here believe in the epoch before.
                state.wake_all();
                return Became::Same;
            }
            Role::Leader(_) | Role::Idle => {}
        }
        self.resign(&mut state);
        // The leader would have nothing to say about an epoch that it never heard of.
        state.log.disbelieve_epochs_above(epoch);
        state.role = Role::Follower(Follower::new(leader, epoch));
        Became::Follower
    }

    /// Nobody leads.
    pub(super) fn idle(&self) -> Became {
        let Some(mut state) = self.here() else {
            return Became::Same;
        };
        if matches!(state.role, Role::Idle) {
            return Became::Same;
        }
        self.resign(&mut state);
        Became::Follower
    }

    /// Lets everyone go who waits, and hands out the log, which nobody can use here any more.
    pub(super) fn leave(&self) -> Option<Log> {
        let mut state = self.state.lock().take()?;
        self.resign(&mut state);
        Some(state.log)
    }

    /// Ends a leadership, leaving the partition idle: producers are told, and waiting fetches look again.
    fn resign(&self, state: &mut State) {
        if let Role::Leader(leader) = std::mem::replace(&mut state.role, Role::Idle) {
            let effects = leader.resign();
            self.run(state, effects);
        }
        state.watchers.high_watermark_moved();
    }

    /// Settings changed.
    pub(super) fn configure(
        &self,
        config: Arc<TopicConfig>,
        log_config: log::Config,
        me: (BrokerId, BrokerEpoch),
        settings: leader::Settings,
    ) {
        let now_ms = self.shared.now_ms();
        self.config.store(config);
        let Some(mut state) = self.here() else { return };
        state.log.set_config(log_config);
        let durable_end = self.durable_end(&state);
        if let Role::Leader(leader) = &mut state.role {
            let mut effects = leader.configure(me, settings, now_ms);
            effects.extend(leader.synced(durable_end, now_ms));
            self.run(&mut state, effects);
        }
    }

    /// The controller answered a proposal.
    pub(super) fn proposal_answered(&self, proposal: &Proposal, answer: crate::partition::isr::Answer) {
        let now_ms = self.shared.now_ms();
        let Some(mut state) = self.here() else { return };
        if let Role::Leader(leader) = &mut state.role {
            let effects = leader.answered(proposal, answer, now_ms);
            self.run(&mut state, effects);
        }
    }

    /// Time has passed: doubts followers that lag.
    pub(super) fn tick(&self) {
        let now_ms = self.shared.now_ms();
        let Some(mut state) = self.here() else { return };
        if let Role::Leader(leader) = &mut state.role {
            let effects = leader.tick(now_ms);
            self.run(&mut state, effects);
        }
    }

    /// Asks for a sync where `flush.ms` does.
    pub(super) fn flush_if_due(self: &Arc<Self>) {
        let flush_ms = self.config.load().flush_ms;
        if flush_ms == i64::MAX {
            return;
        }
        let since_ms = self.here().and_then(|state| state.unflushed.since_ms);
        if since_ms.is_some_and(|since_ms| self.shared.now_ms().saturating_sub(since_ms) >= flush_ms) {
            self.request_sync();
        }
    }

    /// Records were appended: who waits for the end of the log goes on, and what must be synced is asked for.
    pub(super) fn appended(self: &Arc<Self>, state: &mut State, messages: i64) {
        let now_ms = self.shared.now_ms();
        let end = state.log.log_end();
        let waits_for_sync = self.waits_for_sync();
        if let Role::Leader(leader) = &mut state.role {
            leader.appended(end);
            let mut effects = leader.let_full_go(now_ms);
            if !waits_for_sync {
                effects.extend(leader.synced(end, now_ms));
            }
            self.run(state, effects);
        }
        state.watchers.log_end_moved();
        if waits_for_sync {
            self.request_sync();
        } else {
            state.unflushed.messages = state.unflushed.messages.saturating_add(messages);
            state.unflushed.since_ms.get_or_insert(now_ms);
            if state.unflushed.messages >= self.config.load().flush_messages {
                self.request_sync();
            }
        }
    }

    /// The log starts elsewhere now.
    pub(super) fn start_moved(&self, state: &mut State) {
        let start = state.log.log_start();
        state.high_watermark = state.high_watermark.max(start);
        if let Role::Leader(leader) = &mut state.role {
            let effects = leader.log_start_moved(start);
            self.run(state, effects);
        }
    }

    /// Joins the next group commit of the volume.
    pub(super) fn request_sync(self: &Arc<Self>) {
        if !self.sync_queued.swap(true, Ordering::AcqRel) {
            self.volume.load().enqueue(self.clone());
        }
    }

    /// Syncs what is appended by now. Called by the volume's group commit alone; the lock is not held meanwhile.
    pub(super) fn sync(self: &Arc<Self>) -> Result<(), log::Error> {
        let Some(handle) = self.begin_sync() else {
            return Ok(());
        };
        let synced = handle.sync();
        self.end_sync(&handle, synced)
    }

    /// What is to be synced, if anything is.
    pub(super) fn begin_sync(&self) -> Option<SyncHandle> {
        // Whoever appends from here on asks again.
        self.sync_queued.store(false, Ordering::Release);
        let mut state = self.here()?;
        state.unflushed = Unflushed::default();
        state.log.sync_handle()
    }

    /// Counts what was synced, or hands on why it was not.
    pub(super) fn end_sync(
        &self,
        handle: &SyncHandle,
        synced: Result<(), log::Error>,
    ) -> Result<(), log::Error> {
        let now_ms = self.shared.now_ms();
        // Files of a partition that was deleted meanwhile are nobody's concern.
        let Some(mut state) = self.here() else {
            return Ok(());
        };
        synced?;
        state.log.mark_synced(handle);
        let synced_end = self.durable_end(&state);
        if let Role::Leader(leader) = &mut state.role {
            let effects = leader.synced(synced_end, now_ms);
            self.run(&mut state, effects);
        }
        Ok(())
    }

    /// Its copy on `volume` has taken the log's place, with all of it on the disk.
    pub(super) fn moved_to(&self, state: &mut State, volume: Arc<Volume>) {
        self.volume.store(volume);
        state.unflushed = Unflushed::default();
        let (end, now_ms) = (self.durable_end(state), self.shared.now_ms());
        if let Role::Leader(leader) = &mut state.role {
            // Syncs of the log that was do not count any more.
            let effects = leader.synced(end, now_ms);
            self.run(state, effects);
        }
    }

    /// Syncs, and writes all that the next start needs.
    pub(super) fn close(&self) -> Result<(), log::Error> {
        match self.here() {
            Some(mut state) => state.log.close(),
            None => Ok(()),
        }
    }

    /// The span of what is done to this partition, within that of the connection or of the fetch loop. At the level of
    /// debugging: it is entered with every batch.
    pub(super) fn span(&self) -> tracing::Span {
        tracing::debug_span!("partition", topic = %self.topic, partition = self.key.partition.0)
    }

    /// An error of the log: said once, here, and noted for the volume.
    pub(super) fn disk_failed(&self, error: &log::Error) {
        tracing::error!(topic = %self.topic, partition = self.key.partition.0, "{error}");
        self.volume.load().note(error);
    }

    /// Waits until all below `offset` is committed.
    pub(super) fn wait_committed(self: &Arc<Self>, state: &mut State, offset: Offset) -> Option<Wait> {
        self.wait(state, offset, Leader::wait_committed)
    }

    /// Waits until no live replica has records below `offset`.
    pub(super) fn wait_deleted(self: &Arc<Self>, state: &mut State, offset: Offset) -> Option<Wait> {
        self.wait(state, offset, Leader::wait_deleted)
    }

    fn wait(
        self: &Arc<Self>,
        state: &mut State,
        offset: Offset,
        register: impl FnOnce(&mut Leader, WaiterId, Offset) -> Vec<Effect>,
    ) -> Option<Wait> {
        let Role::Leader(leader) = &mut state.role else {
            return None;
        };
        state.last_waiter += 1;
        let waiter = WaiterId(state.last_waiter);
        let (sender, answer) = oneshot::channel();
        state.answers.insert(waiter, sender);
        let effects = register(leader, waiter, offset);
        self.run(state, effects);
        Some(Wait {
            hosted: self.clone(),
            waiter,
            offset,
            answer,
        })
    }

    fn forget(&self, waiter: WaiterId, offset: Offset) {
        let Some(mut state) = self.here() else { return };
        state.answers.remove(&waiter);
        if let Role::Leader(leader) = &mut state.role {
            leader.forget(waiter, offset);
        }
    }
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted")
            .field("topic", &self.topic)
            .field("partition", &self.key.partition)
            .finish_non_exhaustive()
    }
}
