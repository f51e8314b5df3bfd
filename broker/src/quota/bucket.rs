//! Tokens that are saved up, and lent (KIP-599): many partitions may be created at once, and are paid for afterwards.

use super::Windows;

/// The tokens of one quota.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    tokens: f64,
    at_ms: i64,
}

impl Bucket {
    /// Full: so many as the limit gives in all windows.
    pub fn new(limit: f64, now_ms: i64, windows: Windows) -> Self {
        Self {
            tokens: capacity(limit, windows),
            at_ms: now_ms,
        }
    }

    /// Takes tokens, also such as are not there yet.
    pub fn take(&mut self, tokens: f64) {
        self.tokens -= tokens;
    }

    /// For how long to take none until what was lent is paid back. In milliseconds.
    pub fn wait_ms(&mut self, limit: f64, now_ms: i64, windows: Windows) -> f64 {
        let passed_ms = (now_ms - self.at_ms).max(0) as f64;
        self.at_ms = now_ms;
        self.tokens = (self.tokens + limit * passed_ms / 1_000.0).min(capacity(limit, windows));
        if self.tokens >= 0.0 {
            0.0
        } else {
            -self.tokens / limit * 1_000.0
        }
    }

    /// Whether it is full: then it can be forgotten.
    pub fn is_idle(&self, now_ms: i64, windows: Windows) -> bool {
        now_ms - self.at_ms >= windows.all_ms() && self.tokens >= 0.0
    }
}

fn capacity(limit: f64, windows: Windows) -> f64 {
    limit * windows.all_ms() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_saved_lent_and_paid_back() {
        let windows = Windows::new(11, 1);
        let mut bucket = Bucket::new(2.0, 0, windows);
        bucket.take(22.0);
        assert_eq!(bucket.wait_ms(2.0, 0, windows), 0.0, "all that was saved");
        bucket.take(10.0);
        assert_eq!(bucket.wait_ms(2.0, 0, windows), 5_000.0);
        assert_eq!(bucket.wait_ms(2.0, 4_000, windows), 1_000.0);
        assert_eq!(bucket.wait_ms(2.0, 5_000, windows), 0.0);
        assert!(!bucket.is_idle(5_000, windows));
        assert!(bucket.is_idle(16_000, windows));
        assert_eq!(bucket.wait_ms(2.0, 1_000_000, windows), 0.0);
        bucket.take(23.0);
        assert_eq!(bucket.wait_ms(2.0, 1_000_000, windows), 500.0, "no more is saved");
    }

    #[test]
    fn limit_of_zero_lends_once_and_for_ever() {
        let windows = Windows::new(11, 1);
        let mut bucket = Bucket::new(0.0, 0, windows);
        assert_eq!(bucket.wait_ms(0.0, 0, windows), 0.0);
        bucket.take(1.0);
        assert_eq!(bucket.wait_ms(0.0, 1_000, windows), f64::INFINITY);
    }
}
