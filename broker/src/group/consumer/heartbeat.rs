//! A member's heartbeat: who it is, what it subscribes to, what it is to have, and how it gets there.

use std::collections::BTreeSet;

use super::assignor::Assignor;
use super::draft::Draft;
use super::group::{Group, Resolved};
use super::leave::{static_member, unknown_member};
use super::member::{Member, MemberState, regex_of};
use super::reconcile::{Goal, Lost};
use super::record::{Current, Record, Subscription};
use super::request::{Beat, Heartbeat, LEAVE_FOR_NOW, Resolution};
use super::topics::{Hashes, Seen};
use super::{Config, Refused};
use crate::group::{Error, Text};
use crate::pattern::Pattern;

/// Regular expressions of a group are not looked up again within this time.
const REGEX_REFRESH_MIN_MS: i64 = 10_000;
/// And are after this one, so that a change of access rules is followed.
const REGEX_REFRESH_MAX_MS: i64 = 600_000;

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
    /// Nobody looks up regular expressions of the group just now.
    pub(in crate::group) may_resolve: bool,
    /// The metadata that topics appeared in last.
    pub(in crate::group) new_topics_index: u64,
}

/// What comes of a heartbeat.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::group) struct Decided {
    pub(in crate::group) records: Vec<Record>,
    pub(in crate::group) beat: Beat,
    pub(in crate::group) rebalance: RebalanceTimer,
}

/// What becomes of the time in which a member has to give partitions up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::group) enum RebalanceTimer {
    Keep,
    Cancel,
    Set { epoch: i32, within_ms: u64 },
}

/// Decides on a heartbeat that does not leave. `group` is none if there is none, and the member joins.
pub(in crate::group) fn heartbeat(
    group: Option<&Group>,
    request: &Heartbeat,
    around: &Surroundings<'_>,
    hashes: &mut Hashes,
) -> Result<Decided, Refused> {
    let mut draft = Draft::of(group);
    check_size(&draft.group, &request.member_id, around.config)?;
    let id = match request.member_id.is_empty() {
        true => request.fresh_id.clone(),
        false => request.member_id.clone(),
    };
    let before = admit(&mut draft, request, &id)?;
    let subscribed = subscribe(&mut draft, request, &before)?;
    let to_resolve = match around.may_resolve {
        true => unresolved(&draft.group, around, subscribed.brings_regex),
        false => BTreeSet::new(),
    };
    // A group that has just been made leaves epoch 0, even if there is nothing to read yet.
    let must_bump = subscribed.must_bump || draft.group.epoch == 0;
    follow(&mut draft, must_bump, around, hashes);
    let rebalance = reconcile(&mut draft, &id, request, around, subscribed.has_changed)?;
    let Some(member) = draft.group.member(&id) else {
        return Err(Error::Unexpected.into());
    };
    let sends_assignment =
        request.epoch == 0 || request.is_full() || member.current.assigned != before.current.assigned;
    let beat = Beat {
        member_id: id.clone(),
        epoch: member.current.epoch,
        heartbeat_interval_ms: i32::try_from(around.heartbeat_interval_ms).unwrap_or(i32::MAX),
        assignment: sends_assignment.then(|| member.current.assigned.partitions()),
        to_resolve,
    };
    Ok(Decided {
        records: draft.records,
        beat,
        rebalance,
    })
}

/// Raises the group's epoch where there is a reason to, and assigns for it once that may be.
pub(super) fn follow(draft: &mut Draft, must_bump: bool, around: &Surroundings<'_>, hashes: &mut Hashes) {
    if must_bump || around.is_stale {
        draft.follow_topics(must_bump, hashes, around.seen);
    }
    if draft.group.epoch > draft.group.target_epoch && may_assign(&draft.group, around) {
        let assignor = assignor_of(&draft.group, around.config);
        draft.assign(assignor, around.seen, around.now_ms);
    }
}

pub(super) fn check_size(group: &Group, member_id: &str, config: &Config) -> Result<(), Refused> {
    let is_new = member_id.is_empty() || group.member(member_id).is_none();
    if is_new && group.members().len() >= config.members_max {
        return Err(Refused::because(
            Error::GroupFull,
            format!(
                "the group is full: it has {} members, as many as group.consumer.max.size allows",
                config.members_max
            ),
        ));
    }
    Ok(())
}

