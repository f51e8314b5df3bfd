//! Groups that go from one protocol to the other while they have members (KIP-848). Each way is one write.

use std::sync::Arc;

use super::consumer::of_group;
use super::{Alarm, Group as ClassicGroup, Key, Shard, Then};
use crate::group::Text;
use crate::group::classic::State;
use crate::group::consumer::{self, Group, Refused, leave, migration};
use crate::group::error::Error;
use crate::group::record::Record;

impl Shard {
    /// The group that a member of the new protocol speaks of. A classic one that has members becomes one of the new protocol by the
    /// records, which are not written yet.
    pub(super) fn joined_group(
        &mut self,
        id: &Text,
    ) -> Result<(Option<Arc<Group>>, Vec<consumer::Record>), Refused> {
        match self.groups.get(id) {
            Some(classic) if classic.state() != State::Empty => {
                let config = &self.config.consumer;
                let (group, records) = migration::upgrade(id, classic, config, &mut self.hashes, &self.seen)?;
                Ok((Some(Arc::new(group)), records))
            }
            _ => Ok((self.consumers.get(id).cloned(), Vec::new())),
        }
    }

    /// Writes down what a group of the new protocol is. The classic one of that name, if there is one, ends with it: who waits in it
    /// is told to join again, and goes on in the other.
    pub(super) fn write_as_consumers(
        &mut self,
        id: &Text,
        upgraded: Option<&Group>,
        records: Vec<consumer::Record>,
        reply: Then,
    ) {
        let had_classic = self.groups.contains_key(id);
        self.write_instead_of_classic(id, of_group(id, records), reply);
        if had_classic {
            for member in upgraded.into_iter().flat_map(Group::members) {
                self.expect_beat(id, &member.id, member.subscription.classic.as_ref());
            }
        }
    }

    /// Writes records of a group to whose members the coordinator assigns. The classic group of that name, if there is one, ends with
    /// them.
    pub(super) fn write_instead_of_classic(&mut self, id: &Text, mut records: Vec<Record>, reply: Then) {
        let mut then = vec![reply];
        if let Some(mut was) = self.groups.remove(id) {
            self.forget_timers(id, &was);
            was.pending_joins.clear();
            for member in was.members_mut() {
                self.answer(member, member.id.clone(), Error::RebalanceInProgress);
                (member.awaiting_join, member.awaiting_sync) = (None, None);
            }
            let tombstone = Record::GroupMetadata {
                group: id.clone(),
                value: None,
            };
            records.insert(0, tombstone);
            then.push(Then::Convert {
                group: id.clone(),
                was: Box::new(was),
            });
        }
        self.write(records, then);
    }

    /// A classic group did not become one of the new protocol after all.
    pub(super) fn stay_classic(&mut self, id: &Text, was: ClassicGroup) {
        if self.groups.contains_key(id) {
            return;
        }
        let sessions: Vec<(Text, u64)> = was
            .members()
            .map(|member| (member.id.clone(), member.session_ms()))
            .collect();
        let (state, timeout_ms) = (was.state(), was.rebalance_timeout_ms());
        self.groups.insert(id.clone(), was);
        for (member, session_ms) in sessions {
            self.forget_member_timers(id, &member);
            self.expect_heartbeat(id, &member, session_ms);
        }
        match state {
            // Nobody waits in it any more, so all have to join again.
            State::CompletingRebalance => self.prepare_rebalance(id),
            State::PreparingRebalance => {
                let at_ms = self.now_ms + timeout_ms;
                self.timers.set(Key::Join(id.clone()), at_ms, Alarm::Join);
            }
            State::Empty | State::Stable | State::Dead => {}
        }
    }

    /// What a group is once these members have left it, if that is a classic one.
    pub(super) fn downgraded(&self, group: &Group, gone: &[Text]) -> Option<ClassicGroup> {
        let Self { config, seen, .. } = self;
        migration::downgrade(
            group,
            gone,
            &config.consumer,
            config.members_max,
            self.now_ms,
            seen,
        )
    }

    /// Makes a group of the new protocol the classic one that it is to be, and has its members join again unless all is settled
    /// between them. Clients are shown that once it is committed.
    pub(super) fn become_classic(
        &mut self,
        id: &Text,
        group: &Group,
        mut classic: ClassicGroup,
        is_settled: bool,
        mut then: Vec<Then>,
    ) {
        for member in group.members() {
            self.forget_member_timers(id, &member.id);
        }
        self.stale.remove(id);
        self.resolving.remove(id);
        let mut value = classic.to_record(&classic.assignments());
        if !is_settled {
            // Whoever reads this goes on with the rebalance. Kafka's brokers forget that, and leave what the last member of the new
            // protocol held to nobody until somebody else comes or goes.
            value.leader = None;
        }
        let mut records = of_group(id, leave::delete(group));
        records.push(Record::GroupMetadata {
            group: id.clone(),
            value: Some(value),
        });
        then.insert(0, Then::Know { group: id.clone() });
        classic.born = Some(self.write(records, then));
        for member in classic.members() {
            self.expect_heartbeat(id, &member.id, member.session_ms());
        }
        self.groups.insert(id.clone(), classic);
        if !is_settled {
            self.prepare_rebalance(id);
        }
    }

    /// Classic groups whose end is not committed yet.
    pub(super) fn ending(&self) -> impl Iterator<Item = (&Text, &ClassicGroup)> {
        let thens = self.writes.iter().flat_map(|write| &write.then);
        thens.filter_map(|then| match then {
            Then::Convert { group, was } => Some((group, &**was)),
            _ => None,
        })
    }
}
