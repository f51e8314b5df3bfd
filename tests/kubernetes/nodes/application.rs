//! Applications with nothing but their User's Secret, inside Kubernetes and outside of it; and what ends when a right, a password or a User does.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cluster::{Client, Cluster, Namespace};
use crate::tools::{Ran, java, kcat};

/// From the change in Kubernetes to its effect on a connection that was open.
const EFFECT: Duration = Duration::from_secs(5);

/// What is not measured is waited for so long.
const PATIENCE: Duration = Duration::from_secs(20);

const FLEET: &str = "
apiVersion: flotilla.dev/v1alpha1
kind: Cluster
metadata: {name: events}
spec:
  replicas: 3
  rackTopologyKey: topology.kubernetes.io/zone
  listeners:
    - {name: internal, port: 9092, tls: true, authentication: [scram-sha-512, mtls]}
    - {name: external, port: 9094, tls: true, authentication: [scram-sha-512], exposure: {type: NodePort}}
  authorization: {type: acl, superUsers: [admin]}
  config: {min.insync.replicas: 2, default.replication.factor: 3, auto.create.topics.enable: false}
  allowedNamespaces:
    - {from: Selector, selector: {matchLabels: {team: shop}}, prefixes: [shop-]}
---
apiVersion: flotilla.dev/v1alpha1
kind: Topic
metadata: {name: orders}
spec: {cluster: {name: events}, partitions: 3, replicas: 3}
---
apiVersion: flotilla.dev/v1alpha1
kind: User
metadata: {name: admin}
spec: {cluster: {name: events}, authentication: {type: scram-sha-512}}
---
apiVersion: flotilla.dev/v1alpha1
kind: User
metadata: {name: other}
spec: {cluster: {name: events}, authentication: {type: scram-sha-512}}
";

/// A User that may use the topic `orders`.
fn user(name: &str, authentication: &str) -> String {
    format!(
        "
apiVersion: flotilla.dev/v1alpha1
kind: User
metadata: {{name: {name}}}
spec:
  cluster: {{name: events}}
  authentication: {authentication}
  authorization:
    acls:
      - {{resource: {{type: topic, name: orders}}, operations: [Read, Write, Describe]}}
      - {{resource: {{type: group, name: {name}-, pattern: prefixed}}, operations: [Read]}}
"
    )
}

const SCRAM: &str = "{type: scram-sha-512}";

#[test]
fn applications_need_nothing_but_their_secret_and_lose_what_is_taken_within_five_seconds() {
    let cluster = Cluster::shared();
    let _undisturbed = cluster.undisturbed();
    let home = cluster.namespace("application");
    home.apply(FLEET);
    home.apply(&user("checkout", SCRAM));
    home.apply(&user("certified", "{type: mtls}"));
    home.ready(
        &[
            "cluster/events",
            "topic/orders",
            "user/admin",
            "user/other",
            "user/checkout",
            "user/certified",
        ],
        Duration::from_secs(120),
    );
    a_hundred_thousand_records_go_there_and_back(&home);
    another_user_is_refused(&home);
    a_certificate_is_as_good_as_a_password(&home);
    the_same_from_outside(&home);
    a_revoked_rule_ends_what_was_allowed(&home);
    a_deleted_user_is_gone(&home);
    a_rotated_password_replaces_the_old_one(&home);
    what_a_client_changes_is_put_back(&home);
    a_secret_of_somebody_else_is_left_alone(&home);
    a_type_changes_in_place(&home);
    a_team_gets_what_is_its_own_and_nothing_else(cluster, &home);
}

