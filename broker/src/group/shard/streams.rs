//! Streams groups (KIP-1071) within a shard: their requests, their timers, and what they share with other groups.

use super::fence::rebalance;
use super::{Alarm, Key, Shard, Then, Ticket, session};
use crate::group::Text;
use crate::group::classic;
use crate::group::consumer::heartbeat::RebalanceTimer;
use crate::group::consumer::{Hashes, Refused};
use crate::group::error::Error;
use crate::group::offsets::tombstone;
use crate::group::record::Record;
use crate::group::shard::request::{Commit, Fetch, PartitionRef, Reply};
use crate::group::streams::heartbeat::{self, Surroundings};
use crate::group::streams::{
    Beat, Described, DescribedMember, Group, Heartbeat, MemberState, Volatile, leave,
};

impl Shard {
    pub(super) fn streams_heartbeat(&mut self, to: Ticket, request: &Heartbeat) {
        self.observe(&request.seen);
        let answered = request.check().and_then(|()| {
            if request.leaves() {
                self.streams_leave(to, request)
            } else {
                self.streams_beat(to, request)
            }
        });
        if let Err(refused) = answered {
            self.reply(to, Reply::StreamsHeartbeat(Err(refused)));
        }
    }

    fn streams_beat(&mut self, to: Ticket, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        self.check_streams_kind(request)?;
        let group = self.streams.get(id).cloned();
        let decided = self.decide_streams(id, |around, hashes| {
            heartbeat::heartbeat(group.as_deref(), request, around, hashes)
        })?;
        self.stale.remove(id);
        self.streams_volatile.insert(id.clone(), decided.volatile);
        let member = decided.beat.member_id.clone();
        let reply = Reply::StreamsHeartbeat(Ok(decided.beat));
        if decided.records.is_empty() {
            self.reply_after_writes(to, reply);
        } else {
            let records = of_streams(id, decided.records);
            self.write_instead_of_classic(id, records, Then::Reply { to, reply });
        }
        if decided.begins_delay {
            let at_ms = self.now_ms + self.initial_delay_ms(id);
            self.timers
                .set(Key::Assignment(id.clone()), at_ms, Alarm::Assignment);
        }
        self.expect_streams_beat(id, &member);
        self.set_rebalance_timer(id, &member, decided.rebalance);
        Ok(())
    }

