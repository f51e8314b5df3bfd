//! What a coordinator needs of the partitions that its state lives in.

use bytes::Bytes;
use flotilla_protocol::{LeaderEpoch, Offset, PartitionIndex, Uuid};
use futures::future::BoxFuture;

use crate::group::{EndTransaction, WriteError};
use crate::partition::verification::Guard;

/// A partition of an internal topic, in one epoch of this broker's leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Id of the topic.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: PartitionIndex,
    /// The epoch that the shard was, or is to be, loaded in.
    pub leader_epoch: LeaderEpoch,
}

/// A change of who leads a partition of an internal topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Id of the topic.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: PartitionIndex,
    /// What this broker is now.
    pub role: Role,
}

/// What this broker is to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its leader, in this epoch.
    Leader(LeaderEpoch),
    /// A follower, or nothing.
    Other,
}

/// A piece of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The first offset that the log still has. If it is beyond what was asked for, reading goes on from there.
    pub log_start: Offset,
    /// Whole batches in order; none: the log ends here.
    pub batches: Vec<Bytes>,
}

/// Why a log could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This broker does not lead the partition, or not in that epoch.
    #[error("this broker does not lead the partition any more")]
    NotLeader,
    /// The disk, or what lies on it.
    #[error("{0}")]
    Storage(String),
}

/// The partitions of this broker, as a coordinator uses them. Every call is for one epoch of leadership, and is refused
/// when another one has begun: a shard must not write on behalf of a successor.
pub trait Partitions: Send + Sync + 'static {
    /// Appends one batch, and returns the offset after it. `guard` is of the transaction that the batch is the first one
    /// of here.
    ///
    /// # Errors
    /// Nothing was appended.
    fn append(&self, place: Place, batch: Bytes, guard: Option<Guard>) -> Result<Offset, WriteError>;

    /// Appends the marker that ends a producer's transaction, and returns the offset after it. A marker that is there
    /// already is as good as appended.
    ///
    /// # Errors
    /// Nothing was appended.
    fn end_transaction(&self, place: Place, marker: &EndTransaction) -> Result<Offset, WriteError>;

    /// Waits, as long as it takes, until everything before `end` is committed.
    fn wait_committed(&self, place: Place, end: Offset) -> BoxFuture<'static, Result<(), WriteError>>;

    /// Reads from an offset on, up to the end of the log, committed or not.
    fn read(&self, place: Place, from: Offset) -> BoxFuture<'static, Result<Chunk, ReadError>>;
}
