//! Groups of the new protocol (KIP-848): ConsumerGroupHeartbeat, ConsumerGroupDescribe.

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest};

use crate::case::{Case, case};
use crate::scene::consumer;

pub fn cases() -> Vec<Case> {
    let mut cases = heartbeat();
    cases.extend(describe());
    cases
}

fn heartbeat() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a new member", E::None, |at| {
            let topic = at.topic_for_consumers(2)?;
            Ok(consumer(at.name(), &at.member_name(), 0, Some(topic.name)))
        }),
        case("a new member of a topic that is not there", E::None, |at| {
            Ok(consumer(
                at.name(),
                &at.member_name(),
                0,
                Some("not-there".into()),
            ))
        }),
        case("a member that goes on", E::None, |at| {
            at.topic_for_consumers(1)?;
            let member = at.consumer("")?;
            Ok(consumer(at.name(), &member.id, member.generation, None))
        }),
        case("a member that leaves", E::None, |at| {
            at.topic_for_consumers(1)?;
            let member = at.consumer("")?;
            Ok(consumer(at.name(), &member.id, -1, None))
        }),
        case("an unknown member", E::UnknownMemberId, |at| {
            at.consumer("")?;
            Ok(consumer(at.name(), "made-up", 5, None))
        }),
        case("an unknown group", E::GroupIdNotFound, |at| {
            Ok(consumer(at.name(), "made-up", 5, None))
        }),
        case("an epoch of the future", E::FencedMemberEpoch, |at| {
            let member = at.consumer("")?;
            Ok(consumer(at.name(), &member.id, member.generation + 7, None))
        }),
        case("an assignor that there is not", E::UnsupportedAssignor, |at| {
            Ok(ConsumerGroupHeartbeatRequest {
                server_assignor: Some("made-up".into()),
                ..consumer(at.name(), &at.member_name(), 0, Some("not-there".into()))
            })
        }),
        case("an instance that another has", E::UnreleasedInstanceId, |at| {
            at.consumer("instance")?;
            Ok(ConsumerGroupHeartbeatRequest {
                instance_id: Some("instance".into()),
                ..consumer(at.name(), "another-member-of-it", 0, Some(at.name()))
            })
        }),
        case("another's instance", E::FencedInstanceId, |at| {
            let member = at.consumer("instance")?;
            Ok(ConsumerGroupHeartbeatRequest {
                instance_id: Some("instance".into()),
                ..consumer(at.name(), "made-up", member.generation, None)
            })
        }),
        case("an empty group id", E::InvalidRequest, |at| {
            Ok(consumer("".into(), &at.member_name(), 0, Some(at.name())))
        }),
        case("no topics to begin with", E::InvalidRequest, |at| {
            Ok(ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: 60_000,
                topic_partitions: Some(Vec::new()),
                ..consumer(at.name(), &at.member_name(), 0, None)
            })
        }),
        case("no time to rebalance", E::InvalidRequest, |at| {
            Ok(ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: -1,
                ..consumer(at.name(), &at.member_name(), 0, Some(at.name()))
            })
        }),
        case("no member id", E::None, |at| {
            Ok(consumer(at.name(), "", 0, Some("not-there".into())))
        })
        .since(1, E::InvalidRequest),
        case("an empty rack", E::InvalidRequest, |at| {
            Ok(ConsumerGroupHeartbeatRequest {
                rack_id: Some("".into()),
                ..consumer(at.name(), &at.member_name(), 0, Some(at.name()))
            })
        }),
        case("a pattern", E::None, |at| {
            Ok(ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: Some(Vec::new()),
                subscribed_topic_regex: Some("not-there-.*".into()),
                ..consumer(at.name(), &at.member_name(), 0, Some("x".into()))
            })
        })
        .versions(1..=i16::MAX),
        case("a pattern that is not valid", E::InvalidRegularExpression, |at| {
            Ok(ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: Some(Vec::new()),
                subscribed_topic_regex: Some("(".into()),
                ..consumer(at.name(), &at.member_name(), 0, Some("x".into()))
            })
        })
        .versions(1..=i16::MAX),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(consumer(at.name(), &at.member_name(), 0, Some(at.name())))
        })
        .by_nobody(),
        case("a topic that nobody may see", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            at.allow_group()?;
            Ok(consumer(at.name(), &at.member_name(), 0, Some(topic.name)))
        })
        .by_nobody(),
    ]
}

fn describe() -> Vec<Case> {
    use ErrorCode as E;
    let of = |group| ConsumerGroupDescribeRequest {
        group_ids: vec![group],
        include_authorized_operations: false,
    };
    vec![
        case("a group", E::None, move |at| {
            at.topic_for_consumers(1)?;
            at.consumer("")?;
            Ok(of(at.name()))
        }),
        case("what may be done", E::None, |at| {
            at.topic_for_consumers(1)?;
            at.consumer("")?;
            Ok(ConsumerGroupDescribeRequest {
                group_ids: vec![at.name()],
                include_authorized_operations: true,
            })
        }),
        case("an unknown group", E::GroupIdNotFound, move |at| {
            Ok(of(at.name()))
        }),
        case("a classic group", E::GroupIdNotFound, move |at| {
            at.stable_member(None)?;
            Ok(of(at.name()))
        }),
        case("an empty group id", E::InvalidGroupId, move |_| Ok(of("".into()))),
        case("by nobody", E::GroupAuthorizationFailed, move |at| {
            Ok(of(at.name()))
        })
        .by_nobody(),
    ]
}
