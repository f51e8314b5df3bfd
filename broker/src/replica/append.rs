//! Appending: as the leader, from producers and coordinators, and as a follower, from the leader.

use super::admission::{self, Admitted};
use super::error::{AppendError, Unavailable};
use super::hosted::{Hosted, Role, State, Wait};
use super::transaction::Verification;
use super::volume::Health;
use crate::log;
use crate::partition::follower::{Answer, Ask, Effect, EpochEnd, Local};
use crate::partition::leader::Outcome;
use crate::partition::producer_state::{self, Verdict};
use crate::partition::verification::Guard;
use bytes::Bytes;
use flotilla_protocol::records::BatchHeader;
use flotilla_protocol::{BrokerId, LeaderEpoch, Offset};
use futures::FutureExt as _;
use std::sync::Arc;
use std::time::Duration;

/// When a producer wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Never (`acks=0`) or once the leader has the records (`acks=1`), synced or not.
    Leader,
    /// Once all in-sync replicas have them as durably as `flush.policy` says.
    All,
}

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client: nothing is believed.
    Client,
    /// A client, of whose transaction its coordinator has said that the partition belongs to it (KIP-890).
    Transaction(Verification),
    /// A coordinator of this broker, for an internal topic. It loaded its state in this leader epoch, and must not write
    /// under another.
    Coordinator {
        /// That epoch.
        leader_epoch: LeaderEpoch,
        /// Of a transaction that was verified.
        guard: Option<Guard>,
    },
}

/// Where records went.
#[derive(Debug)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The broker's time on the records, where the topic says LogAppendTime; milliseconds.
    pub log_append_time_ms: Option<i64>,
    /// Where the log starts.
    pub log_start_offset: Offset,
    /// The epoch that the records were appended in.
    pub leader_epoch: LeaderEpoch,
    /// Whether the very same batch was appended before, and nothing now (KIP-98).
    pub is_duplicate: bool,
    /// What to wait for with [`Acks::All`].
    pub commit: Option<Commit>,
}

/// The commit of what was appended.
pub struct Commit(pub(super) Wait);

impl Commit {
    /// Waits until all in-sync replicas have the records.
    ///
    /// # Errors
    /// Leadership was lost, the in-sync set became too small, or time is up: the records may survive all the same.
    pub async fn wait(mut self, limit: Duration) -> Result<(), AppendError> {
        match tokio::time::timeout(limit, self.0.outcome()).await {
            Ok(outcome) => committed(outcome),
            Err(_) => Err(AppendError::Timeout),
        }
    }

    /// Waits as long as it takes.
    ///
    /// # Errors
    /// As [`Commit::wait`], but for the time.
    pub async fn outcome(mut self) -> Result<(), AppendError> {
        committed(self.0.outcome().await)
    }

    /// How it ended. None while it has not.
    pub fn now(&mut self) -> Option<Result<(), AppendError>> {
        self.0.outcome().now_or_never().map(committed)
    }
}

fn committed(outcome: Outcome) -> Result<(), AppendError> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::NotEnoughReplicasAfterAppend => Err(AppendError::NotEnoughReplicasAfterAppend),
        Outcome::NotLeader => Err(Unavailable::NotLeader.into()),
    }
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Commit")
    }
}

/// What a follower's fetch of one partition brought.
#[derive(Debug)]
pub struct Fetched {
    /// What the leader said.
    pub said: Said,
    /// The batches that it sent.
    pub records: Bytes,
}

/// Why nothing is asked for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rests {
    /// Until it is assigned anew.
    Idle,
    /// Until then: milliseconds.
    Until(i64),
    /// Until the next group commit of its volume.
    Unsynced,
}

/// What the leader said, as far as it is not in the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Here are records, perhaps none.
    Records {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// Something else.
    Other(Answer),
}

/// The last sequence number in the log of the producer's incarnation that sent a batch.
fn last_sequence(state: &State, header: &BatchHeader) -> Option<i32> {
    let known = state.log.producers().get(header.producer_id)?;
    (known.epoch == header.producer_epoch).then(|| known.last_sequence())
}

/// What a producer is told whose batch does not follow the last one.
fn in_order(state: &mut State, header: &BatchHeader, error: producer_state::Error) -> AppendError {
    let producer_state::Error::OutOfOrderSequence { last, .. } = error else {
        return error.into();
    };
    if let Some(reason) = state.refused.behind(header, last) {
        return reason;
    }
    let known = state.log.producers().get(header.producer_id);
    let last_batch = known.and_then(|producer| producer.batches.back());
    let has_written_here = match &state.role {
        Role::Leader(leader) => last_batch.is_none_or(|batch| batch.last_offset >= leader.epoch_start()),
        _ => true,
    };
    let elsewhere = match has_written_here {
        true => None,
        false => state.refused.behind_another_leader(header, last),
    };
    elsewhere.unwrap_or_else(|| error.into())
}

