//! Machines that share one thread and tokio's paused time. Each has its own seed, a clock that may run fast or slow, and
//! a disk that takes its time; each can be paused as by SIGSTOP, and killed, with all tasks that began on it.

use std::cell::RefCell;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use openraft::AsyncRuntime;
use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinHandle};

/// What a machine's clock shows when the machine is made; so much that no time before it is ever asked for.
const FIRST_MOMENT: Duration = Duration::from_secs(1 << 20);

thread_local! {
    static CURRENT: RefCell<Option<Machine>> = const { RefCell::new(None) };
}

/// A simulated machine. Clones are the same machine.
#[derive(Clone)]
pub struct Machine {
    inner: Arc<Mutex<State>>,
}

struct State {
    dice: u64,
    /// Millionths by which the clock runs fast, or slow where it is negative.
    drift_ppm: i64,
    begun: tokio::time::Instant,
    is_paused: bool,
    waiting: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    disk_ms: (u64, u64),
    panics: u64,
}

impl Machine {
    /// A machine that draws from `seed`, and whose clock runs fast by so many millionths.
    #[must_use]
    pub fn new(seed: u64, drift_ppm: i64) -> Self {
        let state = State {
            dice: seed,
            drift_ppm,
            begun: tokio::time::Instant::now(),
            is_paused: false,
            waiting: Vec::new(),
            tasks: Vec::new(),
            disk_ms: (0, 1),
            panics: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(state)),
        }
    }

    /// Starts a task on this machine; what it starts runs here too.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let handle = tokio::spawn(Resident {
            machine: self.clone(),
            task: Box::pin(task),
        });
        let mut state = self.inner.lock();
        state.tasks.retain(|task| !task.is_finished());
        state.tasks.push(handle.abort_handle());
        handle
    }

    /// Does something as a task of this machine would, so that what it starts runs here.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _running = Running::on(self);
        work()
    }

    /// Lets everything wait that takes the disk, for some time within these bounds, milliseconds.
    pub fn set_disk_ms(&self, least: u64, most: u64) {
        self.inner.lock().disk_ms = (least, most.max(least));
    }

    /// Stops all tasks where they are, as SIGSTOP does. The clock goes on.
    pub fn pause(&self) {
        self.inner.lock().is_paused = true;
    }

    /// Lets them go on.
    pub fn resume(&self) {
        let waiting = {
            let mut state = self.inner.lock();
            state.is_paused = false;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Ends all tasks at once: none takes another step.
    pub fn kill(&self) {
        self.pause();
        let tasks = {
            let mut state = self.inner.lock();
            state.waiting.clear();
            std::mem::take(&mut state.tasks)
        };
        for task in tasks {
            task.abort();
        }
    }

    /// How many of its tasks have panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.inner.lock().panics
    }

    /// What this machine's clock shows.
    fn now(&self) -> Moment {
        let state = self.inner.lock();
        let passed = i128::try_from(state.begun.elapsed().as_nanos()).unwrap_or(i128::MAX);
        let shown = passed + passed * i128::from(state.drift_ppm) / 1_000_000;
        Moment(FIRST_MOMENT + Duration::from_nanos(u64::try_from(shown).unwrap_or_default()))
    }

    /// How long something takes that this machine's clock measures as `shown`.
    fn real(&self, shown: Duration) -> Duration {
        let million = 1_000_000;
        let rate = million + i128::from(self.inner.lock().drift_ppm);
        let nanos = i128::try_from(shown.as_nanos()).unwrap_or(i128::MAX / million) * million / rate;
        // Rounded up, so that the clock shows at least the time that was waited for.
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX - 1) + 1)
    }

    fn draw(&self) -> u64 {
        let mut state = self.inner.lock();
        state.dice = state.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state.dice;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn disk_delay(&self) -> Duration {
        let (least, most) = self.inner.lock().disk_ms;
        let span_us = (most - least) * 1_000 + 1;
        Duration::from_micros(least * 1_000 + self.draw() % span_us)
    }

    /// The machine whose task runs at this moment.
    fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }
}

