//! Groups that go from one protocol to the other while they have members.

use super::*;
use crate::group::consumer::{Classic, MigrationPolicy};

pub(super) const WAIT_MS: i32 = 60_000;

/// A list of topics with partitions, as it stands in what members tell each other.
fn places(topics: &[(&str, &[i32])]) -> Vec<u8> {
    let mut bytes = (topics.len() as i32).to_be_bytes().to_vec();
    for (topic, partitions) in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
        bytes.extend((partitions.len() as i32).to_be_bytes());
        for partition in *partitions {
            bytes.extend(partition.to_be_bytes());
        }
    }
    bytes
}

const NO_USER_DATA: [u8; 4] = [0xFF; 4];

/// An assignment in that version; without partitions, of no topic at all.
pub(super) fn assignment(version: i16, partitions: &[i32]) -> Bytes {
    let of_orders: &[(&str, &[i32])] = match partitions {
        [] => &[],
        partitions => &[("orders", partitions)],
    };
    [&version.to_be_bytes()[..], &places(of_orders), &NO_USER_DATA]
        .concat()
        .into()
}

/// A subscription to `orders` of a member that gives up only what moves, and says what it holds.
pub(super) fn cooperative(owned: &[i32]) -> Bytes {
    let owned = places(&[("orders", owned)]);
    [&[0, 1][..], &subscription(&["orders"])[2..], &owned]
        .concat()
        .into()
}

/// JoinGroup of a member that gives everything up before it joins.
pub(super) fn classic_join(member_id: &str, fresh_id: &str, seen: &Seen) -> Join {
    Join {
        protocols: vec![Protocol {
            name: text("range"),
            metadata: subscription(&["orders"]),
        }],
        rebalance_timeout_ms: WAIT_MS,
        seen: seen.clone(),
        ..join(member_id, fresh_id)
    }
}

pub(super) fn cooperative_join(member_id: &str, owned: &[i32], seen: &Seen) -> Join {
    Join {
        protocols: vec![Protocol {
            name: text("range"),
            metadata: cooperative(owned),
        }],
        ..classic_join(member_id, "unused", seen)
    }
}

pub(super) fn classic_sync(
    member_id: &str,
    generation: i32,
    assignments: &[(&str, Bytes)],
    seen: &Seen,
) -> Sync {
    Sync {
        group: text("g"),
        generation,
        member_id: text(member_id),
        instance_id: None,
        protocol_type: Some(text("consumer")),
        protocol: Some(text("range")),
        assignments: assignments
            .iter()
            .map(|(member, assignment)| (text(member), assignment.clone()))
            .collect(),
        seen: seen.clone(),
    }
}

pub(super) fn synced(assignment: Bytes) -> Reply {
    Reply::Sync(Ok(Assigned {
        protocol_type: Some(text("consumer")),
        protocol: Some(text("range")),
        assignment,
    }))
}

pub(super) fn joined(member_id: &str, generation: i32) -> Reply {
    Reply::Join(Joined {
        error: None,
        generation,
        protocol_type: Some(text("consumer")),
        protocol: Some(text("range")),
        leader: text(""),
        skip_assignment: false,
        member_id: text(member_id),
        members: vec![],
    })
}

pub(super) fn alive(member_id: &str, generation: i32, seen: &Seen) -> Request {
    Request::Heartbeat {
        group: text("g"),
        member_id: text(member_id),
        instance_id: None,
        generation,
        seen: seen.clone(),
    }
}

pub(super) const REBALANCE: Reply = Reply::Heartbeat(Err(Error::RebalanceInProgress));

impl Bench {
    pub(super) fn rejoin(&mut self, request: Join) -> Reply {
        self.ask(Request::Join(request))
    }

    pub(super) fn resync(&mut self, member_id: &str, generation: i32, seen: &Seen) -> Reply {
        self.ask(Request::Sync(classic_sync(member_id, generation, &[], seen)))
    }

    pub(super) fn alive(&mut self, member_id: &str, generation: i32, seen: &Seen) -> Reply {
        self.ask(alive(member_id, generation, seen))
    }

    /// How many groups there are, and of which kind the first is.
    fn kinds(&mut self) -> (usize, Option<Kind>) {
        match self.ask(Request::List) {
            Reply::List(Ok(listed)) => (listed.len(), listed.first().map(|group| group.kind)),
            other => panic!("not listed: {other:?}"),
        }
    }

    /// What a coordinator that reads the log goes on with.
    pub(super) fn moved(&self) -> Self {
        Self {
            shard: self.reloaded(),
            now_ms: self.now_ms,
            tickets: 0,
            replies: BTreeMap::new(),
            log: self.log.clone(),
        }
    }
}

