//! One partition's next state: who leads, who is in sync, who may lead later.

use flotilla_protocol::{BrokerId, LeaderEpoch};

use super::Rules;
use crate::metadata::Partition;

/// How far an election may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The present leader stays if it can, else a replica that holds all that is committed.
    Clean,
    /// The first replica leads if it can, else as [`Election::Clean`].
    Preferred,
    /// Any replica leads rather than none, whatever it has lost.
    Unclean,
}

/// A change of one partition, being put together.
#[derive(Clone, Debug)]
pub(super) struct Change<'p> {
    old: &'p Partition,
    rules: Rules,
    pub(super) election: Election,
    /// Leads before all others, if it holds all that is committed.
    pub(super) successor: Option<BrokerId>,
    pub(super) replicas: Vec<BrokerId>,
    pub(super) adding: Vec<BrokerId>,
    pub(super) removing: Vec<BrokerId>,
    pub(super) isr: Vec<BrokerId>,
    /// Came back from a crash without all that was committed to them: they may not lead before they are in sync again.
    pub(super) crashed: Vec<BrokerId>,
    /// Came back with an empty disk: as [`Change::crashed`], and not even as the last known leader.
    pub(super) emptied: Vec<BrokerId>,
}

impl<'p> Change<'p> {
    /// Starts from the present state. Topics that say so elect uncleanly by themselves.
    pub(super) fn of(old: &'p Partition, rules: Rules) -> Self {
        Self {
            old,
            rules,
            election: if rules.unclean_election {
                Election::Unclean
            } else {
                Election::Clean
            },
            successor: None,
            replicas: old.replicas.clone(),
            adding: old.adding.clone(),
            removing: old.removing.clone(),
            isr: old.isr.clone(),
            crashed: Vec::new(),
            emptied: Vec::new(),
        }
    }

    /// The next state, with its epochs; `None` when nothing changes. `can_lead` says who is there to lead.
    pub(super) fn decide(mut self, can_lead: &dyn Fn(BrokerId) -> bool) -> Option<Partition> {
        self.isr
            .retain(|replica| !self.crashed.contains(replica) && !self.emptied.contains(replica));
        self.complete_reassignment();
        let (mut elr, mut last_known_elr) = self.eligible();
        let mut leader = self.elect(&elr, &last_known_elr, can_lead);
        if leader.is_none() && !self.isr.is_empty() {
            self.isr.clear();
            (elr, last_known_elr) = self.eligible();
            leader = self.elect(&elr, &last_known_elr, can_lead);
        }
        match leader {
            Some(leader) if !self.isr.contains(&leader) => {
                // From the eligible replicas, or uncleanly: whoever else holds what, only the new leader is in sync now.
                self.isr = vec![leader];
                let clean = elr.contains(&leader);
                elr.retain(|replica| clean && *replica != leader);
                if !clean || self.is_enough(1) {
                    elr.clear();
                    last_known_elr.clear();
                }
            }
            _ => {}
        }
        if self.isr.is_empty() && last_known_elr.is_empty() {
            last_known_elr.extend(self.old.leader.filter(|leader| self.may_be_last_known(*leader)));
        }
        let mut next = Partition {
            leader,
            leader_epoch: self.old.leader_epoch,
            partition_epoch: self.old.partition_epoch,
            elr,
            last_known_elr,
            replicas: self.replicas,
            adding: self.adding,
            removing: self.removing,
            isr: self.isr,
        };
        if next == *self.old {
            return None;
        }
        next.partition_epoch = self.old.partition_epoch.saturating_add(1);
        // A replica that is dropped must not be followed or follow any more: the epoch fences it.
        let drops = self
            .old
            .replicas
            .iter()
            .any(|replica| !next.replicas.contains(replica));
        if next.leader != self.old.leader || drops {
            next.leader_epoch = LeaderEpoch(self.old.leader_epoch.0.saturating_add(1));
        }
        Some(next)
    }

    /// A reassignment is complete when all that it adds are in sync, and someone of those that stay is (KIP-455).
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let staying = |replicas: &[BrokerId]| -> Vec<BrokerId> {
            replicas
                .iter()
                .copied()
                .filter(|replica| !self.removing.contains(replica))
                .collect()
        };
        let (replicas, isr) = (staying(&self.replicas), staying(&self.isr));
        if isr.is_empty() || replicas.is_empty() || !self.adding.iter().all(|replica| isr.contains(replica)) {
            return;
        }
        (self.replicas, self.isr) = (replicas, isr);
        self.adding.clear();
        self.removing.clear();
    }

    fn is_enough(&self, in_sync: usize) -> bool {
        in_sync >= self.rules.min_insync_replicas.min(self.replicas.len())
    }

    /// Who leaves the in-sync set while it is below its minimum stays eligible: nothing is committed without it (KIP-966).
    fn eligible(&self) -> (Vec<BrokerId>, Vec<BrokerId>) {
        if self.is_enough(self.isr.len()) {
            return (Vec::new(), Vec::new());
        }
        let held = |replica: &BrokerId| self.old.isr.contains(replica) || self.old.elr.contains(replica);
        let lost = |replica: &BrokerId| self.crashed.contains(replica) || self.emptied.contains(replica);
        // In the order of the replicas, so that the same state is always written the same.
        let elr = self
            .replicas
            .iter()
            .copied()
            .filter(|replica| held(replica) && !lost(replica) && !self.isr.contains(replica))
            .collect();
        let last_known = self
            .old
            .last_known_elr
            .iter()
            .copied()
            .filter(|replica| self.may_be_last_known(*replica))
            .collect();
        (elr, last_known)
    }

    fn may_be_last_known(&self, replica: BrokerId) -> bool {
        self.replicas.contains(&replica) && !self.emptied.contains(&replica)
    }

    fn elect(
        &self,
        elr: &[BrokerId],
        last_known_elr: &[BrokerId],
        can_lead: &dyn Fn(BrokerId) -> bool,
    ) -> Option<BrokerId> {
        let holds_all = |replica: BrokerId| {
            self.isr.contains(&replica) || (self.isr.is_empty() && elr.contains(&replica))
        };
        let clean = |replica: &BrokerId| holds_all(*replica) && can_lead(*replica);
        let preferred = (self.election == Election::Preferred)
            .then(|| self.replicas.first().copied())
            .flatten();
        [self.successor, preferred, self.old.leader]
            .into_iter()
            .flatten()
            .find(|replica| self.replicas.contains(replica) && clean(replica))
            .or_else(|| self.replicas.iter().copied().find(clean))
            .or_else(|| {
                let nobody_eligible = self.isr.is_empty() && elr.is_empty();
                last_known_elr
                    .iter()
                    .copied()
                    .find(|replica| nobody_eligible && can_lead(*replica))
            })
            .or_else(|| {
                let unclean = self.election == Election::Unclean;
                self.replicas
                    .iter()
                    .copied()
                    .find(|replica| unclean && can_lead(*replica))
            })
    }
}
