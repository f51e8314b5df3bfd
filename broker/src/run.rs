//! The broker as a process: from a file to an exit code.

use crate::start::{self, Running};
use crate::telemetry::log::Level;
use flotilla_control::config::BrokerConfig;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// It was asked to stop, and has.
pub const STOPPED: u8 = 0;
/// It could not start, or not go on: what is wrong stands on standard error.
pub const FAILED: u8 = 1;
/// It was told a second time to stop, and did so at once.
pub const INTERRUPTED: u8 = 130;

/// Runs a broker until SIGTERM or SIGINT, then hands its leadership over and stops. Blocks. Logs to standard error.
/// What is wrong is said there in one line, with what to do.
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
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    let code = runtime.block_on(serve(config, level));
    // What still waits for a disk must not keep the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

fn refuse(error: &dyn Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(FAILED)
}

async fn serve(config: BrokerConfig, level: Level) -> u8 {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("error: signals cannot be received: {error}");
                return FAILED;
            }
        };
    let (broker, cluster) = (config.broker_id, config.cluster_id);
    tracing::info!(%broker, %cluster, version = env!("CARGO_PKG_VERSION"), "broker starts");
    let running = tokio::select! {
        started = Box::pin(start::start(config, level)) => match started {
            Ok(running) => running,
            Err(error) => {
                eprintln!("error: {error}");
                return FAILED;
            }
        },
        () = asked_to_stop(&mut terminate, &mut interrupt) => {
            tracing::info!("stopped before it had started");
            return STOPPED;
        }
    };
    tracing::info!(%broker, "broker serves");
    let code = tokio::select! {
        () = asked_to_stop(&mut terminate, &mut interrupt) => STOPPED,
        why = running.failed() => {
            tracing::error!(why, "the broker cannot go on");
            eprintln!("error: {why}");
            FAILED
        }
    };
    tokio::select! {
        () = Box::pin(end(running, code)) => code,
        () = asked_to_stop(&mut terminate, &mut interrupt) => {
            tracing::warn!("stopped at once: the next start looks through the logs");
            INTERRUPTED
        }
    }
}

async fn end(running: Running, code: u8) {
    if code == STOPPED {
        tracing::info!("broker stops");
        running.drain().await;
        tracing::info!("broker has stopped");
    } else {
        running.stop().await;
    }
}

async fn asked_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Logs and connections take files: as many as the system lets us have.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    ) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
