//! Delegation tokens, from the message to the message (KIP-48, KIP-373).

use bytes::Bytes;
use flotilla_control::proto::metadata as proto;
use flotilla_protocol::messages::create_delegation_token_request::CreatableRenewers;
use flotilla_protocol::messages::describe_delegation_token_request::DescribeDelegationTokenOwner;
use flotilla_protocol::messages::*;
use flotilla_protocol::{ApiKey, ErrorCode, Message, Str, frame};

use super::testing::{context_of, image};
use super::{
    Context, Session, create_delegation_token, describe_delegation_token, expire_delegation_token,
    renew_delegation_token,
};
use crate::auth::{Authorizer, Operation, Principal, ResourceType};
use crate::broker::{self, Broker};
use crate::clock::now_ms;
use crate::metadata::Fact;
use std::sync::Arc;

const DAY: i64 = 86_400_000;

/// A broker whose file says these settings, where rules are enforced; `admin` is the super user.
fn broker(settings: &[(&str, &str)], rules: Vec<Fact>) -> Arc<Broker> {
    let mut config = broker::testing::config();
    config.settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Broker::in_memory_configured(config, image(rules), Authorizer::acl(["User:admin"], false))
}

fn with_tokens(rules: Vec<Fact>) -> Arc<Broker> {
    broker(&[("delegation.token.secret.key", "hush")], rules)
}

/// What `bob` may do.
fn rule(id: u8, resource: ResourceType, name: &str, operation: Operation) -> Fact {
    Fact::Acl(proto::Acl {
        id: vec![id; 16],
        resource_type: resource.code().into(),
        resource_name: name.to_owned(),
        pattern_type: 3,
        principal: "User:bob".to_owned(),
        host: "*".to_owned(),
        operation: operation.code().into(),
        permission_type: 3,
    })
}

/// `user` asks that broker, in the newest version of those requests that have three.
fn of(broker: &Arc<Broker>, user: &str) -> Context {
    context_of(broker.clone(), Principal::user(user), 3)
}

fn changed(ctx: &Context, change: impl FnOnce(&mut Session)) -> Context {
    let mut session = ctx.session.as_ref().clone();
    change(&mut session);
    Context {
        session: Arc::new(session),
        ..ctx.clone()
    }
}

/// A response that cannot be written in the version of its request would close the connection.
fn written(api: ApiKey, version: i16, response: &impl Message) {
    frame::response(api, version, 1, response).unwrap_or_else(|error| panic!("{api} v{version}: {error}"));
}

fn for_owner(owner: Option<(&'static str, &'static str)>) -> CreateDelegationTokenRequest {
    CreateDelegationTokenRequest {
        owner_principal_type: owner.map(|(kind, _)| Str::from_static(kind)),
        owner_principal_name: owner.map(|(_, name)| Str::from_static(name)),
        renewers: Vec::new(),
        max_lifetime_ms: -1,
    }
}

fn with_renewer(kind: &'static str, name: &'static str) -> CreateDelegationTokenRequest {
    CreateDelegationTokenRequest {
        renewers: vec![CreatableRenewers {
            principal_type: Str::from_static(kind),
            principal_name: Str::from_static(name),
        }],
        ..for_owner(None)
    }
}

async fn create(ctx: &Context, request: CreateDelegationTokenRequest) -> CreateDelegationTokenResponse {
    let response = create_delegation_token::handle(ctx, request).await;
    written(ApiKey::CreateDelegationToken, ctx.version, &response);
    response
}

async fn renew(ctx: &Context, hmac: &Bytes, renew_period_ms: i64) -> (ErrorCode, i64) {
    let request = RenewDelegationTokenRequest {
        hmac: hmac.clone(),
        renew_period_ms,
    };
    let response = renew_delegation_token::handle(ctx, request).await;
    for version in 1..=2 {
        written(ApiKey::RenewDelegationToken, version, &response);
    }
    (response.error_code.into(), response.expiry_timestamp_ms)
}

async fn expire(ctx: &Context, hmac: &Bytes, expiry_time_period_ms: i64) -> (ErrorCode, i64) {
    let request = ExpireDelegationTokenRequest {
        hmac: hmac.clone(),
        expiry_time_period_ms,
    };
    let response = expire_delegation_token::handle(ctx, request).await;
    for version in 1..=2 {
        written(ApiKey::ExpireDelegationToken, version, &response);
    }
    (response.error_code.into(), response.expiry_timestamp_ms)
}

