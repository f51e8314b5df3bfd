//! Issues what proves brokers and the operator to each other, and brokers to clients. Keys are drawn here; time is an argument.

use std::net::IpAddr;
use std::time::Duration;

use flotilla_control::{BrokerId, Uuid, tls};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType,
};

use crate::cluster::certificate::{Held, Subject};

/// Allowed for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(3_600);

/// A certificate and its private key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate; public.
    pub certificate: String,
    /// The private key; secret.
    pub key: String,
}

/// The key stays out of logs.
impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library refused a key, a name or an authority.
    #[error("cannot issue a certificate: {0}")]
    Refused(#[from] rcgen::Error),
}

/// How long a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// When it begins: seconds since 1970.
    pub from_unix_s: u64,
    /// How long it lasts.
    pub lasts: Duration,
}

impl Validity {
    /// `days` from a moment on.
    #[must_use]
    pub fn days(from_unix_s: u64, days: u32) -> Self {
        Self {
            from_unix_s,
            lasts: Duration::from_secs(u64::from(days) * 86_400),
        }
    }

    fn limit(self, params: &mut CertificateParams) {
        let from = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(self.from_unix_s);
        params.not_before = from - BACKDATED;
        params.not_after = from + self.lasts;
    }
}

/// A certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority(Issued);

impl Authority {
    /// Makes a new one.
    ///
    /// # Errors
    /// The library refuses the name.
    pub fn generate(name: &str, validity: Validity) -> Result<Self, Error> {
        Self::sign(name, &KeyPair::generate()?, validity)
    }

    /// Takes one that was made before.
    ///
    /// # Errors
    /// It is no authority, or the key is none.
    pub fn load(pem: Issued) -> Result<Self, Error> {
        let authority = Self(pem);
        authority.issuer()?;
        Ok(authority)
    }

    /// Its certificate and key as PEM.
    #[must_use]
    pub fn pem(&self) -> &Issued {
        &self.0
    }

    fn sign(name: &str, key: &KeyPair, validity: Validity) -> Result<Self, Error> {
        let mut params = named(name)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity.limit(&mut params);
        let certificate = params.self_signed(key)?.pem();
        Ok(Self(Issued {
            certificate,
            key: key.serialize_pem(),
        }))
    }

    /// The same authority, of [`Authority::generate`], with a new certificate. Its key and its name stay, so that what it issued stays
    /// good, and so that whoever trusts the old certificate trusts what is issued under the new one.
    ///
    /// # Errors
    /// The library refuses the key.
    pub fn renew(&self, name: &str, validity: Validity) -> Result<Self, Error> {
        Self::sign(name, &KeyPair::from_pem(&self.0.key)?, validity)
    }

    /// A digest of its public key, in hexadecimal: whether two certificates come from the same authority.
    ///
    /// # Errors
    /// The key is none.
    pub fn key_digest(&self) -> Result<String, Error> {
        let key = KeyPair::from_pem(&self.0.key)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &key.subject_public_key_info());
        Ok(digest.as_ref()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }

    /// When it ends, and with it whatever it issued: seconds since 1970.
    #[must_use]
    pub fn until_unix_s(&self) -> u64 {
        // It was loaded or made as a certificate. One that cannot be read all the same limits nothing.
        Held::read(&self.0.certificate).map_or(u64::MAX, |own| own.until_unix_s)
    }

    /// What proves whomever it is for.
    ///
    /// # Errors
    /// The library refuses a name.
    pub fn issue_for(
        &self,
        cluster_id: Uuid,
        subject: &Subject,
        validity: Validity,
    ) -> Result<Issued, Error> {
        match subject {
            Subject::Broker(id) => self.issue_broker(cluster_id, *id, validity),
            Subject::Operator => self.issue_operator(cluster_id, validity),
            Subject::Listener(hosts) => {
                let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
                self.issue_listener(&hosts, validity)
            }
            Subject::User(name) => self.issue_user(name, validity),
        }
    }

    fn issuer(&self) -> Result<Issuer<'_, KeyPair>, Error> {
        Ok(Issuer::from_ca_cert_pem(
            &self.0.certificate,
            KeyPair::from_pem(&self.0.key)?,
        )?)
    }

    /// What proves a broker to the others, with the names of [`tls`].
    ///
    /// # Errors
    /// The library refuses a name.
    pub fn issue_broker(
        &self,
        cluster_id: Uuid,
        broker: BrokerId,
        validity: Validity,
    ) -> Result<Issued, Error> {
        let mut params = named(&format!("broker {broker}"))?;
        params.subject_alt_names = vec![
            SanType::DnsName(tls::server_name(cluster_id, broker).as_str().try_into()?),
            member_uri(cluster_id, tls::Identity::Broker(broker))?,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.issue(params, validity)
    }

    /// What proves the operator, or the command line, to brokers.
    ///
    /// # Errors
    /// The library refuses a name.
    pub fn issue_operator(&self, cluster_id: Uuid, validity: Validity) -> Result<Issued, Error> {
        let mut params = named("operator")?;
        params.subject_alt_names = vec![member_uri(cluster_id, tls::Identity::Operator)?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, validity)
    }

    /// What proves a broker to clients: the host names and addresses that they connect to.
    ///
    /// # Errors
    /// The library refuses a name.
    pub fn issue_listener(&self, hosts: &[&str], validity: Validity) -> Result<Issued, Error> {
        let mut params = named(hosts.first().copied().unwrap_or("broker"))?;
        params.subject_alt_names = hosts
            .iter()
            .map(|host| host_name(host))
            .collect::<Result<_, Error>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, validity)
    }

    /// What proves a user to brokers: its name is the common name.
    ///
    /// # Errors
    /// The library refuses the name.
    pub fn issue_user(&self, user: &str, validity: Validity) -> Result<Issued, Error> {
        let mut params = named(user)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, validity)
    }

    /// Nothing outlives its authority: it would be refused from then on, and nobody would renew it in time.
    fn within(&self, validity: Validity) -> Validity {
        let left = self.until_unix_s().saturating_sub(validity.from_unix_s);
        Validity {
            lasts: validity.lasts.min(Duration::from_secs(left)),
            ..validity
        }
    }

    fn issue(&self, mut params: CertificateParams, validity: Validity) -> Result<Issued, Error> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        self.within(validity).limit(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer()?)?.pem();
        Ok(Issued {
            certificate,
            key: key.serialize_pem(),
        })
    }
}

