//! Apache Kafka 4.3.1 and this broker, side by side on this machine, in one run: `just versus-kafka`. Each scenario runs on one and then
//! on the other, in turn; medians, ranges and ratios go to `docs/performance.md`, raw figures to `target/versus`.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../apache/mod.rs"]
mod apache;
mod client;
mod contender;
mod curve;
mod document;
#[path = "curve/draw.rs"]
mod draw;
mod figure;
mod generator;
mod ground;
mod machine;
mod memory;
mod network;
mod outcome;
#[allow(dead_code)]
#[path = "../process/raw.rs"]
mod raw;
#[path = "../process/reading.rs"]
mod reading;
mod run;
mod scenario;
mod spoken;
mod statistics;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;

use curve::{CURVES, Curve};
use figure::Figure;
use ground::Ground;
use machine::{LOAD_MAX, Machine};
use outcome::{Contender, Outcome, Pair, Run};
use run::Place;
use scenario::{SCENARIOS, Scenario};

/// Measures Apache Kafka and this broker, in turn.
///
/// The machine must do nothing else: it is waited for until its load average is below 1, and figures of a busy one are refused.
#[derive(Parser)]
#[command(name = "versus")]
struct Arguments {
    /// Only these scenarios.
    #[arg(value_parser = named)]
    scenarios: Vec<&'static Scenario>,
    /// How this broker scales instead, without Apache Kafka: all curves, or those named.
    #[arg(long, value_name = "CURVE", num_args = 0.., value_parser = curve_named, conflicts_with = "scenarios")]
    curves: Option<Vec<&'static Curve>>,
    /// How often each scenario runs on each contender, or each point of a curve.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pairs: u64,
    /// Seconds to measure, and to warm up at the most, instead of what scenarios say.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// A try: also on a busy machine and of a debug build; the document stays as it is.
    #[arg(long = "try")]
    trial: bool,
    /// Only one contender; for a try.
    #[arg(long, value_enum, requires = "trial")]
    only: Option<Only>,
    /// How many seconds to wait for the machine to be idle.
    #[arg(long, default_value_t = 900)]
    patience: u64,
    /// The core of the brokers.
    #[arg(long, default_value_t = 0)]
    broker_core: usize,
    /// The core of the generator.
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// Our binary, generator and broker.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_flotilla"))]
    flotilla: PathBuf,
    /// Where brokers have their data, and raw figures go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/versus"))]
    directory: PathBuf,
    /// Lists the scenarios and what is asked of each.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    Kafka,
    Flotilla,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.list {
        list()
    } else {
        network::enter().and_then(|()| compare(&arguments))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn named(name: &str) -> Result<&'static Scenario, String> {
    Scenario::named(name).ok_or_else(|| format!("there is no scenario `{name}`; --list shows them"))
}

fn curve_named(name: &str) -> Result<&'static Curve, String> {
    Curve::named(name).ok_or_else(|| format!("there is no curve `{name}`; --list shows them"))
}

fn list() -> anyhow::Result<()> {
    for scenario in &SCENARIOS {
        println!("{}: {}", scenario.name, scenario.settings());
        for row in scenario.rows.iter().filter(|row| !row.targets.is_empty()) {
            let targets: Vec<String> = row.targets.iter().map(|target| target.text()).collect();
            println!("    {} {}", row.figure.title(), targets.join(" and "));
        }
    }
    for curve in &CURVES {
        println!("--curves {}: {:?} {}", curve.name, curve.points, curve.axis);
    }
    Ok(())
}

fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    may_begin(arguments)?;
    let results = arguments
        .directory
        .join(if arguments.trial { "tries" } else { "results" });
    fs::create_dir_all(&results)?;
    let _kept = memory::Kept::take();
    let place = Place {
        ground: Ground::take(&arguments.directory)?,
        flotilla: arguments.flotilla.clone(),
        broker_core: arguments.broker_core,
    };
    let Some(curves) = &arguments.curves else {
        return side_by_side(arguments, &place, &results);
    };
    let all: Vec<&Curve> = CURVES.iter().collect();
    draw::all(
        &place,
        &draw::Order {
            curves: if curves.is_empty() { &all } else { curves },
            runs: arguments.pairs,
            seconds: arguments.seconds,
            results: &results,
            trial: arguments.trial,
        },
    )
}

