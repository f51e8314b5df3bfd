//! Members that leave or are put out, and groups that are deleted.

use super::draft::Draft;
use super::group::Group;
use super::record::Record;
use crate::group::Text;
use crate::group::consumer::{Refused, unknown_member};

/// The member that says goodbye.
pub(in crate::group) fn leaving<'a>(group: &'a Group, id: &Text, member: &Text) -> Result<&'a Text, Refused> {
    match group.member(member) {
        Some(member) => Ok(&member.id),
        None => Err(unknown_member(member, id)),
    }
}

/// Takes members out of their group.
pub(in crate::group) fn fence(group: &Group, members: &[Text]) -> Vec<Record> {
    let mut draft = Draft::of(Some(group));
    for member in members {
        draft.remove_member(member);
    }
    draft.bump(|_| {});
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
    records.push(Record::Topology(None));
    // The group ends with this one.
    records.push(Record::Group(None));
    records
}