/// The member as it is, or as it is before it has told anything.
fn admit(draft: &mut Draft, request: &Heartbeat, id: &Text) -> Result<Member, Refused> {
    let joins = request.epoch == 0;
    let is_classic = request.classic.is_some();
    let Some(instance_id) = &request.instance_id else {
        return match draft.group.member(id) {
            Some(member) => {
                check_epoch(member, request)?;
                Ok(Member::clone(member))
            }
            None if joins => Ok(Member::new(id.clone())),
            None => Err(unknown_member(id, &request.group)),
        };
    };
    // In the classic protocol a static member that comes anew has no id.
    let comes_back = is_classic && !request.member_id.is_empty();
    if !joins || comes_back {
        let member = static_member(&draft.group, instance_id, id)?;
        check_epoch(member, request)?;
        return Ok(member.clone());
    }
    let Some(former) = draft.group.static_member(instance_id).cloned() else {
        return Ok(match draft.group.member(id) {
            Some(member) => Member::clone(member),
            None => Member::new(id.clone()),
        });
    };
    let is_released =
        is_classic || former.current.epoch == LEAVE_FOR_NOW || former.subscription.classic.is_some();
    if !is_released {
        return Err(Refused::because(
            Error::UnreleasedInstance,
            format!(
                "member {id} cannot join with instance id {instance_id}: member {} has it",
                former.id
            ),
        ));
    }
    Ok(replace(draft, &former, id))
}

/// A static member that has come back takes over what its former self had.
fn replace(draft: &mut Draft, former: &Member, id: &Text) -> Member {
    let target = draft.group.target(&former.id).cloned().unwrap_or_default();
    draft.remove_member(&former.id);
    let member = Member {
        id: id.clone(),
        subscription: former.subscription.clone(),
        current: Current {
            epoch: 0,
            previous_epoch: 0,
            ..former.current.clone()
        },
    };
    draft.write(Record::Member {
        member: id.clone(),
        value: Some(member.subscription.clone()),
    });
    draft.write(Record::Target {
        member: id.clone(),
        value: Some((*target).clone()),
    });
    draft.write(Record::Current {
        member: id.clone(),
        value: Some(member.current.clone()),
    });
    member
}

fn check_epoch(member: &Member, request: &Heartbeat) -> Result<(), Refused> {
    let current = &member.current;
    check_epochs(request.epoch, current.epoch, current.previous_epoch, || {
        let owned = request.owned.as_ref();
        owned.is_some_and(|owned| current.assigned.contains_all(owned))
    })
}

/// A member may be one epoch behind if it did not get our answer, and holds no more than it may. One that begins anew is
/// let in as it is.
pub(in crate::group) fn check_epochs(
    received: i32,
    current: i32,
    previous: i32,
    holds_no_more: impl FnOnce() -> bool,
) -> Result<(), Refused> {
    if received == 0 || received == current {
        return Ok(());
    }
    if received < current && received == previous && holds_no_more() {
        return Ok(());
    }
    let than = if received > current { "greater" } else { "smaller" };
    Err(Refused::because(
        Error::FencedMemberEpoch,
        format!(
            "the member is in epoch {received}, {than} than the {current} that the coordinator has: it has to give up its \
             partitions and join again"
        ),
    ))
}

#[derive(Clone, Copy)]
struct Subscribed {
    must_bump: bool,
    has_changed: bool,
    brings_regex: bool,
}

/// Writes down what the member tells of itself, if it is new.
fn subscribe(draft: &mut Draft, request: &Heartbeat, before: &Member) -> Result<Subscribed, Refused> {
    let old = &before.subscription;
    let or_old = |new: &Option<Text>, old: &Option<Text>| new.clone().or_else(|| old.clone());
    let new = Subscription {
        instance_id: or_old(&request.instance_id, &old.instance_id),
        rack_id: or_old(&request.rack_id, &old.rack_id),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topics: request.topics.clone().unwrap_or_else(|| old.topics.clone()),
        regex: or_old(&request.regex, &old.regex),
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            -1 => old.rebalance_timeout_ms,
            timeout_ms => timeout_ms,
        },
        assignor: or_old(&request.assignor, &old.assignor),
        classic: request.classic.clone(),
    };
    let names_changed = new.topics != old.topics;
    let regex_changed = regex_of(&new) != regex_of(old);
    let mut brings_regex = false;
    let mut is_resolved = false;
    if regex_changed {
        match regex_of(&new) {
            None => is_resolved = true,
            Some(regex) if draft.group.regex_counts().contains_key(regex) => {
                is_resolved = draft.group.resolved(regex).is_some();
            }
            Some(regex) => {
                check_regex(regex)?;
                brings_regex = true;
            }
        }
    }
    if new != *old || draft.group.member(&before.id).is_none() {
        draft.write(Record::Member {
            member: before.id.clone(),
            value: Some(new),
        });
    }
    if regex_changed {
        draft.remove_unused_regexes();
    }
    Ok(Subscribed {
        must_bump: names_changed || (regex_changed && is_resolved),
        has_changed: names_changed || regex_changed,
        brings_regex,
    })
}

fn check_regex(expression: &Text) -> Result<(), Refused> {
    match Pattern::compile(expression) {
        Ok(_) => Ok(()),
        Err(why) => Err(Refused::because(
            Error::InvalidRegex,
            format!("the regular expression `{expression}` cannot be read: {why}"),
        )),
    }
}

