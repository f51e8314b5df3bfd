//! Groups of the new protocol (KIP-848).

mod both;
mod migration;
mod mixed;

use super::*;
use crate::group::consumer::{
    self, Beat, Current, Described, DescribedMember, GroupEpoch, Heartbeat, MemberState, Partitions, Refused,
    Resolution, Seen, State as ConsumerState, Subscription, TargetEpoch,
};
use crate::group::testing::{seen, seen_with};
use std::collections::BTreeSet;

const ORDERS: Uuid = Uuid([1; 16]);
const BILLS: Uuid = Uuid([2; 16]);

fn beat(member: &str, epoch: i32, seen: &Seen) -> Heartbeat {
    Heartbeat {
        group: text("g"),
        member_id: text(member),
        epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: -1,
        topics: None,
        regex: None,
        assignor: None,
        owned: None,
        classic: None,
        client_id: text("c"),
        client_host: text("/h"),
        fresh_id: text("fresh"),
        draws_own_id: true,
        seen: seen.clone(),
    }
}

fn joining(member: &str, topics: &[&str], seen: &Seen) -> Heartbeat {
    Heartbeat {
        rebalance_timeout_ms: 30_000,
        topics: Some(topics.iter().map(|topic| text(topic)).collect()),
        owned: Some(Partitions::default()),
        ..beat(member, 0, seen)
    }
}

fn owning(member: &str, epoch: i32, owned: &Partitions, seen: &Seen) -> Heartbeat {
    Heartbeat {
        owned: Some(owned.clone()),
        ..beat(member, epoch, seen)
    }
}

fn orders(partitions: impl IntoIterator<Item = i32>) -> Partitions {
    partitions
        .into_iter()
        .map(|partition| (ORDERS, partition))
        .collect()
}

fn told(member: &str, epoch: i32, assignment: Option<Partitions>) -> Beat {
    Beat {
        member_id: text(member),
        epoch,
        heartbeat_interval_ms: 5_000,
        assignment,
        to_resolve: BTreeSet::new(),
    }
}

fn refused_with(error: Error, message: &str) -> Refused {
    Refused {
        error,
        message: Some(message.to_owned()),
    }
}

impl Bench {
    /// Without a wait between assignments.
    fn eager() -> Self {
        let mut config = Config::default();
        config.consumer.assignment_interval_ms = 0;
        Self::with(config)
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat) -> Result<Beat, Refused> {
        match self.ask(Request::ConsumerHeartbeat(Box::new(heartbeat))) {
            Reply::ConsumerHeartbeat(answer) => answer,
            other => panic!("not an answer to a heartbeat: {other:?}"),
        }
    }

    fn described(&mut self) -> Described {
        match self.ask(Request::ConsumerDescribe(vec![text("g")])) {
            Reply::ConsumerDescribe(Ok(mut groups)) => groups.remove(0).expect("a group"),
            other => panic!("not described: {other:?}"),
        }
    }

    fn describe_refused(&mut self) -> Refused {
        match self.ask(Request::ConsumerDescribe(vec![text("g")])) {
            Reply::ConsumerDescribe(Ok(mut groups)) => groups.remove(0).expect_err("no group"),
            other => panic!("not described: {other:?}"),
        }
    }
}

fn of_group(record: consumer::Record) -> Record {
    Record::Consumer {
        group: text("g"),
        record,
    }
}

