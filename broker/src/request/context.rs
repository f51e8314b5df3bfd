//! What a handler knows of the request that it answers, besides the request.

use super::Session;
use crate::broker::Broker;
use std::sync::Arc;

/// The request's surroundings. Cheap to clone, so that an answer that comes later can keep it.
#[derive(Clone)]
pub struct Context {
    /// The broker that answers.
    pub broker: Arc<Broker>,
    /// Who asks.
    pub session: Arc<Session>,
    /// What the client calls itself, from the request's header.
    pub client_id: Option<Arc<str>>,
    /// Of the request; the answer has the same.
    pub version: i16,
    /// By which the client tells its answers apart.
    pub correlation_id: i32,
}
