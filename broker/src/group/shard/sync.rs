//! SyncGroup and Heartbeat, of classic groups.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Group, Key, Shard, Then, Ticket};
use crate::group::Text;
use crate::group::classic::State;
use crate::group::error::Error;
use crate::group::record::Record;
use crate::group::shard::request::{Assigned, Reply, Sync};

impl Shard {
    pub(super) fn sync(&mut self, to: Ticket, sync: Sync) {
        let id = sync.group.clone();
        if let Some(mixed) = self.mixed(&id, &sync.seen) {
            self.mixed_sync(to, &mixed, &sync);
            return;
        }
        let member_id = sync.member_id.clone();
        let checked = match self.groups.get(&id) {
            Some(group) => check_sync(group, &sync),
            None => Err(Error::UnknownMember),
        };
        if let Err(error) = checked {
            self.reply(to, Reply::Sync(Err(error)));
            return;
        }
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.pending_syncs.remove(&member_id);
        if group.pending_syncs.is_empty() {
            self.timers.cancel(&Key::Sync(id.clone()));
        }
        let assigned = Assigned {
            protocol_type: group.protocol_type.clone(),
            protocol: group.protocol.clone(),
            assignment: group
                .member(&member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        };
        if group.state() == State::Stable {
            self.reply(to, Reply::Sync(Ok(assigned)));
            return;
        }
        let Some(member) = group.member_mut(&member_id) else {
            return;
        };
        let waited = member.awaiting_sync.replace(to);
        if group.is_leader(&member_id) {
            let assignment: BTreeMap<Text, Bytes> = sync.assignments.into_iter().collect();
            let record = Record::GroupMetadata {
                group: id.clone(),
                value: Some(group.to_record(&assignment)),
            };
            let then = Then::Assign {
                group: id,
                generation: sync.generation,
                assignment,
            };
            self.write(vec![record], vec![then]);
        }
        if let Some(earlier) = waited {
            // The same member asks again, over another connection: the earlier request is not left hanging.
            self.reply(earlier, Reply::Sync(Err(Error::RebalanceInProgress)));
        }
    }

    /// The leader's assignment is on record: it is handed out.
    pub(super) fn assign(&mut self, id: &Text, generation: i32, assignment: &BTreeMap<Text, Bytes>) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if group.state() != State::CompletingRebalance || group.generation != generation {
            return;
        }
        group.become_(State::Stable, self.now_ms);
        for member in group.members_mut() {
            member.assignment = assignment.get(&member.id).cloned().unwrap_or_default();
        }
        self.answer_syncs(id, None);
    }

    /// The assignment could not be recorded: nobody gets it, and the group tries again.
    pub(super) fn assignment_lost(&mut self, id: &Text, generation: i32, error: Error) {
        let Some(group) = self.groups.get(id) else { return };
        if group.state() == State::CompletingRebalance && group.generation == generation {
            self.withdraw_assignment(id, error);
            self.prepare_rebalance(id);
        }
    }

    pub(super) fn withdraw_assignment(&mut self, id: &Text, error: Error) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        for member in group.members_mut() {
            member.assignment = Bytes::new();
        }
        self.answer_syncs(id, Some(error));
    }

    fn answer_syncs(&mut self, id: &Text, error: Option<Error>) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let (protocol_type, protocol) = (group.protocol_type.clone(), group.protocol.clone());
        let mut answered = Vec::new();
        for member in group.members_mut() {
            if let Some(to) = member.awaiting_sync.take() {
                answered.push((
                    to,
                    member.id.clone(),
                    member.session_ms(),
                    member.assignment.clone(),
                ));
            }
        }
        for (to, member, session_ms, assignment) in answered {
            let reply = match error {
                Some(error) => Err(error),
                None => Ok(Assigned {
                    protocol_type: protocol_type.clone(),
                    protocol: protocol.clone(),
                    assignment,
                }),
            };
            self.reply(to, Reply::Sync(reply));
            self.expect_heartbeat(id, &member, session_ms);
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        id: &Text,
        member_id: &Text,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), Error> {
        let group = self.groups.get(id).ok_or(Error::UnknownMember)?;
        if group.state() == State::Dead {
            return Err(Error::NotAvailable);
        }
        group.check_member(member_id, instance_id)?;
        if group.generation != generation {
            return Err(Error::IllegalGeneration);
        }
        let result = match group.state() {
            State::PreparingRebalance => Err(Error::RebalanceInProgress),
            _ => Ok(()),
        };
        self.refresh_session(id, member_id);
        result
    }

    /// A member has shown that it is alive.
    pub(super) fn refresh_session(&mut self, id: &Text, member_id: &Text) {
        let member = self.groups.get(id).and_then(|group| group.member(member_id));
        if let Some(session_ms) = member.map(|member| member.session_ms()) {
            self.expect_heartbeat(id, member_id, session_ms);
        }
    }
}

fn check_sync(group: &Group, sync: &Sync) -> Result<(), Error> {
    let differs =
        |own: &Option<Text>, theirs: &Option<Text>| own.is_some() && theirs.is_some() && own != theirs;
    match group.state() {
        State::Empty => return Err(Error::UnknownMember),
        State::Dead => return Err(Error::NotAvailable),
        _ => group.check_member(&sync.member_id, sync.instance_id.as_deref())?,
    }
    if group.generation != sync.generation {
        Err(Error::IllegalGeneration)
    } else if differs(&sync.protocol_type, &group.protocol_type) || differs(&sync.protocol, &group.protocol) {
        Err(Error::InconsistentProtocol)
    } else if group.state() == State::PreparingRebalance {
        Err(Error::RebalanceInProgress)
    } else {
        Ok(())
    }
}
