//! Consumer groups as state machines: who is a member, who reads what, and what has been committed.
//!
//! Everything here is pure. Time comes in as milliseconds, randomness as the id that a new member may get, and what is
//! to be done goes out as [`Effect`]s. A [`Shard`] holds all groups whose state lives in one partition of
//! `__consumer_offsets`; `coordinator_runtime` feeds it and carries its effects out.
//!
//! Two rules hold throughout. Nothing that the log might still lose is shown: a reply that rests on a record is sent
//! when that record is committed. And a record that could not be appended leaves no trace.

mod assigned;
mod classic;
pub mod consumer;
mod error;
mod folded;
mod offsets;
mod record;
mod shard;
pub mod share;
pub mod streams;
mod subscription;
#[cfg(test)]
mod testing;
mod timer;

use std::sync::Arc;

pub use classic::State;
pub use error::{Error, WriteError};
pub use offsets::Committed;
pub use record::{GroupMetadata, Malformed, MemberMetadata, OffsetCommit, Record, TooLong};
pub use shard::request::{
    Assigned, Commit, CommitPartition, DeletedTopic, DescribedGroup, DescribedMember, EndTransaction, Fetch,
    FetchedPartition, Join, Joined, JoinedMember, Kind, Leave, Leaving, ListedGroup, PartitionRef, Producer,
    Protocol, Reply, Request, Sync,
};
pub use shard::{Effect, Shard, Ticket, WriteId};

/// Ids and names: shared, since the same ones stand in many places.
pub type Text = Arc<str>;

/// Name of the topic that holds groups and offsets.
pub const TOPIC: &str = "__consumer_offsets";

/// How groups behave: the settings `group.*` and `offset*` of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `group.initial.rebalance.delay.ms`: how long the first member of an empty group waits for others.
    pub initial_rebalance_delay_ms: u64,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: i32,
    /// `group.max.size`: most members in one group.
    pub members_max: usize,
    /// How long a new member may wait in its first JoinGroup; 5 minutes in Kafka, where it is no setting.
    pub new_member_join_timeout_ms: u64,
    /// `offsets.retention.minutes`, in ms.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: u64,
    /// `offset.metadata.max.bytes`; Kafka counts UTF-16 units.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.commit.timeout.ms`: how long a reply waits for its records to be committed.
    pub commit_timeout_ms: u64,
    /// How groups of the new protocol behave.
    pub consumer: consumer::Config,
    /// How share groups behave.
    pub share: share::Config,
    /// How streams groups behave.
    pub streams: streams::Config,
}

impl Default for Config {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 3_000,
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            members_max: i32::MAX as usize,
            new_member_join_timeout_ms: 300_000,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_interval_ms: 600_000,
            offset_metadata_max_bytes: 4_096,
            commit_timeout_ms: 5_000,
            consumer: consumer::Config::default(),
            share: share::Config::default(),
            streams: streams::Config::default(),
        }
    }
}

/// The partition of `__consumer_offsets` that a group lives in, as every client and tool computes it: Java's hash of
/// the group's id, its sign bit cleared, modulo the number of partitions.
///
/// # Panics
/// When `partitions` is 0: a topic has at least one.
#[must_use]
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has at least one partition");
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // Kafka's `Utils.abs`: of the smallest integer it makes 0.
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lives_where_java_computes_it() {
        // "hello".hashCode() = 99162322, "polygenelubricants".hashCode() = i32::MIN,
        // "console-consumer-1".hashCode() is negative.
        assert_eq!(partition_of("hello", 50), 22);
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        assert_eq!(partition_of("", 50), 0);
        // "\u{1F600}" is two UTF-16 units: 0xD83D * 31 + 0xDE00 = 1772899.
        assert_eq!(partition_of("\u{1F600}", 50), 1_772_899 % 50);
    }
}
