//! What Apache Kafka's measuring tools say at their end, as figures.

use std::collections::BTreeMap;

use crate::figure::Figure;
use crate::scenario::Tool;

/// The figures in a tool's output; empty where it did not come to its end.
pub fn figures(tool: Tool, output: &str) -> BTreeMap<Figure, f64> {
    let found = match tool {
        Tool::Producer => producer(output),
        Tool::Consumer => consumer(output),
        Tool::EndToEnd => end_to_end(output),
    };
    found.unwrap_or_default()
}

/// `N records sent, R records/sec (...), ... ms avg latency, ... ms max latency, P ms 50th, ... ms 99.9th.`, last of all such lines.
fn producer(output: &str) -> Option<BTreeMap<Figure, f64>> {
    let line = output.lines().rev().find(|line| line.contains("ms 99.9th"))?;
    let before = |unit: &str| {
        let (before, _) = line.split_once(unit)?;
        before.rsplit([' ', '(']).next()?.parse().ok()
    };
    Some(BTreeMap::from([
        (Figure::RecordsPerSecond, before(" records/sec")?),
        (Figure::LatencyP50, before(" ms 50th")?),
        (Figure::LatencyP99, before(" ms 99th")?),
        (Figure::LatencyP999, before(" ms 99.9th")?),
        (Figure::LatencyMax, before(" ms max latency")?),
    ]))
}

/// A heading, and below it `start, end, MB, MB/s, records, records/s, ...`.
fn consumer(output: &str) -> Option<BTreeMap<Figure, f64>> {
    let heading = output.lines().find(|line| line.starts_with("start.time"))?;
    let place = heading.split(", ").position(|name| name == "nMsg.sec")?;
    let line = output.lines().skip_while(|line| *line != heading).nth(1)?;
    let records = line.split(", ").nth(place)?.parse().ok()?;
    Some(BTreeMap::from([(Figure::RecordsPerSecond, records)]))
}

/// `Percentiles: 50th = A, 99th = B, 99.9th = C`, in milliseconds.
fn end_to_end(output: &str) -> Option<BTreeMap<Figure, f64>> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("Percentiles: "))?;
    let after = |name: &str| {
        let value = line.split(", ").find_map(|part| part.strip_prefix(name))?;
        value.trim_start_matches(" = ").trim().parse().ok()
    };
    Some(BTreeMap::from([
        (Figure::LatencyP50, after("50th")?),
        (Figure::LatencyP99, after("99th")?),
        (Figure::LatencyP999, after("99.9th")?),
    ]))
}

#[test]
fn producer_says_its_rate_and_percentiles_in_its_last_line() {
    let output = "50 records sent, 10.0 records/sec (0.01 MB/sec), 1.0 ms avg latency, 9.0 ms max latency.\n\
        3000000 records sent, 105263.2 records/sec (100.39 MB/sec), 281.44 ms avg latency, 612.00 ms max latency, \
        275 ms 50th, 502 ms 95th, 560 ms 99th, 590 ms 99.9th.\n";
    let found = figures(Tool::Producer, output);
    let expected = [
        (Figure::RecordsPerSecond, 105_263.2),
        (Figure::LatencyP50, 275.0),
        (Figure::LatencyP99, 560.0),
        (Figure::LatencyP999, 590.0),
        (Figure::LatencyMax, 612.0),
    ];
    assert_eq!(found, BTreeMap::from(expected));
    assert!(figures(Tool::Producer, "an error\n").is_empty());
}

#[test]
fn consumer_says_its_rate_below_the_heading() {
    let output = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms\n\
        2026-01-01 00:00:00:000, 2026-01-01 00:00:02:000, 1907.3, 953.7, 2000000, 1000000.5, 300\n";
    let found = figures(Tool::Consumer, output);
    assert_eq!(found, BTreeMap::from([(Figure::RecordsPerSecond, 1_000_000.5)]));
}

#[test]
fn end_to_end_says_its_percentiles() {
    let found = figures(
        Tool::EndToEnd,
        "0\t3.0\nAvg latency: 0.9 ms\n\nPercentiles: 50th = 0, 99th = 2, 99.9th = 17\n",
    );
    let expected = [
        (Figure::LatencyP50, 0.0),
        (Figure::LatencyP99, 2.0),
        (Figure::LatencyP999, 17.0),
    ];
    assert_eq!(found, BTreeMap::from(expected));
}
