//! What is known of one transactional id, and how it changes.

use std::collections::BTreeSet;

use flotilla_protocol::{ProducerEpoch, ProducerId};

use crate::group::Text;

/// A partition that belongs to a transaction.
pub type Partition = (Text, i32);

/// "None" on the wire and in the log.
pub(super) const NO_PRODUCER: ProducerId = ProducerId(-1);
/// "None" on the wire and in the log.
pub(super) const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);

/// A producer id and its incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProducerRef {
    /// The id.
    pub id: ProducerId,
    /// The incarnation.
    pub epoch: ProducerEpoch,
}

/// How a client speaks of transactions (KIP-890).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The epoch stays from one transaction to the next.
    #[default]
    V0,
    /// Each transaction has an epoch of its own.
    V2,
}

impl Version {
    /// As the log has it.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::V0 => 0,
            Self::V2 => 2,
        }
    }

    /// From the log. Version 1 differs in what brokers write alone.
    #[must_use]
    pub fn from_code(code: i16) -> Self {
        if code >= 2 { Self::V2 } else { Self::V0 }
    }

    /// Whether each end raises the epoch.
    #[must_use]
    pub fn bumps(self) -> bool {
        self == Self::V2
    }
}

/// Where a transactional id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// There has been no transaction of this incarnation.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It is decided to be committed; markers are being written.
    PrepareCommit,
    /// It is decided to be aborted; markers are being written.
    PrepareAbort,
    /// All markers of a commit are written.
    CompleteCommit,
    /// All markers of an abort are written.
    CompleteAbort,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// The code in the log.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }

    /// From the code in the log.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Kafka's name, as its tools print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether markers are being written.
    #[must_use]
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }
}

/// The state of a transactional id, as one record of the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The producer id in use.
    pub producer_id: ProducerId,
    /// The one before, where the epochs of that were used up.
    pub previous_producer_id: ProducerId,
    /// The one after, while the last transaction of this one ends.
    pub next_producer_id: ProducerId,
    /// The latest incarnation.
    pub epoch: ProducerEpoch,
    /// The incarnation before, where its client may be asking once more for what it did not hear the answer of. Not in the
    /// log while the epoch stays from one transaction to the next.
    pub last_epoch: ProducerEpoch,
    /// After how long the transaction is aborted, in milliseconds.
    pub timeout_ms: i32,
    /// Where it stands.
    pub status: Status,
    /// What belongs to the open transaction.
    pub partitions: BTreeSet<Partition>,
    /// When it began, in milliseconds of the epoch; -1: never.
    pub start_ms: i64,
    /// When it last changed, in milliseconds of the epoch.
    pub update_ms: i64,
    /// How the client speaks.
    pub version: Version,
}

impl Transaction {
    /// A transactional id that nobody has used before.
    pub(super) fn new(producer_id: ProducerId, now_ms: i64) -> Self {
        Self {
            producer_id,
            previous_producer_id: NO_PRODUCER,
            next_producer_id: NO_PRODUCER,
            epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            timeout_ms: 0,
            status: Status::Empty,
            partitions: BTreeSet::new(),
            start_ms: -1,
            update_ms: now_ms,
            version: Version::V0,
        }
    }

    /// Who may write for it.
    #[must_use]
    pub fn producer(&self) -> ProducerRef {
        ProducerRef {
            id: self.producer_id,
            epoch: self.epoch,
        }
    }

    /// Whether the next incarnation would have no epoch left for a fence after it.
    pub(super) fn is_epoch_exhausted(&self) -> bool {
        is_exhausted(self.epoch)
    }

    /// The next incarnation, without a transaction.
    pub(super) fn initialized(
        &self,
        epoch: ProducerEpoch,
        last_epoch: ProducerEpoch,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        Self {
            epoch,
            last_epoch,
            timeout_ms,
            status: Status::Empty,
            partitions: BTreeSet::new(),
            start_ms: -1,
            update_ms: now_ms,
            ..self.clone()
        }
    }

    /// The first incarnation of another producer id.
    pub(super) fn rotated(
        &self,
        producer_id: ProducerId,
        keeps_last_epoch: bool,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        let last_epoch = if keeps_last_epoch { self.epoch } else { NO_EPOCH };
        Self {
            producer_id,
            previous_producer_id: self.producer_id,
            ..self.initialized(ProducerEpoch(0), last_epoch, timeout_ms, now_ms)
        }
    }

    /// With more partitions, in a transaction that begins with them if none is open.
    pub(super) fn extended(&self, partitions: &[Partition], version: Version, now_ms: i64) -> Self {
        let mut next = self.clone();
        if self.status != Status::Ongoing {
            next.partitions.clear();
            next.start_ms = now_ms;
        }
        next.partitions.extend(partitions.iter().cloned());
        next.status = Status::Ongoing;
        next.update_ms = now_ms;
        next.version = version;
        next
    }

    /// Decided by its client. `next_producer_id` is for a producer whose epochs are used up.
    pub(super) fn decided(
        &self,
        committed: bool,
        version: Version,
        next_producer_id: Option<ProducerId>,
        now_ms: i64,
    ) -> Self {
        let mut next = self.prepared(committed, now_ms);
        next.version = version;
        if version.bumps() {
            next.epoch = ProducerEpoch(self.epoch.0.saturating_add(1));
            next.last_epoch = self.epoch;
            next.next_producer_id = next_producer_id.unwrap_or(NO_PRODUCER);
        }
        next
    }

    /// Aborted by its coordinator: whoever had it open is fenced, and cannot ask again for what it did not hear.
    pub(super) fn fenced(&self, now_ms: i64) -> Self {
        let mut next = self.prepared(false, now_ms);
        next.epoch = ProducerEpoch(self.epoch.0.saturating_add(1));
        next.last_epoch = NO_EPOCH;
        next.version = Version::V2;
        next
    }

    fn prepared(&self, committed: bool, now_ms: i64) -> Self {
        let is_open = self.status == Status::Ongoing;
        Self {
            status: if committed {
                Status::PrepareCommit
            } else {
                Status::PrepareAbort
            },
            partitions: if is_open {
                self.partitions.clone()
            } else {
                BTreeSet::new()
            },
            start_ms: if is_open { self.start_ms } else { now_ms },
            update_ms: now_ms,
            ..self.clone()
        }
    }

    /// With all markers written.
    pub(super) fn completed(&self, now_ms: i64) -> Self {
        let mut next = self.clone();
        next.status = match self.status {
            Status::PrepareCommit => Status::CompleteCommit,
            _ => Status::CompleteAbort,
        };
        next.partitions.clear();
        next.update_ms = now_ms;
        let after = self.after();
        if after.id != self.producer_id {
            next.previous_producer_id = self.producer_id;
            next.producer_id = after.id;
            next.epoch = after.epoch;
            next.next_producer_id = NO_PRODUCER;
        }
        next
    }

    /// Who may write once the transaction that is decided has ended.
    #[must_use]
    pub fn after(&self) -> ProducerRef {
        if self.status.is_prepared() && self.next_producer_id != NO_PRODUCER {
            ProducerRef {
                id: self.next_producer_id,
                epoch: ProducerEpoch(0),
            }
        } else {
            self.producer()
        }
    }
}

/// The last epoch is kept for fencing.
pub(super) fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.0 >= i16::MAX - 1
}
