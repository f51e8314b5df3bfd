//! Members of groups of the new protocol that go: in silence, by an administrator, or because they give nothing up.

use super::consumer::of_group;
use super::{Alarm, Key, Shard, Then, session};
use crate::group::Text;
use crate::group::consumer::heartbeat::RebalanceTimer;
use crate::group::consumer::{Classic, Group, MemberState, leave};
use crate::group::error::Error;
use crate::group::shard::request::Leaving;
use crate::metadata::ResourceType;

impl Shard {
    /// A setting of the group's own, within what the broker allows; where it has none, the broker's.
    pub(super) fn of_group(
        &self,
        id: &str,
        name: &str,
        of_broker_ms: u64,
        (min_ms, max_ms): (u64, u64),
    ) -> u64 {
        let own = self
            .seen
            .image
            .config(ResourceType::Group, id)
            .and_then(|set| set.get(name)?.parse().ok());
        match own {
            Some(own_ms) => u64::clamp(own_ms, min_ms, max_ms.max(min_ms)),
            None => of_broker_ms,
        }
    }

    /// Puts the member out if it is not heard from for a session; that of a classic member is its own.
    pub(super) fn expect_beat(&mut self, group: &Text, member: &Text, classic: Option<&Classic>) {
        let config = &self.config.consumer;
        let within_ms = match classic {
            Some(classic) => u64::try_from(classic.session_timeout_ms).unwrap_or(0),
            None => self.of_group(
                group,
                "consumer.session.timeout.ms",
                config.session_timeout_ms,
                config.session_timeout_range_ms,
            ),
        };
        self.timers.set(
            session(group, member),
            self.now_ms + within_ms,
            Alarm::MemberSession,
        );
    }

    /// Cancels all that is due of a member of a group of this protocol.
    pub(super) fn forget_member_timers(&mut self, group: &Text, member: &Text) {
        for key in [
            session(group, member),
            rebalance(group, member),
            rejoin(group, member),
            resync(group, member),
        ] {
            self.timers.cancel(&key);
        }
    }

    pub(super) fn set_rebalance_timer(&mut self, group: &Text, member: &Text, timer: RebalanceTimer) {
        match timer {
            RebalanceTimer::Keep => {}
            RebalanceTimer::Cancel => self.timers.cancel(&rebalance(group, member)),
            RebalanceTimer::Set { epoch, within_ms } => {
                let at_ms = self.now_ms + within_ms;
                self.timers
                    .set(rebalance(group, member), at_ms, Alarm::Rebalance { epoch });
            }
        }
    }

    /// A member has had the time that it asked for, and has not given up what it must.
    pub(super) fn consumer_rebalance_over(&mut self, id: &Text, member: &Text, epoch: i32) {
        let of_consumers = || Some(self.consumers.get(id)?.member(member)?.current.epoch);
        let of_streams = || Some(self.streams.get(id)?.member(member)?.current.epoch);
        let is_there_still = of_consumers().or_else(of_streams) == Some(epoch);
        if is_there_still {
            self.fence(id, std::slice::from_ref(member));
        }
    }

    pub(super) fn fence(&mut self, id: &Text, members: &[Text]) {
        if self.streams.contains(id) {
            self.fence_streams(id, members);
            return;
        }
        if self.shares.contains(id) {
            self.fence_share(id, members);
            return;
        }
        let Some(group) = self.consumers.get(id).cloned() else {
            return;
        };
        let members: Vec<Text> = members
            .iter()
            .filter(|member| group.member(member).is_some())
            .cloned()
            .collect();
        if !members.is_empty() {
            self.take_out(id, &group, &members, Vec::new());
        }
    }

    /// Takes members out of a group, which may be a classic one then.
    pub(super) fn take_out(&mut self, id: &Text, group: &Group, members: &[Text], then: Vec<Then>) {
        for member in members {
            self.forget_member_timers(id, member);
        }
        if let Some(classic) = self.downgraded(group, members) {
            self.become_classic(id, group, classic, false, then);
        } else {
            let records = leave::fence(group, members, &mut self.hashes, &self.seen);
            self.write(of_group(id, records), then);
        }
    }

    /// LeaveGroup, by which administrators put members out; `None`: the group is not one of this protocol.
    pub(super) fn leave_consumers(
        &mut self,
        id: &Text,
        leaving: &[Leaving],
    ) -> Option<Vec<Result<(), Error>>> {
        let group = self.consumers.get(id).cloned()?;
        let mut results = Vec::with_capacity(leaving.len());
        let mut gone: Vec<Text> = Vec::new();
        for leaving in leaving {
            let found = match &leaving.instance_id {
                None => group.member(&leaving.member_id).ok_or(Error::UnknownMember),
                Some(instance_id) => match group.static_member(instance_id) {
                    None => Err(Error::UnknownMember),
                    Some(member) if leaving.member_id.is_empty() || leaving.member_id == member.id => {
                        Ok(member)
                    }
                    Some(_) => Err(Error::FencedInstance),
                },
            };
            results.push(found.map(|member| {
                if !gone.contains(&member.id) {
                    gone.push(member.id.clone());
                }
            }));
        }
        self.fence(id, &gone);
        Some(results)
    }

    /// All has been replayed: members get a whole session's time to be heard from.
    pub(super) fn consumers_loaded(&mut self) {
        self.consumers_committed = self.consumers.clone();
        self.consumers_restored();
    }

    /// Sets the timers that are missing, and has all groups look at their topics again.
    pub(super) fn consumers_restored(&mut self) {
        let groups = self.consumers.clone();
        for (id, group) in groups.iter() {
            self.stale.insert(id.clone());
            for member in group.members() {
                let classic = member.subscription.classic.as_ref();
                if self.timers.deadline(&session(id, &member.id)).is_none() {
                    self.expect_beat(id, &member.id, classic);
                }
                let is_revoking =
                    classic.is_none() && member.current.state == MemberState::UnrevokedPartitions;
                if is_revoking && self.timers.deadline(&rebalance(id, &member.id)).is_none() {
                    let timer = RebalanceTimer::Set {
                        epoch: member.current.epoch,
                        within_ms: u64::try_from(member.subscription.rebalance_timeout_ms).unwrap_or(0),
                    };
                    self.set_rebalance_timer(id, &member.id, timer);
                }
            }
        }
    }
}

/// Until when a classic member has to join again.
pub(super) fn rejoin(group: &Text, member: &Text) -> Key {
    Key::Rejoin {
        group: group.clone(),
        member: member.clone(),
    }
}

/// Until when a classic member that has joined has to ask for its assignment.
pub(super) fn resync(group: &Text, member: &Text) -> Key {
    Key::Resync {
        group: group.clone(),
        member: member.clone(),
    }
}

pub(super) fn rebalance(group: &Text, member: &Text) -> Key {
    Key::Rebalance {
        group: group.clone(),
        member: member.clone(),
    }
}
