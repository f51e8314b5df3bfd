//! Share groups on one broker, through the handlers, as clients send their requests (KIP-932).

use std::sync::Arc;

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::*;

use super::share_bench::*;
use super::*;
use crate::auth::Authorizer;
use crate::broker::Broker;
use crate::replica::testing::{broker as broker_fact, fold, partition, topic_id};

#[tokio::test]
async fn members_are_given_records_and_say_what_became_of_them() {
    let broker = coordinating(Authorizer::none()).await;
    let joined = join(&broker, "a").await;
    let assignment = joined.assignment.clone().expect("news");
    assert_eq!(assignment.topic_partitions[0].partitions, [0], "{joined:?}");
    put(&broker, 10).await;
    put(&broker, 10).await;
    let first = fetch(&broker, fetch_request("a", 0)).await;
    assert_eq!(first.acquisition_lock_timeout_ms, 30_000);
    assert_eq!(got(&first), (vec![(0, 9, 1), (10, 19, 1)], 0));
    // Another one gets what the first gives back, and no more.
    let types: Vec<i8> = (0..10).map(|n| if n < 3 { RELEASE } else { ACCEPT }).collect();
    let second = fetch(&broker, with(fetch_request("a", 1), 0, 9, &types)).await;
    assert_eq!(got(&second), (vec![(0, 2, 2)], 0));
    assert_eq!(standing(&broker).await, (0, 13));
    assert_eq!(
        acknowledge(&broker, acknowledge_request("a", 2, 0, 2, &[ACCEPT])).await,
        ErrorCode::None
    );
    assert_eq!(standing(&broker).await, (10, 10));
    // What is not held cannot be spoken of, nor what nobody was given.
    let (_, code) = got(&fetch(&broker, fetch_request("b", 0)).await);
    assert_eq!(code, 0);
    let other = with(fetch_request("b", 1), 10, 19, &[ACCEPT]);
    let (acquired, code) = got(&fetch(&broker, other).await);
    assert_eq!(
        (acquired, code),
        (vec![], i16::from(ErrorCode::InvalidRecordState))
    );
    let beyond = acknowledge_request("a", 3, 10, 20, &[ACCEPT]);
    assert_eq!(acknowledge(&broker, beyond).await, ErrorCode::InvalidRequest);
    // The session ends, and what it held goes to others.
    let last = fetch(&broker, fetch_request("a", -1)).await;
    assert_eq!(got(&last), (vec![], 0));
    let rest = fetch(&broker, fetch_request("b", 2)).await;
    assert_eq!(got(&rest), (vec![(10, 19, 2)], 0));
}

#[tokio::test]
async fn deliveries_outlive_the_broker_that_decided_on_them() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    put(&broker, 10).await;
    assert_eq!(got(&fetch(&broker, fetch_request("a", 0)).await).0, [(0, 9, 1)]);
    let types: Vec<i8> = (0..10)
        .map(|n| if n % 2 == 0 { ACCEPT } else { RELEASE })
        .collect();
    assert_eq!(
        acknowledge(&broker, acknowledge_request("a", 1, 0, 9, &types)).await,
        ErrorCode::None
    );
    // Nobody fetches any more: what is known is what was stored.
    broker.share_disconnected(1);
    assert_eq!(broker.shares.hosted_count(), 0);
    let again = got(&fetch(&broker, fetch_request("b", 0)).await).0;
    let odd: Vec<(i64, i64, i16)> = (0..5).map(|n| (2 * n + 1, 2 * n + 1, 2)).collect();
    assert_eq!(again, odd);
    assert_eq!(standing(&broker).await.0, 1);
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_for_locks_that_end() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    let waiting = {
        let (broker, mut request) = (broker.clone(), fetch_request("a", 0));
        request.max_wait_ms = 20_000;
        tokio::spawn(async move { got(&fetch(&broker, request).await).0 })
    };
    tokio::task::yield_now().await;
    put(&broker, 3).await;
    assert_eq!(waiting.await.unwrap(), [(0, 2, 1)]);
    let waiting = {
        let (broker, mut request) = (broker.clone(), fetch_request("b", 0));
        request.max_wait_ms = 20_000;
        tokio::spawn(async move { got(&fetch(&broker, request).await).0 })
    };
    tokio::task::yield_now().await;
    broker.share_disconnected(2);
    let released = acknowledge_request("a", 1, 0, 2, &[RELEASE]);
    assert_eq!(acknowledge(&broker, released).await, ErrorCode::None);
    assert_eq!(waiting.await.unwrap(), [(0, 2, 2)]);
}

