use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::placement::Broker;
use flotilla_control::{BrokerId, Uuid};
use flotilla_crds::{Cluster, Role};

use super::Member;

/// One step towards the quorum that a Cluster should have. They go one at a time: each is a change of membership (KIP-853).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voter {
    /// Let this broker vote too.
    Add(BrokerId),
    /// Let this broker vote no longer.
    Remove(BrokerId),
}

/// The next step towards the quorum of a Cluster whose brokers should be `members`: whoever leaves is replaced first and removed then,
/// so that the quorum is never smaller than it should be for want of order.
#[must_use]
pub fn next_voter(
    cluster: &Cluster,
    members: &[Member],
    brokers: &[Broker],
    voters: &BTreeSet<BrokerId>,
) -> Option<Voter> {
    if voters.is_empty() {
        return None;
    }
    let eligible: Vec<BrokerId> = members
        .iter()
        .filter(|member| member.roles.contains(&Role::Coordinator))
        .map(|member| member.id)
        .collect();
    let wanted = wanted(cluster, eligible.len());
    let staying: Vec<BrokerId> = voters
        .iter()
        .copied()
        .filter(|voter| eligible.contains(voter))
        .collect();
    let leaving = voters.iter().copied().find(|voter| !eligible.contains(voter));
    let successor = (staying.len() < wanted)
        .then(|| successor(&eligible, brokers, voters, &staying))
        .flatten();
    match (leaving, successor) {
        // One more than wanted meanwhile, never more.
        (_, Some(successor)) if voters.len() <= wanted => Some(Voter::Add(successor)),
        (Some(leaving), _) => Some(Voter::Remove(leaving)),
        (None, _) if staying.len() > wanted => staying.last().copied().map(Voter::Remove),
        _ => None,
    }
}

/// A voter whose directory is gone: its broker registered with another one, because its volume was emptied. It has lost its vote and
/// its log, and is nobody's vote until it is taken out and, if it should, let in again (KIP-853).
#[must_use]
pub fn stale_voter(
    voters: &BTreeMap<BrokerId, Uuid>,
    registered: &BTreeMap<BrokerId, Uuid>,
) -> Option<(BrokerId, Uuid)> {
    voters
        .iter()
        .find(|(id, directory)| registered.get(id).is_some_and(|now| now != *directory))
        .map(|(id, directory)| (*id, *directory))
}

/// How many should vote.
fn wanted(cluster: &Cluster, eligible: usize) -> usize {
    let asked = cluster
        .spec
        .coordinators
        .and_then(|count| usize::try_from(count).ok());
    let most = match eligible {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    };
    asked.unwrap_or(3).min(most)
}

/// Who is alive, may vote and does not yet; from a rack where nobody votes, where there is one.
fn successor(
    eligible: &[BrokerId],
    brokers: &[Broker],
    voters: &BTreeSet<BrokerId>,
    staying: &[BrokerId],
) -> Option<BrokerId> {
    let rack = |id: &BrokerId| brokers.iter().find(|broker| broker.id == *id)?.rack.as_deref();
    let racks: BTreeSet<&str> = staying.iter().filter_map(rack).collect();
    brokers
        .iter()
        .filter(|broker| eligible.contains(&broker.id) && !voters.contains(&broker.id) && !broker.fenced)
        .min_by_key(|broker| {
            let crowded = broker.rack.as_deref().is_some_and(|rack| racks.contains(rack));
            (crowded, broker.id)
        })
        .map(|broker| broker.id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn broker(id: i32, rack: &str, fenced: bool) -> Broker {
        Broker {
            id: BrokerId(id),
            rack: Some(rack.into()),
            leaders: 0,
            replicas: 0,
            draining: false,
            fenced,
        }
    }

    fn next(replicas: i32, coordinators: Option<i32>, brokers: &[Broker], voters: &[i32]) -> Option<Voter> {
        let cluster = testing::with(json!({"replicas": replicas, "coordinators": coordinators}));
        let members: Vec<Member> = (0..replicas)
            .map(|id| Member {
                id: BrokerId(id),
                pool: "main".into(),
                ordinal: id,
                roles: vec![Role::Broker, Role::Coordinator],
            })
            .collect();
        let voters = voters.iter().copied().map(BrokerId).collect();
        next_voter(&cluster, &members, brokers, &voters)
    }

    fn five() -> Vec<Broker> {
        [(0, "a"), (1, "b"), (2, "c"), (3, "a"), (4, "b")]
            .map(|(id, rack)| broker(id, rack, false))
            .to_vec()
    }

    #[test]
    fn quorum_that_is_as_it_should_be_stays() {
        assert_eq!(next(5, None, &five(), &[0, 1, 2]), None);
        assert_eq!(next(2, None, &five()[..2], &[0]), None);
        assert_eq!(next(3, None, &[], &[]), None);
    }

    #[test]
    fn quorum_grows_and_shrinks_one_by_one() {
        assert_eq!(
            next(5, Some(5), &five(), &[0, 1, 2]),
            Some(Voter::Add(BrokerId(3)))
        );
        assert_eq!(
            next(5, Some(3), &five(), &[0, 1, 2, 3, 4]),
            Some(Voter::Remove(BrokerId(4)))
        );
        assert_eq!(next(3, None, &five()[..3], &[0]), Some(Voter::Add(BrokerId(1))));
    }

    #[test]
    fn voter_that_leaves_is_replaced_before_it_is_removed() {
        // Broker 5 votes and goes; racks a and b have a voter each, so that broker 2 in c follows it.
        let brokers: Vec<Broker> = five().into_iter().chain([broker(5, "c", false)]).collect();
        assert_eq!(next(5, None, &brokers, &[0, 1, 5]), Some(Voter::Add(BrokerId(2))));
        assert_eq!(
            next(5, None, &brokers, &[0, 1, 2, 5]),
            Some(Voter::Remove(BrokerId(5)))
        );
    }

    #[test]
    fn voter_that_leaves_without_successor_is_removed() {
        assert_eq!(
            next(2, None, &five()[..3], &[0, 1, 2]),
            Some(Voter::Remove(BrokerId(2)))
        );
        assert_eq!(
            next(2, None, &five()[..2], &[0, 1]),
            Some(Voter::Remove(BrokerId(1)))
        );
    }

    #[test]
    fn voter_that_lost_its_directory_is_found() {
        let of = |directories: [(i32, u8); 3]| -> BTreeMap<BrokerId, Uuid> {
            directories
                .into_iter()
                .map(|(id, directory)| (BrokerId(id), Uuid([directory; 16])))
                .collect()
        };
        let voters = of([(0, 1), (1, 2), (2, 3)]);
        assert_eq!(stale_voter(&voters, &voters), None);
        assert_eq!(
            stale_voter(&voters, &of([(0, 1), (1, 9), (3, 7)])),
            Some((BrokerId(1), Uuid([2; 16])))
        );
    }

    #[test]
    fn broker_that_does_not_answer_is_nobodys_successor() {
        let brokers = [broker(0, "a", false), broker(1, "b", true), broker(2, "c", false)];
        assert_eq!(next(3, None, &brokers, &[0]), Some(Voter::Add(BrokerId(2))));
    }
}
