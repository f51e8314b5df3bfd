//! ExpireDelegationToken: a token holds no more, at once or soon (KIP-48).

use flotilla_control::proto::metadata::ExpireDelegationToken;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};

use super::Context;
use super::delegation_tokens::moved;

/// Its owner and its renewers may. A period below 0 means at once.
pub(super) async fn handle(
    ctx: &Context,
    request: ExpireDelegationTokenRequest,
) -> ExpireDelegationTokenResponse {
    let asked = ExpireDelegationToken {
        hmac: request.hmac.to_vec(),
        requester: ctx.session.principal.name().to_owned(),
        period_ms: request.expiry_time_period_ms,
    };
    let (error_code, expiry_timestamp_ms) = moved(ctx, Asked::ExpireDelegationToken(asked)).await;
    ExpireDelegationTokenResponse {
        error_code,
        expiry_timestamp_ms,
        ..ExpireDelegationTokenResponse::default()
    }
}
