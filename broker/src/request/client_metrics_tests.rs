//! Metrics of clients (KIP-714): subscriptions as administrators make them, what clients are told, what becomes of what they push, and every refusal.

use std::sync::Arc;

use bytes::Bytes;
use flotilla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use flotilla_protocol::messages::*;
use flotilla_protocol::records::{Compression, compress};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use super::testing::{context_of, with_coordinators};
use super::*;
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::broker::testing::config;
use crate::client_metrics::otlp::testing::{Number, gauge, number, push as encoded, sum, text};

const CLIENT_METRICS: i8 = 16;
const ZSTD: i8 = 4;

fn ctx(broker: &Arc<Broker>, version: i16) -> Context {
    context_of(broker.clone(), Principal::anonymous(), version)
}

/// Sets what a subscription named `all` says, or removes it, and has the broker follow.
async fn subscribe(broker: &Arc<Broker>, settings: &[(&'static str, Option<&'static str>)]) -> ErrorCode {
    let configs = settings.iter().map(|(name, value)| AlterableConfig {
        name: Str::from_static(name),
        config_operation: i8::from(value.is_none()),
        value: value.map(Str::from_static),
    });
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: CLIENT_METRICS,
            resource_name: "all".into(),
            configs: configs.collect(),
        }],
        validate_only: false,
    };
    let response = alter_configs::handle_incremental(&ctx(broker, 1), request).await;
    broker.client_metrics.follow(&broker.metadata.image());
    response.responses[0].error_code.into()
}

/// A broker whose clients push everything.
async fn broker() -> Arc<Broker> {
    let broker = Broker::in_memory(with_coordinators());
    assert_eq!(
        subscribe(&broker, &[("metrics", Some("*"))]).await,
        ErrorCode::None
    );
    broker
}

async fn get(ctx: &Context, client_instance_id: Uuid) -> GetTelemetrySubscriptionsResponse {
    let request = GetTelemetrySubscriptionsRequest { client_instance_id };
    get_telemetry_subscriptions::handle(ctx, request).await
}

async fn push(ctx: &Context, request: PushTelemetryRequest) -> ErrorCode {
    push_telemetry::handle(ctx, request).await.error_code.into()
}

/// A push as a client that has just been told what to push sends it.
async fn asked(ctx: &Context) -> PushTelemetryRequest {
    let told = get(ctx, Uuid::ZERO).await;
    assert_eq!(told.error_code, 0);
    PushTelemetryRequest {
        client_instance_id: told.client_instance_id,
        subscription_id: told.subscription_id,
        terminating: false,
        compression_type: ZSTD,
        metrics: zipped(Compression::Zstd, &records(4)),
    }
}

fn records(count: i64) -> Vec<u8> {
    let attributes = vec![text("topic", "a \"b\"\\\n")];
    encoded(vec![
        sum(
            "org.records.total",
            1,
            vec![number(Number::AsInt(count), attributes)],
        ),
        gauge("org.rate", vec![number(Number::AsDouble(0.25), vec![])]),
    ])
}

fn zipped(codec: Compression, metrics: &[u8]) -> Bytes {
    compress(codec, metrics).expect("in memory").into()
}

fn page(broker: &Arc<Broker>) -> String {
    crate::numbers::register(broker);
    broker.telemetry.metrics.encode()
}

#[tokio::test]
async fn client_is_told_what_to_push_and_has_an_id_from_then_on() {
    let broker = broker().await;
    let ctx = ctx(&broker, 0);
    let told = get(&ctx, Uuid::ZERO).await;
    let id = told.client_instance_id;
    assert!(!id.is_zero());
    let expected = GetTelemetrySubscriptionsResponse {
        client_instance_id: id,
        subscription_id: told.subscription_id,
        accepted_compression_types: vec![4, 3, 1, 2],
        push_interval_ms: 300_000,
        telemetry_max_bytes: 1_048_576,
        delta_temporality: true,
        requested_metrics: vec!["*".into()],
        ..GetTelemetrySubscriptionsResponse::default()
    };
    assert_eq!(told, expected);
    let too_soon = GetTelemetrySubscriptionsResponse {
        error_code: ErrorCode::ThrottlingQuotaExceeded.into(),
        ..GetTelemetrySubscriptionsResponse::default()
    };
    assert_eq!(get(&ctx, id).await, too_soon);
    assert_eq!(
        subscribe(&broker, &[("interval.ms", Some("5000"))]).await,
        ErrorCode::None
    );
    let told = get(&ctx, id).await;
    assert_eq!((told.client_instance_id, told.push_interval_ms), (id, 5_000));
    assert_eq!(
        subscribe(&broker, &[("interval.ms", None), ("metrics", None)]).await,
        ErrorCode::None
    );
    let told = get(&ctx, id).await;
    assert_eq!((told.requested_metrics, told.push_interval_ms), (vec![], 300_000));
}

