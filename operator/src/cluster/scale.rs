//! How a fleet grows and shrinks: new brokers are filled, and whoever leaves is emptied first.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::BrokerId;
use flotilla_control::placement::{self, Broker, Fleet, Move, Placed};
use flotilla_crds::{Cluster, Reason, Role};

use super::coordinators::{Voter, next_voter};
use super::{Identity, Member, members, members_at};
use crate::Problem;

/// What a fleet says of itself, for whoever changes its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The brokers that are registered.
    pub fleet: Fleet,
    /// The partitions with the replicas that they have or are getting.
    pub placed: Vec<Placed>,
    /// How many replicas each broker still holds, those on their way out included.
    pub held: BTreeMap<BrokerId, usize>,
    /// Partitions whose replicas are on their way.
    pub moving: usize,
    /// Who votes.
    pub voters: BTreeSet<BrokerId>,
}

/// Something to ask of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Give the broker no new replicas; or do so again.
    Drain(BrokerId, bool),
    /// Move replicas.
    Assign(Vec<Move>),
    /// Change who votes.
    Voter(Voter),
    /// Forget a broker that is gone.
    Unregister(BrokerId),
}

/// How a fleet gets to its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// How many pods each pool has from now on. Never fewer than those that still hold something.
    pub sizes: BTreeMap<String, i32>,
    /// What to ask of the fleet, in this order.
    pub steps: Vec<Step>,
    /// What is under way, and how far it is.
    pub progress: Option<(Reason, String)>,
    /// What keeps it from going on.
    pub problem: Option<Problem>,
}

/// The brokers that there are or should be: those that leave need their configuration until they are empty.
///
/// # Errors
/// As [`members`].
pub fn present(
    cluster: &Cluster,
    identity: &Identity,
    sizes: &BTreeMap<String, i32>,
) -> Result<Vec<Member>, Problem> {
    members_at(cluster, identity, &|pool, size| {
        sizes.get(pool).copied().unwrap_or(0).max(size)
    })
}

/// How a fleet whose pools have so many pods now gets to the size that its Cluster asks for. Without a view of it, pods are only
/// added. While brokers are `coming`, those that came are not filled yet: what moves moves once.
///
/// # Errors
/// As [`members`].
pub fn scale(
    cluster: &Cluster,
    identity: &Identity,
    sizes: &BTreeMap<String, i32>,
    view: Option<&View>,
    coming: bool,
) -> Result<Scale, Problem> {
    let wanted = members(cluster, identity)?;
    let present = present(cluster, identity, sizes)?;
    let stays: BTreeSet<BrokerId> = wanted.iter().map(|member| member.id).collect();
    let leaving: Vec<&Member> = present
        .iter()
        .filter(|member| !stays.contains(&member.id))
        .collect();
    let mut scale = Scale::default();
    for member in &wanted {
        *scale.sizes.entry(member.pool.clone()).or_insert(0) += 1;
    }
    for pool in sizes.keys() {
        scale.sizes.entry(pool.clone()).or_insert(0);
    }
    for member in &leaving {
        if !view.is_some_and(|view| view.is_empty(member.id)) {
            let size = scale.sizes.entry(member.pool.clone()).or_insert(0);
            *size = (*size).max(member.ordinal + 1);
        }
    }
    if let Some(view) = view {
        scale.drains(&stays, view);
        let voting_only = wanted
            .iter()
            .filter(|member| !member.roles.contains(&Role::Broker))
            .map(|member| member.id)
            .collect();
        scale.moves(&stays, &voting_only, view, coming);
        scale
            .steps
            .extend(next_voter(cluster, &wanted, &view.fleet.brokers, &view.voters).map(Step::Voter));
        scale.forget(&stays, &present, view);
    }
    scale.progress = progress(&wanted, &leaving, sizes, view);
    Ok(scale)
}

impl View {
    fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.fleet.brokers.iter().find(|broker| broker.id == id)
    }

    /// Whether nothing is lost with the broker, and nothing can come to it any more.
    fn is_empty(&self, id: BrokerId) -> bool {
        let taken_in = self.broker(id);
        self.held.get(&id).copied().unwrap_or(0) == 0
            && !self.placed.iter().any(|placed| placed.replicas.contains(&id))
            && !self.voters.contains(&id)
            && taken_in.is_none_or(|broker| broker.draining)
    }

    /// The fleet as it should become: whoever leaves is drained.
    fn without(&self, stays: &BTreeSet<BrokerId>) -> Fleet {
        let mut fleet = self.fleet.clone();
        for broker in &mut fleet.brokers {
            broker.draining = !stays.contains(&broker.id);
        }
        fleet
    }

    /// Whether a broker that could hold replicas holds none.
    fn has_newcomer(&self, stays: &BTreeSet<BrokerId>) -> bool {
        !self.placed.is_empty()
            && self.fleet.brokers.iter().any(|broker| {
                let ready = stays.contains(&broker.id)
                    && !broker.fenced
                    && (broker.rack.is_some() || !self.fleet.racks_required);
                ready
                    && !self
                        .placed
                        .iter()
                        .any(|placed| placed.replicas.contains(&broker.id))
            })
    }
}

