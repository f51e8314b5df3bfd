//! Metadata is linearizable: what was answered as committed is seen by whatever is asked later, wherever it is asked. The log
//! gives each answer a place; a later question must not be answered from an earlier place.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::coordination::Committed;
use flotilla_control::proto::metadata::record::Record as Fact;

use super::broken;
use crate::outcome::Violation;

/// How far answers have shown that the log goes.
#[derive(Default)]
pub struct MetadataIsLinearizable {
    index: u64,
    producer_id: i64,
    /// Where each value of a setting was committed; the workload writes each value once.
    places: BTreeMap<String, u64>,
    answered: BTreeSet<String>,
}

/// What had been answered when a question was asked.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    index: u64,
    producer_id: i64,
}

impl MetadataIsLinearizable {
    /// A question is asked.
    pub fn asked(&self) -> Seen {
        Seen {
            index: self.index,
            producer_id: self.producer_id,
        }
    }

    /// An entry is committed.
    pub fn committed(&mut self, entry: &Committed) {
        for record in &entry.records {
            if let Some(Fact::Config(config)) = &record.record
                && let Some(value) = &config.value
            {
                self.places.entry(value.clone()).or_insert(entry.index);
            }
        }
    }

    /// A write of `value` was answered as done. Where it stands; `None`: nobody who is watched has applied it yet.
    pub fn answered(&mut self, seen: Seen, value: &str) -> Result<Option<u64>, Violation> {
        self.answered.insert(value.to_owned());
        let place = self.places.get(value).copied();
        place.map_or(Ok(()), |index| self.wrote(seen, index))?;
        Ok(place)
    }

    /// All is over, and everything has been applied: what was answered as done is there.
    pub fn ended(&self) -> Result<(), Violation> {
        match self
            .answered
            .iter()
            .find(|value| !self.places.contains_key(*value))
        {
            None => Ok(()),
            Some(lost) => {
                let message = format!("{lost} was answered as written, and is not in the log");
                Err(broken("metadata_is_linearizable", message))
            }
        }
    }

    /// A write was answered that stands at `index`.
    fn wrote(&mut self, seen: Seen, index: u64) -> Result<(), Violation> {
        if index <= seen.index {
            let before = seen.index;
            let message =
                format!("a write stands at index {index}, though index {before} was answered before it");
            return Err(broken("metadata_is_linearizable", message));
        }
        self.index = self.index.max(index);
        Ok(())
    }

    /// A question was answered with the metadata at `index`.
    pub fn read(&mut self, seen: Seen, index: u64) -> Result<(), Violation> {
        if index < seen.index {
            let before = seen.index;
            let message = format!("a read shows index {index}, though index {before} was answered before it");
            return Err(broken("metadata_is_linearizable", message));
        }
        self.index = self.index.max(index);
        Ok(())
    }

    /// A block of producer ids was given out, beginning with `first`.
    pub fn allocated(&mut self, seen: Seen, first: i64) -> Result<(), Violation> {
        if first < seen.producer_id {
            let before = seen.producer_id;
            let message =
                format!("producer ids from {first} on are given out, and those up to {before} were");
            return Err(broken("metadata_is_linearizable", message));
        }
        self.producer_id = self.producer_id.max(first + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_write_that_is_not_in_the_log_is_found() {
        let mut rule = MetadataIsLinearizable::default();
        assert_eq!(rule.answered(rule.asked(), "5"), Ok(None));
        let found = rule.ended().unwrap_err();
        assert_eq!(found.invariant, "metadata_is_linearizable");
        let config = flotilla_control::proto::metadata::Config {
            value: Some("5".to_owned()),
            ..Default::default()
        };
        let record = flotilla_control::proto::metadata::Record {
            record: Some(Fact::Config(config)),
        };
        rule.committed(&Committed {
            index: 3,
            term: 1,
            records: vec![record],
        });
        assert_eq!(rule.ended(), Ok(()));
        assert_eq!(rule.answered(rule.asked(), "5"), Ok(Some(3)));
    }

    #[test]
    fn answer_from_before_an_earlier_answer_is_found() {
        let mut rule = MetadataIsLinearizable::default();
        let first = rule.asked();
        let beside = rule.asked();
        assert_eq!(rule.wrote(first, 5), Ok(()));
        assert_eq!(rule.read(beside, 3), Ok(()), "asked before the answer");
        let later = rule.asked();
        assert_eq!(rule.read(later, 5), Ok(()));
        let found = rule.read(later, 4).unwrap_err();
        assert_eq!(found.invariant, "metadata_is_linearizable");
        assert!(rule.wrote(later, 5).is_err());
        assert_eq!(rule.allocated(later, 1_000), Ok(()));
        let later = rule.asked();
        assert!(rule.allocated(later, 1_000).is_err());
    }
}
