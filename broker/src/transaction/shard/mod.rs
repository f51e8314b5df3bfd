//! All transactional ids of one partition of `__transaction_state`.
//!
//! Each change is one record. While it is under way, what is known of the id is what was committed before, and the id takes
//! no other request; should the record fail, nothing has happened.

mod end;
mod init;
mod partitions;
mod read;
pub(super) mod request;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use flotilla_protocol::ProducerId;

use super::Config;
use super::error::Error;
use super::metadata::{NO_EPOCH, Partition, ProducerRef, Status, Transaction};
use super::record::Record;
use crate::group::{Text, Ticket, WriteError, WriteId};
use request::{Reply, Request};

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
    /// Append this record, then report [`Shard::committed`] or [`Shard::failed`].
    Append {
        /// The write's name.
        write: WriteId,
        /// The record.
        records: Arc<[Record]>,
    },
    /// Have the leaders of these partitions write their markers, however long it takes, then ask
    /// [`Request::Marked`](super::Request::Marked).
    Mark(Mark),
}

/// The markers of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The transactional id.
    pub id: Text,
    /// Whose transaction, with the epoch that the markers have.
    pub producer: ProducerRef,
    /// Committed, or else aborted.
    pub committed: bool,
    /// This coordinator's.
    pub coordinator_epoch: i32,
    /// Whether the markers' epoch is higher than that of the records.
    pub is_bumped: bool,
    /// Where.
    pub partitions: BTreeSet<Partition>,
}

/// Most writes that wait to be committed. At the limit, requests that would write are told to come again.
const WRITES_PENDING_MAX: usize = 4_096;
/// Most transactional ids in one shard. At the limit, new ones are refused.
const IDS_MAX: usize = 200_000;
/// Longest transactional id, in bytes: records have 16-bit lengths.
const ID_BYTES_MAX: usize = 32_000;
/// How long an answer waits for its record to be committed.
const COMMIT_TIMEOUT_MS: u64 = 5_000;
/// How long a transaction whose end could not be stored waits until it is tried again.
const RETRY_MS: u64 = 250;

/// A shard. See the [module](self).
#[derive(Clone, Debug)]
pub struct Shard {
    config: Config,
    /// The leader epoch of the partition: a coordinator that comes later has a higher one.
    coordinator_epoch: i32,
    entries: BTreeMap<Text, Entry>,
    writes: VecDeque<Write>,
    next_write: u64,
    /// When markers that are all written are to be noted once more.
    retries: BTreeSet<(u64, Text)>,
    next_abort_ms: u64,
    next_expiry_ms: u64,
    now_ms: u64,
    effects: Vec<Effect>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// As committed.
    transaction: Transaction,
    /// The change that is under way.
    pending: Option<WriteId>,
}

#[derive(Clone, Debug)]
struct Write {
    id: WriteId,
    /// Of which transactional id.
    of: Text,
    /// What it becomes; none: it is forgotten.
    next: Option<Transaction>,
    /// Who waits.
    reply: Option<(Ticket, Reply)>,
    deadline_ms: u64,
}

impl Shard {
    /// An empty shard. Feed it its partition's records with [`Shard::replay`], then call [`Shard::loaded`].
    #[must_use]
    pub fn new(config: Config, coordinator_epoch: i32) -> Self {
        Self {
            config,
            coordinator_epoch,
            entries: BTreeMap::new(),
            writes: VecDeque::new(),
            next_write: 0,
            retries: BTreeSet::new(),
            next_abort_ms: 0,
            next_expiry_ms: 0,
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
            Some(transaction) => {
                let entry = Entry {
                    transaction: transaction.clone(),
                    pending: None,
                };
                self.entries.insert(record.id.clone(), entry);
            }
            None => {
                self.entries.remove(&record.id);
            }
        }
    }

