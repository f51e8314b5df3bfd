//! Share groups (KIP-932): their members, what these fetch and acknowledge, and where their deliveries stand.

use anyhow::{Result, ensure};
use flotilla_protocol::messages::alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use flotilla_protocol::messages::delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic;
use flotilla_protocol::messages::describe_share_group_offsets_request::{
    DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
};
use flotilla_protocol::messages::share_acknowledge_request::AcknowledgeTopic;
use flotilla_protocol::messages::share_fetch_request::{AcknowledgementBatch, FetchPartition, FetchTopic};
use flotilla_protocol::messages::{
    AlterShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequest,
    ShareAcknowledgeRequest, ShareFetchRequest, ShareGroupDescribeRequest, ShareGroupHeartbeatRequest,
};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use crate::case::{Case, case};
use crate::scene::{Scene, Topic, share_member};

/// A member id as Kafka takes it: at most 36 characters.
const MEMBER: &str = "a-member";

pub fn cases() -> Vec<Case> {
    let mut cases = heartbeat();
    cases.extend(describe());
    cases.extend(fetch());
    cases.extend(acknowledge());
    cases.extend(offsets());
    cases
}

fn heartbeat() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a new member of a topic that is not there", E::None, |at| {
            Ok(share_member(at.name(), MEMBER, 0, Some("not-there".into())))
        }),
        case("a member that goes on", E::None, |at| {
            let epoch = at.share_member(MEMBER)?;
            Ok(share_member(at.name(), MEMBER, epoch, None))
        }),
        case("a member that leaves", E::None, |at| {
            at.share_member(MEMBER)?;
            Ok(share_member(at.name(), MEMBER, -1, None))
        }),
        case("an unknown member", E::UnknownMemberId, |at| {
            at.share_member(MEMBER)?;
            Ok(share_member(at.name(), "made-up", 5, None))
        }),
        case("an unknown group", E::GroupIdNotFound, |at| {
            Ok(share_member(at.name(), "made-up", 5, None))
        }),
        case("a classic group", E::GroupIdNotFound, |at| {
            at.stable_member(None)?;
            Ok(share_member(at.name(), MEMBER, 0, Some("not-there".into())))
        }),
        case("an epoch of the future", E::FencedMemberEpoch, |at| {
            let epoch = at.share_member(MEMBER)?;
            Ok(share_member(at.name(), MEMBER, epoch + 7, None))
        }),
        case("an empty group id", E::InvalidRequest, |_| {
            Ok(share_member("".into(), MEMBER, 0, Some("not-there".into())))
        }),
        case("no topics to begin with", E::InvalidRequest, |at| {
            Ok(share_member(at.name(), MEMBER, 0, None))
        }),
        case("no member id", E::InvalidRequest, |at| {
            Ok(share_member(at.name(), "", 0, Some("not-there".into())))
        }),
        case("an empty rack", E::InvalidRequest, |at| {
            Ok(ShareGroupHeartbeatRequest {
                rack_id: Some("".into()),
                ..share_member(at.name(), MEMBER, 0, Some("not-there".into()))
            })
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(share_member(at.name(), MEMBER, 0, Some(at.name())))
        })
        .by_nobody(),
        case("a topic that nobody may see", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic_for_consumers(1)?;
            at.allow_group()?;
            Ok(share_member(at.name(), MEMBER, 0, Some(topic.name)))
        })
        .by_nobody(),
    ]
}

