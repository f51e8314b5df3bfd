//! What the controller has answered for, every later decision knows (linearizability): it decides on an image that holds
//! all that was answered before.

use super::violation;
use crate::outcome::Violation;

const NAME: &str = "metadata_is_linearizable";

/// The latest entry whose effect somebody was told of.
#[derive(Debug, Default)]
pub(in super::super) struct Metadata {
    answered: u64,
}

impl Metadata {
    /// Somebody was told that the effect of a request shows at `index`.
    pub fn answered(&mut self, index: u64) {
        self.answered = self.answered.max(index);
    }

    /// The controller decides on an image whose applied part stands at `index`.
    pub fn decides(&self, index: u64) -> Result<(), Violation> {
        if index < self.answered {
            return violation(
                NAME,
                format!(
                    "a decision stands on metadata {index}, though {} was answered for",
                    self.answered
                ),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decision_that_does_not_know_what_was_answered_is_found() {
        let mut metadata = Metadata::default();
        metadata.answered(4);
        metadata.answered(3);
        assert_eq!(metadata.decides(4), Ok(()));
        assert!(metadata.decides(3).is_err());
    }
}
