//! `flotilla`: a fleet on this machine, and a look at it.

mod bench;
mod home;
mod kafka;
mod progress;
mod status;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs fleets of Kafka-compatible brokers from three kinds of manifests: Cluster, Topic and User.
///
/// Begin with `flotilla up examples/quickstart`; then, in another terminal, `flotilla status`.
#[derive(Parser)]
#[command(
    name = "flotilla",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Arguments),
    Status(status::Arguments),
    Bench(Box<bench::Arguments>),
    Broker(BrokerArguments),
}

/// Runs one broker in the foreground, as `flotilla up` does for each.
#[derive(clap::Args)]
struct BrokerArguments {
    /// The broker's configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The process that must live for this one to live.
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<i32>,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Up(arguments) => up::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Broker(arguments) => broker(&arguments),
    }
}

fn broker(arguments: &BrokerArguments) -> ExitCode {
    if let Some(parent) = arguments.parent {
        let tied = up::tie_to_parent(parent);
        if let Err(problem) = tied {
            eprintln!("error: {problem}");
            return ExitCode::FAILURE;
        }
    }
    flotilla_broker::run(&arguments.config)
}
