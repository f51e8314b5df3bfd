//! A picture of a run: latency by percentile, and throughput and latency second by second.

use std::fmt::Write as _;

use super::measure::Measured;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 760.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const COLORS: [&str; 2] = ["#1f6feb", "#d1541b"];
/// How many lines a scale has at the most.
const LINES: f64 = 6.0;

/// One of the pictures: where it lies, and what its axes show.
struct Panel {
    top: f64,
    height: f64,
    x_max: f64,
    y_max: f64,
}

impl Panel {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let width = WIDTH - LEFT - RIGHT;
        (
            LEFT + width * (x / self.x_max).clamp(0.0, 1.0),
            self.top + self.height * (1.0 - (y / self.y_max).clamp(0.0, 1.0)),
        )
    }

    /// Its title, its frame and the lines of its vertical scale.
    fn frame(&self, out: &mut String, title: &str, unit: &str) {
        let above = self.top - 12.0;
        let _ = writeln!(
            out,
            r#"<text x="{LEFT}" y="{above}" class="title">{title}</text>"#
        );
        let step = round(self.y_max / LINES);
        let mut value = 0.0;
        while value <= self.y_max {
            let ((left, y), (right, _)) = (self.at(0.0, value), self.at(self.x_max, value));
            let _ = writeln!(out, r#"<path d="M{left:.1} {y:.1}H{right:.1}" class="grid"/>"#);
            let (x, y, value_text) = (LEFT - 8.0, y + 4.0, short(value));
            let _ = writeln!(
                out,
                r#"<text x="{x}" y="{y:.1}" class="y">{value_text}{unit}</text>"#
            );
            value += step;
        }
    }

    fn x_label(&self, out: &mut String, x: f64, label: &str) {
        let ((x, _), y) = (self.at(x, 0.0), self.top + self.height + 18.0);
        let _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" class="x">{label}</text>"#);
    }

    fn line(&self, out: &mut String, points: impl Iterator<Item = (f64, f64)>, color: &str, dashed: bool) {
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = self.at(x, y);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' });
        }
        let dashes = if dashed { r#" stroke-dasharray="5 4""# } else { "" };
        let _ = writeln!(
            out,
            r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="2"{dashes}/>"#
        );
    }
}

