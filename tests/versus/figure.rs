//! What is measured, in which unit, and what is asked of it.

use serde::{Deserialize, Serialize};

/// One figure of a run. Bytes are those of record batches as they go over the wire; a GB is 10^9 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// Records acknowledged, or read, a second.
    RecordsPerSecond,
    /// Their megabytes a second.
    MegabytesPerSecond,
    /// Processor seconds of all brokers for a GB.
    CpuPerGigabyte,
    /// Processor seconds of all brokers for a million records.
    CpuPerMillion,
    /// Processor seconds of all brokers a second.
    CpuCores,
    /// The median latency, in milliseconds.
    LatencyP50,
    /// Its 99th percentile.
    LatencyP99,
    /// Its 99.9th percentile.
    LatencyP999,
    /// Its maximum.
    LatencyMax,
    /// What all brokers hold in memory at the end, in MB.
    Resident,
    /// The most that each broker held, added up, in MB.
    ResidentPeak,
    /// What the brokers caused to be written to disks, in GB.
    Written,
    /// What the brokers had read from disks, in GB.
    Read,
    /// From the start of the processes to the first acknowledged record.
    SecondsToFirst,
    /// Until every partition has acknowledged a record.
    SecondsToAll,
    /// Files and sockets that the brokers have open.
    OpenFiles,
    /// How many times less a second over ten thousand partitions than over a hundred.
    Slowdown,
    /// What others than brokers, generator and this program used of the machine, in cores.
    OthersCores,
}

impl Figure {
    /// What a reader of the table is told.
    pub fn title(self) -> &'static str {
        match self {
            Self::RecordsPerSecond => "records/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::CpuPerGigabyte => "broker CPU s per GB",
            Self::CpuPerMillion => "broker CPU s per million records",
            Self::CpuCores => "broker cores in use",
            Self::LatencyP50 => "latency, median, ms",
            Self::LatencyP99 => "latency, 99 %, ms",
            Self::LatencyP999 => "latency, 99.9 %, ms",
            Self::LatencyMax => "latency, all, ms",
            Self::Resident => "resident memory at the end, MB",
            Self::ResidentPeak => "resident memory at its peak, MB",
            Self::Written => "written, GB",
            Self::Read => "read from disk, GB",
            Self::SecondsToFirst => "start to first acknowledged record, s",
            Self::SecondsToAll => "until each partition has acknowledged, s",
            Self::OpenFiles => "open files",
            Self::Slowdown => "throughput over 100 partitions / over 10,000",
            Self::OthersCores => "cores used by others",
        }
    }
}

/// What is asked of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// This part of Kafka's, or less.
    AtMost(f64),
    /// So many times Kafka's, or more.
    AtLeast(f64),
    /// Less than this, whatever Kafka's is.
    Below(f64),
    /// More than this, whatever Kafka's is.
    Above(f64),
}

impl Target {
    /// Whether our median meets it; `None` where it cannot be told, because Kafka's is missing.
    pub fn is_met(self, kafka: Option<f64>, ours: f64) -> Option<bool> {
        match self {
            Self::AtMost(part) => kafka.map(|kafka| ours <= kafka * part),
            Self::AtLeast(times) => kafka.map(|kafka| ours >= kafka * times),
            Self::Below(limit) => Some(ours < limit),
            Self::Above(limit) => Some(ours > limit),
        }
    }

    /// As the table shows it.
    pub fn text(self) -> String {
        match self {
            Self::AtMost(part) if part < 1.0 => format!("≤ 1/{:.0}", 1.0 / part),
            Self::AtMost(part) => format!("≤ {part}×"),
            Self::AtLeast(times) => format!("≥ {times}×"),
            Self::Below(limit) => format!("< {limit}"),
            Self::Above(limit) => format!("> {limit}"),
        }
    }
}

/// A figure of a scenario that stands in the table, and all that is asked of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    pub figure: Figure,
    pub targets: &'static [Target],
}

/// A row that is shown and held to targets.
pub const fn held(figure: Figure, targets: &'static [Target]) -> Row {
    Row { figure, targets }
}

/// A row that is only shown.
pub const fn shown(figure: Figure) -> Row {
    Row { figure, targets: &[] }
}

#[test]
fn targets_compare_medians_and_say_what_they_ask() {
    let third = Target::AtMost(1.0 / 3.0);
    assert_eq!(third.is_met(Some(3.0), 1.0), Some(true));
    assert_eq!(third.is_met(Some(3.0), 1.01), Some(false));
    assert_eq!(third.is_met(None, 1.0), None);
    assert_eq!(Target::AtLeast(2.0).is_met(Some(10.0), 19.0), Some(false));
    assert_eq!(Target::Below(10.0).is_met(None, 9.9), Some(true));
    assert_eq!(Target::Above(1e6).is_met(Some(2e6), 1e6), Some(false));
    let texts = [
        third,
        Target::AtMost(1.0),
        Target::AtLeast(2.0),
        Target::Below(32.0),
    ]
    .map(Target::text);
    assert_eq!(texts, ["≤ 1/3", "≤ 1×", "≥ 2×", "< 32"]);
}
