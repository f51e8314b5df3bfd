//! Share groups (KIP-932) within a shard: their requests, and the timers of their members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flotilla_protocol::Uuid;

use super::{Alarm, Shard, Then, Ticket, session};
use crate::group::Text;
use crate::group::consumer::Refused;
use crate::group::error::Error;
use crate::group::record::Record;
use crate::group::shard::request::{DeletedTopic, Reply};
use crate::group::share::heartbeat::{self, Surroundings};
use crate::group::share::{
    self, Beat, Described, DescribedMember, Group, Heartbeat, Named, Standing, StatePartitions,
};

/// How long somebody may take to have states stored before somebody else may.
const INITIALIZING_MS: u64 = 10_000;

impl Shard {
    pub(super) fn share_heartbeat(&mut self, to: Ticket, request: &Heartbeat) {
        self.observe(&request.seen);
        let answered = request.check().and_then(|()| match request.epoch {
            share::request::LEAVE => self.share_leave(to, request),
            _ => self.share_beat(to, request),
        });
        if let Err(refused) = answered {
            self.reply(to, Reply::ShareHeartbeat(Err(refused)));
        }
    }

    fn share_beat(&mut self, to: Ticket, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        self.check_share_group(request)?;
        let group = self.shares.get(id).cloned();
        let mut hashes = std::mem::take(&mut self.hashes);
        let config = &self.config.share;
        let around = Surroundings {
            config,
            now_ms: self.now_ms,
            seen: &self.seen,
            assignment_interval_ms: self.of_group(
                id,
                "share.assignment.interval.ms",
                config.assignment_interval_ms,
                config.assignment_interval_range_ms,
            ),
            heartbeat_interval_ms: self.of_group(
                id,
                "share.heartbeat.interval.ms",
                config.heartbeat_interval_ms,
                config.heartbeat_interval_range_ms,
            ),
            is_stale: self.stale.contains(id),
            may_initialize: self
                .initializing
                .get(id)
                .is_none_or(|until_ms| *until_ms <= self.now_ms),
        };
        let decided = heartbeat::heartbeat(group.as_deref(), request, &around, &mut hashes);
        self.hashes = hashes;
        let decided = decided?;
        self.stale.remove(id);
        if !decided.beat.to_initialize.is_empty() {
            self.initializing
                .insert(id.clone(), self.now_ms + INITIALIZING_MS);
        }
        let reply = Reply::ShareHeartbeat(Ok(decided.beat));
        if decided.records.is_empty() {
            self.reply_after_writes(to, reply);
        } else {
            self.write(of_share(id, decided.records), vec![Then::Reply { to, reply }]);
        }
        self.expect_share_beat(id, &request.member_id);
        Ok(())
    }

    /// Whether the group is a share group, or may become one with the member that joins.
    fn check_share_group(&self, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        if self.shares.contains(id) {
            return Ok(());
        }
        if request.epoch != 0 || self.is_known(id) {
            return Err(self.no_share_group(id));
        }
        self.check_room()
    }

    fn no_share_group(&self, id: &Text) -> Refused {
        let message = match self.is_known(id) && !self.shares.contains(id) {
            true => format!("group {id} is not a share group"),
            false => format!("there is no group {id}"),
        };
        Refused::because(Error::GroupNotFound, message)
    }

    fn share_leave(&mut self, to: Ticket, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        let group = self
            .shares
            .get(id)
            .cloned()
            .ok_or_else(|| self.no_share_group(id))?;
        if group.member(&request.member_id).is_none() {
            return Err(heartbeat::unknown_member(&request.member_id, id));
        }
        let reply = Reply::ShareHeartbeat(Ok(Beat {
            member_id: request.member_id.clone(),
            epoch: request.epoch,
            ..Beat::default()
        }));
        self.put_out_of_share(id, &group, &request.member_id, vec![Then::Reply { to, reply }]);
        Ok(())
    }

