//! The partitions that this broker stores: their logs under the rules of [`crate::partition`], on real volumes, fed by
//! producers and by the fetch loops that follow other brokers.
//!
//! Nothing is acknowledged before it is as durable as was asked for: appends of one volume share a sync (group commit),
//! and a follower's fetch offset means "on my disk". Waiting fetches and producers are woken by the partition that they
//! wait for. What the metadata says is applied by one task, in order.

mod admission;
mod alter;
mod append;
mod apply;
mod broken;
mod census;
mod cleaner;
mod error;
mod fetcher;
mod hosted;
mod in_session;
mod leadership;
mod link;
mod mend;
mod metrics;
mod moves;
mod open;
mod poll;
mod producer_ids;
mod read;
mod refused;
mod replicas;
mod scrub;
mod stepped;
mod sync_queue;
mod throttle;
mod transaction;
mod upkeep;
mod volume;

pub use append::{Acks, Appended, Commit, Origin};
pub use census::{LogDir, LogDirPartition};
pub use cleaner::CleanerCensus;
pub use error::{AppendError, ReadError, Unavailable};
pub use leadership::{LeadershipChange, Role};
pub use link::{Dial, Link, LinkError, TlsDial, TlsLink};
pub use metrics::{Census, Counter, Metrics};
pub use moves::MoveError;
pub use open::{Blocking, Config, OpenError};
pub use poll::Fetch;
pub use producer_ids::{NoProducerId, ProducerIds};
pub use read::{At, Listed, Part, Query, Reader, Upto};
pub use replicas::Replicas;
pub use stepped::{Altering, Asking, Lane, Later, Round, Stored, Syncing, VolumeFailed};
pub use transaction::{ActiveProducer, Marked, Marker, Verification};
pub use upkeep::Running;
pub use volume::{Health, Volume};

use flotilla_protocol::{PartitionIndex, Uuid};

/// Names a partition for good: a topic that is deleted and created again is another (KIP-516).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    /// The topic.
    pub topic_id: Uuid,
    /// Which of its partitions.
    pub partition: PartitionIndex,
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
