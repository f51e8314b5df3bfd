//! The systems around Kafka, each as its users run it, against a fleet of three brokers: `just test-systems`.

#![allow(missing_docs, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../apache/mod.rs"]
mod apache;
mod committed;
mod connect;
#[path = "../process/eventually.rs"]
mod eventually;
mod feed;
#[allow(dead_code)]
#[path = "../process/fleet.rs"]
mod fleet;
mod flink;
mod hadoop;
mod java;
#[allow(dead_code)]
#[path = "../process/kafka.rs"]
mod kafka;
#[allow(dead_code)]
#[path = "../versus/machine.rs"]
mod machine;
mod mirror;
#[allow(dead_code)]
#[path = "../clients/process.rs"]
mod process;
mod rest;
mod spark;
mod storm;
mod streams;
mod system;
#[allow(dead_code)]
#[path = "../clients/table.rs"]
mod table;
mod topics;
mod words;
