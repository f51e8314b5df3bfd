//! Mutual TLS inside a fleet: what the certificates of brokers and of the operator say, and the rustls configurations that
//! demand it. Certificates are issued by the operator or by `flotilla up`; here they are only read.
//!
//! A broker's certificate carries two names: [`server_name`] as a DNS name, which whoever connects to it checks, and the
//! URI of [`Member`], by which whoever is connected to by it knows it. The cluster's id is in both: a broker of another
//! cluster is nobody here, even where one authority issued for both.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flotilla_protocol::{BrokerId, Uuid};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::InternalTls;

/// Who a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A broker.
    Broker(BrokerId),
    /// The operator, or the command line in its place.
    Operator,
}

/// A member of a fleet, as its certificate says: the URI `flotilla://CLUSTER/broker/ID` or `flotilla://CLUSTER/operator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The fleet.
    pub cluster_id: Uuid,
    /// Who in it.
    pub identity: Identity,
}

/// Why TLS cannot be set up, or a certificate says nothing of use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{} holds no {expected} in PEM form", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// rustls does not take what the files hold.
    #[error("certificate {}: {source}", file.display())]
    Refused {
        /// The certificate's file.
        file: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The certificate is of no member of any fleet.
    #[error("the certificate names no member of a fleet")]
    NoMember,
}

/// The DNS name in a broker's certificate. DNS knows no upper case, so that the cluster's id stands in hexadecimal.
#[must_use]
pub fn server_name(cluster_id: Uuid, broker: BrokerId) -> String {
    let cluster: String = cluster_id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("broker-{broker}.{cluster}.flotilla.internal")
}

impl fmt::Display for Member {
    /// The URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.identity {
            Identity::Broker(id) => write!(f, "flotilla://{}/broker/{id}", self.cluster_id),
            Identity::Operator => write!(f, "flotilla://{}/operator", self.cluster_id),
        }
    }
}

impl std::str::FromStr for Member {
    type Err = Error;

    fn from_str(uri: &str) -> Result<Self, Error> {
        let parse = || {
            let (cluster, who) = uri.strip_prefix("flotilla://")?.split_once('/')?;
            let identity = match who.split_once('/') {
                None if who == "operator" => Identity::Operator,
                Some(("broker", id)) => Identity::Broker(BrokerId(id.parse().ok().filter(|id| *id >= 0)?)),
                _ => return None,
            };
            Some(Self {
                cluster_id: cluster.parse().ok()?,
                identity,
            })
        };
        parse().ok_or(Error::NoMember)
    }
}

/// Who a certificate is for. Only for certificates that a handshake has verified: anyone can write a URI.
///
/// # Errors
/// [`Error::NoMember`] for a certificate that cannot be parsed, has no such URI, or has more than one.
pub fn identity_of(certificate_der: &[u8]) -> Result<Member, Error> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).map_err(|_| Error::NoMember)?;
    let names = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .ok_or(Error::NoMember)?;
    let mut members = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.parse::<Member>().ok(),
        _ => None,
    });
    match (members.next(), members.next()) {
        (Some(member), None) => Ok(member),
        _ => Err(Error::NoMember),
    }
}

