//! Share groups (KIP-932) but for their members: who is given which record, and what is stored of that.
//!
//! A partition's leader decides on its delivery to a group ([`Delivery`]). What must outlive it, it has stored by the
//! coordinator of that group and partition: a [`Shard`] on a partition of `__share_group_state`. Everything here is pure;
//! `share_runtime` drives the first, `coordinator_runtime` the second.

mod delivery;
mod record;
mod session;
mod shard;
mod state;

pub use delivery::{
    Acknowledgement, Acquired, Delivery, Limits, Read, RecordState, Refused, Verdict, Wanted, Write,
};
pub use record::{Malformed, Record, Snapshot};
pub use session::{CLOSE, OPEN, Opened, Partition, SessionRefused, Sessions};
pub use shard::{Config, Effect, Error, Reply, Request, Shard, Summary, WriteState};
pub use state::{Batch, SharePartition, Stored};

/// Name of the topic that holds what is stored of deliveries.
pub const TOPIC: &str = "__share_group_state";
