//! A classic group: its members, its generation, and what holds between them. What makes it move is in `shard`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::error::Error;
use super::record::{GroupMetadata, MemberMetadata};
use super::shard::request::{JoinedMember, Protocol};
use super::shard::{Ticket, WriteId};
use super::{Text, subscription};

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No members; offsets may be there.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Everyone has an assignment.
    Stable,
    /// Being deleted.
    Dead,
}

impl State {
    /// As Kafka prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    fn follows(self, before: Self) -> bool {
        match self {
            Self::Empty => matches!(before, Self::PreparingRebalance | Self::Dead),
            Self::PreparingRebalance => {
                matches!(before, Self::Stable | Self::CompletingRebalance | Self::Empty)
            }
            Self::CompletingRebalance => before == Self::PreparingRebalance,
            Self::Stable => before == Self::CompletingRebalance,
            Self::Dead => true,
        }
    }
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: Text,
    pub(super) instance_id: Option<Text>,
    pub(super) client_id: Text,
    pub(super) client_host: Text,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// In the member's order of preference.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// Has joined, but no generation with it has been completed: its session does not count yet (KIP-394).
    pub(super) is_new: bool,
    pub(super) awaiting_join: Option<Ticket>,
    pub(super) awaiting_sync: Option<Ticket>,
}

impl Member {
    /// Whether silence is fine: a member that waits for an answer of ours cannot send heartbeats.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let own = self.protocols.iter().find(|own| *own.name == *protocol);
        own.map(|own| own.metadata.clone()).unwrap_or_default()
    }

    pub(super) fn session_ms(&self) -> u64 {
        u64::try_from(self.session_timeout_ms).unwrap_or(0)
    }
}

/// A classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    state: State,
    previous: State,
    /// Since when it has been in its state; -1: not known.
    pub(super) state_timestamp_ms: i64,
    pub(super) protocol_type: Option<Text>,
    pub(super) protocol: Option<Text>,
    pub(super) generation: i32,
    pub(super) leader: Option<Text>,
    members: BTreeMap<Text, Member>,
    statics: BTreeMap<Text, Text>,
    /// How many members know each protocol.
    supported: BTreeMap<Text, usize>,
    /// Ids given out whose owners have not come back yet (KIP-394).
    pub(super) pending_joins: BTreeSet<Text>,
    /// Members of this generation that have not sent SyncGroup yet.
    pub(super) pending_syncs: BTreeSet<Text>,
    /// Somebody came during the initial delay, so wait on.
    pub(super) new_member_added: bool,
    /// Topics that the members read, where the protocol says.
    pub(super) subscribed: Option<BTreeSet<Text>>,
    /// It was read from a record that names no leader, with which a rebalance begins that was not finished (KIP-848).
    pub(super) is_unsettled: bool,
    /// The write that makes the group known; until it is committed, nobody is shown the group.
    pub(super) born: Option<WriteId>,
}

impl Group {
    pub(super) fn new() -> Self {
        Self {
            state: State::Empty,
            previous: State::Empty,
            state_timestamp_ms: -1,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            supported: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            new_member_added: false,
            subscribed: None,
            is_unsettled: false,
            born: None,
        }
    }

