//! Delegation tokens (KIP-48, KIP-373): made, renewed and ended, each with an end that no renewal moves.

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::{
    CreateDelegationToken, ExpireDelegationToken, Refusal, RenewDelegationToken, Response,
};

use super::{Draft, Refused, refuse};
use crate::auth::token::Key;
use crate::metadata::{DelegationToken, Fact};

/// How many expired tokens go at a time, as in Kafka: an entry of the quorum's log has to stay small.
pub(super) const REMOVED_AT_A_TIME_MAX: usize = 1_000;
/// Users' names go into every record and answer.
const NAME_LENGTH_MAX: usize = 1_024;
/// Every one of them is in the record.
const RENEWERS_MAX: usize = 1_000;

const SECRET_KEY: &str = "delegation.token.secret.key";
const EXPIRY_TIME: &str = "delegation.token.expiry.time.ms";
const MAX_LIFETIME: &str = "delegation.token.max.lifetime.ms";

pub(super) fn create(
    draft: &mut Draft<'_, '_>,
    request: &CreateDelegationToken,
) -> Result<Response, Refused> {
    key(draft)?;
    let names = request
        .renewers
        .iter()
        .chain([&request.owner, &request.requester]);
    for name in names {
        check_name(name)?;
    }
    if request.renewers.len() > RENEWERS_MAX {
        let message = format!(
            "{} renewers; a token has {RENEWERS_MAX} at most",
            request.renewers.len()
        );
        return Err(refuse(Refusal::InvalidRequest, message));
    }
    let now_ms = draft.context.now_ms;
    let lifetime_ms = shorter(draft.number(MAX_LIFETIME), request.max_lifetime_ms);
    let max_ms = now_ms.saturating_add(lifetime_ms);
    let expiry_ms = now_ms.saturating_add(draft.number(EXPIRY_TIME)).min(max_ms);
    let token = DelegationToken {
        id: draft.fresh_id().to_string(),
        owner: request.owner.clone(),
        requester: request.requester.clone(),
        renewers: request.renewers.clone(),
        issue_ms: now_ms,
        expiry_ms,
        max_ms,
    };
    draft.write(Fact::DelegationToken(token.clone()));
    Ok(of_token(token))
}

pub(super) fn renew(draft: &mut Draft<'_, '_>, request: &RenewDelegationToken) -> Result<Response, Refused> {
    let token = proven(draft, &request.hmac)?;
    check_holds(&token, draft.context.now_ms)?;
    check_may_change(&token, &request.requester)?;
    let period_ms = shorter(draft.number(EXPIRY_TIME), request.period_ms);
    Ok(expiring(draft, token, period_ms))
}

/// One that is to end at once may have ended already.
pub(super) fn expire(
    draft: &mut Draft<'_, '_>,
    request: &ExpireDelegationToken,
) -> Result<Response, Refused> {
    let token = proven(draft, &request.hmac)?;
    check_may_change(&token, &request.requester)?;
    let now_ms = draft.context.now_ms;
    if request.period_ms < 0 {
        remove(draft, &token.id);
        return Ok(of_token(DelegationToken {
            expiry_ms: now_ms,
            ..token
        }));
    }
    check_holds(&token, now_ms)?;
    Ok(expiring(draft, token, request.period_ms))
}

/// Forgets tokens that hold no more.
pub(super) fn remove_expired(draft: &mut Draft<'_, '_>) -> Response {
    let now_ms = draft.context.now_ms;
    let expired: Vec<String> = draft
        .image
        .tokens()
        .filter(|token| !token.holds(now_ms))
        .map(|token| token.id.clone())
        .take(REMOVED_AT_A_TIME_MAX)
        .collect();
    for id in expired {
        remove(draft, &id);
    }
    Response::default()
}

/// Forgets the tokens with which others act as this user.
pub(super) fn remove_of(draft: &mut Draft<'_, '_>, owner: &str) {
    let owned: Vec<String> = draft
        .image
        .tokens()
        .filter(|token| token.owner == owner)
        .map(|token| token.id.clone())
        .collect();
    for id in owned {
        remove(draft, &id);
    }
}

fn remove(draft: &mut Draft<'_, '_>, id: &str) {
    draft.write(Fact::RemoveDelegationToken(proto::RemoveDelegationToken {
        id: id.to_owned(),
    }));
}

/// The fleet's secret: what makes tokens, and finds them again.
fn key(draft: &Draft<'_, '_>) -> Result<Key, Refused> {
    let secret = draft.setting(SECRET_KEY).filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| {
        refuse(
            Refusal::TokensDisabled,
            format!(
                "there are no delegation tokens: set `{SECRET_KEY}` to a secret, the same on all brokers"
            ),
        )
    })?;
    Ok(Key::new(&secret))
}

/// The token that the HMAC proves.
fn proven(draft: &Draft<'_, '_>, hmac: &[u8]) -> Result<DelegationToken, Refused> {
    let key = key(draft)?;
    let found = draft.image.tokens().find(|token| key.proves(&token.id, hmac));
    found
        .cloned()
        .ok_or_else(|| refuse(Refusal::TokenNotFound, "there is no such delegation token"))
}

fn check_holds(token: &DelegationToken, now_ms: i64) -> Result<(), Refused> {
    if token.holds(now_ms) {
        return Ok(());
    }
    let message = format!("delegation token `{}` has expired", token.id);
    Err(refuse(Refusal::TokenExpired, message))
}

fn check_may_change(token: &DelegationToken, requester: &str) -> Result<(), Refused> {
    if token.is_of(requester) {
        return Ok(());
    }
    let message = format!(
        "`{requester}` is neither the owner of delegation token `{}` nor one of its renewers",
        token.id
    );
    Err(refuse(Refusal::TokenOwnerMismatch, message))
}

fn check_name(name: &str) -> Result<(), Refused> {
    if (1..=NAME_LENGTH_MAX).contains(&name.len()) {
        return Ok(());
    }
    let message = format!("a user's name has 1 to {NAME_LENGTH_MAX} bytes");
    Err(refuse(Refusal::InvalidRequest, message))
}

/// Has the token hold for so long from now, but not beyond its end.
fn expiring(draft: &mut Draft<'_, '_>, token: DelegationToken, period_ms: i64) -> Response {
    let expiry_ms = draft.context.now_ms.saturating_add(period_ms).min(token.max_ms);
    let token = DelegationToken { expiry_ms, ..token };
    draft.write(Fact::DelegationToken(token.clone()));
    of_token(token)
}

/// The fleet's limit, or what was asked for where that is something and shorter.
fn shorter(limit_ms: i64, asked_ms: i64) -> i64 {
    if asked_ms > 0 {
        limit_ms.min(asked_ms)
    } else {
        limit_ms
    }
}

fn of_token(token: DelegationToken) -> Response {
    Response {
        delegation_token: Some(token),
        ..Response::default()
    }
}
