//! What a load came to: for people, and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::measure::{Measured, Point, Tally};
use super::options::{Limit, Load, Reading, Work};

/// The percentiles that are told.
pub const PERCENTILES: [f64; 6] = [50.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// A run.
pub struct Report {
    /// The name of the load on the command line.
    pub work: &'static str,
    /// Connections that worked.
    pub connections: usize,
    /// Partitions that it was spread over.
    pub partitions: usize,
    /// Brokers of the cluster.
    pub brokers: usize,
    /// What was written, or read, or both.
    pub sides: Vec<Side>,
}

/// One side of a run.
pub struct Side {
    /// `written` or `read`.
    pub name: &'static str,
    /// What was measured.
    pub measured: Measured,
}

impl Report {
    /// One line on the whole.
    pub fn title(&self) -> String {
        let count = |count: usize, noun: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {noun}{plural}")
        };
        format!(
            "{}: {}, {}, {}",
            self.work,
            count(self.brokers, "broker"),
            count(self.partitions, "partition"),
            count(self.connections, "connection")
        )
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = self.title() + "\n";
        for Side { name, measured } in &self.sides {
            let Measured { total, seconds, .. } = measured;
            let _ = writeln!(
                text,
                "{name:<8} {} records, {} in {seconds:.1} s: {} records/s, {}/s",
                grouped(total.records as f64),
                size(total.bytes as f64),
                grouped(total.records as f64 / seconds),
                size(total.bytes as f64 / seconds),
            );
            if !total.latency_us.is_empty() {
                let _ = writeln!(text, "latency  {}", latencies(total));
            }
        }
        text
    }

    /// For programs.
    pub fn json(&self, work: &Work) -> Value {
        let sides: serde_json::Map<String, Value> = self
            .sides
            .iter()
            .map(|side| (side.name.to_owned(), side_json(&side.measured)))
            .collect();
        json!({
            "work": self.work,
            "brokers": self.brokers,
            "partitions": self.partitions,
            "connections": self.connections,
            "options": options(work),
            "results": sides,
        })
    }
}

/// One second, for the line at the bottom of a terminal.
pub fn line(point: &Point) -> String {
    let latency = point
        .latency_ms
        .map(|(median, high)| format!(", {median:.2} ms median, {high:.2} ms 99th"))
        .unwrap_or_default();
    format!(
        "{:.0} s: {} records/s, {}/s{latency}",
        point.seconds,
        grouped(point.records_per_second),
        size(point.bytes_per_second)
    )
}

fn latencies(total: &Tally) -> String {
    let histogram = &total.latency_us;
    let mut parts = vec![format!("mean {:.2} ms", histogram.mean() / 1e3)];
    for percentile in PERCENTILES {
        let ms = histogram.value_at_percentile(percentile) as f64 / 1e3;
        parts.push(format!("{percentile}% {ms:.2} ms"));
    }
    parts.push(format!("max {:.2} ms", histogram.max() as f64 / 1e3));
    parts.join(", ")
}

fn side_json(measured: &Measured) -> Value {
    let Measured {
        total,
        series,
        seconds,
    } = measured;
    let latency = (!total.latency_us.is_empty()).then(|| {
        let histogram = &total.latency_us;
        let mut latency = serde_json::Map::new();
        latency.insert("min".to_owned(), json!(histogram.min() as f64 / 1e3));
        latency.insert("mean".to_owned(), json!(histogram.mean() / 1e3));
        for percentile in PERCENTILES {
            let ms = histogram.value_at_percentile(percentile) as f64 / 1e3;
            latency.insert(format!("p{percentile}"), json!(ms));
        }
        latency.insert("max".to_owned(), json!(histogram.max() as f64 / 1e3));
        latency
    });
    let series: Vec<Value> = series
        .iter()
        .map(|point| {
            json!({
                "seconds": point.seconds,
                "records_per_second": point.records_per_second,
                "bytes_per_second": point.bytes_per_second,
                "latency_ms": point.latency_ms.map(|(p50, p99)| json!({"p50": p50, "p99": p99})),
            })
        })
        .collect();
    json!({
        "records": total.records,
        "bytes": total.bytes,
        "requests": total.requests,
        "seconds": seconds,
        "records_per_second": total.records as f64 / seconds,
        "bytes_per_second": total.bytes as f64 / seconds,
        "latency_ms": latency,
        "series": series,
    })
}

fn options(work: &Work) -> Value {
    let common = work.common();
    let limit = match common.limit() {
        Limit::Duration(duration) => json!({"seconds": duration.as_secs_f64()}),
        Limit::Records(records) => json!({"records": records}),
    };
    let load = |load: &Load| {
        json!({
            "record_size": load.record_size,
            "batch_size": load.batch_size,
            "compression": format!("{:?}", load.compression).to_lowercase(),
            "acks": load.acks.code(),
            "in_flight": load.in_flight,
            "rate": load.rate,
            "linger_ms": load.linger.as_secs_f64() * 1e3,
        })
    };
    let reading =
        |reading: &Reading| json!({"consumers": reading.consumers, "fetch_size": reading.fetch_size});
    let (written, read) = match work {
        Work::Produce { load: of, .. } => (Some(load(of)), None),
        Work::Consume { reading: of, .. } => (None, Some(reading(of))),
        Work::EndToEnd {
            load: of,
            reading: by,
            ..
        } => (Some(load(of)), Some(reading(by))),
    };
    json!({
        "limit": limit,
        "warmup_seconds": common.warmup().as_secs_f64(),
        "topics": common.topics,
        "written": written,
        "read": read,
    })
}

/// With commas between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// In decimal units, as disks and networks are sold.
fn size(bytes: f64) -> String {
    let (unit, name) = match bytes {
        bytes if bytes >= 1e9 => (1e9, "GB"),
        bytes if bytes >= 1e6 => (1e6, "MB"),
        _ => (1e3, "kB"),
    };
    format!("{:.1} {name}", bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(grouped(0.0), "0");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(size(1_500.0), "1.5 kB");
        assert_eq!(size(2.5e9), "2.5 GB");
    }
}
