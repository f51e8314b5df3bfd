//! `docs/performance.md`: one table with its pictures, of all scenarios that were run. Pure.

mod number;
mod picture;

use std::fmt::Write as _;

use crate::figure::{Figure, Row};
use crate::outcome::{Contender, Outcome, Run};
use crate::scenario::{SCENARIOS, Scenario};
use crate::statistics::Spread;

pub use number::text as number;
pub use picture::{latencies, ratios};

/// Names of the pictures, beside the document.
pub const RATIOS: &str = "performance-ratios.svg";
pub const LATENCIES: &str = "performance-latency.svg";

/// More than this of a core used by others makes a run doubtful.
pub const OTHERS_MAX: f64 = 0.1;

/// What stands before the figures.
pub const INTRODUCTION: &str = "\
# Flotilla and Apache Kafka 4.3.1, side by side

    just versus-kafka                                          # all of it: hours, on a machine that does nothing else
    just versus-kafka produce-1000 latency                     # some scenarios
    just versus-kafka produce-1000 --pairs 1 --seconds 10 --try   # a try, which does not change this page

Each scenario runs on one contender and then on the other, in turn, from an empty directory; the brokers have one core, the
generator the other. What is compared is ratios of medians, since absolute figures drift on any machine; behind each
median stands the range of all runs, behind a ratio that of all pairs.

- Apache Kafka comes from Maven Central: KRaft, broker and controller in one process, the JVM options of its own start scripts (1 GiB heap, G1), Java 17.
  Flotilla is a release build, configured by the functions that the operator uses. Everything else is at its default, but where a row says so: `retention.bytes`,
  `segment.bytes`, `file.delete.delay.ms` of a log that is bounded, and how often it is looked at (`log.retention.check.interval.ms`, once a second), alike on both.
- With acks=1 neither syncs before it acknowledges. With acks=all Flotilla's default syncs on all replicas first (`flush.policy=sync`); Kafka leaves it to the
  page cache. Rows say where ours was set to do as Kafka does. Flotilla syncs what it acknowledged early soon afterwards also with acks=1, Kafka does not.
- Between brokers Flotilla speaks mutual TLS, always; Kafka's brokers speak plaintext here, as is their default.
- Kafka checks each record of an uncompressed batch, and its keys where a topic is compacted; Flotilla checks the batch: its checksum, its bounds, its counts. What a
  compressed batch holds, Kafka unpacks and checks; Flotilla does not, but for compacted topics. Batches are not compressed here.
- The generator is `flotilla bench`: prepared batches, so that it is not the limit; where there is a rate, latency counts from when a record was due. Rows with the
  name of a Java tool are Apache Kafka's own measuring.
- CPU is user and system time of the brokers' processes over the time that was measured. Memory is resident, of all brokers added up, what they share counted for each. What was
  written is what the brokers caused to be sent to disks (`write_bytes` in proc(5)), also where retention deleted it before it got there. System calls are not counted: tracing them costs more than they do.
- The network is loopback in a namespace of its own, with cubic, Linux's default congestion control. Where a machine is set to BBR, as this one, each packet sets a timer, which costs
  both sides more than sending it; scenarios whose note does not name cubic were measured so.
- In a virtual machine, free memory that went back to the host is slow to come again, whoever uses it: it stays with the machine meanwhile, and was used once before.
";

