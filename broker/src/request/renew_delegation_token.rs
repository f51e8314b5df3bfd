//! RenewDelegationToken: a token holds for longer, up to its end (KIP-48).

use flotilla_control::proto::metadata::RenewDelegationToken;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_protocol::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};

use super::Context;
use super::delegation_tokens::{NO_TIME, check_may_ask, unexpected};
use super::submit::{Outcome, WAIT_DEFAULT_MS, submit};

/// Its owner and its renewers may.
pub(super) async fn handle(
    ctx: &Context,
    request: RenewDelegationTokenRequest,
) -> RenewDelegationTokenResponse {
    let (error_code, expiry_timestamp_ms) = match check_may_ask(ctx) {
        Ok(()) => match renew(ctx, &request).await {
            Ok(expiry_ms) => (0, expiry_ms),
            Err(outcome) => (outcome.code(), 0),
        },
        Err(outcome) => (outcome.code(), NO_TIME),
    };
    RenewDelegationTokenResponse {
        error_code,
        expiry_timestamp_ms,
        ..RenewDelegationTokenResponse::default()
    }
}

/// When the token ends now.
async fn renew(ctx: &Context, request: &RenewDelegationTokenRequest) -> Result<i64, Outcome> {
    let asked = RenewDelegationToken {
        hmac: request.hmac.to_vec(),
        requester: ctx.session.principal.name().to_owned(),
        period_ms: request.renew_period_ms,
    };
    let decided = submit(ctx, WAIT_DEFAULT_MS, false, Asked::RenewDelegationToken(asked)).await?;
    let token = decided.delegation_token.ok_or_else(unexpected)?;
    Ok(token.expiry_ms)
}
