//! A record of an idempotent producer stands in the log once, however often it was sent (KIP-98).

use super::{Record, violation};
use crate::outcome::Violation;
use std::collections::BTreeMap;

const NAME: &str = "idempotent_appears_once";

/// Looks through a whole log. `is_idempotent` tells whose records a value is of.
pub(in super::super) fn appears_once(
    name: &str,
    log: &[Record],
    is_idempotent: impl Fn(u64) -> bool,
) -> Result<(), Violation> {
    let mut seen = BTreeMap::new();
    for record in log.iter().filter(|record| is_idempotent(record.value)) {
        if let Some(before) = seen.insert(record.value, record.offset) {
            return violation(
                NAME,
                format!(
                    "{name}: {:x} stands at {before} and at {}",
                    record.value, record.offset
                ),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;

    #[test]
    fn repeated_record_of_an_idempotent_producer_is_found() {
        let log = [record(0, 0, 2), record(1, 0, 3), record(2, 0, 3), record(3, 1, 2)];
        let even = |value: u64| value.is_multiple_of(2);
        assert_eq!(appears_once("t-0", &log[..3], even), Ok(()));
        let twice = appears_once("t-0", &log, even).unwrap_err();
        assert_eq!(twice.message, "t-0: 2 stands at 0 and at 3");
    }
}