#[test]
fn the_first_member_gets_all_partitions_once_that_is_written() {
    let mut bench = Bench::new();
    let seen = seen(1, &[("orders", ORDERS, 2)]);
    bench.now_ms = 7;
    let request = joining("a", &["orders", "none"], &seen);
    let (to, effects) = bench.effects(Request::ConsumerHeartbeat(Box::new(request)));
    let [Effect::Append { write, records }] = &effects[..] else {
        panic!("one write: {effects:?}");
    };
    let Record::Consumer {
        record: consumer::Record::Group(Some(GroupEpoch { metadata_hash, .. })),
        ..
    } = records[1]
    else {
        panic!("an epoch: {records:?}");
    };
    assert_ne!(metadata_hash, 0);
    let subscription = Subscription {
        client_id: text("c"),
        client_host: text("/h"),
        topics: [text("orders"), text("none")].into(),
        rebalance_timeout_ms: 30_000,
        ..Subscription::default()
    };
    let current = Current {
        epoch: 1,
        previous_epoch: 0,
        state: MemberState::Stable,
        assigned: [(ORDERS, 0, 1), (ORDERS, 1, 1)].into_iter().collect(),
        revoking: Default::default(),
    };
    let member = text("a");
    assert_eq!(
        records[..],
        [
            of_group(consumer::Record::Member {
                member: member.clone(),
                value: Some(subscription.clone()),
            }),
            of_group(consumer::Record::Group(Some(GroupEpoch {
                epoch: 1,
                metadata_hash
            }))),
            of_group(consumer::Record::Target {
                member: member.clone(),
                value: Some(orders([0, 1])),
            }),
            of_group(consumer::Record::TargetEpoch(Some(TargetEpoch {
                epoch: 1,
                timestamp_ms: 7
            }))),
            of_group(consumer::Record::Current {
                member: member.clone(),
                value: Some(current),
            }),
        ]
    );
    assert_eq!(
        bench.describe_refused(),
        refused_with(Error::GroupNotFound, "there is no group g"),
        "nothing is shown before it is committed"
    );
    let write = *write;
    let after = bench.shard.committed(7, write);
    assert_eq!(
        after,
        [Effect::Reply {
            to,
            reply: Reply::ConsumerHeartbeat(Ok(told("a", 1, Some(orders([0, 1])))))
        }]
    );
    assert_eq!(
        bench.described(),
        Described {
            group: text("g"),
            state: ConsumerState::Stable,
            epoch: 1,
            target_epoch: 1,
            assignor: text("uniform"),
            members: vec![DescribedMember {
                member_id: member,
                epoch: 1,
                subscription,
                assigned: orders([0, 1]),
                target: orders([0, 1]),
            }],
        }
    );
    assert_eq!(bench.heartbeat(beat("a", 1, &seen)), Ok(told("a", 1, None)));
    let full = Heartbeat {
        epoch: 1,
        owned: Some(orders([0, 1])),
        ..joining("a", &["orders", "none"], &seen)
    };
    assert_eq!(
        bench.heartbeat(full),
        Ok(told("a", 1, Some(orders([0, 1])))),
        "who tells all is told all"
    );
    assert_eq!(bench.log, [], "nothing has changed since");
}

/// A group of two on four partitions, where `a` has not given up yet what `b` is to get.
fn two_members() -> (Bench, Seen) {
    let mut bench = Bench::eager();
    let seen = seen(1, &[("orders", ORDERS, 4)]);
    assert_eq!(
        bench.heartbeat(joining("a", &["orders"], &seen)),
        Ok(told("a", 1, Some(orders(0..4))))
    );
    assert_eq!(
        bench.heartbeat(joining("b", &["orders"], &seen)),
        Ok(told("b", 2, Some(Partitions::default())))
    );
    (bench, seen)
}

#[test]
fn partitions_are_given_up_before_another_gets_them() {
    let (mut bench, seen) = two_members();
    assert_eq!(bench.described().state, ConsumerState::Reconciling);
    // `a` is told what it may keep, and stays in its epoch until it has given up the rest.
    assert_eq!(
        bench.heartbeat(owning("a", 1, &orders(0..4), &seen)),
        Ok(told("a", 1, Some(orders(0..2))))
    );
    assert_eq!(bench.heartbeat(beat("a", 1, &seen)), Ok(told("a", 1, None)));
    assert_eq!(bench.heartbeat(beat("b", 2, &seen)), Ok(told("b", 2, None)));
    assert_eq!(
        bench.heartbeat(owning("a", 1, &orders(0..2), &seen)),
        Ok(told("a", 2, None))
    );
    assert_eq!(
        bench.heartbeat(beat("b", 2, &seen)),
        Ok(told("b", 2, Some(orders(2..4))))
    );
    assert_eq!(bench.described().state, ConsumerState::Stable);
    assert_eq!(bench.heartbeat(beat("a", 2, &seen)), Ok(told("a", 2, None)));
}

#[test]
fn assignments_keep_their_distance() {
    let mut bench = Bench::new();
    let seen = seen(1, &[("orders", ORDERS, 2)]);
    bench.now_ms = 1;
    bench.heartbeat(joining("a", &["orders"], &seen)).expect("joined");
    bench.now_ms = 1_000;
    assert_eq!(
        bench.heartbeat(joining("b", &["orders"], &seen)),
        Ok(told("b", 1, Some(Partitions::default())))
    );
    assert_eq!(bench.described().state, ConsumerState::Assigning);
    bench.now_ms = 1_001;
    assert_eq!(
        bench.heartbeat(owning("a", 1, &orders(0..2), &seen)),
        Ok(told("a", 1, Some(orders([0]))))
    );
    assert_eq!(bench.described().state, ConsumerState::Reconciling);
}

