//! Offsets of groups: OffsetCommit, OffsetFetch, OffsetDelete.

use flotilla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use flotilla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use flotilla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use flotilla_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use crate::case::{Case, case};
use crate::scene::{Member, Topic};

pub fn cases() -> Vec<Case> {
    [commit_cases(), fetch_cases(), delete_cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// Commits offset 5 of partition 0, by the topic's name or its id as the version has it.
pub fn commit(group: Str, version: i16, topic: &Topic, member: &Member) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group,
        generation_id_or_member_epoch: member.generation,
        member_id: member.id.clone(),
        topics: vec![OffsetCommitRequestTopic {
            name: if version < 10 {
                topic.name.clone()
            } else {
                "".into()
            },
            topic_id: if version < 10 { Uuid::ZERO } else { topic.id },
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 5,
                committed_leader_epoch: if version >= 6 { 0 } else { -1 },
                committed_metadata: Some("about it".into()),
            }],
        }],
        ..Default::default()
    }
}

fn commit_cases() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("without members", E::None, |at| {
            let topic = at.topic()?;
            Ok(commit(at.name(), at.version, &topic, &Member::none()))
        }),
        case("of a member", E::None, |at| {
            let (topic, member) = (at.topic()?, at.stable_member(None)?);
            Ok(commit(at.name(), at.version, &topic, &member))
        }),
        case("before the assignment", E::RebalanceInProgress, |at| {
            let (topic, member) = (at.topic()?, at.joined_member(None)?);
            Ok(commit(at.name(), at.version, &topic, &member))
        }),
        case("while others join", E::None, |at| {
            let (topic, member) = (at.topic()?, at.stable_member(None)?);
            at.join_of_another()?;
            Ok(commit(at.name(), at.version, &topic, &member))
        }),
        case("without members where there is one", E::UnknownMemberId, |at| {
            let topic = at.topic()?;
            at.stable_member(None)?;
            Ok(commit(at.name(), at.version, &topic, &Member::none()))
        }),
        case("an unknown member", E::UnknownMemberId, |at| {
            let topic = at.topic()?;
            at.stable_member(None)?;
            Ok(commit(at.name(), at.version, &topic, &Member::made_up()))
        }),
        case("another generation", E::IllegalGeneration, |at| {
            let (topic, mut member) = (at.topic()?, at.stable_member(None)?);
            member.generation += 1;
            Ok(commit(at.name(), at.version, &topic, &member))
        }),
        case("a member of an unknown group", E::IllegalGeneration, |at| {
            let topic = at.topic()?;
            Ok(commit(at.name(), at.version, &topic, &Member::made_up()))
        })
        .since(9, E::GroupIdNotFound),
        case("another's instance", E::FencedInstanceId, |at| {
            let (topic, mut member) = (at.topic()?, at.stable_member(Some("instance"))?);
            member.id = "made-up".into();
            Ok(OffsetCommitRequest {
                group_instance_id: Some("instance".into()),
                ..commit(at.name(), at.version, &topic, &member)
            })
        })
        .versions(7..=i16::MAX),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            let topic = Topic::unknown(at.name());
            Ok(commit(at.name(), at.version, &topic, &Member::none()))
        })
        .since(10, E::UnknownTopicId),
        case("an unknown partition", E::UnknownTopicOrPartition, |at| {
            let topic = at.topic()?;
            let mut request = commit(at.name(), at.version, &topic, &Member::none());
            request.topics[0].partitions[0].partition_index = 9;
            Ok(request)
        }),
        case("metadata that is too long", E::OffsetMetadataTooLarge, |at| {
            let topic = at.topic()?;
            let mut request = commit(at.name(), at.version, &topic, &Member::none());
            request.topics[0].partitions[0].committed_metadata = Some("x".repeat(5_000).into());
            Ok(request)
        }),
        case("an empty group id", E::None, |at| {
            let topic = at.topic()?;
            Ok(commit("".into(), at.version, &topic, &Member::none()))
        }),
        case("another epoch of a member", E::StaleMemberEpoch, |at| {
            let topic = at.topic()?;
            let mut member = at.consumer("")?;
            member.generation -= 1;
            Ok(commit(at.name(), at.version, &topic, &member))
        })
        .versions(9..=i16::MAX),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(commit(at.name(), at.version, &topic, &Member::none()))
        })
        .by_nobody(),
        case(
            "a topic that nobody may read",
            E::TopicAuthorizationFailed,
            |at| {
                let topic = at.topic()?;
                at.allow_group()?;
                Ok(commit(at.name(), at.version, &topic, &Member::none()))
            },
        )
        .by_nobody(),
    ]
}

