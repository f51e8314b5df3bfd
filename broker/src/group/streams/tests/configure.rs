//! Topologies and the topics that there are.

use flotilla_protocol::Uuid;

use super::*;
use crate::group::consumer::Seen;
use crate::group::streams::configure::{Configured, Shape, configure};
use crate::group::streams::notice::{Notice, Status};
use crate::group::streams::request::{Heartbeat, Owned};
use crate::group::streams::{Assignment, Creatable};
use crate::group::{Error, testing};

fn there(topics: &[(&str, i32)]) -> Seen {
    let topics: Vec<(&str, Uuid, i32)> = (1..)
        .zip(topics)
        .map(|(id, (name, partitions))| (*name, Uuid([id; 16]), *partitions))
        .collect();
    testing::seen(1, &topics)
}

/// Words are read, written to a repartition topic, and counted.
fn counting() -> Topology {
    let splits = Subtopology {
        repartition_sinks: vec![text("repartition")],
        ..reading(&["words"])
    };
    let counts = Subtopology {
        repartition_sources: vec![internal("repartition", 0)],
        changelogs: vec![internal("changelog", 0)],
        ..Subtopology::default()
    };
    topology(vec![("0", splits), ("1", counts)])
}

fn configured(topology: &Topology, topics: &[(&str, i32)]) -> Configured {
    configure(topology, &there(topics)).expect("a topology that can work")
}

fn problem(topology: &Topology, topics: &[(&str, i32)]) -> Notice {
    configured(topology, topics).problem.expect("a problem")
}

fn creatable(name: &str, partitions: i32) -> Creatable {
    Creatable {
        name: text(name),
        partitions,
        replication_factor: -1,
        configs: vec![(text("cleanup.policy"), text("compact"))],
    }
}

#[test]
fn what_is_read_must_be_there() {
    assert_eq!(
        problem(&counting(), &[("others", 3)]),
        Notice {
            status: Status::MissingSourceTopics,
            detail: "source topics are missing: words".to_owned(),
        }
    );
    let many = topology(vec![("0", reading(&["e", "b", "c", "d", "a"]))]);
    assert_eq!(
        problem(&many, &[]).detail,
        "source topics are missing: a, b, c and 2 more"
    );
}

#[test]
fn internal_topics_follow_what_they_are_made_of() {
    let configured = configured(&counting(), &[("words", 3)]);
    assert_eq!(
        configured.missing,
        [creatable("repartition", 3), creatable("changelog", 3)]
    );
    assert_eq!(
        configured.problem,
        Some(Notice {
            status: Status::MissingInternalTopics,
            detail: "internal topics are missing: changelog, repartition".to_owned(),
        })
    );
}

#[test]
fn an_application_whose_topics_are_there_is_ready() {
    let topics = [("words", 3), ("repartition", 3), ("changelog", 3)];
    let configured = configured(&counting(), &topics);
    assert_eq!(configured.problem, None);
    assert_eq!(configured.missing, []);
    let shape = |tasks, is_stateful| Shape { tasks, is_stateful };
    assert_eq!(
        configured.shapes.into_iter().collect::<Vec<_>>(),
        [(text("0"), shape(3, false)), (text("1"), shape(3, true))]
    );
}

#[test]
fn an_internal_topic_with_another_number_of_partitions_is_told() {
    let topics = [("words", 3), ("repartition", 2), ("changelog", 3)];
    assert_eq!(
        problem(&counting(), &topics),
        Notice {
            status: Status::IncorrectlyPartitionedTopics,
            detail: "internal topic repartition has 2 partitions, and must have 3: delete it, or reset the application"
                .to_owned(),
        }
    );
}

#[test]
fn a_repartition_topic_has_as_many_partitions_as_it_says() {
    let mut topology = counting();
    let counts = topology.subtopologies.get_mut("1").expect("is there");
    counts.repartition_sources = vec![internal("repartition", 7)];
    assert_eq!(
        configured(&topology, &[("words", 3)]).missing,
        [creatable("repartition", 7), creatable("changelog", 7)]
    );
}

