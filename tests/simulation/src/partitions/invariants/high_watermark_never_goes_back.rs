//! The end of a partition never goes back for a client that asks for it (KIP-207): a new leader that does not know yet
//! what is committed says so instead.

use super::violation;
use crate::outcome::Violation;
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::Offset;
use std::collections::BTreeMap;

const NAME: &str = "high_watermark_never_goes_back";

/// What each client was told last.
#[derive(Debug, Default)]
pub(in super::super) struct Watermarks {
    seen: BTreeMap<(usize, PartitionKey), Offset>,
}

impl Watermarks {
    /// A client was told that the partition ends at `offset`.
    pub fn seen(&mut self, client: usize, key: PartitionKey, offset: Offset) -> Result<(), Violation> {
        let before = self.seen.insert((client, key), offset);
        match before {
            Some(before) if before > offset => violation(
                NAME,
                format!("{key:?}: client {client} was told that it ends at {offset}, after {before}"),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::KEY;
    use super::*;

    #[test]
    fn end_that_goes_back_is_found_for_each_client() {
        let mut marks = Watermarks::default();
        assert_eq!(marks.seen(0, KEY, Offset(3)), Ok(()));
        assert_eq!(marks.seen(1, KEY, Offset(2)), Ok(()));
        assert_eq!(marks.seen(0, KEY, Offset(3)), Ok(()));
        assert!(marks.seen(0, KEY, Offset(2)).is_err());
    }
}
