//! How many instructions the hot paths take: parse, check, append, read, encode. Counted by callgrind, so that a busy machine says the same as
//! an idle one, and shown beside what was recorded: a figure to look at, not a test.

mod paths;
mod recorded;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Parser;

use paths::{PATHS, Path};

/// A path runs so often, and twice as often: what is counted is the difference, so that starting and preparing fall out.
const ROUNDS: u32 = 50;

/// Counts the instructions of the hot paths under `valgrind --tool=callgrind`, and shows how they changed.
#[derive(Parser)]
struct Arguments {
    /// Keeps what is counted as what the next runs are compared with.
    #[arg(long)]
    record: bool,
    /// Where that is kept.
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded.txt"))]
    recorded: PathBuf,
    /// Runs one path so often and counts nothing: what is run under valgrind.
    #[arg(long, hide = true, num_args = 2, value_names = ["PATH", "ROUNDS"])]
    run: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.run.as_deref() {
        Some([name, rounds]) => run(name, rounds),
        _ => compare(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, rounds: &str) -> anyhow::Result<()> {
    let path = PATHS
        .iter()
        .find(|path| path.name == name)
        .with_context(|| format!("there is no path `{name}`"))?;
    (path.run)(rounds.parse().context("rounds are a number")?)
}

fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    let before = recorded::read(&arguments.recorded)?;
    let mut counted = Vec::new();
    println!(
        "{:<14} {:>14} {:>14} {:>8}  what is done",
        "path", "instructions", "recorded", "change"
    );
    for path in &PATHS {
        let instructions = count(path)?;
        let recorded = before.get(path.name).copied();
        println!(
            "{:<14} {instructions:>14} {:>14} {:>8}  {}",
            path.name,
            recorded.map_or_else(|| "-".to_owned(), |recorded| recorded.to_string()),
            recorded::change(recorded, instructions),
            path.what
        );
        counted.push((path.name, instructions));
    }
    if arguments.record {
        recorded::write(&arguments.recorded, &counted)?;
        println!("recorded in {}", arguments.recorded.display());
    }
    Ok(())
}

/// The instructions of one round.
fn count(path: &Path) -> anyhow::Result<u64> {
    let (once, twice) = (collected(path, ROUNDS)?, collected(path, 2 * ROUNDS)?);
    let rounds = u64::from(ROUNDS);
    Ok(twice.saturating_sub(once) / rounds)
}

fn collected(path: &Path, rounds: u32) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--run", path.name, &rounds.to_string()])
        .output()
        .context("cannot start valgrind; on Debian: apt-get update && apt-get install valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{} failed under valgrind: {said}",
        path.name
    );
    recorded::collected(&said).with_context(|| format!("valgrind does not say what it collected: {said}"))
}
