//! Reading: for consumers, for followers, and for coordinators that load their state.

use super::error::{ReadError, Unavailable};
use super::hosted::{Hosted, Role, State};
use crate::log::{self, Aborted, AbortedSearch, Plan, Target};
use crate::partition::check_epoch;
use crate::partition::follower::EpochEnd;
use crate::partition::leader::{Leader, NotCounted};
use crate::partition::progress;
use bytes::Bytes;
use flotilla_protocol::wire::Region;
use flotilla_protocol::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};
use std::sync::Arc;

/// How often a read is planned anew because retention took a segment away under it.
const PLANS_MAX: usize = 3;

/// Up to where a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upto {
    /// All that the leader has: followers, and coordinators that load what they themselves wrote.
    LogEnd,
    /// What is committed.
    HighWatermark,
    /// What is committed and belongs to no open transaction.
    LastStable,
}

/// Who fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A client.
    Consumer {
        /// Whether it wants only what is decided (`isolation.level=read_committed`).
        read_committed: bool,
    },
    /// A follower. Its fetch says what it has on disk.
    Replica {
        /// Who.
        broker: BrokerId,
        /// Under which registration (KIP-903).
        epoch: BrokerEpoch,
    },
    /// Another broker that mends its log from this one. What is committed is the same everywhere, so that it need not ask
    /// the leader.
    Peer,
}

impl Reader {
    pub(super) fn is_replica(self) -> bool {
        matches!(self, Self::Replica { .. })
    }

    fn upto(self) -> Upto {
        match self {
            Self::Replica { .. } => Upto::LogEnd,
            Self::Consumer { read_committed: true } => Upto::LastStable,
            Self::Consumer {
                read_committed: false,
            }
            | Self::Peer => Upto::HighWatermark,
        }
    }
}

/// What is fetched from one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The epoch that the asker believes in (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// From where on.
    pub offset: Offset,
    /// The epoch of what the asker has last, where it is sent (KIP-595).
    pub last_fetched_epoch: LeaderEpoch,
    /// A follower's log start.
    pub log_start: Offset,
    /// At most so many bytes, the first batch of all aside. A follower that asks for none says that it has no room.
    pub bytes_max: usize,
    /// The high watermark that a follower knows (KIP-1166). [`Offset`] of `i64::MAX` where it says nothing.
    pub high_watermark: Offset,
    /// Whether records may be left in the file in which they lie, to be sent from there.
    pub in_place: bool,
}

/// What was found in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What is committed.
    pub high_watermark: Offset,
    /// What is committed and decided.
    pub last_stable_offset: Offset,
    /// Where the log starts.
    pub log_start: Offset,
    /// Where the asker's log parts from the leader's. Then there are no records.
    pub diverging: Option<EpochEnd>,
    /// Whole batches.
    pub records: Vec<Bytes>,
    /// Instead of these: where they lie in a file, for who asked for them in place.
    pub region: Option<Region>,
    /// Their size.
    pub size_bytes: usize,
    /// Where to go on.
    pub next_offset: Offset,
    /// The replica that a consumer is to fetch from instead (KIP-392). Then there are no records.
    pub preferred: Option<BrokerId>,
    /// For readers of what is decided: transactions that were aborted, of which there may be records here.
    pub aborted: Vec<Aborted>,
}

/// A place in time (KIP-79, KIP-734).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The end, as far as the asker may see.
    Latest,
    /// The start.
    Earliest,
    /// The record with the highest timestamp.
    MaxTimestamp,
    /// The first record at or after this time, in milliseconds.
    Timestamp(i64),
}

/// An offset that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp in milliseconds. None for the start and the end.
    pub timestamp_ms: Option<i64>,
    /// The epoch of the record, where it is known.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Leads, or (none) follows, in the epoch that the asker believes in.
fn role_of(state: &State, asked: LeaderEpoch) -> Result<Option<&Leader>, Unavailable> {
    let (epoch, leader) = match &state.role {
        Role::Leader(leader) => (leader.epoch(), Some(&**leader)),
        Role::Follower(follower) => (follower.epoch(), None),
        Role::Idle => return Err(Unavailable::NotLeader),
    };
    check_epoch(asked, epoch)?;
    Ok(leader)
}

