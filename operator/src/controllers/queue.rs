//! What waits for a reconcile: each resource once, with the time at which it is due. It holds no more than there are resources.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

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
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut due = now + after;
        if let Some(not_before) = state.pace.get(&key).and_then(|pace| pace.not_before) {
            due = due.max(not_before);
        }
        if let Some(again) = state.running.get_mut(&key) {
            *again = Some(again.map_or(due, |again| again.min(due)));
            return;
        }
        state.schedule(key, due);
        drop(state);
        self.earlier.notify_one();
    }

    /// Waits for the next resource. One caller at a time.
    pub(super) async fn next(&self) -> Key {
        loop {
            let earliest = {
                let now = Instant::now();
                let mut state = self.state.lock();
                match state.order.first().cloned() {
                    Some((due, key)) if due <= now => {
                        if let Some(key) = state.start(key, due, now) {
                            return key;
                        }
                        continue;
                    }
                    first => first.map(|(due, _)| due),
                }
            };
            match earliest {
                Some(due) => {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.earlier.notified() => {}
                    }
                }
                None => self.earlier.notified().await,
            }
        }
    }

    /// Ends what [`Self::next`] began.
    pub(super) fn done(&self, key: Key, end: End) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let again = state.running.remove(&key).flatten();
        let pace = state.pace.entry(key.clone()).or_insert_with(|| Pace::new(now));
        let later = match end {
            End::Gone => {
                state.pace.remove(&key);
                None
            }
            End::Failed => {
                pace.failures = pace.failures.saturating_add(1);
                let pause = backoff(pace.failures, random());
                pace.not_before = Some(now + pause.min(AFTER_FAILURE));
                Some(now + pause)
            }
            End::Done(after) => {
                pace.refill(now);
                (pace.failures, pace.not_before) = (0, None);
                if pace.tokens >= BURST {
                    state.pace.remove(&key);
                }
                Some(now + after.unwrap_or_else(|| jittered(RESYNC, random())))
            }
        };
        let not_before = state.pace.get(&key).and_then(|pace| pace.not_before);
        let again = again.map(|again| not_before.map_or(again, |not_before| again.max(not_before)));
        if let Some(due) = again.into_iter().chain(later).min() {
            state.schedule(key, due);
        }
        drop(state);
        self.earlier.notify_one();
    }

    /// How many are due and wait.
    pub(super) fn depth(&self) -> usize {
        let now = Instant::now();
        let state = self.state.lock();
        state.order.iter().take_while(|(due, _)| *due <= now).count()
    }
}

impl State {
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
    fn start(&mut self, key: Key, due: Instant, now: Instant) -> Option<Key> {
        self.order.remove(&(due, key.clone()));
        self.due.remove(&key);
        let pace = self.pace.entry(key.clone()).or_insert_with(|| Pace::new(now));
        pace.refill(now);
        if pace.tokens < 1.0 {
            let wait = pace.wait();
            self.schedule(key, now + wait);
            return None;
        }
        pace.tokens -= 1.0;
        self.running.insert(key.clone(), None);
        Some(key)
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

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    async fn next(queue: &Queue) -> Option<Key> {
        tokio::time::timeout(Duration::from_millis(1), queue.next())
            .await
            .ok()
    }

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ() {
        let pauses: Vec<u64> = [1, 2, 3, 7, 8, 9, 1_000]
            .map(|failures| u64::try_from(backoff(failures, 1.0).as_millis()).unwrap())
            .into();
        assert_eq!(pauses, [200, 400, 800, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(backoff(1, 0.0), Duration::from_millis(100));
        assert_eq!(jittered(Duration::from_secs(10), 0.5), Duration::from_secs(10));
        assert!((0.0..=1.0).contains(&random()));
    }

    #[tokio::test(start_paused = true)]
    async fn resource_waits_once_and_is_due_at_the_earliest_time_asked_for() {
        let queue = Queue::default();
        queue.add(key("x"), Duration::from_secs(5));
        queue.add(key("x"), Duration::from_secs(1));
        queue.add(key("x"), Duration::from_secs(3));
        assert_eq!(next(&queue).await, None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(queue.depth(), 1);
        assert_eq!(next(&queue).await, Some(key("x")));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn resource_is_never_reconciled_twice_at_a_time() {
        let queue = Queue::default();
        queue.add(key("x"), Duration::ZERO);
        assert_eq!(next(&queue).await, Some(key("x")));
        queue.add(key("x"), Duration::ZERO);
        assert_eq!(next(&queue).await, None);
        queue.done(key("x"), End::Done(None));
        assert_eq!(
            next(&queue).await,
            Some(key("x")),
            "once more, since it was touched meanwhile"
        );
        queue.done(key("x"), End::Done(None));
        assert_eq!(next(&queue).await, None);
        tokio::time::advance(RESYNC * 2).await;
        assert_eq!(next(&queue).await, Some(key("x")), "the slow look");
    }

    #[tokio::test(start_paused = true)]
    async fn failure_is_tried_again_later_and_a_touch_brings_it_forward_to_a_second() {
        let queue = Queue::default();
        queue.add(key("x"), Duration::ZERO);
        for _ in 0..10 {
            let failed = queue.next().await;
            queue.done(failed, End::Failed);
        }
        queue.add(key("x"), Duration::ZERO);
        assert_eq!(next(&queue).await, None);
        tokio::time::advance(AFTER_FAILURE).await;
        assert_eq!(next(&queue).await, Some(key("x")));
        queue.done(key("x"), End::Done(None));
        queue.add(key("x"), Duration::ZERO);
        assert_eq!(next(&queue).await, Some(key("x")), "success forgets");
    }

    #[tokio::test(start_paused = true)]
    async fn resource_that_is_touched_without_end_is_slowed_down() {
        let queue = Queue::default();
        let began = Instant::now();
        for _ in 0..100 {
            queue.add(key("x"), Duration::ZERO);
            let found = queue.next().await;
            queue.done(found, End::Done(None));
        }
        let took = began.elapsed();
        assert!((9..11).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_what_is_gone() {
        let queue = Queue::default();
        queue.add(key("x"), Duration::ZERO);
        let found = queue.next().await;
        queue.done(found, End::Gone);
        let state = queue.state.lock();
        assert!(
            state.order.is_empty()
                && state.due.is_empty()
                && state.running.is_empty()
                && state.pace.is_empty()
        );
    }
}
