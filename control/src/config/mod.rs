//! The broker's configuration file: one typed struct, written by the operator or by `flotilla up`, read once when a broker
//! starts and handed down. What can change while a broker runs lives in the metadata, not here.

mod read;
mod shown;
mod text;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use flotilla_protocol::{BrokerId, Uuid};
use serde::{Deserialize, Serialize};

use crate::proto::metadata::SecurityProtocol;

pub use read::Error;

/// All that a broker must know before it starts.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BrokerConfig {
    /// The cluster's id, drawn once, when the cluster is made.
    #[serde(with = "text")]
    pub cluster_id: Uuid,
    /// This broker's id, from 0.
    #[serde(with = "text::broker_id")]
    pub broker_id: BrokerId,
    /// The version that the broker is meant to have; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where the broker stands, as far as the file knows; the metadata may know better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// What the broker does.
    pub roles: Vec<Role>,
    /// One directory for each volume. The first also holds the metadata log.
    pub data_dirs: Vec<PathBuf>,
    /// The listeners for clients.
    pub listeners: Vec<Listener>,
    /// The reserved internal listener: Kafka's Fetch over mutual TLS.
    pub replication: Internal,
    /// gRPC over mutual TLS: `Coordination` and `Fleet`.
    pub control: Internal,
    /// Health, metrics and the log level over HTTP.
    pub admin: Admin,
    /// What proves this broker to the others.
    pub internal_tls: InternalTls,
    /// The voters that the cluster begins with, and where all brokers are found.
    pub quorum: Quorum,
    /// Who may do what.
    #[serde(default)]
    pub authorization: Authorization,
    /// Kafka's broker settings by name. What the metadata says about a setting wins over what stands here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// What a broker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Hosts partitions and serves clients.
    Broker,
    /// May vote in the quorum.
    Coordinator,
}

/// A listener for clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Unique on the broker; the same on all brokers.
    pub name: String,
    /// Where it listens.
    pub bind: SocketAddr,
    /// What clients are told to connect to. Absent: nothing, until the metadata has an address for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised: Option<Advertised>,
    /// Absent: plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// How clients say who they are; none: they are anonymous.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authentication: Vec<Authentication>,
}

/// An address as others reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertised {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The TLS of a listener for clients. All are PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificate chain, the broker's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose client certificates are taken. Needed for `mtls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// How a client says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// SASL SCRAM-SHA-256 (KIP-84).
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SASL SCRAM-SHA-512 (KIP-84).
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// SASL PLAIN; over TLS only.
    Plain,
    /// SASL OAUTHBEARER, with tokens that somebody else signs (KIP-768); over TLS only.
    #[serde(rename = "oauthbearer")]
    OauthBearer,
    /// A client certificate.
    Mtls,
}

/// A listener of the fleet's own, always with mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Internal {
    /// Where it listens.
    pub bind: SocketAddr,
    /// Where the other brokers and the operator reach it.
    pub advertised: Advertised,
}

/// The HTTP listener for probes and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where it listens.
    pub bind: SocketAddr,
}

/// What proves a broker or the operator to the fleet. All are PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InternalTls {
    /// The cluster's authorities.
    pub ca: PathBuf,
    /// The certificate chain, with the identity that [`crate::tls`] describes.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The quorum as the cluster began with it, and where brokers are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quorum {
    /// The first voters. Used to bootstrap; later the quorum itself knows who votes.
    pub voters: Vec<Voter>,
    /// Whether the cluster has been made already. Then an empty directory joins as an observer and never begins a second
    /// cluster; otherwise an empty directory of a first voter is formatted with the directory id given for it.
    pub bootstrapped: bool,
    /// The control addresses of all brokers that the writer of this file knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
}

/// A voter: a broker with one data directory (KIP-853).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Voter {
    /// The broker.
    #[serde(with = "text::broker_id")]
    pub broker_id: BrokerId,
    /// Its directory.
    #[serde(with = "text")]
    pub directory_id: Uuid,
    /// Its control address, HOST:PORT.
    pub address: String,
}

/// Where a broker's control listener is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// The broker.
    #[serde(with = "text::broker_id")]
    pub broker_id: BrokerId,
    /// Its control address, HOST:PORT.
    pub address: String,
}

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authorization {
    /// Whether rules are asked at all.
    #[serde(rename = "type", default)]
    pub kind: AuthorizationKind,
    /// User names that no rule binds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub super_users: Vec<String>,
}

/// Whether rules are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorizationKind {
    /// Everyone may do everything.
    #[default]
    None,
    /// Kafka's access control lists: what no rule allows is refused.
    Acl,
}

impl Authentication {
    /// Whether it goes through SASL.
    #[must_use]
    pub fn is_sasl(self) -> bool {
        self != Self::Mtls
    }

    /// Kafka's name of the SASL mechanism.
    #[must_use]
    pub fn mechanism(self) -> Option<&'static str> {
        match self {
            Self::ScramSha256 => Some("SCRAM-SHA-256"),
            Self::ScramSha512 => Some("SCRAM-SHA-512"),
            Self::Plain => Some("PLAIN"),
            Self::OauthBearer => Some("OAUTHBEARER"),
            Self::Mtls => None,
        }
    }
}

impl Listener {
    /// Kafka's security protocol. With SASL and client certificates both, SASL wins.
    #[must_use]
    pub fn security_protocol(&self) -> SecurityProtocol {
        let sasl = self.authentication.iter().any(|a| a.is_sasl());
        match (sasl, self.tls.is_some()) {
            (false, false) => SecurityProtocol::Plaintext,
            (false, true) => SecurityProtocol::Ssl,
            (true, false) => SecurityProtocol::SaslPlaintext,
            (true, true) => SecurityProtocol::SaslSsl,
        }
    }
}

impl std::fmt::Display for Advertised {
    /// `HOST:PORT`, with brackets around an IPv6 address.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl BrokerConfig {
    /// Whether the broker has the role.
    #[must_use]
    pub fn has_role(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Where another broker's control listener is, as the file knows it: HOST:PORT.
    #[must_use]
    pub fn peer(&self, broker: BrokerId) -> Option<&str> {
        let peers = self.quorum.peers.iter().map(|p| (p.broker_id, &p.address));
        let voters = self.quorum.voters.iter().map(|v| (v.broker_id, &v.address));
        peers
            .chain(voters)
            .find_map(|(id, address)| (id == broker).then_some(address.as_str()))
    }

    /// What the file sets a broker setting to.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }
}
