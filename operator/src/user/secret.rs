use std::collections::BTreeMap;
use std::fmt::Write as _;

use flotilla_crds::{Authentication, Cluster, GROUP, Listener, User, UserAuthenticationType as Way, VERSION};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use ring::digest::{SHA256, digest};

use crate::certificate::Issued;
use crate::cluster::{CLUSTER_LABEL, MANAGER, listeners};
use crate::{Problem, namespace_of};

/// Where the files for librdkafka expect the Secret to be mounted: unlike Java's clients, it takes certificates as files alone.
pub const MOUNT_PATH: &str = "/etc/flotilla";

/// What a user proves itself with.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A password, for SCRAM.
    Password(String),
    /// A client certificate.
    Certificate(Issued),
    /// A client certificate that somebody else issues, and hands over in another way.
    Elsewhere,
}

/// Passwords and keys stay out of logs.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Certificate(_) => "Certificate(..)",
            Self::Elsewhere => "Elsewhere",
        })
    }
}

/// The name of the Secret beside a User.
#[must_use]
pub fn secret_name(user: &User) -> &str {
    user.metadata.name.as_deref().unwrap_or_default()
}

/// The name of cert-manager's Certificate for a User, and of the Secret that it answers in, both beside the Cluster. Users of many
/// namespaces have theirs in one: the name tells them apart, and no user can bring two to the same.
#[must_use]
pub fn answer_name(user: &User) -> String {
    let whose = format!("{}/{}", namespace_of(&user.metadata), secret_name(user));
    let digest = digest(&SHA256, whose.as_bytes());
    let hex: String = digest.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-user-{hex}", user.spec.cluster.name)
}

/// Whether a User takes its password from another Secret than the one that is written for it.
///
/// # Errors
/// It does not.
pub fn check_source(user: &User) -> Result<(), Problem> {
    let name = secret_name(user);
    match &user.spec.authentication.password_from {
        Some(source) if source.name == name => Err(Problem::spec(
            "spec.authentication.passwordFrom.name",
            format!(
                "the Secret `{name}` is the one that is written for the User: keep the password in another"
            ),
        )),
        _ => Ok(()),
    }
}

/// Whether something can be a password. A line break would become another line of a configuration file.
///
/// # Errors
/// It holds a control character, or nothing at all.
pub fn check_password(password: &str) -> Result<(), Problem> {
    let wrong = |what: &str| Err(Problem::spec("spec.authentication.passwordFrom", what));
    if password.is_empty() {
        return wrong("the password is empty");
    }
    if password.chars().any(char::is_control) {
        return wrong(
            "the password holds a line break or another control character: a file made with `echo` ends with one, use `printf`",
        );
    }
    Ok(())
}

/// Whether a file in the Secret is one that [`secret`] writes.
pub(super) fn is_file_of_ours(name: &str) -> bool {
    const FILES: [&str; 8] = [
        "bootstrap.servers",
        "username",
        "client.properties",
        "librdkafka.conf",
        "ca.crt",
        "password",
        "tls.crt",
        "tls.key",
    ];
    FILES.contains(&name) || name.starts_with("bootstrap.servers.")
}

/// The Secret beside a User: all that an application needs to connect. `servers` are the bootstrap servers by listener, as the Cluster's
/// status has them, and `cluster_ca` the authorities of listeners with TLS, as PEM.
///
/// # Errors
/// No listener of the Cluster takes users of this kind, none of those that do has an address yet, or the password is to be read from
/// the Secret itself.
pub fn secret(
    user: &User,
    cluster: &Cluster,
    servers: &BTreeMap<String, String>,
    cluster_ca: &str,
    credential: &Credential,
) -> Result<Secret, Problem> {
    let name = secret_name(user);
    check_source(user)?;
    if let Credential::Password(password) = credential {
        check_password(password)?;
    }
    let way = user.spec.authentication.type_;
    let fitting = fitting(cluster, way)?;
    let listener = fitting
        .iter()
        .find(|listener| servers.contains_key(&listener.name))
        .ok_or_else(|| {
            Problem::because(
                flotilla_crds::Reason::Creating,
                "spec.cluster",
                format!("listener `{}` of the Cluster has no address yet", fitting[0].name),
            )
        })?;
    let client = Client {
        servers: &servers[&listener.name],
        tls: listener.tls.then_some(cluster_ca),
        name,
        way,
        credential,
    };
    let mut files = client.files();
    for listener in &fitting {
        if let Some(servers) = servers.get(&listener.name) {
            files.insert(format!("bootstrap.servers.{}", listener.name), servers.clone());
        }
    }
    Ok(Secret {
        metadata: metadata(user, cluster),
        type_: Some("Opaque".to_owned()),
        data: Some(
            files
                .into_iter()
                .map(|(name, text)| (name, ByteString(text.into_bytes())))
                .collect(),
        ),
        ..Secret::default()
    })
}

