//! All groups and offsets of one partition of `__consumer_offsets`.
//!
//! A shard is fed requests, the passing of time and the fate of its writes, and returns what is to be done. A write is
//! a list of records to be appended together. What it changes is seen by the shard's own decisions at once, by clients
//! only when it is committed; should it fail, the shard is as if it had never been.

mod consumer;
mod fence;
mod join;
mod leave;
mod load;
mod migration;
mod mixed;
mod offset;
mod read;
mod rebalance;
pub(super) mod request;
mod share;
mod sync;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::classic::{Group, Member, State};
use super::consumer::{Groups, Hashes, Seen};
use super::error::{Error, WriteError};
use super::offsets::Offsets;
use super::record::Record;
use super::share::Groups as Shares;
use super::timer::Timers;
use super::{Config, Text};
use request::{EndTransaction, Joined, Producer, Reply, Request};

/// Names a request while its answer is awaited. Drawn by the caller, who must not use one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names a write of a shard; later writes have greater ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

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
    /// Append these records together, then report [`Shard::committed`] or [`Shard::failed`].
    Append {
        /// The write's name.
        write: WriteId,
        /// At least one.
        records: Arc<[Record]>,
    },
    /// Append these records as part of a producer's transaction, then report the same.
    AppendInTransaction {
        /// The write's name.
        write: WriteId,
        /// Whose.
        producer: Producer,
        /// At least one.
        records: Arc<[Record]>,
    },
    /// Append the marker that ends a transaction, then report the same.
    AppendMarker {
        /// The write's name.
        write: WriteId,
        /// What it says.
        marker: EndTransaction,
    },
}

/// Most writes that wait to be committed. At the limit, requests that would write are told to come again.
const WRITES_PENDING_MAX: usize = 4_096;
/// Most groups in one shard. At the limit, new groups are refused.
const GROUPS_MAX: usize = 200_000;
/// Most ids of one group that are given out and have not been used yet. At the limit, the group counts as full.
const PENDING_JOINS_MAX: usize = 10_000;
/// Most records in one write of the shard's own making (expiry, deletion), so that it fits into a batch.
const RECORDS_PER_WRITE_MAX: usize = 1_000;
/// Longest id of a group, and longest part of a member's id that a client chooses, in bytes: records have 16-bit lengths.
const ID_BYTES_MAX: usize = 32_000;

/// A shard. See the [module](self).
#[derive(Clone, Debug)]
pub struct Shard {
    config: Config,
    groups: BTreeMap<Text, Group>,
    /// What the log says up to what is committed in it.
    committed: Offsets,
    /// With all pending writes on top.
    latest: Offsets,
    /// Groups of the new protocol, in the same two states.
    consumers_committed: Groups,
    consumers: Groups,
    /// Share groups, in the same two states.
    shares_committed: Shares,
    shares: Shares,
    /// The topics that there are, as the newest request knew them.
    seen: Seen,
    hashes: Hashes,
    /// The metadata that topics appeared in last.
    new_topics_index: u64,
    /// Groups of the new protocol whose topics may have changed since their epochs went up.
    stale: BTreeSet<Text>,
    /// Groups whose regular expressions are being looked up, and how long that is waited for.
    resolving: BTreeMap<Text, u64>,
    /// Share groups of which states are being stored, and how long that is waited for.
    initializing: BTreeMap<Text, u64>,
    /// Appended or about to be, in order.
    writes: VecDeque<Write>,
    next_write: u64,
    timers: Timers<Key, Alarm>,
    now_ms: u64,
    effects: Vec<Effect>,
}

#[derive(Clone, Debug)]
struct Write {
    id: WriteId,
    /// Offsets once this write is committed.
    after: Offsets,
    /// Groups of the new protocol once it is.
    consumers_after: Groups,
    /// Share groups once it is.
    shares_after: Shares,
    then: Vec<Then>,
    late: bool,
}

/// What follows when a write is committed, or has failed.
#[derive(Clone, Debug)]
enum Then {
    /// Answer a request; with this, if all went well.
    Reply { to: Ticket, reply: Reply },
    /// Hand out an assignment.
    Assign {
        group: Text,
        generation: i32,
        assignment: BTreeMap<Text, Bytes>,
    },
    /// Let a static member in that has taken its former self's place.
    Replace(Box<Replace>),
    /// Show a new group.
    Know { group: Text },
    /// Drop a deleted group; `since_ms` is what it goes back to if it stays.
    Forget { group: Text, since_ms: i64 },
    /// Bring a classic group back if it did not become one of the new protocol after all.
    Convert { group: Text, was: Box<Group> },
}

