use super::*;
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::metadata::Fact;
use crate::replica::testing::{broker, fold, image, partition, setting, topic, topic_id};
use crate::request::testing::context_of;
use flotilla_control::proto::metadata::Acl;
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{Offset, Uuid};
use std::sync::Arc;

/// Broker 0 leads partition 0 of `orders` (topic 1); broker 1 leads partition 1.
fn facts() -> Vec<Fact> {
    vec![
        broker(0, 1),
        broker(1, 1),
        topic("orders", 1),
        partition(1, 0, &[0], &[0], 3),
        partition(1, 1, &[1], &[1], 5),
        topic("__consumer_offsets", 2),
        partition(2, 0, &[0], &[0], 1),
        topic("__transaction_state", 3),
        partition(3, 0, &[0], &[0], 1),
        topic("__share_group_state", 4),
        partition(4, 0, &[0], &[0], 1),
    ]
}

fn context(version: i16) -> Context {
    context_of(Broker::in_memory(image(facts())), Principal::anonymous(), version)
}

fn batch(value: &[u8]) -> Option<flotilla_protocol::Records> {
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(crate::clock::now_ms(), None, Some(value), &[]);
    Some(builder.build().freeze().into())
}

fn request(acks: i16, name: &'static str, id: Uuid, index: i32) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 20_000,
        topic_data: vec![TopicProduceData {
            name: name.into(),
            topic_id: id,
            partition_data: vec![PartitionProduceData {
                index,
                records: batch(b"a"),
            }],
        }],
        ..ProduceRequest::default()
    }
}

async fn answer(reply: Reply<ProduceResponse>) -> ProduceResponse {
    match reply {
        Reply::Now(response) => response,
        Reply::Later(response) => response.await,
        Reply::Silent | Reply::Close => panic!("a response is expected"),
    }
}

async fn only(ctx: &Context, request: ProduceRequest) -> PartitionProduceResponse {
    let mut response = answer(handle(ctx, request).await).await;
    response.responses.remove(0).partition_responses.remove(0)
}

async fn code(ctx: &Context, request: ProduceRequest) -> ErrorCode {
    only(ctx, request).await.error_code.into()
}

#[tokio::test]
async fn record_is_appended_by_name_and_by_id_with_either_acks() {
    let ctx = context(12);
    let by_name = only(&ctx, request(-1, "orders", Uuid::ZERO, 0)).await;
    let expected = |base_offset| PartitionProduceResponse {
        index: 0,
        base_offset,
        log_append_time_ms: -1,
        log_start_offset: 0,
        ..PartitionProduceResponse::default()
    };
    assert_eq!(by_name, expected(0));
    let ctx = Context { version: 13, ..ctx };
    assert_eq!(only(&ctx, request(1, "", topic_id(1), 0)).await, expected(1));
}

#[tokio::test]
async fn answers_are_readable_in_every_version() {
    use flotilla_protocol::{Message, Reader, Writer};
    for version in 3..=13 {
        let ctx = context(version);
        let topic = if version >= 13 {
            ("", topic_id(1))
        } else {
            ("orders", Uuid::ZERO)
        };
        for index in [0, 1, 9] {
            let response = answer(handle(&ctx, request(-1, topic.0, topic.1, index)).await).await;
            let mut w = Writer::new();
            response.encode(&mut w, version).unwrap();
            let mut r = Reader::new(w.into_bytes());
            ProduceResponse::decode(&mut r, version).unwrap();
            r.finish().unwrap();
        }
    }
}

#[tokio::test]
async fn wrong_broker_names_the_right_one_once_it_may_know() {
    let ctx = context(10);
    let asked = Instant::now();
    let response = answer(handle(&ctx, request(-1, "orders", Uuid::ZERO, 1)).await).await;
    assert!(asked.elapsed() >= NEWS);
    let refused = &response.responses[0].partition_responses[0];
    assert_eq!(refused.error_code, i16::from(ErrorCode::NotLeaderOrFollower));
    assert_eq!(
        refused.current_leader,
        LeaderIdAndEpoch {
            leader_id: 1,
            leader_epoch: 5
        }
    );
    assert_eq!(
        response.node_endpoints,
        [NodeEndpoint {
            node_id: 1,
            host: "127.0.0.1".into(),
            port: 9093,
            rack: None,
        }]
    );
    let ctx = Context { version: 9, ..ctx };
    let response = answer(handle(&ctx, request(-1, "orders", Uuid::ZERO, 1)).await).await;
    assert_eq!(response.node_endpoints, []);
}

