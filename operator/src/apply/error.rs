use flotilla_crds::Reason;

/// Why a write failed. Each names the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Somebody else wrote it meanwhile: read it and try again.
    #[error("{0}")]
    Conflict(String),
    /// It is there already.
    #[error("{0}")]
    Exists(String),
    /// The operator may not do that: its role lacks a right, a quota or an admission policy says no.
    #[error("{0}")]
    Forbidden(String),
    /// It is not a valid object of its kind.
    #[error("{0}")]
    Invalid(String),
    /// It, or its namespace, is not there.
    #[error("{0}")]
    NotFound(String),
    /// The API server does not answer, or not sensibly.
    #[error("{0}")]
    Other(String),
}

const UNTYPED: &str = "failed to create typed patch object";

impl Error {
    pub(super) fn of(subject: &str, error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Other(format!("{subject}: {error}"));
        };
        let message = format!("{subject}: {}", status.message);
        match status.code {
            404 => Self::NotFound(message),
            409 if status.reason == "AlreadyExists" => Self::Exists(message),
            409 => Self::Conflict(message),
            401 | 403 => Self::Forbidden(message),
            400 | 413 | 415 | 422 => Self::Invalid(message),
            // Server-side apply answers so to a field that the kind does not have, or of another type.
            500 if message.contains(UNTYPED) => Self::Invalid(message),
            _ => Self::Other(message),
        }
    }

    /// The word for a condition: whether the specification is to blame, or it is tried again.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Invalid(_) => Reason::InvalidSpec,
            Self::Forbidden(_) => Reason::NotAllowed,
            Self::Conflict(_) | Self::Exists(_) => Reason::Conflict,
            Self::NotFound(_) | Self::Other(_) => Reason::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn answers_of_the_api_server_are_told_apart() {
        let of = |code, reason: &str| {
            let status = Status::failure("no", reason).with_code(code);
            Error::of("Service `a/b`", kube::Error::Api(Box::new(status)))
        };
        let message = || "Service `a/b`: no".to_owned();
        assert_eq!(of(404, "NotFound"), Error::NotFound(message()));
        assert_eq!(of(409, "AlreadyExists"), Error::Exists(message()));
        assert_eq!(of(409, "Conflict"), Error::Conflict(message()));
        assert_eq!(of(403, "Forbidden"), Error::Forbidden(message()));
        assert_eq!(of(422, "Invalid"), Error::Invalid(message()));
        assert_eq!(of(503, "ServiceUnavailable"), Error::Other(message()));
        let untyped = Status::failure(
            "failed to create typed patch object (a/b): .c: field not declared",
            "",
        )
        .with_code(500);
        let untyped = Error::of("it", kube::Error::Api(Box::new(untyped)));
        assert!(matches!(untyped, Error::Invalid(_)), "{untyped}");
        assert_eq!(of(422, "Invalid").reason(), Reason::InvalidSpec);
        assert_eq!(of(500, "").reason(), Reason::Unreachable);
    }
}
