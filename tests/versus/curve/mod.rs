//! How this broker scales: one thing grows from point to point, the rest stays, and what that costs is read off. Without Apache Kafka
//! beside it, which takes minutes for some of the points.

pub mod document;
mod table;

use serde::{Deserialize, Serialize};

use crate::figure::Figure;
use crate::machine::Machine;
use crate::outcome::Run;
use crate::scenario::Scenario;

pub use table::CURVES;

/// A scenario of which one thing grows.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// Its name on the command line.
    pub name: &'static str,
    /// What grows.
    pub axis: &'static str,
    /// How large it is.
    pub points: &'static [u32],
    base: Scenario,
    grow: fn(&mut Scenario, u32),
    /// What is read off.
    pub figures: &'static [Figure],
    /// What a reader must know besides.
    pub note: &'static str,
}

impl Curve {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CURVES.iter().find(|curve| curve.name == name)
    }

    /// The scenario at a point.
    pub fn at(&self, point: u32) -> Scenario {
        let mut scenario = self.base;
        (self.grow)(&mut scenario, point);
        scenario
    }
}

/// A curve that was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    pub curve: String,
    /// When it began, in UTC.
    pub date: String,
    pub commit: String,
    pub machine: Machine,
    /// The command that makes it again.
    pub command: String,
    pub points: Vec<Point>,
}

/// What came of a point.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub size: u32,
    /// All runs of it, one after the other.
    pub runs: Vec<Run>,
}

#[test]
fn curves_have_names_of_their_own_and_grow() {
    let mut names: Vec<&str> = CURVES.iter().map(|curve| curve.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CURVES.len());
    for curve in &CURVES {
        assert!(
            curve.points.is_sorted() && curve.points.len() > 1,
            "{}",
            curve.name
        );
        let settings: Vec<String> = curve
            .points
            .iter()
            .map(|point| curve.at(*point).settings())
            .collect();
        assert!(
            settings.windows(2).all(|pair| pair[0] != pair[1]),
            "{}: {settings:?}",
            curve.name
        );
    }
    assert!(Curve::named("nothing").is_none());
}
