//! A broker follows: it fetches from leaders, observes the metadata, and asks for changes of in-sync sets.

use super::event::{Answer, Ask, Body, Chore, Place};
use super::site::{Alter, Fetching};
use super::submit::Purpose;
use super::world::World;
use flotilla_broker::replica::{Lane, Later, VolumeFailed};
use flotilla_protocol::messages::FetchResponse;

/// The first rest after a leader could not be reached; it doubles up to a second.
const REST_FIRST_US: u64 = 20_000;
const REST_MAX_US: u64 = 1_000_000;
/// How long a fetch may take: `replica.fetch.wait.max.ms` and `replica.socket.timeout.ms` together.
const FETCH_LIMIT_US: u64 = 1_200_000;
/// How long a change of in-sync sets is tried.
const ALTER_LIMIT_US: u64 = 10_000_000;
const ALTER_REST_US: u64 = 100_000;

impl World {
    /// Lets each loop that may ask do so.
    pub(super) fn fetch(&mut self, place: usize) {
        let now_us = self.now_us;
        let now_ms = self.sites[place].set_clock(now_us);
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        let mut asks = Vec::new();
        for lane in process.replicas.lanes() {
            let fetching = process.lanes.entry(lane).or_insert(Fetching::Idle);
            match fetching {
                Fetching::Syncing(syncing) => match syncing.now() {
                    None => continue,
                    Some(Ok(())) => *fetching = Fetching::Idle,
                    Some(Err(VolumeFailed)) => {
                        let until_us = now_us + REST_FIRST_US;
                        *fetching = Fetching::Resting { until_us };
                    }
                },
                Fetching::Resting { until_us } if *until_us <= now_us => *fetching = Fetching::Idle,
                Fetching::Asked { .. } | Fetching::Resting { .. } => continue,
                Fetching::Looking { .. } => *fetching = Fetching::Idle,
                Fetching::Idle => {}
            }
            if !matches!(fetching, Fetching::Idle) {
                continue;
            }
            match process.replicas.ask(lane, &process.image) {
                Ok(asking) => asks.push((lane, asking)),
                Err(Later::Idle) => {}
                Err(Later::Synced(syncing)) => *fetching = Fetching::Syncing(syncing),
                Err(Later::Until(wake_ms)) => {
                    let rest_us = wake_ms.saturating_sub(now_ms).clamp(1, 3_600_000) as u64 * 1_000;
                    let until_us = now_us + rest_us;
                    *fetching = Fetching::Looking { until_us };
                }
            }
        }
        for (lane, asking) in asks {
            let request = asking.request.clone();
            let to = Place::Broker(lane.leader.0 as usize);
            let id = self.ask(Place::Broker(place), to, Ask::Fetch(request));
            self.chore(place, Chore::FetchLate(id), FETCH_LIMIT_US);
            if let Some(process) = self.sites[place].process.as_mut() {
                process.lanes.insert(lane, Fetching::Asked { id, asking });
            }
        }
    }

    /// A leader answered a fetch, or nobody did.
    pub(super) fn fetched(&mut self, place: usize, id: u64, response: Option<FetchResponse>) {
        let now_us = self.now_us;
        self.sites[place].set_clock(now_us);
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        let found = process
            .lanes
            .iter()
            .find(|(_, fetching)| matches!(fetching, Fetching::Asked { id: asked, .. } if *asked == id));
        let Some(lane) = found.map(|(lane, _): (&Lane, _)| *lane) else {
            return;
        };
        let Some(Fetching::Asked { asking, .. }) = process.lanes.remove(&lane) else {
            return;
        };
        let next = match response {
            Some(response) => {
                process.rests_us.remove(&lane);
                let before: Vec<_> = self
                    .keys
                    .iter()
                    .map(|key| process.replicas.log_end(*key))
                    .collect();
                let syncing = process.replicas.take(asking, response);
                let shrank = self
                    .keys
                    .iter()
                    .zip(before)
                    .any(|(key, before)| process.replicas.log_end(*key) < before);
                if shrank {
                    self.counts.count("truncations");
                }
                Fetching::Syncing(syncing)
            }
            None => {
                let rest_us = process.rests_us.entry(lane).or_insert(REST_FIRST_US);
                let until_us = now_us + *rest_us;
                *rest_us = (*rest_us * 2).min(REST_MAX_US);
                Fetching::Resting { until_us }
            }
        };
        process.lanes.insert(lane, next);
    }

