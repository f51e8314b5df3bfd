//! What the operator does with brokers: where they stand, emptying them, restarting them.

use std::collections::BTreeSet;

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::{BrokerPlacement, PrepareRestart, Refusal, Response, SetDrain};
use flotilla_protocol::BrokerId;

use super::change::{Change, Election};
use super::{Draft, Refused, refuse};
use crate::metadata::broker::check_endpoint;
use crate::metadata::plan::{granted, outage, stays};
use crate::metadata::{Fact, Outage};

/// A grant may hold no longer: a broker that is not back by then is a failure, not a restart.
const GRANT_MS_MAX: i64 = 24 * 3_600_000;

pub(super) fn apply_broker(
    draft: &mut Draft<'_, '_>,
    request: &BrokerPlacement,
) -> Result<Response, Refused> {
    let invalid = |message: String| refuse(Refusal::InvalidRequest, message);
    if request.broker_id < 0 {
        return Err(invalid(format!("{} is not a broker id", request.broker_id)));
    }
    request
        .endpoints
        .iter()
        .try_for_each(check_endpoint)
        .map_err(|error| invalid(error.to_string()))?;
    if draft.image.placement(BrokerId(request.broker_id)) != Some(request) {
        draft.write(Fact::BrokerPlacement(request.clone()));
    }
    Ok(Response::default())
}

/// A draining broker gets no new replicas; moving those that it has is the caller's work.
pub(super) fn set_drain(draft: &mut Draft<'_, '_>, request: &SetDrain) -> Result<Response, Refused> {
    let id = BrokerId(request.broker_id);
    if draft.image.broker(id).is_none() {
        return Err(refuse(
            Refusal::BrokerNotRegistered,
            format!("broker {id} is not registered"),
        ));
    }
    if draft.image.is_draining(id) != request.draining {
        draft.write(Fact::Drain(proto::Drain {
            broker_id: id.0,
            draining: request.draining,
        }));
    }
    Ok(Response::default())
}

impl Draft<'_, '_> {
    /// The brokers that may be restarted now.
    pub(super) fn granted(&self) -> BTreeSet<BrokerId> {
        granted(&self.image, self.context.now_ms).collect()
    }
}

/// Grants the restart of brokers, all or none, once they have handed their leaderships over; or takes grants back.
pub(super) fn prepare(draft: &mut Draft<'_, '_>, request: &PrepareRestart) -> Result<Response, Refused> {
    let brokers: BTreeSet<BrokerId> = request.broker_ids.iter().copied().map(BrokerId).collect();
    if request.release {
        for id in &brokers {
            if draft.image.restart_grants().any(|(held, _)| held == *id) {
                draft.write(Fact::RestartGrant(proto::RestartGrant {
                    broker_id: id.0,
                    expires_ms: 0,
                }));
            }
        }
        return Ok(Response::default());
    }
    if !(1..=GRANT_MS_MAX).contains(&request.grant_ms) {
        let message = format!("a grant holds 1 to {GRANT_MS_MAX} ms, not {}", request.grant_ms);
        return Err(refuse(Refusal::InvalidRequest, message));
    }
    if let Some(unknown) = brokers.iter().find(|id| draft.image.broker(**id).is_none()) {
        return Err(refuse(
            Refusal::BrokerNotRegistered,
            format!("broker {unknown} is not registered"),
        ));
    }
    let going: BTreeSet<BrokerId> = draft.granted().union(&brokers).copied().collect();
    let takes_more = brokers.iter().any(|id| draft.image.is_alive(*id));
    let outage = outage(&draft.image, &going, draft.context.voters, draft.context.settings);
    if takes_more && !outage.is_safe() {
        return Err(refuse(Refusal::NotSafeNow, not_safe(&outage)));
    }
    hand_over(draft, &going);
    let expires_ms = draft.context.now_ms.saturating_add(request.grant_ms);
    for id in brokers {
        draft.write(Fact::RestartGrant(proto::RestartGrant {
            broker_id: id.0,
            expires_ms,
        }));
    }
    Ok(Response::default())
}

fn not_safe(outage: &Outage) -> String {
    let quorum = outage
        .quorum_lost
        .then(|| "the quorum would lose its majority".to_owned());
    let partitions = outage.below_minimum.first().map(|first| {
        format!(
            "{} partitions would fall below their minimum of in-sync replicas, such as {}-{}",
            outage.below_minimum.len(),
            first.topic,
            first.partition
        )
    });
    let reasons: Vec<String> = [quorum, partitions].into_iter().flatten().collect();
    format!(
        "{}; wait until the other brokers are back and in sync",
        reasons.join(", and ")
    )
}

/// What those who go lead is led by others that are in sync, where there are any.
fn hand_over(draft: &mut Draft<'_, '_>, going: &BTreeSet<BrokerId>) {
    let before = draft.image.clone();
    draft.change_partitions(
        |partition, rules| {
            let leader = partition.leader?;
            let successor =
                |replica: &BrokerId| before.broker(*replica).is_some_and(|broker| stays(broker, going));
            if !going.contains(&leader) || !partition.isr.iter().any(successor) {
                return None;
            }
            let mut change = Change::of(partition, rules);
            change.election = Election::Clean;
            Some(change)
        },
        &|broker| stays(broker, going),
    );
}