/// Draws a run as SVG.
pub fn draw(title: &str, sides: &[(&str, &Measured)]) -> String {
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<style>.title{{font-size:14px;font-weight:bold}}.grid{{stroke:#d0d7de;fill:none}}.y{{text-anchor:end;fill:#57606a}}.x{{text-anchor:middle;fill:#57606a}}</style>
<rect width="100%" height="100%" fill="white"/>
<text x="{LEFT}" y="26" font-size="16">{}</text>
"#,
        escaped(title)
    );
    for (place, (name, _)) in sides.iter().enumerate() {
        let (x, color) = (
            WIDTH - RIGHT - 160.0 + 80.0 * place as f64,
            COLORS[place % COLORS.len()],
        );
        let _ = writeln!(
            out,
            r#"<rect x="{x}" y="16" width="12" height="12" fill="{color}"/>"#
        );
        let _ = writeln!(out, r#"<text x="{}" y="26">{}</text>"#, x + 18.0, escaped(name));
    }
    percentiles(&mut out, sides);
    over_time(&mut out, sides);
    out.push_str("</svg>\n");
    out
}

/// Percentiles stand at even distances for each further nine, as in HdrHistogram's plots.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-6).log10()
}

fn percentiles(out: &mut String, sides: &[(&str, &Measured)]) {
    const TICKS: [f64; 6] = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let with_latency = || {
        sides
            .iter()
            .filter(|(_, measured)| !measured.total.latency_us.is_empty())
    };
    let Some(max_ms) = with_latency()
        .map(|(_, measured)| measured.total.latency_us.value_at_percentile(99.999) as f64 / 1e3)
        .max_by(f64::total_cmp)
    else {
        return;
    };
    let panel = Panel {
        top: 70.0,
        height: 180.0,
        x_max: nines(99.999),
        y_max: max_ms.max(1e-3),
    };
    panel.frame(out, "Latency by percentile", " ms");
    for tick in TICKS {
        panel.x_label(out, nines(tick), &format!("{tick}%"));
    }
    for (place, (_, measured)) in sides.iter().enumerate() {
        let histogram = &measured.total.latency_us;
        if histogram.is_empty() {
            continue;
        }
        let points = (0..=100).map(|step| {
            let x = panel.x_max * f64::from(step) / 100.0;
            let percentile = 100.0 * (1.0 - 10_f64.powf(-x));
            (x, histogram.value_at_percentile(percentile) as f64 / 1e3)
        });
        panel.line(out, points, COLORS[place % COLORS.len()], false);
    }
}

fn over_time(out: &mut String, sides: &[(&str, &Measured)]) {
    let points = || sides.iter().flat_map(|(_, measured)| &measured.series);
    let max_of =
        |values: &mut dyn Iterator<Item = f64>| values.max_by(f64::total_cmp).unwrap_or(0.0).max(1e-3);
    let x_max = max_of(&mut points().map(|point| point.seconds));
    let throughput = Panel {
        top: 310.0,
        height: 170.0,
        x_max,
        y_max: max_of(&mut points().map(|point| point.records_per_second)),
    };
    let latency = Panel {
        top: 540.0,
        height: 170.0,
        x_max,
        y_max: max_of(
            &mut points()
                .filter_map(|point| point.latency_ms)
                .map(|(_, high)| high),
        ),
    };
    throughput.frame(out, "Records a second", "");
    latency.frame(
        out,
        "Latency over time: 99th percentile, and median (dashed)",
        " ms",
    );
    let step = round(x_max / LINES);
    let mut seconds = 0.0;
    while seconds <= x_max {
        throughput.x_label(out, seconds, &format!("{} s", short(seconds)));
        latency.x_label(out, seconds, &format!("{} s", short(seconds)));
        seconds += step;
    }
    for (place, (_, measured)) in sides.iter().enumerate() {
        let color = COLORS[place % COLORS.len()];
        let series = &measured.series;
        throughput.line(
            out,
            series
                .iter()
                .map(|point| (point.seconds, point.records_per_second)),
            color,
            false,
        );
        let of = |which: fn((f64, f64)) -> f64| {
            series
                .iter()
                .filter_map(move |point| Some((point.seconds, which(point.latency_ms?))))
        };
        if series.iter().any(|point| point.latency_ms.is_some()) {
            latency.line(out, of(|(_, high)| high), color, false);
            latency.line(out, of(|(median, _)| median), color, true);
        }
    }
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn round(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|times| times * power >= step * 0.999);
    times.unwrap_or(10.0) * power
}

/// As few digits as tell the lines of a scale apart.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", (value / 1e4).round() / 1e2),
        value if value >= 1e4 => format!("{}k", (value / 10.0).round() / 1e2),
        value => format!("{}", (value * 1e3).round() / 1e3),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Meter;
    use std::time::Duration;

    #[test]
    fn scales_have_round_steps() {
        let steps = [
            (0.7, 1.0),
            (1.0, 1.0),
            (1.1, 2.0),
            (3.0, 5.0),
            (7.0, 10.0),
            (230.0, 500.0),
        ];
        for (step, rounded) in steps {
            assert!((round(step) - rounded).abs() < 1e-9, "{step}: {}", round(step));
        }
        assert_eq!(short(1_500_000.0), "1.5M");
        assert_eq!(short(20_000.0), "20k");
        assert_eq!(short(0.25), "0.25");
    }

    #[test]
    fn picture_shows_each_side_and_its_title() {
        let meter = Meter::new();
        meter.begin();
        meter.count(100, 10_000);
        meter.took(Duration::from_millis(3), 100);
        meter.tick();
        let measured = meter.end();
        let svg = draw("a < b", &[("written", &measured), ("read", &measured)]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt; b") && svg.contains("Latency by percentile"));
        // Two sides: a line of percentiles, one of throughput, two of latency each.
        assert_eq!(svg.matches("fill=\"none\" stroke=").count(), 8);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
