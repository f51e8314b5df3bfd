//! Members that leave, for good or for a while, and those that are put out.

use super::draft::Draft;
use super::group::Group;
use super::member::Member;
use super::record::{Current, Record};
use super::request::{Heartbeat, LEAVE_FOR_NOW};
use super::topics::{Hashes, Seen};
use super::{PartitionsByEpoch, Refused};
use crate::group::{Error, Text};

/// What comes of a heartbeat that says goodbye.
pub(in crate::group) enum Left {
    /// A static member that will be back keeps its place, by this record.
    Away(Record),
    /// The member goes.
    Gone(Text),
}

pub(in crate::group) fn leave(group: &Group, request: &Heartbeat) -> Result<Left, Refused> {
    let member = match &request.instance_id {
        None => group
            .member(&request.member_id)
            .ok_or_else(|| unknown_member(&request.member_id, &request.group))?,
        Some(instance_id) => static_member(group, instance_id, &request.member_id)?,
    };
    if request.instance_id.is_some() && request.epoch == LEAVE_FOR_NOW {
        let record = Record::Current {
            member: member.id.clone(),
            value: Some(Current {
                epoch: LEAVE_FOR_NOW,
                revoking: PartitionsByEpoch::default(),
                ..member.current.clone()
            }),
        };
        return Ok(Left::Away(record));
    }
    Ok(Left::Gone(member.id.clone()))
}

/// Takes members out of their group.
pub(in crate::group) fn fence(
    group: &Group,
    members: &[Text],
    hashes: &mut Hashes,
    seen: &Seen,
) -> Vec<Record> {
    let mut draft = Draft::of(Some(group));
    for member in members {
        draft.remove_member(member);
    }
    draft.remove_unused_regexes();
    draft.follow_topics(true, hashes, seen);
    draft.records
}

/// Tombstones for all that there is of a group.
pub(in crate::group) fn delete(group: &Group) -> Vec<Record> {
    let mut records = Vec::new();
    let members: Vec<&Text> = group.members().map(|member| &member.id).collect();
    records.extend(members.iter().map(|member| Record::Current {
        member: (*member).clone(),
        value: None,
    }));
    records.extend(group.targets().map(|(member, _)| Record::Target {
        member: member.clone(),
        value: None,
    }));
    records.push(Record::TargetEpoch(None));
    records.extend(members.iter().map(|member| Record::Member {
        member: (*member).clone(),
        value: None,
    }));
    records.extend(group.regexes().map(|(regex, _)| Record::Regex {
        regex: regex.clone(),
        value: None,
    }));
    if group.has_topic_records {
        records.push(Record::TopicMetadata { is_present: false });
    }
    records.push(Record::Group(None));
    records
}

/// The static member, if it is the one that asks.
pub(super) fn static_member<'a>(
    group: &'a Group,
    instance_id: &Text,
    member_id: &Text,
) -> Result<&'a Member, Refused> {
    let Some(member) = group.static_member(instance_id) else {
        return Err(Refused::because(
            Error::UnknownMember,
            format!("no member has instance id {instance_id}"),
        ));
    };
    if member.id != *member_id {
        return Err(Refused::because(
            Error::FencedInstance,
            format!(
                "instance id {instance_id} was taken from member {member_id} by member {}",
                member.id
            ),
        ));
    }
    Ok(member)
}

pub(in crate::group) fn unknown_member(member_id: &Text, group: &Text) -> Refused {
    Refused::because(
        Error::UnknownMember,
        format!("group {group} has no member {member_id}"),
    )
}
