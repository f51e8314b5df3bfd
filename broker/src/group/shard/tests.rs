mod consumer;
mod share;
mod streams;

use std::collections::BTreeMap;

use bytes::Bytes;
use flotilla_protocol::{ProducerEpoch, ProducerId, Uuid};
use proptest::prelude::*;

use super::request::*;
use super::*;
use crate::group::classic::State;
use crate::group::error::WriteError;
use crate::group::record::{GroupMetadata, MemberMetadata, OffsetCommit};

/// A shard, a clock and a log that takes what is appended. Replies are kept by ticket.
struct Bench {
    shard: Shard,
    now_ms: u64,
    tickets: u64,
    replies: BTreeMap<Ticket, Reply>,
    log: Vec<Record>,
}

fn text(text: &str) -> Text {
    text.into()
}

fn protocols(names: &[&str]) -> Vec<Protocol> {
    names
        .iter()
        .map(|name| Protocol {
            name: text(name),
            metadata: subscription(&["t"]),
        })
        .collect()
}

fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    // No data of the member's own.
    bytes.extend([0xFF; 4]);
    bytes.into()
}

fn join(member_id: &str, fresh_id: &str) -> Join {
    Join {
        group: text("g"),
        member_id: text(member_id),
        instance_id: None,
        client_id: text("c"),
        client_host: text("/h"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: text("consumer"),
        protocols: protocols(&["range"]),
        requires_known_member_id: true,
        can_skip_assignment: true,
        fresh_id: text(fresh_id),
        seen: Seen::default(),
    }
}

fn static_join(instance_id: &str, fresh_id: &str) -> Join {
    Join {
        instance_id: Some(text(instance_id)),
        ..join("", fresh_id)
    }
}

fn sync(member_id: &str, generation: i32, assignments: &[(&str, &'static [u8])]) -> Request {
    Request::Sync(Sync {
        group: text("g"),
        generation,
        member_id: text(member_id),
        instance_id: None,
        protocol_type: Some(text("consumer")),
        protocol: Some(text("range")),
        assignments: assignments
            .iter()
            .map(|(member, bytes)| (text(member), Bytes::from_static(bytes)))
            .collect(),
        seen: Seen::default(),
    })
}

fn heartbeat(member_id: &str, generation: i32) -> Request {
    Request::Heartbeat {
        group: text("g"),
        member_id: text(member_id),
        instance_id: None,
        generation,
        seen: Seen::default(),
    }
}

fn leave(member_id: &str) -> Request {
    Request::Leave(Leave {
        group: text("g"),
        members: vec![Leaving {
            member_id: text(member_id),
            instance_id: None,
        }],
    })
}

fn commit(member_id: &str, generation: i32, topic: &str, offset: i64) -> Commit {
    Commit {
        group: text("g"),
        generation,
        member_id: text(member_id),
        instance_id: None,
        retention_ms: -1,
        knows_group_not_found: true,
        partitions: vec![CommitPartition {
            topic: text(topic),
            topic_id: Uuid::ZERO,
            partition: 0,
            offset,
            leader_epoch: 1,
            metadata: text("m"),
        }],
    }
}

fn fetch_all(require_stable: bool) -> Request {
    Request::Fetch(Fetch {
        group: text("g"),
        partitions: None,
        require_stable,
        member: None,
    })
}

fn assigned(assignment: &'static [u8]) -> Reply {
    Reply::Sync(Ok(Assigned {
        protocol_type: Some(text("consumer")),
        protocol: Some(text("range")),
        assignment: Bytes::from_static(assignment),
    }))
}

fn refused(member_id: &str, error: Error) -> Reply {
    Reply::Join(Joined::refused(text(member_id), error))
}

impl Bench {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let mut shard = Shard::new(config);
        assert_eq!(shard.loaded(0), []);
        Self {
            shard,
            now_ms: 0,
            tickets: 0,
            replies: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// The bare effects.
    fn effects(&mut self, request: Request) -> (Ticket, Vec<Effect>) {
        let to = self.ticket();
        (to, self.shard.apply(self.now_ms, to, request))
    }

    /// Sends a request; what it appends is committed at once.
    fn send(&mut self, request: Request) -> Ticket {
        let (to, effects) = self.effects(request);
        self.carry_out(effects);
        to
    }

    fn ask(&mut self, request: Request) -> Reply {
        let to = self.send(request);
        self.replies.remove(&to).expect("an answer")
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { to, reply } => {
                    assert_eq!(self.replies.insert(to, reply), None, "answered twice");
                }
                Effect::AppendInTransaction { write, .. } | Effect::AppendMarker { write, .. } => {
                    let more = self.shard.committed(self.now_ms, write);
                    self.carry_out(more);
                }
                Effect::Append { write, records } => {
                    self.log.extend(records.iter().cloned());
                    let more = self.shard.committed(self.now_ms, write);
                    self.carry_out(more);
                }
            }
        }
    }

    fn advance(&mut self, by_ms: u64) {
        let until_ms = self.now_ms + by_ms;
        while let Some(at_ms) = self.shard.next_deadline().filter(|at_ms| *at_ms <= until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            let effects = self.shard.tick(self.now_ms);
            self.carry_out(effects);
        }
        self.now_ms = until_ms;
    }

    fn joined(&mut self, to: Ticket) -> Joined {
        match self.replies.remove(&to) {
            Some(Reply::Join(joined)) => joined,
            other => panic!("not joined: {other:?}"),
        }
    }

    /// Joins as Java's client does: once to get an id, once with it.
    fn join_dynamic(&mut self, fresh_id: &str) -> (String, Ticket) {
        let id = format!("c-{fresh_id}");
        assert_eq!(
            self.ask(Request::Join(join("", fresh_id))),
            refused(&id, Error::MemberIdRequired)
        );
        let to = self.send(Request::Join(join(&id, "unused")));
        (id, to)
    }

    /// A stable group of these members in generation 1; the first one leads. Assignments are empty.
    fn stable(fresh_ids: &[&str]) -> (Self, Vec<String>) {
        let mut bench = Self::new();
        let (ids, tickets): (Vec<_>, Vec<_>) = fresh_ids.iter().map(|id| bench.join_dynamic(id)).unzip();
        bench.advance(3_000 * fresh_ids.len() as u64);
        for to in tickets {
            assert_eq!(bench.joined(to).error, None);
        }
        bench.sync_all(&ids, 1);
        (bench, ids)
    }

    fn sync_all(&mut self, ids: &[String], generation: i32) {
        for id in ids {
            self.send(sync(id, generation, &[]));
        }
        self.replies.clear();
        assert_eq!(self.state(), State::Stable);
    }

    fn describe(&mut self) -> Result<DescribedGroup, Error> {
        match self.ask(Request::Describe(vec![text("g")])) {
            Reply::Describe(Ok(mut groups)) => groups.remove(0),
            other => panic!("not described: {other:?}"),
        }
    }

    fn state(&mut self) -> State {
        self.describe().expect("a group").state
    }

    fn committed_offset(&mut self) -> Option<i64> {
        match self.ask(fetch_all(false)) {
            Reply::Fetch(Ok(found)) => {
                let found = found.into_iter().next()?;
                found.committed.expect("no error").map(|value| value.offset)
            }
            other => panic!("not fetched: {other:?}"),
        }
    }

    fn reloaded(&self) -> Shard {
        let mut shard = Shard::new(self.shard.config.clone());
        for record in &self.log {
            let (key, value) = record.encode().expect("short texts");
            let read = Record::decode(&key, value.as_deref()).expect("well formed");
            shard.replay(&read.expect("of a known kind"));
        }
        shard.loaded(self.now_ms);
        shard
    }
}

// ------------------------------------------------------------------------------------------------ JoinGroup

#[test]
fn a_new_group_is_recorded_and_its_first_member_gets_an_id() {
    let mut bench = Bench::new();
    let (to, effects) = bench.effects(Request::Join(join("", "1")));
    let birth = Record::GroupMetadata {
        group: text("g"),
        value: Some(GroupMetadata {
            protocol_type: text(""),
            generation: 0,
            protocol: None,
            leader: None,
            state_timestamp_ms: -1,
            members: vec![],
        }),
    };
    assert_eq!(
        effects,
        [
            Effect::Reply {
                to,
                reply: refused("c-1", Error::MemberIdRequired)
            },
            Effect::Append {
                write: WriteId(0),
                records: [birth].into()
            },
        ]
    );
    assert_eq!(bench.describe(), Err(Error::GroupNotFound));
    assert_eq!(bench.shard.committed(0, WriteId(0)), []);
    assert_eq!(bench.state(), State::Empty);
}

#[test]
fn a_group_that_could_not_be_recorded_leaves_no_trace() {
    let mut bench = Bench::new();
    let mut old_client = join("", "1");
    old_client.requires_known_member_id = false;
    let (to, effects) = bench.effects(Request::Join(old_client));
    assert!(matches!(&effects[..], [Effect::Append { .. }]));
    assert_eq!(
        bench.shard.failed(0, WriteId(0), WriteError::NotLeader),
        [Effect::Reply {
            to,
            reply: refused("c-1", Error::NotCoordinator)
        }]
    );
    assert_eq!(bench.ask(Request::List), Reply::List(Ok(vec![])));
    assert_eq!(
        bench.shard.next_deadline(),
        Some(600_000),
        "only the expiry is left"
    );
}

#[test]
fn the_first_join_waits_for_the_initial_delay_and_then_leads() {
    let mut bench = Bench::new();
    let (id, to) = bench.join_dynamic("1");
    bench.advance(2_999);
    assert_eq!(bench.replies, BTreeMap::new());
    bench.advance(1);
    assert_eq!(
        bench.joined(to),
        Joined {
            error: None,
            generation: 1,
            protocol_type: Some(text("consumer")),
            protocol: Some(text("range")),
            leader: text(&id),
            skip_assignment: false,
            member_id: text(&id),
            members: vec![JoinedMember {
                member_id: text(&id),
                instance_id: None,
                metadata: subscription(&["t"])
            }],
        }
    );
    assert_eq!(bench.state(), State::CompletingRebalance);
}

#[test]
fn members_that_come_during_the_initial_delay_prolong_it_up_to_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let (_, first) = bench.join_dynamic("1");
    bench.advance(2_000);
    let (_, second) = bench.join_dynamic("2");
    bench.advance(1_000);
    assert_eq!(
        bench.replies,
        BTreeMap::new(),
        "somebody came, so three more seconds"
    );
    bench.advance(3_000);
    let (first, second) = (bench.joined(first), bench.joined(second));
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
}

#[test]
fn an_old_client_joins_without_a_second_round_trip() {
    let mut bench = Bench::new();
    let mut old_client = join("", "1");
    old_client.requires_known_member_id = false;
    let to = bench.send(Request::Join(old_client));
    bench.advance(3_000);
    assert_eq!(bench.joined(to).member_id, text("c-1"));
}

#[test]
fn joins_that_cannot_be_are_refused_and_create_nothing() {
    let mut bench = Bench::new();
    let cases = [
        (
            Join {
                group: text(""),
                ..join("", "1")
            },
            "",
            Error::InvalidGroupId,
        ),
        (
            Join {
                session_timeout_ms: 5_999,
                ..join("", "1")
            },
            "",
            Error::InvalidSessionTimeout,
        ),
        (
            Join {
                session_timeout_ms: 1_800_001,
                ..join("", "1")
            },
            "",
            Error::InvalidSessionTimeout,
        ),
        (join("stranger", "1"), "stranger", Error::UnknownMember),
        (
            Join {
                protocols: vec![],
                ..join("", "1")
            },
            "",
            Error::InconsistentProtocol,
        ),
        (
            Join {
                protocol_type: text(""),
                ..join("", "1")
            },
            "",
            Error::InconsistentProtocol,
        ),
    ];
    for (join, member_id, error) in cases {
        assert_eq!(bench.ask(Request::Join(join)), refused(member_id, error));
    }
    let long = Join {
        group: "x".repeat(40_000).into(),
        ..join("", "1")
    };
    assert_eq!(bench.ask(Request::Join(long)), refused("", Error::InvalidGroupId));
    assert_eq!(
        (bench.ask(Request::List), &bench.log[..]),
        (Reply::List(Ok(vec![])), &[][..])
    );
}

#[test]
fn a_member_that_shares_no_protocol_is_refused() {
    let (mut bench, _) = Bench::stable(&["1"]);
    let mut other = join("", "2");
    other.protocols = protocols(&["sticky"]);
    assert_eq!(
        bench.ask(Request::Join(other)),
        refused("", Error::InconsistentProtocol)
    );
    let mut connect = join("", "2");
    connect.protocol_type = text("connect");
    assert_eq!(
        bench.ask(Request::Join(connect)),
        refused("", Error::InconsistentProtocol)
    );
}

#[test]
fn the_protocol_with_most_first_votes_that_all_know_wins() {
    let mut bench = Bench::new();
    for (fresh_id, names) in [
        ("1", &["sticky", "range", "only-1"][..]),
        ("2", &["range", "sticky"]),
        ("3", &["range", "sticky"]),
    ] {
        let mut old_client = join("", fresh_id);
        old_client.requires_known_member_id = false;
        old_client.protocols = protocols(names);
        bench.send(Request::Join(old_client));
    }
    bench.advance(60_000);
    for reply in std::mem::take(&mut bench.replies).into_values() {
        let Reply::Join(joined) = reply else {
            panic!("a join")
        };
        assert_eq!(joined.protocol, Some(text("range")));
    }
}

#[test]
fn a_full_group_takes_nobody_more() {
    let mut bench = Bench::with(Config {
        members_max: 1,
        ..Config::default()
    });
    let (id, _) = bench.join_dynamic("1");
    let to = bench.send(Request::Join(join("", "2")));
    assert_eq!(bench.replies.remove(&to), Some(refused("", Error::GroupFull)));
    bench.advance(3_000);
    bench.sync_all(&[id], 1);
    assert_eq!(
        bench.ask(Request::Join(join("", "2"))),
        refused("", Error::GroupFull)
    );
}

#[test]
fn an_id_that_is_given_out_and_not_used_is_forgotten() {
    let mut bench = Bench::new();
    bench.ask(Request::Join(join("", "1")));
    bench.advance(10_000);
    assert_eq!(
        bench.ask(Request::Join(join("c-1", "unused"))),
        refused("c-1", Error::UnknownMember)
    );
}

#[test]
fn a_follower_that_joins_again_unchanged_gets_its_generation_and_no_rebalance() {
    let (mut bench, ids) = Bench::stable(&["1", "2"]);
    let Reply::Join(again) = bench.ask(Request::Join(join(&ids[1], "unused"))) else {
        panic!("a join")
    };
    assert_eq!((again.generation, again.error, again.members.len()), (1, None, 0));
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn a_leader_that_joins_again_or_a_follower_with_other_topics_rebalances() {
    let (mut bench, ids) = Bench::stable(&["1", "2"]);
    bench.send(Request::Join(join(&ids[0], "unused")));
    assert_eq!(bench.state(), State::PreparingRebalance);

    let (mut bench, ids) = Bench::stable(&["1", "2"]);
    let mut changed = join(&ids[1], "unused");
    changed.protocols[0].metadata = subscription(&["t", "u"]);
    bench.send(Request::Join(changed));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

// ------------------------------------------------------------------------------------------------ static members

#[test]
fn a_static_member_that_comes_back_takes_its_place_without_a_rebalance() {
    let mut bench = Bench::new();
    let first = bench.send(Request::Join(static_join("i", "1")));
    bench.advance(3_000);
    assert_eq!(bench.joined(first).member_id, text("i-1"));
    bench.send(sync("i-1", 1, &[("i-1", b"mine")]));
    bench.replies.clear();

    let (to, effects) = bench.effects(Request::Join(static_join("i", "2")));
    let [Effect::Append { write, records }] = &effects[..] else {
        panic!("a record first: {effects:?}");
    };
    let [
        Record::GroupMetadata {
            value: Some(value), ..
        },
    ] = &records[..]
    else {
        panic!("of the group");
    };
    assert_eq!(
        (&*value.members[0].member_id, &value.members[0].assignment[..]),
        ("i-2", &b"mine"[..])
    );
    let replies = bench.shard.committed(bench.now_ms, *write);
    let expected = Joined {
        error: None,
        generation: 1,
        protocol_type: Some(text("consumer")),
        protocol: Some(text("range")),
        leader: text("i-2"),
        skip_assignment: true,
        member_id: text("i-2"),
        members: vec![JoinedMember {
            member_id: text("i-2"),
            instance_id: Some(text("i")),
            metadata: subscription(&["t"]),
        }],
    };
    assert_eq!(
        replies,
        [Effect::Reply {
            to,
            reply: Reply::Join(expected)
        }]
    );
    assert_eq!(bench.ask(sync("i-2", 1, &[])), assigned(b"mine"));
    assert_eq!(
        bench.ask(Request::Heartbeat {
            group: text("g"),
            member_id: text("i-1"),
            instance_id: Some(text("i")),
            generation: 1,
            seen: Seen::default(),
        }),
        Reply::Heartbeat(Err(Error::FencedInstance))
    );
}

#[test]
fn an_older_client_in_a_static_leaders_place_is_told_the_former_leader() {
    let mut bench = Bench::new();
    bench.send(Request::Join(static_join("i", "1")));
    bench.advance(3_000);
    bench.send(sync("i-1", 1, &[]));
    let mut old_client = static_join("i", "2");
    old_client.can_skip_assignment = false;
    let to = bench.send(Request::Join(old_client));
    let joined = bench.joined(to);
    assert_eq!(
        (&*joined.leader, joined.skip_assignment, joined.members),
        ("i-1", false, vec![])
    );
}

#[test]
fn a_replacement_that_could_not_be_recorded_brings_the_former_member_back() {
    let mut bench = Bench::new();
    bench.send(Request::Join(static_join("i", "1")));
    bench.advance(3_000);
    bench.send(sync("i-1", 1, &[]));
    let (to, effects) = bench.effects(Request::Join(static_join("i", "2")));
    let [Effect::Append { write, .. }] = effects[..] else {
        panic!("a record first")
    };
    assert_eq!(
        bench.shard.failed(bench.now_ms, write, WriteError::NotReplicated),
        [Effect::Reply {
            to,
            reply: refused("", Error::NotAvailable)
        }]
    );
    assert_eq!(bench.ask(heartbeat("i-1", 1)), Reply::Heartbeat(Ok(())));
}

#[test]
fn a_silent_static_member_keeps_its_place_through_a_rebalance() {
    let mut bench = Bench::new();
    bench.send(Request::Join(static_join("i", "1")));
    bench.send(Request::Join(static_join("j", "2")));
    bench.advance(6_000);
    bench.send(sync("i-1", 1, &[]));
    bench.send(sync("j-2", 1, &[]));
    bench.replies.clear();
    let mut patient = static_join("k", "3");
    patient.session_timeout_ms = 100_000;
    let to = bench.send(Request::Join(patient));
    // Only those two are heard from: `j` holds its session but does not join.
    for _ in 0..8 {
        bench.advance(8_000);
        bench.send(heartbeat("i-1", 1));
        bench.send(heartbeat("j-2", 1));
    }
    let joined = bench.joined(to);
    assert_eq!(
        (joined.generation, &*joined.leader, joined.members.len()),
        (2, "k-3", 3)
    );
}

// ------------------------------------------------------------------------------------------------ SyncGroup

#[test]
fn assignments_are_recorded_before_anyone_gets_them() {
    let mut bench = Bench::new();
    let (leader, _) = bench.join_dynamic("1");
    let (follower, _) = bench.join_dynamic("2");
    bench.advance(6_000);
    bench.replies.clear();
    let (waiting, effects) = bench.effects(sync(&follower, 1, &[]));
    assert_eq!(effects, []);
    let (to, effects) = bench.effects(sync(&leader, 1, &[(&leader, b"a"), (&follower, b"b")]));
    let member = |id: &str, assignment: &'static [u8]| MemberMetadata {
        member_id: text(id),
        instance_id: None,
        client_id: text("c"),
        client_host: text("/h"),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        subscription: subscription(&["t"]),
        assignment: Bytes::from_static(assignment),
    };
    let record = Record::GroupMetadata {
        group: text("g"),
        value: Some(GroupMetadata {
            protocol_type: text("consumer"),
            generation: 1,
            protocol: Some(text("range")),
            leader: Some(text(&leader)),
            state_timestamp_ms: 6_000,
            members: vec![member(&leader, b"a"), member(&follower, b"b")],
        }),
    };
    let [Effect::Append { write, records }] = &effects[..] else {
        panic!("a record first: {effects:?}");
    };
    assert_eq!(records[..], [record]);
    assert_eq!(bench.state(), State::CompletingRebalance);
    assert_eq!(
        bench.shard.committed(6_000, *write),
        [
            Effect::Reply {
                to,
                reply: assigned(b"a")
            },
            Effect::Reply {
                to: waiting,
                reply: assigned(b"b")
            }
        ]
    );
    assert_eq!(bench.state(), State::Stable);
    assert_eq!(bench.ask(sync(&follower, 1, &[])), assigned(b"b"), "asked again");
}

#[test]
fn an_assignment_that_is_not_committed_in_time_is_given_up() {
    let mut bench = Bench::new();
    let (leader, _) = bench.join_dynamic("1");
    bench.advance(3_000);
    let (to, effects) = bench.effects(sync(&leader, 1, &[(&leader, b"a")]));
    let [Effect::Append { write, .. }] = effects[..] else {
        panic!("a record first")
    };
    let late = bench.shard.tick(bench.now_ms + 5_000);
    assert_eq!(
        late,
        [Effect::Reply {
            to,
            reply: Reply::Sync(Err(Error::NotAvailable))
        }]
    );
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(bench.shard.committed(bench.now_ms + 5_001, write), []);
    assert_eq!(
        bench.state(),
        State::PreparingRebalance,
        "too late for that generation"
    );
}

#[test]
fn syncs_that_cannot_be_are_refused() {
    let (mut bench, ids) = Bench::stable(&["1"]);
    let id = &ids[0];
    let with = |change: &dyn Fn(&mut Sync)| {
        let Request::Sync(mut request) = sync(id, 1, &[]) else {
            panic!("a sync")
        };
        change(&mut request);
        Request::Sync(request)
    };
    let cases: [(Request, Error); 6] = [
        (with(&|sync| sync.group = text("other")), Error::UnknownMember),
        (
            with(&|sync| sync.member_id = text("stranger")),
            Error::UnknownMember,
        ),
        (
            with(&|sync| sync.instance_id = Some(text("i"))),
            Error::UnknownMember,
        ),
        (with(&|sync| sync.generation = 2), Error::IllegalGeneration),
        (
            with(&|sync| sync.protocol = Some(text("sticky"))),
            Error::InconsistentProtocol,
        ),
        (
            with(&|sync| sync.protocol_type = Some(text("connect"))),
            Error::InconsistentProtocol,
        ),
    ];
    for (request, error) in cases {
        assert_eq!(bench.ask(request), Reply::Sync(Err(error)));
    }
    bench.send(Request::Join(join(id, "unused")));
    bench.replies.clear();
    bench.join_dynamic("2");
    assert_eq!(
        bench.ask(sync(id, 1, &[])),
        Reply::Sync(Err(Error::IllegalGeneration)),
        "the rebalance of one member is already over"
    );
}

#[test]
fn members_that_never_sync_are_removed_after_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let (first, _) = bench.join_dynamic("1");
    let (second, _) = bench.join_dynamic("2");
    bench.advance(6_000);
    bench.replies.clear();
    bench.send(sync(&first, 1, &[]));
    for _ in 0..8 {
        bench.advance(7_500);
        bench.send(heartbeat(&first, 1));
        bench.send(heartbeat(&second, 1));
    }
    let group = bench.describe().expect("a group");
    assert_eq!(group.state, State::PreparingRebalance);
    assert_eq!(group.members.len(), 1);
    assert_eq!(
        bench.ask(heartbeat(&second, 1)),
        Reply::Heartbeat(Err(Error::UnknownMember))
    );
}

// ------------------------------------------------------------------------------------------------ heartbeats and leaving

#[test]
fn heartbeats_are_answered_by_state() {
    let (mut bench, ids) = Bench::stable(&["1", "2"]);
    assert_eq!(bench.ask(heartbeat(&ids[0], 1)), Reply::Heartbeat(Ok(())));
    assert_eq!(
        bench.ask(heartbeat(&ids[0], 0)),
        Reply::Heartbeat(Err(Error::IllegalGeneration))
    );
    assert_eq!(
        bench.ask(heartbeat("stranger", 1)),
        Reply::Heartbeat(Err(Error::UnknownMember))
    );
    bench.ask(leave(&ids[1]));
    assert_eq!(
        bench.ask(heartbeat(&ids[0], 1)),
        Reply::Heartbeat(Err(Error::RebalanceInProgress))
    );
    let Request::Heartbeat { member_id, .. } = heartbeat(&ids[0], 1) else {
        panic!("a heartbeat")
    };
    assert_eq!(
        bench.ask(Request::Heartbeat {
            group: text("unknown"),
            member_id,
            instance_id: None,
            generation: 1,
            seen: Seen::default(),
        }),
        Reply::Heartbeat(Err(Error::UnknownMember))
    );
}

#[test]
fn three_members_split_one_dies_and_the_others_share_what_it_had() {
    let mut bench = Bench::new();
    let joins: Vec<(String, Ticket)> = ["1", "2", "3"].iter().map(|id| bench.join_dynamic(id)).collect();
    bench.advance(9_000);
    let ids: Vec<&str> = joins.iter().map(|(id, _)| &**id).collect();
    for (id, to) in &joins {
        let joined = bench.joined(*to);
        assert_eq!((joined.generation, &*joined.leader), (1, ids[0]));
        assert_eq!(joined.members.len(), if id == ids[0] { 3 } else { 0 });
    }
    let waiting: Vec<Ticket> = ids[1..].iter().map(|id| bench.send(sync(id, 1, &[]))).collect();
    let six = [(ids[0], &b"01"[..]), (ids[1], b"23"), (ids[2], b"45")];
    assert_eq!(bench.ask(sync(ids[0], 1, &six)), assigned(b"01"));
    assert_eq!(bench.replies.remove(&waiting[0]), Some(assigned(b"23")));
    assert_eq!(bench.replies.remove(&waiting[1]), Some(assigned(b"45")));

    // The third falls silent.
    bench.advance(6_000);
    bench.ask(heartbeat(ids[0], 1));
    bench.ask(heartbeat(ids[1], 1));
    bench.advance(4_000);
    for id in &ids[..2] {
        assert_eq!(
            bench.ask(heartbeat(id, 1)),
            Reply::Heartbeat(Err(Error::RebalanceInProgress))
        );
    }
    let second = bench.send(Request::Join(join(ids[1], "unused")));
    let first = bench.send(Request::Join(join(ids[0], "unused")));
    let (first, second) = (bench.joined(first), bench.joined(second));
    assert_eq!(
        (first.generation, first.members.len()),
        (2, 2),
        "at once, nobody is missing"
    );
    assert_eq!((second.generation, second.members.len()), (2, 0));
    let waiting = bench.send(sync(ids[1], 2, &[]));
    let six = [(ids[0], &b"012"[..]), (ids[1], b"345")];
    assert_eq!(bench.ask(sync(ids[0], 2, &six)), assigned(b"012"));
    assert_eq!(bench.replies.remove(&waiting), Some(assigned(b"345")));

    // And comes back, not knowing that it was given up.
    assert_eq!(
        bench.ask(heartbeat(ids[2], 1)),
        Reply::Heartbeat(Err(Error::UnknownMember))
    );
    assert_eq!(
        bench.ask(Request::Join(join(ids[2], "unused"))),
        refused(ids[2], Error::UnknownMember)
    );
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_left_behind() {
    let (mut bench, ids) = Bench::stable(&["1", "2"]);
    let (_, newcomer) = bench.join_dynamic("3");
    let first = bench.send(Request::Join(join(&ids[0], "unused")));
    for _ in 0..10 {
        bench.advance(6_000);
        bench.send(heartbeat(&ids[1], 1));
    }
    assert_eq!(bench.joined(first).members.len(), 2);
    assert_eq!(bench.joined(newcomer).generation, 2);
    assert_eq!(
        bench.ask(heartbeat(&ids[1], 1)),
        Reply::Heartbeat(Err(Error::UnknownMember))
    );
}

#[test]
fn the_last_member_to_leave_empties_the_group_on_record() {
    let (mut bench, ids) = Bench::stable(&["1"]);
    let (to, effects) = bench.effects(leave(&ids[0]));
    let emptied = Record::GroupMetadata {
        group: text("g"),
        value: Some(GroupMetadata {
            protocol_type: text("consumer"),
            generation: 2,
            protocol: None,
            leader: None,
            state_timestamp_ms: 3_000,
            members: vec![],
        }),
    };
    let [Effect::Append { write, records }] = &effects[..] else {
        panic!("a record first: {effects:?}");
    };
    assert_eq!(records[..], [emptied]);
    assert_eq!(
        bench.shard.committed(3_000, *write),
        [Effect::Reply {
            to,
            reply: Reply::Leave(Ok(vec![Ok(())]))
        }]
    );
    assert_eq!(bench.state(), State::Empty);
}

#[test]
fn a_batch_of_leaving_members_is_answered_one_by_one() {
    let mut bench = Bench::new();
    bench.send(Request::Join(static_join("i", "1")));
    bench.ask(Request::Join(join("", "pending")));
    let leaving = |member_id: &str, instance_id: Option<&str>| Leaving {
        member_id: text(member_id),
        instance_id: instance_id.map(text),
    };
    let request = Leave {
        group: text("g"),
        members: vec![
            leaving("", Some("nobody")),
            leaving("", None),
            leaving("stranger", None),
            leaving("i-other", Some("i")),
            leaving("c-pending", None),
            leaving("", Some("i")),
        ],
    };
    let unknown = Err(Error::UnknownMember);
    assert_eq!(
        bench.ask(Request::Leave(request)),
        Reply::Leave(Ok(vec![
            unknown,
            unknown,
            unknown,
            Err(Error::FencedInstance),
            Ok(()),
            Ok(())
        ]))
    );
    let nowhere = Leave {
        group: text("other"),
        members: vec![leaving("a", None), leaving("b", None)],
    };
    assert_eq!(
        bench.ask(Request::Leave(nowhere)),
        Reply::Leave(Ok(vec![unknown, unknown]))
    );
}

// ------------------------------------------------------------------------------------------------ offsets

fn offset_record(topic: &str, offset: Option<i64>, at_ms: i64) -> Record {
    Record::OffsetCommit {
        group: text("g"),
        topic: text(topic),
        partition: 0,
        value: offset.map(|offset| OffsetCommit {
            offset,
            leader_epoch: 1,
            metadata: text("m"),
            commit_timestamp_ms: at_ms,
            expire_timestamp_ms: None,
            topic_id: Uuid::ZERO,
        }),
    }
}

#[test]
fn a_commit_is_shown_and_answered_when_it_is_committed() {
    let mut bench = Bench::new();
    let (to, effects) = bench.effects(Request::Commit(commit("", -1, "t", 5)));
    assert_eq!(
        effects,
        [Effect::Append {
            write: WriteId(0),
            records: [offset_record("t", Some(5), 0)].into()
        }]
    );
    assert_eq!(bench.committed_offset(), None);
    assert_eq!(bench.ask(Request::List), Reply::List(Ok(vec![])));
    let (stable, effects) = bench.effects(fetch_all(true));
    assert_eq!(effects, [], "waits for what is under way");
    let effects = bench.shard.committed(0, WriteId(0));
    let [
        Effect::Reply { to: first, reply },
        Effect::Reply { to: second, .. },
    ] = &effects[..]
    else {
        panic!("two answers: {effects:?}");
    };
    assert_eq!((first, second), (&to, &stable));
    assert_eq!(*reply, Reply::Commit(Ok(vec![Ok(())])));
    assert_eq!(bench.committed_offset(), Some(5));
    assert_eq!(
        bench.ask(Request::List),
        Reply::List(Ok(vec![ListedGroup {
            group: text("g"),
            kind: Kind::Classic,
            protocol_type: text(""),
            state: "Empty"
        }]))
    );
}

#[test]
fn failed_commits_are_taken_back_and_earlier_ones_kept() {
    let mut bench = Bench::new();
    bench.send(Request::Commit(commit("", -1, "t", 1)));
    bench.replies.clear();
    let (_, first) = bench.effects(Request::Commit(commit("", -1, "t", 2)));
    let (second_to, _) = bench.effects(Request::Commit(commit("", -1, "t", 3)));
    let (third_to, _) = bench.effects(Request::Commit(commit("", -1, "t", 4)));
    let failed = bench.shard.failed(0, WriteId(2), WriteError::Storage);
    let refusal = |to| Effect::Reply {
        to,
        reply: Reply::Commit(Err(Error::NotCoordinator)),
    };
    assert_eq!(failed, [refusal(third_to), refusal(second_to)]);
    assert_eq!(bench.committed_offset(), Some(1));
    bench.carry_out(first);
    assert_eq!(bench.committed_offset(), Some(2));
}

#[test]
fn a_commit_that_is_late_is_refused_and_counts_all_the_same_when_it_comes() {
    let mut bench = Bench::new();
    let (to, _) = bench.effects(Request::Commit(commit("", -1, "t", 5)));
    assert_eq!(
        bench.shard.tick(5_000),
        [Effect::Reply {
            to,
            reply: Reply::Commit(Err(Error::NotAvailable))
        }]
    );
    bench.now_ms = 5_000;
    assert_eq!(bench.ask(fetch_all(true)), Reply::Fetch(Err(Error::NotAvailable)));
    assert_eq!(bench.shard.committed(6_000, WriteId(0)), []);
    assert_eq!(bench.committed_offset(), Some(5));
}

#[test]
fn commits_of_a_member_are_checked() {
    let (mut bench, ids) = Bench::stable(&["1", "2"]);
    let id = &ids[0];
    let cases = [
        (commit(id, 1, "t", 5), Ok(vec![Ok(())])),
        (commit(id, 0, "t", 5), Err(Error::IllegalGeneration)),
        (commit("stranger", 1, "t", 5), Err(Error::UnknownMember)),
        (commit("", -1, "t", 5), Err(Error::UnknownMember)),
        (
            Commit {
                group: text("other"),
                ..commit(id, 1, "t", 5)
            },
            Err(Error::GroupNotFound),
        ),
        (
            Commit {
                group: text("other"),
                knows_group_not_found: false,
                ..commit(id, 1, "t", 5)
            },
            Err(Error::IllegalGeneration),
        ),
        (
            Commit {
                instance_id: Some(text("i")),
                ..commit(id, 1, "t", 5)
            },
            Err(Error::UnknownMember),
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(bench.ask(Request::Commit(request)), Reply::Commit(expected));
    }
    // While members join again, they may still commit; while assignments are awaited, not.
    bench.ask(leave(&ids[1]));
    assert_eq!(
        bench.ask(Request::Commit(commit(id, 1, "t", 6))),
        Reply::Commit(Ok(vec![Ok(())]))
    );
    bench.send(Request::Join(join(id, "unused")));
    assert_eq!(
        bench.ask(Request::Commit(commit(id, 2, "t", 7))),
        Reply::Commit(Err(Error::RebalanceInProgress))
    );
}

#[test]
fn a_commit_counts_as_a_heartbeat() {
    let (mut bench, ids) = Bench::stable(&["1"]);
    for _ in 0..3 {
        bench.advance(9_000);
        bench.ask(Request::Commit(commit(&ids[0], 1, "t", 5)));
    }
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn metadata_is_limited_by_partition() {
    let mut bench = Bench::new();
    let mut request = commit("", -1, "t", 5);
    let mut long = request.partitions[0].clone();
    long.metadata = "x".repeat(4_097).into();
    let mut wide = request.partitions[0].clone();
    wide.metadata = "\u{20AC}".repeat(4_096).into();
    request.partitions.extend([long, wide]);
    assert_eq!(
        bench.ask(Request::Commit(request)),
        Reply::Commit(Ok(vec![Ok(()), Err(Error::MetadataTooLarge), Ok(())]))
    );
}

#[test]
fn an_offset_of_a_topic_created_anew_is_not_shown_under_the_new_id() {
    let mut bench = Bench::new();
    let mut request = commit("", -1, "t", 5);
    request.partitions[0].topic_id = Uuid([1; 16]);
    bench.ask(Request::Commit(request));
    let mut fetch = |id: Uuid| {
        let partitions = vec![PartitionRef {
            topic: text("t"),
            topic_id: id,
            partition: 0,
        }];
        let reply = bench.ask(Request::Fetch(Fetch {
            group: text("g"),
            partitions: Some(partitions),
            require_stable: false,
            member: None,
        }));
        let Reply::Fetch(Ok(found)) = reply else {
            panic!("fetched")
        };
        found[0]
            .committed
            .clone()
            .expect("no error")
            .map(|value| value.offset)
    };
    assert_eq!(fetch(Uuid([1; 16])), Some(5));
    assert_eq!(fetch(Uuid::ZERO), Some(5));
    assert_eq!(fetch(Uuid([2; 16])), None);
}

#[test]
fn offsets_are_deleted_unless_a_member_reads_the_topic() {
    let (mut bench, ids) = Bench::stable(&["1"]);
    for topic in ["t", "u"] {
        bench.ask(Request::Commit(commit(&ids[0], 1, topic, 5)));
    }
    let partition = |topic: &str| PartitionRef {
        topic: text(topic),
        topic_id: Uuid::ZERO,
        partition: 0,
    };
    let written = bench.log.len();
    assert_eq!(
        bench.ask(Request::DeleteOffsets {
            group: text("g"),
            partitions: vec![partition("t"), partition("u"), partition("never")]
        }),
        Reply::DeleteOffsets(Ok(vec![Err(Error::SubscribedToTopic), Ok(()), Ok(())]))
    );
    assert_eq!(bench.log[written..], [offset_record("u", None, 0)]);
    assert_eq!(
        bench.ask(Request::DeleteOffsets {
            group: text("other"),
            partitions: vec![]
        }),
        Reply::DeleteOffsets(Err(Error::GroupNotFound))
    );
}

#[test]
fn a_group_is_deleted_with_its_offsets_once_it_is_empty() {
    let (mut bench, ids) = Bench::stable(&["1"]);
    bench.ask(Request::Commit(commit(&ids[0], 1, "t", 5)));
    let request = Request::Delete(vec![text("g"), text("other")]);
    assert_eq!(
        bench.ask(request.clone()),
        Reply::Delete(Ok(vec![Err(Error::NonEmptyGroup), Err(Error::GroupNotFound)]))
    );
    bench.ask(leave(&ids[0]));
    let (to, effects) = bench.effects(request);
    let gone = Record::GroupMetadata {
        group: text("g"),
        value: None,
    };
    let [Effect::Append { write, records }] = &effects[..] else {
        panic!("a record first: {effects:?}");
    };
    assert_eq!(records[..], [offset_record("t", None, 0), gone]);
    assert_eq!(
        bench.state(),
        State::Empty,
        "shown until its deletion is committed"
    );
    assert_eq!(
        bench.ask(Request::Join(join("", "2"))),
        refused("", Error::NotAvailable)
    );
    assert_eq!(
        bench.shard.committed(bench.now_ms, *write),
        [Effect::Reply {
            to,
            reply: Reply::Delete(Ok(vec![Ok(()), Err(Error::GroupNotFound)]))
        }]
    );
    assert_eq!(bench.describe(), Err(Error::GroupNotFound));
    assert_eq!(bench.committed_offset(), None);
}

#[test]
fn a_deletion_that_failed_leaves_the_group_as_it_was() {
    let mut bench = Bench::new();
    bench.ask(Request::Commit(commit("", -1, "t", 5)));
    let before = bench.shard.groups.clone();
    let (to, effects) = bench.effects(Request::Delete(vec![text("g")]));
    let [Effect::Append { write, .. }] = effects[..] else {
        panic!("a record first")
    };
    assert_eq!(
        bench.shard.failed(0, write, WriteError::NotLeader),
        [Effect::Reply {
            to,
            reply: Reply::Delete(Err(Error::NotCoordinator))
        }]
    );
    assert_eq!(bench.committed_offset(), Some(5));
    let after = bench.shard.groups[&text("g")].clone();
    assert_eq!(
        (after.state(), after.state_timestamp_ms),
        (State::Empty, before[&text("g")].state_timestamp_ms)
    );
}

#[test]
fn a_huge_group_is_deleted_in_writes_that_fit() {
    let mut bench = Bench::new();
    let mut request = commit("", -1, "t", 5);
    let one = request.partitions[0].clone();
    request.partitions = (0..2_500)
        .map(|partition| CommitPartition {
            partition,
            ..one.clone()
        })
        .collect();
    bench.ask(Request::Commit(request));
    let (_, effects) = bench.effects(Request::Delete(vec![text("g")]));
    let sizes: Vec<usize> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Append { records, .. } => Some(records.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [1_000, 1_000, 501]);
}

const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

#[test]
fn offsets_of_a_simple_consumer_expire_a_week_after_the_commit_and_the_group_with_them() {
    let mut bench = Bench::new();
    bench.ask(Request::Commit(commit("", -1, "t", 5)));
    bench.advance(WEEK_MS - 1_000_000);
    assert_eq!(bench.committed_offset(), Some(5));
    bench.advance(2_000_000);
    assert_eq!(bench.committed_offset(), None);
    assert_eq!(bench.describe(), Err(Error::GroupNotFound));
}

#[test]
fn offsets_of_a_group_expire_a_week_after_its_last_member_left() {
    let (mut bench, ids) = Bench::stable(&["1"]);
    bench.ask(Request::Commit(commit(&ids[0], 1, "t", 5)));
    while bench.now_ms < WEEK_MS * 2 {
        bench.advance(9_999);
        bench.ask(heartbeat(&ids[0], 1));
        if bench.now_ms < WEEK_MS {
            bench.now_ms = WEEK_MS;
            bench.shard.now_ms = WEEK_MS;
            bench.ask(heartbeat(&ids[0], 1));
        } else if bench.now_ms > WEEK_MS + 50_000 {
            break;
        }
    }
    assert_eq!(bench.committed_offset(), Some(5), "a member still reads it");
    bench.ask(leave(&ids[0]));
    bench.advance(WEEK_MS - 1_000_000);
    assert_eq!(bench.committed_offset(), Some(5));
    bench.advance(2_000_000);
    assert_eq!(bench.committed_offset(), None);
    assert_eq!(bench.describe(), Err(Error::GroupNotFound));
}

#[test]
fn a_retention_time_of_the_clients_own_holds() {
    let mut bench = Bench::new();
    bench.ask(Request::Commit(Commit {
        retention_ms: 1_000_000,
        ..commit("", -1, "t", 5)
    }));
    bench.advance(600_000);
    assert_eq!(bench.committed_offset(), Some(5));
    bench.advance(600_000);
    assert_eq!(bench.committed_offset(), None);
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten_but_not_those_of_its_successor() {
    let mut bench = Bench::new();
    for (topic, id) in [("t", 1), ("u", 2), ("v", 0)] {
        let mut request = commit("", -1, topic, 5);
        request.partitions[0].topic_id = Uuid([id; 16]);
        bench.ask(Request::Commit(request));
    }
    let written = bench.log.len();
    let gone = |name: &str, id: u8| DeletedTopic {
        name: text(name),
        id: Uuid([id; 16]),
    };
    let topics = vec![gone("t", 1), gone("u", 9), gone("v", 3)];
    assert_eq!(bench.ask(Request::TopicsDeleted(topics)), Reply::TopicsDeleted);
    assert_eq!(
        bench.log[written..],
        [offset_record("t", None, 0), offset_record("v", None, 0)]
    );
}

// ------------------------------------------------------------------------------------------------ loading, limits

#[test]
fn a_loaded_group_is_stable_and_goes_on() {
    let (mut bench, ids) = Bench::stable(&["1", "2"]);
    bench.ask(Request::Commit(commit(&ids[0], 1, "t", 5)));
    bench.shard = bench.reloaded();
    assert_eq!(bench.state(), State::Stable);
    assert_eq!(bench.ask(heartbeat(&ids[1], 1)), Reply::Heartbeat(Ok(())));
    assert_eq!(bench.committed_offset(), Some(5));
    bench.advance(5_000);
    bench.ask(heartbeat(&ids[1], 1));
    bench.advance(5_000);
    assert_eq!(
        bench.state(),
        State::PreparingRebalance,
        "who is silent is given up"
    );
}

#[test]
fn a_loaded_group_with_too_many_members_rebalances() {
    let (bench, _) = Bench::stable(&["1", "2"]);
    let mut small = Bench::with(Config {
        members_max: 1,
        ..Config::default()
    });
    for record in &bench.log {
        small.shard.replay(record);
    }
    small.shard.loaded(0);
    assert_eq!(small.state(), State::PreparingRebalance);
}

#[test]
fn whoever_waits_is_sent_away_when_the_shard_moves() {
    let mut bench = Bench::new();
    let (id, joining) = bench.join_dynamic("1");
    let (committing, _) = bench.effects(Request::Commit(Commit {
        group: text("other"),
        ..commit("", -1, "t", 5)
    }));
    let effects = bench.shard.clone().unload();
    assert_eq!(
        effects,
        [
            Effect::Reply {
                to: joining,
                reply: refused(&id, Error::NotCoordinator)
            },
            Effect::Reply {
                to: committing,
                reply: Reply::Commit(Err(Error::NotCoordinator))
            },
        ]
    );
}

#[test]
fn too_many_uncommitted_writes_refuse_more_but_not_heartbeats() {
    let (mut bench, ids) = Bench::stable(&["1"]);
    for offset in 0..WRITES_PENDING_MAX as i64 {
        bench.effects(Request::Commit(commit(&ids[0], 1, "t", offset)));
    }
    assert_eq!(
        bench.ask(Request::Commit(commit(&ids[0], 1, "t", 5))),
        Reply::Commit(Err(Error::NotAvailable))
    );
    assert_eq!(bench.ask(heartbeat(&ids[0], 1)), Reply::Heartbeat(Ok(())));
}

#[derive(Clone, Debug)]
enum Step {
    Join(u8, u8),
    Rejoin(u8, u8),
    Static(u8, u8),
    Sync(u8, u8),
    Heartbeat(u8, u8),
    Leave(u8, u8),
    Commit(u8, u8, i64),
    Simple(u8, i64),
    Delete(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (group, member) = (0_u8..3, 0_u8..4);
    prop_oneof![
        (group.clone(), member.clone()).prop_map(|(g, m)| Step::Join(g, m)),
        (group.clone(), member.clone()).prop_map(|(g, m)| Step::Rejoin(g, m)),
        (group.clone(), member.clone()).prop_map(|(g, m)| Step::Static(g, m)),
        (group.clone(), member.clone()).prop_map(|(g, m)| Step::Sync(g, m)),
        (group.clone(), member.clone()).prop_map(|(g, m)| Step::Heartbeat(g, m)),
        (group.clone(), member.clone()).prop_map(|(g, m)| Step::Leave(g, m)),
        (group.clone(), member, 0_i64..100).prop_map(|(g, m, o)| Step::Commit(g, m, o)),
        (group.clone(), 0_i64..100).prop_map(|(g, o)| Step::Simple(g, o)),
        group.prop_map(Step::Delete),
        (0_u64..20_000).prop_map(Step::Wait),
    ]
}

impl Bench {
    fn generation_of(&self, group: &str) -> i32 {
        self.shard.groups.get(group).map_or(-1, |group| group.generation)
    }

    fn knows(&self, group: &str, member: &str) -> bool {
        let group = self.shard.groups.get(group);
        group.is_some_and(|group| group.member(member).is_some() || group.pending_joins.contains(member))
    }

    fn take(&mut self, step: Step) {
        let group = |g: u8| -> Text { format!("g{g}").into() };
        let member = |m: u8| format!("c-{m}");
        let request = match step {
            Step::Wait(ms) => return self.advance(ms),
            // An id that is drawn is never one that is in use: it holds a random UUID.
            Step::Join(g, m) if self.knows(&group(g), &member(m)) => return,
            Step::Join(g, m) => Request::Join(Join {
                group: group(g),
                ..join("", &m.to_string())
            }),
            Step::Rejoin(g, m) => Request::Join(Join {
                group: group(g),
                ..join(&member(m), "unused")
            }),
            Step::Static(g, m) => Request::Join(Join {
                group: group(g),
                ..static_join(&format!("i{m}"), &format!("static-{}", self.tickets))
            }),
            Step::Sync(g, m) => {
                let generation = self.generation_of(&group(g));
                let Request::Sync(request) = sync(&member(m), generation, &[]) else {
                    return;
                };
                Request::Sync(Sync {
                    group: group(g),
                    ..request
                })
            }
            Step::Heartbeat(g, m) => Request::Heartbeat {
                group: group(g),
                member_id: member(m).into(),
                instance_id: None,
                generation: self.generation_of(&group(g)),
                seen: Seen::default(),
            },
            Step::Leave(g, m) => {
                let Request::Leave(request) = leave(&member(m)) else {
                    return;
                };
                Request::Leave(Leave {
                    group: group(g),
                    ..request
                })
            }
            Step::Commit(g, m, offset) => Request::Commit(Commit {
                group: group(g),
                ..commit(&member(m), self.generation_of(&group(g)), "t", offset)
            }),
            Step::Simple(g, offset) => Request::Commit(Commit {
                group: group(g),
                ..commit("", -1, "t", offset)
            }),
            Step::Delete(g) => Request::Delete(vec![group(g)]),
        };
        self.send(request);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Offsets come back exactly. A group comes back as its last record has it: stable or empty.
    #[test]
    fn a_shard_read_back_from_its_log_is_equal(steps in proptest::collection::vec(step(), 0..60)) {
        let mut bench = Bench::new();
        for step in steps {
            bench.take(step);
        }
        let read = bench.reloaded();
        prop_assert_eq!(&read.committed, &bench.shard.committed);
        prop_assert_eq!(&bench.shard.latest, &bench.shard.committed);
        let ids: Vec<&Text> = bench.shard.groups.keys().collect();
        prop_assert_eq!(read.groups.keys().collect::<Vec<_>>(), ids);
        for (id, group) in &bench.shard.groups {
            let loaded = &read.groups[id];
            if group.state() == State::Stable {
                prop_assert_eq!(loaded.to_record(&loaded.assignments()).members,
                    group.to_record(&group.assignments()).members);
                prop_assert_eq!((loaded.state(), loaded.generation, &loaded.leader, &loaded.subscribed),
                    (State::Stable, group.generation, &group.leader, &group.subscribed));
            }
            if group.state() == State::Empty && group.pending_joins.is_empty() {
                prop_assert_eq!((loaded.state(), loaded.generation), (State::Empty, group.generation));
            }
        }
        // Everyone who asked is answered once, at the latest when the shard moves away.
        let unloaded = bench.shard.clone().unload();
        bench.carry_out(unloaded);
        prop_assert_eq!(bench.replies.len() as u64, bench.tickets);
    }
}

const PRODUCER: Producer = Producer {
    id: ProducerId(7),
    epoch: ProducerEpoch(0),
    guard: None,
};

fn marker(committed: bool) -> EndTransaction {
    EndTransaction {
        producer_id: PRODUCER.id,
        epoch: ProducerEpoch(1),
        committed,
        coordinator_epoch: 2,
        is_bumped: true,
    }
}

#[test]
fn offsets_of_a_transaction_are_shown_once_it_is_committed() {
    let mut bench = Bench::new();
    bench.ask(Request::Commit(commit("", -1, "t", 5)));
    let request = Request::CommitInTransaction(commit("", -1, "t", 9), PRODUCER);
    let (to, effects) = bench.effects(request.clone());
    let [
        Effect::AppendInTransaction {
            producer, records, ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!((*producer, records.len()), (PRODUCER, 1));
    bench.carry_out(effects);
    assert_eq!(bench.replies.remove(&to), Some(Reply::Commit(Ok(vec![Ok(())]))));
    let unstable = Reply::Fetch(Ok(vec![FetchedPartition {
        topic: text("t"),
        partition: 0,
        committed: Err(Error::UnstableOffset),
    }]));
    assert_eq!(bench.committed_offset(), Some(5));
    assert_eq!(bench.ask(fetch_all(true)), unstable);
    let ended = Reply::EndTransaction(Ok(()));
    assert_eq!(bench.ask(Request::EndTransaction(marker(false))), ended);
    assert_eq!(bench.committed_offset(), Some(5));
    bench.ask(request);
    let (to, effects) = bench.effects(Request::EndTransaction(marker(true)));
    let [Effect::AppendMarker { marker: written, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(*written, marker(true));
    assert_eq!(
        bench.committed_offset(),
        Some(5),
        "the marker is not committed yet"
    );
    bench.carry_out(effects);
    assert_eq!(bench.replies.remove(&to), Some(ended));
    assert_eq!(bench.committed_offset(), Some(9));
}

#[test]
fn marker_that_could_not_be_written_leaves_the_offsets_in_doubt() {
    let mut bench = Bench::new();
    bench.ask(Request::CommitInTransaction(commit("", -1, "t", 9), PRODUCER));
    let (to, effects) = bench.effects(Request::EndTransaction(marker(true)));
    let [Effect::AppendMarker { write, .. }] = effects[..] else {
        panic!("{effects:?}");
    };
    let effects = bench.shard.failed(0, write, WriteError::NotReplicated);
    bench.carry_out(effects);
    let failed = Reply::EndTransaction(Err(Error::NotAvailable));
    assert_eq!(bench.replies.remove(&to), Some(failed));
    assert_eq!(bench.committed_offset(), None);
    bench.ask(Request::EndTransaction(marker(true)));
    assert_eq!(bench.committed_offset(), Some(9));
}

#[test]
fn member_of_the_past_commits_nothing_in_a_transaction_either() {
    let (mut bench, ids) = Bench::stable(&["1"]);
    let mut ask = |member: &str, generation| {
        bench.ask(Request::CommitInTransaction(
            commit(member, generation, "t", 9),
            PRODUCER,
        ))
    };
    for (member, generation, error) in [
        ("nobody", 1, Error::UnknownMember),
        (ids[0].as_str(), 0, Error::IllegalGeneration),
    ] {
        assert_eq!(ask(member, generation), Reply::Commit(Err(error)));
    }
    assert_eq!(ask(&ids[0], 1), Reply::Commit(Ok(vec![Ok(())])));
    // Older clients do not say who they are.
    assert_eq!(ask("", -1), Reply::Commit(Ok(vec![Ok(())])));
}

#[test]
fn offsets_in_doubt_outlive_a_change_of_the_coordinator() {
    let mut shard = Shard::new(Config::default());
    let record = |offset| Record::OffsetCommit {
        group: text("g"),
        topic: text("t"),
        partition: 0,
        value: Some(OffsetCommit {
            offset,
            leader_epoch: -1,
            metadata: text(""),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: Uuid::ZERO,
        }),
    };
    shard.replay_in_transaction(ProducerId(7), &record(9));
    shard.replay_in_transaction(ProducerId(8), &record(10));
    shard.replay_marker(ProducerId(7), true);
    assert_eq!(shard.loaded(0), []);
    let mut bench = Bench {
        shard,
        ..Bench::new()
    };
    assert_eq!(bench.committed_offset(), Some(9));
    bench.ask(Request::EndTransaction(EndTransaction {
        producer_id: ProducerId(8),
        ..marker(true)
    }));
    assert_eq!(bench.committed_offset(), Some(10));
}
