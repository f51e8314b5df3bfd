//! Apache Kafka's classes, which `tests/clients/install` fetches from Maven Central, and how its start scripts run them.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::process::CommandLine;

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
pub fn java(heap: &[&str], class: &str) -> anyhow::Result<CommandLine> {
    let mut command = vec![OsString::from("java")];
    command.extend(heap.iter().chain(&PERFORMANCE).map(OsString::from));
    command.extend([
        "-cp".into(),
        format!("{}/*", directory()?.display()).into(),
        class.into(),
    ]);
    Ok(command)
}

fn directory() -> anyhow::Result<PathBuf> {
    let cache = match std::env::var_os("FLOTILLA_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache/flotilla"),
    };
    let directory = cache.join("kafka-4.3.1/libs");
    anyhow::ensure!(
        directory.join(".complete").exists(),
        "Apache Kafka is not in {}: run tests/clients/install",
        directory.display()
    );
    Ok(directory)
}
