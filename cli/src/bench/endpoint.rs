//! Brokers as Kafka's clients are told of them: `client.properties`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use flotilla_broker::auth::scram::Mechanism;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How connections are made, and who makes them.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// TLS, where it is asked for.
    pub tls: Option<Arc<ClientConfig>>,
    /// SASL, where it is asked for.
    pub login: Option<Login>,
}

/// A user with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// How the password is proven.
    pub way: Way,
    /// Who.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// SASL's mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The password itself.
    Plain,
    /// A proof of it.
    Scram(Mechanism),
}

impl Security {
    /// As a file of client properties says; without one, plain connections.
    pub fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::from_properties(&properties(&text)).with_context(|| format!("in {}", file.display()))
    }

    fn from_properties(properties: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let protocol = properties
            .get("security.protocol")
            .map_or("PLAINTEXT", String::as_str);
        let (tls, sasl) = match protocol {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            other => bail!(
                "security.protocol is `{other}`; it is one of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL"
            ),
        };
        Ok(Self {
            tls: tls.then(|| client_config(properties)).transpose()?.map(Arc::new),
            login: sasl.then(|| login(properties)).transpose()?,
        })
    }
}

/// Lines `key=value`, as Java reads them, without what nobody needs here (escapes, continued lines).
fn properties(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

fn pem_file(properties: &BTreeMap<String, String>, key: &str) -> anyhow::Result<Option<PathBuf>> {
    let kind = key.replace(".location", ".type");
    match properties.get(key) {
        None => Ok(None),
        Some(_) if properties.get(&kind).map(String::as_str) != Some("PEM") => {
            bail!("{key} must be a PEM file: set {kind}=PEM")
        }
        Some(file) => Ok(Some(PathBuf::from(file))),
    }
}

fn client_config(properties: &BTreeMap<String, String>) -> anyhow::Result<ClientConfig> {
    let Some(authorities) = pem_file(properties, "ssl.truststore.location")? else {
        bail!("TLS needs ssl.truststore.location: the certificate of the cluster's authority");
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&authorities)
        .with_context(|| format!("cannot read {}", authorities.display()))?
    {
        roots.add(certificate?)?;
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    Ok(match pem_file(properties, "ssl.keystore.location")? {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let unreadable = || format!("cannot read {}", pair.display());
            let chain = CertificateDer::pem_file_iter(&pair)
                .with_context(unreadable)?
                .collect::<Result<Vec<_>, _>>()
                .with_context(unreadable)?;
            let key = PrivateKeyDer::from_pem_file(&pair).with_context(unreadable)?;
            builder.with_client_auth_cert(chain, key)?
        }
    })
}

fn login(properties: &BTreeMap<String, String>) -> anyhow::Result<Login> {
    let way = match properties.get("sasl.mechanism").map(String::as_str) {
        Some("PLAIN") => Way::Plain,
        Some("SCRAM-SHA-256") => Way::Scram(Mechanism::Sha256),
        Some("SCRAM-SHA-512") => Way::Scram(Mechanism::Sha512),
        other => bail!(
            "sasl.mechanism is `{}`; it is one of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512",
            other.unwrap_or("not set")
        ),
    };
    let jaas = properties
        .get("sasl.jaas.config")
        .context("SASL needs sasl.jaas.config, with username and password")?;
    let (user, password) = (quoted(jaas, "username"), quoted(jaas, "password"));
    Ok(Login {
        way,
        user: user.context("sasl.jaas.config has no username=\"...\"")?,
        password: password.context("sasl.jaas.config has no password=\"...\"")?,
    })
}

/// What stands in quotes behind `name=`; a backslash takes the next character as it is.
fn quoted(text: &str, name: &str) -> Option<String> {
    let (_, after) = text.split_once(&format!("{name}=\""))?;
    let mut value = String::new();
    let mut characters = after.chars();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> anyhow::Result<Security> {
        Security::from_properties(&properties(text))
    }

    #[test]
    fn properties_of_a_scram_user_are_understood() {
        let security = of("# comment\nbootstrap.servers=a:1\nsecurity.protocol=SASL_PLAINTEXT\n\
             sasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
             required username=\"alice\" password=\"a\\\"b\\\\c\";\n")
        .unwrap_or_else(|error| panic!("{error:#}"));
        let expected = Login {
            way: Way::Scram(Mechanism::Sha512),
            user: "alice".to_owned(),
            password: "a\"b\\c".to_owned(),
        };
        assert_eq!(security.login, Some(expected));
        assert!(security.tls.is_none());
        assert!(
            !format!("{security:?}").contains("a\\\"b"),
            "passwords are not shown"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        for (text, message) in [
            ("security.protocol=TLS", "security.protocol is `TLS`"),
            ("security.protocol=SSL", "ssl.truststore.location"),
            (
                "security.protocol=SSL\nssl.truststore.location=/x.jks",
                "ssl.truststore.type=PEM",
            ),
            ("security.protocol=SASL_PLAINTEXT", "sasl.mechanism is `not set`"),
            (
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN",
                "sasl.jaas.config",
            ),
            (
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=x username=\"a\";",
                "password",
            ),
        ] {
            let error = of(text).expect_err(text);
            assert!(format!("{error:#}").contains(message), "{text}: {error:#}");
        }
    }
}