fn leader_of(state: &State, asked: LeaderEpoch) -> Result<&Leader, Unavailable> {
    role_of(state, asked)?.ok_or(Unavailable::NotLeader)
}

fn bound(state: &State, upto: Upto) -> Offset {
    match upto {
        Upto::LogEnd => state.log.log_end(),
        Upto::HighWatermark => state.high_watermark,
        // A transaction may have begun where DeleteRecords has moved the start beyond.
        Upto::LastStable => state
            .log
            .last_stable_offset(state.high_watermark)
            .max(state.log.log_start().min(state.high_watermark)),
    }
}

enum Begun {
    Done(Part),
    Reading(Part, Plan, Option<AbortedSearch>),
}

impl Hosted {
    /// Reads for a fetch. With `counts`, a follower's progress is counted: once a fetch. A consumer is served by the leader, and with `near` by any
    /// replica; the leader may then name it one of those.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        query: &Query,
        reader: Reader,
        near: Option<&[BrokerId]>,
        bytes_max: usize,
        min_one_batch: bool,
        counts: bool,
    ) -> Result<Part, ReadError> {
        let mut counts = counts;
        for _ in 0..PLANS_MAX {
            let (mut part, plan, search) =
                match self.begin(query, reader, near, bytes_max, min_one_batch, counts)? {
                    Begun::Done(part) => return Ok(part),
                    Begun::Reading(part, plan, search) => (part, plan, search),
                };
            counts = false;
            let plan = if query.in_place { plan.leaving() } else { plan };
            let Some(read) = self.run_plan(plan).await? else {
                continue;
            };
            if let Some(search) = search.filter(|_| read.size_bytes > 0) {
                let Some(aborted) = self.run_search(search, read.next_offset).await? else {
                    continue;
                };
                part.aborted = aborted;
            }
            part.size_bytes = read.size_bytes;
            part.next_offset = read.next_offset;
            part.records = read.batches;
            part.region = read.region;
            return Ok(part);
        }
        Err(ReadError::Disk(
            "segments go faster than they can be read".to_owned(),
        ))
    }

    fn begin(
        &self,
        query: &Query,
        reader: Reader,
        near: Option<&[BrokerId]>,
        bytes_max: usize,
        min_one_batch: bool,
        counts: bool,
    ) -> Result<Begun, ReadError> {
        let _span = self.span().entered();
        tracing::trace!("read");
        let mut state = self.lock()?;
        let leader = match reader {
            Reader::Consumer { .. } if near.is_some() => role_of(&state, query.leader_epoch)?,
            Reader::Peer => role_of(&state, query.leader_epoch)?,
            Reader::Consumer { .. } | Reader::Replica { .. } => Some(leader_of(&state, query.leader_epoch)?),
        };
        let is_leader = leader.is_some();
        let preferred = leader
            .zip(near)
            .and_then(|(leader, near)| leader.nearest(near, query.offset));
        let (log_start, log_end) = (state.log.log_start(), state.log.log_end());
        let out_of_range = ReadError::OutOfRange {
            asked: query.offset,
            log_start,
            log_end,
            high_watermark: state.high_watermark,
        };
        let diverging = if query.last_fetched_epoch == LeaderEpoch::UNKNOWN {
            None
        } else {
            match state
                .log
                .epochs()
                .end_offset_for(query.last_fetched_epoch, log_end)
            {
                _ if query.offset < log_start => return Err(out_of_range),
                None => return Err(out_of_range),
                Some((epoch, end)) => (epoch < query.last_fetched_epoch || end < query.offset)
                    .then_some(EpochEnd { epoch, end }),
            }
        };
        if diverging.is_none() {
            if !is_leader && reader != Reader::Peer && query.offset > log_end {
                // Whether there is such an offset only the leader knows: this replica may be behind.
                return Err(ReadError::NotHereYet {
                    asked: query.offset,
                    log_end,
                });
            }
            if query.offset < log_start || query.offset > log_end {
                return Err(out_of_range);
            }
            if counts {
                self.count(&mut state, query, reader)?;
            }
        }
        let part = Part {
            high_watermark: state.high_watermark,
            last_stable_offset: bound(&state, Upto::LastStable),
            log_start,
            diverging,
            records: Vec::new(),
            region: None,
            size_bytes: 0,
            next_offset: query.offset,
            preferred: preferred.filter(|_| diverging.is_none()),
            aborted: Vec::new(),
        };
        let bytes_max = bytes_max.min(query.bytes_max);
        let is_elsewhere = part.diverging.is_some() || part.preferred.is_some();
        if is_elsewhere || (bytes_max == 0 && !min_one_batch) {
            return Ok(Begun::Done(part));
        }
        let plan = state
            .log
            .plan_read(
                query.offset,
                bytes_max,
                bound(&state, reader.upto()),
                min_one_batch,
            )
            .map_err(|error| self.read_failed(&error))?;
        let search = (reader.upto() == Upto::LastStable).then(|| state.log.aborted_search(query.offset));
        Ok(Begun::Reading(part, plan, search))
    }

    /// None: the log moved on meanwhile, and the read is to be planned anew.
    async fn run_search(
        self: &Arc<Self>,
        search: AbortedSearch,
        upto: Offset,
    ) -> Result<Option<Vec<Aborted>>, ReadError> {
        let found = if search.blocks() {
            let done = self.shared.off_reactor(move || search.run(upto)).await;
            done.map_err(|stopped| ReadError::Disk(stopped.to_string()))?
        } else {
            search.run(upto)
        };
        match found {
            Ok(aborted) => Ok(Some(aborted)),
            Err(log::Error::Removed { .. }) => Ok(None),
            Err(log::Error::Damaged { .. }) => {
                let hosted = self.clone();
                let mended = self.shared.off_reactor(move || {
                    let mut state = hosted.lock()?;
                    let mended = state.log.mend_aborted();
                    drop(state);
                    mended.map_err(|error| hosted.read_failed(&error))
                });
                let mended = mended.await;
                mended
                    .map_err(|stopped| ReadError::Disk(stopped.to_string()))?
                    .map(|()| None)
            }
            Err(error) => Err(self.read_failed(&error)),
        }
    }

    fn count(&self, state: &mut State, query: &Query, reader: Reader) -> Result<(), ReadError> {
        let Reader::Replica { broker, epoch } = reader else {
            return Ok(());
        };
        let Role::Leader(leader) = &mut state.role else {
            return Err(Unavailable::NotLeader.into());
        };
        let fetched = progress::Fetched {
            offset: query.offset,
            log_start: query.log_start,
            broker_epoch: epoch,
            is_full: query.bytes_max == 0,
        };
        let effects =
            leader
                .fetched(broker, &fetched, self.shared.now_ms())
                .map_err(|refused| match refused {
                    NotCounted::NotAReplica(broker) => ReadError::NotAReplica(broker),
                    NotCounted::StaleBrokerEpoch { .. } => ReadError::StaleBrokerEpoch,
                })?;
        self.run(state, effects);
        Ok(())
    }

    /// None: the log moved on meanwhile, and the read is to be planned anew.
    async fn run_plan(self: &Arc<Self>, plan: Plan) -> Result<Option<log::Read>, ReadError> {
        let cold = match plan {
            Plan::Hot(read) => return Ok(Some(read)),
            Plan::Cold(cold) => cold,
        };
        match self.shared.off_reactor(move || cold.run()).await {
            Ok(Ok(read)) => Ok(Some(read)),
            Ok(Err(log::Error::Removed { .. })) => Ok(None),
            Ok(Err(error)) => Err(self.read_failed(&error)),
            Err(stopped) => Err(ReadError::Disk(stopped.to_string())),
        }
    }

    fn read_failed(&self, error: &log::Error) -> ReadError {
        if let log::Error::OffsetOutOfRange {
            offset,
            log_start,
            log_end,
        } = error
        {
            return ReadError::OutOfRange {
                asked: *offset,
                log_start: *log_start,
                log_end: *log_end,
                high_watermark: *log_start,
            };
        }
        if matches!(error, log::Error::Damaged { .. }) {
            self.suspect(error);
            return ReadError::Broken {
                reason: error.to_string(),
                beyond_repair: self.suspects.lock().is_hopeless,
            };
        }
        self.disk_failed(error);
        ReadError::Disk(error.to_string())
    }

    /// Reads as the leader, whoever asks: for coordinators.
    pub(super) async fn read(
        self: &Arc<Self>,
        from: Offset,
        bytes_max: usize,
        upto: Upto,
    ) -> Result<Part, ReadError> {
        for _ in 0..PLANS_MAX {
            let (mut part, plan) = {
                let state = self.lock()?;
                leader_of(&state, LeaderEpoch::UNKNOWN)?;
                let from = from.max(state.log.log_start());
                let plan = state
                    .log
                    .plan_read(from, bytes_max, bound(&state, upto), true)
                    .map_err(|error| self.read_failed(&error))?;
                let part = Part {
                    high_watermark: state.high_watermark,
                    last_stable_offset: bound(&state, Upto::LastStable),
                    log_start: state.log.log_start(),
                    diverging: None,
                    records: Vec::new(),
                    region: None,
                    size_bytes: 0,
                    next_offset: from,
                    preferred: None,
                    aborted: Vec::new(),
                };
                (part, plan)
            };
            if let Some(read) = self.run_plan(plan).await? {
                part.size_bytes = read.size_bytes;
                part.next_offset = read.next_offset;
                part.records = read.batches;
                return Ok(part);
            }
        }
        Err(ReadError::Disk(
            "segments go faster than they can be read".to_owned(),
        ))
    }

    /// Finds an offset by time. None: there is no such record that the asker may see.
    pub(super) async fn list_offset(
        self: &Arc<Self>,
        at: At,
        leader_epoch: LeaderEpoch,
        reader: Option<Reader>,
    ) -> Result<Option<Listed>, ReadError> {
        let upto = reader.map_or(Upto::LogEnd, Reader::upto);
        for _ in 0..PLANS_MAX {
            let (search, end, is_settled, epoch) = {
                let state = self.lock()?;
                let leader = leader_of(&state, leader_epoch)?;
                // A new leader that has not heard of its followers may show less than was committed before.
                let is_settled = upto == Upto::LogEnd || leader.high_watermark() >= leader.epoch_start();
                let (end, epoch) = (bound(&state, upto), leader.epoch());
                let target = match at {
                    At::Latest if !is_settled => return Err(ReadError::NotAvailableYet(epoch)),
                    At::Latest => {
                        return Ok(Some(Listed {
                            offset: end,
                            timestamp_ms: None,
                            leader_epoch: Some(epoch),
                        }));
                    }
                    At::Earliest => {
                        let start = state.log.log_start();
                        return Ok(Some(Listed {
                            offset: start,
                            timestamp_ms: None,
                            leader_epoch: state.log.epochs().epoch_for(start),
                        }));
                    }
                    At::MaxTimestamp => Target::MaxTimestamp,
                    At::Timestamp(ms) => Target::At(ms),
                };
                (state.log.search(target), end, is_settled, epoch)
            };
            let found = match self.shared.off_reactor(move || search.run()).await {
                Ok(Ok(found)) => found,
                Ok(Err(log::Error::Removed { .. })) => continue,
                Ok(Err(error)) => return Err(self.read_failed(&error)),
                Err(stopped) => return Err(ReadError::Disk(stopped.to_string())),
            };
            return match found {
                Some(found) if found.offset < end => Ok(Some(Listed {
                    offset: found.offset,
                    timestamp_ms: Some(found.timestamp_ms),
                    leader_epoch: Some(found.leader_epoch),
                })),
                Some(_) if !is_settled => Err(ReadError::NotAvailableYet(epoch)),
                _ => Ok(None),
            };
        }
        Err(ReadError::Disk(
            "segments go faster than they can be searched".to_owned(),
        ))
    }

    /// The end of an epoch in this leader's log (KIP-101, KIP-279). None where the epoch is not known.
    pub(super) fn epoch_end(
        &self,
        current: LeaderEpoch,
        asked: LeaderEpoch,
    ) -> Result<Option<EpochEnd>, Unavailable> {
        let state = self.lock()?;
        leader_of(&state, current)?;
        let found = state.log.epochs().end_offset_for(asked, state.log.log_end());
        Ok(found.map(|(epoch, end)| EpochEnd { epoch, end }))
    }
}
