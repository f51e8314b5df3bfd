//! Topics are created and deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::topic_ref::Topic as Named;
use flotilla_control::proto::metadata::{
    CreateTopic, CreateTopics, DeleteTopics, ItemResult, KeyValue, Owner, Refusal, Response, TopicRef,
};
use flotilla_control::settings;
use flotilla_protocol::{PartitionIndex, Uuid};

use super::assignment::{self, Assignment};
use super::{
    Draft, PARTITIONS_PER_REQUEST_MAX, Refused, internal_topics, item, of_items, owned_by_another, owns,
    refuse, topic_name,
};
use crate::metadata::{Fact, Partition, ResourceType, Topic};

impl Draft<'_, '_> {
    /// A partition by its topic's name.
    pub(super) fn partition(
        &self,
        topic: &str,
        index: PartitionIndex,
    ) -> Result<(Arc<Topic>, Arc<Partition>), Refused> {
        let found = self.topic(topic)?;
        let Some(partition) = found.partition(index) else {
            return Err(refuse(
                Refusal::UnknownPartition,
                format!("topic `{topic}` has no partition {index}"),
            ));
        };
        Ok((found.clone(), partition.clone()))
    }

    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>, Refused> {
        let unknown = || refuse(Refusal::UnknownTopic, format!("topic `{name}` does not exist"));
        self.image.topic(name).cloned().ok_or_else(unknown)
    }

    pub(super) fn write_config(
        &mut self,
        resource: ResourceType,
        name: &str,
        key: &str,
        value: Option<&str>,
    ) {
        self.write(Fact::Config(proto::Config {
            resource_type: resource.into(),
            resource_name: name.to_owned(),
            key: key.to_owned(),
            value: value.map(str::to_owned),
        }));
    }
}

pub(super) fn create(draft: &mut Draft<'_, '_>, request: &CreateTopics) -> Result<Response, Refused> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    let mut total = 0_usize;
    for topic in &request.topics {
        if !seen.insert(topic.name.as_str()) {
            twice.insert(topic.name.as_str());
        }
        let named = usize::try_from(topic.partitions).unwrap_or(0);
        total = total.saturating_add(named.max(topic.assignments.len()).max(1));
    }
    limit_partitions(total)?;
    let items = request.topics.iter().map(|topic| {
        if twice.contains(topic.name.as_str()) {
            let message = format!("topic `{}` is named twice in one request", topic.name);
            return item(&topic.name, Err(refuse(Refusal::InvalidRequest, message)));
        }
        let made = draft.attempt(|draft| create_one(draft, topic, None));
        describe(draft, &topic.name, made.map(drop))
    });
    let items = items.collect();
    Ok(of_items(items))
}

/// Refuses more new partitions than one entry of the quorum's log should carry.
pub(super) fn limit_partitions(total: usize) -> Result<(), Refused> {
    if total <= PARTITIONS_PER_REQUEST_MAX {
        return Ok(());
    }
    let message = format!(
        "the request would create {total} partitions; one request creates at most {PARTITIONS_PER_REQUEST_MAX}: send several"
    );
    Err(refuse(Refusal::PolicyViolation, message))
}

/// The result for a topic, with what it looks like now.
pub(super) fn describe(draft: &Draft<'_, '_>, name: &str, result: Result<(), Refused>) -> ItemResult {
    let mut item = item(name, result);
    if let Some(topic) = draft
        .image
        .topic(name)
        .filter(|_| item.refusal() == Refusal::None)
    {
        item.topic_id = topic.id.0.to_vec();
        item.num_partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        item.replication_factor = i32::try_from(topic.replication_factor()).unwrap_or(i32::MAX);
    }
    item
}

/// Creates a topic that does not exist.
pub(super) fn create_one(
    draft: &mut Draft<'_, '_>,
    request: &CreateTopic,
    owner: Option<Owner>,
) -> Result<(), Refused> {
    topic_name::check(draft, &request.name)?;
    let config = wanted_config(&request.configs)?;
    let assignment = assign(draft, request)?;
    limit_partitions(assignment.len())?;
    let id = draft.fresh_id();
    let record = proto::Topic {
        name: request.name.clone(),
        topic_id: id.0.to_vec(),
        owner,
    };
    draft.write(Fact::Topic(record));
    for (key, value) in &config {
        draft.write_config(ResourceType::Topic, &request.name, key, Some(value));
    }
    add_partitions(draft, id, 0, &assignment)
}