impl Scale {
    fn drains(&mut self, stays: &BTreeSet<BrokerId>, view: &View) {
        for broker in &view.fleet.brokers {
            let leaves = !stays.contains(&broker.id);
            if broker.draining != leaves {
                self.steps.push(Step::Drain(broker.id, leaves));
            }
        }
    }

    /// Whatever is on brokers that leave goes elsewhere, and newcomers get their share.
    fn moves(
        &mut self,
        stays: &BTreeSet<BrokerId>,
        voting_only: &BTreeSet<BrokerId>,
        view: &View,
        coming: bool,
    ) {
        let mut fleet = view.without(stays);
        fleet.brokers.retain(|broker| !voting_only.contains(&broker.id));
        let holders: BTreeSet<BrokerId> = stays.difference(voting_only).copied().collect();
        let holds = |id| view.held.get(id).is_some_and(|held| *held > 0);
        let moves = if !coming && view.has_newcomer(&holders) {
            placement::rebalance(&fleet, &view.placed)
        } else if fleet.brokers.iter().any(|broker| broker.draining) || voting_only.iter().any(holds) {
            placement::drain(&fleet, &view.placed)
        } else {
            Ok(Vec::new())
        };
        match moves {
            Ok(moves) if moves.is_empty() => {}
            Ok(moves) => self.steps.push(Step::Assign(moves)),
            Err(error) => {
                self.problem = Some(Problem::because(
                    Reason::NotEnoughBrokers,
                    "spec.replicas",
                    format!("brokers cannot be emptied: {error}. Keep them, or lower the replicas of Topics"),
                ));
            }
        }
    }

    /// Brokers that have no pod any more, and said goodbye.
    fn forget(&mut self, stays: &BTreeSet<BrokerId>, present: &[Member], view: &View) {
        for broker in &view.fleet.brokers {
            let gone = !stays.contains(&broker.id) && !present.iter().any(|member| member.id == broker.id);
            if gone && broker.fenced && view.is_empty(broker.id) {
                self.steps.push(Step::Unregister(broker.id));
            }
        }
    }
}

