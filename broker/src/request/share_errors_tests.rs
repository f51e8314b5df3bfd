//! What the APIs of share groups refuse, and with which error (KIP-932).

use std::sync::Arc;

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::messages::describe_share_group_offsets_request::{
    DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
};
use flotilla_protocol::messages::*;
use flotilla_protocol::{ErrorCode, Uuid};

use super::share_bench::*;
use super::testing::context_of;
use super::*;
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::metadata::Fact;
use crate::replica::testing::topic_id;

/// A kind of resources, and operations, in rules (KIP-140).
const GROUP: i32 = 3;
const READ: i32 = 3;
const DELETE: i32 = 6;
const DESCRIBE: i32 = 8;

async fn described(ctx: &Context) -> ErrorCode {
    let request = ShareGroupDescribeRequest {
        group_ids: vec!["g".into()],
        include_authorized_operations: false,
    };
    let described = share_group_describe::handle(ctx, request).await;
    let described = said(ApiKey::ShareGroupDescribe, 1, described);
    described.groups[0].error_code.into()
}

/// Of the group, or of partition 0 of `orders` where it is asked for.
async fn offsets_described(ctx: &Context, of_topic: bool) -> ErrorCode {
    let topic = DescribeShareGroupOffsetsRequestTopic {
        topic_name: "orders".into(),
        partitions: vec![0],
    };
    let request = DescribeShareGroupOffsetsRequest {
        groups: vec![DescribeShareGroupOffsetsRequestGroup {
            group_id: "g".into(),
            topics: of_topic.then(|| vec![topic]),
        }],
    };
    let response = describe_share_group_offsets::handle(ctx, request).await;
    let group = &said(ApiKey::DescribeShareGroupOffsets, 1, response).groups[0];
    match group.topics.first() {
        Some(topic) => topic.partitions[0].error_code.into(),
        None => group.error_code.into(),
    }
}

/// What the APIs say that go to the group's coordinator: heartbeat, describe; offsets described, altered, deleted.
async fn of_group(broker: &Arc<Broker>) -> [ErrorCode; 5] {
    [
        join(broker, "a").await.error_code.into(),
        described(&ctx(broker, 1)).await,
        offsets_described(&ctx(broker, 1), false).await,
        alter(&ctx(broker, 0), 0, 7).await,
        delete(&ctx(broker, 0), "orders").await.expect("refused"),
    ]
}

async fn fetch_code(ctx: &Context, request: ShareFetchRequest) -> (ErrorCode, ErrorCode) {
    let response = share_fetch::handle(ctx, request).await;
    let response = said(ApiKey::ShareFetch, 2, response);
    let data = response.responses.first().map(|topic| &topic.partitions[0]);
    let of = |code: i16| ErrorCode::from(code);
    match of(response.error_code) {
        ErrorCode::None => data.map_or((ErrorCode::None, ErrorCode::None), |data| {
            (of(data.error_code), of(data.acknowledge_error_code))
        }),
        code => (code, ErrorCode::None),
    }
}

#[tokio::test]
async fn there_are_no_share_groups_at_share_version_0() {
    let broker = coordinating(Authorizer::none()).await;
    let update = update_features_request::FeatureUpdateKey {
        feature: "share.version".into(),
        max_version_level: 0,
        upgrade_type: 2,
        ..Default::default()
    };
    let request = UpdateFeaturesRequest {
        feature_updates: vec![update],
        ..UpdateFeaturesRequest::default()
    };
    let answer = update_features::handle(&ctx(&broker, 1), request).await;
    assert_eq!(answer.error_code, 0, "{answer:?}");
    assert_eq!(of_group(&broker).await, [ErrorCode::UnsupportedVersion; 5]);
    let joined = join(&broker, "a").await;
    assert_eq!(
        joined.error_message.as_deref(),
        Some("share groups are off: share.version is 0, kafka-features.sh raises it to 1")
    );
    let fetched = fetch_code(&ctx(&broker, 2), fetch_request("a", 0)).await;
    assert_eq!(fetched.0, ErrorCode::UnsupportedVersion);
    let acknowledged = acknowledge(&broker, acknowledge_request("a", 1, 0, 0, &[ACCEPT])).await;
    assert_eq!(acknowledged, ErrorCode::UnsupportedVersion);
}

#[tokio::test]
async fn members_and_administrators_are_told_that_the_coordinator_is_not_here_loads_or_cannot_write() {
    let broker = Broker::in_memory_with(alone(), Authorizer::none());
    assert_eq!(of_group(&broker).await, [ErrorCode::NotCoordinator; 5]);
    broker.groups.load_for_ever(topic_id(2));
    assert_eq!(of_group(&broker).await, [ErrorCode::CoordinatorLoadInProgress; 5]);
    broker.groups.lead_alone(topic_id(2)).await;
    let joined = join(&broker, "a").await;
    assert_eq!(
        ErrorCode::from(joined.error_code),
        ErrorCode::CoordinatorNotAvailable
    );
}

