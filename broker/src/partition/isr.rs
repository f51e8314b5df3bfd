//! The in-sync replicas of a partition: what the controller has committed, and the one change that it is being asked for.

use flotilla_protocol::{BrokerEpoch, BrokerId, LeaderEpoch};
use std::collections::BTreeSet;

/// A change of the in-sync set that the controller is asked for (KIP-497, with broker epochs as in KIP-903).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The epoch in which the proposer leads.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that the change is built on: the controller refuses any other.
    pub partition_epoch: i32,
    /// The whole new set, ascending, with the registrations that it means.
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
}

impl Proposal {
    fn members(&self) -> BTreeSet<BrokerId> {
        self.isr.iter().map(|(broker, _)| *broker).collect()
    }
}

/// How the controller answered a [`Proposal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It holds now.
    Accepted {
        /// The epoch of the partition with the change in it.
        partition_epoch: i32,
        /// The set as committed.
        isr: Vec<BrokerId>,
    },
    /// It does not hold and will not: a replica is not eligible (KIP-841, 903), or the controller did not try.
    Rejected,
    /// It was built on a state that is over. What holds now comes with the metadata.
    Superseded,
    /// Nobody knows whether it holds: no answer came.
    Unanswered,
}

/// The in-sync set as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InSync {
    committed: BTreeSet<BrokerId>,
    partition_epoch: i32,
    pending: Option<Proposal>,
}

impl InSync {
    /// As the metadata says.
    pub fn new(isr: impl IntoIterator<Item = BrokerId>, partition_epoch: i32) -> Self {
        Self {
            committed: isr.into_iter().collect(),
            partition_epoch,
            pending: None,
        }
    }

    /// The committed set. Its size is what `min.insync.replicas` is compared with.
    #[must_use]
    pub fn committed(&self) -> &BTreeSet<BrokerId> {
        &self.committed
    }

    /// The partition epoch of the committed set.
    #[must_use]
    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    /// Whether the controller is being asked for a change: one at a time.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether `broker` counts for the high watermark: it is in sync, or is about to be. A member that is about to be
    /// removed still counts, and so does one whose addition is in flight, because either may be what holds already.
    #[must_use]
    pub fn counts(&self, broker: BrokerId) -> bool {
        self.committed.contains(&broker)
            || self
                .pending
                .as_ref()
                .is_some_and(|proposal| proposal.isr.iter().any(|(member, _)| *member == broker))
    }

    /// Begins a change.
    ///
    /// # Panics
    /// When one is pending already.
    pub fn propose(&mut self, leader_epoch: LeaderEpoch, isr: Vec<(BrokerId, BrokerEpoch)>) -> Proposal {
        assert!(self.pending.is_none(), "one change of the in-sync set at a time");
        let proposal = Proposal {
            leader_epoch,
            partition_epoch: self.partition_epoch,
            isr,
        };
        self.pending = Some(proposal.clone());
        proposal
    }

    /// Takes a committed state, from the metadata or from an answer. An older one than is known is ignored. Whether the
    /// state was new.
    pub fn commit(&mut self, isr: impl IntoIterator<Item = BrokerId>, partition_epoch: i32) -> bool {
        if partition_epoch <= self.partition_epoch {
            return false;
        }
        self.committed = isr.into_iter().collect();
        self.partition_epoch = partition_epoch;
        self.pending = None;
        true
    }

    /// Takes the controller's answer to `proposal`. Gives the proposal back where it must be sent again.
    pub fn answered(&mut self, proposal: &Proposal, answer: Answer) -> Option<Proposal> {
        if let Answer::Accepted { partition_epoch, isr } = answer {
            self.commit(isr, partition_epoch);
            // A controller that finds the set as it was asked for accepts without a new epoch.
            self.pending.take_if(|pending| {
                pending == proposal
                    && partition_epoch == self.partition_epoch
                    && pending.members() == self.committed
            });
            return None;
        }
        if self.pending.as_ref() != Some(proposal) {
            return None;
        }
        match answer {
            Answer::Rejected => {
                self.pending = None;
                None
            }
            // Metadata with a higher partition epoch is on its way, and ends this.
            Answer::Superseded | Answer::Accepted { .. } => None,
            Answer::Unanswered => self.pending.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BrokerId = BrokerId(1);
    const B: BrokerId = BrokerId(2);
    const C: BrokerId = BrokerId(3);
    const EPOCH: LeaderEpoch = LeaderEpoch(4);

    fn members(isr: &[BrokerId]) -> Vec<(BrokerId, BrokerEpoch)> {
        isr.iter().map(|broker| (*broker, BrokerEpoch(100))).collect()
    }

    fn committed(isr: &InSync) -> Vec<BrokerId> {
        isr.committed().iter().copied().collect()
    }

    #[test]
    fn replica_about_to_be_added_counts_already() {
        let mut isr = InSync::new([A, B], 7);
        let proposal = isr.propose(EPOCH, members(&[A, B, C]));
        assert_eq!(proposal.partition_epoch, 7);
        assert!(isr.counts(C));
        assert_eq!(committed(&isr), [A, B]);
    }

    #[test]
    fn replica_about_to_be_removed_counts_until_committed() {
        let mut isr = InSync::new([A, B], 7);
        let proposal = isr.propose(EPOCH, members(&[A]));
        assert!(isr.counts(B));
        let answer = Answer::Accepted {
            partition_epoch: 8,
            isr: vec![A],
        };
        assert_eq!(isr.answered(&proposal, answer), None);
        assert_eq!(isr, InSync::new([A], 8));
    }

    #[test]
    fn rejected_change_leaves_the_committed_set() {
        let mut isr = InSync::new([A], 7);
        let proposal = isr.propose(EPOCH, members(&[A, B]));
        assert_eq!(isr.answered(&proposal, Answer::Rejected), None);
        assert_eq!(isr, InSync::new([A], 7));
    }

    #[test]
    fn superseded_change_stays_pending_until_newer_metadata() {
        let mut isr = InSync::new([A], 7);
        let proposal = isr.propose(EPOCH, members(&[A, B]));
        assert_eq!(isr.answered(&proposal, Answer::Superseded), None);
        assert!(isr.is_pending());
        assert!(!isr.commit([A, C], 7));
        assert!(isr.counts(B));
        assert!(isr.commit([A, C], 9));
        assert_eq!(isr, InSync::new([A, C], 9));
    }

    #[test]
    fn unanswered_change_is_sent_again_as_it_was() {
        let mut isr = InSync::new([A], 7);
        let proposal = isr.propose(EPOCH, members(&[A, B]));
        assert_eq!(isr.answered(&proposal, Answer::Unanswered), Some(proposal));
        assert!(isr.counts(B));
    }

    #[test]
    fn answer_that_comes_after_newer_metadata_changes_nothing() {
        let mut isr = InSync::new([A], 7);
        let proposal = isr.propose(EPOCH, members(&[A, B]));
        assert!(isr.commit([A], 9));
        let answer = Answer::Accepted {
            partition_epoch: 8,
            isr: vec![A, B],
        };
        assert_eq!(isr.answered(&proposal, answer), None);
        assert_eq!(isr.answered(&proposal, Answer::Unanswered), None);
        assert_eq!(isr, InSync::new([A], 9));
    }
}