fn progress(
    wanted: &[Member],
    leaving: &[&Member],
    sizes: &BTreeMap<String, i32>,
    view: Option<&View>,
) -> Option<(Reason, String)> {
    if !leaving.is_empty() {
        let ids: Vec<String> = leaving.iter().map(|member| member.id.to_string()).collect();
        let left = view.map(|view| {
            let held = |member: &&Member| view.held.get(&member.id).copied().unwrap_or(0);
            leaving.iter().map(held).sum::<usize>()
        });
        let left = left.map_or("an unknown number of".to_owned(), |left| left.to_string());
        return Some((
            Reason::Draining,
            format!(
                "brokers {} hand over {left} replicas before they go",
                ids.join(", ")
            ),
        ));
    }
    let missing = wanted
        .iter()
        .filter(|member| member.ordinal >= sizes.get(&member.pool).copied().unwrap_or(0))
        .count();
    if missing > 0 && !sizes.is_empty() {
        let brokers = if missing == 1 {
            "1 broker is"
        } else {
            &format!("{missing} brokers are")
        };
        return Some((Reason::Scaling, format!("{brokers} added")));
    }
    let moving = view.map_or(0, |view| view.moving);
    (moving > 0).then(|| {
        (
            Reason::Rebalancing,
            match moving {
                1 => "replicas of 1 partition are on their way".to_owned(),
                _ => format!("replicas of {moving} partitions are on their way"),
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn broker(id: i32, draining: bool, fenced: bool) -> Broker {
        Broker {
            id: BrokerId(id),
            rack: None,
            leaders: 0,
            replicas: 0,
            draining,
            fenced,
        }
    }

    fn placed(partition: i32, replicas: &[i32]) -> Placed {
        Placed {
            topic: "orders".into(),
            partition,
            replicas: replicas.iter().copied().map(BrokerId).collect(),
            bytes: 0,
        }
    }

    /// Brokers 0 to `count`, and partitions with these replicas, which are also what brokers hold.
    fn view(brokers: Vec<Broker>, partitions: &[&[i32]]) -> View {
        let placed: Vec<Placed> = (0..)
            .zip(partitions)
            .map(|(index, replicas)| placed(index, replicas))
            .collect();
        let mut held = BTreeMap::new();
        for replica in placed.iter().flat_map(|placed| &placed.replicas) {
            *held.entry(*replica).or_insert(0) += 1;
        }
        View {
            fleet: Fleet {
                brokers,
                racks_required: false,
            },
            placed,
            held,
            moving: 0,
            voters: BTreeSet::from([BrokerId(0), BrokerId(1), BrokerId(2)]),
        }
    }

    fn sizes(size: i32) -> BTreeMap<String, i32> {
        BTreeMap::from([("main".into(), size)])
    }

    fn run(replicas: i32, size: Option<i32>, view: Option<&View>) -> Scale {
        let cluster = testing::with(json!({"replicas": replicas}));
        let identity = testing::identity(&testing::cluster());
        scale(
            &cluster,
            &identity,
            &size.map(sizes).unwrap_or_default(),
            view,
            false,
        )
        .unwrap()
    }

    fn live(count: i32) -> Vec<Broker> {
        (0..count).map(|id| broker(id, false, false)).collect()
    }

    #[test]
    fn fleet_of_the_right_size_needs_nothing() {
        let view = view(live(3), &[&[0, 1, 2], &[1, 2, 0]]);
        assert_eq!(
            run(3, Some(3), Some(&view)),
            Scale {
                sizes: sizes(3),
                ..Scale::default()
            }
        );
        assert_eq!(run(3, None, None).sizes, sizes(3));
    }

    #[test]
    fn new_brokers_are_filled_once_they_are_there() {
        let full: [&[i32]; 4] = [&[0, 1], &[1, 2], &[2, 0], &[0, 2]];
        let before = view(live(3), &full);
        let scale = run(4, Some(3), Some(&before));
        assert_eq!((scale.sizes, scale.steps), (sizes(4), vec![]));
        assert_eq!(
            scale.progress,
            Some((Reason::Scaling, "1 broker is added".into()))
        );

        let arrived = view(live(4), &full);
        let scale = run(4, Some(4), Some(&arrived));
        let [Step::Assign(moves)] = &scale.steps[..] else {
            panic!("{scale:?}");
        };
        assert!(
            moves.iter().any(|moved| moved.replicas.contains(&BrokerId(3))),
            "{moves:?}"
        );

        let mut under_way = arrived;
        for moved in moves {
            under_way.placed[moved.partition as usize].replicas = moved.replicas.clone();
        }
        under_way.moving = moves.len();
        let scale = run(4, Some(4), Some(&under_way));
        assert_eq!(scale.steps, []);
        assert_eq!(scale.progress.unwrap().0, Reason::Rebalancing);
    }

    #[test]
    fn broker_leaves_only_when_it_is_empty() {
        let full = view(live(4), &[&[0, 3], &[1, 2]]);
        let scale = run(3, Some(4), Some(&full));
        assert_eq!(scale.sizes, sizes(4));
        assert_eq!(
            scale.steps[0],
            Step::Drain(BrokerId(3), true),
            "nothing new comes to it"
        );
        let [_, Step::Assign(moves)] = &scale.steps[..] else {
            panic!("{scale:?}");
        };
        assert_eq!(moves.len(), 1);
        assert!(!moves[0].replicas.contains(&BrokerId(3)));
        assert_eq!(
            scale.progress,
            Some((
                Reason::Draining,
                "brokers 3 hand over 1 replicas before they go".into()
            ))
        );

        // Assigned elsewhere, and still held.
        let mut brokers = live(3);
        brokers.push(broker(3, true, false));
        let mut handing_over = view(brokers.clone(), &[&[0, 1], &[1, 2]]);
        handing_over.held.insert(BrokerId(3), 1);
        let scale = run(3, Some(4), Some(&handing_over));
        assert_eq!((scale.sizes, scale.steps), (sizes(4), vec![]));

        let empty = view(brokers, &[&[0, 1], &[1, 2]]);
        assert_eq!(run(3, Some(4), Some(&empty)).sizes, sizes(3));
    }

    #[test]
    fn broker_that_is_gone_is_forgotten_after_its_pod() {
        let mut brokers = live(3);
        brokers.push(broker(3, true, true));
        let view = view(brokers, &[&[0, 1], &[1, 2]]);
        assert_eq!(
            run(3, Some(3), Some(&view)).steps,
            [Step::Unregister(BrokerId(3))]
        );
    }

    #[test]
    fn nothing_shrinks_while_the_fleet_does_not_answer() {
        let scale = run(3, Some(5), None);
        assert_eq!((scale.sizes, scale.steps), (sizes(5), vec![]));
    }

    #[test]
    fn voter_is_replaced_before_it_leaves() {
        let mut brokers = live(3);
        brokers.push(broker(3, true, false));
        let mut view = view(brokers, &[&[0, 1]]);
        view.voters = BTreeSet::from([BrokerId(0), BrokerId(1), BrokerId(3)]);
        // Broker 2 holds nothing, but one partition of two replicas is as even as it can be.
        let scale = run(3, Some(4), Some(&view));
        assert_eq!(scale.sizes, sizes(4));
        assert_eq!(scale.steps, [Step::Voter(Voter::Add(BrokerId(2)))]);
    }

    #[test]
    fn replicas_that_fit_nowhere_else_keep_their_broker() {
        let full = view(live(3), &[&[0, 1, 2]]);
        let scale = run(2, Some(3), Some(&full));
        assert_eq!(scale.sizes, sizes(3));
        let problem = scale.problem.unwrap();
        assert_eq!(problem.reason, Reason::NotEnoughBrokers);
        assert!(
            problem
                .message
                .starts_with("brokers cannot be emptied: 3 replicas need 3 brokers"),
            "{problem}"
        );
    }

    #[test]
    fn scale_in_that_is_taken_back_gives_the_broker_replicas_again() {
        let mut brokers = live(3);
        brokers[2].draining = true;
        let view = view(brokers, &[&[0, 1, 2]]);
        assert_eq!(
            run(3, Some(3), Some(&view)).steps,
            [Step::Drain(BrokerId(2), false)]
        );
    }

    #[test]
    fn pool_that_is_taken_out_is_emptied_first() {
        let identity_of_two = {
            let mut identity = testing::identity(&testing::cluster());
            identity.blocks.insert("old".into(), BrokerId(1_000));
            identity
        };
        let mut brokers = live(3);
        brokers.push(broker(1_000, true, false));
        let view = view(brokers, &[&[0, 1, 2], &[1_000, 0, 1]]);
        let sizes = BTreeMap::from([("main".to_owned(), 3), ("old".to_owned(), 1)]);
        let scale = scale(&testing::cluster(), &identity_of_two, &sizes, Some(&view), false).unwrap();
        assert_eq!(scale.sizes, sizes);
        assert!(matches!(&scale.steps[..], [Step::Assign(moves)] if moves.len() == 1));
    }

    #[test]
    fn broker_that_only_votes_gets_nothing_and_gives_away_what_it_has() {
        let pools = json!([
            {"name": "quorum", "replicas": 1, "roles": ["coordinator"], "firstBrokerId": 0},
            {"name": "data", "replicas": 2, "roles": ["broker"], "firstBrokerId": 1},
        ]);
        let cluster = testing::with(json!({"pools": pools, "replicas": null}));
        let identity = testing::identity(&cluster);
        let sizes = BTreeMap::from([("quorum".to_owned(), 1), ("data".to_owned(), 2)]);
        let steps = |partitions: &[&[i32]]| {
            let mut view = view(live(3), partitions);
            view.voters = BTreeSet::from([BrokerId(0)]);
            scale(&cluster, &identity, &sizes, Some(&view), false)
                .unwrap()
                .steps
        };
        assert_eq!(steps(&[&[1, 2], &[2, 1]]), []);
        let Some(Step::Assign(moves)) = steps(&[&[0, 1], &[2, 1]]).into_iter().next() else {
            panic!("nothing moves");
        };
        assert_eq!(moves[0].replicas, [BrokerId(1), BrokerId(2)]);
    }

    #[test]
    fn newcomers_are_filled_once_all_have_come() {
        let cluster = testing::with(json!({"replicas": 4}));
        let identity = testing::identity(&testing::cluster());
        let view = view(live(4), &[&[0, 1, 2], &[1, 2, 0], &[2, 0, 1], &[0, 1, 2]]);
        let steps = |coming| {
            let scale = scale(&cluster, &identity, &sizes(4), Some(&view), coming).unwrap();
            scale.steps.iter().any(|step| matches!(step, Step::Assign(_)))
        };
        assert!(!steps(true) && steps(false));
    }
}
