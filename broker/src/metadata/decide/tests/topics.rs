use super::*;
use crate::metadata::tree;

fn create(topics: Vec<proto::CreateTopic>) -> Asked {
    Asked::CreateTopics(proto::CreateTopics { topics })
}

fn topic(name: &str, partitions: i32, replication_factor: i32) -> proto::CreateTopic {
    proto::CreateTopic {
        name: name.to_owned(),
        partitions,
        replication_factor,
        ..proto::CreateTopic::default()
    }
}

fn configured(name: &str, key: &str, value: Option<&str>) -> proto::CreateTopic {
    let config = proto::KeyValue {
        key: key.to_owned(),
        value: value.map(str::to_owned),
    };
    proto::CreateTopic {
        configs: vec![config],
        ..topic(name, 1, 1)
    }
}

fn grow(name: &str, count: i32, assignments: &[&[i32]]) -> Asked {
    let assignments = assignments.iter().map(|ids| replicas(ids)).collect();
    let grow = proto::GrowTopic {
        name: name.to_owned(),
        count,
        assignments,
    };
    Asked::CreatePartitions(proto::CreatePartitions { topics: vec![grow] })
}

#[test]
fn a_topic_gets_the_defaults_of_the_cluster_for_what_it_does_not_say() {
    let mut fleet = Fleet::of(3, "1");
    fleet
        .settings
        .extend([("num.partitions", "2"), ("default.replication.factor", "2")]);
    let decision = fleet.ask(create(vec![topic("orders", -1, -1)]));
    let item = &decision.response.items[0];
    assert_eq!(
        (item.num_partitions, item.replication_factor, item.topic_id[0]),
        (2, 2, 1)
    );
    assert_eq!(
        fleet.shown(&decision),
        [
            "topic orders 1 owner -",
            "orders-0: 0 1 isr 0 1 leader 0 epochs 0/0",
            "orders-1: 2 0 isr 2 0 leader 2 epochs 0/0",
            "orders done"
        ]
    );
}

#[test]
fn more_replicas_than_brokers_are_refused() {
    let mut fleet = Fleet::of(2, "1");
    let shown = fleet.show(create(vec![topic("t", 1, 3), topic("u", 0, 1), topic("v", 1, 0)]));
    assert_eq!(
        shown,
        [
            "t InvalidReplicationFactor: 3 replicas need 3 brokers, but only 2 of 2 can take replicas",
            "u InvalidPartitions: a topic needs at least one partition, not 0",
            "v InvalidReplicationFactor: a partition needs at least one replica, not 0"
        ]
    );
}

#[test]
fn a_fenced_broker_gets_replicas_where_the_others_do_not_suffice_but_is_not_in_sync() {
    let mut fleet = Fleet::of(3, "1");
    fleet.fence(&[0]);
    fleet.ask(create(vec![topic("t", 1, 3), topic("u", 1, 2)]));
    assert_eq!(fleet.state("t", 0), "1 2 0 isr 1 2 leader 1 epochs 0/0");
    assert_eq!(fleet.state("u", 0), "2 1 isr 2 1 leader 2 epochs 0/0");
}

#[test]
fn an_internal_topic_gets_three_replicas_or_as_many_as_there_are_brokers() {
    for (brokers, factor) in [(1, 1), (2, 2), (4, 3)] {
        let mut fleet = Fleet::of(brokers, "1");
        for asked in [-1, 3] {
            let decision = fleet.dry(true, create(vec![topic("__consumer_offsets", 5, asked)]));
            let item = &decision.response.items[0];
            assert_eq!(
                (item.refusal(), item.num_partitions, item.replication_factor),
                (Refusal::None, 5, factor)
            );
        }
    }
}

#[test]
fn an_internal_topic_gets_more_replicas_once_the_fleet_grows() {
    let mut fleet = Fleet::of(1, "1");
    fleet.ask(create(vec![topic("__consumer_offsets", 1, -1), topic("t", 1, 1)]));
    fleet.register(1, 1, 11, false);
    assert_eq!(
        fleet.beat(1),
        [
            "broker 1 alive",
            "__consumer_offsets-0: 0 1 adding 1 isr 0 leader 0 epochs 0/1",
            "heartbeat: caught up"
        ]
    );
    fleet.register(2, 1, 12, false);
    assert_eq!(
        fleet.beat(2),
        [
            "broker 2 alive",
            "__consumer_offsets-0: 0 1 2 adding 1 2 isr 0 leader 0 epochs 0/2",
            "heartbeat: caught up"
        ]
    );
}

