//! Streams groups (KIP-1071).

mod offsets;
mod world;

use flotilla_protocol::Uuid;

use super::*;
use crate::group::consumer::{Refused, TargetEpoch};
use crate::group::streams::{
    self, Assignment, Beat, Creatable, Current, Described, Endpoint, EndpointPartitions, GroupEpoch,
    Heartbeat, Held, InternalTopic, MemberState, Notice, Owned, State as StreamsState, Status, Subtopology,
    Tasks, Told, Topology,
};
use crate::group::testing::{seen, seen_with};

const WORDS: Uuid = Uuid([1; 16]);
const LOG: Uuid = Uuid([2; 16]);
/// Topics with which the application works: two partitions of words, and as many of what was counted.
const TOPICS: [(&str, Uuid, i32); 2] = [("words", WORDS, 2), ("log", LOG, 2)];

/// Counts words.
fn counting() -> Topology {
    let part = Subtopology {
        source_topics: vec![text("words")],
        changelogs: vec![InternalTopic {
            name: text("log"),
            ..InternalTopic::default()
        }],
        ..Subtopology::default()
    };
    Topology {
        epoch: 0,
        subtopologies: [(text("0"), part)].into(),
    }
}

fn tasks(partitions: &[i32]) -> Tasks {
    partitions
        .iter()
        .map(|partition| (text("0"), *partition))
        .collect()
}

fn active(partitions: &[i32]) -> Assignment {
    Assignment {
        active: tasks(partitions),
        ..Assignment::default()
    }
}

fn beat(member: &str, epoch: i32, seen: &Seen) -> Heartbeat {
    Heartbeat {
        group: text("g"),
        member_id: text(member),
        epoch,
        endpoint_epoch: 0,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: -1,
        topology: None,
        owned: Owned::Unsaid,
        process_id: None,
        endpoint: None,
        client_tags: None,
        tells_offsets: false,
        shuts_down: false,
        client_id: text("c"),
        client_host: text("/h"),
        seen: seen.clone(),
    }
}

/// Joins, as a process of its own.
fn joining(member: &str, seen: &Seen) -> Heartbeat {
    Heartbeat {
        rebalance_timeout_ms: 30_000,
        topology: Some(counting()),
        owned: Owned::All(Assignment::default()),
        process_id: Some(text(&format!("process of {member}"))),
        ..beat(member, 0, seen)
    }
}

fn owning(member: &str, epoch: i32, owned: Assignment, seen: &Seen) -> Heartbeat {
    Heartbeat {
        owned: Owned::All(owned),
        ..beat(member, epoch, seen)
    }
}

fn told(member: &str, epoch: i32, assignment: Option<Assignment>) -> Beat {
    Beat {
        member_id: text(member),
        epoch,
        heartbeat_interval_ms: 5_000,
        assignment,
        ..Beat::default()
    }
}

fn notice(status: Status, detail: &str) -> Notice {
    Notice {
        status,
        detail: detail.to_owned(),
    }
}

fn refused_with(error: Error, message: &str) -> Refused {
    Refused {
        error,
        message: Some(message.to_owned()),
    }
}

fn of_group(record: streams::Record) -> Record {
    Record::Streams {
        group: text("g"),
        record,
    }
}

impl Bench {
    /// Without a wait before the first assignment, or between assignments.
    fn prompt() -> Self {
        let mut config = Config::default();
        config.streams.assignment_interval_ms = 0;
        config.streams.initial_rebalance_delay_ms = 0;
        Self::with(config)
    }

    fn beats(&mut self, heartbeat: Heartbeat) -> Result<Beat, Refused> {
        match self.ask(Request::StreamsHeartbeat(Box::new(heartbeat))) {
            Reply::StreamsHeartbeat(answer) => answer,
            other => panic!("not an answer to a heartbeat: {other:?}"),
        }
    }

    fn streams_described(&mut self, seen: &Seen) -> Result<Described, Refused> {
        let groups = vec![text("g")];
        let seen = seen.clone();
        match self.ask(Request::StreamsDescribe { groups, seen }) {
            Reply::StreamsDescribe(Ok(mut groups)) => groups.remove(0),
            other => panic!("not described: {other:?}"),
        }
    }

    fn streams_state(&mut self, seen: &Seen) -> StreamsState {
        self.streams_described(seen).expect("a group").state
    }
}

