//! Share groups (KIP-932): members that share partitions, record by record. Here are the members; what becomes of records
//! is in [`crate::share`].
//!
//! A [`Group`] is the fold of its records, as that of a consumer group is. It is simpler: a member takes its target at once, for
//! nobody has to give anything up before. Only partitions are assigned of whose delivery something is stored, so that
//! their leaders find where to begin: what a group subscribes to anew is initialized first.

mod assignor;
mod group;
pub(super) mod heartbeat;
mod partitions;
pub(super) mod record;
pub mod request;

pub use partitions::{Named, StatePartitions};
pub use record::{Current, Record, Subscription};
pub use request::{Beat, Described, DescribedMember, Heartbeat, Partition, Standing};

pub(super) use group::Group;

/// All share groups of one shard at one moment.
pub(super) type Groups = super::folded::Groups<Group>;

/// How share groups behave: the settings `group.share.*` of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `group.share.session.timeout.ms`, for groups that set none of their own.
    pub session_timeout_ms: u64,
    /// `group.share.min.session.timeout.ms` and `group.share.max.session.timeout.ms`.
    pub session_timeout_range_ms: (u64, u64),
    /// `group.share.heartbeat.interval.ms`, for groups that set none of their own.
    pub heartbeat_interval_ms: u64,
    /// `group.share.min.heartbeat.interval.ms` and `group.share.max.heartbeat.interval.ms`.
    pub heartbeat_interval_range_ms: (u64, u64),
    /// `group.share.assignment.interval.ms`, for groups that set none of their own (KIP-1263).
    pub assignment_interval_ms: u64,
    /// `group.share.min.assignment.interval.ms` and `group.share.max.assignment.interval.ms`.
    pub assignment_interval_range_ms: (u64, u64),
    /// `group.share.max.size`: most members in one group.
    pub members_max: usize,
}

impl Default for Config {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            session_timeout_range_ms: (45_000, 60_000),
            heartbeat_interval_ms: 5_000,
            heartbeat_interval_range_ms: (5_000, 15_000),
            assignment_interval_ms: 1_000,
            assignment_interval_range_ms: (0, 15_000),
            members_max: 200,
        }
    }
}
