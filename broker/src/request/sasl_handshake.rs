//! SaslHandshake: the choice of a mechanism (KIP-43, KIP-152). The exchange itself belongs to the connection.

use super::Context;
use flotilla_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};
use flotilla_protocol::{ErrorCode, Str};

/// Answers where there is nothing to authenticate: on a listener without SASL, or after the exchange.
pub(super) async fn handle(_: &Context, _: SaslHandshakeRequest) -> SaslHandshakeResponse {
    response(ErrorCode::IllegalSaslState, [])
}

/// The answer of a listener that serves these mechanisms.
pub fn response(error: ErrorCode, served: impl IntoIterator<Item = &'static str>) -> SaslHandshakeResponse {
    let mechanisms = served.into_iter().map(Str::from_static).collect();
    SaslHandshakeResponse {
        error_code: error.into(),
        mechanisms,
    }
}