/// A broker whose only member holds three records, and whose share coordinator cannot store anything any more.
async fn holding_and_not_storing() -> Arc<Broker> {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    put(&broker, 3).await;
    assert_eq!(got(&fetch(&broker, fetch_request("a", 0)).await).0, [(0, 2, 1)]);
    // Where the delivery begins is stored first.
    let stored = async {
        while standing(&broker).await.0 != 0 {
            tokio::task::yield_now().await;
        }
    };
    let within = std::time::Duration::from_secs(20);
    tokio::time::timeout(within, stored).await.expect("stored");
    broker.share_states.lead_alone(topic_id(3)).await;
    broker
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_the_member_holds_it_as_before() {
    // Two brokers, for each waits as long as a coordinator is looked for.
    let (one, other) = (holding_and_not_storing().await, holding_and_not_storing().await);
    let accepted = |epoch| acknowledge_request("a", epoch, 0, 2, &[ACCEPT]);
    let unavailable = ErrorCode::CoordinatorNotAvailable;
    let (code, fetched) = tokio::join!(
        acknowledge(&one, accepted(1)),
        fetch(&other, with(fetch_request("a", 1), 0, 2, &[ACCEPT]))
    );
    assert_eq!(code, unavailable);
    assert_eq!(got(&fetched), (vec![], i16::from(unavailable)));
    for broker in [one, other] {
        broker.share_states.lead(topic_id(3)).await;
        assert_eq!(standing(&broker).await, (0, 3));
        assert_eq!(acknowledge(&broker, accepted(2)).await, ErrorCode::None);
        assert_eq!(standing(&broker).await, (3, 0));
    }
}

#[tokio::test]
async fn what_waits_behind_a_write_is_lost_with_the_leadership() {
    let broker = holding_and_not_storing().await;
    let said = |epoch, offset| {
        let broker = broker.clone();
        let request = acknowledge_request("a", epoch, offset, offset, &[ACCEPT]);
        tokio::spawn(async move { acknowledge(&broker, request).await })
    };
    // The first is tried again and again, and the second waits for it.
    let (first, second) = (said(1, 0), said(2, 1));
    tokio::task::yield_now().await;
    let mut later = alone();
    fold(&mut later, [broker_fact(1, 1), partition(1, 0, &[1, 0], &[1], 4)]);
    broker.replicas.apply(&Arc::new(later));
    broker.share_states.lead(topic_id(3)).await;
    assert_eq!(first.await.unwrap(), ErrorCode::None);
    assert_eq!(second.await.unwrap(), ErrorCode::NotLeaderOrFollower);
}

#[tokio::test]
async fn limits_of_records_hold_and_locks_are_renewed() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    put(&broker, 10).await;
    let mut request = fetch_request("a", 0);
    (request.max_records, request.share_acquire_mode) = (4, 1);
    assert_eq!(got(&fetch(&broker, request.clone()).await).0, [(0, 3, 1)]);
    let renewed = acknowledge_request("a", 1, 0, 3, &[RENEW]);
    assert_eq!(acknowledge(&broker, renewed).await, ErrorCode::None);
    let mut renewal = with(fetch_request("a", 2), 0, 3, &[RENEW]);
    renewal.is_renew_ack = true;
    let refused = fetch(&broker, renewal.clone()).await;
    assert_eq!(refused.error_code, i16::from(ErrorCode::InvalidRequest));
    (renewal.max_records, renewal.max_bytes) = (0, 0);
    assert_eq!(got(&fetch(&broker, renewal).await), (vec![], 0));
    // Without saying so, locks are not renewed.
    let unsaid = with(fetch_request("a", 3), 0, 3, &[RENEW]);
    let (_, code) = got(&fetch(&broker, unsaid).await);
    assert_eq!(code, i16::from(ErrorCode::InvalidRequest));
    request.share_session_epoch = 4;
    request.share_acquire_mode = 0;
    // The rest was given with the fetch before.
    assert_eq!(got(&fetch(&broker, request).await).0, []);
}

