//! The public keys of those whose tokens are taken (KIP-768), read anew from time to time, and when a token comes that is signed by
//! a key that is not among them.

mod fetch;

use crate::auth::oauth::KeySet;
use fetch::Endpoint;
pub(super) use fetch::EndpointError;
use flotilla_control::settings::BrokerSettings;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The least time between two readings that tokens bring about: anybody can name a key that does not exist.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a client waits for keys that are read for its sake.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keys as they were read last.
#[derive(Clone, Debug, Default)]
struct Latest {
    keys: Arc<KeySet>,
    /// Readings so far, failed ones too.
    readings: u64,
    /// When the last one began.
    began: Option<Instant>,
}

/// The keys, for all connections.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    latest: watch::Receiver<Latest>,
    /// Asks that they be read now.
    wanted: mpsc::Sender<()>,
    pause: Duration,
}

/// When keys are read.
#[derive(Clone, Copy, Debug)]
struct Times {
    refresh: Duration,
    backoff: Duration,
    backoff_max: Duration,
    pause: Duration,
}

/// Reads the keys until it is stopped.
pub(super) struct Reader {
    endpoint: Endpoint,
    times: Times,
    latest: watch::Sender<Latest>,
    wanted: mpsc::Receiver<()>,
}

/// The keys at `sasl.oauthbearer.jwks.endpoint.url`, none yet, and what has to run to read them.
///
/// # Errors
/// [`EndpointError`].
pub(super) fn keys(settings: &BrokerSettings) -> Result<(Keys, Reader), EndpointError> {
    let endpoint = Endpoint::parse(&settings.sasl_oauthbearer_jwks_endpoint_url)?;
    let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0).max(1));
    let times = Times {
        refresh: ms(settings.sasl_oauthbearer_jwks_endpoint_refresh_ms),
        backoff: ms(settings.sasl_oauthbearer_jwks_endpoint_retry_backoff_ms),
        backoff_max: ms(settings.sasl_oauthbearer_jwks_endpoint_retry_backoff_max_ms),
        pause: PAUSE,
    };
    Ok(of(endpoint, times))
}

fn of(endpoint: Endpoint, times: Times) -> (Keys, Reader) {
    let (sender, latest) = watch::channel(Latest::default());
    let (asks, wanted) = mpsc::channel(1);
    let keys = Keys {
        latest,
        wanted: asks,
        pause: times.pause,
    };
    let reader = Reader {
        endpoint,
        times,
        latest: sender,
        wanted,
    };
    (keys, reader)
}

impl Keys {
    /// The keys as they are known now.
    pub(super) fn now(&self) -> Arc<KeySet> {
        self.latest.borrow().keys.clone()
    }

    /// The keys once they have been read anew; none where they were read a moment ago, or cannot be read in time.
    pub(super) async fn renewed(&self) -> Option<Arc<KeySet>> {
        let mut latest = self.latest.clone();
        let readings = {
            let seen = latest.borrow_and_update();
            if seen.began.is_some_and(|began| began.elapsed() < self.pause) {
                return None;
            }
            seen.readings
        };
        // Somebody else may have asked already: then both wait for the same reading.
        let _ = self.wanted.try_send(());
        let read = latest.wait_for(|latest| latest.readings > readings);
        let latest = tokio::time::timeout(PATIENCE, read).await.ok()?.ok()?;
        Some(latest.keys.clone())
    }
}

