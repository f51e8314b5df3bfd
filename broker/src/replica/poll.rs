//! Fetches that wait until there is enough: woken by the partitions that they wait for, never polling.

use super::error::{ReadError, Unavailable};
use super::hosted::Hosted;
use super::read::{Part, Query, Reader};
use super::{PartitionKey, Replicas};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A fetch over any number of partitions.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Who fetches.
    pub reader: Reader,
    /// How long to wait for `bytes_min`.
    pub wait_max: Duration,
    /// With how many bytes it is answered early.
    pub bytes_min: usize,
    /// At most so many bytes over all partitions, the first batch aside.
    pub bytes_max: usize,
    /// From where.
    pub partitions: Vec<(PartitionKey, Query)>,
}

/// Numbers the fetches that wait.
#[derive(Debug, Default)]
pub(super) struct Polls(AtomicU64);

struct Registration<'a> {
    id: u64,
    hosted: &'a [Option<Arc<Hosted>>],
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        for hosted in self.hosted.iter().flatten() {
            if let Some(mut state) = hosted.here() {
                state.watchers.forget(self.id);
            }
        }
    }
}

impl Replicas {
    /// Fetches, and waits where there is too little. The answers are in the order of the partitions. An error or a log
    /// that parts is answered at once.
    pub async fn fetch(&self, fetch: &Fetch) -> Vec<Result<Part, ReadError>> {
        let hosted: Vec<_> = fetch
            .partitions
            .iter()
            .map(|(key, _)| self.hosted(*key))
            .collect();
        let deadline = Instant::now() + fetch.wait_max;
        let (parts, enough) = self.gather(fetch, &hosted, true).await;
        if enough || fetch.wait_max.is_zero() {
            return self.sent(fetch, parts);
        }
        drop(parts);
        let notify = Arc::new(Notify::new());
        let registration = Registration {
            id: self.polls.0.fetch_add(1, Ordering::Relaxed),
            hosted: &hosted,
        };
        loop {
            // Registered before looking, so that what happens in between wakes.
            for hosted in hosted.iter().flatten() {
                let is_replica = fetch.reader.is_replica();
                if let Some(mut state) = hosted.here() {
                    state.watchers.watch(registration.id, is_replica, &notify);
                }
            }
            let (parts, enough) = self.gather(fetch, &hosted, false).await;
            if enough || timeout_at(deadline, notify.notified()).await.is_err() {
                return self.sent(fetch, parts);
            }
        }
    }

    /// Reads once over all partitions. Whether that is enough to answer.
    async fn gather(
        &self,
        fetch: &Fetch,
        hosted: &[Option<Arc<Hosted>>],
        counts: bool,
    ) -> (Vec<Result<Part, ReadError>>, bool) {
        let mut parts = Vec::with_capacity(hosted.len());
        let (mut bytes, mut enough) = (0, fetch.partitions.is_empty());
        for ((_, query), hosted) in fetch.partitions.iter().zip(hosted) {
            let left = fetch.bytes_max.saturating_sub(bytes);
            let part = match hosted {
                Some(hosted) => hosted.fetch(query, fetch.reader, left, bytes == 0, counts).await,
                None => Err(Unavailable::NotHosted.into()),
            };
            match &part {
                Ok(part) => {
                    bytes += part.size_bytes;
                    let tells_more = fetch.reader.is_replica() && part.high_watermark > query.high_watermark;
                    enough |= part.diverging.is_some() || tells_more;
                }
                Err(_) => enough = true,
            }
            parts.push(part);
        }
        (parts, enough || bytes >= fetch.bytes_min)
    }

    fn sent(&self, fetch: &Fetch, parts: Vec<Result<Part, ReadError>>) -> Vec<Result<Part, ReadError>> {
        let bytes: usize = parts.iter().flatten().map(|part| part.size_bytes).sum();
        let metrics = self.metrics();
        match fetch.reader {
            Reader::Consumer { .. } => metrics.bytes_out.add(bytes as u64),
            Reader::Replica { .. } => metrics.replication_bytes_out.add(bytes as u64),
        }
        parts
    }
}
