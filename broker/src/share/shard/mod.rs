//! What is stored of all share partitions of one partition of `__share_group_state`.
//!
//! Each change is one record, which says all. It is seen by later requests at once, and answered for when it is committed;
//! should it fail, it has never been.

mod error;
mod request;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use flotilla_protocol::{LeaderEpoch, Offset, Uuid};
use imbl::OrdMap;

use super::delivery::RecordState;
use super::record::{Record, Snapshot};
use super::state::{SharePartition, Stored};
use crate::group::{Ticket, WriteError, WriteId};

pub use error::Error;
pub use request::{Reply, Request, Summary, WriteState};

/// What a shard wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// Which.
        to: Ticket,
        /// With what.
        reply: Reply,
    },
    /// Append these records, then report [`Shard::committed`] or [`Shard::failed`].
    Append {
        /// The write's name.
        write: WriteId,
        /// At least one.
        records: Arc<[Record]>,
    },
}

/// How share coordinators behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// `share.coordinator.write.timeout.ms`: how long an answer waits for its record to be committed.
    pub write_timeout_ms: u64,
}

impl Default for Config {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            write_timeout_ms: 5_000,
        }
    }
}

/// Most writes that wait to be committed. At the limit, requests that would write are told to come again.
const WRITES_PENDING_MAX: usize = 4_096;
/// Most share partitions in one shard. At the limit, new ones are refused.
const SHARE_PARTITIONS_MAX: usize = 200_000;
/// Longest id of a group, in bytes: records have 16-bit lengths.
const GROUP_BYTES_MAX: usize = 32_000;
/// Most batches of one share partition: the most records that Kafka lets a group lock, and as many between them. They fit
/// into one record.
const BATCHES_MAX: usize = 20_000;
/// Most records in one write of the shard's own making, so that it fits into a batch.
const RECORDS_PER_WRITE_MAX: usize = 1_000;

type States = OrdMap<SharePartition, Arc<Snapshot>>;

/// A shard. See the [module](self).
#[derive(Clone, Debug)]
pub struct Shard {
    config: Config,
    /// With all pending writes on top.
    latest: States,
    committed: States,
    writes: VecDeque<Write>,
    next_write: u64,
    now_ms: u64,
    effects: Vec<Effect>,
}

#[derive(Clone, Debug)]
struct Write {
    id: WriteId,
    after: States,
    replies: Vec<(Ticket, Reply)>,
    deadline_ms: u64,
    is_late: bool,
}

