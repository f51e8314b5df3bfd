//! A member's heartbeat: who it is, what it subscribes to, and what it is to have.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;

use super::Config;
use super::assignor::{self, MemberSpec};
use super::group::{Group, Member};
use super::partitions::{Named, StatePartitions};
use super::record::{Current, Record, Subscription};
use super::request::{Beat, Heartbeat};
use crate::group::consumer::{GroupEpoch, Hashes, Refused, Seen, TargetEpoch};
use crate::group::{Error, Text, folded};

/// What a decision goes by, besides the group and the request.
pub(in crate::group) struct Surroundings<'a> {
    pub(in crate::group) config: &'a Config,
    pub(in crate::group) now_ms: u64,
    pub(in crate::group) seen: &'a Seen,
    /// How long after an assignment there is none, in ms (KIP-1263).
    pub(in crate::group) assignment_interval_ms: u64,
    pub(in crate::group) heartbeat_interval_ms: u64,
    /// Topics of the group may have changed since its epoch went up last.
    pub(in crate::group) is_stale: bool,
    /// Nobody has states of the group's partitions stored just now.
    pub(in crate::group) may_initialize: bool,
}

/// What comes of a heartbeat.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::group) struct Decided {
    pub(in crate::group) records: Vec<Record>,
    pub(in crate::group) beat: Beat,
}

type Draft = folded::Draft<Group>;

impl Draft {
    /// Raises the group's epoch, if asked to or if the topics that it reads have changed.
    fn follow_topics(&mut self, must_bump: bool, hashes: &mut Hashes, seen: &Seen) {
        let metadata_hash = hashes.of_group(self.group.subscribed(), seen);
        if must_bump || metadata_hash != self.group.metadata_hash {
            let epoch = self.group.epoch + 1;
            self.write(Record::Group(Some(GroupEpoch { epoch, metadata_hash })));
        }
    }

    fn assign(&mut self, seen: &Seen, now_ms: u64) {
        let group = &self.group;
        let specs: BTreeMap<Text, MemberSpec> = group
            .members()
            .map(|member| {
                let spec = MemberSpec {
                    readable: readable(group, member, seen),
                    before: group
                        .target(&member.id)
                        .map(|target| (**target).clone())
                        .unwrap_or_default(),
                };
                (member.id.clone(), spec)
            })
            .collect();
        for (member, value) in assignor::assign(&specs) {
            if self.group.target(&member).map(AsRef::as_ref) != Some(&value) {
                self.write(Record::Target {
                    member,
                    value: Some(value),
                });
            }
        }
        self.write(Record::TargetEpoch(Some(TargetEpoch {
            epoch: self.group.epoch,
            timestamp_ms: now_ms.cast_signed(),
        })));
    }
}

fn readable(group: &Group, member: &Member, seen: &Seen) -> BTreeSet<(Uuid, i32)> {
    let topics = member
        .subscription
        .topics
        .iter()
        .filter_map(|name| seen.topic(name));
    topics
        .flat_map(|(topic, count)| {
            let assignable = group.partitions().assignable(topic);
            assignable
                .filter(move |partition| *partition < count)
                .map(move |partition| (topic, partition))
        })
        .collect()
}

/// Decides on a heartbeat that does not leave. `group` is none if there is none, and the member joins.
pub(in crate::group) fn heartbeat(
    group: Option<&Group>,
    request: &Heartbeat,
    around: &Surroundings<'_>,
    hashes: &mut Hashes,
) -> Result<Decided, Refused> {
    let mut draft = Draft::of(group);
    let id = &request.member_id;
    let before = admit(&draft.group, request, around.config)?;
    let must_bump = subscribe(&mut draft, request, before.as_deref()) || draft.group.epoch == 0;
    if must_bump || around.is_stale {
        draft.follow_topics(must_bump, hashes, around.seen);
    }
    let to_initialize = match around.may_initialize {
        true => uninitialized(&draft.group, around.seen),
        false => BTreeMap::new(),
    };
    // What is initialized in a moment is assigned then.
    let may_assign = to_initialize.is_empty() && may_assign(&draft.group, around);
    if draft.group.epoch > draft.group.target_epoch && may_assign {
        draft.assign(around.seen, around.now_ms);
    }
    advance(&mut draft, id);
    let Some(member) = draft.group.member(id).cloned() else {
        return Err(Error::Unexpected.into());
    };
    let had = before
        .map(|before| before.current.assigned.clone())
        .unwrap_or_default();
    let sends_assignment = request.epoch == 0 || request.topics.is_some() || member.current.assigned != had;
    let beat = Beat {
        member_id: id.clone(),
        epoch: member.current.epoch,
        heartbeat_interval_ms: i32::try_from(around.heartbeat_interval_ms).unwrap_or(i32::MAX),
        assignment: sends_assignment.then(|| member.current.assigned.clone()),
        to_initialize,
        state_epoch: draft.group.epoch,
    };
    Ok(Decided {
        records: draft.records,
        beat,
    })
}

