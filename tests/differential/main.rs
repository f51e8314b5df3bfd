//! The same requests to Apache Kafka and to a fleet of ours, and the answers compared field by field: `just differential`.

#![allow(missing_docs, clippy::unwrap_used)]

mod answer;
#[allow(dead_code)]
#[path = "../apache/mod.rs"]
mod apache;
mod broker;
mod case;
mod cases;
mod contenders;
mod differences;
mod document;
mod errors;
#[path = "../process/eventually.rs"]
mod eventually;
#[allow(dead_code)]
#[path = "../process/fleet.rs"]
mod fleet;
mod normal;
#[allow(dead_code)]
#[path = "../process/raw.rs"]
mod raw;
mod receiver;
mod run;
mod scene;
