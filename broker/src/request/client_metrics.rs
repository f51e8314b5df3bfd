//! The clients that push their metrics to this broker (KIP-714), and what they pushed: the locks and the clock around [`crate::client_metrics`].

use std::time::Instant;

use flotilla_control::proto::metadata::ResourceType;
use flotilla_protocol::records::{BatchError, Compression, expand};
use flotilla_protocol::{ErrorCode, Uuid};
use parking_lot::Mutex;

use super::Context;
use crate::client_metrics::otlp::Metrics;
use crate::client_metrics::{
    Client, Counts, Family, Instances, Origin, Push, Received, Refusal, Subscription, Taken, Wanted,
};
use crate::metadata::Image;

/// What a push may grow to when it is decompressed: a small one is not to take much memory.
const DECOMPRESSED_BYTES_MAX: usize = 8 << 20;

/// All of them.
pub struct ClientMetrics {
    instances: Mutex<Instances>,
    received: Mutex<Received>,
    /// Time is counted from here: a clock that is set back would let clients wait.
    began: Instant,
}

/// What Prometheus reads of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Of the clients and their requests.
    pub counts: Counts,
    /// Series that are shown.
    pub series: usize,
    /// Values that were not kept.
    pub dropped: u64,
}

impl Default for ClientMetrics {
    fn default() -> Self {
        Self {
            instances: Mutex::default(),
            received: Mutex::default(),
            began: Instant::now(),
        }
    }
}

impl ClientMetrics {
    /// Takes over the subscriptions of an image.
    pub fn follow(&self, image: &Image) {
        let subscriptions = image
            .configs(ResourceType::ClientMetrics)
            .filter_map(|(_, set)| Subscription::new(set))
            .collect();
        self.instances.lock().subscribe(subscriptions);
    }

    /// A connection has ended.
    pub(crate) fn disconnected(&self, connection: u64) {
        self.instances.lock().disconnected(connection);
    }

    /// What was counted, and how much there is.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let now_ms = self.now_ms();
        let counts = self.instances.lock().counts(now_ms);
        let mut received = self.received.lock();
        Numbers {
            counts,
            series: received.series(now_ms),
            dropped: received.dropped(),
        }
    }

    /// Does something with all that clients pushed.
    pub fn with_families<T>(&self, show: impl FnOnce(&[Family<'_>]) -> T) -> T {
        show(&self.received.lock().families(self.now_ms()))
    }

    /// An id that no client has. Kafka's tools take none that begins with a dash.
    pub(super) fn fresh_id(&self) -> Uuid {
        let instances = self.instances.lock();
        loop {
            let id = Uuid(*uuid::Uuid::new_v4().as_bytes());
            if !instances.is_known(id) && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    /// What a client is to push.
    pub(super) fn get(&self, ctx: &Context, id: Uuid) -> Result<Wanted, Refusal> {
        let connection = ctx.session.connection_id;
        self.instances
            .lock()
            .get(client(ctx, id), connection, self.now_ms())
    }

    /// Takes a push.
    pub(super) fn push(&self, ctx: &Context, push: Push, metrics: &[u8]) -> Result<(), Refusal> {
        let bytes_max = usize::try_from(ctx.broker.settings().telemetry_max_bytes).unwrap_or(0);
        let (client, connection) = (client(ctx, push.instance_id), ctx.session.connection_id);
        let taken = self
            .instances
            .lock()
            .push(client, push, bytes_max, connection, self.now_ms())?;
        if metrics.is_empty() && !push.terminating {
            return Ok(());
        }
        self.receive(push, &taken, metrics).inspect_err(|refusal| {
            tracing::debug!(client = %push.instance_id, ?refusal, "metrics that a client pushed were not taken");
            self.instances.lock().failed(push.instance_id, *refusal);
        })
    }

    fn receive(&self, push: Push, taken: &Taken, metrics: &[u8]) -> Result<(), Refusal> {
        let codec = u8::try_from(push.codec)
            .ok()
            .and_then(|code| Compression::from_code(code).ok())
            .ok_or(Refusal::UnknownCodec)?;
        let expanded = match metrics.is_empty() {
            // Nothing is nothing, whatever it is said to be compressed with.
            true => Ok(metrics.into()),
            false => expand(codec, metrics, DECOMPRESSED_BYTES_MAX),
        };
        let expanded = expanded.map_err(|error| match error {
            BatchError::DecompressedTooLarge(_) => Refusal::TooLarge,
            _ => Refusal::Malformed,
        })?;
        let metrics = Metrics::read(&expanded).map_err(|_| Refusal::Malformed)?;
        let origin = Origin {
            instance_id: push.instance_id,
            taken,
            terminating: push.terminating,
        };
        self.received.lock().take(origin, metrics, self.now_ms());
        Ok(())
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// The client of a request.
fn client(ctx: &Context, instance_id: Uuid) -> Client {
    let session = &ctx.session;
    let software = session.software.lock().clone();
    Client {
        instance_id,
        client_id: ctx.client_id.clone(),
        software_name: software.name,
        software_version: software.version,
        source_address: session.client_address.clone(),
        source_port: session.client_port,
    }
}

/// Kafka's code for a refusal.
pub(super) fn code(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::InvalidId | Refusal::Terminated => ErrorCode::InvalidRequest,
        Refusal::TooSoon => ErrorCode::ThrottlingQuotaExceeded,
        Refusal::UnknownSubscription => ErrorCode::UnknownSubscriptionId,
        Refusal::UnknownCodec => ErrorCode::UnsupportedCompressionType,
        Refusal::TooLarge => ErrorCode::TelemetryTooLarge,
        Refusal::Malformed => ErrorCode::InvalidRecord,
    }
}
