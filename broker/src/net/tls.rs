//! TLS of the listeners: configurations from files, exchanged when the files change, and who a client's certificate names.

use arc_swap::ArcSwap;
use flotilla_control::config::{InternalTls, ListenerTls};
use flotilla_control::tls::Credentials;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a listener has no TLS. Each says which file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {expected} in PEM form", file.display())]
    Empty {
        /// Which.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// Certificate and key do not fit each other, or are of a kind that is not supported.
    #[error("certificate {}: {source}", file.display())]
    Refused {
        /// The certificate.
        file: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The fleet's own certificates.
    #[error(transparent)]
    Internal(#[from] flotilla_control::tls::Error),
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCertificate {
    /// None is asked for.
    Never,
    /// One is asked for and checked; a client without one authenticates otherwise.
    Optional,
    /// No connection without one.
    Required,
}

/// Where a configuration comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Of a listener for clients.
    Clients(ListenerTls, ClientCertificate),
    /// Between brokers.
    Brokers(InternalTls),
}

/// What the files hold, and the versions of TLS that are spoken: a configuration is made anew only when that changes.
#[derive(PartialEq, Eq)]
enum Contents {
    Clients {
        certificate: Vec<u8>,
        key: Vec<u8>,
        client_ca: Option<Vec<u8>>,
        enabled: Vec<String>,
    },
    Brokers(Credentials),
}

/// A TLS configuration that follows its files.
pub(super) struct Reloading {
    source: Source,
    contents: Mutex<Contents>,
    current: ArcSwap<ServerConfig>,
}

impl Reloading {
    /// `enabled`: the versions of TLS that clients may speak, as in `ssl.enabled.protocols`; brokers speak 1.3 among themselves.
    pub(super) fn load(source: Source, enabled: &[String]) -> Result<Self, Error> {
        let contents = source.read(enabled)?;
        let current = ArcSwap::from_pointee(source.config(&contents)?);
        Ok(Self {
            source,
            contents: Mutex::new(contents),
            current,
        })
    }

    /// For the next handshake.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// When the certificate in use ends, in seconds since 1970. None where that cannot be read from it.
    pub(super) fn expires(&self) -> Option<i64> {
        match &*self.contents.lock() {
            Contents::Clients { certificate, .. } => flotilla_control::tls::expires(certificate),
            Contents::Brokers(credentials) => credentials.expires(),
        }
    }

    /// Reads the files again. Whether they, or the versions of TLS, had changed; on an error the old configuration stays.
    pub(super) fn reload(&self, enabled: &[String]) -> Result<bool, Error> {
        let now = self.source.read(enabled)?;
        let mut contents = self.contents.lock();
        if *contents == now {
            return Ok(false);
        }
        self.current.store(Arc::new(self.source.config(&now)?));
        *contents = now;
        Ok(true)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|source| Error::Read {
        file: file.to_owned(),
        source,
    })
}

fn certificates(pem: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let empty = || Error::Empty {
        file: file.to_owned(),
        expected: "certificate",
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| empty())?;
    if chain.is_empty() { Err(empty()) } else { Ok(chain) }
}

/// The versions of TLS by their names in Java.
fn versions(enabled: &[String]) -> Vec<&'static SupportedProtocolVersion> {
    let all = [("TLSv1.3", &TLS13), ("TLSv1.2", &TLS12)];
    all.into_iter()
        .filter(|(name, _)| enabled.is_empty() || enabled.iter().any(|enabled| enabled == name))
        .map(|(_, version)| version)
        .collect()
}

impl Source {
    fn read(&self, enabled: &[String]) -> Result<Contents, Error> {
        Ok(match self {
            Self::Clients(files, _) => Contents::Clients {
                certificate: read(&files.certificate)?,
                key: read(&files.key)?,
                client_ca: files.client_ca.as_deref().map(read).transpose()?,
                enabled: enabled.to_vec(),
            },
            Self::Brokers(files) => Contents::Brokers(Credentials::read(files)?),
        })
    }

    fn config(&self, contents: &Contents) -> Result<ServerConfig, Error> {
        let mut config = match (self, contents) {
            (
                Self::Clients(files, wanted),
                Contents::Clients {
                    certificate,
                    key,
                    client_ca,
                    enabled,
                },
            ) => {
                let refused = |source| Error::Refused {
                    file: files.certificate.clone(),
                    source,
                };
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::Empty {
                    file: files.key.clone(),
                    expected: "private key",
                })?;
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let builder = ServerConfig::builder_with_provider(provider.clone())
                    .with_protocol_versions(&versions(enabled))
                    .map_err(refused)?;
                let authority = files.client_ca.as_deref().zip(client_ca.as_deref());
                let builder = match (authority, wanted) {
                    (None, _) | (_, ClientCertificate::Never) => builder.with_no_client_auth(),
                    (Some((file, pem)), _) => {
                        let mut roots = RootCertStore::empty();
                        for authority in certificates(pem, file)? {
                            let refused = |source| Error::Refused {
                                file: file.to_owned(),
                                source,
                            };
                            roots.add(authority).map_err(refused)?;
                        }
                        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                        let verifier = match wanted {
                            ClientCertificate::Optional => verifier.allow_unauthenticated(),
                            _ => verifier,
                        };
                        let empty = |_| Error::Empty {
                            file: file.to_owned(),
                            expected: "certificate",
                        };
                        builder.with_client_cert_verifier(verifier.build().map_err(empty)?)
                    }
                };
                builder
                    .with_single_cert(certificates(certificate, &files.certificate)?, key)
                    .map_err(refused)?
            }
            (Self::Brokers(_), Contents::Brokers(credentials)) => credentials.server_config()?,
            _ => unreachable!("contents are read by the same source"),
        };
        // Kafka's clients keep their connections for long and resume no sessions: tickets would only cost.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// The user that a client's certificate names: the one common name of its subject. None where it has none, or several.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    (names.next().is_none() && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn issue(names: &[&str], common_name: &str) -> (String, String, CertificateDer<'static>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name.remove(DnType::CommonName);
        if !common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem(), certificate.der().clone())
    }

    #[test]
    fn user_is_the_common_name() {
        let (.., certificate) = issue(&["localhost"], "checkout");
        assert_eq!(common_name(&certificate), Some("checkout".to_owned()));
        let (.., nameless) = issue(&["localhost"], "");
        assert_eq!(common_name(&nameless), None);
        assert_eq!(common_name(&CertificateDer::from(vec![1, 2, 3])), None);
    }

    #[test]
    fn changed_files_are_taken_and_broken_ones_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("writable");
        let (certificate, key, _) = issue(&["localhost"], "a");
        write("crt", &certificate);
        write("key", &key);
        let files = ListenerTls {
            certificate: path("crt"),
            key: path("key"),
            client_ca: None,
        };
        let source = Source::Clients(files, ClientCertificate::Never);
        let reloading = Reloading::load(source, &[]).expect("good files");
        let first = reloading.current();
        assert!(!reloading.reload(&[]).expect("unchanged"));
        let (other, other_key, _) = issue(&["localhost"], "b");
        write("crt", &other);
        let error = reloading.reload(&[]).expect_err("a certificate of another key");
        assert!(error.to_string().starts_with("certificate "), "{error}");
        assert!(Arc::ptr_eq(&first, &reloading.current()), "the old one stays");
        write("key", &other_key);
        assert!(reloading.reload(&[]).expect("good again"));
        let second = reloading.current();
        assert!(!Arc::ptr_eq(&first, &second));
        let only = ["TLSv1.3".to_owned()];
        assert!(reloading.reload(&only).expect("another set of versions"));
        assert!(!Arc::ptr_eq(&second, &reloading.current()));
        assert!(!reloading.reload(&only).expect("the same set"));
    }

    /// A Secret's volume: the files are links into `..data`, a link that is put in place whole.
    #[test]
    fn replaced_volume_of_a_secret_is_taken_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let volume = dir.path();
        let version = |number: u32, name: &str, authorities: &[&str]| {
            let (certificate, key, _) = issue(&["localhost"], name);
            let version = volume.join(format!("..{number}"));
            std::fs::create_dir(&version).expect("writable");
            let write = |file: &str, text: &str| std::fs::write(version.join(file), text).expect("writable");
            write("tls.crt", &certificate);
            write("tls.key", &key);
            write("ca.crt", &authorities.concat());
            let link = volume.join("..data_tmp");
            std::os::unix::fs::symlink(format!("..{number}"), &link).expect("writable");
            std::fs::rename(link, volume.join("..data")).expect("writable");
        };
        let (old_authority, ..) = issue(&[], "old");
        let (new_authority, ..) = issue(&[], "new");
        version(1, "a", &[&old_authority]);
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            std::os::unix::fs::symlink(format!("..data/{file}"), volume.join(file)).expect("writable");
        }
        let files = ListenerTls {
            certificate: volume.join("tls.crt"),
            key: volume.join("tls.key"),
            client_ca: Some(volume.join("ca.crt")),
        };
        let reloading =
            Reloading::load(Source::Clients(files, ClientCertificate::Required), &[]).expect("good files");
        let first = reloading.current();
        // Both authorities are trusted while a renewal is under way.
        version(2, "b", &[&old_authority, &new_authority]);
        assert!(reloading.reload(&[]).expect("a bundle of two"));
        assert!(!Arc::ptr_eq(&first, &reloading.current()));
        version(3, "c", &["no certificate"]);
        let second = reloading.current();
        reloading.reload(&[]).expect_err("a broken bundle");
        assert!(Arc::ptr_eq(&second, &reloading.current()), "the old one stays");
        assert!(reloading.expires().is_some());
    }

    #[test]
    fn missing_and_empty_files_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let (certificate, key, _) = issue(&["localhost"], "a");
        let files = ListenerTls {
            certificate: dir.path().join("crt"),
            key: dir.path().join("key"),
            client_ca: Some(dir.path().join("ca")),
        };
        let load =
            || Reloading::load(Source::Clients(files.clone(), ClientCertificate::Required), &[]).map(|_| ());
        let says = |text: &str| {
            let error = load().expect_err("something is missing").to_string();
            assert!(error.contains(text), "{error}");
        };
        says("crt: No such file");
        std::fs::write(&files.certificate, certificate).expect("writable");
        std::fs::write(&files.key, "").expect("writable");
        std::fs::write(dir.path().join("ca"), "").expect("writable");
        says("key holds no private key in PEM form");
        std::fs::write(&files.key, key).expect("writable");
        says("ca holds no certificate in PEM form");
    }
}