#[test]
fn the_first_member_gets_all_tasks_once_that_is_written() {
    let mut bench = Bench::prompt();
    bench.now_ms = 7;
    let seen = seen(1, &TOPICS);
    let (to, effects) = bench.effects(Request::StreamsHeartbeat(Box::new(joining("a", &seen))));
    let [Effect::Append { write, records }] = &effects[..] else {
        panic!("one write: {effects:?}");
    };
    let Record::Streams {
        record: streams::Record::Group(Some(GroupEpoch { metadata_hash, .. })),
        ..
    } = records[2]
    else {
        panic!("an epoch: {records:?}");
    };
    assert_ne!(metadata_hash, 0);
    let member = text("a");
    let held = Held {
        active: [(text("0"), 0, 2), (text("0"), 1, 2)].into_iter().collect(),
        ..Held::default()
    };
    assert_eq!(
        records[..],
        [
            streams::Record::Member {
                member: member.clone(),
                value: Some(Told {
                    client_id: text("c"),
                    client_host: text("/h"),
                    rebalance_timeout_ms: 30_000,
                    topology_epoch: 0,
                    process_id: text("process of a"),
                    ..Told::default()
                }),
            },
            streams::Record::Topology(Some(counting())),
            streams::Record::Group(Some(GroupEpoch {
                epoch: 2,
                metadata_hash,
                validated_topology_epoch: 0,
                assignment_configs: [(text("num.standby.replicas"), text("0"))].into(),
            })),
            streams::Record::Target {
                member: member.clone(),
                value: Some(active(&[0, 1])),
            },
            streams::Record::TargetEpoch(Some(TargetEpoch {
                epoch: 2,
                timestamp_ms: 7,
            })),
            streams::Record::Current {
                member,
                value: Some(Current {
                    epoch: 2,
                    previous_epoch: 0,
                    state: MemberState::Stable,
                    assigned: held,
                    revoking: Held::default(),
                }),
            },
        ]
        .map(of_group)
    );
    assert_eq!(
        bench.streams_described(&seen),
        Err(refused_with(Error::GroupNotFound, "there is no streams group g"))
    );
    let effects = bench.shard.committed(7, *write);
    let reply = Reply::StreamsHeartbeat(Ok(told("a", 2, Some(active(&[0, 1])))));
    assert_eq!(effects, [Effect::Reply { to, reply }]);
    assert_eq!(bench.streams_state(&seen), StreamsState::Stable);
}

#[test]
fn the_first_member_of_an_empty_group_waits_for_others() {
    let mut bench = Bench::new();
    let seen = seen(1, &TOPICS);
    let waiting = |member| Beat {
        notices: vec![notice(
            Status::AssignmentDelayed,
            "tasks are not assigned yet: others may join in a moment",
        )],
        ..told(member, 1, Some(Assignment::default()))
    };
    assert_eq!(bench.beats(joining("a", &seen)), Ok(waiting("a")));
    bench.advance(2_999);
    assert_eq!(bench.beats(joining("b", &seen)), Ok(waiting("b")));
    assert_eq!(bench.streams_state(&seen), StreamsState::Assigning);
    bench.advance(1);
    assert_eq!(bench.streams_state(&seen), StreamsState::Reconciling);
    assert_eq!(
        bench.beats(beat("a", 1, &seen)),
        Ok(told("a", 3, Some(active(&[0]))))
    );
    assert_eq!(
        bench.beats(beat("b", 1, &seen)),
        Ok(told("b", 3, Some(active(&[1]))))
    );
    assert_eq!(bench.streams_state(&seen), StreamsState::Stable);
    assert_eq!(bench.beats(beat("b", 3, &seen)), Ok(told("b", 3, None)));
}

#[test]
fn a_task_is_taken_from_one_before_another_gets_it() {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    bench.beats(joining("a", &seen)).expect("a joins");
    assert_eq!(
        bench.beats(joining("b", &seen)),
        Ok(told("b", 3, Some(Assignment::default())))
    );
    assert_eq!(
        bench.beats(owning("a", 2, active(&[0, 1]), &seen)),
        Ok(told("a", 2, Some(active(&[0]))))
    );
    assert_eq!(
        bench.beats(beat("b", 3, &seen)),
        Ok(told("b", 3, None)),
        "not yet"
    );
    assert_eq!(
        bench.beats(owning("a", 2, active(&[0]), &seen)),
        Ok(told("a", 3, None))
    );
    assert_eq!(
        bench.beats(beat("b", 3, &seen)),
        Ok(told("b", 3, Some(active(&[1]))))
    );
}

