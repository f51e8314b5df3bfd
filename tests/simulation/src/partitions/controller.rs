//! The controller of the simulation: the rules of `coordination::reign` on the seam of [`super::quorum`]. It decides in
//! order, on a speculative image; fences the silent by the very `Sessions` of the broker; restores preferred leaders.

use super::event::{Answer, Chore, Event, Place};
use super::quorum::Proposed;
use super::submit::SESSION_US;
use super::world::World;
use crate::dice::Dice;
use flotilla_broker::coordination::Sessions;
use flotilla_broker::metadata::{Context, Decision, Image, decide};
use flotilla_control::proto::metadata::{
    ElectLeaders, Entry, FenceBrokers, Refusal, Request, Response, request,
};
use flotilla_protocol::BrokerId;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Entries that are proposed and not yet committed.
const IN_FLIGHT_MAX: usize = 4;
/// How often sessions are looked at, in microseconds.
const TICK_US: u64 = 100_000;
/// How long a deposed leader believes that a majority follows it, in microseconds, at most.
const DELUSION_US: i64 = 400_000;

/// Who waits for an entry, and what they are told once it is committed.
type Waiting = Vec<(Place, u64, Response)>;

/// The controller while it leads, or believes that it does.
#[derive(Debug)]
pub(super) struct Reign {
    term: u64,
    /// Its own blank entry is applied.
    is_begun: bool,
    sessions: Sessions,
    broken: BTreeMap<BrokerId, Instant>,
    in_flight: VecDeque<Waiting>,
    speculative: Option<Image>,
    queue: VecDeque<(Place, u64, Request)>,
    rebalanced_us: u64,
    /// It was deposed, and learns of it then.
    deposed_us: Option<u64>,
}

