//! What a replica of a partition decides: when a record is committed, who is in sync, what a follower drops. The rules
//! that decide whether data is lost live here and nowhere else, as state machines whose inputs are facts and whose
//! outputs are effects: no disk, no network, no clock, so that a simulation can drive them.
//!
//! - [`leader::Leader`]: high watermark, in-sync replicas, who waits for acknowledgement (KIP-101, 279, 320, 841, 903, 966).
//! - [`leader::Leader::nearest`]: which follower may serve a consumer in the leader's place (KIP-392).
//! - [`follower::Follower`]: where to fetch from, where to truncate, how high the watermark may go (KIP-279, 595).
//! - [`producer_state::ProducerState`]: which batches are new, repeated or missing, and where transactions are open (KIP-98, 360).
//! - [`verification::Guard`]: the answer of a transaction's coordinator still holds when its first batch is appended (KIP-890).
//! - [`isr::InSync`]: the in-sync set, and the change of it that the controller has not answered yet.

pub mod follower;
pub mod isr;
pub mod leader;
pub mod nearest;
pub mod producer_state;
pub mod progress;
pub mod verification;
pub mod waiting;
pub mod watermark;

use flotilla_protocol::LeaderEpoch;

/// The epoch that a client or a follower believes in is not the one that holds here (KIP-320).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochMismatch {
    /// The asker is behind: it must learn of the new leader first. Kafka's `FENCED_LEADER_EPOCH`.
    #[error("leader epoch {asked} is over: the partition is in epoch {current}")]
    Fenced {
        /// What the asker believes.
        asked: LeaderEpoch,
        /// What holds here.
        current: LeaderEpoch,
    },
    /// This broker is behind: the asker may try again. Kafka's `UNKNOWN_LEADER_EPOCH`.
    #[error("leader epoch {asked} is not known here yet: the partition is in epoch {current}")]
    Unknown {
        /// What the asker believes.
        asked: LeaderEpoch,
        /// What holds here.
        current: LeaderEpoch,
    },
}

/// Compares the epoch that a request carries with the current one. [`LeaderEpoch::UNKNOWN`] passes: old clients send none.
///
/// # Errors
/// The two ways of not being equal.
pub fn check_epoch(asked: LeaderEpoch, current: LeaderEpoch) -> Result<(), EpochMismatch> {
    if asked == LeaderEpoch::UNKNOWN || asked == current {
        Ok(())
    } else if asked < current {
        Err(EpochMismatch::Fenced { asked, current })
    } else {
        Err(EpochMismatch::Unknown { asked, current })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_of_a_request_is_compared_both_ways() {
        let current = LeaderEpoch(5);
        assert_eq!(check_epoch(LeaderEpoch::UNKNOWN, current), Ok(()));
        assert_eq!(check_epoch(current, current), Ok(()));
        let asked = LeaderEpoch(4);
        assert_eq!(
            check_epoch(asked, current),
            Err(EpochMismatch::Fenced { asked, current })
        );
        let asked = LeaderEpoch(6);
        assert_eq!(
            check_epoch(asked, current),
            Err(EpochMismatch::Unknown { asked, current })
        );
    }
}