fn side_by_side(arguments: &Arguments, place: &Place, results: &Path) -> anyhow::Result<()> {
    let scenarios: Vec<Scenario> = match arguments.scenarios.as_slice() {
        [] => SCENARIOS
            .iter()
            .map(|scenario| scenario.for_seconds(arguments.seconds))
            .collect(),
        some => some
            .iter()
            .map(|scenario| scenario.for_seconds(arguments.seconds))
            .collect(),
    };
    let contenders = if arguments.only.is_some() { 1 } else { 2 };
    let runs: u64 = scenarios.iter().map(Scenario::seconds_a_run).sum();
    let minutes = (runs * contenders * arguments.pairs).div_ceil(60);
    println!(
        "versus: scenarios: {}, pairs of each: {}, in about {minutes} min",
        scenarios.len(),
        arguments.pairs
    );
    let mut outcomes = Vec::new();
    for scenario in &scenarios {
        let outcome = pairs(place, scenario, arguments);
        let file = results.join(format!("{}.json", scenario.name));
        fs::write(&file, serde_json::to_string_pretty(&outcome)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        outcomes.push(outcome);
        if !arguments.trial {
            write_document(results)?;
        }
    }
    print!("\n{}", document::table(&outcomes));
    if arguments.trial {
        println!(
            "\nversus: a try; the document is as it was, raw figures are in {}",
            results.display()
        );
    }
    Ok(())
}

/// Whether figures of this build on this machine, now, would mean anything. Puts this process on the generator's core.
fn may_begin(arguments: &Arguments) -> anyhow::Result<()> {
    let cores = machine::cores();
    let (broker, generator) = (arguments.broker_core, arguments.generator_core);
    anyhow::ensure!(
        broker < cores && generator < cores && broker != generator,
        "brokers and generator need a core each, of {cores} that there are"
    );
    anyhow::ensure!(
        arguments.trial || !cfg!(debug_assertions),
        "this is a debug build: run `just versus-kafka`, or only try it with --try"
    );
    // Threads that are started later, and generators, inherit it.
    let pinned = Command::new("taskset")
        .args(["-cp", &generator.to_string(), &std::process::id().to_string()])
        .output()
        .context("cannot start taskset")?;
    anyhow::ensure!(
        pinned.status.success(),
        "taskset: {}",
        String::from_utf8_lossy(&pinned.stderr)
    );
    wait_until_idle(arguments)
}

fn wait_until_idle(arguments: &Arguments) -> anyhow::Result<()> {
    const LOOK: Duration = Duration::from_secs(5);
    if arguments.trial {
        if machine::load() > LOAD_MAX {
            eprintln!(
                "versus: THE MACHINE IS BUSY (load average {}): these figures prove nothing",
                machine::load()
            );
        }
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(arguments.patience);
    let mut told = false;
    while machine::load() > LOAD_MAX {
        if !told {
            println!(
                "versus: waits until the load average, now {}, is below {LOAD_MAX}",
                machine::load()
            );
            told = true;
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the machine is busy (load average {}): a figure from it is not to be claimed; --try runs all the same",
            machine::load()
        );
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn pairs(place: &Place, scenario: &Scenario, arguments: &Arguments) -> Outcome {
    let mut outcome = Outcome {
        scenario: scenario.name.to_owned(),
        date: machine::date(),
        commit: machine::commit(),
        machine: Machine::look(),
        command: command(scenario, arguments),
        seconds: scenario.seconds,
        pairs: Vec::new(),
    };
    for number in 1..=arguments.pairs {
        let run = |contender, other| {
            if arguments.only == Some(other) {
                return Run::default();
            }
            let began = Instant::now();
            let run = place.run(contender, scenario);
            let rows = scenario.rows.iter().map(|row| row.figure);
            let shown: Vec<Figure> = rows.chain([Figure::OthersCores]).collect();
            println!(
                "{} {number}/{} {}: {} ({:.0} s)",
                scenario.name,
                arguments.pairs,
                contender.name(),
                document::told(&run, &shown),
                began.elapsed().as_secs_f64()
            );
            run
        };
        let kafka = run(Contender::Kafka, Only::Flotilla);
        let flotilla = run(Contender::Flotilla, Only::Kafka);
        outcome.pairs.push(Pair { kafka, flotilla });
    }
    outcome
}

/// The command that makes an outcome again.
fn command(scenario: &Scenario, arguments: &Arguments) -> String {
    let mut command = format!("just versus-kafka {} --pairs {}", scenario.name, arguments.pairs);
    if let Some(seconds) = arguments.seconds {
        command += &format!(" --seconds {seconds}");
    }
    command
}

/// Writes the document anew from all results that there are.
fn write_document(results: &Path) -> anyhow::Result<()> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for scenario in &SCENARIOS {
        let file = results.join(format!("{}.json", scenario.name));
        if let Ok(text) = fs::read_to_string(&file) {
            outcomes.push(serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?);
        }
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    fs::write(docs.join("performance.md"), document::markdown(&outcomes))?;
    fs::write(docs.join(document::RATIOS), document::ratios(&outcomes))?;
    fs::write(docs.join(document::LATENCIES), document::latencies(&outcomes))?;
    Ok(())
}