/// A task of a machine.
struct Resident<F> {
    machine: Machine,
    task: Pin<Box<F>>,
}

impl<F: Future> Future for Resident<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut state = self.machine.inner.lock();
            if state.is_paused {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        let _running = Running::on(&self.machine);
        self.task.as_mut().poll(context)
    }
}

/// A machine's task while it runs.
struct Running {
    outer: Option<Machine>,
}

impl Running {
    fn on(machine: &Machine) -> Self {
        Self {
            outer: CURRENT.replace(Some(machine.clone())),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = CURRENT.replace(self.outer.take());
        if std::thread::panicking()
            && let Some(machine) = ended
        {
            machine.inner.lock().panics += 1;
        }
    }
}

/// Starts a task on the machine whose task runs at this moment; outside of all machines, on none.
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    match Machine::current() {
        Some(machine) => machine.spawn(task),
        None => tokio::spawn(task),
    }
}

/// Does at once what waits for the disk, some virtual time after it was asked for and some before it is answered. Outside
/// of all machines it waits in a thread, as the real side does.
///
/// # Errors
/// Those of the real side, outside of all machines.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let Some(machine) = Machine::current() else {
        return tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    };
    let delay = machine.disk_delay();
    tokio::time::sleep(delay / 2).await;
    let done = work();
    tokio::time::sleep(delay / 2).await;
    Ok(done)
}

/// A time on a machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0 + later)
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, later: Duration) {
        self.0 += later;
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(earlier))
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, earlier: Duration) {
        *self = *self - earlier;
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, other: Self) -> Duration {
        self.0.saturating_sub(other.0)
    }
}

impl openraft::Instant for Moment {
    fn now() -> Self {
        static ORIGIN: OnceLock<tokio::time::Instant> = OnceLock::new();
        let outside = || Self(FIRST_MOMENT + ORIGIN.get_or_init(tokio::time::Instant::now).elapsed());
        Machine::current().map_or_else(outside, |machine| machine.now())
    }
}

/// What openraft runs on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Runtime;

impl Runtime {
    /// How long the current machine's clock takes to go on by `shown`.
    fn real(shown: Duration) -> Duration {
        Machine::current().map_or(shown, |machine| machine.real(shown))
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = tokio::task::JoinError;
    type JoinHandle<T: Send + 'static> = JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = Moment;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + Send> = tokio::time::Timeout<T>;
    type ThreadLocalRng = Draw;
    type OneshotSender<T: Send> = openraft::async_runtime::TokioOneShotSender<T>;
    type OneshotReceiver<T: Send> = tokio::sync::oneshot::Receiver<T>;
    type OneshotReceiverError = tokio::sync::oneshot::error::RecvError;

    fn spawn<T>(task: T) -> JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        spawn(task)
    }

    fn sleep(duration: Duration) -> tokio::time::Sleep {
        tokio::time::sleep(Self::real(duration))
    }

    fn sleep_until(deadline: Moment) -> tokio::time::Sleep {
        Self::sleep(deadline - <Moment as openraft::Instant>::now())
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> tokio::time::Timeout<F> {
        tokio::time::timeout(Self::real(duration), future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: Moment, future: F) -> tokio::time::Timeout<F> {
        Self::timeout(deadline - <Moment as openraft::Instant>::now(), future)
    }

    fn is_panic(error: &tokio::task::JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> Draw {
        Draw(Machine::current())
    }

    fn oneshot<T: Send>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (openraft::async_runtime::TokioOneShotSender(sender), receiver)
    }
}

/// Draws from the seed of the current machine.
pub struct Draw(Option<Machine>);

impl rand_core::RngCore for Draw {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.as_ref().map_or(0, Machine::draw)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        rand_core::impls::fill_bytes_via_next(self, bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}