fn a_hundred_thousand_records_go_there_and_back(home: &Namespace<'_>) {
    let client = home.client("checkout", "checkout");
    client.sh("seq 1 100000 > /tmp/records").ok();
    let started = Instant::now();
    client.kcat("-P -t orders -X acks=all -l /tmp/records").ok();
    client.kcat("-C -t orders -o beginning -e -q > /tmp/read").ok();
    eprintln!("100,000 records there and back: {:?}", started.elapsed());
    let same = client
        .sh("sort -n /tmp/read | uniq > /tmp/sorted; cmp /tmp/records /tmp/sorted && wc -l < /tmp/read");
    assert_eq!(same.ok().trim(), "100000");
    // A group too, whose name begins as the rule says.
    let read = client
        .kcat("-G checkout-1 -c 10 -X auto.offset.reset=earliest orders")
        .ok();
    assert_eq!(read.lines().count(), 10, "{read}");
    let refused = client
        .kcat("-G another -c 1 -X auto.offset.reset=earliest orders")
        .all();
    assert!(
        refused.contains("No access to the group") || refused.contains("Group authorization failed"),
        "{refused}"
    );
}

fn another_user_is_refused(home: &Namespace<'_>) {
    let client = home.client("other", "other");
    let written = client
        .sh("echo x | kcat -F /etc/flotilla/librdkafka.conf -P -t orders")
        .all();
    assert!(written.contains("Topic authorization failed"), "{written}");
    let read = client.kcat("-C -t orders -o beginning -e").all();
    assert!(read.contains("Topic authorization failed"), "{read}");
    let liar = client.kcat("-L -X sasl.password=guessed").refused();
    assert!(liar.contains("uthentication"), "{liar}");
}

fn a_certificate_is_as_good_as_a_password(home: &Namespace<'_>) {
    let client = home.client("certified", "certified");
    client
        .sh("echo certified | kcat -F /etc/flotilla/librdkafka.conf -P -t orders -X acks=all")
        .ok();
    let read = client
        .kcat("-G certified-1 -c 1 -X auto.offset.reset=earliest orders")
        .ok();
    assert!(!read.trim().is_empty());
}

fn the_same_from_outside(home: &Namespace<'_>) {
    let checkout = Outside::of(home, "checkout");
    let records: String = (1..=1_000).map(|number| format!("outside {number}\n")).collect();
    checkout
        .kcat(&["-P", "-t", "orders", "-X", "acks=all"], &records)
        .ok();
    let read = checkout
        .kcat(&["-C", "-t", "orders", "-o", "beginning", "-e", "-q"], "")
        .ok();
    let outside = read.lines().filter(|line| line.starts_with("outside")).count();
    assert_eq!((outside, read.lines().count() > 101_000), (1_000, true));
    let other = Outside::of(home, "other");
    let refused = other.kcat(&["-P", "-t", "orders"], "x\n").all();
    assert!(refused.contains("Topic authorization failed"), "{refused}");
}

fn a_revoked_rule_ends_what_was_allowed(home: &Namespace<'_>) {
    home.apply(&user("revoked", SCRAM));
    home.ready(&["user/revoked"], Duration::from_secs(30));
    let client = home.client("revoked", "revoked");
    let reading = Background::reading(&client);
    reading.is_fine();
    home.kubectl(&[
        "patch",
        "user/revoked",
        "--type=merge",
        "--patch",
        r#"{"spec":{"authorization":{"acls":[]}}}"#,
    ]);
    let changed = SystemTime::now();
    reading.says("Topic authorization failed", changed);
    reading.end();
}

fn a_deleted_user_is_gone(home: &Namespace<'_>) {
    home.apply(&user("deleted", SCRAM));
    home.ready(&["user/deleted"], Duration::from_secs(30));
    let client = home.client("deleted", "deleted");
    let reading = Background::reading(&client);
    reading.is_fine();
    home.kubectl(&["delete", "user/deleted", "--wait=false"]);
    let changed = SystemTime::now();
    reading.says("uthentication", changed);
    reading.end();
    home.kubectl(&["wait", "--for=delete", "user/deleted", "--timeout=10s"]);
    gone(home, "secret/deleted");
}