/// The listeners that take users of this kind: those inside Kubernetes first, as the application is there too, each in the Cluster's
/// order.
fn fitting(cluster: &Cluster, way: Way) -> Result<Vec<Listener>, Problem> {
    let (needed, word) = match way {
        Way::ScramSha512 => (Authentication::ScramSha512, "scram-sha-512"),
        Way::ScramSha256 => (Authentication::ScramSha256, "scram-sha-256"),
        Way::Mtls => (Authentication::Mtls, "mtls"),
    };
    let mut fitting: Vec<Listener> = listeners(cluster)
        .into_iter()
        .filter(|listener| listener.authentication.contains(&needed))
        .collect();
    fitting.sort_by_key(|listener| listener.exposure.is_some());
    if fitting.is_empty() {
        let name = cluster.metadata.name.as_deref().unwrap_or_default();
        return Err(Problem::spec(
            "spec.authentication.type",
            format!(
                "no listener of the Cluster `{name}` takes {word}: choose another type, or add it to a listener"
            ),
        ));
    }
    Ok(fitting)
}

fn metadata(user: &User, cluster: &Cluster) -> ObjectMeta {
    let cluster_name = cluster.metadata.name.clone().unwrap_or_default();
    let labels = [
        ("app.kubernetes.io/managed-by", MANAGER.to_owned()),
        ("app.kubernetes.io/part-of", "flotilla".to_owned()),
        (CLUSTER_LABEL, cluster_name),
    ];
    let owner = user.metadata.uid.clone().map(|uid| OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "User".to_owned(),
        name: secret_name(user).to_owned(),
        uid,
        controller: Some(true),
        block_owner_deletion: Some(true),
    });
    ObjectMeta {
        name: Some(secret_name(user).to_owned()),
        namespace: Some(namespace_of(&user.metadata).to_owned()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// What a client is configured with.
struct Client<'a> {
    servers: &'a str,
    /// The authorities of the listener, where it has TLS.
    tls: Option<&'a str>,
    name: &'a str,
    way: Way,
    credential: &'a Credential,
}

impl Client<'_> {
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = vec![
            ("bootstrap.servers", self.servers.to_owned()),
            ("username", self.name.to_owned()),
            ("client.properties", self.java()),
            ("librdkafka.conf", self.librdkafka()),
        ];
        files.extend(self.tls.map(|ca| ("ca.crt", ca.to_owned())));
        match self.credential {
            Credential::Password(password) => files.push(("password", password.clone())),
            Credential::Certificate(issued) => files.extend([
                ("tls.crt", issued.certificate.clone()),
                ("tls.key", issued.key.clone()),
            ]),
            Credential::Elsewhere => {}
        }
        files
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text))
            .collect()
    }

    fn security_protocol(&self) -> &'static str {
        match (self.credential, self.tls) {
            (Credential::Password(_), Some(_)) => "SASL_SSL",
            (Credential::Password(_), None) => "SASL_PLAINTEXT",
            (Credential::Certificate(_) | Credential::Elsewhere, _) => "SSL",
        }
    }

    fn mechanism(&self) -> &'static str {
        match self.way {
            Way::ScramSha256 => "SCRAM-SHA-256",
            Way::ScramSha512 | Way::Mtls => "SCRAM-SHA-512",
        }
    }

    /// For Java's clients, with certificates inside (KIP-651): it works wherever the Secret is mounted.
    fn java(&self) -> String {
        let mut lines = vec![
            ("bootstrap.servers", self.servers.to_owned()),
            ("security.protocol", self.security_protocol().to_owned()),
        ];
        if let Some(ca) = self.tls {
            lines.push(("ssl.truststore.type", "PEM".to_owned()));
            lines.push(("ssl.truststore.certificates", ca.to_owned()));
        }
        match self.credential {
            Credential::Password(password) => {
                let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
                let (name, password) = (quoted(self.name), quoted(password));
                lines.push(("sasl.mechanism", self.mechanism().to_owned()));
                lines.push((
                    "sasl.jaas.config",
                    format!("{module} required username={name} password={password};"),
                ));
            }
            Credential::Certificate(issued) => {
                lines.push(("ssl.keystore.type", "PEM".to_owned()));
                lines.push(("ssl.keystore.certificate.chain", issued.certificate.clone()));
                lines.push(("ssl.keystore.key", issued.key.clone()));
            }
            Credential::Elsewhere => {}
        }
        lines.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key}={}", property(value));
            text
        })
    }

    /// For librdkafka and all that stands on it, such as kcat's `-F`.
    fn librdkafka(&self) -> String {
        let mut lines = vec![
            ("bootstrap.servers", self.servers.to_owned()),
            ("security.protocol", self.security_protocol().to_owned()),
        ];
        if self.tls.is_some() {
            lines.push(("ssl.ca.location", format!("{MOUNT_PATH}/ca.crt")));
        }
        match self.credential {
            Credential::Password(password) => {
                lines.push(("sasl.mechanism", self.mechanism().to_owned()));
                lines.push(("sasl.username", self.name.to_owned()));
                lines.push(("sasl.password", password.clone()));
            }
            Credential::Certificate(_) => {
                lines.push(("ssl.certificate.location", format!("{MOUNT_PATH}/tls.crt")));
                lines.push(("ssl.key.location", format!("{MOUNT_PATH}/tls.key")));
            }
            Credential::Elsewhere => {}
        }
        lines.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key}={value}");
            text
        })
    }
}

