//! This broker as a member of the fleet: it registers with the controller, says every 250 ms that it lives, and asks to go
//! before it stops.

use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::metadata::{
    Broker, BrokerHeartbeat, Endpoint, HeartbeatAnswer, Refusal, RegisterBroker, Request, Response, request,
};
use flotilla_protocol::{BrokerEpoch, BrokerId, Uuid};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::client::{Controller, SubmitError};
use super::latest::Metadata;
use super::runtime;

/// One attempt to register.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);
/// After a registration that was refused for now.
const REGISTER_PAUSE: Duration = Duration::from_millis(250);

/// What a broker says of itself when it registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Who it is.
    pub broker: BrokerId,
    /// Kafka's id of the cluster.
    pub cluster_id: Uuid,
    /// Drawn when its data directory was formatted.
    pub directory_id: Uuid,
    /// Drawn when this process started.
    pub incarnation_id: Uuid,
    /// The listeners for clients, as they are advertised.
    pub endpoints: Vec<Endpoint>,
    /// The reserved listener where replicas fetch.
    pub replication: Option<Endpoint>,
    /// `host:port` of its gRPC services.
    pub control_address: String,
    /// As its own configuration says; empty: none.
    pub rack: String,
    /// `broker`, `coordinator`.
    pub roles: Vec<String>,
    /// Of the binary.
    pub version: String,
    /// The highest `flotilla.version` that it supports.
    pub flotilla_version_max: i32,
    /// Whether the last process closed its logs, so that nothing that it wrote can be missing (KIP-966).
    pub clean_shutdown: bool,
}

impl Registration {
    fn request(&self) -> Request {
        let broker = Broker {
            broker_id: self.broker.0,
            broker_epoch: -1,
            incarnation_id: self.incarnation_id.0.to_vec(),
            directory_id: self.directory_id.0.to_vec(),
            endpoints: self.endpoints.clone(),
            replication: self.replication.clone(),
            control_address: self.control_address.clone(),
            rack: self.rack.clone(),
            roles: self.roles.clone(),
            fenced: true,
            in_controlled_shutdown: false,
            version: self.version.clone(),
            flotilla_version_max: self.flotilla_version_max,
            storage_full: false,
        };
        let register = RegisterBroker {
            broker: Some(broker),
            cluster_id: self.cluster_id.to_string(),
            clean_shutdown: self.clean_shutdown,
        };
        let request = Some(request::Request::RegisterBroker(register));
        Request {
            validate_only: false,
            request,
        }
    }
}

/// How the fleet sees this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Given by the controller at the registration (KIP-903); `None` before it.
    pub epoch: Option<BrokerEpoch>,
    /// Whether it leads nothing, as the controller said last: not registered, not caught up, or not heard of for a session.
    /// While no controller answers this stays as it was: a quorum that is lost for a moment is no reason for all brokers
    /// to turn clients away, whom they can serve.
    pub fenced: bool,
    /// Whether its metadata has caught up.
    pub caught_up: bool,
    /// Whether the controller has taken everything over, so that it may stop.
    pub may_stop: bool,
}

impl Standing {
    const UNKNOWN: Self = Self {
        epoch: None,
        fenced: true,
        caught_up: false,
        may_stop: false,
    };
}

/// What this broker wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wish {
    ready: bool,
    stop: bool,
    /// No wish, but what it has to say of its volumes.
    full: bool,
}

/// This broker's membership. Its task goes on until [`Lifecycle::stop`], or until this is dropped.
#[derive(Debug)]
pub struct Lifecycle {
    standing: watch::Receiver<Standing>,
    wish: watch::Sender<Wish>,
    task: JoinHandle<()>,
}

/// Intervals, both deviating from Kafka's defaults.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat: Duration,
    /// `broker.session.timeout.ms`.
    pub session: Duration,
}

