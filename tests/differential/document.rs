//! `docs/differential.md` and `docs/errors.md`, made of a run.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::ApiKey;

use crate::case::Case;
use crate::differences;
use crate::errors::{self, Driven, ERRORS};
use crate::normal::{DRAWN, TEXTS, TIMES};
use crate::run::{Findings, docs};

/// Holds the documents against a run, or writes them; what is stale is a problem.
pub fn problems(findings: &Findings, write: bool) -> Vec<String> {
    let documents = [
        ("differential.md", differential(findings)),
        ("errors.md", errors(findings.cases)),
    ];
    let mut problems = Vec::new();
    for (name, text) in documents {
        let file = docs().join(name);
        if write {
            std::fs::write(&file, text).expect("write the document");
        } else if std::fs::read_to_string(&file).unwrap_or_default() != text {
            problems.push(format!(
                "docs/{name} is not what this run says: `just differential-documents` writes it"
            ));
        }
    }
    problems
}

fn differential(findings: &Findings) -> String {
    let words = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let mut text = format!(
        "# The same requests to Apache Kafka and to Flotilla\n\n\
         `just differential` starts one server of Apache Kafka 4.3.1, with a plugin that takes the metrics of clients, and a fleet of one broker with the same settings, sends both the same {} requests, and compares the\n\
         answers field by field. Every field that differs stands here with its reason; one that does not fails the run. `just differential-documents` writes this page.\n\n\
         Not compared, because they cannot be the same: the values of {} (drawn at random or chosen by the system; where one stands twice in an answer, it has to in both);\n\
         of {} (times and sizes); the words of {}. Whether there is a value is compared in all of them.\n\n\
         ## Differences\n\n\
         | API | versions | cases | field | Apache Kafka | Flotilla | reason |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        findings.requests,
        words(&DRAWN),
        words(&TIMES),
        words(&TEXTS),
    );
    for row in rows(findings) {
        text += &row;
    }
    text += "\n## Cases\n\n| API | cases |\n| --- | --- |\n";
    let mut cases: BTreeMap<ApiKey, Vec<&str>> = BTreeMap::new();
    for case in findings.cases {
        cases.entry(case.api).or_default().push(case.name);
    }
    for (api, cases) in cases {
        text += &format!("| {} | {} |\n", api.name(), cases.join("; "));
    }
    text
}

/// One for each field that differs in the same way, with all cases and versions in which it does.
fn rows(findings: &Findings) -> Vec<String> {
    type Place = (BTreeSet<&'static str>, BTreeSet<i16>);
    let mut rows: BTreeMap<(ApiKey, &str, &str, &str, &str), Place> = BTreeMap::new();
    for found in &findings.found {
        let difference = &found.difference;
        let reason = differences::reason(found).unwrap_or("NOT KNOWN");
        let key = (
            found.api,
            difference.field.as_str(),
            difference.kafka.as_str(),
            difference.ours.as_str(),
            reason,
        );
        let (cases, versions) = rows.entry(key).or_default();
        cases.insert(found.case);
        versions.insert(found.version);
    }
    rows.into_iter()
        .map(|((api, field, kafka, ours, reason), (cases, versions))| {
            let cases: Vec<_> = cases.into_iter().collect();
            format!(
                "| {} | {} | {} | `{field}` | {} | {} | {reason} |\n",
                api.name(),
                ranges(&versions),
                cases.join("; "),
                cell(kafka),
                cell(ours)
            )
        })
        .collect()
}

/// A value in a cell: short, and nothing that ends it.
fn cell(value: &str) -> String {
    const CHARACTERS_MAX: usize = 120;
    let mut short: String = value.chars().take(CHARACTERS_MAX).collect();
    if short.len() < value.len() {
        short += "…";
    }
    format!("`{}`", short.replace('|', "\\|"))
}

fn ranges(versions: &BTreeSet<i16>) -> String {
    let mut ranges: Vec<(i16, i16)> = Vec::new();
    for version in versions {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *version => *last = *version,
            _ => ranges.push((*version, *version)),
        }
    }
    let ranges: Vec<_> = ranges
        .into_iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    ranges.join(", ")
}

fn errors(cases: &[Case]) -> String {
    let mut text = String::from(
        "# Errors\n\n\
         The errors that each API can return, and what drives each of them: a case that `just differential` sends to Apache Kafka 4.3.1 and to a fleet in each version of the\n\
         API, or what stands here instead. `just differential-documents` writes this page.\n\n\
         | API | error | driven by |\n| --- | --- | --- |\n",
    );
    for (api, errors) in ERRORS {
        if let Some(success) = errors::success_of(cases, *api, errors) {
            text += &format!("| {} | NONE | {} |\n", api.name(), success.join("; "));
        }
        for (code, driven) in *errors {
            let driven = match driven {
                Driven::Here => errors::cases_of(cases, *api, *code).join("; "),
                Driven::Test(file) => format!("`{file}`"),
            };
            text += &format!("| {} | {} | {driven} |\n", api.name(), code.name());
        }
    }
    text
}