fn named(name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn host_name(host: &str) -> Result<SanType, Error> {
    Ok(match host.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(host.try_into()?),
    })
}

fn member_uri(cluster_id: Uuid, identity: tls::Identity) -> Result<SanType, Error> {
    Ok(SanType::URI(
        tls::Member { cluster_id, identity }
            .to_string()
            .as_str()
            .try_into()?,
    ))
}

#[cfg(test)]
mod tests {
    use flotilla_control::config::InternalTls;

    use super::*;

    const CLUSTER: Uuid = Uuid([3; 16]);

    fn validity() -> Validity {
        Validity::days(1_700_000_000, 3_650)
    }

    #[test]
    fn certificates_say_who_they_are_for_and_rustls_takes_them() {
        let authority = Authority::generate("test", validity()).unwrap();
        let authority = Authority::load(authority.pem().clone()).unwrap();
        for (issued, identity) in [
            (
                authority.issue_broker(CLUSTER, BrokerId(4), validity()).unwrap(),
                tls::Identity::Broker(BrokerId(4)),
            ),
            (
                authority.issue_operator(CLUSTER, validity()).unwrap(),
                tls::Identity::Operator,
            ),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let file = |name: &str, text: &str| {
                let path = directory.path().join(name);
                std::fs::write(&path, text).unwrap();
                path
            };
            let files = InternalTls {
                ca: file("ca.pem", &authority.pem().certificate),
                certificate: file("certificate.pem", &issued.certificate),
                key: file("key.pem", &issued.key),
            };
            tls::client_config(&files).unwrap();
            tls::server_config(&files).unwrap();
            let (_, pem) = x509_parser::pem::parse_x509_pem(issued.certificate.as_bytes()).unwrap();
            assert_eq!(
                tls::identity_of(&pem.contents).unwrap(),
                tls::Member {
                    cluster_id: CLUSTER,
                    identity
                }
            );
        }
    }

    #[test]
    fn renewed_authority_vouches_for_what_it_issued_before() {
        use x509_parser::prelude::{FromDer as _, X509Certificate};
        let old = Authority::generate("test", validity()).unwrap();
        let later = Validity::days(1_800_000_000, 3_650);
        let new = old.renew("test", later).unwrap();
        assert_eq!(new.key_digest().unwrap(), old.key_digest().unwrap());
        let other = Authority::generate("test", validity()).unwrap();
        assert_ne!(other.key_digest().unwrap(), old.key_digest().unwrap());
        let until = |authority: &Authority| Held::read(&authority.pem().certificate).unwrap().until_unix_s;
        assert_eq!(until(&new) - until(&old), 100_000_000);
        let parsed = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1;
        let (old, new) = (parsed(&old.pem().certificate), parsed(&new.pem().certificate));
        let (_, old) = X509Certificate::from_der(&old.contents).unwrap();
        let (_, new) = X509Certificate::from_der(&new.contents).unwrap();
        assert_eq!(
            (old.subject(), old.public_key()),
            (new.subject(), new.public_key())
        );
        assert!(new.is_ca());
    }

    #[test]
    fn nothing_outlives_its_authority() {
        let authority = Authority::generate("test", Validity::days(1_700_000_000, 10)).unwrap();
        let issued = authority
            .issue_for(
                CLUSTER,
                &Subject::User("checkout".into()),
                Validity::days(1_700_000_000, 365),
            )
            .unwrap();
        let held = Held::read(&issued.certificate).unwrap();
        assert_eq!(held.until_unix_s, 1_700_000_000 + 10 * 86_400);
        assert_eq!(held.names, Subject::User("checkout".into()).names(CLUSTER));
    }

    #[test]
    fn key_stays_out_of_debug_output() {
        let authority = Authority::generate("test", validity()).unwrap();
        assert!(!format!("{authority:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn certificate_without_its_key_is_no_authority() {
        let pem = Issued {
            certificate: "nothing".into(),
            key: "nothing".into(),
        };
        assert!(Authority::load(pem).is_err());
    }
}