#[test]
fn requests_that_cannot_be_are_refused_with_the_reason() {
    let mut bench = Bench::new();
    let seen = seen(1, &[("orders", ORDERS, 2)]);
    let good = || joining("a", &["orders"], &seen);
    let invalid = [
        (
            Heartbeat {
                member_id: text(" "),
                ..good()
            },
            "a heartbeat needs a member id",
        ),
        (
            Heartbeat {
                group: text(" "),
                ..good()
            },
            "a heartbeat needs a group id",
        ),
        (
            Heartbeat {
                instance_id: Some(text("")),
                ..good()
            },
            "an instance id, where there is one, must not be empty",
        ),
        (
            Heartbeat {
                rack_id: Some(text("")),
                ..good()
            },
            "a rack, where there is one, must not be empty",
        ),
        (
            Heartbeat {
                member_id: "m".repeat(40_000).into(),
                ..good()
            },
            "the member id is longer than 32000 bytes",
        ),
        (
            Heartbeat {
                rebalance_timeout_ms: -1,
                ..good()
            },
            "who joins says its rebalance timeout",
        ),
        (
            Heartbeat {
                owned: None,
                ..good()
            },
            "who joins holds no partitions yet",
        ),
        (
            Heartbeat {
                owned: Some(orders([0])),
                ..good()
            },
            "who joins holds no partitions yet",
        ),
        (
            Heartbeat {
                topics: None,
                ..good()
            },
            "who joins subscribes to topics, by names or by a regular expression",
        ),
        (
            Heartbeat { epoch: -2, ..good() },
            "only a member with an instance id leaves for a while",
        ),
        (
            Heartbeat { epoch: -3, ..good() },
            "there is no such member epoch: -2 and -1 leave, 0 joins, larger ones go on",
        ),
    ];
    for (heartbeat, message) in invalid {
        assert_eq!(
            bench.heartbeat(heartbeat),
            Err(refused_with(Error::InvalidRequest, message))
        );
    }
    let others = [
        (
            Heartbeat {
                assignor: Some(text("sticky")),
                ..good()
            },
            Error::UnsupportedAssignor,
            "there is no server-side assignor `sticky`: choose one of uniform, range",
        ),
        (
            beat("a", 1, &seen),
            Error::GroupNotFound,
            "there is no consumer group g",
        ),
        (beat("a", -1, &seen), Error::GroupNotFound, "there is no group g"),
        (
            Heartbeat {
                regex: Some(text("[")),
                ..good()
            },
            Error::InvalidRegex,
            "the regular expression `[` cannot be read: unclosed character class",
        ),
    ];
    for (heartbeat, error, message) in others {
        assert_eq!(bench.heartbeat(heartbeat), Err(refused_with(error, message)));
    }
    assert_eq!(bench.log, []);
}

#[test]
fn members_in_another_epoch_are_fenced_unless_they_missed_our_answer() {
    let (mut bench, seen) = two_members();
    let fenced = |than: &str, epoch, known| {
        let message = format!(
            "the member is in epoch {epoch}, {than} than the {known} that the coordinator has: it has to give up its \
             partitions and join again"
        );
        Err(refused_with(Error::FencedMemberEpoch, &message))
    };
    assert_eq!(bench.heartbeat(beat("a", 2, &seen)), fenced("greater", 2, 1));
    let unknown = refused_with(Error::UnknownMember, "group g has no member c");
    assert_eq!(bench.heartbeat(beat("c", 2, &seen)), Err(unknown.clone()));
    assert_eq!(bench.heartbeat(beat("c", -1, &seen)), Err(unknown));
    bench
        .heartbeat(owning("a", 1, &orders(0..2), &seen))
        .expect("revoked");
    // It has not heard that it is in epoch 2.
    assert_eq!(
        bench.heartbeat(owning("a", 1, &orders(0..2), &seen)),
        Ok(told("a", 2, None))
    );
    assert_eq!(
        bench.heartbeat(owning("a", 1, &orders(0..3), &seen)),
        fenced("smaller", 1, 2)
    );
    assert_eq!(bench.heartbeat(beat("a", 1, &seen)), fenced("smaller", 1, 2));
    // Who begins anew is let in, and told everything.
    assert_eq!(
        bench.heartbeat(joining("a", &["orders"], &seen)),
        Ok(told("a", 2, Some(orders(0..2))))
    );
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut config = Config::default();
    config.consumer.members_max = 1;
    let mut bench = Bench::with(config);
    let seen = seen(1, &[]);
    bench.heartbeat(joining("a", &["orders"], &seen)).expect("room");
    assert_eq!(
        bench.heartbeat(joining("b", &["orders"], &seen)),
        Err(refused_with(
            Error::GroupFull,
            "the group is full: it has 1 members, as many as group.consumer.max.size allows"
        ))
    );
    assert_eq!(bench.heartbeat(beat("a", 1, &seen)), Ok(told("a", 1, None)));
}

fn static_join(member: &str, seen: &Seen) -> Heartbeat {
    Heartbeat {
        instance_id: Some(text("i")),
        ..joining(member, &["orders"], seen)
    }
}