fn a_rotated_password_replaces_the_old_one(home: &Namespace<'_>) {
    home.kubectl(&[
        "create",
        "secret",
        "generic",
        "mine",
        "--from-literal=password=first",
    ]);
    let own = "{type: scram-sha-512, passwordFrom: {name: mine, key: password}}";
    home.apply(&user("rotated", own));
    home.ready(&["user/rotated"], Duration::from_secs(30));
    let client = home.client("rotated", "rotated");
    let reading = Background::reading(&client);
    reading.is_fine();
    let patch = |password: &str| {
        let patch = format!(r#"{{"stringData":{{"password":"{password}"}}}}"#);
        home.kubectl(&["patch", "secret/mine", "--type=merge", "--patch", &patch]);
    };
    patch("second");
    let changed = SystemTime::now();
    reading.says("uthentication", changed);
    reading.end();
    client.kcat("-L -X sasl.password=second").ok();
    let held = secret(home, "rotated");
    assert_eq!(
        held.iter().find(|(name, _)| name == "password").unwrap().1,
        "second"
    );
    event(home, "rotated", "PasswordRotated");
    // A line break would become another line of the application's configuration.
    patch(r"third\n");
    reason(home, "user/rotated", "InvalidSpec");
    client.kcat("-L -X sasl.password=second").ok();
    patch("third");
    home.ready(&["user/rotated"], EFFECT);
    client.kcat("-L -X sasl.password=third").ok();
}

fn what_a_client_changes_is_put_back(home: &Namespace<'_>) {
    let admin = Outside::of(home, "admin");
    let added = admin.java(
        "AclCommand",
        &[
            "--add",
            "--allow-principal",
            "User:checkout",
            "--operation",
            "All",
            "--topic",
            "payments",
        ],
    );
    assert!(added.success, "{}", added.all());
    event(home, "checkout", "PutBack");
    let listed = admin
        .java("AclCommand", &["--list", "--principal", "User:checkout"])
        .ok();
    assert!(
        listed.contains("orders") && !listed.contains("payments"),
        "{listed}"
    );
    // What the User does not name is left alone.
    let added = admin.java(
        "AclCommand",
        &[
            "--add",
            "--allow-principal",
            "User:other",
            "--operation",
            "Read",
            "--topic",
            "orders",
        ],
    );
    assert!(added.success, "{}", added.all());
    home.kubectl(&["annotate", "user/other", "looked=again"]);
    let read = Outside::of(home, "other").kcat(&["-C", "-t", "orders", "-o", "beginning", "-c", "1"], "");
    assert!(read.success, "{}", read.all());
}

fn a_secret_of_somebody_else_is_left_alone(home: &Namespace<'_>) {
    home.kubectl(&["create", "secret", "generic", "taken", "--from-literal=mine=1"]);
    home.apply(&user("taken", SCRAM));
    reason(home, "user/taken", "Conflict");
    assert_eq!(secret(home, "taken"), [("mine".to_owned(), "1".to_owned())]);
    home.kubectl(&["delete", "user/taken", "secret/taken"]);
}

fn a_type_changes_in_place(home: &Namespace<'_>) {
    home.apply(&user("changing", SCRAM));
    home.ready(&["user/changing"], Duration::from_secs(30));
    home.apply(&user("changing", "{type: mtls}"));
    let files = waited("the Secret to hold a certificate", PATIENCE, || {
        let files: Vec<String> = secret(home, "changing")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        files.contains(&"tls.crt".to_owned()).then_some(files)
    });
    assert!(!files.contains(&"password".to_owned()), "{files:?}");
    home.ready(&["user/changing"], Duration::from_secs(10));
    let client = home.client("changing", "changing");
    client.kcat("-L -t orders").ok();
}

fn a_team_gets_what_is_its_own_and_nothing_else(cluster: &Cluster, home: &Namespace<'_>) {
    let shop = cluster.namespace("application-shop");
    let topic = |name: &str| {
        format!(
            "
apiVersion: flotilla.dev/v1alpha1
kind: Topic
metadata: {{name: {name}}}
spec: {{cluster: {{name: events, namespace: application}}, partitions: 1}}
"
        )
    };
    let of_team = |name: &str, topic: &str| {
        format!(
            "
apiVersion: flotilla.dev/v1alpha1
kind: User
metadata: {{name: {name}}}
spec:
  cluster: {{name: events, namespace: application}}
  authentication: {{type: scram-sha-512}}
  authorization:
    acls: [{{resource: {{type: topic, name: {topic}}}, operations: [Read, Write, Describe]}}]
"
        )
    };
    shop.apply(&topic("shop-carts"));
    shop.apply(&of_team("team", "shop-carts"));
    reason(&shop, "topic/shop-carts", "NotAllowed");
    reason(&shop, "user/team", "NotAllowed");
    gone(&shop, "secret/team");

    cluster.kubectl(&["label", "namespace", &shop.name, "team=shop"]);
    shop.ready(&["topic/shop-carts", "user/team"], Duration::from_secs(30));
    let client = shop.client("team", "team");
    client
        .sh("echo cart | kcat -F /etc/flotilla/librdkafka.conf -P -t shop-carts")
        .ok();

    shop.apply(&of_team("admin", "shop-carts"));
    shop.apply(&of_team("greedy", "orders"));
    reason(&shop, "user/admin", "NotAllowed");
    reason(&shop, "user/greedy", "NotAllowed");
    // A name that is taken: the older one keeps it.
    shop.apply(&of_team("checkout", "shop-carts"));
    reason(&shop, "user/checkout", "Conflict");
    Outside::of(home, "checkout").kcat(&["-L"], "").ok();

    // What a User may not have any more it loses; the rest goes on.
    let patch = r#"[{"op":"add","path":"/spec/authorization/acls/-","value":{"resource":{"type":"topic","name":"orders"},"operations":["Read"]}}]"#;
    shop.kubectl(&["patch", "user/team", "--type=json", "--patch", patch]);
    reason(&shop, "user/team", "NotAllowed");
    client
        .sh("echo cart | kcat -F /etc/flotilla/librdkafka.conf -P -t shop-carts")
        .ok();
    let read = client.kcat("-C -t orders -o beginning -c 1").all();
    assert!(read.contains("Topic authorization failed"), "{read}");

    // The Cluster's owner takes the permission back.
    let reading = Background::start(
        &client,
        "kcat -E -F /etc/flotilla/librdkafka.conf -C -t shop-carts -o beginning -u",
    );
    reading.is_fine();
    cluster.kubectl(&["label", "namespace", &shop.name, "team-"]);
    let changed = SystemTime::now();
    reading.says("uthentication", changed);
    event(&shop, "team", "Revoked");
    shop.kubectl(&["delete", "user", "--all", "--timeout=30s"]);
}

/// Something that runs in a pod and keeps its connection.
struct Background<'a> {
    client: &'a Client<'a>,
}

