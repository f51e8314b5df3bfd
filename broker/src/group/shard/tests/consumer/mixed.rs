//! Members of the classic protocol in groups of the new one.

use super::migration::*;
use super::*;

#[test]
fn a_member_that_gives_up_only_what_moves_is_told_what_that_is_by_its_assignment() {
    let (mut bench, seen) = classic_group(config(), &[&[0, 1, 2, 3]]);
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    assert_eq!(bench.alive("c-1", 1, &seen), REBALANCE);
    // It stays in its generation while it holds what it has to give up.
    for owned in [&[0, 1, 2, 3][..], &[0, 1, 3]] {
        assert_eq!(
            bench.rejoin(cooperative_join("c-1", owned, &seen)),
            joined("c-1", 1)
        );
        assert_eq!(bench.resync("c-1", 1, &seen), synced(assignment(1, &[0, 1])));
        assert_eq!(bench.alive("c-1", 1, &seen), REBALANCE);
        assert_eq!(bench.heartbeat(beat("b", 2, &seen)), Ok(told("b", 2, None)));
    }
    assert_eq!(
        bench.rejoin(cooperative_join("c-1", &[0, 1], &seen)),
        joined("c-1", 2)
    );
    assert_eq!(bench.resync("c-1", 2, &seen), synced(assignment(1, &[0, 1])));
    assert_eq!(bench.alive("c-1", 2, &seen), Reply::Heartbeat(Ok(())));
    assert_eq!(
        bench.heartbeat(beat("b", 2, &seen)),
        Ok(told("b", 2, Some(orders(2..4))))
    );
}

#[test]
fn a_newcomer_of_the_classic_protocol_waits_for_what_others_give_up() {
    let mut bench = Bench::with(config());
    let seen = seen(1, &[("orders", ORDERS, 4)]);
    bench.heartbeat(joining("a", &["orders"], &seen)).expect("joined");
    assert_eq!(
        bench.rejoin(classic_join("", "1", &seen)),
        refused("1", Error::MemberIdRequired)
    );
    assert_eq!(bench.rejoin(classic_join("1", "unused", &seen)), joined("1", 2));
    assert_eq!(bench.resync("1", 2, &seen), synced(assignment(0, &[])));
    assert_eq!(bench.alive("1", 2, &seen), Reply::Heartbeat(Ok(())), "not yet");
    assert_eq!(
        bench.heartbeat(owning("a", 1, &orders(0..4), &seen)),
        Ok(told("a", 1, Some(orders(0..2))))
    );
    bench
        .heartbeat(owning("a", 1, &orders(0..2), &seen))
        .expect("revoked");
    assert_eq!(bench.alive("1", 2, &seen), REBALANCE, "it is free now");
    assert_eq!(bench.rejoin(classic_join("1", "unused", &seen)), joined("1", 2));
    assert_eq!(bench.resync("1", 2, &seen), synced(assignment(0, &[2, 3])));
    assert_eq!(bench.alive("1", 2, &seen), Reply::Heartbeat(Ok(())));
    assert_replays(&mut bench);
    // An old client is not asked to come with an id.
    let old = Join {
        requires_known_member_id: false,
        ..classic_join("", "2", &seen)
    };
    assert_eq!(bench.rejoin(old), joined("2", 3));
    let described = bench.described();
    let kinds: Vec<bool> = described
        .members
        .iter()
        .map(|member| member.subscription.classic.is_some())
        .collect();
    assert_eq!(kinds, [true, true, false]);
}