    fn put_out_of_share(&mut self, id: &Text, group: &Group, member: &Text, then: Vec<Then>) {
        self.timers.cancel(&session(id, member));
        let records = heartbeat::leave(group, member, &mut self.hashes, &self.seen);
        self.write(of_share(id, records), then);
    }

    /// Puts the member out if it is not heard from for a session.
    fn expect_share_beat(&mut self, id: &Text, member: &Text) {
        let config = &self.config.share;
        let within_ms = self.of_group(
            id,
            "share.session.timeout.ms",
            config.session_timeout_ms,
            config.session_timeout_range_ms,
        );
        let at_ms = self.now_ms + within_ms;
        self.timers.set(session(id, member), at_ms, Alarm::MemberSession);
    }

    /// Members that are silent for too long.
    pub(super) fn fence_share(&mut self, id: &Text, members: &[Text]) {
        for member in members {
            if let Some(group) = self.shares.get(id).cloned()
                && group.member(member).is_some()
            {
                self.put_out_of_share(id, &group, member, Vec::new());
            }
        }
    }

    /// All has been replayed: members get a whole session's time to be heard from.
    pub(super) fn shares_loaded(&mut self) {
        self.shares_committed = self.shares.clone();
        self.shares_restored();
    }

    /// Sets the timers that are missing, and has all groups look at their topics again.
    pub(super) fn shares_restored(&mut self) {
        let groups = self.shares.clone();
        for (id, group) in groups.iter() {
            self.stale.insert(id.clone());
            for member in group.members() {
                if self.timers.deadline(&session(id, &member.id)).is_none() {
                    self.expect_share_beat(id, &member.id);
                }
            }
        }
    }

    /// States of these partitions are stored now.
    pub(super) fn share_initialized(&mut self, to: Ticket, id: &Text, topics: &BTreeMap<Uuid, Named>) {
        self.initializing.remove(id);
        let reply = Reply::ShareChanged(Ok(()));
        let changed = self.change_share_partitions(id, |partitions| {
            for (topic, named) in topics {
                partitions.initialize(*topic, &named.name, &named.partitions);
            }
        });
        match changed {
            Some(records) => {
                self.write(records, vec![Then::Reply { to, reply }]);
            }
            None => self.reply_after_writes(to, reply),
        }
    }

    fn change_share_partitions(
        &self,
        id: &Text,
        change: impl FnOnce(&mut StatePartitions),
    ) -> Option<Vec<Record>> {
        let group = self.shares.get(id)?;
        let records = heartbeat::change_partitions(group, change);
        (!records.is_empty()).then(|| of_share(id, records))
    }

    /// What is stored is about to be set anew, with the epoch that the group has from now on. A group that is not there begins
    /// with it; without anything to set, it is only said whether that could be.
    pub(super) fn share_altering(&mut self, to: Ticket, id: &Text, sets: bool) {
        let standing = self.alterable_share_group(id).map(|group| match sets {
            true => {
                self.write(of_share(id, heartbeat::bump(&group)), Vec::new());
                self.shares
                    .get(id)
                    .map_or_else(Standing::default, |group| standing(group))
            }
            false => standing(&group),
        });
        self.reply_after_writes(to, Reply::ShareStanding(standing));
    }

    /// A group without members, or, where there is none of any kind, the one that there could be.
    fn alterable_share_group(&self, id: &Text) -> Result<Arc<Group>, Error> {
        match self.shares.get(id) {
            Some(group) if group.is_empty() => Ok(group.clone()),
            Some(_) => Err(Error::NonEmptyGroup),
            None if self.is_known(id) => Err(Error::GroupNotFound),
            None => {
                self.check_room().map_err(|refused| refused.error)?;
                Ok(Arc::default())
            }
        }
    }

