//! Real sockets on loopback: what clients may do to a broker, and what they may not.

pub(crate) mod client;
mod client_metrics;
mod hostile;
mod oauth;
mod revocation;
mod security;
mod setup;
mod tokens;
