//! When the voters last followed this leader: what it may say without asking them again rests on that.

use std::collections::BTreeMap;

use openraft::Membership;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::voter::{VoterId, VoterNode};

/// When each voter was last sent something that it took from this leader. It is counted from the sending: the voter took
/// it later, and holds still for the time of a lease from then on.
#[derive(Debug, Default)]
pub struct Following {
    sent: Mutex<(u64, BTreeMap<VoterId, Instant>)>,
}

impl Following {
    /// A voter has taken what was sent at `sent` by the leader of `term`.
    pub fn took(&self, voter: VoterId, term: u64, sent: Instant) {
        let (known, voters) = &mut *self.sent.lock();
        if *known < term {
            voters.clear();
            *known = term;
        }
        if *known == term {
            let last = voters.entry(voter).or_insert(sent);
            *last = sent.max(*last);
        }
    }

    /// Since when the leader of `term`, which is `own`, has not been followed by a majority: of each set of voters, where
    /// they are being changed. `None`: it never was.
    pub fn since(
        &self,
        own: VoterId,
        term: u64,
        membership: &Membership<VoterId, VoterNode>,
        now: Instant,
    ) -> Option<Instant> {
        let sent = self.sent.lock();
        let last = |voter: &VoterId| match voter {
            voter if *voter == own => Some(now),
            voter if sent.0 == term => sent.1.get(voter).copied(),
            _ => None,
        };
        let majority = |voters: &std::collections::BTreeSet<VoterId>| {
            let mut times: Vec<Option<Instant>> = voters.iter().map(last).collect();
            times.sort_unstable();
            // The latest time that more than half of them have reached.
            times[(times.len() - 1) / 2]
        };
        let sets = membership
            .get_joint_config()
            .iter()
            .filter(|voters| !voters.is_empty());
        sets.map(majority).min().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use flotilla_protocol::{BrokerId, Uuid};

    use super::*;

    fn voter(broker: i32) -> VoterId {
        VoterId::new(BrokerId(broker), Uuid([1; 16]))
    }

    fn membership(sets: &[&[i32]]) -> Membership<VoterId, VoterNode> {
        let sets = sets.iter().map(|set| set.iter().map(|id| voter(*id)).collect());
        let sets: Vec<BTreeSet<VoterId>> = sets.collect();
        Membership::new(sets, ())
    }

    #[test]
    fn majority_is_as_fresh_as_the_voter_that_completes_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let following = Following::default();
        let since = |term, sets: &[&[i32]]| following.since(voter(0), term, &membership(sets), at(100));
        assert_eq!(since(1, &[&[0]]), Some(at(100)), "a voter alone follows itself");
        assert_eq!(since(1, &[&[0, 1, 2]]), None);
        following.took(voter(1), 1, at(20));
        assert_eq!(since(1, &[&[0, 1, 2]]), Some(at(20)));
        following.took(voter(2), 1, at(50));
        following.took(voter(2), 1, at(40));
        assert_eq!(since(1, &[&[0, 1, 2]]), Some(at(50)));
        assert_eq!(since(1, &[&[0, 1, 2, 3, 4]]), Some(at(20)));
        assert_eq!(
            since(1, &[&[0, 1, 2], &[0, 1, 3]]),
            Some(at(20)),
            "a majority of both sets"
        );
        assert_eq!(since(1, &[&[0, 1, 2], &[0, 3, 4]]), None);
    }

    #[test]
    fn what_was_taken_in_another_term_counts_for_nothing() {
        let now = Instant::now();
        let following = Following::default();
        following.took(voter(1), 2, now);
        following.took(voter(2), 1, now);
        let sets = membership(&[&[0, 1, 2]]);
        assert_eq!(following.since(voter(0), 2, &sets, now), Some(now));
        assert_eq!(following.since(voter(0), 1, &sets, now), None);
        following.took(voter(2), 3, now);
        assert_eq!(following.since(voter(0), 2, &sets, now), None);
    }
}
