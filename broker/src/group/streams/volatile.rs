//! What is known of a streams group besides its records.

use std::sync::Arc;

use super::configure::Configured;
use crate::group::Text;

/// What a broker that takes the group over begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Volatile {
    /// The topology held against the topics that there are; none: they may have changed since.
    pub(in crate::group) configured: Option<Arc<Configured>>,
    /// The member that asked all of them to end.
    pub(in crate::group) shutdown_by: Option<Text>,
    /// Grows with each change of what members with an endpoint hold. A member that has seen another one is told all endpoints.
    pub(in crate::group) endpoint_epoch: i32,
}
