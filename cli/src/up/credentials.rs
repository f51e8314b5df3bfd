//! What a user's application needs, in one directory: like the Secret that the operator writes on Kubernetes.

use std::fs;

use anyhow::Context as _;
use flotilla_control::config::BrokerConfig;
use flotilla_crds::{Authentication, Cluster, User, UserAuthenticationType};
use flotilla_operator::cluster;

use super::plan::{Authorities, certificate_validity};
use crate::home::{Home, random_bytes, write_whole};

/// Writes a user's credentials, making what is not there yet, and gives back the password, which must be shown to nobody;
/// `None` for a user with a certificate. `password` is one that the manifests give.
pub fn write(
    home: &Home,
    user: &User,
    cluster: &Cluster,
    brokers: &[BrokerConfig],
    authorities: &Authorities,
    password: Option<String>,
) -> anyhow::Result<Option<String>> {
    let name = user.metadata.name.clone().unwrap_or_default();
    let directory = home.user(&name);
    let kind = user.spec.authentication.type_;
    let listener = cluster::listeners(cluster).into_iter().find(|listener| {
        listener.authentication.iter().any(|way| {
            matches!(
                (way, kind),
                (Authentication::ScramSha512, UserAuthenticationType::ScramSha512)
                    | (Authentication::ScramSha256, UserAuthenticationType::ScramSha256)
                    | (Authentication::Mtls, UserAuthenticationType::Mtls)
            )
        })
    });
    let mut lines = Vec::new();
    if let Some(listener) = &listener {
        lines.push(format!(
            "bootstrap.servers={}",
            bootstrap(brokers, &listener.name)
        ));
    }
    let tls = listener.as_ref().is_some_and(|listener| listener.tls);
    if tls {
        let authority = directory.join("ca.crt");
        write_whole(
            &authority,
            authorities.cluster.pem().certificate.as_bytes(),
            0o644,
        )?;
        let authority = fs::canonicalize(&authority).context("cannot find the authority")?;
        lines.push("ssl.truststore.type=PEM".to_owned());
        lines.push(format!("ssl.truststore.location={}", authority.display()));
    }
    let password = match kind {
        UserAuthenticationType::Mtls => {
            let pair = directory.join("user.pem");
            if !pair.exists() {
                let issued = authorities
                    .clients
                    .issue_user(&name, certificate_validity())
                    .context("cannot make the user's certificate")?;
                write_whole(&directory.join("user.crt"), issued.certificate.as_bytes(), 0o644)?;
                write_whole(&directory.join("user.key"), issued.key.as_bytes(), 0o600)?;
                // Java reads key and certificate from one file.
                let both = format!("{}{}", issued.key, issued.certificate);
                write_whole(&pair, both.as_bytes(), 0o600)?;
            }
            let pair = fs::canonicalize(&pair).context("cannot find the user's certificate")?;
            lines.push("security.protocol=SSL".to_owned());
            lines.push("ssl.keystore.type=PEM".to_owned());
            lines.push(format!("ssl.keystore.location={}", pair.display()));
            None
        }
        UserAuthenticationType::ScramSha512 | UserAuthenticationType::ScramSha256 => {
            let file = directory.join("password");
            let password = match (password, fs::read_to_string(&file)) {
                (Some(given), _) => given,
                (None, Ok(kept)) if !kept.trim().is_empty() => kept.trim().to_owned(),
                (None, _) => draw_password()?,
            };
            write_whole(&file, format!("{password}\n").as_bytes(), 0o600)?;
            let mechanism = if kind == UserAuthenticationType::ScramSha512 {
                "SCRAM-SHA-512"
            } else {
                "SCRAM-SHA-256"
            };
            let protocol = if tls { "SASL_SSL" } else { "SASL_PLAINTEXT" };
            lines.push(format!("security.protocol={protocol}"));
            lines.push(format!("sasl.mechanism={mechanism}"));
            lines.push(format!(
                "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{name}\" \
                 password=\"{}\";",
                escaped(&password)
            ));
            Some(password)
        }
    };
    let properties = directory.join("client.properties");
    let mut text = lines.join("\n");
    text.push('\n');
    write_whole(&properties, text.as_bytes(), 0o600)?;
    Ok(password)
}

/// `HOST:PORT,...` of a listener.
pub fn bootstrap(brokers: &[BrokerConfig], listener: &str) -> String {
    let addresses: Vec<String> = brokers
        .iter()
        .filter_map(|broker| broker.listeners.iter().find(|l| l.name == listener))
        .filter_map(|listener| Some(listener.advertised.as_ref()?.to_string()))
        .collect();
    addresses.join(",")
}

/// 32 letters and digits: more than 180 bits, and nothing that a shell or a properties file would take for something else.
fn draw_password() -> anyhow::Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AZ";
    let bytes = random_bytes::<32>()?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 63)]))
        .collect())
}

/// In JAAS a quote or a backslash is written behind a backslash, and a properties file takes a backslash away.
fn escaped(password: &str) -> String {
    password.replace('\\', "\\\\\\\\").replace('"', "\\\\\"")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use flotilla_crds::{ClusterRef, ClusterSpec, UserAuthentication, UserSpec};

    use super::*;

    fn user(kind: UserAuthenticationType) -> User {
        User::new(
            "checkout",
            UserSpec {
                cluster: ClusterRef {
                    name: "quickstart".into(),
                    namespace: None,
                },
                authentication: UserAuthentication {
                    type_: kind,
                    password_from: None,
                },
                authorization: None,
                quotas: None,
            },
        )
    }

    #[test]
    fn a_password_is_made_once_and_kept_from_others() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().to_owned());
        let authorities = Authorities::open(&home).unwrap();
        let cluster = Cluster::new("quickstart", ClusterSpec::default());
        let user = user(UserAuthenticationType::ScramSha512);
        let write = |password| write(&home, &user, &cluster, &[], &authorities, password).unwrap();
        let properties = home.user("checkout").join("client.properties");
        let first = write(None);
        let password = first.unwrap();
        assert_eq!(password.len(), 32);
        assert_eq!(write(None).as_deref(), Some(password.as_str()));
        let text = fs::read_to_string(&properties).unwrap();
        assert_eq!(
            text,
            format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=org.apache.kafka.common.\
                 security.scram.ScramLoginModule required username=\"checkout\" password=\"{password}\";\n"
            )
        );
        let mode = fs::metadata(&properties).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(write(Some("given".to_owned())).as_deref(), Some("given"));
        assert_eq!(write(None).as_deref(), Some("given"));
    }

    #[test]
    fn a_user_with_a_certificate_gets_one_and_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().to_owned());
        let authorities = Authorities::open(&home).unwrap();
        let cluster = Cluster::new("quickstart", ClusterSpec::default());
        let user = user(UserAuthenticationType::Mtls);
        let made = write(&home, &user, &cluster, &[], &authorities, None).unwrap();
        assert_eq!(made, None);
        let pair = fs::read_to_string(home.user("checkout").join("user.pem")).unwrap();
        assert!(pair.contains("PRIVATE KEY") && pair.contains("CERTIFICATE"));
        write(&home, &user, &cluster, &[], &authorities, None).unwrap();
        assert_eq!(
            fs::read_to_string(home.user("checkout").join("user.pem")).unwrap(),
            pair
        );
    }
}
