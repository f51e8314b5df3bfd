//! Brokers with real logs, real replicas and the real metadata rules, on a scheduler of ours: one thread, virtual time,
//! every choice from the seed.
//!
//! A broker is a [`flotilla_broker::replica::Replicas`] on a simulated disk, driven one step at a time: the steps are those
//! of the broker's own loops. The metadata log stands behind its seam: it is replicated by a model that delays entries,
//! loses leadership with proposals in doubt, and delivers to each broker at its own pace; what is decided, is decided by
//! [`flotilla_broker::metadata::decide`].

mod check;
mod clients;
mod consumer;
mod controller;
mod event;
mod faults;
mod follow;
mod invariants;
mod member;
mod network;
mod operator;
mod plan;
mod producer;
mod quorum;
mod site;
mod submit;
mod world;

use crate::outcome::Outcome;
use crate::trace::Trace;

/// What has to have happened in a few hundred seeds.
#[must_use]
pub fn kinds() -> Vec<&'static str> {
    let faults = faults::Fault::all().into_iter().map(faults::Fault::name);
    let effects = [
        "clean starts",
        "controlled shutdowns",
        "elections of controllers",
        "eligible leader replicas elected",
        "entries skipped",
        "fencings",
        "group coordinators loaded",
        "group generations joined",
        "group offsets committed",
        "group offsets fetched",
        "in-sync sets grown",
        "in-sync sets shrunk",
        "leaderships",
        "messages doubled",
        "messages lost",
        "proposals in doubt",
        "proposals of deposed controllers",
        "reassignments ended",
        "records acknowledged",
        "records consumed",
        "records consumed from followers",
        "truncations",
        "volumes failed",
    ];
    faults.chain(effects).collect()
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, trace: Trace) -> Outcome {
    world::World::new(seed, trace).play()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Counts;

    #[test]
    fn seed_gives_the_same_history_twice_and_breaks_no_rule() {
        let mut counts = Counts::default();
        for seed in 1..=3 {
            let outcome = run(seed, Trace::quiet());
            assert_eq!(outcome.violation, None, "replay it with: just simulate {seed}");
            assert_eq!(
                run(seed, Trace::quiet()),
                outcome,
                "seed {seed} is not the same twice"
            );
            counts.merge(&outcome.counts);
        }
        // The seeds do something: each of these would be 0 in a simulation that idles.
        for (kind, least) in [
            ("records acknowledged", 1_000),
            ("records consumed", 1_000),
            ("records consumed from followers", 100),
            ("leaderships", 5),
            ("truncations", 1),
            ("in-sync sets shrunk", 3),
            ("in-sync sets grown", 3),
        ] {
            assert!(counts.of(kind) >= least, "{kind}: {}", counts.of(kind));
        }
    }
}
