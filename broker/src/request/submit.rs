//! Asks the controller, for handlers of administrative requests.

use std::time::Duration;

use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{Refusal, Request, Response};
use flotilla_protocol::{ErrorCode, Str};

use super::{Context, error};

/// The longest that a request waits for the controller, however long its client would wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The shortest: some clients send 0 and mean "as soon as it can be".
const WAIT_MIN: Duration = Duration::from_millis(100);
/// Where the request says nothing.
pub(super) const WAIT_DEFAULT_MS: i32 = 30_000;

/// What a request, or an item of one, came to: an error and its message, or neither.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub error: ErrorCode,
    pub message: Option<Str>,
}

impl Outcome {
    pub const DONE: Self = Self {
        error: ErrorCode::None,
        message: None,
    };

    /// An error in its usual words.
    pub fn of(error: ErrorCode) -> Self {
        Self {
            error,
            message: error.is_error().then(|| Str::from_static(error.message())),
        }
    }

    /// An error in words of its own.
    pub fn because(error: ErrorCode, message: impl Into<Str>) -> Self {
        Self {
            error,
            message: Some(message.into()),
        }
    }

    pub fn code(&self) -> i16 {
        self.error.code()
    }
}

impl From<(ErrorCode, Option<String>)> for Outcome {
    fn from((error, message): (ErrorCode, Option<String>)) -> Self {
        Self {
            error,
            message: message.map(Str::from),
        }
    }
}

/// How long a client waits that says so, in milliseconds.
pub(super) fn wait_of(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)).clamp(WAIT_MIN, WAIT_MAX)
}

/// Has the controller decide, and waits until the decision shows here. What is refused as a whole is an error.
pub(super) async fn submit(
    ctx: &Context,
    timeout_ms: i32,
    validate_only: bool,
    asked: Asked,
) -> Result<Response, Outcome> {
    let wait = wait_of(timeout_ms);
    let request = Request {
        validate_only,
        request: Some(asked),
    };
    match ctx.broker.controller.submit_within(request, wait).await {
        Ok(response) if response.refusal() == Refusal::None => Ok(response),
        Ok(response) => Err(error::of_response(&response).into()),
        Err(failure) => Err(Outcome::because(error::of_submit(&failure), failure.to_string())),
    }
}
