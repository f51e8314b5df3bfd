//! A group of the new protocol: the fold of its records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flotilla_protocol::Uuid;
use imbl::OrdMap;

use super::assigned::Partitions;
use super::member::Member;
use super::record::Record;
use super::topics::Seen;
use crate::group::Text;
use crate::group::folded::Folded;

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No members; offsets may be there.
    Empty,
    /// Something has changed, and partitions are to be assigned anew.
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
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// Which topics a regular expression matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Their names.
    pub topics: BTreeSet<Text>,
    /// The index of the metadata that was searched.
    pub version: i64,
    /// When, in ms since 1970.
    pub timestamp_ms: i64,
}

/// A group. Cloning is cheap: the clones share what they have in common.
#[derive(Clone, Debug, Default)]
pub(in crate::group) struct Group {
    pub(in crate::group) epoch: i32,
    /// Of the topics that are subscribed to, as they were when the epoch went up last.
    pub(super) metadata_hash: i64,
    /// Whether a record of before Kafka 4.1 is there that the hash stands in for.
    pub(super) has_topic_records: bool,
    pub(in crate::group) target_epoch: i32,
    /// When partitions were last assigned, in ms since 1970; 0: never.
    pub(super) target_timestamp_ms: i64,
    members: OrdMap<Text, Arc<Member>>,
    targets: OrdMap<Text, Arc<Partitions>>,
    regexes: OrdMap<Text, Arc<Resolved>>,
    /// Members by `group.instance.id`.
    statics: OrdMap<Text, Text>,
    /// Who holds each partition: nobody else gets it before it is given up.
    holders: OrdMap<(Uuid, i32), Text>,
    /// How many members subscribe by each regular expression.
    regex_counts: OrdMap<Text, usize>,
}

impl Folded for Group {
    type Record = Record;

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Group(value) => {
                let value = value.unwrap_or_default();
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            Record::TopicMetadata { is_present } => self.has_topic_records = *is_present,
            Record::Member { member, value: None } => self.remove_member(member),
            Record::Member {
                member,
                value: Some(value),
            } => self.change_member(member, |member| member.subscription = value.clone()),
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
            Record::TargetEpoch(value) => {
                let value = value.unwrap_or_default();
                self.target_epoch = value.epoch;
                self.target_timestamp_ms = value.timestamp_ms;
            }
            Record::Regex { regex, value } => match value {
                Some(value) => {
                    self.regexes.insert(regex.clone(), Arc::new(value.clone()));
                }
                None => {
                    self.regexes.remove(regex);
                }
            },
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
        self.note(&member);
        self.members.insert(id.clone(), Arc::new(member));
    }

    fn remove_member(&mut self, id: &Text) {
        if let Some(member) = self.members.remove(id) {
            self.forget(&member);
        }
    }

    /// Takes a member out of what is derived from members.
    fn forget(&mut self, member: &Member) {
        for place in member.held() {
            if self.holders.get(&place) == Some(&member.id) {
                self.holders.remove(&place);
            }
        }
        if let Some(instance_id) = &member.subscription.instance_id
            && self.statics.get(instance_id) == Some(&member.id)
        {
            self.statics.remove(instance_id);
        }
        if let Some(regex) = member.regex()
            && let Some(count) = self.regex_counts.get(regex).copied()
        {
            match count {
                0 | 1 => self.regex_counts.remove(regex),
                _ => self.regex_counts.insert(regex.clone(), count - 1),
            };
        }
    }

    fn note(&mut self, member: &Member) {
        for place in member.held() {
            self.holders.insert(place, member.id.clone());
        }
        if let Some(instance_id) = &member.subscription.instance_id {
            self.statics.insert(instance_id.clone(), member.id.clone());
        }
        if let Some(regex) = member.regex() {
            let count = self.regex_counts.get(regex).copied().unwrap_or(0);
            self.regex_counts.insert(regex.clone(), count + 1);
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

    pub(in crate::group) fn static_member(&self, instance_id: &str) -> Option<&Arc<Member>> {
        self.members.get(self.statics.get(instance_id)?)
    }

    /// What the member is to have.
    pub(in crate::group) fn target(&self, member: &str) -> Option<&Arc<Partitions>> {
        self.targets.get(member)
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = (&Text, &Arc<Partitions>)> {
        self.targets.iter()
    }

    pub(super) fn holder(&self, topic: Uuid, partition: i32) -> Option<&Text> {
        self.holders.get(&(topic, partition))
    }

    pub(super) fn resolved(&self, regex: &str) -> Option<&Arc<Resolved>> {
        self.regexes.get(regex)
    }

    pub(super) fn regexes(&self) -> impl ExactSizeIterator<Item = (&Text, &Arc<Resolved>)> {
        self.regexes.iter()
    }

    /// The regular expressions that members subscribe by, each with how many do.
    pub(super) fn regex_counts(&self) -> &OrdMap<Text, usize> {
        &self.regex_counts
    }

    pub(in crate::group) fn state(&self) -> State {
        if self.members.is_empty() {
            State::Empty
        } else if self.epoch > self.target_epoch {
            State::Assigning
        } else if self
            .members()
            .all(|member| member.is_reconciled_to(self.target_epoch))
        {
            State::Stable
        } else {
            State::Reconciling
        }
    }

    /// Names that any member subscribes to, itself or by what its regular expression matched.
    pub(super) fn subscribed(&self) -> BTreeSet<&Text> {
        let by_name = self.members().flat_map(|member| member.names());
        let by_regex = self
            .regexes
            .iter()
            .filter(|(regex, _)| self.regex_counts.contains_key(*regex))
            .flat_map(|(_, resolved)| &resolved.topics);
        by_name.chain(by_regex).collect()
    }

    /// Whether any of these topics is read.
    pub(in crate::group) fn subscribed_any(&self, topics: &BTreeSet<Text>) -> bool {
        self.subscribed().into_iter().any(|topic| topics.contains(topic))
    }

    pub(in crate::group) fn is_subscribed_to(&self, topic: &str) -> bool {
        let by_name = self.members().any(|member| member.names().contains(topic));
        by_name
            || self.regexes.iter().any(|(regex, resolved)| {
                self.regex_counts.contains_key(regex) && resolved.topics.contains(topic)
            })
    }

    /// Ids of the topics that a member reads, and how many partitions each has. A topic that is not there is left out.
    pub(super) fn topics_of(&self, member: &Member, seen: &Seen) -> BTreeMap<Uuid, i32> {
        let resolved = member.regex().and_then(|regex| self.resolved(regex));
        let by_regex = resolved.iter().flat_map(|resolved| &resolved.topics);
        member
            .names()
            .iter()
            .chain(by_regex)
            .filter_map(|name| seen.topic(name))
            .collect()
    }

    /// The assignor that most members name; among equals the first by name.
    pub(in crate::group) fn preferred_assignor(&self) -> Option<&Text> {
        let mut votes: BTreeMap<&Text, usize> = BTreeMap::new();
        for member in self.members() {
            if let Some(assignor) = &member.subscription.assignor {
                *votes.entry(assignor).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(assignor, _)| assignor)
    }
}
