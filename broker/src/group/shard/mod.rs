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
mod streams;
mod sync;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::classic::{Group, Member};
use super::consumer::{Groups, Hashes, Seen};
use super::error::Error;
use super::offsets::Offsets;
use super::record::Record;
use super::share::Groups as ShareGroups;
use super::streams::{Groups as StreamsGroups, Volatile};
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
    shares_committed: ShareGroups,
    shares: ShareGroups,
    /// Streams groups, in the same two states, and what is known of them besides.
    streams_committed: StreamsGroups,
    streams: StreamsGroups,
    streams_volatile: BTreeMap<Text, Volatile>,
    /// The topics that there are, as the newest request knew them.
    seen: Seen,
    hashes: Hashes,
    /// The metadata that topics appeared in last.
    new_topics_index: u64,
    /// Groups to which the coordinator assigns, whose topics may have changed since their epochs went up.
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
    shares_after: ShareGroups,
    /// Streams groups once it is.
    streams_after: StreamsGroups,
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
    Session {
        group: Text,
        member: Text,
    },
    Rebalance {
        group: Text,
        member: Text,
    },
    Rejoin {
        group: Text,
        member: Text,
    },
    Resync {
        group: Text,
        member: Text,
    },
    Join(Text),
    Sync(Text),
    /// The first assignment of a streams group that was empty.
    Assignment(Text),
    Write(WriteId),
    Expiry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    Session,
    MemberSession,
    Rebalance { epoch: i32 },
    ClassicMember,
    InitialJoin { delay_ms: u64, remaining_ms: u64 },
    Join,
    Sync { generation: i32 },
    Assignment,
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
            shares_committed: ShareGroups::default(),
            shares: ShareGroups::default(),
            streams_committed: StreamsGroups::default(),
            streams: StreamsGroups::default(),
            streams_volatile: BTreeMap::new(),
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
            Request::ShareAltering { group, sets } => self.share_altering(to, &group, sets),
            Request::ShareDeleting { group, topics } => self.share_deleting(to, &group, topics.as_ref()),
            Request::ShareDeleted { group, topics } => self.share_deleted(to, &group, &topics),
            Request::ShareDescribe(groups) => {
                let described = groups.iter().map(|group| self.share_describe(group)).collect();
                self.reply(to, Reply::ShareDescribe(Ok(described)));
            }
            Request::StreamsHeartbeat(heartbeat) => self.streams_heartbeat(to, &heartbeat),
            Request::StreamsDescribe { groups, seen } => {
                self.observe(&seen);
                let described = groups.iter().map(|group| self.streams_describe(group)).collect();
                self.reply(to, Reply::StreamsDescribe(Ok(described)));
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
                (Key::Session { group, member }, Alarm::MemberSession) => {
                    self.fence(&group, std::slice::from_ref(&member));
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
                (Key::Assignment(group), _) => self.streams_delay_over(&group),
                (Key::Write(write), _) => self.write_late(write),
                (Key::Expiry, _) => self.expire(),
            }
        }
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
                | Request::StreamsDescribe { .. }
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
                | Request::StreamsHeartbeat(_)
                | Request::StreamsDescribe { .. }
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

    /// Whether the group is one to whose members the coordinator assigns, not a classic one.
    fn is_assigned_to(&self, id: &str) -> bool {
        self.consumers.contains(id) || self.shares.contains(id) || self.streams.contains(id)
    }

    /// Whether there is such a group, of whatever protocol.
    fn is_known(&self, id: &str) -> bool {
        self.groups.contains_key(id) || self.is_assigned_to(id)
    }

    /// How many groups are not classic ones.
    fn assigned_count(&self) -> usize {
        self.consumers.len() + self.shares.len() + self.streams.len()
    }

    fn reply(&mut self, to: Ticket, reply: Reply) {
        self.effects.push(Effect::Reply { to, reply });
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