    /// As a record says it was: stable if it has members, since only then is it recorded with any.
    pub(super) fn from_record(value: &GroupMetadata) -> Self {
        let mut group = Self::new();
        group.state_timestamp_ms = value.state_timestamp_ms;
        group.generation = value.generation;
        group.protocol.clone_from(&value.protocol);
        if !value.protocol_type.is_empty() {
            group.protocol_type = Some(value.protocol_type.clone());
        }
        for member in &value.members {
            let rebalance_timeout_ms = match member.rebalance_timeout_ms {
                -1 => member.session_timeout_ms,
                timeout_ms => timeout_ms,
            };
            let protocol = value.protocol.as_ref().map(|name| Protocol {
                name: name.clone(),
                metadata: member.subscription.clone(),
            });
            group.add(Member {
                id: member.member_id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                protocols: protocol.into_iter().collect(),
                assignment: member.assignment.clone(),
                is_new: false,
                awaiting_join: None,
                awaiting_sync: None,
            });
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        group.is_unsettled = value.leader.is_none() && !group.members.is_empty();
        // A record whose leader is no member would leave the group with nobody to assign.
        if let Some(leader) = value
            .leader
            .as_ref()
            .filter(|leader| group.members.contains_key(*leader))
        {
            group.leader = Some(leader.clone());
        }
        group.find_subscribed();
        group
    }

    /// Members that a group of the new protocol leaves behind (KIP-848), stable in this generation. None: they have no protocol
    /// in common.
    pub(super) fn of_members(generation: i32, members: Vec<Member>, now_ms: u64) -> Option<Self> {
        let mut group = Self::new();
        group.generation = generation;
        group.protocol_type = Some("consumer".into());
        group.state_timestamp_ms = now_ms as i64;
        group.state = State::Stable;
        for member in members {
            group.add(member);
        }
        group.protocol = Some(group.vote()?);
        group.find_subscribed();
        Some(group)
    }

    /// The value to record, with these assignments; a member that is not among them has none.
    pub(super) fn to_record(&self, assignment: &BTreeMap<Text, Bytes>) -> GroupMetadata {
        let protocol = self.protocol.as_deref().unwrap_or("");
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp_ms: self.state_timestamp_ms,
            members: self
                .members
                .values()
                .map(|member| MemberMetadata {
                    member_id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    rebalance_timeout_ms: member.rebalance_timeout_ms,
                    session_timeout_ms: member.session_timeout_ms,
                    subscription: member.metadata(protocol),
                    assignment: assignment.get(&member.id).cloned().unwrap_or_default(),
                })
                .collect(),
        }
    }

    pub(super) fn assignments(&self) -> BTreeMap<Text, Bytes> {
        self.members
            .values()
            .map(|member| (member.id.clone(), member.assignment.clone()))
            .collect()
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn previous(&self) -> State {
        self.previous
    }

    /// # Panics
    /// When no group goes from its state to this one: a mistake of ours, whatever a client sent.
    pub(super) fn become_(&mut self, state: State, now_ms: u64) {
        assert!(
            state.follows(self.state),
            "a group does not go from {} to {}",
            self.state.name(),
            state.name()
        );
        self.previous = self.state;
        self.state = state;
        self.state_timestamp_ms = now_ms as i64;
    }

    pub(super) fn is_full_of(&self, id: &str, members_max: usize) -> bool {
        match self.state {
            State::Empty | State::Dead => false,
            State::PreparingRebalance => {
                let waits = self
                    .member(id)
                    .is_some_and(|member| member.awaiting_join.is_some());
                !waits && self.awaiting_join_count() >= members_max
            }
            State::CompletingRebalance | State::Stable => {
                !self.members.contains_key(id) && self.members.len() >= members_max
            }
        }
    }

    pub(super) fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some("consumer")
    }

    pub(super) fn can_rebalance(&self) -> bool {
        State::PreparingRebalance.follows(self.state)
    }

    pub(super) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    pub(super) fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn members_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Member> {
        self.members.values_mut()
    }

    pub(super) fn static_member(&self, instance_id: &str) -> Option<&Text> {
        self.statics.get(instance_id)
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    fn awaiting_join_count(&self) -> usize {
        self.members()
            .filter(|member| member.awaiting_join.is_some())
            .count()
    }

    pub(super) fn all_have_joined(&self) -> bool {
        self.pending_joins.is_empty() && self.members().all(|member| member.awaiting_join.is_some())
    }

    /// The longest that a member asks the others to wait for it.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members().map(|member| member.rebalance_timeout_ms).max();
        u64::try_from(longest.unwrap_or(0)).unwrap_or(0)
    }

