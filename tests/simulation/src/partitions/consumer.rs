//! A consumer of one partition: it follows the high watermark, and checks the log against what it has read when the
//! leader epoch changes (KIP-320).

use super::clients::Kind;
use super::event::{Answer, Ask};
use super::invariants::records_of;
use super::world::World;
use flotilla_broker::replica::{PartitionKey, Query, ReadError};
use flotilla_protocol::{LeaderEpoch, Offset};

/// One consumer.
pub(super) struct Consumer {
    partition: usize,
    /// The offset that it wants next.
    pub position: Offset,
    /// The epoch of the last record that it has read.
    last_epoch: Option<LeaderEpoch>,
    /// The leader epoch that its position was checked against.
    checked: Option<LeaderEpoch>,
    knows_leader: bool,
    wants_latest: bool,
    asked_epoch: Option<LeaderEpoch>,
    /// It asked another broker than the leader.
    is_elsewhere: bool,
}

impl Consumer {
    pub fn new(partition: usize) -> Self {
        Self {
            partition,
            position: Offset(0),
            last_epoch: None,
            checked: None,
            knows_leader: false,
            wants_latest: false,
            asked_epoch: None,
            is_elsewhere: false,
        }
    }

    pub fn key(&self, keys: &[PartitionKey]) -> Option<PartitionKey> {
        keys.get(self.partition).copied()
    }
}

impl World {
    pub(super) fn consumer_acts(&mut self, client: usize) {
        let keys = self.data_keys.clone();
        let Kind::Consumer(consumer) = &mut self.clients.all[client].kind else {
            return;
        };
        let Some(key) = consumer.key(&keys) else {
            self.client_after(client, 100_000);
            return;
        };
        let leader = self.clients.all[client].leaders.get(&key).copied();
        let Kind::Consumer(consumer) = &mut self.clients.all[client].kind else {
            return;
        };
        let Some((leader, epoch)) = leader.filter(|_| consumer.knows_leader) else {
            self.client_asks_for_leader(client, key);
            return;
        };
        let to = leader.0 as usize;
        if let Some(last) = consumer.last_epoch
            && consumer.checked != Some(epoch)
        {
            consumer.asked_epoch = Some(epoch);
            let ask = Ask::EpochEnd {
                key,
                current: epoch,
                asked: last,
            };
            self.client_asks(client, to, ask);
            return;
        }
        if std::mem::replace(&mut consumer.wants_latest, false) {
            let ask = Ask::Latest {
                key,
                leader_epoch: epoch,
            };
            self.client_asks(client, to, ask);
            return;
        }
        let query = Query {
            leader_epoch: epoch,
            offset: consumer.position,
            last_fetched_epoch: LeaderEpoch::UNKNOWN,
            log_start: Offset(-1),
            bytes_max: 2_048,
            high_watermark: Offset(i64::MAX),
            in_place: false,
        };
        // Whichever replica is asked shows what is committed, or says that it cannot (KIP-392).
        let anyone = self.dice.client.below(self.sites.len() as u64) as usize;
        let from = if self.dice.client.chance(1, 3) { anyone } else { to };
        consumer.is_elsewhere = from != to;
        self.client_asks(client, from, Ask::Consume { key, query });
    }

    pub(super) fn consumer_answered(&mut self, client: usize, answer: Answer) {
        let keys = self.data_keys.clone();
        let may_lose = !self.plan.synced || self.plan.unclean;
        let Kind::Consumer(consumer) = &mut self.clients.all[client].kind else {
            return;
        };
        let Some(key) = consumer.key(&keys) else { return };
        let mut us = 0;
        match answer {
            Answer::Leader(leader) => {
                consumer.knows_leader = leader.is_some();
                if !self.client_learns(client, key, leader) {
                    us = 50_000;
                }
            }
            Answer::EpochEnd(Ok(found)) => {
                consumer.checked = consumer.asked_epoch;
                let end = found.map(|found| found.end);
                if end.is_none_or(|end| end < consumer.position) {
                    let position = consumer.position;
                    if may_lose {
                        consumer.position = end.unwrap_or(Offset(0));
                        consumer.last_epoch = found.map(|found| found.epoch);
                        self.laws.consumed.reset(client, consumer.position);
                    } else {
                        let message = format!(
                            "{}: read up to {position}, but the log parts at {end:?}",
                            self.laws.name(key)
                        );
                        self.violate("consumer_never_skips", message);
                    }
                }
            }
            Answer::Latest(Ok(Some(listed))) => {
                let held = self.laws.watermarks.seen(client, key, listed.offset);
                if !may_lose {
                    self.hold(held);
                }
            }
            Answer::Consumed(Ok(part)) => {
                let records = records_of(&part.records);
                let held = self.laws.consumed.read(client, key, consumer.position, &records);
                let read: Vec<_> = records
                    .iter()
                    .filter(|record| record.offset >= consumer.position)
                    .collect();
                if let Some(last) = read.last() {
                    consumer.position = last.offset.plus(1);
                    consumer.last_epoch = Some(last.epoch);
                    self.counts.add("records consumed", read.len() as u64);
                    if consumer.is_elsewhere {
                        self.counts
                            .add("records consumed from followers", read.len() as u64);
                    }
                }
                consumer.wants_latest = self.dice.client.chance(1, 8);
                us = self.dice.client.between(500, 20_000) as u64;
                if !may_lose {
                    self.hold(held);
                }
            }
            Answer::Consumed(Err(ReadError::OutOfRange {
                asked,
                log_start,
                log_end,
                ..
            })) => {
                if may_lose {
                    consumer.position = asked.min(log_end).max(log_start);
                    consumer.last_epoch = None;
                    self.laws.consumed.reset(client, consumer.position);
                } else {
                    let message = format!(
                        "{}: a consumer is at {asked}, and the leader has {log_start} to {log_end}",
                        self.laws.name(key)
                    );
                    self.violate("consumer_never_skips", message);
                }
            }
            _ => {
                consumer.knows_leader = false;
                us = self.dice.client.between(10_000, 80_000) as u64;
            }
        }
        self.client_after(client, us);
    }
}