#[test]
fn a_static_member_keeps_its_partitions_while_it_is_away_for_a_moment() {
    let mut bench = Bench::eager();
    let seen = seen(1, &[("orders", ORDERS, 2)]);
    bench.heartbeat(static_join("a", &seen)).expect("joined");
    assert_eq!(
        bench.heartbeat(static_join("b", &seen)),
        Err(refused_with(
            Error::UnreleasedInstance,
            "member b cannot join with instance id i: member a has it"
        ))
    );
    let away = Heartbeat {
        instance_id: Some(text("i")),
        ..beat("a", -2, &seen)
    };
    assert_eq!(
        bench.heartbeat(away),
        Ok(Beat {
            heartbeat_interval_ms: 0,
            ..told("a", -2, None)
        })
    );
    let epoch = bench.described().epoch;
    assert_eq!(
        bench.heartbeat(static_join("b", &seen)),
        Ok(told("b", epoch, Some(orders(0..2))))
    );
    let described = bench.described();
    assert_eq!(
        (described.epoch, described.members.len()),
        (epoch, 1),
        "nobody was moved"
    );
    let former = Heartbeat {
        instance_id: Some(text("i")),
        ..beat("a", epoch, &seen)
    };
    assert_eq!(
        bench.heartbeat(former.clone()),
        Err(refused_with(
            Error::FencedInstance,
            "instance id i was taken from member a by member b"
        ))
    );
    assert_eq!(
        bench.heartbeat(Heartbeat {
            instance_id: Some(text("j")),
            ..former
        }),
        Err(refused_with(Error::UnknownMember, "no member has instance id j"))
    );
    // The former self's session does not end the new one's; nor does it come back by itself.
    bench.advance(44_999);
    assert_eq!(bench.described().members.len(), 1);
    bench.advance(1);
    assert_eq!(bench.described().members.len(), 0, "the session is over");
}

#[test]
fn silent_members_and_those_that_give_nothing_up_are_put_out() {
    let (mut bench, seen) = two_members();
    bench
        .heartbeat(owning("a", 1, &orders(0..4), &seen))
        .expect("to revoke");
    for _ in 0..5 {
        bench.advance(5_000);
        bench
            .heartbeat(owning("a", 1, &orders(0..4), &seen))
            .expect("in time");
        bench.heartbeat(beat("b", 2, &seen)).expect("in time");
    }
    bench.advance(5_000);
    assert_eq!(
        bench.heartbeat(beat("a", 1, &seen)),
        Err(refused_with(Error::UnknownMember, "group g has no member a"))
    );
    assert_eq!(
        bench.heartbeat(beat("b", 2, &seen)),
        Ok(told("b", 3, Some(orders(0..4))))
    );
    bench.advance(44_999);
    bench.heartbeat(beat("b", 3, &seen)).expect("in time");
    bench.advance(45_000);
    let described = bench.described();
    assert_eq!((described.state, described.epoch), (ConsumerState::Empty, 4));
    assert_eq!(
        bench.shard.timers.next(),
        bench.shard.timers.deadline(&Key::Expiry)
    );
}

#[test]
fn a_group_goes_by_settings_of_its_own_within_what_the_broker_allows() {
    let mut bench = Bench::new();
    let seen = seen_with(
        1,
        &[("orders", ORDERS, 1)],
        &[
            ("consumer.session.timeout.ms", "50000"),
            ("consumer.heartbeat.interval.ms", "99000"),
        ],
    );
    let answer = bench.heartbeat(joining("a", &["orders"], &seen)).expect("joined");
    assert_eq!(answer.heartbeat_interval_ms, 15_000);
    bench.advance(49_999);
    assert_eq!(bench.described().members.len(), 1);
    bench.advance(1);
    assert_eq!(bench.described().members.len(), 0);
}

#[test]
fn topics_that_grow_appear_or_go_are_assigned_anew() {
    let mut bench = Bench::eager();
    let first = seen(1, &[("orders", ORDERS, 1)]);
    bench
        .heartbeat(joining("a", &["orders", "bills"], &first))
        .expect("joined");
    assert_eq!(
        bench.heartbeat(beat("a", 1, &seen(2, &[("orders", ORDERS, 1)]))),
        Ok(told("a", 1, None))
    );
    assert_eq!(bench.log.len(), 5, "another image of the same topics is no news");
    let grown = seen(3, &[("orders", ORDERS, 2), ("bills", BILLS, 1)]);
    let all: Partitions = [(ORDERS, 0), (ORDERS, 1), (BILLS, 0)].into_iter().collect();
    assert_eq!(
        bench.heartbeat(beat("a", 1, &grown)),
        Ok(told("a", 2, Some(all.clone())))
    );
    // A request that knows less than one before does not undo it.
    assert_eq!(bench.heartbeat(beat("a", 2, &first)), Ok(told("a", 2, None)));
    let gone = seen(4, &[("bills", BILLS, 1)]);
    let bills: Partitions = [(BILLS, 0)].into_iter().collect();
    assert_eq!(
        bench.heartbeat(owning("a", 2, &all, &gone)),
        Ok(told("a", 2, Some(bills.clone())))
    );
    assert_eq!(
        bench.heartbeat(owning("a", 2, &bills, &gone)),
        Ok(told("a", 3, None))
    );
}

