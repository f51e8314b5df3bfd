//! Batches of idempotent producers that were refused for a reason that passes, and those that come behind them.
//!
//! A producer has up to five batches on their way. Where the first is refused because too few replicas are in sync, and
//! enough are when the second arrives, the second has a gap before it that this broker made. `OUT_OF_ORDER_SEQUENCE_NUMBER`
//! would say that records were lost; librdkafka begins a new epoch then, and sends all that it has not been answered for
//! again under it, to other partitions too, where the new epoch hides that they are there already. So the second is refused for the
//! reason that the first was, and the producer sends both again, in order.
//!
//! The first may also have been refused elsewhere, by a broker that did not know yet that it leads no more, and the second come here at once:
//! librdkafka 2.12 does not always wait. So a producer that has written nothing here since this broker leads is told of a gap only when
//! all that can be on its way has come.

use std::collections::BTreeMap;

use flotilla_protocol::records::BatchHeader;
use flotilla_protocol::{ProducerEpoch, ProducerId};

use super::error::{AppendError, Unavailable};
use crate::partition::producer_state::{BATCHES_MAX, next_sequence};

/// Producers that are remembered for a partition. Beyond it all are forgotten, and are told of a gap as Kafka would.
const PRODUCERS_MAX: usize = 1_000;

/// What was refused in one partition.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<ProducerId, Gap>);

/// The batch that a producer has to send again first.
#[derive(Debug)]
struct Gap {
    epoch: ProducerEpoch,
    first_sequence: i32,
    reason: AppendError,
    /// How many batches may still be on their way behind it. A producer that goes on without it has lost it.
    behind: usize,
}

impl Refused {
    /// Notes that a batch was refused. `last` is the last sequence number of the producer's epoch in the log, if it has any there.
    pub(super) fn note(&mut self, header: &BatchHeader, reason: &AppendError, last: Option<i32>) {
        let passes = matches!(
            reason,
            AppendError::NotEnoughReplicas(_)
                | AppendError::Full
                | AppendError::Unavailable(Unavailable::NotLeader)
        );
        if !passes || !header.has_producer_id() {
            return;
        }
        let (epoch, first_sequence) = (header.producer_epoch, header.base_sequence);
        if let Some(gap) = self.0.get(&header.producer_id)
            && gap.epoch == epoch
            && gap.first_sequence < first_sequence
            && last.is_none_or(|last| last < gap.first_sequence)
        {
            // It is behind the one that was refused before, and that is not in the log either: another leader may have taken it since.
            return;
        }
        self.insert(header, first_sequence, reason.clone());
    }

    /// Why a batch is refused that has a gap before it, where the gap begins with a batch that was refused. `last` is the last
    /// sequence number of the producer in the log.
    pub(super) fn behind(&mut self, header: &BatchHeader, last: i32) -> Option<AppendError> {
        let gap = self.0.get_mut(&header.producer_id)?;
        if gap.epoch != header.producer_epoch || gap.first_sequence != next_sequence(last) {
            return None;
        }
        gap.behind = gap.behind.checked_sub(1)?;
        Some(gap.reason.clone())
    }

    /// Why a batch is refused that has a gap before it, as the first of its producer since this broker leads.
    pub(super) fn behind_another_leader(&mut self, header: &BatchHeader, last: i32) -> Option<AppendError> {
        let first_sequence = next_sequence(last);
        let is_noted = self
            .0
            .get(&header.producer_id)
            .is_some_and(|gap| gap.epoch == header.producer_epoch && gap.first_sequence == first_sequence);
        if is_noted {
            return None;
        }
        self.insert(header, first_sequence, Unavailable::NotLeader.into());
        self.behind(header, last)
    }

    fn insert(&mut self, header: &BatchHeader, first_sequence: i32, reason: AppendError) {
        if self.0.len() >= PRODUCERS_MAX {
            self.0.clear();
        }
        let gap = Gap {
            epoch: header.producer_epoch,
            first_sequence,
            reason,
            behind: BATCHES_MAX - 1,
        };
        self.0.insert(header.producer_id, gap);
    }

    /// A batch of the producer was taken: there is no gap any more.
    pub(super) fn taken(&mut self, header: &BatchHeader) {
        if !self.0.is_empty() {
            self.0.remove(&header.producer_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flotilla_protocol::Offset;
    use flotilla_protocol::records::BatchBuilder;

    /// A batch of two records.
    fn batch(sequence: i32) -> BatchHeader {
        let mut builder = BatchBuilder::new(Offset(0)).producer(ProducerId(7), ProducerEpoch(0), sequence);
        for _ in 0..2 {
            builder.push(0, None, None, &[]);
        }
        BatchHeader::parse(&builder.build()).expect("a batch")
    }

    #[test]
    fn what_another_leader_took_since_begins_no_gap_here() {
        let mut refused = Refused::default();
        refused.note(&batch(1), &Unavailable::NotLeader.into(), Some(0));
        // Another leader takes it, this broker follows and leads again, and too few are in sync for the next one.
        refused.note(&batch(3), &AppendError::Full, Some(2));
        assert_eq!(refused.behind(&batch(5), 2), Some(AppendError::Full));
    }

    #[test]
    fn who_is_behind_a_refused_batch_does_not_take_its_place() {
        let mut refused = Refused::default();
        refused.note(&batch(1), &AppendError::Full, Some(0));
        refused.note(&batch(3), &AppendError::Full, Some(0));
        assert_eq!(refused.behind(&batch(5), 0), Some(AppendError::Full));
        refused.taken(&batch(1));
        assert_eq!(refused.behind(&batch(5), 2), None);
    }
}
