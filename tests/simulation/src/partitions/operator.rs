//! The operator of the simulation: creates the topics once the brokers are there; later it moves replicas and elects
//! leaders when a fault says so.

use super::clients::Kind;
use super::controller::asked;
use super::event::{Answer, Ask};
use super::world::World;
use flotilla_broker::replica::PartitionKey;
use flotilla_control::proto::metadata::{
    AlterReassignments, CreateTopic, CreateTopics, ElectLeaders, KeyValue, Reassignment, Replicas, Request,
    request,
};
use flotilla_protocol::BrokerId;
use std::collections::VecDeque;

/// What it wants done, one after the other, until the controller has answered.
#[derive(Default)]
pub(super) struct Operator {
    wants: VecDeque<Request>,
    tried: usize,
}

impl Operator {
    pub fn is_idle(&self) -> bool {
        self.wants.is_empty()
    }
}

impl World {
    pub(super) fn operator_acts(&mut self, client: usize) {
        if self.keys.is_empty() && !self.create_topics(client) {
            self.client_after(client, 50_000);
            return;
        }
        let Kind::Operator(operator) = &mut self.clients.all[client].kind else {
            return;
        };
        let Some(request) = operator.wants.front().cloned() else {
            return;
        };
        let to = operator.tried % self.sites.len();
        self.client_asks(client, to, Ask::Submit(Box::new(request)));
    }

    /// Has the topics created, once all their brokers live. Whether that is under way.
    fn create_topics(&mut self, client: usize) -> bool {
        let image = self.quorum.latest();
        let topics: Vec<CreateTopic> = self
            .plan
            .topics
            .iter()
            .map(|topic| CreateTopic {
                name: topic.name.clone(),
                partitions: topic.partitions.len() as i32,
                replication_factor: -1,
                assignments: topic
                    .partitions
                    .iter()
                    .map(|replicas| Replicas {
                        broker_ids: replicas.clone(),
                    })
                    .collect(),
                configs: topic
                    .configs
                    .iter()
                    .map(|(key, value)| KeyValue {
                        key: key.clone(),
                        value: Some(value.clone()),
                    })
                    .collect(),
            })
            .collect();
        self.keys = image
            .partitions()
            .map(|(topic, partition, _)| PartitionKey {
                topic_id: topic.id,
                partition,
            })
            .collect();
        if !self.keys.is_empty() {
            let named = image.partitions().map(|(topic, index, _)| {
                let key = PartitionKey {
                    topic_id: topic.id,
                    partition: index,
                };
                (key, format!("{}-{index}", topic.name))
            });
            self.laws.names = named.collect();
            let is_group = |key: &PartitionKey| self.laws.names[key].starts_with(super::plan::GROUPS);
            (self.group_keys, self.data_keys) = self.keys.iter().copied().partition(is_group);
            return true;
        }
        let needed: std::collections::BTreeSet<i32> = self
            .plan
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().flatten().copied())
            .collect();
        if !needed.iter().all(|broker| image.is_alive(BrokerId(*broker))) {
            return false;
        }
        let Kind::Operator(operator) = &mut self.clients.all[client].kind else {
            return false;
        };
        if operator.wants.is_empty() {
            let create = request::Request::CreateTopics(CreateTopics { topics });
            operator.wants.push_back(asked(create));
        }
        true
    }

    pub(super) fn operator_answered(&mut self, client: usize, answer: Answer) {
        let Kind::Operator(operator) = &mut self.clients.all[client].kind else {
            return;
        };
        let us = match answer {
            Answer::Submitted { response, .. } => {
                operator.wants.pop_front();
                let items = response.items.iter().map(|item| item.message.as_str());
                let said: Vec<&str> = std::iter::once(response.message.as_str())
                    .chain(items)
                    .filter(|message| !message.is_empty())
                    .collect();
                if !said.is_empty() {
                    self.note(format_args!("the operator is told: {said:?}"));
                }
                5_000
            }
            Answer::NotController(Some(hint)) => {
                operator.tried = hint;
                1_000
            }
            _ => {
                operator.tried += 1;
                20_000
            }
        };
        self.client_after(client, us);
    }

    fn want(&mut self, request: request::Request) {
        if let Kind::Operator(operator) = &mut self.clients.all[0].kind {
            operator.wants.push_back(asked(request));
        }
        self.client_after(0, 1_000);
    }

    /// Moves one partition to other brokers, or takes a move back.
    pub(super) fn reassign(&mut self) {
        let image = self.quorum.latest();
        let all: Vec<_> = image.partitions().collect();
        if all.is_empty() {
            return;
        }
        let (topic, index, partition) = all[self.dice.fault.below(all.len() as u64) as usize];
        let factor = partition.replicas.len() - partition.adding.len();
        let mut brokers: Vec<i32> = image.brokers().map(|broker| broker.id.0).collect();
        self.dice.fault.shuffle(&mut brokers);
        brokers.truncate(factor);
        let target = self
            .dice
            .fault
            .chance(5, 6)
            .then_some(Replicas { broker_ids: brokers });
        self.note(format_args!("{}-{index} is moved to {target:?}", topic.name));
        self.want(request::Request::AlterReassignments(AlterReassignments {
            partitions: vec![Reassignment {
                topic: topic.name.clone(),
                partition: index.0,
                target,
            }],
            allow_replication_factor_change: true,
        }));
    }

    /// Has preferred leaders elected; or any, where records may be lost.
    pub(super) fn elect_leaders(&mut self) {
        let unclean = self.plan.unclean && self.dice.fault.chance(1, 2);
        self.want(request::Request::ElectLeaders(ElectLeaders {
            unclean,
            partitions: Vec::new(),
            all_partitions: true,
        }));
    }
}