#[tokio::test]
async fn clients_are_selected_by_what_their_connection_says() {
    let broker = broker().await;
    let ctx = ctx(&broker, 3);
    let said = ApiVersionsRequest {
        client_software_name: "apache-kafka-java".into(),
        client_software_version: "4.3.1".into(),
    };
    api_versions::handle(&ctx, said).await;
    for (expression, is_meant) in [
        (
            "client_software_name=apache-.*,client_software_version=4\\..*",
            true,
        ),
        ("client_software_name=apache", false),
        ("client_id=test,client_source_address=127\\.0\\.0\\.1", true),
        ("client_source_port=.*", false),
    ] {
        assert_eq!(
            subscribe(&broker, &[("match", Some(expression))]).await,
            ErrorCode::None
        );
        let told = get(&ctx, Uuid::ZERO).await;
        assert_eq!(!told.requested_metrics.is_empty(), is_meant, "{expression}");
    }
}

#[tokio::test]
async fn what_clients_push_is_on_the_page_as_long_as_they_do() {
    let broker = broker().await;
    let ctx = ctx(&broker, 0);
    let first = asked(&ctx).await;
    let id = first.client_instance_id;
    assert_eq!(push(&ctx, first.clone()).await, ErrorCode::None);
    let last = PushTelemetryRequest {
        terminating: true,
        compression_type: 0,
        metrics: records(3).into(),
        ..first
    };
    assert_eq!(push(&ctx, last).await, ErrorCode::None);
    let page = page(&broker);
    let records = format!(
        "flotilla_client_metric_org_records_total{{client_id=\"test\",client_instance_id=\"{id}\",topic=\"a \\\"b\\\"\\\\\\n\"}} 7.0"
    );
    let rate =
        format!("flotilla_client_metric_org_rate{{client_id=\"test\",client_instance_id=\"{id}\"}} 0.25");
    for line in [
        "# TYPE flotilla_client_metric_org_records counter",
        &records,
        "# TYPE flotilla_client_metric_org_rate gauge",
        &rate,
        "flotilla_client_telemetry_instances 1",
        "flotilla_client_telemetry_series 2",
        "flotilla_client_telemetry_pushes_total 2",
        "flotilla_client_telemetry_dropped_points_total 0",
    ] {
        assert!(page.lines().any(|of| of == line), "{line} is not in\n{page}");
    }
    broker.disconnected(ctx.session.connection_id);
    assert_eq!(broker.client_metrics.numbers().counts.instances, 0);
}

#[tokio::test]
async fn pushes_are_read_with_every_codec() {
    let broker = broker().await;
    let ctx = ctx(&broker, 0);
    for codec in Compression::ALL {
        let request = PushTelemetryRequest {
            compression_type: codec.code().cast_signed(),
            metrics: zipped(codec, &records(1)),
            ..asked(&ctx).await
        };
        assert_eq!(push(&ctx, request).await, ErrorCode::None, "{codec:?}");
    }
    assert_eq!(broker.client_metrics.numbers().series, 10);
}

#[tokio::test]
async fn push_that_is_not_as_it_was_asked_for_is_refused() {
    let broker = broker().await;
    let ctx = ctx(&broker, 0);
    let nobodys = PushTelemetryRequest {
        client_instance_id: Uuid::ZERO,
        ..asked(&ctx).await
    };
    assert_eq!(push(&ctx, nobodys).await, ErrorCode::InvalidRequest);
    let other = asked(&ctx).await;
    let other = PushTelemetryRequest {
        subscription_id: other.subscription_id + 1,
        ..other
    };
    assert_eq!(push(&ctx, other).await, ErrorCode::UnknownSubscriptionId);
    let codec = PushTelemetryRequest {
        compression_type: 5,
        ..asked(&ctx).await
    };
    assert_eq!(push(&ctx, codec).await, ErrorCode::UnsupportedCompressionType);
    let twice = asked(&ctx).await;
    assert_eq!(push(&ctx, twice.clone()).await, ErrorCode::None);
    assert_eq!(
        push(&ctx, twice.clone()).await,
        ErrorCode::ThrottlingQuotaExceeded
    );
    let last = PushTelemetryRequest {
        terminating: true,
        ..twice
    };
    assert_eq!(push(&ctx, last.clone()).await, ErrorCode::None);
    assert_eq!(push(&ctx, last).await, ErrorCode::InvalidRequest);
    assert_eq!(broker.client_metrics.numbers().series, 2);
}

