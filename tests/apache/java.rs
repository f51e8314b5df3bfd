//! Apache Kafka's classes, which `tests/clients/install` fetches from Maven Central, and how its start scripts run them.

use std::ffi::OsString;

use super::process::CommandLine;

#[path = "../clients/libraries.rs"]
pub mod libraries;

/// What `kafka-run-class.sh` of 4.3.1 gives every JVM.
const PERFORMANCE: [&str; 7] = [
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

/// A JVM with one of Kafka's classes.
pub fn command(heap: &[&str], class: &str) -> anyhow::Result<CommandLine> {
    let mut command = vec![OsString::from("java")];
    command.extend(heap.iter().chain(&PERFORMANCE).map(OsString::from));
    let class_path = libraries::class_path().map_err(anyhow::Error::msg)?;
    command.extend(["-cp".into(), class_path.into(), class.into()]);
    Ok(command)
}
