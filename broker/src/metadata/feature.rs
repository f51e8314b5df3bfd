//! Features: what all brokers of a fleet have agreed on, at levels (KIP-584, KIP-1022).

use super::{FLOTILLA_VERSION, Image};

/// The feature that says which records may be written to the quorum's log.
pub const FLOTILLA_FEATURE: &str = "flotilla.version";

/// The feature that says whether there are consumer groups of the new protocol (KIP-848).
pub const GROUP_FEATURE: &str = "group.version";

/// The feature that says whether there are share groups (KIP-932).
pub const SHARE_FEATURE: &str = "share.version";

/// The feature that says whether there are streams groups (KIP-1071).
pub const STREAMS_FEATURE: &str = "streams.version";

/// A feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name for it, or ours.
    pub name: &'static str,
    /// The lowest level that this binary supports. 0: it can be switched off.
    pub oldest: i32,
    /// The highest level that this binary supports.
    pub newest: i32,
    /// What holds where no level has been finalized.
    default: i32,
}

/// Those whose part of the broker works.
pub const FEATURES: &[Feature] = &[
    Feature {
        name: FLOTILLA_FEATURE,
        oldest: 1,
        newest: FLOTILLA_VERSION,
        // The first broker that registers finalizes it.
        default: 0,
    },
    Feature {
        name: GROUP_FEATURE,
        oldest: 0,
        newest: 1,
        default: 1,
    },
    Feature {
        name: SHARE_FEATURE,
        oldest: 0,
        newest: 1,
        default: 1,
    },
    Feature {
        name: STREAMS_FEATURE,
        oldest: 0,
        newest: 1,
        default: 1,
    },
    Feature {
        name: "transaction.version",
        oldest: 0,
        newest: 2,
        default: 2,
    },
];

impl Feature {
    /// The feature of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FEATURES.iter().find(|feature| feature.name == name)
    }

    /// The level that holds. 0: the feature is off.
    #[must_use]
    pub fn level(&self, image: &Image) -> i32 {
        image.feature(self.name).unwrap_or(self.default)
    }
}
