//! One connection: requests in, answers out in the same order.
//!
//! A request is read when the one before has been handled and its answer is mostly on its way, so that a client that does not read
//! holds nothing but its own. Only answers that wait for replicas (Produce with acks=all) are overtaken by the next request,
//! [`PIPELINED_MAX`] of them. Everything is one state machine without tasks or channels of its own: an idle connection costs
//! a socket, this struct, and a timer.

use super::Shared;
use super::budget::Reservation;
use super::gate::{Gate, Passed, Verdict};
use super::inbox::{self, Frame, Inbox};
use super::outbox::Outbox;
use super::registry::Ticket;
use super::send_file::SendFile;
use crate::request::{self, Answer, Context, Failure, Meter, Session};
use crate::telemetry::CloseReason;
use flotilla_protocol::{Segment, frame};
use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Instant;
use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tokio::time::{self, Sleep};

/// The answers that may wait on one connection while further requests are handled.
const PIPELINED_MAX: usize = 64;
/// With more than this not sent yet, no further request is taken.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// With so many segments not sent yet, no further request is looked for before they are.
const ANSWERS_TOGETHER_MAX: usize = 16;

type Panic = Box<dyn Any + Send>;
type Guarded<T> = BoxFuture<'static, Result<T, Panic>>;

/// A request that is being handled.
struct Running {
    work: Guarded<Result<Done, Failure>>,
    stamp: Stamp,
}

enum Done {
    Answer(Answer),
    Token(Box<Passed>),
}

/// An answer that has its turn after those before it.
enum Waiting {
    Ready(Vec<Segment>),
    Later(Guarded<Result<Vec<Segment>, Failure>>, Stamp),
}

/// What is known of a request until it is answered.
struct Stamp {
    api: &'static str,
    since: Instant,
    /// The request's memory.
    _reservation: Option<Reservation>,
    /// What it uses of the client's quotas.
    meter: Arc<Meter>,
}

