//! Replicas move (KIP-455): the new ones are added, and once they are in sync the old ones go.

use flotilla_control::proto::metadata::{AlterReassignments, ItemResult, Reassignment, Refusal, Response};
use flotilla_protocol::{BrokerId, PartitionIndex};

use super::change::Change;
use super::{Draft, Refused, assignment, item, of_items, refuse};
use crate::metadata::Partition;

pub(super) fn alter(draft: &mut Draft<'_, '_>, request: &AlterReassignments) -> Response {
    let items = request.partitions.iter().map(|asked| {
        let result = draft.attempt(|draft| alter_one(draft, asked, request.allow_replication_factor_change));
        ItemResult {
            partition: asked.partition,
            ..item(&asked.topic, result)
        }
    });
    let items = items.collect();
    of_items(items)
}

fn alter_one(draft: &mut Draft<'_, '_>, asked: &Reassignment, may_resize: bool) -> Result<(), Refused> {
    let index = PartitionIndex(asked.partition);
    let Some(target) = &asked.target else {
        return cancel(draft, &asked.topic, index);
    };
    let (_, partition) = draft.partition(&asked.topic, index)?;
    let target = assignment::named(draft, target)?;
    let now = assignment::target(&partition).len();
    if !may_resize && target.len() != now {
        let message = format!(
            "the partition has {now} replicas, and the request may not make that {}",
            target.len()
        );
        return Err(refuse(Refusal::InvalidReplicationFactor, message));
    }
    assign(draft, &asked.topic, index, &target)
}

/// Makes `target` the replicas of a partition, at once where nothing has to be copied first.
pub(super) fn assign(
    draft: &mut Draft<'_, '_>,
    topic: &str,
    index: PartitionIndex,
    target: &[BrokerId],
) -> Result<(), Refused> {
    let (topic, partition) = draft.partition(topic, index)?;
    let mut change = Change::of(&partition, draft.rules(&topic.name));
    // A replica that an earlier reassignment began to add still has to arrive.
    let settled = |replica: &BrokerId| partition.is_replica(*replica) && !partition.adding.contains(replica);
    change.adding = target
        .iter()
        .copied()
        .filter(|replica| !settled(replica))
        .collect();
    change.removing = partition
        .replicas
        .iter()
        .copied()
        .filter(|replica| !target.contains(replica))
        .collect();
    change.replicas = target.iter().chain(&change.removing).copied().collect();
    if let Some(next) = change.decide(&|id| draft.image.is_alive(id)) {
        draft.write_partition(&topic, index, &next);
    }
    Ok(())
}

fn cancel(draft: &mut Draft<'_, '_>, topic: &str, index: PartitionIndex) -> Result<(), Refused> {
    let (topic, partition) = draft.partition(topic, index)?;
    if !partition.is_reassigning() {
        let message = "the replicas of the partition are not being reassigned";
        return Err(refuse(Refusal::NoReassignmentInProgress, message));
    }
    let rules = draft.rules(&topic.name);
    let before = |replicas: &[BrokerId]| -> Vec<BrokerId> {
        replicas
            .iter()
            .copied()
            .filter(|replica| !partition.adding.contains(replica))
            .collect()
    };
    let (isr, elr) = (before(&partition.isr), before(&partition.elr));
    if isr.is_empty() && elr.is_empty() && !rules.unclean_election {
        let message = "only replicas that were being added are in sync: without them the partition could not be led \
                       but by an unclean election";
        return Err(refuse(Refusal::InvalidReplicaAssignment, message));
    }
    let mut change = Change::of(&partition, rules);
    (change.replicas, change.isr) = (original(&partition), isr);
    change.adding.clear();
    change.removing.clear();
    if let Some(next) = change.decide(&|id| draft.image.is_alive(id)) {
        draft.write_partition(&topic, index, &next);
    }
    Ok(())
}

/// The replicas from before the reassignment.
fn original(partition: &Partition) -> Vec<BrokerId> {
    partition
        .replicas
        .iter()
        .copied()
        .filter(|replica| !partition.adding.contains(replica))
        .collect()
}
