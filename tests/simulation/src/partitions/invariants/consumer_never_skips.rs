//! A consumer that follows the high watermark reads each record once and in order, and never what another reads
//! differently (KIP-320: also across changes of leaders).

use super::{Record, violation};
use crate::outcome::Violation;
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::Offset;
use std::collections::BTreeMap;

const NAME: &str = "consumer_never_skips";

/// How far each client has read.
#[derive(Debug, Default)]
pub(in super::super) struct Consumed {
    next: BTreeMap<usize, Offset>,
    read: BTreeMap<PartitionKey, BTreeMap<Offset, u64>>,
}

impl Consumed {
    /// A client that asked from `position` on got `records`, the first of which may lie before.
    pub fn read(
        &mut self,
        client: usize,
        key: PartitionKey,
        position: Offset,
        records: &[Record],
    ) -> Result<(), Violation> {
        let next = self.next.entry(client).or_insert(Offset(0));
        if position != *next {
            return violation(
                NAME,
                format!("{key:?}: client {client} reads on at {position}, not at {next}"),
            );
        }
        for record in records.iter().filter(|record| record.offset >= position) {
            if record.offset != *next {
                return violation(
                    NAME,
                    format!(
                        "{key:?}: client {client} got {} where {next} should come",
                        record.offset
                    ),
                );
            }
            let before = self
                .read
                .entry(key)
                .or_default()
                .insert(record.offset, record.value);
            if before.is_some_and(|before| before != record.value) {
                return violation(
                    NAME,
                    format!(
                        "{key:?}: client {client} read {:x} at {next}, another {before:x?}",
                        record.value
                    ),
                );
            }
            *next = next.plus(1);
        }
        Ok(())
    }

    /// A client goes on elsewhere, because records were lost, as they may be where that is allowed.
    pub fn reset(&mut self, client: usize, position: Offset) {
        self.next.insert(client, position);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{KEY, record};
    use super::*;

    #[test]
    fn gap_repetition_and_difference_are_found() {
        let mut consumed = Consumed::default();
        let log = [record(0, 0, 5), record(1, 0, 6), record(2, 0, 7)];
        assert_eq!(consumed.read(0, KEY, Offset(0), &log[..2]), Ok(()));
        assert!(consumed.read(0, KEY, Offset(1), &log[1..]).is_err());
        assert!(consumed.read(1, KEY, Offset(0), &log[1..]).is_err());
        let other = [record(0, 1, 9)];
        assert!(consumed.read(2, KEY, Offset(0), &other).is_err());
        assert_eq!(consumed.read(0, KEY, Offset(2), &log), Ok(()));
    }
}
