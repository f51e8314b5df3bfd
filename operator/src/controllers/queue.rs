//! What waits for a reconcile: each resource once, with the time at which it is due. It holds no more than there are resources.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::Key;

/// The first and the longest pause after a failure; each is about twice the one before.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A resource that something else touches after a failure is looked at again after this at the earliest.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// So many reconciles of a resource may come at once ...
const BURST: f64 = 50.0;
/// ... and so many a second without end: others who change back what we write cannot keep us busier than that.
const PER_SECOND: f64 = 5.0;
/// A resource that nothing touches is looked at again after about this.
const RESYNC: Duration = Duration::from_secs(600);

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It succeeded. Look again after this, or when something changes.
    Done(Option<Duration>),
    /// It failed.
    Failed,
    /// There is no such resource.
    Gone,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    earlier: Notify,
}

#[derive(Default)]
struct State {
    order: BTreeSet<(Instant, Key)>,
    due: BTreeMap<Key, Instant>,
    /// What is being reconciled, and when it should be once more.
    running: BTreeMap<Key, Option<Instant>>,
    pace: BTreeMap<Key, Pace>,
}

/// How often a resource was reconciled lately, and how often in a row it failed.
#[derive(Clone, Copy, Debug)]
struct Pace {
    tokens: f64,
    at: Instant,
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            at: now,
            failures: 0,
            not_before: None,
        }
    }

    fn refill(&mut self, now: Instant) {
        self.tokens = (self.tokens + PER_SECOND * (now - self.at).as_secs_f64()).min(BURST);
        self.at = now;
    }

    /// How long to wait for the next token.
    fn wait(&self) -> Duration {
        Duration::from_secs_f64(((1.0 - self.tokens) / PER_SECOND).max(0.0))
    }
}

impl Queue {
    /// Asks for a reconcile after a while, or earlier if one is due earlier.
    pub(super) fn add(&self, key: Key, after: Duration) {
        self.state.lock().add(key, after, Instant::now());
        self.earlier.notify_one();
    }

    /// Waits for the next resource. One caller at a time.
    pub(super) async fn next(&self) -> Key {
        loop {
            let next = self.state.lock().take(Instant::now());
            match next {
                Next::Now(key) => return key,
                Next::At(due) => {
                    tokio::select! {
                        () = sleep_until(due.into()) => {}
                        () = self.earlier.notified() => {}
                    }
                }
                Next::Never => self.earlier.notified().await,
            }
        }
    }

    /// Ends what [`Self::next`] began.
    pub(super) fn done(&self, key: Key, end: End) {
        self.state.lock().done(key, end, Instant::now(), random());
        self.earlier.notify_one();
    }

    /// How many are due and wait.
    pub(super) fn depth(&self) -> usize {
        let now = Instant::now();
        let state = self.state.lock();
        state.order.iter().take_while(|(due, _)| *due <= now).count()
    }
}

/// What is next.
#[derive(Debug, PartialEq)]
enum Next {
    Now(Key),
    At(Instant),
    Never,
}

impl State {
    fn add(&mut self, key: Key, after: Duration, now: Instant) {
        let mut due = now + after;
        if let Some(not_before) = self.pace.get(&key).and_then(|pace| pace.not_before) {
            due = due.max(not_before);
        }
        match self.running.get_mut(&key) {
            Some(again) => *again = Some(again.map_or(due, |again| again.min(due))),
            None => self.schedule(key, due),
        }
    }

    fn schedule(&mut self, key: Key, due: Instant) {
        match self.due.get(&key).copied() {
            Some(before) if before <= due => return,
            Some(before) => {
                self.order.remove(&(before, key.clone()));
            }
            None => {}
        }
        self.due.insert(key.clone(), due);
        self.order.insert((due, key));
    }

    /// Takes what is due, unless it was taken too often lately: then it waits.
    fn take(&mut self, now: Instant) -> Next {
        while let Some((due, key)) = self.order.first().cloned() {
            if due > now {
                return Next::At(due);
            }
            self.order.pop_first();
            self.due.remove(&key);
            let pace = self.pace.entry(key.clone()).or_insert_with(|| Pace::new(now));
            pace.refill(now);
            if pace.tokens < 1.0 {
                let wait = pace.wait();
                self.schedule(key, now + wait);
                continue;
            }
            pace.tokens -= 1.0;
            self.running.insert(key.clone(), None);
            return Next::Now(key);
        }
        Next::Never
    }

    fn done(&mut self, key: Key, end: End, now: Instant, random: f64) {
        let mut again = self.running.remove(&key).flatten();
        let pace = self.pace.entry(key.clone()).or_insert_with(|| Pace::new(now));
        pace.refill(now);
        let later = match end {
            End::Gone => {
                self.pace.remove(&key);
                None
            }
            End::Failed => {
                pace.failures = pace.failures.saturating_add(1);
                let pause = backoff(pace.failures, random);
                // What touched it meanwhile may have been its own doing.
                let not_before = now + pause.min(AFTER_FAILURE);
                pace.not_before = Some(not_before);
                again = again.map(|again| again.max(not_before));
                Some(now + pause)
            }
            End::Done(after) => {
                (pace.failures, pace.not_before) = (0, None);
                Some(now + after.unwrap_or_else(|| jittered(RESYNC, random)))
            }
        };
        if let Some(due) = again.into_iter().chain(later).min() {
            self.schedule(key, due);
        }
    }
}