#[tokio::test]
async fn sessions_are_held_to_their_epochs() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    let code = async |request| ErrorCode::from(fetch(&broker, request).await.error_code);
    assert_eq!(code(fetch_request("a", 1)).await, ErrorCode::ShareSessionNotFound);
    let opening = with(fetch_request("a", 0), 0, 0, &[ACCEPT]);
    assert_eq!(code(opening).await, ErrorCode::InvalidRequest);
    assert_eq!(code(fetch_request("a", 0)).await, ErrorCode::None);
    assert_eq!(
        code(fetch_request("a", 2)).await,
        ErrorCode::InvalidShareSessionEpoch
    );
    let acknowledged = acknowledge(&broker, acknowledge_request("a", 0, 0, 0, &[ACCEPT])).await;
    assert_eq!(acknowledged, ErrorCode::InvalidShareSessionEpoch);
    assert_eq!(code(fetch_request("", 0)).await, ErrorCode::InvalidRequest);
    let mut nobody = fetch_request("a", 0);
    nobody.group_id = None;
    assert_eq!(code(nobody).await, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn administrators_set_and_forget_where_a_group_stands() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    put(&broker, 10).await;
    let alter = async |partition, start| alter(&ctx(&broker, 0), partition, start).await;
    let delete = async |topic| delete(&ctx(&broker, 0), topic).await;
    assert_eq!(alter(0, 7).await, ErrorCode::NonEmptyGroup);
    assert_eq!(delete("orders").await, Some(ErrorCode::NonEmptyGroup));
    leave(&broker, "a").await;
    assert_eq!(alter(1, 7).await, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(alter(0, 7).await, ErrorCode::None);
    assert_eq!(standing(&broker).await, (7, 3));
    assert_eq!(got(&fetch(&broker, fetch_request("a", 0)).await).0, [(7, 9, 1)]);
    broker.share_disconnected(1);
    let not_stored = Some(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete("nothing").await, not_stored);
    assert_eq!(delete(crate::share::TOPIC).await, not_stored);
    assert_eq!(delete("orders").await, Some(ErrorCode::None));
    assert_eq!(delete("orders").await, not_stored);
    let request = DeleteGroupsRequest {
        groups_names: vec!["g".into()],
    };
    let deleted = delete_groups::handle(&ctx(&broker, 2), request).await;
    assert_eq!(deleted.results[0].error_code, i16::from(ErrorCode::None));
    assert_eq!(described(&broker).await, ErrorCode::GroupIdNotFound);
}

async fn described(broker: &Arc<Broker>) -> ErrorCode {
    let request = ShareGroupDescribeRequest {
        group_ids: vec!["g".into()],
        include_authorized_operations: false,
    };
    let described = share_group_describe::handle(&ctx(broker, 1), request).await;
    described.groups[0].error_code.into()
}

#[tokio::test]
async fn topics_are_left_out_where_a_group_has_never_read_one() {
    let broker = coordinating(Authorizer::none()).await;
    let request = ShareGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "a".into(),
        subscribed_topic_names: Some(vec!["nothing".into()]),
        ..ShareGroupHeartbeatRequest::default()
    };
    let joined = share_group_heartbeat::handle(&ctx(&broker, 1), request).await;
    assert_eq!(joined.error_code, 0, "{joined:?}");
    leave(&broker, "a").await;
    for topic in ["nothing", "orders"] {
        assert_eq!(delete(&ctx(&broker, 0), topic).await, None, "{topic}");
    }
}

