//! Elections that someone asks for: preferred leaders (KIP-183), and any leader at all (KIP-460).

use flotilla_control::proto::metadata::{ElectLeaders, ItemResult, Refusal, Response};
use flotilla_protocol::{BrokerId, PartitionIndex};

use super::change::{Change, Election};
use super::{Draft, Refused, item, of_items, refuse};

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
