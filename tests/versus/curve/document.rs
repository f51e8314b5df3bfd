//! `docs/scale.md` and its picture. Pure.

use std::fmt::Write as _;

use super::{CURVES, Curve, Drawn, Point};
use crate::document::number;
use crate::figure::Figure;
use crate::statistics::Spread;

/// Name of the picture, beside the document.
pub const PICTURE: &str = "scale.svg";

const INTRODUCTION: &str = "\
# How Flotilla scales

    just scale                        # all curves: a quarter of an hour, on a machine that does nothing else
    just scale partitions consumers   # some of them

One thing grows from line to line, the rest stays as it is. The brokers have one core, the generator the other; each point begins with new
brokers and empty directories. Apache Kafka is not beside it here: [performance.md](performance.md) compares. Where a line has several runs, the
median stands first, the range of all behind it. Figures are those of performance.md.
";

/// The document.
pub fn markdown(drawn: &[Drawn]) -> String {
    let mut text = INTRODUCTION.to_owned();
    if drawn.is_empty() {
        return text + "\nNothing was measured yet.\n";
    }
    let _ = writeln!(text, "\n![what grows]({PICTURE})");
    for (curve, drawn) in in_order(drawn) {
        text.push_str(&section(curve, drawn));
    }
    text
}

/// As the table of curves has them.
fn in_order(drawn: &[Drawn]) -> impl Iterator<Item = (&'static Curve, &Drawn)> {
    CURVES.iter().filter_map(|curve| {
        let drawn = drawn.iter().find(|drawn| drawn.curve == curve.name)?;
        Some((curve, drawn))
    })
}

fn section(curve: &Curve, drawn: &Drawn) -> String {
    let mut text = format!("\n## {}\n\n", capitalised(curve.axis));
    let first = curve.at(curve.points[0]);
    let _ = write!(text, "At the first point: {}", first.settings());
    if !curve.note.is_empty() {
        let _ = write!(text, "; {}", curve.note);
    }
    let _ = writeln!(
        text,
        ". `{}` on {}, commit {}, {}.\n",
        drawn.command,
        drawn.date,
        drawn.commit,
        drawn.machine.text()
    );
    text.push_str(&table(curve, drawn));
    text
}

/// A line for each point.
pub fn table(curve: &Curve, drawn: &Drawn) -> String {
    let titles: Vec<&str> = curve.figures.iter().map(|figure| figure.title()).collect();
    let mut text = format!(
        "| {} | {} |\n|{}\n",
        curve.axis,
        titles.join(" | "),
        " --- |".repeat(1 + titles.len())
    );
    for point in &drawn.points {
        let figures = curve.figures.iter().map(|figure| cell(point, *figure));
        let cells: Vec<String> = std::iter::once(whole(point.size)).chain(figures).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        for why in point.runs.iter().filter_map(|run| run.failed.as_ref()) {
            let _ = writeln!(text, "| | failed: {why} |");
        }
    }
    text
}

fn spread(point: &Point, figure: Figure) -> Spread {
    Spread::of(
        point
            .runs
            .iter()
            .filter_map(|run| run.figures.get(&figure).copied()),
    )
}

fn cell(point: &Point, figure: Figure) -> String {
    let spread = spread(point, figure);
    match (spread.median(), spread.range()) {
        (Some(median), Some((from, to))) if from < to => {
            format!("{} ({}–{})", number(median), number(from), number(to))
        }
        (Some(median), _) => number(median),
        _ => "–".to_owned(),
    }
}

/// A whole number, with commas between thousands.
fn whole(size: u32) -> String {
    let text = number(f64::from(size));
    text.split('.').next().unwrap_or_default().to_owned()
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

const WIDTH: f64 = 960.0;
const ACROSS: f64 = 340.0;
const DOWN: f64 = 170.0;
const PANEL: f64 = 290.0;
/// Between a hundredth of the first point and a hundred times it.
const DECADES: f64 = 2.0;
const COLORS: [&str; 4] = ["#1f6feb", "#b5473c", "#2e7d4f", "#8a5fbf"];

/// The picture: each figure as a multiple of what it is at the first point, both axes logarithmic.
pub fn picture(drawn: &[Drawn]) -> String {
    let all: Vec<_> = in_order(drawn).collect();
    let height = 50.0 + PANEL * all.len().div_ceil(2) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"15\">Times what it is at the first point; both axes logarithmic</text>\n"
    );
    for (place, (curve, drawn)) in all.into_iter().enumerate() {
        let (left, top) = (
            60.0 + 470.0 * (place % 2) as f64,
            70.0 + PANEL * (place / 2) as f64,
        );
        panel(&mut svg, (left, top), curve, drawn);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, (left, top): (f64, f64), curve: &Curve, drawn: &Drawn) {
    let (first, last) = (curve.points[0], *curve.points.last().unwrap_or(&1));
    let across = |size: u32| {
        let share = (f64::from(size) / f64::from(first)).ln() / (f64::from(last) / f64::from(first)).ln();
        left + ACROSS * share
    };
    let down = |times: f64| {
        let share = (times.log10() / DECADES).clamp(-1.0, 1.0);
        top + DOWN / 2.0 * (1.0 - share)
    };
    let _ = writeln!(
        svg,
        r#"<text x="{left}" y="{}" font-weight="bold">{}</text>"#,
        top - 8.0,
        curve.axis
    );
    for times in [0.01, 0.1, 1.0, 10.0, 100.0] {
        let (at, to) = (down(times), left + ACROSS);
        let _ = writeln!(svg, r##"<path d="M{left} {at:.1}H{to}" stroke="#d0d7de"/>"##);
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{times}</text>"#,
            left - 6.0,
            at + 4.0
        );
    }
    for size in curve.points {
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            across(*size),
            top + DOWN + 18.0,
            whole(*size)
        );
    }
    for (place, (figure, color)) in curve.figures.iter().zip(COLORS).enumerate() {
        let path = path(drawn, *figure, &across, &down);
        let _ = writeln!(
            svg,
            r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="2"/>"#
        );
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" fill="{color}">{}</text>"#,
            left + 200.0 * (place % 2) as f64,
            top + DOWN + 38.0 + 16.0 * (place / 2) as f64,
            figure.title()
        );
    }
}

fn path(drawn: &Drawn, figure: Figure, across: &impl Fn(u32) -> f64, down: &impl Fn(f64) -> f64) -> String {
    let of = |point: &Point| spread(point, figure).median();
    let first = drawn.points.iter().find_map(of).filter(|first| *first > 0.0);
    let mut path = String::new();
    for point in &drawn.points {
        let Some((value, first)) = of(point).zip(first) else {
            continue;
        };
        let letter = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(
            path,
            "{letter}{:.1} {:.1}",
            across(point.size),
            down(value / first)
        );
    }
    path
}
