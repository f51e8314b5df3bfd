use super::*;
use crate::metadata::Acl;

fn acl(name: &str, pattern_type: i32) -> Acl {
    Acl {
        id: Vec::new(),
        resource_type: 2,
        resource_name: name.to_owned(),
        pattern_type,
        principal: "User:checkout".to_owned(),
        host: "*".to_owned(),
        operation: 3,
        permission_type: 3,
    }
}

fn create(acls: Vec<Acl>) -> Asked {
    Asked::CreateAcls(proto::CreateAcls { acls })
}

fn filter(name: Option<&str>, pattern_type: i32) -> proto::AclFilter {
    proto::AclFilter {
        resource_type: 2,
        resource_name: name.map(str::to_owned),
        pattern_type,
        principal: None,
        host: None,
        operation: 1,
        permission_type: 1,
    }
}

#[test]
fn a_rule_is_written_once() {
    let mut fleet = Fleet::empty("1");
    assert_eq!(
        fleet.show(create(vec![acl("orders", 3), acl("orders", 3), acl("ord", 4)])),
        [
            "acl 1 User:checkout on orders",
            "acl 2 User:checkout on ord",
            " done",
            " done",
            " done"
        ]
    );
    assert_eq!(fleet.show(create(vec![acl("orders", 3)])), [" done"]);
}

#[test]
fn a_rule_that_cannot_be_is_refused() {
    let mut fleet = Fleet::empty("1");
    let broken = [
        (
            Acl {
                resource_type: 1,
                ..acl("t", 3)
            },
            "1 is not a type of resource that rules are about",
        ),
        (acl("t", 2), "the pattern of a rule is literal or prefixed"),
        (acl("", 3), "a rule needs the name of a resource; `*` is all"),
        (
            Acl {
                operation: 1,
                ..acl("t", 3)
            },
            "1 is not an operation that a rule can be about",
        ),
        (
            Acl {
                permission_type: 1,
                ..acl("t", 3)
            },
            "a rule allows or denies",
        ),
        (
            Acl {
                host: String::new(),
                ..acl("t", 3)
            },
            "a rule needs a host; `*` is all",
        ),
        (
            Acl {
                principal: "bob".to_owned(),
                ..acl("t", 3)
            },
            "`bob` is not a principal; `User:name` is one",
        ),
        (
            Acl {
                resource_type: 4,
                ..acl("t", 3)
            },
            "the only cluster that rules can be about is `kafka-cluster`",
        ),
    ];
    for (acl, why) in broken {
        assert_eq!(fleet.show(create(vec![acl])), [format!(" InvalidRequest: {why}")]);
    }
    let many = fleet.ask(create(vec![acl("t", 3); 10_001]));
    assert_eq!(many.response.refusal(), Refusal::InvalidRequest);
}

#[test]
fn rules_are_deleted_by_filter_kip_290() {
    let mut fleet = Fleet::empty("1");
    fleet.ask(create(vec![
        acl("orders", 3),
        acl("ord", 4),
        acl("*", 3),
        acl("x", 3),
    ]));
    let found = |fleet: &mut Fleet, filter: proto::AclFilter| {
        let decision = fleet.dry(
            true,
            Asked::DeleteAcls(proto::DeleteAcls {
                filters: vec![filter],
            }),
        );
        decision.response.items[0]
            .acls
            .iter()
            .map(|acl| acl.resource_name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&mut fleet, filter(None, 1)), ["orders", "ord", "*", "x"]);
    assert_eq!(found(&mut fleet, filter(None, 4)), ["ord"]);
    assert_eq!(
        found(&mut fleet, filter(Some("orders"), 2)),
        ["orders", "ord", "*"]
    );
    assert_eq!(found(&mut fleet, filter(Some("ord"), 1)), ["ord"]);
    assert_eq!(found(&mut fleet, filter(Some("ord"), 3)), [""; 0]);
    let by_user = proto::AclFilter {
        principal: Some("User:other".to_owned()),
        ..filter(None, 1)
    };
    assert_eq!(found(&mut fleet, by_user), [""; 0]);
    let both = vec![filter(Some("ord"), 4), filter(Some("orders"), 2), filter(None, 0)];
    let asked = Asked::DeleteAcls(proto::DeleteAcls { filters: both });
    assert_eq!(
        fleet.show(asked),
        [
            "remove acl 1",
            "remove acl 2",
            "remove acl 3",
            " done",
            " done",
            " InvalidRequest: the filter asks for something that no rule can be"
        ]
    );
}

