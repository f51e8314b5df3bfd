//! Which instance works: the one that holds a Lease. Whoever waits counts from when it saw the Lease change last, by its own clock, so that
//! clocks need not agree.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use tokio::time::{sleep, timeout};

use crate::apply::{self, Writer};
use crate::metrics::Metrics;

/// How long after its last renewal a lease is the holder's.
const DURATION: Duration = Duration::from_secs(12);
/// How often the holder renews it.
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// A holder that could not renew it for so long stops working: before another may begin.
const RENEW_WITHIN: Duration = Duration::from_secs(8);
/// How often the others look, and a failed renewal is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Who wants to hold a Lease.
pub struct Election {
    api: Api<Lease>,
    writer: Writer,
    metrics: Metrics,
    namespace: String,
    name: String,
    identity: String,
}

/// A Lease that is held, as it was written last.
pub struct Held {
    lease: Lease,
    /// When the request that renewed it was sent.
    renewed: Instant,
}

/// Somebody else may hold the lease by now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another instance does.
    #[error("the lease is now held by {0}")]
    To(String),
    /// The API server could not be told in time.
    #[error("the lease could not be renewed in time: {0}")]
    Unrenewed(String),
}

/// What one that waits has seen.
#[derive(Debug, Default)]
struct Seen {
    version: Option<String>,
    since: Option<Instant>,
}

impl Seen {
    /// Whether the lease may be taken: it is free, it is our own from before, or its holder has been silent for its whole duration.
    fn may_take(&mut self, lease: &Lease, identity: &str, now: Instant) -> bool {
        let spec = lease.spec.as_ref();
        let holder = spec
            .and_then(|spec| spec.holder_identity.as_deref())
            .unwrap_or_default();
        if holder.is_empty() || holder == identity {
            return true;
        }
        if self.version != lease.metadata.resource_version {
            self.version.clone_from(&lease.metadata.resource_version);
            self.since = Some(now);
        }
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(DURATION * 5);
        self.since.is_some_and(|since| now - since >= duration)
    }
}

