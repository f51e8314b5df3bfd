//! What a run says in the end: JSON for machines, Markdown and a picture for people. Pure: it gets all it says.

mod picture;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::fault::Happened;

pub use picture::picture;

/// What came of a run on one fleet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// How many brokers there were.
    pub brokers: usize,
    pub seed: u64,
    /// The commit of the program, where it is known.
    pub commit: String,
    /// When it began, as people write it.
    pub date: String,
    /// How long faults were made.
    pub seconds: u64,
    pub acknowledged: usize,
    /// Records that their producers gave up.
    pub failed: u64,
    /// Records in the logs in the end.
    pub read: usize,
    /// Records that members of groups were handed, those that they were handed again included.
    pub delivered: usize,
    /// Commits that were acknowledged, and answers to the question what is committed.
    pub commits: usize,
    pub commits_read: usize,
    /// Sessions of members with a partition.
    pub sessions: usize,
    pub topics_made: u32,
    pub topics_deleted: u32,
    pub replicas_moved: u32,
    /// The longest time in which no record at all was acknowledged, and when it began, in milliseconds.
    pub longest_silence_ms: u64,
    pub longest_silence_from_ms: u64,
    /// The longest time that the fleet took to be whole again in a calm.
    pub longest_mend_ms: u64,
    pub calms: usize,
    pub faults: Vec<Happened>,
    /// All that was wrong, in words; nothing is what is hoped for.
    pub wrong: Vec<String>,
    /// Acknowledged records of each second.
    pub per_second: Vec<u32>,
}

impl Report {
    /// How often there was a fault of each kind.
    pub fn by_kind(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for fault in &self.faults {
            *counts.entry(fault.kind.name()).or_default() += 1;
        }
        counts
    }
}

/// Acknowledged records of each second, and the longest time without one: (length, beginning). `ends` is when writers stopped.
pub fn rhythm(acknowledged_at: &mut [u64], ends: u64) -> (Vec<u32>, u64, u64) {
    acknowledged_at.sort_unstable();
    let mut per_second = vec![0; (ends / 1_000 + 1) as usize];
    for at in acknowledged_at.iter() {
        if let Some(count) = per_second.get_mut((at / 1_000) as usize) {
            *count += 1;
        }
    }
    let after = acknowledged_at.iter().copied().skip(1).chain([ends]);
    let silences = acknowledged_at
        .iter()
        .zip(after)
        .map(|(from, to)| (to.saturating_sub(*from), *from));
    let (length, from) = silences.max_by_key(|(length, _)| *length).unwrap_or((ends, 0));
    (per_second, length, from)
}

/// The report of a run on several fleets, with links to the pictures beside it.
pub fn markdown(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let verdict = match report.wrong.len() {
            0 => "nothing lost, doubled or out of order".to_owned(),
            count => format!("**{count} things are wrong**"),
        };
        let _ = writeln!(
            text,
            "### {} brokers, {} s: {verdict}\n",
            report.brokers, report.seconds
        );
        let _ = writeln!(
            text,
            "{}, commit {}, seed {}.\n\n![Acknowledged records over time, and the faults](chaos-{}.svg)\n",
            report.date, report.commit, report.seed, report.brokers
        );
        let _ = writeln!(text, "| | |\n| --- | ---: |");
        for (what, count) in [
            ("records acknowledged", report.acknowledged as u64),
            ("records given up by their producers", report.failed),
            ("records read in the end", report.read as u64),
            ("records handed to members of groups", report.delivered as u64),
            ("sessions of members with a partition", report.sessions as u64),
            ("commits acknowledged", report.commits as u64),
            ("committed offsets read back", report.commits_read as u64),
            ("topics made", u64::from(report.topics_made)),
            ("topics deleted", u64::from(report.topics_deleted)),
            ("partitions moved", u64::from(report.replicas_moved)),
            ("faults", report.faults.len() as u64),
        ] {
            let _ = writeln!(text, "| {what} | {count} |");
        }
        let _ = writeln!(
            text,
            "| longest time without a successful write | {:.1} s, from {:.1} s |\n| times that the fleet had to be whole again | {} |\n\
             | longest time that it took | {:.1} s |\n",
            report.longest_silence_ms as f64 / 1_000.0,
            report.longest_silence_from_ms as f64 / 1_000.0,
            report.calms,
            report.longest_mend_ms as f64 / 1_000.0
        );
        let counts = report.by_kind();
        let counts: Vec<String> = counts
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        let _ = writeln!(text, "Faults by kind: {}.\n", counts.join(", "));
        for wrong in &report.wrong {
            let _ = writeln!(text, "- {wrong}");
        }
        if !report.wrong.is_empty() {
            text.push('\n');
        }
    }
    text
}
