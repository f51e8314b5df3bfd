//! Keeps Topics as they were asked for.

use std::sync::Arc;

use flotilla_crds::Topic;

use super::{Action, Context, Error};

/// Makes one Topic so. It does nothing yet.
///
/// # Errors
/// None yet.
pub async fn reconcile(_topic: Arc<Topic>, _context: Arc<Context>) -> Result<Action, Error> {
    Ok(Action::await_change())
}
