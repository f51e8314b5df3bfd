//! A producer: idempotent or plain, one batch at a time, repeated until it is acknowledged (acks=all), or given up where
//! that is harmless (acks=1).

use super::clients::Kind;
use super::event::{Answer, Ask};
use super::world::World;
use bytes::Bytes;
use flotilla_broker::partition::producer_state::Error as OutOfPlace;
use flotilla_broker::replica::{Acks, AppendError, PartitionKey};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{Offset, ProducerEpoch, ProducerId};
use std::collections::BTreeMap;

/// One producer.
pub(super) struct Producer {
    number: u64,
    /// Its producer id.
    id: i64,
    values: u64,
    sequences: BTreeMap<PartitionKey, i32>,
    sending: Option<Sending>,
    /// Acknowledged after the last fault.
    pub healthy: u64,
    knows_leader: bool,
}

/// A batch that is not acknowledged yet.
#[derive(Clone, Debug)]
struct Sending {
    key: PartitionKey,
    values: Vec<u64>,
    records: Bytes,
    acks: Acks,
}

/// How many batches a producer gets acknowledged after the last fault before it is content.
const HEALTHY: u64 = 2;

impl Producer {
    pub fn new(number: u64) -> Self {
        Self {
            number,
            id: 1_000 + number as i64,
            values: 0,
            sequences: BTreeMap::new(),
            sending: None,
            healthy: 0,
            knows_leader: false,
        }
    }

    /// Half of them are.
    fn is_idempotent(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    pub fn is_content(&self) -> bool {
        self.healthy >= HEALTHY && self.sending.is_none()
    }
}

/// The producer of a value, and whether it is idempotent.
pub(super) fn is_idempotent(value: u64) -> bool {
    (value >> 32).is_multiple_of(2)
}

impl World {
    pub(super) fn producer_acts(&mut self, client: usize) {
        if self.data_keys.is_empty() {
            self.client_after(client, 100_000);
            return;
        }
        let Kind::Producer(producer) = &mut self.clients.all[client].kind else {
            return;
        };
        if self.is_healed && producer.is_content() {
            return;
        }
        if producer.sending.is_none() {
            let dice = &mut self.dice.client;
            let key = *dice.pick(&self.data_keys);
            let count = dice.between(1, 4);
            let acks = if !producer.is_idempotent() && !self.is_healed && dice.chance(1, 5) {
                Acks::Leader
            } else {
                Acks::All
            };
            let mut builder = BatchBuilder::new(Offset(0));
            let sequence = producer.sequences.get(&key).copied().unwrap_or(0);
            if producer.is_idempotent() {
                builder = builder.producer(ProducerId(producer.id), ProducerEpoch(0), sequence);
            }
            let mut values = Vec::new();
            for _ in 0..count {
                producer.values += 1;
                let value = (producer.number << 32) | producer.values;
                let mut bytes = value.to_be_bytes().to_vec();
                bytes.resize(8 + dice.below(200) as usize, 0);
                builder.push(1_767_225_600_000, None, Some(&bytes), &[]);
                values.push(value);
            }
            producer.sending = Some(Sending {
                key,
                values,
                records: builder.build().freeze(),
                acks,
            });
        }
        let knows_leader = producer.knows_leader;
        let Some(Sending {
            key, records, acks, ..
        }) = producer.sending.clone()
        else {
            return;
        };
        match self.clients.all[client].leaders.get(&key) {
            Some((leader, _)) if knows_leader => {
                let to = leader.0 as usize;
                self.client_asks(client, to, Ask::Produce { key, records, acks });
            }
            _ => self.client_asks_for_leader(client, key),
        }
    }

    pub(super) fn producer_answered(&mut self, client: usize, answer: Answer) {
        let (synced, unclean, is_healed) = (self.plan.synced, self.plan.unclean, self.is_healed);
        let Kind::Producer(producer) = &mut self.clients.all[client].kind else {
            return;
        };
        let Some(sending) = producer.sending.clone() else {
            return;
        };
        let key = sending.key;
        match answer {
            Answer::Leader(leader) => {
                producer.knows_leader = leader.is_some();
                let knows = self.client_learns(client, key, leader);
                let us = if knows { 0 } else { 50_000 };
                self.client_after(client, us);
            }
            Answer::Produced(Ok(base)) => {
                let advanced = producer.is_idempotent().then_some(sending.values.len() as i32);
                if let Some(advanced) = advanced {
                    *producer.sequences.entry(key).or_default() += advanced;
                }
                producer.healthy += u64::from(is_healed);
                producer.sending = None;
                self.counts.count("batches answered");
                if sending.acks == Acks::All {
                    self.counts
                        .add("records acknowledged", sending.values.len() as u64);
                    self.note(format_args!(
                        "{} {base}: acknowledged {:x?}",
                        self.laws.name(key),
                        sending.values
                    ));
                    self.laws.acknowledged.acknowledged(key, base, &sending.values);
                }
                let us = self.dice.client.between(500, 30_000) as u64;
                self.client_after(client, us);
            }
            Answer::Produced(Err(AppendError::Producer(OutOfPlace::OutOfOrderSequence {
                last,
                found,
                ..
            }))) if synced && !unclean => {
                self.violate(
                    "idempotent_appears_once",
                    format!(
                        "{}: a producer whose batches were all acknowledged is told that sequence {found} does not follow {last}",
                        self.laws.name(key)
                    ),
                );
            }
            answer => {
                if let Answer::Produced(Err(AppendError::Producer(_))) = answer {
                    // Records were lost, as they may be here: the producer begins anew, without what it was sending.
                    producer.sending = None;
                    producer.id += 1_000;
                    producer.sequences.clear();
                }
                if sending.acks == Acks::Leader {
                    producer.sending = None;
                }
                producer.knows_leader = false;
                self.counts.count("batches refused or late");
                let us = self.dice.client.between(10_000, 100_000) as u64;
                self.client_after(client, us);
            }
        }
    }
}
