//! Why a replica does not do what it is asked.

use crate::partition::EpochMismatch;
use crate::partition::leader::NotEnoughReplicas;
use flotilla_protocol::records::BatchError;
use flotilla_protocol::{LeaderEpoch, Offset};

/// Why this broker cannot speak for a partition. Part of all the other errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Not (or not any more) stored here.
    #[error("this broker does not store the partition")]
    NotHosted,
    /// Another broker leads it, or none. The asker must look for the leader again.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The asker is in another leader epoch.
    #[error(transparent)]
    Epoch(#[from] EpochMismatch),
    /// The volume that it lies on failed. It stays offline until the broker is started again.
    #[error("the volume of the partition is offline")]
    Offline,
}

/// Why records were not appended, or not committed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AppendError {
    /// Not here, not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The volume is so full that this broker takes no more records.
    #[error("the volume of the partition is full: records are taken again once there is room")]
    Full,
    /// Nothing was appended: acks=all could not be kept.
    #[error(transparent)]
    NotEnoughReplicas(#[from] NotEnoughReplicas),
    /// Appended, but the in-sync set shrank meanwhile.
    #[error("the records were appended, but too few replicas are in sync by now")]
    NotEnoughReplicasAfterAppend,
    /// Appended, but not committed in time. They may still be.
    #[error("the records were appended, but not committed in time")]
    Timeout,
    /// The batch is not one that may be appended.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// No records at all.
    #[error("the request has no records for the partition")]
    Empty,
    /// Larger than `max.message.bytes`.
    #[error("the batch has {size_bytes} bytes, the topic takes {size_bytes_max} (max.message.bytes)")]
    TooLarge {
        /// Of the batch, as it would be stored.
        size_bytes: usize,
        /// What the topic takes.
        size_bytes_max: usize,
    },
    /// Larger than a segment.
    #[error("the batch has {size_bytes} bytes, a segment takes {size_bytes_max} (segment.bytes)")]
    LargerThanSegment {
        /// Of the batch, as it would be stored.
        size_bytes: usize,
        /// What a segment takes.
        size_bytes_max: usize,
    },
    /// Records without a key on a compacted topic, by their place in the batch.
    #[error("{} records have no key, which a compacted topic needs", .0.len())]
    WithoutKey(Vec<i32>),
    /// The idempotent producer's place does not fit (KIP-98).
    #[error(transparent)]
    Producer(#[from] crate::partition::producer_state::Error),
    /// The disk refused.
    #[error("the disk refused the records: {0}")]
    Disk(String),
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not here, not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// There is no such offset.
    #[error("offset {asked} is outside of {log_start} to {log_end}")]
    OutOfRange {
        /// What was asked for.
        asked: Offset,
        /// Where the log starts.
        log_start: Offset,
        /// Where it ends for the asker.
        log_end: Offset,
        /// What is committed.
        high_watermark: Offset,
    },
    /// A follower, asked by a consumer, does not have that offset (KIP-392).
    #[error("offset {asked} is not here yet: this follower's log ends at {log_end}")]
    NotHereYet {
        /// What was asked for.
        asked: Offset,
        /// Where the log ends.
        log_end: Offset,
    },
    /// A new leader does not know yet what is committed.
    #[error("epoch {0} has only begun: what is committed is not known yet")]
    NotAvailableYet(LeaderEpoch),
    /// A follower that is none, as far as is known here.
    #[error("broker {0} is not known as a replica of the partition")]
    NotAReplica(flotilla_protocol::BrokerId),
    /// A follower's fetch under a registration that is over (KIP-903).
    #[error("the broker epoch of the fetch is over")]
    StaleBrokerEpoch,
    /// The topic's `cleanup.policy` does not let records be deleted.
    #[error("records of the topic cannot be deleted: its cleanup.policy is not `delete`")]
    NotDeletable,
    /// What lies there is not what was written. Another replica may have it.
    #[error("the records are broken here: {reason}")]
    Broken {
        /// Which file, where, and what is wrong.
        reason: String,
        /// Whether no replica that could be asked has it good.
        beyond_repair: bool,
    },
    /// The disk refused.
    #[error("the disk refused to read: {0}")]
    Disk(String),
    /// Not in time.
    #[error("not in time")]
    Timeout,
}
