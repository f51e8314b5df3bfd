//! What came of a scenario: raw figures, run by run, as they are kept in a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::figure::Figure;
use crate::machine::Machine;
use crate::statistics::{Spread, ratios};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// Apache Kafka 4.3.1.
    Kafka,
    /// This repository's broker.
    Flotilla,
}

impl Contender {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "Apache Kafka",
            Self::Flotilla => "Flotilla",
        }
    }
}

/// One run of one contender.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub figures: BTreeMap<Figure, f64>,
    /// What the generator wrote.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub generator: Value,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Run {
    /// One that came to its end, with what the generator wrote of it.
    pub fn of(figures: BTreeMap<Figure, f64>, generator: Value) -> Self {
        Self {
            figures,
            generator,
            failed: None,
        }
    }
}

/// One after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    pub kafka: Run,
    pub flotilla: Run,
}

/// A scenario that was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub scenario: String,
    /// When it began, in UTC.
    pub date: String,
    pub commit: String,
    pub machine: Machine,
    /// The command that makes it again.
    pub command: String,
    /// How long each run was measured, where its work does not end by itself.
    pub seconds: u64,
    pub pairs: Vec<Pair>,
}

impl Outcome {
    /// A figure of all runs of a contender.
    pub fn spread(&self, contender: Contender, figure: Figure) -> Spread {
        Spread::of(
            self.pairs
                .iter()
                .filter_map(|pair| pair.of(contender).figures.get(&figure).copied()),
        )
    }

    /// Ours by Kafka's, pair by pair.
    pub fn ratios(&self, figure: Figure) -> Spread {
        let of = |run: &Run| run.figures.get(&figure).copied();
        ratios(
            self.pairs
                .iter()
                .map(|pair| (of(&pair.kafka), of(&pair.flotilla))),
        )
    }

    /// Whatever went wrong, each once.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for pair in &self.pairs {
            for contender in [Contender::Kafka, Contender::Flotilla] {
                if let Some(why) = &pair.of(contender).failed {
                    let failure = format!("{}: {why}", contender.name());
                    if !failures.contains(&failure) {
                        failures.push(failure);
                    }
                }
            }
        }
        failures
    }
}

impl Pair {
    pub fn of(&self, contender: Contender) -> &Run {
        match contender {
            Contender::Kafka => &self.kafka,
            Contender::Flotilla => &self.flotilla,
        }
    }
}