/// A stable classic group in generation 1: `c-1`, `c-2` and so on, each with what it was assigned of `orders`.
pub(super) fn classic_group(config: Config, assigned: &[&[i32]]) -> (Bench, Seen) {
    let mut bench = Bench::with(config);
    let seen = seen(1, &[("orders", ORDERS, 4)]);
    let ids: Vec<String> = (1..=assigned.len()).map(|member| format!("c-{member}")).collect();
    let mut waiting = Vec::new();
    for (place, id) in ids.iter().enumerate() {
        let fresh = (place + 1).to_string();
        bench.rejoin(classic_join("", &fresh, &seen));
        waiting.push(bench.send(Request::Join(classic_join(id, "unused", &seen))));
    }
    bench.advance(3_000 * assigned.len() as u64);
    for to in waiting {
        assert_eq!(bench.joined(to).error, None);
    }
    let parts: Vec<(&str, Bytes)> = ids
        .iter()
        .zip(assigned)
        .map(|(id, partitions)| (&**id, assignment(0, partitions)))
        .collect();
    for id in &ids {
        bench.send(Request::Sync(classic_sync(id, 1, &parts, &seen)));
    }
    bench.replies.clear();
    assert_eq!(bench.state(), State::Stable);
    (bench, seen)
}

pub(super) fn config() -> Config {
    let mut config = Config::default();
    config.consumer.assignment_interval_ms = 0;
    config
}

fn policy(migration_policy: MigrationPolicy) -> Config {
    let mut config = config();
    config.consumer.migration_policy = migration_policy;
    config
}

fn classic_subscription() -> Subscription {
    Subscription {
        client_id: text("c"),
        client_host: text("/h"),
        topics: [text("orders")].into(),
        regex: Some(text("")),
        rebalance_timeout_ms: WAIT_MS,
        classic: Some(Classic {
            session_timeout_ms: 10_000,
            protocols: vec![Protocol {
                name: text("range"),
                metadata: subscription(&["orders"]),
            }],
        }),
        ..Subscription::default()
    }
}

fn stable_in(epoch: i32, previous_epoch: i32, assigned: impl IntoIterator<Item = i32>) -> Current {
    Current {
        epoch,
        previous_epoch,
        state: MemberState::Stable,
        assigned: assigned
            .into_iter()
            .map(|partition| (ORDERS, partition, epoch))
            .collect(),
        revoking: Default::default(),
    }
}

/// The hash that stands in the only record of its kind.
fn metadata_hash(records: &[Record]) -> i64 {
    let hash = records.iter().find_map(|record| match record {
        Record::Consumer {
            record: consumer::Record::Group(Some(group)),
            ..
        } => Some(group.metadata_hash),
        _ => None,
    });
    hash.expect("an epoch")
}

#[test]
fn a_classic_group_with_members_becomes_one_of_the_new_protocol_in_one_write() {
    let (mut bench, seen) = classic_group(config(), &[&[0, 1, 2, 3]]);
    bench.ask(Request::Commit(commit("c-1", 1, "orders", 9)));
    let request = Request::ConsumerHeartbeat(Box::new(joining("b", &["orders"], &seen)));
    let (to, effects) = bench.effects(request);
    let [Effect::Append { write, records }] = &effects[..] else {
        panic!("one write: {effects:?}");
    };
    let metadata_hash = metadata_hash(records);
    assert_ne!(metadata_hash, 0);
    let now_ms = bench.now_ms.cast_signed();
    let epoch = |epoch| consumer::Record::Group(Some(GroupEpoch { epoch, metadata_hash }));
    let target_epoch =
        |epoch, timestamp_ms| consumer::Record::TargetEpoch(Some(TargetEpoch { epoch, timestamp_ms }));
    let member = |member: &str, value| consumer::Record::Member {
        member: text(member),
        value: Some(value),
    };
    let target = |member: &str, value| consumer::Record::Target {
        member: text(member),
        value: Some(value),
    };
    let current = |member: &str, value| consumer::Record::Current {
        member: text(member),
        value: Some(value),
    };
    let mut expected = vec![Record::GroupMetadata {
        group: text("g"),
        value: None,
    }];
    let newcomer = Subscription {
        regex: None,
        rebalance_timeout_ms: 30_000,
        classic: None,
        ..classic_subscription()
    };
    let waiting = Current {
        state: MemberState::UnreleasedPartitions,
        ..stable_in(2, 0, [])
    };
    expected.extend(
        [
            member("c-1", classic_subscription()),
            epoch(1),
            target("c-1", orders(0..4)),
            target_epoch(1, 0),
            current("c-1", stable_in(1, 1, 0..4)),
            // And now the one who joins.
            member("b", newcomer),
            epoch(2),
            target("b", orders(2..4)),
            target("c-1", orders(0..2)),
            target_epoch(2, now_ms),
            current("b", waiting),
        ]
        .map(of_group),
    );
    assert_eq!(records[..], expected);
    // Until that is committed the group is shown as it was.
    assert_eq!(bench.state(), State::Stable);
    assert_eq!(bench.kinds(), (1, Some(Kind::Classic)));
    let write = *write;
    let after = bench.shard.committed(bench.now_ms, write);
    let answer = Reply::ConsumerHeartbeat(Ok(told("b", 2, Some(Partitions::default()))));
    assert_eq!(after, [Effect::Reply { to, reply: answer }]);
    assert_eq!(bench.kinds(), (1, Some(Kind::Consumer)));
    assert_eq!(
        bench.ask(Request::Describe(vec![text("g")])),
        Reply::Describe(Ok(vec![Err(Error::GroupNotFound)]))
    );
    assert_eq!(bench.committed_offset(), Some(9));
}

