//! CreateDelegationToken: a token with which others act as its owner for a while (KIP-48), the client or another user
//! (KIP-373).

use bytes::Bytes;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{CreateDelegationToken, DelegationToken};
use flotilla_protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::delegation_tokens::{NO_TIME, check_may_ask, decided, key, requester, user_type};
use super::submit::Outcome;
use crate::auth::{Operation, Principal, ResourceType};

/// Makes a token. Whoever may ask gets one for itself; for another it takes CREATE_TOKENS on that user.
pub(super) async fn handle(
    ctx: &Context,
    request: CreateDelegationTokenRequest,
) -> CreateDelegationTokenResponse {
    let asking = ctx.session.principal.name();
    let (requester_type, requester_name) = requester(ctx, asking);
    let (owner_type, owner) = match &request.owner_principal_name {
        Some(name) if !name.is_empty() => {
            let kind = request.owner_principal_type.clone();
            (kind.unwrap_or_else(user_type), name.clone())
        }
        _ => (user_type(), Str::copy_from(asking)),
    };
    let answer = CreateDelegationTokenResponse {
        principal_type: owner_type.clone(),
        principal_name: owner.clone(),
        token_requester_principal_type: requester_type,
        token_requester_principal_name: requester_name,
        ..CreateDelegationTokenResponse::default()
    };
    if let Err(outcome) = check(ctx, &request, &owner_type, &owner) {
        return CreateDelegationTokenResponse {
            error_code: outcome.code(),
            issue_timestamp_ms: NO_TIME,
            expiry_timestamp_ms: NO_TIME,
            max_timestamp_ms: NO_TIME,
            ..answer
        };
    }
    match create(ctx, &request, &owner).await {
        Ok((token, hmac)) => CreateDelegationTokenResponse {
            issue_timestamp_ms: token.issue_ms,
            expiry_timestamp_ms: token.expiry_ms,
            max_timestamp_ms: token.max_ms,
            token_id: Str::from(token.id),
            hmac,
            ..answer
        },
        Err(outcome) => CreateDelegationTokenResponse {
            error_code: outcome.code(),
            ..answer
        },
    }
}

/// Whether the client may have such a token.
fn check(
    ctx: &Context,
    request: &CreateDelegationTokenRequest,
    owner_type: &str,
    owner: &str,
) -> Result<(), Outcome> {
    check_may_ask(ctx)?;
    let is_own = owner_type == Principal::TYPE && owner == ctx.session.principal.name();
    let named = format!("{owner_type}:{owner}");
    if !is_own && !ctx.allowed(Operation::CreateTokens, ResourceType::User, &named) {
        return Err(Outcome::of(ErrorCode::DelegationTokenAuthorizationFailed));
    }
    let mut types = request
        .renewers
        .iter()
        .map(|renewer| &*renewer.principal_type)
        .chain([owner_type]);
    if types.any(|kind| kind != Principal::TYPE) {
        return Err(Outcome::of(ErrorCode::InvalidPrincipalType));
    }
    Ok(())
}

/// The token, and what proves it.
async fn create(
    ctx: &Context,
    request: &CreateDelegationTokenRequest,
    owner: &str,
) -> Result<(DelegationToken, Bytes), Outcome> {
    let asking = ctx.session.principal.name();
    let key = key(ctx)?;
    let asked = CreateDelegationToken {
        owner: owner.to_owned(),
        requester: asking.to_owned(),
        renewers: request
            .renewers
            .iter()
            .map(|renewer| renewer.principal_name.to_string())
            .collect(),
        max_lifetime_ms: request.max_lifetime_ms,
    };
    let token = decided(ctx, Asked::CreateDelegationToken(asked)).await?;
    tracing::info!(
        id = token.id,
        owner,
        requester = asking,
        "delegation token issued"
    );
    let hmac = Bytes::from(key.hmac(&token.id));
    Ok((token, hmac))
}
