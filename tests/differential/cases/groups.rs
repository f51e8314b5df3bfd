//! Classic groups: from FindCoordinator to OffsetDelete.

use bytes::Bytes;
use flotilla_protocol::messages::leave_group_request::MemberIdentity;
use flotilla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use flotilla_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, LeaveGroupRequest,
    ListGroupsRequest, SyncGroupRequest,
};
use flotilla_protocol::{ErrorCode, Str};

use crate::case::{Case, case};
use crate::scene::{Member, join};

pub fn cases() -> Vec<Case> {
    [
        find_coordinator(),
        join_group(),
        sync_group(),
        heartbeat(),
        leave_group(),
        describe_groups(),
        list_groups(),
        delete_groups(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn find_coordinator() -> Vec<Case> {
    use ErrorCode as E;
    let of = |key: Str, key_type, version| {
        let several = version >= 4;
        FindCoordinatorRequest {
            key: if several { "".into() } else { key.clone() },
            key_type,
            coordinator_keys: if several { vec![key] } else { Vec::new() },
        }
    };
    vec![
        case("of a group", E::None, move |at| Ok(of(at.name(), 0, at.version))),
        case("of a transactional id", E::None, move |at| {
            Ok(of(at.name(), 1, at.version))
        })
        .versions(1..=i16::MAX),
        case("of a kind that there is not", E::InvalidRequest, move |at| {
            Ok(of(at.name(), 7, at.version))
        })
        .versions(1..=i16::MAX),
        case("of a group with an empty id", E::None, move |at| {
            Ok(of("".into(), 0, at.version))
        }),
        case("of a group of nobody's", E::GroupAuthorizationFailed, move |at| {
            Ok(of(at.name(), 0, at.version))
        })
        .by_nobody(),
        case(
            "of a transactional id of nobody's",
            E::TransactionalIdAuthorizationFailed,
            move |at| Ok(of(at.name(), 1, at.version)),
        )
        .versions(1..=i16::MAX)
        .by_nobody(),
    ]
}

fn join_group() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("the first member", E::None, |at| {
            Ok(join(at.name(), at.version, "", None))
        })
        .since(4, E::MemberIdRequired),
        case("with the id that was given", E::None, |at| {
            let member = at.member_id()?;
            Ok(join(at.name(), at.version, &member, None))
        })
        .versions(4..=i16::MAX),
        case("a static member", E::None, |at| {
            Ok(join(at.name(), at.version, "", Some("instance")))
        })
        .versions(5..=i16::MAX),
        case("a static member that comes back", E::None, |at| {
            at.stable_member(Some("instance"))?;
            Ok(join(at.name(), at.version, "", Some("instance")))
        })
        .versions(5..=i16::MAX),
        case("again as the only member", E::None, |at| {
            let member = at.stable_member(None)?;
            Ok(join(at.name(), at.version, &member.id, None))
        }),
        case("an id that was not given", E::UnknownMemberId, |at| {
            Ok(join(at.name(), at.version, "made-up", None))
        }),
        case(
            "an id that was not given to a group that is there",
            E::UnknownMemberId,
            |at| {
                at.stable_member(None)?;
                Ok(join(at.name(), at.version, "made-up", None))
            },
        ),
        case("a static member with another's id", E::FencedInstanceId, |at| {
            at.stable_member(Some("instance"))?;
            Ok(join(at.name(), at.version, "made-up", Some("instance")))
        })
        .versions(5..=i16::MAX),
        case("a session that is too short", E::InvalidSessionTimeout, |at| {
            let mut request = join(at.name(), at.version, "", None);
            request.session_timeout_ms = 10;
            Ok(request)
        }),
        case("a session that is too long", E::InvalidSessionTimeout, |at| {
            let mut request = join(at.name(), at.version, "", None);
            request.session_timeout_ms = i32::MAX;
            Ok(request)
        }),
        case("an empty group id", E::InvalidGroupId, |at| {
            Ok(join("".into(), at.version, "", None))
        }),
        case("no protocols", E::InconsistentGroupProtocol, |at| {
            let mut request = join(at.name(), at.version, "", None);
            request.protocols.clear();
            Ok(request)
        }),
        case("no type of protocol", E::InconsistentGroupProtocol, |at| {
            let mut request = join(at.name(), at.version, "", None);
            request.protocol_type = "".into();
            Ok(request)
        }),
        case("another type of protocol", E::InconsistentGroupProtocol, |at| {
            at.stable_member(None)?;
            let mut request = join(at.name(), at.version, "", None);
            request.protocol_type = "connect".into();
            Ok(request)
        }),
        case("no protocol in common", E::InconsistentGroupProtocol, |at| {
            at.stable_member(None)?;
            let mut request = join(at.name(), at.version, "", None);
            request.protocols[0].name = "another".into();
            Ok(request)
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(join(at.name(), at.version, "", None))
        })
        .by_nobody(),
    ]
}

fn sync(group: Str, version: i16, member: &Member) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group,
        generation_id: member.generation,
        member_id: member.id.clone(),
        protocol_type: (version >= 5).then(|| "consumer".into()),
        protocol_name: (version >= 5).then(|| "range".into()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member.id.clone(),
            assignment: Bytes::from_static(b"an assignment"),
        }],
        ..Default::default()
    }
}

