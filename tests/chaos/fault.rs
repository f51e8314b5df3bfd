//! The kinds of faults, and how often each is drawn.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What can be done to a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `kill -9`, and started again later.
    Kill,
    /// SIGTERM, and started again later.
    Restart,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// All brokers get `kill -9` at once.
    KillAll,
    /// Nothing passes between a broker and the others, and perhaps the clients.
    Cut,
    /// Nothing passes in one direction.
    CutOneWay,
    /// Everything comes late.
    Delay,
    /// Packets are lost.
    Loss,
    /// The disk is full.
    FullDisk,
    /// The wall clock steps forth or back.
    Clock,
    /// A broker is killed, and its data directory deleted.
    EmptyDisk,
    /// A bit of the records is changed, while the broker runs or is stopped.
    DamagedSegment,
    /// The same in an index.
    DamagedIndex,
    /// The same in a checkpoint, which is read when the broker starts: one that runs is started again.
    DamagedCheckpoint,
    /// The same in the quorum's log, snapshots or vote.
    DamagedMetadata,
}

impl Kind {
    /// All, with their weights.
    pub const DRAWN: [(u64, Self); 15] = [
        (14, Self::Kill),
        (8, Self::Restart),
        (14, Self::Pause),
        (4, Self::KillAll),
        (10, Self::Cut),
        (10, Self::CutOneWay),
        (8, Self::Delay),
        (8, Self::Loss),
        (6, Self::FullDisk),
        (6, Self::Clock),
        (4, Self::EmptyDisk),
        (5, Self::DamagedSegment),
        (3, Self::DamagedIndex),
        (3, Self::DamagedCheckpoint),
        (3, Self::DamagedMetadata),
    ];

    /// Whether a replica may lose what it had: never two at a time, and only when the others have it all.
    pub fn destroys(self) -> bool {
        matches!(
            self,
            Self::EmptyDisk
                | Self::DamagedSegment
                | Self::DamagedIndex
                | Self::DamagedCheckpoint
                | Self::DamagedMetadata
        )
    }

    /// Its name, as on the command line.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A fault that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Happened {
    pub kind: Kind,
    /// What exactly.
    pub what: String,
    /// Milliseconds since the run began.
    pub from_ms: u64,
    pub to_ms: u64,
}
