use flotilla_crds::Reason;

/// Why a resource cannot be followed: for its status, an event, or a line on the terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Problem {
    /// The word for the condition.
    pub reason: Reason,
    /// The field that it is about, such as `spec.partitions`.
    pub field: String,
    /// What is wrong and what to do, in a sentence.
    pub message: String,
}

impl Problem {
    /// A problem with a field of the specification.
    #[must_use]
    pub fn spec(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidSpec,
            field: field.into(),
            message: message.into(),
        }
    }

    /// A problem of another kind.
    #[must_use]
    pub fn because(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason,
            field: field.into(),
            message: message.into(),
        }
    }
}
