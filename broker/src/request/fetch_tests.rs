use super::*;
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::metadata::Fact;
use crate::replica::testing::{broker, image, partition, topic, topic_id};
use crate::replica::{Acks, Origin};
use crate::request::Session;
use crate::request::testing::context_of;
use flotilla_protocol::messages::fetch_request::{FetchTopic, ForgottenTopic, ReplicaState};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{Message, Reader as WireReader, Writer};
use std::sync::Arc;

/// Broker 0 leads partition 0 of `orders`, with broker 1 as follower that is not in sync; broker 1 leads partition 1.
fn context(version: i16) -> Context {
    let image = image([
        broker(0, 1),
        broker(1, 1),
        topic("orders", 1),
        partition(1, 0, &[0, 1], &[0], 3),
        partition(1, 1, &[1], &[1], 5),
    ]);
    context_of(Broker::in_memory(image), Principal::anonymous(), version)
}

fn key() -> PartitionKey {
    PartitionKey {
        topic_id: topic_id(1),
        partition: PartitionIndex(0),
    }
}

async fn put(ctx: &Context, value: &[u8]) {
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(crate::clock::now_ms(), None, Some(value), &[]);
    let batch = builder.build().freeze();
    let appended = ctx
        .broker
        .replicas
        .append(key(), &batch, Acks::All, Origin::Client)
        .unwrap();
    appended
        .commit
        .unwrap()
        .wait(Duration::from_secs(20))
        .await
        .unwrap();
}

fn request(ctx: &Context, index: i32, offset: i64) -> FetchRequest {
    let by_id = ctx.version >= 13;
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: if by_id { Str::EMPTY } else { "orders".into() },
            topic_id: if by_id { topic_id(1) } else { Uuid::ZERO },
            partitions: vec![FetchPartition {
                partition: index,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
        }],
        ..FetchRequest::default()
    }
}

