//! `simulate`: runs seeds of the simulation, prints each that fails and how to replay it.

use anyhow::Context as _;
use clap::Parser;
use flotilla_simulation::dice::Dice;
use flotilla_simulation::level::Level;
use flotilla_simulation::report;
use flotilla_simulation::run::{Extent, Total, run};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// From so many seeds on, it is a failure if something never happened that they are meant to try.
const TELLING_SEEDS: u64 = 200;

/// Runs brokers on simulated disks, networks and clocks.
#[derive(Parser)]
struct Options {
    /// What is simulated.
    #[arg(value_enum)]
    level: Level,
    /// Runs this seed, and no other.
    #[arg(long, conflicts_with_all = ["seeds", "seconds", "forever"])]
    seed: Option<u64>,
    /// Runs so many fresh seeds; with --seconds, at least so many.
    #[arg(long, conflicts_with = "forever")]
    seeds: Option<u64>,
    /// Runs fresh seeds for so long.
    #[arg(long, conflicts_with = "forever")]
    seconds: Option<u64>,
    /// Runs fresh seeds until one fails.
    #[arg(long)]
    forever: bool,
    /// The first of the fresh seeds; by default drawn from the clock.
    #[arg(long)]
    first: Option<u64>,
    /// Prints what happens, line by line.
    #[arg(long)]
    trace: bool,
    /// Seeds at a time; by default as many as there are processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Adds the run to this report.
    #[arg(long, requires_all = ["commit", "date"])]
    report: Option<PathBuf>,
    /// For the report: what was run.
    #[arg(long)]
    commit: Option<String>,
    /// For the report: when.
    #[arg(long)]
    date: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let first = match (options.seed, options.first) {
        (Some(seed), _) | (None, Some(seed)) => seed,
        (None, None) => fresh()?,
    };
    let seeds = if options.forever || (options.seconds.is_some() && options.seeds.is_none()) {
        None
    } else {
        Some(options.seeds.unwrap_or(1))
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let extent = Extent {
        first,
        seeds,
        time: options.seconds.map(Duration::from_secs),
        threads: if options.trace {
            1
        } else {
            options.threads.unwrap_or(processors).max(1)
        },
        trace: options.trace,
    };
    let name = format!("{:?}", options.level).to_lowercase();
    println!("{name}: seeds from {first} on");
    let started = Instant::now();
    let total = run(options.level, extent)?;
    println!(
        "{name}: {} seeds passed, from {first} on; {} s simulated in {} s",
        total.seeds,
        total.simulated_ms / 1_000,
        started.elapsed().as_secs(),
    );
    for (kind, times) in total.counts.iter() {
        println!("  {times:>12} {kind}");
    }
    judge(&options, &name, &total)?;
    record(&options, name, first, total)
}

/// A first seed that nobody chose. Small enough to be typed.
fn fresh() -> anyhow::Result<u64> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock of this machine stands before 1970")?;
    Ok(Dice::new(since.as_nanos() as u64).below(1_000_000_000_000))
}

/// Fails where a rule did not hold, or where the seeds did not do what they are for.
fn judge(options: &Options, name: &str, total: &Total) -> anyhow::Result<()> {
    for (seed, violation) in &total.failures {
        println!("seed {seed}: {}: {}", violation.invariant, violation.message);
        println!("replay it with: just simulate {seed} {name}");
    }
    anyhow::ensure!(
        total.failures.is_empty(),
        "{} seeds of {name} failed",
        total.failures.len()
    );
    let missing: Vec<_> = options
        .level
        .kinds()
        .into_iter()
        .filter(|kind| total.counts.of(kind) == 0)
        .collect();
    anyhow::ensure!(
        total.seeds < TELLING_SEEDS || missing.is_empty(),
        "in {} seeds of {name} these never happened: {missing:?}",
        total.seeds
    );
    Ok(())
}

fn record(options: &Options, level: String, first: u64, total: Total) -> anyhow::Result<()> {
    let (Some(path), Some(commit), Some(date)) = (&options.report, &options.commit, &options.date) else {
        return Ok(());
    };
    let run = report::Run {
        level,
        first,
        seeds: total.seeds,
        simulated_s: total.simulated_ms / 1_000,
        counts: total.counts,
        commit: commit.clone(),
        date: date.clone(),
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let text = report::add(&text, &run)?;
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
