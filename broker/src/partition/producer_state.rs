//! What each producer has written last to a partition: how a batch that comes twice is told from one that is lost, and
//! where transactions are open (KIP-98, KIP-360).
//!
//! The state is a fold over the batches of the log. It is saved beside the log from time to time, so that a start
//! need not go through all of them.

use std::collections::{BTreeMap, VecDeque};

use flotilla_protocol::records::{BatchHeader, EndTransactionMarker, NO_SEQUENCE};
use flotilla_protocol::{Offset, ProducerEpoch, ProducerId};

use super::verification::{Guard, Verifications};

/// How many batches of a producer are remembered: as many as an idempotent producer may have in flight.
pub const BATCHES_MAX: usize = 5;
/// How many producers are remembered for a partition. Beyond it, those without an open transaction that have been
/// silent for longest are forgotten, as if they had expired.
pub const PRODUCERS_MAX: usize = 100_000;

const SNAPSHOT_VERSION: u16 = 1;
/// Version and CRC-32C.
const SNAPSHOT_HEADER_BYTES: usize = 6;

/// A batch that a producer has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Sequence number of its first record.
    pub first_sequence: i32,
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Its latest timestamp, in milliseconds of the epoch.
    pub timestamp_ms: i64,
}

/// A producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its latest incarnation.
    pub epoch: ProducerEpoch,
    /// What that incarnation has written last, oldest first; at most [`BATCHES_MAX`].
    pub batches: VecDeque<Batch>,
    /// When it wrote last, in milliseconds of the epoch.
    pub last_timestamp_ms: i64,
    /// The coordinator that ended its last transaction; `-1` if there was none.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

impl Producer {
    fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            batches: VecDeque::new(),
            last_timestamp_ms: -1,
            coordinator_epoch: -1,
            transaction_start: None,
        }
    }

    /// Sequence number of the last record of this incarnation; `-1` if it has written none.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.batches
            .back()
            .map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }
}

/// What to do with a batch that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    Accept,
    /// It is in the log already: answer as it was answered then, once that is as durable as is asked for now.
    Duplicate(Batch),
}

/// Why a batch of a producer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Records before it are missing. On the wire: `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error(
        "producer {producer_id} sent sequence {found}, but its last one here is {last} (-1: none of this epoch)"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The last sequence number in the log.
        last: i32,
        /// What came.
        found: i32,
    },
    /// A later incarnation has written here. On the wire: `INVALID_PRODUCER_EPOCH`.
    #[error("producer {producer_id} has epoch {found}, but epoch {current} has written here already")]
    InvalidEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The latest incarnation known.
        current: ProducerEpoch,
        /// What came.
        found: ProducerEpoch,
    },
    /// The batch belongs to no transaction that its coordinator knows of, or to none although one is open. On the wire:
    /// `INVALID_TXN_STATE`.
    #[error("the batch of producer {producer_id} fits no open transaction here")]
    NotInTransaction {
        /// The producer.
        producer_id: ProducerId,
    },
    /// A later coordinator has ended a transaction here. On the wire: `TRANSACTION_COORDINATOR_FENCED`.
    #[error(
        "coordinator epoch {found} of producer {producer_id} is over: {current} has written here already"
    )]
    CoordinatorFenced {
        /// The producer.
        producer_id: ProducerId,
        /// The latest coordinator epoch known.
        current: i32,
        /// What came.
        found: i32,
    },
}

/// What to do with a marker that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerVerdict {
    /// Append it.
    Accept,
    /// It has ended its transaction here already: it is as good as appended.
    Repeated,
}

/// A transaction that a marker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record in this partition.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// Committed, or else aborted.
    pub committed: bool,
    /// Where the log is stable to with it: the next open transaction, or the offset after the marker.
    pub stable_to: Offset,
}

/// Why a snapshot cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It was written by a newer version.
    #[error("version {0} of the snapshot is not known")]
    Version(u16),
    /// It is not what was written.
    #[error("the snapshot is damaged")]
    Damaged,
}

/// The producers of a partition.
#[derive(Clone, Debug, Default)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, Producer>,
    /// Open transactions by their first offset.
    open: BTreeMap<Offset, ProducerId>,
    /// Transactions whose markers are not known to be committed, by their first offset: with the marker's. Another leader
    /// may have them open still.
    ended: BTreeMap<Offset, Offset>,
    verifications: Verifications,
}