#[test]
fn joins_that_cannot_be_are_refused_as_kafka_does() {
    let mut small = config();
    small.consumer.members_max = 2;
    let (mut bench, seen) = mixed_group(small);
    let log = bench.log.len();
    let other = |member: &str, change: &dyn Fn(&mut Join)| {
        let mut join = classic_join(member, "unused", &seen);
        change(&mut join);
        join
    };
    let cases = [
        (other("", &|_| {}), Error::GroupFull),
        (other("d", &|_| {}), Error::GroupFull),
        (
            other("c-1", &|join| join.protocol_type = text("connect")),
            Error::InconsistentProtocol,
        ),
        (
            other("c-1", &|join| join.protocols = protocols(&["sticky"])),
            Error::InconsistentProtocol,
        ),
        (
            other("c-1", &|join| join.protocols = vec![]),
            Error::InconsistentProtocol,
        ),
        (
            other("c-1", &|join| {
                join.protocols[0].metadata = Bytes::from_static(b"m")
            }),
            Error::Unexpected,
        ),
        (
            other("c-1", &|join| join.session_timeout_ms = 1),
            Error::InvalidSessionTimeout,
        ),
    ];
    for (join, error) in cases {
        let member = join.member_id.clone();
        assert_eq!(bench.rejoin(join), refused(&member, error));
    }
    assert_eq!(bench.log.len(), log, "nothing was written");
}

#[test]
fn requests_of_those_who_are_no_classic_members_are_refused() {
    let (mut bench, seen) = mixed_group(config());
    for (member, generation, error) in [
        ("d", 2, Error::UnknownMember),
        ("b", 2, Error::UnknownMember),
        ("c-1", 1, Error::IllegalGeneration),
        ("c-1", 3, Error::IllegalGeneration),
    ] {
        assert_eq!(
            bench.alive(member, generation, &seen),
            Reply::Heartbeat(Err(error))
        );
        assert_eq!(bench.resync(member, generation, &seen), Reply::Sync(Err(error)));
    }
    let other = |change: &dyn Fn(&mut Sync)| {
        let mut sync = classic_sync("c-1", 2, &[], &seen);
        change(&mut sync);
        Request::Sync(sync)
    };
    for request in [
        other(&|sync| sync.protocol_type = Some(text("connect"))),
        other(&|sync| sync.protocol = Some(text("sticky"))),
    ] {
        assert_eq!(bench.ask(request), Reply::Sync(Err(Error::InconsistentProtocol)));
    }
    // Versions before 5 say neither.
    let unsaid = other(&|sync| (sync.protocol_type, sync.protocol) = (None, None));
    assert_eq!(
        bench.ask(unsaid),
        Reply::Sync(Ok(Assigned {
            protocol_type: None,
            protocol: None,
            assignment: assignment(0, &[0, 1]),
        }))
    );
}

#[test]
fn classic_members_commit_in_their_generation() {
    let (mut bench, _) = mixed_group(config());
    let ask =
        |bench: &mut Bench, generation| bench.ask(Request::Commit(commit("c-1", generation, "orders", 5)));
    assert_eq!(ask(&mut bench, 2), Reply::Commit(Ok(vec![Ok(())])));
    assert_eq!(ask(&mut bench, 3), Reply::Commit(Err(Error::IllegalGeneration)));
    let fetch = |member: &str, epoch| {
        Request::Fetch(Fetch {
            group: text("g"),
            partitions: None,
            require_stable: true,
            member: Some((text(member), epoch)),
        })
    };
    assert!(matches!(bench.ask(fetch("c-1", 2)), Reply::Fetch(Ok(_))));
    assert_eq!(
        bench.ask(fetch("c-1", 3)),
        Reply::Fetch(Err(Error::IllegalGeneration))
    );
}

