use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::fleet::{ApplyUserRequest, UserState};
use flotilla_control::proto::metadata::{Acl, Owner, ScramMechanism};

use super::acls::in_words;

/// What was sent to the fleet last, and taken.
#[derive(Clone, PartialEq, Eq)]
pub struct Sent {
    /// A digest of the password; empty for a certificate.
    pub password: Vec<u8>,
    /// The fleet's digest of the credential that it made of it.
    pub credential: Vec<u8>,
}

/// What the fleet has otherwise than it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// There is no such user.
    pub missing: bool,
    /// It belongs to another resource, which lost it, or (`None`) to none.
    pub owner: Option<Option<Owner>>,
    /// Its password is another, or nobody here knows which one it is.
    pub password: bool,
    /// The rest, in words.
    pub others: Vec<String>,
}

impl Difference {
    /// Whether everything is as it was asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What the fleet has otherwise than `asked`. The fleet tells no passwords: it is known to have the right one while its credential is the
/// one that it made when it was sent this very password, whose digest is `password`.
#[must_use]
pub fn difference(
    asked: &ApplyUserRequest,
    password: &[u8],
    found: Option<&UserState>,
    sent: Option<&Sent>,
) -> Difference {
    let Some(found) = found else {
        return Difference {
            missing: true,
            ..Difference::default()
        };
    };
    let user = found.user.clone().unwrap_or_default();
    let mechanism = mechanism(&asked.authentication);
    let credential = |of: ScramMechanism| {
        let held = found.credentials.iter().find(|held| held.mechanism() == of);
        held.map(|held| held.digest.as_slice())
    };
    let mut others = Vec::new();
    if user.owner.is_some() && user.authentication != asked.authentication {
        others.push(format!("authentication is {}", user.authentication));
    }
    let stray = found
        .credentials
        .iter()
        .filter(|held| Some(held.mechanism()) != mechanism);
    others.extend(stray.map(|held| format!("it has a password for {}", name_of(held.mechanism()))));
    let password = mechanism.is_some_and(|mechanism| {
        let known = sent.filter(|sent| sent.password == password);
        known.is_none() || known.map(|sent| sent.credential.as_slice()) != credential(mechanism)
    });
    if !asked.leave_acls {
        others.extend(acls(&asked.acls, &found.acls));
    }
    if !asked.leave_quotas {
        others.extend(quotas(asked, found));
    }
    // What the resource named before and names no more goes with the next command.
    if user.owner.is_some()
        && (user.manages_acls == asked.leave_acls || user.manages_quotas == asked.leave_quotas)
    {
        others.push("what its resource speaks of".to_owned());
    }
    Difference {
        missing: false,
        owner: (user.owner != asked.owner).then_some(user.owner),
        password,
        others,
    }
}

fn mechanism(authentication: &str) -> Option<ScramMechanism> {
    match authentication {
        "scram-sha-256" => Some(ScramMechanism::ScramSha256),
        "scram-sha-512" => Some(ScramMechanism::ScramSha512),
        _ => None,
    }
}

fn name_of(mechanism: ScramMechanism) -> &'static str {
    match mechanism {
        ScramMechanism::ScramSha256 => "SCRAM-SHA-256",
        ScramMechanism::ScramSha512 => "SCRAM-SHA-512",
        ScramMechanism::UnknownMechanism => "an unknown mechanism",
    }
}

fn acls(asked: &[Acl], found: &[Acl]) -> Vec<String> {
    // Ids are the controller's; what a rule says is the rest.
    let words = |acls: &[Acl]| -> BTreeSet<String> { acls.iter().map(in_words).collect() };
    let (asked, found) = (words(asked), words(found));
    let missing = asked.difference(&found).map(|rule| format!("missing: {rule}"));
    let more = found.difference(&asked).map(|rule| format!("added: {rule}"));
    missing.chain(more).collect()
}

