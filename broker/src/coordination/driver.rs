//! The controller: one task that decides, in order, on a speculative image (applied plus its own in flight). It lives on
//! every member of the quorum and works only while that one leads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::metadata::{
    ElectLeaders, Entry, FenceBrokers, PrepareRestart, Record, Refusal, Request, Response, request,
};
use flotilla_protocol::{BrokerId, Uuid};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connections::Connections;
use super::quorum::{Applied, Leadership, LeadershipLost, Quorum};
use super::sessions::Sessions;
use crate::metadata::{Context, Decision, Image, decide};

/// Requests that wait for the controller; more are answered THROTTLED. Registrations and heartbeats wait in a queue of
/// their own, of the same size: a flood of requests must not cost brokers their sessions.
pub const QUEUE_MAX: usize = 1_024;
/// Requests whose records share one entry, and so one sync to disk.
const BATCH_REQUESTS_MAX: usize = 64;
/// A batch takes no further request beyond this.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// The records of one request; more are refused, since an entry must fit a message between voters.
const REQUEST_BYTES_MAX: usize = 16 << 20;
/// Entries that are proposed and not yet committed.
const IN_FLIGHT_MAX: usize = 4;
/// `leader.imbalance.check.interval.seconds` where nobody says otherwise, as in Kafka.
const REBALANCE_INTERVAL: Duration = Duration::from_secs(300);
/// How often sessions are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long requests wait for the first entry of a new controller before they are sent on.
const FIRST_ENTRY_PATIENCE: Duration = Duration::from_millis(500);
/// How often expired grants are taken back.
const GRANT_CHECK: Duration = Duration::from_secs(1);

/// A broker setting as a broker's own file says it, if it does.
pub type StaticSettings = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What the controller goes by.
#[derive(Clone)]
pub struct Options {
    /// `broker.session.timeout.ms`: a broker silent for longer is fenced.
    pub session_timeout: Duration,
    /// A broker setting as this broker's own file says it, if it does.
    pub settings: StaticSettings,
    /// Reads the wall clock, in milliseconds since 1970.
    pub now_ms: fn() -> i64,
    /// Draws an id that nothing else has.
    pub fresh_id: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("session_timeout", &self.session_timeout)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Decides a request on an image, for an entry that will stand at `index` or after.
    pub(super) fn decide(
        &self,
        image: &Image,
        request: &Request,
        index: u64,
        voters: &[BrokerId],
    ) -> Decision {
        let mut context = Context {
            now_ms: (self.now_ms)(),
            index,
            settings: self.settings.as_ref(),
            voters,
            fresh_id: &mut || (self.fresh_id)(),
        };
        decide(image, request, &mut context)
    }

    /// How often leadership goes back to the preferred leaders; `None`: never.
    fn rebalance_interval(&self, image: &Image) -> Option<Duration> {
        let setting = |key: &str| {
            image
                .cluster_setting(key)
                .map(str::to_owned)
                .or_else(|| (self.settings)(key))
        };
        if setting("auto.leader.rebalance.enable").as_deref() == Some("false") {
            return None;
        }
        let seconds =
            setting("leader.imbalance.check.interval.seconds").and_then(|value| value.trim().parse().ok());
        Some(seconds.map_or(REBALANCE_INTERVAL, Duration::from_secs))
    }
}

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

