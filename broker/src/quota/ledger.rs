//! What each client used of its quotas.

use super::bucket::Bucket;
use super::rate::Rate;
use super::{Bound, Kind, Sharer, Windows};
use std::collections::BTreeMap;

/// Quotas that are counted at the same time, of each kind. A client chooses its client id, and may choose many: those beyond are counted together.
const SHARERS_MAX: usize = 10_000;

/// Who stands for those that there is no room for.
const OTHERS: Sharer = Sharer {
    user: None,
    client_id: None,
};

/// The usage of all quotas of one broker.
#[derive(Clone, Debug)]
pub struct Ledger {
    windows: Windows,
    mutation_windows: Windows,
    rates: BTreeMap<(Kind, Sharer), Rate>,
    buckets: BTreeMap<Sharer, Bucket>,
    purged_ms: i64,
}

impl Ledger {
    /// Nothing used yet. `windows` are those of all kinds but mutations.
    #[must_use]
    pub fn new(windows: Windows, mutation_windows: Windows) -> Self {
        Self {
            windows,
            mutation_windows,
            rates: BTreeMap::new(),
            buckets: BTreeMap::new(),
            purged_ms: i64::MIN,
        }
    }

    /// Counts what was used, and says for how many milliseconds the client has to wait.
    pub fn spend(&mut self, kind: Kind, bound: &Bound, amount: f64, now_ms: i64) -> i32 {
        let windows = self.windows;
        let wait_ms = {
            let rate = self.rate(kind, &bound.sharer, now_ms);
            rate.record(amount, now_ms, windows);
            rate.wait_ms(bound.limit, now_ms, windows)
        };
        // A request that took long is not to stop its client for longer than a window (KIP-124).
        let longest_ms = match kind {
            Kind::Request => windows.size_ms() as f64,
            _ => f64::INFINITY,
        };
        whole_ms(wait_ms.min(longest_ms))
    }

    /// Takes back what was counted: it was not used after all.
    pub fn take_back(&mut self, kind: Kind, bound: &Bound, amount: f64, now_ms: i64) {
        let windows = self.windows;
        self.rate(kind, &bound.sharer, now_ms)
            .record(-amount, now_ms, windows);
    }

    /// Counts partitions that are created or deleted.
    ///
    /// # Errors
    /// With `is_strict` (clients that know KIP-599): for how many milliseconds to wait first, and nothing is counted.
    pub fn mutate(
        &mut self,
        bound: &Bound,
        partitions: f64,
        is_strict: bool,
        now_ms: i64,
    ) -> Result<i32, i32> {
        let windows = self.mutation_windows;
        if self.buckets.len() >= SHARERS_MAX && !self.buckets.contains_key(&bound.sharer) {
            self.purge(now_ms);
        }
        let sharer = if self.buckets.len() >= SHARERS_MAX && !self.buckets.contains_key(&bound.sharer) {
            OTHERS
        } else {
            bound.sharer.clone()
        };
        let bucket = self
            .buckets
            .entry(sharer)
            .or_insert_with(|| Bucket::new(bound.limit, now_ms, windows));
        let owed_ms = whole_ms(bucket.wait_ms(bound.limit, now_ms, windows));
        if is_strict && owed_ms > 0 {
            return Err(owed_ms);
        }
        bucket.take(partitions);
        Ok(whole_ms(bucket.wait_ms(bound.limit, now_ms, windows)))
    }

    /// How much a quota gives in all windows that are over: no answer needs to be larger, and one that is would be held back for ever.
    #[must_use]
    pub fn in_full_windows(&self, bound: &Bound) -> f64 {
        bound.limit * self.windows.full_ms() as f64 / 1_000.0
    }

    fn rate(&mut self, kind: Kind, sharer: &Sharer, now_ms: i64) -> &mut Rate {
        let mut key = (kind, sharer.clone());
        if self.rates.len() >= SHARERS_MAX && !self.rates.contains_key(&key) {
            self.purge(now_ms);
            if self.rates.len() >= SHARERS_MAX {
                key.1 = OTHERS;
            }
        }
        self.rates.entry(key).or_default()
    }

