//! All replicas hold the same records below their high watermarks, and what was below one stays (KIP-101, KIP-279:
//! truncation is by epoch, and never takes away what is committed).

use super::{Record, violation};
use crate::outcome::Violation;
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::{LeaderEpoch, Offset};
use std::collections::BTreeMap;

const NAME: &str = "replicas_agree";

/// What was seen below a high watermark, anywhere.
#[derive(Debug, Default)]
pub(in super::super) struct Committed {
    by_partition: BTreeMap<PartitionKey, Vec<(LeaderEpoch, u64)>>,
    /// How far each replica was looked at.
    looked: BTreeMap<(PartitionKey, usize), Offset>,
}

impl Committed {
    /// The end of what is committed.
    pub fn end(&self, key: PartitionKey) -> Offset {
        Offset(self.by_partition.get(&key).map_or(0, Vec::len) as i64)
    }

    /// From where on a replica has to be looked at.
    pub fn looked(&self, key: PartitionKey, broker: usize) -> Offset {
        self.looked.get(&(key, broker)).copied().unwrap_or(Offset(0))
    }

    /// A process began: what it holds is looked at from the beginning.
    pub fn began(&mut self, broker: usize) {
        self.looked.retain(|(_, of), _| *of != broker);
    }

    /// A replica is not there any more.
    pub fn dropped(&mut self, key: PartitionKey, broker: usize) {
        self.looked.remove(&(key, broker));
    }

    /// A replica holds `records` from where it was looked at last up to its high watermark.
    pub fn holds(
        &mut self,
        key: PartitionKey,
        broker: usize,
        records: &[Record],
        high_watermark: Offset,
    ) -> Result<(), Violation> {
        let committed = self.by_partition.entry(key).or_default();
        let mut next = self.looked.get(&(key, broker)).copied().unwrap_or(Offset(0));
        let fresh = records
            .iter()
            .filter(|record| record.offset >= next && record.offset < high_watermark)
            .copied()
            .collect::<Vec<_>>();
        for record in fresh {
            if record.offset != next {
                return violation(
                    NAME,
                    format!(
                        "{key:?}: broker {broker} has {} where {next} should come",
                        record.offset
                    ),
                );
            }
            let place = next.0 as usize;
            let is = (record.epoch, record.value);
            match committed.get(place) {
                Some(was) if *was == is => {}
                Some((epoch, value)) => {
                    return violation(
                        NAME,
                        format!(
                            "{key:?}: at {next}, below its high watermark {high_watermark}, broker {broker} has {:x} of epoch {}, but {value:x} of epoch {epoch} was committed",
                            is.1, is.0
                        ),
                    );
                }
                None => committed.push(is),
            }
            next = next.plus(1);
        }
        if next < high_watermark {
            return violation(
                NAME,
                format!(
                    "{key:?}: broker {broker} has no record {next}, below its high watermark {high_watermark}"
                ),
            );
        }
        self.looked.insert((key, broker), next);
        Ok(())
    }

    /// A replica's log ends at `log_end`: never below what it knew as committed.
    pub fn ends(&self, key: PartitionKey, broker: usize, log_end: Offset) -> Result<(), Violation> {
        let looked = self.looked(key, broker);
        if log_end < looked {
            return violation(
                NAME,
                format!(
                    "{key:?}: broker {broker} cut its log to {log_end}, below its high watermark {looked}"
                ),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{KEY, record};
    use super::*;

    #[test]
    fn replica_that_differs_below_the_high_watermark_is_found() {
        let mut committed = Committed::default();
        let log = [record(0, 0, 5), record(1, 0, 6), record(2, 0, 7)];
        assert_eq!(committed.holds(KEY, 0, &log, Offset(2)), Ok(()));
        assert_eq!(committed.end(KEY), Offset(2));
        // What is above may differ.
        let other = [record(0, 0, 5), record(1, 0, 6), record(2, 1, 8)];
        assert_eq!(committed.holds(KEY, 1, &other, Offset(2)), Ok(()));
        assert_eq!(committed.holds(KEY, 1, &other, Offset(3)), Ok(()));
        let differs = committed.holds(KEY, 0, &log, Offset(3)).unwrap_err();
        assert!(
            differs.message.contains("has 7 of epoch 0, but 8 of epoch 1"),
            "{differs:?}"
        );
    }

    #[test]
    fn cut_below_the_high_watermark_and_holes_are_found() {
        let mut committed = Committed::default();
        let log = [record(0, 0, 5), record(1, 0, 6)];
        assert_eq!(committed.holds(KEY, 0, &log, Offset(2)), Ok(()));
        assert_eq!(committed.ends(KEY, 0, Offset(2)), Ok(()));
        assert!(committed.ends(KEY, 0, Offset(1)).is_err());
        committed.began(0);
        assert_eq!(committed.ends(KEY, 0, Offset(1)), Ok(()));
        assert!(committed.holds(KEY, 0, &log[1..], Offset(2)).is_err());
        assert!(committed.holds(KEY, 0, &log[..1], Offset(2)).is_err());
    }
}
