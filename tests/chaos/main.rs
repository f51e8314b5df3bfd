//! Chaos on real processes: fleets of three and of five brokers, clients that are not ours, and faults drawn from a seed. What clients
//! did and saw is recorded and judged in the end. `just test-chaos` runs it; it needs root.

#![allow(missing_docs, clippy::unwrap_used)]

mod care;
mod chance;
mod checker;
mod churn;
mod clients;
mod disk;
mod fault;
mod fleet;
mod history;
mod nemesis;
mod recorder;
mod replicas;
mod report;
mod run;
mod soundness;
mod switch;
mod within;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;

use fault::Kind;
use report::Report;

/// Breaks fleets of real broker processes while real clients use them, and checks that nothing is lost, doubled or out of order.
#[derive(Clone, Parser)]
struct Arguments {
    /// How long faults are made, on all fleets together.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// The sizes of the fleets, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [3, 5])]
    brokers: Vec<usize>,
    /// Draws the faults. Default: the time, and it is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds of faults.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Where the report goes, and the logs of a run that failed.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/chaos"))]
    report: PathBuf,
    /// Records a second of each writer.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Without Kafka's own clients.
    #[arg(long)]
    no_java: bool,
    /// Keeps the logs of a run that went well, too.
    #[arg(long)]
    keep_logs: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match within::directory() {
        Some(directory) => run::inside(&arguments, &directory),
        None => outside(arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one fleet after the other, each inside namespaces of its own, and writes the report. Says whether all went well.
fn outside(mut arguments: Arguments) -> anyhow::Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = *arguments
        .seed
        .get_or_insert(now.as_millis() as u64 % 1_000_000_007);
    std::fs::create_dir_all(&arguments.report)?;
    arguments.report = std::fs::canonicalize(&arguments.report)?;
    println!("chaos: seed {seed}; the same faults again with --seed {seed}");
    let seconds = arguments.seconds / arguments.brokers.len().max(1) as u64;
    let mut reports = Vec::new();
    let mut well = true;
    for brokers in &arguments.brokers {
        anyhow::ensure!((3..=9).contains(brokers), "fleets have 3 to 9 brokers");
        let file = report_file(&arguments.report, *brokers, "json");
        let _ = std::fs::remove_file(&file);
        let mut inside = vec![
            format!("--seconds={seconds}"),
            format!("--brokers={brokers}"),
            format!("--seed={seed}"),
            format!("--report={}", arguments.report.display()),
            format!("--rate={}", arguments.rate),
        ];
        inside.extend(
            arguments
                .faults
                .iter()
                .map(|kind| format!("--faults={}", kind.name())),
        );
        inside.extend(arguments.no_java.then(|| "--no-java".to_owned()));
        inside.extend(arguments.keep_logs.then(|| "--keep-logs".to_owned()));
        well &= within::enter(&inside)? == 0;
        match std::fs::read(&file) {
            Ok(bytes) => reports.push(serde_json::from_slice::<Report>(&bytes)?),
            Err(_) => well = false,
        }
    }
    let file = arguments.report.join("chaos.md");
    std::fs::write(&file, report::markdown(&reports))?;
    println!("chaos: the report is {}", file.display());
    Ok(well)
}

/// A file of the report on a fleet of this size.
fn report_file(directory: &Path, brokers: usize, extension: &str) -> PathBuf {
    directory.join(format!("chaos-{brokers}.{extension}"))
}
