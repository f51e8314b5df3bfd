//! How far a follower is, as its leader sees it.

use flotilla_protocol::{BrokerEpoch, Offset};

/// One follower. All of it comes from its fetches; a new leader knows nothing until the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The end of its log, synced: a follower syncs before it fetches on. None before its first fetch of this leader epoch.
    pub log_end: Option<Offset>,
    /// The start of its log. None before its first fetch.
    pub log_start: Option<Offset>,
    /// The registration that its fetches came from (KIP-903).
    pub broker_epoch: Option<BrokerEpoch>,
    /// Whether its last fetch said that it has no room for records.
    pub is_full: bool,
    /// When it was last known to have all that the leader had, in milliseconds.
    pub last_caught_up_ms: i64,
    /// When it fetched last, in milliseconds, and the end of the leader's log then.
    last_fetch: Option<(i64, Offset)>,
}

impl Progress {
    /// A follower that has not fetched in this leader epoch. One that is in sync gets a whole lag time before it is
    /// doubted: it may not have heard of the new leader yet.
    #[must_use]
    pub fn unheard(in_sync: bool, now_ms: i64) -> Self {
        Self {
            log_end: None,
            log_start: None,
            broker_epoch: None,
            is_full: false,
            last_caught_up_ms: if in_sync { now_ms } else { i64::MIN },
            last_fetch: None,
        }
    }

    /// A fetch arrived. A follower counts as caught up at the time of an earlier fetch once it has what the leader had
    /// then: a partition that is always written to never shows a follower at its very end.
    pub fn fetched(&mut self, fetch: &Fetched, leader_end: Offset, now_ms: i64) {
        if fetch.offset >= leader_end {
            self.last_caught_up_ms = self.last_caught_up_ms.max(now_ms);
        } else if let Some((at_ms, end)) = self.last_fetch
            && fetch.offset >= end
        {
            self.last_caught_up_ms = self.last_caught_up_ms.max(at_ms);
        }
        self.log_end = Some(fetch.offset);
        self.log_start = Some(fetch.log_start);
        self.broker_epoch = Some(fetch.broker_epoch);
        self.is_full = fetch.is_full;
        self.last_fetch = Some((now_ms, leader_end));
    }

    /// Whether it has all of the leader's log, or had within the lag time. One that has no room will not get what it lacks, so that it
    /// is not waited for.
    #[must_use]
    pub fn is_caught_up(&self, leader_end: Offset, now_ms: i64, lag_time_max_ms: i64) -> bool {
        let is_near = !self.is_full && now_ms.saturating_sub(self.last_caught_up_ms) <= lag_time_max_ms;
        self.log_end == Some(leader_end) || is_near
    }
}

/// What a follower's fetch says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it fetches: all before is on its disk.
    pub offset: Offset,
    /// Where its log starts.
    pub log_start: Offset,
    /// The registration that it sends under (KIP-903).
    pub broker_epoch: BrokerEpoch,
    /// Whether it has no room for records.
    pub is_full: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(offset: i64) -> Fetched {
        Fetched {
            offset: Offset(offset),
            log_start: Offset(0),
            broker_epoch: BrokerEpoch(7),
            is_full: false,
        }
    }

    #[test]
    fn follower_that_trails_a_busy_leader_is_caught_up_as_of_its_previous_fetch() {
        let mut progress = Progress::unheard(false, 0);
        progress.fetched(&fetch(0), Offset(10), 100);
        assert!(!progress.is_caught_up(Offset(10), 100, 50));
        progress.fetched(&fetch(10), Offset(20), 140);
        assert_eq!(progress.last_caught_up_ms, 100);
        assert!(progress.is_caught_up(Offset(20), 150, 50));
        assert!(!progress.is_caught_up(Offset(20), 151, 50));
        progress.fetched(&fetch(20), Offset(20), 160);
        assert_eq!(progress.last_caught_up_ms, 160);
    }

    #[test]
    fn follower_at_the_end_is_caught_up_however_long_it_was_silent() {
        let mut progress = Progress::unheard(true, 0);
        progress.fetched(&fetch(10), Offset(10), 100);
        assert!(progress.is_caught_up(Offset(10), 1_000_000, 50));
        assert!(!progress.is_caught_up(Offset(11), 1_000_000, 50));
    }

    #[test]
    fn full_follower_is_caught_up_at_the_end_only() {
        let mut progress = Progress::unheard(true, 0);
        let full = Fetched {
            is_full: true,
            ..fetch(10)
        };
        progress.fetched(&full, Offset(10), 100);
        assert!(progress.is_caught_up(Offset(10), 100, 50));
        assert!(!progress.is_caught_up(Offset(11), 100, 50));
        progress.fetched(&fetch(10), Offset(11), 110);
        assert!(progress.is_caught_up(Offset(11), 110, 50), "it has room again");
    }

    #[test]
    fn unheard_follower_in_sync_gets_one_lag_time() {
        assert!(Progress::unheard(true, 100).is_caught_up(Offset(5), 150, 50));
        assert!(!Progress::unheard(true, 100).is_caught_up(Offset(5), 151, 50));
        assert!(!Progress::unheard(false, 100).is_caught_up(Offset(5), 100, 50));
    }
}
