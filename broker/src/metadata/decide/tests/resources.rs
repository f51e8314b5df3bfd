use super::access::credential;
use super::*;

fn owner(name: &str, uid: &str) -> Option<proto::Owner> {
    Some(proto::Owner {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        deletion_policy: "Delete".to_owned(),
    })
}

fn apply_topic(partitions: i32, replicas: i32, configs: &[(&str, &str)]) -> proto::ApplyTopic {
    let configs = configs.iter().map(|(key, value)| proto::KeyValue {
        key: (*key).to_owned(),
        value: Some((*value).to_owned()),
    });
    proto::ApplyTopic {
        name: "t".to_owned(),
        partitions,
        replicas,
        configs: configs.collect(),
        owner: owner("t", "1"),
        ..proto::ApplyTopic::default()
    }
}

#[test]
fn an_applied_topic_is_created_and_the_same_again_writes_nothing() {
    let mut fleet = Fleet::of(3, "1");
    let asked = Asked::ApplyTopic(apply_topic(1, 2, &[("retention.ms", "5")]));
    assert_eq!(
        fleet.show(asked.clone()),
        [
            "topic t 1 owner 1",
            "config Topic `t` retention.ms=5",
            "t-0: 0 1 isr 0 1 leader 0 epochs 0/0",
            "t done"
        ]
    );
    let again = fleet.ask(asked);
    assert_eq!(again.records, []);
    assert!(!again.response.changed);
    let item = &again.response.items[0];
    assert_eq!((item.num_partitions, item.replication_factor), (1, 2));
    assert_eq!(
        fleet.show(Asked::ApplyTopic(proto::ApplyTopic {
            configs: vec![],
            ..apply_topic(0, 0, &[])
        })),
        ["t done"]
    );
}

#[test]
fn an_applied_topic_follows_more_partitions_other_replicas_and_settings() {
    let mut fleet = Fleet::of(3, "1");
    fleet.ask(Asked::ApplyTopic(apply_topic(
        1,
        2,
        &[("retention.ms", "5"), ("segment.ms", "9")],
    )));
    fleet.set(proto::ResourceType::Topic, "t", "flush.ms", Some("3"));
    let mut next = apply_topic(2, 3, &[("retention.ms", "6")]);
    next.previous_configs = vec!["retention.ms".to_owned(), "segment.ms".to_owned()];
    let shown = fleet.show(Asked::ApplyTopic(next.clone()));
    assert_eq!(
        shown[..2],
        [
            "config Topic `t` segment.ms=(none)",
            "config Topic `t` retention.ms=6"
        ]
    );
    assert_eq!(shown.last().map(String::as_str), Some("t done"));
    assert_eq!(fleet.state("t", 0), "0 1 2 adding 2 isr 0 1 leader 0 epochs 0/1");
    assert_eq!(fleet.image.topic("t").unwrap().partition_count(), 2);
    assert_eq!(
        fleet.image.config(proto::ResourceType::Topic, "t").unwrap()["flush.ms"],
        "3"
    );
    next.previous_configs = vec!["retention.ms".to_owned()];
    assert_eq!(
        fleet.show(Asked::ApplyTopic(next)),
        ["t done"],
        "what is under way is not begun again"
    );
}

#[test]
fn an_applied_topic_never_shrinks_and_nothing_of_a_refused_change_stays() {
    let mut fleet = Fleet::of(3, "1");
    fleet.ask(Asked::ApplyTopic(apply_topic(2, 1, &[])));
    assert_eq!(
        fleet.show(Asked::ApplyTopic(apply_topic(1, 1, &[("retention.ms", "5")]))),
        ["InvalidPartitions: topic `t` has 2 partitions; 1 would be fewer, and partitions are never removed"]
    );
    assert_eq!(fleet.image.config(proto::ResourceType::Topic, "t"), None);
    assert_eq!(
        fleet.show(Asked::ApplyTopic(apply_topic(2, 4, &[]))),
        ["InvalidReplicationFactor: 4 replicas need 4 brokers, but only 3 of 3 can take replicas"]
    );
    assert_eq!(
        fleet.show(Asked::ApplyTopic(apply_topic(2, -4, &[]))),
        ["InvalidReplicationFactor: a partition needs at least one replica, not -4"]
    );
}