impl Shard {
    /// An empty shard. Feed it its partition's records with [`Shard::replay`], then call [`Shard::loaded`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            latest: States::new(),
            committed: States::new(),
            writes: VecDeque::new(),
            next_write: 0,
            now_ms: 0,
            effects: Vec::new(),
        }
    }

    /// Takes over changed settings.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// Folds one record of the partition in, in the order of the log.
    pub fn replay(&mut self, record: &Record) {
        match &record.value {
            Some(snapshot) => {
                self.latest.insert(record.of.clone(), Arc::new(snapshot.clone()));
            }
            None => {
                self.latest.remove(&record.of);
            }
        }
    }

    /// All has been replayed, and is committed: the shard begins to serve.
    pub fn loaded(&mut self, now_ms: u64) -> Vec<Effect> {
        self.now_ms = now_ms;
        self.committed = self.latest.clone();
        Vec::new()
    }

    /// When [`Shard::tick`] has something to do next, in ms.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let waited_for = self.writes.iter().find(|write| !write.is_late);
        waited_for.map(|write| write.deadline_ms)
    }

    /// Serves a request. Its answer comes now or later, exactly once, as an [`Effect::Reply`] to this ticket.
    pub fn apply(&mut self, now_ms: u64, to: Ticket, request: Request) -> Vec<Effect> {
        self.now_ms = now_ms;
        let decided = self.admit(&request).and_then(|()| match &request {
            Request::Initialize {
                of,
                state_epoch,
                start,
            } => self.initialize(to, of, *state_epoch, *start),
            Request::Read { of, leader_epoch } => self.read(to, of, *leader_epoch),
            Request::Write { of, change } => self.write_state(to, of, change),
            Request::Delete(of) => self.delete(to, of),
            Request::Summary(of) => {
                let summary = self.latest.get(of).map(|snapshot| summary(&snapshot.stored));
                self.reply_after_writes(to, Reply::Summary(Ok(summary)));
                Ok(())
            }
            Request::TopicsDeleted(topics) => {
                self.topics_deleted(to, topics);
                Ok(())
            }
        });
        if let Err(error) = decided {
            self.reply(to, request.refused(error));
        }
        std::mem::take(&mut self.effects)
    }

    /// Those who wait for a write that is late are told so. Its records are in the log and may still be committed.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Effect> {
        self.now_ms = now_ms;
        let mut late = Vec::new();
        for write in &mut self.writes {
            if !write.is_late && write.deadline_ms <= now_ms {
                write.is_late = true;
                late.append(&mut write.replies);
            }
        }
        for (to, reply) in late {
            self.reply(to, reply.failed(WriteError::NotReplicated.into()));
        }
        std::mem::take(&mut self.effects)
    }

    /// A write, and with it all before it, is committed.
    pub fn committed(&mut self, now_ms: u64, write: WriteId) -> Vec<Effect> {
        self.now_ms = now_ms;
        while self.writes.front().is_some_and(|first| first.id <= write) {
            let Some(done) = self.writes.pop_front() else {
                break;
            };
            self.committed = done.after;
            for (to, reply) in done.replies {
                self.reply(to, reply);
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// A write could not be appended, and none after it will be: they are taken back.
    pub fn failed(&mut self, now_ms: u64, write: WriteId, error: WriteError) -> Vec<Effect> {
        self.now_ms = now_ms;
        let kept = self
            .writes
            .iter()
            .take_while(|pending| pending.id < write)
            .count();
        let undone = self.writes.split_off(kept);
        self.latest = match self.writes.back() {
            Some(last) => last.after.clone(),
            None => self.committed.clone(),
        };
        for (to, reply) in undone.into_iter().flat_map(|write| write.replies) {
            self.reply(to, reply.failed(error.into()));
        }
        std::mem::take(&mut self.effects)
    }

    /// Another broker takes over: everyone who waits is sent there.
    pub fn unload(mut self) -> Vec<Effect> {
        let waiting = std::mem::take(&mut self.writes);
        for (to, reply) in waiting.into_iter().flat_map(|write| write.replies) {
            self.reply(to, reply.failed(Error::NotCoordinator));
        }
        self.effects
    }

    fn admit(&self, request: &Request) -> Result<(), Error> {
        if let Some(of) = request.of()
            && (of.group.is_empty()
                || of.group.len() > GROUP_BYTES_MAX
                || of.topic_id.is_zero()
                || of.partition < 0)
        {
            return Err(Error::InvalidRequest);
        }
        match self.writes.len() >= WRITES_PENDING_MAX {
            true => Err(Error::NotAvailable),
            false => Ok(()),
        }
    }

    fn initialize(
        &mut self,
        to: Ticket,
        of: &SharePartition,
        state_epoch: i32,
        start: Offset,
    ) -> Result<(), Error> {
        if state_epoch < 0 || start.0 < -1 {
            return Err(Error::InvalidRequest);
        }
        match self.latest.get(of) {
            Some(known) if state_epoch < known.stored.state_epoch => return Err(Error::FencedStateEpoch),
            // A group that only wants to begin loses nothing of where it stands, should it ask twice.
            Some(_) if start.0 < 0 => {
                self.reply_after_writes(to, Reply::Done(Ok(())));
                return Ok(());
            }
            None if self.latest.len() >= SHARE_PARTITIONS_MAX => return Err(Error::NotAvailable),
            _ => {}
        }
        self.store(to, of, Stored::new(state_epoch, start), Reply::Done(Ok(())));
        Ok(())
    }

    fn read(&mut self, to: Ticket, of: &SharePartition, leader_epoch: LeaderEpoch) -> Result<(), Error> {
        let known = self.latest.get(of).ok_or(Error::Uninitialized)?;
        if leader_epoch < known.stored.leader_epoch {
            return Err(Error::FencedLeaderEpoch);
        }
        let stored = Stored {
            leader_epoch,
            ..known.stored.clone()
        };
        let reply = Reply::Read(Ok(stored.clone()));
        if stored == known.stored {
            self.reply_after_writes(to, reply);
        } else {
            self.store(to, of, stored, reply);
        }
        Ok(())
    }

    fn write_state(&mut self, to: Ticket, of: &SharePartition, change: &WriteState) -> Result<(), Error> {
        let known = self.latest.get(of).ok_or(Error::Uninitialized)?;
        if change.leader_epoch < known.stored.leader_epoch {
            return Err(Error::FencedLeaderEpoch);
        }
        if change.state_epoch < known.stored.state_epoch {
            return Err(Error::FencedStateEpoch);
        }
        let is_sound = change.batches.iter().all(|batch| {
            batch.first.0 >= 0 && batch.first <= batch.last && batch.state != RecordState::Acquired
        });
        if !is_sound {
            return Err(Error::InvalidRequest);
        }
        let mut stored = known.stored.with(change.start, change.finished, &change.batches);
        stored.leader_epoch = change.leader_epoch;
        stored.state_epoch = change.state_epoch;
        if stored.batches.len() > BATCHES_MAX {
            return Err(Error::InvalidRequest);
        }
        self.store(to, of, stored, Reply::Done(Ok(())));
        Ok(())
    }

    fn delete(&mut self, to: Ticket, of: &SharePartition) -> Result<(), Error> {
        let reply = Reply::Done(Ok(()));
        if self.latest.contains_key(of) {
            self.write(vec![forgotten(of)], vec![(to, reply)]);
        } else {
            self.reply_after_writes(to, reply);
        }
        Ok(())
    }

    fn topics_deleted(&mut self, to: Ticket, topics: &[Uuid]) {
        let gone: Vec<Record> = self
            .latest
            .keys()
            .filter(|of| topics.contains(&of.topic_id))
            .map(forgotten)
            .collect();
        for some in gone.chunks(RECORDS_PER_WRITE_MAX) {
            self.write(some.to_vec(), Vec::new());
        }
        self.reply_after_writes(to, Reply::TopicsDeleted);
    }

    fn store(&mut self, to: Ticket, of: &SharePartition, stored: Stored, reply: Reply) {
        let now_ms = self.now_ms.cast_signed();
        let before = self.latest.get(of);
        let snapshot = Snapshot {
            epoch: before.map_or(0, |before| before.epoch.wrapping_add(1)),
            created_ms: before.map_or(now_ms, |before| before.created_ms),
            written_ms: now_ms,
            stored,
        };
        let record = Record {
            of: of.clone(),
            value: Some(snapshot),
        };
        self.write(vec![record], vec![(to, reply)]);
    }

    fn write(&mut self, records: Vec<Record>, replies: Vec<(Ticket, Reply)>) {
        for record in &records {
            self.replay(record);
        }
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.writes.push_back(Write {
            id,
            after: self.latest.clone(),
            replies,
            deadline_ms: self.now_ms + self.config.write_timeout_ms,
            is_late: false,
        });
        self.effects.push(Effect::Append {
            write: id,
            records: records.into(),
        });
    }

    fn reply(&mut self, to: Ticket, reply: Reply) {
        self.effects.push(Effect::Reply { to, reply });
    }

    /// Answers when everything that is under way is committed: nothing is shown that the log might still lose.
    fn reply_after_writes(&mut self, to: Ticket, reply: Reply) {
        match self.writes.back_mut() {
            None => self.reply(to, reply),
            Some(last) if last.is_late => self.reply(to, reply.failed(Error::NotAvailable)),
            Some(last) => last.replies.push((to, reply)),
        }
    }
}

fn forgotten(of: &SharePartition) -> Record {
    Record {
        of: of.clone(),
        value: None,
    }
}

fn summary(stored: &Stored) -> Summary {
    Summary {
        state_epoch: stored.state_epoch,
        leader_epoch: stored.leader_epoch,
        start: stored.start,
        finished: stored.finished,
    }
}
