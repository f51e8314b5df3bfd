//! Fetches that wait until there is enough: woken by the partitions that they wait for, never polling.

use super::error::{ReadError, Unavailable};
use super::hosted::Hosted;
use super::read::{Part, Query, Reader};
use super::{PartitionKey, Replicas};
use flotilla_protocol::BrokerId;
use futures::FutureExt as _;
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
    /// The brokers near a consumer, one of which it is sent to where that can serve it (KIP-392). None: only leaders serve it.
    pub near: Option<Vec<BrokerId>>,
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

/// For so long after it was asked, a follower's fetch is not answered for a new high watermark alone: records that come meanwhile
/// bring it along, and each answer costs both sides a round.
pub(super) const MARKS_WAIT: Duration = Duration::from_millis(5);

/// What one look at all partitions found.
struct Gathered {
    parts: Vec<Result<Part, ReadError>>,
    /// Whether that is enough to answer.
    enough: bool,
    /// Whether a follower learns of a high watermark.
    tells_marks: bool,
    /// Sent to replicas that are throttled.
    throttled_bytes: usize,
    /// Some are held back by a throttle; when to look again.
    again_in: Option<Duration>,
}

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
        let asked = Instant::now();
        let deadline = asked + fetch.wait_max;
        let gathered = self.gather(fetch, &hosted, true).await;
        if gathered.enough || fetch.wait_max.is_zero() {
            return self.sent(fetch, gathered);
        }
        drop(gathered);
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
            let gathered = self.gather(fetch, &hosted, false).await;
            let now = Instant::now();
            let marks_at = gathered.tells_marks.then_some(asked + MARKS_WAIT);
            if gathered.enough || now >= deadline || marks_at.is_some_and(|at| now >= at) {
                return self.sent(fetch, gathered);
            }
            let again = gathered.again_in.map(|wait| now + wait);
            let again = again.into_iter().chain(marks_at).fold(deadline, Instant::min);
            drop(gathered);
            // Whether it moved or the time has come: it is looked at again.
            let _ = timeout_at(again, notify.notified()).await;
        }
    }

    /// Looks once, without waiting: none where there is too little yet and it is not the `last` look. Only where disks are
    /// waited for in place. The `first` look counts a follower's progress.
    pub(super) fn look(
        &self,
        fetch: &Fetch,
        first: bool,
        last: bool,
    ) -> Option<Vec<Result<Part, ReadError>>> {
        let hosted: Vec<_> = fetch
            .partitions
            .iter()
            .map(|(key, _)| self.hosted(*key))
            .collect();
        let gathered = self
            .gather(fetch, &hosted, first)
            .now_or_never()
            .expect("where disks are waited for in place, a look does not wait");
        (gathered.enough || gathered.tells_marks || last).then(|| self.sent(fetch, gathered))
    }

    /// Reads once over all partitions.
    async fn gather(&self, fetch: &Fetch, hosted: &[Option<Arc<Hosted>>], counts: bool) -> Gathered {
        let mut parts = Vec::with_capacity(hosted.len());
        let (mut bytes, mut throttled_bytes) = (0, 0);
        let (mut enough, mut again_in) = (fetch.partitions.is_empty(), None);
        let mut tells_marks = false;
        let settings = self.settings();
        for ((_, query), hosted) in fetch.partitions.iter().zip(hosted) {
            let mut left = fetch.bytes_max.saturating_sub(bytes);
            // A follower without room gets nothing, and hears of marks when it has room again.
            let is_full = fetch.reader.is_replica() && query.bytes_max == 0;
            let (mut is_throttled, mut is_held_back) = (false, is_full);
            if let (Some(hosted), Reader::Replica { broker, .. }) = (hosted, fetch.reader)
                && let Some(room) = self.room_to_send(&settings, hosted, broker)
            {
                let room_left = room.bytes.saturating_sub(throttled_bytes);
                left = left.min(room_left);
                (is_throttled, is_held_back) = (true, is_full || room_left == 0);
                if room_left == 0 && !is_full {
                    let wait = Duration::from_millis(u64::try_from(room.again_in_ms).unwrap_or(0).max(1));
                    again_in = Some(again_in.map_or(wait, |sooner: Duration| sooner.min(wait)));
                }
            }
            let part = match hosted {
                Some(hosted) => {
                    // A batch larger than the room there is goes all the same, and the room is paid for afterwards.
                    let min_one_batch =
                        !is_held_back && (bytes == 0 || (is_throttled && bytes < fetch.bytes_max));
                    let near = fetch.near.as_deref();
                    hosted
                        .fetch(query, fetch.reader, near, left, min_one_batch, counts)
                        .await
                }
                None => Err(Unavailable::NotHosted.into()),
            };
            match &part {
                Ok(part) => {
                    bytes += part.size_bytes;
                    throttled_bytes += if is_throttled { part.size_bytes } else { 0 };
                    // A follower that is held back is behind, and would hear of every mark at once, over and over.
                    tells_marks |= fetch.reader.is_replica()
                        && !is_held_back
                        && part.high_watermark > query.high_watermark;
                    enough |= part.diverging.is_some() || part.preferred.is_some();
                }
                Err(_) => enough = true,
            }
            parts.push(part);
        }
        Gathered {
            parts,
            enough: enough || bytes >= fetch.bytes_min,
            tells_marks,
            throttled_bytes,
            again_in,
        }
    }

    fn sent(&self, fetch: &Fetch, gathered: Gathered) -> Vec<Result<Part, ReadError>> {
        let parts = gathered.parts;
        let bytes: usize = parts.iter().flatten().map(|part| part.size_bytes).sum();
        let metrics = self.metrics();
        if gathered.throttled_bytes > 0 {
            self.inner.shared.throttles.leader.moved(gathered.throttled_bytes);
            metrics.throttled_bytes_out.add(gathered.throttled_bytes as u64);
        }
        match fetch.reader {
            Reader::Consumer { .. } => metrics.bytes_out.add(bytes as u64),
            Reader::Replica { .. } | Reader::Peer => metrics.replication_bytes_out.add(bytes as u64),
        }
        parts
    }
}
