//! A picture of a run: acknowledged records over time, and below them the faults, a row for each kind.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Report;

const WIDTH: f64 = 1_200.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const GRAPH: f64 = 200.0;
const ROW: f64 = 18.0;
const AXIS: f64 = 30.0;

/// Marks on the axis of time, at most.
const MARKS: u64 = 15;

/// The picture, as SVG.
pub fn picture(report: &Report) -> String {
    let mut rows: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for fault in &report.faults {
        let row = rows.entry(fault.kind.name()).or_default();
        row.push((fault.from_ms, fault.to_ms));
    }
    let seconds = report.per_second.len().max(1) as f64;
    let x = |ms: u64| LEFT + (WIDTH - LEFT - RIGHT) * (ms as f64 / 1_000.0 / seconds).min(1.0);
    let height = TOP + GRAPH + AXIS + ROW * rows.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{} brokers: acknowledged records a second, and the faults</text>\n",
        report.brokers
    );
    let most = report.per_second.iter().copied().max().unwrap_or(0).max(1);
    let y = |count: u32| TOP + GRAPH * (1.0 - f64::from(count) / f64::from(most));
    let _ = writeln!(
        svg,
        "<text x=\"{0}\" y=\"{1:.1}\" text-anchor=\"end\">{most}</text>\n<text x=\"{0}\" y=\"{2:.1}\" text-anchor=\"end\">0</text>",
        LEFT - 6.0,
        TOP + 5.0,
        TOP + GRAPH
    );
    // Where nothing was acknowledged for longest.
    let (from, to) = (
        report.longest_silence_from_ms,
        report.longest_silence_from_ms + report.longest_silence_ms,
    );
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{GRAPH}\" fill=\"#f4d9a8\"/>",
        x(from),
        (x(to) - x(from)).max(1.0)
    );
    let mut line = format!("M{LEFT} {:.1}", TOP + GRAPH);
    for (second, count) in report.per_second.iter().enumerate() {
        let (from, to) = (second as u64 * 1_000, (second as u64 + 1) * 1_000);
        let _ = write!(line, " L{:.1} {2:.1} L{:.1} {2:.1}", x(from), x(to), y(*count));
    }
    let _ = writeln!(
        svg,
        "<path d=\"{line} L{:.1} {:.1} Z\" fill=\"#4a7fb5\"/>",
        WIDTH - RIGHT,
        TOP + GRAPH
    );
    let step = step(seconds as u64);
    for mark in (0..=seconds as u64).step_by(step as usize) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark} s</text>",
            x(mark * 1_000),
            TOP + GRAPH + 18.0
        );
    }
    for (place, (kind, faults)) in rows.iter().enumerate() {
        let top = TOP + GRAPH + AXIS + ROW * place as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{kind} ({})</text>",
            LEFT - 6.0,
            top + 11.0,
            faults.len()
        );
        for (from, to) in faults {
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#b5473c\" fill-opacity=\"0.7\"/>",
                x(*from),
                (x(*to) - x(*from)).max(1.5),
                ROW - 5.0
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Seconds between marks: a round number.
fn step(seconds: u64) -> u64 {
    let rounds = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 3_600];
    rounds
        .into_iter()
        .find(|step| seconds / step <= MARKS)
        .unwrap_or(7_200.max(seconds / MARKS))
}
