//! The leader of a partition: what is committed, who is in sync, who is answered.

use super::isr::{Answer, InSync, Proposal};
use super::progress::{Fetched, Progress};
use super::waiting::{WaiterId, Waiting};
use super::watermark;
use flotilla_protocol::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};
use std::collections::BTreeMap;

/// What the metadata says of a partition that this broker leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The epoch of this leadership.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change of the partition's state.
    pub partition_epoch: i32,
    /// All replicas, the ones being added or removed included.
    pub replicas: Vec<BrokerId>,
    /// The committed in-sync set.
    pub isr: Vec<BrokerId>,
    /// The replicas that are registered, not fenced and not stopping (KIP-841), with their broker epochs (KIP-903).
    pub standing: BTreeMap<BrokerId, BrokerEpoch>,
}

/// The settings that decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `min.insync.replicas` of the topic.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub lag_time_max_ms: i64,
}

/// The leader's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Where it starts.
    pub log_start: Offset,
    /// Where it ends.
    pub log_end: Offset,
    /// Up to where it is as durable as `flush.policy` asks for. No more than `log_end`.
    pub synced_end: Offset,
    /// What is known to be committed.
    pub high_watermark: Offset,
}

/// What is to be done after an input, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The high watermark is here now: fetches that wait for it go on.
    HighWatermark(Offset),
    /// One who waited is answered.
    Answer(WaiterId, Outcome),
    /// The controller is asked for this.
    Propose(Proposal),
    /// The committed in-sync set changed: for metrics and the log.
    InSyncChanged {
        /// How many joined.
        joined: usize,
        /// How many left.
        left: usize,
    },
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The mark has passed the offset.
    Done,
    /// It has, but the in-sync set is smaller than `min.insync.replicas` by now: `NOT_ENOUGH_REPLICAS_AFTER_APPEND`.
    NotEnoughReplicasAfterAppend,
    /// This broker does not lead any more. What was appended may or may not survive.
    NotLeader,
}

/// Too few in-sync replicas for acks=all: nothing may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{in_sync} replicas are in sync, {needed} are needed")]
pub struct NotEnoughReplicas {
    /// How many there are.
    pub in_sync: usize,
    /// How many acks=all asks for.
    pub needed: usize,
}

/// Why a follower's fetch is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// The metadata here does not name it as a replica (yet, or any more).
    #[error("broker {0} is not a replica of the partition")]
    NotAReplica(BrokerId),
    /// An earlier registration than the current one sent it (KIP-903).
    #[error("broker {broker} fetched under broker epoch {sent}, but is registered under {registered}")]
    StaleBrokerEpoch {
        /// Who.
        broker: BrokerId,
        /// The epoch of the fetch.
        sent: BrokerEpoch,
        /// The epoch of the metadata.
        registered: BrokerEpoch,
    },
}

/// The state of one leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    me: (BrokerId, BrokerEpoch),
    epoch: LeaderEpoch,
    epoch_start: Offset,
    in_sync: InSync,
    followers: BTreeMap<BrokerId, Progress>,
    standing: BTreeMap<BrokerId, BrokerEpoch>,
    settings: Settings,
    local: Local,
    wait_committed: Waiting,
    wait_deleted: Waiting,
}

impl Leader {
    /// Takes over. `me` is this broker under its current registration. The new epoch starts at the end of the local log.
    ///
    /// The controller names no leader outside the in-sync set: an unclean election makes the leader its only member.
    pub fn new(
        me: (BrokerId, BrokerEpoch),
        assignment: &Assignment,
        settings: Settings,
        local: Local,
        now_ms: i64,
    ) -> (Self, Vec<Effect>) {
        let in_sync = InSync::new(assignment.isr.iter().copied(), assignment.partition_epoch);
        let followers = assignment
            .replicas
            .iter()
            .filter(|broker| **broker != me.0)
            .map(|broker| {
                let progress = Progress::unheard(in_sync.committed().contains(broker), now_ms);
                (*broker, progress)
            })
            .collect();
        let mut leader = Self {
            me,
            epoch: assignment.leader_epoch,
            epoch_start: local.log_end,
            in_sync,
            followers,
            standing: assignment.standing.clone(),
            settings,
            local,
            wait_committed: Waiting::default(),
            wait_deleted: Waiting::default(),
        };
        let mut effects = Vec::new();
        leader.shrink(&mut effects, now_ms);
        leader.advance(&mut effects, now_ms);
        (leader, effects)
    }

