//! Members of the classic protocol in a group of the new one (KIP-848): JoinGroup tells the coordinator what they subscribe to and
//! what they hold, SyncGroup tells them what they are to hold, and Heartbeat whether they have to join again. Their generation is
//! their member epoch, and none of them leads: the coordinator assigns.

use std::sync::Arc;

use super::Config;
use super::draft::Draft;
use super::embedded::{self, Subscription};
use super::group::Group;
use super::heartbeat::{Surroundings, check_size, follow};
use super::leave::static_member;
use super::member::{Member, MemberState};
use super::record::{Classic, Record};
use super::request::Heartbeat;
use super::topics::{Hashes, Seen};
use crate::group::shard::request::{Assigned, Join, Joined, Protocol, Sync};
use crate::group::{Error, Text};

const PROTOCOL_TYPE: &str = "consumer";

/// Whether the group has room for the member, and the member a protocol in common with all who speak the classic one.
pub(in crate::group) fn check_join(group: &Group, join: &Join, config: &Config) -> Result<(), Error> {
    check_size(group, &join.member_id, config).map_err(|refused| refused.error)?;
    let knows = |member: &Arc<Member>, name: &Text| {
        let classic = member.subscription.classic.as_ref();
        classic.is_none_or(|classic| classic.protocols.iter().any(|own| own.name == *name))
    };
    let is_common = |own: &Protocol| group.members().all(|member| knows(member, &own.name));
    match *join.protocol_type == *PROTOCOL_TYPE && join.protocols.iter().any(is_common) {
        true => Ok(()),
        false => Err(Error::InconsistentProtocol),
    }
}

/// A JoinGroup, as the heartbeat that says the same.
pub(in crate::group) fn as_heartbeat(join: &Join, seen: &Seen) -> Result<Heartbeat, Error> {
    // Members say the same under all of their protocols. Kafka has no better word for what cannot be read.
    let told = join.protocols.first().ok_or(Error::InconsistentProtocol)?;
    let told = Subscription::decode(&told.metadata, seen).map_err(|_| Error::Unexpected)?;
    Ok(Heartbeat {
        group: join.group.clone(),
        member_id: join.member_id.clone(),
        epoch: 0,
        instance_id: join.instance_id.clone(),
        rack_id: told.rack_id,
        rebalance_timeout_ms: join.rebalance_timeout_ms,
        topics: Some(told.topics.into_iter().collect()),
        regex: Some("".into()),
        assignor: None,
        owned: Some(told.owned),
        classic: Some(Classic {
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols.clone(),
        }),
        client_id: join.client_id.clone(),
        client_host: join.client_host.clone(),
        fresh_id: join.fresh_id.clone(),
        draws_own_id: false,
        seen: seen.clone(),
    })
}

/// The answer to a member that has joined: it is not the leader, and asks for its assignment next.
pub(in crate::group) fn joined(member_id: Text, generation: i32, protocol: Option<Text>) -> Joined {
    Joined {
        error: None,
        generation,
        protocol_type: Some(PROTOCOL_TYPE.into()),
        protocol,
        leader: "".into(),
        skip_assignment: false,
        member_id,
        members: Vec::new(),
    }
}

/// The member that a request of the classic protocol speaks for.
pub(in crate::group) fn find<'a>(
    group: &'a Group,
    member_id: &Text,
    instance_id: Option<&Text>,
    generation: i32,
) -> Result<&'a Member, Error> {
    let member = match instance_id {
        None => group.member(member_id).ok_or(Error::UnknownMember)?,
        Some(instance_id) => static_member(group, instance_id, member_id).map_err(|refused| refused.error)?,
    };
    if member.subscription.classic.is_none() {
        Err(Error::UnknownMember)
    } else if member.current.epoch != generation {
        Err(Error::IllegalGeneration)
    } else {
        Ok(member)
    }
}

/// What a member is to hold, in the form that it reads.
pub(in crate::group) fn sync(
    group: &Group,
    member: &Member,
    sync: &Sync,
    seen: &Seen,
) -> Result<Assigned, Error> {
    let own = member.subscription.classic.as_ref();
    let own = own
        .and_then(|classic| classic.protocols.first())
        .ok_or(Error::Unexpected)?;
    let is_other_type = sync
        .protocol_type
        .as_deref()
        .is_some_and(|named| named != PROTOCOL_TYPE);
    if is_other_type || sync.protocol.as_ref().is_some_and(|named| *named != own.name) {
        return Err(Error::InconsistentProtocol);
    }
    // Who has to give something up learns here what that is, and joins again when it has.
    let is_behind = member.current.epoch < group.target_epoch;
    if is_behind && member.current.state != MemberState::UnrevokedPartitions {
        return Err(Error::RebalanceInProgress);
    }
    let version = embedded::version(&own.metadata).map_err(|_| Error::Unexpected)?;
    let assigned = member.current.assigned.partitions();
    Ok(Assigned {
        protocol_type: sync.protocol_type.clone(),
        protocol: sync.protocol.clone(),
        assignment: embedded::assignment(&assigned, version, seen).map_err(|_| Error::Unexpected)?,
    })
}

/// Whether the member has to join again: there is a newer target, or it has to say that it gave partitions up, or others have given up
/// what it waits for.
pub(in crate::group) fn must_rejoin(group: &Group, member: &Member) -> bool {
    match member.current.state {
        _ if member.current.epoch < group.target_epoch => true,
        MemberState::UnrevokedPartitions => true,
        MemberState::UnreleasedPartitions => !waits(group, member),
        MemberState::Stable | MemberState::Unknown => false,
    }
}

/// Whether others still hold what the member is to have.
fn waits(group: &Group, member: &Member) -> bool {
    let Some(target) = group.target(&member.id) else {
        return false;
    };
    target.iter().any(|(topic, partition)| {
        !member.current.assigned.contains(topic, partition) && group.holder(topic, partition).is_some()
    })
}

/// What is due in a group, whoever is heard from: members of the classic protocol may be alone in it.
pub(in crate::group) fn catch_up(
    group: &Group,
    around: &Surroundings<'_>,
    hashes: &mut Hashes,
) -> Vec<Record> {
    let mut draft = Draft::of(Some(group));
    follow(&mut draft, false, around, hashes);
    draft.records
}
