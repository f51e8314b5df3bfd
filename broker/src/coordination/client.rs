//! Reaches the controller, wherever it is.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flotilla_control::proto::coordination::{
    DescribeQuorumResponse, LeaderHint, SubmitRequest, SubmitResponse,
};
use flotilla_control::proto::metadata::{Refusal, Request, Response};
use flotilla_protocol::BrokerId;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::driver::{Answer, Driver};
use super::electorate::Electorate;
use super::latest::{Metadata, WaitError};
use super::quorum::Leadership;
use super::watched::Voting;

/// How long a request may take when its caller does not say.
pub const SUBMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two rounds over all brokers that might know the controller.
const PAUSE: Duration = Duration::from_millis(50);
/// One attempt with one broker. A controller whose connection is dead is noticed sooner, by the connection itself.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Calls another broker's Coordination service.
pub trait Remote: Send + Sync + 'static {
    /// All brokers that might know the controller, the likeliest first.
    fn brokers(&self) -> Vec<BrokerId>;

    /// Hands a request to a broker, which answers it if it is the controller. The error says what went wrong.
    fn submit(&self, to: BrokerId, request: SubmitRequest) -> BoxFuture<'_, Result<SubmitResponse, String>>;

    /// Asks a broker who leads and who votes.
    fn describe_quorum(&self, to: BrokerId) -> BoxFuture<'_, Result<DescribeQuorumResponse, String>>;
}

/// Why a request got no answer. What the controller refuses is an answer, and says why in its `refusal`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No controller answered in time. The request may have taken effect, or may yet.
    #[error("no controller answered within {} ms: {last}", after.as_millis())]
    NotAvailable {
        /// How long it was tried.
        after: Duration,
        /// What the last attempt ended with.
        last: String,
    },
    /// The request took effect, but the metadata here did not catch up with it in time.
    #[error(transparent)]
    Behind(#[from] WaitError),
}

/// Hands requests to the controller. Clones share what they learn about where it is.
#[derive(Clone)]
pub struct Controller {
    inner: Arc<Inner>,
}

struct Inner {
    broker: BrokerId,
    cluster_id: String,
    metadata: Metadata,
    local: Option<Local>,
    remote: Arc<dyn Remote>,
    hint: Mutex<Option<BrokerId>>,
    observed: watch::Sender<Voting>,
    electorate: OnceLock<Electorate>,
}

/// A broker's own share in the quorum.
#[derive(Clone)]
pub struct Local {
    /// Its controller.
    pub driver: Driver,
    /// Who leads, as it sees it.
    pub leadership: watch::Receiver<Leadership>,
    /// Describes the quorum as it sees it.
    pub describe: Arc<dyn Fn() -> DescribeQuorumResponse + Send + Sync>,
}

enum Attempt {
    Answered(Answer),
    /// Not there; perhaps with a hint to where.
    Elsewhere(Option<BrokerId>, String),
}

impl Controller {
    /// A controller's client on broker `broker`. `local` is this broker's own share in the quorum.
    #[must_use]
    pub fn new(
        broker: BrokerId,
        cluster_id: String,
        metadata: Metadata,
        local: Option<Local>,
        remote: Arc<dyn Remote>,
    ) -> Self {
        let hint = Mutex::new(None);
        Self {
            inner: Arc::new(Inner {
                broker,
                cluster_id,
                metadata,
                local,
                remote,
                hint,
                observed: watch::Sender::default(),
                electorate: OnceLock::new(),
            }),
        }
    }

    /// Has the controller decide a request. On success the image here shows the effect already, so that a client's next
    /// question sees it.
    ///
    /// # Errors
    /// When no controller answers within [`SUBMIT_TIMEOUT`].
    pub async fn submit(&self, request: Request) -> Result<Response, SubmitError> {
        self.submit_within(request, SUBMIT_TIMEOUT).await
    }

    /// The same with a time limit of the caller's.
    ///
    /// # Errors
    /// When no controller answers in time.
    pub async fn submit_within(&self, request: Request, limit: Duration) -> Result<Response, SubmitError> {
        let deadline = Instant::now() + limit;
        let answer = self.ask(request, deadline, limit).await?;
        self.inner.metadata.wait_for(answer.index, deadline).await?;
        Ok(answer.response)
    }

    /// The same without waiting for the effect here.
    pub(super) async fn submit_only(&self, request: Request, limit: Duration) -> Result<Answer, SubmitError> {
        self.ask(request, Instant::now() + limit, limit).await
    }

