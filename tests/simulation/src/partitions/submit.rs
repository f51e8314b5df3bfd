//! A broker speaks to the controller: it registers, says that it lives, asks to go, asks for changes; and looks for the
//! controller where it does not know it.

use super::event::{Ask, Chore, Place};
use super::site::{Alter, BEAT_US};
use super::world::World;
use flotilla_control::proto::metadata::{
    Broker, BrokerHeartbeat, Refusal, RegisterBroker, Request, Response, request,
};
use flotilla_protocol::BrokerEpoch;
use std::collections::BTreeSet;

/// One attempt to register, and the pause after one that was refused for now.
const REGISTER_LIMIT_US: u64 = 5_000_000;
const REGISTER_PAUSE_US: u64 = 250_000;
/// One attempt with one broker.
const ATTEMPT_LIMIT_US: u64 = 600_000;
/// Between two rounds over all brokers.
const PAUSE_US: u64 = 50_000;
/// `broker.session.timeout.ms`, in microseconds.
pub(super) const SESSION_US: u64 = 1_000_000;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Register,
    Beat,
    Alter,
}

/// A request that looks for the controller.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub purpose: Purpose,
    request: Request,
    until_us: u64,
    tried: BTreeSet<usize>,
}

fn wrap(request: request::Request) -> Request {
    Request {
        validate_only: false,
        request: Some(request),
    }
}

impl World {
    /// Has the controller asked.
    pub(super) fn submit(&mut self, place: usize, request: Request, purpose: Purpose, limit_us: u64) {
        let submission = Submission {
            purpose,
            request,
            until_us: self.now_us + limit_us,
            tried: BTreeSet::new(),
        };
        self.attempt(place, submission, None);
    }

    fn attempt(&mut self, place: usize, mut submission: Submission, hint: Option<usize>) {
        if self.now_us >= submission.until_us {
            self.unanswered(place, submission.purpose);
            return;
        }
        let brokers = self.sites.len();
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        let known = hint.or(process.controller);
        let target = known
            .filter(|known| !submission.tried.contains(known))
            .or_else(|| (0..brokers).find(|broker| !submission.tried.contains(broker)));
        let Some(target) = target else {
            process.controller = None;
            submission.tried.clear();
            let id = self.fresh_id();
            if let Some(process) = self.sites[place].process.as_mut() {
                process.submissions.insert(id, submission);
            }
            self.chore(place, Chore::Late(id), PAUSE_US);
            return;
        };
        submission.tried.insert(target);
        let request = Box::new(submission.request.clone());
        let limit_us = ATTEMPT_LIMIT_US.min(submission.until_us - self.now_us);
        let id = self.ask(Place::Broker(place), Place::Broker(target), Ask::Submit(request));
        if let Some(process) = self.sites[place].process.as_mut() {
            process.submissions.insert(id, submission);
        }
        self.chore(place, Chore::Late(id), limit_us);
    }

    /// Not there, or no answer.
    pub(super) fn submission_elsewhere(&mut self, place: usize, id: u64, hint: Option<usize>) {
        let process = self.sites[place].process.as_mut();
        if let Some(submission) = process.and_then(|process| process.submissions.remove(&id)) {
            self.attempt(place, submission, hint);
        }
    }

    fn unanswered(&mut self, place: usize, purpose: Purpose) {
        let now_us = self.now_us;
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        match purpose {
            Purpose::Register => self.chore(place, Chore::Register, REGISTER_PAUSE_US),
            Purpose::Beat => self.chore(place, Chore::Beat, 0),
            Purpose::Alter => {
                if let Alter::Submitted(altering) = std::mem::replace(&mut process.alter, Alter::None) {
                    let until_us = now_us + 100_000;
                    process.alter = Alter::Resting { altering, until_us };
                }
            }
        }
    }

    /// The controller answered.
    pub(super) fn submission_answered(
        &mut self,
        place: usize,
        id: u64,
        controller: usize,
        response: Response,
        index: u64,
    ) {
        let now_us = self.now_us;
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        let Some(submission) = process.submissions.remove(&id) else {
            return;
        };
        process.controller = Some(controller);
        match submission.purpose {
            Purpose::Register if response.refusal() == Refusal::None => {
                process.epoch = Some(BrokerEpoch(response.broker_epoch));
                self.counts.count("registrations");
                self.chore(place, Chore::Beat, 0);
            }
            Purpose::Register => self.chore(place, Chore::Register, REGISTER_PAUSE_US),
            Purpose::Beat => self.beat_answered(place, &response),
            Purpose::Alter => {
                if let Alter::Submitted(altering) = std::mem::replace(&mut process.alter, Alter::None) {
                    process.alter = Alter::Answered {
                        altering,
                        response: Box::new(response),
                        index,
                        until_us: submission.until_us.max(now_us),
                    };
                }
            }
        }
    }

    /// Registers under this incarnation.
    pub(super) fn register(&mut self, place: usize) {
        let Some(process) = &self.sites[place].process else {
            return;
        };
        let broker = Broker {
            broker_id: place as i32,
            broker_epoch: -1,
            incarnation_id: process.incarnation.0.to_vec(),
            directory_id: process.directory.0.to_vec(),
            roles: vec!["broker".to_owned()],
            fenced: true,
            version: "0.1.0".to_owned(),
            flotilla_version_max: flotilla_broker::metadata::FLOTILLA_VERSION,
            ..Broker::default()
        };
        let register = RegisterBroker {
            broker: Some(broker),
            cluster_id: super::site::CLUSTER.to_owned(),
            clean_shutdown: process.clean,
        };
        let request = wrap(request::Request::RegisterBroker(register));
        self.submit(place, request, Purpose::Register, REGISTER_LIMIT_US);
    }

    /// Says that it lives.
    pub(super) fn beat(&mut self, place: usize) {
        let Some(process) = &self.sites[place].process else {
            return;
        };
        let Some(epoch) = process.epoch else { return };
        let heartbeat = BrokerHeartbeat {
            broker_id: place as i32,
            broker_epoch: epoch.0,
            applied_index: process.index,
            want_fence: false,
            want_shut_down: process.is_stopping,
            storage_full: *process.replicas.storage_full().borrow(),
        };
        let request = wrap(request::Request::BrokerHeartbeat(heartbeat));
        self.submit(place, request, Purpose::Beat, SESSION_US);
    }

    fn beat_answered(&mut self, place: usize, response: &Response) {
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        match response.refusal() {
            Refusal::None => {
                let answer = response.heartbeat.unwrap_or_default();
                if process.is_stopping && answer.should_shut_down {
                    self.stopped(place);
                } else {
                    self.chore(place, Chore::Beat, BEAT_US);
                }
            }
            Refusal::BrokerNotRegistered | Refusal::StaleBrokerEpoch => {
                process.epoch = None;
                self.chore(place, Chore::Register, 0);
            }
            _ => self.chore(place, Chore::Beat, BEAT_US),
        }
    }

    /// Everything is handed over: the logs are closed, and the process ends.
    fn stopped(&mut self, place: usize) {
        let now_us = self.now_us;
        self.sites[place].set_clock(now_us);
        if let Some(process) = self.sites[place].process.as_mut() {
            for round in std::mem::take(&mut process.rounds) {
                process.replicas.end_commit(round);
            }
            process.replicas.close_all();
            self.counts.count("controlled shutdowns");
            self.note(format_args!("broker {place} has stopped"));
            self.kill(place);
            let us = self.dice.fault.between(20_000, 2_000_000) as u64;
            self.start_after(place, us);
        }
    }
}
