//! Delegation tokens (KIP-48) with Java's tool and clients, on three brokers: made, used, renewed and ended by those who may, also
//! after all brokers were restarted.

use std::time::Duration;

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::tools::{Ran, java, java_with_input};

const TOKENS: &str = "DelegationTokenCommand";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

const CLUSTER: &str = "apiVersion: flotilla.dev/v1alpha1
kind: Cluster
metadata: {name: test}
spec:
  replicas: 3
  listeners:
    - {name: secure, port: 9094, authentication: [scram-sha-512]}
  authorization: {type: acl}
  config:
    delegation.token.secret.key: for tests only
";

fn user(name: &str, acls: &str) -> String {
    format!(
        "apiVersion: flotilla.dev/v1alpha1\nkind: User\nmetadata: {{name: {name}}}\nspec:\n  cluster: {{name: test}}\n  authentication: {{type: scram-sha-512}}\n  authorization:\n    acls:{acls}\n"
    )
}

/// Three brokers, `app` that may use the topic `open`, and `clerk` that may do nothing.
fn fleet() -> Fleet {
    let mut files = manifests(3, &[("open", 6, 3)]);
    files.insert("cluster.yaml".into(), CLUSTER.into());
    let rules = "\n      - {resource: {type: topic, name: open}, operations: [Read, Write, Describe]}\
                 \n      - {resource: {type: group, name: app-, pattern: prefixed}, operations: [Read]}";
    files.insert("user-app.yaml".into(), user("app", rules));
    files.insert("user-clerk.yaml".into(), user("clerk", " []"));
    Fleet::start(&files)
}

/// Where a user's properties are, once `up` has written them.
fn properties(fleet: &Fleet, user: &str) -> String {
    fleet.user_file(user, "client.properties");
    let path = fleet.data().join(format!("users/{user}/client.properties"));
    path.to_string_lossy().into_owned()
}

/// The tool for delegation tokens, as that user.
fn tokens(fleet: &Fleet, config: &str, args: &[&str]) -> Ran {
    let base = [
        "--bootstrap-server",
        fleet.bootstrap(),
        "--command-config",
        config,
    ];
    java(TOKENS, &[&base[..], args].concat())
}

fn produce(fleet: &Fleet, config: &str, lines: &str) -> Ran {
    let args = [
        "--bootstrap-server",
        fleet.bootstrap(),
        "--topic",
        "open",
        "--command-config",
        config,
    ];
    java_with_input("ConsoleProducer", &args, lines.as_bytes())
}

/// What is in the topic, in order.
fn consumed(fleet: &Fleet, config: &str, group: &str, count: usize) -> Vec<String> {
    let count = count.to_string();
    let args = [
        "--bootstrap-server",
        fleet.bootstrap(),
        "--topic",
        "open",
        "--group",
        group,
        "--from-beginning",
        "--max-messages",
        &count,
        "--timeout-ms",
        "30000",
        "--command-config",
        config,
    ];
    let mut lines: Vec<String> = java(CONSOLE_CONSUMER, &args)
        .ok()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

/// Id and HMAC of the only token that the tool shows.
fn shown(printed: &str) -> (String, String) {
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.get(2) == Some(&"User:app"))
        .collect();
    assert_eq!(rows.len(), 1, "{printed}");
    (rows[0][0].to_owned(), rows[0][1].to_owned())
}

/// Properties of a client that has the token, and no password of its owner's.
fn with_token(fleet: &Fleet, id: &str, hmac: &str, mechanism: &str) -> String {
    let path = fleet.data().join(format!("token-{mechanism}.properties"));
    let text = format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{id}\" password=\"{hmac}\" tokenauth=\"true\";\n"
    );
    std::fs::write(&path, text).expect("write the token's properties");
    path.to_string_lossy().into_owned()
}

#[test]
fn delegation_token_stands_for_its_owner_until_it_is_ended() {
    let mut fleet = fleet();
    let (app, clerk) = (properties(&fleet, "app"), properties(&fleet, "clerk"));
    let create = [
        "--create",
        "--max-life-time-period",
        "-1",
        "--renewer-principal",
        "User:clerk",
    ];
    let made = eventually(Duration::from_secs(20), "the user to be let in", || {
        let ran = tokens(&fleet, &app, &create);
        if ran.success {
            Ok(ran.stdout)
        } else {
            Err(ran.all())
        }
    });
    let (id, hmac) = shown(&made);
    let token = with_token(&fleet, &id, &hmac, "SCRAM-SHA-512");

    produce(&fleet, &token, "one\ntwo\nthree\n").ok();
    assert_eq!(consumed(&fleet, &token, "app-1", 3), ["one", "three", "two"]);
    let refused = tokens(&fleet, &token, &create);
    assert!(
        !refused.success && refused.all().contains("UnsupportedByAuthenticationException"),
        "{refused:?}"
    );

    // The renewer sees it, and may have it go on.
    let described = tokens(&fleet, &clerk, &["--describe", "--owner-principal", "User:app"]).ok();
    assert_eq!(shown(&described), (id.clone(), hmac.clone()));
    let renewed = tokens(
        &fleet,
        &clerk,
        &["--renew", "--renew-time-period", "-1", "--hmac", &hmac],
    );
    assert!(renewed.ok().contains("Completed renew operation"));
    let unknown = tokens(
        &fleet,
        &clerk,
        &["--renew", "--renew-time-period", "-1", "--hmac", "bm9uZQ=="],
    );
    assert!(
        unknown.all().contains("DelegationTokenNotFoundException"),
        "{unknown:?}"
    );

    // Brokers know it again when they come back.
    assert!(fleet.stop().success());
    fleet.up();
    produce(&fleet, &token, "four\n").ok();
    assert_eq!(
        consumed(&fleet, &token, "app-2", 4),
        ["four", "one", "three", "two"]
    );

    let ended = tokens(
        &fleet,
        &app,
        &["--expire", "--expiry-time-period", "-1", "--hmac", &hmac],
    );
    assert!(ended.ok().contains("Completed expire operation"));
    let refused = produce(&fleet, &token, "five\n");
    assert!(
        refused.all().contains("SaslAuthenticationException")
            || refused.all().contains("Authentication failed"),
        "{refused:?}"
    );
    let described = tokens(&fleet, &app, &["--describe"]).ok();
    assert!(described.contains("Total number of tokens : 0"), "{described}");
}
