//! An emptied disk never speaks for the voter that it was (KIP-853): who answers as a voter has the directory of that voter.

use flotilla_broker::coordination::VoterId;

use super::broken;
use crate::outcome::Violation;

/// Looks at who answers.
#[derive(Default)]
pub struct EmptiedDiskIsAStranger;

impl EmptiedDiskIsAStranger {
    /// A message was answered as by this voter; `is_emptied` says that its broker has another directory by now.
    pub fn answered(&self, by: VoterId, is_emptied: bool) -> Result<(), Violation> {
        if is_emptied {
            let message = format!("{by} answers, whose disk was emptied");
            return Err(broken("emptied_disk_is_a_stranger", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::tests::voter;

    #[test]
    fn answer_of_an_emptied_disk_is_found() {
        assert_eq!(EmptiedDiskIsAStranger.answered(voter(0), false), Ok(()));
        let found = EmptiedDiskIsAStranger.answered(voter(0), true).unwrap_err();
        assert_eq!(found.invariant, "emptied_disk_is_a_stranger");
    }
}
