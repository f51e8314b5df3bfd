//! A setting that nobody gets to see again.

use std::fmt;

/// The text of a setting that is a secret. It does not print.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(pub(super) String);

impl Password {
    /// The secret; none where nothing is set, or an empty text.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}