#[derive(Clone, Debug)]
struct Replace {
    group: Text,
    generation: i32,
    new_id: Text,
    old: Member,
    old_leader: Option<Text>,
    can_skip_assignment: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Session { group: Text, member: Text },
    Rebalance { group: Text, member: Text },
    Rejoin { group: Text, member: Text },
    Resync { group: Text, member: Text },
    Join(Text),
    Sync(Text),
    Write(WriteId),
    Expiry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    Session,
    ConsumerSession,
    ShareSession,
    Rebalance { epoch: i32 },
    ClassicMember,
    InitialJoin { delay_ms: u64, remaining_ms: u64 },
    Join,
    Sync { generation: i32 },
    Write,
    Expiry,
}

impl Shard {
    /// An empty shard. Feed it its partition's records with [`Shard::replay`], then call [`Shard::loaded`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            committed: Offsets::default(),
            latest: Offsets::default(),
            consumers_committed: Groups::default(),
            consumers: Groups::default(),
            shares_committed: Shares::default(),
            shares: Shares::default(),
            seen: Seen::default(),
            hashes: Hashes::default(),
            new_topics_index: 0,
            stale: BTreeSet::new(),
            resolving: BTreeMap::new(),
            initializing: BTreeMap::new(),
            writes: VecDeque::new(),
            next_write: 0,
            timers: Timers::new(),
            now_ms: 0,
            effects: Vec::new(),
        }
    }

    /// Takes over changed settings; what is scheduled stays as it is.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// When [`Shard::tick`] has something to do next, in ms.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    /// Serves a request. Its answer comes now or later, exactly once, as an [`Effect::Reply`] to this ticket.
    pub fn apply(&mut self, now_ms: u64, to: Ticket, request: Request) -> Vec<Effect> {
        self.now_ms = now_ms;
        if let Err(error) = self.admit(&request) {
            self.reply(to, request.refused(error));
            return std::mem::take(&mut self.effects);
        }
        match request {
            Request::Join(join) => self.join(to, join),
            Request::Sync(sync) => self.sync(to, sync),
            Request::Heartbeat {
                group,
                member_id,
                instance_id,
                generation,
                seen,
            } => match self.mixed(&group, &seen) {
                Some(mixed) => {
                    self.mixed_heartbeat(to, &group, &mixed, &member_id, instance_id.as_ref(), generation);
                }
                None => {
                    let result = self.heartbeat(&group, &member_id, instance_id.as_deref(), generation);
                    self.reply(to, Reply::Heartbeat(result));
                }
            },
            Request::Leave(leave) => self.leave(to, &leave),
            Request::Commit(commit) => self.commit(to, &commit, None),
            Request::CommitInTransaction(commit, producer) => self.commit(to, &commit, Some(producer)),
            Request::EndTransaction(marker) => self.end_transaction(to, marker),
            Request::Fetch(fetch) => self.fetch(to, fetch),
            Request::DeleteOffsets { group, partitions } => self.delete_offsets(to, &group, &partitions),
            Request::Delete(groups) => self.delete(to, &groups),
            Request::Describe(groups) => {
                let described = groups.iter().map(|group| self.describe(group)).collect();
                self.reply(to, Reply::Describe(Ok(described)));
            }
            Request::List => {
                let listed = self.list();
                self.reply(to, Reply::List(Ok(listed)));
            }
            Request::TopicsDeleted(topics) => self.topics_deleted(to, &topics),
            Request::ConsumerHeartbeat(heartbeat) => self.consumer_heartbeat(to, &heartbeat),
            Request::Resolution(resolution) => self.consumer_resolution(to, &resolution),
            Request::ConsumerDescribe(groups) => {
                let described = groups.iter().map(|group| self.consumer_describe(group)).collect();
                self.reply(to, Reply::ConsumerDescribe(Ok(described)));
            }
            Request::ShareHeartbeat(heartbeat) => self.share_heartbeat(to, &heartbeat),
            Request::ShareInitialized { group, topics } => self.share_initialized(to, &group, &topics),
            Request::ShareStanding(group) => {
                let standing = self.share_standing(&group);
                self.reply_after_writes(to, Reply::ShareStanding(standing));
            }
            Request::ShareAltering(group) => self.share_altering(to, &group),
            Request::ShareDeleting { group, topics } => self.share_deleting(to, &group, topics.as_ref()),
            Request::ShareDeleted { group, topics } => self.share_deleted(to, &group, &topics),
            Request::ShareDescribe(groups) => {
                let described = groups.iter().map(|group| self.share_describe(group)).collect();
                self.reply(to, Reply::ShareDescribe(Ok(described)));
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Does what is due.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Effect> {
        self.now_ms = now_ms;
        // What is due again at the same moment waits for the next tick, so that this one ends.
        let mut due = Vec::new();
        while let Some(alarm) = self.timers.pop(now_ms) {
            due.push(alarm);
        }
        for (key, alarm) in due {
            match (key, alarm) {
                (Key::Session { group, member }, Alarm::ConsumerSession) => {
                    self.consumer_session_over(&group, &member);
                }
                (Key::Session { group, member }, Alarm::ShareSession) => {
                    self.share_session_over(&group, &member);
                }
                (Key::Session { group, member }, _) => self.session_over(&group, &member),
                (Key::Rebalance { group, member }, Alarm::Rebalance { epoch }) => {
                    self.consumer_rebalance_over(&group, &member, epoch);
                }
                (Key::Rebalance { .. }, _) => {}
                (Key::Rejoin { group, member } | Key::Resync { group, member }, _) => {
                    self.fence(&group, std::slice::from_ref(&member));
                }
                (
                    Key::Join(group),
                    Alarm::InitialJoin {
                        delay_ms,
                        remaining_ms,
                    },
                ) => {
                    self.initial_delay_over(&group, delay_ms, remaining_ms);
                }
                (Key::Join(group), _) => self.complete_join(&group),
                (Key::Sync(group), Alarm::Sync { generation }) => self.sync_over(&group, generation),
                (Key::Sync(_), _) => {}
                (Key::Write(write), _) => self.write_late(write),
                (Key::Expiry, _) => self.expire(),
            }
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
            self.timers.cancel(&Key::Write(done.id));
            self.committed = done.after;
            self.consumers_committed = done.consumers_after;
            self.shares_committed = done.shares_after;
            for then in done.then {
                self.follow(done.id, then, Ok(()));
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
        (self.latest, self.consumers, self.shares) = match self.writes.back() {
            Some(last) => (
                last.after.clone(),
                last.consumers_after.clone(),
                last.shares_after.clone(),
            ),
            None => (
                self.committed.clone(),
                self.consumers_committed.clone(),
                self.shares_committed.clone(),
            ),
        };
        // The newest first, so that a group's birth is undone last.
        for write in undone.into_iter().rev() {
            self.timers.cancel(&Key::Write(write.id));
            for then in write.then {
                self.follow(write.id, then, Err(error));
            }
        }
        self.consumers_restored();
        self.shares_restored();
        std::mem::take(&mut self.effects)
    }

    fn admit(&self, request: &Request) -> Result<(), Error> {
        let reads = matches!(
            request,
            Request::Heartbeat { .. }
                | Request::Fetch(_)
                | Request::Describe(_)
                | Request::List
                | Request::ConsumerDescribe(_)
                | Request::ShareStanding(_)
                | Request::ShareDescribe(_)
        );
        // An empty id is good for offsets of old clients, and for nothing else (Kafka's rule).
        let may_be_empty = matches!(
            request,
            Request::Commit(_)
                | Request::CommitInTransaction(..)
                | Request::Fetch(_)
                | Request::Describe(_)
                | Request::Delete(_)
                // These have words of their own for it.
                | Request::ConsumerHeartbeat(_)
                | Request::ConsumerDescribe(_)
                | Request::ShareHeartbeat(_)
                | Request::ShareDescribe(_)
        );
        for group in request.groups() {
            if group.len() > ID_BYTES_MAX || (group.is_empty() && !may_be_empty) {
                return Err(Error::InvalidGroupId);
            }
        }
        if !reads && self.writes.len() >= WRITES_PENDING_MAX {
            return Err(Error::NotAvailable);
        }
        Ok(())
    }

    fn reply(&mut self, to: Ticket, reply: Reply) {
        self.effects.push(Effect::Reply { to, reply });
    }

    fn write(&mut self, records: Vec<Record>, then: Vec<Then>) -> WriteId {
        for record in &records {
            self.latest.apply(record);
            match record {
                Record::Consumer { group, record } => self.consumers.apply(group, record),
                Record::Share { group, record } => self.shares.apply(group, record),
                _ => {}
            }
        }
        let write = self.begin_write(then);
        self.effects.push(Effect::Append {
            write,
            records: records.into(),
        });
        write
    }

    fn write_in_transaction(&mut self, producer: Producer, records: Vec<Record>, then: Vec<Then>) -> WriteId {
        for record in &records {
            self.latest.apply_in_doubt(producer.id, record);
        }
        let write = self.begin_write(then);
        self.effects.push(Effect::AppendInTransaction {
            write,
            producer,
            records: records.into(),
        });
        write
    }

    fn begin_write(&mut self, then: Vec<Then>) -> WriteId {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.writes.push_back(Write {
            id,
            after: self.latest.clone(),
            consumers_after: self.consumers.clone(),
            shares_after: self.shares.clone(),
            then,
            late: false,
        });
        let deadline_ms = self.now_ms + self.config.commit_timeout_ms;
        self.timers.set(Key::Write(id), deadline_ms, Alarm::Write);
        id
    }

    /// Answers when everything that is under way is committed.
    fn reply_after_writes(&mut self, to: Ticket, reply: Reply) {
        match self.writes.back_mut() {
            None => self.reply(to, reply),
            Some(last) if last.late => self.reply(to, reply.failed(WriteError::NotReplicated.into())),
            Some(last) => last.then.push(Then::Reply { to, reply }),
        }
    }

    /// Those who wait for a write are told that it is late. Its records are in the log and may still be committed.
    fn write_late(&mut self, write: WriteId) {
        let Some(late) = self.writes.iter_mut().find(|pending| pending.id == write) else {
            return;
        };
        late.late = true;
        let (keep, tell) = std::mem::take(&mut late.then).into_iter().partition(|then| {
            matches!(
                then,
                Then::Know { .. } | Then::Forget { .. } | Then::Convert { .. }
            )
        });
        late.then = keep;
        for then in tell {
            self.follow(write, then, Err(WriteError::NotReplicated));
        }
    }

    fn follow(&mut self, write: WriteId, then: Then, result: Result<(), WriteError>) {
        match then {
            Then::Reply { to, reply } => match result {
                Ok(()) => self.reply(to, reply),
                Err(error) => self.reply(to, reply.failed(error.into())),
            },
            Then::Assign {
                group,
                generation,
                assignment,
            } => match result {
                Ok(()) => self.assign(&group, generation, &assignment),
                Err(error) => self.assignment_lost(&group, generation, error.into()),
            },
            Then::Replace(replace) => match result {
                Ok(()) => self.replaced(&replace),
                Err(error) => self.replacement_lost(*replace, error.into()),
            },
            Then::Know { group } => self.know(write, &group, result),
            Then::Forget { group, since_ms } => self.forget(&group, since_ms, result),
            Then::Convert { group, was } => {
                if result.is_err() {
                    self.stay_classic(&group, *was);
                }
            }
        }
    }

    fn know(&mut self, write: WriteId, id: &Text, result: Result<(), WriteError>) {
        let Some(group) = self.groups.get_mut(id).filter(|group| group.born == Some(write)) else {
            return;
        };
        match result {
            Ok(()) => group.born = None,
            Err(error) => self.drop_group(id, error.into()),
        }
    }

    fn forget(&mut self, id: &Text, since_ms: i64, result: Result<(), WriteError>) {
        match result {
            Ok(()) => self.drop_group(id, Error::NotAvailable),
            Err(_) => {
                if let Some(group) = self.groups.get_mut(id) {
                    group.become_(State::Empty, self.now_ms);
                    group.state_timestamp_ms = since_ms;
                }
            }
        }
    }

    /// Removes a group with all its timers; whoever waits in it gets the error.
    fn drop_group(&mut self, id: &Text, error: Error) {
        let Some(group) = self.groups.remove(id) else {
            return;
        };
        self.forget_timers(id, &group);
        for member in group.members() {
            let member_id = member.id.clone();
            self.answer(member, member_id, error);
        }
    }

    fn forget_timers(&mut self, id: &Text, group: &Group) {
        self.timers.cancel(&Key::Join(id.clone()));
        self.timers.cancel(&Key::Sync(id.clone()));
        let ids = group
            .members()
            .map(|member| &member.id)
            .chain(&group.pending_joins);
        for member in ids {
            self.timers.cancel(&session(id, member));
        }
    }

    /// Tells a member that leaves the group, one way or another, what became of what it waits for.
    fn answer(&mut self, member: &Member, member_id: Text, error: Error) {
        if let Some(to) = member.awaiting_join {
            self.reply(to, Reply::Join(Joined::refused(member_id, error)));
        }
        if let Some(to) = member.awaiting_sync {
            self.reply(to, Reply::Sync(Err(error)));
        }
    }

    fn expect_heartbeat(&mut self, group: &Text, member: &Text, within_ms: u64) {
        let at_ms = self.now_ms + within_ms;
        self.timers.set(session(group, member), at_ms, Alarm::Session);
    }
}

fn session(group: &Text, member: &Text) -> Key {
    Key::Session {
        group: group.clone(),
        member: member.clone(),
    }
}