/// What the requests between brokers are answered with: initialize, read, write, delete, summary.
async fn of_states(broker: &Arc<Broker>, leader_epoch: i32) -> [ErrorCode; 5] {
    of_states_in(broker, topic_id(1), leader_epoch).await
}

async fn of_states_in(broker: &Arc<Broker>, topic_id: Uuid, leader_epoch: i32) -> [ErrorCode; 5] {
    use super::{
        delete_share_group_state as delete, initialize_share_group_state as initialize,
        read_share_group_state as read, read_share_group_state_summary as summary,
        write_share_group_state as write,
    };
    let ctx = ctx(broker, 0);
    let begin = InitializeShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![initialize_share_group_state_request::InitializeStateData {
            topic_id,
            partitions: vec![initialize_share_group_state_request::PartitionData::default()],
        }],
    };
    let reads = ReadShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![read_share_group_state_request::ReadStateData {
            topic_id,
            partitions: vec![read_share_group_state_request::PartitionData {
                leader_epoch,
                ..Default::default()
            }],
        }],
    };
    let writes = WriteShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![write_share_group_state_request::WriteStateData {
            topic_id,
            partitions: vec![write_share_group_state_request::PartitionData {
                leader_epoch,
                ..Default::default()
            }],
        }],
    };
    let deletes = DeleteShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![delete_share_group_state_request::DeleteStateData {
            topic_id,
            partitions: vec![delete_share_group_state_request::PartitionData::default()],
        }],
    };
    let sums = ReadShareGroupStateSummaryRequest {
        group_id: "g".into(),
        topics: vec![read_share_group_state_summary_request::ReadStateSummaryData {
            topic_id,
            partitions: vec![read_share_group_state_summary_request::PartitionData::default()],
        }],
    };
    [
        initialize::handle(&ctx, begin).await.results[0].partitions[0].error_code,
        read::handle(&ctx, reads).await.results[0].partitions[0].error_code,
        write::handle(&ctx, writes).await.results[0].partitions[0].error_code,
        delete::handle(&ctx, deletes).await.results[0].partitions[0].error_code,
        summary::handle(&ctx, sums).await.results[0].partitions[0].error_code,
    ]
    .map(ErrorCode::from)
}

#[tokio::test]
async fn leaders_are_told_that_the_share_coordinator_is_not_here_loads_or_cannot_write() {
    let broker = Broker::in_memory_with(alone(), Authorizer::none());
    assert_eq!(of_states(&broker, 0).await, [ErrorCode::NotCoordinator; 5]);
    broker.share_states.load_for_ever(topic_id(3));
    assert_eq!(
        of_states(&broker, 0).await,
        [ErrorCode::CoordinatorLoadInProgress; 5]
    );
    broker.share_states.lead(topic_id(3)).await;
    assert_eq!(of_states(&broker, 0).await, [ErrorCode::None; 5]);
    // Whoever fetches has it initialized once more, for it was deleted last.
    fetch(&broker, fetch_request("a", 0)).await;
    broker.share_states.lead_alone(topic_id(3)).await;
    let unavailable = ErrorCode::CoordinatorNotAvailable;
    assert_eq!(
        of_states(&broker, 9).await,
        [
            unavailable,
            unavailable,
            unavailable,
            unavailable,
            ErrorCode::None
        ]
    );
}

#[tokio::test]
async fn nothing_but_its_deletion_is_stored_of_a_topic_that_is_not_there() {
    let broker = coordinating(Authorizer::none()).await;
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(
        of_states_in(&broker, topic_id(9), 0).await,
        [unknown, unknown, unknown, ErrorCode::None, unknown]
    );
}

#[tokio::test]
async fn partitions_that_are_not_there_or_led_elsewhere_take_no_acknowledgement() {
    let broker = coordinating(Authorizer::none()).await;
    let fetch_of = |topic_id: Uuid, index: i32, epoch: i32| {
        let mut request = fetch_request("a", epoch);
        request.topics[0].topic_id = topic_id;
        request.topics[0].partitions[0].partition_index = index;
        request
    };
    let code = async |request| fetch_code(&ctx(&broker, 2), request).await;
    let unknown = (topic_id(9), 0);
    assert_eq!(code(fetch_of(unknown.0, 0, 0)).await.0, ErrorCode::UnknownTopicId);
    assert_eq!(
        code(fetch_of(topic_id(1), 5, 0)).await.0,
        ErrorCode::UnknownTopicOrPartition
    );
    let acknowledge_of = async |topic_id: Uuid, index: i32, epoch: i32| {
        let mut request = acknowledge_request("a", epoch, 0, 0, &[ACCEPT]);
        request.topics[0].topic_id = topic_id;
        request.topics[0].partitions[0].partition_index = index;
        acknowledge(&broker, request).await
    };
    assert_eq!(acknowledge_of(unknown.0, 0, 1).await, ErrorCode::UnknownTopicId);
    assert_eq!(
        acknowledge_of(topic_id(1), 5, 2).await,
        ErrorCode::UnknownTopicOrPartition
    );
    // Nobody has fetched from it here.
    assert_eq!(
        acknowledge_of(topic_id(1), 0, 3).await,
        ErrorCode::UnknownTopicOrPartition
    );
    let elsewhere = Broker::in_memory_with(led_elsewhere(), Authorizer::none());
    fetch(&elsewhere, fetch_request("a", 0)).await;
    let request = acknowledge_request("a", 1, 0, 0, &[ACCEPT]);
    let response = share_acknowledge::handle(&ctx(&elsewhere, 2), request).await;
    let response = said(ApiKey::ShareAcknowledge, 2, response);
    let data = &response.responses[0].partitions[0];
    assert_eq!(ErrorCode::from(data.error_code), ErrorCode::NotLeaderOrFollower);
    assert_eq!(
        (data.current_leader.leader_id, data.current_leader.leader_epoch),
        (1, 3)
    );
}

