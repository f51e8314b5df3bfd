//! SCRAM users from User manifests, with Java's clients: what a user's rules say, and Kafka's proper error for the rest.

use crate::fleet::{Fleet, manifests};
use crate::tools::{java, java_with_input};

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

const CLUSTER: &str = "apiVersion: flotilla.dev/v1alpha1
kind: Cluster
metadata: {name: test}
spec:
  replicas: 3
  listeners:
    - {name: secure, port: 9094, authentication: [scram-sha-512]}
  authorization: {type: acl, superUsers: [admin]}
";

fn user(name: &str, acls: &str) -> String {
    format!(
        "apiVersion: flotilla.dev/v1alpha1\nkind: User\nmetadata: {{name: {name}}}\nspec:\n  cluster: {{name: test}}\n  authentication: {{type: scram-sha-512}}\n  authorization:\n    acls:\n{acls}"
    )
}

#[test]
fn scram_user_does_what_its_rules_say_and_no_more() {
    let mut files = manifests(3, &[("open", 3, 3), ("closed", 3, 3)]);
    files.insert("cluster.yaml".into(), CLUSTER.into());
    files.insert(
        "user-app.yaml".into(),
        user(
            "app",
            "      - {resource: {type: topic, name: open}, operations: [Read, Write, Describe]}\n      - {resource: {type: group, name: app-, pattern: prefixed}, operations: [Read]}\n",
        ),
    );
    let fleet = Fleet::start(&files);
    let properties = fleet.data().join("users/app/client.properties");
    crate::eventually::eventually(
        std::time::Duration::from_secs(10),
        "the user's properties",
        || {
            if properties.exists() {
                Ok(())
            } else {
                Err(fleet.reports())
            }
        },
    );
    let properties = properties.to_string_lossy().into_owned();
    let bootstrap = ["--bootstrap-server", fleet.bootstrap()];
    let produce = |topic: &str, config: &[&str]| {
        java_with_input(
            "ConsoleProducer",
            &[&bootstrap[..], &["--topic", topic], config].concat(),
            b"one\ntwo\nthree\n",
        )
    };
    let consume = |topic: &str, group: &str| {
        java(
            CONSOLE_CONSUMER,
            &[
                &bootstrap[..],
                &[
                    "--topic",
                    topic,
                    "--group",
                    group,
                    "--from-beginning",
                    "--max-messages",
                    "3",
                    "--timeout-ms",
                    "30000",
                    "--command-config",
                    &properties,
                ],
            ]
            .concat(),
        )
    };
    let config = ["--command-config", properties.as_str()];
    produce("open", &config).ok();
    let mut read: Vec<String> = consume("open", "app-readers")
        .ok()
        .lines()
        .map(str::to_owned)
        .collect();
    read.sort();
    assert_eq!(read, ["one", "three", "two"]);

    let refused = produce("closed", &config);
    assert!(
        refused.all().contains("TopicAuthorizationException"),
        "{refused:?}"
    );
    let refused = consume("open", "others");
    assert!(
        refused.all().contains("GroupAuthorizationException"),
        "{refused:?}"
    );

    let wrong = fleet.data().join("wrong.properties");
    let text = std::fs::read_to_string(&properties).expect("the properties are there");
    let password =
        std::fs::read_to_string(fleet.data().join("users/app/password")).expect("the password is there");
    std::fs::write(&wrong, text.replace(password.trim(), "not-the-password"))
        .expect("write other properties");
    let refused = produce("open", &["--command-config", &wrong.to_string_lossy()]);
    assert!(
        refused.all().contains("SaslAuthenticationException")
            || refused.all().contains("Authentication failed"),
        "{refused:?}"
    );

    let anonymous = java(
        "TopicCommand",
        &[
            &bootstrap[..],
            &["--list"],
            &["--command-config", &write_timeouts(&fleet)],
        ]
        .concat(),
    );
    assert!(!anonymous.success, "{anonymous:?}");
}

/// Short timeouts, so that a client that gets nothing says so soon.
fn write_timeouts(fleet: &Fleet) -> String {
    let path = fleet.data().join("timeouts.properties");
    std::fs::write(&path, "request.timeout.ms=3000\ndefault.api.timeout.ms=6000\n")
        .expect("write properties");
    path.to_string_lossy().into_owned()
}