    /// Adds a member, and makes it leader if there is none.
    pub(super) fn add(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.statics.insert(instance_id.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_joins.remove(&member.id);
        self.count_protocols(&member.protocols, true);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member or a given-out id away. What the member waits for is the caller's to answer.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        self.pending_joins.remove(id);
        self.pending_syncs.remove(id);
        let member = self.members.remove(id)?;
        self.count_protocols(&member.protocols, false);
        if let Some(instance_id) = &member.instance_id {
            self.statics.remove(instance_id);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Gives the place of a static member to another id (KIP-345), and returns the member as it was.
    pub(super) fn replace(&mut self, old_id: &str, new_id: &Text) -> Option<Member> {
        let old = self.members.remove(old_id)?;
        let new = Member {
            id: new_id.clone(),
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
            ..old.clone()
        };
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if let Some(instance_id) = &old.instance_id {
            self.statics.insert(instance_id.clone(), new_id.clone());
        }
        if self.pending_syncs.remove(old_id) {
            self.pending_syncs.insert(new_id.clone());
        }
        self.members.insert(new_id.clone(), new);
        Some(old)
    }

    /// Takes over what a member says when it joins again. Returns the ticket of a join of its own that still waited.
    pub(super) fn update(
        &mut self,
        id: &str,
        protocols: Vec<Protocol>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
        awaiting_join: Option<Ticket>,
    ) -> Option<Ticket> {
        let member = self.members.get_mut(id)?;
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        let waited = std::mem::replace(&mut member.awaiting_join, awaiting_join);
        self.count_protocols(&before, false);
        self.count_protocols(&protocols, true);
        waited
    }

    fn count_protocols(&mut self, protocols: &[Protocol], added: bool) {
        // A name that one member sends twice counts once.
        let names: BTreeSet<&Text> = protocols.iter().map(|protocol| &protocol.name).collect();
        for name in names {
            if added {
                *self.supported.entry(name.clone()).or_default() += 1;
            } else if let Some(count) = self.supported.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(name);
                }
            }
        }
    }

    /// Whether a member of this type, with these protocols, has something in common with everyone in the group.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|own| self.supported.get(&own.name).copied().unwrap_or(0) == self.members.len())
    }

    /// The protocol with most votes among those that all know: each member votes for the first of its own.
    pub(super) fn vote(&self) -> Option<Text> {
        let everyone = self.members.len();
        let known_by_all = |name: &Text| self.supported.get(name) == Some(&everyone);
        let mut votes: BTreeMap<&Text, usize> = BTreeMap::new();
        for member in self.members() {
            if let Some(choice) = member.protocols.iter().find(|own| known_by_all(&own.name)) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let winner = votes.into_iter().find(|(_, count)| *count == most)?;
        Some(winner.0.clone())
    }

    /// Sees to a leader that has joined this rebalance. False: nobody has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = self.leader.as_ref().and_then(|leader| self.members.get(leader)) else {
            return false;
        };
        if leader.awaiting_join.is_some() {
            return true;
        }
        let Some(joined) = self.members().find(|member| member.awaiting_join.is_some()) else {
            return false;
        };
        self.leader = Some(joined.id.clone());
        true
    }

    /// Begins the next generation with whoever has joined.
    pub(super) fn next_generation(&mut self, now_ms: u64) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.vote();
        self.find_subscribed();
        self.pending_syncs.clear();
        let state = if self.members.is_empty() {
            State::Empty
        } else {
            State::CompletingRebalance
        };
        self.become_(state, now_ms);
    }

    fn find_subscribed(&mut self) {
        self.subscribed = None;
        if !self.is_consumer() {
            return;
        }
        if self.members.is_empty() {
            self.subscribed = Some(BTreeSet::new());
        } else if let Some(protocol) = &self.protocol {
            let each = self
                .members
                .values()
                .map(|member| subscription::topics(&member.metadata(protocol)));
            let all: Result<Vec<_>, _> = each.collect();
            // Other clients may put what they like under `consumer`; then the topics are simply not known.
            self.subscribed = all.ok().map(|sets| sets.into_iter().flatten().collect());
        }
    }

    /// Whether offsets of the topic are in use. Where the subscription cannot be read, a consumer group's all are.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_consumer(),
        }
    }

    /// Checks that a request speaks for a member.
    pub(super) fn check_member(&self, id: &str, instance_id: Option<&str>) -> Result<(), Error> {
        if let Some(instance_id) = instance_id {
            let current = self.statics.get(instance_id).ok_or(Error::UnknownMember)?;
            if **current != *id {
                return Err(Error::FencedInstance);
            }
        }
        if self.members.contains_key(id) {
            Ok(())
        } else {
            Err(Error::UnknownMember)
        }
    }

    /// What the leader is told of the members.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or("");
        self.members()
            .map(|member| JoinedMember {
                member_id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                metadata: member.metadata(protocol),
            })
            .collect()
    }
}
