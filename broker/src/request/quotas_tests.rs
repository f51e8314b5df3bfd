use super::*;
use crate::auth::Principal;
use crate::broker::Broker;
use crate::metadata::Fact;
use crate::replica::testing::{broker, image, partition, topic, topic_id};
use crate::request::testing::context_of;
use crate::request::{Answer, Session, answer};
use flotilla_control::proto::metadata::{ClientQuota, QuotaEntity};
use flotilla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use flotilla_protocol::messages::create_topics_request::CreatableTopic;
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse,
    MetadataRequest, ProduceRequest,
};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{ErrorCode, Message, Offset, Reader, Request, Writer, frame};

/// The user to whom all of this happens.
const ANN: &str = "ann";

fn quota(kind: Kind, limit: f64) -> Fact {
    Fact::ClientQuota(ClientQuota {
        entity: vec![QuotaEntity {
            r#type: "user".to_owned(),
            name: Some(ANN.to_owned()),
        }],
        key: kind.name().to_owned(),
        value: Some(limit),
    })
}

/// A client of broker 0, which leads partition 0 of `orders`.
fn client(user: &str, quotas: impl IntoIterator<Item = Fact>) -> Context {
    let facts = [broker(0, 1), topic("orders", 1), partition(1, 0, &[0], &[0], 3)];
    let image = image(facts.into_iter().chain(quotas));
    context_of(Broker::in_memory(image), Principal::user(user), 0)
}

/// What was answered, and for how long the connection is not read from.
struct Told<T> {
    response: Option<T>,
    throttle: Duration,
}

/// One request of that size.
async fn call<R: Request>(client: &Context, version: i16, request: &R, bytes: usize) -> Told<R::Response> {
    let ctx = Context {
        version,
        meter: Arc::new(Meter::new(bytes)),
        ..client.clone()
    };
    let meter = ctx.meter.clone();
    let mut w = Writer::new();
    request.encode(&mut w, version).unwrap();
    let answer = match answer(ctx, R::KEY, Reader::new(w.into_bytes())).await.unwrap() {
        Answer::Now(segments) => Some(segments),
        Answer::Later(segments) => Some(segments.await.unwrap()),
        Answer::Silent => None,
    };
    let response = answer.map(|segments| {
        let bytes = frame::concat(&segments).unwrap().split_off(4);
        let (_, mut body) = frame::decode_response(bytes.into(), R::KEY, version).unwrap();
        R::Response::decode(&mut body, version).unwrap()
    });
    Told {
        response,
        throttle: meter.throttle(),
    }
}

