//! The parts of the comparison with Apache Kafka that start nothing: medians, targets, the document. They run with all other tests;
//! the comparison itself is `just versus-kafka`.

#![allow(missing_docs, clippy::unwrap_used, dead_code)]

mod curve;
mod curve_tests;
mod document;
mod document_tests;
mod figure;
mod machine;
mod outcome;
#[path = "../process/reading.rs"]
mod reading;
mod scenario;
mod spoken;
mod statistics;
