//! Groups of the new protocol, as requests (KIP-848).

use flotilla_protocol::messages::consumer_group_describe_response::{self as described, DescribedGroup};
use flotilla_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use flotilla_protocol::messages::update_features_request::FeatureUpdateKey;

use super::*;
use crate::request::{consumer_group_describe, consumer_group_heartbeat, update_features};

fn joining(member_id: &'static str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member_id.into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["orders".into()]),
        topic_partitions: Some(vec![]),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

fn in_epoch(member_id: &Str, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member_id.clone(),
        member_epoch,
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

async fn heartbeat(ctx: &Context, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    let response = consumer_group_heartbeat::handle(ctx, request).await;
    said(ApiKey::ConsumerGroupHeartbeat, ctx.version, response)
}

async fn describe(ctx: &Context, groups: &[&'static str]) -> Vec<DescribedGroup> {
    let request = ConsumerGroupDescribeRequest {
        group_ids: groups.iter().map(|group| (*group).into()).collect(),
        include_authorized_operations: false,
    };
    let response = consumer_group_describe::handle(ctx, request).await;
    said(ApiKey::ConsumerGroupDescribe, ctx.version, response).groups
}

#[tokio::test]
async fn a_member_joins_commits_and_leaves_in_every_version() {
    for version in 0..=1 {
        let broker = coordinating().await;
        let ctx = anyone(&broker, version);
        let joined = heartbeat(&ctx, joining(if version == 0 { "" } else { "mine" })).await;
        let id = joined.member_id.clone().expect("an id");
        assert!(!id.is_empty());
        assert_eq!(
            joined,
            ConsumerGroupHeartbeatResponse {
                member_id: Some(id.clone()),
                member_epoch: 1,
                heartbeat_interval_ms: 5_000,
                assignment: Some(Assignment {
                    topic_partitions: vec![TopicPartitions {
                        topic_id: ORDERS_ID,
                        partitions: vec![0],
                    }],
                }),
                ..ConsumerGroupHeartbeatResponse::default()
            }
        );
        let mut request = commit_request(10, &[("orders", ORDERS_ID, 0, 42)]);
        request.member_id = id.clone();
        request.generation_id_or_member_epoch = 1;
        assert_eq!(commit(&anyone(&broker, 10), request.clone()).await, [0]);
        request.generation_id_or_member_epoch = 2;
        let stale = i16::from(ErrorCode::StaleMemberEpoch);
        assert_eq!(commit(&anyone(&broker, 10), request).await, [stale]);
        assert_eq!(fetched(&anyone(&broker, 9)).await, (42, 0, 0));

        let of_topic = described::Assignment {
            topic_partitions: vec![described::TopicPartitions {
                topic_id: ORDERS_ID,
                topic_name: "orders".into(),
                partitions: vec![0],
            }],
        };
        assert_eq!(
            describe(&ctx, &["g", "h"]).await,
            [
                DescribedGroup {
                    group_id: "g".into(),
                    group_state: "Stable".into(),
                    group_epoch: 1,
                    assignment_epoch: 1,
                    assignor_name: "uniform".into(),
                    members: vec![described::Member {
                        member_id: id.clone(),
                        member_epoch: 1,
                        client_id: "test".into(),
                        client_host: "/127.0.0.1".into(),
                        subscribed_topic_names: vec!["orders".into()],
                        assignment: of_topic.clone(),
                        target_assignment: of_topic,
                        member_type: if version == 0 { -1 } else { 1 },
                        ..described::Member::default()
                    }],
                    ..DescribedGroup::default()
                },
                DescribedGroup {
                    group_id: "h".into(),
                    error_code: ErrorCode::GroupIdNotFound.into(),
                    error_message: Some("there is no group h".into()),
                    ..DescribedGroup::default()
                },
            ]
        );
        let left = heartbeat(&ctx, in_epoch(&id, -1)).await;
        assert_eq!(
            left,
            ConsumerGroupHeartbeatResponse {
                member_id: Some(id.clone()),
                member_epoch: -1,
                ..ConsumerGroupHeartbeatResponse::default()
            }
        );
        let again = heartbeat(&ctx, in_epoch(&id, 1)).await;
        assert_eq!(
            (again.error_code, again.error_message.as_deref()),
            (
                ErrorCode::UnknownMemberId.into(),
                Some(&*format!("group g has no member {id}"))
            )
        );
    }
}

#[tokio::test]
async fn refusals_of_the_coordinator_have_their_codes() {
    let broker = coordinating().await;
    let ctx = anyone(&broker, 1);
    let invalid = heartbeat(&ctx, joining("")).await;
    assert_eq!(
        (invalid.error_code, invalid.error_message.as_deref()),
        (
            ErrorCode::InvalidRequest.into(),
            Some("a heartbeat needs a member id")
        )
    );
    let cases = [
        (
            ConsumerGroupHeartbeatRequest {
                server_assignor: Some("mine".into()),
                ..joining("a")
            },
            ErrorCode::UnsupportedAssignor,
        ),
        (
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_regex: Some("(".into()),
                ..joining("a")
            },
            ErrorCode::InvalidRegularExpression,
        ),
        (in_epoch(&"a".into(), 3), ErrorCode::GroupIdNotFound),
    ];
    for (request, code) in cases {
        assert_eq!(heartbeat(&ctx, request).await.error_code, code);
    }
    heartbeat(&ctx, joining("a")).await;
    assert_eq!(
        heartbeat(&ctx, in_epoch(&"a".into(), 3)).await.error_code,
        ErrorCode::FencedMemberEpoch
    );
    let elsewhere = Broker::in_memory(image([]));
    let ctx = anyone(&elsewhere, 1);
    assert_eq!(
        heartbeat(&ctx, joining("a")).await.error_code,
        ErrorCode::NotCoordinator
    );
    assert_eq!(
        describe(&ctx, &["g"]).await[0].error_code,
        ErrorCode::NotCoordinator
    );
}

#[tokio::test]
async fn a_classic_member_joins_a_group_of_the_new_protocol_and_is_described_as_one() {
    let broker = coordinating().await;
    let ctx = anyone(&broker, 1);
    heartbeat(&ctx, joining("a")).await;
    let classic = anyone(&broker, 5);
    let first = join(&classic, "").await;
    assert_eq!(first.error_code, ErrorCode::MemberIdRequired);
    let joined = join(&classic, &first.member_id).await;
    let id = joined.member_id.clone();
    assert_eq!(
        joined,
        JoinGroupResponse {
            generation_id: joined.generation_id,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            member_id: id.clone(),
            ..JoinGroupResponse::default()
        }
    );
    let synced = sync(&classic, &id, joined.generation_id).await;
    assert_eq!(
        (synced.error_code, synced.protocol_name.as_deref()),
        (0, Some("range"))
    );
    // Version 0, and no topics: the other member has not given up its only partition.
    assert_eq!(&synced.assignment[..], b"\0\0\0\0\0\0\xFF\xFF\xFF\xFF");
    let described = &describe(&ctx, &["g"]).await[0];
    let members: Vec<(&str, i8)> = described
        .members
        .iter()
        .map(|member| (&*member.member_id, member.member_type))
        .collect();
    let mut expected = [(&*id, 0), ("a", 1)];
    expected.sort_unstable();
    assert_eq!(members, expected);
}

#[tokio::test]
async fn there_are_no_consumer_groups_at_group_version_0() {
    let broker = coordinating().await;
    let ctx = anyone(&broker, 1);
    let set_level = async |level| {
        let update = FeatureUpdateKey {
            feature: "group.version".into(),
            max_version_level: level,
            upgrade_type: if level == 0 { 2 } else { 1 },
            ..FeatureUpdateKey::default()
        };
        let request = UpdateFeaturesRequest {
            feature_updates: vec![update],
            ..UpdateFeaturesRequest::default()
        };
        let answer = update_features::handle(&ctx, request).await;
        assert_eq!(answer.error_code, 0, "{answer:?}");
    };
    set_level(0).await;
    let why = "groups of the consumer protocol are off: group.version is 0, kafka-features.sh raises it to 1";
    let refused = heartbeat(&ctx, joining("a")).await;
    assert_eq!(
        (refused.error_code, refused.error_message.as_deref()),
        (ErrorCode::UnsupportedVersion.into(), Some(why))
    );
    let described = &describe(&ctx, &["g"]).await[0];
    assert_eq!(
        (described.error_code, described.error_message.as_deref()),
        (ErrorCode::UnsupportedVersion.into(), Some(why))
    );
    set_level(1).await;
    assert_eq!(heartbeat(&ctx, joining("a")).await.error_code, ErrorCode::None);
}

#[tokio::test]
async fn topics_matched_by_a_regular_expression_are_those_that_the_member_may_see() {
    let rules = [
        allow("ann", GROUP, "g", READ),
        allow("ann", GROUP, "g", DESCRIBE),
        allow("ann", TOPIC, "orders", DESCRIBE),
    ];
    let broker = guarded(rules).await;
    let ctx = ann(&broker, 1);
    let by_regex = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some("orders|bills".into()),
        ..joining("a")
    };
    let joined = heartbeat(&ctx, by_regex).await;
    assert_eq!((joined.error_code, joined.member_epoch), (0, 1));
    let matched = &describe(&ctx, &["g"]).await[0];
    assert_eq!(
        (
            matched.group_epoch,
            matched.members[0].subscribed_topic_regex.as_deref()
        ),
        (2, Some("orders|bills"))
    );
    // The distance between assignments is a second.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let assignment = loop {
        let answer = heartbeat(&ctx, in_epoch(&"a".into(), 1)).await;
        if let Some(assignment) = answer.assignment {
            break assignment;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(
        assignment.topic_partitions,
        [TopicPartitions {
            topic_id: ORDERS_ID,
            partitions: vec![0],
        }]
    );
}

#[tokio::test]
async fn who_may_not_read_the_group_or_see_its_topics_is_refused() {
    let broker = guarded([allow("ann", GROUP, "g", READ), allow("ann", GROUP, "g", DESCRIBE)]).await;
    let ctx = ann(&broker, 1);
    assert_eq!(
        heartbeat(&ctx, joining("a")).await.error_code,
        ErrorCode::TopicAuthorizationFailed
    );
    let other = ConsumerGroupHeartbeatRequest {
        group_id: "h".into(),
        ..joining("a")
    };
    assert_eq!(
        heartbeat(&ctx, other).await.error_code,
        ErrorCode::GroupAuthorizationFailed
    );
    assert_eq!(
        describe(&ctx, &["h"]).await[0].error_code,
        ErrorCode::GroupAuthorizationFailed
    );
}
