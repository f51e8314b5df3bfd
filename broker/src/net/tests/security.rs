//! Who gets in, and who does not.

use super::client::Client;
use super::setup::{Bench, PASSWORD};
use crate::auth::scram::{self, Mechanism};
use crate::telemetry::CloseReason;
use flotilla_control::tls::Identity;
use flotilla_protocol::messages::{ApiVersionsRequest, ListGroupsRequest};
use flotilla_protocol::{BrokerId, ErrorCode, Uuid};

#[tokio::test]
async fn right_password_opens_and_rules_decide() {
    let bench = Bench::new();
    for mechanism in [Mechanism::Sha256, Mechanism::Sha512] {
        let mut client = Client::connect(&bench, "scram").await;
        assert!(
            client.is_served().await,
            "ApiVersions comes before authentication"
        );
        let answer = client.scram(mechanism, "alice", PASSWORD).await.unwrap();
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0));
        assert_eq!(client.orders().await, Some(ErrorCode::None));
    }
    let mut anonymous = Client::connect(&bench, "open").await;
    assert_eq!(
        anonymous.orders().await,
        Some(ErrorCode::TopicAuthorizationFailed)
    );
}

#[tokio::test]
async fn wrong_password_and_unknown_user_are_refused_alike() {
    let bench = Bench::new();
    let mut told = Vec::new();
    for (user, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("carol", "")] {
        let mut client = Client::connect(&bench, "scram").await;
        let answer = client.scram(Mechanism::Sha256, user, password).await.unwrap();
        assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
        assert!(client.is_closed().await);
        told.push(answer.error_message);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
}

#[tokio::test]
async fn tokens_come_bare_after_a_handshake_of_version_0() {
    let bench = Bench::new();
    for (password, passes) in [(PASSWORD, true), ("wrong", false)] {
        let mut client = Client::connect(&bench, "scram").await;
        assert_eq!(client.handshake(0, "SCRAM-SHA-512").await, Some(ErrorCode::None));
        let scram = scram::Client::new(Mechanism::Sha512, "alice", password, "nonce");
        client.send_frame(scram.first_message().as_bytes()).await;
        let (last, proof) = scram.answer(&client.frame().await.unwrap()).unwrap();
        client.send_frame(last.as_bytes()).await;
        match client.frame().await {
            Some(answer) => {
                assert!(passes);
                assert_eq!(proof.verify(&answer), Ok(()));
                assert_eq!(client.orders().await, Some(ErrorCode::None));
            }
            None => assert!(!passes),
        }
    }
}

#[tokio::test]
async fn malformed_proofs_are_refused() {
    let bench = Bench::new();
    for token in [
        &b""[..],
        b"garbage",
        b"n,,n=alice",
        &[0xff; 100],
        &[b'a'; 100_000],
    ] {
        let mut client = Client::connect(&bench, "scram").await;
        client.handshake(1, "SCRAM-SHA-256").await;
        let answer = client.token(token.to_vec()).await.unwrap();
        assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
        assert!(client.is_closed().await);
    }
    assert!(Client::alice(&bench).await.is_served().await);
}

#[tokio::test]
async fn nothing_is_served_before_authentication() {
    let bench = Bench::new();
    let mut client = Client::connect(&bench, "scram").await;
    assert_eq!(client.orders().await, None);
    // Half of an exchange opens nothing either.
    let mut client = Client::connect(&bench, "scram").await;
    client.handshake(1, "SCRAM-SHA-256").await;
    assert_eq!(client.call(0, &ListGroupsRequest::default()).await, None);
    // Nor does a token without a handshake.
    let mut client = Client::connect(&bench, "scram").await;
    assert_eq!(client.token("n,,n=alice,r=x").await, None);
    assert_eq!(
        bench
            .broker
            .telemetry
            .metrics
            .closed_for(CloseReason::Unauthenticated),
        3
    );
}

#[tokio::test]
async fn mechanisms_that_are_not_served_are_told() {
    let bench = Bench::new();
    let mut client = Client::connect(&bench, "scram").await;
    assert_eq!(
        client.handshake(1, "PLAIN").await,
        Some(ErrorCode::UnsupportedSaslMechanism)
    );
    assert!(client.is_closed().await);
    // Where there is no SASL at all, and after it is done, a handshake has no place.
    let mut client = Client::connect(&bench, "open").await;
    assert_eq!(
        client.handshake(1, "PLAIN").await,
        Some(ErrorCode::IllegalSaslState)
    );
    let mut client = Client::alice(&bench).await;
    assert_eq!(
        client.handshake(1, "SCRAM-SHA-256").await,
        Some(ErrorCode::IllegalSaslState)
    );
}

#[tokio::test]
async fn plain_works_over_tls() {
    let bench = Bench::new();
    for (token, error) in [
        (format!("\0alice\0{PASSWORD}"), ErrorCode::None),
        ("\0alice\0wrong".to_owned(), ErrorCode::SaslAuthenticationFailed),
        (
            format!("\0nobody\0{PASSWORD}"),
            ErrorCode::SaslAuthenticationFailed,
        ),
    ] {
        let mut client = Client::connect_tls(&bench, "tls", bench.tls(None)).await.unwrap();
        assert_eq!(client.handshake(1, "PLAIN").await, Some(ErrorCode::None));
        assert_eq!(client.token(token).await.unwrap().error_code, error);
        let expected = (error == ErrorCode::None).then_some(ErrorCode::None);
        assert_eq!(client.orders().await, expected);
    }
}

#[tokio::test]
async fn versions_of_tls_are_those_that_are_enabled() {
    use rustls::version::{TLS12, TLS13};
    for (enabled, expected) in [
        ("TLSv1.2,TLSv1.3", [true, true]),
        ("TLSv1.3", [false, true]),
        ("TLSv1.2", [true, false]),
    ] {
        let bench = Bench::with_settings(crate::net::PATIENCE, &[("ssl.enabled.protocols", enabled)]);
        let mut served = Vec::new();
        for version in [&TLS12, &TLS13] {
            served.push(
                match Client::connect_tls(&bench, "tls", bench.tls_of(version)).await {
                    Ok(mut client) => client.is_served().await,
                    Err(_) => false,
                },
            );
        }
        assert_eq!(served, expected, "{enabled}");
    }
}

#[tokio::test]
async fn certificate_names_the_user_while_the_user_exists() {
    let bench = Bench::new();
    let mut carol = Client::connect_tls(&bench, "mtls", bench.tls(Some("carol")))
        .await
        .unwrap();
    assert_eq!(carol.orders().await, Some(ErrorCode::None));
    for stranger in ["mallory", "dave"] {
        let mut client = Client::connect_tls(&bench, "mtls", bench.tls(Some(stranger)))
            .await
            .unwrap();
        assert_eq!(client.orders().await, None, "{stranger}");
    }
    // TLS 1.3: the client learns of a refused handshake with its first read.
    if let Ok(mut client) = Client::connect_tls(&bench, "mtls", bench.tls(None)).await {
        assert_eq!(client.orders().await, None);
    }
}

#[tokio::test]
async fn sasl_wins_over_a_certificate() {
    let bench = Bench::new();
    let mut client = Client::connect_tls(&bench, "tls", bench.tls(Some("carol")))
        .await
        .unwrap();
    assert_eq!(
        client.orders().await,
        Some(ErrorCode::None),
        "a verified certificate is enough"
    );
    let answer = client.scram(Mechanism::Sha512, "alice", PASSWORD).await.unwrap();
    assert_eq!(answer.error_code, ErrorCode::None);
    assert_eq!(client.orders().await, Some(ErrorCode::None));
    // Without a certificate, and with one that names nobody, SASL is the only way.
    for user in [None, Some("mallory")] {
        let mut client = Client::connect_tls(&bench, "tls", bench.tls(user)).await.unwrap();
        assert_eq!(client.orders().await, None);
    }
}

#[tokio::test]
async fn failed_exchange_ends_a_connection_that_a_certificate_opened() {
    let bench = Bench::new();
    let mut client = Client::connect_tls(&bench, "tls", bench.tls(Some("carol")))
        .await
        .unwrap();
    let answer = client.scram(Mechanism::Sha512, "alice", "wrong").await.unwrap();
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn session_ends_unless_the_client_authenticates_again() {
    let bench = Bench::new();
    let mut settings = bench.broker.settings().as_ref().clone();
    settings.connections_max_reauth_ms = 300;
    bench.broker.settings.store(settings.into());
    let mut lazy = Client::alice(&bench).await;
    let mut diligent = Client::connect(&bench, "scram").await;
    let answer = diligent
        .scram(Mechanism::Sha256, "alice", PASSWORD)
        .await
        .unwrap();
    assert_eq!(answer.session_lifetime_ms, 300);
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 400 {
        let answer = diligent
            .scram(Mechanism::Sha256, "alice", PASSWORD)
            .await
            .unwrap();
        assert_eq!(answer.error_code, ErrorCode::None);
        assert_eq!(diligent.orders().await, Some(ErrorCode::None));
    }
    assert_eq!(lazy.orders().await, None);
}

#[tokio::test]
async fn only_the_fleet_gets_in_between_brokers() {
    let bench = Bench::new();
    let cluster = bench.broker.config.cluster_id;
    let connect = async |cluster_id, identity| {
        let files = bench.authority.issue(cluster_id, identity);
        let tls = flotilla_control::tls::Credentials::read(&files)
            .unwrap()
            .client_config()
            .unwrap();
        let name = flotilla_control::tls::server_name(cluster, bench.broker.id);
        let stream = tokio::net::TcpStream::connect(bench.address("replication"))
            .await
            .unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
        let stream = connector.connect(name.try_into().unwrap(), stream).await.unwrap();
        Client::of(stream)
    };
    let mut broker = connect(cluster, Identity::Broker(BrokerId(1))).await;
    assert_eq!(broker.orders().await, Some(ErrorCode::None));
    let mut operator = connect(cluster, Identity::Operator).await;
    assert_eq!(operator.orders().await, Some(ErrorCode::None), "no rule binds it");
    let mut foreign = connect(Uuid([8; 16]), Identity::Broker(BrokerId(1))).await;
    assert_eq!(foreign.call(0, &ApiVersionsRequest::default()).await, None);
}