#[test]
fn names_follow_kafkas_rules() {
    let mut fleet = Fleet::of(1, "1");
    fleet.create("a.b", &[&[0]]);
    let long = "x".repeat(250);
    let cases = [
        ("", "InvalidTopicName: a topic's name cannot be empty"),
        (".", "InvalidTopicName: a topic's name cannot be `.`"),
        ("..", "InvalidTopicName: a topic's name cannot be `..`"),
        (
            "a/b",
            "InvalidTopicName: a topic's name has only ASCII letters, digits, `.`, `_` and `-`; `a/b` has others",
        ),
        (
            "é",
            "InvalidTopicName: a topic's name has only ASCII letters, digits, `.`, `_` and `-`; `é` has others",
        ),
        (
            &long,
            "InvalidTopicName: a topic's name cannot be longer than 249 characters; this one has 250",
        ),
        ("a.b", "TopicExists: topic `a.b` already exists"),
        (
            "a_b",
            "InvalidTopicName: topic `a_b` collides with topic `a.b`: in the names of metrics `.` and `_` are the same",
        ),
    ];
    for (name, why) in cases {
        assert_eq!(
            fleet.show(create(vec![topic(name, 1, 1)])),
            [format!("{name} {why}")]
        );
    }
    let longest = "x".repeat(249);
    for name in [longest.as_str(), "a-b", "A.b", "..."] {
        let decision = fleet.dry(true, create(vec![topic(name, 1, 1)]));
        assert_eq!(decision.response.items[0].message, "", "{name}");
    }
}

#[test]
fn a_topic_named_twice_in_one_request_is_refused_and_the_others_are_created() {
    let mut fleet = Fleet::of(1, "1");
    assert_eq!(
        fleet.show(create(vec![topic("t", 1, 1), topic("u", 1, 1), topic("t", 2, 1)])),
        [
            "topic u 1 owner -",
            "u-0: 0 isr 0 leader 0 epochs 0/0",
            "t InvalidRequest: topic `t` is named twice in one request",
            "u done",
            "t InvalidRequest: topic `t` is named twice in one request"
        ]
    );
}

#[test]
fn settings_are_checked_when_a_topic_is_created() {
    let mut fleet = Fleet::of(1, "1");
    assert_eq!(
        fleet.show(create(vec![configured("t", "retention.ms", Some("5"))])),
        [
            "topic t 1 owner -",
            "config Topic `t` retention.ms=5",
            "t-0: 0 isr 0 leader 0 epochs 0/0",
            "t done"
        ]
    );
    assert_eq!(
        fleet.show(create(vec![
            configured("a", "retention.ms", Some("x")),
            configured("b", "retention.msec", Some("1")),
            configured("c", "retention.ms", None)
        ])),
        [
            "a InvalidConfig: `retention.ms` cannot be `x`: a whole number of at least -1 is expected",
            "b InvalidConfig: unknown topic setting `retention.msec`; did you mean `retention.ms`?",
            "c InvalidConfig: `retention.ms` has no value"
        ]
    );
}

#[test]
fn an_assignment_by_hand_is_taken_as_it_is_when_it_can_be() {
    let mut fleet = Fleet::of(3, "1");
    fleet.fence(&[2]);
    let mut by_hand = |assignments: &[&[i32]]| {
        let assignments = assignments.iter().map(|ids| replicas(ids)).collect();
        let asked = proto::CreateTopic {
            assignments,
            ..topic("t", -1, -1)
        };
        let decision = fleet.dry(false, create(vec![asked]));
        match decision.response.items[0].refusal() {
            Refusal::None => {
                let mut fleet = Fleet::of(3, "1");
                fleet.image.fold_all(&decision.records).unwrap();
                let partitions = fleet.image.partitions();
                partitions
                    .map(|(_, _, partition)| shown_partition(partition))
                    .collect()
            }
            _ => fleet.shown(&decision),
        }
    };
    assert_eq!(
        by_hand(&[&[2, 1], &[0, 2]]),
        ["2 1 isr 1 leader 1 epochs 0/0", "0 2 isr 0 leader 0 epochs 0/0"]
    );
    let refused = |why: &str| vec![format!("t InvalidReplicaAssignment: {why}")];
    assert_eq!(
        by_hand(&[&[2]]),
        refused("none of the brokers that would store the partition is alive")
    );
    assert_eq!(
        by_hand(&[&[0, 0]]),
        refused("broker 0 is named twice for one partition")
    );
    assert_eq!(by_hand(&[&[0, 9]]), refused("broker 9 is not registered"));
    assert_eq!(
        by_hand(&[&[0], &[0, 1]]),
        refused("a partition has 2 replicas where the others have 1")
    );
    assert_eq!(by_hand(&[&[]]), refused("a partition needs at least one replica"));
}

