//! The document says of planted figures what they are.

use std::collections::BTreeMap;

use serde_json::json;

use crate::document::{INTRODUCTION, latencies, markdown, others, ratios, table};
use crate::figure::Figure;
use crate::machine::Machine;
use crate::outcome::{Outcome, Pair, Run};

fn run(figures: &[(Figure, f64)]) -> Run {
    Run {
        figures: BTreeMap::from_iter(figures.iter().copied()),
        generator: json!({"results": {"written": {"latency_ms": {"p50": 2.0, "p99": 40.0}}}}),
        failed: None,
    }
}

/// What one run of a contender came to.
type Figures<'a> = &'a [(Figure, f64)];

fn outcome(scenario: &str, pairs: &[(Figures<'_>, Figures<'_>)]) -> Outcome {
    Outcome {
        scenario: scenario.to_owned(),
        date: "2026-01-02 03:04".to_owned(),
        commit: "abc".to_owned(),
        machine: Machine {
            cores: 2,
            processor: "Some CPU".to_owned(),
            memory_gib: 24,
            kernel: "6.1".to_owned(),
            congestion_control: "cubic".to_owned(),
            load: 0.2,
        },
        command: format!("just versus-kafka {scenario}"),
        seconds: 60,
        pairs: pairs
            .iter()
            .map(|(kafka, flotilla)| Pair {
                kafka: run(kafka),
                flotilla: run(flotilla),
            })
            .collect(),
    }
}

/// The cells of the line of a figure, without the scenario's.
fn cells(outcomes: &[Outcome], figure: Figure) -> Vec<String> {
    let table = table(outcomes);
    let line = table
        .lines()
        .find(|line| line.contains(figure.title()))
        .expect("the figure has a line");
    line.split(" | ")
        .skip(1)
        .map(|cell| cell.trim_end_matches(" |").to_owned())
        .collect()
}

#[test]
fn line_has_medians_ranges_ratio_target_and_verdict() {
    use Figure::{CpuPerGigabyte, RecordsPerSecond};
    let pairs: &[(&[_], &[_])] = &[
        (
            &[(CpuPerGigabyte, 3.0), (RecordsPerSecond, 1e5)],
            &[(CpuPerGigabyte, 0.6), (RecordsPerSecond, 1.5e5)],
        ),
        (
            &[(CpuPerGigabyte, 3.2), (RecordsPerSecond, 1e5)],
            &[(CpuPerGigabyte, 0.8), (RecordsPerSecond, 1.5e5)],
        ),
        (
            &[(CpuPerGigabyte, 3.1), (RecordsPerSecond, 1e5)],
            &[(CpuPerGigabyte, 0.7), (RecordsPerSecond, 1.5e5)],
        ),
    ];
    let outcomes = [outcome("produce-1000", pairs)];
    assert_eq!(
        cells(&outcomes, CpuPerGigabyte),
        [
            "broker CPU s per GB",
            "3.10 (3.00–3.20)",
            "0.700 (0.600–0.800)",
            "0.226 (0.200–0.250)",
            "≤ 1/3",
            "yes"
        ]
    );
    assert_eq!(
        cells(&outcomes, RecordsPerSecond),
        ["records/s", "100,000", "150,000", "1.50", "≥ 2×", "**no**"]
    );
    // Nothing was planted of it.
    assert_eq!(
        cells(&outcomes, Figure::ResidentPeak)[1..],
        ["–", "–", "–", "≤ 1/5", "not told"]
    );
}

#[test]
fn absolute_target_is_judged_also_where_kafka_failed() {
    let mut outcome = outcome("create-10000", &[(&[], &[(Figure::SecondsToAll, 9.0)])]);
    outcome.pairs[0].kafka.failed = Some("not within 300 s".to_owned());
    let outcomes = [outcome];
    assert_eq!(
        cells(&outcomes, Figure::SecondsToAll)[1..],
        ["–", "9.00", "–", "< 10", "yes"]
    );
    let text = markdown(&outcomes);
    assert!(text.contains("failed: Apache Kafka: not within 300 s"), "{text}");
}

#[test]
fn document_names_machine_commit_command_and_whoever_disturbed() {
    let outcomes = [outcome(
        "latency",
        &[(&[(Figure::OthersCores, 0.02)], &[(Figure::OthersCores, 0.3)])],
    )];
    let text = markdown(&outcomes);
    for part in [
        "2 cores of Some CPU, 24 GiB, Linux 6.1 (TCP: cubic), load average 0.2",
        "1 pair, 2026-01-02 03:04, commit abc, `just versus-kafka latency`",
        "others used up to 0.300 cores (**disturbed**)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(others(&outcomes[0]), Some(0.3));
    assert!(markdown(&[]).ends_with("Nothing was measured yet.\n"));
}

#[test]
fn pictures_show_what_is_there_and_nothing_that_is_no_number() {
    let outcomes = [
        outcome(
            "produce-1000",
            &[(&[(Figure::CpuPerGigabyte, 3.0)], &[(Figure::CpuPerGigabyte, 1.5)])],
        ),
        outcome("latency", &[(&[], &[])]),
    ];
    let bars = ratios(&outcomes);
    assert_eq!(bars.matches("height=\"14\"").count(), 1, "{bars}");
    assert!(bars.contains("produce-1000: broker CPU s per GB") && bars.contains("0.500×"));
    let curves = latencies(&outcomes);
    assert_eq!(
        curves.matches("stroke-width=\"2\"").count(),
        2,
        "one curve for each contender"
    );
    for svg in [bars, curves, ratios(&[]), latencies(&[])] {
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

#[test]
fn page_in_the_repository_says_how_it_was_measured_as_this_program_does() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.starts_with(INTRODUCTION),
        "run `just versus-kafka`, or put the new introduction there"
    );
}