fn sync_group() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("the leader's assignment", E::None, |at| {
            let member = at.joined_member(None)?;
            Ok(sync(at.name(), at.version, &member))
        }),
        case("asked again", E::None, |at| {
            let member = at.stable_member(None)?;
            Ok(SyncGroupRequest {
                assignments: Vec::new(),
                ..sync(at.name(), at.version, &member)
            })
        }),
        case("an unknown group", E::UnknownMemberId, |at| {
            Ok(sync(at.name(), at.version, &Member::made_up()))
        }),
        case("an unknown member", E::UnknownMemberId, |at| {
            at.joined_member(None)?;
            Ok(sync(at.name(), at.version, &Member::made_up()))
        }),
        case("another generation", E::IllegalGeneration, |at| {
            let mut member = at.joined_member(None)?;
            member.generation += 1;
            Ok(sync(at.name(), at.version, &member))
        }),
        case("another protocol", E::InconsistentGroupProtocol, |at| {
            let member = at.joined_member(None)?;
            Ok(SyncGroupRequest {
                protocol_name: Some("another".into()),
                ..sync(at.name(), at.version, &member)
            })
        })
        .versions(5..=i16::MAX),
        case("while others join", E::RebalanceInProgress, |at| {
            let member = at.stable_member(None)?;
            at.join_of_another()?;
            Ok(sync(at.name(), at.version, &member))
        }),
        case("another's instance", E::FencedInstanceId, |at| {
            let member = at.joined_member(Some("instance"))?;
            let mut other = member.clone();
            other.id = "made-up".into();
            Ok(SyncGroupRequest {
                group_instance_id: Some("instance".into()),
                ..sync(at.name(), at.version, &other)
            })
        })
        .versions(3..=i16::MAX),
        case("an empty group id", E::InvalidGroupId, |at| {
            Ok(sync("".into(), at.version, &Member::made_up()))
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(sync(at.name(), at.version, &Member::made_up()))
        })
        .by_nobody(),
    ]
}

fn beat(group: Str, member: &Member) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group,
        generation_id: member.generation,
        member_id: member.id.clone(),
        group_instance_id: None,
    }
}

fn heartbeat() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("of a member", E::None, |at| {
            let member = at.stable_member(None)?;
            Ok(beat(at.name(), &member))
        }),
        case("before the assignment", E::None, |at| {
            let member = at.joined_member(None)?;
            Ok(beat(at.name(), &member))
        }),
        case("while others join", E::RebalanceInProgress, |at| {
            let member = at.stable_member(None)?;
            at.join_of_another()?;
            Ok(beat(at.name(), &member))
        }),
        case("an unknown group", E::UnknownMemberId, |at| {
            Ok(beat(at.name(), &Member::made_up()))
        }),
        case("an unknown member", E::UnknownMemberId, |at| {
            at.stable_member(None)?;
            Ok(beat(at.name(), &Member::made_up()))
        }),
        case("another generation", E::IllegalGeneration, |at| {
            let mut member = at.stable_member(None)?;
            member.generation += 1;
            Ok(beat(at.name(), &member))
        }),
        case("another's instance", E::FencedInstanceId, |at| {
            let mut member = at.stable_member(Some("instance"))?;
            member.id = "made-up".into();
            Ok(HeartbeatRequest {
                group_instance_id: Some("instance".into()),
                ..beat(at.name(), &member)
            })
        })
        .versions(3..=i16::MAX),
        case("an unknown instance", E::UnknownMemberId, |at| {
            let member = at.stable_member(Some("instance"))?;
            Ok(HeartbeatRequest {
                group_instance_id: Some("another".into()),
                ..beat(at.name(), &member)
            })
        })
        .versions(3..=i16::MAX),
        case("an empty group id", E::InvalidGroupId, |_| {
            Ok(beat("".into(), &Member::made_up()))
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(beat(at.name(), &Member::made_up()))
        })
        .by_nobody(),
    ]
}

fn leave(group: Str, version: i16, member: Str, instance: Option<&'static str>) -> LeaveGroupRequest {
    if version < 3 {
        return LeaveGroupRequest {
            group_id: group,
            member_id: member,
            members: Vec::new(),
        };
    }
    LeaveGroupRequest {
        group_id: group,
        member_id: "".into(),
        members: vec![MemberIdentity {
            member_id: member,
            group_instance_id: instance.map(Str::from),
            reason: (version >= 5).then(|| "the case ends".into()),
        }],
    }
}