#[test]
fn ten_thousand_partitions_are_the_most_of_one_request() {
    let mut fleet = Fleet::of(1, "1");
    let response = fleet.dry(true, create(vec![topic("t", 10_001, 1)])).response;
    assert_eq!(response.refusal(), Refusal::PolicyViolation);
    let response = fleet
        .dry(
            true,
            create(vec![topic("t", i32::MAX, 1), topic("u", i32::MAX, 1)]),
        )
        .response;
    assert_eq!(response.refusal(), Refusal::PolicyViolation);
    fleet.settings.push(("num.partitions", "20000"));
    let response = fleet.dry(true, create(vec![topic("t", -1, 1)])).response;
    assert_eq!(response.items[0].refusal(), Refusal::PolicyViolation);
    fleet.create("t", &[&[0]]);
    let response = fleet.dry(true, grow("t", i32::MAX, &[])).response;
    assert_eq!(response.refusal(), Refusal::PolicyViolation);
}

#[test]
fn topics_grow_and_never_shrink() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.show(grow("t", 1, &[])),
        ["t InvalidPartitions: topic `t` already has 1 partitions"]
    );
    assert_eq!(
        fleet.show(grow("t", 2, &[])),
        ["t-1: 1 0 2 isr 1 0 2 leader 1 epochs 0/0", "t done"]
    );
    assert_eq!(
        fleet.show(grow("t", 1, &[])),
        [
            "t InvalidPartitions: topic `t` has 2 partitions; 1 would be fewer, and partitions are never removed"
        ]
    );
    assert_eq!(
        fleet.show(grow("t", -3, &[])),
        ["t InvalidPartitions: a topic cannot have -3 partitions"]
    );
    assert_eq!(
        fleet.show(grow("t", 3, &[&[0, 1], &[1, 2]])),
        ["t InvalidReplicaAssignment: 1 partitions are added, but 2 assigned"]
    );
    assert_eq!(
        fleet.show(grow("t", 3, &[&[0, 1]])),
        ["t InvalidReplicaAssignment: a partition has 2 replicas where the others have 3"]
    );
    assert_eq!(
        fleet.show(grow("t", 3, &[&[2, 0, 1]])),
        ["t-2: 2 0 1 isr 2 0 1 leader 2 epochs 0/0", "t done"]
    );
    assert_eq!(
        fleet.show(grow("x", 3, &[])),
        ["x UnknownTopic: topic `x` does not exist"]
    );
}

#[test]
fn a_deleted_topic_takes_its_settings_with_it() {
    let mut fleet = Fleet::with_topic("1");
    fleet.set(proto::ResourceType::Topic, "t", "retention.ms", Some("5"));
    let name = |name: &str| proto::TopicRef {
        topic: Some(proto::topic_ref::Topic::Name(name.to_owned())),
        owner: None,
    };
    let id = proto::TopicRef {
        topic: Some(proto::topic_ref::Topic::TopicId(vec![9; 16])),
        owner: None,
    };
    let asked = proto::DeleteTopics {
        topics: vec![name("t"), name("t"), id, proto::TopicRef::default()],
    };
    assert_eq!(
        fleet.show(Asked::DeleteTopics(asked)),
        [
            "remove topic 1",
            "t done",
            "t UnknownTopic: topic `t` does not exist",
            " UnknownTopicId: no topic has this id",
            " InvalidRequest: neither name nor id of a topic is given"
        ]
    );
    assert_eq!(fleet.image.config(proto::ResourceType::Topic, "t"), None);
}

#[test]
fn the_tree_shows_what_zookeepers_did() {
    let mut fleet = Fleet::with_topic("2");
    fleet.set(proto::ResourceType::Topic, "t", "retention.ms", Some("5"));
    let read = |path: &str| tree(&fleet.image, Some(BrokerId(1)), path);
    let children = |path: &str| read(path).unwrap().children;
    let value = |path: &str| read(path).and_then(|node| node.value).unwrap().to_string();
    assert_eq!(children("/brokers/ids"), ["0", "1", "2"]);
    assert_eq!(children("/topics/t/partitions/"), ["0"]);
    assert_eq!(children("brokers/topics"), ["t"]);
    assert_eq!(value("/controller"), r#"{"brokerid":1}"#);
    assert_eq!(
        value("/topics/t/partitions/0/state"),
        r#"{"adding_replicas":[],"eligible_leader_replicas":[],"isr":[0,1,2],"last_known_elr":[],"leader":0,"leader_epoch":0,"partition_epoch":0,"removing_replicas":[],"replicas":[0,1,2]}"#
    );
    assert_eq!(value("/config/topics/t"), r#"{"retention.ms":"5"}"#);
    assert_eq!(children("/config/brokers"), ["<default>"]);
    assert_eq!(
        value("/config/brokers/<default>"),
        r#"{"min.insync.replicas":"2"}"#
    );
    assert!(value("/brokers/ids/0").contains(r#""fenced":false"#));
    for path in [
        "/brokers/ids/9",
        "/brokers/ids/x",
        "/topics/x",
        "/topics/t/partitions/1",
        "/nothing",
        "/users/x",
    ] {
        assert_eq!(read(path), None, "{path}");
    }
    for path in children("/") {
        assert!(read(&path).is_some(), "{path}");
    }
}
