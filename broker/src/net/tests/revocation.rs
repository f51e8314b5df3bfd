//! What is taken away from a user takes effect on connections that are open: idle ones, and those that wait.

use super::client::Client;
use super::setup::{Bench, PASSWORD, submit};
use crate::auth::scram::{Credential, Mechanism};
use crate::auth::{PatternType, ResourceType};
use crate::telemetry::CloseReason;
use flotilla_control::proto::metadata::{
    AclFilter, AlterScram, DeleteAcls, DeleteUser, RemoveScramCredential, ScramCredential, ScramMechanism,
    request,
};
use flotilla_protocol::messages::FetchRequest;
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::{ErrorCode, Uuid};
use std::time::Duration;

/// Longer than any test waits.
const LONG_POLL_MS: i32 = 600_000;
/// What the issue grants; everything here takes milliseconds.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(5);

/// A fetch of `orders` that waits.
fn long_poll() -> FetchRequest {
    FetchRequest {
        max_wait_ms: LONG_POLL_MS,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic_id: Uuid([1; 16]),
            partitions: vec![FetchPartition {
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// Sends a fetch that waits, and waits until it does.
async fn poll(mut client: Client) -> tokio::task::JoinHandle<Option<ErrorCode>> {
    client.send_request(13, &long_poll()).await;
    tokio::spawn(async move {
        let response = client.response::<FetchRequest>(13).await?;
        Some(response.responses[0].partitions[0].error_code.into())
    })
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(EFFECTIVE_WITHIN, what)
        .await
        .expect("it takes effect in time")
}

fn rules_of(principal: &str) -> request::Request {
    request::Request::DeleteAcls(DeleteAcls {
        filters: vec![AclFilter {
            resource_type: ResourceType::Topic.code().into(),
            resource_name: Some("orders".into()),
            pattern_type: PatternType::Literal.code().into(),
            principal: Some(principal.into()),
            host: None,
            operation: 1,
            permission_type: 1,
        }],
    })
}

#[tokio::test]
async fn fetch_that_waits_hears_at_once_of_a_revoked_rule() {
    let bench = Bench::new();
    let alice = poll(Client::alice(&bench).await).await;
    let carol = Client::connect_tls(&bench, "mtls", bench.tls(Some("carol")))
        .await
        .unwrap();
    let carol = poll(carol).await;
    bench.until_polled(2).await;
    submit(&bench, rules_of("User:alice")).await;
    let answer = within(alice).await.unwrap();
    assert_eq!(answer, Some(ErrorCode::TopicAuthorizationFailed));
    assert!(!carol.is_finished(), "her rule is still there");
    submit(&bench, rules_of("User:carol")).await;
    let answer = within(carol).await.unwrap();
    assert_eq!(answer, Some(ErrorCode::TopicAuthorizationFailed));
}

#[tokio::test]
async fn rotated_password_ends_connections_that_are_idle_and_those_that_wait() {
    let bench = Bench::new();
    let mut idle = Client::alice(&bench).await;
    let waiting = poll(Client::alice(&bench).await).await;
    let mut other = Client::connect(&bench, "scram").await;
    let answer = other.scram(Mechanism::Sha512, "alice", PASSWORD).await.unwrap();
    assert_eq!(answer.error_code, 0);
    bench.until_polled(1).await;
    let credential = Credential::of_password(Mechanism::Sha256, "another", b"another salt", 4096);
    let rotated = AlterScram {
        upserts: vec![ScramCredential {
            user: "alice".into(),
            mechanism: ScramMechanism::ScramSha256.into(),
            salt: credential.salt,
            stored_key: credential.stored_key,
            server_key: credential.server_key,
            iterations: 4096,
        }],
        removals: vec![],
    };
    submit(&bench, request::Request::AlterScram(rotated)).await;
    assert!(within(idle.is_closed()).await);
    assert_eq!(within(waiting).await.unwrap(), None);
    assert!(other.is_served().await, "authenticated by the other mechanism");
    let mut again = Client::connect(&bench, "scram").await;
    let refused = again.scram(Mechanism::Sha256, "alice", PASSWORD).await.unwrap();
    assert_eq!(refused.error_code, ErrorCode::SaslAuthenticationFailed);
    let mut again = Client::connect(&bench, "scram").await;
    let accepted = again.scram(Mechanism::Sha256, "alice", "another").await.unwrap();
    assert_eq!(accepted.error_code, 0);
}

#[tokio::test]
async fn connections_of_users_that_are_gone_are_closed() {
    let bench = Bench::new();
    let mut alice = Client::alice(&bench).await;
    let mut carol = Client::connect_tls(&bench, "mtls", bench.tls(Some("carol")))
        .await
        .unwrap();
    assert!(alice.is_served().await && carol.is_served().await);
    let waiting = Client::connect_tls(&bench, "mtls", bench.tls(Some("carol")))
        .await
        .unwrap();
    let waiting = poll(waiting).await;
    bench.until_polled(1).await;
    let removal = RemoveScramCredential {
        user: "alice".into(),
        mechanism: ScramMechanism::ScramSha256.into(),
    };
    let removal = AlterScram {
        upserts: vec![],
        removals: vec![removal],
    };
    submit(&bench, request::Request::AlterScram(removal)).await;
    assert!(within(alice.is_closed()).await);
    assert!(carol.is_served().await, "only hers");
    let deleted = DeleteUser {
        name: "carol".into(),
        owner: None,
    };
    submit(&bench, request::Request::DeleteUser(deleted)).await;
    assert!(within(carol.is_closed()).await);
    assert_eq!(within(waiting).await.unwrap(), None);
    assert_eq!(bench.broker.telemetry.metrics.closed_for(CloseReason::Revoked), 3);
}
