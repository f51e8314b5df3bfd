//! The process: configuration, start, serve, drain.

use std::path::Path;
use std::process::ExitCode;

use flotilla_control::config::BrokerConfig;
use tokio::signal::unix::{SignalKind, signal};

use crate::start::start;
use crate::telemetry::log::Level;

/// Runs a broker until it is told to stop (SIGTERM, SIGINT) or cannot go on, and gives the exit code: 0 after a clean stop, 1
/// when it did not start or had to stop. What is wrong is said on standard error. A second signal stops it at once.
#[must_use]
pub fn run(config: &Path) -> ExitCode {
    let level = match Level::install() {
        Ok(level) => level,
        Err(error) => return refuse(&error),
    };
    let config = match BrokerConfig::load(config) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    runtime.block_on(serve(config, level))
}

fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn serve(config: BrokerConfig, level: Level) -> ExitCode {
    // Before anything is open, so that a signal during the start is not lost.
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => return refuse(&error),
        };
    let started = tokio::select! {
        started = start(config, level) => started,
        _ = terminate.recv() => return ExitCode::SUCCESS,
        _ = interrupt.recv() => return ExitCode::SUCCESS,
    };
    let running = match started {
        Ok(running) => running,
        Err(error) => return refuse(&error),
    };
    let failure = tokio::select! {
        why = running.failed() => Some(why),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    if let Some(why) = failure {
        running.abandon().await;
        return refuse(&why);
    }
    tracing::info!("stopping: leadership is handed over first");
    tokio::select! {
        () = running.drain() => ExitCode::SUCCESS,
        _ = terminate.recv() => refuse(&"stopped at once by a second signal"),
        _ = interrupt.recv() => refuse(&"stopped at once by a second signal"),
    }
}
