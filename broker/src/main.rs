//! `flotilla-broker --config FILE`: one broker of a fleet.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// A Kafka-compatible broker of a Flotilla fleet.
///
/// SIGTERM and SIGINT stop it in order: leadership is handed over, clients go, logs are closed; a second one stops it at
/// once. The log goes to standard error; RUST_LOG sets its level, and PUT /loglevel on the admin port changes it while it
/// runs. Exit codes: 0 stopped as asked, 1 could not start or not go on, 130 stopped at once.
#[derive(Parser)]
#[command(name = "flotilla-broker", version)]
struct Flags {
    /// The broker's configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    flotilla_broker::run(&Flags::parse().config)
}