/// Two are the same that say the same of the log. What is under way on top is not compared.
impl PartialEq for ProducerState {
    fn eq(&self, other: &Self) -> bool {
        self.producers == other.producers && self.open == other.open
    }
}

impl Eq for ProducerState {}

impl ProducerState {
    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.producers.iter().map(|(id, producer)| (*id, producer))
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, producer_id: ProducerId) -> Option<&Producer> {
        self.producers.get(&producer_id)
    }

    /// The first offset of the open transaction that began first: nothing from there on is stable.
    #[must_use]
    pub fn first_open_transaction(&self) -> Option<Offset> {
        self.open.first_key_value().map(|(offset, _)| *offset)
    }

    /// The last stable offset: what `read_committed` may see (KIP-98). A transaction counts as open until its marker is
    /// committed.
    #[must_use]
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        let uncommitted = self.ended.iter().find(|(_, marker)| **marker >= high_watermark);
        let stable = self
            .first_open_transaction()
            .map_or(high_watermark, |open| open.min(high_watermark));
        uncommitted.map_or(stable, |(first, _)| stable.min(*first))
    }

    /// All below `high_watermark` is committed: forgets which transactions ended there.
    pub fn committed(&mut self, high_watermark: Offset) {
        self.ended.retain(|_, marker| *marker >= high_watermark);
    }

    /// Whether that incarnation of a producer has a transaction open here.
    #[must_use]
    pub fn is_in_transaction(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.producers
            .get(&producer_id)
            .is_some_and(|producer| producer.epoch == epoch && producer.transaction_start.is_some())
    }

    /// Begins to verify at its coordinator the transaction that a batch is the first one of here (KIP-890). What the
    /// coordinator says holds as long as no marker comes between.
    pub fn verify(&mut self, producer_id: ProducerId, epoch: ProducerEpoch, first_sequence: i32) -> Guard {
        self.verifications.begin(producer_id, epoch, first_sequence)
    }

    /// A marker of a coordinator comes: what was being verified of the transaction that it ends does not count any more.
    pub fn marked(&mut self, producer_id: ProducerId, epoch: ProducerEpoch, is_bumped: bool) {
        self.verifications.marked(producer_id, epoch, is_bumped);
    }

    /// Holds a batch of a client against the transactions that are open. `guard` is what its verification began with.
    ///
    /// # Errors
    /// [`Error::NotInTransaction`], and [`Error::OutOfOrderSequence`] where an earlier batch is verified still.
    pub fn check_transaction(&self, header: &BatchHeader, guard: Option<Guard>) -> Result<(), Error> {
        if !header.has_producer_id() {
            return Ok(());
        }
        let producer_id = header.producer_id;
        let not_in_transaction = Err(Error::NotInTransaction { producer_id });
        let open = self
            .producers
            .get(&producer_id)
            .filter(|producer| producer.transaction_start.is_some());
        match open {
            Some(_) if !header.is_transactional() => return not_in_transaction,
            Some(producer) if producer.epoch == header.producer_epoch => return Ok(()),
            _ if !header.is_transactional() => return Ok(()),
            _ => {}
        }
        let Some(guard) = guard else {
            return not_in_transaction;
        };
        match self.verifications.lowest_sequence(producer_id, guard) {
            None => not_in_transaction,
            Some(lowest) if header.base_sequence > lowest => Err(Error::OutOfOrderSequence {
                producer_id,
                last: NO_SEQUENCE,
                found: header.base_sequence,
            }),
            Some(_) => Ok(()),
        }
    }

    /// Holds a batch of a coordinator against what is known of the producer: it has no sequence that would count.
    ///
    /// # Errors
    /// [`Error::InvalidEpoch`].
    pub fn check_epoch(&self, header: &BatchHeader) -> Result<(), Error> {
        match self.producers.get(&header.producer_id) {
            Some(producer) if header.has_producer_id() && header.producer_epoch < producer.epoch => {
                Err(Error::InvalidEpoch {
                    producer_id: header.producer_id,
                    current: producer.epoch,
                    found: header.producer_epoch,
                })
            }
            _ => Ok(()),
        }
    }

    /// Holds a batch of a client against what its producer has written. A producer that is not known here may begin
    /// with any sequence: what it wrote before may have been deleted (KIP-360).
    ///
    /// # Errors
    /// [`Error::OutOfOrderSequence`], [`Error::InvalidEpoch`].
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, Error> {
        if !header.has_producer_id() {
            return Ok(Verdict::Accept);
        }
        let Some(producer) = self.producers.get(&header.producer_id) else {
            return Ok(Verdict::Accept);
        };
        let producer_id = header.producer_id;
        if header.producer_epoch < producer.epoch {
            let (current, found) = (producer.epoch, header.producer_epoch);
            return Err(Error::InvalidEpoch {
                producer_id,
                current,
                found,
            });
        }
        let found = header.base_sequence;
        if header.producer_epoch > producer.epoch {
            // A new incarnation counts from 0.
            let last = NO_SEQUENCE;
            return if found == 0 {
                Ok(Verdict::Accept)
            } else {
                Err(Error::OutOfOrderSequence {
                    producer_id,
                    last,
                    found,
                })
            };
        }
        let (first_sequence, last_sequence) = (found, header.last_sequence());
        let twin = producer
            .batches
            .iter()
            .find(|batch| batch.first_sequence == first_sequence && batch.last_sequence == last_sequence);
        if let Some(twin) = twin {
            return Ok(Verdict::Duplicate(*twin));
        }
        let last = producer.last_sequence();
        if found == next_sequence(last) {
            Ok(Verdict::Accept)
        } else {
            Err(Error::OutOfOrderSequence {
                producer_id,
                last,
                found,
            })
        }
    }

    /// Holds the marker of a coordinator against what is known of the producer (KIP-98). `is_bumped`: the coordinator raises
    /// the epoch with each transaction, so that the marker's is higher than that of the records (KIP-890).
    ///
    /// # Errors
    /// [`Error::InvalidEpoch`], [`Error::CoordinatorFenced`].
    pub fn check_marker(
        &self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        marker: EndTransactionMarker,
        is_bumped: bool,
    ) -> Result<MarkerVerdict, Error> {
        let Some(producer) = self.producers.get(&producer_id) else {
            return Ok(MarkerVerdict::Accept);
        };
        let is_open = producer.transaction_start.is_some();
        if epoch < producer.epoch || (is_bumped && epoch == producer.epoch && is_open) {
            return Err(Error::InvalidEpoch {
                producer_id,
                current: producer.epoch,
                found: epoch,
            });
        }
        let (current, found) = (producer.coordinator_epoch, marker.coordinator_epoch);
        if found < current {
            return Err(Error::CoordinatorFenced {
                producer_id,
                current,
                found,
            });
        }
        if is_bumped && epoch == producer.epoch {
            return Ok(MarkerVerdict::Repeated);
        }
        Ok(MarkerVerdict::Accept)
    }

    /// Notes a batch that is in the log. `marker` is what a control batch says. Gives the transaction that it ends.
    pub fn append(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTransactionMarker>,
    ) -> Option<EndedTransaction> {
        if !header.has_producer_id() {
            return None;
        }
        self.make_room(header.producer_id);
        if header.is_transactional() && !header.is_control() {
            self.verifications.end(header.producer_id);
        }
        let producer = self
            .producers
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        if header.producer_epoch > producer.epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.last_timestamp_ms = producer.last_timestamp_ms.max(header.max_timestamp_ms);
        if header.is_control() {
            let marker = marker?;
            producer.coordinator_epoch = producer.coordinator_epoch.max(marker.coordinator_epoch);
            let first_offset = producer.transaction_start.take()?;
            self.open.remove(&first_offset);
            let last_offset = header.last_offset();
            let after = last_offset.plus(1);
            let stable_to = self
                .first_open_transaction()
                .map_or(after, |open| open.min(after));
            let (producer_id, committed) = (header.producer_id, marker.committed);
            self.ended.insert(first_offset, last_offset);
            return Some(EndedTransaction {
                producer_id,
                first_offset,
                last_offset,
                committed,
                stable_to,
            });
        }
        // Batches that compaction has emptied stay in the log to say this much.
        if header.base_sequence >= 0 && header.producer_epoch == producer.epoch {
            if producer.batches.len() == BATCHES_MAX {
                producer.batches.pop_front();
            }
            producer.batches.push_back(Batch {
                first_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                first_offset: header.base_offset,
                last_offset: header.last_offset(),
                timestamp_ms: header.max_timestamp_ms,
            });
        }
        if header.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
        None
    }

    /// Forgets producers that have been silent since before `before_ms` and have no transaction open.
    pub fn expire(&mut self, before_ms: i64) {
        self.producers.retain(|_, producer| {
            producer.transaction_start.is_some() || producer.last_timestamp_ms >= before_ms
        });
    }

    /// Forgets the most silent tenth where one more producer would be too many.
    fn make_room(&mut self, producer_id: ProducerId) {
        if self.producers.len() < PRODUCERS_MAX || self.producers.contains_key(&producer_id) {
            return;
        }
        let mut idle: Vec<(i64, ProducerId)> = self
            .producers
            .iter()
            .filter(|(_, producer)| producer.transaction_start.is_none())
            .map(|(id, producer)| (producer.last_timestamp_ms, *id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(PRODUCERS_MAX / 10) {
            self.producers.remove(&id);
        }
    }

    /// The state as bytes, with a checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; SNAPSHOT_HEADER_BYTES];
        out[..2].copy_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        out.extend_from_slice(&(self.producers.len() as u32).to_be_bytes());
        for (id, producer) in &self.producers {
            out.extend_from_slice(&id.0.to_be_bytes());
            out.extend_from_slice(&producer.epoch.0.to_be_bytes());
            out.extend_from_slice(&producer.last_timestamp_ms.to_be_bytes());
            out.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            out.extend_from_slice(
                &producer
                    .transaction_start
                    .map_or(-1, |start| start.0)
                    .to_be_bytes(),
            );
            out.push(producer.batches.len() as u8);
            for batch in &producer.batches {
                out.extend_from_slice(&batch.first_sequence.to_be_bytes());
                out.extend_from_slice(&batch.last_sequence.to_be_bytes());
                out.extend_from_slice(&batch.first_offset.0.to_be_bytes());
                out.extend_from_slice(&batch.last_offset.0.to_be_bytes());
                out.extend_from_slice(&batch.timestamp_ms.to_be_bytes());
            }
        }
        let crc = crc32c::crc32c(&out[SNAPSHOT_HEADER_BYTES..]);
        out[2..SNAPSHOT_HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads what [`ProducerState::encode`] wrote.
    ///
    /// # Errors
    /// [`SnapshotError`]; the state has to be built from the log then.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = Input(bytes);
        let version = u16::from_be_bytes(input.take()?);
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version(version));
        }
        if u32::from_be_bytes(input.take()?) != crc32c::crc32c(input.0) {
            return Err(SnapshotError::Damaged);
        }
        let mut state = Self::default();
        for _ in 0..u32::from_be_bytes(input.take()?) {
            let id = ProducerId(input.i64()?);
            let mut producer = Producer::new(ProducerEpoch(i16::from_be_bytes(input.take()?)));
            producer.last_timestamp_ms = input.i64()?;
            producer.coordinator_epoch = input.i32()?;
            producer.transaction_start = Some(Offset(input.i64()?)).filter(|start| start.0 >= 0);
            let [batches] = input.take()?;
            for _ in 0..batches {
                producer.batches.push_back(Batch {
                    first_sequence: input.i32()?,
                    last_sequence: input.i32()?,
                    first_offset: Offset(input.i64()?),
                    last_offset: Offset(input.i64()?),
                    timestamp_ms: input.i64()?,
                });
            }
            if let Some(start) = producer.transaction_start {
                state.open.insert(start, id);
            }
            state.producers.insert(id, producer);
        }
        if input.0.is_empty() {
            Ok(state)
        } else {
            Err(SnapshotError::Damaged)
        }
    }
}

