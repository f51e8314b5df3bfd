//! A record that was acknowledged to acks=all is never lost while a minimum in-sync replica survives, and stays where it
//! was said to be (Kafka's promise for `acks=all`, with KIP-966 for who may lead after all in-sync replicas were gone).

use super::{Record, violation};
use crate::outcome::Violation;
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::Offset;
use std::collections::BTreeMap;

const NAME: &str = "acknowledged_is_kept";

/// What producers were told.
#[derive(Debug, Default)]
pub(in super::super) struct Acknowledged {
    by_partition: BTreeMap<PartitionKey, BTreeMap<Offset, u64>>,
}

impl Acknowledged {
    /// A producer was told that its records stand from `base` on.
    pub fn acknowledged(&mut self, key: PartitionKey, base: Offset, values: &[u64]) {
        let of_partition = self.by_partition.entry(key).or_default();
        for (place, value) in values.iter().enumerate() {
            of_partition.insert(base.plus(place as i64), *value);
        }
    }

    /// Holds a whole log against it.
    pub fn check(&self, key: PartitionKey, name: &str, log: &[Record]) -> Result<(), Violation> {
        let found: BTreeMap<Offset, u64> = log.iter().map(|record| (record.offset, record.value)).collect();
        for (offset, value) in self.by_partition.get(&key).into_iter().flatten() {
            match found.get(offset) {
                Some(found) if found == value => {}
                Some(found) => {
                    return violation(
                        NAME,
                        format!("{name}: {value:x} was acknowledged at {offset}, where {found:x} is now"),
                    );
                }
                None => {
                    return violation(
                        NAME,
                        format!("{name}: {value:x}, acknowledged at {offset}, is lost"),
                    );
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{KEY, record};
    use super::*;

    #[test]
    fn lost_and_replaced_records_are_found() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.acknowledged(KEY, Offset(1), &[7, 8]);
        let log = [record(0, 0, 5), record(1, 0, 7), record(2, 0, 8)];
        assert_eq!(acknowledged.check(KEY, "t-0", &log), Ok(()));
        let lost = acknowledged.check(KEY, "t-0", &log[..2]).unwrap_err();
        assert_eq!(lost.message, "t-0: 8, acknowledged at 2, is lost");
        let replaced = [record(0, 0, 5), record(1, 1, 9), record(2, 1, 8)];
        let replaced = acknowledged.check(KEY, "t-0", &replaced).unwrap_err();
        assert_eq!(replaced.message, "t-0: 7 was acknowledged at 1, where 9 is now");
    }
}
