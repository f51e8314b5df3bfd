//! OAUTHBEARER with Java's clients, on three brokers: tokens that a key of a key set signed, which is served over HTTP and changes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::tools::{Ran, java, java_with_properties};

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

/// Somebody who signs tokens.
struct Issuer {
    name: &'static str,
    pair: EcdsaKeyPair,
}

impl Issuer {
    fn new(name: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        Self { name, pair }
    }

    fn keys(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let part = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let key = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.name,
            "x": part(&point[1..33]), "y": part(&point[33..])
        });
        json!({ "keys": [key] }).to_string()
    }

    /// For the job, for five minutes, with these claims in the place of the usual ones.
    fn token(&self, changes: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "sub": "job", "iss": "https://issuer.test", "aud": ["kafka"], "iat": now, "exp": now + 300
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.name});
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Serves a key set until the test ends; where, and what can be changed.
fn serve(keys: String) -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let keys = Arc::new(Mutex::new(keys));
    let served = keys.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let _ = lines.find(String::is_empty);
            let body = served.lock().expect("nobody panics with it").clone();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            // A broker that went away asks again.
            let _ = (&stream).write_all((head + &body).as_bytes());
        }
    });
    (url, keys)
}

fn fleet(keys_url: &str) -> Fleet {
    let mut files = manifests(3, &[("open", 6, 3)]);
    let cluster = format!(
        "apiVersion: flotilla.dev/v1alpha1
kind: Cluster
metadata: {{name: test}}
spec:
  replicas: 3
  listeners:
    - {{name: secure, port: 9094, tls: true, authentication: [oauthbearer, scram-sha-512]}}
  authorization: {{type: acl, superUsers: [admin]}}
  config:
    sasl.oauthbearer.jwks.endpoint.url: {keys_url}
    sasl.oauthbearer.expected.audience: kafka
    sasl.oauthbearer.expected.issuer: https://issuer.test
"
    );
    files.insert("cluster.yaml".into(), cluster);
    files.insert(
        "user-admin.yaml".into(),
        "apiVersion: flotilla.dev/v1alpha1\nkind: User\nmetadata: {name: admin}\nspec:\n  cluster: {name: test}\n  authentication: {type: scram-sha-512}\n"
            .into(),
    );
    Fleet::start(&files)
}

/// A Java client that shows the token in a file.
struct Client<'a> {
    fleet: &'a Fleet,
    properties: String,
    token: String,
}

impl<'a> Client<'a> {
    fn new(fleet: &'a Fleet) -> Self {
        let users = fleet.data().join("users/admin");
        let authority = std::fs::canonicalize(users.join("ca.crt")).expect("the fleet's authority");
        let directory = std::fs::canonicalize(fleet.data()).expect("the fleet's data");
        let token = directory.join("job.jwt").to_string_lossy().into_owned();
        let properties = directory.join("job.properties").to_string_lossy().into_owned();
        let module = "org.apache.kafka.common.security.oauthbearer";
        let text = format!(
            "security.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.location={}\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config={module}.OAuthBearerLoginModule required;\nsasl.login.callback.handler.class={module}.OAuthBearerLoginCallbackHandler\nsasl.oauthbearer.token.endpoint.url=file://{token}\ndelivery.timeout.ms=10000\nrequest.timeout.ms=5000\nlinger.ms=0\n",
            authority.display()
        );
        std::fs::write(&properties, text).expect("write the properties");
        Self {
            fleet,
            properties,
            token,
        }
    }

    fn run(&self, class: &str, args: &[&str], input: &str) -> Ran {
        let allowed = [
            (
                "org.apache.kafka.sasl.oauthbearer.allowed.files",
                self.token.clone(),
            ),
            (
                "org.apache.kafka.sasl.oauthbearer.allowed.urls",
                format!("file://{}", self.token),
            ),
        ];
        let base = [
            "--bootstrap-server",
            self.fleet.bootstrap(),
            "--command-config",
            &self.properties,
            "--topic",
            "open",
        ];
        java_with_properties(&allowed, class, &[&base[..], args].concat(), input.as_bytes())
    }

