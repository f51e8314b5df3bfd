//! Groups of the new protocol (KIP-848) within a shard: their requests, their timers, and what they share with classic ones.

use super::{GROUPS_MAX, Shard, Then, Ticket};
use crate::group::Text;
use crate::group::classic;
use crate::group::consumer::heartbeat::{self, Surroundings};
use crate::group::consumer::leave::Left;
use crate::group::consumer::{
    Beat, Described, DescribedMember, Group, Hashes, Heartbeat, Refused, Resolution, Seen, leave,
};
use crate::group::error::Error;
use crate::group::offsets::tombstone;
use crate::group::record::Record;
use crate::group::shard::request::{Commit, Fetch, PartitionRef, Reply};

/// How long somebody may take to look regular expressions up before somebody else may.
const RESOLVING_MS: u64 = 10_000;

impl Shard {
    pub(super) fn consumer_heartbeat(&mut self, to: Ticket, request: &Heartbeat) {
        self.observe(&request.seen);
        let answered = request.check(&self.config.consumer).and_then(|()| {
            if request.leaves() {
                self.consumer_leave(to, request)
            } else {
                self.consumer_beat(to, request)
            }
        });
        if let Err(refused) = answered {
            self.reply(to, Reply::ConsumerHeartbeat(Err(refused)));
        }
    }

    /// Takes over newer metadata, and notes which groups it concerns.
    pub(super) fn observe(&mut self, seen: &Seen) {
        if seen.index < self.seen.index || std::sync::Arc::ptr_eq(&seen.image, &self.seen.image) {
            return;
        }
        let changed = self.hashes.follow(&self.seen.image, &seen.image);
        if changed.has_new {
            self.new_topics_index = seen.index;
        }
        if !changed.topics.is_empty() {
            for (id, group) in self.consumers.iter() {
                if group.subscribed_any(&changed.topics) {
                    self.stale.insert(id.clone());
                }
            }
            for (id, group) in self.shares.iter() {
                if group.subscribed_any(&changed.topics) {
                    self.stale.insert(id.clone());
                }
            }
            for (id, group) in self.streams.iter() {
                if group.requires_any(&changed.topics) {
                    self.stale.insert(id.clone());
                }
            }
        }
        self.seen = seen.clone();
    }

    fn consumer_beat(&mut self, to: Ticket, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        self.check_kind(request)?;
        let (group, upgrade) = self.joined_group(id)?;
        let decided = self.decide(id, |around, hashes| {
            heartbeat::heartbeat(group.as_deref(), request, around, hashes)
        })?;
        self.stale.remove(id);
        let beat = decided.beat;
        if !beat.to_resolve.is_empty() {
            self.resolving.insert(id.clone(), self.now_ms + RESOLVING_MS);
        }
        if let Some(group) = &group {
            self.forget_former(id, group, request.instance_id.as_ref(), &beat.member_id);
        }
        let mut records = upgrade;
        records.extend(decided.records);
        let reply = Reply::ConsumerHeartbeat(Ok(beat.clone()));
        if records.is_empty() {
            self.reply_after_writes(to, reply);
        } else {
            self.write_as_consumers(id, group.as_deref(), records, Then::Reply { to, reply });
        }
        self.expect_beat(id, &beat.member_id, None);
        self.set_rebalance_timer(id, &beat.member_id, decided.rebalance);
        Ok(())
    }

