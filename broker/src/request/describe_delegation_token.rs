//! DescribeDelegationToken: the tokens that the client may see, with what proves them (KIP-48, KIP-373).

use bytes::Bytes;
use flotilla_control::proto::metadata::DelegationToken;
use flotilla_protocol::Str;
use flotilla_protocol::messages::describe_delegation_token_response::{
    DescribedDelegationToken, DescribedDelegationTokenRenewer,
};
use flotilla_protocol::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};

use super::Context;
use super::delegation_tokens::{check_may_ask, key, requester, user_type};
use super::submit::Outcome;
use crate::auth::{Operation, Principal, ResourceType, token};
use crate::metadata::Image;

/// Those that the named users own or may renew, or all, as far as the client may see them: its own, those that it may renew,
/// and others with DESCRIBE on the token or DESCRIBE_TOKENS on its owner.
pub(super) async fn handle(
    ctx: &Context,
    request: DescribeDelegationTokenRequest,
) -> DescribeDelegationTokenResponse {
    match describe(ctx, &request) {
        Ok(tokens) => DescribeDelegationTokenResponse {
            tokens,
            ..DescribeDelegationTokenResponse::default()
        },
        Err(outcome) => DescribeDelegationTokenResponse {
            error_code: outcome.code(),
            ..DescribeDelegationTokenResponse::default()
        },
    }
}

fn describe(
    ctx: &Context,
    request: &DescribeDelegationTokenRequest,
) -> Result<Vec<DescribedDelegationToken>, Outcome> {
    check_may_ask(ctx)?;
    let key = key(ctx)?;
    let image = ctx.image();
    let is_asked = |token: &DelegationToken| {
        request.owners.as_ref().is_none_or(|owners| {
            owners
                .iter()
                .any(|owner| &*owner.principal_type == Principal::TYPE && token.is_of(&owner.principal_name))
        })
    };
    let seen = image
        .tokens()
        .filter(|token| is_asked(token) && may_see(ctx, &image, token));
    Ok(seen.map(|token| described(ctx, token, &key)).collect())
}

fn may_see(ctx: &Context, image: &Image, token: &DelegationToken) -> bool {
    let owner = Principal::user(&token.owner).to_string();
    token.is_of(ctx.session.principal.name())
        || ctx.allowed_in(
            image,
            Operation::Describe,
            ResourceType::DelegationToken,
            &token.id,
        )
        || ctx.allowed_in(image, Operation::DescribeTokens, ResourceType::User, &owner)
}

fn described(ctx: &Context, token: &DelegationToken, key: &token::Key) -> DescribedDelegationToken {
    let (requester_type, requester_name) = requester(ctx, &token.requester);
    let renewer = |name: &String| DescribedDelegationTokenRenewer {
        principal_type: user_type(),
        principal_name: Str::copy_from(name),
    };
    DescribedDelegationToken {
        principal_type: user_type(),
        principal_name: Str::copy_from(&token.owner),
        token_requester_principal_type: requester_type,
        token_requester_principal_name: requester_name,
        issue_timestamp: token.issue_ms,
        expiry_timestamp: token.expiry_ms,
        max_timestamp: token.max_ms,
        token_id: Str::copy_from(&token.id),
        hmac: Bytes::from(key.hmac(&token.id)),
        renewers: token.renewers.iter().map(renewer).collect(),
    }
}
