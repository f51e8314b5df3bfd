//! The Flotilla broker: a process that stores, replicates and coordinates, and speaks Kafka's protocol.

pub mod auth;
pub mod broker;
pub mod client_metrics;
pub mod clock;
pub mod coordination;
pub mod coordinator_runtime;
pub mod courier;
pub mod fetch_session;
pub mod group;
pub mod log;
pub mod metadata;
pub mod net;
mod numbers;
pub mod partition;
pub mod pattern;
pub mod quota;
pub mod replica;
pub mod request;
mod run;
pub mod share;
pub mod share_runtime;
pub mod start;
pub mod telemetry;
pub mod transaction;

pub use run::{FAILED, INTERRUPTED, STOPPED, run};
