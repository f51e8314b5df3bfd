//! The transaction coordinator as a state machine (KIP-98, KIP-890): who holds a transactional id, which partitions belong
//! to its open transaction, and how that ended.
//!
//! Everything here is pure. Time comes in as milliseconds, producer ids come in with requests, and what is to be done goes
//! out as [`Effect`]s. A [`Shard`] holds all transactional ids whose state lives in one partition of
//! `__transaction_state`; `coordinator_runtime` feeds it and carries its effects out.
//!
//! Rules that hold throughout:
//! - A change counts, and is answered, once its record is committed. Until then the transactional id takes no other
//!   request: the client is told to come again.
//! - The decision to commit or abort is committed before the first marker is written, so that whoever takes over writes
//!   the same markers again.
//! - With clients of transactions version 2, each end of a transaction raises the producer's epoch: an EndTxn that comes
//!   late, or a marker that comes twice, never hits the transaction after.

mod error;
mod metadata;
mod record;
mod shard;

pub use error::Error;
pub use metadata::{Partition, ProducerRef, Status, Transaction, Version};
pub use record::{Malformed, Record};
pub use shard::request::{
    Add, Described, End, Ended, Filter, Init, Initialized, Listed, Marked, Reply, Request,
};
pub use shard::{Effect, Mark, Shard};

/// Name of the topic that holds the state of transactional ids.
pub const TOPIC: &str = "__transaction_state";

/// How transactions behave: the settings `transaction.*` and `transactional.id.*` of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `transaction.max.timeout.ms`: the longest timeout that a producer may ask for.
    pub timeout_max_ms: i32,
    /// `transactional.id.expiration.ms`: how long an idle transactional id is remembered.
    pub id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: how often open transactions are looked at.
    pub abort_interval_ms: u64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often idle ids are looked for.
    pub expiry_interval_ms: u64,
}

impl Default for Config {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            timeout_max_ms: 900_000,
            id_expiration_ms: 7 * 24 * 60 * 60 * 1_000,
            abort_interval_ms: 10_000,
            expiry_interval_ms: 3_600_000,
        }
    }
}
