//! Moving what is there: off brokers that are emptied, onto brokers that are new.

use std::collections::BTreeMap;

use flotilla_protocol::BrokerId;

use super::table::Table;
use super::{Error, Fleet, leaders};

/// A partition where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its topic.
    pub topic: String,
    /// Its place in the topic.
    pub partition: i32,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// How large it is; 0 where that is not known. Small partitions are moved rather than large ones.
    pub bytes: u64,
}

/// A partition that gets other replicas, or another order of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Its topic.
    pub topic: String,
    /// Its place in the topic.
    pub partition: i32,
    /// Its replicas then, the preferred leader first.
    pub replicas: Vec<BrokerId>,
}

/// What must move so that brokers which are draining, gone, or (where racks are required) without a rack hold nothing.
/// Everything else stays. The brokers' own counts are not read: they are those of `placed`.
///
/// # Errors
/// [`Error::NotEnoughBrokers`] for the partition with most replicas, where the others cannot take them.
pub fn drain(fleet: &Fleet, placed: &[Placed]) -> Result<Vec<Move>, Error> {
    let mut board = Board::new(fleet, placed)?;
    board.evacuate();
    Ok(board.moves(placed))
}

/// What must move so that replicas and preferred leaders are even over the fleet, racks are used as well as they can be,
/// and what [`drain`] says holds too. Of a fleet that is so already: nothing. The brokers' own counts are not read.
///
/// # Errors
/// As [`drain`].
pub fn rebalance(fleet: &Fleet, placed: &[Placed]) -> Result<Vec<Move>, Error> {
    let mut board = Board::new(fleet, placed)?;
    board.evacuate();
    board.mend_racks();
    board.even_replicas();
    board.even_leaders();
    Ok(board.moves(placed))
}

struct Board {
    table: Table,
    /// Seats by partition. A broker that is gone has no seat: such replicas are dropped and replaced.
    partitions: Vec<Vec<usize>>,
    wanted: Vec<usize>,
    bytes: Vec<u64>,
    /// Each partition's topic, as a number.
    topics: Vec<usize>,
    /// By topic, its partitions.
    members: Vec<Vec<usize>>,
}

impl Board {
    fn new(fleet: &Fleet, placed: &[Placed]) -> Result<Self, Error> {
        let mut fleet = fleet.clone();
        for broker in &mut fleet.brokers {
            broker.replicas = placed.iter().filter(|p| p.replicas.contains(&broker.id)).count() as u32;
            broker.leaders = placed
                .iter()
                .filter(|p| p.replicas.first() == Some(&broker.id))
                .count() as u32;
        }
        let table = Table::new(&fleet);
        if let Some(most) = placed.iter().map(|p| p.replicas.len()).max() {
            table.require(most.max(1))?;
        }
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        let mut topics = Vec::with_capacity(placed.len());
        for (partition, at) in placed.iter().enumerate() {
            let number = *numbers.entry(&at.topic).or_insert(members.len());
            if number == members.len() {
                members.push(Vec::new());
            }
            members[number].push(partition);
            topics.push(number);
        }
        let partitions = placed
            .iter()
            .map(|p| p.replicas.iter().filter_map(|id| table.seat_of(*id)).collect())
            .collect();
        Ok(Self {
            table,
            partitions,
            wanted: placed.iter().map(|p| p.replicas.len()).collect(),
            bytes: placed.iter().map(|p| p.bytes).collect(),
            topics,
            members,
        })
    }

    fn start_topic(&mut self, topic: usize) {
        let partitions: Vec<Vec<BrokerId>> = self.members[topic]
            .iter()
            .map(|partition| self.table.ids(&self.partitions[*partition]))
            .collect();
        self.table.count_topic(&partitions);
    }

    /// Replaces replicas on brokers that may hold none. A successor takes the place in line of the one that it replaces.
    fn evacuate(&mut self) {
        for topic in 0..self.members.len() {
            self.start_topic(topic);
            for partition in self.members[topic].clone() {
                let mut replicas = self.partitions[partition].clone();
                for place in 0..replicas.len() {
                    if self.table.usable(replicas[place]) {
                        continue;
                    }
                    let others = without(&replicas, place);
                    if let Some(to) = self.table.choose(&others) {
                        self.table.remove_replica(replicas[place]);
                        self.table.add_replica(to);
                        replicas[place] = to;
                    }
                }
                while replicas.len() < self.wanted[partition] {
                    let Some(to) = self.table.choose(&replicas) else {
                        break;
                    };
                    self.table.add_replica(to);
                    replicas.push(to);
                }
                self.partitions[partition] = replicas;
            }
        }
    }

