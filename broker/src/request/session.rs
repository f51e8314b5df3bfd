//! Who stands behind a connection, as its requests see it.

use crate::auth::Principal;
use crate::client_metrics::{SOFTWARE_UNKNOWN, cut};
use flotilla_protocol::BrokerId;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// The library at the other end, as ApiVersions names it (KIP-511).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
}

impl Software {
    /// What is kept of what a client says of itself: no more than so many bytes of each.
    #[must_use]
    pub fn named(name: &str, version: &str) -> Self {
        Self {
            name: cut(name).into(),
            version: cut(version).into(),
        }
    }
}

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
    /// Its port there; none in tests.
    pub client_port: Option<u16>,
    /// The broker at the other end, proven by its certificate: only on the replication listener. A request that carries
    /// a replica id is taken from nobody else.
    pub peer_broker: Option<BrokerId>,
    /// Whether the connection came in on the reserved listener, where only this fleet's brokers and its operator are let in:
    /// no rule binds them.
    pub is_internal: bool,
    /// Whether the client authenticated with a delegation token: such a one gets no others (KIP-48).
    pub by_token: bool,
    /// [`Session::client_host`] as access rules write it.
    pub client_address: Arc<str>,
    /// When the client asked for metadata last on this connection; at first, when the connection came.
    pub asked_metadata: Arc<Mutex<Instant>>,
    /// The library of the client; unknown before it has said so.
    pub software: Arc<Mutex<Software>>,
}

impl Session {
    /// Of a client on one of the listeners for clients. An IPv4 address that came in over IPv6 counts as IPv4.
    #[must_use]
    pub fn new(connection_id: u64, listener: Arc<str>, principal: Principal, client_host: IpAddr) -> Self {
        let client_host = client_host.to_canonical();
        let client_address = client_host.to_string().into();
        Self {
            connection_id,
            listener,
            principal,
            client_host,
            client_port: None,
            peer_broker: None,
            is_internal: false,
            by_token: false,
            client_address,
            asked_metadata: Arc::new(Mutex::new(Instant::now())),
            software: Arc::new(Mutex::new(Software::named(SOFTWARE_UNKNOWN, SOFTWARE_UNKNOWN))),
        }
    }

    /// Whether the connection came in on the reserved listener between brokers.
    #[must_use]
    pub fn is_replication_listener(&self) -> bool {
        self.is_internal
    }
}
