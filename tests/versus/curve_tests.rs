//! The document of curves, of figures that are made up.

use std::collections::BTreeMap;

use crate::curve::document::{markdown, picture, table};
use crate::curve::{Curve, Drawn, Point};
use crate::figure::Figure;
use crate::outcome::Run;
use serde_json::Value;

fn drawn() -> Drawn {
    let run = |rate| Run::of(BTreeMap::from([(Figure::RecordsPerSecond, rate)]), Value::Null);
    Drawn {
        curve: "partitions".to_owned(),
        command: "just scale partitions".to_owned(),
        points: vec![
            Point {
                size: 1,
                runs: vec![run(1_000.0), run(1_200.0), run(900.0)],
            },
            Point {
                size: 10_000,
                runs: vec![
                    run(100.0),
                    Run {
                        failed: Some("it ended".to_owned()),
                        ..Run::default()
                    },
                ],
            },
        ],
        ..Drawn::default()
    }
}

#[test]
fn points_are_lines_with_medians_ranges_and_failures() {
    let curve = Curve::named("partitions").unwrap();
    let table = table(curve, &drawn());
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[2], "| 1 | 1,000 (900–1,200) | – | – | – |");
    assert_eq!(lines[3], "| 10,000 | 100 | – | – | – |");
    assert_eq!(lines[4], "| | failed: it ended |");
    let text = markdown(&[drawn()]);
    assert!(text.contains("## Partitions of one broker\n\nAt the first point: 1 broker, 1 partition × 1,"));
    assert!(text.contains("`just scale partitions`"));
    assert!(markdown(&[]).ends_with("Nothing was measured yet.\n"));
}

#[test]
fn picture_shows_what_a_figure_is_of_the_first_point() {
    let svg = picture(&[drawn()]);
    // From the middle at the first point down to a tenth of it at the last.
    assert!(svg.contains("M60.0 155.0L400.0 197.5"), "{svg}");
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
}