pub(super) struct Connection<S> {
    stream: S,
    shared: Arc<Shared>,
    session: Arc<Session>,
    gate: Gate,
    ticket: Ticket,
    closed: oneshot::Receiver<CloseReason>,
    inbox: Inbox,
    running: Option<Running>,
    waiting: VecDeque<Waiting>,
    outbox: Outbox,
    /// No further requests are taken until then: the client used up its quota.
    mute: Option<Pin<Box<Sleep>>>,
    /// No further requests are taken; the connection ends when all answers are out.
    ending: Option<CloseReason>,
    opened: time::Instant,
    last_progress: time::Instant,
    timer: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + SendFile> Connection<S> {
    pub(super) fn new(
        stream: S,
        shared: Arc<Shared>,
        session: Session,
        gate: Gate,
        ticket: Ticket,
        closed: oneshot::Receiver<CloseReason>,
    ) -> Self {
        let now = time::Instant::now();
        Self {
            stream,
            shared,
            session: Arc::new(session),
            gate,
            ticket,
            closed,
            inbox: Inbox::default(),
            running: None,
            waiting: VecDeque::new(),
            outbox: Outbox::default(),
            mute: None,
            ending: None,
            opened: now,
            last_progress: now,
            timer: Box::pin(time::sleep_until(now)),
        }
    }

    /// Serves until the connection ends, and says why it did.
    pub(super) async fn run(mut self) -> CloseReason {
        let reason = poll_fn(|cx| self.poll(cx)).await;
        let (broker, connection) = (self.shared.broker.clone(), self.session.connection_id);
        match self.running.take() {
            // A handler is never dropped half way: what it has begun to change, it finishes.
            Some(running) => {
                tokio::spawn(async move {
                    drop(running.work.await);
                    broker.disconnected(connection);
                });
            }
            None => broker.disconnected(connection),
        }
        reason
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<CloseReason> {
        if let Poll::Ready(reason) = self.closed.poll_unpin(cx) {
            return Poll::Ready(reason.unwrap_or(CloseReason::Shutdown));
        }
        loop {
            match self.advance(cx) {
                Ok(true) => self.last_progress = time::Instant::now(),
                Ok(false) => break,
                Err(reason) => return Poll::Ready(reason),
            }
        }
        if let Some(reason) = self.ending
            && self.running.is_none()
            && self.waiting.is_empty()
            && self.outbox.is_empty()
        {
            return Poll::Ready(reason);
        }
        self.poll_timer(cx)
    }

    /// One round over all that may have moved. Whether anything has.
    fn advance(&mut self, cx: &mut task::Context<'_>) -> Result<bool, CloseReason> {
        let mut moved = false;
        if let Some(Running { work, stamp }) = &mut self.running
            && let Poll::Ready(done) = stamp.meter.during(|| work.poll_unpin(cx))
        {
            let stamp = self.running.take().expect("it was polled just now").stamp;
            self.handled(done, stamp)?;
            moved = true;
        }
        moved |= self.advance_waiting(cx)?;
        moved |= self.advance_mute(cx);
        moved |= self.advance_read(cx)?;
        // Answers to requests that are there already go out together.
        if !moved || self.outbox.segments() >= ANSWERS_TOGETHER_MAX {
            moved |= self.advance_write(cx)?;
        }
        Ok(moved)
    }

    fn advance_waiting(&mut self, cx: &mut task::Context<'_>) -> Result<bool, CloseReason> {
        let mut moved = false;
        loop {
            let segments = match self.waiting.front_mut() {
                None => break,
                Some(Waiting::Ready(segments)) => std::mem::take(segments),
                Some(Waiting::Later(answer, stamp)) => {
                    let Poll::Ready(answer) = stamp.meter.during(|| answer.poll_unpin(cx)) else {
                        break;
                    };
                    let segments = survived(answer)?.map_err(|failure| reason_of(&failure))?;
                    answered(&self.shared, stamp);
                    mute(&mut self.mute, stamp.meter.throttle());
                    segments
                }
            };
            self.waiting.pop_front();
            self.outbox.push(segments);
            moved = true;
        }
        Ok(moved)
    }

    fn advance_write(&mut self, cx: &mut task::Context<'_>) -> Result<bool, CloseReason> {
        let sent = self
            .outbox
            .advance(cx, &mut self.stream)
            .map_err(|_| CloseReason::Client)?;
        self.shared.metrics.sent_bytes.inc_by(sent.unwrap_or(0) as u64);
        Ok(sent.is_some())
    }

    /// Whether the client has been held back for long enough just now.
    fn advance_mute(&mut self, cx: &mut task::Context<'_>) -> bool {
        let is_over = self
            .mute
            .as_mut()
            .is_some_and(|until| until.poll_unpin(cx).is_ready());
        if is_over {
            self.mute = None;
        }
        is_over
    }

    fn advance_read(&mut self, cx: &mut task::Context<'_>) -> Result<bool, CloseReason> {
        let takes_more = self.running.is_none()
            && self.mute.is_none()
            && self.ending.is_none()
            && self.waiting.len() < PIPELINED_MAX
            && self.outbox.bytes() < UNSENT_BYTES_MAX;
        if !takes_more {
            return Ok(false);
        }
        let (size_max, budget) = if self.gate.is_open() {
            (self.shared.frame_bytes_max, self.shared.budget.as_ref())
        } else {
            (
                self.shared.unauthenticated_frame_bytes_max,
                Some(&self.shared.unauthenticated_budget),
            )
        };
        match self.inbox.poll_frame(cx, &mut self.stream, size_max, budget) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(Some(frame))) => {
                self.begin(frame).map_err(|failure| reason_of(&failure))?;
                Ok(true)
            }
            Poll::Ready(Ok(None)) => {
                self.ending = Some(CloseReason::Client);
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(reason_of_inbox(&error)),
        }
    }

    /// Begins to handle a request.
    fn begin(&mut self, frame: Frame) -> Result<(), Failure> {
        self.shared
            .metrics
            .received_bytes
            .inc_by(frame.bytes.len() as u64 + 4);
        let meter = Arc::new(Meter::new(frame.bytes.len()));
        let stamp = |api, meter| Stamp {
            api,
            since: Instant::now(),
            _reservation: frame.reservation,
            meter,
        };
        if self.gate.takes_bare_token() {
            let token = self.gate.bare_token(frame.bytes).expect("it takes one");
            let work = token
                .take(self.shared.clone())
                .map(|passed| passed.map(|passed| Done::Token(Box::new(passed))));
            self.running = Some(Running {
                work: guarded(work),
                stamp: stamp("SaslAuthenticate", meter),
            });
            return Ok(());
        }
        let (header, mut body) = frame::decode_request(frame.bytes)?;
        let Some(api) = header.api() else {
            let api = format!("API {}", header.api_key);
            return Err(Failure::Unsupported {
                api,
                version: header.api_version,
            });
        };
        if matches!(
            api,
            flotilla_protocol::ApiKey::SaslHandshake | flotilla_protocol::ApiKey::SaslAuthenticate
        ) && !request::is_announced(api, header.api_version)
        {
            return Err(Failure::Unsupported {
                api: api.to_string(),
                version: header.api_version,
            });
        }
        let work = match self.gate.admit(api, &header, &mut body, &self.shared)? {
            Verdict::Serve => {
                let ctx = Context {
                    broker: self.shared.broker.clone(),
                    session: self.session.clone(),
                    client_id: header.client_id.as_ref().map(|id| id.as_str().into()),
                    version: header.api_version,
                    correlation_id: header.correlation_id,
                    meter: meter.clone(),
                };
                guarded(request::answer(ctx, api, body).map(|answer| answer.map(Done::Answer)))
            }
            Verdict::Answered(answer) => guarded(std::future::ready(Ok(Done::Answer(answer)))),
            Verdict::AnsweredAndEnds(answer) => {
                self.ending = Some(CloseReason::Unauthenticated);
                guarded(std::future::ready(Ok(Done::Answer(answer))))
            }
            Verdict::Token(token) => guarded(
                token
                    .take(self.shared.clone())
                    .map(|passed| passed.map(|passed| Done::Token(Box::new(passed)))),
            ),
            Verdict::Refuse => return Err(Failure::Unauthenticated(api)),
        };
        self.running = Some(Running {
            work,
            stamp: stamp(api.name(), meter),
        });
        Ok(())
    }

    /// Takes over what a handler has done.
    fn handled(
        &mut self,
        done: Result<Result<Done, Failure>, Panic>,
        stamp: Stamp,
    ) -> Result<(), CloseReason> {
        let answer = match survived(done)?.map_err(|failure| reason_of(&failure))? {
            Done::Answer(answer) => answer,
            Done::Token(mut passed) => {
                let metadata = &self.shared.broker.metadata;
                let session = self.gate.pass(&mut passed, &self.session, &self.ticket, metadata);
                if let Some(session) = session {
                    self.session = session;
                }
                if passed.ends {
                    self.ending = Some(CloseReason::Unauthenticated);
                }
                passed.answer
            }
        };
        mute(&mut self.mute, stamp.meter.throttle());
        match answer {
            Answer::Now(segments) => {
                answered(&self.shared, &stamp);
                self.waiting.push_back(Waiting::Ready(segments));
            }
            Answer::Later(answer) => self.waiting.push_back(Waiting::Later(guarded(answer), stamp)),
            Answer::Silent => answered(&self.shared, &stamp),
        }
        Ok(())
    }

    /// When, as things stand, the connection has been silent for too long, and what for.
    fn deadline(&self) -> Option<(time::Instant, CloseReason)> {
        if !self.outbox.is_empty() {
            return Some((
                self.last_progress + self.shared.patience.answer,
                CloseReason::Stalled,
            ));
        }
        if self.running.is_some() || !self.waiting.is_empty() || self.inbox.is_waiting_for_memory() {
            return None;
        }
        if !self.gate.is_open() {
            return Some((
                self.opened + self.shared.patience.authentication,
                CloseReason::Stalled,
            ));
        }
        if self.inbox.is_inside_frame() && self.mute.is_none() {
            return Some((
                self.last_progress + self.shared.patience.frame,
                CloseReason::Stalled,
            ));
        }
        let idle = self.shared.idle_max?;
        Some((self.last_progress + idle, CloseReason::Idle))
    }

    /// The timer is set anew when it fires, or when the deadline has come nearer: not with every request.
    fn poll_timer(&mut self, cx: &mut task::Context<'_>) -> Poll<CloseReason> {
        let Some((deadline, reason)) = self.deadline() else {
            return Poll::Pending;
        };
        let armed = !self.timer.is_elapsed();
        if !armed || deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.poll_unpin(cx).is_ready() {
            if time::Instant::now() >= deadline {
                return Poll::Ready(reason);
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// Has the connection hold its client back for that long: after the answer (KIP-219), and for the longest that one of several answers said.
fn mute(mute: &mut Option<Pin<Box<Sleep>>>, wait: std::time::Duration) {
    if wait.is_zero() {
        return;
    }
    let until = time::Instant::now() + wait;
    if mute.as_ref().is_none_or(|mute| mute.deadline() < until) {
        *mute = Some(Box::pin(time::sleep_until(until)));
    }
}

/// Keeps a handler's panic, which is always a bug of ours, from reaching any other connection.
fn guarded<T>(work: impl Future<Output = T> + Send + 'static) -> Guarded<T> {
    AssertUnwindSafe(work).catch_unwind().boxed()
}

fn survived<T>(result: Result<T, Panic>) -> Result<T, CloseReason> {
    result.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(
            panic = text,
            "a request handler failed: this is a bug, please report it"
        );
        CloseReason::Panic
    })
}

fn answered(shared: &Shared, stamp: &Stamp) {
    shared
        .broker
        .telemetry
        .metrics
        .request_answered(stamp.api, stamp.since.elapsed());
}

fn reason_of(failure: &Failure) -> CloseReason {
    match failure {
        Failure::Unauthenticated(_) => {
            tracing::info!(%failure, "connection closed");
            CloseReason::Unauthenticated
        }
        Failure::Malformed(_) | Failure::Unsupported { .. } => {
            tracing::info!(%failure, "connection closed");
            CloseReason::Malformed
        }
        Failure::Unacknowledged => CloseReason::Unacknowledged,
        Failure::Response(_) => {
            tracing::error!(%failure, "connection closed: this is a bug, please report it");
            CloseReason::Panic
        }
    }
}

fn reason_of_inbox(error: &inbox::Error) -> CloseReason {
    match error {
        inbox::Error::Frame(frame::FrameError::TooLarge { .. }) => {
            tracing::info!(%error, "connection closed");
            CloseReason::TooLarge
        }
        inbox::Error::Frame(_) => {
            tracing::info!(%error, "connection closed");
            CloseReason::Malformed
        }
        inbox::Error::Io(_) | inbox::Error::Truncated => CloseReason::Client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_of_a_handler_becomes_a_reason_to_close() {
        let work: Guarded<()> = guarded(async { panic!("a bug of ours") });
        assert_eq!(survived(work.await), Err(CloseReason::Panic));
        assert_eq!(survived(guarded(async { 7 }).await), Ok(7));
    }
}
