//! Bad input, and clients that take more than their share. Everyone else is served meanwhile.

use super::client::Client;
use super::setup::{Bench, IMPATIENT, PATIENCE};
use crate::telemetry::CloseReason;
use bytes::Bytes;
use flotilla_protocol::messages::metadata_request::MetadataRequestTopic;
use flotilla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use flotilla_protocol::{ApiKey, ErrorCode, Message, Uuid, frame};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The header of a request, without a client id.
fn header(api: i16, version: i16) -> Vec<u8> {
    let mut header = api.to_be_bytes().to_vec();
    header.extend(version.to_be_bytes());
    header.extend([0, 0, 0, 1, 0xff, 0xff]);
    header
}

async fn closes(bench: &Bench, frame: &[u8]) -> bool {
    let mut client = Client::connect(bench, "open").await;
    client.send_frame(frame).await;
    client.is_closed().await
}

#[tokio::test]
async fn garbage_closes_its_connection_and_no_other() {
    let bench = Bench::new();
    let mut steady = Client::connect(&bench, "open").await;
    assert!(steady.is_served().await);
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0, 1, 2, 3],
        &[0xff; 64],
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01],
    ] {
        let mut client = Client::connect(&bench, "open").await;
        client.send(bytes).await;
        assert!(client.is_closed().await, "{bytes:?}");
        assert!(steady.is_served().await);
    }
}

#[tokio::test]
async fn requests_that_cannot_be_read_close_their_connection() {
    let bench = Bench::new();
    let mut steady = Client::connect(&bench, "open").await;
    let mut array_of_two_thousand_million = header(ApiKey::Metadata.into(), 1);
    array_of_two_thousand_million.extend(2_000_000_000_i32.to_be_bytes());
    let mut long_client_id = vec![0, 18, 0, 0, 0, 0, 0, 1, 0x7f, 0xff];
    long_client_id.extend(b"short");
    for frame in [
        array_of_two_thousand_million,
        long_client_id,
        Vec::new(),
        vec![0, 3],
        header(ApiKey::Metadata.into(), 1),
        header(9999, 0),
        header(-1, 0),
        header(ApiKey::Metadata.into(), 99),
        header(ApiKey::Metadata.into(), -1),
    ] {
        assert!(closes(&bench, &frame).await, "{frame:?}");
        assert!(steady.is_served().await);
    }
    let metrics = &bench.broker.telemetry.metrics;
    assert_eq!(metrics.closed_for(CloseReason::Malformed), 9);
    assert_eq!(metrics.closed_for(CloseReason::Panic), 0);
}

#[tokio::test]
async fn api_versions_that_is_too_new_is_answered_with_what_there_is() {
    let bench = Bench::new();
    let mut client = Client::connect(&bench, "open").await;
    let mut request = header(ApiKey::ApiVersions.into(), 99);
    // The header's tagged fields, and a body of which nobody here knows the form.
    request.extend([0, 1, 2, 3]);
    client.send_frame(&request).await;
    let (_, mut body) =
        frame::decode_response(client.frame().await.unwrap(), ApiKey::ApiVersions, 0).unwrap();
    let response = ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion);
    let [own] = &response.api_keys[..] else {
        panic!("{response:?}");
    };
    assert_eq!(own.api_key, ApiKey::ApiVersions as i16);
    assert_eq!((own.min_version, own.max_version), (0, 4));
    let request = ApiVersionsRequest {
        client_software_name: "x".into(),
        client_software_version: "1".into(),
    };
    assert!(
        client.call(own.max_version, &request).await.is_some(),
        "and the client may choose again"
    );
}

#[tokio::test]
async fn frames_before_authentication_are_small() {
    let bench = Bench::new();
    let mut client = Client::connect(&bench, "scram").await;
    client.send(&(512 * 1024 + 1_u32).to_be_bytes()).await;
    assert!(client.is_closed().await);
    let mut client = Client::connect(&bench, "open").await;
    client.send(&(104_857_600_u32 + 1).to_be_bytes()).await;
    assert!(client.is_closed().await);
    assert_eq!(
        bench.broker.telemetry.metrics.closed_for(CloseReason::TooLarge),
        2
    );
}

#[tokio::test]
async fn frames_before_authentication_are_as_large_as_is_set() {
    let bench = Bench::with_settings(crate::net::PATIENCE, &[("sasl.server.max.receive.size", "1000")]);
    let mut client = Client::connect(&bench, "scram").await;
    client.send(&1001_u32.to_be_bytes()).await;
    assert!(client.is_closed().await);
    assert_eq!(
        bench.broker.telemetry.metrics.closed_for(CloseReason::TooLarge),
        1
    );
    let mut open = Client::connect(&bench, "open").await;
    assert!(open.is_served().await);
    let large = ApiVersionsRequest {
        client_software_name: "x".repeat(1000).into(),
        client_software_version: "1".into(),
    };
    assert!(open.call(3, &large).await.is_some(), "others may send more");
}