#[test]
fn what_is_no_longer_subscribed_to_is_given_up_at_once() {
    let mut bench = Bench::new();
    bench.now_ms = 1;
    let seen = seen(1, &[("orders", ORDERS, 1), ("bills", BILLS, 1)]);
    let all: Partitions = [(ORDERS, 0), (BILLS, 0)].into_iter().collect();
    bench
        .heartbeat(joining("a", &["orders", "bills"], &seen))
        .expect("joined");
    // There is no new target yet: one was computed a moment ago.
    let request = Heartbeat {
        topics: Some([text("bills")].into()),
        ..owning("a", 1, &all, &seen)
    };
    let bills: Partitions = [(BILLS, 0)].into_iter().collect();
    assert_eq!(bench.heartbeat(request), Ok(told("a", 1, Some(bills))));
    assert_eq!(bench.described().target_epoch, 1);
}

#[test]
fn topics_are_found_by_regular_expression() {
    let mut bench = Bench::eager();
    bench.now_ms = 1;
    let first = seen(1, &[("orders", ORDERS, 1), ("bills", BILLS, 1)]);
    let joins = |member: &str, seen: &Seen| Heartbeat {
        topics: None,
        regex: Some(text("ord.*")),
        ..joining(member, &[], seen)
    };
    let answer = bench.heartbeat(joins("a", &first)).expect("joined");
    let asked: BTreeSet<Text> = [text("ord.*")].into();
    assert_eq!(
        answer,
        Beat {
            to_resolve: asked.clone(),
            ..told("a", 1, Some(Partitions::default()))
        }
    );
    assert_eq!(
        bench.heartbeat(beat("a", 1, &first)),
        Ok(told("a", 1, None)),
        "it is under way"
    );
    let resolve = |seen: &Seen| {
        Request::Resolution(Resolution {
            group: text("g"),
            topics: consumer::regex::resolve(&asked, seen),
            seen: seen.clone(),
        })
    };
    assert_eq!(bench.ask(resolve(&first)), Reply::Resolution(Ok(())));
    assert_eq!(
        bench.heartbeat(beat("a", 1, &first)),
        Ok(told("a", 2, Some(orders([0]))))
    );
    // A topic that matches appears: looked up again, but not more often than every ten seconds.
    let more = seen(2, &[("orders", ORDERS, 1), ("ordinary", BILLS, 1)]);
    assert_eq!(bench.heartbeat(beat("a", 2, &more)), Ok(told("a", 2, None)));
    bench.now_ms += 10_001;
    let answer = bench.heartbeat(beat("a", 2, &more)).expect("a member");
    assert_eq!(answer.to_resolve, asked);
    bench.ask(resolve(&more));
    let both: Partitions = [(ORDERS, 0), (BILLS, 0)].into_iter().collect();
    assert_eq!(
        bench.heartbeat(beat("a", 2, &more)),
        Ok(told("a", 3, Some(both.clone())))
    );
    // Nobody subscribes by it any more, and what it matched is forgotten.
    let by_name = Heartbeat {
        regex: Some(text("")),
        topics: Some([text("orders")].into()),
        ..owning("a", 3, &both, &more)
    };
    assert_eq!(bench.heartbeat(by_name), Ok(told("a", 3, Some(orders([0])))));
    assert!(bench.log.contains(&of_group(consumer::Record::Regex {
        regex: text("ord.*"),
        value: None
    })));
}

fn consumer_commit(member: &str, epoch: i32, partition: i32) -> Commit {
    let mut commit = commit(member, epoch, "orders", 5);
    commit.partitions[0].topic_id = ORDERS;
    commit.partitions[0].partition = partition;
    commit
}

