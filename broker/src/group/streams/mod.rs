//! Streams groups (KIP-1071): the members of a Kafka Streams application tell the coordinator its topology, and the coordinator checks
//! its topics, says which are missing, and assigns tasks.
//!
//! A [`Group`] is the fold of its records, as a consumer group of the new protocol is, and has the same three epochs: the group's, the
//! target's and each member's. What is assigned are tasks: a subtopology and a partition. A task is active in one place, and may be a
//! standby in others. A member gives up what it must before it gets anything, no task is given away that anybody still has as an
//! active one, and no process gets a task that it still has in another role, for its state directory has one place for it.
//!
//! What is not written down, since it can be computed anew or asked for again, is [`Volatile`].

mod assignment;
mod assignor;
mod configure;
mod draft;
mod endpoints;
mod group;
pub(super) mod heartbeat;
mod layout;
pub(super) mod leave;
mod member;
mod notice;
mod partitions;
mod reconcile;
pub(super) mod record;
pub mod request;
mod topology;
mod volatile;

#[cfg(test)]
mod tests;

pub use crate::group::assigned::Tasks;
pub use assignment::{Assignment, Held};
pub use configure::Creatable;
pub use endpoints::EndpointPartitions;
pub use group::State;
pub use member::MemberState;
pub use notice::{Notice, Status};
pub use record::{Current, Endpoint, GroupEpoch, Record, Told};
pub use request::{Beat, Described, DescribedMember, Heartbeat, Owned};
pub use topology::{CopartitionGroup, InternalTopic, Subtopology, Topology};

pub(super) use group::Group;
pub(super) use volatile::Volatile;

/// All streams groups of one shard at one moment.
pub(super) type Groups = super::folded::Groups<Group>;

/// How streams groups behave: the settings `group.streams.*` of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `group.streams.session.timeout.ms`, for groups that set none of their own.
    pub session_timeout_ms: u64,
    /// `group.streams.min.session.timeout.ms` and `group.streams.max.session.timeout.ms`.
    pub session_timeout_range_ms: (u64, u64),
    /// `group.streams.heartbeat.interval.ms`, for groups that set none of their own.
    pub heartbeat_interval_ms: u64,
    /// `group.streams.min.heartbeat.interval.ms` and `group.streams.max.heartbeat.interval.ms`.
    pub heartbeat_interval_range_ms: (u64, u64),
    /// `group.streams.assignment.interval.ms`, for groups that set none of their own (KIP-1263).
    pub assignment_interval_ms: u64,
    /// `group.streams.min.assignment.interval.ms` and `group.streams.max.assignment.interval.ms`.
    pub assignment_interval_range_ms: (u64, u64),
    /// `group.streams.initial.rebalance.delay.ms`: how long the first member of an empty group waits for others, for groups that
    /// set nothing of their own.
    pub initial_rebalance_delay_ms: u64,
    /// `group.streams.num.standby.replicas`, for groups that set none of their own.
    pub standby_replicas: u64,
    /// `group.streams.max.standby.replicas`.
    pub standby_replicas_max: u64,
    /// `group.streams.max.size`: most members in one group.
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
            initial_rebalance_delay_ms: 3_000,
            standby_replicas: 0,
            standby_replicas_max: 2,
            members_max: i32::MAX as usize,
        }
    }
}