impl Hosted {
    /// Appends what a client or a coordinator sent.
    ///
    /// # Errors
    /// Nothing was appended.
    pub(super) fn append(
        self: &Arc<Self>,
        records: &Bytes,
        acks: Acks,
        origin: Origin,
    ) -> Result<Appended, AppendError> {
        let _span = self.span().entered();
        tracing::trace!(bytes = records.len(), "append");
        let now_ms = self.shared.now_ms();
        let config = self.config();
        let admitted = match origin {
            Origin::Client | Origin::Transaction(_) => admission::admit(records, &config, now_ms)?,
            Origin::Coordinator { .. } => admission::admit_own(records, &config)?,
        };
        let mut state = self.lock()?;
        let Admitted { bytes, header } = admitted;
        let leader_epoch = match self.may_append(&state, acks, origin) {
            Ok(epoch) => epoch,
            Err(error) => {
                let last = last_sequence(&state, &header);
                state.refused.note(&header, &error, last);
                return Err(error);
            }
        };
        let verdict = match check_producer(&state, &header, origin, leader_epoch) {
            Ok(verdict) => verdict,
            Err(AppendError::Producer(error)) => return Err(in_order(&mut state, &header, error)),
            Err(error) => return Err(error),
        };
        let (base_offset, last_offset, log_append_time_ms, is_duplicate) = match verdict {
            Verdict::Accept => {
                state.refused.taken(&header);
                let appended = state
                    .log
                    .append_leader(bytes, leader_epoch, now_ms)
                    .map_err(|error| self.append_failed(error))?;
                let metrics = &self.shared.metrics;
                metrics
                    .messages_in
                    .add(u64::from(header.records_count.unsigned_abs()));
                metrics.bytes_in.add(appended.size_bytes as u64);
                self.appended(&mut state, i64::from(header.records_count));
                let log_append_time_ms = appended.log_append_time_ms;
                (
                    appended.first_offset,
                    appended.last_offset,
                    log_append_time_ms,
                    false,
                )
            }
            Verdict::Duplicate(batch) => (batch.first_offset, batch.last_offset, None, true),
        };
        let log_start_offset = state.log.log_start();
        let commit = match acks {
            Acks::Leader => None,
            Acks::All => self.wait_committed(&mut state, last_offset.plus(1)).map(Commit),
        };
        Ok(Appended {
            base_offset,
            last_offset,
            log_append_time_ms,
            log_start_offset,
            leader_epoch,
            is_duplicate,
            commit,
        })
    }

    pub(super) fn may_append(
        &self,
        state: &State,
        acks: Acks,
        origin: Origin,
    ) -> Result<LeaderEpoch, AppendError> {
        let Role::Leader(leader) = &state.role else {
            return Err(Unavailable::NotLeader.into());
        };
        if let Origin::Coordinator { leader_epoch, .. } = origin
            && leader_epoch != leader.epoch()
        {
            return Err(Unavailable::NotLeader.into());
        }
        if acks == Acks::All {
            leader.may_append_for_all()?;
        }
        match self.volume().health() {
            Health::Online => Ok(leader.epoch()),
            Health::Full => Err(AppendError::Full),
            Health::Offline => Err(Unavailable::Offline.into()),
        }
    }

    pub(super) fn append_failed(&self, error: log::Error) -> AppendError {
        self.disk_failed(&error);
        match error {
            log::Error::Batch(error) => AppendError::Batch(error),
            log::Error::TooLarge {
                size_bytes,
                segment_bytes,
            } => AppendError::LargerThanSegment {
                size_bytes: size_bytes as usize,
                size_bytes_max: segment_bytes as usize,
            },
            error => match error.severity() {
                log::Severity::VolumeFull => AppendError::Full,
                log::Severity::VolumeFailed | log::Severity::Log => AppendError::Disk(error.to_string()),
            },
        }
    }

    /// Waits until all below `offset` is committed in `leader_epoch`.
    ///
    /// # Errors
    /// As [`Commit::wait`].
    pub(super) fn commit_of(
        self: &Arc<Self>,
        leader_epoch: LeaderEpoch,
        offset: Offset,
    ) -> Result<Commit, AppendError> {
        let mut state = self.lock()?;
        match &state.role {
            Role::Leader(leader) if leader.epoch() == leader_epoch => {}
            _ => return Err(Unavailable::NotLeader.into()),
        }
        let wait = self.wait_committed(&mut state, offset);
        wait.map(Commit).ok_or_else(|| Unavailable::NotLeader.into())
    }

    /// What to ask `leader` for next, if this broker follows it and does not rest.
    pub(super) fn ask(self: &Arc<Self>, leader: BrokerId) -> Result<(Ask, Offset), Rests> {
        let now_ms = self.shared.now_ms();
        let state = self.lock().map_err(|_| Rests::Idle)?;
        let Role::Follower(follower) = &state.role else {
            return Err(Rests::Idle);
        };
        if follower.leader() != leader {
            return Err(Rests::Idle);
        }
        // What another loop appended, from the leader before, is not this one's to confirm: a fetch offset means "on disk".
        if self.waits_for_sync() && state.log.synced_end() < state.log.log_end() {
            self.request_sync();
            return Err(Rests::Unsynced);
        }
        follower
            .ask(&local(&state), now_ms)
            .map(|ask| (ask, state.high_watermark))
            .ok_or(Rests::Until(follower.not_before_ms()))
    }