pub(super) fn credential(user: &str, mechanism: i32, iterations: i32) -> proto::ScramCredential {
    proto::ScramCredential {
        user: user.to_owned(),
        mechanism,
        salt: vec![1],
        stored_key: vec![2],
        server_key: vec![3],
        iterations,
    }
}

#[test]
fn credentials_are_written_and_removed_kip_554() {
    let mut fleet = Fleet::empty("1");
    let remove = |user: &str, mechanism| proto::RemoveScramCredential {
        user: user.to_owned(),
        mechanism,
    };
    let upserts = vec![
        credential("a", 1, 4096),
        credential("a", 2, 4096),
        credential("b", 1, 4095),
        credential("c", 1, 16_385),
        credential("", 1, 4096),
        credential("d", 0, 4096),
        credential("e", 1, 4096),
    ];
    let removals = vec![remove("e", 1), remove("x", 1), remove("x", 7)];
    assert_eq!(
        fleet.show(Asked::AlterScram(proto::AlterScram {
            upserts: upserts.clone(),
            removals
        })),
        [
            "credential a ScramSha256",
            "credential a ScramSha512",
            "a done",
            "a done",
            "b UnacceptableCredential: 4095 iterations; 4096 to 16384 are taken",
            "c UnacceptableCredential: 16385 iterations; 4096 to 16384 are taken",
            " UnacceptableCredential: a user's name has 1 to 1024 bytes",
            "d UnsupportedSaslMechanism: SCRAM-SHA-256 and SCRAM-SHA-512 are known",
            "e DuplicateResource: the credential of `e` is named twice in one request",
            "e DuplicateResource: the credential of `e` is named twice in one request",
            "x ResourceNotFound: user `x` has no such credential",
            "x UnsupportedSaslMechanism: SCRAM-SHA-256 and SCRAM-SHA-512 are known"
        ]
    );
    let again = proto::AlterScram {
        upserts: vec![credential("a", 1, 4096)],
        removals: vec![remove("a", 2)],
    };
    assert_eq!(
        fleet.show(Asked::AlterScram(again)),
        ["remove credential a ScramSha512", "a done", "a done"]
    );
}

#[test]
fn quotas_are_set_and_removed_for_entities_that_can_have_them_kip_546() {
    let mut fleet = Fleet::empty("1");
    let mut set = |entity: &[(&str, Option<&str>)], key: &str, value: Option<f64>| {
        let entity = entity.iter().map(|(kind, name)| proto::QuotaEntity {
            r#type: (*kind).to_owned(),
            name: name.map(str::to_owned),
        });
        let changes = vec![proto::QuotaChange {
            key: key.to_owned(),
            value,
        }];
        let entry = proto::AlterClientQuota {
            entity: entity.collect(),
            changes,
        };
        fleet
            .show(Asked::AlterClientQuotas(proto::AlterClientQuotas {
                entries: vec![entry],
            }))
            .join(" | ")
    };
    let bob = [("user", Some("bob")), ("client-id", None)];
    assert_eq!(
        set(&bob, "producer_byte_rate", Some(5.0)),
        "quota producer_byte_rate=Some(5.0) |  done"
    );
    assert_eq!(set(&bob, "producer_byte_rate", Some(5.0)), " done");
    assert_eq!(
        set(&bob, "producer_byte_rate", None),
        "quota producer_byte_rate=None |  done"
    );
    assert_eq!(
        set(&[("ip", Some("10.0.0.1"))], "connection_creation_rate", Some(3.0)),
        "quota connection_creation_rate=Some(3.0) |  done"
    );
    let refused = |shown: String| shown.starts_with(" InvalidRequest: ");
    assert!(refused(set(&[], "producer_byte_rate", Some(1.0))));
    assert!(refused(set(&[("group", None)], "producer_byte_rate", Some(1.0))));
    assert!(refused(set(
        &[("user", Some(""))],
        "producer_byte_rate",
        Some(1.0)
    )));
    assert!(refused(set(
        &[("user", None), ("user", None)],
        "producer_byte_rate",
        Some(1.0)
    )));
    assert!(refused(set(
        &[("ip", None), ("user", None)],
        "connection_creation_rate",
        Some(1.0)
    )));
    assert!(refused(set(
        &[("ip", Some("host"))],
        "connection_creation_rate",
        Some(1.0)
    )));
    assert!(refused(set(
        &[("user", None)],
        "connection_creation_rate",
        Some(1.0)
    )));
    for value in [-1.0, f64::NAN, f64::INFINITY, 1.5] {
        assert!(
            refused(set(&[("user", None)], "producer_byte_rate", Some(value))),
            "{value}"
        );
    }
    assert!(!refused(set(&[("user", None)], "request_percentage", Some(1.5))));
}
