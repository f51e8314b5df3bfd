//! Elections that someone asks for: preferred leaders (KIP-183), any leader at all (KIP-460), and another one than a leader whose
//! records are broken.

use flotilla_control::proto::metadata::{ElectLeaders, HandOver, ItemResult, Refusal, Response};
use flotilla_protocol::{BrokerId, PartitionIndex, Uuid};

use super::change::{Change, Election};
use super::{Draft, Refused, brokers, item, of_items, refuse};

/// A leader that found records broken on its disk names an in-sync replica that has them whole, to lead instead. It stays in
/// sync itself: everything else is on its disk as it should be.
pub(super) fn hand_over(draft: &mut Draft<'_, '_>, request: &HandOver) -> Result<Response, Refused> {
    let asks = brokers::current(draft, request.broker_id, request.broker_epoch)?.id;
    let to = BrokerId(request.to);
    let topic = Uuid::from_slice(&request.topic_id)
        .and_then(|id| draft.image.topic_by_id(id))
        .cloned()
        .ok_or_else(|| refuse(Refusal::UnknownTopicId, "no topic has this id"))?;
    let index = PartitionIndex(request.partition);
    let (topic, partition) = draft.partition(&topic.name, index)?;
    if request.leader_epoch != partition.leader_epoch.0 {
        let message = format!("the leader epoch is {}", partition.leader_epoch);
        return Err(refuse(Refusal::FencedLeaderEpoch, message));
    }
    if partition.leader != Some(asks) {
        let message = format!("broker {asks} does not lead the partition");
        return Err(refuse(Refusal::InvalidRequest, message));
    }
    if to == asks || !partition.is_in_sync(to) || !draft.image.is_alive(to) {
        let message = format!("broker {to} is not another replica that is alive and in sync");
        return Err(refuse(Refusal::IneligibleReplica, message));
    }
    let mut change = Change::of(&partition, draft.rules(&topic.name));
    change.successor = Some(to);
    if let Some(next) = change.decide(&|id| draft.image.is_alive(id)) {
        draft.write_partition(&topic, index, &next);
    }
    Ok(Response::default())
}

/// For all partitions, only those are answered for that needed an election.
pub(super) fn elect(draft: &mut Draft<'_, '_>, request: &ElectLeaders) -> Response {
    let election = if request.unclean {
        Election::Unclean
    } else {
        Election::Preferred
    };
    if !request.all_partitions {
        let named = request.partitions.iter();
        return of_items(
            named
                .map(|named| one(draft, election, &named.topic, named.partition))
                .collect(),
        );
    }
    let image = draft.image.clone();
    let all = image
        .partitions()
        .map(|(topic, index, _)| one(draft, election, &topic.name, index.0));
    of_items(
        all.filter(|item| item.refusal() != Refusal::ElectionNotNeeded)
            .collect(),
    )
}

fn one(draft: &mut Draft<'_, '_>, election: Election, topic: &str, index: i32) -> ItemResult {
    let result = draft.attempt(|draft| decide(draft, election, topic, PartitionIndex(index)));
    ItemResult {
        partition: index,
        ..item(topic, result)
    }
}

fn decide(
    draft: &mut Draft<'_, '_>,
    election: Election,
    topic: &str,
    index: PartitionIndex,
) -> Result<(), Refused> {
    let (topic, partition) = draft.partition(topic, index)?;
    let preferred = election == Election::Preferred;
    let needed = if preferred {
        partition.leader != partition.preferred_leader()
    } else {
        partition.leader.is_none()
    };
    if !needed {
        return Err(refuse(
            Refusal::ElectionNotNeeded,
            "the partition has the leader that it should have",
        ));
    }
    let mut change = Change::of(&partition, draft.rules(&topic.name));
    change.election = election;
    let going = draft.granted();
    // A broker that is about to be restarted has just given its leaderships away: they do not go back to it.
    let can_lead = |id: BrokerId| {
        draft.image.is_alive(id) && !(preferred && going.contains(&id) && partition.leader != Some(id))
    };
    match change
        .decide(&can_lead)
        .filter(|next| next.leader != partition.leader)
    {
        Some(next) => {
            draft.write_partition(&topic, index, &next);
            Ok(())
        }
        None if preferred => {
            let message = "the preferred leader is not alive and in sync";
            Err(refuse(Refusal::PreferredLeaderNotAvailable, message))
        }
        None => Err(refuse(
            Refusal::EligibleLeadersNotAvailable,
            "no replica of the partition is alive",
        )),
    }
}