impl Reader {
    /// Reads at once, and then from time to time. Keys that were read stay while they cannot be read again.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = self.times.backoff;
        loop {
            let began = Instant::now();
            let read = tokio::select! {
                read = self.endpoint.fetch() => read,
                () = stop.cancelled() => return,
            };
            let wait = match read {
                Ok(keys) => {
                    self.publish(began, Some(keys));
                    backoff = self.times.backoff;
                    self.times.refresh
                }
                Err(error) => {
                    if backoff == self.times.backoff {
                        tracing::warn!(
                            endpoint = ?self.endpoint, %error,
                            "the keys that tokens are checked with cannot be read: sasl.oauthbearer.jwks.endpoint.url. It is tried again"
                        );
                    }
                    self.publish(began, None);
                    let wait = backoff;
                    backoff = (backoff * 2).min(self.times.backoff_max).max(self.times.backoff);
                    wait
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Some(()) = self.wanted.recv() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn publish(&self, began: Instant, keys: Option<KeySet>) {
        self.latest.send_modify(|latest| {
            latest.readings += 1;
            latest.began = Some(began);
            if let Some(keys) = keys
                && *latest.keys != keys
            {
                tracing::info!(keys = keys.count(), "new keys to check tokens with");
                latest.keys = Arc::new(keys);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Nothing here takes longer, unless it fails.
    const WITHIN: Duration = Duration::from_secs(10);
    const NEVER: Duration = Duration::from_secs(3_600);

    fn set(id: &str) -> String {
        format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "kid": "{id}", "x": "AAAA"}}]}}"#)
    }

    /// Begins to read; ends with the test's runtime.
    fn started(endpoint: Endpoint, refresh: Duration, pause: Duration) -> Keys {
        let times = Times {
            refresh,
            backoff: Duration::from_millis(5),
            backoff_max: Duration::from_millis(20),
            pause,
        };
        let (keys, reader) = of(endpoint, times);
        tokio::spawn(reader.run(CancellationToken::new()));
        keys
    }

    async fn until(keys: &Keys, holds: impl Fn(&Latest) -> bool) {
        let mut latest = keys.latest.clone();
        tokio::time::timeout(WITHIN, latest.wait_for(|latest| holds(latest)))
            .await
            .expect("it happens in time")
            .expect("keys are read");
    }

    #[tokio::test]
    async fn keys_are_read_again_from_time_to_time_and_stay_while_they_cannot_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let keys = started(
            Endpoint::File(path.clone()),
            Duration::from_millis(5),
            Duration::ZERO,
        );
        until(&keys, |latest| latest.readings > 2).await;
        assert_eq!(keys.now().count(), 0, "there is no such file");
        std::fs::write(&path, set("one")).unwrap();
        until(&keys, |latest| latest.keys.has("one")).await;
        std::fs::write(&path, "half a").unwrap();
        let broken = keys.latest.borrow().readings + 2;
        until(&keys, |latest| latest.readings > broken).await;
        assert!(keys.now().has("one"));
        std::fs::write(&path, set("two")).unwrap();
        until(&keys, |latest| latest.keys.has("two") && !latest.keys.has("one")).await;
    }

    #[tokio::test]
    async fn keys_are_read_for_a_token_but_not_for_every_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        std::fs::write(&path, set("one")).unwrap();
        let keys = started(Endpoint::File(path.clone()), NEVER, Duration::ZERO);
        until(&keys, |latest| latest.readings == 1).await;
        std::fs::write(&path, set("two")).unwrap();
        let renewed = keys.renewed().await.expect("keys that were read anew");
        assert!(renewed.has("two") && keys.now().has("two"));
        let patient = Keys {
            pause: NEVER,
            ..keys.clone()
        };
        assert_eq!(patient.renewed().await, None, "they were read a moment ago");
        assert_eq!(keys.latest.borrow().readings, 2);
    }

    /// Answers each request with the next of these.
    async fn served(answers: Vec<String>) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/certs?realm=a", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                assert!(request.starts_with(b"GET /certs?realm=a HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Endpoint::parse(&url).unwrap()
    }

    #[tokio::test]
    async fn keys_come_over_http_and_errors_say_what_is_wrong() {
        let body = set("one");
        let ok = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let until_closed = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}");
        let large = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 2 << 20) + &" ".repeat(2 << 20);
        let endpoint = served(vec![
            ok,
            until_closed,
            "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".into(),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".into(),
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into(),
            large,
            "nonsense\r\n\r\n".into(),
        ])
        .await;
        for _ in 0..2 {
            assert!(endpoint.fetch().await.unwrap().has("one"));
        }
        for why in [
            "answered with status 302",
            "it is not a JSON Web Key Set",
            "the answer cannot be read",
            "the answer cannot be read, or is larger than 1 MiB",
            "broke off",
        ] {
            let error = endpoint.fetch().await.expect_err(why).to_string();
            assert!(error.starts_with(why), "{error} instead of {why}");
        }
    }
}