#[tokio::test]
async fn what_another_holds_and_what_cannot_be_is_not_acknowledged() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    put(&broker, 3).await;
    assert_eq!(got(&fetch(&broker, fetch_request("a", 0)).await).0, [(0, 2, 1)]);
    fetch(&broker, fetch_request("b", 0)).await;
    let code = async |epoch, last, types: &[i8]| {
        acknowledge(&broker, acknowledge_request("b", epoch, 0, last, types)).await
    };
    assert_eq!(code(1, 2, &[ACCEPT]).await, ErrorCode::InvalidRecordState);
    for (epoch, last, types) in [
        (2, -1, &[ACCEPT][..]),
        (3, 2, &[ACCEPT, ACCEPT]),
        (4, 2, &[9]),
        (5, 2, &[]),
    ] {
        assert_eq!(
            code(epoch, last, types).await,
            ErrorCode::InvalidRequest,
            "{types:?}"
        );
    }
    // Nobody stands before the first record.
    leave(&broker, "a").await;
    assert_eq!(alter(&ctx(&broker, 0), 0, -1).await, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn failed_disk_is_told_to_members() {
    let broker = coordinating(Authorizer::none()).await;
    join(&broker, "a").await;
    put(&broker, 3).await;
    let failed = crate::log::Error::Sync {
        path: "/data/orders-0".into(),
        source: std::io::Error::other("a broken disk"),
    };
    broker.replicas.volumes()[0].note(&failed);
    let fetched = fetch_code(&ctx(&broker, 2), fetch_request("a", 0)).await;
    assert_eq!(fetched.0, ErrorCode::KafkaStorageError);
}

/// Lets `ann` do something.
fn rule(resource_type: i32, name: &str, operation: i32) -> Fact {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&operation.to_be_bytes());
    id[4..8].copy_from_slice(&resource_type.to_be_bytes());
    Fact::Acl(proto::Acl {
        id: id.to_vec(),
        resource_type,
        resource_name: name.to_owned(),
        pattern_type: 3,
        principal: "User:ann".to_owned(),
        host: "*".to_owned(),
        operation,
        permission_type: 3,
    })
}

#[tokio::test]
async fn topics_that_a_client_may_not_see_are_kept_from_it() {
    let mut rules = alone();
    for operation in [READ, DESCRIBE, DELETE] {
        let record = proto::Record {
            record: Some(rule(GROUP, "g", operation)),
        };
        rules.fold(&record).expect("a known record");
    }
    let broker = Broker::in_memory_with(rules, Authorizer::acl(["ANONYMOUS"], false));
    broker.groups.lead(topic_id(2)).await;
    broker.share_states.lead(topic_id(3)).await;
    assert_eq!(join(&broker, "a").await.error_code, 0);
    let ann = |version| context_of(broker.clone(), Principal::user("ann"), version);
    let hidden = ErrorCode::TopicAuthorizationFailed;
    assert_eq!(described(&ann(1)).await, hidden);
    assert_eq!(offsets_described(&ann(1), true).await, hidden);
    assert_eq!(fetch_code(&ann(2), fetch_request("b", 0)).await.0, hidden);
    let request = acknowledge_request("b", 1, 0, 0, &[ACCEPT]);
    let response = share_acknowledge::handle(&ann(2), request).await;
    let response = said(ApiKey::ShareAcknowledge, 2, response);
    assert_eq!(
        ErrorCode::from(response.responses[0].partitions[0].error_code),
        hidden
    );
    leave(&broker, "a").await;
    assert_eq!(alter(&ann(0), 0, 7).await, hidden);
    assert_eq!(delete(&ann(0), "orders").await, Some(hidden));
    // Nor may it be seen by its partitions.
    assert_eq!(offsets_described(&ann(1), false).await, ErrorCode::None);
}

#[tokio::test]
async fn only_brokers_ask_for_what_is_stored() {
    let broker = Broker::in_memory_with(alone(), Authorizer::acl(["root"], false));
    broker.share_states.lead(topic_id(3)).await;
    assert_eq!(
        of_states(&broker, 0).await,
        [ErrorCode::ClusterAuthorizationFailed; 5]
    );
}
