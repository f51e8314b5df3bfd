//! Clients that come in with a delegation token (KIP-48).

use super::client::Client;
use super::setup::Bench;
use crate::auth::scram::Mechanism;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::{
    CreateDelegationTokenRequest, CreateDelegationTokenResponse, ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
};

/// Long enough to come in twice, and short enough to wait for.
const SHORT_MS: i64 = 3_000;
const REFUSED: ErrorCode = ErrorCode::SaslAuthenticationFailed;

async fn made(client: &mut Client, max_lifetime_ms: i64) -> CreateDelegationTokenResponse {
    let request = CreateDelegationTokenRequest {
        max_lifetime_ms,
        ..CreateDelegationTokenRequest::default()
    };
    client.call(3, &request).await.unwrap()
}

/// A token of alice's, who stays connected.
async fn of_alice(bench: &Bench, max_lifetime_ms: i64) -> (Client, CreateDelegationTokenResponse) {
    let mut alice = Client::alice(bench).await;
    let token = made(&mut alice, max_lifetime_ms).await;
    assert_eq!(token.error_code, 0);
    (alice, token)
}

fn password(token: &CreateDelegationTokenResponse) -> String {
    STANDARD.encode(&token.hmac)
}

#[tokio::test]
async fn token_opens_for_its_owner_by_both_mechanisms() {
    let bench = Bench::new();
    let (mut alice, token) = of_alice(&bench, -1).await;
    for mechanism in [Mechanism::Sha256, Mechanism::Sha512] {
        let mut client = Client::connect(&bench, "scram").await;
        let answer = client
            .scram_with_token(mechanism, &token.token_id, &password(&token))
            .await
            .unwrap();
        assert_eq!(answer.error_code, 0);
        let day = 86_400_000;
        assert!((day - 60_000..=day).contains(&answer.session_lifetime_ms));
        assert_eq!(
            client.orders().await,
            Some(ErrorCode::None),
            "alice's rule is its rule"
        );
        let another = made(&mut client, -1).await;
        assert_eq!(
            another.error_code,
            ErrorCode::DelegationTokenRequestNotAllowed,
            "a token gets no tokens"
        );
    }
    let another = made(&mut alice, -1).await;
    assert_eq!(another.error_code, 0);
}

#[tokio::test]
async fn what_is_no_token_opens_nothing() {
    let bench = Bench::new();
    let (_alice, token) = of_alice(&bench, -1).await;
    let password = password(&token);
    let id = token.token_id.to_string();
    for (id, password) in [
        (id.as_str(), "wrong"),
        ("unknown", &password),
        ("alice", super::setup::PASSWORD),
    ] {
        let mut client = Client::connect(&bench, "scram").await;
        let answer = client.scram_with_token(Mechanism::Sha256, id, password).await;
        assert_eq!(answer.unwrap().error_code, REFUSED, "{id}");
        assert!(client.is_closed().await);
    }
    // A token's id is nobody's name.
    let mut client = Client::connect(&bench, "scram").await;
    let answer = client.scram(Mechanism::Sha256, &id, &password).await;
    assert_eq!(answer.unwrap().error_code, REFUSED);
}

#[tokio::test]
async fn session_ends_with_the_token_and_goes_on_with_a_renewed_one() {
    let bench = Bench::new();
    let (mut alice, token) = of_alice(&bench, 60_000).await;
    let renew = |renew_period_ms| RenewDelegationTokenRequest {
        hmac: token.hmac.clone(),
        renew_period_ms,
    };
    let come_in = async |client: &mut Client| {
        let (id, password) = (token.token_id.to_string(), password(&token));
        let answer = client.scram_with_token(Mechanism::Sha256, &id, &password).await;
        answer.unwrap()
    };
    let shortened = alice.call(2, &renew(SHORT_MS)).await.unwrap();
    assert_eq!(shortened.error_code, 0);
    let (mut lazy, mut diligent) = (
        Client::connect(&bench, "scram").await,
        Client::connect(&bench, "scram").await,
    );
    for client in [&mut lazy, &mut diligent] {
        let answer = come_in(client).await;
        assert_eq!(answer.error_code, 0);
        assert!((1..=SHORT_MS).contains(&answer.session_lifetime_ms));
    }
    let renewed = alice.call(2, &renew(30_000)).await.unwrap();
    assert_eq!(renewed.error_code, 0);
    assert!(come_in(&mut diligent).await.session_lifetime_ms > SHORT_MS);
    while crate::clock::now_ms() <= shortened.expiry_timestamp_ms {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(lazy.orders().await, None, "its session has ended");
    assert_eq!(diligent.orders().await, Some(ErrorCode::None));
}

#[tokio::test]
async fn token_that_is_ended_ends_its_connections_and_no_others() {
    let bench = Bench::new();
    let (mut alice, token) = of_alice(&bench, -1).await;
    let another = made(&mut alice, -1).await;
    let mut clients = Vec::new();
    for token in [&token, &another] {
        let mut client = Client::connect(&bench, "scram").await;
        let answer = client
            .scram_with_token(Mechanism::Sha256, &token.token_id, &password(token))
            .await
            .unwrap();
        assert_eq!(answer.error_code, 0);
        clients.push(client);
    }
    let ended = ExpireDelegationTokenRequest {
        hmac: token.hmac.clone(),
        expiry_time_period_ms: -1,
    };
    assert_eq!(alice.call(2, &ended).await.unwrap().error_code, 0);
    assert!(clients[0].is_closed().await);
    assert!(clients[1].is_served().await && alice.is_served().await);
    let mut again = Client::connect(&bench, "scram").await;
    let answer = again
        .scram_with_token(Mechanism::Sha256, &token.token_id, &password(&token))
        .await
        .unwrap();
    assert_eq!(answer.error_code, REFUSED);
}

#[tokio::test]
async fn expired_token_opens_nothing_before_it_is_forgotten() {
    let bench = Bench::new();
    let (mut alice, token) = of_alice(&bench, -1).await;
    let expired = ExpireDelegationTokenRequest {
        hmac: token.hmac.clone(),
        expiry_time_period_ms: 0,
    };
    let expired = alice.call(2, &expired).await.unwrap();
    assert_eq!(expired.error_code, 0);
    while crate::clock::now_ms() <= expired.expiry_timestamp_ms {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let mut client = Client::connect(&bench, "scram").await;
    let answer = client
        .scram_with_token(Mechanism::Sha256, &token.token_id, &password(&token))
        .await
        .unwrap();
    assert_eq!(answer.error_code, REFUSED);
}
