//! Metrics that clients push (KIP-714): who is to push what how often, whose push is taken, and the last value of each metric, as Prometheus reads
//! it from the broker. There is no plugin that they are handed to, as in Kafka: the broker itself is where they go.
//!
//! [`Instances`] knows the clients and answers for Kafka's rules; [`Received`] keeps what they pushed, within bounds; [`otlp`] reads a push.

mod client;
mod instance;
mod instances;
mod names;
pub mod otlp;
mod received;
mod subscription;

pub use client::{Client, SOFTWARE_UNKNOWN};
pub use instances::{Counts, INSTANCES_MAX, Instances, Push, Refusal, Taken, Wanted};
pub use names::cut;
pub use received::{Family, Origin, Received, Row};
pub use subscription::{Subscription, check_match};
