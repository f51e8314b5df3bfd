//! Who gets in and who may do what: SASL, rules, SCRAM credentials.

use bytes::Bytes;
use flotilla_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use flotilla_protocol::messages::create_acls_request::AclCreation;
use flotilla_protocol::messages::delete_acls_request::DeleteAclsFilter;
use flotilla_protocol::messages::describe_user_scram_credentials_request::UserName;
use flotilla_protocol::messages::{
    AlterUserScramCredentialsRequest, CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeUserScramCredentialsRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use flotilla_protocol::{ErrorCode, Str};

use crate::broker::Who;
use crate::case::{Case, case};
use crate::scene::Scene;

pub fn cases() -> Vec<Case> {
    [
        sasl(),
        describe_acls(),
        create_acls(),
        delete_acls(),
        describe_scram(),
        alter_scram(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn shaken(mechanism: &'static str) -> SaslHandshakeRequest {
    SaslHandshakeRequest {
        mechanism: mechanism.into(),
    }
}

fn said(text: &'static str) -> SaslAuthenticateRequest {
    SaslAuthenticateRequest {
        auth_bytes: Bytes::from_static(text.as_bytes()),
    }
}

fn sasl() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a mechanism", E::None, |_| Ok(shaken("SCRAM-SHA-512"))).by_a_stranger(),
        case(
            "a mechanism that there is not",
            E::UnsupportedSaslMechanism,
            |_| Ok(shaken("MADE-UP")),
        )
        .by_a_stranger(),
        case("where nobody is asked", E::IllegalSaslState, |_| {
            Ok(shaken("SCRAM-SHA-512"))
        }),
        case("where nobody is asked", E::IllegalSaslState, |_| {
            Ok(said("n,,n=nobody,r=abc"))
        }),
        case("a first message", E::None, |at| {
            at.broker.call(Who::Stranger, 1, &shaken("SCRAM-SHA-512"))?;
            Ok(said("n,,n=nobody,r=abc"))
        })
        .by_a_stranger(),
        case("what is no message", E::SaslAuthenticationFailed, |at| {
            at.broker.call(Who::Stranger, 1, &shaken("SCRAM-SHA-512"))?;
            Ok(said("made up"))
        })
        .by_a_stranger(),
        case("a user who is not known", E::SaslAuthenticationFailed, |at| {
            at.broker.call(Who::Stranger, 1, &shaken("SCRAM-SHA-512"))?;
            Ok(said("n,,n=stranger,r=abc"))
        })
        .by_a_stranger(),
        case("a wrong proof", E::SaslAuthenticationFailed, |at| {
            at.broker.call(Who::Stranger, 1, &shaken("SCRAM-SHA-512"))?;
            at.broker.call(Who::Stranger, 2, &said("n,,n=nobody,r=abc"))?;
            Ok(said("c=biws,r=abc,p=AAAA"))
        })
        .by_a_stranger(),
    ]
}

/// Bytes on the wire of these enumerations (KIP-140).
const ANY: i8 = 1;
const TOPIC: i8 = 2;
const CLUSTER: i8 = 4;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const MATCH: i8 = 2;
const READ: i8 = 3;
const CREATE: i8 = 5;
const ALLOW: i8 = 3;
const MADE_UP: i8 = 77;

fn rule(name: Str) -> AclCreation {
    AclCreation {
        resource_type: TOPIC,
        resource_name: name,
        resource_pattern_type: LITERAL,
        principal: "User:alice".into(),
        host: "*".into(),
        operation: READ,
        permission_type: ALLOW,
    }
}

fn create(rule: AclCreation) -> CreateAclsRequest {
    CreateAclsRequest {
        creations: vec![rule],
    }
}

impl Scene<'_> {
    /// A rule for the topic that has the name of this case, in force.
    fn ruled(&mut self) -> anyhow::Result<()> {
        let answer = self.call(3, &create(rule(self.name())))?;
        anyhow::ensure!(answer.results[0].error_code == 0, "{answer:?}");
        let request = rules_of(self.name());
        self.wait_for("the rule", |scene| {
            let answer = scene.call(3, &request)?;
            anyhow::ensure!(!answer.resources.is_empty(), "{answer:?}");
            Ok(())
        });
        Ok(())
    }
}

fn rules_of(name: Str) -> DescribeAclsRequest {
    DescribeAclsRequest {
        resource_type_filter: TOPIC,
        resource_name_filter: Some(name),
        pattern_type_filter: LITERAL,
        principal_filter: None,
        host_filter: None,
        operation: ANY,
        permission_type: ANY,
    }
}

fn describe_acls() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("of a topic", E::None, |at| {
            at.ruled()?;
            Ok(rules_of(at.name()))
        }),
        case("all that bind a topic", E::None, |at| {
            at.ruled()?;
            Ok(DescribeAclsRequest {
                pattern_type_filter: MATCH,
                ..rules_of(at.name())
            })
        }),
        case("of a principal", E::None, |at| {
            at.ruled()?;
            Ok(DescribeAclsRequest {
                principal_filter: Some("User:alice".into()),
                host_filter: Some("*".into()),
                operation: READ,
                permission_type: ALLOW,
                ..rules_of(at.name())
            })
        }),
        case("none", E::None, |at| Ok(rules_of(at.name()))),
        case("of a kind that there is not", E::None, |at| {
            Ok(DescribeAclsRequest {
                resource_type_filter: MADE_UP,
                ..rules_of(at.name())
            })
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(rules_of(at.name()))
        })
        .by_nobody(),
    ]
}

