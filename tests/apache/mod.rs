//! Apache Kafka's own brokers, for suites that run them beside ours. `tests/clients/install` fetches the classes.

pub mod java;
pub mod process;
pub mod server;
