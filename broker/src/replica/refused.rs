//! Batches of idempotent producers that were refused for a reason that passes, and those that come behind them.
//!
//! A producer has up to five batches on their way. Where the first is refused because too few replicas are in sync, and
//! enough are when the second arrives, the second has a gap before it that this broker made. `OUT_OF_ORDER_SEQUENCE_NUMBER`
//! would say that records were lost; librdkafka begins a new epoch then, and sends all that it has not been answered for
//! again under it, to other partitions too, where the new epoch hides that they are there already. So the second is refused for the
//! reason that the first was, and the producer sends both again, in order.

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
    /// Notes that a batch was refused.
    pub(super) fn note(&mut self, header: &BatchHeader, reason: &AppendError) {
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
        {
            // It is behind the one that was refused before.
            return;
        }
        if self.0.len() >= PRODUCERS_MAX {
            self.0.clear();
        }
        let gap = Gap {
            epoch,
            first_sequence,
            reason: reason.clone(),
            behind: BATCHES_MAX - 1,
        };
        self.0.insert(header.producer_id, gap);
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

    /// A batch of the producer was taken: there is no gap any more.
    pub(super) fn taken(&mut self, header: &BatchHeader) {
        if !self.0.is_empty() {
            self.0.remove(&header.producer_id);
        }
    }
}