fn quotas(asked: &ApplyUserRequest, found: &UserState) -> Vec<String> {
    let map = |quotas: &[flotilla_control::proto::metadata::KeyQuota]| -> BTreeMap<String, f64> {
        quotas
            .iter()
            .map(|quota| (quota.key.clone(), quota.value))
            .collect()
    };
    let (asked, found) = (map(&asked.quotas), map(&found.quotas));
    let keys: BTreeSet<&String> = asked.keys().chain(found.keys()).collect();
    keys.into_iter()
        .filter(|key| asked.get(*key) != found.get(*key))
        .map(|key| match found.get(key) {
            Some(value) => format!("{key} is {value}"),
            None => format!("{key} is not set"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::fleet::CredentialState;
    use flotilla_control::proto::metadata::{KeyQuota, User};

    use super::super::testing;
    use super::*;

    fn acl(name: &str, operation: i32) -> Acl {
        Acl {
            id: vec![7; 16],
            resource_type: 2,
            resource_name: name.into(),
            pattern_type: 3,
            principal: "User:checkout".into(),
            host: "*".into(),
            operation,
            permission_type: 3,
        }
    }

    fn quota(value: f64) -> KeyQuota {
        KeyQuota {
            key: "producer_byte_rate".into(),
            value,
        }
    }

    fn asked() -> ApplyUserRequest {
        ApplyUserRequest {
            name: "checkout".into(),
            authentication: "scram-sha-512".into(),
            password: "secret".into(),
            acls: vec![acl("orders", 3)],
            quotas: vec![quota(5.0)],
            owner: Some(testing::owner("shop", "checkout", "1")),
            ..ApplyUserRequest::default()
        }
    }

    fn credential(mechanism: ScramMechanism, digest: &[u8]) -> CredentialState {
        CredentialState {
            mechanism: mechanism.into(),
            digest: digest.to_vec(),
        }
    }

    fn found() -> UserState {
        UserState {
            user: Some(User {
                name: "checkout".into(),
                owner: Some(testing::owner("shop", "checkout", "1")),
                authentication: "scram-sha-512".into(),
                manages_acls: true,
                manages_quotas: true,
            }),
            credentials: vec![credential(ScramMechanism::ScramSha512, b"c")],
            acls: vec![acl("orders", 3)],
            quotas: vec![quota(5.0)],
        }
    }

    fn sent() -> Sent {
        Sent {
            password: b"p".to_vec(),
            credential: b"c".to_vec(),
        }
    }

    fn of(found: &UserState) -> Difference {
        difference(&asked(), b"p", Some(found), Some(&sent()))
    }

    #[test]
    fn user_as_it_was_asked_for_differs_in_nothing() {
        assert!(of(&found()).is_none());
    }

    #[test]
    fn password_is_sent_again_unless_the_fleet_has_the_one_that_was_sent() {
        let password =
            |digest: &[u8], sent: Option<&Sent>| difference(&asked(), digest, Some(&found()), sent).password;
        assert!(!password(b"p", Some(&sent())));
        assert!(password(b"other", Some(&sent())), "it is another by now");
        assert!(password(b"p", None), "nobody knows");
        let mut changed = found();
        changed.credentials = vec![credential(ScramMechanism::ScramSha512, b"by a client")];
        assert!(of(&changed).password);
        changed.credentials.clear();
        assert!(of(&changed).password);
    }

    #[test]
    fn what_clients_changed_is_told_in_words() {
        let mut changed = found();
        changed.acls = vec![acl("payments", 2)];
        changed.quotas = vec![quota(6.0)];
        changed
            .credentials
            .push(credential(ScramMechanism::ScramSha256, b"x"));
        assert_eq!(
            of(&changed),
            Difference {
                others: vec![
                    "it has a password for SCRAM-SHA-256".into(),
                    "missing: allow Read on topic `orders`".into(),
                    "added: allow All on topic `payments`".into(),
                    "producer_byte_rate is 6".into(),
                ],
                ..Difference::default()
            }
        );
        let silent = ApplyUserRequest {
            acls: vec![],
            quotas: vec![],
            leave_acls: true,
            leave_quotas: true,
            ..asked()
        };
        let mut unmanaged = found();
        let user = unmanaged.user.as_mut().unwrap();
        (user.manages_acls, user.manages_quotas) = (false, false);
        assert!(difference(&silent, b"p", Some(&unmanaged), Some(&sent())).is_none());
        assert!(
            !difference(&silent, b"p", Some(&found()), Some(&sent())).is_none(),
            "it spoke of them before"
        );
    }

    #[test]
    fn users_of_others_and_of_nobody_are_told_apart() {
        assert!(difference(&asked(), b"p", None, None).missing);
        let mut other = found();
        other.user.as_mut().unwrap().owner = Some(testing::owner("web", "checkout", "2"));
        assert_eq!(
            of(&other).owner,
            Some(Some(testing::owner("web", "checkout", "2")))
        );
        let mut by_client = found();
        by_client.user = Some(User {
            name: "checkout".into(),
            ..User::default()
        });
        assert_eq!(of(&by_client).owner, Some(None));
        assert_eq!(of(&by_client).others, Vec::<String>::new());
    }

    #[test]
    fn certificate_needs_no_password() {
        let mtls = ApplyUserRequest {
            authentication: "mtls".into(),
            ..asked()
        };
        let mut changed = found();
        changed.user.as_mut().unwrap().authentication = "mtls".into();
        changed.credentials.clear();
        assert!(difference(&mtls, b"", Some(&changed), None).is_none());
    }
}
