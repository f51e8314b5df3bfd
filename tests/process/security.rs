//! Who gets in, and what they may do there.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::MetadataRequest;

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::raw::{Connection, socket};

const CLUSTER: &str = "apiVersion: flotilla.dev/v1alpha1
kind: Cluster
metadata: {name: test}
spec:
  replicas: 1
  listeners:
    - {name: internal, port: 9092, tls: TLS, authentication: [scram-sha-512]}
  authorization: {type: acl, superUsers: [admin]}
";

const USER: &str = "apiVersion: flotilla.dev/v1alpha1
kind: User
metadata: {name: app}
spec:
  cluster: {name: test}
  authentication: {type: scram-sha-512}
  authorization:
    acls:
      - {resource: {type: topic, name: open}, operations: [Read, Write, Describe]}
";

pub fn manifests_with(tls: bool) -> BTreeMap<String, String> {
    let mut files = manifests(1, &[("open", 1, 1), ("closed", 1, 1)]);
    files.insert(
        "cluster.yaml".into(),
        CLUSTER.replace("TLS", if tls { "true" } else { "false" }),
    );
    files.insert("user.yaml".into(), USER.into());
    files
}

pub fn password(fleet: &Fleet) -> String {
    fleet.user_file("app", "password").trim().to_owned()
}

/// Right after it was made, a user may not be known to the broker yet.
fn authenticated(mut connect: impl FnMut() -> Connection, password: &str) -> Connection {
    eventually(Duration::from_secs(10), "the user to get in", || {
        let mut connection = connect();
        match connection.scram("app", password) {
            Ok(ErrorCode::None) => Ok(connection),
            other => Err(format!("{other:?}")),
        }
    })
}

#[test]
fn scram_lets_in_the_right_password_and_nobody_else() {
    let fleet = Fleet::start(&manifests_with(false));
    let password = password(&fleet);
    let mut connection = authenticated(|| Connection::open(fleet.bootstrap()), &password);
    assert_eq!(
        connection.topics().expect("topics"),
        ["open"],
        "what it may not describe, it does not see"
    );
    for (user, password) in [("app", "wrong"), ("nobody", password.as_str()), ("", "")] {
        let answer = Connection::open(fleet.bootstrap())
            .scram(user, password)
            .expect("an answer");
        assert_eq!(answer, ErrorCode::SaslAuthenticationFailed, "{user}");
    }
}

#[test]
fn anonymous_clients_get_nothing_where_a_listener_asks_for_authentication() {
    let fleet = Fleet::start(&manifests_with(false));
    let answer = Connection::open(fleet.bootstrap()).call(12, &MetadataRequest::default());
    assert!(answer.is_err(), "{answer:?}");
}

#[test]
fn users_get_in_over_tls_and_plaintext_does_not() {
    let fleet = Fleet::start(&manifests_with(true));
    let authority = std::fs::read_to_string(fleet.data().join("users/app/ca.crt"))
        .expect("the authority beside the user");
    let password = password(&fleet);
    let mut connection = authenticated(|| Connection::open_tls(fleet.bootstrap(), &authority), &password);
    assert_eq!(connection.topics().expect("topics"), ["open"]);
    assert!(
        Connection::open(fleet.bootstrap())
            .scram("app", &password)
            .is_err(),
        "plaintext on a TLS listener"
    );
}

#[test]
fn half_open_tls_handshakes_end_and_others_are_served_meanwhile() {
    let fleet = Fleet::start(&manifests_with(true));
    let authority = std::fs::read_to_string(fleet.data().join("users/app/ca.crt"))
        .expect("the authority beside the user");
    let mut silent: Vec<_> = (0..50).map(|_| socket(fleet.bootstrap())).collect();
    authenticated(
        || Connection::open_tls(fleet.bootstrap(), &authority),
        &password(&fleet),
    );
    let started = Instant::now();
    let closed = silent[0].read(&mut [0; 16]);
    assert!(
        matches!(closed, Ok(0)) || started.elapsed() < Duration::from_secs(19),
        "{closed:?}"
    );
}

#[test]
fn deleted_user_is_put_out_and_does_not_get_in_again() {
    let fleet = Fleet::start(&manifests_with(false));
    let password = password(&fleet);
    let mut connection = authenticated(|| Connection::open(fleet.bootstrap()), &password);
    std::fs::remove_file(fleet.manifest_directory().join("user.yaml")).expect("delete the manifest");
    eventually(
        Duration::from_secs(5),
        "the open connection to be closed",
        || match connection.topics() {
            Err(_) => Ok(()),
            Ok(topics) => Err(format!("it still sees {topics:?}")),
        },
    );
    let answer = Connection::open(fleet.bootstrap())
        .scram("app", &password)
        .expect("an answer");
    assert_eq!(answer, ErrorCode::SaslAuthenticationFailed);
}