#[test]
fn who_waits_in_the_classic_group_is_told_to_join_again_and_is_a_member() {
    let mut bench = Bench::with(config());
    let seen = seen(1, &[("orders", ORDERS, 4)]);
    bench.rejoin(classic_join("", "1", &seen));
    let to = bench.send(Request::Join(classic_join("c-1", "unused", &seen)));
    // The first generation has not begun: the group has agreed on no protocol yet.
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    assert_eq!(
        bench.replies.remove(&to),
        Some(refused("c-1", Error::RebalanceInProgress))
    );
    assert_eq!(
        bench.rejoin(classic_join("c-1", "unused", &seen)),
        joined("c-1", 1)
    );
    assert_eq!(bench.resync("c-1", 1, &seen), synced(assignment(0, &[1, 3])));
    // In the middle of a later one somebody waits for its assignment, and another has not asked yet.
    let (mut bench, seen) = classic_group(config(), &[&[0, 1], &[2, 3]]);
    let first = bench.send(Request::Join(Join {
        protocols: protocols(&["range", "other"]),
        ..classic_join("c-1", "unused", &seen)
    }));
    let second = bench.send(Request::Join(classic_join("c-2", "unused", &seen)));
    let generation = bench.joined(first).generation;
    assert_eq!((generation, bench.joined(second).generation), (2, 2));
    let waiting = bench.send(Request::Sync(classic_sync("c-2", 2, &[], &seen)));
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    assert_eq!(
        bench.replies.remove(&waiting),
        Some(Reply::Sync(Err(Error::RebalanceInProgress)))
    );
    assert_eq!(
        bench.resync("c-1", 2, &seen),
        Reply::Sync(Err(Error::RebalanceInProgress))
    );
}

#[test]
fn what_members_hold_in_the_middle_of_a_rebalance_is_given_to_nobody_else() {
    let (mut bench, seen) = classic_group(config(), &[&[0, 1, 2, 3]]);
    let to = bench.send(Request::Join(cooperative_join("c-1", &[0, 1, 2, 3], &seen)));
    assert_eq!(bench.joined(to).generation, 2);
    // Another one comes, and the assignment of the second generation is withdrawn before there was one.
    bench.rejoin(classic_join("", "2", &seen));
    bench.send(Request::Join(Join {
        protocols: cooperative_join("", &[], &seen).protocols,
        ..classic_join("c-2", "unused", &seen)
    }));
    assert_eq!(bench.state(), State::PreparingRebalance);
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    let described = bench.described();
    let held: Vec<(&str, Partitions)> = described
        .members
        .iter()
        .map(|member| (&*member.member_id, member.assigned.clone()))
        .collect();
    assert_eq!(
        held,
        [
            ("b", Partitions::default()),
            ("c-1", orders(0..4)),
            ("c-2", Partitions::default())
        ]
    );
}

