//! The task of one shard.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flotilla_protocol::Offset;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesOrdered, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Phase;
use super::batch::Batch;
use super::load;
use super::machine::{Content, Effect, Machine};
use super::partitions::{Partitions, Place, ReadError};
use crate::group::{EndTransaction, Producer, Ticket, WriteError, WriteId};

/// How many requests are served before what they wrote is appended.
const JOBS_AT_ONCE_MAX: usize = 64;
/// Size at which a batch takes no more writes, well under the default `max.message.bytes`.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// How long a shard that could not be loaded waits before it tries again.
const LOAD_RETRY: Duration = Duration::from_millis(250);
/// How far ahead a task sleeps that has no deadline.
const FAR: Duration = Duration::from_secs(3_600);

/// A request and where its answer goes.
pub(super) struct Job<M: Machine> {
    pub(super) request: M::Request,
    pub(super) answer: oneshot::Sender<M::Reply>,
}

/// All that the task of a shard begins with.
pub(super) struct Task<M: Machine> {
    pub(super) place: Place,
    pub(super) partitions: Arc<dyn Partitions>,
    pub(super) config: watch::Receiver<M::Config>,
    pub(super) jobs: mpsc::Receiver<Job<M>>,
    /// Takes what is to be done elsewhere. No more is under way than the shard has keys.
    pub(super) errands: mpsc::UnboundedSender<(Place, M::Errand)>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) stop: CancellationToken,
}

/// Loads the shard and serves until leadership is lost or `stop` says so, and sends away who still waits. A shard whose
/// writes failed is read again for as long as this broker leads in that epoch, for nobody else takes its place.
pub(super) async fn run<M: Machine>(mut task: Task<M>) {
    let stop = task.stop.clone();
    while let Some(Some(shard)) = stop.run_until_cancelled(load_at_last(&task)).await {
        let clock = Clock::new();
        let (partitions, errands) = (task.partitions.clone(), task.errands.clone());
        let mut host = Host::new(task.place, partitions, errands, shard, clock);
        task.phase.send_replace(Phase::Active);
        host.serve(&mut task).await;
        task.phase.send_replace(Phase::Gone);
        let is_over = !host.lost;
        host.unload();
        if is_over || stop.run_until_cancelled(sleep(LOAD_RETRY)).await.is_none() {
            break;
        }
        task.phase.send_replace(Phase::Loading);
    }
    task.phase.send_replace(Phase::Gone);
    debug!(partition = %task.place.partition, epoch = %task.place.leader_epoch, topic = M::TOPIC, "coordinator gone");
}

async fn load_at_last<M: Machine>(task: &Task<M>) -> Option<M> {
    let partition = task.place.partition;
    let begun = Instant::now();
    loop {
        let config = task.config.borrow().clone();
        match load::load(&*task.partitions, task.place, config).await {
            Ok((shard, tally)) => {
                info!(
                    %partition,
                    epoch = %task.place.leader_epoch,
                    records = tally.records,
                    skipped = tally.skipped,
                    took_ms = begun.elapsed().as_millis() as u64,
                    topic = M::TOPIC,
                    "coordinator loaded"
                );
                return Some(shard);
            }
            Err(load::Error::Read(ReadError::NotLeader) | load::Error::Commit(WriteError::NotLeader)) => {
                return None;
            }
            Err(error) => {
                warn!(%partition, %error, topic = M::TOPIC, "coordinator cannot be loaded; trying again");
                sleep(LOAD_RETRY).await;
            }
        }
    }
}

/// A shard at work.
pub(super) struct Host<M: Machine> {
    place: Place,
    partitions: Arc<dyn Partitions>,
    errands: mpsc::UnboundedSender<(Place, M::Errand)>,
    shard: M,
    clock: Clock,
    waiting: BTreeMap<Ticket, oneshot::Sender<M::Reply>>,
    next_ticket: u64,
    open: Option<Batch>,
    commits: FuturesOrdered<BoxFuture<'static, (WriteId, Result<(), WriteError>)>>,
    /// A write failed, so that what is in memory is not what is in the log: leadership is gone, or the log is.
    lost: bool,
}