#[test]
fn topics_that_are_joined_have_as_many_partitions_as_each_other() {
    let mut join = reading(&["orders", "customers"]);
    join.copartition_groups = vec![copartitioned(&[0, 1], &[])];
    let topology = topology(vec![("0", join)]);
    assert_eq!(
        configured(&topology, &[("orders", 2), ("customers", 2)]).problem,
        None
    );
    assert_eq!(
        problem(&topology, &[("orders", 2), ("customers", 3)]),
        Notice {
            status: Status::IncorrectlyPartitionedTopics,
            detail: "topics that are read together must have as many partitions as each other: customers has 3, orders has 2"
                .to_owned(),
        }
    );
}

/// Joins `orders` with what is repartitioned of `words`, once with so many partitions of its own.
fn joining_repartitioned(partitions: i32) -> Topology {
    let splits = Subtopology {
        repartition_sinks: vec![text("repartition")],
        ..reading(&["words"])
    };
    let join = Subtopology {
        repartition_sources: vec![internal("repartition", partitions)],
        copartition_groups: vec![copartitioned(&[0], &[0])],
        ..reading(&["orders"])
    };
    topology(vec![("0", splits), ("1", join)])
}

#[test]
fn a_repartition_topic_follows_what_it_is_joined_with() {
    let topics = [("words", 3), ("orders", 5)];
    assert_eq!(
        configured(&joining_repartitioned(0), &topics).missing,
        [creatable("repartition", 5)]
    );
    assert_eq!(
        problem(&joining_repartitioned(4), &topics).status,
        Status::IncorrectlyPartitionedTopics
    );
    assert_eq!(
        configured(&joining_repartitioned(5), &topics).missing,
        [creatable("repartition", 5)]
    );
}

#[test]
fn repartition_topics_that_are_joined_follow_the_largest_or_the_one_that_says_a_number() {
    let sink = |from: &str, to: &str| Subtopology {
        repartition_sinks: vec![text(to)],
        ..reading(&[from])
    };
    let join = |one, other| Subtopology {
        repartition_sources: vec![internal("left", one), internal("right", other)],
        copartition_groups: vec![copartitioned(&[], &[0, 1])],
        ..Subtopology::default()
    };
    let of = |one, other| {
        let parts = vec![
            ("0", sink("small", "left")),
            ("1", sink("large", "right")),
            ("2", join(one, other)),
        ];
        let topics = [("small", 2), ("large", 6)];
        let configured = configured(&topology(parts), &topics);
        configured
            .missing
            .iter()
            .map(|topic| topic.partitions)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(0, 0), [6, 6]);
    assert_eq!(of(4, 0), [4, 4]);
    assert_eq!(of(4, 4), [4, 4]);
    assert_eq!(of(4, 3), [0; 0], "they contradict each other");
}

#[test]
fn repartition_topics_are_counted_through_chains_of_them() {
    let first = Subtopology {
        repartition_sinks: vec![text("one")],
        ..reading(&["words"])
    };
    let link = |from: &str, to: &[&str]| Subtopology {
        repartition_sources: vec![internal(from, 0)],
        repartition_sinks: to.iter().map(|to| text(to)).collect(),
        ..Subtopology::default()
    };
    // In an order that needs several rounds.
    let parts = vec![
        ("0", link("two", &[])),
        ("1", link("one", &["two"])),
        ("2", first),
    ];
    let configured = configured(&topology(parts), &[("words", 4)]);
    assert_eq!(configured.missing, [creatable("two", 4), creatable("one", 4)]);
}

#[test]
fn repartition_topics_that_nobody_fills_are_refused() {
    let refused = |topology: &Topology| {
        let refused = configure(topology, &there(&[("words", 1)])).expect_err("refused");
        assert_eq!(refused.error, Error::InvalidTopology);
        refused.message.expect("words")
    };
    let mut unwritten = counting();
    let splits = unwritten.subtopologies.get_mut("0").expect("is there");
    splits.repartition_sinks.clear();
    assert_eq!(
        refused(&unwritten),
        "repartition topic repartition is read, and no subtopology writes to it"
    );
    let link = |from: &str, to: &str| Subtopology {
        repartition_sources: vec![internal(from, 0)],
        repartition_sinks: vec![text(to)],
        ..Subtopology::default()
    };
    let circle = topology(vec![("0", link("a", "b")), ("1", link("b", "a"))]);
    assert_eq!(
        refused(&circle),
        "the number of partitions of some repartition topics cannot be told: they are only written from each other"
    );
}