/// The regular expressions to look up, all of the group at once, so that they cause one rebalance.
fn unresolved(group: &Group, around: &Surroundings<'_>, brings_regex: bool) -> BTreeSet<Text> {
    let counts = group.regex_counts();
    let now_ms = around.now_ms.cast_signed();
    let last = group.regexes().next().map(|(_, resolved)| resolved);
    let is_due = match last {
        None => !counts.is_empty(),
        Some(last) if now_ms <= last.timestamp_ms.saturating_add(REGEX_REFRESH_MIN_MS) => false,
        Some(last) => {
            brings_regex
                || counts.keys().any(|regex| group.resolved(regex).is_none())
                || last.version < around.new_topics_index.cast_signed()
                || now_ms > last.timestamp_ms.saturating_add(REGEX_REFRESH_MAX_MS)
        }
    };
    match is_due {
        true => counts.keys().cloned().collect(),
        false => BTreeSet::new(),
    }
}

fn may_assign(group: &Group, around: &Surroundings<'_>) -> bool {
    is_due(
        group.target_timestamp_ms,
        around.assignment_interval_ms,
        around.now_ms,
    )
}

/// Whether the interval after the last assignment is over (KIP-1263). 0: it is not known when that was.
pub(in crate::group) fn is_due(last_ms: i64, interval_ms: u64, now_ms: u64) -> bool {
    let until_ms = last_ms.saturating_add(i64::try_from(interval_ms).unwrap_or(i64::MAX));
    last_ms == 0 || interval_ms == 0 || now_ms.cast_signed() >= until_ms
}

/// The one that most members want, of those that there are.
pub(in crate::group) fn assignor_of(group: &Group, config: &Config) -> Assignor {
    let preferred = group.preferred_assignor().and_then(|name| Assignor::named(name));
    preferred
        .filter(|assignor| config.assignors.contains(assignor))
        .or_else(|| config.assignors.first().copied())
        .unwrap_or(Assignor::Uniform)
}

fn reconcile(
    draft: &mut Draft,
    id: &Text,
    request: &Heartbeat,
    around: &Surroundings<'_>,
    has_resubscribed: bool,
) -> Result<RebalanceTimer, Refused> {
    let group = &draft.group;
    let Some(member) = group.member(id) else {
        return Err(Error::Unexpected.into());
    };
    if !has_resubscribed && member.is_reconciled_to(group.target_epoch) {
        return Ok(RebalanceTimer::Keep);
    }
    let topics = group.topics_of(member, around.seen);
    let target = group.target(id).cloned().unwrap_or_default();
    let goal = Goal {
        epoch: group.target_epoch,
        target: &target,
        reads: &|topic| topics.contains_key(&topic),
        has_resubscribed,
        owned: request.owned.as_ref(),
        is_taken: &|topic, partition| group.holder(topic, partition).is_some_and(|holder| holder != id),
    };
    let next = match goal.step(&member.current) {
        Ok(next) => next,
        Err(Lost) => {
            return Err(Refused::because(
                Error::FencedMemberEpoch,
                "the member holds what nobody assigned to it: it has to give up its partitions and join again"
                    .to_owned(),
            ));
        }
    };
    if next == member.current {
        return Ok(RebalanceTimer::Keep);
    }
    let timer = match next.state {
        // Those of the classic protocol have to join again, and that within a time.
        MemberState::UnrevokedPartitions if request.classic.is_none() => RebalanceTimer::Set {
            epoch: next.epoch,
            within_ms: u64::try_from(member.subscription.rebalance_timeout_ms).unwrap_or(0),
        },
        _ => RebalanceTimer::Cancel,
    };
    draft.write(Record::Current {
        member: id.clone(),
        value: Some(next),
    });
    Ok(timer)
}

/// Takes over what regular expressions matched.
pub(in crate::group) fn resolve(
    group: &Group,
    resolution: &Resolution,
    now_ms: u64,
    hashes: &mut Hashes,
    seen: &Seen,
) -> Vec<Record> {
    let mut draft = Draft::of(Some(group));
    let mut must_bump = false;
    for (regex, topics) in &resolution.topics {
        if !group.regex_counts().contains_key(regex) {
            continue;
        }
        let before = group.resolved(regex);
        must_bump |= match before {
            Some(before) => before.topics != *topics,
            None => !topics.is_empty(),
        };
        draft.write(Record::Regex {
            regex: regex.clone(),
            value: Some(Resolved {
                topics: topics.clone(),
                version: i64::try_from(resolution.seen.index).unwrap_or(i64::MAX),
                timestamp_ms: now_ms.cast_signed(),
            }),
        });
    }
    draft.follow_topics(must_bump, hashes, seen);
    draft.records
}