impl<M: Machine> Host<M> {
    pub(super) fn new(
        place: Place,
        partitions: Arc<dyn Partitions>,
        errands: mpsc::UnboundedSender<(Place, M::Errand)>,
        mut shard: M,
        clock: Clock,
    ) -> Self {
        let effects = shard.loaded(clock.now_ms());
        let mut host = Self {
            place,
            partitions,
            errands,
            shard,
            clock,
            waiting: BTreeMap::new(),
            next_ticket: 0,
            open: None,
            commits: FuturesOrdered::new(),
            lost: false,
        };
        host.carry_out(effects);
        host.flush();
        host
    }

    async fn serve(&mut self, task: &mut Task<M>) {
        let mut taken = Vec::new();
        while !self.lost {
            let wake = match self.shard.next_deadline() {
                Some(at_ms) => self.clock.instant(at_ms),
                None => Instant::now() + FAR,
            };
            tokio::select! {
                () = task.stop.cancelled() => break,
                Some((write, result)) = self.commits.next(), if !self.commits.is_empty() => {
                    self.settle(write, result);
                }
                count = task.jobs.recv_many(&mut taken, JOBS_AT_ONCE_MAX) => {
                    if count == 0 {
                        break;
                    }
                    if task.config.has_changed().unwrap_or(false) {
                        let config = task.config.borrow_and_update().clone();
                        self.shard.configure(config);
                    }
                    for job in taken.drain(..) {
                        self.apply(job);
                    }
                }
                () = sleep_until(wake) => self.tick(),
            }
            self.flush();
        }
    }

    /// Goes on with all that can go on now. Whether there is anything left to serve.
    pub(super) fn step(&mut self) -> bool {
        while !self.lost
            && let Some(Some((write, result))) = self.commits.next().now_or_never()
        {
            self.settle(write, result);
        }
        let due = self.shard.next_deadline();
        if due.is_some_and(|at_ms| at_ms <= self.clock.now_ms()) {
            self.tick();
        }
        self.flush();
        !self.lost
    }

    fn tick(&mut self) {
        let effects = self.shard.tick(self.clock.now_ms());
        self.carry_out(effects);
    }

    pub(super) fn apply(&mut self, job: Job<M>) {
        let to = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(to, job.answer);
        let effects = self.shard.apply(self.clock.now_ms(), to, job.request);
        self.carry_out(effects);
    }

    fn settle(&mut self, write: WriteId, result: Result<(), WriteError>) {
        match result {
            Ok(()) => {
                let effects = self.shard.committed(self.clock.now_ms(), write);
                self.carry_out(effects);
            }
            Err(error) => {
                debug!(partition = %self.place.partition, topic = M::TOPIC, %error, "coordinator lost its partition");
                self.lost = true;
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect<M>>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Reply { to, reply } => {
                    if let Some(answer) = self.waiting.remove(&to) {
                        // Who asked may have gone meanwhile.
                        let _ = answer.send(reply);
                    }
                }
                Effect::Errand(errand) => {
                    // Nobody runs errands any more while the broker stops: who takes over does.
                    let _ = self.errands.send((self.place, errand));
                }
                Effect::Append { write, content } => {
                    let done = match content {
                        Content::Records(records) => self.collect(write, &records),
                        Content::InTransaction(producer, records) => {
                            self.append_in_transaction(write, producer, &records)
                        }
                        Content::Marker(marker) => self.append_marker(write, &marker),
                    };
                    if let Err((from, error)) = done {
                        // What else was to be appended is later than what failed, and fails with it.
                        effects.retain(|effect| !matches!(effect, Effect::Append { .. }));
                        effects.extend(self.shard.failed(self.clock.now_ms(), from, error));
                    }
                }
            }
        }
    }

    /// Adds a write to the open batch; a full one is appended. On failure it returns the first write that failed.
    fn collect(&mut self, write: WriteId, records: &[M::Record]) -> Result<(), (WriteId, WriteError)> {
        let now_ms = self.clock.now_ms() as i64;
        let too_large = |_| (write, WriteError::TooLarge);
        let alone = Batch::of::<M>(write, None, records, now_ms).map_err(too_large)?;
        match &mut self.open {
            // A large write goes alone, so that its failure is its own.
            Some(open) if open.size_bytes() + alone.size_bytes() <= BATCH_BYTES_MAX => {
                open.join::<M>(write, records, now_ms).map_err(too_large)?;
                return Ok(());
            }
            Some(_) => self.append_open()?,
            None => {}
        }
        let is_full = alone.size_bytes() >= BATCH_BYTES_MAX;
        self.open = Some(alone);
        if is_full { self.append_open() } else { Ok(()) }
    }