    fn produce(&self, token: &str, lines: &str) -> Ran {
        std::fs::write(&self.token, token).expect("write the token");
        self.run("ConsoleProducer", &[], lines)
    }

    fn consumed(&self, token: &str, group: &str, count: usize) -> Vec<String> {
        std::fs::write(&self.token, token).expect("write the token");
        let count = count.to_string();
        let args = [
            "--group",
            group,
            "--from-beginning",
            "--max-messages",
            &count,
            "--timeout-ms",
            "30000",
        ];
        let mut lines: Vec<String> = self
            .run(CONSOLE_CONSUMER, &args, "")
            .ok()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    }
}

/// Lets the user `job` use the topic, and groups that begin with `job-`.
fn grant(fleet: &Fleet) {
    let admin = fleet.data().join("users/admin/client.properties");
    let admin = admin.to_string_lossy();
    let base = [
        "--bootstrap-server",
        fleet.bootstrap(),
        "--command-config",
        &admin,
    ];
    let rules = "--add --allow-principal User:job --operation Read --operation Write --operation Describe --topic open";
    let rules: Vec<&str> = rules.split(' ').collect();
    java("AclCommand", &[&base[..], &rules].concat()).ok();
    let rules =
        "--add --allow-principal User:job --operation Read --group job- --resource-pattern-type prefixed";
    let rules: Vec<&str> = rules.split(' ').collect();
    java("AclCommand", &[&base[..], &rules].concat()).ok();
}

#[test]
fn signed_token_is_its_users_way_in_also_after_the_keys_changed() {
    let (first, second) = (Issuer::new("first"), Issuer::new("second"));
    let (url, keys) = serve(first.keys());
    let fleet = fleet(&url);
    fleet.user_file("admin", "client.properties");
    eventually(Duration::from_secs(20), "rules for the job", || {
        let admin = fleet.user_file("admin", "client.properties");
        if admin.is_empty() {
            Err(fleet.reports())
        } else {
            Ok(())
        }
    });
    grant(&fleet);
    let client = Client::new(&fleet);

    client.produce(&first.token(&json!({})), "one\ntwo\nthree\n").ok();
    let read = client.consumed(&first.token(&json!({})), "job-1", 3);
    assert_eq!(read, ["one", "three", "two"]);

    for changes in [
        json!({"aud": "others"}),
        json!({"iss": "https://somebody.test"}),
        json!({"iat": 1, "exp": 2}),
    ] {
        let refused = client.produce(&first.token(&changes), "no\n");
        assert!(
            refused.all().contains("invalid_token") || refused.all().contains("expired"),
            "{changes}: {refused:?}"
        );
    }
    let nobody = client.produce(&first.token(&json!({"sub": "somebody"})), "no\n");
    assert!(nobody.all().contains("TopicAuthorizationException"), "{nobody:?}");
    let forged = client.produce(&second.token(&json!({})), "no\n");
    assert!(forged.all().contains("invalid_token"), "{forged:?}");

    // Brokers read the keys anew for a token of a key that they do not know, though not with each of them.
    *keys.lock().expect("nobody panics with it") = second.keys();
    eventually(
        Duration::from_secs(120),
        "the new key to be known to all brokers",
        || {
            let ran = client.produce(&second.token(&json!({})), "four\n");
            let is_refused = [
                "Error when sending",
                "SaslAuthenticationException",
                "failed authentication",
            ]
            .iter()
            .any(|words| ran.all().contains(words));
            if is_refused { Err(ran.all()) } else { Ok(()) }
        },
    );
    let mut read = client.consumed(&second.token(&json!({})), "job-2", 4);
    read.retain(|line| line != "four");
    assert!(
        read.len() < 4,
        "what the second key opened for is there: {read:?}"
    );
}