impl<'a> Background<'a> {
    fn start(client: &'a Client<'a>, command: &str) -> Self {
        client
            .sh(&format!(
                "rm -f /tmp/log; {{ ({command}) 2>&1 | while read -r line; do echo \"$(date +%s) $line\"; done >/tmp/log; }} </dev/null >/dev/null 2>&1 &"
            ))
            .ok();
        Self { client }
    }

    /// Reads what is written from now on, and does not give up when all its connections end at once.
    fn reading(client: &'a Client<'a>) -> Self {
        Self::start(
            client,
            "kcat -E -F /etc/flotilla/librdkafka.conf -C -t orders -o end -u",
        )
    }

    fn log(&self) -> String {
        self.client.sh("tail -n 200 /tmp/log").all()
    }

    /// It has read all that there is, and nothing is wrong.
    fn is_fine(&self) {
        let log = waited("it to begin", PATIENCE, || {
            Some(self.log()).filter(|log| log.contains("Reached end of topic"))
        });
        assert!(!log.contains("failed") && !log.contains("uthentication"), "{log}");
    }

    /// It is told so in time. The pod says when, to the second: asking it takes long on a busy machine.
    fn says(&self, what: &str, changed: SystemTime) {
        let line = waited(what, PATIENCE, || {
            let found = self.client.sh(&format!("grep -m 1 '{what}' /tmp/log"));
            found.success.then_some(found.stdout)
        });
        let said: f64 = line.split(' ').next().unwrap().parse().unwrap();
        let changed = changed
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        eprintln!("{what}: after {:.1} s", said - changed);
        assert!(said - changed < EFFECT.as_secs_f64(), "{changed}: {line}");
    }

