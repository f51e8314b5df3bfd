//! From one generation to the next.

use super::join::current;
use super::{Alarm, Key, Shard, session};
use crate::group::Text;
use crate::group::classic::State;
use crate::group::error::Error;
use crate::group::record::Record;
use crate::group::shard::request::Reply;

impl Shard {
    /// Something about the members has changed.
    pub(super) fn rebalance_or_complete(&mut self, id: &Text) {
        if self.groups.get(id).is_some_and(|group| group.can_rebalance()) {
            self.prepare_rebalance(id);
        } else {
            self.complete_if_joined(id);
        }
    }

    /// Asks all members to join again.
    pub(super) fn prepare_rebalance(&mut self, id: &Text) {
        let Some(group) = self.groups.get(id) else { return };
        let is_initial = group.state() == State::Empty;
        if group.state() == State::CompletingRebalance {
            self.withdraw_assignment(id, Error::RebalanceInProgress);
        }
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        group.pending_syncs.clear();
        group.become_(State::PreparingRebalance, self.now_ms);
        let rebalance_timeout_ms = group.rebalance_timeout_ms();
        self.timers.cancel(&Key::Sync(id.clone()));
        if is_initial {
            group.new_member_added = false;
            let delay_ms = self.config.initial_rebalance_delay_ms;
            let alarm = Alarm::InitialJoin {
                delay_ms,
                remaining_ms: rebalance_timeout_ms.saturating_sub(delay_ms),
            };
            self.timers
                .set(Key::Join(id.clone()), self.now_ms + delay_ms, alarm);
        } else if group.all_have_joined() {
            self.complete_join(id);
        } else {
            let at_ms = self.now_ms + rebalance_timeout_ms;
            self.timers.set(Key::Join(id.clone()), at_ms, Alarm::Join);
        }
    }

    /// Ends the join phase early if nobody is missing. The initial delay is waited out all the same.
    pub(super) fn complete_if_joined(&mut self, id: &Text) {
        let Some(group) = self.groups.get(id) else { return };
        let is_initial = group.previous() == State::Empty;
        if group.state() == State::PreparingRebalance && !is_initial && group.all_have_joined() {
            self.complete_join(id);
        }
    }

    /// Ends the join phase: whoever is here makes the next generation.
    pub(super) fn complete_join(&mut self, id: &Text) {
        self.timers.cancel(&Key::Join(id.clone()));
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if group.state() != State::PreparingRebalance {
            return;
        }
        let missing: Vec<Text> = group
            .members()
            .filter(|member| member.awaiting_join.is_none() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for member in missing {
            group.remove(&member);
            self.timers.cancel(&session(id, &member));
        }
        if !group.elect_joined_leader() && group.members().len() > 0 {
            // Only static members are left and none has come: they keep their places until their sessions end.
            let at_ms = self.now_ms + group.rebalance_timeout_ms();
            self.timers.set(Key::Join(id.clone()), at_ms, Alarm::Join);
            return;
        }
        group.next_generation(self.now_ms);
        if group.state() == State::Empty {
            let record = Record::GroupMetadata {
                group: id.clone(),
                value: Some(group.to_record(&Default::default())),
            };
            self.write(vec![record], Vec::new());
        } else {
            self.begin_sync_phase(id);
        }
    }

    fn begin_sync_phase(&mut self, id: &Text) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let mut replies = Vec::new();
        let mut sessions = Vec::new();
        for member in group.members() {
            if let Some(to) = member.awaiting_join {
                let reply = current(group, &member.id, group.is_leader(&member.id));
                replies.push((to, reply));
            }
            sessions.push((member.id.clone(), member.session_ms()));
        }
        for member in group.members_mut() {
            member.awaiting_join = None;
            member.is_new = false;
        }
        group.pending_syncs = sessions.iter().map(|(member, _)| member.clone()).collect();
        let alarm = Alarm::Sync {
            generation: group.generation,
        };
        let at_ms = self.now_ms + group.rebalance_timeout_ms();
        self.timers.set(Key::Sync(id.clone()), at_ms, alarm);
        for (to, reply) in replies {
            self.reply(to, Reply::Join(reply));
        }
        for (member, session_ms) in sessions {
            self.expect_heartbeat(id, &member, session_ms);
        }
    }

    /// Some members have joined but never asked for their assignment: they are out.
    pub(super) fn sync_over(&mut self, id: &Text, generation: i32) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let waits = matches!(group.state(), State::CompletingRebalance | State::Stable);
        if !waits || group.generation != generation || group.pending_syncs.is_empty() {
            return;
        }
        for member in std::mem::take(&mut group.pending_syncs) {
            group.remove(&member);
            self.timers.cancel(&session(id, &member));
        }
        self.prepare_rebalance(id);
    }

    /// A member, or an id given out, has been silent for too long.
    pub(super) fn session_over(&mut self, id: &Text, member_id: &Text) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if group.state() == State::Dead {
            return;
        }
        if group.pending_joins.contains(member_id) {
            group.remove(member_id);
            if group.state() == State::PreparingRebalance && group.all_have_joined() {
                self.complete_join(id);
            }
            return;
        }
        if group.member(member_id).is_none_or(|member| member.is_excused()) {
            return;
        }
        let Some(removed) = group.remove(member_id) else {
            return;
        };
        self.answer(&removed, "".into(), Error::UnknownMember);
        self.member_gone(id);
    }

    /// A member has been removed: the others share what it had.
    pub(super) fn member_gone(&mut self, id: &Text) {
        let Some(group) = self.groups.get(id) else { return };
        match group.state() {
            State::Stable | State::CompletingRebalance => self.rebalance_or_complete(id),
            State::PreparingRebalance if group.all_have_joined() => self.complete_join(id),
            _ => {}
        }
    }
}