#[test]
fn an_applied_assignment_moves_replicas() {
    let mut fleet = Fleet::of(3, "1");
    let with = |assignments: &[&[i32]]| {
        let assignments = assignments.iter().map(|ids| replicas(ids)).collect();
        Asked::ApplyTopic(proto::ApplyTopic {
            assignments,
            ..apply_topic(0, 0, &[])
        })
    };
    fleet.ask(with(&[&[0, 1]]));
    assert_eq!(
        fleet.show(with(&[&[0, 2], &[1, 2]])),
        [
            "t-1: 1 2 isr 1 2 leader 1 epochs 0/0",
            "t-0: 0 2 1 adding 2 removing 1 isr 0 1 leader 0 epochs 0/1",
            "t done"
        ]
    );
    assert_eq!(fleet.show(with(&[&[0, 2], &[1, 2]])), ["t done"]);
}

#[test]
fn a_topic_belongs_to_one_resource() {
    let mut fleet = Fleet::of(3, "1");
    fleet.ask(Asked::ApplyTopic(apply_topic(1, 1, &[])));
    let by = |owner| {
        Asked::ApplyTopic(proto::ApplyTopic {
            owner,
            ..apply_topic(1, 1, &[])
        })
    };
    let refused = ["OwnedByAnother: topic `t` belongs to the resource `shop/t`"];
    assert_eq!(fleet.show(by(owner("other", "2"))), refused);
    assert_eq!(fleet.show(by(None)), refused);
    assert_eq!(
        fleet.show(by(owner("t", "2"))),
        ["topic t 1 owner 2", "t done"],
        "created again"
    );
    let delete = |owner| {
        let topic = Some(proto::topic_ref::Topic::Name("t".to_owned()));
        Asked::DeleteTopics(proto::DeleteTopics {
            topics: vec![proto::TopicRef { topic, owner }],
        })
    };
    assert_eq!(
        fleet.show(delete(owner("other", "3"))),
        [format!("t {}", refused[0])]
    );
    assert_eq!(fleet.show(delete(owner("t", "2"))), ["remove topic 1", "t done"]);
}

#[test]
fn a_topic_is_taken_over_from_the_resource_that_is_named_and_from_no_other() {
    let mut fleet = Fleet::of(3, "1");
    fleet.ask(Asked::ApplyTopic(apply_topic(1, 1, &[])));
    let take = |previous_owner| {
        Asked::ApplyTopic(proto::ApplyTopic {
            owner: owner("heir", "2"),
            previous_owner,
            ..apply_topic(1, 1, &[])
        })
    };
    assert_eq!(
        fleet.show(take(owner("other", "3"))),
        ["OwnedByAnother: topic `t` belongs to the resource `shop/t`"]
    );
    assert_eq!(fleet.show(take(owner("t", "1"))), ["topic t 1 owner 2", "t done"]);
    assert_eq!(fleet.show(take(owner("t", "1"))), ["t done"]);
}

#[test]
fn a_topic_of_nobody_is_adopted_and_keeps_what_is_not_named() {
    let mut fleet = Fleet::with_topic("1");
    fleet.set(proto::ResourceType::Topic, "t", "flush.ms", Some("3"));
    let delete = |owner| {
        let topic = Some(proto::topic_ref::Topic::Name("t".to_owned()));
        Asked::DeleteTopics(proto::DeleteTopics {
            topics: vec![proto::TopicRef { topic, owner }],
        })
    };
    assert_eq!(
        fleet.show(delete(owner("t", "1"))),
        ["t OwnedByAnother: topic `t` belongs to no resource; it is left as it is"]
    );
    assert_eq!(
        fleet.show(Asked::ApplyTopic(apply_topic(0, 0, &[]))),
        ["topic t 1 owner 1", "t done"]
    );
    assert_eq!(
        fleet.image.config(proto::ResourceType::Topic, "t").unwrap()["flush.ms"],
        "3"
    );
}

fn apply_user(authentication: &str) -> proto::ApplyUser {
    let acl = crate::metadata::Acl {
        id: Vec::new(),
        resource_type: 2,
        resource_name: "t".to_owned(),
        pattern_type: 3,
        principal: "User:someone else".to_owned(),
        host: "*".to_owned(),
        operation: 3,
        permission_type: 3,
    };
    proto::ApplyUser {
        name: "checkout".to_owned(),
        authentication: authentication.to_owned(),
        credential: match authentication {
            "scram-sha-256" => Some(credential("checkout", 1, 4096)),
            "scram-sha-512" => Some(credential("checkout", 2, 4096)),
            _ => None,
        },
        acls: vec![acl.clone(), acl],
        quotas: vec![proto::KeyQuota {
            key: "producer_byte_rate".to_owned(),
            value: 5.0,
        }],
        owner: owner("checkout", "1"),
        previous_owner: None,
        leave_acls: false,
        leave_quotas: false,
    }
}

