//! Topics grow (KIP-195).

use std::collections::BTreeSet;

use flotilla_control::proto::metadata::{CreatePartitions, GrowTopic, Refusal, Response};

use super::topics::{add_partitions, describe, limit_partitions};
use super::{Draft, Refused, assignment, item, of_items, refuse};

pub(super) fn create(draft: &mut Draft<'_, '_>, request: &CreatePartitions) -> Result<Response, Refused> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    let mut total = 0_usize;
    for topic in &request.topics {
        if !seen.insert(topic.name.as_str()) {
            twice.insert(topic.name.as_str());
        }
        let now = draft
            .image
            .topic(&topic.name)
            .map_or(0, |topic| topic.partition_count());
        total = total.saturating_add(usize::try_from(topic.count).unwrap_or(0).saturating_sub(now));
    }
    limit_partitions(total)?;
    let items = request.topics.iter().map(|topic| {
        if twice.contains(topic.name.as_str()) {
            let message = format!("topic `{}` is named twice in one request", topic.name);
            return item(&topic.name, Err(refuse(Refusal::InvalidRequest, message)));
        }
        let result = draft.attempt(|draft| grow(draft, topic));
        describe(draft, &topic.name, result)
    });
    let items = items.collect();
    Ok(of_items(items))
}

/// Adds partitions until there are `count`.
pub(super) fn grow(draft: &mut Draft<'_, '_>, request: &GrowTopic) -> Result<(), Refused> {
    let topic = draft.topic(&request.name)?;
    let now = topic.partition_count();
    let invalid = |message: String| Err(refuse(Refusal::InvalidPartitions, message));
    let Some(count) = usize::try_from(request.count).ok().filter(|count| *count > 0) else {
        return invalid(format!("a topic cannot have {} partitions", request.count));
    };
    if count == now {
        return invalid(format!("topic `{}` already has {now} partitions", topic.name));
    }
    if count < now {
        return invalid(format!(
            "topic `{}` has {now} partitions; {count} would be fewer, and partitions are never removed",
            topic.name
        ));
    }
    limit_partitions(count - now)?;
    let more = if request.assignments.is_empty() {
        assignment::grow(draft, &topic, count)?
    } else {
        if request.assignments.len() != count - now {
            let message = format!(
                "{} partitions are added, but {} assigned",
                count - now,
                request.assignments.len()
            );
            return Err(refuse(Refusal::InvalidReplicaAssignment, message));
        }
        let factor = assignment::targets(&topic).first().map(Vec::len);
        assignment::all_named(draft, &request.assignments, factor)?
    };
    add_partitions(draft, topic.id, now, &more)
}
