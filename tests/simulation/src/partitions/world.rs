//! The scheduler: virtual time, events in order, and everything that they happen to.

use super::clients::Clients;
use super::event::{Ask, Body, Chore, Event, Message, Place, Scheduled};
use super::faults::Faults;
use super::invariants::Laws;
use super::network::Network;
use super::plan::Plan;
use super::quorum::Quorum;
use super::site::Site;
use crate::dice::Dice;
use crate::outcome::{Counts, Outcome, Violation};
use crate::trace::Trace;
use flotilla_broker::replica::PartitionKey;
use std::collections::BinaryHeap;
use tokio::time::Instant;

/// When all has to be well again after the last fault, in microseconds.
const HEALING_US: u64 = 90_000_000;
/// How often it is looked at whether it is.
const LOOK_US: u64 = 250_000;
/// More events than this are a loop that does not end.
const EVENTS_MAX: u64 = 4_000_000;

/// One generator for each kind of choice.
pub(super) struct Choices {
    pub network: Dice,
    pub quorum: Dice,
    pub disk: Dice,
    pub fault: Dice,
    pub client: Dice,
}

/// All of a simulation.
pub(super) struct World {
    pub now_us: u64,
    /// What [`tokio::time::Instant`]s are counted from.
    pub base: Instant,
    pub plan: Plan,
    pub dice: Choices,
    pub counts: Counts,
    pub network: Network,
    pub quorum: Quorum,
    pub sites: Vec<Site>,
    pub clients: Clients,
    pub faults: Faults,
    pub laws: Laws,
    /// The partitions, once they exist.
    pub keys: Vec<PartitionKey>,
    /// Those that producers write to.
    pub data_keys: Vec<PartitionKey>,
    /// Those that groups live in.
    pub group_keys: Vec<PartitionKey>,
    pub is_healed: bool,
    trace: Trace,
    queue: BinaryHeap<Scheduled>,
    scheduled: u64,
    ids: u64,
    violation: Option<Violation>,
    is_over: bool,
}

