//! What keeps Clusters, Topics and Users as they were asked for: each is observe, decide (in the pure rooms), apply, report. Whatever
//! changes in Kubernetes or in a fleet says what must be looked at again; nothing is polled but for a slow look every ten minutes.

pub mod cluster;
mod pending;
mod queue;
pub mod topic;
mod triggers;
mod undecodable;
pub mod user;
mod work;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::apply::{self, Writer};
use crate::cache::{Cache, ReadError};
use crate::cluster::Site;
use crate::fleet::{self, Fleets};
use crate::metrics::Metrics;

/// What the controllers share.
pub struct Context {
    /// Writes to Kubernetes.
    pub writer: Writer,
    /// What is in Kubernetes.
    pub cache: Cache,
    /// The fleets that Clusters are.
    pub fleets: Fleets,
    /// What the operator's flags say.
    pub site: Site,
    /// What is counted.
    pub metrics: Metrics,
    /// What is known of each Cluster beside its status.
    pub clusters: cluster::Memories,
    /// What is known of fleets for their Topics.
    pub topics: topic::Memories,
    /// What fleets took for Users.
    pub users: user::Memories,
}

impl Context {
    /// What the controllers share, with nothing known yet.
    #[must_use]
    pub fn new(writer: Writer, cache: Cache, site: Site, metrics: Metrics) -> Self {
        Self {
            writer,
            cache,
            fleets: Fleets::default(),
            site,
            metrics,
            clusters: cluster::Memories::default(),
            topics: topic::Memories::default(),
            users: user::Memories::default(),
        }
    }

    /// The time, for conditions: to the second, as Kubernetes writes it.
    #[must_use]
    pub fn now(&self) -> Time {
        let seconds = Timestamp::now().as_second();
        Time(Timestamp::from_second(seconds).expect("the time of today can be written"))
    }
}

/// When a resource is looked at again, if nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(Option<Duration>);

impl Action {
    /// Not before the slow look.
    #[must_use]
    pub fn await_change() -> Self {
        Self(None)
    }

    /// After this.
    #[must_use]
    pub fn requeue(after: Duration) -> Self {
        Self(Some(after))
    }
}

/// Why a reconcile could not go on. It is tried again, later each time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A write to Kubernetes.
    #[error(transparent)]
    Write(#[from] apply::Error),
    /// A read from Kubernetes.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A command to a fleet.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Follows all resources until `shutdown`; then ends what is under way.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    Box::pin(work::run(context, shutdown)).await;
}
