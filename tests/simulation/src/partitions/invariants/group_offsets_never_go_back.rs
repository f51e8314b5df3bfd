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

    /// A member was told that `offset` is committed; -1: nothing is.
    pub fn fetched(&mut self, group: &str, offset: i64) -> Result<(), Violation> {
        let known = self.known.get(group).copied().unwrap_or(-1);
        if offset < known {
            return violation(
                NAME,
                format!("group {group} has committed {known}, and a member is told {offset}"),
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
        assert_eq!(offsets.fetched("g", -1), Ok(()));
        offsets.committed("g", 3);
        assert_eq!(offsets.fetched("g", 3), Ok(()));
        // A commit that nobody heard of may hold, and is known from then on.
        assert_eq!(offsets.fetched("g", 4), Ok(()));
        assert!(offsets.fetched("g", 3).is_err());
        assert!(offsets.fetched("g", -1).is_err());
        assert_eq!(offsets.fetched("other", -1), Ok(()));
    }
}
