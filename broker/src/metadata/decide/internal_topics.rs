//! The topics that Kafka keeps for itself get as many replicas as they should have, or as there are brokers; and more
//! once the fleet grows.

use flotilla_protocol::PartitionIndex;

use super::{Draft, assignment, reassignment};

const FACTORS: [(&str, &str); 3] = [
    ("__consumer_offsets", "offsets.topic.replication.factor"),
    (
        "__share_group_state",
        "share.coordinator.state.topic.replication.factor",
    ),
    ("__transaction_state", "transaction.state.log.replication.factor"),
];

/// Whether Kafka keeps a topic for itself.
#[must_use]
pub fn is_internal(topic: &str) -> bool {
    FACTORS.iter().any(|(name, _)| *name == topic)
}

/// How many replicas an internal topic should have.
pub(super) fn wanted_replicas(draft: &Draft<'_, '_>, topic: &str) -> Option<i64> {
    let (_, setting) = FACTORS.iter().find(|(name, _)| *name == topic)?;
    Some(draft.number(setting))
}

/// As many, or as many as there are brokers that are not being drained; at least one.
pub(super) fn capped(draft: &Draft<'_, '_>, replicas: usize) -> usize {
    let brokers = draft
        .image
        .brokers()
        .filter(|broker| !draft.image.is_draining(broker.id))
        .count();
    replicas.min(brokers).max(1)
}

/// Adds the replicas that could not be had when the fleet was smaller. Replicas that someone is moving are left alone.
pub(super) fn raise(draft: &mut Draft<'_, '_>) {
    for (name, _) in FACTORS {
        let Some(topic) = draft.image.topic(name).cloned() else {
            continue;
        };
        let wanted = wanted_replicas(draft, name)
            .and_then(|wanted| usize::try_from(wanted).ok())
            .unwrap_or(1);
        let wanted = capped(draft, wanted);
        let moving = topic
            .partitions()
            .any(|(_, partition)| !partition.removing.is_empty());
        let now = assignment::targets(&topic);
        if moving || now.iter().all(|replicas| replicas.len() >= wanted) {
            continue;
        }
        let Ok(next) = assignment::resize(draft, &topic, wanted) else {
            continue;
        };
        let grown = (0..).map(PartitionIndex).zip(next.iter().zip(&now));
        for (index, (target, _)) in grown.filter(|(_, (target, now))| target.len() > now.len()) {
            // Whoever comes next asks again.
            let _ = draft.attempt(|draft| reassignment::assign(draft, name, index, target));
        }
    }
}
