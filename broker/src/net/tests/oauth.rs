//! Clients that come in with a JSON Web Token (KIP-255, KIP-768).

use super::client::Client;
use super::setup::Bench;
use crate::clock::now_ms;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::SaslAuthenticateResponse;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

pub(super) const KEYS_FILE: &str = "keys.json";
const REFUSED: ErrorCode = ErrorCode::SaslAuthenticationFailed;
const TOLD: &str = r#"{"status":"invalid_token"}"#;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

/// The set of the keys of these seeds, named after them.
pub(super) fn keys(seeds: &[u8]) -> String {
    let keys: Vec<Value> = seeds
        .iter()
        .map(|seed| {
            let public = URL_SAFE_NO_PAD.encode(pair(*seed).public_key());
            json!({"kty": "OKP", "crv": "Ed25519", "kid": seed.to_string(), "x": public})
        })
        .collect();
    json!({ "keys": keys }).to_string()
}

/// Of alice, for a minute, with these claims in the place of the usual ones.
fn token(seed: u8, changes: &Value) -> String {
    let now = now_ms() / 1_000;
    let mut claims = json!({"sub": "alice", "aud": "kafka", "iat": now, "exp": now + 60});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "EdDSA", "kid": seed.to_string()});
    let text = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(pair(seed).sign(text.as_bytes()));
    format!("{text}.{signature}")
}

async fn connected(bench: &Bench) -> Client {
    Client::connect_tls(bench, "oauth", bench.tls(None))
        .await
        .unwrap()
}

async fn shown(client: &mut Client, token: &str, authorization: &str) -> SaslAuthenticateResponse {
    assert_eq!(client.handshake(1, "OAUTHBEARER").await, Some(ErrorCode::None));
    let message = format!("n,{authorization},\u{1}auth=Bearer {token}\u{1}\u{1}");
    client.token(message).await.unwrap()
}

/// A token that is not taken: the client is told, and after its answer the exchange has failed.
async fn refused(bench: &Bench, token: &str) {
    let mut client = connected(bench).await;
    let answer = shown(&mut client, token, "").await;
    assert_eq!((answer.error_code, &answer.auth_bytes[..]), (0, TOLD.as_bytes()));
    let answer = client.token("\u{1}").await.unwrap();
    assert_eq!(answer.error_code, REFUSED);
    assert_eq!(answer.error_message.as_deref(), Some(TOLD));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn token_opens_for_the_user_that_it_names_until_it_ends() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    let answer = shown(&mut client, &token(1, &json!({})), "").await;
    assert_eq!((answer.error_code, answer.auth_bytes.len()), (0, 0));
    assert!((50_000..=60_000).contains(&answer.session_lifetime_ms));
    assert_eq!(client.orders().await, Some(ErrorCode::None));

    // With a newer one the session goes on, but not as somebody else's.
    let longer = token(1, &json!({"exp": now_ms() / 1_000 + 600}));
    let answer = shown(&mut client, &longer, "a=alice").await;
    assert_eq!(answer.error_code, 0);
    assert!(answer.session_lifetime_ms > 60_000);
    assert_eq!(client.orders().await, Some(ErrorCode::None));
    let other = shown(&mut client, &token(1, &json!({"sub": "bob"})), "").await;
    assert_eq!(other.error_code, 0);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn session_ends_with_the_token() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    let end = now_ms() / 1_000 + 2;
    let answer = shown(&mut client, &token(1, &json!({ "exp": end })), "").await;
    assert_eq!(answer.error_code, 0);
    while now_ms() <= end * 1_000 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(client.orders().await, None);
}

#[tokio::test]
async fn tokens_that_are_not_good_are_refused_alike() {
    let bench = Bench::new();
    let now = now_ms() / 1_000;
    for changes in [
        json!({"exp": now - 60}),
        json!({"aud": "web"}),
        json!({"sub": ""}),
        json!({"iat": null}),
    ] {
        refused(&bench, &token(1, &changes)).await;
    }
    refused(&bench, "no.token.at-all").await;
    refused(&bench, &token(9, &json!({}))).await;
}

#[tokio::test]
async fn what_is_no_message_or_for_another_is_refused() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    let answer = shown(&mut client, &token(1, &json!({})), "a=bob").await;
    assert_eq!(answer.error_code, REFUSED);
    assert!(client.is_closed().await);
    let mut client = connected(&bench).await;
    assert_eq!(client.handshake(1, "OAUTHBEARER").await, Some(ErrorCode::None));
    let answer = client.token("hello").await.unwrap();
    assert_eq!(answer.error_code, REFUSED);
    assert!(client.is_closed().await);
}