#[tokio::test]
async fn push_that_cannot_be_read_is_an_invalid_record() {
    let broker = broker().await;
    let ctx = ctx(&broker, 0);
    for (compression_type, metrics) in [
        (ZSTD, records(1).into()),
        (0, Bytes::from_static(b"no metrics")),
        (ZSTD, zipped(Compression::Zstd, b"no metrics")),
    ] {
        let request = PushTelemetryRequest {
            compression_type,
            metrics,
            ..asked(&ctx).await
        };
        assert_eq!(push(&ctx, request).await, ErrorCode::InvalidRecord);
    }
    assert_eq!(broker.client_metrics.numbers().series, 0);
}

#[tokio::test]
async fn push_that_is_too_large_is_refused_compressed_and_decompressed() {
    let mut config = config();
    config
        .settings
        .insert("telemetry.max.bytes".to_owned(), "1000".to_owned());
    let broker = Broker::in_memory_configured(config, with_coordinators(), Authorizer::none());
    let ctx = ctx(&broker, 0);
    assert_eq!(get(&ctx, Uuid::ZERO).await.telemetry_max_bytes, 1_000);
    for (compression_type, metrics) in [
        (0, vec![0_u8; 1_001].into()),
        // Less than a kilobyte, and nine megabytes.
        (ZSTD, zipped(Compression::Zstd, &vec![0; 9 << 20])),
    ] {
        assert!(compression_type == 0 || metrics.len() <= 1_000);
        let request = PushTelemetryRequest {
            compression_type,
            metrics,
            ..asked(&ctx).await
        };
        assert_eq!(push(&ctx, request).await, ErrorCode::TelemetryTooLarge);
    }
}

#[tokio::test]
async fn subscriptions_are_described_listed_and_gone_with_their_last_setting() {
    use flotilla_protocol::messages::describe_configs_request::DescribeConfigsResource;
    let broker = broker().await;
    let describe = async |name: &'static str| {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: CLIENT_METRICS,
                resource_name: name.into(),
                configuration_keys: None,
            }],
            include_synonyms: true,
            ..DescribeConfigsRequest::default()
        };
        let mut described = describe_configs::handle(&ctx(&broker, 4), request).await.results;
        let described = described.pop().expect("one resource");
        let configs = described.configs.into_iter().map(|config| {
            let value = config.value.map(String::from).unwrap_or_default();
            (
                String::from(config.name),
                value,
                config.config_source,
                config.synonyms.len(),
            )
        });
        (ErrorCode::from(described.error_code), configs.collect::<Vec<_>>())
    };
    let entry =
        |name: &str, value: &str, source, synonyms| (name.to_owned(), value.to_owned(), source, synonyms);
    let (code, configs) = describe("all").await;
    assert_eq!(code, ErrorCode::None);
    assert_eq!(
        configs,
        [
            entry("interval.ms", "300000", 5, 0),
            entry("match", "", 5, 0),
            entry("metrics", "*", 7, 1)
        ]
    );
    assert_eq!(describe("").await.0, ErrorCode::InvalidRequest);
    let listed = async || {
        let request = ListConfigResourcesRequest::default();
        let listed = list_config_resources::handle(&ctx(&broker, 0), request).await;
        listed
            .config_resources
            .into_iter()
            .map(|of| String::from(of.resource_name))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed().await, ["all"]);
    assert_eq!(
        subscribe(&broker, &[("interval.ms", Some("5"))]).await,
        ErrorCode::InvalidRequest
    );
    assert_eq!(
        subscribe(&broker, &[("match", Some("client_id=["))]).await,
        ErrorCode::InvalidConfig
    );
    assert_eq!(subscribe(&broker, &[("metrics", None)]).await, ErrorCode::None);
    assert_eq!(listed().await, [""; 0]);
}
