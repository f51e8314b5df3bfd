//! How fast connections may come in (`max.connection.creation.rate`, KIP-612).

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// What was not used is saved up for so long; the setting is looked at again after so long at the latest.
const SAVED: Duration = Duration::from_secs(1);

/// Counts the connections that a broker accepts.
#[derive(Debug, Default)]
pub(super) struct CreationRate {
    /// Until then the rate is used up by those that were accepted.
    used_until: Mutex<Option<Instant>>,
}

impl CreationRate {
    /// Lets a connection in and counts it, or says for how long none can come in, at most a second. `rate` in connections per second:
    /// `i32::MAX` is without limit, 0 lets nobody in.
    pub(super) fn wait(&self, rate: i32, now: Instant) -> Option<Duration> {
        let mut used_until = self.used_until.lock();
        if rate == i32::MAX {
            *used_until = None;
            return None;
        }
        let Some(each) = u32::try_from(rate).ok().and_then(|rate| SAVED.checked_div(rate)) else {
            return Some(SAVED);
        };
        let used = used_until.map_or(now, |until| until.max(now)) + each;
        let ahead = used.saturating_duration_since(now);
        if ahead > SAVED {
            return Some((ahead - SAVED).min(SAVED));
        }
        *used_until = Some(used);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn connections_come_in_at_the_rate_and_a_second_is_saved_up() {
        let rate = CreationRate::default();
        let begin = Instant::now();
        let at = |ms| rate.wait(4, begin + MS(ms));
        assert_eq!([at(0), at(0), at(0), at(0)], [None; 4]);
        assert_eq!(at(0), Some(MS(250)));
        assert_eq!(at(100), Some(MS(150)));
        assert_eq!(at(250), None);
        assert_eq!(at(250), Some(MS(250)));
        assert_eq!([at(60_000), at(60_000), at(60_000), at(60_000)], [None; 4]);
        assert_eq!(at(60_000), Some(MS(250)), "no more than a second");
    }

    #[test]
    fn another_rate_holds_from_the_next_connection_on() {
        let rate = CreationRate::default();
        let now = Instant::now();
        assert_eq!(rate.wait(1, now), None);
        assert_eq!(rate.wait(1, now), Some(MS(1_000)));
        assert_eq!(rate.wait(0, now), Some(MS(1_000)), "nobody");
        assert_eq!(rate.wait(i32::MAX, now), None);
        assert_eq!(
            rate.wait(1, now),
            None,
            "what was used without a limit does not count"
        );
    }
}