#[test]
fn an_applied_user_has_exactly_what_it_says_and_the_same_again_writes_nothing() {
    let mut fleet = Fleet::empty("1");
    let asked = Asked::ApplyUser(apply_user("scram-sha-512"));
    assert_eq!(
        fleet.show(asked.clone()),
        [
            "user checkout scram-sha-512",
            "credential checkout ScramSha512",
            "acl 1 User:checkout on t",
            "quota producer_byte_rate=Some(5.0)"
        ]
    );
    assert_eq!(fleet.show(asked), [""; 0]);
    let other = proto::ApplyUser {
        acls: vec![],
        quotas: vec![],
        ..apply_user("scram-sha-256")
    };
    assert_eq!(
        fleet.show(Asked::ApplyUser(other)),
        [
            "user checkout scram-sha-256",
            "remove credential checkout ScramSha512",
            "credential checkout ScramSha256",
            "remove acl 1",
            "quota producer_byte_rate=None"
        ]
    );
    let mtls = proto::ApplyUser {
        acls: vec![],
        quotas: vec![],
        ..apply_user("mtls")
    };
    assert_eq!(
        fleet.show(Asked::ApplyUser(mtls)),
        ["user checkout mtls", "remove credential checkout ScramSha256"]
    );
}

#[test]
fn a_user_keeps_what_its_resource_never_spoke_of_and_loses_what_it_says_no_more() {
    let mut fleet = Fleet::empty("1");
    let by_client = crate::metadata::Acl {
        principal: "User:checkout".to_owned(),
        ..apply_user("mtls").acls.remove(0)
    };
    fleet.ask(Asked::CreateAcls(proto::CreateAcls {
        acls: vec![by_client],
    }));
    let silent = || proto::ApplyUser {
        acls: vec![],
        quotas: vec![],
        leave_acls: true,
        leave_quotas: true,
        ..apply_user("mtls")
    };
    let adopted = Asked::ApplyUser(silent());
    assert_eq!(fleet.show(adopted.clone()), ["user checkout mtls"]);
    assert_eq!(fleet.show(adopted), [""; 0]);
    let speaks = proto::ApplyUser {
        acls: vec![],
        ..apply_user("mtls")
    };
    assert_eq!(
        fleet.show(Asked::ApplyUser(speaks)),
        [
            "user checkout mtls",
            "remove acl 1",
            "quota producer_byte_rate=Some(5.0)"
        ]
    );
    assert_eq!(
        fleet.show(Asked::ApplyUser(silent())),
        ["user checkout mtls", "quota producer_byte_rate=None"]
    );
}

#[test]
fn a_user_that_cannot_be_is_refused_whole() {
    let mut fleet = Fleet::empty("1");
    let cases = [
        (
            proto::ApplyUser {
                name: String::new(),
                ..apply_user("mtls")
            },
            Refusal::InvalidRequest,
        ),
        (apply_user("kerberos"), Refusal::InvalidRequest),
        (
            proto::ApplyUser {
                credential: None,
                ..apply_user("scram-sha-512")
            },
            Refusal::UnacceptableCredential,
        ),
        (
            proto::ApplyUser {
                credential: Some(credential("other", 2, 4096)),
                ..apply_user("scram-sha-512")
            },
            Refusal::UnacceptableCredential,
        ),
        (
            proto::ApplyUser {
                quotas: vec![proto::KeyQuota {
                    key: "nonsense".to_owned(),
                    value: 1.0,
                }],
                ..apply_user("mtls")
            },
            Refusal::InvalidRequest,
        ),
    ];
    for (user, refusal) in cases {
        let decision = fleet.ask(Asked::ApplyUser(user));
        assert_eq!((decision.response.refusal(), decision.records), (refusal, vec![]));
    }
}

#[test]
fn a_user_is_deleted_with_all_that_is_its_own_by_its_owner_alone() {
    let mut fleet = Fleet::empty("1");
    fleet.ask(Asked::ApplyUser(apply_user("scram-sha-512")));
    let delete = |owner| {
        Asked::DeleteUser(proto::DeleteUser {
            name: "checkout".to_owned(),
            owner,
        })
    };
    let refused = ["OwnedByAnother: user `checkout` belongs to the resource `shop/checkout`"];
    assert_eq!(fleet.show(delete(owner("other", "9"))), refused);
    assert_eq!(
        fleet.show(Asked::ApplyUser(proto::ApplyUser {
            owner: owner("other", "9"),
            ..apply_user("mtls")
        })),
        refused
    );
    assert_eq!(
        fleet.show(delete(owner("checkout", "1"))),
        [
            "remove credential checkout ScramSha512",
            "remove acl 1",
            "quota producer_byte_rate=None",
            "remove user checkout"
        ]
    );
    assert_eq!(fleet.show(delete(owner("checkout", "1"))), [""; 0]);
}