impl World {
    /// The time on the monotonic clocks.
    fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now_us)
    }

    /// Whether a majority of the voters runs and reaches `place`, both ways.
    fn has_majority(&self, place: usize) -> bool {
        let me = Place::Broker(place);
        let voters = (0..self.plan.voters).filter(|voter| {
            let other = Place::Broker(*voter);
            self.sites[*voter].process.is_some()
                && (*voter == place || (self.network.reaches(me, other) && self.network.reaches(other, me)))
        });
        voters.count() * 2 > self.plan.voters
    }

    /// Looks whether the quorum needs another leader, and has one elected after a while.
    pub(super) fn elect_if_needed(&mut self) {
        let lost = self
            .quorum
            .leader
            .is_none_or(|leader| self.sites[leader].process.is_none() || !self.has_majority(leader));
        if lost && !std::mem::replace(&mut self.quorum.is_electing, true) {
            let us = self.dice.quorum.between(200_000, 700_000) as u64;
            self.after(us, Event::Elect);
        }
    }

    /// One of those who reach a majority leads from now on. What the last leader had proposed is in doubt: some first part
    /// of it survives.
    pub(super) fn elect(&mut self) {
        self.quorum.is_electing = false;
        let able: Vec<usize> = (0..self.plan.voters)
            .filter(|voter| self.sites[*voter].process.is_some() && self.has_majority(*voter))
            .collect();
        if able.is_empty() {
            self.elect_if_needed();
            return;
        }
        let next = *self.dice.quorum.pick(&able);
        self.depose();
        self.quorum.term += 1;
        let term = self.quorum.term;
        self.quorum.leader = Some(next);
        let kept = self.dice.quorum.below(self.quorum.in_flight.len() as u64 + 1) as usize;
        let lost: Vec<Proposed> = self.quorum.in_flight.split_off(kept).into_iter().collect();
        self.counts.count("elections of controllers");
        self.counts.add("proposals in doubt", (kept + lost.len()) as u64);
        self.note(format_args!(
            "broker {next} is the controller in term {term}; {kept} proposals survive, {} are lost",
            lost.len()
        ));
        // What a leader decided before it was deposed can reach the log after it leads again: under a newer term.
        if let Some(late) = lost.first()
            && self.dice.quorum.chance(1, 2)
        {
            self.counts.count("entries of an old term");
            self.quorum.in_flight.push_back(Proposed {
                term,
                entry: late.entry.clone(),
            });
        }
        let blank = Entry {
            term,
            records: Vec::new(),
        };
        self.quorum.in_flight.push_back(Proposed { term, entry: blank });
        let reign = Reign {
            term,
            is_begun: false,
            sessions: Sessions::new(Duration::from_micros(SESSION_US), self.instant()),
            broken: BTreeMap::new(),
            in_flight: VecDeque::new(),
            speculative: None,
            queue: VecDeque::new(),
            rebalanced_us: self.now_us,
            deposed_us: None,
        };
        if let Some(process) = self.sites[next].process.as_mut() {
            process.reign = Some(reign);
        }
        self.chore(next, Chore::Reign, TICK_US);
        self.commit_later();
    }

    /// Whoever leads does so no longer, but may not know.
    pub(super) fn depose(&mut self) {
        let Some(leader) = self.quorum.leader.take() else {
            return;
        };
        let us = self.dice.quorum.between(0, DELUSION_US) as u64;
        let at_us = self.now_us + us;
        if let Some(process) = self.sites[leader].process.as_mut()
            && let Some(reign) = process.reign.as_mut()
        {
            reign.deposed_us = Some(at_us);
            self.chore(leader, Chore::Reign, us);
        }
    }

    pub(super) fn commit_later(&mut self) {
        if self.quorum.in_flight.is_empty() || self.quorum.is_committing {
            return;
        }
        self.quorum.is_committing = true;
        let slow_us = self.quorum.slow_us;
        let us = self.dice.quorum.between(300, 5_000) as u64 + self.dice.quorum.below(slow_us + 1);
        self.after(us, Event::Commit);
    }

    /// The oldest entry is committed, if a majority is there.
    pub(super) fn commit(&mut self) {
        self.quorum.is_committing = false;
        self.elect_if_needed();
        let Some(leader) = self.quorum.leader else { return };
        if self.sites[leader].process.is_none() || !self.has_majority(leader) {
            self.quorum.is_committing = !self.quorum.in_flight.is_empty();
            if self.quorum.is_committing {
                self.after(20_000, Event::Commit);
            }
            return;
        }
        let Some(committed) = self.quorum.commit() else {
            return;
        };
        if committed.is_skipped {
            self.counts.count("entries skipped");
        }
        self.note(format_args!(
            "metadata {} is committed, of term {}",
            committed.index, committed.term
        ));
        self.check_image(&committed);
        self.advance_metadata(leader, committed.index);
        let process = self.sites[leader].process.as_mut();
        if let Some(reign) = process.and_then(|process| process.reign.as_mut())
            && reign.term == committed.term
            && !committed.is_skipped
        {
            if reign.is_begun {
                let answers = reign.settle(committed.index);
                for (to, id, response) in answers {
                    self.answer_submission(leader, to, id, response, committed.index);
                }
            } else {
                reign.is_begun = true;
            }
        }
        self.serve_queue(leader);
        self.settle(leader);
        for place in 0..self.sites.len() {
            self.observe_soon(place);
        }
        self.commit_later();
    }

    fn answer_submission(&mut self, place: usize, to: Place, id: u64, response: Response, index: u64) {
        self.laws.metadata.answered(index);
        let response = Box::new(response);
        self.answer(place, to, id, Answer::Submitted { response, index });
    }

    /// A request arrives at what may be the controller.
    pub(super) fn submitted(&mut self, place: usize, from: Place, id: u64, request: Request) {
        let now_us = self.now_us;
        let is_deluded = self.quorum.leader != Some(place);
        let majority = is_deluded || self.has_majority(place);
        let hint = self.quorum.leader.filter(|leader| *leader != place);
        let process = self.sites[place].process.as_mut();
        let Some(reign) = process.and_then(|process| process.reign.as_mut()) else {
            self.answer(place, from, id, Answer::NotController(hint));
            return;
        };
        let knows = reign.deposed_us.is_some_and(|deposed_us| deposed_us <= now_us);
        if !reign.is_begun || knows || !majority {
            self.answer(place, from, id, Answer::NotController(hint));
            return;
        }
        if let Place::Broker(broker) = from {
            reign.broken.remove(&BrokerId(broker as i32));
        }
        reign.queue.push_back((from, id, request));
        self.serve_queue(place);
    }

    fn serve_queue(&mut self, place: usize) {
        loop {
            let process = self.sites[place].process.as_mut();
            let Some(reign) = process.and_then(|process| process.reign.as_mut()) else {
                return;
            };
            if reign.in_flight.len() >= IN_FLIGHT_MAX {
                return;
            }
            let Some((from, id, request)) = reign.queue.pop_front() else {
                return;
            };
            self.serve(place, from, id, &request);
        }
    }

    fn serve(&mut self, place: usize, from: Place, id: u64, request: &Request) {
        let now = self.instant();
        let mut image = self.reign_image(place);
        let Decision { records, response } = self.decided(place, &mut image, request);
        let process = self.sites[place].process.as_mut();
        let Some(process) = process else { return };
        let index = process.index;
        let Some(reign) = process.reign.as_mut() else {
            return;
        };
        if let Some(request::Request::BrokerHeartbeat(heartbeat)) = &request.request
            && response.refusal() == Refusal::None
        {
            reign.sessions.heard(BrokerId(heartbeat.broker_id), now);
        }
        if records.is_empty() && reign.in_flight.is_empty() {
            self.answer_submission(place, from, id, response, index);
            return;
        }
        if records.is_empty() {
            // As far as everything before it.
            if let Some(last) = reign.in_flight.back_mut() {
                last.push((from, id, response));
            }
            return;
        }
        reign.in_flight.push_back(vec![(from, id, response)]);
        reign.speculative = Some(image);
        let entry = Entry {
            term: reign.term,
            records,
        };
        self.propose(place, entry);
    }

    /// What a leader proposes is appended; what one proposes that was deposed goes nowhere.
    fn propose(&mut self, place: usize, entry: Entry) {
        if self.quorum.leader == Some(place) && self.quorum.term == entry.term {
            let term = entry.term;
            self.quorum.in_flight.push_back(Proposed { term, entry });
            self.commit_later();
        } else {
            self.counts.count("proposals of deposed controllers");
        }
    }

    fn reign_image(&self, place: usize) -> Image {
        let Some(process) = &self.sites[place].process else {
            return Image::default();
        };
        let speculative = process.reign.as_ref().and_then(|reign| reign.speculative.clone());
        speculative.unwrap_or_else(|| Image::clone(&process.image))
    }

    fn decided(&mut self, place: usize, image: &mut Image, request: &Request) -> Decision {
        let now_us = self.now_us;
        let now_ms = self.sites[place].set_clock(now_us);
        let index = self.sites[place]
            .process
            .as_ref()
            .map_or(0, |process| process.index);
        if self.quorum.leader == Some(place) {
            self.check_linear(index);
        }
        let settings = self.plan.settings.clone();
        let voters: Vec<BrokerId> = (0..self.plan.voters)
            .map(|voter| BrokerId(voter as i32))
            .collect();
        let dice: &mut Dice = &mut self.dice.quorum;
        let mut context = Context {
            now_ms,
            index: index + 1,
            settings: &|name| settings.get(name).cloned(),
            voters: &voters,
            fresh_id: &mut || super::site::uuid(dice),
        };
        let decision = decide(image, request, &mut context);
        image
            .fold_all(&decision.records)
            .expect("the controller understands what it decided");
        decision
    }

    /// What the controller does by itself.
    pub(super) fn reign(&mut self, place: usize) {
        let now_us = self.now_us;
        let now = self.instant();
        let is_deluded = self.quorum.leader != Some(place);
        let majority = is_deluded || self.has_majority(place);
        let hint = self.quorum.leader.filter(|leader| *leader != place);
        let image = self.reign_image(place);
        let process = self.sites[place].process.as_mut();
        let Some(process) = process else { return };
        let Some(reign) = process.reign.as_mut() else {
            return;
        };
        if reign.deposed_us.is_some_and(|deposed_us| deposed_us <= now_us) {
            let reign = process.reign.take().unwrap_or_else(|| unreachable!());
            let queued = reign.queue.into_iter().map(|(from, id, _)| (from, id));
            let waiting = reign
                .in_flight
                .into_iter()
                .flatten()
                .map(|(from, id, _)| (from, id));
            for (from, id) in waiting.chain(queued).collect::<Vec<_>>() {
                self.answer(place, from, id, Answer::NotController(hint));
            }
            return;
        }
        self.chore(place, Chore::Reign, TICK_US);
        let process = self.sites[place].process.as_mut();
        let Some(reign) = process.and_then(|process| process.reign.as_mut()) else {
            return;
        };
        if !reign.is_begun {
            return;
        }
        let unfenced = image
            .brokers()
            .filter(|broker| !broker.fenced)
            .map(|broker| broker.id);
        let silent = reign.sessions.expired(unfenced, &reign.broken, now);
        if !majority || reign.in_flight.len() >= IN_FLIGHT_MAX {
            return;
        }
        let mut wanted = Vec::new();
        if !silent.is_empty() {
            let broker_ids = silent.into_iter().map(|id| id.0).collect();
            wanted.push(request::Request::FenceBrokers(FenceBrokers { broker_ids }));
        }
        let every_us = rebalance_us(&self.plan.settings);
        if let Some(every_us) = every_us
            && now_us - reign.rebalanced_us >= every_us
        {
            reign.rebalanced_us = now_us;
            wanted.push(request::Request::ElectLeaders(ElectLeaders {
                unclean: false,
                partitions: Vec::new(),
                all_partitions: true,
            }));
        }
        let mut image = image;
        let mut records = Vec::new();
        for request in wanted {
            if matches!(request, request::Request::FenceBrokers(_)) {
                self.counts.count("fencings");
            }
            let request = Request {
                validate_only: false,
                request: Some(request),
            };
            records.extend(self.decided(place, &mut image, &request).records);
        }
        let process = self.sites[place].process.as_mut();
        if let Some(reign) = process.and_then(|process| process.reign.as_mut())
            && !records.is_empty()
        {
            reign.in_flight.push_back(Vec::new());
            reign.speculative = Some(image);
            let term = reign.term;
            self.propose(place, Entry { term, records });
        }
    }

    /// A broker's connections are gone: the controller notices.
    pub(super) fn disconnected(&mut self, place: usize) {
        let now = self.instant();
        for site in &mut self.sites {
            if let Some(reign) = site.process.as_mut().and_then(|process| process.reign.as_mut()) {
                reign.broken.insert(BrokerId(place as i32), now);
            }
        }
        self.elect_if_needed();
    }
}

impl Reign {
    /// The oldest entry has taken effect.
    fn settle(&mut self, _index: u64) -> Waiting {
        let waiting = self.in_flight.pop_front().unwrap_or_default();
        if self.in_flight.is_empty() {
            self.speculative = None;
        }
        waiting
    }
}

fn rebalance_us(settings: &BTreeMap<String, String>) -> Option<u64> {
    if settings.get("auto.leader.rebalance.enable").map(String::as_str) == Some("false") {
        return None;
    }
    let seconds: u64 = settings["leader.imbalance.check.interval.seconds"].parse().ok()?;
    Some(seconds * 1_000_000)
}

/// For what a client asks the controller.
pub(super) fn asked(request: request::Request) -> Request {
    Request {
        validate_only: false,
        request: Some(request),
    }
}
