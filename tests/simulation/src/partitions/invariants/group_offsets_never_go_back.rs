//! What a group has committed never goes back: a commit that was acknowledged is there for every member that asks later,
//! whichever broker coordinates by then (Kafka's promise of `OffsetCommit`; the generation fences members that were left
//! behind).

use super::violation;
use crate::outcome::Violation;
use std::collections::BTreeMap;

const NAME: &str = "group_offsets_never_go_back";

/// What members were told.
#[derive(Debug, Default)]
pub(in super::super) struct GroupOffsets {
    known: BTreeMap<String, i64>,
}

impl GroupOffsets {
    /// A member was told that its commit of `offset` holds. Members commit more each time.
    pub fn committed(&mut self, group: &str, offset: i64) {
        let known = self.known.entry(group.to_owned()).or_insert(-1);
        *known = offset.max(*known);
    }

    /// What is known to be committed now; -1: nothing is.
    pub fn known(&self, group: &str) -> i64 {
        self.known.get(group).copied().unwrap_or(-1)
    }

    /// A member was told that `offset` is committed, or -1; when it asked, `known` was known to be.
    pub fn fetched(&mut self, group: &str, known: i64, offset: i64) -> Result<(), Violation> {
        if offset < known {
            return violation(
                NAME,
                format!("group {group} had committed {known}, and a member that asked then is told {offset}"),
            );
        }
        self.committed(group, offset);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_that_is_lost_or_goes_back_is_found() {
        let mut offsets = GroupOffsets::default();
        assert_eq!(offsets.known("g"), -1);
        assert_eq!(offsets.fetched("g", -1, -1), Ok(()));
        offsets.committed("g", 3);
        // One that asked before may not have heard of it.
        assert_eq!(offsets.fetched("g", -1, -1), Ok(()));
        assert_eq!(offsets.fetched("g", offsets.known("g"), 3), Ok(()));
        // A commit that nobody heard of may hold, and is known from then on.
        assert_eq!(offsets.fetched("g", 3, 4), Ok(()));
        assert!(offsets.fetched("g", offsets.known("g"), 3).is_err());
        assert!(offsets.fetched("g", offsets.known("g"), -1).is_err());
        assert_eq!(offsets.known("other"), -1);
    }
}
