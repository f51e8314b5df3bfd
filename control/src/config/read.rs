//! Reading and writing the file, and what must hold in it beyond its shape.

use std::path::{Path, PathBuf};

use super::{Authentication, BrokerConfig};
use crate::settings;

/// Why a configuration file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the broker's configuration {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no YAML of this shape.
    #[error("{}:{line}: {message}", file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// From 1; 0 where the line is not known.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// The file has the right shape and says what cannot be.
    #[error("{}: {message}", file.display())]
    Meaning {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to write instead.
        message: String,
    },
}

impl BrokerConfig {
    /// Reads and checks the file. Relative paths in it are taken from the directory that it stands in.
    ///
    /// # Errors
    /// Whatever keeps the file from being followed, with file and line.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file).map_err(|source| Error::Read {
            file: file.to_owned(),
            source,
        })?;
        let mut config = Self::parse(&text, file)?;
        if let Some(directory) = file.parent() {
            config.resolve_paths(directory);
        }
        Ok(config)
    }

    /// Reads and checks a text. `file` is where it comes from, for messages only.
    ///
    /// # Errors
    /// As [`BrokerConfig::load`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        let config: Self = serde_saphyr::from_str(text).map_err(|error| Error::Shape {
            file: file.to_owned(),
            line: error.location().map_or(0, |location| location.line()),
            message: plain(&error),
        })?;
        config.check().map_err(|message| Error::Meaning {
            file: file.to_owned(),
            message,
        })?;
        Ok(config)
    }

    /// The file's text. [`BrokerConfig::parse`] reads it back.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("texts, numbers, lists and maps with text keys always serialize")
    }

    fn resolve_paths(&mut self, directory: &Path) {
        let paths = self
            .data_dirs
            .iter_mut()
            .chain([
                &mut self.internal_tls.ca,
                &mut self.internal_tls.certificate,
                &mut self.internal_tls.key,
            ])
            .chain(
                self.listeners
                    .iter_mut()
                    .filter_map(|l| l.tls.as_mut())
                    .flat_map(|tls| {
                        [&mut tls.certificate, &mut tls.key]
                            .into_iter()
                            .chain(tls.client_ca.as_mut())
                    }),
            );
        for path in paths {
            *path = directory.join(&*path);
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.cluster_id.is_zero() {
            return Err("clusterId cannot be all zeroes".to_owned());
        }
        if self.roles.is_empty() {
            return Err("roles is empty: name broker, coordinator, or both".to_owned());
        }
        if self.data_dirs.is_empty() {
            return Err("dataDirs is empty: name at least one directory".to_owned());
        }
        if let Some(twice) = repeated(self.data_dirs.iter()) {
            return Err(format!("dataDirs names {} twice", twice.display()));
        }
        if let Some(twice) = repeated(self.listeners.iter().map(|l| &l.name)) {
            return Err(format!("two listeners are named `{twice}`"));
        }
        for listener in &self.listeners {
            let name = &listener.name;
            if !is_listener_name(name) {
                return Err(format!(
                    "listener `{name}`: a name is 1 to 63 lower-case letters, digits and `-`, beginning with a letter"
                ));
            }
            let tls = listener.tls.as_ref();
            if listener.authentication.contains(&Authentication::Plain) && tls.is_none() {
                return Err(format!(
                    "listener `{name}`: plain sends passwords as they are; give the listener tls, or use scram-sha-512"
                ));
            }
            if listener.authentication.contains(&Authentication::OauthBearer) && tls.is_none() {
                return Err(format!(
                    "listener `{name}`: oauthbearer sends tokens as they are; give the listener tls"
                ));
            }
            if listener.authentication.contains(&Authentication::Mtls)
                && tls.is_none_or(|tls| tls.client_ca.is_none())
            {
                return Err(format!("listener `{name}`: mtls needs tls with a clientCa"));
            }
        }
        if let Some(twice) = repeated(self.quorum.voters.iter().map(|v| v.broker_id)) {
            return Err(format!("quorum.voters names broker {twice} twice"));
        }
        if !matches!(self.quorum.voters.len(), 1 | 3 | 5) {
            return Err(format!(
                "quorum.voters has {} voters; a quorum begins with 1, 3 or 5",
                self.quorum.voters.len()
            ));
        }
        let addresses = self.quorum.voters.iter().map(|v| &v.address);
        for address in addresses.chain(self.quorum.peers.iter().map(|p| &p.address)) {
            if !is_address(address) {
                return Err(format!("quorum: `{address}` is not HOST:PORT"));
            }
        }
        settings::check_broker(&self.settings).map_err(|error| format!("settings: {error}"))?;
        let resolved = settings::BrokerSettings::resolve(&|name| self.settings.get(name).cloned());
        if resolved.broker_heartbeat_interval_ms.saturating_mul(2) > resolved.broker_session_timeout_ms {
            return Err(format!(
                "settings: `broker.session.timeout.ms` ({}) must be at least twice `broker.heartbeat.interval.ms` ({}): one \
                 late heartbeat would fence a broker",
                resolved.broker_session_timeout_ms, resolved.broker_heartbeat_interval_ms
            ));
        }
        Ok(())
    }
}