/// A word between quotes, as JAAS reads it.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A value as Java's properties files have it. What is not ASCII is escaped: older readers take the file for ISO 8859-1.
fn property(value: &str) -> String {
    let mut text = String::new();
    for (place, character) in value.chars().enumerate() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            ' ' if place == 0 => text.push_str("\\ "),
            ' '..='~' => text.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use flotilla_crds::Reason;
    use serde_json::{Value, json};

    use super::super::testing;
    use super::*;

    fn cluster(listeners: Value) -> Cluster {
        serde_json::from_value(json!({
            "apiVersion": "flotilla.dev/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": "events", "namespace": "streaming"},
            "spec": {"listeners": listeners},
        }))
        .unwrap()
    }

    fn two_listeners() -> Cluster {
        cluster(json!([
            {"name": "external", "port": 9094, "tls": true, "authentication": ["scram-sha-512"], "exposure": {"type": "NodePort"}},
            {"name": "internal", "port": 9092, "tls": true, "authentication": ["scram-sha-512", "mtls"]},
        ]))
    }

    fn servers() -> BTreeMap<String, String> {
        BTreeMap::from([
            ("internal".into(), "events-internal.streaming.svc:9092".into()),
            ("external".into(), "10.0.0.1:30000".into()),
        ])
    }

    fn files(secret: &Secret) -> BTreeMap<&str, &str> {
        secret
            .data
            .iter()
            .flatten()
            .map(|(name, bytes)| (name.as_str(), std::str::from_utf8(&bytes.0).unwrap()))
            .collect()
    }

    const CA: &str = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";

    #[test]
    fn secret_of_a_user_with_password_is_whole() {
        let user = testing::user(json!({"type": "scram-sha-512"}));
        let credential = Credential::Password("pa\"ss".into());
        let secret = secret(&user, &two_listeners(), &servers(), CA, &credential).unwrap();
        assert_eq!(
            serde_json::to_value(&secret.metadata).unwrap(),
            json!({
                "name": "checkout",
                "namespace": "shop",
                "labels": {
                    "app.kubernetes.io/managed-by": "flotilla-operator",
                    "app.kubernetes.io/part-of": "flotilla",
                    "flotilla.dev/cluster": "events",
                },
                "ownerReferences": [{
                    "apiVersion": "flotilla.dev/v1alpha1", "kind": "User", "name": "checkout", "uid": "uid-of-checkout",
                    "controller": true, "blockOwnerDeletion": true,
                }],
            })
        );
        let java = concat!(
            "bootstrap.servers=events-internal.streaming.svc:9092\n",
            "security.protocol=SASL_SSL\n",
            "ssl.truststore.type=PEM\n",
            "ssl.truststore.certificates=-----BEGIN CERTIFICATE-----\\nMII=\\n-----END CERTIFICATE-----\\n\n",
            "sasl.mechanism=SCRAM-SHA-512\n",
            "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required ",
            "username=\"checkout\" password=\"pa\\\\\"ss\";\n",
        );
        let librdkafka = concat!(
            "bootstrap.servers=events-internal.streaming.svc:9092\n",
            "security.protocol=SASL_SSL\n",
            "ssl.ca.location=/etc/flotilla/ca.crt\n",
            "sasl.mechanism=SCRAM-SHA-512\n",
            "sasl.username=checkout\n",
            "sasl.password=pa\"ss\n",
        );
        assert_eq!(
            files(&secret),
            BTreeMap::from([
                ("bootstrap.servers", "events-internal.streaming.svc:9092"),
                ("bootstrap.servers.external", "10.0.0.1:30000"),
                ("bootstrap.servers.internal", "events-internal.streaming.svc:9092"),
                ("ca.crt", CA),
                ("client.properties", java),
                ("librdkafka.conf", librdkafka),
                ("password", "pa\"ss"),
                ("username", "checkout"),
            ])
        );
    }

    #[test]
    fn secret_of_a_user_with_certificate_is_whole() {
        let user = testing::user(json!({"type": "mtls"}));
        let credential = Credential::Certificate(Issued {
            certificate: "cert\n".into(),
            key: "key\n".into(),
        });
        let secret = secret(&user, &two_listeners(), &servers(), "ca\n", &credential).unwrap();
        let java = concat!(
            "bootstrap.servers=events-internal.streaming.svc:9092\n",
            "security.protocol=SSL\n",
            "ssl.truststore.type=PEM\n",
            "ssl.truststore.certificates=ca\\n\n",
            "ssl.keystore.type=PEM\n",
            "ssl.keystore.certificate.chain=cert\\n\n",
            "ssl.keystore.key=key\\n\n",
        );
        let librdkafka = concat!(
            "bootstrap.servers=events-internal.streaming.svc:9092\n",
            "security.protocol=SSL\n",
            "ssl.ca.location=/etc/flotilla/ca.crt\n",
            "ssl.certificate.location=/etc/flotilla/tls.crt\n",
            "ssl.key.location=/etc/flotilla/tls.key\n",
        );
        assert_eq!(
            files(&secret),
            BTreeMap::from([
                ("bootstrap.servers", "events-internal.streaming.svc:9092"),
                ("bootstrap.servers.internal", "events-internal.streaming.svc:9092"),
                ("ca.crt", "ca\n"),
                ("client.properties", java),
                ("librdkafka.conf", librdkafka),
                ("tls.crt", "cert\n"),
                ("tls.key", "key\n"),
                ("username", "checkout"),
            ])
        );
    }

    #[test]
    fn user_that_no_listener_takes_is_refused() {
        let user = testing::user(json!({"type": "scram-sha-256"}));
        let credential = Credential::Password("x".into());
        let problem = secret(&user, &two_listeners(), &servers(), CA, &credential).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "spec.authentication.type: no listener of the Cluster `events` takes scram-sha-256: choose another type, or add it to a \
             listener"
        );
    }

    #[test]
    fn secret_waits_for_an_address() {
        let user = testing::user(json!({"type": "mtls"}));
        let credential = Credential::Password("x".into());
        let problem = secret(&user, &two_listeners(), &BTreeMap::new(), CA, &credential).unwrap_err();
        assert_eq!(problem.reason, Reason::Creating);
    }

    #[test]
    fn password_is_never_read_from_the_secret_that_is_written() {
        let user = testing::user(
            json!({"type": "scram-sha-512", "passwordFrom": {"name": "checkout", "key": "password"}}),
        );
        let credential = Credential::Password("x".into());
        let problem = secret(&user, &two_listeners(), &servers(), CA, &credential).unwrap_err();
        assert_eq!(problem.field, "spec.authentication.passwordFrom.name");
    }

    #[test]
    fn password_that_would_become_another_line_is_refused() {
        let user = testing::user(json!({"type": "scram-sha-512"}));
        let credential = Credential::Password("x\nsecurity.protocol=PLAINTEXT".into());
        let problem = secret(&user, &two_listeners(), &servers(), CA, &credential).unwrap_err();
        assert_eq!(problem.field, "spec.authentication.passwordFrom");
    }

    #[test]
    fn plaintext_listener_needs_no_authority() {
        let cluster =
            cluster(json!([{"name": "internal", "port": 9092, "authentication": ["scram-sha-512"]}]));
        let user = testing::user(json!({"type": "scram-sha-512"}));
        let secret = secret(&user, &cluster, &servers(), CA, &Credential::Password("x".into())).unwrap();
        let files = files(&secret);
        assert!(!files.contains_key("ca.crt"));
        assert!(files["librdkafka.conf"].contains("security.protocol=SASL_PLAINTEXT\n"));
    }

    #[test]
    fn values_survive_javas_properties() {
        assert_eq!(
            property(" a\\b\tc\nd é😀"),
            "\\ a\\\\b\\tc\\nd \\u00e9\\ud83d\\ude00"
        );
    }

    #[test]
    fn credentials_stay_out_of_debug_output() {
        assert_eq!(format!("{:?}", Credential::Password("x".into())), "Password(..)");
    }
}
