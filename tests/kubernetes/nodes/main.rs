//! The whole of it, on three nodes in three zones: helm, kubectl, brokers in pods, and clients in pods. `just test-nodes`.

#![allow(missing_docs, clippy::unwrap_used)]

#[allow(dead_code)]
mod cluster;
#[allow(dead_code)]
mod command;
#[allow(dead_code)]
#[path = "../../process/eventually.rs"]
mod eventually;
#[allow(dead_code)]
mod fleet;
#[allow(dead_code)]
#[path = "../../process/kafka.rs"]
mod kafka;
#[allow(dead_code)]
#[path = "../programs.rs"]
mod programs;
#[allow(dead_code)]
#[path = "../../clients/tools.rs"]
mod tools;
#[allow(dead_code)]
#[path = "../../process/writer.rs"]
mod writer;
#[path = "../wrong_clusters.rs"]
mod wrong_clusters;

mod application;
mod bad_specifications;
mod deletion;
mod faults;
mod first_fleet;
mod idle;
mod manners;
mod many_topics;
mod scale;
mod settings;
mod topics;
