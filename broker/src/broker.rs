//! The composition: everything that one broker consists of.

use crate::auth::Authorizer;
use flotilla_protocol::BrokerId;

/// All that a request handler can reach.
pub struct Broker {
    /// Who this broker is.
    pub id: BrokerId,
    /// Kafka's id of the cluster, 22 characters.
    pub cluster_id: String,
    /// Who may do what.
    pub authorizer: Authorizer,
}
