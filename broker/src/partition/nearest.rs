//! Followers that serve consumers in the leader's place (KIP-392).

use super::leader::Leader;
use flotilla_protocol::{BrokerId, Offset};

impl Leader {
    /// The follower, of those `near` a consumer, that it is sent to for what comes at `offset`: in sync, standing, and with that offset in its log; of
    /// several the one that is furthest. None: the leader serves the consumer itself.
    ///
    /// One that is not in sync may never get what the consumer will ask for next, and one without room certainly does not.
    #[must_use]
    pub fn nearest(&self, near: &[BrokerId], offset: Offset) -> Option<BrokerId> {
        let furthest = near.iter().filter_map(|broker| {
            let progress = self.followers().get(broker)?;
            let (start, end) = (progress.log_start?, progress.log_end?);
            let can_serve = self.in_sync().committed().contains(broker)
                && self.is_eligible(*broker, progress)
                && !progress.is_full
                && (start..=end).contains(&offset);
            can_serve.then_some((end, progress.last_caught_up_ms, *broker))
        });
        furthest.max().map(|(_, _, broker)| broker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::leader::{Assignment, Local, Settings};
    use crate::partition::progress::Fetched;
    use flotilla_protocol::{BrokerEpoch, LeaderEpoch};

    const ME: BrokerId = BrokerId(1);
    const B: BrokerId = BrokerId(2);
    const C: BrokerId = BrokerId(3);

    fn epoch(broker: BrokerId) -> BrokerEpoch {
        BrokerEpoch(i64::from(broker.0) + 100)
    }

    fn assignment(isr: &[BrokerId], standing: &[BrokerId]) -> Assignment {
        Assignment {
            leader_epoch: LeaderEpoch(4),
            partition_epoch: 7,
            replicas: vec![ME, B, C],
            isr: isr.to_vec(),
            standing: standing.iter().map(|broker| (*broker, epoch(*broker))).collect(),
        }
    }

    /// Leads a log from 5 to 20, where B has all up to 12 and C all up to 20, from 8 on.
    fn leader(isr: &[BrokerId]) -> Leader {
        let local = Local {
            log_start: Offset(5),
            log_end: Offset(20),
            synced_end: Offset(20),
            high_watermark: Offset(10),
        };
        let settings = Settings {
            min_insync_replicas: 1,
            lag_time_max_ms: 30_000,
        };
        let (mut leader, _) = Leader::new((ME, epoch(ME)), &assignment(isr, &[ME, B, C]), settings, local, 0);
        fetched(&mut leader, B, 5, 12, false);
        fetched(&mut leader, C, 8, 20, false);
        leader
    }

    fn fetched(leader: &mut Leader, broker: BrokerId, start: i64, end: i64, is_full: bool) {
        let fetched = Fetched {
            offset: Offset(end),
            log_start: Offset(start),
            broker_epoch: epoch(broker),
            is_full,
        };
        leader.fetched(broker, &fetched, 0).unwrap();
    }

    #[test]
    fn consumer_is_sent_to_the_furthest_follower_near_it_that_has_its_offset() {
        let leader = leader(&[ME, B, C]);
        for (near, offset, expected) in [
            (&[B, C][..], 10, Some(C)),
            (&[B, C], 7, Some(B)),
            (&[B], 10, Some(B)),
            (&[B], 12, Some(B)),
            (&[B], 13, None),
            (&[C], 7, None),
            (&[ME], 10, None),
            (&[BrokerId(9)], 10, None),
            (&[], 10, None),
        ] {
            assert_eq!(
                leader.nearest(near, Offset(offset)),
                expected,
                "{near:?} at {offset}"
            );
        }
    }

    #[test]
    fn follower_out_of_sync_gone_or_full_serves_nobody() {
        assert_eq!(leader(&[ME, B]).nearest(&[C], Offset(10)), None);

        let mut gone = leader(&[ME, B, C]);
        gone.update(&assignment(&[ME, B, C], &[ME, B]), 0);
        assert_eq!(gone.nearest(&[B, C], Offset(10)), Some(B));

        let mut full = leader(&[ME, B, C]);
        fetched(&mut full, C, 8, 20, true);
        assert_eq!(full.nearest(&[B, C], Offset(10)), Some(B));
    }

    #[test]
    fn follower_that_has_not_fetched_yet_serves_nobody() {
        let local = Local {
            log_start: Offset(0),
            log_end: Offset(20),
            synced_end: Offset(20),
            high_watermark: Offset(10),
        };
        let settings = Settings {
            min_insync_replicas: 1,
            lag_time_max_ms: 30_000,
        };
        let assignment = assignment(&[ME, B, C], &[ME, B, C]);
        let (leader, _) = Leader::new((ME, epoch(ME)), &assignment, settings, local, 0);
        assert_eq!(leader.nearest(&[B, C], Offset(0)), None);
    }
}