impl World {
    pub fn new(seed: u64, trace: Trace) -> Self {
        let dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice.fork("plan"));
        let sites = (0..plan.brokers)
            .map(|place| Site::new(dice.fork(&format!("site {place}"))))
            .collect();
        Self {
            now_us: 0,
            base: Instant::now(),
            dice: Choices {
                network: dice.fork("network"),
                quorum: dice.fork("quorum"),
                disk: dice.fork("disk"),
                fault: dice.fork("fault"),
                client: dice.fork("client"),
            },
            counts: Counts::default(),
            network: Network::default(),
            quorum: Quorum::new(),
            sites,
            clients: Clients::new(&plan),
            faults: Faults::default(),
            laws: Laws::new(&plan),
            keys: Vec::new(),
            data_keys: Vec::new(),
            group_keys: Vec::new(),
            is_healed: false,
            trace,
            queue: BinaryHeap::new(),
            scheduled: 0,
            ids: 0,
            violation: None,
            is_over: false,
            plan,
        }
    }

    /// Plays the seed to its end.
    pub fn play(mut self) -> Outcome {
        self.trace.note(0, format_args!("{:?}", self.plan));
        for place in 0..self.sites.len() {
            if place >= self.sites.len() - self.plan.latecomers {
                self.sites[place].is_wanted = false;
            } else {
                self.start_after(place, 1_000 * (place as u64 + 1));
            }
        }
        self.elect_if_needed();
        for client in 0..self.clients.count() {
            self.after(500_000, Event::Client { client });
        }
        self.after(2_500_000, Event::Fault);
        self.after(2_500_000 + self.plan.faults_ms * 1_000, Event::Heal);
        let mut events = 0;
        while !self.is_over && self.violation.is_none() {
            let Some(Scheduled { at_us, event, .. }) = self.queue.pop() else {
                break;
            };
            events += 1;
            if events > EVENTS_MAX {
                self.violate(
                    "heals",
                    format!("more than {EVENTS_MAX} events: something goes round in circles"),
                );
            }
            self.now_us = at_us;
            self.happen(event);
        }
        for site in &mut self.sites {
            if let Some(process) = site.process.take() {
                process.replicas.abandon();
            }
        }
        self.counts.add("events", events);
        Outcome {
            hash: self.trace.hash(),
            simulated_ms: self.now_us / 1_000,
            counts: self.counts,
            violation: self.violation,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(message) => self.arrive(*message),
            Event::Chore { site, life, chore } => {
                if self.sites[site].process.is_some() && self.sites[site].life == life {
                    self.sites[site].set_clock(self.now_us);
                    self.do_chore(site, chore);
                    self.settle(site);
                }
            }
            Event::Client { client } => self.client_acts(client),
            Event::ClientLate { client, id } => self.client_late(client, id),
            Event::Start { site } => {
                self.start(site);
                self.settle(site);
            }
            Event::Commit => self.commit(),
            Event::Elect => self.elect(),
            Event::Fault => self.strike(),
            Event::Mend(mend) => self.mend(mend),
            Event::Heal => self.heal(),
            Event::Converged => self.look_whether_all_is_well(),
        }
    }

    fn do_chore(&mut self, site: usize, chore: Chore) {
        let again_us = match chore {
            Chore::Settle => {
                if let Some(process) = self.sites[site].process.as_mut() {
                    process.wake_us = None;
                }
                return;
            }
            Chore::Beat => return self.beat(site),
            Chore::Register => return self.register(site),
            Chore::Synced => return self.synced(site),
            Chore::Late(id) => return self.submission_elsewhere(site, id, None),
            Chore::FetchLate(id) => return self.fetched(site, id, None),
            Chore::Observe => return self.observe(site),
            Chore::Reign => return self.reign(site),
            Chore::Tick => self.tick_us(),
            Chore::Checkpoints => 700_000,
            Chore::Groups => 100_000,
            Chore::Look => 1_000_000,
        };
        if let Some(process) = &self.sites[site].process {
            match chore {
                Chore::Tick => process.replicas.tick(),
                Chore::Checkpoints => process.replicas.write_checkpoints(),
                Chore::Groups => {}
                _ => {
                    process.replicas.look_around();
                    process.replicas.retain();
                }
            }
        }
        self.chore(site, chore, again_us);
    }

    fn arrive(&mut self, message: Message) {
        match (message.to, message.body.clone()) {
            (Place::Broker(place), Body::Ask(ask)) => {
                self.asked(place, &message, ask);
                self.settle(place);
            }
            (Place::Broker(place), Body::Answer(answer)) => {
                self.answered(place, message.id, message.from, answer);
                self.settle(place);
            }
            (Place::Client(client), Body::Answer(answer)) => self.client_answered(client, message.id, answer),
            (Place::Client(_), Body::Ask(_)) => {}
        }
    }

    /// Sends a message on its way.
    pub fn send(&mut self, from: Place, to: Place, id: u64, body: Body) {
        let mut transits = self.network.transit(&mut self.dice.network, from, to);
        // A commit of offsets has no number: only that a connection does not repeat what it carries keeps them in order.
        if matches!(body, Body::Ask(Ask::Group { .. })) {
            transits.truncate(1);
        }
        match transits.len() {
            0 => self.counts.count("messages lost"),
            1 => {}
            _ => self.counts.count("messages doubled"),
        }
        let message = Message { id, from, to, body };
        for us in transits {
            self.after(us, Event::Arrive(Box::new(message.clone())));
        }
    }

    /// Schedules an event.
    pub fn after(&mut self, us: u64, event: Event) {
        self.scheduled += 1;
        self.queue.push(Scheduled {
            at_us: self.now_us + us,
            number: self.scheduled,
            event,
        });
    }

    /// Schedules something for the present process of a broker.
    pub fn chore(&mut self, site: usize, chore: Chore, us: u64) {
        let life = self.sites[site].life;
        self.after(us, Event::Chore { site, life, chore });
    }

    pub fn fresh_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now_us, what);
    }

    /// A rule does not hold: the simulation ends.
    pub fn violate(&mut self, invariant: &'static str, message: String) {
        self.trace
            .note(self.now_us, format_args!("VIOLATION of {invariant}: {message}"));
        self.violation.get_or_insert(Violation { invariant, message });
    }

    pub fn hold(&mut self, held: Result<(), Violation>) {
        if let Err(Violation { invariant, message }) = held {
            self.violate(invariant, message);
        }
    }

    fn heal(&mut self) {
        self.note(format_args!("no more faults"));
        self.heal_faults();
        self.is_healed = true;
        self.after(1_000_000, Event::Converged);
    }

    fn look_whether_all_is_well(&mut self) {
        let Some(trouble) = self.trouble() else {
            self.note(format_args!("all is well"));
            self.check_at_last();
            self.is_over = true;
            return;
        };
        if self.now_us > 2_500_000 + self.plan.faults_ms * 1_000 + HEALING_US {
            self.violate(
                "heals",
                format!("{} s after the last fault: {trouble}", HEALING_US / 1_000_000),
            );
            return;
        }
        self.after(LOOK_US, Event::Converged);
    }
}