/// Asks for partition 0 of a topic, or for all; in the form of the version.
fn fetch(group: Str, version: i16, topic: Option<&Topic>) -> OffsetFetchRequest {
    if version < 8 {
        return OffsetFetchRequest {
            group_id: group,
            topics: topic.map(|topic| {
                vec![OffsetFetchRequestTopic {
                    name: topic.name.clone(),
                    partition_indexes: vec![0],
                }]
            }),
            ..Default::default()
        };
    }
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group,
            topics: topic.map(|topic| {
                vec![OffsetFetchRequestTopics {
                    name: if version < 10 {
                        topic.name.clone()
                    } else {
                        "".into()
                    },
                    topic_id: if version < 10 { Uuid::ZERO } else { topic.id },
                    partition_indexes: vec![0],
                }]
            }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_cases() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("what was committed", E::None, |at| {
            let topic = at.topic()?;
            at.call(8, &commit(at.name(), 8, &topic, &Member::none()))?;
            Ok(fetch(at.name(), at.version, Some(&topic)))
        }),
        case("all that was committed", E::None, |at| {
            let topic = at.topic()?;
            at.call(8, &commit(at.name(), 8, &topic, &Member::none()))?;
            Ok(fetch(at.name(), at.version, None))
        })
        .versions(2..=i16::MAX),
        case("what was not committed", E::None, |at| {
            let topic = at.topic()?;
            Ok(fetch(at.name(), at.version, Some(&topic)))
        }),
        case("an unknown topic", E::None, |at| {
            let topic = Topic::unknown(at.name());
            Ok(fetch(at.name(), at.version, Some(&topic)))
        })
        .since(10, E::UnknownTopicId),
        case("all of an unknown group", E::None, |at| {
            Ok(fetch(at.name(), at.version, None))
        })
        .versions(2..=i16::MAX),
        case("what a transaction may change", E::UnstableOffsetCommit, |at| {
            let topic = at.topic()?;
            at.uncommitted_offset(&topic)?;
            Ok(OffsetFetchRequest {
                require_stable: true,
                ..fetch(at.name(), at.version, Some(&topic))
            })
        })
        .versions(7..=i16::MAX),
        case("an unknown member", E::UnknownMemberId, |at| {
            let topic = at.topic()?;
            at.consumer("")?;
            let mut request = fetch(at.name(), at.version, Some(&topic));
            request.groups[0].member_id = Some("made-up".into());
            request.groups[0].member_epoch = 1;
            Ok(request)
        })
        .versions(9..=i16::MAX),
        case("another epoch of a member", E::StaleMemberEpoch, |at| {
            let topic = at.topic()?;
            let member = at.consumer("")?;
            let mut request = fetch(at.name(), at.version, Some(&topic));
            request.groups[0].member_id = Some(member.id);
            request.groups[0].member_epoch = member.generation + 7;
            Ok(request)
        })
        .versions(9..=i16::MAX),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(fetch(at.name(), at.version, Some(&topic)))
        })
        .by_nobody(),
        case("a topic that nobody may see", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            at.allow_group()?;
            Ok(fetch(at.name(), at.version, Some(&topic)))
        })
        .by_nobody(),
    ]
}

fn delete_cases() -> Vec<Case> {
    use ErrorCode as E;
    let delete = |group: Str, topic: &Topic| OffsetDeleteRequest {
        group_id: group,
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.name.clone(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
        }],
    };
    vec![
        case("what was committed", E::None, move |at| {
            let topic = at.topic()?;
            at.call(8, &commit(at.name(), 8, &topic, &Member::none()))?;
            Ok(delete(at.name(), &topic))
        }),
        case("what was not committed", E::None, move |at| {
            let topic = at.topic()?;
            at.empty_group()?;
            Ok(delete(at.name(), &topic))
        }),
        case(
            "of a topic that members read",
            E::GroupSubscribedToTopic,
            move |at| {
                let topic = at.topic()?;
                let member = at.stable_member(None)?;
                at.call(8, &commit(at.name(), 8, &topic, &member))?;
                Ok(delete(at.name(), &topic))
            },
        ),
        case("of an unknown group", E::GroupIdNotFound, move |at| {
            let topic = at.topic()?;
            Ok(delete(at.name(), &topic))
        }),
        case("of an unknown topic", E::UnknownTopicOrPartition, move |at| {
            at.empty_group()?;
            Ok(delete(at.name(), &Topic::unknown(at.name())))
        }),
        case("an empty group id", E::InvalidGroupId, move |at| {
            let topic = at.topic()?;
            Ok(delete("".into(), &topic))
        }),
        case("by nobody", E::GroupAuthorizationFailed, move |at| {
            let topic = at.topic()?;
            Ok(delete(at.name(), &topic))
        })
        .by_nobody(),
    ]
}