#[tokio::test]
async fn what_does_not_exist_is_refused() {
    let ctx = context(12);
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(code(&ctx, request(-1, "nothing", Uuid::ZERO, 0)).await, unknown);
    assert_eq!(code(&ctx, request(-1, "orders", Uuid::ZERO, 9)).await, unknown);
    let ctx = Context { version: 13, ..ctx };
    assert_eq!(
        code(&ctx, request(-1, "", topic_id(9), 0)).await,
        ErrorCode::UnknownTopicId
    );
}

#[tokio::test]
async fn acks_other_than_kafkas_are_refused() {
    let ctx = context(12);
    assert_eq!(
        code(&ctx, request(2, "orders", Uuid::ZERO, 0)).await,
        ErrorCode::InvalidRequiredAcks
    );
}

#[tokio::test]
async fn without_acks_there_is_silence_or_the_end() {
    let ctx = context(12);
    assert!(matches!(
        handle(&ctx, request(0, "orders", Uuid::ZERO, 0)).await,
        Reply::Silent
    ));
    assert!(matches!(
        handle(&ctx, request(0, "orders", Uuid::ZERO, 1)).await,
        Reply::Close
    ));
}

#[tokio::test]
async fn internal_topics_are_closed_to_clients() {
    for topic in ["__consumer_offsets", "__transaction_state", "__share_group_state"] {
        let ctx = context(12);
        let put = || request(-1, topic, Uuid::ZERO, 0);
        assert_eq!(
            code(&ctx, put()).await,
            ErrorCode::InvalidTopicException,
            "{topic}"
        );
        let tool = Context {
            client_id: Some(ADMIN_CLIENT_ID.into()),
            ..ctx
        };
        assert_eq!(code(&tool, put()).await, ErrorCode::None, "{topic}");
    }
}

#[tokio::test]
async fn records_that_a_topic_does_not_take_are_named() {
    let mut image = image(facts());
    fold(&mut image, [setting("orders", "cleanup.policy", "compact")]);
    let ctx = context_of(Broker::in_memory(image), Principal::anonymous(), 12);
    let refused = only(&ctx, request(-1, "orders", Uuid::ZERO, 0)).await;
    assert_eq!(refused.error_code, i16::from(ErrorCode::InvalidRecord));
    assert_eq!(refused.record_errors.len(), 1);
    assert_eq!(refused.record_errors[0].batch_index, 0);
    assert!(refused.error_message.is_some());
}

#[tokio::test]
async fn broken_batches_get_kafkas_codes() {
    let ctx = context(12);
    let put = |bytes: Vec<u8>| {
        let mut request = request(-1, "orders", Uuid::ZERO, 0);
        request.topic_data[0].partition_data[0].records = Some(bytes::Bytes::from(bytes).into());
        request
    };
    let good = batch(b"a").unwrap().into_bytes();
    let mut wrong_crc = good.to_vec();
    *wrong_crc.last_mut().unwrap() ^= 1;
    let mut old = good.to_vec();
    old[16] = 1;
    let cases = [
        (Vec::new(), ErrorCode::InvalidRecord),
        (wrong_crc, ErrorCode::CorruptMessage),
        (old, ErrorCode::UnsupportedForMessageFormat),
        (good[..good.len() - 1].to_vec(), ErrorCode::CorruptMessage),
        ([&good[..], &good[..]].concat(), ErrorCode::InvalidRecord),
        (vec![0; 3], ErrorCode::CorruptMessage),
    ];
    for (bytes, expected) in cases {
        let length = bytes.len();
        assert_eq!(code(&ctx, put(bytes)).await, expected, "{length} bytes");
    }
}

#[tokio::test]
async fn writing_needs_permission_and_nobody_learns_what_exists() {
    let authorizer = Authorizer::acl([], false);
    let mut image = image(facts());
    fold(
        &mut image,
        [Fact::Acl(Acl {
            id: vec![1; 16],
            resource_type: 2,
            resource_name: "orders".into(),
            pattern_type: 3,
            principal: "User:writer".into(),
            host: "*".into(),
            operation: 4,
            permission_type: 3,
        })],
    );
    let broker = Broker::in_memory_with(image, authorizer);
    let of = |principal| context_of(Arc::clone(&broker), principal, 12);
    let denied = ErrorCode::TopicAuthorizationFailed;
    for topic in ["orders", "nothing", "__consumer_offsets"] {
        let ctx = of(Principal::anonymous());
        assert_eq!(
            code(&ctx, request(-1, topic, Uuid::ZERO, 0)).await,
            denied,
            "{topic}"
        );
    }
    let ctx = of(Principal::user("writer"));
    assert_eq!(
        code(&ctx, request(-1, "orders", Uuid::ZERO, 0)).await,
        ErrorCode::None
    );
}
