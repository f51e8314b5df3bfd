//! The Flotilla broker: a process that stores, replicates and coordinates, and speaks Kafka's protocol.

pub mod auth;
pub mod broker;
pub mod clock;
pub mod partition;
pub mod request;
