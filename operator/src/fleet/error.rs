use std::time::Duration;

use flotilla_control::proto::metadata::Refusal;

/// Why a fleet did not do what it was asked. The texts are for a resource's status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No broker can be reached, or the connection broke and no other broker answers either.
    #[error("no broker answers: {0}")]
    Unreachable(String),
    /// A broker was reached, but no answer came in time. The command may have taken effect, or may yet.
    #[error("no answer to {call} within {} seconds: the brokers may be without a controller", limit.as_secs())]
    Timeout {
        /// Which call.
        call: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The fleet says no.
    #[error("{}", said(*refusal, message))]
    Refused {
        /// Why, as a word.
        refusal: Refusal,
        /// Why, in words.
        message: String,
    },
    /// A broker does not take the call at all: it is malformed, unknown to the broker's version, or not permitted.
    #[error("the brokers do not take {call}: {message}")]
    Invalid {
        /// Which call.
        call: &'static str,
        /// What the broker says.
        message: String,
    },
}

impl Error {
    /// Whether the same command may succeed later without anybody changing it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout { .. } => true,
            Self::Refused { refusal, .. } => matches!(
                refusal,
                Refusal::NotController
                    | Refusal::Throttled
                    | Refusal::NotSafeNow
                    | Refusal::NotEnoughBrokers
                    | Refusal::InvalidUpdateVersion
                    | Refusal::PreferredLeaderNotAvailable
                    | Refusal::EligibleLeadersNotAvailable
            ),
            Self::Invalid { .. } => false,
        }
    }

    /// The refusal, where there is one.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}

fn said(refusal: Refusal, message: &str) -> String {
    if message.is_empty() {
        refusal.as_str_name().to_lowercase().replace('_', " ")
    } else {
        message.to_owned()
    }
}
