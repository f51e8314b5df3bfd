//! `flotilla bench`: a load generator for any Kafka. Lean, so that what is measured is the broker: batches are prepared, one
//! thread drives all connections, and responses are looked at no more than needed. At a given rate it is open-loop: a
//! record's latency counts from when it was due, whether or not the broker kept it waiting (no coordinated omission).

mod client;
mod cluster;
mod consume;
mod endpoint;
mod load;
mod measure;
mod options;
mod picture;
mod produce;
mod report;
mod run;
mod schedule;

use std::process::ExitCode;

pub use options::Arguments;

/// Runs a load and prints what it measured.
pub fn run(arguments: &Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let measured = match runtime {
        Ok(runtime) => runtime.block_on(run::run(arguments)),
        Err(error) => Err(error.into()),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
