//! A broker's epoch is given to one incarnation only, and a later incarnation has a greater one (KIP-903): otherwise a fenced
//! process could pass for the one that took its place.

use std::collections::BTreeMap;

use flotilla_control::proto::coordination::Committed;
use flotilla_control::proto::metadata::record::Record as Fact;

use super::broken;
use crate::outcome::Violation;

/// The incarnations of each broker, by epoch.
#[derive(Default)]
pub struct EpochsAreGivenOnce {
    seen: u64,
    brokers: BTreeMap<i32, BTreeMap<i64, Vec<u8>>>,
}

impl EpochsAreGivenOnce {
    /// An entry is committed. Only the first time that it is seen counts, and entries are seen in order.
    pub fn committed(&mut self, entry: &Committed) -> Result<(), Violation> {
        if entry.index < self.seen {
            return Ok(());
        }
        self.seen = entry.index + 1;
        for record in &entry.records {
            let Some(Fact::Broker(broker)) = &record.record else {
                continue;
            };
            let epochs = self.brokers.entry(broker.broker_id).or_default();
            let incarnation = broker.incarnation_id.clone();
            let is_known = match epochs.get(&broker.broker_epoch) {
                Some(known) => *known == incarnation,
                None => epochs
                    .keys()
                    .next_back()
                    .is_none_or(|last| *last < broker.broker_epoch),
            };
            if !is_known {
                let message = format!(
                    "at index {} broker {} has epoch {} in incarnation {incarnation:?}; before it: {epochs:?}",
                    entry.index, broker.broker_id, broker.broker_epoch
                );
                return Err(broken("epochs_are_given_once", message));
            }
            epochs.insert(broker.broker_epoch, incarnation);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::metadata::{Broker, Record};

    use super::*;

    fn registered(index: u64, epoch: i64, incarnation: u8) -> Committed {
        let broker = Broker {
            broker_id: 1,
            broker_epoch: epoch,
            incarnation_id: vec![incarnation; 16],
            ..Broker::default()
        };
        Committed {
            index,
            term: 1,
            records: vec![Record {
                record: Some(Fact::Broker(broker)),
            }],
        }
    }

    #[test]
    fn epoch_that_is_given_twice_is_found() {
        let mut rule = EpochsAreGivenOnce::default();
        assert_eq!(rule.committed(&registered(1, 1, 1)), Ok(()));
        assert_eq!(rule.committed(&registered(2, 1, 1)), Ok(()));
        assert_eq!(rule.committed(&registered(3, 3, 2)), Ok(()));
        assert_eq!(rule.committed(&registered(1, 1, 1)), Ok(()), "seen again");
        let found = rule.committed(&registered(4, 3, 3)).unwrap_err();
        assert_eq!(found.invariant, "epochs_are_given_once");
        assert!(rule.committed(&registered(5, 2, 4)).is_err());
    }
}
