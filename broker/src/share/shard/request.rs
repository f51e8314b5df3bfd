//! What a shard is asked and what it answers, free of any API version.

use flotilla_protocol::{LeaderEpoch, Offset, Uuid};

use super::error::Error;
use crate::share::state::{Batch, SharePartition, Stored};

/// A request for one share partition of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// InitializeShareGroupState: the delivery begins, or begins anew.
    Initialize {
        /// Of what.
        of: SharePartition,
        /// Not lower than that of what is stored.
        state_epoch: i32,
        /// Where; -1: by the group's `share.auto.offset.reset`, when somebody reads.
        start: Offset,
    },
    /// ReadShareGroupState, by the partition's leader: older ones are refused from then on.
    Read {
        /// Of what.
        of: SharePartition,
        /// The leader's.
        leader_epoch: LeaderEpoch,
    },
    /// WriteShareGroupState, by the partition's leader.
    Write {
        /// Of what.
        of: SharePartition,
        /// What has changed.
        change: WriteState,
    },
    /// DeleteShareGroupState.
    Delete(SharePartition),
    /// ReadShareGroupStateSummary.
    Summary(SharePartition),
    /// Topics are gone: what is stored of them is forgotten. Answered with nothing.
    TopicsDeleted(Vec<Uuid>),
}

/// What a leader has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteState {
    /// As the leader read it.
    pub state_epoch: i32,
    /// The leader's.
    pub leader_epoch: LeaderEpoch,
    /// The first offset that is not finished; -1: as before.
    pub start: Offset,
    /// How many offsets from the start on are finished; -1: not known (KIP-1226).
    pub finished: i32,
    /// What has changed.
    pub batches: Vec<Batch>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which of the states that an administrator set this one follows.
    pub state_epoch: i32,
    /// Of the leader that wrote or read it last.
    pub leader_epoch: LeaderEpoch,
    /// The first offset that is not finished; -1: not known.
    pub start: Offset,
    /// How many offsets from the start on are finished; -1: not known.
    pub finished: i32,
}

/// The answer to the [`Request`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Initialize`], [`Request::Write`] and [`Request::Delete`].
    Done(Result<(), Error>),
    /// To [`Request::Read`].
    Read(Result<Stored, Error>),
    /// To [`Request::Summary`]; none: nothing is stored.
    Summary(Result<Option<Summary>, Error>),
    /// To [`Request::TopicsDeleted`].
    TopicsDeleted,
}

impl Request {
    /// The answer that says no.
    #[must_use]
    pub fn refused(&self, error: Error) -> Reply {
        match self {
            Self::Initialize { .. } | Self::Write { .. } | Self::Delete(_) => Reply::Done(Err(error)),
            Self::Read { .. } => Reply::Read(Err(error)),
            Self::Summary(_) => Reply::Summary(Err(error)),
            Self::TopicsDeleted(_) => Reply::TopicsDeleted,
        }
    }

    /// The share partition that it names.
    #[must_use]
    pub fn of(&self) -> Option<&SharePartition> {
        match self {
            Self::Initialize { of, .. } | Self::Read { of, .. } | Self::Write { of, .. } => Some(of),
            Self::Delete(of) | Self::Summary(of) => Some(of),
            Self::TopicsDeleted(_) => None,
        }
    }
}

impl Reply {
    /// Why not, where it says no.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        match self {
            Self::Done(outcome) => outcome.err(),
            Self::Read(read) => read.as_ref().err().copied(),
            Self::Summary(summary) => summary.err(),
            Self::TopicsDeleted => None,
        }
    }

    /// The same answer, had the request been refused.
    #[must_use]
    pub fn failed(self, error: Error) -> Self {
        match self {
            Self::Done(_) => Self::Done(Err(error)),
            Self::Read(_) => Self::Read(Err(error)),
            Self::Summary(_) => Self::Summary(Err(error)),
            Self::TopicsDeleted => Self::TopicsDeleted,
        }
    }
}
