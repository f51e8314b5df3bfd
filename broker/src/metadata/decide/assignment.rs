//! Who stores new partitions: as the caller says, or as `placement` finds.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::placement;
use flotilla_control::proto::metadata::{Refusal, Replicas};
use flotilla_protocol::{BrokerId, LeaderEpoch};

use super::{Draft, Refused, refuse};
use crate::metadata::{Partition, Topic};

/// Who stores each partition, by partition; the first replica is the preferred leader.
pub(super) type Assignment = Vec<Vec<BrokerId>>;

/// The replicas as a caller names them: registered brokers, each once.
///
/// # Errors
/// INVALID_REPLICA_ASSIGNMENT.
pub(super) fn named(draft: &Draft<'_, '_>, replicas: &Replicas) -> Result<Vec<BrokerId>, Refused> {
    let invalid = |message: String| Err(refuse(Refusal::InvalidReplicaAssignment, message));
    if replicas.broker_ids.is_empty() {
        return invalid("a partition needs at least one replica".to_owned());
    }
    let mut seen = BTreeSet::new();
    let mut named = Vec::new();
    for id in replicas.broker_ids.iter().copied().map(BrokerId) {
        if !seen.insert(id) {
            return invalid(format!("broker {id} is named twice for one partition"));
        }
        if draft.image.broker(id).is_none() {
            return invalid(format!("broker {id} is not registered"));
        }
        named.push(id);
    }
    Ok(named)
}

/// As [`named`] for several partitions, which must all have as many replicas as `factor`, or as the first of them.
pub(super) fn all_named(
    draft: &Draft<'_, '_>,
    partitions: &[Replicas],
    factor: Option<usize>,
) -> Result<Assignment, Refused> {
    let assignment: Assignment = partitions
        .iter()
        .map(|replicas| named(draft, replicas))
        .collect::<Result<_, _>>()?;
    let factor = factor.or_else(|| assignment.first().map(Vec::len)).unwrap_or(0);
    if let Some(other) = assignment.iter().find(|replicas| replicas.len() != factor) {
        let message = format!(
            "a partition has {} replicas where the others have {factor}",
            other.len()
        );
        return Err(refuse(Refusal::InvalidReplicaAssignment, message));
    }
    Ok(assignment)
}

/// The brokers as `placement` sees them.
pub(super) fn fleet(draft: &Draft<'_, '_>) -> placement::Fleet {
    let mut load: BTreeMap<BrokerId, (u32, u32)> = BTreeMap::new();
    for (_, _, partition) in draft.image.partitions() {
        for (place, replica) in partition.replicas.iter().enumerate() {
            let (leaders, replicas) = load.entry(*replica).or_default();
            *leaders += u32::from(place == 0);
            *replicas += 1;
        }
    }
    let brokers = draft
        .image
        .brokers()
        // One that only votes in the quorum holds no partitions.
        .filter(|broker| broker.roles.is_empty() || broker.has_role("broker"))
        .map(|broker| {
            let (leaders, replicas) = load.get(&broker.id).copied().unwrap_or_default();
            placement::Broker {
                id: broker.id,
                rack: broker.rack().map(str::to_owned),
                leaders,
                replicas,
                draining: draft.image.is_draining(broker.id),
                fenced: !broker.is_alive(),
            }
        })
        .collect();
    placement::Fleet {
        brokers,
        racks_required: false,
    }
}

/// Replicas for a new topic.
///
/// # Errors
/// INVALID_REPLICATION_FACTOR where the fleet cannot hold them, INVALID_PARTITIONS for none.
pub(super) fn place(
    draft: &Draft<'_, '_>,
    partitions: usize,
    replicas: usize,
) -> Result<Assignment, Refused> {
    placement::place(&fleet(draft), &placement::Request { partitions, replicas }).map_err(unplaced)
}

/// Replicas for the partitions that a topic gets in addition.
pub(super) fn grow(draft: &Draft<'_, '_>, topic: &Topic, partitions: usize) -> Result<Assignment, Refused> {
    placement::grow(&fleet(draft), &targets(topic), partitions).map_err(unplaced)
}

/// Replicas for all partitions of a topic that gets another replication factor.
pub(super) fn resize(draft: &Draft<'_, '_>, topic: &Topic, replicas: usize) -> Result<Assignment, Refused> {
    placement::change_replicas(&fleet(draft), &targets(topic), replicas).map_err(unplaced)
}

/// What the partitions of a topic will be once their reassignments are complete.
pub(super) fn targets(topic: &Topic) -> Assignment {
    topic
        .partitions()
        .map(|(_, partition)| target(partition))
        .collect()
}

/// What a partition's replicas will be once its reassignment is complete.
pub(super) fn target(partition: &Partition) -> Vec<BrokerId> {
    partition
        .replicas
        .iter()
        .copied()
        .filter(|replica| !partition.removing.contains(replica))
        .collect()
}

fn unplaced(error: placement::Error) -> Refused {
    let refusal = match error {
        placement::Error::NoPartitions | placement::Error::FewerPartitions { .. } => {
            Refusal::InvalidPartitions
        }
        placement::Error::NoReplicas
        | placement::Error::NotEnoughBrokers { .. }
        | placement::Error::NoneAlive { .. } => Refusal::InvalidReplicationFactor,
    };
    refuse(refusal, error.to_string())
}

/// The first state of a partition: whoever is alive is in sync, since there is nothing yet to be behind of.
///
/// # Errors
/// INVALID_REPLICA_ASSIGNMENT where nobody is alive.
pub(super) fn first_state(draft: &Draft<'_, '_>, replicas: &[BrokerId]) -> Result<Partition, Refused> {
    let isr: Vec<BrokerId> = replicas
        .iter()
        .copied()
        .filter(|replica| draft.image.is_alive(*replica))
        .collect();
    let Some(leader) = isr.first().copied() else {
        let message = "none of the brokers that would store the partition is alive";
        return Err(refuse(Refusal::InvalidReplicaAssignment, message));
    };
    Ok(Partition {
        replicas: replicas.to_vec(),
        isr,
        leader: Some(leader),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        adding: Vec::new(),
        removing: Vec::new(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
    })
}
