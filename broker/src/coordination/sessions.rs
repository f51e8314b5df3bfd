//! Which brokers have been heard of lately. Kept in the controller's memory alone: a new controller gives everyone a full
//! session.

use std::collections::BTreeMap;
use std::time::Duration;

use flotilla_protocol::BrokerId;
use tokio::time::Instant;

/// When each broker's session ends.
#[derive(Debug)]
pub struct Sessions {
    timeout: Duration,
    ends: BTreeMap<BrokerId, Instant>,
    checked: Instant,
}

impl Sessions {
    /// Nobody has a session yet; `timeout` is Kafka's `broker.session.timeout.ms`.
    #[must_use]
    pub fn new(timeout: Duration, now: Instant) -> Self {
        Self {
            timeout,
            ends: BTreeMap::new(),
            checked: now,
        }
    }

    /// A broker was heard of.
    pub fn heard(&mut self, broker: BrokerId, now: Instant) {
        self.ends.insert(broker, now + self.timeout);
    }

    /// Those of `unfenced` whose session has ended, in order. One seen for the first time gets a full session, and those
    /// that are not named are forgotten. If this was not asked for longer than half a session, then it was the controller
    /// that slept, or its machine: the others get that time on top.
    pub fn expired(&mut self, unfenced: impl IntoIterator<Item = BrokerId>, now: Instant) -> Vec<BrokerId> {
        let since = now.saturating_duration_since(self.checked);
        let slept = if since > self.timeout / 2 {
            since
        } else {
            Duration::ZERO
        };
        self.checked = now;
        self.ends = unfenced
            .into_iter()
            .map(|broker| {
                let end = self
                    .ends
                    .get(&broker)
                    .map_or(now + self.timeout, |end| *end + slept);
                (broker, end)
            })
            .collect();
        self.ends
            .iter()
            .filter(|(_, end)| **end <= now)
            .map(|(broker, _)| *broker)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKERS: [BrokerId; 2] = [BrokerId(0), BrokerId(1)];
    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_silent_broker_is_reported_once_its_session_has_ended() {
        let start = Instant::now();
        let mut sessions = Sessions::new(MILLIS(1000), start);
        assert_eq!(sessions.expired(BROKERS, start), []);
        for step in 1..=4 {
            let now = start + MILLIS(step * 250);
            sessions.heard(BrokerId(1), now);
            let expected: &[BrokerId] = if step == 4 { &[BrokerId(0)] } else { &[] };
            assert_eq!(sessions.expired(BROKERS, now), expected);
        }
    }

    #[test]
    fn a_controller_that_slept_does_not_blame_the_others() {
        let start = Instant::now();
        let mut sessions = Sessions::new(MILLIS(1000), start);
        assert_eq!(sessions.expired(BROKERS, start), []);
        assert_eq!(sessions.expired(BROKERS, start + MILLIS(60_000)), []);
        assert_eq!(sessions.expired(BROKERS, start + MILLIS(60_400)), []);
        assert_eq!(sessions.expired(BROKERS, start + MILLIS(60_800)), []);
        assert_eq!(sessions.expired(BROKERS, start + MILLIS(61_200)), BROKERS);
    }

    #[test]
    fn a_broker_that_was_fenced_meanwhile_begins_anew() {
        let start = Instant::now();
        let mut sessions = Sessions::new(MILLIS(1000), start);
        sessions.heard(BrokerId(0), start);
        assert_eq!(sessions.expired([], start + MILLIS(400)), []);
        assert_eq!(sessions.expired(BROKERS, start + MILLIS(800)), []);
        assert_eq!(sessions.expired(BROKERS, start + MILLIS(1200)), []);
        assert_eq!(sessions.expired(BROKERS, start + MILLIS(1600)), []);
        assert_eq!(sessions.expired(BROKERS, start + MILLIS(1800)), BROKERS);
    }
}
