//! Keeps Clusters as they were asked for.

use std::sync::Arc;

use flotilla_crds::Cluster;

use super::{Action, Context, Error};
use crate::Key;

/// What is known of each Cluster beside its status.
#[derive(Clone, Default)]
pub struct Memories;

/// Makes one Cluster so. It does nothing yet.
///
/// # Errors
/// None yet.
pub async fn reconcile(_cluster: Arc<Cluster>, _context: Arc<Context>) -> Result<Action, Error> {
    Ok(Action::await_change())
}

/// Forgets a Cluster that is gone.
pub fn forget(context: &Context, cluster: &Key) {
    context.metrics.forget(cluster);
}
