//! What a delivery is told and what it tells, free of any API version.

use flotilla_protocol::Offset;

use crate::share::state::Batch;

/// Where the delivery of a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// To be delivered.
    Available,
    /// Delivered, and its lock is held.
    Acquired,
    /// Processed.
    Acknowledged,
    /// Given up: rejected, delivered too often, or not there at all.
    Archived,
}

impl RecordState {
    /// Kafka's number, as it is stored.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Available => 0,
            Self::Acquired => 1,
            Self::Acknowledged => 2,
            Self::Archived => 4,
        }
    }

    /// The state of a number that may be stored. A lock is never stored.
    #[must_use]
    pub fn stored(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Available),
            2 => Some(Self::Acknowledged),
            4 => Some(Self::Archived),
            _ => None,
        }
    }

    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Archived)
    }
}

/// What a member says of a record (KIP-932, KIP-1222).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no record at this offset.
    Gap,
    /// It was processed.
    Accept,
    /// It is to be delivered again.
    Release,
    /// It is not to be delivered again.
    Reject,
    /// It is still being processed: its lock begins anew.
    Renew,
}

impl Verdict {
    /// Of Kafka's number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Gap),
            1 => Some(Self::Accept),
            2 => Some(Self::Release),
            3 => Some(Self::Reject),
            4 => Some(Self::Renew),
            _ => None,
        }
    }
}

/// What a member says of the records of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The first offset.
    pub first: Offset,
    /// The last one.
    pub last: Offset,
    /// One for all of them, or one for each.
    pub verdicts: Vec<Verdict>,
}

impl Acknowledgement {
    pub(super) fn verdict(&self, offset: Offset) -> Option<Verdict> {
        match self.verdicts.as_slice() {
            [all] => Some(*all),
            each => each.get(usize::try_from(offset.0 - self.first.0).ok()?).copied(),
        }
    }
}

/// Why an acknowledgement does not count. Nothing of it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The lock is over, another member's, or being settled.
    #[error("the record is not acquired by the member: its lock may have ended")]
    InvalidRecordState,
    /// Offsets that nobody was given.
    #[error("the offsets are not among those that were delivered")]
    InvalidRequest,
    /// `share.renew.acknowledge.enable` is off.
    #[error("locks of this group cannot be renewed: share.renew.acknowledge.enable is off")]
    RenewDisabled,
}

/// The limits of a group, which may change at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `share.delivery.count.limit`.
    pub delivery_count: i16,
    /// `share.partition.max.record.locks`.
    pub record_locks: i64,
    /// `share.record.lock.duration.ms`.
    pub lock_ms: u64,
    /// `share.renew.acknowledge.enable`.
    pub may_renew: bool,
}

/// A batch of the log, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its first offset.
    pub first: Offset,
    /// Its last one.
    pub last: Offset,
    /// Whether it has records for members: markers have none, nor what was aborted, for readers of what is committed.
    pub is_delivered: bool,
}

/// What a member may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// At most so many records.
    pub records_max: i64,
    /// Whether that is a limit, and not the size after which no further batch is begun (KIP-1206).
    pub is_strict: bool,
    /// Records are told in pieces of this size at most, as far as batches allow.
    pub batch_size: i64,
}

/// A range that a member was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// The first offset.
    pub first: Offset,
    /// The last one.
    pub last: Offset,
    /// How often these records have been delivered, this time included.
    pub delivery_count: i16,
}

/// What is to be stored, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its number, for [`Delivery::written`].
    pub number: u64,
    /// Where the delivery starts once it is stored.
    pub start: Offset,
    /// How many offsets from there on are finished (KIP-1226).
    pub finished: i64,
    /// What has changed.
    pub batches: Vec<Batch>,
}
