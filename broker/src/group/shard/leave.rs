//! LeaveGroup.

use super::{Shard, Ticket, session};
use crate::group::Text;
use crate::group::classic::State;
use crate::group::error::Error;
use crate::group::shard::request::{Leave, Leaving, Reply};

impl Shard {
    pub(super) fn leave(&mut self, to: Ticket, leave: &Leave) {
        let id = &leave.group;
        if let Some(results) = self.leave_consumers(id, &leave.members) {
            self.reply_after_writes(to, Reply::Leave(Ok(results)));
            return;
        }
        let result = match self.groups.get(id).map(|group| group.state()) {
            None => Ok(vec![Err(Error::UnknownMember); leave.members.len()]),
            Some(State::Dead) => Err(Error::NotAvailable),
            Some(_) => Ok(leave
                .members
                .iter()
                .map(|member| self.remove_leaving(id, member))
                .collect()),
        };
        let left = matches!(&result, Ok(each) if each.iter().any(Result::is_ok));
        let writes_before = self.next_write;
        if left {
            match self.groups.get(id).map(|group| group.state()) {
                Some(State::Stable | State::CompletingRebalance) => self.rebalance_or_complete(id),
                Some(State::PreparingRebalance) => self.complete_if_joined(id),
                _ => {}
            }
        }
        if self.next_write > writes_before {
            self.reply_after_writes(to, Reply::Leave(result));
        } else {
            self.reply(to, Reply::Leave(result));
        }
    }

    fn remove_leaving(&mut self, id: &Text, leaving: &Leaving) -> Result<(), Error> {
        let group = self.groups.get_mut(id).ok_or(Error::UnknownMember)?;
        let instance_id = leaving.instance_id.as_deref();
        let member_id = if leaving.member_id.is_empty() {
            let current = instance_id.and_then(|instance_id| group.static_member(instance_id));
            current.cloned().ok_or(Error::UnknownMember)?
        } else {
            if !group.pending_joins.contains(&leaving.member_id) {
                group.check_member(&leaving.member_id, instance_id)?;
            }
            leaving.member_id.clone()
        };
        let removed = group.remove(&member_id);
        self.timers.cancel(&session(id, &member_id));
        if let Some(member) = removed {
            self.answer(&member, "".into(), Error::UnknownMember);
        }
        Ok(())
    }
}
