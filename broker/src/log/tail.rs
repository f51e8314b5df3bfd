//! The last bytes that were appended, kept so that those who follow the end of a log do not go to the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flotilla_protocol::Offset;

use super::read::{Gathered, Limits};

/// What a chunk costs apart from its bytes.
const CHUNK_OVERHEAD_BYTES: usize = 128;

/// The memory that the tails of all logs of a broker may take together.
#[derive(Debug)]
pub struct TailBudget {
    used_bytes: AtomicUsize,
    bytes_max: usize,
    per_log_bytes_max: usize,
}

impl TailBudget {
    /// For all logs together, where nobody says otherwise.
    pub const BYTES_MAX: usize = 64 * 1024 * 1024;
    /// For one log, where nobody says otherwise: what a fetch takes from one partition by default.
    pub const PER_LOG_BYTES_MAX: usize = 1024 * 1024;

    /// `bytes_max` for all logs together, of which one may take `per_log_bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize, per_log_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            used_bytes: AtomicUsize::new(0),
            bytes_max,
            per_log_bytes_max,
        })
    }

    /// What the tails take at the moment.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        self.used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .is_ok()
    }
}

/// One log's share: chunks of whole batches without a gap between them, up to the end of the log.
#[derive(Debug)]
pub(super) struct Tail {
    budget: Arc<TailBudget>,
    chunks: VecDeque<Chunk>,
    used_bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    first: Offset,
    next: Offset,
    bytes: Bytes,
}

impl Tail {
    pub(super) fn new(budget: Arc<TailBudget>) -> Self {
        Self {
            budget,
            chunks: VecDeque::new(),
            used_bytes: 0,
        }
    }

    /// Keeps what was just appended; older chunks make room for it. Where there is no room at all, nothing is kept.
    pub(super) fn push(&mut self, first: Offset, next: Offset, bytes: Bytes) {
        let cost = bytes.len() + CHUNK_OVERHEAD_BYTES;
        while self.used_bytes + cost > self.budget.per_log_bytes_max || !self.budget.take(cost) {
            if self.chunks.is_empty() {
                return;
            }
            self.pop();
        }
        self.used_bytes += cost;
        self.chunks.push_back(Chunk { first, next, bytes });
    }

    fn pop(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            let cost = chunk.bytes.len() + CHUNK_OVERHEAD_BYTES;
            self.used_bytes -= cost;
            self.budget.used_bytes.fetch_sub(cost, Ordering::Relaxed);
        }
    }

    /// Lets go of what begins before `offset`: it lies in the log in another form now.
    pub(super) fn forget_below(&mut self, offset: Offset) {
        while self.chunks.front().is_some_and(|chunk| chunk.first < offset) {
            self.pop();
        }
    }

    pub(super) fn clear(&mut self) {
        while !self.chunks.is_empty() {
            self.pop();
        }
        self.chunks = VecDeque::new();
    }

    /// Whether a read that begins at `offset` finds everything here.
    pub(super) fn holds(&self, offset: Offset) -> bool {
        self.chunks.front().is_some_and(|chunk| chunk.first <= offset)
    }

    /// Reads from `offset`, which the tail has to hold.
    pub(super) fn read(&self, offset: Offset, limits: Limits) -> Gathered {
        let mut gathered = Gathered::new(offset, limits);
        let from = self.chunks.partition_point(|chunk| chunk.next <= offset);
        for chunk in self.chunks.range(from..) {
            if !gathered.add(&chunk.bytes) {
                break;
            }
        }
        gathered
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}