    /// Appends a write of a producer's transaction, in a batch of its own.
    fn append_in_transaction(
        &mut self,
        write: WriteId,
        producer: Producer,
        records: &[M::Record],
    ) -> Result<(), (WriteId, WriteError)> {
        self.append_open()?;
        let now_ms = self.clock.now_ms() as i64;
        let batch = Batch::of::<M>(write, Some(producer), records, now_ms)
            .map_err(|_| (write, WriteError::TooLarge))?;
        let appended = if self.lost {
            Err(WriteError::NotLeader)
        } else {
            self.partitions.append(self.place, batch.build(), producer.guard)
        };
        self.appended(write, write, appended)
    }

    fn append_marker(
        &mut self,
        write: WriteId,
        marker: &EndTransaction,
    ) -> Result<(), (WriteId, WriteError)> {
        self.append_open()?;
        let appended = if self.lost {
            Err(WriteError::NotLeader)
        } else {
            self.partitions.end_transaction(self.place, marker)
        };
        self.appended(write, write, appended)
    }

    fn appended(
        &mut self,
        first: WriteId,
        last: WriteId,
        appended: Result<Offset, WriteError>,
    ) -> Result<(), (WriteId, WriteError)> {
        match appended {
            Ok(end) => {
                let committed = self.partitions.wait_committed(self.place, end);
                self.commits
                    .push_back(Box::pin(async move { (last, committed.await) }));
                Ok(())
            }
            Err(error) => {
                debug!(partition = %self.place.partition, topic = M::TOPIC, %error, "records not appended");
                self.lost |= error == WriteError::NotLeader;
                Err((first, error))
            }
        }
    }

    fn append_open(&mut self) -> Result<(), (WriteId, WriteError)> {
        let Some(batch) = self.open.take() else {
            return Ok(());
        };
        let (first, last) = (batch.first(), batch.last());
        if self.lost {
            return Err((first, WriteError::NotLeader));
        }
        let appended = self.partitions.append(self.place, batch.build(), None);
        self.appended(first, last, appended)
    }

    /// Appends what has been collected. What its failure causes may have to be appended in turn.
    fn flush(&mut self) {
        while self.open.is_some() {
            if let Err((from, error)) = self.append_open() {
                let effects = self.shard.failed(self.clock.now_ms(), from, error);
                self.carry_out(effects);
            }
        }
    }

    pub(super) fn unload(self) {
        let mut waiting = self.waiting;
        for effect in self.shard.unload() {
            if let Effect::Reply { to, reply } = effect
                && let Some(answer) = waiting.remove(&to)
            {
                let _ = answer.send(reply);
            }
        }
    }
}

/// Time that never goes back: the wall clock as it stood when the shard began, and what has passed since. Or what a
/// simulation says, in milliseconds.
pub(super) struct Clock {
    base_ms: u64,
    base: Instant,
    told_ms: Option<Arc<AtomicU64>>,
}

impl Clock {
    fn new() -> Self {
        Self {
            base_ms: u64::try_from(crate::clock::now_ms()).unwrap_or(0),
            base: Instant::now(),
            told_ms: None,
        }
    }

    pub(super) fn told(now_ms: Arc<AtomicU64>) -> Self {
        Self {
            told_ms: Some(now_ms),
            ..Self::new()
        }
    }

    fn now_ms(&self) -> u64 {
        match &self.told_ms {
            Some(told_ms) => told_ms.load(Ordering::Relaxed),
            None => self.base_ms + self.base.elapsed().as_millis() as u64,
        }
    }

    /// Not before `at_ms` has come, to the millisecond.
    fn instant(&self, at_ms: u64) -> Instant {
        self.base + Duration::from_millis(at_ms.saturating_sub(self.base_ms))
    }
}
