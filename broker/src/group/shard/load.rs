//! From the log into memory, and out of it.

use flotilla_protocol::ProducerId;

use super::{Alarm, Effect, Group, Key, Shard};
use crate::group::Text;
use crate::group::error::Error;
use crate::group::record::Record;
use crate::group::shard::request::{Joined, Reply};

impl Shard {
    /// Folds one record of the partition in, in the order of the log.
    pub fn replay(&mut self, record: &Record) {
        match record {
            Record::OffsetCommit { group, value, .. } => {
                if value.is_some() && !self.is_assigned_to(group) {
                    self.groups.entry(group.clone()).or_insert_with(Group::new);
                }
                self.latest.apply(record);
            }
            Record::GroupMetadata {
                group,
                value: Some(value),
            } => {
                self.consumers.remove(group);
                self.shares.remove(group);
                self.streams.remove(group);
                self.groups.insert(group.clone(), Group::from_record(value));
            }
            Record::GroupMetadata { group, value: None } => {
                self.groups.remove(group);
            }
            Record::Consumer { group, record } => {
                self.consumers.apply(group, record);
                self.replayed_assigned(group);
            }
            Record::Streams { group, record } => {
                self.streams.apply(group, record);
                self.replayed_assigned(group);
            }
            Record::Share { group, record } => {
                self.shares.apply(group, record);
                self.replayed_assigned(group);
            }
        }
    }

    fn replayed_assigned(&mut self, group: &Text) {
        if self.is_assigned_to(group) {
            // One made of offsets alone, which came first in the log.
            self.groups.remove(group);
        } else if self.latest.of_group(group).next().is_some() {
            self.groups.entry(group.clone()).or_insert_with(Group::new);
        }
    }

    /// Folds one record of a producer's transaction in: it counts if that is committed.
    pub fn replay_in_transaction(&mut self, producer_id: ProducerId, record: &Record) {
        self.latest.apply_in_doubt(producer_id, record);
    }

    /// A producer's transaction ends here.
    pub fn replay_marker(&mut self, producer_id: ProducerId, committed: bool) {
        for group in self.latest.end_transaction(producer_id, committed) {
            if self.is_assigned_to(&group) {
                continue;
            }
            self.groups.entry(group).or_insert_with(Group::new);
        }
    }

    /// All has been replayed, and is committed: the shard begins to serve. Members get a whole session's time to be
    /// heard from.
    pub fn loaded(&mut self, now_ms: u64) -> Vec<Effect> {
        self.now_ms = now_ms;
        self.committed = self.latest.clone();
        self.consumers_loaded();
        self.shares_loaded();
        self.streams_loaded();
        let mut crowded: Vec<Text> = Vec::new();
        let mut unsettled: Vec<Text> = Vec::new();
        let mut sessions = Vec::new();
        for (id, group) in &self.groups {
            if group.members().len() > self.config.members_max {
                crowded.push(id.clone());
            } else if group.is_unsettled {
                unsettled.push(id.clone());
            }
            for member in group.members() {
                sessions.push((id.clone(), member.id.clone(), member.session_ms()));
            }
        }
        for (id, member, session_ms) in sessions {
            self.expect_heartbeat(&id, &member, session_ms);
        }
        for id in unsettled {
            self.prepare_rebalance(&id);
        }
        for id in crowded {
            // Members commit their offsets before they join again; then those who are too many are refused.
            self.prepare_rebalance(&id);
        }
        let at_ms = now_ms + self.config.offsets_retention_check_interval_ms;
        self.timers.set(Key::Expiry, at_ms, Alarm::Expiry);
        std::mem::take(&mut self.effects)
    }

    /// Another broker takes over: everyone who waits is sent there.
    pub fn unload(mut self) -> Vec<Effect> {
        let error = Error::NotCoordinator;
        for group in std::mem::take(&mut self.groups).values() {
            for member in group.members() {
                if let Some(to) = member.awaiting_join {
                    let reply = Joined::refused(member.id.clone(), error);
                    self.reply(to, Reply::Join(reply));
                }
                if let Some(to) = member.awaiting_sync {
                    self.reply(to, Reply::Sync(Err(error)));
                }
            }
        }
        for write in std::mem::take(&mut self.writes) {
            for then in write.then {
                if let super::Then::Reply { to, reply } = then {
                    self.reply(to, reply.failed(error));
                }
            }
        }
        self.effects
    }
}
