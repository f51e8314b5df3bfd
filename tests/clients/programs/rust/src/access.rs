//! Where the brokers are, and who asks: `BOOTSTRAP [AUTHORITY USER PASSWORD]` in the arguments.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rskafka::BackoffConfig;
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Without this rskafka waits up to minutes between two tries.
const TRIES_AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// The one client that all commands use.
pub async fn connect() -> anyhow::Result<Client> {
    let access: Vec<String> = std::env::args().skip(1).collect();
    let brokers = access.first().context("no bootstrap servers")?;
    let mut builder =
        ClientBuilder::new(brokers.split(',').map(str::to_owned).collect()).backoff_config(BackoffConfig {
            max_backoff: TRIES_AGAIN_WITHIN,
            ..BackoffConfig::default()
        });
    if let [_, authority, user, password] = &access[..] {
        let credentials = Credentials::new(user.clone(), password.clone());
        builder = builder
            .tls_config(Arc::new(trusting(authority)?))
            .sasl_config(SaslConfig::ScramSha512(credentials));
    }
    Ok(builder.build().await?)
}

fn trusting(authority: &str) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    Ok(rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}
