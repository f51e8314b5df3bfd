//! One leader a term (Raft, §5.2): who leads was voted for, in that term, by a majority. `openraft` lets a voter go on to a
//! greater voter id within a term, so that elections do not end without a winner: then the one before can commit nothing
//! more, since the majorities overlap. A leader that starts again goes on in its term until it hears of another.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_broker::coordination::VoterId;
use flotilla_broker::coordination::simulation::granted;

use super::broken;
use crate::outcome::Violation;

/// Who voted for whom in which term, and who led.
#[derive(Default)]
pub struct OneLeaderATerm {
    votes: BTreeMap<(u64, VoterId), BTreeSet<VoterId>>,
    leaders: BTreeSet<(u64, VoterId)>,
}

impl OneLeaderATerm {
    /// A voter answered a request for its vote.
    pub fn answered(&mut self, by: VoterId, answer: &[u8]) {
        if let Some((term, candidate)) = granted(answer) {
            self.granted(by, term, candidate);
        }
    }

    fn granted(&mut self, by: VoterId, term: u64, candidate: VoterId) {
        self.votes.entry((term, candidate)).or_default().insert(by);
    }

    /// A member says that it leads these voters. True: nobody knew yet.
    pub fn leads(&mut self, who: VoterId, term: u64, voters: &BTreeSet<VoterId>) -> Result<bool, Violation> {
        if !self.leaders.insert((term, who)) {
            return Ok(false);
        }
        let votes = self.votes.get(&(term, who)).cloned().unwrap_or_default();
        let count = voters
            .iter()
            .filter(|voter| **voter == who || votes.contains(voter))
            .count();
        if count * 2 <= voters.len() {
            let message = format!("{who} leads in term {term} with the votes of {votes:?}, of {voters:?}");
            return Err(broken("one_leader_a_term", message));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::tests::voter;

    #[test]
    fn leader_without_a_majority_of_votes_in_its_term_is_found() {
        let voters = BTreeSet::from([voter(0), voter(1), voter(2)]);
        let mut rule = OneLeaderATerm::default();
        rule.granted(voter(2), 4, voter(1));
        assert_eq!(rule.leads(voter(1), 4, &voters), Ok(true));
        assert_eq!(rule.leads(voter(1), 4, &voters), Ok(false));
        assert_eq!(
            rule.leads(voter(0), 5, &BTreeSet::from([voter(0)])),
            Ok(true),
            "alone"
        );
        let found = rule.leads(voter(0), 4, &voters).unwrap_err();
        assert_eq!(found.invariant, "one_leader_a_term");
        assert!(rule.leads(voter(1), 5, &voters).is_err(), "votes of another term");
    }
}