impl Lifecycle {
    /// Registers, and keeps the session alive. The broker stays fenced until [`Lifecycle::set_ready`]. A refusal for good
    /// goes to `failure`: the broker must stop.
    #[must_use]
    pub fn start(
        registration: Registration,
        timing: Timing,
        controller: Controller,
        metadata: Metadata,
        failure: watch::Sender<Option<String>>,
    ) -> Self {
        let (standing_sender, standing) = watch::channel(Standing::UNKNOWN);
        let (wish, wishes) = watch::channel(Wish::default());
        let standing_sender = Arc::new(standing_sender);
        let task = Task {
            registration,
            timing,
            controller,
            metadata,
            failure,
            standing: standing_sender,
            wishes,
            heard: Instant::now(),
            is_unheard: false,
            told_index: 0,
        };
        Self {
            standing,
            wish,
            task: runtime::spawn(task.run()),
        }
    }

    /// How the fleet sees this broker now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Follows how the fleet sees this broker.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// The epoch of the current registration.
    #[must_use]
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        self.standing().epoch
    }

    /// Whether the broker can serve: its logs are recovered and its listeners open.
    pub fn set_ready(&self, ready: bool) {
        self.wish.send_modify(|wish| wish.ready = ready);
    }

    /// Tells the fleet whether a volume of this broker is full, as long as the sender of that lives.
    pub fn follow_space(&self, mut full: watch::Receiver<bool>) -> JoinHandle<()> {
        let wish = self.wish.clone();
        tokio::spawn(async move {
            loop {
                let now = *full.borrow_and_update();
                wish.send_if_modified(|wish| std::mem::replace(&mut wish.full, now) != now);
                if full.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    /// Waits until the fleet takes this broker as alive; false when the deadline passes first.
    pub async fn unfenced(&self, deadline: Instant) -> bool {
        let mut standing = self.standing.clone();
        matches!(
            timeout_at(deadline, standing.wait_for(|standing| !standing.fenced)).await,
            Ok(Ok(_))
        )
    }

    /// Asks the controller to move everything off this broker, and waits until it has and a heartbeat's interval is over,
    /// in which clients hear of it; false when the deadline passes first.
    pub async fn shut_down(&self, deadline: Instant) -> bool {
        self.wish.send_modify(|wish| wish.stop = true);
        let mut standing = self.standing.clone();
        matches!(
            timeout_at(deadline, standing.wait_for(|standing| standing.may_stop)).await,
            Ok(Ok(_))
        )
    }

    /// Falls silent.
    pub fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Lifecycle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    registration: Registration,
    timing: Timing,
    controller: Controller,
    metadata: Metadata,
    failure: watch::Sender<Option<String>>,
    standing: Arc<watch::Sender<Standing>>,
    wishes: watch::Receiver<Wish>,
    heard: Instant,
    is_unheard: bool,
    /// How far the metadata here was when the controller was told last.
    told_index: u64,
}

/// What a heartbeat came to.
enum Beat {
    Alive,
    RegisterAnew,
}

impl Task {
    async fn run(mut self) {
        loop {
            let Some(epoch) = self.register().await else {
                return;
            };
            self.standing.send_modify(|standing| {
                *standing = Standing {
                    epoch: Some(epoch),
                    may_stop: standing.may_stop,
                    ..Standing::UNKNOWN
                };
            });
            let mut ticks = interval(self.timing.heartbeat);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    changed = self.wishes.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        // The next one comes a whole interval later. Who wants to stop is told that he may by then: clients hear from him
                        // meanwhile, with a refusal, that others lead, which they learn more slowly from a connection that breaks.
                        ticks.reset();
                    }
                    () = catch_up(&self.metadata, self.told_index, epoch) => {}
                }
                match self.beat(epoch).await {
                    Beat::Alive => {}
                    Beat::RegisterAnew => break,
                }
            }
        }
    }

    /// Registers, however long that takes. `None`: the fleet will not have this broker.
    async fn register(&self) -> Option<BrokerEpoch> {
        let mut told = String::new();
        loop {
            let why = match self
                .controller
                .submit_only(self.registration.request(), REGISTER_TIMEOUT)
                .await
            {
                Ok(answer) => match self.registered(answer.response) {
                    Registered::Yes(epoch) => return Some(epoch),
                    Registered::NotNow(why) => why,
                    Registered::Never(why) => {
                        let message = format!("this broker may not join the fleet: {why}");
                        self.failure.send_replace(Some(message));
                        return None;
                    }
                },
                Err(error) => error.to_string(),
            };
            if told != why {
                tracing::info!(why, "not registered with the controller yet");
                told = why;
            }
            sleep(REGISTER_PAUSE).await;
        }
    }

    fn registered(&self, response: Response) -> Registered {
        match response.refusal() {
            Refusal::None => {
                tracing::info!(broker = %self.registration.broker, epoch = response.broker_epoch, "registered");
                Registered::Yes(BrokerEpoch(response.broker_epoch))
            }
            Refusal::UnsupportedVersion | Refusal::InvalidRequest => Registered::Never(response.message),
            _ => Registered::NotNow(response.message),
        }
    }

    async fn beat(&mut self, epoch: BrokerEpoch) -> Beat {
        let wish = *self.wishes.borrow_and_update();
        self.told_index = self.metadata.index();
        let heartbeat = BrokerHeartbeat {
            broker_id: self.registration.broker.0,
            broker_epoch: epoch.0,
            applied_index: self.told_index,
            want_fence: !wish.ready && !wish.stop,
            want_shut_down: wish.stop,
            storage_full: wish.full,
        };
        let request = Request {
            validate_only: false,
            request: Some(request::Request::BrokerHeartbeat(heartbeat)),
        };
        let sent = Instant::now();
        match self.controller.submit_only(request, self.timing.session).await {
            Ok(answer) => match answer.response.refusal() {
                Refusal::None => {
                    self.heard = sent;
                    self.is_unheard = false;
                    self.note(answer.response.heartbeat.unwrap_or_default());
                }
                Refusal::BrokerNotRegistered | Refusal::StaleBrokerEpoch => {
                    tracing::warn!(why = answer.response.message, "registering anew");
                    self.standing.send_modify(|standing| standing.fenced = true);
                    return Beat::RegisterAnew;
                }
                refusal => tracing::warn!(?refusal, why = answer.response.message, "a heartbeat was refused"),
            },
            Err(SubmitError::NotAvailable { last, .. }) => {
                tracing::debug!(last, "a heartbeat was not answered")
            }
            Err(SubmitError::Behind(_)) => {}
        }
        let is_unheard = self.heard.elapsed() > self.timing.session;
        if is_unheard && !std::mem::replace(&mut self.is_unheard, is_unheard) {
            let session = self.timing.session;
            tracing::warn!(
                ?session,
                "no controller has answered for a session: serving as before until one does"
            );
        }
        Beat::Alive
    }

    fn note(&self, answer: HeartbeatAnswer) {
        self.standing.send_if_modified(|standing| {
            let before = *standing;
            standing.fenced = answer.fenced;
            standing.caught_up = answer.caught_up;
            standing.may_stop = answer.should_shut_down;
            if before.fenced != standing.fenced {
                let state = if standing.fenced { "fenced" } else { "unfenced" };
                tracing::info!(broker = %self.registration.broker, state, "the controller says");
            }
            before != *standing
        });
    }
}

/// Waits until the metadata here shows the registration, if the controller was not told so yet: with the heartbeat that tells it, it
/// unfences this broker, which need not wait for its turn.
async fn catch_up(metadata: &Metadata, told_index: u64, epoch: BrokerEpoch) {
    let registered_at = u64::try_from(epoch.0).unwrap_or(0);
    if told_index >= registered_at {
        return std::future::pending().await;
    }
    let mut images = metadata.subscribe();
    while metadata.index() < registered_at {
        if images.changed().await.is_none() {
            return std::future::pending().await;
        }
    }
}

enum Registered {
    Yes(BrokerEpoch),
    NotNow(String),
    Never(String),
}
