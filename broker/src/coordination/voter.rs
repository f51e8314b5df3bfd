//! Who votes: a broker together with the directory that it votes from (KIP-853).

use std::fmt;
use std::str::FromStr;

use flotilla_protocol::{BrokerId, Uuid};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A voter of the quorum. An emptied disk gets another directory id, so it is a stranger and never a voter that forgot
/// what it voted for (KIP-853).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoterId {
    /// The broker.
    pub broker: BrokerId,
    /// Drawn when its data directory was formatted.
    pub directory: Uuid,
}

impl VoterId {
    /// The voter of a broker and its directory.
    #[must_use]
    pub fn new(broker: BrokerId, directory: Uuid) -> Self {
        Self { broker, directory }
    }
}

/// No broker: what Raft puts in the log id of the entry that bootstraps a quorum.
impl Default for VoterId {
    fn default() -> Self {
        Self::new(BrokerId(-1), Uuid::ZERO)
    }
}

/// `id:directory`, as in Kafka's quorum tools.
impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.broker, self.directory)
    }
}

/// A text that is not `id:directory`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a voter: a broker id, a colon and a directory id of 22 characters were expected")]
pub struct InvalidVoterId(String);

impl FromStr for VoterId {
    type Err = InvalidVoterId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let (broker, directory) = text.split_once(':')?;
            Some(Self::new(BrokerId(broker.parse().ok()?), directory.parse().ok()?))
        };
        parsed().ok_or_else(|| InvalidVoterId(text.to_owned()))
    }
}

/// As text, since it is a key of maps.
impl Serialize for VoterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VoterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What the quorum remembers of a voter beside its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterNode {
    /// `host:port` of its gRPC services when it became a voter. Configuration and registration know newer ones.
    pub address: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_reads_back_as_it_prints() {
        let voter = VoterId::new(BrokerId(3), Uuid([7; 16]));
        assert_eq!(voter.to_string(), "3:BwcHBwcHBwcHBwcHBwcHBw");
        assert_eq!(voter.to_string().parse(), Ok(voter));
        assert_eq!(VoterId::default().to_string().parse(), Ok(VoterId::default()));
        for text in ["", "3", "x:BwcHBwcHBwcHBwcHBwcHBw", "3:short"] {
            assert_eq!(text.parse::<VoterId>(), Err(InvalidVoterId(text.to_owned())));
        }
    }
}