fn produce(acks: i16) -> ProduceRequest {
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(crate::clock::now_ms(), None, Some(&[7; 1_000]), &[]);
    ProduceRequest {
        acks,
        timeout_ms: 20_000,
        topic_data: vec![TopicProduceData {
            name: "orders".into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(builder.build().freeze().into()),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

fn fetch(session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest {
        session_id,
        session_epoch,
        topics: vec![FetchTopic {
            topic_id: topic_id(1),
            partitions: vec![FetchPartition {
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

fn bytes(response: &FetchResponse) -> usize {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|data| data.records.as_ref().unwrap().len()).sum()
}

#[tokio::test]
async fn producer_above_its_rate_is_answered_and_then_held_back() {
    let ann = client(ANN, [quota(Kind::Produce, 1_000.0)]);
    let fine = call(&ann, 9, &produce(1), 10_000).await;
    assert_eq!(fine.response.unwrap().throttle_time_ms, 0);
    assert_eq!(fine.throttle, Duration::ZERO);
    assert_eq!(ann.broker.quotas.throttled(), (0, 0));
    for (acks, version) in [(1, 9), (-1, 12)] {
        let above = call(&ann, version, &produce(acks), 1_000).await;
        let response = above.response.unwrap();
        assert_eq!(
            response.responses[0].partition_responses[0].error_code, 0,
            "it is taken"
        );
        assert!(response.throttle_time_ms > 0, "acks={acks}");
        assert_eq!(above.throttle.as_millis(), response.throttle_time_ms as u128);
    }
    let silent = call(&ann, 9, &produce(0), 1_000).await;
    assert!(silent.response.is_none());
    assert!(silent.throttle > Duration::ZERO, "also where no answer says so");
    let (requests, ms) = ann.broker.quotas.throttled();
    assert!(requests == 3 && ms > 3_000, "{requests} requests, {ms} ms");
}

#[tokio::test]
async fn nobody_else_is_held_back() {
    let quotas = || [quota(Kind::Produce, 0.0), quota(Kind::Request, 0.0)];
    let bob = client("bob", quotas());
    let told = call(&bob, 9, &produce(1), 10_000).await;
    assert_eq!(told.throttle, Duration::ZERO);
    // Brokers among themselves are bound by nothing.
    let ann = client(ANN, quotas());
    let session = Session {
        is_internal: true,
        ..Session::clone(&ann.session)
    };
    let internal = Context {
        session: Arc::new(session),
        ..ann
    };
    let told = call(&internal, 9, &produce(1), 10_000).await;
    assert_eq!(told.throttle, Duration::ZERO);
}

#[tokio::test]
async fn consumer_above_its_rate_gets_nothing_and_loses_nothing() {
    let ann = client(ANN, [quota(Kind::Fetch, 200.0)]);
    call(&ann, 9, &produce(-1), 0).await;
    let first = call(&ann, 18, &fetch(0, 0), 0).await;
    let response = first.response.unwrap();
    let id = response.session_id;
    assert!(bytes(&response) > 1_000 && id > 0);
    assert_eq!(first.throttle, Duration::ZERO, "saved up");
    // Two thousand bytes in ten seconds are all that there are.
    let second = call(&ann, 18, &fetch(id, 1), 0).await;
    let response = second.response.unwrap();
    assert!(second.throttle > Duration::ZERO);
    assert_eq!(second.throttle.as_millis(), response.throttle_time_ms as u128);
    assert_eq!((response.error_code, response.session_id), (0, id));
    assert_eq!(response.responses, []);
    // What was not sent does not count, and the session goes on.
    let third = call(&ann, 18, &fetch(id, 2), 0).await;
    let response = third.response.unwrap();
    assert_eq!((response.error_code, response.session_id), (0, id));
    assert!(third.throttle <= second.throttle, "it does not grow");
    let anew = call(&ann, 18, &fetch(id, 0), 0).await.response.unwrap();
    assert_eq!(
        (anew.error_code, anew.session_id, anew.responses.len()),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn answer_is_no_larger_than_what_the_quota_can_ever_give() {
    let ann = client(ANN, [quota(Kind::Fetch, 150.0)]);
    for _ in 0..5 {
        call(&ann, 9, &produce(-1), 0).await;
    }
    let told = call(&ann, 18, &fetch(0, -1), 0).await;
    let size = bytes(&told.response.unwrap());
    assert!((1_000..=1_500).contains(&size), "{size}");
    assert_eq!(told.throttle, Duration::ZERO);
}

#[tokio::test]
async fn requests_that_take_more_time_than_their_share_are_held_back_for_a_window_at_most() {
    let ann = client(ANN, [quota(Kind::Request, 0.000_001)]);
    let ctx = Context {
        meter: Arc::new(Meter::default()),
        ..ann.clone()
    };
    // A second of work, done before.
    ctx.meter.state.lock().busy = Duration::from_secs(1);
    assert_eq!(ctx.throttle_ms(ApiKey::Metadata), 1_000);
    assert_eq!(ctx.throttle_ms(ApiKey::Metadata), 1_000, "settled once");
    let told = call(&ann, 12, &MetadataRequest::default(), 0).await;
    assert_eq!(told.response.unwrap().throttle_time_ms, 1_000);
    assert_eq!(told.throttle, Duration::from_secs(1));
    // An answer that comes later is counted with the time that was spent on it.
    let told = call(&ann, 18, &fetch(0, -1), 0).await;
    assert_eq!(told.response.unwrap().throttle_time_ms, 1_000);
}

#[tokio::test]
async fn time_that_is_waited_is_not_counted() {
    let meter = Meter::default();
    meter.during(|| ());
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(meter.busy_percent() < 3.0, "{}", meter.busy_percent());
    meter.during(|| std::thread::sleep(Duration::from_millis(30)));
    assert!(meter.busy_percent() >= 3.0, "{}", meter.busy_percent());
}

fn topics(name: &'static str, partitions: i32) -> CreateTopicsRequest {
    CreateTopicsRequest {
        timeout_ms: 10_000,
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    }
}

/// One partition a second, eleven saved up.
#[tokio::test]
async fn mutations_beyond_the_quota_are_refused_to_clients_that_know_and_held_back_for_others() {
    let ann = client(ANN, [quota(Kind::Mutation, 1.0)]);
    let created = call(&ann, 7, &topics("a", 20), 0).await;
    let response = created.response.unwrap();
    assert_eq!(response.topics[0].error_code, 0);
    assert!((8_000..=9_000).contains(&response.throttle_time_ms), "lent");
    assert_eq!(created.throttle.as_millis(), response.throttle_time_ms as u128);

    let exceeded = i16::from(ErrorCode::ThrottlingQuotaExceeded);
    let refused = call(&ann, 7, &topics("b", 1), 0).await;
    assert_eq!(refused.response.unwrap().topics[0].error_code, exceeded);
    assert!(refused.throttle > Duration::ZERO);
    let dry = CreateTopicsRequest {
        validate_only: true,
        ..topics("b", 1)
    };
    let dry = call(&ann, 7, &dry, 0).await;
    assert_eq!(dry.response.unwrap().topics[0].error_code, 0, "changes nothing");

    let grow = CreatePartitionsRequest {
        timeout_ms: 10_000,
        topics: vec![CreatePartitionsTopic {
            name: "a".into(),
            count: 21,
            assignments: None,
        }],
        ..CreatePartitionsRequest::default()
    };
    let refused = call(&ann, 3, &grow, 0).await.response.unwrap();
    assert_eq!(refused.results[0].error_code, exceeded);
    let grown = call(&ann, 2, &grow, 0).await;
    assert_eq!(grown.response.unwrap().results[0].error_code, 0);
    assert!(grown.throttle > Duration::from_secs(8));

    let delete = DeleteTopicsRequest {
        timeout_ms: 10_000,
        topic_names: vec!["a".into()],
        ..DeleteTopicsRequest::default()
    };
    let refused = call(&ann, 5, &delete, 0).await.response.unwrap();
    assert_eq!(refused.responses[0].error_code, exceeded);
    let deleted = call(&ann, 4, &delete, 0).await;
    assert_eq!(deleted.response.unwrap().responses[0].error_code, 0);
    assert!(deleted.throttle > Duration::from_secs(25), "21 partitions more");
}
