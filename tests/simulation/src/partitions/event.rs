//! What happens next: events in order of time, and the messages among them.

use bytes::Bytes;
use flotilla_broker::group;
use flotilla_broker::partition::follower::EpochEnd;
use flotilla_broker::replica::{
    Acks, AppendError, Listed, Part, PartitionKey, Query, ReadError, Unavailable,
};
use flotilla_control::proto::metadata::{Request, Response};
use flotilla_protocol::messages::{FetchRequest, FetchResponse};
use flotilla_protocol::{BrokerId, LeaderEpoch, Offset, PartitionIndex};
use std::cmp::Ordering;

/// Who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Broker(usize),
    Client(usize),
}

/// A question to a broker.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Fetch(FetchRequest),
    Submit(Box<Request>),
    Leader(PartitionKey),
    Produce {
        key: PartitionKey,
        records: Bytes,
        acks: Acks,
    },
    Consume {
        key: PartitionKey,
        query: Query,
    },
    Latest {
        key: PartitionKey,
        leader_epoch: LeaderEpoch,
    },
    Group {
        partition: PartitionIndex,
        request: Box<group::Request>,
    },
    EpochEnd {
        key: PartitionKey,
        current: LeaderEpoch,
        asked: LeaderEpoch,
    },
}

/// The answer to it.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Fetched(FetchResponse),
    Submitted {
        response: Box<Response>,
        index: u64,
    },
    NotController(Option<usize>),
    Leader(Option<(BrokerId, LeaderEpoch)>),
    Produced(Result<Offset, AppendError>),
    Consumed(Result<Part, ReadError>),
    Group(Box<group::Reply>),
    Latest(Result<Option<Listed>, ReadError>),
    EpochEnd(Result<Option<EpochEnd>, Unavailable>),
    /// Nobody listens there.
    Refused,
}

/// A question or an answer on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Of the question, and of its answer.
    pub id: u64,
    pub from: Place,
    pub to: Place,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Ask(Ask),
    Answer(Answer),
}

/// What a broker's process does from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    /// Look what can go on.
    Settle,
    Beat,
    Register,
    Tick,
    Checkpoints,
    Look,
    /// A group commit has reached the disk.
    Synced,
    /// A question to the controller has gone unanswered for long.
    Late(u64),
    /// A fetch has.
    FetchLate(u64),
    /// Deadlines of groups.
    Groups,
    Observe,
    Reign,
}

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    Arrive(Box<Message>),
    /// Of the `life`-th process of a broker.
    Chore {
        site: usize,
        life: u64,
        chore: Chore,
    },
    /// A client looks what to do.
    Client {
        client: usize,
    },
    /// A client's question has gone unanswered for long.
    ClientLate {
        client: usize,
        id: u64,
    },
    Start {
        site: usize,
    },
    /// The oldest entry of the metadata log that waits for it is committed.
    Commit,
    Elect,
    Fault,
    /// A fault is over.
    Mend(Mend),
    Heal,
    /// Whether all is well again.
    Converged,
}

/// What is set right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    Link(Place, Place),
    Network,
    SlowDisk(usize),
    FullDisk(usize),
    SlowQuorum,
    SlowObserver(usize),
}

/// An event and its time.
#[derive(Debug)]
pub(super) struct Scheduled {
    pub at_us: u64,
    /// Events of one time happen in the order in which they were scheduled.
    pub number: u64,
    pub event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The soonest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_us, other.number).cmp(&(self.at_us, self.number))
    }
}
