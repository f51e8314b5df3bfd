//! Clients: producers that repeat until they are acknowledged, consumers that follow the high watermark, and an operator
//! that creates topics, moves replicas and elects leaders.

use super::consumer::Consumer;
use super::event::{Answer, Ask, Event, Place};
use super::member::Member;
use super::operator::Operator;
use super::plan::Plan;
use super::producer::Producer;
use super::world::World;
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::{BrokerId, LeaderEpoch};
use std::collections::BTreeMap;

/// How long a client waits for an answer, in microseconds.
const LIMIT_US: u64 = 1_500_000;

/// All clients.
pub(super) struct Clients {
    pub all: Vec<Client>,
}

/// One client, and what it knows of leaders.
pub(super) struct Client {
    pub kind: Kind,
    pub leaders: BTreeMap<PartitionKey, (BrokerId, LeaderEpoch)>,
    /// The question that is not answered yet.
    pub outstanding: Option<u64>,
    /// Whether it is scheduled to act.
    pub is_due: bool,
}

pub(super) enum Kind {
    Operator(Operator),
    Producer(Producer),
    Consumer(Consumer),
    Member(Member),
}

impl Clients {
    pub fn new(plan: &Plan) -> Self {
        let client = |kind| Client {
            kind,
            leaders: BTreeMap::new(),
            outstanding: None,
            is_due: true,
        };
        let partitions: usize = plan.data_topics().map(|topic| topic.partitions.len()).sum();
        let groups = ["g0", "g1"].into_iter().take(plan.groups);
        let members = groups.flat_map(|group| (0..2).map(move |_| Kind::Member(Member::new(group))));
        let operator = std::iter::once(Kind::Operator(Operator::default()));
        let producers = (0..plan.producers).map(|number| Kind::Producer(Producer::new(number as u64)));
        let consumers = (0..partitions).map(|number| Kind::Consumer(Consumer::new(number)));
        Self {
            all: operator
                .chain(producers)
                .chain(consumers)
                .chain(members)
                .map(client)
                .collect(),
        }
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }
}

impl World {
    /// Sends a client's question.
    pub(super) fn client_asks(&mut self, client: usize, to: usize, ask: Ask) {
        self.client_asks_within(client, to, ask, LIMIT_US);
    }

    /// The same, with another limit.
    pub(super) fn client_asks_within(&mut self, client: usize, to: usize, ask: Ask, limit_us: u64) {
        let id = self.ask(Place::Client(client), Place::Broker(to), ask);
        self.clients.all[client].outstanding = Some(id);
        self.after(limit_us, Event::ClientLate { client, id });
    }

    /// Asks any broker who leads.
    pub(super) fn client_asks_for_leader(&mut self, client: usize, key: PartitionKey) {
        let to = self.dice.client.below(self.sites.len() as u64) as usize;
        self.client_asks(client, to, Ask::Leader(key));
    }

    /// Lets a client act after a while.
    pub(super) fn client_after(&mut self, client: usize, us: u64) {
        if !std::mem::replace(&mut self.clients.all[client].is_due, true) {
            self.after(us, Event::Client { client });
        }
    }

    pub(super) fn client_acts(&mut self, client: usize) {
        self.clients.all[client].is_due = false;
        if self.clients.all[client].outstanding.is_some() {
            return;
        }
        match self.clients.all[client].kind {
            Kind::Operator(_) => self.operator_acts(client),
            Kind::Producer(_) => self.producer_acts(client),
            Kind::Consumer(_) => self.consumer_acts(client),
            Kind::Member(_) => self.member_acts(client),
        }
    }

    pub(super) fn client_late(&mut self, client: usize, id: u64) {
        if self.clients.all[client].outstanding == Some(id) {
            self.client_answered(client, id, Answer::Refused);
        }
    }

    pub(super) fn client_answered(&mut self, client: usize, id: u64, answer: Answer) {
        let of = &mut self.clients.all[client];
        // What comes twice, or too late, is an answer to nothing.
        if of.outstanding != Some(id) {
            return;
        }
        of.outstanding = None;
        match of.kind {
            Kind::Operator(_) => self.operator_answered(client, answer),
            Kind::Producer(_) => self.producer_answered(client, answer),
            Kind::Consumer(_) => self.consumer_answered(client, answer),
            Kind::Member(_) => self.member_answered(client, answer),
        }
    }

    /// A client learns who leads, unless it knows better: what a broker says that is behind is not believed (KIP-320).
    /// Whether it knows a leader now.
    pub(super) fn client_learns(
        &mut self,
        client: usize,
        key: PartitionKey,
        leader: Option<(BrokerId, LeaderEpoch)>,
    ) -> bool {
        let leaders = &mut self.clients.all[client].leaders;
        if let Some((leader, epoch)) = leader
            && leaders.get(&key).is_none_or(|(_, known)| epoch >= *known)
        {
            leaders.insert(key, (leader, epoch));
            return true;
        }
        false
    }
}