fn joining(topology: Topology) -> Heartbeat {
    Heartbeat {
        group: text("g"),
        member_id: text("m"),
        epoch: 0,
        endpoint_epoch: -1,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: 1,
        topology: Some(topology),
        owned: Owned::All(Assignment::default()),
        process_id: Some(text("p")),
        endpoint: None,
        client_tags: None,
        tells_offsets: false,
        shuts_down: false,
        client_id: text("c"),
        client_host: text("/h"),
        seen: Seen::default(),
    }
}

#[test]
fn heartbeats_that_cannot_be_are_refused() {
    let good = joining(counting());
    let refused = |request: Heartbeat| match request.check() {
        Ok(()) => None,
        Err(refused) => Some((refused.error, refused.message.expect("words"))),
    };
    let invalid = |message: &str| Some((Error::InvalidRequest, message.to_owned()));
    assert_eq!(refused(good.clone()), None);
    let with = |change: &dyn Fn(&mut Heartbeat)| {
        let mut request = good.clone();
        change(&mut request);
        refused(request)
    };
    let held = Assignment {
        active: tasks(&[("0", 0)]),
        ..Assignment::default()
    };
    assert_eq!(
        with(&|request| request.instance_id = Some(text("i"))),
        invalid("members of streams groups cannot have an instance id")
    );
    assert_eq!(
        with(&|request| request.tells_offsets = true),
        invalid("a heartbeat cannot say how far tasks are")
    );
    assert_eq!(
        with(&|request| request.member_id = text(" ")),
        invalid("a heartbeat needs a member id")
    );
    assert_eq!(
        with(&|request| request.group = text("")),
        invalid("a heartbeat needs a group id")
    );
    assert_eq!(
        with(&|request| request.rack_id = Some(text(""))),
        invalid("a rack, where there is one, must not be empty")
    );
    assert_eq!(
        with(&|request| request.rebalance_timeout_ms = -1),
        invalid("who joins says its rebalance timeout")
    );
    assert_eq!(
        with(&|request| request.owned = Owned::All(held.clone())),
        invalid("who joins holds no tasks yet")
    );
    assert_eq!(
        with(&|request| request.topology = None),
        invalid("who joins says its topology")
    );
    assert_eq!(
        with(&|request| request.epoch = 1),
        invalid("only who joins says its topology")
    );
    assert_eq!(
        with(&|request| request.epoch = -3),
        invalid("there is no such member epoch: -1 leaves, 0 joins, larger ones go on")
    );
    assert_eq!(
        with(&|request| request.epoch = -2),
        invalid("only a member with an instance id leaves for a while")
    );
    assert_eq!(
        with(&|request| {
            request.owned = Owned::Partly(held.clone());
            (request.epoch, request.topology) = (1, None);
        }),
        invalid("who says its tasks in one role says them in all of them")
    );
}

#[test]
fn topologies_that_cannot_be_are_refused() {
    let refused = |part: Subtopology| {
        let refused = joining(topology(vec![("0", part)])).check().expect_err("refused");
        (refused.error, refused.message.expect("words"))
    };
    let invalid = |message: &str| (Error::InvalidTopology, message.to_owned());
    assert_eq!(
        refused(Subtopology::default()),
        invalid("subtopology 0 reads no topic")
    );
    let mut part = reading(&["words"]);
    part.changelogs = vec![internal("log", 2)];
    assert_eq!(
        refused(part),
        invalid(
            "changelog log of subtopology 0 says that it has 2 partitions: changelogs have as many as what is read, and must say 0"
        )
    );
    let mut part = reading(&["words"]);
    part.repartition_sources = vec![internal("repartition", -1)];
    assert_eq!(
        refused(part),
        invalid("repartition topic repartition of subtopology 0 says that it has -1 partitions")
    );
    for group in [
        copartitioned(&[1], &[]),
        copartitioned(&[-1], &[]),
        copartitioned(&[0], &[0]),
    ] {
        let mut part = reading(&["words"]);
        part.copartition_groups = vec![group];
        assert_eq!(
            refused(part),
            invalid("a copartition group of subtopology 0 names a topic by a place at which there is none")
        );
    }
    let mut part = reading(&["words"]);
    part.source_topic_regex = vec![text("w.*")];
    assert_eq!(
        refused(part),
        (
            Error::InvalidRequest,
            "topics cannot be read by a regular expression: name them".to_owned()
        )
    );
}