fn leave_group() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a member", E::None, |at| {
            let member = at.stable_member(None)?;
            Ok(leave(at.name(), at.version, member.id, None))
        }),
        case("a static member by its instance", E::None, |at| {
            at.stable_member(Some("instance"))?;
            Ok(leave(at.name(), at.version, "".into(), Some("instance")))
        })
        .versions(3..=i16::MAX),
        case("an unknown group", E::UnknownMemberId, |at| {
            Ok(leave(at.name(), at.version, "made-up".into(), None))
        }),
        case("an unknown member", E::UnknownMemberId, |at| {
            at.stable_member(None)?;
            Ok(leave(at.name(), at.version, "made-up".into(), None))
        }),
        case("an unknown instance", E::UnknownMemberId, |at| {
            at.stable_member(None)?;
            Ok(leave(at.name(), at.version, "".into(), Some("another")))
        })
        .versions(3..=i16::MAX),
        case("another's instance", E::FencedInstanceId, |at| {
            at.stable_member(Some("instance"))?;
            Ok(leave(at.name(), at.version, "made-up".into(), Some("instance")))
        })
        .versions(3..=i16::MAX),
        case("an empty group id", E::InvalidGroupId, |at| {
            Ok(leave("".into(), at.version, "made-up".into(), None))
        }),
        case("by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(leave(at.name(), at.version, "made-up".into(), None))
        })
        .by_nobody(),
    ]
}

fn describe_groups() -> Vec<Case> {
    use ErrorCode as E;
    let of = |group| DescribeGroupsRequest {
        groups: vec![group],
        include_authorized_operations: false,
    };
    vec![
        case("a stable group", E::None, move |at| {
            at.stable_member(None)?;
            Ok(of(at.name()))
        }),
        case("a group of a static member", E::None, move |at| {
            at.stable_member(Some("instance"))?;
            Ok(of(at.name()))
        }),
        case("a group that waits for its assignment", E::None, move |at| {
            at.joined_member(None)?;
            at.wait_for_group();
            Ok(of(at.name()))
        }),
        case("a group that everybody left", E::None, move |at| {
            at.empty_group()?;
            Ok(of(at.name()))
        }),
        case("what may be done", E::None, |at| {
            at.stable_member(None)?;
            Ok(DescribeGroupsRequest {
                groups: vec![at.name()],
                include_authorized_operations: true,
            })
        })
        .versions(3..=i16::MAX),
        case("an unknown group", E::None, move |at| Ok(of(at.name()))).since(6, E::GroupIdNotFound),
        case("an empty group id", E::None, move |_| Ok(of("".into()))).since(6, E::GroupIdNotFound),
        case("by nobody", E::GroupAuthorizationFailed, move |at| {
            Ok(of(at.name()))
        })
        .by_nobody(),
    ]
}

fn list_groups() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("all", E::None, |at| {
            at.stable_member(None)?;
            Ok(ListGroupsRequest::default())
        })
        .own("groups"),
        case("those of a state", E::None, |at| {
            at.stable_member(None)?;
            Ok(ListGroupsRequest {
                states_filter: vec!["Stable".into()],
                ..Default::default()
            })
        })
        .versions(4..=i16::MAX)
        .own("groups"),
        case("those of another state", E::None, |at| {
            at.stable_member(None)?;
            Ok(ListGroupsRequest {
                states_filter: vec!["Empty".into(), "made-up".into()],
                ..Default::default()
            })
        })
        .versions(4..=i16::MAX)
        .own("groups"),
        case("those of a type", E::None, |at| {
            at.stable_member(None)?;
            Ok(ListGroupsRequest {
                types_filter: vec!["classic".into()],
                ..Default::default()
            })
        })
        .versions(5..=i16::MAX)
        .own("groups"),
        case("by nobody", E::None, |at| {
            at.stable_member(None)?;
            Ok(ListGroupsRequest::default())
        })
        .by_nobody()
        .own("groups"),
    ]
}

fn delete_groups() -> Vec<Case> {
    use ErrorCode as E;
    let of = |group| DeleteGroupsRequest {
        groups_names: vec![group],
    };
    vec![
        case("an empty group", E::None, move |at| {
            at.empty_group()?;
            Ok(of(at.name()))
        }),
        case("a group with a member", E::NonEmptyGroup, move |at| {
            at.stable_member(None)?;
            Ok(of(at.name()))
        }),
        case("an unknown group", E::GroupIdNotFound, move |at| {
            Ok(of(at.name()))
        }),
        case("an empty group id", E::GroupIdNotFound, move |_| {
            Ok(of("".into()))
        }),
        case("by nobody", E::GroupAuthorizationFailed, move |at| {
            Ok(of(at.name()))
        })
        .by_nobody(),
    ]
}