#[test]
fn groups_that_cannot_go_to_the_new_protocol_say_why() {
    let refusal = |config, change: &dyn Fn(&mut Bench, &Seen)| {
        let (mut bench, seen) = classic_group(config, &[&[0, 1, 2, 3]]);
        change(&mut bench, &seen);
        let before = bench.shard.groups.clone();
        let log = bench.log.len();
        let refused = bench
            .heartbeat(joining("b", &["orders"], &seen))
            .expect_err("refused");
        assert_eq!(bench.log.len(), log);
        assert_eq!(bench.shard.groups, before, "nothing has changed");
        (refused.error, refused.message.unwrap_or_default())
    };
    let prefix = "group g cannot go to the consumer protocol: ";
    let nothing = |_: &mut Bench, _: &Seen| {};
    let policies =
        [MigrationPolicy::Disabled, MigrationPolicy::Downgrade].map(|named| refusal(policy(named), &nothing));
    let not_allowed = format!(
        "{prefix}it has members of the classic protocol, and group.consumer.migration.policy does not allow it"
    );
    for refused in policies {
        assert_eq!(refused, (Error::GroupNotFound, not_allowed.clone()));
    }
    let mut small = config();
    small.consumer.members_max = 1;
    assert_eq!(
        refusal(small.clone(), &|bench, seen| {
            bench.rejoin(classic_join("", "2", seen));
            bench.send(Request::Join(classic_join("c-2", "unused", seen)));
        }),
        (
            Error::GroupNotFound,
            format!("{prefix}it has 2 members, more than the 1 that group.consumer.max.size allows")
        )
    );
    // As many as it may have, but for the one who joins.
    assert_eq!(
        refusal(small, &nothing),
        (
            Error::GroupFull,
            "the group is full: it has 1 members, as many as group.consumer.max.size allows".to_owned()
        )
    );
    let metadata = |metadata: &'static [u8]| {
        refusal(config(), &|bench, seen| {
            bench.send(Request::Join(Join {
                protocols: vec![Protocol {
                    name: text("range"),
                    metadata: Bytes::from_static(metadata),
                }],
                ..classic_join("c-1", "unused", seen)
            }));
        })
    };
    let cannot_read = |why: &str| {
        let message = format!("{prefix}member c-1 has a subscription that cannot be read: {why}");
        (Error::GroupNotFound, message)
    };
    assert_eq!(metadata(b"m"), cannot_read("it ends before its version does"));
    assert_eq!(metadata(&[0xFF, 0xFE]), cannot_read("it is of version -2"));
    assert_eq!(metadata(&[0, 0, 0, 9, 0, 0]).0, Error::GroupNotFound);
    let assigned = |assigned: Vec<u8>| {
        refusal(config(), &|bench, seen| {
            let to = bench.send(Request::Join(Join {
                protocols: protocols(&["range", "other"]),
                ..classic_join("c-1", "unused", seen)
            }));
            assert_eq!(bench.joined(to).generation, 2);
            let parts = [("c-1", Bytes::from(assigned.clone()))];
            bench.send(Request::Sync(classic_sync("c-1", 2, &parts, seen)));
            assert_eq!(bench.state(), State::Stable);
        })
    };
    assert_eq!(
        assigned(b"a".to_vec()),
        (
            Error::GroupNotFound,
            format!(
                "{prefix}member c-1 has an assignment that cannot be read: it ends before its version does"
            )
        )
    );
    let with_user_data = [&[0, 0][..], &places(&[]), &[0, 0, 0, 1, 7]].concat();
    assert_eq!(
        assigned(with_user_data),
        (
            Error::GroupNotFound,
            format!(
                "{prefix}member c-1 has data of a client-side assignor in its assignment, which would be lost"
            )
        )
    );
}

#[test]
fn a_group_of_another_protocol_type_stays_classic() {
    let mut bench = Bench::with(config());
    let seen = seen(1, &[("orders", ORDERS, 4)]);
    bench.send(Request::Join(Join {
        protocol_type: text("connect"),
        requires_known_member_id: false,
        ..join("", "1")
    }));
    assert_eq!(
        bench.heartbeat(joining("b", &["orders"], &seen)),
        Err(refused_with(
            Error::GroupNotFound,
            "group g cannot go to the consumer protocol: its members are of protocol type `connect`, not `consumer`"
        ))
    );
}

#[test]
fn an_upgrade_that_could_not_be_written_leaves_the_classic_group_as_it_was() {
    let (mut bench, seen) = classic_group(config(), &[&[0, 1, 2, 3]]);
    let before = bench.shard.groups.clone();
    let request = Request::ConsumerHeartbeat(Box::new(joining("b", &["orders"], &seen)));
    let (to, effects) = bench.effects(request);
    let [Effect::Append { write, .. }] = effects[..] else {
        panic!("one write: {effects:?}");
    };
    let effects = bench.shard.failed(bench.now_ms, write, WriteError::NotReplicated);
    let reply = Reply::ConsumerHeartbeat(Err(Error::NotAvailable.into()));
    assert_eq!(effects, [Effect::Reply { to, reply }]);
    assert_eq!(bench.shard.groups, before);
    assert_eq!(bench.alive("c-1", 1, &seen), Reply::Heartbeat(Ok(())));
    // Its session counts.
    bench.advance(9_999);
    assert_eq!(bench.state(), State::Stable);
    bench.advance(1);
    assert_eq!(bench.state(), State::Empty);
}

