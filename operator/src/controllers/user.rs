//! Keeps Users as they were asked for.

use std::sync::Arc;

use flotilla_crds::User;

use super::{Action, Context, Error};

/// Makes one User so. It does nothing yet.
///
/// # Errors
/// None yet.
pub async fn reconcile(_user: Arc<User>, _context: Arc<Context>) -> Result<Action, Error> {
    Ok(Action::await_change())
}
