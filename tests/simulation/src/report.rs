//! The report of what has been simulated: `docs/simulation.md`, to which each recorded run adds.
//!
//! The file has two tables that are kept by this: `## Totals`, with a line for each level and kind, and `## Runs`. All else
//! in it is left as it is.

use crate::outcome::Counts;
use std::collections::BTreeMap;

/// One run of many seeds, all of which passed.
#[derive(Clone, Debug)]
pub struct Run {
    /// `partitions` or `quorum`.
    pub level: String,
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// How much time passed in them, seconds.
    pub simulated_s: u64,
    /// What happened in them.
    pub counts: Counts,
    /// The commit that was run.
    pub commit: String,
    /// When: `2026-11-29`.
    pub date: String,
}

/// Why a report cannot be added to.
#[derive(Debug, PartialEq, Eq)]
pub struct BadReport(String);

impl std::error::Error for BadReport {}

impl std::fmt::Display for BadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the report cannot be added to: {}", self.0)
    }
}

const TOTALS: &str = "## Totals";
const RUNS: &str = "## Runs";

/// The report with a run added.
///
/// # Errors
/// When it lacks one of the tables, or a number in them is none.
pub fn add(report: &str, run: &Run) -> Result<String, BadReport> {
    let (before, rest) = split(report, TOTALS)?;
    let (totals, runs) = split(rest, RUNS)?;
    let mut sums = parse(totals)?;
    let own = [("seeds", run.seeds), ("seconds simulated", run.simulated_s)];
    for (kind, times) in own.into_iter().chain(run.counts.iter()) {
        *sums.entry((run.level.clone(), kind.to_owned())).or_default() += times;
    }
    let mut out = format!("{before}{TOTALS}\n\n| level | what | how often |\n| --- | --- | --- |\n");
    for ((level, kind), times) in sums {
        out.push_str(&format!("| {level} | {kind} | {times} |\n"));
    }
    let last = run.first.wrapping_add(run.seeds).wrapping_sub(1);
    out.push_str(&format!("\n{RUNS}{}\n", runs.trim_end()));
    out.push_str(&format!(
        "| {} | {} | {} | {} | {} to {last} |\n",
        run.date, run.commit, run.level, run.seeds, run.first
    ));
    Ok(out)
}

fn split<'a>(text: &'a str, heading: &str) -> Result<(&'a str, &'a str), BadReport> {
    text.split_once(heading)
        .ok_or_else(|| BadReport(format!("it has no `{heading}`")))
}

fn parse(table: &str) -> Result<BTreeMap<(String, String), u64>, BadReport> {
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [level, kind, times] = cells[..] else {
            return Err(BadReport(format!("`{row}` has not three columns")));
        };
        let times = times
            .parse()
            .map_err(|_| BadReport(format!("`{times}` is not a number")))?;
        Ok(((level.to_owned(), kind.to_owned()), times))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "# Simulation\n\nText.\n\n## Totals\n\n| level | what | how often |\n| --- | --- | --- |\n\n## Runs\n\n| date | commit | level | seeds | which |\n| --- | --- | --- | --- | --- |\n";

    fn run(commit: &str, kills: u64) -> Run {
        let mut counts = Counts::default();
        counts.add("fault: kill", kills);
        Run {
            level: "partitions".to_owned(),
            first: 10,
            seeds: 3,
            simulated_s: 40,
            counts,
            commit: commit.to_owned(),
            date: "2026-11-29".to_owned(),
        }
    }

    #[test]
    fn runs_add_up() {
        let report = add(&add(EMPTY, &run("abc", 2)).unwrap(), &run("def", 5)).unwrap();
        let expected = "# Simulation\n\nText.\n\n## Totals\n\n| level | what | how often |\n| --- | --- | --- |\n\
            | partitions | fault: kill | 7 |\n| partitions | seconds simulated | 80 |\n| partitions | seeds | 6 |\n\n\
            ## Runs\n\n| date | commit | level | seeds | which |\n| --- | --- | --- | --- | --- |\n\
            | 2026-11-29 | abc | partitions | 3 | 10 to 12 |\n| 2026-11-29 | def | partitions | 3 | 10 to 12 |\n";
        assert_eq!(report, expected);
    }

    #[test]
    fn report_without_its_tables_is_refused() {
        let error = add("# Simulation\n", &run("abc", 2)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the report cannot be added to: it has no `## Totals`"
        );
        let broken = EMPTY.replace(
            "| --- | --- | --- |\n\n",
            "| --- | --- | --- |\n| a | b | many |\n\n",
        );
        assert_eq!(
            add(&broken, &run("abc", 2)).unwrap_err().to_string(),
            "the report cannot be added to: `many` is not a number"
        );
    }
}