#[test]
fn a_rebalance_goes_on_after_an_upgrade_that_could_not_be_written() {
    let other = |seen: &Seen| Join {
        protocols: protocols(&["range", "other"]),
        ..classic_join("c-1", "unused", seen)
    };
    let fail = |bench: &mut Bench, seen: &Seen| {
        let request = Request::ConsumerHeartbeat(Box::new(joining("b", &["orders"], seen)));
        let (_, effects) = bench.effects(request);
        let Some(Effect::Append { write, .. }) = effects.last() else {
            panic!("a write: {effects:?}");
        };
        let write = *write;
        bench.carry_out(effects[..effects.len() - 1].to_vec());
        let effects = bench.shard.failed(bench.now_ms, write, WriteError::NotReplicated);
        bench.carry_out(effects);
    };
    // Some have joined again.
    let (mut bench, seen) = classic_group(config(), &[&[0, 1], &[2, 3]]);
    let to = bench.send(Request::Join(other(&seen)));
    fail(&mut bench, &seen);
    assert_eq!(
        bench.replies.remove(&to),
        Some(refused("c-1", Error::RebalanceInProgress))
    );
    assert_eq!(bench.state(), State::PreparingRebalance);
    let to = bench.send(Request::Join(other(&seen)));
    bench.advance(9_000);
    assert_eq!(bench.alive("c-2", 1, &seen), REBALANCE);
    let second = bench.send(Request::Join(classic_join("c-2", "unused", &seen)));
    assert_eq!(bench.joined(to).generation, 2);
    assert_eq!(bench.joined(second).generation, 2);
    // All have, and wait for the assignment.
    let waiting = bench.send(Request::Sync(classic_sync("c-2", 2, &[], &seen)));
    fail(&mut bench, &seen);
    assert_eq!(
        bench.replies.remove(&waiting),
        Some(Reply::Sync(Err(Error::RebalanceInProgress)))
    );
    let first = bench.send(Request::Join(other(&seen)));
    // The other one does not come: it is left behind in the time that it asked for.
    for _ in 0..12 {
        bench.advance(5_000);
        bench.alive("c-2", 2, &seen);
    }
    let led = bench.joined(first);
    assert_eq!((led.generation, led.members.len()), (3, 1));
}

/// A group of `c-1`, which is classic, and `b`, which is not: each has two partitions.
pub(super) fn mixed_group(config: Config) -> (Bench, Seen) {
    let (mut bench, seen) = classic_group(config, &[&[0, 1, 2, 3]]);
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    assert_eq!(bench.alive("c-1", 1, &seen), REBALANCE);
    assert_eq!(
        bench.rejoin(classic_join("c-1", "unused", &seen)),
        joined("c-1", 2)
    );
    assert_eq!(bench.resync("c-1", 2, &seen), synced(assignment(0, &[0, 1])));
    assert_eq!(
        bench.heartbeat(beat("b", 2, &seen)),
        Ok(told("b", 2, Some(orders(2..4))))
    );
    assert_eq!(bench.described().state, ConsumerState::Stable);
    (bench, seen)
}

