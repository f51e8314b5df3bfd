//! Leaders change in-sync sets (KIP-497, KIP-903).

use std::collections::BTreeSet;

use flotilla_control::proto::metadata::{AlterPartition, AlterPartitions, ItemResult, Refusal, Response};
use flotilla_protocol::{BrokerId, PartitionIndex, Uuid};

use super::change::Change;
use super::{Draft, Refused, brokers, item, of_items, refuse};
use crate::metadata::Partition;

pub(super) fn alter_partitions(
    draft: &mut Draft<'_, '_>,
    request: &AlterPartitions,
) -> Result<Response, Refused> {
    let asks = brokers::current(draft, request.broker_id, request.broker_epoch)?.id;
    let items = request
        .partitions
        .iter()
        .map(|partition| alter(draft, asks, partition))
        .collect();
    Ok(of_items(items))
}

fn alter(draft: &mut Draft<'_, '_>, asks: BrokerId, request: &AlterPartition) -> ItemResult {
    let topic = Uuid::from_slice(&request.topic_id)
        .and_then(|id| draft.image.topic_by_id(id))
        .cloned();
    let Some(topic) = topic else {
        let refused = refuse(Refusal::UnknownTopicId, "no topic has this id");
        return ItemResult {
            partition: request.partition,
            topic_id: request.topic_id.clone(),
            ..item("", Err(refused))
        };
    };
    let index = PartitionIndex(request.partition);
    let result = draft.attempt(|draft| {
        let partition = topic.partition(index).ok_or_else(|| {
            refuse(
                Refusal::UnknownPartition,
                format!("topic `{}` has no partition {index}", topic.name),
            )
        })?;
        check(draft, asks, request, partition)?;
        let mut change = Change::of(partition, draft.rules(&topic.name));
        change.isr = request
            .new_isr
            .iter()
            .map(|replica| BrokerId(replica.broker_id))
            .collect();
        let Some(next) = change.decide(&|id| draft.image.is_alive(id)) else {
            return Ok(false);
        };
        draft.write_partition(&topic, index, &next);
        Ok(next.leader != partition.leader)
    });
    let state = draft
        .image
        .partition(&topic.name, index)
        .map(|state| state.to_record(topic.id, index));
    // The set that was asked for completed a reassignment which drops the leader: it holds, under another leader.
    let result = result.and_then(|elected| match elected {
        true => Err(refuse(
            Refusal::NewLeaderElected,
            "the reassignment is complete, and another replica leads",
        )),
        false => Ok(()),
    });
    ItemResult {
        partition: request.partition,
        topic_id: request.topic_id.clone(),
        partition_state: state,
        ..item(&topic.name, result)
    }
}

fn check(
    draft: &Draft<'_, '_>,
    asks: BrokerId,
    request: &AlterPartition,
    partition: &Partition,
) -> Result<(), Refused> {
    let invalid = |message: String| Err(refuse(Refusal::InvalidRequest, message));
    if request.leader_epoch > partition.leader_epoch.0 || request.partition_epoch > partition.partition_epoch
    {
        return Err(refuse(
            Refusal::NotController,
            "the leader knows more than this controller",
        ));
    }
    if request.leader_epoch < partition.leader_epoch.0 {
        let message = format!("the leader epoch is {}", partition.leader_epoch);
        return Err(refuse(Refusal::FencedLeaderEpoch, message));
    }
    if partition.leader != Some(asks) {
        return invalid(format!("broker {asks} does not lead the partition"));
    }
    if request.partition_epoch < partition.partition_epoch {
        let message = format!("the partition epoch is {}", partition.partition_epoch);
        return Err(refuse(Refusal::InvalidUpdateVersion, message));
    }
    let mut seen = BTreeSet::new();
    for replica in &request.new_isr {
        let id = BrokerId(replica.broker_id);
        if !partition.is_replica(id) || !seen.insert(id) {
            return invalid(format!("broker {id} is not a replica, or is named twice"));
        }
    }
    if !seen.contains(&asks) {
        return invalid(format!("the leader {asks} is not in the in-sync set"));
    }
    for replica in &request.new_isr {
        eligible(draft, BrokerId(replica.broker_id), replica.broker_epoch)?;
    }
    Ok(())
}

/// Only a broker that is alive, and as the incarnation that the leader saw fetching, may be in sync. An epoch of -1: the
/// leader does not know it (KIP-903).
fn eligible(draft: &Draft<'_, '_>, id: BrokerId, epoch: i64) -> Result<(), Refused> {
    let ineligible = |why: String| Err(refuse(Refusal::IneligibleReplica, format!("broker {id} {why}")));
    match draft.image.broker(id) {
        None => ineligible("is not registered".to_owned()),
        Some(broker) if broker.fenced => ineligible("is fenced".to_owned()),
        Some(broker) if broker.in_controlled_shutdown => ineligible("is stopping".to_owned()),
        Some(broker) if epoch != -1 && epoch != broker.epoch.0 => {
            ineligible(format!("has registered anew, with the epoch {}", broker.epoch))
        }
        Some(_) => Ok(()),
    }
}