#[tokio::test]
async fn connections_come_in_no_faster_than_the_rate() {
    let bench = Bench::with_settings(crate::net::PATIENCE, &[("max.connection.creation.rate", "2")]);
    let begun = Instant::now();
    for listener in ["open", "open", "open", "open"] {
        assert!(Client::connect(&bench, listener).await.is_served().await);
    }
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(1_000),
        "two at once, and one each half second: {took:?}"
    );
    let mut settings = bench.broker.settings().as_ref().clone();
    settings.max_connection_creation_rate = 0;
    bench.broker.settings.store(settings.clone().into());
    let mut waits = Client::connect(&bench, "open").await;
    let served = tokio::time::timeout(Duration::from_millis(300), waits.is_served()).await;
    assert!(served.is_err(), "nobody comes in");
    settings.max_connection_creation_rate = i32::MAX;
    bench.broker.settings.store(settings.into());
    let mut other = Client::connect(&bench, "open").await;
    assert!(other.is_served().await, "the setting is followed");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let bench = Bench::new();
    let mut client = Client::connect(&bench, "open").await;
    let mut sent = Vec::new();
    for correlation_id in 0..500 {
        let request = frame::request(0, correlation_id, None, &ApiVersionsRequest::default()).unwrap();
        sent.extend(request.concat());
    }
    client.send(&sent).await;
    for expected in 0..500 {
        let frame = client.frame().await.unwrap();
        let (correlation_id, _) = frame::decode_response(frame, ApiKey::ApiVersions, 0).unwrap();
        assert_eq!(correlation_id, expected);
    }
}

#[tokio::test]
async fn client_that_closes_its_side_still_gets_its_answers() {
    let bench = Bench::new();
    let mut stream = TcpStream::connect(bench.address("open")).await.unwrap();
    let request = frame::request(0, 1, None, &ApiVersionsRequest::default())
        .unwrap()
        .concat();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &request)
        .await
        .unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        answer.len(),
        4 + u32::from_be_bytes(answer[..4].try_into().unwrap()) as usize
    );
}

#[tokio::test]
async fn half_done_handshakes_and_frames_are_given_up() {
    let bench = Bench::with(IMPATIENT);
    let mut half_open = TcpStream::connect(bench.address("tls")).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half_open, &[0x16, 0x03, 0x01])
        .await
        .unwrap();
    let mut silent = Client::connect(&bench, "scram").await;
    let mut half_frame = Client::connect(&bench, "open").await;
    half_frame.send(&[0, 0, 1, 0, 9]).await;
    let mut steady = Client::connect(&bench, "open").await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(100) {
        assert!(steady.is_served().await);
    }
    assert!(silent.is_closed().await);
    assert!(half_frame.is_closed().await);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, half_open.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(ended.is_err() || rest.is_empty());
    assert!(steady.is_served().await, "silence between requests is borne");
    assert_eq!(bench.broker.telemetry.metrics.closed_for(CloseReason::Stalled), 3);
}

#[tokio::test]
async fn client_that_does_not_read_is_left_and_holds_nobody_up() {
    let bench = Bench::with(IMPATIENT);
    let stream = TcpStream::connect(bench.address("open")).await.unwrap();
    // Its answers are as long as its requests: they repeat the name.
    let name = MetadataRequestTopic {
        name: Some("x".repeat(20_000).into()),
        topic_id: Uuid::ZERO,
    };
    let request = MetadataRequest {
        topics: Some(vec![name]),
        ..MetadataRequest::default()
    };
    let request = frame::request(12, 1, None, &request).unwrap().concat();
    let many: Bytes = request.repeat(10).into();
    let mut steady = Client::connect(&bench, "open").await;
    let begun = Instant::now();
    // Until the broker closes the connection, because its answers are not taken.
    let closed = loop {
        assert!(begun.elapsed() < PATIENCE, "the broker goes on for ever");
        assert!(steady.is_served().await);
        match stream.try_write(&many) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(
        closed.kind(),
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
    ));
    assert_eq!(bench.broker.telemetry.metrics.closed_for(CloseReason::Stalled), 1);
}

#[tokio::test]
async fn many_idle_connections_leave_room_for_others() {
    let bench = Bench::new();
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(Client::connect(&bench, "open").await);
    }
    let mut steady = Client::connect(&bench, "open").await;
    assert!(steady.is_served().await);
    for client in &mut idle {
        assert!(client.is_served().await);
    }
}

#[tokio::test]
async fn connections_over_the_limit_are_refused() {
    let bench = Bench::new();
    let set = |change: &dyn Fn(&mut flotilla_control::settings::BrokerSettings)| {
        let mut settings = bench.broker.settings().as_ref().clone();
        change(&mut settings);
        bench.broker.settings.store(settings.into());
    };
    set(&|settings| settings.max_connections_per_ip = 2);
    let mut first = Client::connect(&bench, "open").await;
    let mut second = Client::connect(&bench, "open").await;
    assert!(first.is_served().await && second.is_served().await);
    assert!(Client::connect(&bench, "open").await.is_closed().await);
    set(&|settings| settings.max_connections_per_ip_overrides = "127.0.0.1:3".into());
    let mut third = Client::connect(&bench, "open").await;
    assert!(third.is_served().await);
    set(&|settings| {
        settings.max_connections_per_ip_overrides = String::new();
        settings.max_connections_per_ip = i32::MAX;
        settings.max_connections = 3;
    });
    assert!(Client::connect(&bench, "open").await.is_closed().await);
    assert!(first.is_served().await);
    assert_eq!(bench.broker.telemetry.metrics.closed_for(CloseReason::Limit), 2);
}

#[tokio::test]
async fn stopping_ends_all_connections() {
    let bench = Bench::new();
    let mut client = Client::connect(&bench, "open").await;
    assert!(client.is_served().await);
    let address = bench.address("open");
    bench.net.stop(PATIENCE).await;
    assert!(client.is_closed().await);
    assert!(TcpStream::connect(address).await.is_err());
}