struct Submission {
    request: Request,
    answer: oneshot::Sender<Result<Answer, NotController>>,
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

fn refused(refusal: Refusal, message: String) -> Response {
    Response {
        refusal: refusal.into(),
        message,
        ..Response::default()
    }
}

type Waiting = (oneshot::Sender<Result<Answer, NotController>>, Response);
type Committing = BoxFuture<'static, Result<Applied, LeadershipLost>>;

/// Entries on their way, oldest first, each with those who wait for it.
struct InFlight {
    committing: FuturesOrdered<Committing>,
    waiting: VecDeque<Vec<Waiting>>,
    /// The image as it will be when all are applied; `None` when nothing is in flight.
    speculative: Option<Image>,
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
                    if !self.quorum.has_majority() && !reign.flight.waiting.is_empty() {
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

fn reject(submission: Submission) {
    // The caller may be gone: then nobody needs the answer.
    let _ = submission.answer.send(Err(NotController));
}

async fn deposed(leadership: &mut watch::Receiver<Leadership>, term: u64) -> Ended {
    match leadership.wait_for(|now| !now.leading || now.term != term).await {
        Ok(_) => Ended::Deposed,
        Err(_) => Ended::Stopped,
    }
}

impl InFlight {
    /// Answers those who wait for the oldest entry. False: the entry did not take effect, and nothing after it will.
    fn settle<Q: Quorum>(&mut self, applied: Result<Applied, LeadershipLost>, quorum: &Q) -> bool {
        let waiting = self.waiting.pop_front().unwrap_or_default();
        let index = match applied {
            Ok(applied) if !applied.skipped => applied.index,
            Ok(_) | Err(LeadershipLost) => return false,
        };
        if self.waiting.is_empty() {
            self.speculative = None;
        }
        let index = if index == 0 { quorum.applied().index } else { index };
        for (answer, response) in waiting {
            let _ = answer.send(Ok(Answer { response, index }));
        }
        true
    }
}

/// The controller while it leads, in one term.
struct Reign<Q> {
    quorum: Arc<Q>,
    connections: Arc<Connections>,
    term: u64,
    options: Options,
    sessions: Sessions,
    flight: InFlight,
    grants_checked: Instant,
    rebalanced: Instant,
}

impl<Q: Quorum> Reign<Q> {
    fn new(quorum: Arc<Q>, connections: Arc<Connections>, term: u64, options: Options) -> Self {
        let now = Instant::now();
        Self {
            quorum,
            connections,
            term,
            sessions: Sessions::new(options.session_timeout, now),
            options,
            flight: InFlight {
                committing: FuturesOrdered::new(),
                waiting: VecDeque::new(),
                speculative: None,
            },
            grants_checked: now,
            rebalanced: now,
        }
    }

    fn image(&self) -> Image {
        match &self.flight.speculative {
            Some(image) => image.clone(),
            None => Image::clone(&self.quorum.applied().image),
        }
    }

    fn decide_all(&mut self, batch: &mut Vec<Submission>) {
        if !self.quorum.has_majority() {
            batch.drain(..).for_each(reject);
            return;
        }
        let mut image = self.image();
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut waiting = Vec::new();
        for submission in batch.drain(..) {
            let (decided, response) = self.decided(&mut image, &submission.request);
            self.note_heartbeat(&submission.request, &response);
            bytes += decided.iter().map(Record::encoded_len).sum::<usize>();
            records.extend(decided);
            waiting.push((submission.answer, response));
            if bytes > BATCH_BYTES_MAX {
                self.propose(std::mem::take(&mut records), std::mem::take(&mut waiting), &image);
                bytes = 0;
            }
        }
        self.propose(records, waiting, &image);
    }

    /// A broker whose heartbeat was taken lives, whatever becomes of the records.
    fn note_heartbeat(&mut self, request: &Request, response: &Response) {
        if let Some(request::Request::BrokerHeartbeat(heartbeat)) = &request.request
            && response.refusal() == Refusal::None
        {
            self.sessions.heard(BrokerId(heartbeat.broker_id), Instant::now());
        }
    }

    /// Proposes records for those who wait. Where nothing was decided they wait only for what was decided before.
    fn propose(&mut self, records: Vec<Record>, waiting: Vec<Waiting>, image: &Image) {
        if records.is_empty() {
            if waiting.is_empty() {
                return;
            }
            if self.flight.waiting.is_empty() {
                let index = self.quorum.applied().index;
                for (answer, response) in waiting {
                    let _ = answer.send(Ok(Answer { response, index }));
                }
                return;
            }
            // Index 0: as far as everything before it.
            let nothing = Applied {
                index: 0,
                skipped: false,
            };
            self.flight
                .committing
                .push_back(Box::pin(async move { Ok(nothing) }));
        } else {
            let entry = Entry {
                term: self.term,
                records,
            };
            self.flight.committing.push_back(self.quorum.propose(entry));
            self.flight.speculative = Some(image.clone());
        }
        self.flight.waiting.push_back(waiting);
    }

    /// What the controller does by itself: fences the silent, takes expired grants back, restores preferred leaders.
    fn tick(&mut self) {
        let now = Instant::now();
        let mut image = self.image();
        let unfenced = image
            .brokers()
            .filter(|broker| !broker.fenced)
            .map(|broker| broker.id);
        let silent: Vec<i32> = self
            .sessions
            .expired(unfenced, &self.connections.broken(), now)
            .into_iter()
            .map(|id| id.0)
            .collect();
        if !self.quorum.has_majority() {
            return;
        }
        let mut wanted = Vec::new();
        if !silent.is_empty() {
            tracing::warn!(brokers = ?silent, timeout = ?self.options.session_timeout, "fencing silent brokers");
            wanted.push(request::Request::FenceBrokers(FenceBrokers {
                broker_ids: silent,
            }));
        }
        if now.saturating_duration_since(self.grants_checked) >= GRANT_CHECK {
            self.grants_checked = now;
            let now_ms = (self.options.now_ms)();
            let expired: Vec<i32> = image
                .restart_grants()
                .filter(|(_, expires_ms)| *expires_ms <= now_ms)
                .map(|(broker, _)| broker.0)
                .collect();
            if !expired.is_empty() {
                let release = PrepareRestart {
                    broker_ids: expired,
                    grant_ms: 0,
                    release: true,
                };
                wanted.push(request::Request::PrepareRestart(release));
            }
        }
        if let Some(every) = self.options.rebalance_interval(&image)
            && now.saturating_duration_since(self.rebalanced) >= every
        {
            self.rebalanced = now;
            let preferred = ElectLeaders {
                unclean: false,
                partitions: Vec::new(),
                all_partitions: true,
            };
            wanted.push(request::Request::ElectLeaders(preferred));
        }
        let mut records = Vec::new();
        for request in wanted {
            let request = Request {
                validate_only: false,
                request: Some(request),
            };
            let (decided, response) = self.decided(&mut image, &request);
            if response.refusal() != Refusal::None {
                tracing::warn!(
                    message = response.message,
                    "the controller refused its own request"
                );
            }
            records.extend(decided);
        }
        self.propose(records, Vec::new(), &image);
    }

    /// Decides one request and folds its records into the image that the next one is decided on.
    fn decided(&self, image: &mut Image, request: &Request) -> (Vec<Record>, Response) {
        let index = self.quorum.applied().index + 1;
        let Decision { records, response } =
            self.options.decide(image, request, index, &self.quorum.voters());
        if records.is_empty() {
            return (records, response);
        }
        let bytes: usize = records.iter().map(Record::encoded_len).sum();
        if bytes > REQUEST_BYTES_MAX {
            let message = format!(
                "the change takes {bytes} bytes of metadata at once, and {REQUEST_BYTES_MAX} are allowed: ask for less at a time"
            );
            return (Vec::new(), refused(Refusal::PolicyViolation, message));
        }
        let mut next = image.clone();
        match next.fold_all(&records) {
            Ok(()) => {
                *image = next;
                (records, response)
            }
            Err(unknown) => {
                tracing::error!(%unknown, "the controller decided a record that it does not understand");
                (Vec::new(), refused(Refusal::InvalidRequest, unknown.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
