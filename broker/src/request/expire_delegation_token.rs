//! ExpireDelegationToken: a token holds no more, at once or soon (KIP-48).

use flotilla_control::proto::metadata::ExpireDelegationToken;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};

use super::Context;
use super::delegation_tokens::{NO_TIME, check_may_ask, unexpected};
use super::submit::{Outcome, WAIT_DEFAULT_MS, submit};

/// Its owner and its renewers may. A period below 0 means at once.
pub(super) async fn handle(
    ctx: &Context,
    request: ExpireDelegationTokenRequest,
) -> ExpireDelegationTokenResponse {
    let (error_code, expiry_timestamp_ms) = match check_may_ask(ctx) {
        Ok(()) => match expire(ctx, &request).await {
            Ok(expiry_ms) => (0, expiry_ms),
            Err(outcome) => (outcome.code(), 0),
        },
        Err(outcome) => (outcome.code(), NO_TIME),
    };
    ExpireDelegationTokenResponse {
        error_code,
        expiry_timestamp_ms,
        ..ExpireDelegationTokenResponse::default()
    }
}

/// When the token ends now.
async fn expire(ctx: &Context, request: &ExpireDelegationTokenRequest) -> Result<i64, Outcome> {
    let asked = ExpireDelegationToken {
        hmac: request.hmac.to_vec(),
        requester: ctx.session.principal.name().to_owned(),
        period_ms: request.expiry_time_period_ms,
    };
    let decided = submit(ctx, WAIT_DEFAULT_MS, false, Asked::ExpireDelegationToken(asked)).await?;
    let token = decided.delegation_token.ok_or_else(unexpected)?;
    Ok(token.expiry_ms)
}