fn describe() -> Vec<Case> {
    use ErrorCode as E;
    let of = |group| ShareGroupDescribeRequest {
        group_ids: vec![group],
        include_authorized_operations: false,
    };
    vec![
        case("a group", E::None, move |at| {
            at.share_member(MEMBER)?;
            Ok(of(at.name()))
        }),
        case("what may be done", E::None, |at| {
            at.share_member(MEMBER)?;
            Ok(ShareGroupDescribeRequest {
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

/// Opens, or goes on with, a session of a partition.
fn of_session(group: Str, epoch: i32, topic: Option<Uuid>) -> ShareFetchRequest {
    let topics = topic.map(|topic_id| FetchTopic {
        topic_id,
        partitions: vec![FetchPartition::default()],
    });
    ShareFetchRequest {
        group_id: Some(group),
        member_id: Some(MEMBER.into()),
        share_session_epoch: epoch,
        max_records: 500,
        batch_size: 500,
        topics: topics.into_iter().collect(),
        ..Default::default()
    }
}

fn fetch() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a new session", E::None, |at| Ok(of_session(at.name(), 0, None))),
        case("an unknown session", E::ShareSessionNotFound, |at| {
            Ok(of_session(at.name(), 5, None))
        }),
        case(
            "a session to close that is not there",
            E::ShareSessionNotFound,
            |at| Ok(of_session(at.name(), -1, None)),
        ),
        case("a wrong epoch of a session", E::InvalidShareSessionEpoch, |at| {
            let opened = of_session(at.name(), 0, None);
            at.share_session(&opened)?;
            Ok(of_session(at.name(), 7, None))
        }),
        case("an acknowledgement to begin with", E::InvalidRequest, |at| {
            let topic = at.topic_for_consumers(1)?;
            let mut request = of_session(at.name(), 0, Some(topic.id));
            request.topics[0].partitions[0].acknowledgement_batches = vec![AcknowledgementBatch {
                first_offset: 0,
                last_offset: 0,
                acknowledge_types: vec![1],
            }];
            Ok(request)
        }),
        case("an unknown topic", E::UnknownServerError, |at| {
            Ok(of_session(at.name(), 0, Some(Uuid([7; 16]))))
        }),
        case("no group id", E::InvalidRequest, |at| {
            Ok(ShareFetchRequest {
                group_id: None,
                ..of_session(at.name(), 0, None)
            })
        }),
        case("no member id", E::InvalidRequest, |at| {
            Ok(ShareFetchRequest {
                member_id: Some("".into()),
                ..of_session(at.name(), 0, None)
            })
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(of_session(at.name(), 0, None))
        })
        .by_nobody(),
    ]
}

fn acknowledge() -> Vec<Case> {
    use ErrorCode as E;
    let of = |group: Str, epoch| ShareAcknowledgeRequest {
        group_id: Some(group),
        member_id: Some(MEMBER.into()),
        share_session_epoch: epoch,
        is_renew_ack: false,
        topics: Vec::<AcknowledgeTopic>::new(),
    };
    vec![
        case("nothing", E::None, move |at| {
            let opened = of_session(at.name(), 0, None);
            at.share_session(&opened)?;
            Ok(of(at.name(), 1))
        }),
        case("an unknown session", E::ShareSessionNotFound, move |at| {
            Ok(of(at.name(), 5))
        }),
        case("a new session", E::InvalidShareSessionEpoch, move |at| {
            Ok(of(at.name(), 0))
        }),
        case(
            "a wrong epoch of a session",
            E::InvalidShareSessionEpoch,
            move |at| {
                let opened = of_session(at.name(), 0, None);
                at.share_session(&opened)?;
                Ok(of(at.name(), 7))
            },
        ),
        case("by nobody", E::GroupAuthorizationFailed, move |at| {
            Ok(of(at.name(), 1))
        })
        .by_nobody(),
    ]
}

fn described(group: Str) -> DescribeShareGroupOffsetsRequest {
    DescribeShareGroupOffsetsRequest {
        groups: vec![DescribeShareGroupOffsetsRequestGroup {
            group_id: group,
            topics: None,
        }],
    }
}

fn altered(group: Str, topic: Str) -> AlterShareGroupOffsetsRequest {
    AlterShareGroupOffsetsRequest {
        group_id: group,
        topics: vec![AlterShareGroupOffsetsRequestTopic {
            topic_name: topic,
            partitions: vec![AlterShareGroupOffsetsRequestPartition {
                partition_index: 0,
                start_offset: 0,
            }],
        }],
    }
}

fn deleted(group: Str, topic: Str) -> DeleteShareGroupOffsetsRequest {
    DeleteShareGroupOffsetsRequest {
        group_id: group,
        topics: vec![DeleteShareGroupOffsetsRequestTopic { topic_name: topic }],
    }
}

/// A group without members that has an offset in a topic.
fn with_an_offset(at: &mut Scene) -> Result<Topic> {
    let topic = at.topic_for_consumers(1)?;
    at.left_share_group(MEMBER)?;
    let (set, asked) = (altered(at.name(), at.name()), described(at.name()));
    at.wait_for("an offset of the group", |at| {
        let answer = at.call(0, &set)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        let answer = at.call(1, &asked)?;
        ensure!(!answer.groups[0].topics.is_empty(), "{answer:?}");
        Ok(())
    });
    Ok(topic)
}

fn offsets() -> Vec<Case> {
    let mut cases = offsets_described();
    cases.extend(offsets_altered());
    cases.extend(offsets_deleted());
    cases
}

fn offsets_described() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a group that has read nothing", E::None, |at| {
            at.share_member(MEMBER)?;
            Ok(described(at.name()))
        }),
        case("a topic that it has not read", E::None, |at| {
            at.share_member(MEMBER)?;
            let topic = at.topic_for_consumers(1)?;
            Ok(DescribeShareGroupOffsetsRequest {
                groups: vec![DescribeShareGroupOffsetsRequestGroup {
                    group_id: at.name(),
                    topics: Some(vec![DescribeShareGroupOffsetsRequestTopic {
                        topic_name: topic.name,
                        partitions: vec![0],
                    }]),
                }],
            })
        }),
        case("an unknown group", E::None, |at| Ok(described(at.name()))),
        case("a classic group", E::None, |at| {
            at.stable_member(None)?;
            Ok(described(at.name()))
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(described(at.name()))
        })
        .by_nobody(),
    ]
}

