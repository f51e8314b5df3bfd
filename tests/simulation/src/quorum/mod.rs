//! The quorum with `openraft` itself: brokers' coordination on simulated machines, disks and network, under faults that a
//! seed chooses.
//!
//! Everything runs on one thread of tokio with paused time. What tokio draws by itself (which branch of a `select!` is
//! looked at first) follows the seed only in a build with `--cfg tokio_unstable`; without it a seed still chooses the
//! faults, but does not repeat a run.

mod carrier;
mod disk;
mod faults;
mod invariants;
mod operator;
mod watcher;
mod workload;
mod world;

use crate::outcome::{Outcome, Violation};
use crate::trace::Trace;

/// One seed of so many is played twice, and has to take the same course.
const REPEATED: u64 = 20;

/// What has to have happened in a few hundred seeds, each at least once: else they prove nothing.
#[must_use]
pub fn kinds() -> Vec<&'static str> {
    vec![
        "leaders elected",
        "entries committed",
        "writes answered",
        "reads answered",
        "producer ids allocated",
        "snapshots taken or installed",
        "voters added",
        "voters removed",
        "disks of voters emptied",
        "disks of observers emptied",
        "power lost within a write",
        "crashes of one",
        "crashes of all",
        "pauses",
        "slow disks",
        "brokers cut off",
        "ways cut in one direction",
        "fleets split",
        "times of loss",
        "times of delay",
        "messages doubled",
    ]
}

/// Runs one seed, and some of them again.
///
/// # Panics
/// As [`play`] does.
#[must_use]
pub fn run(seed: u64, trace: Trace) -> Outcome {
    let outcome = play(seed, trace);
    let is_repeated = seed.is_multiple_of(REPEATED) && outcome.violation.is_none();
    if is_repeated && play(seed, Trace::quiet()).hash != outcome.hash {
        let violation = Violation {
            invariant: "one_course_a_seed",
            message: "played again, this seed took another course".to_owned(),
        };
        return Outcome {
            violation: Some(violation),
            ..outcome
        };
    }
    outcome
}

/// Plays one seed once.
///
/// # Panics
/// When the code under test does outside of its machines; within them it is a violation.
#[must_use]
pub fn play(seed: u64, trace: Trace) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()));
    let runtime = builder
        .build()
        .expect("a runtime without threads or sockets can be had");
    runtime.block_on(world::simulate(seed, trace))
}

#[cfg(test)]
mod tests;
