//! Consumer groups of the new protocol (KIP-848): members send one kind of heartbeat, and the coordinator assigns.
//!
//! A [`Group`] is the fold of its records, so a write that fails is undone by going back to the fold before it. A decision
//! is made on a [`draft`]: a copy to which each record is applied as it is written, so that every step sees the one before.
//! Three epochs drive it. The group's goes up with each change of members, subscriptions or topics. The target's is that of
//! the group's for which partitions were last assigned. A member's follows the target's: only once it has given up what
//! it must, and takes of the rest what nobody else holds any more.

pub mod assignor;
pub(super) mod classic_member;
mod draft;
mod embedded;
mod group;
pub(super) mod heartbeat;
pub(super) mod leave;
mod member;
pub(super) mod migration;
mod reconcile;
pub(super) mod record;
pub mod regex;
pub mod request;
mod target;
mod topics;

use crate::group::assigned;
pub use assigned::{Partitions, PartitionsByEpoch};
pub use group::{Resolved, State};
pub use member::MemberState;
pub use migration::MigrationPolicy;
pub use record::{Classic, Current, GroupEpoch, Record, Subscription, TargetEpoch};
pub use request::{Beat, Described, DescribedMember, Heartbeat, Resolution};
pub use topics::Seen;

pub(super) use group::Group;
pub(super) use leave::unknown_member;
pub(super) use member::Member;
pub(super) use topics::Hashes;

/// All groups of this protocol in one shard at one moment.
pub(super) type Groups = super::folded::Groups<Group>;

use super::Error;

/// How groups of the new protocol behave: the settings `group.consumer.*` of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `group.consumer.session.timeout.ms`, for groups that set none of their own.
    pub session_timeout_ms: u64,
    /// `group.consumer.min.session.timeout.ms` and `group.consumer.max.session.timeout.ms`.
    pub session_timeout_range_ms: (u64, u64),
    /// `group.consumer.heartbeat.interval.ms`, for groups that set none of their own.
    pub heartbeat_interval_ms: u64,
    /// `group.consumer.min.heartbeat.interval.ms` and `group.consumer.max.heartbeat.interval.ms`.
    pub heartbeat_interval_range_ms: (u64, u64),
    /// `group.consumer.assignment.interval.ms`, for groups that set none of their own (KIP-1263).
    pub assignment_interval_ms: u64,
    /// `group.consumer.min.assignment.interval.ms` and `group.consumer.max.assignment.interval.ms`.
    pub assignment_interval_range_ms: (u64, u64),
    /// `group.consumer.max.size`: most members in one group.
    pub members_max: usize,
    /// `group.consumer.migration.policy`.
    pub migration_policy: MigrationPolicy,
    /// `group.consumer.assignors`: the first is taken where members name none.
    pub assignors: Vec<assignor::Assignor>,
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
            members_max: i32::MAX as usize,
            migration_policy: MigrationPolicy::Bidirectional,
            assignors: vec![assignor::Assignor::Uniform, assignor::Assignor::Range],
        }
    }
}

/// Why a request of the new protocol is refused, and in which words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Of which kind.
    pub error: Error,
    /// For the one who reads the client's log.
    pub message: Option<String>,
}

impl Refused {
    pub(super) fn because(error: Error, message: String) -> Self {
        Self {
            error,
            message: Some(message),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, message: None }
    }
}
