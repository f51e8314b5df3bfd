//! How a member votes that has left the quorum by an entry of its own log, while that entry may not be committed (section
//! 4.2.2 of the Raft dissertation).
//!
//! A leader that removes itself writes the entry by which it no longer votes, and may be gone before anybody else has it. The
//! others still need its vote then, since they know of no newer voters, and openraft would have it refused to all of them for
//! ever: their logs are shorter by that entry, and who no longer votes does not stand for election itself.

use openraft::LogId;
use openraft::raft::VoteRequest;

use super::voter::VoterId;

/// Where the log of such a member stands.
///
/// From that entry on a majority of voters is one without this member: whatever of it is committed is known to voters without
/// whom nobody is elected, and does not need this member to be kept. Its vote guards what lies before, and only that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parting {
    /// The last entry before the one by which it left.
    pub before: LogId<VoterId>,
    /// The last entry.
    pub last: LogId<VoterId>,
}

impl Parting {
    /// What is to be answered instead: a candidate that has all that this member's vote guards has as much as this member.
    pub fn weighed(self, asked: VoteRequest<VoterId>) -> VoteRequest<VoterId> {
        let has_enough = asked.last_log_id >= Some(self.before);
        VoteRequest {
            last_log_id: if has_enough {
                asked.last_log_id.max(Some(self.last))
            } else {
                asked.last_log_id
            },
            ..asked
        }
    }
}

#[cfg(test)]
mod tests {
    use flotilla_protocol::{BrokerId, Uuid};
    use openraft::{CommittedLeaderId, Vote};

    use super::*;

    fn id(term: u64, index: u64) -> LogId<VoterId> {
        let voter = VoterId::new(BrokerId(1), Uuid([1; 16]));
        LogId::new(CommittedLeaderId::new(term, voter), index)
    }

    #[test]
    fn candidate_needs_all_before_the_entry_by_which_a_member_left_and_not_that_entry() {
        let parting = Parting {
            before: id(2, 7),
            last: id(2, 9),
        };
        let weighed = |last_log_id| {
            let vote = Vote::new(3, VoterId::default());
            let answered = parting.weighed(VoteRequest { vote, last_log_id });
            assert_eq!(answered.vote, vote);
            answered.last_log_id
        };
        assert_eq!(weighed(None), None);
        assert_eq!(weighed(Some(id(2, 6))), Some(id(2, 6)));
        assert_eq!(weighed(Some(id(1, 8))), Some(id(1, 8)));
        assert_eq!(weighed(Some(id(2, 7))), Some(id(2, 9)));
        assert_eq!(weighed(Some(id(2, 9))), Some(id(2, 9)));
        assert_eq!(weighed(Some(id(2, 10))), Some(id(2, 10)));
        assert_eq!(weighed(Some(id(3, 8))), Some(id(3, 8)));
    }
}
