//! What placement and scaling read from a view.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::BrokerId;
use flotilla_control::placement::{self, Placed};

use super::{View, target};
use crate::cluster::scale;

impl View {
    /// The brokers as placement sees them, with all that they hold; those that only vote are not among them. `racks_required`: a
    /// broker whose rack is not known yet gets nothing.
    #[must_use]
    pub fn placement(&self, racks_required: bool) -> placement::Fleet {
        let mut fleet = self.registered(racks_required);
        fleet.brokers.retain(|broker| self.holds_records(broker.id));
        fleet
    }

    /// Whether a broker is one that holds partitions.
    #[must_use]
    pub fn holds_records(&self, id: BrokerId) -> bool {
        let roles = self.brokers.get(&id.0).map(|broker| &broker.roles);
        roles.is_none_or(|roles| roles.is_empty() || roles.iter().any(|role| role == "broker"))
    }

    /// All registered brokers, those that only vote included.
    #[must_use]
    pub fn registered(&self, racks_required: bool) -> placement::Fleet {
        let mut leaders: BTreeMap<BrokerId, u32> = BTreeMap::new();
        let mut replicas: BTreeMap<BrokerId, u32> = BTreeMap::new();
        for partition in self.partitions() {
            for (place, id) in target(partition).enumerate() {
                *replicas.entry(id).or_default() += 1;
                if place == 0 {
                    *leaders.entry(id).or_default() += 1;
                }
            }
        }
        let brokers = self.brokers.keys().map(|id| {
            let id = BrokerId(*id);
            placement::Broker {
                id,
                rack: self.rack(id).map(str::to_owned),
                leaders: leaders.get(&id).copied().unwrap_or(0),
                replicas: replicas.get(&id).copied().unwrap_or(0),
                draining: self.draining.contains(&id.0),
                fenced: !self.online(id),
            }
        });
        placement::Fleet {
            brokers: brokers.collect(),
            racks_required,
        }
    }

    /// All partitions with the replicas that they have or are getting.
    #[must_use]
    pub fn placed(&self) -> Vec<Placed> {
        let placed = self.topics.iter().flat_map(|(name, topic)| {
            topic.partitions.iter().map(|partition| Placed {
                topic: name.clone(),
                partition: partition.partition,
                replicas: target(partition).collect(),
                bytes: 0,
            })
        });
        placed.collect()
    }

    /// How many replicas each broker still holds, those on their way out included.
    #[must_use]
    pub fn held(&self) -> BTreeMap<BrokerId, usize> {
        let mut held = BTreeMap::new();
        for id in self.partitions().flat_map(|partition| &partition.replicas) {
            *held.entry(BrokerId(*id)).or_insert(0) += 1;
        }
        held
    }

    /// For whoever changes the size of the fleet.
    #[must_use]
    pub fn scale(&self, racks_required: bool) -> scale::View {
        scale::View {
            fleet: self.registered(racks_required),
            placed: self.placed(),
            held: self.held(),
            moving: self.moving(),
            voters: self.voters.keys().copied().collect(),
        }
    }

    /// What must move so that these brokers share all partitions evenly.
    ///
    /// # Errors
    /// When too few of them can hold replicas.
    pub fn rebalance(&self, brokers: &BTreeSet<BrokerId>) -> Result<Vec<placement::Move>, placement::Error> {
        let mut fleet = self.placement(false);
        fleet.brokers.retain(|broker| brokers.contains(&broker.id));
        placement::rebalance(&fleet, &self.placed())
    }
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::fleet::{TopicState, WatchResponse};
    use flotilla_control::proto::metadata::{Broker, Partition, Topic};

    use super::*;

    fn view(partitions: Vec<Partition>) -> View {
        let mut view = View::default();
        let broker = |broker_id| Broker {
            broker_id,
            ..Broker::default()
        };
        let topic = Topic {
            name: "a".to_owned(),
            ..Topic::default()
        };
        view.apply(WatchResponse {
            snapshot: true,
            brokers: vec![broker(0), broker(1)],
            topics: vec![TopicState {
                topic: Some(topic),
                partitions,
                configs: vec![],
            }],
            ..WatchResponse::default()
        });
        view
    }

    fn partition(partition: i32, replicas: &[i32], removing: &[i32]) -> Partition {
        Partition {
            partition,
            replicas: replicas.to_vec(),
            isr: replicas.to_vec(),
            removing_replicas: removing.to_vec(),
            ..Partition::default()
        }
    }

    #[test]
    fn broker_that_joined_gets_partitions() {
        let view = view(vec![partition(0, &[0], &[]), partition(1, &[0], &[])]);
        let moves = view
            .rebalance(&BTreeSet::from([BrokerId(0), BrokerId(1)]))
            .unwrap();
        assert_eq!(moves.len(), 1);
        assert_eq!(moves[0].replicas, [BrokerId(1)]);
        assert!(view.moving() == 0 && view.in_sync(BrokerId(0)));
    }

    #[test]
    fn replicas_on_their_way_out_are_held_but_not_placed() {
        let scale = view(vec![partition(0, &[1, 0], &[0])]).scale(false);
        assert_eq!(scale.placed[0].replicas, [BrokerId(1)]);
        assert_eq!(scale.held, BTreeMap::from([(BrokerId(0), 1), (BrokerId(1), 1)]));
        assert_eq!(scale.moving, 1);
        let held: Vec<_> = scale
            .fleet
            .brokers
            .iter()
            .map(|one| (one.leaders, one.replicas))
            .collect();
        assert_eq!(held, [(0, 0), (1, 1)]);
    }
}
