//! What is asked about offsets, and answered.

use flotilla_protocol::{ProducerEpoch, ProducerId, Uuid};

use crate::group::Text;
use crate::group::error::Error;
use crate::group::record::OffsetCommit;
use crate::partition::verification::Guard;

/// OffsetCommit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The group.
    pub group: Text,
    /// The generation that the member is in; -1: not a member of any (a consumer that assigns to itself).
    pub generation: i32,
    /// The member's id, or empty.
    pub member_id: Text,
    /// The member's `group.instance.id`.
    pub instance_id: Option<Text>,
    /// How long to keep the offsets, in ms; -1: as the broker's setting says.
    pub retention_ms: i64,
    /// Whether a group that is not there is told so by name (version 9, KIP-848).
    pub knows_group_not_found: bool,
    /// What is committed.
    pub partitions: Vec<CommitPartition>,
}

/// One partition of a [`Commit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    /// The topic's name.
    pub topic: Text,
    /// The topic's id, or zero.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: i32,
    /// The offset to read next.
    pub offset: i64,
    /// Epoch of the last record consumed, or -1.
    pub leader_epoch: i32,
    /// To be kept beside the offset.
    pub metadata: Text,
}

/// Whose transaction offsets belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The producer.
    pub id: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
    /// Of a transaction that has no offsets in the partition yet, and was verified (KIP-890).
    pub guard: Option<Guard>,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// The epoch of the marker.
    pub epoch: ProducerEpoch,
    /// Committed, or else aborted.
    pub committed: bool,
    /// The transaction coordinator's.
    pub coordinator_epoch: i32,
    /// Whether the marker's epoch is higher than that of the records.
    pub is_bumped: bool,
}

/// OffsetFetch of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The group.
    pub group: Text,
    /// Which partitions; none: all that have an offset.
    pub partitions: Option<Vec<PartitionRef>>,
    /// Whether to wait for what is under way, and to refuse offsets of open transactions (KIP-447).
    pub require_stable: bool,
    /// The member that asks, and its epoch, where it is said (version 9, KIP-848).
    pub member: Option<(Text, i32)>,
}

/// A partition by its topic's name, and by its id where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRef {
    /// The topic's name.
    pub topic: Text,
    /// The topic's id, or zero for any.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: i32,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The topic's name.
    pub topic: Text,
    /// The partition's index.
    pub partition: i32,
    /// The commit; none: there is none.
    pub committed: Result<Option<OffsetCommit>, Error>,
}
