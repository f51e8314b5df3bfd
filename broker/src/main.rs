//! `flotilla-broker --config FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// A Kafka-compatible broker: it stores, replicates and coordinates.
#[derive(Parser)]
#[command(
    version,
    after_help = "SIGTERM and SIGINT stop it in order: leadership is handed over, clients go, logs are closed.\n\
    The log goes to standard error; RUST_LOG sets its level, and PUT /loglevel on the admin port changes it while it runs."
)]
struct Arguments {
    /// The configuration file (YAML), as the operator or `flotilla up` writes it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    flotilla_broker::run(&Arguments::parse().config)
}
