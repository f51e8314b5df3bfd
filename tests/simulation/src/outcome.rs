//! What a run of one seed came to.

use std::collections::BTreeMap;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule, by the name of its file: `acknowledged_is_kept`.
    pub invariant: &'static str,
    /// What was seen, and where.
    pub message: String,
}

/// One run of one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The hash of its trace: equal for each run of the seed.
    pub hash: u64,
    /// How much time passed in the simulation, milliseconds.
    pub simulated_ms: u64,
    /// What happened, by kind: records acknowledged, faults, elections. Two levels name their own.
    pub counts: Counts,
    /// The first rule that did not hold.
    pub violation: Option<Violation>,
}

/// How often things happened, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// It happened once more.
    pub fn count(&mut self, kind: &'static str) {
        self.add(kind, 1);
    }

    /// It happened `times` more.
    pub fn add(&mut self, kind: &'static str, times: u64) {
        *self.0.entry(kind).or_default() += times;
    }

    /// How often it happened.
    #[must_use]
    pub fn of(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Self) {
        for (kind, times) in &other.0 {
            self.add(kind, *times);
        }
    }

    /// All kinds, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(kind, times)| (*kind, *times))
    }
}
