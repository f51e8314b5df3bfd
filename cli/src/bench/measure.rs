//! What is counted while a load runs: in all, and second by second.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Latencies up to an hour are told apart by three digits (HdrHistogram).
const LATENCY_MAX_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

/// Records, bytes and latencies of some stretch of time.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Records acknowledged, or read.
    pub records: u64,
    /// Bytes of their batches, as they went over the wire.
    pub bytes: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// In microseconds, one entry a record.
    pub latency_us: Histogram<u64>,
}

impl Tally {
    fn new() -> Self {
        Self {
            records: 0,
            bytes: 0,
            requests: 0,
            latency_us: Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS)
                .expect("the bounds are right, whatever they are used for"),
        }
    }

    fn clear(&mut self) {
        (self.records, self.bytes, self.requests) = (0, 0, 0);
        self.latency_us.reset();
    }
}

/// One second of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Since measuring began.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// The median and the 99th percentile, in milliseconds, where anything was measured.
    pub latency_ms: Option<(f64, f64)>,
}

/// Counts for one side of a load. Clones count together: one thread drives them all.
#[derive(Clone)]
pub struct Meter(Rc<RefCell<State>>);

struct State {
    total: Tally,
    interval: Tally,
    series: Vec<Point>,
    began: Instant,
    interval_began: Instant,
    measuring: bool,
}

impl Meter {
    /// Counts nothing until [`Meter::begin`].
    pub fn new() -> Self {
        let now = Instant::now();
        Self(Rc::new(RefCell::new(State {
            total: Tally::new(),
            interval: Tally::new(),
            series: Vec::new(),
            began: now,
            interval_began: now,
            measuring: false,
        })))
    }

    /// Measuring begins.
    pub fn begin(&self) {
        let mut state = self.0.borrow_mut();
        let now = Instant::now();
        state.total.clear();
        state.interval.clear();
        (state.began, state.interval_began, state.measuring) = (now, now, true);
    }

    /// A request was answered that carried so much.
    pub fn count(&self, records: u64, bytes: u64) {
        let mut state = self.0.borrow_mut();
        if state.measuring {
            for tally in state.tallies() {
                tally.records += records;
                tally.bytes += bytes;
                tally.requests += 1;
            }
        }
    }

    /// So long it took for each of `records`.
    pub fn took(&self, latency: Duration, records: u64) {
        let mut state = self.0.borrow_mut();
        if state.measuring {
            let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            for tally in state.tallies() {
                tally.latency_us.saturating_record_n(latency_us.max(1), records);
            }
        }
    }

    /// A second is over: remembers it, and begins the next one.
    pub fn tick(&self) -> Option<Point> {
        let mut state = self.0.borrow_mut();
        if !state.measuring {
            return None;
        }
        let now = Instant::now();
        let seconds = now.duration_since(state.interval_began).as_secs_f64().max(1e-9);
        let interval = &state.interval;
        let point = Point {
            seconds: now.duration_since(state.began).as_secs_f64(),
            records_per_second: interval.records as f64 / seconds,
            bytes_per_second: interval.bytes as f64 / seconds,
            latency_ms: (!interval.latency_us.is_empty()).then(|| {
                let at = |quantile| interval.latency_us.value_at_quantile(quantile) as f64 / 1e3;
                (at(0.5), at(0.99))
            }),
        };
        state.series.push(point);
        state.interval.clear();
        state.interval_began = now;
        Some(point)
    }

    /// Records that were counted since measuring began.
    pub fn records(&self) -> u64 {
        self.0.borrow().total.records
    }

    /// Measuring ends.
    pub fn end(&self) -> Measured {
        let mut state = self.0.borrow_mut();
        state.measuring = false;
        Measured {
            total: state.total.clone(),
            series: state.series.clone(),
            seconds: state.began.elapsed().as_secs_f64(),
        }
    }
}

impl State {
    fn tallies(&mut self) -> [&mut Tally; 2] {
        [&mut self.total, &mut self.interval]
    }
}

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Everything.
    pub total: Tally,
    /// Second by second.
    pub series: Vec<Point>,
    /// How long it was measured.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_measuring_begins_is_not_counted() {
        let meter = Meter::new();
        meter.count(7, 700);
        meter.took(Duration::from_millis(5), 7);
        assert_eq!(meter.tick(), None);
        meter.begin();
        meter.count(2, 200);
        meter.took(Duration::from_millis(1), 2);
        let point = meter.tick().expect("a second that was measured");
        assert_eq!(point.latency_ms, Some((1.0, 1.0)));
        meter.count(1, 100);
        meter.took(Duration::from_micros(1500), 1);
        let measured = meter.end();
        let total = &measured.total;
        assert_eq!((total.records, total.bytes, total.requests), (3, 300, 2));
        assert_eq!(total.latency_us.len(), 3);
        assert_eq!(meter.records(), 3);
        assert_eq!(measured.series.len(), 1);
    }

    #[test]
    fn latency_beyond_all_bounds_is_kept_at_the_bound() {
        let meter = Meter::new();
        meter.begin();
        meter.took(Duration::from_secs(1_000_000), 1);
        let max = meter.end().total.latency_us.max();
        assert!((LATENCY_MAX_US..LATENCY_MAX_US * 2).contains(&max), "{max}");
    }
}