/// The pause after so many failures in a row: between half of it and all of it, so that what failed together does not return together.
fn backoff(failures: u32, random: f64) -> Duration {
    let (first, longest) = BACKOFF;
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(longest).mul_f64(0.5 + random / 2.0)
}

/// About so long.
fn jittered(about: Duration, random: f64) -> Duration {
    about.mul_f64(0.8 + 0.4 * random)
}

/// From 0 to 1.
fn random() -> f64 {
    let drawn = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(drawn >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    /// One that is due, begun at this time.
    fn begun(now: Instant) -> State {
        let mut state = State::default();
        state.add(key("x"), Duration::ZERO, now);
        assert_eq!(state.take(now), Next::Now(key("x")));
        state
    }

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ() {
        let pauses: Vec<u64> = [1, 2, 3, 7, 8, 9, 1_000]
            .map(|failures| u64::try_from(backoff(failures, 1.0).as_millis()).unwrap())
            .into();
        assert_eq!(pauses, [200, 400, 800, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(backoff(1, 0.0), Duration::from_millis(100));
        assert_eq!(jittered(SECOND * 10, 0.5), SECOND * 10);
        assert!((0.0..=1.0).contains(&random()));
    }

    #[test]
    fn resource_waits_once_and_is_due_at_the_earliest_time_asked_for() {
        let (mut state, now) = (State::default(), Instant::now());
        for seconds in [5, 1, 3] {
            state.add(key("x"), SECOND * seconds, now);
        }
        assert_eq!(state.take(now), Next::At(now + SECOND));
        assert_eq!(state.take(now + SECOND), Next::Now(key("x")));
        assert_eq!(state.take(now + SECOND * 9), Next::Never);
    }

    #[test]
    fn resource_is_never_reconciled_twice_at_a_time() {
        let now = Instant::now();
        let mut state = begun(now);
        state.add(key("x"), Duration::ZERO, now);
        assert_eq!(state.take(now), Next::Never);
        state.done(key("x"), End::Done(None), now, 0.5);
        assert_eq!(
            state.take(now),
            Next::Now(key("x")),
            "once more, since it was touched meanwhile"
        );
        state.done(key("x"), End::Done(None), now, 0.5);
        assert_eq!(state.take(now), Next::At(now + RESYNC), "the slow look");
        state.add(key("x"), SECOND, now);
        assert_eq!(state.take(now), Next::At(now + SECOND));
    }

    #[test]
    fn failure_is_tried_again_later_and_a_touch_brings_it_forward_to_a_second() {
        let mut now = Instant::now();
        let mut state = begun(now);
        for failures in 1..10 {
            state.done(key("x"), End::Failed, now, 1.0);
            now += backoff(failures, 1.0);
            assert_eq!(state.take(now), Next::Now(key("x")));
        }
        state.add(key("x"), Duration::ZERO, now);
        state.done(key("x"), End::Failed, now, 1.0);
        assert_eq!(state.take(now), Next::At(now + AFTER_FAILURE));
        assert_eq!(state.take(now + AFTER_FAILURE), Next::Now(key("x")));
        state.done(key("x"), End::Done(None), now + AFTER_FAILURE, 1.0);
        state.add(key("x"), Duration::ZERO, now + AFTER_FAILURE);
        assert_eq!(
            state.take(now + AFTER_FAILURE),
            Next::Now(key("x")),
            "success forgets"
        );
    }

    #[test]
    fn resource_that_is_touched_without_end_is_slowed_down() {
        let (mut state, began) = (State::default(), Instant::now());
        let mut now = began;
        for _ in 0..100 {
            state.add(key("x"), Duration::ZERO, now);
            if let Next::At(due) = state.take(now) {
                now = due;
                assert_eq!(state.take(now), Next::Now(key("x")));
            }
            state.done(key("x"), End::Done(None), now, 0.5);
        }
        assert!((9..11).contains(&(now - began).as_secs()), "{:?}", now - began);
    }

    #[test]
    fn nothing_is_kept_of_what_is_gone() {
        let now = Instant::now();
        let mut state = begun(now);
        state.done(key("x"), End::Gone, now, 0.5);
        assert!(
            state.order.is_empty()
                && state.due.is_empty()
                && state.running.is_empty()
                && state.pace.is_empty()
        );
    }

    #[tokio::test]
    async fn one_that_waits_is_woken_by_what_is_due_earlier() {
        let queue = Queue::default();
        queue.add(key("x"), SECOND * 600);
        let (found, ()) = tokio::join!(queue.next(), async { queue.add(key("y"), Duration::ZERO) });
        assert_eq!(found, key("y"));
    }
}
