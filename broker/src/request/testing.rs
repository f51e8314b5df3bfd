//! Surroundings for tests of handlers.

use super::{Context, Session};
use crate::auth::Principal;
use crate::broker::Broker;
use crate::metadata::Image;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A request of that version by an anonymous client on the listener `internal` of a broker that knows nothing yet.
pub(crate) fn context(version: i16) -> Context {
    context_of(
        Broker::in_memory(Image::default()),
        Principal::anonymous(),
        version,
    )
}

/// A request of that version to that broker, by that client.
pub(crate) fn context_of(broker: Arc<Broker>, principal: Principal, version: i16) -> Context {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let session = Session::new(1, "internal".into(), principal, host);
    Context {
        broker,
        session: Arc::new(session),
        client_id: Some("test".into()),
        version,
        correlation_id: 1,
    }
}
