//! JoinGroup.

use super::{GROUPS_MAX, Group, ID_BYTES_MAX, Key, PENDING_JOINS_MAX, Replace, Shard, Then, Ticket, session};
use crate::group::Text;
use crate::group::classic::{Member, State};
use crate::group::error::Error;
use crate::group::record::Record;
use crate::group::shard::request::{Join, Joined, Reply};

impl Shard {
    pub(super) fn join(&mut self, to: Ticket, join: Join) {
        let nobody: Text = "".into();
        if self.allows_session(join.session_timeout_ms) {
            if let Some(mixed) = self.mixed(&join.group, &join.seen) {
                self.mixed_join(to, &mixed, &join);
                return;
            }
            self.make_room_for_classic(&join.group);
            self.make_room_of_streams(&join.group);
        }
        let refusal = if !self.allows_session(join.session_timeout_ms) {
            Some((join.member_id.clone(), Error::InvalidSessionTimeout))
        } else if self.shares.contains(&join.group) {
            Some((join.member_id.clone(), Error::InconsistentProtocol))
        } else if self.streams.contains(&join.group) {
            Some((nobody.clone(), Error::InconsistentProtocol))
        } else if self.groups.contains_key(&join.group) {
            None
        } else if !join.member_id.is_empty() {
            Some((join.member_id.clone(), Error::UnknownMember))
        } else if join.protocol_type.is_empty() || join.protocols.is_empty() {
            Some((nobody.clone(), Error::InconsistentProtocol))
        } else if self.groups.len() >= GROUPS_MAX {
            Some((nobody.clone(), Error::GroupFull))
        } else {
            None
        };
        if let Some((member_id, error)) = refusal {
            self.reply(to, Reply::Join(Joined::refused(member_id, error)));
            return;
        }

        let id = join.group.clone();
        let is_new = !self.groups.contains_key(&id);
        let group = self.groups.entry(id.clone()).or_insert_with(Group::new);
        if group.is_full_of(&join.member_id, self.config.members_max) {
            let removed = group.remove(&join.member_id);
            self.timers.cancel(&session(&id, &join.member_id));
            if let Some(member) = removed {
                self.answer(&member, nobody.clone(), Error::GroupFull);
            }
            self.reply(to, Reply::Join(Joined::refused(nobody, Error::GroupFull)));
            return;
        }
        if join.member_id.is_empty() {
            self.join_newcomer(to, join);
        } else {
            self.join_again(to, join);
        }
        if is_new {
            self.record_birth(&id);
        }
    }

    fn allows_session(&self, timeout_ms: i32) -> bool {
        (self.config.session_timeout_min_ms..=self.config.session_timeout_max_ms).contains(&timeout_ms)
    }

    /// Writes down that there is a group, before anyone is shown it.
    fn record_birth(&mut self, id: &Text) {
        let record = Record::GroupMetadata {
            group: id.clone(),
            value: Some(Group::new().to_record(&Default::default())),
        };
        let write = self.write(vec![record], vec![Then::Know { group: id.clone() }]);
        if let Some(group) = self.groups.get_mut(id) {
            group.born = Some(write);
        }
    }

    fn join_newcomer(&mut self, to: Ticket, join: Join) {
        let Some(group) = self.groups.get_mut(&join.group) else {
            return;
        };
        let nobody: Text = "".into();
        let refusal = if group.state() == State::Dead {
            Some(Error::NotAvailable)
        } else if !group.supports(&join.protocol_type, &join.protocols) {
            Some(Error::InconsistentProtocol)
        } else {
            None
        };
        if let Some(error) = refusal {
            self.reply(to, Reply::Join(Joined::refused(nobody, error)));
            return;
        }
        let name = join.instance_id.as_ref().unwrap_or(&join.client_id);
        let name = &name[..name.floor_char_boundary(ID_BYTES_MAX)];
        let new_id: Text = format!("{name}-{}", join.fresh_id).into();

        if let Some(instance_id) = &join.instance_id {
            match group.static_member(instance_id).cloned() {
                Some(old_id) => self.replace_static(to, join, &old_id, &new_id),
                None => self.add_member(to, join, new_id),
            }
        } else if !join.requires_known_member_id {
            self.add_member(to, join, new_id);
        } else if group.pending_joins.len() >= PENDING_JOINS_MAX {
            self.reply(to, Reply::Join(Joined::refused(nobody, Error::GroupFull)));
        } else {
            group.pending_joins.insert(new_id.clone());
            let timeout_ms = join.session_timeout_ms.max(0) as u64;
            self.expect_heartbeat(&join.group, &new_id, timeout_ms);
            self.reply(to, Reply::Join(Joined::refused(new_id, Error::MemberIdRequired)));
        }
    }