#[test]
fn tasks_are_not_assigned_anew_within_the_interval() {
    let mut config = Config::default();
    config.streams.initial_rebalance_delay_ms = 0;
    let mut bench = Bench::with(config);
    bench.now_ms = 1;
    let seen = seen(1, &TOPICS);
    bench.beats(joining("a", &seen)).expect("a joins");
    assert_eq!(
        bench.beats(joining("b", &seen)),
        Ok(Beat {
            notices: vec![notice(
                Status::AssignmentDelayed,
                "tasks are not assigned yet: tasks were assigned a moment ago"
            )],
            ..told("b", 2, Some(Assignment::default()))
        })
    );
    bench.advance(1_000);
    assert_eq!(
        bench.beats(owning("a", 2, active(&[0, 1]), &seen)),
        Ok(told("a", 2, Some(active(&[0]))))
    );
}

#[test]
fn topics_that_are_missing_are_told_and_created_and_the_group_goes_on_when_they_are_there() {
    let mut bench = Bench::prompt();
    let nothing = seen(1, &[]);
    let missing = |detail: &str| vec![notice(Status::MissingSourceTopics, detail)];
    assert_eq!(
        bench.beats(joining("a", &nothing)),
        Ok(Beat {
            notices: missing("source topics are missing: words"),
            ..told("a", 2, Some(Assignment::default()))
        })
    );
    assert_eq!(bench.streams_state(&nothing), StreamsState::NotReady);
    let sources = seen(2, &TOPICS[..1]);
    assert_eq!(
        bench.beats(beat("a", 2, &sources)),
        Ok(Beat {
            notices: vec![notice(
                Status::MissingInternalTopics,
                "internal topics are missing: log"
            )],
            to_create: vec![Creatable {
                name: text("log"),
                partitions: 2,
                replication_factor: -1,
                configs: Vec::new(),
            }],
            ..told("a", 3, None)
        })
    );
    assert_eq!(bench.streams_state(&sources), StreamsState::NotReady);
    let all = seen(3, &TOPICS);
    assert_eq!(
        bench.beats(beat("a", 3, &all)),
        Ok(told("a", 4, Some(active(&[0, 1]))))
    );
    assert_eq!(bench.streams_state(&all), StreamsState::Stable);
    let gone = seen(4, &TOPICS[1..]);
    assert_eq!(
        bench.beats(owning("a", 4, active(&[0, 1]), &gone)),
        Ok(Beat {
            notices: missing("source topics are missing: words"),
            ..told("a", 4, Some(Assignment::default()))
        })
    );
}

#[test]
fn another_topology_is_refused_and_an_older_one_is_told() {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    let of_epoch = |member, epoch| Heartbeat {
        topology: Some(Topology { epoch, ..counting() }),
        ..joining(member, &seen)
    };
    bench.beats(of_epoch("a", 1)).expect("a joins");
    assert_eq!(
        bench.beats(of_epoch("b", 2)),
        Err(refused_with(
            Error::InvalidRequest,
            "the application has another topology than the group: stop all its members and delete the group, or choose another \
             application.id"
        ))
    );
    let stale = bench.beats(of_epoch("c", 0)).expect("c joins");
    assert_eq!(
        stale.notices,
        [notice(
            Status::StaleTopology,
            "the member has the topology of epoch 0, and the group that of epoch 1"
        )]
    );
}

#[test]
fn a_member_that_asks_for_it_ends_the_whole_application() {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    bench.beats(joining("a", &seen)).expect("a joins");
    bench.beats(joining("b", &seen)).expect("b joins");
    let asking = Heartbeat {
        shuts_down: true,
        ..beat("a", -1, &seen)
    };
    assert_eq!(
        bench.beats(asking),
        Ok(Beat {
            heartbeat_interval_ms: 0,
            ..told("a", -1, None)
        })
    );
    let notices = bench.beats(beat("b", 3, &seen)).expect("b goes on").notices;
    assert_eq!(
        notices,
        [notice(
            Status::ShutdownApplication,
            "member a met a fatal error, and asks the whole application to end"
        )]
    );
    bench.beats(beat("b", -1, &seen)).expect("b leaves");
    assert_eq!(bench.streams_state(&seen), StreamsState::Empty);
    let again = bench.beats(joining("c", &seen)).expect("c joins");
    assert_eq!(again.notices, [], "the group began anew");
}

