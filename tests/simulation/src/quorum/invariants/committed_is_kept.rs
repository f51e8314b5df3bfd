//! A committed entry is never lost or altered, and all members apply the same entries in the same order (Raft, §5.4: state
//! machine safety); entries of one log id are the same everywhere (log matching, §5.3).

use std::collections::BTreeMap;

use flotilla_broker::coordination::VoterId;
use flotilla_broker::coordination::simulation::Appended;
use flotilla_control::proto::coordination::Committed;

use super::broken;
use crate::outcome::Violation;

/// What was committed at each index, and what was ever appended under each log id.
#[derive(Default)]
pub struct CommittedIsKept {
    committed: BTreeMap<u64, Committed>,
    appended: BTreeMap<(u64, VoterId, u64), Appended>,
}

impl CommittedIsKept {
    /// A member has applied an entry.
    pub fn applied(&mut self, who: VoterId, entry: &Committed) -> Result<bool, Violation> {
        let Some(known) = self.committed.get(&entry.index) else {
            self.committed.insert(entry.index, entry.clone());
            return Ok(true);
        };
        if known != entry {
            let message = format!(
                "at index {} {who} has applied {entry:?}, where {known:?} was committed",
                entry.index
            );
            return Err(broken("committed_is_kept", message));
        }
        Ok(false)
    }

    /// An entry was sent to a member.
    pub fn appended(&mut self, entry: &Appended) -> Result<(), Violation> {
        let id = (entry.term, entry.leader, entry.index);
        let known = self.appended.entry(id).or_insert_with(|| entry.clone());
        if known != entry {
            let message = format!("{entry:?} was appended, and under the same log id {known:?}");
            return Err(broken("committed_is_kept", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::tests::{feature, voter};

    #[test]
    fn altered_entry_is_found() {
        let mut rule = CommittedIsKept::default();
        let entry = Committed {
            index: 5,
            term: 2,
            records: vec![feature("a")],
        };
        assert_eq!(rule.applied(voter(0), &entry), Ok(true));
        assert_eq!(rule.applied(voter(1), &entry), Ok(false));
        let altered = Committed {
            records: vec![feature("b")],
            ..entry.clone()
        };
        let found = rule.applied(voter(1), &altered).unwrap_err();
        assert_eq!(found.invariant, "committed_is_kept");
        assert!(rule.applied(voter(1), &Committed { term: 3, ..entry }).is_err());
    }

    #[test]
    fn two_entries_under_one_log_id_are_found() {
        let mut rule = CommittedIsKept::default();
        let entry = Appended {
            term: 2,
            leader: voter(1),
            index: 7,
            decided_in: Some(2),
            payload: vec![1],
        };
        assert_eq!(rule.appended(&entry), Ok(()));
        assert_eq!(rule.appended(&entry), Ok(()));
        let other = Appended {
            payload: vec![2],
            ..entry
        };
        assert!(rule.appended(&other).is_err());
    }
}