#[test]
fn the_group_is_a_classic_one_again_when_the_last_member_of_the_new_protocol_leaves() {
    let (mut bench, seen) = mixed_group(config());
    bench.ask(Request::Commit(commit("c-1", 2, "orders", 9)));
    let now_ms = bench.now_ms.cast_signed();
    let (to, effects) = bench.effects(Request::ConsumerHeartbeat(Box::new(beat("b", -1, &seen))));
    let [Effect::Append { write, records }] = &effects[..] else {
        panic!("one write: {effects:?}");
    };
    let gone = |member: &str| {
        let member = text(member);
        [
            consumer::Record::Current {
                member: member.clone(),
                value: None,
            },
            consumer::Record::Target {
                member: member.clone(),
                value: None,
            },
            consumer::Record::Member { member, value: None },
        ]
    };
    let [b, c] = [gone("b"), gone("c-1")];
    let tombstones = [
        &b[0],
        &c[0],
        &b[1],
        &c[1],
        &consumer::Record::TargetEpoch(None),
        &b[2],
        &c[2],
        &consumer::Record::Group(None),
    ];
    let mut expected: Vec<Record> = tombstones.map(|record| of_group(record.clone())).to_vec();
    expected.push(Record::GroupMetadata {
        group: text("g"),
        value: Some(GroupMetadata {
            protocol_type: text("consumer"),
            generation: 2,
            protocol: Some(text("range")),
            leader: None,
            state_timestamp_ms: now_ms,
            members: vec![MemberMetadata {
                member_id: text("c-1"),
                instance_id: None,
                client_id: text("c"),
                client_host: text("/h"),
                rebalance_timeout_ms: WAIT_MS,
                session_timeout_ms: 10_000,
                subscription: subscription(&["orders"]),
                assignment: assignment(0, &[0, 1]),
            }],
        }),
    });
    assert_eq!(records[..], expected);
    // Until that is committed the group is shown as it was.
    assert_eq!(bench.kinds(), (1, Some(Kind::Consumer)));
    assert_eq!(bench.describe().expect_err("hidden"), Error::GroupNotFound);
    let write = *write;
    let records = records.clone();
    let answer = Reply::ConsumerHeartbeat(Ok(Beat {
        heartbeat_interval_ms: 0,
        ..told("b", -1, None)
    }));
    let after = bench.shard.committed(bench.now_ms, write);
    assert_eq!(after, [Effect::Reply { to, reply: answer }]);
    bench.log.extend(records.iter().cloned());
    assert_eq!(bench.kinds(), (1, Some(Kind::Classic)));
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(bench.committed_offset(), Some(9));
    assert_eq!(bench.alive("c-1", 2, &seen), REBALANCE);
    // It leads, and assigns.
    let to = bench.send(Request::Join(classic_join("c-1", "unused", &seen)));
    let led = bench.joined(to);
    assert_eq!((led.generation, &*led.leader, led.members.len()), (3, "c-1", 1));
    let parts = [("c-1", assignment(0, &[0, 1, 2, 3]))];
    assert_eq!(
        bench.ask(Request::Sync(classic_sync("c-1", 3, &parts, &seen))),
        synced(assignment(0, &[0, 1, 2, 3]))
    );
    assert_eq!(bench.alive("c-1", 3, &seen), Reply::Heartbeat(Ok(())));
    // And the way up is open again.
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    assert_eq!(bench.kinds(), (1, Some(Kind::Consumer)));
    assert_replays(&mut bench);
}

#[test]
fn a_silent_member_or_one_that_an_administrator_puts_out_was_the_last_one_too() {
    let (mut bench, seen) = mixed_group(config());
    for _ in 0..5 {
        bench.advance(9_000);
        assert_eq!(
            bench.alive("c-1", 2, &seen),
            if bench.now_ms < 48_000 {
                Reply::Heartbeat(Ok(()))
            } else {
                REBALANCE
            }
        );
    }
    assert_eq!(bench.kinds(), (1, Some(Kind::Classic)));
    let (mut bench, _) = mixed_group(config());
    assert_eq!(bench.ask(leave("b")), Reply::Leave(Ok(vec![Ok(())])));
    assert_eq!(bench.kinds(), (1, Some(Kind::Classic)));
}

#[test]
fn the_group_stays_one_of_the_new_protocol_where_it_may_not_go_back() {
    let mut small = config();
    small.members_max = 1;
    for config in [policy(MigrationPolicy::Upgrade), small] {
        let (mut bench, seen) = classic_group_of_two(config);
        bench.heartbeat(beat("b", -1, &seen)).expect("left");
        assert_eq!(bench.kinds(), (1, Some(Kind::Consumer)));
        // The classic members go on in it by themselves: they get what the other one had.
        let epoch = bench.described().epoch;
        assert_eq!(bench.alive("c-1", 1, &seen), REBALANCE);
        assert_eq!(
            bench.rejoin(classic_join("c-1", "unused", &seen)),
            joined("c-1", epoch)
        );
        assert_eq!(bench.resync("c-1", epoch, &seen), synced(assignment(0, &[0, 1])));
        assert_eq!(
            bench.rejoin(classic_join("c-2", "unused", &seen)),
            joined("c-2", epoch)
        );
        assert_eq!(bench.resync("c-2", epoch, &seen), synced(assignment(0, &[2, 3])));
        // A topic that grows is noticed by whoever is heard from.
        let grown = super::seen(2, &[("orders", ORDERS, 6)]);
        assert_eq!(bench.alive("c-1", epoch, &grown), REBALANCE);
        assert_replays(&mut bench);
        // Members of both kinds are a reason to stay, whoever leaves.
        bench
            .heartbeat(joining("b", &["orders"], &grown))
            .expect("joined");
        assert_eq!(bench.ask(leave("c-1")), Reply::Leave(Ok(vec![Ok(())])));
        assert_eq!(bench.kinds(), (1, Some(Kind::Consumer)));
    }
}

