//! Runs many seeds, on several threads: each seed on one.

use crate::level::{Level, NotBuilt};
use crate::outcome::{Counts, Violation};
use crate::trace::Trace;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many seeds, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The first seed; the others follow it.
    pub first: u64,
    /// At least so many.
    pub seeds: Option<u64>,
    /// At least for so long.
    pub time: Option<Duration>,
    /// On so many threads.
    pub threads: usize,
    /// Whether what happens is printed.
    pub trace: bool,
}

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Total {
    /// How many passed.
    pub seeds: u64,
    /// How much time passed in them, milliseconds.
    pub simulated_ms: u64,
    /// What happened in them.
    pub counts: Counts,
    /// Those that failed.
    pub failures: Vec<(u64, Violation)>,
}

impl Extent {
    fn is_enough(&self, taken: u64, started: Instant) -> bool {
        let is_late = self.time.map(|time| started.elapsed() >= time);
        match (self.seeds, is_late) {
            (Some(seeds), None) => taken >= seeds,
            (Some(seeds), Some(late)) => taken >= seeds && late,
            (None, Some(late)) => late,
            (None, None) => false,
        }
    }
}

/// Runs seeds until there were enough, or one has failed: then those under way are finished.
///
/// # Errors
/// The level is not in this build.
///
/// # Panics
/// When a thread of its own does.
pub fn run(level: Level, extent: Extent) -> Result<Total, NotBuilt> {
    let (started, next, failed) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new(Total::default());
    let work = || -> Result<(), NotBuilt> {
        while !failed.load(Ordering::Relaxed) {
            let taken = next.fetch_add(1, Ordering::Relaxed);
            if extent.is_enough(taken, started) {
                break;
            }
            let seed = extent.first.wrapping_add(taken);
            let trace = if extent.trace {
                Trace::printed()
            } else {
                Trace::quiet()
            };
            let outcome = level.run(seed, trace)?;
            let mut total = total.lock().expect("no thread panics while it adds up");
            match outcome.violation {
                Some(violation) => {
                    failed.store(true, Ordering::Relaxed);
                    total.failures.push((seed, violation));
                }
                None => {
                    total.seeds += 1;
                    total.simulated_ms += outcome.simulated_ms;
                    total.counts.merge(&outcome.counts);
                    if total.seeds.is_multiple_of(100) {
                        println!(
                            "{} seeds passed so far, {} s",
                            total.seeds,
                            started.elapsed().as_secs()
                        );
                    }
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..extent.threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a panic of a seed is caught"))
    })?;
    Ok(total.into_inner().expect("no thread panics while it adds up"))
}
