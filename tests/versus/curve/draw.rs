//! Runs curves, point by point.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;

use crate::curve::{CURVES, Curve, Drawn, Point, document};
use crate::document::told;
use crate::machine::{self, Machine};
use crate::outcome::Contender;
use crate::run::Place;

/// What is drawn, and how.
pub struct Order<'a> {
    pub curves: &'a [&'static Curve],
    /// How often each point is run.
    pub runs: u64,
    /// Seconds to measure instead of what curves say.
    pub seconds: Option<u64>,
    /// Where raw figures are kept.
    pub results: &'a Path,
    /// Leaves the document as it is.
    pub trial: bool,
}

/// Runs them all. The document is written anew after each.
pub fn all(place: &Place, order: &Order) -> anyhow::Result<()> {
    let points = order
        .curves
        .iter()
        .flat_map(|curve| curve.points.iter().map(|point| curve.at(*point)));
    let seconds: u64 = points
        .map(|scenario| scenario.for_seconds(order.seconds).seconds_a_run())
        .sum();
    println!(
        "versus: curves: {}, runs of each point: {}, in about {} min",
        order.curves.len(),
        order.runs,
        (seconds * order.runs).div_ceil(60)
    );
    for curve in order.curves {
        let drawn = draw(place, curve, order);
        let file = file_of(order.results, curve);
        fs::write(&file, serde_json::to_string_pretty(&drawn)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        print!("\n{}\n", document::table(curve, &drawn));
        if !order.trial {
            write_document(order.results)?;
        }
    }
    Ok(())
}

fn file_of(results: &Path, curve: &Curve) -> std::path::PathBuf {
    results.join(format!("scale-{}.json", curve.name))
}

fn draw(place: &Place, curve: &Curve, order: &Order) -> Drawn {
    let mut drawn = Drawn {
        curve: curve.name.to_owned(),
        date: machine::date(),
        commit: machine::commit(),
        machine: Machine::look(),
        command: command(curve, order),
        points: Vec::new(),
    };
    for size in curve.points {
        let scenario = curve.at(*size).for_seconds(order.seconds);
        let mut point = Point {
            size: *size,
            runs: Vec::new(),
        };
        for number in 1..=order.runs {
            let began = Instant::now();
            let run = place.run(Contender::Flotilla, &scenario);
            println!(
                "{} {size} {number}/{}: {} ({:.0} s)",
                curve.name,
                order.runs,
                told(&run, curve.figures),
                began.elapsed().as_secs_f64()
            );
            point.runs.push(run);
        }
        drawn.points.push(point);
    }
    drawn
}

/// The command that makes it again.
fn command(curve: &Curve, order: &Order) -> String {
    let mut command = format!("just scale {} --pairs {}", curve.name, order.runs);
    if let Some(seconds) = order.seconds {
        command += &format!(" --seconds {seconds}");
    }
    command
}

/// Writes the document anew from all curves that were drawn.
fn write_document(results: &Path) -> anyhow::Result<()> {
    let mut drawn: Vec<Drawn> = Vec::new();
    for curve in &CURVES {
        let file = file_of(results, curve);
        if let Ok(text) = fs::read_to_string(&file) {
            drawn.push(serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?);
        }
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    fs::write(docs.join("scale.md"), document::markdown(&drawn))?;
    fs::write(docs.join(document::PICTURE), document::picture(&drawn))?;
    Ok(())
}