fn create_acls() -> Vec<Case> {
    use ErrorCode as E;
    let refused = |name, expected: ErrorCode, change: fn(&mut AclCreation)| {
        case(name, expected, move |at| {
            let mut rule = rule(at.name());
            change(&mut rule);
            Ok(create(rule))
        })
    };
    vec![
        case("for a topic", E::None, |at| Ok(create(rule(at.name())))),
        case("for a topic again", E::None, |at| {
            at.ruled()?;
            Ok(create(rule(at.name())))
        }),
        case("for topics with a prefix", E::None, |at| {
            Ok(create(AclCreation {
                resource_pattern_type: PREFIXED,
                ..rule(at.name())
            }))
        }),
        case("for the cluster", E::None, |_| {
            Ok(create(AclCreation {
                resource_type: CLUSTER,
                operation: CREATE,
                ..rule("kafka-cluster".into())
            }))
        }),
        refused("for a cluster with another name", E::InvalidRequest, |rule| {
            rule.resource_type = CLUSTER
        }),
        refused("for any topic", E::UnknownServerError, |rule| {
            rule.resource_type = ANY
        }),
        refused("for a pattern that matches", E::UnknownServerError, |rule| {
            rule.resource_pattern_type = MATCH
        }),
        refused("for any operation", E::UnknownServerError, |rule| {
            rule.operation = ANY
        }),
        refused("for any permission", E::UnknownServerError, |rule| {
            rule.permission_type = ANY
        }),
        refused("for a kind that there is not", E::InvalidRequest, |rule| {
            rule.resource_type = MADE_UP
        }),
        refused("for an operation that there is not", E::InvalidRequest, |rule| {
            rule.operation = MADE_UP
        }),
        refused("for a principal without a type", E::InvalidRequest, |rule| {
            rule.principal = "alice".into()
        }),
        refused("for an empty name", E::InvalidRequest, |rule| {
            rule.resource_name = "".into()
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(create(rule(at.name())))
        })
        .by_nobody(),
    ]
}