    /// All has been replayed, and is committed: the shard begins to serve. Markers of transactions that are decided are
    /// written again: nobody knows how many of them are.
    pub fn loaded(&mut self, now_ms: u64) -> Vec<Effect> {
        self.now_ms = now_ms;
        self.next_abort_ms = now_ms + self.config.abort_interval_ms;
        self.next_expiry_ms = now_ms + self.config.expiry_interval_ms;
        let decided: Vec<Text> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.transaction.status.is_prepared())
            .map(|(id, _)| id.clone())
            .collect();
        for id in decided {
            self.mark(&id);
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`Shard::tick`] has something to do next, in ms.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let write = self.writes.iter().find(|write| write.reply.is_some());
        let retry = self.retries.first().map(|(at_ms, _)| *at_ms);
        [
            Some(self.next_abort_ms),
            Some(self.next_expiry_ms),
            write.map(|write| write.deadline_ms),
            retry,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Serves a request. Its answer comes now or later, exactly once, as an [`Effect::Reply`] to this ticket.
    pub fn apply(&mut self, now_ms: u64, to: Ticket, request: Request) -> Vec<Effect> {
        self.now_ms = now_ms;
        if let Err(error) = self.admit(&request) {
            self.reply(to, request.refused(error));
            return std::mem::take(&mut self.effects);
        }
        match request {
            Request::Init(init) => self.init(to, &init),
            Request::Add(add) => self.add(to, &add),
            Request::Verify(add) => {
                let reply = Reply::Verify(self.verify(&add));
                self.reply(to, reply);
            }
            Request::End(end) => self.end(to, &end),
            Request::Marked(marked) => {
                let reply = Reply::Marked(self.marked(&marked));
                self.reply(to, reply);
            }
            Request::Describe(ids) => {
                let described = ids.iter().map(|id| self.describe(id)).collect();
                self.reply(to, Reply::Describe(Ok(described)));
            }
            Request::List(filter) => {
                let listed = self.list(&filter);
                self.reply(to, Reply::List(Ok(listed)));
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// A write, and with it all before it, is committed.
    pub fn committed(&mut self, now_ms: u64, write: WriteId) -> Vec<Effect> {
        self.now_ms = now_ms;
        while self.writes.front().is_some_and(|first| first.id <= write) {
            if let Some(done) = self.writes.pop_front() {
                self.settle(done);
            }
        }
        std::mem::take(&mut self.effects)
    }

    fn settle(&mut self, done: Write) {
        let Write { of, next, reply, .. } = done;
        match next {
            None => {
                self.entries.remove(&of);
            }
            Some(next) => {
                let is_decided = next.status.is_prepared();
                if let Some(entry) = self.entries.get_mut(&of) {
                    entry.transaction = next;
                    entry.pending = None;
                }
                if is_decided {
                    self.mark(&of);
                }
            }
        }
        if let Some((to, reply)) = reply {
            self.reply(to, reply);
        }
    }

    /// A write could not be appended, and none after it will be: they are taken back.
    pub fn failed(&mut self, now_ms: u64, write: WriteId, error: WriteError) -> Vec<Effect> {
        self.now_ms = now_ms;
        let kept = self
            .writes
            .iter()
            .take_while(|pending| pending.id < write)
            .count();
        for undone in self.writes.split_off(kept) {
            if let Some(entry) = self.entries.get_mut(&undone.of) {
                entry.pending = None;
                if entry.transaction.epoch == NO_EPOCH {
                    self.entries.remove(&undone.of);
                } else if entry.transaction.status.is_prepared() {
                    self.retries.insert((now_ms + RETRY_MS, undone.of));
                }
            }
            if let Some((to, reply)) = undone.reply {
                self.reply(to, reply.failed(error.into()));
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Another broker takes over: everyone who waits is sent there.
    pub fn unload(mut self) -> Vec<Effect> {
        for write in std::mem::take(&mut self.writes) {
            if let Some((to, reply)) = write.reply {
                self.reply(to, reply.failed(Error::NotCoordinator));
            }
        }
        self.effects
    }

    fn admit(&self, request: &Request) -> Result<(), Error> {
        if request
            .ids()
            .into_iter()
            .any(|id| id.is_empty() || id.len() > ID_BYTES_MAX)
        {
            return Err(Error::InvalidId);
        }
        let writes = matches!(request, Request::Init(_) | Request::Add(_) | Request::End(_));
        if writes && self.writes.len() >= WRITES_PENDING_MAX {
            return Err(Error::NotAvailable);
        }
        Ok(())
    }

    fn reply(&mut self, to: Ticket, reply: Reply) {
        self.effects.push(Effect::Reply { to, reply });
    }

    /// What is known of an id, if nothing of it is under way.
    fn settled(&self, id: &Text) -> Result<&Transaction, Error> {
        let entry = self.entries.get(id).ok_or(Error::ProducerIdMapping)?;
        match entry.pending {
            Some(_) => Err(Error::Concurrent),
            None => Ok(&entry.transaction),
        }
    }

    /// Begins a change; `reply` is sent once it is committed.
    fn write(&mut self, of: &Text, next: Option<Transaction>, reply: Option<(Ticket, Reply)>) {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        if let Some(entry) = self.entries.get_mut(of) {
            entry.pending = Some(id);
        }
        let record = Record {
            id: of.clone(),
            value: next.clone(),
        };
        self.writes.push_back(Write {
            id,
            of: of.clone(),
            next,
            reply,
            deadline_ms: self.now_ms + COMMIT_TIMEOUT_MS,
        });
        self.effects.push(Effect::Append {
            write: id,
            records: Arc::from([record]),
        });
    }

    /// Has the markers of a decided transaction written.
    fn mark(&mut self, id: &Text) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let transaction = &entry.transaction;
        if transaction.partitions.is_empty() {
            self.complete(&id.clone());
            return;
        }
        self.effects.push(Effect::Mark(Mark {
            id: id.clone(),
            producer: transaction.producer(),
            committed: transaction.status == Status::PrepareCommit,
            coordinator_epoch: self.coordinator_epoch,
            is_bumped: transaction.version.bumps(),
            partitions: transaction.partitions.clone(),
        }));
    }

    /// Notes that a decided transaction has ended.
    fn complete(&mut self, id: &Text) {
        let now_ms = self.now_ms as i64;
        let Ok(transaction) = self.settled(id) else {
            return;
        };
        if transaction.status.is_prepared() {
            let next = transaction.completed(now_ms);
            self.write(id, Some(next), None);
        }
    }

    fn entry(&mut self, id: &Text, fresh: ProducerId) -> Result<(), Error> {
        if self.entries.contains_key(id) {
            return Ok(());
        }
        if self.entries.len() >= IDS_MAX {
            return Err(Error::NotAvailable);
        }
        let entry = Entry {
            transaction: Transaction::new(fresh, self.now_ms as i64),
            pending: None,
        };
        self.entries.insert(id.clone(), entry);
        Ok(())
    }
}