fn only(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

fn code(response: &FetchResponse) -> ErrorCode {
    only(response).error_code.into()
}

#[tokio::test]
async fn records_come_by_name_and_by_id_in_every_version() {
    let ctx = context(4);
    put(&ctx, b"a").await;
    for version in 4..=18 {
        let ctx = Context {
            version,
            ..ctx.clone()
        };
        let response = handle(&ctx, request(&ctx, 0, 0)).await;
        let data = only(&response);
        assert_eq!(
            (data.error_code, data.high_watermark),
            (0, 1),
            "version {version}"
        );
        assert!(!data.records.as_ref().unwrap().is_empty(), "version {version}");
        let mut w = Writer::new();
        response.encode(&mut w, version).unwrap();
        let mut r = WireReader::new(w.into_bytes());
        FetchResponse::decode(&mut r, version).unwrap();
        r.finish().unwrap();
    }
}

#[tokio::test]
async fn refusals_are_kafkas() {
    let ctx = context(12);
    let unknown = request(&ctx, 9, 0);
    assert_eq!(
        code(&handle(&ctx, unknown).await),
        ErrorCode::UnknownTopicOrPartition
    );
    let elsewhere = request(&ctx, 1, 0);
    assert_eq!(
        code(&handle(&ctx, elsewhere).await),
        ErrorCode::NotLeaderOrFollower
    );
    let beyond = request(&ctx, 0, 7);
    assert_eq!(code(&handle(&ctx, beyond).await), ErrorCode::OffsetOutOfRange);
    for (epoch, expected) in [
        (2, ErrorCode::FencedLeaderEpoch),
        (4, ErrorCode::UnknownLeaderEpoch),
    ] {
        let mut other = request(&ctx, 0, 0);
        other.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(code(&handle(&ctx, other).await), expected);
    }
    let ctx = Context { version: 13, ..ctx };
    let mut unknown = request(&ctx, 0, 0);
    unknown.topics[0].topic_id = topic_id(9);
    assert_eq!(code(&handle(&ctx, unknown).await), ErrorCode::UnknownTopicId);
}

#[tokio::test]
async fn wrong_broker_names_the_right_one() {
    let ctx = context(16);
    let response = handle(&ctx, request(&ctx, 1, 0)).await;
    assert_eq!(
        only(&response).current_leader,
        LeaderIdAndEpoch {
            leader_id: 1,
            leader_epoch: 5
        }
    );
    assert_eq!(response.node_endpoints.len(), 1);
}

/// A fetch of partition 0 from there on, in a session.
fn in_session(ctx: &Context, session_id: i32, session_epoch: i32, offset: i64) -> FetchRequest {
    FetchRequest {
        session_id,
        session_epoch,
        ..request(ctx, 0, offset)
    }
}

/// The same that says nothing new.
fn unchanged(ctx: &Context, session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest {
        topics: Vec::new(),
        ..in_session(ctx, session_id, session_epoch, 0)
    }
}

#[tokio::test]
async fn session_names_partitions_once_and_hears_what_is_news() {
    for version in [7, 12, 13, 18] {
        let ctx = context(version);
        put(&ctx, b"a").await;
        let first = handle(&ctx, in_session(&ctx, 0, 0, 0)).await;
        assert_eq!((first.error_code, code(&first)), (0, ErrorCode::None));
        let id = first.session_id;
        assert!(id > 0, "version {version}");
        // Not asked from further on: the same records once more.
        let same = handle(&ctx, unchanged(&ctx, id, 1)).await;
        assert_eq!(
            (same.session_id, only(&same).records.as_ref()),
            (id, only(&first).records.as_ref())
        );
        let moved = handle(&ctx, in_session(&ctx, id, 2, 1)).await;
        assert_eq!((moved.error_code, moved.session_id), (0, id));
        assert_eq!(moved.responses, [], "nothing new is not told, version {version}");
        put(&ctx, b"b").await;
        let news = handle(&ctx, unchanged(&ctx, id, 3)).await;
        assert_eq!(only(&news).high_watermark, 2);
        assert_eq!(news.responses[0].topic_id.is_zero(), version < 13);
    }
}

#[tokio::test]
async fn session_of_another_time_owner_or_way_of_naming_is_refused() {
    let ctx = context(12);
    let first = handle(&ctx, in_session(&ctx, 0, 0, 0)).await;
    let id = first.session_id;
    let refused = async |ctx: &Context, id, epoch| {
        let response = handle(ctx, unchanged(ctx, id, epoch)).await;
        assert_eq!((response.responses.len(), response.session_id), (0, 0));
        ErrorCode::from(response.error_code)
    };
    let unknown = id.wrapping_add(1) & i32::MAX;
    assert_eq!(refused(&ctx, unknown, 1).await, ErrorCode::FetchSessionIdNotFound);
    assert_eq!(refused(&ctx, id, 2).await, ErrorCode::InvalidFetchSessionEpoch);
    let by_id = Context {
        version: 13,
        ..ctx.clone()
    };
    assert_eq!(refused(&by_id, id, 1).await, ErrorCode::FetchSessionTopicIdError);
    let other = Context {
        session: Arc::new(Session {
            principal: Principal::user("mallory"),
            ..Session::clone(&ctx.session)
        }),
        ..ctx.clone()
    };
    assert_eq!(refused(&other, id, 1).await, ErrorCode::FetchSessionIdNotFound);
    // None of them took the turn of the owner, or ended its session.
    let last = handle(&other, in_session(&other, id, -1, 0)).await;
    assert_eq!((last.error_code, last.session_id), (0, 0));
    assert_eq!(handle(&ctx, unchanged(&ctx, id, 1)).await.error_code, 0);
}

#[tokio::test]
async fn full_fetch_ends_the_session_that_it_names() {
    let ctx = context(12);
    let counts = || ctx.broker.fetch_sessions.counts().sessions;
    let first = handle(&ctx, in_session(&ctx, 0, 0, 0)).await.session_id;
    let second = handle(&ctx, in_session(&ctx, first, 0, 0)).await.session_id;
    assert_ne!(first, second);
    assert_eq!(counts(), 1);
    let last = handle(&ctx, in_session(&ctx, second, -1, 0)).await;
    assert_eq!((code(&last), last.session_id, counts()), (ErrorCode::None, 0, 0));
    let forgets_all = {
        let id = handle(&ctx, in_session(&ctx, 0, 0, 0)).await.session_id;
        FetchRequest {
            forgotten_topics_data: vec![ForgottenTopic {
                topic: "orders".into(),
                partitions: vec![0],
                ..ForgottenTopic::default()
            }],
            ..unchanged(&ctx, id, 1)
        }
    };
    let ended = handle(&ctx, forgets_all).await;
    assert_eq!((ended.error_code, ended.session_id, counts()), (0, 0, 0));
}

#[tokio::test]
async fn follower_counts_with_all_partitions_of_its_session() {
    let ctx = context(18);
    put(&ctx, b"a").await;
    let follower = Context {
        session: Arc::new(Session {
            peer_broker: Some(BrokerId(1)),
            is_internal: true,
            ..Session::clone(&ctx.session)
        }),
        ..ctx.clone()
    };
    let fetch = |session_id, session_epoch, offset| FetchRequest {
        session_id,
        session_epoch,
        replica_state: ReplicaState {
            replica_id: 1,
            replica_epoch: 101,
        },
        ..request(&ctx, 0, offset)
    };
    let first = handle(&follower, fetch(0, 0, 0)).await;
    assert!(first.session_id > 0);
    assert!(!only(&first).records.as_ref().unwrap().is_empty());
    let unchanged = FetchRequest {
        topics: Vec::new(),
        ..fetch(first.session_id, 1, 0)
    };
    let again = handle(&follower, unchanged).await;
    assert_eq!(only(&again).records, only(&first).records);
    // A consumer does not go on with it.
    let consumer = FetchRequest {
        topics: Vec::new(),
        session_id: first.session_id,
        session_epoch: 2,
        ..request(&ctx, 0, 0)
    };
    let refused = handle(&follower, consumer).await;
    assert_eq!(
        ErrorCode::from(refused.error_code),
        ErrorCode::FetchSessionIdNotFound
    );
}

#[tokio::test]
async fn log_that_parts_is_told_where() {
    let ctx = context(12);
    put(&ctx, b"a").await;
    let mut diverged = request(&ctx, 0, 1);
    diverged.topics[0].partitions[0].last_fetched_epoch = 2;
    let response = handle(&ctx, diverged).await;
    assert_eq!(code(&response), ErrorCode::None);
    assert_eq!(
        only(&response).diverging_epoch,
        EpochEndOffset {
            epoch: 2,
            end_offset: 0
        }
    );
}

#[tokio::test]
async fn read_committed_gets_its_list_of_aborted_transactions() {
    let ctx = context(12);
    put(&ctx, b"a").await;
    let committed = FetchRequest {
        isolation_level: READ_COMMITTED,
        ..request(&ctx, 0, 0)
    };
    assert_eq!(
        only(&handle(&ctx, committed).await).aborted_transactions,
        Some(Vec::new())
    );
    let uncommitted = request(&ctx, 0, 0);
    assert_eq!(only(&handle(&ctx, uncommitted).await).aborted_transactions, None);
}

fn as_replica(ctx: &Context, id: i32, epoch: i64) -> FetchRequest {
    FetchRequest {
        replica_state: ReplicaState {
            replica_id: id,
            replica_epoch: epoch,
        },
        ..request(ctx, 0, 0)
    }
}

#[tokio::test]
async fn replica_id_is_believed_only_from_the_broker_that_the_certificate_names() {
    let ctx = context(18);
    put(&ctx, b"a").await;
    // Broker 1 registered first: its epoch is 101.
    let refused = handle(&ctx, as_replica(&ctx, 1, 101)).await;
    assert_eq!(
        refused.error_code,
        i16::from(ErrorCode::ClusterAuthorizationFailed)
    );
    let of = |peer| {
        let session = Session {
            peer_broker: Some(BrokerId(peer)),
            ..Session::clone(&ctx.session)
        };
        Context {
            session: Arc::new(session),
            ..ctx.clone()
        }
    };
    let refused = handle(&of(2), as_replica(&ctx, 1, 101)).await;
    assert_eq!(
        refused.error_code,
        i16::from(ErrorCode::ClusterAuthorizationFailed)
    );
    for stale in [100, 102] {
        let refused = handle(&of(1), as_replica(&ctx, 1, stale)).await;
        assert_eq!(refused.error_code, i16::from(ErrorCode::StaleBrokerEpoch));
    }
    let taken = handle(&of(1), as_replica(&ctx, 1, 101)).await;
    assert_eq!(code(&taken), ErrorCode::None);
    assert!(!only(&taken).records.as_ref().unwrap().is_empty());
}

#[tokio::test]
async fn all_partitions_together_stay_within_the_limit_but_for_the_first_batch() {
    let ctx = context(12);
    for _ in 0..10 {
        put(&ctx, &[7; 1000]).await;
    }
    let fetch = |max_bytes| FetchRequest {
        max_bytes,
        ..request(&ctx, 0, 0)
    };
    let bytes = async |max_bytes| {
        let response = handle(&ctx, fetch(max_bytes)).await;
        only(&response).records.as_ref().unwrap().len()
    };
    let one = bytes(1).await;
    assert!((1000..1200).contains(&one), "{one}");
    let some = bytes(5000).await;
    assert!((one..=5000).contains(&some), "{some}");
    assert_eq!(bytes(i32::MAX).await, 10 * one);
    assert_eq!(bytes(-1).await, one);
}

/// As [`broker`], in that rack.
fn broker_in(id: i32, rack: &str) -> Fact {
    let Fact::Broker(mut own) = broker(id, 1) else {
        unreachable!("a broker is a broker")
    };
    own.rack = rack.to_owned();
    Fact::Broker(own)
}

/// Broker 0 of rack `a` leads; broker 1 of rack `b` and broker 2 of rack `c`, which is fenced, are in sync with it.
async fn across_racks(selector: Option<&str>) -> Context {
    let Fact::Broker(mut fenced) = broker_in(2, "c") else {
        unreachable!("a broker is a broker")
    };
    fenced.fenced = true;
    let image = image([
        broker_in(0, "a"),
        broker_in(1, "b"),
        Fact::Broker(fenced),
        topic("orders", 1),
        partition(1, 0, &[0, 1, 2], &[0, 1, 2], 3),
    ]);
    let mut config = crate::broker::testing::config();
    let selector = selector.map(|class| ("replica.selector.class".to_owned(), class.to_owned()));
    config.settings.extend(selector);
    let broker = Broker::in_memory_configured(config, image, Authorizer::none());
    let ctx = context_of(broker, Principal::anonymous(), 18);
    for id in [1, 2] {
        let session = Session {
            peer_broker: Some(BrokerId(id)),
            ..Session::clone(&ctx.session)
        };
        let follower = Context {
            session: Arc::new(session),
            ..ctx.clone()
        };
        let fetched = handle(&follower, as_replica(&ctx, id, 100 + i64::from(id))).await;
        assert_eq!(code(&fetched), ErrorCode::None);
    }
    ctx
}

const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

async fn preferred(ctx: &Context, rack: &'static str) -> i32 {
    let fetch = FetchRequest {
        rack_id: rack.into(),
        ..request(ctx, 0, 0)
    };
    let response = handle(ctx, fetch).await;
    assert_eq!(code(&response), ErrorCode::None);
    only(&response).preferred_read_replica
}

#[tokio::test]
async fn consumer_is_sent_to_the_replica_of_its_rack() {
    let ctx = across_racks(Some(RACK_AWARE)).await;
    for (rack, expected) in [("a", -1), ("b", 1), ("c", -1), ("d", -1), ("", -1)] {
        assert_eq!(preferred(&ctx, rack).await, expected, "rack `{rack}`");
    }
    for (version, expected) in [(10, -1), (11, 1), (12, 1)] {
        let ctx = Context {
            version,
            ..ctx.clone()
        };
        assert_eq!(preferred(&ctx, "b").await, expected, "version {version}");
    }
}

#[tokio::test]
async fn who_is_sent_elsewhere_is_told_at_once_and_in_its_session() {
    let ctx = across_racks(Some(RACK_AWARE)).await;
    let near = |fetch| FetchRequest {
        rack_id: "b".into(),
        max_wait_ms: 60_000,
        ..fetch
    };
    let first = handle(&ctx, near(in_session(&ctx, 0, 0, 0))).await;
    assert_eq!(only(&first).preferred_read_replica, 1);
    assert_eq!(only(&first).high_watermark, 0);
    let again = handle(&ctx, near(unchanged(&ctx, first.session_id, 1))).await;
    assert_eq!(only(&again).preferred_read_replica, 1);
}

#[tokio::test]
async fn leader_serves_all_where_no_selector_is_set() {
    let ctx = across_racks(None).await;
    assert_eq!(preferred(&ctx, "b").await, -1);
}

#[tokio::test]
async fn follower_answers_consumers_and_says_what_it_cannot_know() {
    let image = image([
        broker(0, 1),
        broker(1, 1),
        topic("orders", 1),
        partition(1, 0, &[1, 0], &[1], 3),
    ]);
    let ctx = context_of(Broker::in_memory(image), Principal::anonymous(), 11);
    let fetched = async |version, offset, epoch| {
        let ctx = Context {
            version,
            ..ctx.clone()
        };
        let mut fetch = request(&ctx, 0, offset);
        fetch.topics[0].partitions[0].current_leader_epoch = epoch;
        code(&handle(&ctx, fetch).await)
    };
    for (version, offset, epoch, expected) in [
        (10, 0, 3, ErrorCode::NotLeaderOrFollower),
        (11, 0, 3, ErrorCode::None),
        (18, 0, 3, ErrorCode::None),
        (11, 0, -1, ErrorCode::None),
        (11, 0, 2, ErrorCode::FencedLeaderEpoch),
        (11, 0, 4, ErrorCode::UnknownLeaderEpoch),
        (11, 1, 3, ErrorCode::OffsetNotAvailable),
        (11, -1, 3, ErrorCode::OffsetOutOfRange),
    ] {
        let answered = fetched(version, offset, epoch).await;
        assert_eq!(
            answered, expected,
            "version {version}, offset {offset}, epoch {epoch}"
        );
    }
}
