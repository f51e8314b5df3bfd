//! What was used per second, over windows of time that slide.

use std::collections::VecDeque;

/// How long usage is remembered: `quota.window.num` windows of `quota.window.size.seconds`, the last one under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    count: usize,
    size_ms: i64,
}

impl Windows {
    /// So many windows of so many seconds; at least one of one.
    #[must_use]
    pub fn new(count: i32, size_seconds: i32) -> Self {
        Self {
            count: usize::try_from(count).unwrap_or(1).max(1),
            size_ms: i64::from(size_seconds.max(1)) * 1_000,
        }
    }

    /// One window, in milliseconds.
    #[must_use]
    pub fn size_ms(self) -> i64 {
        self.size_ms
    }

    /// All windows, in milliseconds.
    #[must_use]
    pub fn all_ms(self) -> i64 {
        self.size_ms.saturating_mul(self.count as i64)
    }

    /// The windows that are over, in milliseconds; of a single one, itself.
    #[must_use]
    pub fn full_ms(self) -> i64 {
        self.size_ms.saturating_mul((self.count as i64 - 1).max(1))
    }
}

/// The usage of one quota.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rate {
    /// When each window began, and what was used in it.
    windows: VecDeque<(i64, f64)>,
}

impl Rate {
    /// So much was used now. Below zero takes back what was counted too much.
    pub fn record(&mut self, amount: f64, now_ms: i64, windows: Windows) {
        self.forget(now_ms, windows);
        match self.windows.back_mut() {
            Some((began_ms, used)) if now_ms - *began_ms < windows.size_ms => *used += amount,
            _ => {
                if self.windows.len() == windows.count {
                    self.windows.pop_front();
                }
                self.windows.push_back((now_ms, amount));
            }
        }
    }

    /// For how long to use nothing so that the rate comes down to the limit: 0 while it is not above it. In milliseconds.
    pub fn wait_ms(&mut self, limit: f64, now_ms: i64, windows: Windows) -> f64 {
        self.forget(now_ms, windows);
        let Some((began_ms, _)) = self.windows.front() else {
            return 0.0;
        };
        // Windows that were not lived through count as if nothing had been used in them, so that a first request is not taken for a rate.
        let elapsed_ms = (now_ms - began_ms).max(0);
        let full = elapsed_ms / windows.size_ms;
        let missing = (windows.count as i64 - 1 - full).max(0);
        let span_ms = (elapsed_ms + missing * windows.size_ms).max(windows.size_ms) as f64;
        let used: f64 = self.windows.iter().map(|(_, used)| used).sum();
        let rate = used * 1_000.0 / span_ms;
        if rate <= limit {
            return 0.0;
        }
        (rate - limit) / limit * span_ms
    }

    /// Whether nothing of it counts any more.
    pub fn is_idle(&mut self, now_ms: i64, windows: Windows) -> bool {
        self.forget(now_ms, windows);
        self.windows.is_empty()
    }

    fn forget(&mut self, now_ms: i64, windows: Windows) {
        while let Some((began_ms, _)) = self.windows.front()
            && now_ms - began_ms >= windows.all_ms()
        {
            self.windows.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows() -> Windows {
        Windows::new(11, 1)
    }

    #[test]
    fn client_may_save_up_as_much_as_the_full_windows_hold() {
        let mut rate = Rate::default();
        rate.record(10_000.0, 0, windows());
        assert_eq!(rate.wait_ms(1_000.0, 0, windows()), 0.0);
        rate.record(500.0, 0, windows());
        // 10,500 in ten seconds are 1,050 per second: half a second too much.
        assert_eq!(rate.wait_ms(1_000.0, 0, windows()).round(), 500.0);
    }

    #[test]
    fn who_waits_as_told_keeps_to_the_rate() {
        let (mut rate, mut now_ms, mut used) = (Rate::default(), 7_000, 0.0);
        let began_ms = now_ms;
        while now_ms < began_ms + 120_000 {
            rate.record(700.0, now_ms, windows());
            used += 700.0;
            let wait_ms = rate.wait_ms(1_000.0, now_ms, windows());
            now_ms += wait_ms.round() as i64 + 5;
        }
        let seconds = (now_ms - began_ms) as f64 / 1_000.0;
        let allowed = 1_000.0 * (seconds + 10.0) + 700.0;
        assert!(used <= allowed, "{used} of {allowed}");
        assert!(used >= 0.9 * 1_000.0 * seconds, "{used} in {seconds} s");
    }

    #[test]
    fn usage_is_forgotten_after_all_windows() {
        let mut rate = Rate::default();
        rate.record(50_000.0, 0, windows());
        assert!(rate.wait_ms(1_000.0, 10_999, windows()) > 0.0);
        assert!(!rate.is_idle(10_999, windows()));
        assert_eq!(rate.wait_ms(1_000.0, 11_000, windows()), 0.0);
        assert!(rate.is_idle(11_000, windows()));
    }

    #[test]
    fn what_was_taken_back_does_not_count() {
        let mut rate = Rate::default();
        rate.record(11_000.0, 0, windows());
        assert!(rate.wait_ms(1_000.0, 0, windows()) > 0.0);
        rate.record(-11_000.0, 0, windows());
        assert_eq!(rate.wait_ms(1_000.0, 0, windows()), 0.0);
    }

    #[test]
    fn limit_of_zero_is_a_standstill() {
        let mut rate = Rate::default();
        assert_eq!(rate.wait_ms(0.0, 0, windows()), 0.0);
        rate.record(1.0, 0, windows());
        assert_eq!(rate.wait_ms(0.0, 0, windows()), f64::INFINITY);
    }

    #[test]
    fn single_window_and_nonsense_are_taken_as_least() {
        let one = Windows::new(0, -3);
        assert_eq!((one.all_ms(), one.full_ms()), (1_000, 1_000));
        let mut rate = Rate::default();
        rate.record(2_000.0, 0, one);
        assert_eq!(rate.wait_ms(1_000.0, 0, one), 1_000.0);
        assert_eq!(Windows::new(11, 2).full_ms(), 20_000);
    }
}