/// Two classic members in a group of the new protocol, beside `b`, which has nothing yet.
fn classic_group_of_two(mut config: Config) -> (Bench, Seen) {
    let members_max = std::mem::replace(&mut config.members_max, 2);
    let (mut bench, seen) = classic_group(config.clone(), &[&[0, 1], &[2, 3]]);
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    bench.shard.configure(Config {
        members_max,
        ..config
    });
    (bench, seen)
}

#[test]
fn a_downgrade_that_could_not_be_written_leaves_the_group_as_it_was() {
    let (mut bench, seen) = mixed_group(config());
    let before = bench.described();
    let (to, effects) = bench.effects(Request::ConsumerHeartbeat(Box::new(beat("b", -1, &seen))));
    let [Effect::Append { write, .. }] = effects[..] else {
        panic!("one write: {effects:?}");
    };
    // Somebody has already begun to wait in what was to be.
    let (waiting, effects) = bench.effects(Request::Join(classic_join("c-1", "unused", &seen)));
    assert!(
        effects
            .iter()
            .all(|effect| matches!(effect, Effect::Reply { .. })),
        "{effects:?}"
    );
    let effects = bench.shard.failed(bench.now_ms, write, WriteError::NotReplicated);
    assert!(
        effects.contains(&Effect::Reply {
            to,
            reply: Reply::ConsumerHeartbeat(Err(Error::NotAvailable.into()))
        }),
        "{effects:?} {waiting:?}"
    );
    assert_eq!(bench.described(), before);
    assert!(bench.shard.groups.is_empty());
    assert_eq!(bench.alive("c-1", 2, &seen), Reply::Heartbeat(Ok(())));
    assert_eq!(bench.heartbeat(beat("b", 2, &seen)), Ok(told("b", 2, None)));
    bench.advance(10_000);
    assert_eq!(bench.described().members.len(), 1, "sessions count still");
}

#[test]
fn another_coordinator_goes_on_in_the_middle_of_a_migration() {
    let (mut bench, seen) = classic_group(config(), &[&[0, 1, 2, 3]]);
    bench.heartbeat(joining("b", &["orders"], &seen)).expect("joined");
    assert_replays(&mut bench);
    let mut next = bench.moved();
    assert_eq!(next.alive("c-1", 1, &seen), REBALANCE);
    assert_eq!(
        next.rejoin(classic_join("c-1", "unused", &seen)),
        joined("c-1", 2)
    );
    let mut next = next.moved();
    assert_eq!(next.resync("c-1", 2, &seen), synced(assignment(0, &[0, 1])));
    assert_eq!(
        next.heartbeat(beat("b", 2, &seen)),
        Ok(told("b", 2, Some(orders(2..4))))
    );
    assert_replays(&mut next);
    next.heartbeat(beat("b", -1, &seen)).expect("left");
    let mut last = next.moved();
    assert_eq!(last.kinds(), (1, Some(Kind::Classic)));
    // What `b` had waits for somebody: there is a rebalance under way.
    assert_eq!(last.alive("c-1", 2, &seen), REBALANCE);
    let to = last.send(Request::Join(classic_join("c-1", "unused", &seen)));
    let led = last.joined(to);
    assert_eq!((led.generation, &*led.leader), (3, "c-1"));
}

fn static_join(instance_id: &str, fresh_id: &str, seen: &Seen) -> Join {
    Join {
        instance_id: Some(text(instance_id)),
        ..classic_join("", fresh_id, seen)
    }
}