async fn describe(ctx: &Context, owners: Option<&[&'static str]>) -> DescribeDelegationTokenResponse {
    let owner = |name: &&'static str| DescribeDelegationTokenOwner {
        principal_type: Str::from_static("User"),
        principal_name: Str::from_static(name),
    };
    let request = DescribeDelegationTokenRequest {
        owners: owners.map(|owners| owners.iter().map(owner).collect()),
    };
    let response = describe_delegation_token::handle(ctx, request).await;
    written(ApiKey::DescribeDelegationToken, ctx.version, &response);
    response
}

/// Whose tokens the client sees.
async fn seen(ctx: &Context, owners: Option<&[&'static str]>) -> Vec<String> {
    let response = describe(ctx, owners).await;
    assert_eq!(response.error_code, 0);
    let mut owners: Vec<_> = response
        .tokens
        .iter()
        .map(|token| token.principal_name.to_string())
        .collect();
    owners.sort();
    owners
}

#[tokio::test]
async fn token_is_made_described_renewed_and_ended() {
    let broker = with_tokens(Vec::new());
    let alice = of(&broker, "alice");
    let before = now_ms();
    let made = create(&alice, with_renewer("User", "bob")).await;
    let after = now_ms();
    assert_eq!(made.error_code, 0);
    assert!((before..=after).contains(&made.issue_timestamp_ms));
    assert_eq!(made.expiry_timestamp_ms, made.issue_timestamp_ms + DAY);
    assert_eq!(made.max_timestamp_ms, made.issue_timestamp_ms + 7 * DAY);
    assert_eq!((made.hmac.len(), made.token_id.len()), (64, 22));
    for name in [&made.principal_name, &made.token_requester_principal_name] {
        assert_eq!(*name, "alice");
    }

    let described = describe(&alice, None).await.tokens;
    assert_eq!(described.len(), 1);
    let token = &described[0];
    assert_eq!((&token.token_id, &token.hmac), (&made.token_id, &made.hmac));
    assert_eq!(token.max_timestamp, made.max_timestamp_ms);
    assert_eq!(token.renewers[0].principal_name, "bob");

    let (error, end) = renew(&of(&broker, "bob"), &made.hmac, 500).await;
    assert_eq!(error, ErrorCode::None);
    assert!((after + 500..=now_ms() + 500).contains(&end));
    let (error, end) = expire(&alice, &made.hmac, -1).await;
    assert_eq!(error, ErrorCode::None);
    assert!((after..=now_ms()).contains(&end));
    assert_eq!(seen(&alice, None).await, [""; 0]);
}

#[tokio::test]
async fn requester_is_named_where_the_version_has_room_for_it() {
    let broker = with_tokens(Vec::new());
    for version in 1..=3 {
        let admin = Context {
            version,
            ..of(&broker, "admin")
        };
        let made = create(&admin, with_renewer("User", "bob")).await;
        let named = if version == 3 { "admin" } else { "" };
        assert_eq!((made.error_code, made.principal_name.as_str()), (0, "admin"));
        assert_eq!(made.token_requester_principal_name, named);
        let described = describe(&admin, None).await.tokens;
        assert_eq!(described.len(), usize::try_from(version).unwrap());
        assert!(
            described
                .iter()
                .all(|token| token.token_requester_principal_name == named)
        );
    }
}

#[tokio::test]
async fn without_a_secret_tokens_are_disabled() {
    let broker = broker(&[], Vec::new());
    let alice = of(&broker, "alice");
    let disabled = ErrorCode::DelegationTokenAuthDisabled;
    let hmac = Bytes::from_static(&[1; 64]);
    let made = create(&alice, for_owner(None)).await;
    assert_eq!((made.error_code, made.issue_timestamp_ms), (disabled.code(), 0));
    assert_eq!(renew(&alice, &hmac, -1).await, (disabled, 0));
    assert_eq!(expire(&alice, &hmac, -1).await, (disabled, 0));
    assert_eq!(describe(&alice, None).await.error_code, disabled.code());
}

#[tokio::test]
async fn who_has_not_shown_who_it_is_or_only_a_token_asks_in_vain() {
    let broker = with_tokens(Vec::new());
    let alice = of(&broker, "alice");
    let made = create(&alice, for_owner(None)).await;
    let anonymous = context_of(broker.clone(), Principal::anonymous(), 3);
    let by_token = changed(&alice, |session| session.by_token = true);
    let between_brokers = changed(&alice, |session| session.is_internal = true);
    let refused = ErrorCode::DelegationTokenRequestNotAllowed;
    for ctx in [anonymous, by_token, between_brokers] {
        assert_eq!(create(&ctx, for_owner(None)).await.error_code, refused.code());
        assert_eq!(renew(&ctx, &made.hmac, -1).await, (refused, -1));
        assert_eq!(expire(&ctx, &made.hmac, -1).await, (refused, -1));
        assert_eq!(describe(&ctx, None).await.error_code, refused.code());
    }
}

#[tokio::test]
async fn token_for_another_takes_create_tokens_on_it() {
    let rules = vec![rule(1, ResourceType::User, "User:alice", Operation::CreateTokens)];
    let broker = with_tokens(rules);
    let bob = of(&broker, "bob");
    let made = create(&bob, for_owner(Some(("User", "alice")))).await;
    assert_eq!(made.error_code, 0);
    assert_eq!(made.principal_name, "alice");
    assert_eq!(made.token_requester_principal_name, "bob");
    // He made it, but it is not his.
    assert_eq!(
        renew(&bob, &made.hmac, -1).await.0,
        ErrorCode::DelegationTokenOwnerMismatch
    );
    let refused = ErrorCode::DelegationTokenAuthorizationFailed.code();
    let made = create(&bob, for_owner(Some(("User", "carol")))).await;
    assert_eq!((made.error_code, made.token_id.len()), (refused, 0));
    // Himself, by name.
    assert_eq!(create(&bob, for_owner(Some(("User", "bob")))).await.error_code, 0);
    assert_eq!(create(&bob, for_owner(Some(("User", "")))).await.error_code, 0);
}

#[tokio::test]
async fn only_users_have_and_renew_tokens() {
    let broker = with_tokens(Vec::new());
    let refused = ErrorCode::InvalidPrincipalType.code();
    let made = create(&of(&broker, "alice"), with_renewer("Group", "x")).await;
    assert_eq!(made.error_code, refused);
    let made = create(&of(&broker, "admin"), for_owner(Some(("Group", "x")))).await;
    assert_eq!(made.error_code, refused);
}

#[tokio::test]
async fn token_that_is_another_users_unknown_or_expired_is_refused() {
    let broker = with_tokens(Vec::new());
    let alice = of(&broker, "alice");
    let made = create(&alice, for_owner(None)).await;
    let carol = of(&broker, "carol");
    let mismatch = (ErrorCode::DelegationTokenOwnerMismatch, 0);
    assert_eq!(renew(&carol, &made.hmac, -1).await, mismatch);
    assert_eq!(expire(&carol, &made.hmac, -1).await, mismatch);
    let unknown = Bytes::from_static(b"not a token");
    let not_found = (ErrorCode::DelegationTokenNotFound, 0);
    assert_eq!(renew(&alice, &unknown, -1).await, not_found);
    assert_eq!(expire(&alice, &unknown, -1).await, not_found);
    let (error, end) = expire(&alice, &made.hmac, 0).await;
    assert_eq!(error, ErrorCode::None);
    while now_ms() <= end {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let expired = (ErrorCode::DelegationTokenExpired, 0);
    assert_eq!(renew(&alice, &made.hmac, -1).await, expired);
    assert_eq!(expire(&alice, &made.hmac, 5).await, expired);
}

#[tokio::test]
async fn tokens_are_seen_by_who_has_renews_or_may_describe_them() {
    let rules = vec![rule(
        1,
        ResourceType::User,
        "User:dave",
        Operation::DescribeTokens,
    )];
    let broker = with_tokens(rules);
    create(&of(&broker, "alice"), with_renewer("User", "carol")).await;
    let dave = create(&of(&broker, "dave"), for_owner(None)).await;
    assert_eq!(dave.error_code, 0);
    let (alice, bob, carol) = (of(&broker, "alice"), of(&broker, "bob"), of(&broker, "carol"));
    assert_eq!(seen(&alice, None).await, ["alice"]);
    assert_eq!(seen(&carol, None).await, ["alice"]);
    assert_eq!(seen(&bob, None).await, ["dave"]);
    assert_eq!(seen(&of(&broker, "admin"), None).await, ["alice", "dave"]);
    assert_eq!(seen(&of(&broker, "admin"), Some(&["dave"])).await, ["dave"]);
    assert_eq!(seen(&of(&broker, "admin"), Some(&["carol"])).await, ["alice"]);
    assert_eq!(seen(&of(&broker, "admin"), Some(&[])).await, [""; 0]);
    assert_eq!(seen(&alice, Some(&["dave"])).await, [""; 0]);
}

#[tokio::test]
async fn describe_on_the_token_itself_shows_it() {
    let rules = vec![rule(1, ResourceType::DelegationToken, "*", Operation::Describe)];
    let broker = with_tokens(rules);
    create(&of(&broker, "alice"), for_owner(None)).await;
    assert_eq!(seen(&of(&broker, "bob"), None).await, ["alice"]);
    assert_eq!(seen(&of(&broker, "carol"), None).await, [""; 0]);
}