fn offsets_altered() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a group without members", E::None, |at| {
            let topic = at.topic_for_consumers(1)?;
            at.left_share_group(MEMBER)?;
            Ok(altered(at.name(), topic.name))
        }),
        case("a group with members", E::NonEmptyGroup, |at| {
            at.share_member(MEMBER)?;
            Ok(altered(at.name(), "not-there".into()))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            at.left_share_group(MEMBER)?;
            Ok(altered(at.name(), "not-there".into()))
        }),
        case("an unknown group", E::None, |at| {
            let topic = at.topic_for_consumers(1)?;
            Ok(altered(at.name(), topic.name))
        }),
        case(
            "an unknown topic of an unknown group",
            E::UnknownTopicOrPartition,
            |at| Ok(altered(at.name(), "not-there".into())),
        ),
        case("a classic group", E::GroupIdNotFound, |at| {
            let topic = at.topic_for_consumers(1)?;
            at.stable_member(None)?;
            Ok(altered(at.name(), topic.name))
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(altered(at.name(), "not-there".into()))
        })
        .by_nobody(),
    ]
}

fn offsets_deleted() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a topic with an offset", E::None, |at| {
            let topic = with_an_offset(at)?;
            Ok(deleted(at.name(), topic.name))
        }),
        case("a topic without an offset", E::UnknownTopicOrPartition, |at| {
            with_an_offset(at)?;
            Ok(deleted(at.name(), "__consumer_offsets".into()))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            with_an_offset(at)?;
            Ok(deleted(at.name(), "not-there".into()))
        }),
        case("a topic of a group without offsets", E::None, |at| {
            let topic = at.topic_for_consumers(1)?;
            at.left_share_group(MEMBER)?;
            Ok(deleted(at.name(), topic.name))
        }),
        case("an unknown topic of a group without offsets", E::None, |at| {
            at.left_share_group(MEMBER)?;
            Ok(deleted(at.name(), "not-there".into()))
        }),
        case("a group with members", E::NonEmptyGroup, |at| {
            let topic = at.topic_for_consumers(1)?;
            at.share_member(MEMBER)?;
            Ok(deleted(at.name(), topic.name))
        }),
        case("an unknown group", E::GroupIdNotFound, |at| {
            let topic = at.topic_for_consumers(1)?;
            Ok(deleted(at.name(), topic.name))
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(deleted(at.name(), "not-there".into()))
        })
        .by_nobody(),
    ]
}
