//! Transactions whose first batch in a partition waits for their coordinator's word that it belongs to them (KIP-890).
//!
//! Between the question and the append, the transaction may have been ended by a marker. The batch would open it again,
//! with nobody to end it. So a [`Guard`] is taken before asking, and a marker, or the first batch itself, takes it away.

use std::collections::BTreeMap;

use flotilla_protocol::{ProducerEpoch, ProducerId};

/// Most transactions of one partition that are verified at a time. Beyond it, the one that began first is forgotten: its
/// batch is refused, and its producer has to abort.
const VERIFICATIONS_MAX: usize = 10_000;

/// What a verification began with. It holds only in the state that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guard(u64);

#[derive(Clone, Copy, Debug)]
struct Verification {
    guard: Guard,
    epoch: ProducerEpoch,
    /// The earliest batch that waits: none behind it may be appended before it.
    lowest_sequence: i32,
}

/// All that are under way in a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Verifications {
    last: u64,
    by_producer: BTreeMap<ProducerId, Verification>,
}

impl Verifications {
    /// Begins one, or joins the one that is under way.
    pub(super) fn begin(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        first_sequence: i32,
    ) -> Guard {
        if let Some(under_way) = self.by_producer.get_mut(&producer_id)
            && under_way.epoch == epoch
        {
            under_way.lowest_sequence = under_way.lowest_sequence.min(first_sequence);
            return under_way.guard;
        }
        if self.by_producer.len() >= VERIFICATIONS_MAX {
            let oldest = self.by_producer.iter().min_by_key(|(_, one)| one.guard);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.by_producer.remove(&oldest);
            }
        }
        self.last += 1;
        let guard = Guard(self.last);
        let verification = Verification {
            guard,
            epoch,
            lowest_sequence: first_sequence,
        };
        self.by_producer.insert(producer_id, verification);
        guard
    }

    /// The earliest batch of a verification; `None` if it is over.
    pub(super) fn lowest_sequence(&self, producer_id: ProducerId, guard: Guard) -> Option<i32> {
        let under_way = self.by_producer.get(&producer_id)?;
        (under_way.guard == guard).then_some(under_way.lowest_sequence)
    }

    pub(super) fn end(&mut self, producer_id: ProducerId) {
        self.by_producer.remove(&producer_id);
    }

    /// A marker has ended a transaction. With `is_bumped` its epoch is that of the transaction after, whose first batch may be
    /// under way already: the one before ends on the way to the answer that this one may begin.
    pub(super) fn marked(&mut self, producer_id: ProducerId, epoch: ProducerEpoch, is_bumped: bool) {
        let is_next = |under_way: &Verification| is_bumped && under_way.epoch >= epoch;
        if self
            .by_producer
            .get(&producer_id)
            .is_some_and(|under_way| !is_next(under_way))
        {
            self.end(producer_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ProducerId = ProducerId(1);

    #[test]
    fn a_guard_is_shared_by_one_incarnation_and_ends_with_it() {
        let mut all = Verifications::default();
        let guard = all.begin(ID, ProducerEpoch(0), 5);
        assert_eq!(all.begin(ID, ProducerEpoch(0), 2), guard);
        assert_eq!(all.lowest_sequence(ID, guard), Some(2));
        let next = all.begin(ID, ProducerEpoch(1), 0);
        assert_eq!(all.lowest_sequence(ID, guard), None);
        assert_eq!(all.lowest_sequence(ID, next), Some(0));
        all.end(ID);
        assert_eq!(all.lowest_sequence(ID, next), None);
        assert_ne!(all.begin(ID, ProducerEpoch(1), 0), next);
    }

    #[test]
    fn a_marker_ends_the_guard_of_its_own_transaction_and_not_of_the_next() {
        for (guarded, marked, is_bumped, stays) in [
            (4, 4, false, false),
            (4, 5, true, false),
            (5, 5, true, true),
            (6, 5, true, true),
        ] {
            let mut all = Verifications::default();
            let guard = all.begin(ID, ProducerEpoch(guarded), 0);
            all.marked(ID, ProducerEpoch(marked), is_bumped);
            let left = all.lowest_sequence(ID, guard);
            assert_eq!(left.is_some(), stays, "{guarded} {marked} {is_bumped}");
        }
    }

    #[test]
    fn the_first_of_too_many_is_forgotten() {
        let mut all = Verifications::default();
        let first = all.begin(ID, ProducerEpoch(0), 0);
        for id in 0..VERIFICATIONS_MAX as i64 {
            all.begin(ProducerId(id + 2), ProducerEpoch(0), 0);
        }
        assert_eq!(all.lowest_sequence(ID, first), None);
        assert_eq!(all.by_producer.len(), VERIFICATIONS_MAX);
    }
}