    /// Who leads and who votes, from the controller if it can be reached, else from whoever answers first.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn quorum(&self) -> Result<DescribeQuorumResponse, SubmitError> {
        let local = self.inner.local.as_ref();
        if let Some(local) = local.filter(|local| local.leadership.borrow().leading) {
            return Ok((local.describe)());
        }
        let deadline = Instant::now() + ATTEMPT_TIMEOUT;
        let mut last = "no broker is known to ask".to_owned();
        let mut best = None;
        let mut queue = self.candidates();
        queue.retain(|broker| *broker != self.inner.broker);
        queue.reverse();
        let mut asked = Vec::new();
        while let Some(broker) = queue.pop() {
            asked.push(broker);
            match timeout_at(deadline, self.inner.remote.describe_quorum(broker)).await {
                Ok(Ok(described)) => {
                    let leader = described.leader.as_ref().map(|leader| BrokerId(leader.broker_id));
                    if leader == Some(broker) {
                        return Ok(described);
                    }
                    best.get_or_insert(described);
                    let hint = leader.filter(|leader| leader.0 >= 0 && *leader != self.inner.broker);
                    queue.extend(hint.filter(|hint| !asked.contains(hint)));
                }
                Ok(Err(error)) => last = error,
                Err(_) => break,
            }
        }
        let own = || local.map(|local| (local.describe)());
        best.or_else(own).ok_or(SubmitError::NotAvailable {
            after: ATTEMPT_TIMEOUT,
            last,
        })
    }

    /// The broker that is the controller, as far as is known here.
    #[must_use]
    pub fn known(&self) -> Option<BrokerId> {
        let own = self
            .inner
            .local
            .as_ref()
            .and_then(|local| local.leadership.borrow().leader);
        own.or(*self.inner.hint.lock())
    }

    /// What a voter says of the quorum while this broker observes it.
    pub(super) fn observe(&self, voting: Voting) {
        self.inner.observed.send_if_modified(|known| {
            let changed = *known != voting;
            *known = voting;
            changed
        });
    }

    /// No voter has been heard of for long: nobody is known to lead.
    pub(super) fn lose_sight(&self) {
        let voters = self.inner.observed.borrow().voters.clone();
        self.observe(Voting {
            voters,
            ..Voting::default()
        });
    }

    /// Follows what voters say of the quorum.
    pub(super) fn observed(&self) -> watch::Receiver<Voting> {
        self.inner.observed.subscribe()
    }

    /// Has voters changed through that from now on. Only the first one counts.
    pub(super) fn join_electorate(&self, electorate: Electorate) {
        let _ = self.inner.electorate.set(electorate);
    }

    /// What changes voters. None where nothing but this broker's memory is the quorum.
    pub(super) fn electorate(&self) -> Option<Electorate> {
        self.inner.electorate.get().cloned()
    }

    /// Learns who leads.
    pub(super) fn learn(&self, leader: &LeaderHint) {
        if leader.broker_id >= 0 {
            *self.inner.hint.lock() = Some(BrokerId(leader.broker_id));
        }
    }

    fn candidates(&self) -> Vec<BrokerId> {
        let mut candidates: Vec<BrokerId> = self.known().into_iter().collect();
        for broker in self.inner.remote.brokers() {
            if !candidates.contains(&broker) {
                candidates.push(broker);
            }
        }
        candidates
    }

    async fn ask(&self, request: Request, deadline: Instant, limit: Duration) -> Result<Answer, SubmitError> {
        let mut last = "no broker is known to ask".to_owned();
        loop {
            let mut queue = self.candidates();
            if self.inner.local.is_some() && !queue.contains(&self.inner.broker) {
                queue.push(self.inner.broker);
            }
            queue.reverse();
            let mut asked = Vec::new();
            while let Some(broker) = queue.pop() {
                asked.push(broker);
                let until = deadline.min(Instant::now() + ATTEMPT_TIMEOUT);
                match timeout_at(until, self.attempt(broker, &request)).await {
                    Ok(Attempt::Answered(answer)) => {
                        *self.inner.hint.lock() = Some(broker);
                        return Ok(answer);
                    }
                    Ok(Attempt::Elsewhere(hint, why)) => {
                        last = format!("broker {broker}: {why}");
                        if let Some(hint) = hint.filter(|hint| !asked.contains(hint)) {
                            queue.push(hint);
                        }
                    }
                    Err(_) => last = format!("broker {broker} did not answer"),
                }
                if Instant::now() >= deadline {
                    return Err(SubmitError::NotAvailable { after: limit, last });
                }
            }
            *self.inner.hint.lock() = None;
            if timeout_at(deadline, sleep(PAUSE)).await.is_err() {
                return Err(SubmitError::NotAvailable { after: limit, last });
            }
        }
    }

    async fn attempt(&self, broker: BrokerId, request: &Request) -> Attempt {
        if broker == self.inner.broker
            && let Some(local) = &self.inner.local
        {
            return match local.driver.submit(request.clone()).await {
                Ok(answer) => Attempt::Answered(answer),
                Err(error) => {
                    let leader = local
                        .leadership
                        .borrow()
                        .leader
                        .filter(|leader| *leader != broker);
                    Attempt::Elsewhere(leader, error.to_string())
                }
            };
        }
        let call = SubmitRequest {
            request: Some(request.clone()),
            cluster_id: self.inner.cluster_id.clone(),
        };
        match self.inner.remote.submit(broker, call).await {
            Ok(SubmitResponse {
                response: Some(response),
                index,
                ..
            }) if response.refusal() != Refusal::NotController => {
                Attempt::Answered(Answer { response, index })
            }
            Ok(answer) => {
                let hint = answer.leader.filter(|leader| leader.broker_id >= 0);
                Attempt::Elsewhere(
                    hint.map(|leader| BrokerId(leader.broker_id)),
                    "is not the controller".to_owned(),
                )
            }
            Err(error) => Attempt::Elsewhere(None, error),
        }
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller")
            .field("broker", &self.inner.broker)
            .finish_non_exhaustive()
    }
}
