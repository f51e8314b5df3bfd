//! A voter's promises outlive its process: in a term it votes for one candidate, or later for a greater one, as `openraft`
//! has it, and never for a smaller one (Raft, §5.2: `votedFor` is on disk before it is answered).

use std::collections::BTreeMap;

use flotilla_broker::coordination::VoterId;
use flotilla_broker::coordination::simulation::granted;

use super::broken;
use crate::outcome::Violation;

/// What each voter granted.
#[derive(Default)]
pub struct OneVoteATerm {
    greatest: BTreeMap<VoterId, (u64, VoterId)>,
}

impl OneVoteATerm {
    /// A voter answered a request for its vote.
    pub fn answered(&mut self, by: VoterId, answer: &[u8]) -> Result<(), Violation> {
        match granted(answer) {
            Some((term, candidate)) => self.granted(by, term, candidate),
            None => Ok(()),
        }
    }

    fn granted(&mut self, by: VoterId, term: u64, candidate: VoterId) -> Result<(), Violation> {
        let vote = (term, candidate);
        let greatest = self.greatest.entry(by).or_insert(vote);
        if vote < *greatest {
            let (in_term, other) = *greatest;
            let message = format!(
                "{by} votes for {candidate} in term {term}, after it voted for {other} in term {in_term}"
            );
            return Err(broken("one_vote_a_term", message));
        }
        *greatest = vote;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::tests::voter;

    #[test]
    fn vote_that_forgets_an_earlier_one_is_found() {
        let mut rule = OneVoteATerm::default();
        assert_eq!(rule.granted(voter(0), 3, voter(1)), Ok(()));
        assert_eq!(rule.granted(voter(0), 3, voter(1)), Ok(()));
        assert_eq!(rule.granted(voter(0), 3, voter(2)), Ok(()));
        let found = rule.granted(voter(0), 3, voter(1)).unwrap_err();
        assert_eq!(found.invariant, "one_vote_a_term");
        assert!(rule.granted(voter(0), 2, voter(2)).is_err());
    }
}
