//! No two brokers, nor two processes of one broker, lead a partition in the same leader epoch (KIP-101): records are told
//! apart by (epoch, offset), and only because of this.

use super::violation;
use crate::outcome::Violation;
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::{LeaderEpoch, Offset};
use std::collections::BTreeMap;

const NAME: &str = "one_leader_an_epoch";

/// A process of a broker: which broker, and the how manieth of its processes.
pub(in super::super) type Who = (usize, u64);

/// Who was seen to lead, and how far it said that records are committed.
#[derive(Debug, Default)]
pub(in super::super) struct Leaders {
    seen: BTreeMap<(PartitionKey, LeaderEpoch), (Who, Offset)>,
    changes: u64,
}

impl Leaders {
    /// `who` leads in `epoch`, with that high watermark, which never goes back while it does.
    pub fn seen(
        &mut self,
        key: PartitionKey,
        epoch: LeaderEpoch,
        who: Who,
        high_watermark: Offset,
    ) -> Result<(), Violation> {
        let Some((before, mark)) = self.seen.get_mut(&(key, epoch)) else {
            self.seen.insert((key, epoch), (who, high_watermark));
            self.changes += 1;
            return Ok(());
        };
        if *before != who {
            return violation(
                NAME,
                format!(
                    "{key:?}: in epoch {epoch}, broker {} (process {}) leads, and broker {} (process {}) led",
                    who.0, who.1, before.0, before.1
                ),
            );
        }
        if high_watermark < *mark {
            return violation(
                NAME,
                format!(
                    "{key:?}: the high watermark of epoch {epoch} went back from {mark} to {high_watermark}"
                ),
            );
        }
        *mark = high_watermark;
        Ok(())
    }

    /// How many leaderships there were.
    pub fn count(&self) -> u64 {
        self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::KEY;
    use super::*;

    #[test]
    fn second_leader_of_an_epoch_is_found() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.seen(KEY, LeaderEpoch(1), (0, 1), Offset(0)), Ok(()));
        assert_eq!(leaders.seen(KEY, LeaderEpoch(1), (0, 1), Offset(4)), Ok(()));
        assert_eq!(leaders.seen(KEY, LeaderEpoch(2), (1, 1), Offset(0)), Ok(()));
        assert_eq!(leaders.count(), 2);
        assert!(leaders.seen(KEY, LeaderEpoch(1), (1, 1), Offset(4)).is_err());
        assert!(leaders.seen(KEY, LeaderEpoch(1), (0, 2), Offset(4)).is_err());
    }

    #[test]
    fn high_watermark_of_a_leader_that_goes_back_is_found() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.seen(KEY, LeaderEpoch(1), (0, 1), Offset(4)), Ok(()));
        assert!(leaders.seen(KEY, LeaderEpoch(1), (0, 1), Offset(3)).is_err());
    }
}