    fn join_again(&mut self, to: Ticket, join: Join) {
        let Some(group) = self.groups.get_mut(&join.group) else {
            return;
        };
        let id = join.member_id.clone();
        let refusal = if group.state() == State::Dead {
            Some(Error::NotAvailable)
        } else if !group.supports(&join.protocol_type, &join.protocols) {
            Some(Error::InconsistentProtocol)
        } else if group.pending_joins.contains(&id) {
            // An id is given out to dynamic members only.
            join.instance_id.as_ref().map(|_| Error::UnknownMember)
        } else {
            group.check_member(&id, join.instance_id.as_deref()).err()
        };
        if let Some(error) = refusal {
            self.reply(to, Reply::Join(Joined::refused(id, error)));
            return;
        }
        if group.pending_joins.contains(&id) {
            self.add_member(to, join, id);
            return;
        }
        let Some(member) = group.member(&id) else { return };
        let unchanged = member.protocols == join.protocols;
        match group.state() {
            State::PreparingRebalance => self.update_member(to, join),
            // It did not get our answer: here it is again.
            State::CompletingRebalance if unchanged => {
                let reply = current(group, &id, group.is_leader(&id));
                self.reply(to, Reply::Join(reply));
            }
            State::Stable if unchanged && !group.is_leader(&id) => {
                let reply = current(group, &id, false);
                self.reply(to, Reply::Join(reply));
            }
            State::CompletingRebalance | State::Stable => self.update_member(to, join),
            State::Empty | State::Dead => {
                self.reply(to, Reply::Join(Joined::refused(id, Error::UnknownMember)));
            }
        }
    }

    fn add_member(&mut self, to: Ticket, join: Join, id: Text) {
        let Some(group) = self.groups.get_mut(&join.group) else {
            return;
        };
        if group.state() == State::PreparingRebalance && group.previous() == State::Empty {
            group.new_member_added = true;
        }
        if group.members().len() == 0 {
            group.protocol_type = Some(join.protocol_type);
        }
        group.add(Member {
            id: id.clone(),
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: bytes::Bytes::new(),
            is_new: true,
            awaiting_join: Some(to),
            awaiting_sync: None,
        });
        self.expect_heartbeat(&join.group, &id, self.config.new_member_join_timeout_ms);
        self.rebalance_or_complete(&join.group);
    }

    fn update_member(&mut self, to: Ticket, join: Join) {
        let Some(group) = self.groups.get_mut(&join.group) else {
            return;
        };
        let waited = group.update(
            &join.member_id,
            join.protocols,
            join.rebalance_timeout_ms,
            join.session_timeout_ms,
            Some(to),
        );
        if let Some(earlier) = waited {
            // The same member asks again, over another connection: the earlier request is not left hanging.
            let reply = Joined::refused(join.member_id, Error::RebalanceInProgress);
            self.reply(earlier, Reply::Join(reply));
        }
        self.rebalance_or_complete(&join.group);
    }