#[test]
fn offsets_are_committed_and_asked_for_in_the_members_epoch() {
    let (mut bench, seen) = two_members();
    bench
        .heartbeat(owning("a", 1, &orders(0..2), &seen))
        .expect("revoked");
    let commits = [
        (consumer_commit("a", 2, 0), Ok(())),
        (consumer_commit("a", 3, 0), Err(Error::StaleMemberEpoch)),
        // It has had this partition since epoch 1, and has given that one up.
        (consumer_commit("a", 1, 0), Ok(())),
        (consumer_commit("a", 1, 2), Err(Error::StaleMemberEpoch)),
        (consumer_commit("a", 0, 0), Err(Error::StaleMemberEpoch)),
        (consumer_commit("c", 2, 0), Err(Error::UnknownMember)),
        (consumer_commit("", -1, 0), Err(Error::UnknownMember)),
        (
            Commit {
                knows_group_not_found: false,
                ..consumer_commit("a", 2, 0)
            },
            Err(Error::UnsupportedVersion),
        ),
    ];
    for (commit, expected) in commits {
        let expected = expected.map(|()| vec![Ok(())]);
        assert_eq!(
            bench.ask(Request::Commit(commit.clone())),
            Reply::Commit(expected),
            "{commit:?}"
        );
    }
    let in_transaction = Request::CommitInTransaction(consumer_commit("a", 9, 0), PRODUCER);
    assert_eq!(
        bench.ask(in_transaction),
        Reply::Commit(Err(Error::IllegalGeneration))
    );
    let mut fetch = |member: Option<(&str, i32)>| {
        let reply = bench.ask(Request::Fetch(Fetch {
            group: text("g"),
            partitions: None,
            require_stable: false,
            member: member.map(|(member, epoch)| (text(member), epoch)),
        }));
        match reply {
            Reply::Fetch(fetched) => fetched.map(|fetched| fetched.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fetch(None), Ok(1));
    assert_eq!(fetch(Some(("a", 2))), Ok(1));
    assert_eq!(fetch(Some(("a", 1))), Err(Error::StaleMemberEpoch));
    assert_eq!(fetch(Some(("c", 1))), Err(Error::UnknownMember));
}

#[test]
fn groups_are_listed_by_their_protocol_and_deleted_when_they_are_empty() {
    let (mut bench, seen) = two_members();
    bench.ask(Request::Commit(consumer_commit("b", 2, 0)));
    let listed = |state| {
        Reply::List(Ok(vec![ListedGroup {
            group: text("g"),
            kind: Kind::Consumer,
            protocol_type: text("consumer"),
            state,
        }]))
    };
    assert_eq!(bench.ask(Request::List), listed("Reconciling"));
    assert_eq!(
        bench.ask(Request::Describe(vec![text("g")])),
        Reply::Describe(Ok(vec![Err(Error::GroupNotFound)])),
        "DescribeGroups is for classic groups"
    );
    let delete = || Request::Delete(vec![text("g")]);
    assert_eq!(
        bench.ask(delete()),
        Reply::Delete(Ok(vec![Err(Error::NonEmptyGroup)]))
    );
    let partitions = |topic: &str| {
        vec![PartitionRef {
            topic: text(topic),
            topic_id: Uuid::ZERO,
            partition: 0,
        }]
    };
    let delete_offsets = |topic| Request::DeleteOffsets {
        group: text("g"),
        partitions: partitions(topic),
    };
    assert_eq!(
        bench.ask(delete_offsets("orders")),
        Reply::DeleteOffsets(Ok(vec![Err(Error::SubscribedToTopic)]))
    );
    assert_eq!(
        bench.ask(delete_offsets("bills")),
        Reply::DeleteOffsets(Ok(vec![Ok(())]))
    );
    bench.heartbeat(beat("a", -1, &seen)).expect("left");
    // An administrator puts the other one out.
    assert_eq!(bench.ask(leave("b")), Reply::Leave(Ok(vec![Ok(())])));
    assert_eq!(
        bench.ask(leave("b")),
        Reply::Leave(Ok(vec![Err(Error::UnknownMember)]))
    );
    assert_eq!(bench.ask(Request::List), listed("Empty"));
    assert_eq!(bench.ask(delete()), Reply::Delete(Ok(vec![Ok(())])));
    assert_eq!(bench.ask(Request::List), Reply::List(Ok(vec![])));
    assert_eq!(bench.committed_offset(), None);
    assert_replays(&mut bench);
}

/// What a coordinator reads back is what this one has.
fn assert_replays(bench: &mut Bench) {
    let mut shard = Shard::new(Config::default());
    for record in &bench.log {
        let (key, value) = record.encode().expect("short texts");
        let record = Record::decode(&key, value.as_deref())
            .expect("well formed")
            .expect("known");
        shard.replay(&record);
    }
    shard.loaded(bench.now_ms);
    let ids = [text("g")];
    let described = |shard: &Shard| {
        ids.iter()
            .map(|id| shard.consumer_describe(id))
            .collect::<Vec<_>>()
    };
    assert_eq!(described(&shard), described(&bench.shard));
    assert_eq!(shard.list(), bench.shard.list());
}

#[test]
fn another_coordinator_goes_on_where_this_one_ends() {
    let (mut bench, seen) = two_members();
    bench
        .heartbeat(owning("a", 1, &orders(0..4), &seen))
        .expect("to revoke");
    assert_replays(&mut bench);
    let mut next = Bench::eager();
    for record in &bench.log {
        next.shard.replay(record);
    }
    next.carry_out_loaded();
    assert_eq!(
        next.heartbeat(owning("a", 1, &orders(0..2), &seen)),
        Ok(told("a", 2, None))
    );
    assert_eq!(
        next.heartbeat(beat("b", 2, &seen)),
        Ok(told("b", 2, Some(orders(2..4))))
    );
    next.advance(45_000);
    assert_eq!(next.described().members, []);
}

impl Bench {
    fn carry_out_loaded(&mut self) {
        let effects = self.shard.loaded(self.now_ms);
        self.carry_out(effects);
    }
}

#[test]
fn a_write_that_failed_leaves_no_trace() {
    let mut bench = Bench::eager();
    let seen = seen(1, &[("orders", ORDERS, 2)]);
    bench.heartbeat(joining("a", &["orders"], &seen)).expect("joined");
    let before = bench.described();
    for request in [joining("b", &["orders"], &seen), beat("a", -1, &seen)] {
        let (to, effects) = bench.effects(Request::ConsumerHeartbeat(Box::new(request)));
        let [Effect::Append { write, .. }] = effects[..] else {
            panic!("{effects:?}");
        };
        let effects = bench.shard.failed(bench.now_ms, write, WriteError::NotReplicated);
        assert_eq!(
            effects,
            [Effect::Reply {
                to,
                reply: Reply::ConsumerHeartbeat(Err(Error::NotAvailable.into()))
            }]
        );
        assert_eq!(bench.described(), before);
    }
    assert_eq!(bench.heartbeat(beat("a", 1, &seen)), Ok(told("a", 1, None)));
    bench.advance(45_000);
    assert_eq!(bench.described().members, [], "its session counts still");
}

#[test]
fn an_empty_group_changes_its_protocol_and_keeps_its_offsets() {
    let mut bench = Bench::eager();
    let seen = seen(1, &[("orders", ORDERS, 1)]);
    bench.ask(Request::Commit(commit("", -1, "orders", 9)));
    // To the new one; a write that fails brings the classic group back.
    let request = Request::ConsumerHeartbeat(Box::new(joining("a", &["orders"], &seen)));
    let (_, effects) = bench.effects(request);
    let [Effect::Append { write, .. }] = effects[..] else {
        panic!("{effects:?}");
    };
    bench.shard.failed(0, write, WriteError::NotReplicated);
    assert!(matches!(
        bench.ask(Request::Describe(vec![text("g")])),
        Reply::Describe(Ok(groups)) if groups[0].is_ok()
    ));
    bench.heartbeat(joining("a", &["orders"], &seen)).expect("joined");
    assert_eq!(bench.committed_offset(), Some(9));
    assert_replays(&mut bench);
    bench.heartbeat(beat("a", -1, &seen)).expect("left");
    bench.join_dynamic("1");
    assert_eq!(
        bench.describe_refused(),
        refused_with(Error::GroupNotFound, "group g is not of the consumer protocol")
    );
    assert_eq!(bench.committed_offset(), Some(9));
    assert_eq!(
        bench.heartbeat(beat("b", 1, &seen)),
        Err(refused_with(
            Error::GroupNotFound,
            "group g is not of the consumer protocol"
        ))
    );
}

#[test]
fn offsets_of_an_empty_group_expire_and_the_group_with_them() {
    let mut bench = Bench::eager();
    let seen = seen(1, &[("orders", ORDERS, 1)]);
    bench.heartbeat(joining("a", &["orders"], &seen)).expect("joined");
    bench.ask(Request::Commit(consumer_commit("a", 1, 0)));
    bench.advance(8 * 24 * 60 * 60 * 1_000);
    assert_eq!(
        bench.describe_refused(),
        refused_with(Error::GroupNotFound, "there is no group g")
    );
    assert_eq!(bench.committed_offset(), None);
}

/// A client that does what Java's does: it holds what it is told to, and says so when that has changed.
#[derive(Clone, Debug, Default)]
struct Client {
    epoch: i32,
    owned: Partitions,
    wanted: Partitions,
    subscribed: BTreeSet<Text>,
}

#[derive(Clone, Debug)]
enum Event {
    Join(u8, u8),
    Leave(u8),
    Vanish(u8),
    Beat(u8),
    /// Gives up what it must, and takes what it may.
    Reconcile(u8),
    Topics(i32, i32),
    Wait(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let member = 0_u8..4;
    proptest::collection::vec(
        prop_oneof![
            2 => (member.clone(), 1_u8..4).prop_map(|(member, topics)| Event::Join(member, topics)),
            1 => member.clone().prop_map(Event::Leave),
            1 => member.clone().prop_map(Event::Vanish),
            6 => member.clone().prop_map(Event::Beat),
            6 => member.prop_map(Event::Reconcile),
            1 => (0_i32..6, 0_i32..4).prop_map(|(orders, bills)| Event::Topics(orders, bills)),
            1 => (0_u64..20_000).prop_map(Event::Wait),
        ],
        0..80,
    )
}

struct World {
    bench: Bench,
    clients: BTreeMap<u8, Client>,
    topics: (i32, i32),
    index: u64,
    is_range: bool,
}

impl World {
    fn seen(&self) -> Seen {
        seen(
            self.index,
            &[("orders", ORDERS, self.topics.0), ("bills", BILLS, self.topics.1)],
        )
    }

    fn send(&mut self, id: u8, says_owned: bool) {
        let seen = self.seen();
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        let member = format!("m{id}");
        let heartbeat = if client.epoch == 0 {
            Heartbeat {
                topics: Some(client.subscribed.clone()),
                assignor: self.is_range.then(|| text("range")),
                ..joining(&member, &[], &seen)
            }
        } else if says_owned {
            owning(&member, client.epoch, &client.owned, &seen)
        } else {
            beat(&member, client.epoch, &seen)
        };
        let answer = self.bench.heartbeat(heartbeat);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        match answer {
            Ok(answer) => {
                client.epoch = answer.epoch;
                if let Some(assignment) = answer.assignment {
                    client.wanted = assignment;
                }
            }
            Err(Refused {
                error: Error::UnknownMember | Error::FencedMemberEpoch | Error::GroupNotFound,
                ..
            }) => {
                *client = Client {
                    subscribed: client.subscribed.clone(),
                    ..Client::default()
                }
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn reconcile(&mut self, id: u8) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let kept: Partitions = client
            .owned
            .iter()
            .filter(|(topic, partition)| client.wanted.contains(*topic, *partition))
            .collect();
        if kept != client.owned {
            client.owned = kept;
            self.send(id, true);
        }
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.owned = client.wanted.clone();
        self.send(id, true);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Join(id, topics) => {
                let subscribed = [(1, "orders"), (2, "bills")]
                    .into_iter()
                    .filter(|(bit, _)| topics & bit != 0)
                    .map(|(_, topic)| text(topic));
                let client = self.clients.entry(id).or_default();
                if client.epoch == 0 {
                    client.subscribed = subscribed.collect();
                    self.send(id, true);
                }
            }
            Event::Leave(id) => {
                if self.clients.remove(&id).is_some_and(|client| client.epoch > 0) {
                    let seen = self.seen();
                    let _ = self.bench.heartbeat(beat(&format!("m{id}"), -1, &seen));
                }
            }
            Event::Vanish(id) => {
                self.clients.remove(&id);
            }
            Event::Beat(id) => self.send(id, false),
            Event::Reconcile(id) => self.reconcile(id),
            Event::Topics(orders, bills) => {
                // Topics only grow, or go and come again.
                self.index += 1;
                self.topics = (orders, bills);
            }
            Event::Wait(ms) => {
                self.bench.advance(ms);
                // Who is put out learns of it before another gets what it had, as clients end their sessions themselves.
                let there: BTreeSet<Text> = match self.bench.shard.consumers.get("g") {
                    Some(group) => group.members().map(|member| member.id.clone()).collect(),
                    None => BTreeSet::new(),
                };
                for (id, client) in &mut self.clients {
                    if !there.contains(&*format!("m{id}")) {
                        *client = Client {
                            subscribed: client.subscribed.clone(),
                            ..Client::default()
                        };
                    }
                }
            }
        }
    }

    /// Who holds what; no partition is held twice.
    fn owned(&self) -> BTreeMap<(Uuid, i32), u8> {
        let mut owned = BTreeMap::new();
        for (id, client) in &self.clients {
            for place in client.owned.iter() {
                assert_eq!(
                    owned.insert(place, *id),
                    None,
                    "{place:?} is held twice: {:?}",
                    self.clients
                );
            }
        }
        owned
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever members and topics do, no partition is ever held by two; and once they rest, each partition that is
    /// subscribed to is held by exactly one who subscribes to it.
    #[test]
    fn groups_converge_and_no_partition_is_held_twice(
        events in events(),
        is_range in any::<bool>(),
        interval_ms in prop_oneof![Just(0_u64), Just(1_000)],
    ) {
        let mut config = Config::default();
        config.consumer.assignment_interval_ms = interval_ms;
        let mut world = World {
            bench: Bench::with(config),
            clients: BTreeMap::new(),
            topics: (3, 2),
            index: 1,
            is_range,
        };
        for event in events {
            world.happen(event);
            world.owned();
        }
        // Those that vanished are put out, the others go on.
        for _ in 0..16 {
            world.happen(Event::Wait(5_000));
            for id in 0..4 {
                world.send(id, false);
                world.owned();
                world.reconcile(id);
                world.owned();
            }
        }
        let owned = world.owned();
        for (topic, name, count) in [(ORDERS, "orders", world.topics.0), (BILLS, "bills", world.topics.1)] {
            let readers: BTreeSet<u8> = world
                .clients
                .iter()
                .filter(|(_, client)| client.subscribed.contains(name))
                .map(|(id, _)| *id)
                .collect();
            for partition in 0..count {
                match owned.get(&(topic, partition)) {
                    Some(owner) => prop_assert!(readers.contains(owner)),
                    None => prop_assert!(readers.is_empty(), "{} {} is with nobody", name, partition),
                }
            }
        }
        if world.clients.values().any(|client| client.epoch > 0) {
            prop_assert_eq!(world.bench.described().state, ConsumerState::Stable);
        }
        assert_replays(&mut world.bench);
    }
}
