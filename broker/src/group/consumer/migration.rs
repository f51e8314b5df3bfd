//! From the classic protocol to the new one and back, while members are there (KIP-848, "online migration").
//!
//! A classic group becomes one of the new protocol when the first member joins that speaks it: everybody else stays a member,
//! with what it subscribes to and what it was assigned. It becomes a classic one again when the last member goes that speaks the
//! new protocol. Offsets belong to the group, whichever it is, and stay.

use std::collections::BTreeSet;

use flotilla_protocol::Uuid;

use super::assigned::Partitions;
use super::draft::Draft;
use super::embedded::{self, Assignment};
use super::group::Group;
use super::record::{Classic, Current, GroupEpoch, Record, Subscription, TargetEpoch};
use super::topics::{Hashes, Seen};
use super::{Config, Member, MemberState, PartitionsByEpoch, Refused};
use crate::group::{Error, Text, classic};

/// `group.consumer.migration.policy`: which way groups go while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Neither.
    Disabled,
    /// Only to the new protocol.
    Upgrade,
    /// Only to the classic one.
    Downgrade,
    /// Both.
    Bidirectional,
}

impl MigrationPolicy {
    /// The policy of that name, in upper or lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [
            ("disabled", Self::Disabled),
            ("upgrade", Self::Upgrade),
            ("downgrade", Self::Downgrade),
            ("bidirectional", Self::Bidirectional),
        ]
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, policy)| policy)
    }

    fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// A classic group that has members, as one of the new protocol: what it is then, and the records that say so.
pub(in crate::group) fn upgrade(
    id: &Text,
    classic: &classic::Group,
    config: &Config,
    hashes: &mut Hashes,
    seen: &Seen,
) -> Result<(Group, Vec<Record>), Refused> {
    let refused = |why: String| {
        let message = format!("group {id} cannot go to the consumer protocol: {why}");
        Err(Refused::because(Error::GroupNotFound, message))
    };
    if !config.migration_policy.upgrades() {
        return refused(
            "it has members of the classic protocol, and group.consumer.migration.policy does not allow it"
                .into(),
        );
    }
    if !classic.is_consumer() {
        let kind = classic.protocol_type.as_deref().unwrap_or("");
        return refused(format!(
            "its members are of protocol type `{kind}`, not `consumer`"
        ));
    }
    if classic.members().len() > config.members_max {
        return refused(format!(
            "it has {} members, more than the {} that group.consumer.max.size allows",
            classic.members().len(),
            config.members_max
        ));
    }
    let mut members = Vec::new();
    let mut claims = Vec::new();
    for member in classic.members() {
        match as_member(member, classic, seen) {
            Ok((member, claimed)) => {
                members.push(member);
                claims.push(claimed);
            }
            Err(why) => return refused(format!("member {} {why}", member.id)),
        }
    }
    honour(&mut members, &claims);
    Ok(written(&members, classic.generation, hashes, seen))
}

/// Who gives up only what moves says when it joins what it holds, and holds it until it is told its next assignment. Nobody else gets
/// that before, though the last assignment may have been withdrawn, or gives it to nobody. Kafka hands it out at once.
fn honour(members: &mut [Member], claims: &[Partitions]) {
    let mut taken: BTreeSet<(Uuid, i32)> = members.iter().flat_map(Member::held).collect();
    for (member, claimed) in members.iter_mut().zip(claims) {
        for (topic, partition) in claimed.iter().filter(|place| taken.insert(*place)) {
            let epoch = member.current.epoch;
            member.current.assigned.insert(topic, partition, epoch);
        }
    }
}

