//! Judges a history against the logs as they are in the end. Pure: it knows no client and no clock, and is tested with faults
//! that were planted.

mod groups;
mod records;

use crate::history::{History, Id, Logs, Partition};

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, and nowhere in the log.
    Lost {
        id: Id,
        partition: Partition,
        offset: Option<i64>,
        at: u64,
    },
    /// Acknowledged at one place, and at another.
    Misplaced {
        id: Id,
        partition: Partition,
        offset: Option<i64>,
        found: Vec<(Partition, i64)>,
    },
    /// There more than once, though its producer is idempotent.
    Doubled { id: Id, places: Vec<(Partition, i64)> },
    /// Two records of one producer in one partition, in another order than they were sent in.
    Reordered {
        partition: Partition,
        first: (Id, i64),
        second: (Id, i64),
    },
    /// In the log, and nobody sent it there.
    Invented {
        partition: Partition,
        offset: i64,
        id: Option<Id>,
    },
    /// Offsets of a log that are not in order, or doubled.
    Unordered {
        partition: Partition,
        offsets: (i64, i64),
    },
    /// A consumer was handed something that the log does not have there.
    Unreal {
        member: String,
        partition: Partition,
        offset: i64,
        handed: Option<Id>,
        stored: Option<Id>,
    },
    /// A member went over records, within one session.
    Skipped {
        member: String,
        partition: Partition,
        after: i64,
        at: i64,
        records: usize,
    },
    /// The group went over records that none of its members was ever handed.
    Unread {
        group: String,
        partition: Partition,
        below: i64,
        records: usize,
        first: i64,
    },
    /// A session began before an offset that had been committed.
    WentBack {
        member: String,
        partition: Partition,
        committed: i64,
        began: i64,
    },
    /// Somebody was told an older offset than one that was committed, or told, before.
    Forgotten {
        group: String,
        partition: Partition,
        known: i64,
        told: Option<i64>,
    },
}

impl Violation {
    /// A word for the kind, as reports count them.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Misplaced { .. } => "misplaced",
            Self::Doubled { .. } => "doubled",
            Self::Reordered { .. } => "reordered",
            Self::Invented { .. } => "invented",
            Self::Unordered { .. } => "unordered",
            Self::Unreal { .. } => "unreal",
            Self::Skipped { .. } => "skipped",
            Self::Unread { .. } => "unread",
            Self::WentBack { .. } => "went back",
            Self::Forgotten { .. } => "forgotten",
        }
    }
}

/// All that is wrong.
pub fn check(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut found = records::check(history, logs);
    found.extend(groups::check(history, logs));
    found
}
