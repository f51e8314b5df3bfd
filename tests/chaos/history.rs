//! What clients did and saw: the record that the checker judges. No clock and no client in here.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Milliseconds since the run began.
pub type Moment = u64;

/// A producer from its creation to its end. A producer that failed for good is followed by another session.
pub type Session = u32;

/// A partition of a topic. Topics that are deleted and made again under one name are told apart by what follows a `#`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    pub topic: Arc<str>,
    pub index: i32,
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

/// A record by who sent it: the session, and its number there, from 0 in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub session: Session,
    pub number: u64,
}

impl Id {
    /// Reads it from a record's value: `SESSION.NUMBER`, and whatever follows after a space. Kafka's verifiable producer writes
    /// values of that form too.
    pub fn of_value(value: &str) -> Option<Self> {
        let (session, number) = value.split(' ').next()?.split_once('.')?;
        Some(Self {
            session: session.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.session, self.number)
    }
}

/// A record that a broker acknowledged, and where it said that it is. librdkafka takes a batch whose answer it missed for acknowledged
/// when a later batch of the partition is: the offset is not known then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub at: Moment,
    pub id: Id,
    pub partition: Partition,
    pub offset: Option<i64>,
}

/// A record as it lies in a log. `None`: not one that the run's producers write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub offset: i64,
    pub id: Option<Id>,
}

/// What happened to members of groups, each in the order in which its own thread saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member was given a partition: a session of the member with it begins.
    Assigned {
        member: Arc<Member>,
        partition: Partition,
    },
    /// It was taken away, or the member ended.
    Revoked {
        member: Arc<Member>,
        partition: Partition,
    },
    /// The member was handed a record.
    Delivered {
        member: Arc<Member>,
        partition: Partition,
        offset: i64,
        id: Option<Id>,
    },
    /// The member's commit was acknowledged: the group goes on from `offset`.
    Committed {
        member: Arc<Member>,
        partition: Partition,
        offset: i64,
    },
    /// Somebody asked for the group's offset, when there were `asked_after` events, and got this. `None`: there is none.
    Seen {
        group: Arc<str>,
        partition: Partition,
        asked_after: usize,
        offset: Option<i64>,
    },
}

/// A member of a group, from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub group: Arc<str>,
    pub name: String,
}

/// What a session did on the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub topic: Arc<str>,
    /// How many records it tried to send, at least.
    pub attempts: u64,
    /// Whether it was an idempotent producer: all are, but those of a test that says otherwise.
    pub idempotent: bool,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub sessions: BTreeMap<Session, Sent>,
    pub acknowledged: Vec<Acknowledged>,
    pub events: Vec<Event>,
}

/// What lies in the logs in the end, each by offset.
pub type Logs = BTreeMap<Partition, Vec<Stored>>;
