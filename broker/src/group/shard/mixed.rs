//! Members of the classic protocol in groups of the new one: their requests.

use std::sync::Arc;

use super::consumer::of_group;
use super::fence::{rejoin, resync};
use super::{Alarm, Key, Shard, Then, Ticket, WRITES_PENDING_MAX};
use crate::group::Text;
use crate::group::consumer::heartbeat::{self, Decided};
use crate::group::consumer::{Group, Member, Record, Seen, State, classic_member};
use crate::group::error::Error;
use crate::group::folded::Folded;
use crate::group::shard::request::{Join, Joined, Reply, Sync};

impl Shard {
    /// The group of the new protocol that a request of the classic one speaks of. One without members only keeps the place of a
    /// classic one.
    pub(super) fn mixed(&mut self, id: &Text, seen: &Seen) -> Option<Arc<Group>> {
        let group = self
            .consumers
            .get(id)
            .filter(|group| !group.is_empty())
            .cloned()?;
        self.observe(seen);
        Some(group)
    }

    pub(super) fn mixed_join(&mut self, to: Ticket, group: &Arc<Group>, join: &Join) {
        if let Err(error) = classic_member::check_join(group, join, &self.config.consumer) {
            self.refuse_join(to, join.member_id.clone(), error);
        } else if join.requires_known_member_id && join.instance_id.is_none() && join.member_id.is_empty() {
            // It comes back with the id (KIP-394). There is no need to know that it was given out: any id is as good.
            self.refuse_join(to, join.fresh_id.clone(), Error::MemberIdRequired);
        } else if let Err(error) = self.admit_classic(to, group, join) {
            self.refuse_join(to, join.member_id.clone(), error);
        }
    }

    fn refuse_join(&mut self, to: Ticket, member_id: Text, error: Error) {
        self.reply(to, Reply::Join(Joined::refused(member_id, error)));
    }

    fn admit_classic(&mut self, to: Ticket, group: &Arc<Group>, join: &Join) -> Result<(), Error> {
        let id = &join.group;
        let request = classic_member::as_heartbeat(join, &self.seen)?;
        let decided = self.decide(id, |around, hashes| {
            heartbeat::heartbeat(Some(group), &request, around, hashes)
        });
        let Decided { records, beat, .. } = decided.map_err(|refused| refused.error)?;
        self.stale.remove(id);
        let member = beat.member_id;
        self.forget_former(id, group, join.instance_id.as_ref(), &member);
        self.forget_member_timers(id, &member);
        if self.replaces_last(to, group, join, &member, &records) {
            return Ok(());
        }
        let protocol = join.protocols.first().map(|own| own.name.clone());
        let reply = Reply::Join(classic_member::joined(member.clone(), beat.epoch, protocol));
        if records.is_empty() {
            self.reply_after_writes(to, reply);
        } else {
            self.write(of_group(id, records), vec![Then::Reply { to, reply }]);
        }
        self.expect_beat(id, &member, request.classic.as_ref());
        self.set_timer(resync(id, &member), join.rebalance_timeout_ms);
        Ok(())
    }

    /// A static member of the classic protocol takes the place of the last one that spoke the new protocol: then the group is a classic
    /// one, and the member is answered. False: it stays one of the new.
    fn replaces_last(
        &mut self,
        to: Ticket,
        group: &Group,
        join: &Join,
        member: &Text,
        records: &[Record],
    ) -> bool {
        let instance_id = join.instance_id.as_ref();
        let former = instance_id.and_then(|instance_id| group.static_member(instance_id));
        if former.is_none_or(|former| former.subscription.classic.is_some()) {
            return false;
        }
        let mut after = group.clone();
        for record in records {
            after.apply(record);
        }
        let Some(mut classic) = self.downgraded(&after, &[]) else {
            return false;
        };
        if after.epoch == group.epoch && after.state() == State::Stable {
            // Everybody has what it is to have, and keeps it.
            let joined = classic_member::joined(member.clone(), classic.generation, classic.protocol.clone());
            let reply = Reply::Join(joined);
            self.become_classic(&join.group, group, classic, true, vec![Then::Reply { to, reply }]);
        } else {
            if let Some(joining) = classic.member_mut(member) {
                joining.awaiting_join = Some(to);
            }
            self.become_classic(&join.group, group, classic, false, Vec::new());
        }
        true
    }

    pub(super) fn mixed_sync(&mut self, to: Ticket, group: &Group, sync: &Sync) {
        let id = &sync.group;
        let found = classic_member::find(group, &sync.member_id, sync.instance_id.as_ref(), sync.generation);
        let synced = found.and_then(|member| {
            let synced = classic_member::sync(group, member, sync, &self.seen);
            match synced {
                Ok(_) => {
                    self.timers.cancel(&resync(id, &member.id));
                    self.expect_beat(id, &member.id, member.subscription.classic.as_ref());
                }
                Err(Error::RebalanceInProgress) => self.expect_rejoin(id, member),
                Err(_) => {}
            }
            synced
        });
        match synced {
            Ok(assigned) => self.reply_after_writes(to, Reply::Sync(Ok(assigned))),
            Err(error) => self.reply(to, Reply::Sync(Err(error))),
        }
    }

    pub(super) fn mixed_heartbeat(
        &mut self,
        to: Ticket,
        id: &Text,
        group: &Arc<Group>,
        member_id: &Text,
        instance_id: Option<&Text>,
        generation: i32,
    ) {
        let member = match classic_member::find(group, member_id, instance_id, generation) {
            Ok(member) => member,
            Err(error) => {
                self.reply(to, Reply::Heartbeat(Err(error)));
                return;
            }
        };
        self.expect_beat(id, &member.id, member.subscription.classic.as_ref());
        self.catch_up(id, group);
        let now = self.consumers.get(id).unwrap_or(group);
        let result = match classic_member::must_rejoin(now, member) {
            true => Err(Error::RebalanceInProgress),
            false => Ok(()),
        };
        if result.is_err() {
            self.expect_rejoin(id, member);
        }
        self.reply_after_writes(to, Reply::Heartbeat(result));
    }

    /// Does what is due in a group, if more may be written.
    fn catch_up(&mut self, id: &Text, group: &Group) {
        if self.writes.len() >= WRITES_PENDING_MAX {
            return;
        }
        let records = self.decide(id, |around, hashes| {
            classic_member::catch_up(group, around, hashes)
        });
        self.stale.remove(id);
        if !records.is_empty() {
            self.write(of_group(id, records), Vec::new());
        }
    }

    /// The member has the time that it asked for to join again, from when it was told to for the first time.
    fn expect_rejoin(&mut self, id: &Text, member: &Member) {
        let key = rejoin(id, &member.id);
        if self.timers.deadline(&key).is_none() {
            self.set_timer(key, member.subscription.rebalance_timeout_ms);
        }
    }

    fn set_timer(&mut self, key: Key, within_ms: i32) {
        let at_ms = self.now_ms + u64::try_from(within_ms).unwrap_or(0);
        self.timers.set(key, at_ms, Alarm::ClassicMember);
    }

    /// Cancels what is due of the member whose place another has taken, and of a member that spoke the classic protocol until now.
    pub(super) fn forget_former(
        &mut self,
        id: &Text,
        group: &Group,
        instance_id: Option<&Text>,
        member: &Text,
    ) {
        let former = match instance_id {
            Some(instance_id) => group.static_member(instance_id),
            None => group.member(member),
        };
        let is_other = |former: &&Arc<Member>| former.id != *member || former.subscription.classic.is_some();
        if let Some(former) = former.filter(is_other) {
            self.forget_member_timers(id, &former.id);
        }
    }
}
