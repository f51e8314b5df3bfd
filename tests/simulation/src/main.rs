//! `simulate`: runs seeds of the simulation, prints each that fails and how to replay it.

use anyhow::Context as _;
use clap::Parser;
use flotilla_simulation::dice::Dice;
use flotilla_simulation::level::Level;
use flotilla_simulation::outcome::Counts;
use flotilla_simulation::trace::Trace;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let first = match (options.seed, options.first) {
        (Some(seed), _) | (None, Some(seed)) => seed,
        (None, None) => fresh()?,
    };
    let seeds = if options.seed.is_some() {
        Some(1)
    } else if options.forever || options.seconds.is_some() {
        options.seeds
    } else {
        Some(options.seeds.unwrap_or(1))
    };
    run(&options, first, seeds)
}

/// A first seed that nobody chose. Small enough to be typed.
fn fresh() -> anyhow::Result<u64> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock of this machine stands before 1970")?;
    Ok(Dice::new(since.as_nanos() as u64).below(1_000_000_000_000))
}

/// Runs seeds from `first` on: `seeds` of them at least, and until the time is up.
fn run(options: &Options, first: u64, seeds: Option<u64>) -> anyhow::Result<()> {
    let name = format!("{:?}", options.level).to_lowercase();
    let (started, mut counts, mut simulated_ms, mut done) = (Instant::now(), Counts::default(), 0, 0);
    let limit = options.seconds.map(Duration::from_secs);
    let is_enough = |done: u64| {
        let in_time = limit.map(|limit| started.elapsed() < limit);
        match (seeds, in_time) {
            (_, Some(true)) => false,
            (Some(seeds), _) => done >= seeds,
            (None, Some(false)) => true,
            (None, None) => false,
        }
    };
    while !is_enough(done) {
        let seed = first.wrapping_add(done);
        let trace = if options.trace {
            Trace::printed()
        } else {
            Trace::quiet()
        };
        let outcome = options.level.run(seed, trace)?;
        if let Some(violation) = outcome.violation {
            println!("seed {seed}: {}: {}", violation.invariant, violation.message);
            println!("replay it with: just simulate {seed} {name}");
            anyhow::bail!("seed {seed} of {name} failed, after {done} that passed");
        }
        counts.merge(&outcome.counts);
        simulated_ms += outcome.simulated_ms;
        done += 1;
        if done % 1_000 == 0 {
            println!(
                "{name}: {done} seeds passed so far, {} s",
                started.elapsed().as_secs()
            );
        }
    }
    println!(
        "{name}: {done} seeds passed, {first} to {}; {} s simulated in {} s",
        first.wrapping_add(done).wrapping_sub(1),
        simulated_ms / 1_000,
        started.elapsed().as_secs(),
    );
    for (kind, times) in counts.iter() {
        println!("  {times:>12} {kind}");
    }
    Ok(())
}
