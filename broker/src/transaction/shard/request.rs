//! What a shard is asked and what it answers, free of any API version.

use std::collections::BTreeSet;

use flotilla_protocol::{ProducerEpoch, ProducerId};

use crate::group::Text;
use crate::transaction::error::Error;
use crate::transaction::metadata::{Partition, ProducerRef, Status, Transaction, Version};

/// A request about one or more transactional ids of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// InitProducerId with a transactional id.
    Init(Init),
    /// AddPartitionsToTxn and AddOffsetsToTxn.
    Add(Add),
    /// AddPartitionsToTxn that only verifies (KIP-890).
    Verify(Add),
    /// EndTxn.
    End(End),
    /// All markers of a transaction are written.
    Marked(Marked),
    /// DescribeTransactions, of those ids that live in this shard.
    Describe(Vec<Text>),
    /// ListTransactions: every id of this shard that passes.
    List(Filter),
}

/// The answer to the [`Request`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To InitProducerId.
    Init(Result<Initialized, Error>),
    /// To AddPartitionsToTxn and AddOffsetsToTxn.
    Add(Result<(), Error>),
    /// To a verification: how it went for each partition, in the request's order.
    Verify(Result<Vec<Result<(), Error>>, Error>),
    /// To EndTxn.
    End(Result<Ended, Error>),
    /// To [`Request::Marked`].
    Marked(Result<(), Error>),
    /// To DescribeTransactions: each id, in the request's order.
    Describe(Result<Vec<Result<Described, Error>>, Error>),
    /// To ListTransactions.
    List(Result<Vec<Listed>, Error>),
}

impl Request {
    /// The answer that says no to the whole request.
    #[must_use]
    pub fn refused(&self, error: Error) -> Reply {
        match self {
            Self::Init(_) => Reply::Init(Err(error)),
            Self::Add(_) => Reply::Add(Err(error)),
            Self::Verify(_) => Reply::Verify(Err(error)),
            Self::End(_) => Reply::End(Err(error)),
            Self::Marked(_) => Reply::Marked(Err(error)),
            Self::Describe(_) => Reply::Describe(Err(error)),
            Self::List(_) => Reply::List(Err(error)),
        }
    }
}

impl Reply {
    /// The same answer, had the request been refused.
    #[must_use]
    pub fn failed(self, error: Error) -> Self {
        match self {
            Self::Init(_) => Self::Init(Err(error)),
            Self::Add(_) => Self::Add(Err(error)),
            Self::Verify(_) => Self::Verify(Err(error)),
            Self::End(_) => Self::End(Err(error)),
            Self::Marked(_) => Self::Marked(Err(error)),
            Self::Describe(_) => Self::Describe(Err(error)),
            Self::List(_) => Self::List(Err(error)),
        }
    }
}

/// InitProducerId.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// The transactional id.
    pub id: Text,
    /// After how long a transaction is to be aborted, in milliseconds.
    pub timeout_ms: i32,
    /// What the producer is, where it goes on after an error (KIP-360).
    pub expected: Option<ProducerRef>,
    /// A producer id that nobody has, to be used if one is needed.
    pub fresh: ProducerId,
}

/// Who a producer is from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initialized {
    /// Its id and incarnation.
    pub producer: ProducerRef,
}

/// AddPartitionsToTxn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// The transactional id.
    pub id: Text,
    /// Who asks.
    pub producer: ProducerRef,
    /// What is to belong to the transaction, or is thought to.
    pub partitions: Vec<Partition>,
    /// How the client speaks.
    pub version: Version,
}

/// EndTxn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The transactional id.
    pub id: Text,
    /// Who asks.
    pub producer: ProducerRef,
    /// Committed, or else aborted.
    pub committed: bool,
    /// How the client speaks.
    pub version: Version,
    /// A producer id that nobody has, for a producer whose epochs are used up.
    pub fresh: Option<ProducerId>,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Who the producer is in the next one.
    pub producer: ProducerRef,
}

/// All markers of a transaction are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The transactional id.
    pub id: Text,
    /// As the markers have it.
    pub producer: ProducerRef,
    /// The coordinator that sent the markers.
    pub coordinator_epoch: i32,
}

/// A transactional id, as DescribeTransactions shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its state.
    pub transaction: Transaction,
}

/// Which transactional ids ListTransactions shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In these states; empty: in all.
    pub statuses: BTreeSet<Status>,
    /// Of these producers; empty: of all.
    pub producer_ids: BTreeSet<ProducerId>,
    /// Open for longer than this, in milliseconds; negative: all (KIP-994).
    pub open_for_ms: i64,
}

/// A transactional id, as ListTransactions shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The transactional id.
    pub id: Text,
    /// Its producer id.
    pub producer_id: ProducerId,
    /// Where it stands.
    pub status: Status,
}

impl Request {
    /// The transactional ids that the request names.
    #[must_use]
    pub(super) fn ids(&self) -> Vec<&Text> {
        match self {
            Self::Init(Init { id, .. })
            | Self::Add(Add { id, .. })
            | Self::Verify(Add { id, .. })
            | Self::End(End { id, .. })
            | Self::Marked(Marked { id, .. }) => vec![id],
            Self::Describe(ids) => ids.iter().collect(),
            Self::List(_) => Vec::new(),
        }
    }
}

impl ProducerRef {
    /// From what a request says.
    #[must_use]
    pub fn of(id: i64, epoch: i16) -> Self {
        Self {
            id: ProducerId(id),
            epoch: ProducerEpoch(epoch),
        }
    }
}
