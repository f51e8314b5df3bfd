//! Mutual TLS between brokers as it is configured now: renewed certificates are taken up without a restart.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use flotilla_control::config::InternalTls;
use flotilla_control::tls::{Credentials, Error};
use rustls::{ClientConfig, ServerConfig};
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// The configurations for both ends of connections between brokers. Clones see the same; what is read here holds for
/// connections that are made from then on.
#[derive(Clone, Debug)]
pub struct Tls {
    client: Arc<ArcSwap<ClientConfig>>,
    server: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads the files once.
    ///
    /// # Errors
    /// When a file cannot be read, or holds no fitting certificate or key.
    pub fn load(files: &InternalTls) -> Result<Self, Error> {
        let credentials = Credentials::read(files)?;
        Ok(Self {
            client: Arc::new(ArcSwap::from_pointee(credentials.client_config()?)),
            server: Arc::new(ArcSwap::from_pointee(credentials.server_config()?)),
        })
    }

    /// For connecting to a broker. No ALPN protocol is set.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client.load_full()
    }

    /// For being connected to. No ALPN protocol is set.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server.load_full()
    }

    /// Takes up what the files hold whenever that has changed, for as long as it is polled. Files that do not fit together,
    /// as in the middle of a renewal, leave everything as it was.
    pub async fn follow(self, files: InternalTls) {
        let mut known = Credentials::read(&files).ok();
        let mut ticks = interval(RELOAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let read_from = files.clone();
            let Ok(Ok(read)) = tokio::task::spawn_blocking(move || Credentials::read(&read_from)).await
            else {
                continue;
            };
            if known.as_ref() == Some(&read) {
                continue;
            }
            match (read.client_config(), read.server_config()) {
                (Ok(client), Ok(server)) => {
                    self.client.store(Arc::new(client));
                    self.server.store(Arc::new(server));
                    tracing::info!(certificate = %files.certificate.display(), "took up renewed certificates");
                }
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(%error, "renewed certificates cannot be used, and the old ones stay in use");
                }
            }
            known = Some(read);
        }
    }
}