/// Everybody is where the classic group's last assignment put it, and what it said that it holds when it joined.
fn as_member(
    member: &classic::Member,
    group: &classic::Group,
    seen: &Seen,
) -> Result<(Member, Partitions), String> {
    let told = group
        .protocol
        .as_ref()
        .and_then(|name| member.protocols.iter().find(|own| own.name == *name))
        .or_else(|| member.protocols.first())
        .ok_or("names no protocol")?;
    let told = embedded::Subscription::decode(&told.metadata, seen)
        .map_err(|why| format!("has a subscription that cannot be read: {why}"))?;
    let assigned = Assignment::decode(&member.assignment, seen)
        .map_err(|why| format!("has an assignment that cannot be read: {why}"))?;
    if assigned.has_user_data {
        return Err("has data of a client-side assignor in its assignment, which would be lost".to_owned());
    }
    let epoch = group.generation;
    let places = assigned.partitions.iter();
    let member = Member {
        id: member.id.clone(),
        subscription: Subscription {
            instance_id: member.instance_id.clone(),
            rack_id: told.rack_id,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: told.topics.into_iter().collect(),
            regex: Some("".into()),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            assignor: None,
            classic: Some(Classic {
                session_timeout_ms: member.session_timeout_ms,
                protocols: member.protocols.clone(),
            }),
        },
        current: Current {
            epoch,
            previous_epoch: epoch,
            state: MemberState::Stable,
            assigned: places
                .map(|(topic, partition)| (topic, partition, epoch))
                .collect(),
            revoking: PartitionsByEpoch::default(),
        },
    };
    Ok((member, told.owned))
}

/// The order is Kafka's.
fn written(members: &[Member], epoch: i32, hashes: &mut Hashes, seen: &Seen) -> (Group, Vec<Record>) {
    let mut draft = Draft::of(None);
    for member in members {
        draft.write(Record::Member {
            member: member.id.clone(),
            value: Some(member.subscription.clone()),
        });
    }
    let metadata_hash = hashes.of_group(draft.group.subscribed(), seen);
    draft.write(Record::Group(Some(GroupEpoch { epoch, metadata_hash })));
    for member in members {
        draft.write(Record::Target {
            member: member.id.clone(),
            value: Some(member.current.assigned.partitions()),
        });
    }
    draft.write(Record::TargetEpoch(Some(TargetEpoch {
        epoch,
        timestamp_ms: 0,
    })));
    for member in members {
        draft.write(Record::Current {
            member: member.id.clone(),
            value: Some(member.current.clone()),
        });
    }
    (draft.group, draft.records)
}

/// What a group is to be once these members are gone from it, if that is a classic group: all who stay speak the classic protocol,
/// and are no more than such a group may have. Each is assigned what it holds.
pub(in crate::group) fn downgrade(
    group: &Group,
    gone: &[Text],
    config: &Config,
    classic_members_max: usize,
    now_ms: u64,
    seen: &Seen,
) -> Option<classic::Group> {
    let staying = || group.members().filter(|member| !gone.contains(&member.id));
    let count = staying().count();
    if !config.migration_policy.downgrades() || !(1..=classic_members_max).contains(&count) {
        return None;
    }
    let members: Option<Vec<_>> = staying().map(|member| as_classic(member)).collect();
    let mut classic = classic::Group::of_members(group.epoch, members?, now_ms)?;
    let assignments: Option<Vec<_>> = classic
        .members()
        .map(|member| {
            let held = group.member(&member.id)?.held().collect();
            let protocol = classic.protocol.as_deref()?;
            let version = embedded::version(&member.metadata(protocol)).ok()?;
            embedded::assignment(&held, version, seen).ok()
        })
        .collect();
    for (member, assignment) in classic.members_mut().zip(assignments?) {
        member.assignment = assignment;
    }
    Some(classic)
}

fn as_classic(member: &Member) -> Option<classic::Member> {
    let told = &member.subscription;
    let Classic {
        session_timeout_ms,
        protocols,
    } = told.classic.clone()?;
    Some(classic::Member {
        id: member.id.clone(),
        instance_id: told.instance_id.clone(),
        client_id: told.client_id.clone(),
        client_host: told.client_host.clone(),
        rebalance_timeout_ms: told.rebalance_timeout_ms,
        session_timeout_ms,
        protocols,
        assignment: bytes::Bytes::new(),
        is_new: false,
        awaiting_join: None,
        awaiting_sync: None,
    })
}