#[tokio::test]
async fn a_group_begins_with_the_offsets_that_an_administrator_sets() {
    let broker = coordinating(Authorizer::none()).await;
    put(&broker, 10).await;
    let alter = async |partition, start| alter(&ctx(&broker, 0), partition, start).await;
    assert!(offsets(&broker).await.topics.is_empty());
    // Where nothing can be set, there is no group afterwards either.
    assert_eq!(alter(1, 7).await, ErrorCode::UnknownTopicOrPartition);
    let not_there = ErrorCode::GroupIdNotFound;
    assert_eq!(described(&broker).await, not_there);
    assert_eq!(delete(&ctx(&broker, 0), "orders").await, Some(not_there));
    assert_eq!(alter(0, 7).await, ErrorCode::None);
    assert_eq!(described(&broker).await, ErrorCode::None);
    assert_eq!(standing(&broker).await, (7, 3));
    join(&broker, "a").await;
    assert_eq!(got(&fetch(&broker, fetch_request("a", 0)).await).0, [(7, 9, 1)]);
}

#[tokio::test]
async fn nobody_reads_or_stores_without_being_allowed_to() {
    let broker = coordinating(Authorizer::acl([], false)).await;
    let group = i16::from(ErrorCode::GroupAuthorizationFailed);
    assert_eq!(join(&broker, "a").await.error_code, group);
    assert_eq!(fetch(&broker, fetch_request("a", 0)).await.error_code, group);
    let acknowledged = acknowledge(&broker, acknowledge_request("a", 1, 0, 0, &[ACCEPT])).await;
    assert_eq!(i16::from(acknowledged), group);
    let request = ReadShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![read_share_group_state_request::ReadStateData {
            topic_id: topic_id(1),
            partitions: vec![read_share_group_state_request::PartitionData::default()],
        }],
    };
    let read = read_share_group_state::handle(&ctx(&broker, 0), request).await;
    assert_eq!(
        read.results[0].partitions[0].error_code,
        i16::from(ErrorCode::ClusterAuthorizationFailed)
    );
    let request = FindCoordinatorRequest {
        key_type: 2,
        coordinator_keys: vec!["g:AQEBAQEBAQEBAQEBAQEBAQ:0".into()],
        ..FindCoordinatorRequest::default()
    };
    let found = find_coordinator::handle(&ctx(&broker, 6), request).await;
    assert_eq!(
        found.coordinators[0].error_code,
        i16::from(ErrorCode::ClusterAuthorizationFailed)
    );
}

#[tokio::test]
async fn there_are_no_more_sessions_than_allowed() {
    let mut config = crate::broker::testing::config();
    config
        .settings
        .insert("group.share.max.share.sessions".to_owned(), "1".to_owned());
    let broker = Broker::in_memory_configured(config, alone(), Authorizer::none());
    broker.share_states.lead(topic_id(3)).await;
    assert_eq!(fetch(&broker, fetch_request("a", 0)).await.error_code, 0);
    let refused = fetch(&broker, fetch_request("b", 0)).await;
    assert_eq!(refused.error_code, i16::from(ErrorCode::ShareSessionLimitReached));
}

#[tokio::test]
async fn a_full_group_takes_nobody_more() {
    let mut config = crate::broker::testing::config();
    config
        .settings
        .insert("group.share.max.size".to_owned(), "1".to_owned());
    let broker = Broker::in_memory_configured(config, alone(), Authorizer::none());
    broker.groups.lead(topic_id(2)).await;
    broker.share_states.lead(topic_id(3)).await;
    assert_eq!(join(&broker, "a").await.error_code, 0);
    let refused = join(&broker, "b").await;
    assert_eq!(refused.error_code, i16::from(ErrorCode::GroupMaxSizeReached));
}

#[tokio::test]
async fn records_of_a_partition_led_elsewhere_are_not_here() {
    let broker = Broker::in_memory_with(led_elsewhere(), Authorizer::none());
    let response = fetch(&broker, fetch_request("a", 0)).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, i16::from(ErrorCode::NotLeaderOrFollower));
    assert_eq!(
        (data.current_leader.leader_id, data.current_leader.leader_epoch),
        (1, 3)
    );
    let acknowledged = with(fetch_request("a", 1), 0, 0, &[ACCEPT]);
    let response = fetch(&broker, acknowledged).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!(
        data.acknowledge_error_code,
        i16::from(ErrorCode::NotLeaderOrFollower)
    );
}