#[test]
fn members_are_told_who_has_which_state() {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    let host = |member: &str| Endpoint {
        host: text(member),
        port: 80,
    };
    let with_endpoint = |member| Heartbeat {
        endpoint: Some(host(member)),
        endpoint_epoch: -1,
        ..joining(member, &seen)
    };
    let of = |member, partitions: &[i32]| EndpointPartitions {
        endpoint: host(member),
        active: match partitions {
            [] => BTreeMap::new(),
            partitions => [(text("words"), partitions.iter().copied().collect())].into(),
        },
        standby: BTreeMap::new(),
    };
    let a = bench.beats(with_endpoint("a")).expect("a joins");
    assert_eq!((a.endpoint_epoch, a.endpoints), (0, Some(vec![of("a", &[0, 1])])));
    let b = bench.beats(with_endpoint("b")).expect("b joins");
    assert_eq!(
        (b.endpoint_epoch, b.endpoints),
        (1, Some(vec![of("a", &[0, 1]), of("b", &[])]))
    );
    let a = bench
        .beats(owning("a", 2, active(&[0, 1]), &seen))
        .expect("a goes on");
    assert_eq!(
        (a.endpoint_epoch, a.endpoints),
        (2, Some(vec![of("a", &[0]), of("b", &[])]))
    );
    let knowing = Heartbeat {
        endpoint_epoch: 2,
        ..beat("a", 2, &seen)
    };
    let a = bench.beats(knowing).expect("a goes on");
    assert_eq!((a.endpoint_epoch, a.endpoints), (2, None));
}

#[test]
fn a_group_has_settings_of_its_own() {
    let mut bench = Bench::new();
    let configs = [
        ("streams.heartbeat.interval.ms", "7000"),
        ("streams.session.timeout.ms", "50000"),
        ("streams.initial.rebalance.delay.ms", "0"),
        ("streams.assignment.interval.ms", "0"),
        ("streams.num.standby.replicas", "1"),
    ];
    let seen = seen_with(1, &TOPICS, &configs);
    let a = bench.beats(joining("a", &seen)).expect("a joins");
    assert_eq!(a.heartbeat_interval_ms, 7_000);
    assert_eq!(a.notices, [], "nobody is waited for");
    bench.beats(joining("b", &seen)).expect("b joins");
    let described = bench.streams_described(&seen).expect("a group");
    let standby: Vec<Tasks> = described
        .members
        .iter()
        .map(|member| member.target.standby.clone())
        .collect();
    assert_eq!(standby, [tasks(&[1]), tasks(&[0])]);
    bench.advance(49_999);
    assert_eq!(bench.streams_described(&seen).expect("a group").members.len(), 2);
    bench.advance(1);
    assert_eq!(bench.streams_state(&seen), StreamsState::Empty);
}

#[test]
fn a_change_of_standbys_is_a_reason_to_assign_anew() {
    let mut bench = Bench::prompt();
    let before = seen(1, &TOPICS);
    bench.beats(joining("a", &before)).expect("a joins");
    bench.beats(joining("b", &before)).expect("b joins");
    bench
        .beats(owning("a", 2, active(&[0, 1]), &before))
        .expect("a gives up");
    bench
        .beats(owning("a", 2, active(&[0]), &before))
        .expect("a goes on");
    bench.beats(beat("b", 3, &before)).expect("b gets it");
    let after = seen_with(2, &TOPICS, &[("streams.num.standby.replicas", "1")]);
    let a = bench.beats(beat("a", 3, &after)).expect("a goes on");
    assert_eq!(
        (a.epoch, a.assignment),
        (
            4,
            Some(Assignment {
                standby: tasks(&[1]),
                ..active(&[0])
            })
        )
    );
}

#[test]
fn who_is_silent_or_gives_nothing_up_is_put_out() {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    bench.beats(joining("a", &seen)).expect("a joins");
    bench.beats(joining("b", &seen)).expect("b joins");
    bench
        .beats(owning("a", 2, active(&[0, 1]), &seen))
        .expect("a is to give up");
    // Its rebalance timeout is over before its session is.
    bench.advance(30_000);
    assert_eq!(
        bench.beats(beat("a", 2, &seen)),
        Err(refused_with(Error::UnknownMember, "group g has no member a"))
    );
    assert_eq!(
        bench.beats(beat("b", 3, &seen)),
        Ok(told("b", 4, Some(active(&[0, 1]))))
    );
    bench.advance(45_000);
    assert_eq!(bench.streams_state(&seen), StreamsState::Empty);
}

