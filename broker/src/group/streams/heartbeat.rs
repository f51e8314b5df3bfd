//! A member's heartbeat: who it is, which topology it has, whether that can work, what it is to have, and how it gets there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Config;
use super::assignment::Assignment;
use super::configure::{Configured, configure};
use super::draft::{Draft, STANDBY_REPLICAS};
use super::endpoints;
use super::group::Group;
use super::member::{Member, MemberState};
use super::notice::{Notice, Status};
use super::reconcile::{Goal, Lost};
use super::record::{NOT_VALIDATED, Record, Told};
use super::request::{Beat, Heartbeat};
use super::topology::Topology;
use super::volatile::Volatile;
use crate::group::consumer::heartbeat::{RebalanceTimer, check_epochs, is_due};
use crate::group::consumer::{Hashes, Refused, Seen, unknown_member};
use crate::group::{Error, Text};

/// What a decision goes by, besides the group and the request.
pub(in crate::group) struct Surroundings<'a> {
    pub(in crate::group) config: &'a Config,
    pub(in crate::group) now_ms: u64,
    pub(in crate::group) seen: &'a Seen,
    pub(in crate::group) volatile: &'a Volatile,
    /// How long after an assignment there is none, in ms (KIP-1263).
    pub(in crate::group) assignment_interval_ms: u64,
    pub(in crate::group) heartbeat_interval_ms: u64,
    /// How long the first member of an empty group waits for others, in ms.
    pub(in crate::group) initial_delay_ms: u64,
    /// Whether others are being waited for.
    pub(in crate::group) is_delayed: bool,
    pub(in crate::group) standby_replicas: u64,
    /// Topics of the group may have changed since its topology was held against them.
    pub(in crate::group) is_stale: bool,
}

/// What comes of a heartbeat.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::group) struct Decided {
    pub(in crate::group) records: Vec<Record>,
    pub(in crate::group) beat: Beat,
    pub(in crate::group) rebalance: RebalanceTimer,
    pub(in crate::group) volatile: Volatile,
    /// Whether others are to be waited for from now on.
    pub(in crate::group) begins_delay: bool,
}

/// Decides on a heartbeat that does not leave. `group` is none if there is none, and the member joins.
pub(in crate::group) fn heartbeat(
    group: Option<&Group>,
    request: &Heartbeat,
    around: &Surroundings<'_>,
    hashes: &mut Hashes,
) -> Result<Decided, Refused> {
    let mut draft = Draft::of(group);
    let mut notices = Vec::new();
    let was_empty = draft.group.is_empty();
    let before = admit(&draft.group, request, around.config)?;
    let has_changed = tell(&mut draft, request, &before);
    let topology = take_topology(&mut draft, request)?;
    notices.extend(stale_topology(&draft.group, &topology, &before.id));
    let configured = follow_topics(&mut draft, &topology, request, around, hashes, has_changed)?;
    let begins_delay = was_empty && !around.is_delayed && around.initial_delay_ms > 0;
    let target = match around.is_delayed || begins_delay {
        true => Err(delayed("others may join in a moment")),
        false => assign(&mut draft, &before.id, &configured, around),
    };
    let target = target.unwrap_or_else(|(notice, target)| {
        notices.push(notice);
        target
    });
    let rebalance = reconcile(&mut draft, &before.id, request, &target)?;
    notices.extend(configured.problem.clone());
    let mut volatile = remember(around.volatile, &configured, request, was_empty);
    notices.extend(volatile.shutdown_by.as_ref().map(shutdown));
    let is_new_group = group.is_none();
    let answered = answer(
        &draft.group,
        request,
        &before,
        around,
        is_new_group,
        &mut volatile,
    );
    let beat = Beat {
        notices,
        to_create: configured.missing.clone(),
        ..answered.ok_or(Error::Unexpected)?
    };
    Ok(Decided {
        records: draft.records,
        beat,
        rebalance,
        volatile,
        begins_delay,
    })
}

fn remember(
    before: &Volatile,
    configured: &Arc<Configured>,
    request: &Heartbeat,
    was_empty: bool,
) -> Volatile {
    let asks = request.shuts_down.then(|| request.member_id.clone());
    Volatile {
        configured: Some(configured.clone()),
        // A group that everybody has left begins anew.
        shutdown_by: before.shutdown_by.clone().filter(|_| !was_empty).or(asks),
        endpoint_epoch: before.endpoint_epoch,
    }
}