/// What the files of an [`InternalTls`] hold at one moment. Read them again to notice a renewal: equal credentials need no
/// new configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
    files: InternalTls,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(files: &InternalTls) -> Result<Self, Error> {
        let read = |file: &Path| {
            std::fs::read(file).map_err(|source| Error::Read {
                file: file.to_owned(),
                source,
            })
        };
        Ok(Self {
            ca: read(&files.ca)?,
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            files: files.clone(),
        })
    }

    /// Of what is held in memory, in PEM form. `origin` says in messages where it is from, such as a Secret's name.
    #[must_use]
    pub fn from_pem(origin: &str, ca: Vec<u8>, certificate: Vec<u8>, key: Vec<u8>) -> Self {
        let file = |key: &str| PathBuf::from(format!("{origin}/{key}"));
        Self {
            ca,
            certificate,
            key,
            files: InternalTls {
                ca: file("ca.crt"),
                certificate: file("tls.crt"),
                key: file("tls.key"),
            },
        }
    }

    /// For connecting to brokers: presents the certificate, and takes a broker only if its certificate is of the fleet's
    /// authority and has the [`server_name`] that is asked for. No ALPN protocol is set.
    ///
    /// # Errors
    /// [`Error`], naming the file.
    pub fn client_config(&self) -> Result<ClientConfig, Error> {
        let (chain, key) = self.chain_and_key()?;
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| self.refused(source))?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(chain, key)
            .map_err(|source| self.refused(source))
    }

    /// For being connected to: presents the certificate, and takes only peers with a certificate of the fleet's authority.
    /// [`identity_of`] says who they are. No ALPN protocol is set.
    ///
    /// # Errors
    /// [`Error`], naming the file.
    pub fn server_config(&self) -> Result<ServerConfig, Error> {
        let (chain, key) = self.chain_and_key()?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider())
            .build()
            .map_err(|_| Error::Empty {
                file: self.files.ca.clone(),
                expected: "certificate",
            })?;
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| self.refused(source))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|source| self.refused(source))
    }

    /// For tonic's own channels, to one broker.
    #[must_use]
    pub fn channel_config(&self, cluster_id: Uuid, broker: BrokerId) -> tonic::transport::ClientTlsConfig {
        tonic::transport::ClientTlsConfig::new()
            .domain_name(server_name(cluster_id, broker))
            .ca_certificate(tonic::transport::Certificate::from_pem(&self.ca))
            .identity(tonic::transport::Identity::from_pem(&self.certificate, &self.key))
    }

    /// When the certificate ends, in seconds since 1970. None where that cannot be read from it.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        expires(&self.certificate)
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca, &self.files.ca)? {
            roots.add(certificate).map_err(|source| Error::Refused {
                file: self.files.ca.clone(),
                source,
            })?;
        }
        Ok(roots)
    }

    fn chain_and_key(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| Error::Empty {
            file: self.files.key.clone(),
            expected: "private key",
        })?;
        Ok((certificates(&self.certificate, &self.files.certificate)?, key))
    }

    fn refused(&self, source: rustls::Error) -> Error {
        Error::Refused {
            file: self.files.certificate.clone(),
            source,
        }
    }
}

/// [`Credentials::client_config`] of what the files hold now.
///
/// # Errors
/// [`Error`], naming the file.
pub fn client_config(files: &InternalTls) -> Result<ClientConfig, Error> {
    Credentials::read(files)?.client_config()
}

/// [`Credentials::server_config`] of what the files hold now.
///
/// # Errors
/// [`Error`], naming the file.
pub fn server_config(files: &InternalTls) -> Result<ServerConfig, Error> {
    Credentials::read(files)?.server_config()
}

