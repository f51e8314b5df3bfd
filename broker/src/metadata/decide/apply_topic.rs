//! A Topic resource, level-triggered: whatever the topic is now, it becomes what the resource says.

use std::collections::BTreeMap;

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::{ApplyTopic, CreateTopic, GrowTopic, Owner, Refusal, Response};
use flotilla_control::settings;
use flotilla_protocol::PartitionIndex;

use super::topics::{create_one, describe, limit_partitions};
use super::{
    Draft, Refused, assignment, configs, of_items, owned_by_another, owns, partitions, reassignment, refuse,
};
use crate::metadata::{Fact, ResourceType, Topic};

/// Writes nothing where the topic is already so. A topic that belongs to nobody is adopted, with the settings that the
/// resource does not name left as they are.
pub(super) fn apply(draft: &mut Draft<'_, '_>, request: &ApplyTopic) -> Result<Response, Refused> {
    match draft.image.topic(&request.name).cloned() {
        None => create(draft, request)?,
        Some(topic) => {
            take_over(draft, &topic, request)?;
            settle_configs(draft, request)?;
            settle_partitions(draft, &topic, request)?;
            settle_replicas(draft, request)?;
        }
    }
    Ok(of_items(vec![describe(draft, &request.name, Ok(()))]))
}

fn create(draft: &mut Draft<'_, '_>, request: &ApplyTopic) -> Result<(), Refused> {
    let or_default = |count: i32| if count == 0 { -1 } else { count };
    let topic = CreateTopic {
        name: request.name.clone(),
        partitions: or_default(request.partitions),
        replication_factor: or_default(request.replicas),
        assignments: request.assignments.clone(),
        configs: request.configs.clone(),
    };
    create_one(draft, &topic, request.owner.clone())
}

fn take_over(draft: &mut Draft<'_, '_>, topic: &Topic, request: &ApplyTopic) -> Result<(), Refused> {
    let previous = request.previous_owner.as_ref();
    let may_take = |asks: &Owner, owner: &Owner| {
        owns(asks, owner) || previous.is_some_and(|previous| owns(previous, owner))
    };
    let asks = match (request.owner.as_ref(), &topic.owner) {
        (None, None) => return Ok(()),
        (Some(asks), owner) if owner.as_ref().is_none_or(|owner| may_take(asks, owner)) => asks,
        (_, Some(owner)) => return Err(owned_by_another("topic", &topic.name, owner)),
        (Some(_), None) => return Ok(()),
    };
    if topic.owner.as_ref() != Some(asks) {
        draft.write(Fact::Topic(proto::Topic {
            name: topic.name.clone(),
            topic_id: topic.id.0.to_vec(),
            owner: Some(asks.clone()),
        }));
    }
    Ok(())
}

fn settle_configs(draft: &mut Draft<'_, '_>, request: &ApplyTopic) -> Result<(), Refused> {
    let now = draft
        .image
        .config(ResourceType::Topic, &request.name)
        .cloned()
        .unwrap_or_default();
    let mut next: BTreeMap<String, String> = now.clone();
    next.retain(|key, _| !request.previous_configs.contains(key));
    for config in &request.configs {
        match &config.value {
            Some(value) => drop(next.insert(config.key.clone(), value.clone())),
            None => drop(next.remove(&config.key)),
        }
    }
    settings::check_topic_change(&now, &next)
        .map_err(|error| refuse(Refusal::InvalidConfig, error.to_string()))?;
    configs::write(draft, ResourceType::Topic, &request.name, &now, &next);
    Ok(())
}

fn settle_partitions(draft: &mut Draft<'_, '_>, topic: &Topic, request: &ApplyTopic) -> Result<(), Refused> {
    let now = topic.partition_count();
    let assigned = i32::try_from(request.assignments.len()).unwrap_or(i32::MAX);
    let count = if request.partitions == 0 {
        assigned
    } else {
        request.partitions
    };
    if count == 0 || usize::try_from(count) == Ok(now) {
        return Ok(());
    }
    let assignments = request.assignments.get(now..).unwrap_or_default().to_vec();
    partitions::grow(
        draft,
        &GrowTopic {
            name: request.name.clone(),
            count,
            assignments,
        },
    )
}

fn settle_replicas(draft: &mut Draft<'_, '_>, request: &ApplyTopic) -> Result<(), Refused> {
    let topic = draft.topic(&request.name)?;
    let now = assignment::targets(&topic);
    let wanted = if !request.assignments.is_empty() {
        if request.assignments.len() != now.len() {
            let message = format!(
                "{} partitions, but {} assigned",
                now.len(),
                request.assignments.len()
            );
            return Err(refuse(Refusal::InvalidReplicaAssignment, message));
        }
        assignment::all_named(draft, &request.assignments, None)?
    } else {
        let Ok(replicas) = usize::try_from(request.replicas) else {
            let message = format!("a partition needs at least one replica, not {}", request.replicas);
            return Err(refuse(Refusal::InvalidReplicationFactor, message));
        };
        if replicas == 0 || now.iter().all(|partition| partition.len() == replicas) {
            return Ok(());
        }
        assignment::resize(draft, &topic, replicas)?
    };
    let moves: Vec<_> = (0..)
        .map(PartitionIndex)
        .zip(wanted.iter().zip(&now))
        .filter(|(_, (wanted, now))| wanted != now)
        .collect();
    limit_partitions(moves.len())?;
    for (index, (target, _)) in moves {
        reassignment::assign(draft, &request.name, index, target)?;
    }
    Ok(())
}