#[test]
fn members_may_be_one_epoch_behind_if_they_hold_no_more_than_they_may() {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    bench.beats(joining("a", &seen)).expect("a joins");
    bench.beats(joining("b", &seen)).expect("b joins");
    bench
        .beats(owning("a", 2, active(&[0, 1]), &seen))
        .expect("a is to give up");
    let answer = told("a", 3, None);
    assert_eq!(
        bench.beats(owning("a", 2, active(&[0]), &seen)),
        Ok(answer.clone())
    );
    assert_eq!(
        bench.beats(owning("a", 2, active(&[0]), &seen)),
        Ok(answer),
        "once more"
    );
    for (epoch, owned) in [(2, active(&[0, 1])), (1, active(&[]))] {
        let refused = bench.beats(owning("a", epoch, owned, &seen)).expect_err("fenced");
        assert_eq!(refused.error, Error::FencedMemberEpoch);
    }
    let refused = bench.beats(beat("a", 9, &seen)).expect_err("fenced");
    assert_eq!(refused.error, Error::FencedMemberEpoch);
    let refused = bench
        .beats(owning("a", 3, active(&[2]), &seen))
        .expect_err("no such task");
    assert_eq!(
        refused,
        refused_with(
            Error::InvalidRequest,
            "there is no task 2 of subtopology 0: it has 2 tasks"
        )
    );
}

#[test]
fn a_full_group_takes_nobody_but_those_who_are_in_it() {
    let mut config = Config::default();
    config.streams.members_max = 1;
    let mut bench = Bench::with(config);
    let seen = seen(1, &TOPICS);
    bench.beats(joining("a", &seen)).expect("a joins");
    assert_eq!(
        bench.beats(joining("b", &seen)),
        Err(refused_with(
            Error::GroupFull,
            "the group is full: it has 1 members, as many as group.streams.max.size allows"
        ))
    );
    bench.beats(joining("a", &seen)).expect("a joins again");
}

#[test]
fn a_write_that_fails_leaves_no_trace() {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    let (to, effects) = bench.effects(Request::StreamsHeartbeat(Box::new(joining("a", &seen))));
    let [Effect::Append { write, .. }] = &effects[..] else {
        panic!("one write: {effects:?}");
    };
    let effects = bench.shard.failed(0, *write, WriteError::NotLeader);
    let reply = Reply::StreamsHeartbeat(Err(Error::NotCoordinator.into()));
    assert_eq!(effects, [Effect::Reply { to, reply }]);
    assert_eq!(
        bench.beats(beat("a", 2, &seen)),
        Err(refused_with(Error::GroupNotFound, "there is no streams group g"))
    );
    assert_eq!(
        bench.beats(joining("a", &seen)),
        Ok(told("a", 2, Some(active(&[0, 1]))))
    );
}

#[test]
fn a_group_is_the_same_after_it_was_read_from_the_log() {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    bench.beats(joining("a", &seen)).expect("a joins");
    bench.beats(joining("b", &seen)).expect("b joins");
    bench
        .beats(owning("a", 2, active(&[0, 1]), &seen))
        .expect("a is to give up");
    let before = bench.streams_described(&seen);
    bench.shard = bench.reloaded();
    assert_eq!(bench.streams_described(&seen), before);
    // What it was to give up it still is, within its time.
    bench.advance(30_000);
    let refused = bench.beats(beat("a", 2, &seen)).expect_err("put out");
    assert_eq!(refused.error, Error::UnknownMember);
    assert_eq!(
        bench.beats(beat("b", 3, &seen)),
        Ok(told("b", 4, Some(active(&[0, 1]))))
    );
}

#[test]
fn groups_of_one_protocol_are_not_those_of_another() {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    bench.beats(joining("a", &seen)).expect("a joins");
    // A classic member finds a group of another kind.
    assert_eq!(
        bench.ask(Request::Join(join("", "1"))),
        refused("", Error::InconsistentProtocol)
    );
    assert_eq!(bench.describe(), Err(Error::GroupNotFound));
    let listed = |bench: &mut Bench| match bench.ask(Request::List) {
        Reply::List(Ok(groups)) => groups,
        other => panic!("not listed: {other:?}"),
    };
    let of = |state| ListedGroup {
        group: text("g"),
        kind: Kind::Streams,
        protocol_type: text("streams"),
        state,
    };
    assert_eq!(listed(&mut bench), [of("Stable")]);
    bench.beats(beat("a", -1, &seen)).expect("a leaves");
    assert_eq!(listed(&mut bench), [of("Empty")]);
    // An empty group makes room, and takes room.
    let (_, to) = bench.join_dynamic("2");
    bench.advance(3_000);
    let joined = bench.joined(to);
    assert_eq!(joined.error, None);
    assert_eq!(
        bench.beats(joining("a", &seen)),
        Err(refused_with(
            Error::GroupNotFound,
            "group g is not a streams group"
        ))
    );
    bench.send(leave(&joined.member_id));
    bench.replies.clear();
    bench.beats(joining("a", &seen)).expect("a joins again");
    assert_eq!(listed(&mut bench), [of("Stable")]);
    let reloaded = bench.reloaded();
    assert_eq!(reloaded.groups.len(), 0, "the log says the same");
    assert!(reloaded.streams.contains("g"));
}
