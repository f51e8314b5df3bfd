//! The run: every case in every version, on both brokers at the same time, and what is to be said about it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use flotilla_protocol::ApiKey;

use crate::answer::{Difference, Outcome, compare};
use crate::broker::Broker;
use crate::case::Case;
use crate::contenders::{self, Kafka};
use crate::scene::{Scene, ground};
use crate::{cases, differences, document, errors, normal};

/// Only cases of these APIs, by name and separated by commas, while one works on them: the documents are left alone.
const ONLY: &str = "FLOTILLA_DIFFERENTIAL_APIS";
/// Set: the documents are written anew.
const WRITE: &str = "FLOTILLA_DIFFERENTIAL_WRITE";

/// A difference, and where it was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub api: ApiKey,
    pub case: &'static str,
    pub version: i16,
    pub difference: Difference,
}

/// What a run came to.
pub struct Findings<'a> {
    pub cases: &'a [Case],
    /// How many requests each broker was sent.
    pub requests: usize,
    pub found: Vec<Found>,
    /// What is wrong, for people.
    pub problems: Vec<String>,
}

type Told = Result<Outcome, String>;
type Versions = BTreeMap<ApiKey, RangeInclusive<i16>>;

#[test]
fn answers_are_those_of_apache_kafka() {
    let only = std::env::var(ONLY).ok();
    let mut cases = cases::all();
    if let Some(only) = &only {
        cases.retain(|case| only.split(',').any(|name| name == case.api.name()));
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut kafka = Kafka::start(directory.path()).expect("Apache Kafka starts");
    let fleet = contenders::fleet();
    let (mut theirs, mut ours) = (kafka.broker(), contenders::broker_of(&fleet));
    let versions = theirs.announced().expect("Apache Kafka announces its versions");
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| tell(&mut theirs, &cases, &versions));
        let ours = scope.spawn(|| tell(&mut ours, &cases, &versions));
        (
            theirs.join().expect("Apache Kafka is asked"),
            ours.join().expect("the fleet is asked"),
        )
    });
    let mut findings = judge(&cases, &theirs, &ours);
    if only.is_none() {
        findings.problems.extend(differences::stale(&findings.found));
        findings.problems.extend(errors::problems(&cases));
        findings
            .problems
            .extend(document::problems(&findings, std::env::var_os(WRITE).is_some()));
    }
    println!(
        "{} cases, {} requests to each, {} fields differ",
        cases.len(),
        findings.requests,
        findings.found.len()
    );
    assert!(
        findings.problems.is_empty(),
        "{} problems:\n{}",
        findings.problems.len(),
        findings.problems.join("\n")
    );
}

/// What a broker does with each case in each version.
fn tell(broker: &mut Broker, cases: &[Case], versions: &Versions) -> BTreeMap<(usize, i16), Told> {
    ground(broker);
    let mut told = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        for version in asked(case, versions) {
            let name = name_of(case, version);
            let mut scene = Scene::new(broker, version, name.clone());
            let outcome = case.ask(&mut scene).map(|outcome| match outcome {
                Outcome::Answer(mut value) => {
                    if let Some(list) = case.own {
                        normal::keep_own(&mut value, list, &name);
                    }
                    normal::normalise(case.api, &mut value);
                    Outcome::Answer(value)
                }
                closed @ Outcome::Closed => closed,
            });
            told.insert((number, version), outcome.map_err(|error| format!("{error:#}")));
        }
    }
    told
}

/// A name that topics, too, may have, and that is in no other.
fn name_of(case: &Case, version: i16) -> String {
    let words = case.name.replace(|one: char| !one.is_ascii_alphanumeric(), "-");
    format!("{}-{words}-{version:02}", case.api.name())
}

/// The versions that Kafka announces, that can be written, and that the case is for.
fn asked(case: &Case, versions: &Versions) -> Vec<i16> {
    let Some(announced) = versions.get(&case.api) else {
        return Vec::new();
    };
    let written = case.api.valid_versions();
    announced
        .clone()
        .filter(|version| written.contains(version) && case.versions.contains(version))
        .collect()
}

fn judge<'a>(
    cases: &'a [Case],
    theirs: &BTreeMap<(usize, i16), Told>,
    ours: &BTreeMap<(usize, i16), Told>,
) -> Findings<'a> {
    let mut findings = Findings {
        cases,
        requests: theirs.len(),
        found: Vec::new(),
        problems: Vec::new(),
    };
    for (number, case) in cases.iter().enumerate() {
        if !theirs.keys().any(|(of, _)| *of == number) {
            let problem = format!("{} `{}`: it is sent in no version", case.api.name(), case.name);
            findings.problems.push(problem);
        }
    }
    for ((number, version), theirs) in theirs {
        let case = &cases[*number];
        let place = format!("{} {version} `{}`", case.api.name(), case.name);
        let (theirs, ours) = match (theirs, &ours[&(*number, *version)]) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            (theirs, ours) => {
                for (who, told) in [("Apache Kafka", theirs), ("the fleet", ours)] {
                    if let Err(error) = told {
                        findings.problems.push(format!("{place}: {who}: {error}"));
                    }
                }
                continue;
            }
        };
        let expected = case.expected_in(*version);
        if !expected.fits(theirs) {
            let problem = format!(
                "{place}: {expected:?} is expected, Apache Kafka says: {}",
                theirs.word()
            );
            findings.problems.push(problem);
        }
        for difference in compare(theirs, ours) {
            let found = Found {
                api: case.api,
                case: case.name,
                version: *version,
                difference,
            };
            if differences::reason(&found).is_none() {
                let Difference { field, kafka, ours } = &found.difference;
                let problem = format!("{place}: {field}: Apache Kafka says {kafka}, the fleet {ours}");
                findings.problems.push(problem);
            }
            findings.found.push(found);
        }
    }
    findings
}

/// Where documents are.
pub fn docs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"))
}