/// What the member is told of its tasks, where that is news to it, and of who has which state. `None`: it is not there.
fn answer(
    group: &Group,
    request: &Heartbeat,
    before: &Member,
    around: &Surroundings<'_>,
    is_new_group: bool,
    volatile: &mut Volatile,
) -> Option<Beat> {
    let member = group.member(&before.id)?;
    let sends_assignment = request.epoch == 0 || member.current.assigned != before.current.assigned;
    if sends_assignment && member.told.endpoint.is_some() && !is_new_group {
        volatile.endpoint_epoch += 1;
    }
    let sends_endpoints = volatile.endpoint_epoch != request.endpoint_epoch;
    Some(Beat {
        member_id: member.id.clone(),
        epoch: member.current.epoch,
        heartbeat_interval_ms: i32::try_from(around.heartbeat_interval_ms).unwrap_or(i32::MAX),
        assignment: sends_assignment.then(|| member.current.assigned.assignment()),
        endpoint_epoch: volatile.endpoint_epoch,
        endpoints: sends_endpoints.then(|| endpoints::of_group(group, around.seen)),
        ..Beat::default()
    })
}

/// Assigns once others are no longer waited for.
pub(in crate::group) fn assign_delayed(group: &Group, around: &Surroundings<'_>) -> Vec<Record> {
    let mut draft = Draft::of(Some(group));
    let configured = match (&around.volatile.configured, &group.topology) {
        (Some(configured), _) => Some(configured.clone()),
        (None, Some(topology)) => configure(topology, around.seen).ok().map(Arc::new),
        (None, None) => None,
    };
    let is_due = !group.is_empty() && group.epoch.epoch > group.target_epoch.epoch;
    if let Some(configured) = configured.filter(|_| is_due) {
        draft.assign(&configured, around.now_ms);
    }
    draft.records
}

/// The topology as it is shown: internal topics say how many partitions they have, if all is there and fits.
pub(in crate::group) fn shown_topology(topology: &Topology, seen: &Seen) -> Topology {
    let mut shown = topology.clone();
    let configured = configure(topology, seen).ok().filter(Configured::is_ready);
    for part in shown.subtopologies.values_mut() {
        let internal = part.repartition_sources.iter_mut().chain(&mut part.changelogs);
        for topic in internal {
            let known = configured.as_ref().and_then(|of| of.internal.get(&topic.name));
            topic.partitions = known.copied().unwrap_or(topic.partitions);
        }
    }
    shown
}

/// The member as it is, or as it is before it has told anything.
fn admit(group: &Group, request: &Heartbeat, config: &Config) -> Result<Member, Refused> {
    let Some(member) = group.member(&request.member_id) else {
        if request.epoch != 0 {
            return Err(unknown_member(&request.member_id, &request.group));
        }
        if group.members().len() >= config.members_max {
            return Err(Refused::because(
                Error::GroupFull,
                format!(
                    "the group is full: it has {} members, as many as group.streams.max.size allows",
                    config.members_max
                ),
            ));
        }
        return Ok(Member::new(request.member_id.clone()));
    };
    let current = &member.current;
    check_epochs(request.epoch, current.epoch, current.previous_epoch, || {
        let owned = request.owned.all();
        owned.is_some_and(|owned| current.assigned.contains_all(owned))
    })?;
    Ok(Member::clone(member))
}

/// Writes down what the member tells of itself; whether it is new.
fn tell(draft: &mut Draft, request: &Heartbeat, before: &Member) -> bool {
    let old = &before.told;
    let new = Told {
        instance_id: old.instance_id.clone(),
        rack_id: request.rack_id.clone().or_else(|| old.rack_id.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            -1 => old.rebalance_timeout_ms,
            timeout_ms => timeout_ms,
        },
        topology_epoch: request
            .topology
            .as_ref()
            .map_or(old.topology_epoch, |topology| topology.epoch),
        process_id: request
            .process_id
            .clone()
            .unwrap_or_else(|| old.process_id.clone()),
        endpoint: request.endpoint.clone().or_else(|| old.endpoint.clone()),
        client_tags: request
            .client_tags
            .clone()
            .unwrap_or_else(|| old.client_tags.clone()),
    };
    let has_changed = new != *old || draft.group.member(&before.id).is_none();
    if has_changed {
        draft.write(Record::Member {
            member: before.id.clone(),
            value: Some(new),
        });
    }
    has_changed
}

/// The group's topology: that of the first member. One that is older is left aside, and another one refused: applications are not
/// upgraded in place yet.
fn take_topology(draft: &mut Draft, request: &Heartbeat) -> Result<Arc<Topology>, Refused> {
    match (&request.topology, &draft.group.topology) {
        (Some(told), Some(known)) if told.epoch >= known.epoch && told != &**known => Err(Refused::because(
            Error::InvalidRequest,
            "the application has another topology than the group: stop all its members and delete the group, or choose another \
             application.id"
                .to_owned(),
        )),
        (_, Some(known)) => Ok(known.clone()),
        (Some(told), None) => {
            draft.write(Record::Topology(Some(told.clone())));
            Ok(Arc::new(told.clone()))
        }
        (None, None) => Err(Error::Unexpected.into()),
    }
}

fn stale_topology(group: &Group, topology: &Topology, member: &Text) -> Option<Notice> {
    let told = group.member(member)?.told.topology_epoch;
    (told < topology.epoch).then(|| Notice {
        status: Status::StaleTopology,
        detail: format!(
            "the member has the topology of epoch {told}, and the group that of epoch {}",
            topology.epoch
        ),
    })
}

