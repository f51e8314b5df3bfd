//! What the requests about delegation tokens have in common (KIP-48, KIP-373).

use flotilla_control::proto::metadata::DelegationToken;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::submit::{Outcome, WAIT_DEFAULT_MS, submit};
use crate::auth::{Principal, token};

/// The time in answers of a broker that refuses by itself. Where the controller refuses it is 0, as in Kafka.
pub(super) const NO_TIME: i64 = -1;

/// Whether the client may ask about delegation tokens at all: one that has shown who it is, and not by a delegation token,
/// which would live on in others.
pub(super) fn check_may_ask(ctx: &Context) -> Result<(), Outcome> {
    let session = &ctx.session;
    let may = !session.by_token && !session.is_internal && session.principal != Principal::anonymous();
    if may {
        Ok(())
    } else {
        Err(Outcome::of(ErrorCode::DelegationTokenRequestNotAllowed))
    }
}

/// What tokens are made from here; an error where there are none.
pub(super) fn key(ctx: &Context) -> Result<token::Key, Outcome> {
    let settings = ctx.broker.settings();
    let secret = settings.delegation_token_secret_key.secret();
    secret
        .map(token::Key::new)
        .ok_or_else(|| Outcome::of(ErrorCode::DelegationTokenAuthDisabled))
}

/// The type of all principals here.
pub(super) fn user_type() -> Str {
    Str::from_static(Principal::TYPE)
}

/// Type and name of who asked for a token: an answer has room for them since version 3 (KIP-373).
pub(super) fn requester(ctx: &Context, name: &str) -> (Str, Str) {
    if ctx.version >= 3 {
        (user_type(), Str::copy_from(name))
    } else {
        Default::default()
    }
}

/// The token as the controller has it once it has decided.
pub(super) async fn decided(ctx: &Context, asked: Asked) -> Result<DelegationToken, Outcome> {
    let response = submit(ctx, WAIT_DEFAULT_MS, false, asked).await?;
    // A newer controller may say too little.
    response
        .delegation_token
        .ok_or_else(|| Outcome::of(ErrorCode::UnknownServerError))
}

/// Has the controller move the end of a token: the error, and when the token ends now.
pub(super) async fn moved(ctx: &Context, asked: Asked) -> (i16, i64) {
    if let Err(outcome) = check_may_ask(ctx) {
        return (outcome.code(), NO_TIME);
    }
    match decided(ctx, asked).await {
        Ok(token) => (0, token.expiry_ms),
        Err(outcome) => (outcome.code(), 0),
    }
}
