//! Clients that are not ours, as their users run them: client libraries, kcat, and Apache Kafka's own tools. `just test-clients`.

#![allow(missing_docs, clippy::unwrap_used)]

mod delegation_tokens;
#[path = "../process/eventually.rs"]
mod eventually;
#[allow(dead_code)]
#[path = "../process/fleet.rs"]
mod fleet;
#[allow(dead_code)]
#[path = "../process/kafka.rs"]
mod kafka;
mod kafka_tools;
mod kcat;
mod migration;
mod modern_groups;
mod moving;
mod oauth;
#[allow(dead_code)]
#[path = "../process/on_disk.rs"]
mod on_disk;
#[allow(dead_code)]
mod process;
#[allow(dead_code)]
#[path = "../process/raw.rs"]
mod raw;
mod scenario;
mod scram;
mod share_groups;
mod streams_groups;
mod streams_member;
mod table;
mod telemetry;
mod tools;
mod transactions;