fn delete_acls() -> Vec<Case> {
    use ErrorCode as E;
    let filter = |name: Str| DeleteAclsFilter {
        resource_type_filter: TOPIC,
        resource_name_filter: Some(name),
        pattern_type_filter: LITERAL,
        principal_filter: None,
        host_filter: None,
        operation: ANY,
        permission_type: ANY,
    };
    let delete = |filter| DeleteAclsRequest {
        filters: vec![filter],
    };
    vec![
        case("of a topic", E::None, move |at| {
            at.ruled()?;
            Ok(delete(filter(at.name())))
        }),
        case("none", E::None, move |at| Ok(delete(filter(at.name())))),
        case("of a kind that there is not", E::InvalidRequest, move |at| {
            Ok(delete(DeleteAclsFilter {
                resource_type_filter: MADE_UP,
                ..filter(at.name())
            }))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, move |at| {
            Ok(delete(filter(at.name())))
        })
        .by_nobody(),
    ]
}

const SHA_256: i8 = 1;

fn credential(name: Str) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion {
        name,
        mechanism: SHA_256,
        iterations: 8_192,
        salt: Bytes::from_static(b"a salt"),
        salted_password: Bytes::from_static(&[7; 32]),
    }
}

fn upsert(upsertions: Vec<ScramCredentialUpsertion>) -> AlterUserScramCredentialsRequest {
    AlterUserScramCredentialsRequest {
        upsertions,
        ..Default::default()
    }
}

impl Scene<'_> {
    /// A user with the name of this case.
    fn user(&mut self) -> anyhow::Result<()> {
        let answer = self.call(0, &upsert(vec![credential(self.name())]))?;
        anyhow::ensure!(answer.results[0].error_code == 0, "{answer:?}");
        let request = users(vec![self.name()]);
        self.wait_for("the user", |scene| {
            let answer = scene.call(0, &request)?;
            anyhow::ensure!(answer.results[0].error_code == 0, "{answer:?}");
            Ok(())
        });
        Ok(())
    }
}

fn users(names: Vec<Str>) -> DescribeUserScramCredentialsRequest {
    DescribeUserScramCredentialsRequest {
        users: Some(names.into_iter().map(|name| UserName { name }).collect()),
    }
}

fn describe_scram() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a user", E::None, |at| {
            at.user()?;
            Ok(users(vec![at.name()]))
        }),
        case("all users", E::None, |at| {
            at.user()?;
            Ok(DescribeUserScramCredentialsRequest { users: None })
        })
        .own("results"),
        case("an unknown user", E::ResourceNotFound, |at| {
            Ok(users(vec![at.name()]))
        }),
        case("a user twice", E::DuplicateResource, |at| {
            at.user()?;
            Ok(users(vec![at.name(), at.name()]))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(users(vec![at.name()]))
        })
        .by_nobody(),
    ]
}

fn alter_scram() -> Vec<Case> {
    use ErrorCode as E;
    let delete = |name| AlterUserScramCredentialsRequest {
        deletions: vec![ScramCredentialDeletion {
            name,
            mechanism: SHA_256,
        }],
        ..Default::default()
    };
    let changed = |name, expected: ErrorCode, change: fn(&mut ScramCredentialUpsertion)| {
        case(name, expected, move |at| {
            let mut credential = credential(at.name());
            change(&mut credential);
            Ok(upsert(vec![credential]))
        })
    };
    vec![
        changed("a new user", E::None, |_| {}),
        changed("too few iterations", E::UnacceptableCredential, |of| {
            of.iterations = 100
        }),
        changed("too many iterations", E::UnacceptableCredential, |of| {
            of.iterations = 1_000_000;
        }),
        changed("an empty name", E::UnacceptableCredential, |of| {
            of.name = "".into()
        }),
        changed(
            "a mechanism that there is not",
            E::UnsupportedSaslMechanism,
            |of| {
                of.mechanism = MADE_UP;
            },
        ),
        case("a user that goes", E::None, move |at| {
            at.user()?;
            Ok(delete(at.name()))
        }),
        case("an unknown user that goes", E::ResourceNotFound, move |at| {
            Ok(delete(at.name()))
        }),
        case("the same twice", E::DuplicateResource, |at| {
            Ok(upsert(vec![credential(at.name()), credential(at.name())]))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(upsert(vec![credential(at.name())]))
        })
        .by_nobody(),
    ]
}