/// The message without the excerpt of the file, on one line.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    // The line stands in front of the message already.
    let text = match text.rfind(" at line ") {
        Some(end) => &text[..end],
        None => text.as_str(),
    };
    text.trim().replace('\n', "; ")
}

fn repeated<T: PartialEq>(items: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = Vec::new();
    for item in items {
        if seen.contains(&item) {
            return Some(item);
        }
        seen.push(item);
    }
    None
}

fn is_listener_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_address(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
clusterId: AAECAwQFBgcICQoLDA0O_w
brokerId: 1
version: 0.1.0
rack: zone-a
roles: [broker, coordinator]
dataDirs: [data]
listeners:
  - name: internal
    bind: 127.0.0.1:9092
    advertised: {host: localhost, port: 9092}
  - name: external
    bind: 127.0.0.1:9094
    advertised: {host: localhost, port: 9094}
    tls: {certificate: tls/broker.crt, key: tls/broker.key, clientCa: tls/clients.crt}
    authentication: [scram-sha-512, mtls]
replication: {bind: 127.0.0.1:9093, advertised: {host: localhost, port: 9093}}
control: {bind: 127.0.0.1:9095, advertised: {host: localhost, port: 9095}}
admin: {bind: 127.0.0.1:9096}
internalTls: {ca: /ca.crt, certificate: tls/internal.crt, key: tls/internal.key}
quorum:
  voters:
    - {brokerId: 1, directoryId: AQECAwQFBgcICQoLDA0O_w, address: localhost:9095}
  bootstrapped: false
  peers: [{brokerId: 2, address: localhost:9195}]
authorization: {type: acl, superUsers: [admin]}
settings: {min.insync.replicas: 2, log.retention.hours: \"168\"}
";

    fn file() -> &'static Path {
        Path::new("broker.yaml")
    }

    fn refusal(from: &str, to: &str) -> String {
        assert!(FILE.contains(from), "{from}");
        BrokerConfig::parse(&FILE.replace(from, to), file())
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let config = BrokerConfig::parse(FILE, file()).expect("valid");
        assert_eq!(config.broker_id.0, 1);
        assert_eq!(config.setting("min.insync.replicas"), Some("2"));
        assert_eq!(
            config.peer(flotilla_protocol::BrokerId(2)),
            Some("localhost:9195")
        );
        let protocols: Vec<_> = config.listeners.iter().map(|l| l.security_protocol()).collect();
        assert_eq!(
            protocols,
            [
                crate::proto::metadata::SecurityProtocol::Plaintext,
                crate::proto::metadata::SecurityProtocol::SaslSsl
            ]
        );
        assert_eq!(
            BrokerConfig::parse(&config.to_yaml(), file()).expect("written by us"),
            config
        );
    }

    #[test]
    fn relative_paths_are_taken_from_the_files_directory() {
        let mut config = BrokerConfig::parse(FILE, file()).expect("valid");
        config.resolve_paths(Path::new("/etc/broker"));
        assert_eq!(config.data_dirs, [PathBuf::from("/etc/broker/data")]);
        assert_eq!(config.internal_tls.ca, PathBuf::from("/ca.crt"));
        assert_eq!(
            config.listeners[1]
                .tls
                .as_ref()
                .and_then(|tls| tls.client_ca.clone()),
            Some(PathBuf::from("/etc/broker/tls/clients.crt"))
        );
    }

    #[test]
    fn what_has_the_wrong_shape_is_refused_with_its_line() {
        for (from, to, message) in [
            (
                "rack: zone-a",
                "rac: zone-a",
                "broker.yaml:4: unknown field `rac`",
            ),
            ("brokerId: 1\n", "brokerId: one\n", "broker.yaml:2: "),
            (
                "brokerId: 1\n",
                "brokerId: -1\n",
                "broker.yaml:2: a broker id is at least 0, not -1",
            ),
            (
                "AAECAwQFBgcICQoLDA0O_w",
                "nonsense",
                "broker.yaml:1: `nonsense` is not an id of 22 characters in URL-safe base64",
            ),
            ("roles: [broker", "roles: [brokr", "broker.yaml:5: "),
            ("bind: 127.0.0.1:9092", "bind: localhost", "broker.yaml:9: "),
            (
                "roles: [broker, coordinator]",
                "roles: [broker, coordinator",
                "broker.yaml:",
            ),
        ] {
            let refusal = refusal(from, to);
            assert!(refusal.starts_with(message), "{refusal}");
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_write_instead() {
        for (from, to, message) in [
            (
                ", clientCa: tls/clients.crt",
                "",
                "listener `external`: mtls needs tls with a clientCa",
            ),
            (
                "name: external",
                "name: internal",
                "two listeners are named `internal`",
            ),
            (
                "name: external",
                "name: EXTERNAL",
                "listener `EXTERNAL`: a name is 1 to 63 lower-case letters, digits and `-`, beginning with a letter",
            ),
            (
                "  voters:\n    - {brokerId: 1, directoryId: AQECAwQFBgcICQoLDA0O_w, address: localhost:9095}",
                "  voters: []",
                "quorum.voters has 0 voters; a quorum begins with 1, 3 or 5",
            ),
            (
                "address: localhost:9195",
                "address: localhost",
                "quorum: `localhost` is not HOST:PORT",
            ),
            (
                "min.insync.replicas: 2",
                "min.insync.replica: 2",
                "settings: unknown broker setting `min.insync.replica`; did you mean `min.insync.replicas`?",
            ),
            (
                "min.insync.replicas: 2",
                "num.io.threads: 16",
                "settings: `num.io.threads` cannot be `16`: listeners, requests and upkeep share one thread for each processor: there \
                 are no pools to size. Leave it out, or at Kafka's default `8`",
            ),
            (
                "min.insync.replicas: 2",
                "broker.session.timeout.ms: 300",
                "settings: `broker.session.timeout.ms` (300) must be at least twice `broker.heartbeat.interval.ms` (250): one \
                 late heartbeat would fence a broker",
            ),
            (
                "dataDirs: [data]",
                "dataDirs: []",
                "dataDirs is empty: name at least one directory",
            ),
            (
                "dataDirs: [data]",
                "dataDirs: [data, data]",
                "dataDirs names data twice",
            ),
            (
                "    tls: {certificate: tls/broker.crt, key: tls/broker.key, clientCa: tls/clients.crt}\n    authentication: [scram-sha-512, mtls]",
                "    authentication: [plain]",
                "listener `external`: plain sends passwords as they are; give the listener tls, or use scram-sha-512",
            ),
        ] {
            let refusal = refusal(from, to);
            assert_eq!(refusal, format!("broker.yaml: {message}"));
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = BrokerConfig::load(Path::new("/nowhere/broker.yaml")).expect_err("missing");
        assert!(
            error
                .to_string()
                .starts_with("cannot read the broker's configuration /nowhere/broker.yaml: "),
            "{error}"
        );
    }
}