    /// Moves one replica at a time out of racks that hold more than one of a partition while another rack holds none.
    fn mend_racks(&mut self) {
        for topic in 0..self.members.len() {
            self.start_topic(topic);
            for partition in self.members[topic].clone() {
                let mut replicas = self.partitions[partition].clone();
                while self.table.rack_count(&replicas) < self.table.rack_count_best(replicas.len()) {
                    let now = self.table.rack_count(&replicas);
                    // Followers first, the last first: what leads stays where it can.
                    let Some((place, to)) = (0..replicas.len()).rev().find_map(|place| {
                        let others = without(&replicas, place);
                        let to = self.table.choose(&others)?;
                        let mut then = others;
                        then.push(to);
                        (self.table.rack_count(&then) > now).then_some((place, to))
                    }) else {
                        break;
                    };
                    self.table.remove_replica(replicas[place]);
                    self.table.add_replica(to);
                    replicas[place] = to;
                }
                self.partitions[partition] = replicas;
            }
        }
    }

    /// Moves replicas from brokers with most to brokers with fewest, until none has two more than another to which
    /// something can be moved.
    fn even_replicas(&mut self) {
        let mut held: Vec<Vec<usize>> = vec![Vec::new(); self.table.seats.len()];
        let mut of_topic: Vec<BTreeMap<usize, u32>> = vec![BTreeMap::new(); self.table.seats.len()];
        for (partition, replicas) in self.partitions.iter().enumerate() {
            for seat in replicas {
                held[*seat].push(partition);
                *of_topic[*seat].entry(self.topics[partition]).or_default() += 1;
            }
        }
        loop {
            let mut order: Vec<usize> = (0..held.len()).filter(|seat| self.table.usable(*seat)).collect();
            order.sort_by_key(|seat| (held[*seat].len(), *seat));
            let step = order.iter().rev().find_map(|from| {
                order
                    .iter()
                    .take_while(|to| held[**to].len() + 2 <= held[*from].len())
                    .find_map(|to| {
                        self.best_between(*from, *to, &held, &of_topic)
                            .map(|partition| (*from, *to, partition))
                    })
            });
            let Some((from, to, partition)) = step else { return };
            let place = self.partitions[partition]
                .iter()
                .position(|seat| *seat == from)
                .expect("the partition was found among those that the broker holds");
            self.partitions[partition][place] = to;
            held[from].retain(|p| *p != partition);
            held[to].push(partition);
            let topic = self.topics[partition];
            *of_topic[from].entry(topic).or_default() -= 1;
            *of_topic[to].entry(topic).or_default() += 1;
            self.table.remove_replica(from);
            self.table.add_replica(to);
        }
    }

    /// The replica that is best moved: of the topic of which `from` holds most compared with `to`, then one that takes
    /// leadership along where `from` leads more, then the smallest.
    fn best_between(
        &self,
        from: usize,
        to: usize,
        held: &[Vec<usize>],
        of_topic: &[BTreeMap<usize, u32>],
    ) -> Option<usize> {
        let count = |seat: usize, topic: usize| i64::from(of_topic[seat].get(&topic).copied().unwrap_or(0));
        let led = |seat: usize| {
            held[seat]
                .iter()
                .filter(|partition| self.partitions[**partition].first() == Some(&seat))
                .count()
        };
        let take_leader = led(from) > led(to);
        held[from]
            .iter()
            .copied()
            .filter(|partition| {
                let replicas = &self.partitions[*partition];
                if replicas.contains(&to) {
                    return false;
                }
                let then: Vec<usize> = replicas
                    .iter()
                    .map(|seat| if *seat == from { to } else { *seat })
                    .collect();
                self.table.rack_count(&then) >= self.table.rack_count(replicas)
            })
            .min_by_key(|partition| {
                let topic = self.topics[*partition];
                (
                    count(to, topic) - count(from, topic),
                    take_leader != (self.partitions[*partition].first() == Some(&from)),
                    self.bytes[*partition],
                    *partition,
                )
            })
    }

    /// Evens preferred leaders: over each topic, then over the fleet.
    fn even_leaders(&mut self) {
        let may_lead = self.table.may_lead();
        let mut counts = vec![0u32; self.table.seats.len()];
        for replicas in &self.partitions {
            if let Some(leader) = replicas.first() {
                counts[*leader] += 1;
            }
        }
        leaders::even_out(&mut self.partitions, &mut counts, &may_lead);
    }

    fn moves(&self, placed: &[Placed]) -> Vec<Move> {
        placed
            .iter()
            .zip(&self.partitions)
            .map(|(at, seats)| Move {
                topic: at.topic.clone(),
                partition: at.partition,
                replicas: self.table.ids(seats),
            })
            .zip(placed)
            .filter(|(then, now)| then.replicas != now.replicas)
            .map(|(then, _)| then)
            .collect()
    }
}

fn without(replicas: &[usize], place: usize) -> Vec<usize> {
    let mut others = replicas.to_vec();
    others.remove(place);
    others
}
