//! The levels of the simulation, and how one seed of a level is run.

use crate::outcome::{Outcome, Violation};
use crate::partitions;
use crate::trace::Trace;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// Logs, replicas, metadata and groups, on a scheduler of ours.
    Partitions,
    /// The quorum, with openraft.
    Quorum,
}

/// A level that this build does not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBuilt(pub Level);

impl std::error::Error for NotBuilt {}

impl std::fmt::Display for NotBuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "this build does not carry the level {:?}: use `just simulate`, which builds with the feature `quorum` and with \
             `--cfg tokio_unstable`, without which a seed does not repeat a run",
            self.0
        )
    }
}

impl Level {
    /// What has to have happened in a few hundred seeds, each at least once: else they prove nothing.
    #[must_use]
    pub fn kinds(self) -> Vec<&'static str> {
        match self {
            Self::Partitions => partitions::kinds(),
            #[cfg(feature = "quorum")]
            Self::Quorum => crate::quorum::kinds(),
            #[cfg(not(feature = "quorum"))]
            Self::Quorum => Vec::new(),
        }
    }

    /// Runs one seed. A panic of the code under test is a violation like any other.
    ///
    /// # Errors
    /// The level is not in this build.
    pub fn run(self, seed: u64, trace: Trace) -> Result<Outcome, NotBuilt> {
        match self {
            Self::Partitions => Ok(guarded(|| partitions::run(seed, trace))),
            #[cfg(all(feature = "quorum", tokio_unstable))]
            Self::Quorum => Ok(guarded(|| crate::quorum::run(seed, trace))),
            #[cfg(not(all(feature = "quorum", tokio_unstable)))]
            Self::Quorum => Err(NotBuilt(self)),
        }
    }
}

fn guarded(run: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        Outcome {
            hash: 0,
            simulated_ms: 0,
            counts: Default::default(),
            violation: Some(Violation {
                invariant: "no_panic",
                message,
            }),
        }
    })
}