/// The member as it is; none: it joins.
fn admit(
    group: &Group,
    request: &Heartbeat,
    config: &Config,
) -> Result<Option<std::sync::Arc<Member>>, Refused> {
    let Some(member) = group.member(&request.member_id) else {
        if group.members().len() >= config.members_max {
            return Err(Refused::because(
                Error::GroupFull,
                format!(
                    "the group is full: it has {} members, as many as group.share.max.size allows",
                    config.members_max
                ),
            ));
        }
        return match request.epoch {
            0 => Ok(None),
            _ => Err(unknown_member(&request.member_id, &request.group)),
        };
    };
    let (received, current) = (request.epoch, &member.current);
    if received == 0 || received == current.epoch || received == current.previous_epoch {
        return Ok(Some(member.clone()));
    }
    let than = if received > current.epoch {
        "greater"
    } else {
        "smaller"
    };
    Err(Refused::because(
        Error::FencedMemberEpoch,
        format!(
            "the member is in epoch {received}, {than} than the {} that the coordinator has: it has to join again",
            current.epoch
        ),
    ))
}

pub(in crate::group) fn unknown_member(member_id: &Text, group: &Text) -> Refused {
    Refused::because(
        Error::UnknownMember,
        format!("group {group} has no member {member_id}"),
    )
}

/// Writes down what the member tells of itself, if it is new. Whether it subscribes to something else now.
fn subscribe(draft: &mut Draft, request: &Heartbeat, before: Option<&Member>) -> bool {
    let old = before.map(|before| before.subscription.clone());
    let is_new = old.is_none();
    let old = old.unwrap_or_default();
    let new = Subscription {
        rack_id: request.rack_id.clone().or_else(|| old.rack_id.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topics: request.topics.clone().unwrap_or_else(|| old.topics.clone()),
    };
    let topics_changed = new.topics != old.topics;
    if is_new || new != old {
        draft.write(Record::Member {
            member: request.member_id.clone(),
            value: Some(new),
        });
    }
    is_new || topics_changed
}

/// Partitions that are subscribed to and of whose delivery nothing is stored.
fn uninitialized(group: &Group, seen: &Seen) -> BTreeMap<Uuid, Named> {
    let mut missing: BTreeMap<Uuid, Named> = BTreeMap::new();
    for name in group.subscribed() {
        let Some((topic, count)) = seen.topic(name) else {
            continue;
        };
        let partitions: BTreeSet<i32> = (0..count)
            .filter(|partition| !group.partitions().is_initialized(topic, *partition))
            .collect();
        if !partitions.is_empty() {
            let name = name.clone();
            missing.insert(topic, Named { name, partitions });
        }
    }
    missing
}

fn may_assign(group: &Group, around: &Surroundings<'_>) -> bool {
    let last_ms = group.target_timestamp_ms;
    let interval_ms = i64::try_from(around.assignment_interval_ms).unwrap_or(i64::MAX);
    last_ms == 0 || interval_ms == 0 || around.now_ms.cast_signed() >= last_ms.saturating_add(interval_ms)
}

/// The member takes its target: others may have the same partitions.
fn advance(draft: &mut Draft, id: &Text) {
    let epoch = draft.group.target_epoch;
    let Some(member) = draft.group.member(id) else {
        return;
    };
    if member.current.epoch == epoch && epoch > 0 {
        return;
    }
    let assigned = draft
        .group
        .target(id)
        .map(|target| (**target).clone())
        .unwrap_or_default();
    let value = Current {
        // A member that joins leaves epoch 0, even where there is nothing to assign yet.
        epoch: epoch.max(1),
        previous_epoch: member.current.epoch,
        assigned,
    };
    if value.epoch != member.current.epoch || value.assigned != member.current.assigned {
        draft.write(Record::Current {
            member: id.clone(),
            value: Some(value),
        });
    }
}

/// Takes a member out of its group.
pub(in crate::group) fn leave(group: &Group, member: &Text, hashes: &mut Hashes, seen: &Seen) -> Vec<Record> {
    let mut draft = Draft::of(Some(group));
    for record in gone(member) {
        draft.write(record);
    }
    draft.follow_topics(true, hashes, seen);
    draft.records
}

fn gone(member: &Text) -> [Record; 3] {
    let member = member.clone();
    [
        Record::Current {
            member: member.clone(),
            value: None,
        },
        Record::Target {
            member: member.clone(),
            value: None,
        },
        Record::Member { member, value: None },
    ]
}

/// Writes down what is stored of the group's deliveries now. The epoch goes up, so that it is assigned.
pub(in crate::group) fn change_partitions(
    group: &Group,
    change: impl FnOnce(&mut StatePartitions),
) -> Vec<Record> {
    let mut draft = Draft::of(Some(group));
    let mut partitions = draft.group.partitions().clone();
    change(&mut partitions);
    if partitions == *draft.group.partitions() {
        return Vec::new();
    }
    draft.write(Record::Partitions(Some(partitions)));
    draft.write(Record::Group(Some(GroupEpoch {
        epoch: draft.group.epoch + 1,
        metadata_hash: draft.group.metadata_hash,
    })));
    draft.records
}

/// The group's epoch goes up, whatever else has changed.
pub(in crate::group) fn bump(group: &Group) -> Vec<Record> {
    vec![Record::Group(Some(GroupEpoch {
        epoch: group.epoch + 1,
        metadata_hash: group.metadata_hash,
    }))]
}

/// Tombstones for all that there is of a group.
pub(in crate::group) fn delete(group: &Group) -> Vec<Record> {
    let mut records: Vec<Record> = group.members().flat_map(|member| gone(&member.id)).collect();
    let orphans = group
        .targets()
        .filter(|(member, _)| group.member(member).is_none());
    records.extend(orphans.map(|(member, _)| Record::Target {
        member: member.clone(),
        value: None,
    }));
    records.extend([
        Record::Partitions(None),
        Record::TargetEpoch(None),
        Record::Group(None),
    ]);
    records
}
