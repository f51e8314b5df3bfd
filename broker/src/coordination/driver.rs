//! The controller: one task that decides, in order, on a speculative image (applied plus its own in flight). It lives on
//! every member of the quorum and works only while that one leads.

use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::metadata::{Entry, Refusal, Request, Response, request};
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::connections::Connections;
use super::options::Options;
use super::quorum::{Leadership, LeadershipLost, Quorum};
use super::reign::Reign;

/// Requests that wait for the controller; more are answered THROTTLED. Registrations and heartbeats wait in a queue of
/// their own, of the same size: a flood of requests must not cost brokers their sessions.
pub const QUEUE_MAX: usize = 1_024;
/// Requests whose records share one entry, and so one sync to disk.
const BATCH_REQUESTS_MAX: usize = 64;
/// Entries that are proposed and not yet committed.
const IN_FLIGHT_MAX: usize = 4;
/// How often sessions are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long requests wait for the first entry of a new controller before they are sent on.
const FIRST_ENTRY_PATIENCE: Duration = Duration::from_millis(500);

/// A response and the index at which its effect shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What was decided.
    pub response: Response,
    /// The caller's own image must reach this before the effect is visible there.
    pub index: u64,
}

/// This broker is not the controller, or ceased to be before the outcome was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this broker is not the controller")]
pub struct NotController;

/// A request and where its answer goes.
pub(super) struct Submission {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<Answer, NotController>>,
}

/// Hands requests to the controller's task.
#[derive(Clone, Debug)]
pub struct Driver {
    requests: mpsc::Sender<Submission>,
    liveness: mpsc::Sender<Submission>,
}

impl Driver {
    /// The driver, and the task that has to be run for it. The task ends when the last clone of the driver is gone.
    pub fn new<Q: Quorum>(
        quorum: Arc<Q>,
        connections: Arc<Connections>,
        options: Options,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (requests, requests_queue) = mpsc::channel(QUEUE_MAX);
        let (liveness, liveness_queue) = mpsc::channel(QUEUE_MAX);
        let leadership = quorum.leadership();
        let task = Task {
            quorum,
            connections,
            options,
            requests: requests_queue,
            liveness: liveness_queue,
            leadership,
        };
        (Self { requests, liveness }, task.run())
    }

    /// Has a request decided, and answers when it is committed and applied here.
    ///
    /// # Errors
    /// When this broker does not lead, or ceases to before the outcome is known.
    pub async fn submit(&self, request: Request) -> Result<Answer, NotController> {
        let queue = match request.request {
            Some(request::Request::BrokerHeartbeat(_) | request::Request::RegisterBroker(_)) => {
                &self.liveness
            }
            _ => &self.requests,
        };
        let (answer, answered) = oneshot::channel();
        match queue.try_send(Submission { request, answer }) {
            Ok(()) => answered.await.unwrap_or(Err(NotController)),
            Err(mpsc::error::TrySendError::Full(_)) => Ok(Answer {
                response: throttled(),
                index: 0,
            }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(NotController),
        }
    }
}

fn throttled() -> Response {
    refused(
        Refusal::Throttled,
        format!("{QUEUE_MAX} requests wait for the controller already: try again later"),
    )
}

pub(super) fn refused(refusal: Refusal, message: String) -> Response {
    Response {
        refusal: refusal.into(),
        message,
        ..Response::default()
    }
}

struct Task<Q> {
    quorum: Arc<Q>,
    connections: Arc<Connections>,
    options: Options,
    requests: mpsc::Receiver<Submission>,
    liveness: mpsc::Receiver<Submission>,
    leadership: watch::Receiver<Leadership>,
}

/// Why a reign ended.
enum Ended {
    Deposed,
    Stopped,
}

impl<Q: Quorum> Task<Q> {
    async fn run(mut self) {
        loop {
            let leadership = self.leadership.borrow_and_update().clone();
            if leadership.leading {
                tracing::info!(term = leadership.term, "taking the lead of the metadata quorum");
                match self.reign(leadership.term).await {
                    Ended::Deposed => tracing::info!(term = leadership.term, "no longer the controller"),
                    Ended::Stopped => return,
                }
                continue;
            }
            // Whoever asks here while another one leads is told so at once.
            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() { return },
                submission = self.liveness.recv() => match submission {
                    Some(submission) => reject(submission),
                    None => return,
                },
                submission = self.requests.recv() => match submission {
                    Some(submission) => reject(submission),
                    None => return,
                },
            }
        }
    }

