//! RenewDelegationToken: a token holds for longer, up to its end (KIP-48).

use flotilla_control::proto::metadata::RenewDelegationToken;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_protocol::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};

use super::Context;
use super::delegation_tokens::moved;

/// Its owner and its renewers may.
pub(super) async fn handle(
    ctx: &Context,
    request: RenewDelegationTokenRequest,
) -> RenewDelegationTokenResponse {
    let asked = RenewDelegationToken {
        hmac: request.hmac.to_vec(),
        requester: ctx.session.principal.name().to_owned(),
        period_ms: request.renew_period_ms,
    };
    let (error_code, expiry_timestamp_ms) = moved(ctx, Asked::RenewDelegationToken(asked)).await;
    RenewDelegationTokenResponse {
        error_code,
        expiry_timestamp_ms,
        ..RenewDelegationTokenResponse::default()
    }
}
