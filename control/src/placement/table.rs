//! The brokers with what they hold, kept up to date while replicas are handed out.

use std::collections::BTreeMap;

use flotilla_protocol::BrokerId;

use super::{Error, Fleet, leaders};

/// A broker's place in the table. Seats stand in the order of broker ids.
pub(super) struct Seat {
    pub(super) id: BrokerId,
    rack: usize,
    usable: bool,
    fenced: bool,
    draining: bool,
    pub(super) replicas: u32,
    pub(super) leaders: u32,
    topic_replicas: u32,
    topic_leaders: u32,
}

struct Rack {
    /// Usable brokers.
    brokers: u64,
    replicas: u64,
    topic_replicas: u64,
}

pub(super) struct Table {
    pub(super) seats: Vec<Seat>,
    racks: Vec<Rack>,
}

/// An even share is counted in this part of a replica, so that racks of different sizes compare as whole numbers: it is
/// divisible by every size up to 16.
const SHARE: u64 = 720_720;

impl Table {
    pub(super) fn new(fleet: &Fleet) -> Self {
        let mut brokers: Vec<_> = fleet.brokers.iter().collect();
        brokers.sort_by_key(|broker| broker.id);
        brokers.dedup_by_key(|broker| broker.id);
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut racks: Vec<Rack> = Vec::new();
        let mut seats = Vec::with_capacity(brokers.len());
        for broker in brokers {
            let fresh = racks.len();
            let rack = match broker.rack.as_deref() {
                Some(name) => *names.entry(name).or_insert(fresh),
                None => fresh,
            };
            if rack == fresh {
                racks.push(Rack {
                    brokers: 0,
                    replicas: 0,
                    topic_replicas: 0,
                });
            }
            let usable = !broker.draining && (broker.rack.is_some() || !fleet.racks_required);
            if usable {
                racks[rack].brokers += 1;
                racks[rack].replicas += u64::from(broker.replicas);
            }
            seats.push(Seat {
                id: broker.id,
                rack,
                usable,
                fenced: broker.fenced,
                draining: broker.draining,
                replicas: broker.replicas,
                leaders: broker.leaders,
                topic_replicas: 0,
                topic_leaders: 0,
            });
        }
        Self { seats, racks }
    }

    /// Whether a partition of that many replicas finds enough brokers.
    pub(super) fn require(&self, replicas: usize) -> Result<(), Error> {
        if replicas == 0 {
            return Err(Error::NoReplicas);
        }
        let available = self.seats.iter().filter(|seat| seat.usable).count();
        if available < replicas {
            let draining = self.seats.iter().filter(|seat| seat.draining).count();
            return Err(Error::NotEnoughBrokers {
                replicas,
                available,
                brokers: self.seats.len(),
                draining,
                without_rack: self.seats.len() - available - draining,
            });
        }
        if self.seats.iter().all(|seat| !seat.usable || seat.fenced) {
            return Err(Error::NoneAlive { available });
        }
        Ok(())
    }

    pub(super) fn seat_of(&self, broker: BrokerId) -> Option<usize> {
        self.seats.binary_search_by_key(&broker, |seat| seat.id).ok()
    }

    pub(super) fn usable(&self, seat: usize) -> bool {
        self.seats[seat].usable
    }

    /// Starts a topic: its own counts are these partitions'. The fleet's counts hold them already.
    pub(super) fn count_topic(&mut self, partitions: &[Vec<BrokerId>]) {
        for seat in &mut self.seats {
            seat.topic_replicas = 0;
            seat.topic_leaders = 0;
        }
        for rack in &mut self.racks {
            rack.topic_replicas = 0;
        }
        for replicas in partitions {
            for (place, broker) in replicas.iter().enumerate() {
                if let Some(seat) = self.seat_of(*broker) {
                    self.seats[seat].topic_replicas += 1;
                    self.seats[seat].topic_leaders += u32::from(place == 0);
                    let rack = self.seats[seat].rack;
                    self.racks[rack].topic_replicas += u64::from(self.seats[seat].usable);
                }
            }
        }
    }

    /// The best broker for one more replica of a partition that has replicas on `chosen`: one that answers, in the rack
    /// that has fewest of this partition, then fewest of this topic, then fewest at all; within the rack likewise.
    pub(super) fn choose(&self, chosen: &[usize]) -> Option<usize> {
        let mut in_rack = vec![0u32; self.racks.len()];
        for seat in chosen {
            in_rack[self.seats[*seat].rack] += 1;
        }
        (0..self.seats.len())
            .filter(|seat| self.seats[*seat].usable && !chosen.contains(seat))
            .min_by_key(|place| {
                let seat = &self.seats[*place];
                let rack = &self.racks[seat.rack];
                (
                    seat.fenced,
                    in_rack[seat.rack],
                    rack.topic_replicas * SHARE / rack.brokers.max(1),
                    rack.replicas * SHARE / rack.brokers.max(1),
                    seat.topic_replicas,
                    seat.replicas,
                    *place,
                )
            })
    }