    /// Takes what the leader answered to `ask`. Whether records were appended, which the next fetch must not confirm
    /// before they are synced.
    pub(super) fn fetched(self: &Arc<Self>, ask: &Ask, fetched: &Fetched) -> bool {
        let _span = self.span().entered();
        tracing::trace!("follow");
        let now_ms = self.shared.now_ms();
        let Ok(mut state) = self.lock() else { return false };
        let before = local(&state);
        let answer = match fetched.said {
            Said::Other(answer) => answer,
            Said::Records {
                high_watermark,
                log_start,
            } => Answer::Records {
                end: last_end(&fetched.records),
                high_watermark,
                log_start,
            },
        };
        let State { role, log, .. } = &mut *state;
        let Role::Follower(follower) = role else {
            return false;
        };
        let end_of = |epoch| {
            let (epoch, end) = log.epochs().end_offset_for(epoch, before.log_end)?;
            Some(EpochEnd { epoch, end })
        };
        let effects = follower.answered(ask, answer, &before, end_of, now_ms);
        for effect in effects {
            if let Err(error) = self.follow_effect(&mut state, effect, &fetched.records, now_ms) {
                self.disk_failed(&error);
                if let Role::Follower(follower) = &mut state.role {
                    follower.rest(now_ms);
                }
                break;
            }
        }
        state.log.log_end() > before.log_end
    }

    fn follow_effect(
        self: &Arc<Self>,
        state: &mut State,
        effect: Effect,
        records: &Bytes,
        now_ms: i64,
    ) -> Result<(), log::Error> {
        let place = (self.topic(), self.key().partition.0);
        match effect {
            Effect::Append => {
                let before = (state.log.log_end(), state.log.size_bytes());
                let result = state.log.append_follower(records, now_ms);
                // What comes before a bad batch is appended all the same.
                let messages = state.log.log_end().0 - before.0.0;
                if messages > 0 {
                    let bytes = state.log.size_bytes().saturating_sub(before.1);
                    self.shared.metrics.replication_bytes_in.add(bytes);
                    self.appended(state, messages);
                }
                result?;
            }
            Effect::Truncate(to) => {
                tracing::info!(topic = %place.0, partition = place.1, offset = to.0, "truncating to the leader's log");
                state.log.truncate_to(to)?;
                state.lowest_end = state.lowest_end.min(state.log.log_end());
                state.high_watermark = state.high_watermark.min(to);
                state.wake_all();
            }
            Effect::StartOver(at) => {
                tracing::info!(topic = %place.0, partition = place.1, offset = at.0, "starting over from the leader's log");
                state.log.start_over_at(at)?;
                state.lowest_end = state.lowest_end.min(at);
                state.high_watermark = at;
                state.wake_all();
            }
            Effect::HighWatermark(offset) => {
                state.high_watermark = offset.min(state.log.log_end()).max(state.high_watermark);
                let committed = state.high_watermark;
                state.log.committed(committed);
                state.wake_all();
            }
            Effect::LogStart(offset) => {
                // Nothing goes that is not known here as committed.
                let offset = offset.min(state.high_watermark);
                if offset > state.log.log_start() {
                    state.log.advance_start(offset)?;
                }
            }
        }
        Ok(())
    }
}

/// Holds a batch against what its producer has written, and against its transactions.
fn check_producer(
    state: &State,
    header: &BatchHeader,
    origin: Origin,
    leader_epoch: LeaderEpoch,
) -> Result<Verdict, AppendError> {
    let producers = state.log.producers();
    let guard = match origin {
        Origin::Client => None,
        // Under another leadership the log may be another.
        Origin::Transaction(verified) if verified.leader_epoch != leader_epoch => {
            return Err(Unavailable::NotLeader.into());
        }
        Origin::Transaction(verified) => Some(verified.guard),
        Origin::Coordinator { guard, .. } => {
            producers.check_epoch(header)?;
            producers.check_transaction(header, guard)?;
            return Ok(Verdict::Accept);
        }
    };
    let verdict = producers.check(header)?;
    if verdict == Verdict::Accept {
        producers.check_transaction(header, guard)?;
    }
    Ok(verdict)
}

fn local(state: &State) -> Local {
    Local {
        log_start: state.log.log_start(),
        log_end: state.log.log_end(),
        last_epoch: state.log.epochs().latest().unwrap_or(LeaderEpoch::UNKNOWN),
        high_watermark: state.high_watermark,
    }
}

/// The offset after the last whole batch. What is broken is found when it is appended.
fn last_end(records: &Bytes) -> Option<Offset> {
    flotilla_protocol::records::parse_batches(records)
        .map_while(Result::ok)
        .last()
        .map(|(_, header, _): (usize, BatchHeader, &[u8])| header.next_offset())
}