#[test]
fn a_static_member_changes_its_protocol_and_keeps_what_it_has() {
    let mut bench = Bench::with(config());
    let seen = seen(1, &[("orders", ORDERS, 4)]);
    let to = bench.send(Request::Join(static_join("i", "1", &seen)));
    bench.advance(3_000);
    let id = bench.joined(to).member_id;
    let parts = [(&*id, assignment(0, &[0, 1, 2, 3]))];
    bench.send(Request::Sync(classic_sync(&id, 1, &parts, &seen)));
    // To the new protocol, without having left: nobody has to do anything.
    let modern = |member: &str| Heartbeat {
        instance_id: Some(text("i")),
        ..joining(member, &["orders"], &seen)
    };
    assert_eq!(bench.heartbeat(modern("b")), Ok(told("b", 1, Some(orders(0..4)))));
    let described = bench.described();
    assert_eq!((described.epoch, described.members.len()), (1, 1));
    assert_eq!(
        bench.alive(&id, 1, &seen),
        Reply::Heartbeat(Err(Error::UnknownMember))
    );
    // And back: it was the last one that spoke the new protocol.
    assert_eq!(bench.rejoin(static_join("i", "3", &seen)), joined("3", 1));
    assert_eq!(bench.kinds(), (1, Some(Kind::Classic)));
    assert_eq!(bench.resync("3", 1, &seen), synced(assignment(0, &[0, 1, 2, 3])));
    let of_former = Heartbeat {
        instance_id: Some(text("i")),
        ..beat("b", 1, &seen)
    };
    assert_eq!(
        bench.heartbeat(of_former),
        Err(refused_with(
            Error::GroupNotFound,
            "group g is not of the consumer protocol"
        ))
    );
    assert_eq!(bench.moved().state(), State::Stable);
    // With another subscription everybody has to join again.
    bench.heartbeat(modern("b")).expect("joined");
    let to = bench.send(Request::Join(Join {
        protocols: vec![Protocol {
            name: text("range"),
            metadata: subscription(&["bills"]),
        }],
        ..static_join("i", "4", &seen)
    }));
    let rejoined = bench.joined(to);
    assert_eq!((rejoined.generation, &*rejoined.leader), (3, "4"));
}

#[test]
fn what_is_still_to_be_given_up_stays_with_who_has_it_when_the_group_goes_back() {
    let (mut bench, seen) = classic_group(config(), &[&[0, 1, 2, 3]]);
    let modern = Heartbeat {
        instance_id: Some(text("i")),
        ..joining("b", &["orders"], &seen)
    };
    bench.heartbeat(modern.clone()).expect("joined");
    // `c-1` has not heard yet that it has to give two of them up. Who takes the other's place waits for it.
    let to = bench.send(Request::Join(static_join("i", "e", &seen)));
    assert_eq!(bench.replies.get(&to), None);
    let recorded = bench.log.iter().rev().find_map(|record| match record {
        Record::GroupMetadata { value, .. } => value.clone(),
        _ => None,
    });
    let assigned: Vec<(Text, Bytes)> = recorded
        .expect("a classic group")
        .members
        .into_iter()
        .map(|member| (member.member_id, member.assignment))
        .collect();
    assert_eq!(
        assigned,
        [
            (text("c-1"), assignment(0, &[0, 1, 2, 3])),
            (text("e"), assignment(0, &[]))
        ]
    );
    assert_eq!(
        bench.alive("c-1", 1, &seen),
        Reply::Heartbeat(Err(Error::IllegalGeneration))
    );
    let other = bench.send(Request::Join(classic_join("c-1", "unused", &seen)));
    assert_eq!(
        (bench.joined(to).generation, bench.joined(other).generation),
        (3, 3)
    );
}

#[test]
fn a_static_member_of_the_classic_protocol_takes_its_place_in_a_group_of_both() {
    let (mut bench, seen) = mixed_group(config());
    let modern = Heartbeat {
        instance_id: Some(text("i")),
        ..joining("d", &["orders"], &seen)
    };
    bench.heartbeat(modern).expect("joined");
    let epoch = bench.described().epoch;
    assert_eq!(bench.rejoin(static_join("i", "e", &seen)), joined("e", epoch));
    let described = bench.described();
    let members: Vec<&str> = described
        .members
        .iter()
        .map(|member| &*member.member_id)
        .collect();
    assert_eq!((members, described.epoch), (vec!["b", "c-1", "e"], epoch));
    let known = |member: &str| Join {
        member_id: text(member),
        ..static_join("i", "unused", &seen)
    };
    assert_eq!(bench.rejoin(known("e")), joined("e", epoch));
    assert_eq!(bench.rejoin(known("d")), refused("d", Error::FencedInstance));
    let other = Join {
        instance_id: Some(text("j")),
        ..known("e")
    };
    assert_eq!(bench.rejoin(other), refused("e", Error::UnknownMember));
    let fenced = |member: &str, instance_id: &str| Request::Heartbeat {
        group: text("g"),
        member_id: text(member),
        instance_id: Some(text(instance_id)),
        generation: epoch,
        seen: seen.clone(),
    };
    for (member, instance_id, error) in [
        ("d", "i", Error::FencedInstance),
        ("e", "j", Error::UnknownMember),
    ] {
        assert_eq!(
            bench.ask(fenced(member, instance_id)),
            Reply::Heartbeat(Err(error))
        );
    }
}