    /// Has something decided of a group, by what is around it now.
    fn decide_streams<T>(
        &mut self,
        id: &Text,
        decision: impl FnOnce(&Surroundings<'_>, &mut Hashes) -> T,
    ) -> T {
        let mut hashes = std::mem::take(&mut self.hashes);
        let config = &self.config.streams;
        let fresh = Volatile::default();
        let around = Surroundings {
            config,
            now_ms: self.now_ms,
            seen: &self.seen,
            volatile: self.streams_volatile.get(id).unwrap_or(&fresh),
            assignment_interval_ms: self.of_group(
                id,
                "streams.assignment.interval.ms",
                config.assignment_interval_ms,
                config.assignment_interval_range_ms,
            ),
            heartbeat_interval_ms: self.of_group(
                id,
                "streams.heartbeat.interval.ms",
                config.heartbeat_interval_ms,
                config.heartbeat_interval_range_ms,
            ),
            initial_delay_ms: self.initial_delay_ms(id),
            is_delayed: self.timers.deadline(&Key::Assignment(id.clone())).is_some(),
            standby_replicas: self.of_group(
                id,
                "streams.num.standby.replicas",
                config.standby_replicas,
                (0, config.standby_replicas_max),
            ),
            is_stale: self.stale.contains(id),
        };
        let decided = decision(&around, &mut hashes);
        self.hashes = hashes;
        decided
    }

    fn initial_delay_ms(&self, id: &str) -> u64 {
        let of_broker_ms = self.config.streams.initial_rebalance_delay_ms;
        self.of_group(
            id,
            "streams.initial.rebalance.delay.ms",
            of_broker_ms,
            (0, u64::MAX),
        )
    }

    /// Whether the group is a streams group, or may become one with the member that joins.
    fn check_streams_kind(&self, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        if self.streams.contains(id) {
            return Ok(());
        }
        let joins = request.epoch == 0;
        let classic = self.groups.get(id);
        if classic.is_some_and(|group| group.born.is_some()) {
            // Whether there is such a group is known in a moment.
            return Err(Error::NotAvailable.into());
        }
        match classic.map(classic::Group::state) {
            None if joins && !self.is_assigned_to(id) => self.check_room(),
            Some(classic::State::Dead) => Err(Error::NotAvailable.into()),
            Some(classic::State::Empty) if joins => Ok(()),
            _ => Err(self.no_such_streams_group(id)),
        }
    }

    fn no_such_streams_group(&self, id: &Text) -> Refused {
        let message = match self.is_known(id) && !self.streams.contains(id) {
            true => format!("group {id} is not a streams group"),
            false => format!("there is no streams group {id}"),
        };
        Refused::because(Error::GroupNotFound, message)
    }

    fn streams_leave(&mut self, to: Ticket, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        let Some(group) = self.streams.get(id).cloned() else {
            return Err(self.no_such_streams_group(id));
        };
        let member = leave::leaving(&group, id, &request.member_id)?.clone();
        if request.shuts_down {
            let volatile = self.streams_volatile.entry(id.clone()).or_default();
            volatile.shutdown_by.get_or_insert_with(|| member.clone());
        }
        let reply = Reply::StreamsHeartbeat(Ok(Beat {
            member_id: member.clone(),
            epoch: request.epoch,
            ..Beat::default()
        }));
        self.take_out_of_streams(id, &group, &[member], vec![Then::Reply { to, reply }]);
        Ok(())
    }

    /// Members that are silent for too long, or do not give up what they must.
    pub(super) fn fence_streams(&mut self, id: &Text, members: &[Text]) {
        let Some(group) = self.streams.get(id).cloned() else {
            return;
        };
        let members: Vec<Text> = members
            .iter()
            .filter(|member| group.member(member).is_some())
            .cloned()
            .collect();
        if !members.is_empty() {
            self.take_out_of_streams(id, &group, &members, Vec::new());
        }
    }

    fn take_out_of_streams(&mut self, id: &Text, group: &Group, members: &[Text], then: Vec<Then>) {
        for member in members {
            self.forget_member_timers(id, member);
        }
        self.write(of_streams(id, leave::fence(group, members)), then);
    }

    /// Puts the member out if it is not heard from for a session.
    fn expect_streams_beat(&mut self, group: &Text, member: &Text) {
        let config = &self.config.streams;
        let within_ms = self.of_group(
            group,
            "streams.session.timeout.ms",
            config.session_timeout_ms,
            config.session_timeout_range_ms,
        );
        self.timers.set(
            session(group, member),
            self.now_ms + within_ms,
            Alarm::MemberSession,
        );
    }

    /// Members had time to come: those that are there are assigned to.
    pub(super) fn streams_delay_over(&mut self, id: &Text) {
        let Some(group) = self.streams.get(id).cloned() else {
            return;
        };
        let records = self.decide_streams(id, |around, _| heartbeat::assign_delayed(&group, around));
        if !records.is_empty() {
            self.write(of_streams(id, records), Vec::new());
        }
    }

    pub(super) fn streams_describe(&self, id: &Text) -> Result<Described, Refused> {
        let Some(group) = self.streams_committed.get(id) else {
            return Err(self.no_such_streams_group(id));
        };
        let members = group.members().map(|member| DescribedMember {
            member_id: member.id.clone(),
            epoch: member.current.epoch,
            told: member.told.clone(),
            assigned: member.current.assigned.assignment(),
            target: group
                .target(&member.id)
                .map(|target| (**target).clone())
                .unwrap_or_default(),
        });
        let topology = group.topology.as_ref();
        Ok(Described {
            group: id.clone(),
            state: group.state(),
            epoch: group.epoch.epoch,
            target_epoch: group.target_epoch.epoch,
            topology: topology.map(|topology| heartbeat::shown_topology(topology, &self.seen)),
            members: members.collect(),
        })
    }

    /// Whether the member that asks for offsets is in the epoch that it says.
    pub(super) fn check_streams_fetch(&self, fetch: &Fetch) -> Result<(), Error> {
        let Some((member_id, epoch)) = &fetch.member else {
            return Ok(());
        };
        let groups = match fetch.require_stable {
            true => &self.streams,
            false => &self.streams_committed,
        };
        let Some(group) = groups.get(&fetch.group) else {
            return Ok(());
        };
        let member = group.member(member_id).ok_or(Error::UnknownMember)?;
        match member.current.epoch == *epoch {
            true => Ok(()),
            false => Err(Error::StaleMemberEpoch),
        }
    }

    /// OffsetDelete; `None`: the group is not a streams group.
    pub(super) fn delete_streams_offsets(
        &mut self,
        id: &Text,
        partitions: &[PartitionRef],
    ) -> Option<Vec<Result<(), Error>>> {
        let group = self.streams.get(id).cloned()?;
        let (results, records) = self.deletions(id, partitions, |topic| group.is_subscribed_to(topic));
        self.write_in_parts(records, Vec::new());
        Some(results)
    }

    /// DeleteGroups; `None`: the group is not a streams group.
    pub(super) fn delete_streams_group(&mut self, id: &Text) -> Option<Result<(), Error>> {
        let group = self.streams.get(id).cloned()?;
        if !group.is_empty() {
            return Some(Err(Error::NonEmptyGroup));
        }
        let offsets = self.latest.of_group(id);
        let mut records: Vec<Record> = offsets
            .map(|(topic, partition, _)| tombstone(id, topic, partition))
            .collect();
        records.extend(of_streams(id, leave::delete(&group)));
        self.forget_streams(id);
        self.write_in_parts(records, Vec::new());
        Some(Ok(()))
    }

    /// An empty streams group makes room for a classic one.
    pub(super) fn make_room_of_streams(&mut self, id: &Text) {
        if let Some(group) = self.streams.get(id).filter(|group| group.is_empty()).cloned() {
            self.forget_streams(id);
            self.write(of_streams(id, leave::delete(&group)), Vec::new());
        }
    }

    fn forget_streams(&mut self, id: &Text) {
        self.stale.remove(id);
        self.streams_volatile.remove(id);
        self.timers.cancel(&Key::Assignment(id.clone()));
    }

    /// Forgets offsets that have outlived their time, and groups that have nothing left.
    pub(super) fn expire_streams(&mut self) {
        let ids: Vec<Text> = self.streams.iter().map(|(id, _)| id.clone()).collect();
        for id in ids {
            if self.writes.len() >= super::WRITES_PENDING_MAX {
                break;
            }
            let Some(group) = self.streams.get(&id).cloned() else {
                continue;
            };
            let (records, all_expired) = self.expired(&id, |topic| group.is_subscribed_to(topic));
            if all_expired && group.is_empty() {
                self.delete_streams_group(&id);
            } else {
                self.write_in_parts(records, Vec::new());
            }
        }
    }

    /// All has been replayed: members get a whole session's time to be heard from.
    pub(super) fn streams_loaded(&mut self) {
        self.streams_committed = self.streams.clone();
        self.streams_restored();
    }

    /// Sets the timers that are missing, and has all groups look at their topics again.
    pub(super) fn streams_restored(&mut self) {
        let groups = self.streams.clone();
        self.streams_volatile.retain(|id, _| groups.contains(id));
        for (id, group) in groups.iter() {
            self.stale.insert(id.clone());
            for member in group.members() {
                if self.timers.deadline(&session(id, &member.id)).is_none() {
                    self.expect_streams_beat(id, &member.id);
                }
                let is_revoking = member.current.state == MemberState::UnrevokedTasks;
                if is_revoking && self.timers.deadline(&rebalance(id, &member.id)).is_none() {
                    let timer = RebalanceTimer::Set {
                        epoch: member.current.epoch,
                        within_ms: u64::try_from(member.told.rebalance_timeout_ms).unwrap_or(0),
                    };
                    self.set_rebalance_timer(id, &member.id, timer);
                }
            }
        }
    }
}

/// Checks that offsets are committed by a member, in its epoch or in one since which it has processed the partitions.
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
    if !is_transactional && !commit.knows_group_not_found {
        return Err(Error::UnsupportedVersion);
    }
    let stale = match is_transactional {
        true => Error::IllegalGeneration,
        false => Error::StaleMemberEpoch,
    };
    let held = |topic: &str, partition| {
        let subtopology = group.topology.as_ref()?.reader(topic)?;
        Some(member.held_since(subtopology, partition, commit.generation))
    };
    let may = match commit.generation.cmp(&member.current.epoch) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Less => commit
            .partitions
            .iter()
            .all(|partition| held(&partition.topic, partition.partition) == Some(true)),
    };
    may.then_some(()).ok_or(stale)
}

fn of_streams(id: &Text, records: Vec<crate::group::streams::Record>) -> Vec<Record> {
    let one = |record| Record::Streams {
        group: id.clone(),
        record,
    };
    records.into_iter().map(one).collect()
}
