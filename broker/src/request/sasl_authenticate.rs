//! SaslAuthenticate: a token of an exchange, and what ends it (KIP-152, KIP-368).

use super::Context;
use bytes::Bytes;
use flotilla_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use flotilla_protocol::{ErrorCode, Str};

/// Answers where no exchange is under way.
pub(super) async fn handle(_: &Context, _: SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.into(),
        error_message: Some("SaslAuthenticate without a SaslHandshake of version 1 before it".into()),
        ..SaslAuthenticateResponse::default()
    }
}

/// A token for the client, and for how many milliseconds it may go on before it authenticates again; 0: for ever.
pub fn token(token: String, session_lifetime_ms: i64) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse {
        auth_bytes: Bytes::from(token),
        session_lifetime_ms,
        ..SaslAuthenticateResponse::default()
    }
}

/// The end of an exchange without success. Says no more than that, as Kafka does, unless the mechanism has words of its own for it.
pub fn failure(mechanism: &'static str, told: Option<String>) -> SaslAuthenticateResponse {
    let message = told.unwrap_or_else(|| {
        format!(
            "Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
        )
    });
    SaslAuthenticateResponse {
        error_code: ErrorCode::SaslAuthenticationFailed.into(),
        error_message: Some(Str::from(message)),
        ..SaslAuthenticateResponse::default()
    }
}