/// When the first certificate of a chain in PEM form ends, in seconds since 1970.
#[must_use]
pub fn expires(pem: &[u8]) -> Option<i64> {
    let first = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&first).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The one provider of cryptography: a second one in the same binary would make rustls panic at the first handshake.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(pem: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let empty = || Error::Empty {
        file: file.to_owned(),
        expected: "certificate",
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| empty())?;
    if certificates.is_empty() {
        return Err(empty());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConnection, ServerConnection};

    use super::*;

    const CLUSTER: Uuid = Uuid([7; 16]);

    struct Authority(Issuer<'static, KeyPair>, String);

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem();
            Self(Issuer::new(params, key), pem)
        }

        fn issue(&self, identity: Identity, trusted: &Self) -> Credentials {
            let names = match identity {
                Identity::Broker(id) => vec![server_name(CLUSTER, id)],
                Identity::Operator => vec![],
            };
            let mut params = CertificateParams::new(names).unwrap();
            let uri = Member {
                cluster_id: CLUSTER,
                identity,
            };
            params
                .subject_alt_names
                .push(SanType::URI(uri.to_string().try_into().unwrap()));
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &self.0).unwrap();
            Credentials {
                ca: trusted.1.clone().into_bytes(),
                certificate: certificate.pem().into_bytes(),
                key: key.serialize_pem().into_bytes(),
                files: InternalTls {
                    ca: "ca.crt".into(),
                    certificate: "tls.crt".into(),
                    key: "tls.key".into(),
                },
            }
        }
    }

    /// Who the server takes the client for, once both sides agree.
    fn handshake(client: ClientConfig, server: ServerConfig, name: &str) -> Result<Member, rustls::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        let mut server = ServerConnection::new(Arc::new(server))?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            let mut bytes = bytes.as_slice();
            while !bytes.is_empty() {
                server.read_tls(&mut bytes).unwrap();
                server.process_new_packets()?;
            }
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut bytes = bytes.as_slice();
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(identity_of(&server.peer_certificates().unwrap()[0]).unwrap())
    }

    #[test]
    fn a_broker_knows_another_by_its_certificate() {
        let authority = Authority::new();
        let one = authority.issue(Identity::Broker(BrokerId(1)), &authority);
        let two = authority.issue(Identity::Broker(BrokerId(2)), &authority);
        let member = handshake(
            one.client_config().unwrap(),
            two.server_config().unwrap(),
            &server_name(CLUSTER, BrokerId(2)),
        );
        assert_eq!(
            member,
            Ok(Member {
                cluster_id: CLUSTER,
                identity: Identity::Broker(BrokerId(1))
            })
        );
    }

    #[test]
    fn another_brokers_certificate_is_not_taken_for_the_one_asked_for() {
        let authority = Authority::new();
        let operator = authority.issue(Identity::Operator, &authority);
        let two = authority.issue(Identity::Broker(BrokerId(2)), &authority);
        assert!(
            handshake(
                operator.client_config().unwrap(),
                two.server_config().unwrap(),
                &server_name(CLUSTER, BrokerId(1)),
            )
            .is_err()
        );
    }

    #[test]
    fn a_peer_without_a_certificate_of_the_authority_is_refused() {
        let authority = Authority::new();
        let stranger = Authority::new().issue(Identity::Broker(BrokerId(1)), &authority);
        let server = authority.issue(Identity::Broker(BrokerId(2)), &authority);
        let name = server_name(CLUSTER, BrokerId(2));
        assert!(
            handshake(
                stranger.client_config().unwrap(),
                server.server_config().unwrap(),
                &name
            )
            .is_err()
        );
        let anonymous = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(server.roots().unwrap())
            .with_no_client_auth();
        assert!(handshake(anonymous, server.server_config().unwrap(), &name).is_err());
    }

    #[test]
    fn members_are_read_from_their_uri_and_nothing_else_is() {
        for identity in [Identity::Broker(BrokerId(12)), Identity::Operator] {
            let member = Member {
                cluster_id: CLUSTER,
                identity,
            };
            assert_eq!(member.to_string().parse::<Member>().ok(), Some(member));
        }
        for uri in [
            "",
            "flotilla://",
            "flotilla://BwcHBwcHBwcHBwcHBwcHBw/",
            "flotilla://BwcHBwcHBwcHBwcHBwcHBw/broker/",
            "flotilla://BwcHBwcHBwcHBwcHBwcHBw/broker/-1",
            "flotilla://BwcHBwcHBwcHBwcHBwcHBw/broker/1/2",
            "flotilla://BwcHBwcHBwcHBwcHBwcHBw/operator/1",
            "flotilla://nonsense/operator",
            "https://BwcHBwcHBwcHBwcHBwcHBw/operator",
        ] {
            assert!(uri.parse::<Member>().is_err(), "{uri}");
        }
        assert!(identity_of(b"garbage").is_err());
    }

    #[test]
    fn a_file_with_something_else_is_named() {
        let authority = Authority::new();
        let mut credentials = authority.issue(Identity::Operator, &authority);
        credentials.key = b"nothing".to_vec();
        assert_eq!(
            credentials.client_config().unwrap_err().to_string(),
            "tls.key holds no private key in PEM form"
        );
        credentials.ca = Vec::new();
        credentials.key = authority.issue(Identity::Operator, &authority).key;
        assert_eq!(
            credentials.server_config().unwrap_err().to_string(),
            "ca.crt holds no certificate in PEM form"
        );
        assert_eq!(format!("{credentials:?}").find("PRIVATE"), None);
    }
}
