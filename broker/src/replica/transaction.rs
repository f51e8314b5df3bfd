//! What transactions ask of a partition: whether one is open, that it ends, and who has one.

use super::PartitionKey;
use super::append::{Acks, Commit, Origin};
use super::error::{AppendError, Unavailable};
use super::hosted::{Hosted, Role};
use super::replicas::Replicas;
use crate::partition::producer_state::MarkerVerdict;
use crate::partition::verification::Guard;
use bytes::Bytes;
use flotilla_protocol::records::{BatchHeader, EndTransactionMarker};
use flotilla_protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use std::sync::Arc;

/// A transaction that its coordinator is asked about before the first batch of it is appended (KIP-890). The answer
/// counts only under the leadership that asked, and only while no marker has come between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Whose it is.
    pub producer_id: ProducerId,
    /// The producer's incarnation.
    pub producer_epoch: ProducerEpoch,
    pub(super) guard: Guard,
    pub(super) leader_epoch: LeaderEpoch,
}

impl Verification {
    /// What a coordinator of this broker hands over with its append.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guard
    }
}

/// The end of a transaction, as its coordinator wants it written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// The producer's incarnation; later than that of the records where `is_bumped`.
    pub producer_epoch: ProducerEpoch,
    /// Committed, or else aborted.
    pub committed: bool,
    /// The coordinator's.
    pub coordinator_epoch: i32,
    /// Whether the coordinator raises the epoch with each transaction (KIP-890).
    pub is_bumped: bool,
}

/// A marker in the log.
#[derive(Debug)]
pub struct Marked {
    /// The offset after it; of a repeated one, the end of the log.
    pub end: Offset,
    /// What to wait for.
    pub commit: Option<Commit>,
}

/// A producer that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Who.
    pub producer_id: ProducerId,
    /// Its incarnation.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of its last record; -1 if it has written none in this incarnation.
    pub last_sequence: i32,
    /// When it wrote last, in milliseconds of the epoch.
    pub last_timestamp_ms: i64,
    /// The coordinator that ended its last transaction; -1 if there was none.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins.
    pub transaction_start: Option<Offset>,
}

impl Hosted {
    fn verify(
        &self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        first_sequence: i32,
    ) -> Result<Option<Verification>, Unavailable> {
        let mut state = self.lock()?;
        let Role::Leader(leader) = &state.role else {
            return Err(Unavailable::NotLeader);
        };
        let leader_epoch = leader.epoch();
        if state
            .log
            .producers()
            .is_in_transaction(producer_id, producer_epoch)
        {
            return Ok(None);
        }
        let guard = state.log.verify(producer_id, producer_epoch, first_sequence);
        Ok(Some(Verification {
            producer_id,
            producer_epoch,
            guard,
            leader_epoch,
        }))
    }

    fn end_transaction(
        self: &Arc<Self>,
        marker: &Marker,
        leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Marked, AppendError> {
        let _span = self.span().entered();
        let now_ms = self.shared.now_ms();
        let origin = leader_epoch.map_or(Origin::Client, |leader_epoch| Origin::Coordinator {
            leader_epoch,
            guard: None,
        });
        let record = EndTransactionMarker {
            committed: marker.committed,
            coordinator_epoch: marker.coordinator_epoch,
        };
        let mut state = self.lock()?;
        let epoch = self.may_append(&state, Acks::All, origin)?;
        let verdict = state.log.producers().check_marker(
            marker.producer_id,
            marker.producer_epoch,
            record,
            marker.is_bumped,
        )?;
        state
            .log
            .marked(marker.producer_id, marker.producer_epoch, marker.is_bumped);
        if verdict == MarkerVerdict::Accept {
            let batch = record
                .batch(marker.producer_id, marker.producer_epoch, now_ms)
                .build();
            let appended = state
                .log
                .append_leader(batch, epoch, now_ms)
                .map_err(|error| self.append_failed(error))?;
            self.appended(&mut state, 1, appended.size_bytes);
        }
        let end = state.log.log_end();
        let commit = self.wait_committed(&mut state, end).map(Commit);
        Ok(Marked { end, commit })
    }

    fn active_producers(&self) -> Result<Vec<ActiveProducer>, Unavailable> {
        let state = self.lock()?;
        if !matches!(state.role, Role::Leader(_)) {
            return Err(Unavailable::NotLeader);
        }
        let producers = state
            .log
            .producers()
            .iter()
            .map(|(producer_id, producer)| ActiveProducer {
                producer_id,
                producer_epoch: producer.epoch,
                last_sequence: producer.last_sequence(),
                last_timestamp_ms: producer.last_timestamp_ms,
                coordinator_epoch: producer.coordinator_epoch,
                transaction_start: producer.transaction_start,
            });
        Ok(producers.collect())
    }
}

impl Replicas {
    /// What a batch needs its transaction's coordinator for: `None` where it has no transaction, or one that is open here
    /// already.
    ///
    /// # Errors
    /// Not here, not now.
    pub fn verification(
        &self,
        key: PartitionKey,
        batch: &Bytes,
    ) -> Result<Option<Verification>, Unavailable> {
        // What is no batch is refused when it is appended.
        let header = BatchHeader::parse(batch).ok();
        let Some(header) = header.filter(|header| header.is_transactional() && header.has_producer_id())
        else {
            return Ok(None);
        };
        self.verify_producer(
            key,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )
    }

    /// The same for a coordinator of this broker, which will append for that producer.
    ///
    /// # Errors
    /// Not here, not now.
    pub fn verify_producer(
        &self,
        key: PartitionKey,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        first_sequence: i32,
    ) -> Result<Option<Verification>, Unavailable> {
        let hosted = self.hosted(key).ok_or(Unavailable::NotHosted)?;
        hosted.verify(producer_id, producer_epoch, first_sequence)
    }

    /// Appends a marker, with `leader_epoch` only under that leadership. It counts once [`Marked::commit`] is there.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn end_transaction(
        &self,
        key: PartitionKey,
        marker: &Marker,
        leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Marked, AppendError> {
        let hosted = self.hosted(key).ok_or(Unavailable::NotHosted)?;
        hosted.end_transaction(marker, leader_epoch)
    }

    /// The producers that a partition led here remembers (KIP-664), by id.
    ///
    /// # Errors
    /// Not here, not now.
    pub fn active_producers(&self, key: PartitionKey) -> Result<Vec<ActiveProducer>, Unavailable> {
        self.hosted(key).ok_or(Unavailable::NotHosted)?.active_producers()
    }
}