/// What a run came to, in a line.
pub fn told(run: &Run, figures: &[Figure]) -> String {
    if let Some(why) = &run.failed {
        return format!("FAILED: {why}");
    }
    let told = figures.iter().filter_map(|figure| {
        let value = run.figures.get(figure)?;
        Some(format!("{} {}", figure.title(), number(*value)))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// The document.
pub fn markdown(outcomes: &[Outcome]) -> String {
    let mut text = INTRODUCTION.to_owned();
    let Some(first) = outcomes.first() else {
        return text + "\nNothing was measured yet.\n";
    };
    let _ = write!(text, "\n## Results\n\n{}.\n\n", first.machine.text());
    let _ = writeln!(text, "![ratios]({RATIOS})\n\n![latencies]({LATENCIES})\n");
    text.push_str(&table(outcomes));
    text.push_str(&notes(outcomes));
    text
}

/// The table: a line for each figure.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = "| scenario | figure | Apache Kafka | Flotilla | Flotilla / Kafka | target | met |\n\
                    | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (scenario, outcome) in in_order(outcomes) {
        for row in scenario.rows {
            let _ = writeln!(text, "{}", line(scenario, outcome, row));
        }
    }
    text
}

/// Outcomes with their scenarios, as the table of scenarios has them.
fn in_order(outcomes: &[Outcome]) -> impl Iterator<Item = (&'static Scenario, &Outcome)> {
    SCENARIOS.iter().filter_map(|scenario| {
        let outcome = outcomes
            .iter()
            .find(|outcome| outcome.scenario == scenario.name)?;
        Some((scenario, outcome))
    })
}

fn line(scenario: &Scenario, outcome: &Outcome, row: &Row) -> String {
    let spread = |contender| outcome.spread(contender, row.figure);
    let (kafka, ours) = (spread(Contender::Kafka), spread(Contender::Flotilla));
    let ratio = kafka
        .median()
        .zip(ours.median())
        .filter(|(kafka, _)| *kafka > 0.0);
    let ratio = ratio.map_or_else(
        || "–".to_owned(),
        |(kafka, ours)| with_range(ours / kafka, &outcome.ratios(row.figure)),
    );
    let targets: Vec<String> = row.targets.iter().map(|target| target.text()).collect();
    let cells = [
        format!("{}: {}", scenario.name, scenario.settings()),
        row.figure.title().to_owned(),
        cell(&kafka),
        cell(&ours),
        ratio,
        targets.join(" and "),
        verdict(row, kafka.median(), ours.median()).to_owned(),
    ];
    format!("| {} |", cells.join(" | "))
}

/// Whether all targets of a row are met.
fn verdict(row: &Row, kafka: Option<f64>, ours: Option<f64>) -> &'static str {
    if row.targets.is_empty() {
        return "";
    }
    let met = |target: &crate::figure::Target| ours.and_then(|ours| target.is_met(kafka, ours));
    match row.targets.iter().map(met).collect::<Option<Vec<bool>>>() {
        None => "not told",
        Some(all) if all.iter().all(|met| *met) => "yes",
        Some(_) => "**no**",
    }
}

fn cell(spread: &Spread) -> String {
    spread
        .median()
        .map_or_else(|| "–".to_owned(), |median| with_range(median, spread))
}

fn with_range(median: f64, spread: &Spread) -> String {
    match spread.range() {
        Some((from, to)) if from < to => format!("{} ({}–{})", number(median), number(from), number(to)),
        _ => number(median),
    }
}

/// For each scenario: when, of which commit, how often, and what to know of it.
fn notes(outcomes: &[Outcome]) -> String {
    let mut text = "\n## Notes\n\n".to_owned();
    for (scenario, outcome) in in_order(outcomes) {
        let pairs = outcome.pairs.len();
        let plural = if pairs == 1 { "" } else { "s" };
        let _ = write!(
            text,
            "- {}: {pairs} pair{plural}, {}, commit {}, `{}`, load average {} at the start",
            scenario.name, outcome.date, outcome.commit, outcome.command, outcome.machine.load
        );
        if !outcome.machine.congestion_control.is_empty() {
            let _ = write!(text, "; TCP: {}", outcome.machine.congestion_control);
        }
        if let Some(others) = others(outcome) {
            let doubt = if others > OTHERS_MAX {
                " (**disturbed**)"
            } else {
                ""
            };
            let _ = write!(text, "; others used up to {} cores{doubt}", number(others));
        }
        if !scenario.note.is_empty() {
            let _ = write!(text, "; {}", scenario.note);
        }
        for failure in outcome.failures() {
            let _ = write!(text, "; failed: {failure}");
        }
        text.push_str(".\n");
    }
    text
}

/// The most that others used of the machine during a run.
pub fn others(outcome: &Outcome) -> Option<f64> {
    [Contender::Kafka, Contender::Flotilla]
        .iter()
        .filter_map(|contender| outcome.spread(*contender, Figure::OthersCores).range())
        .map(|(_, most)| most)
        .max_by(f64::total_cmp)
}