/// Adds partitions from an index on.
pub(super) fn add_partitions(
    draft: &mut Draft<'_, '_>,
    topic_id: Uuid,
    first: usize,
    assignment: &Assignment,
) -> Result<(), Refused> {
    for (index, replicas) in (first..).zip(assignment) {
        let state = assignment::first_state(draft, replicas)?;
        let index = i32::try_from(index).map_err(|_| {
            refuse(
                Refusal::InvalidPartitions,
                "a topic cannot have that many partitions",
            )
        })?;
        draft.write(Fact::Partition(state.to_record(topic_id, PartitionIndex(index))));
    }
    Ok(())
}

fn wanted_config(configs: &[KeyValue]) -> Result<BTreeMap<String, String>, Refused> {
    let mut wanted = BTreeMap::new();
    for KeyValue { key, value } in configs {
        let Some(value) = value else {
            return Err(refuse(Refusal::InvalidConfig, format!("`{key}` has no value")));
        };
        wanted.insert(key.clone(), value.clone());
    }
    settings::check_topic(&wanted).map_err(|error| refuse(Refusal::InvalidConfig, error.to_string()))?;
    Ok(wanted)
}

fn assign(draft: &Draft<'_, '_>, request: &CreateTopic) -> Result<Assignment, Refused> {
    if !request.assignments.is_empty() {
        return assignment::all_named(draft, &request.assignments, None);
    }
    let partitions = match request.partitions {
        -1 => draft.number("num.partitions"),
        count => i64::from(count),
    };
    let Some(partitions) = usize::try_from(partitions).ok().filter(|count| *count > 0) else {
        let message = format!("a topic needs at least one partition, not {partitions}");
        return Err(refuse(Refusal::InvalidPartitions, message));
    };
    limit_partitions(partitions)?;
    let internal = internal_topics::wanted_replicas(draft, &request.name);
    let replicas = match request.replication_factor {
        -1 => internal.unwrap_or_else(|| draft.number("default.replication.factor")),
        count => i64::from(count),
    };
    let Some(mut replicas) = usize::try_from(replicas).ok().filter(|count| *count > 0) else {
        let message = format!("a partition needs at least one replica, not {replicas}");
        return Err(refuse(Refusal::InvalidReplicationFactor, message));
    };
    if internal.is_some() {
        replicas = internal_topics::capped(draft, replicas);
    }
    assignment::place(draft, partitions, replicas)
}

pub(super) fn delete(draft: &mut Draft<'_, '_>, request: &DeleteTopics) -> Response {
    let items = request.topics.iter().map(|named| {
        let topic = find(draft, named);
        let (name, id) = match &topic {
            Ok(topic) => (topic.name.clone(), topic.id.0.to_vec()),
            Err(_) => match &named.topic {
                Some(Named::Name(name)) => (name.clone(), Vec::new()),
                Some(Named::TopicId(id)) => (String::new(), id.clone()),
                None => (String::new(), Vec::new()),
            },
        };
        let result = topic.and_then(|topic| {
            may_delete(&topic, named.owner.as_ref())?;
            draft.write(Fact::RemoveTopic(proto::RemoveTopic {
                topic_id: topic.id.0.to_vec(),
            }));
            Ok(())
        });
        ItemResult {
            topic_id: id,
            ..item(&name, result)
        }
    });
    let items = items.collect();
    of_items(items)
}

fn find(draft: &Draft<'_, '_>, named: &TopicRef) -> Result<Arc<Topic>, Refused> {
    match &named.topic {
        Some(Named::Name(name)) => draft.topic(name),
        Some(Named::TopicId(id)) => {
            let topic = Uuid::from_slice(id).and_then(|id| draft.image.topic_by_id(id));
            topic
                .cloned()
                .ok_or_else(|| refuse(Refusal::UnknownTopicId, "no topic has this id"))
        }
        None => Err(refuse(
            Refusal::InvalidRequest,
            "neither name nor id of a topic is given",
        )),
    }
}

/// Whoever names an owner deletes only what that resource owns.
fn may_delete(topic: &Topic, asks: Option<&Owner>) -> Result<(), Refused> {
    match (asks, &topic.owner) {
        (Some(asks), Some(owner)) if !owns(asks, owner) => Err(owned_by_another("topic", &topic.name, owner)),
        (Some(_), None) => {
            let message = format!(
                "topic `{}` belongs to no resource; it is left as it is",
                topic.name
            );
            Err(refuse(Refusal::OwnedByAnother, message))
        }
        _ => Ok(()),
    }
}