    async fn reign(&mut self, term: u64) -> Ended {
        if let Some(ended) = self.first_entry(term).await {
            return ended;
        }
        let mut reign = Reign::new(
            self.quorum.clone(),
            self.connections.clone(),
            term,
            self.options.clone(),
        );
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut urgent, mut batch) = (Vec::new(), Vec::new());
        loop {
            let room = reign.flight.waiting.len() < IN_FLIGHT_MAX;
            tokio::select! {
                biased;
                ended = deposed(&mut self.leadership, term) => return ended,
                Some(applied) = reign.flight.committing.next() => {
                    if !reign.flight.settle(applied, self.quorum.as_ref()) {
                        return self.after_loss(term).await;
                    }
                }
                count = self.liveness.recv_many(&mut urgent, BATCH_REQUESTS_MAX), if room => match count {
                    0 => return Ended::Stopped,
                    _ => reign.decide_all(&mut urgent),
                },
                count = self.requests.recv_many(&mut batch, BATCH_REQUESTS_MAX), if room => match count {
                    0 => return Ended::Stopped,
                    _ => reign.decide_all(&mut batch),
                },
                _ = ticks.tick(), if room => {
                    if !self.quorum.has_majority(term) && !reign.flight.waiting.is_empty() {
                        return self.after_loss(term).await;
                    }
                    reign.tick();
                }
            }
        }
    }

    /// Proposes an empty entry of our own: once it is applied, so is all that earlier leaders left behind. Whoever asks
    /// while that takes long is sent on, since then most of the quorum does not answer.
    async fn first_entry(&mut self, term: u64) -> Option<Ended> {
        let mut first = self.quorum.propose(Entry {
            term,
            records: Vec::new(),
        });
        let patience = tokio::time::sleep(FIRST_ENTRY_PATIENCE);
        tokio::pin!(patience);
        let mut patient = true;
        loop {
            tokio::select! {
                biased;
                applied = &mut first => return match applied {
                    Ok(applied) if !applied.skipped => None,
                    Ok(_) | Err(LeadershipLost) => Some(self.after_loss(term).await),
                },
                ended = deposed(&mut self.leadership, term) => return Some(ended),
                () = &mut patience, if patient => patient = false,
                submission = self.liveness.recv(), if !patient => match submission {
                    Some(submission) => reject(submission),
                    None => return Some(Ended::Stopped),
                },
                submission = self.requests.recv(), if !patient => match submission {
                    Some(submission) => reject(submission),
                    None => return Some(Ended::Stopped),
                },
            }
        }
    }

    /// A proposal failed, so leadership is gone or about to be seen as gone. Where it is not, we begin again after a moment.
    async fn after_loss(&mut self, term: u64) -> Ended {
        tokio::select! {
            ended = deposed(&mut self.leadership, term) => ended,
            () = tokio::time::sleep(TICK) => Ended::Deposed,
        }
    }
}

pub(super) fn reject(submission: Submission) {
    // The caller may be gone: then nobody needs the answer.
    let _ = submission.answer.send(Err(NotController));
}

async fn deposed(leadership: &mut watch::Receiver<Leadership>, term: u64) -> Ended {
    match leadership.wait_for(|now| !now.leading || now.term != term).await {
        Ok(_) => Ended::Deposed,
        Err(_) => Ended::Stopped,
    }
}

#[cfg(test)]
mod tests;