    pub(super) fn add_replica(&mut self, seat: usize) {
        self.seats[seat].replicas += 1;
        self.seats[seat].topic_replicas += 1;
        if self.seats[seat].usable {
            let rack = &mut self.racks[self.seats[seat].rack];
            rack.replicas += 1;
            rack.topic_replicas += 1;
        }
    }

    pub(super) fn remove_replica(&mut self, place: usize) {
        let seat = &mut self.seats[place];
        seat.replicas = seat.replicas.saturating_sub(1);
        seat.topic_replicas = seat.topic_replicas.saturating_sub(1);
        if seat.usable {
            let rack = &mut self.racks[seat.rack];
            rack.replicas = rack.replicas.saturating_sub(1);
            rack.topic_replicas = rack.topic_replicas.saturating_sub(1);
        }
    }

    /// In how many racks these brokers stand.
    pub(super) fn rack_count(&self, seats: &[usize]) -> usize {
        let mut racks: Vec<usize> = seats.iter().map(|seat| self.seats[*seat].rack).collect();
        racks.sort_unstable();
        racks.dedup();
        racks.len()
    }

    /// In how many racks a partition of that many replicas can stand.
    pub(super) fn rack_count_best(&self, replicas: usize) -> usize {
        self.racks
            .iter()
            .filter(|rack| rack.brokers > 0)
            .count()
            .min(replicas)
    }

    /// New partitions of the topic at hand. Enough brokers must be there: [`Table::require`].
    pub(super) fn add_partitions(&mut self, partitions: usize, replicas: usize) -> Vec<Vec<BrokerId>> {
        let mut placed: Vec<Vec<usize>> = Vec::with_capacity(partitions);
        for _ in 0..partitions {
            let mut chosen = Vec::with_capacity(replicas);
            while chosen.len() < replicas {
                let Some(seat) = self.choose(&chosen) else { break };
                self.add_replica(seat);
                chosen.push(seat);
            }
            // The leader: one that answers, with the fewest to lead.
            let lead = (0..chosen.len()).min_by_key(|place| {
                let seat = &self.seats[chosen[*place]];
                (seat.fenced, seat.topic_leaders, seat.leaders, *place)
            });
            if let Some(lead) = lead {
                chosen.swap(0, lead);
                self.seats[chosen[0]].topic_leaders += 1;
                self.seats[chosen[0]].leaders += 1;
            }
            placed.push(chosen);
        }
        let mut counts: Vec<u32> = self.seats.iter().map(|seat| seat.topic_leaders).collect();
        leaders::even_out(&mut placed, &mut counts, &self.may_lead());
        for (seat, count) in self.seats.iter_mut().zip(counts) {
            seat.leaders = (seat.leaders + count).saturating_sub(seat.topic_leaders);
            seat.topic_leaders = count;
        }
        leaders::spread_followers(&mut placed);
        placed.into_iter().map(|seats| self.ids(&seats)).collect()
    }

    /// One partition of the topic at hand with another number of replicas.
    pub(super) fn resize(&mut self, now: &[BrokerId], replicas: usize) -> Vec<BrokerId> {
        let mut chosen: Vec<usize> = Vec::with_capacity(replicas);
        for broker in now {
            // A broker that is gone cannot keep its replica.
            if let Some(seat) = self.seat_of(*broker)
                && !chosen.contains(&seat)
            {
                chosen.push(seat);
            }
        }
        while chosen.len() > replicas {
            // Of the followers, the one that is missed least: not usable, in the rack with most of this partition, on the
            // broker with most of the topic, then of all.
            let mut in_rack = vec![0u32; self.racks.len()];
            for seat in &chosen {
                in_rack[self.seats[*seat].rack] += 1;
            }
            let out = (1..chosen.len())
                .max_by_key(|place| {
                    let seat = &self.seats[chosen[*place]];
                    (
                        !seat.usable,
                        seat.fenced,
                        in_rack[seat.rack],
                        seat.topic_replicas,
                        seat.replicas,
                        *place,
                    )
                })
                .expect("more replicas than are wanted, and at least one is wanted: there is a follower");
            let seat = chosen.remove(out);
            self.remove_replica(seat);
        }
        while chosen.len() < replicas {
            let Some(seat) = self.choose(&chosen) else { break };
            self.add_replica(seat);
            chosen.push(seat);
        }
        self.ids(&chosen)
    }

    pub(super) fn ids(&self, seats: &[usize]) -> Vec<BrokerId> {
        seats.iter().map(|seat| self.seats[*seat].id).collect()
    }

    pub(super) fn may_lead(&self) -> Vec<bool> {
        self.seats
            .iter()
            .map(|seat| seat.usable && !seat.fenced)
            .collect()
    }
}
