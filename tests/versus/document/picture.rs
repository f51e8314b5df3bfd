//! Two pictures: ratios with their targets, and latency by percentile. SVG, small enough to be read as text.

use std::fmt::Write as _;

use super::{in_order, number};
use crate::figure::Target;
use crate::outcome::{Contender, Outcome};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 56.0;
const ROW: f64 = 24.0;
/// Ratios are shown between a hundredth and a hundred times.
const DECADES: f64 = 2.0;
const BETTER: &str = "#2e7d4f";
const WORSE: &str = "#b5473c";
const KAFKA: &str = "#8a8f98";
const OURS: &str = "#1f6feb";
/// What `flotilla bench` tells of latency, and where each stands: a step for each further nine.
const PERCENTILES: [(&str, &str, f64); 6] = [
    ("p50", "50 %", 0.3),
    ("p90", "90 %", 1.0),
    ("p95", "", 1.3),
    ("p99", "99 %", 2.0),
    ("p99.9", "99.9 %", 3.0),
    ("p99.99", "99.99 %", 4.0),
];

/// A bar for each figure that is held to a part or a multiple of Kafka's.
pub fn ratios(outcomes: &[Outcome]) -> String {
    let mut bars = Vec::new();
    for (scenario, outcome) in in_order(outcomes) {
        for row in scenario.rows {
            let wanted = row.targets.iter().find_map(|target| match target {
                Target::AtMost(part) => Some((*part, true)),
                Target::AtLeast(times) => Some((*times, false)),
                Target::Below(_) | Target::Above(_) => None,
            });
            let medians = outcome
                .spread(Contender::Kafka, row.figure)
                .median()
                .zip(outcome.spread(Contender::Flotilla, row.figure).median());
            if let (Some((wanted, less)), Some((kafka, ours))) = (wanted, medians)
                && kafka > 0.0
                && ours > 0.0
            {
                let label = format!("{}: {}", scenario.name, row.figure.title());
                bars.push((label, ours / kafka, wanted, less));
            }
        }
    }
    let height = TOP + ROW * bars.len() as f64 + 30.0;
    let mut svg = begin(
        height,
        "Flotilla / Apache Kafka: medians (bars) and targets (marks); logarithmic",
    );
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    let x = |ratio: f64| middle + (WIDTH - LEFT - RIGHT) / 2.0 * (ratio.log10() / DECADES).clamp(-1.0, 1.0);
    for ratio in [0.01, 0.1, 1.0, 10.0, 100.0] {
        let at = x(ratio);
        let (bottom, label) = (height - 24.0, height - 8.0);
        let _ = writeln!(svg, r##"<path d="M{at:.1} {TOP}V{bottom}" stroke="#d0d7de"/>"##);
        let _ = writeln!(
            svg,
            r#"<text x="{at:.1}" y="{label}" text-anchor="middle">{ratio}×</text>"#
        );
    }
    for (place, (label, ratio, wanted, less)) in bars.iter().enumerate() {
        let top = TOP + ROW * place as f64;
        let met = if *less { ratio <= wanted } else { ratio >= wanted };
        let color = if met { BETTER } else { WORSE };
        let (from, to, text) = (x(*ratio).min(middle), x(*ratio).max(middle), top + 15.0);
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{text}" text-anchor="end">{label}</text><rect x="{from:.1}" y="{:.1}" width="{:.1}" height="14" fill="{color}"/>"#,
            LEFT - 8.0,
            top + 4.0,
            (to - from).max(1.0)
        );
        let _ = writeln!(
            svg,
            r#"<path d="M{:.1} {:.1}v20" stroke="black" stroke-width="2"/><text x="{:.1}" y="{text}">{}×</text>"#,
            x(*wanted),
            top + 1.0,
            WIDTH - RIGHT + 10.0,
            number(*ratio)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Medians of each percentile of the scenarios `latency` and `end-to-end`.
pub fn latencies(outcomes: &[Outcome]) -> String {
    let panels = [
        ("latency", "written", "Acknowledged by all replicas"),
        ("end-to-end", "read", "End to end"),
    ];
    let mut svg = begin(
        TOP + 300.0,
        "Latency at 20,000 records/s of 1,000 B, three brokers, acks=all: ms, logarithmic",
    );
    for (place, (name, side, title)) in panels.into_iter().enumerate() {
        let outcome = outcomes.iter().find(|outcome| outcome.scenario == name);
        let curves: Vec<Curve> = outcome.map_or_else(Vec::new, |outcome| {
            let of = |contender| curve(outcome, contender, side);
            vec![of(Contender::Kafka), of(Contender::Flotilla)]
        });
        panel(&mut svg, 60.0 + 470.0 * place as f64, title, &curves);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The latencies of a contender: where a percentile stands, and the median of all runs there.
struct Curve {
    contender: Contender,
    points: Vec<(f64, f64)>,
}

fn curve(outcome: &Outcome, contender: Contender, side: &str) -> Curve {
    let at = |key: &str| {
        let of_runs = outcome.pairs.iter().filter_map(|pair| {
            let generator = &pair.of(contender).generator;
            generator["results"][side]["latency_ms"][key].as_f64()
        });
        crate::statistics::Spread::of(of_runs).median()
    };
    let points = PERCENTILES.iter().filter_map(|(key, _, x)| Some((*x, at(key)?)));
    Curve {
        contender,
        points: points.collect(),
    }
}

fn panel(svg: &mut String, left: f64, title: &str, curves: &[Curve]) {
    const ACROSS: f64 = 370.0;
    const DOWN: f64 = 220.0;
    // From a tenth of a millisecond to ten seconds.
    let x = |step: f64| left + ACROSS * step / 4.0;
    let y = |ms: f64| TOP + 20.0 + DOWN * (1.0 - ((ms.log10() + 1.0) / 5.0).clamp(0.0, 1.0));
    let _ = writeln!(
        svg,
        r#"<text x="{left}" y="{}" font-weight="bold">{title}</text>"#,
        TOP + 6.0
    );
    for ms in [0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0] {
        let (at, to, label) = (y(ms), left + ACROSS, y(ms) + 4.0);
        let _ = writeln!(svg, r##"<path d="M{left} {at:.1}H{to}" stroke="#d0d7de"/>"##);
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{label:.1}" text-anchor="end">{ms}</text>"#,
            left - 6.0
        );
    }
    for (_, label, step) in PERCENTILES {
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
            x(step),
            TOP + DOWN + 38.0
        );
    }
    for (place, Curve { contender, points }) in curves.iter().enumerate() {
        let color = match contender {
            Contender::Kafka => KAFKA,
            Contender::Flotilla => OURS,
        };
        let mut path = String::new();
        for (step, ms) in points {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", x(*step), y(*ms));
        }
        let _ = writeln!(
            svg,
            r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="2"/>"#
        );
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" fill="{color}">{}</text>"#,
            left + 150.0 * place as f64,
            TOP + DOWN + 58.0,
            contender.name()
        );
    }
}

fn begin(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"16\" y=\"28\" font-size=\"15\">{title}</text>\n"
    )
}
