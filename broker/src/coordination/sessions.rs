//! Which brokers have been heard of lately. Kept in the controller's memory alone: a new controller gives everyone a full
//! session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flotilla_protocol::BrokerId;
use tokio::time::Instant;

/// When each broker's session ends.
#[derive(Debug)]
pub struct Sessions {
    timeout: Duration,
    begun: Instant,
    checked: Instant,
    brokers: BTreeMap<BrokerId, Session>,
    refused: BTreeSet<BrokerId>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    heard: Option<Instant>,
    end: Instant,
}

impl Sessions {
    /// Nobody has a session yet; `timeout` is Kafka's `broker.session.timeout.ms`.
    #[must_use]
    pub fn new(timeout: Duration, now: Instant) -> Self {
        Self {
            timeout,
            begun: now,
            checked: now,
            brokers: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// The brokers of which it is known that nobody listens where they should be: of those whose connections broke, these get a
    /// tenth of a session to be heard of again, under a new controller too. The old one's connections are as gone as theirs.
    pub fn refused(&mut self, brokers: BTreeSet<BrokerId>) {
        self.refused = brokers;
    }

    /// A broker was heard of.
    pub fn heard(&mut self, broker: BrokerId, now: Instant) {
        self.brokers.insert(
            broker,
            Session {
                heard: Some(now),
                end: now + self.timeout,
            },
        );
    }

    /// Those of `unfenced` whose session has ended, in order. One seen for the first time gets a full session, and those
    /// that are not named are forgotten. If this was not asked for longer than half a session, then it was the controller
    /// that slept, or its machine: the others get that time on top.
    ///
    /// `broken` are brokers with no connection left, and since when: half a session is enough for them to be heard of
    /// again. What broke before this controller's time counts only if it is fresh, since they may have had no reason to
    /// connect again; and they get a quarter of a session to find the new controller.
    pub fn expired(
        &mut self,
        unfenced: impl IntoIterator<Item = BrokerId>,
        broken: &BTreeMap<BrokerId, Instant>,
        now: Instant,
    ) -> Vec<BrokerId> {
        let since = now.saturating_duration_since(self.checked);
        let slept = if since > self.timeout / 2 {
            since
        } else {
            Duration::ZERO
        };
        self.checked = now;
        let mut sessions = BTreeMap::new();
        let mut expired = Vec::new();
        for broker in unfenced {
            let mut session = match self.brokers.get(&broker) {
                Some(session) => Session {
                    end: session.end + slept,
                    ..*session
                },
                None => Session {
                    heard: None,
                    end: now + self.timeout,
                },
            };
            if let Some(at) = broken.get(&broker).copied()
                && session.heard.is_none_or(|heard| heard < at)
                && self.begun.saturating_duration_since(at) < self.timeout * 2
                && slept.is_zero()
            {
                let heard_by = if self.refused.contains(&broker) {
                    at + self.timeout / 10
                } else {
                    (at + self.timeout / 2).max(self.begun + self.timeout / 4)
                };
                session.end = session.end.min(heard_by);
            }
            if session.end <= now {
                expired.push(broker);
            }
            sessions.insert(broker, session);
        }
        self.brokers = sessions;
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKERS: [BrokerId; 2] = [BrokerId(0), BrokerId(1)];
    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    fn expired(sessions: &mut Sessions, now: Instant) -> Vec<BrokerId> {
        sessions.expired(BROKERS, &BTreeMap::new(), now)
    }

    #[test]
    fn a_silent_broker_is_reported_once_its_session_has_ended() {
        let start = Instant::now();
        let mut sessions = Sessions::new(MILLIS(1000), start);
        assert_eq!(expired(&mut sessions, start), []);
        for step in 1..=4 {
            let now = start + MILLIS(step * 250);
            sessions.heard(BrokerId(1), now);
            let silent: &[BrokerId] = if step == 4 { &[BrokerId(0)] } else { &[] };
            assert_eq!(expired(&mut sessions, now), silent);
        }
    }

    #[test]
    fn a_controller_that_slept_does_not_blame_the_others() {
        let start = Instant::now();
        let mut sessions = Sessions::new(MILLIS(1000), start);
        assert_eq!(expired(&mut sessions, start), []);
        for later in [60_000, 60_400, 60_800] {
            assert_eq!(expired(&mut sessions, start + MILLIS(later)), []);
        }
        assert_eq!(expired(&mut sessions, start + MILLIS(61_200)), BROKERS);
    }

    #[test]
    fn a_broker_that_was_fenced_meanwhile_begins_anew() {
        let start = Instant::now();
        let mut sessions = Sessions::new(MILLIS(1000), start);
        sessions.heard(BrokerId(0), start);
        assert_eq!(sessions.expired([], &BTreeMap::new(), start + MILLIS(400)), []);
        for later in [800, 1_200, 1_600] {
            assert_eq!(expired(&mut sessions, start + MILLIS(later)), []);
        }
        assert_eq!(expired(&mut sessions, start + MILLIS(1800)), BROKERS);
    }

    #[test]
    fn a_broker_whose_connections_broke_gets_half_a_session_to_be_heard_of_again() {
        let start = Instant::now();
        let mut sessions = Sessions::new(MILLIS(1000), start);
        for broker in BROKERS {
            sessions.heard(broker, start);
        }
        let broken = BTreeMap::from([
            (BrokerId(0), start + MILLIS(100)),
            (BrokerId(1), start + MILLIS(100)),
        ]);
        sessions.heard(BrokerId(1), start + MILLIS(300));
        assert_eq!(sessions.expired(BROKERS, &broken, start + MILLIS(400)), []);
        assert_eq!(
            sessions.expired(BROKERS, &broken, start + MILLIS(600)),
            [BrokerId(0)]
        );
    }

    #[test]
    fn a_broker_that_is_known_to_be_gone_gets_a_tenth_of_a_session() {
        let start = Instant::now();
        let mut sessions = Sessions::new(MILLIS(1000), start);
        for broker in BROKERS {
            sessions.heard(broker, start);
        }
        let broken = BTreeMap::from([
            (BrokerId(0), start + MILLIS(100)),
            (BrokerId(1), start + MILLIS(100)),
        ]);
        sessions.refused(BTreeSet::from(BROKERS));
        assert_eq!(sessions.expired(BROKERS, &broken, start + MILLIS(190)), []);
        sessions.heard(BrokerId(1), start + MILLIS(195));
        assert_eq!(
            sessions.expired(BROKERS, &broken, start + MILLIS(200)),
            [BrokerId(0)],
            "the other one was heard of again"
        );
    }

    #[test]
    fn a_new_controller_need_not_wait_for_one_that_is_known_to_be_gone() {
        let start = Instant::now();
        let begun = start + MILLIS(700);
        let mut sessions = Sessions::new(MILLIS(1000), begun);
        let broken = BTreeMap::from([(BrokerId(0), start), (BrokerId(1), start)]);
        sessions.refused(BTreeSet::from([BrokerId(0)]));
        assert_eq!(sessions.expired(BROKERS, &broken, begun), [BrokerId(0)]);
    }

    #[test]
    fn what_broke_before_a_new_controllers_time_counts_only_while_it_is_fresh() {
        let start = Instant::now();
        let begun = start + MILLIS(10_000);
        let mut sessions = Sessions::new(MILLIS(1000), begun);
        let broken = BTreeMap::from([(BrokerId(0), start), (BrokerId(1), begun - MILLIS(700))]);
        assert_eq!(sessions.expired(BROKERS, &broken, begun), []);
        assert_eq!(sessions.expired(BROKERS, &broken, begun + MILLIS(240)), []);
        assert_eq!(
            sessions.expired(BROKERS, &broken, begun + MILLIS(250)),
            [BrokerId(1)]
        );
    }
}