    /// The epoch of this leadership.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Where this epoch starts.
    #[must_use]
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// All below is committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.local.high_watermark
    }

    /// The in-sync set.
    #[must_use]
    pub fn in_sync(&self) -> &InSync {
        &self.in_sync
    }

    /// Each follower's progress.
    #[must_use]
    pub fn followers(&self) -> &BTreeMap<BrokerId, Progress> {
        &self.followers
    }

    /// Whether the partition has fewer in-sync replicas than replicas.
    #[must_use]
    pub fn is_under_replicated(&self) -> bool {
        self.in_sync.committed().len() < self.followers.len() + 1
    }

    /// Whether acks=all is refused now.
    #[must_use]
    pub fn is_under_min_isr(&self) -> bool {
        self.in_sync.committed().len() < self.needed()
    }

    fn needed(&self) -> usize {
        watermark::effective_min_isr(self.settings.min_insync_replicas, self.followers.len() + 1)
    }

    /// Before an append with acks=all.
    ///
    /// # Errors
    /// The in-sync set is smaller than `min.insync.replicas`.
    pub fn may_append_for_all(&self) -> Result<(), NotEnoughReplicas> {
        let (in_sync, needed) = (self.in_sync.committed().len(), self.needed());
        if in_sync < needed {
            return Err(NotEnoughReplicas { in_sync, needed });
        }
        Ok(())
    }

    /// Lets those members go at once that said that they have no room, and have fallen behind by that: to wait for the lag time
    /// would hold all writes up for something that is known. While nothing is written they stay, as they lack nothing.
    pub fn let_full_go(&mut self, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut members = self
            .followers
            .iter()
            .filter(|(broker, _)| self.in_sync.counts(**broker));
        if members.any(|(_, progress)| progress.is_full) {
            self.shrink(&mut effects, now_ms);
        }
        effects
    }

    /// The local log grew to `log_end`. Nothing is committed by that: [`Leader::synced`] says when it counts.
    pub fn appended(&mut self, log_end: Offset) {
        self.local.log_end = self.local.log_end.max(log_end);
    }

    /// All of the local log below `end` is durable.
    pub fn synced(&mut self, end: Offset, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let end = end.min(self.local.log_end);
        if end > self.local.synced_end {
            self.local.synced_end = end;
            self.advance(&mut effects, now_ms);
        }
        effects
    }

    /// The local log starts at `log_start` now: retention, or records deleted.
    pub fn log_start_moved(&mut self, log_start: Offset) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.local.log_start = self.local.log_start.max(log_start);
        self.answer_deleted(&mut effects);
        effects
    }

    /// A follower fetched. Its end may commit records, and it may be ready to join the in-sync set.
    ///
    /// # Errors
    /// It is no replica, or not under its current registration: nothing is counted.
    pub fn fetched(
        &mut self,
        broker: BrokerId,
        fetch: &Fetched,
        now_ms: i64,
    ) -> Result<Vec<Effect>, NotCounted> {
        if let Some(registered) = self.standing.get(&broker)
            && fetch.broker_epoch < *registered
        {
            return Err(NotCounted::StaleBrokerEpoch {
                broker,
                sent: fetch.broker_epoch,
                registered: *registered,
            });
        }
        let progress = self
            .followers
            .get_mut(&broker)
            .ok_or(NotCounted::NotAReplica(broker))?;
        let before = *progress;
        progress.fetched(fetch, self.local.log_end, now_ms);
        let end_moved = before.log_end != progress.log_end;
        let start_moved = before.log_start != progress.log_start;
        let mut effects = Vec::new();
        self.grow(broker, &mut effects);
        if fetch.is_full {
            self.shrink(&mut effects, now_ms);
        }
        if end_moved || !effects.is_empty() {
            self.advance(&mut effects, now_ms);
        }
        if start_moved {
            self.answer_deleted(&mut effects);
        }
        Ok(effects)
    }

    /// `waiter` is answered once all below `offset` is committed: at once where it is already.
    pub fn wait_committed(&mut self, waiter: WaiterId, offset: Offset) -> Vec<Effect> {
        self.wait_committed.insert(offset, waiter);
        let mut effects = Vec::new();
        self.answer_committed(&mut effects);
        effects
    }

    /// `waiter` is answered once no live replica has records below `offset` any more (DeleteRecords, KIP-107).
    pub fn wait_deleted(&mut self, waiter: WaiterId, offset: Offset) -> Vec<Effect> {
        self.wait_deleted.insert(offset, waiter);
        let mut effects = Vec::new();
        self.answer_deleted(&mut effects);
        effects
    }

    /// `waiter`, which waits for `offset`, gave up.
    pub fn forget(&mut self, waiter: WaiterId, offset: Offset) {
        self.wait_committed.remove(offset, waiter);
        self.wait_deleted.remove(offset, waiter);
    }

    /// The smallest log start over this replica and the live others (KIP-107).
    #[must_use]
    pub fn low_watermark(&self) -> Offset {
        self.followers
            .iter()
            .filter(|(broker, _)| self.standing.contains_key(broker))
            .map(|(_, progress)| progress.log_start.unwrap_or(Offset(0)))
            .fold(self.local.log_start, Offset::min)
    }

    /// Time has passed: followers that lag are doubted.
    pub fn tick(&mut self, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.shrink(&mut effects, now_ms);
        effects
    }

    /// The metadata has a newer state of the same leadership, or brokers came, went, or registered again.
    ///
    /// # Panics
    /// When the leader epoch is another: that is a new leadership.
    pub fn update(&mut self, assignment: &Assignment, now_ms: i64) -> Vec<Effect> {
        assert_eq!(
            assignment.leader_epoch, self.epoch,
            "another epoch is another leadership"
        );
        let mut effects = Vec::new();
        self.standing.clone_from(&assignment.standing);
        if assignment.partition_epoch > self.in_sync.partition_epoch() {
            self.commit(&mut effects, &assignment.isr, assignment.partition_epoch);
            let me = self.me.0;
            self.followers
                .retain(|broker, _| assignment.replicas.contains(broker));
            for broker in assignment.replicas.iter().filter(|broker| **broker != me) {
                let in_sync = self.in_sync.committed().contains(broker);
                self.followers
                    .entry(*broker)
                    .or_insert_with(|| Progress::unheard(in_sync, now_ms));
            }
        }
        self.shrink(&mut effects, now_ms);
        self.advance(&mut effects, now_ms);
        self.answer_deleted(&mut effects);
        effects
    }

    /// This broker registered again, or settings changed.
    pub fn configure(&mut self, me: (BrokerId, BrokerEpoch), settings: Settings, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.me = me;
        self.settings = settings;
        self.advance(&mut effects, now_ms);
        effects
    }

    /// The controller answered, or could not be reached.
    pub fn answered(&mut self, proposal: &Proposal, answer: Answer, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if proposal.leader_epoch != self.epoch {
            return effects;
        }
        let before = self.in_sync.committed().clone();
        if let Some(again) = self.in_sync.answered(proposal, answer) {
            effects.push(Effect::Propose(again));
            return effects;
        }
        let after = self.in_sync.committed();
        if *after != before {
            effects.push(Effect::InSyncChanged {
                joined: after.difference(&before).count(),
                left: before.difference(after).count(),
            });
        }
        self.advance(&mut effects, now_ms);
        effects
    }

    /// Leadership is over: nobody who waits can be told that all is well.
    pub fn resign(mut self) -> Vec<Effect> {
        let committed = self.wait_committed.take_all();
        let deleted = self.wait_deleted.take_all();
        committed
            .into_iter()
            .chain(deleted)
            .map(|waiter| Effect::Answer(waiter, Outcome::NotLeader))
            .collect()
    }

    fn commit(&mut self, effects: &mut Vec<Effect>, isr: &[BrokerId], partition_epoch: i32) {
        let before = self.in_sync.committed().clone();
        self.in_sync.commit(isr.iter().copied(), partition_epoch);
        let after = self.in_sync.committed();
        if *after != before {
            effects.push(Effect::InSyncChanged {
                joined: after.difference(&before).count(),
                left: before.difference(after).count(),
            });
        }
    }

    /// Whether the controller would take `broker` into the set: it stands, and it fetches under the registration that
    /// stands (KIP-841, 903). Otherwise a broker that came back with an emptied disk could become leader.
    pub(super) fn is_eligible(&self, broker: BrokerId, progress: &Progress) -> bool {
        progress.broker_epoch.is_some() && self.standing.get(&broker).copied() == progress.broker_epoch
    }

    fn advance(&mut self, effects: &mut Vec<Effect>, now_ms: i64) {
        // With too few in sync, what a producer was refused must not become visible either (KIP-966).
        if !self.is_under_min_isr() {
            let counted = self.followers.iter().filter(|(broker, progress)| {
                // One that is caught up and may join soon is waited for: otherwise it would never catch up with the mark.
                self.in_sync.counts(**broker)
                    || (progress.log_end.is_some()
                        && self.is_eligible(**broker, progress)
                        && progress.is_caught_up(self.local.log_end, now_ms, self.settings.lag_time_max_ms))
            });
            let ends = counted.map(|(_, progress)| progress.log_end);
            if let Some(end) = watermark::committed_end(self.local.synced_end, ends)
                && end > self.local.high_watermark
            {
                self.local.high_watermark = end;
                effects.push(Effect::HighWatermark(end));
            }
        }
        self.answer_committed(effects);
    }

    fn answer_committed(&mut self, effects: &mut Vec<Effect>) {
        let outcome = if self.is_under_min_isr() {
            Outcome::NotEnoughReplicasAfterAppend
        } else {
            Outcome::Done
        };
        for waiter in self.wait_committed.take_due(self.local.high_watermark) {
            effects.push(Effect::Answer(waiter, outcome));
        }
    }

    fn answer_deleted(&mut self, effects: &mut Vec<Effect>) {
        if self.wait_deleted.is_empty() {
            return;
        }
        for waiter in self.wait_deleted.take_due(self.low_watermark()) {
            effects.push(Effect::Answer(waiter, Outcome::Done));
        }
    }

    /// Proposes `broker` for the set once it has all that is committed and all that older epochs left behind.
    fn grow(&mut self, broker: BrokerId, effects: &mut Vec<Effect>) {
        if self.in_sync.is_pending() || self.in_sync.committed().contains(&broker) {
            return;
        }
        let Some(progress) = self.followers.get(&broker) else {
            return;
        };
        let has_all = progress
            .log_end
            .is_some_and(|end| end >= self.local.high_watermark && end >= self.epoch_start);
        let would_leave = progress.is_full && progress.log_end != Some(self.local.log_end);
        if has_all && !would_leave && self.is_eligible(broker, progress) {
            let mut isr = self.members_that_stay(|_, _| true);
            isr.extend(progress.broker_epoch.map(|epoch| (broker, epoch)));
            isr.sort_unstable();
            self.propose(isr, effects);
        }
    }

    /// Proposes a set without those that lag, or that cannot be in it.
    fn shrink(&mut self, effects: &mut Vec<Effect>, now_ms: i64) {
        if self.in_sync.is_pending() {
            return;
        }
        let (end, lag) = (self.local.log_end, self.settings.lag_time_max_ms);
        let stay = self.members_that_stay(|_, progress| progress.is_caught_up(end, now_ms, lag));
        if stay.len() < self.in_sync.committed().len() {
            self.propose(stay, effects);
        }
    }

    /// The committed members that stand and that `keep` keeps, ascending, with their registrations. This broker always stays.
    fn members_that_stay(&self, keep: impl Fn(BrokerId, &Progress) -> bool) -> Vec<(BrokerId, BrokerEpoch)> {
        self.in_sync
            .committed()
            .iter()
            .filter_map(|broker| {
                if *broker == self.me.0 {
                    return Some(self.me);
                }
                let progress = self.followers.get(broker)?;
                let registered = self.standing.get(broker)?;
                keep(*broker, progress).then_some((*broker, *registered))
            })
            .collect()
    }

    fn propose(&mut self, isr: Vec<(BrokerId, BrokerEpoch)>, effects: &mut Vec<Effect>) {
        effects.push(Effect::Propose(self.in_sync.propose(self.epoch, isr)));
    }
}

#[cfg(test)]
#[path = "leader_tests.rs"]
mod tests;