/// Holds the topology against the topics that there are, and raises the group's epoch where there is a reason to.
fn follow_topics(
    draft: &mut Draft,
    topology: &Topology,
    request: &Heartbeat,
    around: &Surroundings<'_>,
    hashes: &mut Hashes,
    must_bump: bool,
) -> Result<Arc<Configured>, Refused> {
    let (configured, metadata_hash) = match &around.volatile.configured {
        Some(configured) if !around.is_stale => (configured.clone(), draft.group.epoch.metadata_hash),
        _ => {
            let configured = configure(topology, around.seen)?;
            let hash = hashes.of_group(topology.required_topics(), around.seen);
            (Arc::new(configured), hash)
        }
    };
    let mut validated = NOT_VALIDATED;
    if configured.is_ready() {
        validated = topology.epoch;
        check_owned(&configured, request)?;
    }
    let standby_replicas = around.standby_replicas.to_string().into();
    let configs = BTreeMap::from([(Text::from(STANDBY_REPLICAS), standby_replicas)]);
    let group = &draft.group.epoch;
    let has_changed = metadata_hash != group.metadata_hash
        || validated != group.validated_topology_epoch
        || configs != group.assignment_configs;
    if must_bump || has_changed {
        draft.bump(|group| {
            group.metadata_hash = metadata_hash;
            group.validated_topology_epoch = validated;
            group.assignment_configs = configs;
        });
    }
    Ok(configured)
}

/// Whether there are the tasks that a member says that it holds.
fn check_owned(configured: &Configured, request: &Heartbeat) -> Result<(), Refused> {
    let Some(owned) = request.owned.all() else {
        return Ok(());
    };
    for (subtopology, partition) in owned.active.iter().chain(owned.standby.iter()) {
        let tasks = configured.shapes.get(&subtopology).map_or(0, |shape| shape.tasks);
        if !(0..tasks).contains(&partition) {
            return Err(Refused::because(
                Error::InvalidRequest,
                format!("there is no task {partition} of subtopology {subtopology}: it has {tasks} tasks"),
            ));
        }
    }
    Ok(())
}

/// Assigns for the group's epoch where that has not been done yet and may be; gives what the member is to have. Where it may not be done
/// yet, that is as before.
fn assign(
    draft: &mut Draft,
    member: &Text,
    configured: &Configured,
    around: &Surroundings<'_>,
) -> Result<Arc<Assignment>, (Notice, Arc<Assignment>)> {
    let target = |draft: &Draft| draft.group.target(member).cloned().unwrap_or_default();
    let last = draft.group.target_epoch;
    if draft.group.epoch.epoch <= last.epoch {
        return Ok(target(draft));
    }
    if !is_due(last.timestamp_ms, around.assignment_interval_ms, around.now_ms) {
        let (notice, _) = delayed("tasks were assigned a moment ago");
        return Err((notice, target(draft)));
    }
    draft.assign(configured, around.now_ms);
    Ok(target(draft))
}

/// While others are waited for nobody has anything.
fn delayed(why: &str) -> (Notice, Arc<Assignment>) {
    let notice = Notice {
        status: Status::AssignmentDelayed,
        detail: format!("tasks are not assigned yet: {why}"),
    };
    (notice, Arc::default())
}

fn shutdown(by: &Text) -> Notice {
    Notice {
        status: Status::ShutdownApplication,
        detail: format!("member {by} met a fatal error, and asks the whole application to end"),
    }
}

fn reconcile(
    draft: &mut Draft,
    id: &Text,
    request: &Heartbeat,
    target: &Assignment,
) -> Result<RebalanceTimer, Refused> {
    let group = &draft.group;
    let Some(member) = group.member(id) else {
        return Err(Error::Unexpected.into());
    };
    let goal = Goal {
        epoch: group.target_epoch.epoch,
        target,
        owned: request.owned.all(),
        is_active: &|subtopology, partition| group.is_active(subtopology, partition),
        has_process: &|subtopology, partition| {
            group.has_process(&member.told.process_id, subtopology, partition)
        },
    };
    let next = match goal.step(&member.current) {
        Ok(next) => next,
        Err(Lost) => {
            return Err(Refused::because(
                Error::FencedMemberEpoch,
                "the member holds what nobody assigned to it: it has to give up its tasks and join again"
                    .to_owned(),
            ));
        }
    };
    if next == member.current {
        return Ok(RebalanceTimer::Keep);
    }
    let timer = match next.state {
        MemberState::UnrevokedTasks => RebalanceTimer::Set {
            epoch: next.epoch,
            within_ms: u64::try_from(member.told.rebalance_timeout_ms).unwrap_or(0),
        },
        _ => RebalanceTimer::Cancel,
    };
    draft.write(Record::Current {
        member: id.clone(),
        value: Some(next),
    });
    Ok(timer)
}