    /// A static member has come back without its id (KIP-345): it takes the place of its former self, who is fenced.
    fn replace_static(&mut self, to: Ticket, join: Join, old_id: &Text, new_id: &Text) {
        let Some(group) = self.groups.get_mut(&join.group) else {
            return;
        };
        let old_leader = group.leader.clone();
        let Some(old) = group.replace(old_id, new_id) else {
            return;
        };
        group.update(
            new_id,
            join.protocols,
            join.rebalance_timeout_ms,
            join.session_timeout_ms,
            Some(to),
        );
        let state = group.state();
        let keeps_protocol = group.vote() == group.protocol;
        let record = Record::GroupMetadata {
            group: join.group.clone(),
            value: Some(group.to_record(&group.assignments())),
        };
        let generation = group.generation;

        self.timers.cancel(&session(&join.group, old_id));
        self.answer(&old, old_id.clone(), Error::FencedInstance);
        self.expect_heartbeat(&join.group, new_id, old.session_ms());
        match state {
            State::Stable if keeps_protocol => {
                let then = Then::Replace(Box::new(Replace {
                    group: join.group,
                    generation,
                    new_id: new_id.clone(),
                    old,
                    old_leader,
                    can_skip_assignment: join.can_skip_assignment,
                }));
                self.write(vec![record], vec![then]);
            }
            State::Stable => self.rebalance_or_complete(&join.group),
            State::CompletingRebalance => self.prepare_rebalance(&join.group),
            _ => self.complete_if_joined(&join.group),
        }
    }

    /// The replacement is on record: the member goes on with the assignment that it had.
    pub(super) fn replaced(&mut self, replace: &Replace) {
        let Some(group) = self.groups.get_mut(&replace.group) else {
            return;
        };
        if group.state() != State::Stable || group.generation != replace.generation {
            // A rebalance has begun meanwhile, and takes the waiting member along.
            return;
        }
        let is_leader = group.is_leader(&replace.new_id);
        let mut reply = current(group, &replace.new_id, is_leader && replace.can_skip_assignment);
        if replace.can_skip_assignment {
            reply.skip_assignment = is_leader;
        } else if let Some(old_leader) = &replace.old_leader {
            // An older client that found itself the leader would assign anew; so it is told its former id.
            reply.leader = old_leader.clone();
        }
        let Some(member) = group.member_mut(&replace.new_id) else {
            return;
        };
        if let Some(to) = member.awaiting_join.take() {
            self.reply(to, Reply::Join(reply));
        }
    }

    /// The replacement could not be recorded: the former self is back.
    pub(super) fn replacement_lost(&mut self, replace: Replace, error: Error) {
        let Some(group) = self.groups.get_mut(&replace.group) else {
            return;
        };
        if group.state() != State::Stable || group.generation != replace.generation {
            return;
        }
        let Replace { new_id, old, .. } = replace;
        let waiting = group.update(
            &new_id,
            old.protocols.clone(),
            old.rebalance_timeout_ms,
            old.session_timeout_ms,
            None,
        );
        if group.replace(&new_id, &old.id).is_none() {
            return;
        }
        self.timers.cancel(&session(&replace.group, &new_id));
        self.expect_heartbeat(&replace.group, &old.id, old.session_ms());
        if let Some(to) = waiting {
            self.reply(to, Reply::Join(Joined::refused("".into(), error)));
        }
    }

    pub(super) fn initial_delay_over(&mut self, id: &Text, delay_ms: u64, remaining_ms: u64) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if !group.new_member_added || remaining_ms == 0 {
            self.complete_join(id);
            return;
        }
        group.new_member_added = false;
        let next_ms = self.config.initial_rebalance_delay_ms.min(remaining_ms);
        let alarm = super::Alarm::InitialJoin {
            delay_ms: next_ms,
            remaining_ms: remaining_ms.saturating_sub(delay_ms),
        };
        self.timers
            .set(Key::Join(id.clone()), self.now_ms + next_ms, alarm);
    }
}

/// The answer that a member of the current generation gets.
pub(super) fn current(group: &Group, id: &Text, with_members: bool) -> Joined {
    Joined {
        error: None,
        generation: group.generation,
        protocol_type: group.protocol_type.clone(),
        protocol: group.protocol.clone(),
        leader: group.leader.clone().unwrap_or_else(|| "".into()),
        skip_assignment: false,
        member_id: id.clone(),
        members: if with_members {
            group.joined_members()
        } else {
            Vec::new()
        },
    }
}
