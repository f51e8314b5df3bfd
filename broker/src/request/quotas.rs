//! Client quotas as this broker enforces them: counted with each request, told in its answer, and then the connection is not read from for that long
//! (KIP-13, KIP-124, KIP-219, KIP-599).

use super::Context;
use crate::metadata::Image;
use crate::quota::{Bound, Kind, Ledger, Table, Windows};
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::ApiKey;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The usage of all clients of this broker.
pub struct Quotas {
    state: Mutex<State>,
    throttles: AtomicU64,
    throttled_ms: AtomicU64,
    /// Time is counted from here: a clock that is set back would let clients wait.
    began: Instant,
}

struct State {
    /// The quotas as they were when the table was made.
    image: Arc<Image>,
    table: Table,
    ledger: Ledger,
}

impl Quotas {
    /// Nothing used yet.
    #[must_use]
    pub fn new(settings: &BrokerSettings) -> Self {
        let windows = Windows::new(settings.quota_window_num, settings.quota_window_size_seconds);
        let mutation_windows = Windows::new(
            settings.controller_quota_window_num,
            settings.controller_quota_window_size_seconds,
        );
        Self {
            state: Mutex::new(State {
                image: Arc::default(),
                table: Table::default(),
                ledger: Ledger::new(windows, mutation_windows),
            }),
            throttles: AtomicU64::new(0),
            throttled_ms: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// How many requests a client was held back after since the start, and for how many milliseconds together.
    #[must_use]
    pub fn throttled(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.throttles), count(&self.throttled_ms))
    }

    fn count(&self, throttle_ms: i32) {
        if throttle_ms > 0 {
            self.throttles.fetch_add(1, Ordering::Relaxed);
            self.throttled_ms
                .fetch_add(u64::from(throttle_ms.unsigned_abs()), Ordering::Relaxed);
        }
    }

    /// Does something with the quota of that kind that binds the client, if one does.
    fn with<T>(
        &self,
        ctx: &Context,
        kind: Kind,
        act: impl FnOnce(&mut Ledger, &Bound, i64) -> T,
    ) -> Option<T> {
        let image = ctx.image();
        if ctx.session.is_internal || !image.has_quotas() {
            return None;
        }
        let mut state = self.state.lock();
        if !image.shares_quotas(&state.image) {
            state.table = Table::new(image.quotas());
        }
        state.image = image;
        let user = ctx.session.principal.name();
        let client_id = ctx.client_id.as_deref().unwrap_or_default();
        let bound = state.table.bound(kind, user, client_id)?;
        let now_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        Some(act(&mut state.ledger, &bound, now_ms))
    }

    fn spend(&self, ctx: &Context, kind: Kind, amount: f64) -> i32 {
        self.with(ctx, kind, |ledger, bound, now_ms| {
            ledger.spend(kind, bound, amount, now_ms)
        })
        .unwrap_or(0)
    }
}

/// What one request used, and for how long its client is held back for it.
#[derive(Debug, Default)]
pub struct Meter {
    request_bytes: usize,
    state: Mutex<Usage>,
}

#[derive(Debug, Default)]
struct Usage {
    /// What threads spent on it, before they last turned to it.
    busy: Duration,
    turned_at: Option<Instant>,
    /// What creating and deleting partitions asks for.
    mutation_ms: i32,
    /// Once it is settled.
    throttle_ms: Option<i32>,
}

impl Meter {
    /// Of a request of that size.
    #[must_use]
    pub fn new(request_bytes: usize) -> Self {
        Self {
            request_bytes,
            state: Mutex::default(),
        }
    }

    /// A thread works on the request while it is in `work`: time that is waited for something else is not counted.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.state.lock().turned_at = Some(Instant::now());
        let done = work();
        let mut state = self.state.lock();
        let busy = state.turned_at.take().map_or(Duration::ZERO, |at| at.elapsed());
        state.busy += busy;
        done
    }

    /// For how long the connection is not to be read from, once the answer says so.
    #[must_use]
    pub fn throttle(&self) -> Duration {
        let ms = self.state.lock().throttle_ms.unwrap_or(0);
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// In percent of a second of one thread (KIP-124).
    fn busy_percent(&self) -> f64 {
        let state = self.state.lock();
        let now = state.turned_at.map_or(Duration::ZERO, |at| at.elapsed());
        (state.busy + now).as_secs_f64() * 100.0
    }
}

impl Context {
    /// For how many milliseconds the client is held back after this request. Counted with the first call; further ones give the same.
    pub(super) fn throttle_ms(&self, api: ApiKey) -> i32 {
        let bytes = (api == ApiKey::Produce).then_some((Kind::Produce, self.meter.request_bytes));
        self.settle(bytes, true)
    }

    /// The same for a request that is not answered: its time does not count.
    pub(super) fn throttle_silently(&self) {
        self.settle(Some((Kind::Produce, self.meter.request_bytes)), false);
    }

    /// The same for a fetch that found so many bytes. Where it is not 0, they are not sent and do not count.
    pub(super) fn throttle_fetch_ms(&self, bytes: usize) -> i32 {
        let throttle_ms = self.settle(Some((Kind::Fetch, bytes)), true);
        if throttle_ms > 0 {
            self.broker
                .quotas
                .with(self, Kind::Fetch, |ledger, bound, now_ms| {
                    ledger.take_back(Kind::Fetch, bound, bytes as f64, now_ms);
                });
        }
        throttle_ms
    }

    /// Counts what a share fetch found. It is locked for the member and sent in any case; the client is held back after it.
    pub(super) fn throttle_share_fetch(&self, bytes: usize) {
        self.settle(Some((Kind::Fetch, bytes)), true);
    }

    /// The most that a fetch returns under the client's quota: a larger answer could never be given.
    pub(super) fn fetch_bytes_max(&self) -> i32 {
        let bytes = self.broker.quotas.with(self, Kind::Fetch, |ledger, bound, _| {
            ledger.in_full_windows(bound)
        });
        bytes.map_or(i32::MAX, |bytes| bytes as i32)
    }

    /// Counts partitions that the client creates or deletes. Whether it may: a client that knows the error is refused while it owes for earlier ones, and
    /// others are only held back.
    pub(super) fn may_mutate(&self, partitions: usize, is_strict: bool) -> bool {
        let decided = self
            .broker
            .quotas
            .with(self, Kind::Mutation, |ledger, bound, now_ms| {
                ledger.mutate(bound, partitions as f64, is_strict, now_ms)
            });
        let (may, throttle_ms) = match decided {
            None => return true,
            Some(Ok(throttle_ms)) => (true, throttle_ms),
            Some(Err(throttle_ms)) => (false, throttle_ms),
        };
        let mut state = self.meter.state.lock();
        state.mutation_ms = state.mutation_ms.max(throttle_ms);
        may
    }

    fn settle(&self, bytes: Option<(Kind, usize)>, counts_time: bool) -> i32 {
        if let Some(settled) = self.meter.state.lock().throttle_ms {
            return settled;
        }
        let quotas = &self.broker.quotas;
        let of_bytes = bytes.map_or(0, |(kind, bytes)| quotas.spend(self, kind, bytes as f64));
        let of_time = if counts_time {
            quotas.spend(self, Kind::Request, self.meter.busy_percent())
        } else {
            0
        };
        let mut state = self.meter.state.lock();
        let throttle_ms = of_bytes.max(of_time).max(state.mutation_ms);
        state.throttle_ms = Some(throttle_ms);
        quotas.count(throttle_ms);
        throttle_ms
    }
}

#[cfg(test)]
#[path = "quotas_tests.rs"]
mod tests;