    /// What is stored of some topics, or of all, is about to be deleted: until that is done nobody is assigned any of it.
    pub(super) fn share_deleting(&mut self, to: Ticket, id: &Text, topics: Option<&BTreeSet<Uuid>>) {
        if let Err(error) = self.empty_share_group(id) {
            self.reply(to, Reply::ShareStanding(Err(error)));
            return;
        }
        let changed = self.change_share_partitions(id, |partitions| {
            let initialized: Vec<Uuid> = partitions.initialized.keys().copied().collect();
            for topic in initialized {
                if topics.is_none_or(|topics| topics.contains(&topic)) {
                    partitions.delete(topic);
                }
            }
        });
        if let Some(records) = changed {
            self.write(records, Vec::new());
        }
        let reply = Reply::ShareStanding(self.share_standing(id));
        self.reply_after_writes(to, reply);
    }

    /// Nothing is stored of these topics any more.
    pub(super) fn share_deleted(&mut self, to: Ticket, id: &Text, topics: &BTreeSet<Uuid>) {
        let reply = Reply::ShareChanged(Ok(()));
        let changed = self.change_share_partitions(id, |partitions| {
            topics.iter().for_each(|topic| partitions.forget(*topic));
        });
        match changed {
            Some(records) => {
                self.write(records, vec![Then::Reply { to, reply }]);
            }
            None => self.reply_after_writes(to, reply),
        }
    }

    fn empty_share_group(&self, id: &Text) -> Result<(), Error> {
        match self.shares.get(id) {
            None => Err(Error::GroupNotFound),
            Some(group) if group.is_empty() => Ok(()),
            Some(_) => Err(Error::NonEmptyGroup),
        }
    }

    /// What is stored of a group's deliveries, with all that is under way.
    pub(super) fn share_standing(&self, id: &Text) -> Result<Standing, Error> {
        self.shares
            .get(id)
            .map(|group| standing(group))
            .ok_or(Error::GroupNotFound)
    }

    pub(super) fn share_describe(&self, id: &Text) -> Result<Described, Refused> {
        let Some(group) = self.shares_committed.get(id) else {
            return Err(self.no_share_group(id));
        };
        let members = group.members().map(|member| DescribedMember {
            member_id: member.id.clone(),
            epoch: member.current.epoch,
            subscription: member.subscription.clone(),
            assigned: member.current.assigned.clone(),
        });
        Ok(Described {
            group: id.clone(),
            state: group.state(),
            epoch: group.epoch,
            target_epoch: group.target_epoch,
            members: members.collect(),
        })
    }

    /// DeleteGroups; `None`: the group is not a share group. What was stored of its deliveries has to be gone.
    pub(super) fn delete_share_group(&mut self, id: &Text) -> Option<Result<(), Error>> {
        let group = self.shares.get(id).cloned()?;
        if !group.is_empty() {
            return Some(Err(Error::NonEmptyGroup));
        }
        if !group.partitions().is_empty() {
            // Not all could be deleted, or somebody has begun to read meanwhile.
            return Some(Err(Error::NotAvailable));
        }
        self.stale.remove(id);
        self.initializing.remove(id);
        self.write_in_parts(of_share(id, heartbeat::delete(&group)), Vec::new());
        Some(Ok(()))
    }

    /// What was stored of topics that are gone, their coordinators forget by themselves.
    pub(super) fn share_topics_deleted(&mut self, topics: &[DeletedTopic]) {
        let groups = self.shares.clone();
        for (id, _) in groups.iter() {
            let changed = self.change_share_partitions(id, |partitions| {
                topics.iter().for_each(|topic| partitions.forget(topic.id));
            });
            if let Some(records) = changed {
                self.write(records, Vec::new());
            }
        }
    }
}

fn standing(group: &Group) -> Standing {
    Standing {
        epoch: group.epoch,
        is_empty: group.is_empty(),
        partitions: group.partitions().clone(),
        has_read: group.has_read(),
    }
}

fn of_share(id: &Text, records: Vec<share::Record>) -> Vec<Record> {
    let one = |record| Record::Share {
        group: id.clone(),
        record,
    };
    records.into_iter().map(one).collect()
}
