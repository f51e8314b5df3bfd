//! A streams group: the fold of its records.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::assignment::{Assignment, Role};
use super::member::Member;
use super::record::{GroupEpoch, Record};
use super::topology::Topology;
use crate::group::Text;
use crate::group::consumer::TargetEpoch;
use crate::group::folded::Folded;

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No members; offsets may be there.
    Empty,
    /// Topics are missing, or do not fit.
    NotReady,
    /// Something has changed, and tasks are to be assigned anew.
    Assigning,
    /// Members are on their way to their targets.
    Reconciling,
    /// Every member has what it is to have.
    Stable,
}

impl State {
    /// As Kafka prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::NotReady => "NotReady",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// A member that holds a task, and what for. Ordered so that those of one task lie together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holding {
    subtopology: Text,
    partition: i32,
    role: Role,
    process: Text,
    member: Text,
}

/// A group. Cloning is cheap: the clones share what they have in common.
#[derive(Clone, Debug)]
pub(in crate::group) struct Group {
    pub(in crate::group) epoch: GroupEpoch,
    pub(in crate::group) target_epoch: TargetEpoch,
    pub(in crate::group) topology: Option<Arc<Topology>>,
    members: OrdMap<Text, Arc<Member>>,
    targets: OrdMap<Text, Arc<Assignment>>,
    holdings: OrdSet<Holding>,
}

/// Both of the group's epochs begin with 1, as in Kafka.
const EPOCH_FIRST: i32 = 1;

impl Default for Group {
    fn default() -> Self {
        Self {
            epoch: GroupEpoch {
                epoch: EPOCH_FIRST,
                ..GroupEpoch::default()
            },
            target_epoch: TargetEpoch {
                epoch: EPOCH_FIRST,
                timestamp_ms: 0,
            },
            topology: None,
            members: OrdMap::new(),
            targets: OrdMap::new(),
            holdings: OrdSet::new(),
        }
    }
}

impl Folded for Group {
    type Record = Record;

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Group(value) => self.epoch = value.clone().unwrap_or_default(),
            Record::Member { member, value: None } => {
                if let Some(member) = self.members.remove(member) {
                    self.forget(&member);
                }
            }
            Record::Member {
                member,
                value: Some(value),
            } => self.change_member(member, |member| member.told = value.clone()),
            Record::Current { member, value: None } => {
                if self.members.contains_key(member) {
                    self.change_member(member, |member| member.current = Default::default());
                }
            }
            Record::Current {
                member,
                value: Some(value),
            } => self.change_member(member, |member| member.current = value.clone()),
            Record::Target { member, value } => match value {
                Some(value) => {
                    self.targets.insert(member.clone(), Arc::new(value.clone()));
                }
                None => {
                    self.targets.remove(member);
                }
            },
            Record::TargetEpoch(value) => self.target_epoch = value.unwrap_or_default(),
            Record::Topology(value) => self.topology = value.clone().map(Arc::new),
        }
    }

    fn ends_with(record: &Record) -> bool {
        matches!(record, Record::Group(None))
    }

    fn is_tombstone(record: &Record) -> bool {
        record.is_tombstone()
    }
}

impl Group {
    fn change_member(&mut self, id: &Text, change: impl FnOnce(&mut Member)) {
        let mut member = match self.members.get(id) {
            Some(member) => Member::clone(member),
            None => Member::new(id.clone()),
        };
        self.forget(&member);
        change(&mut member);
        for holding in holdings(&member) {
            self.holdings.insert(holding);
        }
        self.members.insert(id.clone(), Arc::new(member));
    }

    fn forget(&mut self, member: &Member) {
        for holding in holdings(member) {
            self.holdings.remove(&holding);
        }
    }

    pub(in crate::group) fn member(&self, id: &str) -> Option<&Arc<Member>> {
        self.members.get(id)
    }

    pub(in crate::group) fn members(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> {
        self.members.values()
    }

    pub(in crate::group) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What the member is to have.
    pub(in crate::group) fn target(&self, member: &str) -> Option<&Arc<Assignment>> {
        self.targets.get(member)
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = (&Text, &Arc<Assignment>)> {
        self.targets.iter()
    }

    pub(in crate::group) fn state(&self) -> State {
        let is_valid = |topology: &Arc<Topology>| topology.epoch == self.epoch.validated_topology_epoch;
        if self.is_empty() {
            State::Empty
        } else if !self.topology.as_ref().is_some_and(is_valid) {
            State::NotReady
        } else if self.epoch.epoch > self.target_epoch.epoch {
            State::Assigning
        } else if self
            .members()
            .all(|member| member.is_reconciled_to(self.target_epoch.epoch))
        {
            State::Stable
        } else {
            State::Reconciling
        }
    }

    /// Whether members read the topic, so that its offsets stay.
    pub(in crate::group) fn is_subscribed_to(&self, topic: &str) -> bool {
        let reads = |topology: &Arc<Topology>| topology.is_read(topic);
        !self.is_empty() && self.topology.as_ref().is_some_and(reads)
    }

    /// Whether it needs any of these topics.
    pub(in crate::group) fn requires_any(&self, topics: &BTreeSet<Text>) -> bool {
        let needs = |topology: &Arc<Topology>| {
            topology
                .required_topics()
                .iter()
                .any(|topic| topics.contains(*topic))
        };
        self.topology.as_ref().is_some_and(needs)
    }

    /// Whether anybody has the task as an active one.
    pub(super) fn is_active(&self, subtopology: &Text, partition: i32) -> bool {
        self.holdings_of(subtopology, partition)
            .any(|holding| holding.role == Role::Active)
    }

    /// Whether the process has the task, in any role.
    pub(super) fn has_process(&self, process: &Text, subtopology: &Text, partition: i32) -> bool {
        self.holdings_of(subtopology, partition)
            .any(|holding| holding.process == *process)
    }

    fn holdings_of(&self, subtopology: &Text, partition: i32) -> impl Iterator<Item = &Holding> {
        let first = Holding {
            subtopology: subtopology.clone(),
            partition,
            role: Role::Active,
            process: "".into(),
            member: "".into(),
        };
        let subtopology = subtopology.clone();
        self.holdings
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |holding| holding.subtopology == subtopology && holding.partition == partition)
    }
}

fn holdings(member: &Member) -> Vec<Holding> {
    let one = |(role, subtopology, partition)| Holding {
        subtopology,
        partition,
        role,
        process: member.told.process_id.clone(),
        member: member.id.clone(),
    };
    member.held().map(one).collect()
}