/// The sequence number after this one: after the largest comes 0.
#[must_use]
pub fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(SnapshotError::Damaged)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn i32(&mut self) -> Result<i32, SnapshotError> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, SnapshotError> {
        self.take().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flotilla_protocol::records::BatchBuilder;

    const ID: ProducerId = ProducerId(9);

    fn batch_at(epoch: i16, sequence: i32, count: i32, offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new(Offset(offset)).producer(ID, ProducerEpoch(epoch), sequence);
        for _ in 0..count {
            builder.push(1_000, None, None, &[]);
        }
        BatchHeader::parse(&builder.build()).unwrap()
    }

    fn batch(epoch: i16, sequence: i32, count: i32) -> BatchHeader {
        batch_at(epoch, sequence, count, 0)
    }

    fn transactional(id: i64, epoch: i16, sequence: i32, offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new(Offset(offset))
            .producer(ProducerId(id), ProducerEpoch(epoch), sequence)
            .transactional();
        builder.push(1_000, None, None, &[]);
        BatchHeader::parse(&builder.build()).unwrap()
    }

    fn end(
        state: &mut ProducerState,
        id: i64,
        epoch: i16,
        committed: bool,
        offset: i64,
    ) -> Option<EndedTransaction> {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 3,
        };
        let batch = marker.batch(ProducerId(id), ProducerEpoch(epoch), 2_000).build();
        let header = BatchHeader {
            base_offset: Offset(offset),
            ..BatchHeader::parse(&batch).unwrap()
        };
        state.append(&header, Some(marker))
    }

    fn state(headers: &[BatchHeader]) -> ProducerState {
        let mut state = ProducerState::default();
        for header in headers {
            assert_eq!(state.check(header), Ok(Verdict::Accept));
            assert_eq!(state.append(header, None), None);
        }
        state
    }

    fn out_of_order(last: i32, found: i32) -> Result<Verdict, Error> {
        Err(Error::OutOfOrderSequence {
            producer_id: ID,
            last,
            found,
        })
    }

    #[test]
    fn sequences_follow_one_another_without_a_gap() {
        let state = state(&[batch(0, 0, 3), batch(0, 3, 2)]);
        assert_eq!(state.check(&batch(0, 5, 1)), Ok(Verdict::Accept));
        assert_eq!(state.check(&batch(0, 6, 1)), out_of_order(4, 6));
        assert_eq!(state.check(&batch(0, 4, 1)), out_of_order(4, 4));
        assert_eq!(state.check(&batch(0, 0, 2)), out_of_order(4, 0));
    }

    #[test]
    fn a_batch_that_comes_again_is_known_by_its_sequences_for_five_batches() {
        let headers: Vec<BatchHeader> = (0..6)
            .map(|n| batch_at(0, n * 2, 2, i64::from(n) * 2 + 100))
            .collect();
        let state = state(&headers);
        let known = |n: i32| {
            let (sequence, offset) = (n * 2, i64::from(n) * 2 + 100);
            Ok(Verdict::Duplicate(Batch {
                first_sequence: sequence,
                last_sequence: sequence + 1,
                first_offset: Offset(offset),
                last_offset: Offset(offset + 1),
                timestamp_ms: 1_000,
            }))
        };
        for n in 1..6 {
            assert_eq!(state.check(&headers[n as usize]), known(n));
        }
        assert_eq!(state.check(&headers[0]), out_of_order(11, 0));
        assert_eq!(state.check(&batch(0, 10, 1)), out_of_order(11, 10));
    }

    #[test]
    fn sequence_goes_on_with_zero_after_the_largest() {
        let state = state(&[batch(0, i32::MAX - 1, 2)]);
        assert_eq!(state.check(&batch(0, 0, 1)), Ok(Verdict::Accept));
        let wrapping = batch(0, i32::MAX, 3);
        assert_eq!(wrapping.last_sequence(), 1);
        let state = self::state(&[batch(0, i32::MAX - 1, 1), wrapping]);
        assert_eq!(state.check(&batch(0, 2, 1)), Ok(Verdict::Accept));
        assert!(matches!(state.check(&wrapping), Ok(Verdict::Duplicate(_))));
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere() {
        let state = ProducerState::default();
        assert_eq!(state.check(&batch(4, 17, 1)), Ok(Verdict::Accept));
        let mut none = BatchBuilder::new(Offset(0));
        none.push(0, None, None, &[]);
        assert_eq!(
            state.check(&BatchHeader::parse(&none.build()).unwrap()),
            Ok(Verdict::Accept)
        );
    }

    #[test]
    fn a_new_incarnation_begins_at_zero_and_fences_the_old_one() {
        let mut state = state(&[batch(1, 0, 5)]);
        assert_eq!(state.check(&batch(2, 5, 1)), out_of_order(-1, 5));
        assert_eq!(state.check(&batch(2, 0, 1)), Ok(Verdict::Accept));
        state.append(&batch(2, 0, 1), None);
        let fenced = Error::InvalidEpoch {
            producer_id: ID,
            current: ProducerEpoch(2),
            found: ProducerEpoch(1),
        };
        assert_eq!(state.check(&batch(1, 5, 1)), Err(fenced));
        assert_eq!(state.check(&batch(2, 1, 1)), Ok(Verdict::Accept));
    }

    #[test]
    fn the_log_is_stable_up_to_the_first_open_transaction() {
        let mut state = state(&[
            transactional(1, 0, 0, 10),
            transactional(2, 0, 0, 20),
            transactional(1, 0, 1, 30),
        ]);
        assert_eq!(state.last_stable_offset(Offset(5)), Offset(5));
        assert_eq!(state.last_stable_offset(Offset(40)), Offset(10));
        let ended = |producer_id, first, last, committed, stable_to| {
            Some(EndedTransaction {
                producer_id: ProducerId(producer_id),
                first_offset: Offset(first),
                last_offset: Offset(last),
                committed,
                stable_to: Offset(stable_to),
            })
        };
        assert_eq!(end(&mut state, 1, 0, false, 40), ended(1, 10, 40, false, 20));
        assert_eq!(state.last_stable_offset(Offset(41)), Offset(20));
        assert_eq!(
            end(&mut state, 1, 0, false, 41),
            None,
            "a repeated marker is harmless"
        );
        assert_eq!(end(&mut state, 2, 0, true, 42), ended(2, 20, 42, true, 43));
        assert_eq!(state.last_stable_offset(Offset(43)), Offset(43));
    }

    #[test]
    fn a_marker_with_a_new_epoch_starts_the_sequence_again() {
        let mut state = state(&[transactional(9, 0, 0, 10)]);
        assert!(end(&mut state, 9, 1, true, 11).is_some());
        assert_eq!(state.check(&transactional(9, 1, 0, 12)), Ok(Verdict::Accept));
        assert_eq!(state.check(&transactional(9, 1, 1, 12)), out_of_order(-1, 1));
        assert!(matches!(
            state.check(&transactional(9, 0, 1, 12)),
            Err(Error::InvalidEpoch { .. })
        ));
    }

    #[test]
    fn markers_of_the_past_are_refused() {
        let mut state = state(&[transactional(9, 5, 0, 10)]);
        end(&mut state, 9, 5, true, 11);
        let marker = |coordinator_epoch| EndTransactionMarker {
            committed: true,
            coordinator_epoch,
        };
        let check =
            |epoch, coordinator| state.check_marker(ID, ProducerEpoch(epoch), marker(coordinator), false);
        assert_eq!(check(5, 3), Ok(MarkerVerdict::Accept));
        assert!(matches!(check(4, 3), Err(Error::InvalidEpoch { .. })));
        let fenced = Err(Error::CoordinatorFenced {
            producer_id: ID,
            current: 3,
            found: 2,
        });
        assert_eq!(check(5, 2), fenced);
    }

    #[test]
    fn marker_with_a_bumped_epoch_ends_one_transaction_only() {
        let mut state = state(&[transactional(9, 5, 0, 10)]);
        let marker = EndTransactionMarker {
            committed: true,
            coordinator_epoch: 3,
        };
        let check = |state: &ProducerState, epoch| state.check_marker(ID, ProducerEpoch(epoch), marker, true);
        let invalid = |current, found| {
            Err(Error::InvalidEpoch {
                producer_id: ID,
                current: ProducerEpoch(current),
                found: ProducerEpoch(found),
            })
        };
        assert_eq!(check(&state, 5), invalid(5, 5));
        assert_eq!(check(&state, 6), Ok(MarkerVerdict::Accept));
        end(&mut state, 9, 6, true, 11);
        assert_eq!(check(&state, 6), Ok(MarkerVerdict::Repeated));
        // The next transaction is open: the marker of the last one comes again, late.
        state.append(&transactional(9, 6, 0, 12), None);
        assert_eq!(check(&state, 6), invalid(6, 6));
    }

    #[test]
    fn transaction_is_open_until_its_marker_is_committed() {
        let mut state = state(&[transactional(1, 0, 0, 10)]);
        end(&mut state, 1, 0, true, 20);
        assert_eq!(state.last_stable_offset(Offset(15)), Offset(10));
        assert_eq!(state.last_stable_offset(Offset(20)), Offset(10));
        assert_eq!(state.last_stable_offset(Offset(21)), Offset(21));
        state.committed(Offset(20));
        assert_eq!(state.last_stable_offset(Offset(20)), Offset(10));
        state.committed(Offset(21));
        assert_eq!(state.last_stable_offset(Offset(21)), Offset(21));
    }

    #[test]
    fn first_batch_of_a_transaction_needs_a_verification_that_no_marker_ended() {
        let mut state = ProducerState::default();
        let first = transactional(9, 0, 0, 10);
        let not_in_transaction = Err(Error::NotInTransaction { producer_id: ID });
        assert_eq!(state.check_transaction(&first, None), not_in_transaction);
        let guard = state.verify(ID, ProducerEpoch(0), 0);
        assert_eq!(state.check_transaction(&first, Some(guard)), Ok(()));
        let second = transactional(9, 0, 1, 11);
        let early = Err(Error::OutOfOrderSequence {
            producer_id: ID,
            last: NO_SEQUENCE,
            found: 1,
        });
        assert_eq!(state.check_transaction(&second, Some(guard)), early);
        state.marked(ID, ProducerEpoch(0), false);
        end(&mut state, 9, 0, false, 10);
        assert_eq!(state.check_transaction(&first, Some(guard)), not_in_transaction);
        let guard = state.verify(ID, ProducerEpoch(0), 0);
        state.append(&transactional(9, 0, 0, 11), None);
        assert!(state.is_in_transaction(ID, ProducerEpoch(0)));
        assert!(!state.is_in_transaction(ID, ProducerEpoch(1)));
        assert_eq!(state.check_transaction(&transactional(9, 0, 1, 12), None), Ok(()));
        assert_eq!(
            state.check_transaction(&batch(0, 1, 1), Some(guard)),
            not_in_transaction
        );
        let newer = transactional(9, 1, 0, 12);
        assert_eq!(state.check_transaction(&newer, Some(guard)), not_in_transaction);
    }

    #[test]
    fn batch_of_a_coordinator_is_held_against_epochs_alone() {
        let state = state(&[transactional(9, 5, 0, 10)]);
        assert_eq!(state.check_epoch(&transactional(9, 5, 7, 11)), Ok(()));
        assert_eq!(state.check_epoch(&transactional(8, 0, 0, 11)), Ok(()));
        assert!(matches!(
            state.check_epoch(&transactional(9, 4, 0, 11)),
            Err(Error::InvalidEpoch { .. })
        ));
    }

    #[test]
    fn silent_producers_are_forgotten_unless_a_transaction_is_open() {
        let mut state = state(&[batch(0, 0, 1), transactional(10, 0, 0, 5)]);
        state.expire(1_000);
        assert_eq!(state.len(), 2);
        state.expire(1_001);
        assert_eq!(state.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [10]);
    }

    #[test]
    fn producers_are_bounded() {
        let mut state = state(&[transactional(-0, 0, 0, 5)]);
        let header = batch(0, 0, 1);
        for id in 1..=(PRODUCERS_MAX as i64 + 1) {
            let header = BatchHeader {
                producer_id: ProducerId(id),
                max_timestamp_ms: id,
                ..header
            };
            state.append(&header, None);
        }
        assert!(state.len() <= PRODUCERS_MAX);
        assert!(state.get(ProducerId(0)).is_some(), "a transaction is open");
        assert!(state.get(ProducerId(1)).is_none(), "silent for longest");
        assert!(state.get(ProducerId(PRODUCERS_MAX as i64 + 1)).is_some());
    }

    #[test]
    fn a_snapshot_reads_back_and_damage_is_found() {
        let mut state = state(&[
            batch(0, 0, 3),
            batch(0, 3, 2),
            transactional(10, 1, 0, 5),
            transactional(11, 1, 0, 6),
        ]);
        end(&mut state, 11, 1, true, 7);
        let bytes = state.encode();
        assert_eq!(ProducerState::decode(&bytes), Ok(state));
        assert_eq!(
            ProducerState::decode(&ProducerState::default().encode()),
            Ok(ProducerState::default())
        );
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(ProducerState::decode(&flipped).is_err(), "byte {at}");
            assert_eq!(
                ProducerState::decode(&bytes[..at]),
                Err(SnapshotError::Damaged),
                "cut at {at}"
            );
        }
    }
}
