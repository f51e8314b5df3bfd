//! The controller while it leads, in one term: batches, the speculative image, and what it does by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::metadata::{
    ElectLeaders, Entry, FenceBrokers, PrepareRestart, Record, Refusal, RemoveExpiredTokens, Request,
    Response, request,
};
use flotilla_protocol::BrokerId;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use prost::Message as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connections::Connections;
use super::driver::{Answer, NotController, Submission, refused, reject};
use super::options::Options;
use super::quorum::{Applied, LeadershipLost, Quorum};
use super::sessions::Sessions;
use crate::metadata::{Decision, Image};

/// A batch takes no further request beyond this.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// The records of one request; more are refused, since an entry must fit a message between voters.
const REQUEST_BYTES_MAX: usize = 16 << 20;
/// How often expired grants are taken back.
const GRANT_CHECK: Duration = Duration::from_secs(1);

type Waiting = (oneshot::Sender<Result<Answer, NotController>>, Response);
type Committing = BoxFuture<'static, Result<Applied, LeadershipLost>>;

/// Entries on their way, oldest first, each with those who wait for it.
pub(super) struct InFlight {
    pub(super) committing: FuturesOrdered<Committing>,
    pub(super) waiting: VecDeque<Vec<Waiting>>,
    /// The image as it will be when all are applied; `None` when nothing is in flight.
    speculative: Option<Image>,
}

impl InFlight {
    /// Answers those who wait for the oldest entry. False: the entry did not take effect, and nothing after it will.
    pub(super) fn settle<Q: Quorum>(&mut self, applied: Result<Applied, LeadershipLost>, quorum: &Q) -> bool {
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
pub(super) struct Reign<Q> {
    quorum: Arc<Q>,
    connections: Arc<Connections>,
    term: u64,
    options: Options,
    sessions: Sessions,
    pub(super) flight: InFlight,
    grants_checked: Instant,
    tokens_checked: Instant,
    rebalanced: Instant,
}

impl<Q: Quorum> Reign<Q> {
    pub(super) fn new(quorum: Arc<Q>, connections: Arc<Connections>, term: u64, options: Options) -> Self {
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
            tokens_checked: now,
            rebalanced: now,
        }
    }

    fn image(&self) -> Image {
        match &self.flight.speculative {
            Some(image) => image.clone(),
            None => Image::clone(&self.quorum.applied().image),
        }
    }

    pub(super) fn decide_all(&mut self, batch: &mut Vec<Submission>) {
        if !self.quorum.has_majority(self.term) {
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

    /// Proposes records for those who wait. Where nothing was decided they wait only for what was decided before, if
    /// nobody else can lead at this moment. Otherwise another leader may have decided what this one does not know of: they
    /// wait for an empty entry, which is committed only if that is not so.
    fn propose(&mut self, records: Vec<Record>, waiting: Vec<Waiting>, image: &Image) {
        if records.is_empty() && waiting.is_empty() {
            return;
        }
        if records.is_empty() && self.quorum.has_lease(self.term) {
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

    /// What the controller does by itself: fences the silent, takes expired grants back, forgets expired tokens,
    /// restores preferred leaders.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        let mut image = self.image();
        let unfenced = image
            .brokers()
            .filter(|broker| !broker.fenced)
            .map(|broker| broker.id);
        self.sessions.refused(self.connections.refused());
        let silent: Vec<i32> = self
            .sessions
            .expired(unfenced, &self.connections.broken(), now)
            .into_iter()
            .map(|id| id.0)
            .collect();
        if !self.quorum.has_majority(self.term) {
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
        wanted.extend(self.expired_tokens(&image, now));
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

    /// What forgets expired delegation tokens, if it is time to look for them and there are any. Where there are many, only a
    /// part of them goes, so that it is looked again until there are none.
    fn expired_tokens(&mut self, image: &Image, now: Instant) -> Option<request::Request> {
        let every = self.options.token_check_interval(image);
        if now.saturating_duration_since(self.tokens_checked) < every {
            return None;
        }
        let now_ms = (self.options.now_ms)();
        let mut expired = image.tokens().filter(|token| !token.holds(now_ms));
        let Some(first) = expired.next() else {
            self.tokens_checked = now;
            return None;
        };
        tracing::info!(
            expired = 1 + expired.count(),
            id = first.id,
            owner = first.owner,
            "delegation tokens have expired and are forgotten"
        );
        Some(request::Request::RemoveExpiredTokens(RemoveExpiredTokens {}))
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
