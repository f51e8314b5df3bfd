//! A broker with listeners of every kind, whose metadata lives in memory.

use super::oauth;
use crate::auth::scram::{Credential, Mechanism};
use crate::auth::{Authorizer, Operation, PatternType, PermissionType, ResourceType};
use crate::broker::{self, Broker};
use crate::coordination::testing::Authority;
use crate::metadata::{Fact, Image, ScramMechanism};
use crate::net::{Net, Patience, Sockets};
use crate::replica::PartitionKey;
use crate::request::testing;
use flotilla_control::config::{Authentication, Listener, ListenerTls};
use flotilla_control::proto::metadata as proto;
use flotilla_control::tls::Identity;
use flotilla_protocol::{PartitionIndex, Uuid};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PASSWORD: &str = "correct horse";
/// Nothing here takes longer, unless it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What a test runs against, until it is dropped.
pub(super) struct Bench {
    pub(super) broker: Arc<Broker>,
    pub(super) authority: Authority,
    pub(super) net: Net,
    clients_ca: Issuer<'static, KeyPair>,
    roots: RootCertStore,
    _dir: tempfile::TempDir,
}

/// Silence that a test can wait for.
pub(super) const IMPATIENT: Patience = Patience {
    handshake: Duration::from_millis(200),
    authentication: Duration::from_millis(200),
    frame: Duration::from_millis(200),
    answer: Duration::from_millis(200),
};

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(crate::net::PATIENCE)
    }

    pub(super) fn with(patience: Patience) -> Self {
        Self::with_settings(patience, &[])
    }

    /// With those settings in the broker's configuration file.
    pub(super) fn with_settings(patience: Patience, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path());
        let mut config = broker::testing::config();
        config
            .settings
            .insert("delegation.token.secret.key".into(), "hush".into());
        config.settings.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        config.internal_tls = authority.issue(config.cluster_id, Identity::Broker(config.broker_id));

        let (issuer, ca_pem, ca_der) = certificate_authority();
        let key = KeyPair::generate().unwrap();
        let served = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let file = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let tls = ListenerTls {
            certificate: file("listener.pem", served.pem()),
            key: file("listener.key", key.serialize_pem()),
            client_ca: Some(file("clients.pem", ca_pem)),
        };
        let keys = file(oauth::KEYS_FILE, oauth::keys(&[1]));
        config.settings.extend([
            (
                "sasl.oauthbearer.jwks.endpoint.url".to_owned(),
                format!("file://{}", keys.display()),
            ),
            (
                "sasl.oauthbearer.expected.audience".to_owned(),
                "kafka".to_owned(),
            ),
        ]);
        let listener = |name: &str, tls: Option<&ListenerTls>, authentication: &[Authentication]| Listener {
            name: name.to_owned(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertised: None,
            tls: tls.cloned(),
            authentication: authentication.to_vec(),
        };
        use Authentication::{Mtls, OauthBearer, Plain, ScramSha256, ScramSha512};
        config.listeners = vec![
            listener("open", None, &[]),
            listener("scram", None, &[ScramSha256, ScramSha512]),
            listener("tls", Some(&tls), &[ScramSha512, Plain, Mtls]),
            listener("mtls", Some(&tls), &[Mtls]),
            listener("oauth", Some(&tls), &[OauthBearer]),
        ];
        let sockets = Sockets::open(&config).unwrap();
        let broker = Broker::in_memory_configured(config, image(), Authorizer::acl(["admin"], false));
        let net = Net::start_with(&broker, sockets, patience).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca_der).unwrap();
        Self {
            broker,
            authority,
            net,
            clients_ca: issuer,
            roots,
            _dir: dir,
        }
    }

    /// Waits until so many fetches wait for `orders`.
    pub(super) async fn until_polled(&self, count: usize) {
        let key = PartitionKey {
            topic_id: Uuid([1; 16]),
            partition: PartitionIndex(0),
        };
        let polled = async {
            while self.broker.replicas.watching(key) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, polled)
            .await
            .expect("fetches that wait");
    }

    pub(super) fn address(&self, listener: &str) -> SocketAddr {
        self.net.address(listener).unwrap()
    }

    /// The TLS of a client without a certificate that speaks this version alone.
    pub(super) fn tls_of(&self, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth()
    }

    /// A client's TLS, with a certificate for that user if one is named.
    pub(super) fn tls(&self, user: Option<&str>) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let Some(user) = user else {
            return builder.with_no_client_auth();
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, user);
        let certificate = params.signed_by(&key, &self.clients_ca).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

/// Has the metadata changed.
pub(super) async fn submit(bench: &Bench, request: proto::request::Request) {
    let request = proto::Request {
        validate_only: false,
        request: Some(request),
    };
    let response = bench.broker.controller.submit(request).await.unwrap();
    assert_eq!(response.message, "");
}

fn certificate_authority() -> (Issuer<'static, KeyPair>, String, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let (pem, der) = (certificate.pem(), certificate.der().clone());
    (Issuer::new(params, key), pem, der)
}

/// A topic `orders` that alice and carol may read; alice has a password for both mechanisms, carol a certificate, and dave is
/// to be recognised by a password that nobody has set.
fn image() -> Image {
    let topic_id = vec![1; 16];
    let mut facts = vec![
        Fact::Broker(testing::broker_record(0, false)),
        Fact::Topic(proto::Topic {
            name: "orders".into(),
            topic_id: topic_id.clone(),
            owner: None,
        }),
        Fact::Partition(proto::Partition {
            topic_id,
            replicas: vec![0],
            isr: vec![0],
            ..proto::Partition::default()
        }),
    ];
    for (id, principal) in [(1, "User:alice"), (2, "User:carol")] {
        facts.push(Fact::Acl(proto::Acl {
            id: vec![id; 16],
            resource_type: ResourceType::Topic.code().into(),
            resource_name: "orders".into(),
            pattern_type: PatternType::Literal.code().into(),
            principal: principal.into(),
            host: "127.0.0.1".into(),
            operation: Operation::Read.code().into(),
            permission_type: PermissionType::Allow.code().into(),
        }));
    }
    for (mechanism, number) in [
        (Mechanism::Sha256, ScramMechanism::ScramSha256),
        (Mechanism::Sha512, ScramMechanism::ScramSha512),
    ] {
        let credential = Credential::of_password(mechanism, PASSWORD, b"salt of alice", 4096);
        facts.push(Fact::ScramCredential(proto::ScramCredential {
            user: "alice".into(),
            mechanism: number.into(),
            salt: credential.salt,
            stored_key: credential.stored_key,
            server_key: credential.server_key,
            iterations: 4096,
        }));
    }
    for (name, authentication) in [("carol", "mtls"), ("dave", "scram-sha-512")] {
        let user = proto::User {
            name: name.into(),
            authentication: authentication.into(),
            ..proto::User::default()
        };
        facts.push(Fact::User(user));
    }
    testing::image(facts)
}
