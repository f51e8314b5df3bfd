//! Brokers come, live and go: registration, heartbeats, fencing, controlled shutdown.

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::{
    BrokerHeartbeat, FenceBrokers, HeartbeatAnswer, Refusal, RegisterBroker, Response, UnregisterBroker,
};
use flotilla_protocol::{BrokerEpoch, BrokerId};

use super::features::{FEATURE, FLOTILLA_VERSION};
use super::{Draft, Refused, internal_topics, refuse};
use crate::metadata::{Broker, Fact};

/// A new incarnation takes over at once when it has the data directory, which only one process can hold. One that comes
/// with another directory must wait until the session of the first is over: it may be a second process by mistake.
pub(super) fn register(draft: &mut Draft<'_, '_>, request: &RegisterBroker) -> Result<Response, Refused> {
    let asks = request
        .broker
        .as_ref()
        .ok_or_else(|| refuse(Refusal::InvalidRequest, "no broker is named"))?;
    let new = check(draft, asks)?;
    let (id, directory_id) = (new.id, new.directory_id);
    let known = draft.image.broker(id).cloned();
    if let Some(known) = &known {
        if known.incarnation == new.incarnation {
            return Ok(register_again(draft, known, &new));
        }
        if known.directory_id != new.directory_id && known.is_alive() {
            let message = format!(
                "broker {id} is alive with another data directory; stop it, or wait until its session is over"
            );
            return Err(refuse(Refusal::DuplicateBroker, message));
        }
    }
    keep_settings_that_rules_need(draft);
    draw_secret(draft);
    let after = known.as_ref().map_or(0, |known| known.epoch.0.saturating_add(1));
    let epoch = i64::try_from(draft.context.index).unwrap_or(i64::MAX).max(after);
    let record = Broker {
        epoch: BrokerEpoch(epoch),
        fenced: true,
        in_controlled_shutdown: false,
        ..new
    }
    .to_record();
    draft.write(Fact::Broker(record));
    if let Some(known) = &known {
        draft.leave(id);
        let emptied = known.directory_id != directory_id;
        if emptied || !request.clean_shutdown {
            draft.forget(id, emptied);
        }
    }
    Ok(Response {
        broker_epoch: epoch,
        ..Response::default()
    })
}

fn check(draft: &Draft<'_, '_>, asks: &proto::Broker) -> Result<Broker, Refused> {
    let invalid = |message: String| refuse(Refusal::InvalidRequest, message);
    let broker = Broker::from_record(asks, None).map_err(|error| invalid(error.to_string()))?;
    if broker.id.0 < 0 {
        return Err(invalid(format!("{} is not a broker id", broker.id)));
    }
    if broker.incarnation.is_zero() || broker.directory_id.is_zero() {
        return Err(invalid(format!(
            "broker {} has drawn no incarnation or directory id",
            broker.id
        )));
    }
    let finalized = draft.image.feature(FEATURE).unwrap_or(FLOTILLA_VERSION);
    if broker.flotilla_version_max < finalized {
        let message = format!(
            "broker {} ({}) supports {FEATURE} up to {}, but {finalized} is finalized; run a newer version",
            broker.id, broker.version, broker.flotilla_version_max
        );
        return Err(refuse(Refusal::UnsupportedVersion, message));
    }
    Ok(broker)
}

/// The same process registers again: because an answer was lost, or because its addresses changed. It keeps its epoch.
fn register_again(draft: &mut Draft<'_, '_>, known: &Broker, new: &Broker) -> Response {
    let next = Broker {
        epoch: known.epoch,
        fenced: known.fenced,
        in_controlled_shutdown: known.in_controlled_shutdown,
        storage_full: known.storage_full,
        placement: known.placement.clone(),
        ..new.clone()
    };
    if next != *known {
        draft.write(Fact::Broker(next.to_record()));
    }
    Response {
        broker_epoch: known.epoch.0,
        ..Response::default()
    }
}

/// The controller and every leader must agree on the minimum of in-sync replicas at each point of the log, else eligible
/// leader replicas would mean different things to them (KIP-966). Files of brokers differ while they are being changed,
/// so the first registration puts the minimum into the metadata.
fn keep_settings_that_rules_need(draft: &mut Draft<'_, '_>) {
    const KEY: &str = "min.insync.replicas";
    if draft.image.feature(FEATURE).is_none() {
        let name = FEATURE.to_owned();
        draft.write(Fact::FeatureLevel(proto::FeatureLevel {
            name,
            level: FLOTILLA_VERSION,
        }));
    }
    if draft.image.cluster_setting(KEY).is_none() {
        let value = draft.number(KEY).max(1).to_string();
        draft.write(Fact::Config(proto::Config {
            resource_type: proto::ResourceType::Broker.into(),
            resource_name: String::new(),
            key: KEY.to_owned(),
            value: Some(value),
        }));
    }
}

