//! Metrics that clients push: GetTelemetrySubscriptions, PushTelemetry. There is no subscription, so that each client is asked for nothing every five
//! minutes; what it pushes all the same is taken.

use anyhow::Result;
use bytes::Bytes;
use flotilla_protocol::messages::{GetTelemetrySubscriptionsRequest, PushTelemetryRequest};
use flotilla_protocol::records::{Compression, compress};
use flotilla_protocol::{ErrorCode, Uuid};

use crate::case::{Case, case};
use crate::scene::Scene;

/// More than that a push may not have (`telemetry.max.bytes`).
const BYTES_MAX: usize = 1024 * 1024;

pub fn cases() -> Vec<Case> {
    [questions(), pushes(), codecs(), refused()]
        .into_iter()
        .flatten()
        .collect()
}

/// The instance of a case, the same for both brokers.
fn question(at: &Scene) -> GetTelemetrySubscriptionsRequest {
    let mut id = [7_u8; 16];
    for (place, byte) in at.name.bytes().enumerate() {
        let mixed = &mut id[place % 16];
        *mixed = mixed.wrapping_mul(31).wrapping_add(byte);
    }
    GetTelemetrySubscriptionsRequest {
        client_instance_id: Uuid(id),
    }
}

/// A push of the case's instance, which has asked what to push.
fn push(at: &mut Scene) -> Result<PushTelemetryRequest> {
    let question = question(at);
    let told = at.call(0, &question)?;
    Ok(PushTelemetryRequest {
        client_instance_id: question.client_instance_id,
        subscription_id: told.subscription_id,
        terminating: false,
        compression_type: 0,
        metrics: metrics(),
    })
}

/// One gauge, as OpenTelemetry's MetricsData.
fn metrics() -> Bytes {
    let field = |number: u8, bytes: &[u8]| [&[(number << 3) | 2, bytes.len() as u8][..], bytes].concat();
    let point = [&[(4 << 3) | 1][..], &0.5_f64.to_le_bytes()].concat();
    let gauge = field(5, &field(1, &point));
    let metric = [field(1, b"org.apache.kafka.a.metric"), gauge].concat();
    let scope = field(2, &field(2, &metric));
    field(1, &scope).into()
}

fn questions() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a client that has an id", E::None, |at| Ok(question(at))),
        case("after an unknown subscription", E::None, |at| {
            let mut push = push(at)?;
            push.subscription_id += 1;
            at.call(0, &push)?;
            Ok(question(at))
        }),
        case("before the interval is over", E::ThrottlingQuotaExceeded, |at| {
            let question = question(at);
            at.call(0, &question)?;
            Ok(question)
        }),
        case("by nobody", E::None, |at| Ok(question(at))).by_nobody(),
    ]
}

fn pushes() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("nothing", E::None, |at| {
            Ok(PushTelemetryRequest {
                metrics: Bytes::new(),
                ..push(at)?
            })
        }),
        case("the last one, before the interval is over", E::None, |at| {
            let push = push(at)?;
            at.call(0, &push)?;
            Ok(PushTelemetryRequest {
                terminating: true,
                ..push
            })
        }),
        case("by nobody", E::None, push).by_nobody(),
    ]
}

fn codecs() -> Vec<Case> {
    let with = |name, codec: Compression| {
        case(name, ErrorCode::None, move |at| {
            Ok(PushTelemetryRequest {
                compression_type: codec.code().cast_signed(),
                metrics: compress(codec, &metrics())?.into(),
                ..push(at)?
            })
        })
    };
    vec![
        with("not compressed", Compression::None),
        with("compressed with gzip", Compression::Gzip),
        with("compressed with snappy", Compression::Snappy),
        with("compressed with lz4", Compression::Lz4),
        with("compressed with zstd", Compression::Zstd),
    ]
}

fn refused() -> Vec<Case> {
    use ErrorCode as E;
    let of_instance = |name, id: u8| {
        case(name, E::InvalidRequest, move |at| {
            let mut reserved = [0; 16];
            reserved[15] = id;
            Ok(PushTelemetryRequest {
                client_instance_id: Uuid(reserved),
                ..push(at)?
            })
        })
    };
    vec![
        of_instance("of no instance", 0),
        of_instance("of an id that is none of an instance", 1),
        case("after the last one", E::InvalidRequest, |at| {
            let last = PushTelemetryRequest {
                terminating: true,
                ..push(at)?
            };
            at.call(0, &last)?;
            Ok(last)
        }),
        case("before the interval is over", E::ThrottlingQuotaExceeded, |at| {
            let push = push(at)?;
            at.call(0, &push)?;
            Ok(push)
        }),
        case("of another subscription", E::UnknownSubscriptionId, |at| {
            let mut push = push(at)?;
            push.subscription_id += 1;
            Ok(push)
        }),
        case("without a question", E::UnknownSubscriptionId, |at| {
            Ok(PushTelemetryRequest {
                client_instance_id: question(at).client_instance_id,
                subscription_id: 7,
                metrics: metrics(),
                ..Default::default()
            })
        }),
        case("a codec that there is not", E::UnsupportedCompressionType, |at| {
            Ok(PushTelemetryRequest {
                compression_type: 5,
                ..push(at)?
            })
        }),
        case("too large", E::TelemetryTooLarge, |at| {
            Ok(PushTelemetryRequest {
                metrics: vec![0; BYTES_MAX + 1].into(),
                ..push(at)?
            })
        }),
        case("what is no metrics", E::InvalidRecord, |at| {
            Ok(PushTelemetryRequest {
                metrics: Bytes::from_static(b"no metrics"),
                ..push(at)?
            })
        }),
        case("what is not compressed so", E::InvalidRecord, |at| {
            Ok(PushTelemetryRequest {
                compression_type: Compression::Zstd.code().cast_signed(),
                ..push(at)?
            })
        }),
    ]
}