#[test]
fn a_classic_member_has_its_own_session_and_the_time_it_asked_for_to_join_and_to_sync() {
    let members = |bench: &mut Bench| -> Vec<Text> {
        let described = bench.described();
        described
            .members
            .into_iter()
            .map(|member| member.member_id)
            .collect()
    };
    let keep = |bench: &mut Bench, seen: &Seen, epoch: i32| {
        for _ in 0..6 {
            bench.advance(9_000);
            bench.alive("c-1", epoch, seen);
            bench.heartbeat(beat("b", 2, seen)).expect("a member");
        }
    };
    // Silent.
    let (mut bench, _) = mixed_group(config());
    bench.advance(9_999);
    assert_eq!(members(&mut bench), [text("b"), text("c-1")]);
    bench.advance(1);
    assert_eq!(members(&mut bench), [text("b")]);
    // Silent from the moment on in which the group changed.
    let (mut bench, seen) = classic_group(config(), &[&[0, 1, 2, 3]]);
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    bench.advance(9_999);
    assert_eq!(members(&mut bench), [text("b"), text("c-1")]);
    bench.advance(1);
    assert_eq!(members(&mut bench), [text("b")]);
    // Alive, but it does not join again.
    let (mut bench, seen) = classic_group(config(), &[&[0, 1, 2, 3]]);
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    assert_eq!(bench.alive("c-1", 1, &seen), REBALANCE);
    keep(&mut bench, &seen, 1);
    bench.advance(5_999);
    assert_eq!(members(&mut bench), [text("b"), text("c-1")]);
    bench.advance(1);
    assert_eq!(members(&mut bench), [text("b")]);
    // It joins, and does not ask for its assignment.
    let (mut bench, seen) = classic_group(config(), &[&[0, 1, 2, 3]]);
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    assert_eq!(
        bench.rejoin(classic_join("c-1", "unused", &seen)),
        joined("c-1", 2)
    );
    keep(&mut bench, &seen, 2);
    bench.advance(5_999);
    assert_eq!(members(&mut bench), [text("b"), text("c-1")]);
    bench.advance(1);
    assert_eq!(members(&mut bench), [text("b")]);
    // Whoever is there for good has no more timers than its session.
    assert_eq!(
        bench.alive("c-1", 2, &seen),
        Reply::Heartbeat(Err(Error::UnknownMember))
    );
    let (mut bench, seen) = mixed_group(config());
    keep(&mut bench, &seen, 2);
    bench.advance(9_000);
    assert_eq!(members(&mut bench), [text("b"), text("c-1")]);
}

#[test]
fn a_classic_member_gives_up_at_once_what_it_no_longer_subscribes_to() {
    let mut config = config();
    config.consumer.assignment_interval_ms = 60_000;
    let (mut bench, seen) = mixed_group(config);
    let mut other = cooperative_join("c-1", &[0, 1], &seen);
    let of_orders = &cooperative(&[0, 1])[subscription(&["orders"]).len()..];
    let metadata = [&[0, 1], &subscription(&["bills"])[2..], of_orders].concat();
    other.protocols[0].metadata = metadata.into();
    // The next target is not there yet.
    assert_eq!(bench.rejoin(other), joined("c-1", 2));
    assert_eq!(bench.resync("c-1", 2, &seen), synced(assignment(1, &[])));
    assert_eq!(bench.alive("c-1", 2, &seen), REBALANCE);
}

#[test]
fn classic_members_join_again_only_when_there_is_another_target() {
    let mut config = config();
    config.consumer.assignment_interval_ms = 1_000;
    let (mut bench, seen) = mixed_group(config);
    bench.advance(1_000);
    let mut newcomer = |member: &str| {
        bench
            .heartbeat(joining(member, &["orders"], &seen))
            .expect("joined")
            .epoch
    };
    assert_eq!(newcomer("d"), 3);
    assert_eq!(newcomer("e"), 3, "there is a second between assignments");
    assert_eq!(bench.alive("c-1", 2, &seen), REBALANCE);
    assert_eq!(
        bench.rejoin(classic_join("c-1", "unused", &seen)),
        joined("c-1", 3)
    );
    assert!(matches!(bench.resync("c-1", 3, &seen), Reply::Sync(Ok(_))));
    assert_eq!(bench.alive("c-1", 3, &seen), Reply::Heartbeat(Ok(())));
    bench.advance(1_000);
    // Its own heartbeat is as good as another's to find that one is due.
    assert_eq!(bench.alive("c-1", 3, &seen), REBALANCE);
    assert_eq!(
        bench.rejoin(classic_join("c-1", "unused", &seen)),
        joined("c-1", 4)
    );
}
