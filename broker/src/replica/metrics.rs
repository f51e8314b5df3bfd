//! What the replicas of this broker have done, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What it counts now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of the data path, all since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Records that producers appended.
    pub messages_in: Counter,
    /// Bytes that producers appended.
    pub bytes_in: Counter,
    /// Bytes that were appended from leaders.
    pub replication_bytes_in: Counter,
    /// Bytes that consumers fetched.
    pub bytes_out: Counter,
    /// Bytes that followers fetched.
    pub replication_bytes_out: Counter,
    /// Bytes of those that went to replicas held to `leader.replication.throttled.rate`.
    pub throttled_bytes_out: Counter,
    /// Bytes that came for replicas held to `follower.replication.throttled.rate`.
    pub throttled_bytes_in: Counter,
    /// Appends that were refused.
    pub produce_failures: Counter,
    /// Replicas that left an in-sync set led here.
    pub isr_shrinks: Counter,
    /// Replicas that joined an in-sync set led here.
    pub isr_expands: Counter,
    /// Group commits.
    pub syncs: Counter,
    /// Compactions that came to their end.
    pub cleanings: Counter,
    /// Bytes that compaction read and wrote.
    pub cleaner_bytes: Counter,
    /// Bytes of the segments that were compacted.
    pub cleaned_bytes: Counter,
    /// Bytes by which they became smaller.
    pub cleaner_saved_bytes: Counter,
    /// Compactions that failed.
    pub cleaner_failures: Counter,
    /// Stretches of logs that were found broken.
    pub damages: Counter,
    /// Of them, those that were mended from another replica.
    pub damages_mended: Counter,
    /// Segments whose indexes did not fit and were built anew.
    pub indexes_rebuilt: Counter,
    /// Leaderships that were handed over because something was broken here.
    pub leaderships_handed_over: Counter,
    /// Bytes that were read again to see whether they are whole.
    pub scrubbed_bytes: Counter,
    /// Times that all of a volume was read again.
    pub scrub_rounds: Counter,
    /// Partitions that were found on disk at the start.
    pub recovery_total: Counter,
    /// How many of them are loaded.
    pub recovery_done: Counter,
}

/// What this broker stores at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Partitions stored here.
    pub partitions: usize,
    /// Partitions led here.
    pub leaders: usize,
    /// Partitions led here with fewer in-sync replicas than replicas.
    pub under_replicated: usize,
    /// Partitions led here that refuse acks=all.
    pub under_min_isr: usize,
    /// Partitions on volumes that failed.
    pub offline: usize,
    /// Partitions with records that are broken here.
    pub broken: usize,
    /// Of them, those that no replica which could be asked can put right.
    pub beyond_repair: usize,
}