    /// Forgets who used nothing for long; once a window, as it looks at all.
    fn purge(&mut self, now_ms: i64) {
        if now_ms.saturating_sub(self.purged_ms) < self.windows.size_ms() {
            return;
        }
        self.purged_ms = now_ms;
        let (windows, mutation_windows) = (self.windows, self.mutation_windows);
        self.rates.retain(|_, rate| !rate.is_idle(now_ms, windows));
        self.buckets
            .retain(|_, bucket| !bucket.is_idle(now_ms, mutation_windows));
    }
}

/// In the wire's type; what is too long for it is its longest.
fn whole_ms(ms: f64) -> i32 {
    ms.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(Windows::new(11, 1), Windows::new(11, 1))
    }

    fn bound(user: &str, limit: f64) -> Bound {
        Bound {
            limit,
            sharer: Sharer {
                user: Some(user.to_owned()),
                client_id: None,
            },
        }
    }

    #[test]
    fn each_sharer_and_kind_is_counted_by_itself() {
        let mut ledger = ledger();
        let (ann, bob) = (bound("ann", 1_000.0), bound("bob", 1_000.0));
        assert_eq!(ledger.spend(Kind::Produce, &ann, 12_000.0, 0), 2_000);
        assert_eq!(ledger.spend(Kind::Produce, &bob, 10_000.0, 0), 0);
        assert_eq!(ledger.spend(Kind::Fetch, &ann, 10_000.0, 0), 0);
        assert_eq!(ledger.in_full_windows(&ann), 10_000.0);
    }

    #[test]
    fn answer_that_is_not_given_is_taken_back() {
        let mut ledger = ledger();
        let ann = bound("ann", 1_000.0);
        assert_eq!(ledger.spend(Kind::Fetch, &ann, 12_000.0, 0), 2_000);
        ledger.take_back(Kind::Fetch, &ann, 12_000.0, 0);
        assert_eq!(ledger.spend(Kind::Fetch, &ann, 10_000.0, 0), 0);
    }

    #[test]
    fn request_quota_stops_nobody_for_longer_than_a_window() {
        let mut ledger = ledger();
        assert_eq!(ledger.spend(Kind::Request, &bound("ann", 1.0), 5_000.0, 0), 1_000);
    }

    #[test]
    fn quota_of_zero_waits_as_long_as_can_be_said() {
        let mut ledger = ledger();
        assert_eq!(ledger.spend(Kind::Produce, &bound("ann", 0.0), 1.0, 0), i32::MAX);
    }

    #[test]
    fn mutations_are_lent_to_old_clients_and_refused_to_new_ones() {
        let mut ledger = ledger();
        let ann = bound("ann", 1.0);
        assert_eq!(ledger.mutate(&ann, 20.0, true, 0), Ok(9_000), "eleven are saved");
        assert_eq!(ledger.mutate(&ann, 1.0, true, 0), Err(9_000));
        assert_eq!(ledger.mutate(&ann, 1.0, false, 0), Ok(10_000));
        assert_eq!(ledger.mutate(&ann, 1.0, true, 10_000), Ok(1_000));
    }

    #[test]
    fn sharers_beyond_the_limit_are_counted_together() {
        let mut ledger = ledger();
        for client in 0..SHARERS_MAX {
            ledger.spend(Kind::Produce, &bound(&format!("{client}"), 1_000.0), 1.0, 0);
        }
        assert_eq!(ledger.spend(Kind::Produce, &bound("x", 1_000.0), 6_000.0, 0), 0);
        assert_eq!(
            ledger.spend(Kind::Produce, &bound("y", 1_000.0), 6_000.0, 0),
            2_000
        );
        assert_eq!(ledger.rates.len(), SHARERS_MAX + 1);
        // Those that used nothing for long make room.
        assert_eq!(
            ledger.spend(Kind::Produce, &bound("z", 1_000.0), 6_000.0, 11_000),
            0
        );
        assert_eq!(ledger.rates.len(), 1);
    }
}