impl Election {
    /// For the Lease of this name.
    #[must_use]
    pub fn new(
        client: Client,
        writer: Writer,
        metrics: Metrics,
        namespace: &str,
        name: &str,
        identity: &str,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            writer,
            metrics,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
        }
    }

    /// Waits until this instance holds it.
    pub async fn acquire(&self) -> Held {
        let mut seen = Seen::default();
        let mut said = String::new();
        loop {
            match self.try_acquire(&mut seen).await {
                Ok(held) => {
                    self.metrics.lease(true);
                    return held;
                }
                // Once for each reason: this is tried every second.
                Err(why) if why != said => {
                    tracing::info!(lease = %self.name, why, "waiting for the lease");
                    said = why;
                }
                Err(_) => {}
            }
            sleep(RETRY).await;
        }
    }

    async fn try_acquire(&self, seen: &mut Seen) -> Result<Held, String> {
        let found = timeout(REQUEST_TIMEOUT, self.api.get_opt(&self.name)).await;
        let found = found
            .map_err(|_| "the API server does not answer".to_owned())?
            .map_err(|error| format!("the lease cannot be read: {error}"))?;
        let now = Instant::now();
        if let Some(lease) = &found
            && !seen.may_take(lease, &self.identity, now)
        {
            let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
            return Err(format!("it is held by {}", holder.unwrap_or_default()));
        }
        let lease = self.mine(found);
        self.write(&lease)
            .await
            .map(|lease| Held { lease, renewed: now })
            .map_err(|error| error.to_string())
    }

    /// Renews it until it is lost.
    pub async fn keep(&self, held: &mut Held) -> Lost {
        let lost = loop {
            sleep(RENEW_EVERY).await;
            if let Err(lost) = self.renew(held).await {
                break lost;
            }
        };
        self.metrics.lease(false);
        lost
    }

    async fn renew(&self, held: &mut Held) -> Result<(), Lost> {
        loop {
            let now = Instant::now();
            let lease = self.mine(Some(held.lease.clone()));
            let error = match self.write(&lease).await {
                Ok(lease) => {
                    *held = Held { lease, renewed: now };
                    return Ok(());
                }
                Err(apply::Error::Conflict(_) | apply::Error::NotFound(_) | apply::Error::Exists(_)) => {
                    self.look_again(held).await?
                }
                Err(error) => error.to_string(),
            };
            // What is sent next may take a while too.
            if held.renewed.elapsed() + RETRY > RENEW_WITHIN {
                return Err(Lost::Unrenewed(error));
            }
            tracing::warn!(error, "the lease could not be renewed; it is tried again");
            sleep(RETRY).await;
        }
    }

    /// Somebody wrote it: who holds it now?
    async fn look_again(&self, held: &mut Held) -> Result<String, Lost> {
        match timeout(REQUEST_TIMEOUT, self.api.get_opt(&self.name)).await {
            Ok(Ok(Some(lease))) => {
                let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
                if holder.as_deref() != Some(self.identity.as_str()) {
                    return Err(Lost::To(
                        holder
                            .filter(|holder| !holder.is_empty())
                            .unwrap_or("nobody".into()),
                    ));
                }
                held.lease = lease;
                Ok("somebody else wrote it".to_owned())
            }
            Ok(Ok(None)) => {
                held.lease.metadata.resource_version = None;
                held.lease.metadata.uid = None;
                Ok("somebody deleted it".to_owned())
            }
            Ok(Err(error)) => Ok(error.to_string()),
            Err(_) => Ok("the API server does not answer".to_owned()),
        }
    }

    /// Gives it up, so that another takes over at once.
    pub async fn release(&self, held: Held) {
        self.metrics.lease(false);
        let mut lease = held.lease;
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(now());
        }
        match self.write(&lease).await {
            Ok(_) => tracing::info!(lease = %self.name, "released the lease"),
            Err(error) => {
                tracing::warn!(%error, "the lease could not be released; others wait until it ends")
            }
        }
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, apply::Error> {
        match timeout(REQUEST_TIMEOUT, self.writer.lease(lease)).await {
            Ok(answer) => answer,
            Err(_) => Err(apply::Error::Other(
                "the API server did not answer in time".to_owned(),
            )),
        }
    }

    /// The lease as this instance writes it, after what was there.
    fn mine(&self, found: Option<Lease>) -> Lease {
        let before = found
            .as_ref()
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let was_mine = before.holder_identity.as_deref() == Some(self.identity.as_str());
        let now = now();
        let mut metadata = found.map(|lease| lease.metadata).unwrap_or_default();
        metadata.managed_fields = None;
        Lease {
            metadata: ObjectMeta {
                namespace: Some(self.namespace.clone()),
                name: Some(self.name.clone()),
                ..metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(DURATION.as_secs() as i32),
                acquire_time: before
                    .acquire_time
                    .filter(|_| was_mine)
                    .or_else(|| Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!was_mine)),
                ..before
            }),
        }
    }
}

fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(12),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn lease_is_taken_when_its_holder_was_silent_for_its_duration_and_not_before() {
        let (mut seen, begin) = (Seen::default(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert!(!seen.may_take(&lease("other", "1"), "me", begin));
        assert!(!seen.may_take(&lease("other", "1"), "me", after(11)));
        assert!(
            !seen.may_take(&lease("other", "2"), "me", after(12)),
            "it was renewed"
        );
        assert!(!seen.may_take(&lease("other", "2"), "me", after(23)));
        assert!(seen.may_take(&lease("other", "2"), "me", after(24)));
    }

    #[test]
    fn free_lease_and_our_own_are_taken_at_once() {
        let now = Instant::now();
        assert!(Seen::default().may_take(&lease("", "1"), "me", now));
        assert!(Seen::default().may_take(&lease("me", "1"), "me", now));
        assert!(Seen::default().may_take(&Lease::default(), "me", now));
    }

    #[test]
    fn holder_stops_before_another_begins() {
        assert!(RENEW_WITHIN + RETRY + REQUEST_TIMEOUT <= DURATION);
        assert!(
            RENEW_EVERY + REQUEST_TIMEOUT <= RENEW_WITHIN,
            "one renewal may fail"
        );
        assert!(
            DURATION + RETRY + REQUEST_TIMEOUT <= Duration::from_secs(16),
            "a crash is healed soon"
        );
    }
}