    fn end(&self) {
        self.client.sh("killall kcat");
    }
}

/// An application outside Kubernetes, with the files of its Secret.
struct Outside {
    directory: tempfile::TempDir,
    servers: String,
}

impl Outside {
    fn of(home: &Namespace<'_>, name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (mut servers, mut inside) = (String::new(), String::new());
        for (file, text) in secret(home, name) {
            fs::write(directory.path().join(&file), &text).unwrap();
            match file.as_str() {
                "bootstrap.servers.external" => servers = text,
                "bootstrap.servers" => inside = text,
                _ => {}
            }
        }
        assert!(
            !servers.is_empty(),
            "the Secret names no servers for clients from outside"
        );
        let place = directory.path().display().to_string();
        for file in ["librdkafka.conf", "client.properties"] {
            let path = directory.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(
                path,
                text.replace("/etc/flotilla", &place).replace(&inside, &servers),
            )
            .unwrap();
        }
        Self { directory, servers }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn kcat(&self, args: &[&str], input: &str) -> Ran {
        let configuration = self.file("librdkafka.conf").display().to_string();
        kcat(&[&["-F", &configuration], args].concat(), input.as_bytes())
    }

    fn java(&self, class: &str, args: &[&str]) -> Ran {
        let configuration = self.file("client.properties").display().to_string();
        let common = [
            "--bootstrap-server",
            &self.servers,
            "--command-config",
            &configuration,
        ];
        java(class, &[&common, args].concat())
    }
}

/// The files of a Secret.
fn secret(home: &Namespace<'_>, name: &str) -> Vec<(String, String)> {
    let secret = home.get(&format!("secret/{name}")).unwrap_or_default();
    let data = secret["data"].as_object().cloned().unwrap_or_default();
    data.into_iter()
        .map(|(file, bytes)| {
            let bytes = STANDARD.decode(bytes.as_str().unwrap()).unwrap();
            (file, String::from_utf8(bytes).unwrap())
        })
        .collect()
}

fn gone(home: &Namespace<'_>, what: &str) {
    waited(&format!("{what} to be gone"), PATIENCE, || {
        home.get(what).is_none().then_some(())
    });
}

/// Waits until a resource is not Ready for this reason.
fn reason(home: &Namespace<'_>, what: &str, reason: &str) {
    let condition = format!("jsonpath={{.status.conditions[?(@.type==\"Ready\")].reason}}={reason}");
    home.kubectl(&["wait", "--for", &condition, "--timeout=20s", what]);
}

/// Waits for an event about a User.
fn event(home: &Namespace<'_>, user: &str, reason: &str) {
    let selector = format!("involvedObject.name={user},reason={reason}");
    waited(&format!("the event {reason} about {user}"), PATIENCE, || {
        let found = home.kubectl(&["get", "events", "--field-selector", &selector, "-o", "name"]);
        (!found.trim().is_empty()).then_some(())
    });
}

fn waited<T>(what: &str, within: Duration, ask: impl FnMut() -> Option<T>) -> T {
    Cluster::shared().until(what, within, ask)
}
