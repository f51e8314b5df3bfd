//! Clients that are asked for their metrics (KIP-714), by what their connections tell of them.

use super::client::Client;
use super::setup::{Bench, PASSWORD, PATIENCE, submit};
use crate::auth::scram::Mechanism;
use flotilla_control::proto::metadata as proto;
use flotilla_protocol::Uuid;
use flotilla_protocol::messages::{ApiVersionsRequest, GetTelemetrySubscriptionsRequest};
use std::time::Duration;
use tokio::net::TcpStream;

/// Asks everything of clients with that software at that port.
async fn subscribe(bench: &Bench, software: &str, port: u16) {
    let set = |key: &str, value: String| proto::AlterConfig {
        operation: proto::ConfigOperation::Set.into(),
        key: key.to_owned(),
        value: Some(value),
    };
    let selectors = format!("client_software_name={software},client_source_port={port}");
    let resource = proto::ResourceConfigs {
        resource_type: proto::ResourceType::ClientMetrics.into(),
        resource_name: "all".to_owned(),
        changes: vec![set("metrics", "*".to_owned()), set("match", selectors)],
        replace: true,
    };
    let alter = proto::AlterConfigs {
        resources: vec![resource],
    };
    submit(bench, proto::request::Request::AlterConfigs(alter)).await;
    bench.broker.client_metrics.follow(&bench.broker.metadata.image());
}

/// What the client is asked for.
async fn asked(client: &mut Client) -> Vec<String> {
    let question = GetTelemetrySubscriptionsRequest {
        client_instance_id: Uuid::ZERO,
    };
    let told = client.call(0, &question).await.expect("an answer");
    told.requested_metrics.into_iter().map(String::from).collect()
}

#[tokio::test]
async fn client_is_known_by_its_connection_and_forgotten_with_it() {
    let bench = Bench::new();
    let stream = TcpStream::connect(bench.address("scram")).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    let mut client = Client::of(stream);
    // Said before it is known who the client is, as all libraries do.
    let software = ApiVersionsRequest {
        client_software_name: "librdkafka".into(),
        client_software_version: "2.5.0".into(),
    };
    client.call(3, &software).await.expect("an answer");
    let proven = client.scram(Mechanism::Sha256, "alice", PASSWORD).await;
    assert_eq!(proven.expect("an answer").error_code, 0);

    subscribe(&bench, "librdkafka", port).await;
    assert_eq!(asked(&mut client).await, ["*"]);
    subscribe(&bench, "another", port).await;
    assert_eq!(asked(&mut client).await, [""; 0]);
    subscribe(&bench, "librdkafka", port.wrapping_add(1)).await;
    assert_eq!(asked(&mut client).await, [""; 0]);

    let instances = || bench.broker.client_metrics.numbers().counts.instances;
    assert_eq!(instances(), 3);
    drop(client);
    let forgotten = async {
        while instances() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten)
        .await
        .expect("its instances to be forgotten");
}
