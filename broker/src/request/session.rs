//! Who stands behind a connection, as its requests see it.

use crate::auth::Principal;
use flotilla_protocol::BrokerId;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of a connection. A new one takes its place when the client authenticates.
#[derive(Clone, Debug)]
pub struct Session {
    /// Counted from the broker's start; in every log line of the connection.
    pub connection_id: u64,
    /// The name of the listener that took the connection in: clients are told the addresses of this one.
    pub listener: Arc<str>,
    /// Who the client is.
    pub principal: Principal,
    /// Where the client is.
    pub client_host: IpAddr,
    /// The broker at the other end, proven by its certificate: only on the replication listener. A request that carries
    /// a replica id is taken from nobody else.
    pub peer_broker: Option<BrokerId>,
}

impl Session {
    /// Whether the connection came in on the reserved listener between brokers.
    #[must_use]
    pub fn is_replication_listener(&self) -> bool {
        self.peer_broker.is_some()
    }
}
