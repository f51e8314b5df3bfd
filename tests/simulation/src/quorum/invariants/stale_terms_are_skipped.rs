//! An entry that was decided in another term than it was appended in is skipped by everyone: a controller that lost its
//! lead and won it back must not act on what it decided before.

use std::collections::BTreeMap;

use flotilla_broker::coordination::VoterId;
use flotilla_broker::coordination::simulation::Appended;
use flotilla_control::proto::coordination::Committed;

use super::broken;
use crate::outcome::Violation;

/// In which term each entry was decided.
#[derive(Default)]
pub struct StaleTermsAreSkipped {
    decided_in: BTreeMap<(u64, u64), u64>,
    stale: u64,
}

impl StaleTermsAreSkipped {
    /// An entry was sent to a member.
    pub fn appended(&mut self, entry: &Appended) {
        if let Some(decided_in) = entry.decided_in {
            let known = self.decided_in.insert((entry.term, entry.index), decided_in);
            self.stale += u64::from(known.is_none() && decided_in != entry.term);
        }
    }

    /// A member has applied an entry, to these records.
    pub fn applied(&self, who: VoterId, entry: &Committed) -> Result<(), Violation> {
        let decided_in = self.decided_in.get(&(entry.term, entry.index));
        if let Some(decided_in) = decided_in.filter(|term| **term != entry.term && !entry.records.is_empty())
        {
            let message = format!(
                "{who} has applied entry {} of term {}, which was decided in term {decided_in}",
                entry.index, entry.term
            );
            return Err(broken("stale_terms_are_skipped", message));
        }
        Ok(())
    }

    /// How many such entries there were.
    pub fn seen(&self) -> u64 {
        self.stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::tests::{feature, voter};

    #[test]
    fn entry_of_an_old_term_that_takes_effect_is_found() {
        let mut rule = StaleTermsAreSkipped::default();
        let appended = |index, decided_in| Appended {
            term: 4,
            leader: voter(1),
            index,
            decided_in: Some(decided_in),
            payload: Vec::new(),
        };
        let committed = |index, records| Committed {
            index,
            term: 4,
            records,
        };
        rule.appended(&appended(1, 4));
        rule.appended(&appended(2, 3));
        assert_eq!(rule.applied(voter(0), &committed(1, vec![feature("a")])), Ok(()));
        assert_eq!(rule.applied(voter(0), &committed(2, Vec::new())), Ok(()));
        let found = rule
            .applied(voter(0), &committed(2, vec![feature("a")]))
            .unwrap_err();
        assert_eq!(found.invariant, "stale_terms_are_skipped");
        assert_eq!(rule.seen(), 1);
    }
}