    /// Asks for changes of in-sync sets, one request at a time, and takes what is answered once the metadata shows it.
    pub(super) fn alter(&mut self, place: usize) {
        let now_us = self.now_us;
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        match std::mem::replace(&mut process.alter, Alter::None) {
            Alter::Submitted(altering) => process.alter = Alter::Submitted(altering),
            Alter::Answered {
                altering,
                response,
                index,
                until_us,
            } => {
                if process.index >= index {
                    process.replicas.altered(altering, Some(*response));
                } else if until_us <= now_us {
                    let until_us = now_us + ALTER_REST_US;
                    process.alter = Alter::Resting { altering, until_us };
                } else {
                    process.alter = Alter::Answered {
                        altering,
                        response,
                        index,
                        until_us,
                    };
                }
            }
            Alter::Resting { altering, until_us } if until_us <= now_us => {
                process.replicas.altered(altering, None);
            }
            resting @ Alter::Resting { .. } => process.alter = resting,
            Alter::None => {}
        }
        if matches!(process.alter, Alter::None)
            && let Some(altering) = process.replicas.alter(&process.image)
        {
            let request = altering.request.clone();
            process.alter = Alter::Submitted(altering);
            self.counts.count("changes of in-sync sets asked for");
            self.submit(place, request, Purpose::Alter, ALTER_LIMIT_US);
        }
    }

    /// Metadata is on its way to a broker.
    pub(super) fn observe_soon(&mut self, place: usize) {
        let newest = self.quorum.index();
        let slow_us = self.sites[place].observe_slow_us;
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        if process.index >= newest || std::mem::replace(&mut process.is_observing, true) {
            return;
        }
        let us = self.dice.quorum.between(300, 4_000) as u64 + self.dice.quorum.below(slow_us + 1);
        self.chore(place, Chore::Observe, us);
    }

    /// A broker learns some of what is committed, if it reaches anyone who knows.
    pub(super) fn observe(&mut self, place: usize) {
        let newest = self.quorum.index();
        let sources: Vec<usize> = (0..self.plan.voters)
            .filter(|voter| {
                self.sites[*voter].process.is_some()
                    && self.network.reaches(Place::Broker(*voter), Place::Broker(place))
                    && self.network.reaches(Place::Broker(place), Place::Broker(*voter))
            })
            .collect();
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        process.is_observing = false;
        if sources.is_empty() {
            process.is_observing = true;
            self.chore(place, Chore::Observe, 50_000);
            return;
        }
        // A stream may stop anywhere; a snapshot skips over much.
        let behind = newest - process.index;
        let step = if behind == 0 || self.dice.quorum.chance(3, 4) {
            behind
        } else {
            1 + self.dice.quorum.below(behind)
        };
        let index = process.index + step;
        self.advance_metadata(place, index);
        self.observe_soon(place);
    }

    /// A broker's metadata stands at `index` now.
    pub(super) fn advance_metadata(&mut self, place: usize, index: u64) {
        let image = self.quorum.image(index);
        let now_us = self.now_us;
        self.sites[place].set_clock(now_us);
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        if index <= process.index {
            return;
        }
        process.index = index;
        process.image = image.clone();
        process.replicas.apply(&image);
        let epoch = image
            .broker(flotilla_protocol::BrokerId(place as i32))
            .filter(|own| own.incarnation == process.incarnation)
            .map(|own| own.epoch.0);
        self.note(format_args!(
            "broker {place} at metadata {index}, epoch {epoch:?}"
        ));
    }

    /// An answer arrives at a broker.
    pub(super) fn answered(&mut self, place: usize, id: u64, from: Place, answer: Answer) {
        match answer {
            Answer::Fetched(response) => self.fetched(place, id, Some(response)),
            Answer::Refused => {
                self.fetched(place, id, None);
                self.submission_elsewhere(place, id, None);
            }
            Answer::Submitted { response, index } => {
                let Place::Broker(controller) = from else { return };
                self.submission_answered(place, id, controller, *response, index);
            }
            Answer::NotController(hint) => self.submission_elsewhere(place, id, hint),
            _ => {}
        }
    }

    /// Sends a question. Gives its number.
    pub(super) fn ask(&mut self, from: Place, to: Place, ask: Ask) -> u64 {
        let id = self.fresh_id();
        self.send(from, to, id, Body::Ask(ask));
        id
    }

    /// Sends an answer.
    pub(super) fn answer(&mut self, place: usize, to: Place, id: u64, answer: Answer) {
        self.send(Place::Broker(place), to, id, Body::Answer(answer));
    }
}