    /// Has something decided of a group, by what is around it now.
    pub(super) fn decide<T>(
        &mut self,
        id: &Text,
        decision: impl FnOnce(&Surroundings<'_>, &mut Hashes) -> T,
    ) -> T {
        let mut hashes = std::mem::take(&mut self.hashes);
        let config = &self.config.consumer;
        let around = Surroundings {
            config,
            now_ms: self.now_ms,
            seen: &self.seen,
            assignment_interval_ms: self.of_group(
                id,
                "consumer.assignment.interval.ms",
                config.assignment_interval_ms,
                config.assignment_interval_range_ms,
            ),
            heartbeat_interval_ms: self.of_group(
                id,
                "consumer.heartbeat.interval.ms",
                config.heartbeat_interval_ms,
                config.heartbeat_interval_range_ms,
            ),
            is_stale: self.stale.contains(id),
            may_resolve: self
                .resolving
                .get(id)
                .is_none_or(|until_ms| *until_ms <= self.now_ms),
            new_topics_index: self.new_topics_index,
        };
        let decided = decision(&around, &mut hashes);
        self.hashes = hashes;
        decided
    }

    /// Whether the group is one of this protocol, or may become one with the member that joins.
    fn check_kind(&self, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        if self.consumers.contains(id) {
            return Ok(());
        }
        let joins = request.epoch == 0;
        let not_found = |message: String| Err(Refused::because(Error::GroupNotFound, message));
        if self.is_assigned_to(id) {
            return not_found(format!("group {id} is not of the consumer protocol"));
        }
        let classic = self.groups.get(id);
        if classic.is_some_and(|group| group.born.is_some()) {
            // Whether there is such a group is known in a moment.
            return Err(Error::NotAvailable.into());
        }
        match classic.map(classic::Group::state) {
            None if !joins => not_found(format!("there is no consumer group {id}")),
            None => self.check_room(),
            Some(classic::State::Dead) => Err(Error::NotAvailable.into()),
            Some(_) if joins => Ok(()),
            Some(_) => not_found(format!("group {id} is not of the consumer protocol")),
        }
    }

    /// Whether there may be one group more.
    pub(super) fn check_room(&self) -> Result<(), Refused> {
        if self.groups.len() + self.assigned_count() < GROUPS_MAX {
            return Ok(());
        }
        Err(Refused::because(
            Error::NotAvailable,
            format!("the coordinator has {GROUPS_MAX} groups, as many as it can have"),
        ))
    }

    fn consumer_leave(&mut self, to: Ticket, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        let Some(group) = self.consumers.get(id).cloned() else {
            return Err(self.no_such_group(id));
        };
        let left = leave::leave(&group, request)?;
        let reply = Reply::ConsumerHeartbeat(Ok(Beat {
            member_id: request.member_id.clone(),
            epoch: request.epoch,
            ..Beat::default()
        }));
        let then = vec![Then::Reply { to, reply }];
        match left {
            Left::Away(record) => {
                self.write(of_group(id, vec![record]), then);
            }
            Left::Gone(member) => self.take_out(id, &group, &[member], then),
        }
        Ok(())
    }

    fn no_such_group(&self, id: &Text) -> Refused {
        let message = match self.is_known(id) && !self.consumers.contains(id) {
            true => format!("group {id} is not of the consumer protocol"),
            false => format!("there is no group {id}"),
        };
        Refused::because(Error::GroupNotFound, message)
    }

    pub(super) fn consumer_resolution(&mut self, to: Ticket, resolution: &Resolution) {
        self.observe(&resolution.seen);
        let id = &resolution.group;
        self.resolving.remove(id);
        let reply = Reply::Resolution(Ok(()));
        let Some(group) = self.consumers.get(id).cloned() else {
            self.reply(to, reply);
            return;
        };
        let records = heartbeat::resolve(&group, resolution, self.now_ms, &mut self.hashes, &self.seen);
        if records.is_empty() {
            self.reply(to, reply);
        } else {
            self.write(of_group(id, records), vec![Then::Reply { to, reply }]);
        }
    }

    pub(super) fn consumer_describe(&self, id: &Text) -> Result<Described, Refused> {
        let Some(group) = self.consumers_committed.get(id) else {
            return Err(self.no_such_group(id));
        };
        let assignor = group.preferred_assignor().cloned();
        let members = group.members().map(|member| DescribedMember {
            member_id: member.id.clone(),
            epoch: member.current.epoch,
            subscription: member.subscription.clone(),
            assigned: member.current.assigned.partitions(),
            target: group
                .target(&member.id)
                .map(|target| (**target).clone())
                .unwrap_or_default(),
        });
        Ok(Described {
            group: id.clone(),
            state: group.state(),
            epoch: group.epoch,
            target_epoch: group.target_epoch,
            assignor: assignor
                .unwrap_or_else(|| heartbeat::assignor_of(group, &self.config.consumer).name().into()),
            members: members.collect(),
        })
    }

    /// Whether the member that asks for offsets is in the epoch that it says.
    pub(super) fn check_consumer_fetch(&self, fetch: &Fetch) -> Result<(), Error> {
        let Some((member_id, epoch)) = &fetch.member else {
            return Ok(());
        };
        let groups = match fetch.require_stable {
            true => &self.consumers,
            false => &self.consumers_committed,
        };
        let Some(group) = groups.get(&fetch.group) else {
            return Ok(());
        };
        let member = group.member(member_id).ok_or(Error::UnknownMember)?;
        if member.current.epoch == *epoch {
            Ok(())
        } else if member.subscription.classic.is_some() {
            Err(Error::IllegalGeneration)
        } else {
            Err(Error::StaleMemberEpoch)
        }
    }

    /// OffsetDelete; `None`: the group is not one of this protocol.
    pub(super) fn delete_consumer_offsets(
        &mut self,
        id: &Text,
        partitions: &[PartitionRef],
    ) -> Option<Vec<Result<(), Error>>> {
        let group = self.consumers.get(id).cloned()?;
        let (results, records) = self.deletions(id, partitions, |topic| group.is_subscribed_to(topic));
        self.write_in_parts(records, Vec::new());
        Some(results)
    }

    /// DeleteGroups; `None`: the group is not one of this protocol.
    pub(super) fn delete_consumer_group(&mut self, id: &Text) -> Option<Result<(), Error>> {
        let group = self.consumers.get(id).cloned()?;
        if !group.is_empty() {
            return Some(Err(Error::NonEmptyGroup));
        }
        let mut records: Vec<Record> = self
            .latest
            .of_group(id)
            .map(|(topic, partition, _)| tombstone(id, topic, partition))
            .collect();
        records.extend(of_group(id, leave::delete(&group)));
        self.stale.remove(id);
        self.resolving.remove(id);
        self.write_in_parts(records, Vec::new());
        Some(Ok(()))
    }

    /// An empty group of this protocol makes room for a classic one.
    pub(super) fn make_room_for_classic(&mut self, id: &Text) {
        if let Some(group) = self.consumers.get(id).cloned() {
            self.stale.remove(id);
            self.write(of_group(id, leave::delete(&group)), Vec::new());
        }
    }

    /// Forgets offsets that have outlived their time, and groups that have nothing left.
    pub(super) fn expire_consumers(&mut self) {
        let ids: Vec<Text> = self.consumers.iter().map(|(id, _)| id.clone()).collect();
        for id in ids {
            if self.writes.len() >= super::WRITES_PENDING_MAX {
                break;
            }
            let Some(group) = self.consumers.get(&id).cloned() else {
                continue;
            };
            let (records, all_expired) = self.expired(&id, |topic| group.is_subscribed_to(topic));
            if all_expired && group.is_empty() {
                self.delete_consumer_group(&id);
            } else {
                self.write_in_parts(records, Vec::new());
            }
        }
    }

    /// Tombstones for the offsets of a group that have outlived their time, and whether none are left then.
    pub(super) fn expired(&self, id: &Text, is_subscribed_to: impl Fn(&str) -> bool) -> (Vec<Record>, bool) {
        let mut all_expired = self.latest.doubted_of_group(id).next().is_none();
        let mut records = Vec::new();
        for (topic, partition, offset) in self.latest.of_group(id) {
            let until_ms = offset.expire_timestamp_ms.unwrap_or_else(|| {
                offset
                    .commit_timestamp_ms
                    .saturating_add(self.config.offsets_retention_ms)
            });
            if (self.now_ms as i64) >= until_ms && !is_subscribed_to(topic) {
                records.push(tombstone(id, topic, partition));
            } else {
                all_expired = false;
            }
        }
        (records, all_expired)
    }
}

/// Checks that offsets are committed by a member, in its epoch or in one since which it has held the partitions.
pub(super) fn check_commit(group: &Group, commit: &Commit, is_transactional: bool) -> Result<(), Error> {
    if commit.generation < 0 && group.is_empty() {
        return Ok(());
    }
    let says_no_member =
        commit.generation == -1 && commit.member_id.is_empty() && commit.instance_id.is_none();
    if is_transactional && says_no_member {
        return Ok(());
    }
    let member = group.member(&commit.member_id).ok_or(Error::UnknownMember)?;
    let is_classic = member.subscription.classic.is_some();
    if !is_transactional && !is_classic && !commit.knows_group_not_found {
        return Err(Error::UnsupportedVersion);
    }
    let stale = match is_classic || is_transactional {
        true => Error::IllegalGeneration,
        false => Error::StaleMemberEpoch,
    };
    match commit.generation.cmp(&member.current.epoch) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(stale),
        std::cmp::Ordering::Less => commit
            .partitions
            .iter()
            .all(|partition| member.held_since(partition.topic_id, partition.partition, commit.generation))
            .then_some(())
            .ok_or(stale),
    }
}

pub(super) fn of_group(id: &Text, records: Vec<crate::group::consumer::Record>) -> Vec<Record> {
    let one = |record| Record::Consumer {
        group: id.clone(),
        record,
    };
    records.into_iter().map(one).collect()
}