/// Two ids have 244 random bits.
fn draw_secret(draft: &mut Draft<'_, '_>) {
    if draft.image.secret().is_empty() {
        let bytes = [draft.fresh_id().0, draft.fresh_id().0].concat();
        draft.write(Fact::Secret(proto::Secret { bytes }));
    }
}

/// A registered broker that says the epoch which it was given.
pub(super) fn current(draft: &Draft<'_, '_>, id: i32, epoch: i64) -> Result<Broker, Refused> {
    let id = BrokerId(id);
    let broker = draft.image.broker(id).ok_or_else(|| {
        refuse(
            Refusal::BrokerNotRegistered,
            format!("broker {id} is not registered"),
        )
    })?;
    if broker.epoch.0 != epoch {
        let message = format!(
            "broker {id} says the epoch {epoch}, but has registered with {}",
            broker.epoch
        );
        return Err(refuse(Refusal::StaleBrokerEpoch, message));
    }
    Ok(broker.as_ref().clone())
}

pub(super) fn heartbeat(draft: &mut Draft<'_, '_>, request: &BrokerHeartbeat) -> Result<Response, Refused> {
    let mut broker = current(draft, request.broker_id, request.broker_epoch)?;
    if broker.storage_full != request.storage_full {
        broker.storage_full = request.storage_full;
        draft.write(Fact::Broker(broker.to_record()));
    }
    // What was appended before this moment is all that there is to know; the epoch may be drawn above it.
    let registered_at = broker.epoch.0.min(
        i64::try_from(draft.context.index)
            .unwrap_or(i64::MAX)
            .saturating_sub(1),
    );
    let caught_up = i64::try_from(request.applied_index).unwrap_or(i64::MAX) >= registered_at;
    let mut should_shut_down = false;
    if request.want_shut_down {
        should_shut_down = shut_down(draft, &broker, request.want_fence);
    } else if request.want_fence {
        draft.fence(broker.id);
    } else if broker.fenced && caught_up {
        let record = proto::Broker {
            fenced: false,
            in_controlled_shutdown: false,
            ..broker.to_record()
        };
        draft.write(Fact::Broker(record));
        draft.elect_leaderless();
        internal_topics::raise(draft);
    }
    let fenced = draft.image.broker(broker.id).is_none_or(|broker| broker.fenced);
    let heartbeat = Some(HeartbeatAnswer {
        caught_up,
        fenced,
        should_shut_down,
    });
    Ok(Response {
        heartbeat,
        ..Response::default()
    })
}

/// Controlled shutdown in two steps, so that everyone hears of the new leaders before the old one goes: the first
/// heartbeat that wants it hands everything over, a later one is told to go.
fn shut_down(draft: &mut Draft<'_, '_>, broker: &Broker, at_once: bool) -> bool {
    if broker.fenced {
        return true;
    }
    if !at_once && !broker.in_controlled_shutdown {
        draft.write(Fact::Broker(proto::Broker {
            in_controlled_shutdown: true,
            ..broker.to_record()
        }));
        draft.leave(broker.id);
        return false;
    }
    draft.fence(broker.id);
    true
}

pub(super) fn fence(draft: &mut Draft<'_, '_>, request: &FenceBrokers) -> Response {
    for id in &request.broker_ids {
        draft.fence(BrokerId(*id));
    }
    Response::default()
}

pub(super) fn unregister(draft: &mut Draft<'_, '_>, request: &UnregisterBroker) -> Result<Response, Refused> {
    let id = BrokerId(request.broker_id);
    if draft.image.broker(id).is_none() {
        return Err(refuse(
            Refusal::BrokerNotRegistered,
            format!("broker {id} is not registered"),
        ));
    }
    let held: Vec<String> = draft
        .image
        .partitions()
        .filter(|(_, _, partition)| partition.is_replica(id))
        .map(|(topic, index, _)| format!("{}-{index}", topic.name))
        .collect();
    if let Some(first) = held.first() {
        let message = format!(
            "broker {id} still holds {} replicas, such as of {first}; drain it before it is forgotten",
            held.len()
        );
        return Err(refuse(Refusal::NotEmpty, message));
    }
    draft.write(Fact::RemoveBroker(proto::RemoveBroker { broker_id: id.0 }));
    Ok(Response::default())
}
