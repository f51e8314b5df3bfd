//! What a shard is asked and what it answers, free of any API version.

mod offsets;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use flotilla_protocol::Uuid;

use crate::group::classic::State;
use crate::group::consumer::{self, Refused, Seen};
use crate::group::error::Error;
use crate::group::share::{self, Named, Standing};
use crate::group::{Text, consumer::Beat, streams};

pub use offsets::{Commit, CommitPartition, EndTransaction, Fetch, FetchedPartition, PartitionRef, Producer};

/// A request for one or more groups of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// JoinGroup.
    Join(Join),
    /// SyncGroup.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat {
        /// The group.
        group: Text,
        /// The member's id.
        member_id: Text,
        /// The member's `group.instance.id`.
        instance_id: Option<Text>,
        /// The generation that the member is in.
        generation: i32,
        /// The topics that there are.
        seen: Seen,
    },
    /// LeaveGroup.
    Leave(Leave),
    /// OffsetCommit.
    Commit(Commit),
    /// TxnOffsetCommit: a commit that counts once the producer's transaction is committed.
    CommitInTransaction(Commit, Producer),
    /// A producer's transaction has ended in this shard's partition (WriteTxnMarkers).
    EndTransaction(EndTransaction),
    /// OffsetFetch, of one group.
    Fetch(Fetch),
    /// OffsetDelete.
    DeleteOffsets {
        /// The group.
        group: Text,
        /// Whose offsets to forget.
        partitions: Vec<PartitionRef>,
    },
    /// DeleteGroups, of those groups that live in this shard.
    Delete(Vec<Text>),
    /// DescribeGroups, of those groups that live in this shard.
    Describe(Vec<Text>),
    /// ListGroups: every group of this shard.
    List,
    /// Topics are gone: their offsets are forgotten. Answered with nothing.
    TopicsDeleted(Vec<DeletedTopic>),
    /// ConsumerGroupHeartbeat (KIP-848).
    ConsumerHeartbeat(Box<consumer::Heartbeat>),
    /// What regular expressions of a group matched.
    Resolution(consumer::Resolution),
    /// ConsumerGroupDescribe, of those groups that live in this shard.
    ConsumerDescribe(Vec<Text>),
    /// ShareGroupHeartbeat (KIP-932).
    ShareHeartbeat(Box<share::Heartbeat>),
    /// States of these partitions are stored: they may be assigned.
    ShareInitialized {
        /// The group.
        group: Text,
        /// Which.
        topics: BTreeMap<Uuid, Named>,
    },
    /// What is stored of a share group's deliveries.
    ShareStanding(Text),
    /// What is stored is about to be set anew, if the group has no members: its epoch goes up, so that no earlier state counts.
    ShareAltering {
        /// The group; one that is not there begins with it.
        group: Text,
        /// Whether there is anything to set: if not, nothing changes.
        sets: bool,
    },
    /// What is stored of topics is about to be deleted, if the group has no members.
    ShareDeleting {
        /// The group.
        group: Text,
        /// Which; none: all.
        topics: Option<BTreeSet<Uuid>>,
    },
    /// Nothing is stored of these topics any more.
    ShareDeleted {
        /// The group.
        group: Text,
        /// Which.
        topics: BTreeSet<Uuid>,
    },
    /// ShareGroupDescribe, of those groups that live in this shard.
    ShareDescribe(Vec<Text>),
    /// StreamsGroupHeartbeat (KIP-1071).
    StreamsHeartbeat(Box<streams::Heartbeat>),
    /// StreamsGroupDescribe, of those groups that live in this shard.
    StreamsDescribe {
        /// The groups.
        groups: Vec<Text>,
        /// The topics that there are.
        seen: Seen,
    },
}

/// The answer to the [`Request`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To JoinGroup.
    Join(Joined),
    /// To SyncGroup.
    Sync(Result<Assigned, Error>),
    /// To Heartbeat.
    Heartbeat(Result<(), Error>),
    /// To LeaveGroup: how it went for each member, in the request's order.
    Leave(Result<Vec<Result<(), Error>>, Error>),
    /// To OffsetCommit and TxnOffsetCommit: how it went for each partition, in the request's order.
    Commit(Result<Vec<Result<(), Error>>, Error>),
    /// To [`Request::EndTransaction`].
    EndTransaction(Result<(), Error>),
    /// To OffsetFetch.
    Fetch(Result<Vec<FetchedPartition>, Error>),
    /// To OffsetDelete: how it went for each partition, in the request's order.
    DeleteOffsets(Result<Vec<Result<(), Error>>, Error>),
    /// To DeleteGroups: how it went for each group, in the request's order.
    Delete(Result<Vec<Result<(), Error>>, Error>),
    /// To DescribeGroups: each group, in the request's order.
    Describe(Result<Vec<Result<DescribedGroup, Error>>, Error>),
    /// To ListGroups.
    List(Result<Vec<ListedGroup>, Error>),
    /// To [`Request::TopicsDeleted`].
    TopicsDeleted,
    /// To ConsumerGroupHeartbeat.
    ConsumerHeartbeat(Result<Beat, Refused>),
    /// To [`Request::Resolution`].
    Resolution(Result<(), Error>),
    /// To ConsumerGroupDescribe: each group, in the request's order.
    ConsumerDescribe(Result<Vec<Result<consumer::Described, Refused>>, Error>),
    /// To ShareGroupHeartbeat.
    ShareHeartbeat(Result<share::Beat, Refused>),
    /// To [`Request::ShareInitialized`] and [`Request::ShareDeleted`].
    ShareChanged(Result<(), Error>),
    /// To [`Request::ShareStanding`], and as it is then, to [`Request::ShareAltering`] and [`Request::ShareDeleting`].
    ShareStanding(Result<Standing, Error>),
    /// To ShareGroupDescribe: each group, in the request's order.
    ShareDescribe(Result<Vec<Result<share::Described, Refused>>, Error>),
    /// To StreamsGroupHeartbeat.
    StreamsHeartbeat(Result<streams::Beat, Refused>),
    /// To StreamsGroupDescribe: each group, in the request's order.
    StreamsDescribe(Result<Vec<Result<streams::Described, Refused>>, Error>),
}

impl Request {
    /// The answer that says no to the whole request.
    #[must_use]
    pub fn refused(&self, error: Error) -> Reply {
        match self {
            Self::Join(join) => Reply::Join(Joined::refused(join.member_id.clone(), error)),
            Self::Sync(_) => Reply::Sync(Err(error)),
            Self::Heartbeat { .. } => Reply::Heartbeat(Err(error)),
            Self::Leave(_) => Reply::Leave(Err(error)),
            Self::Commit(_) | Self::CommitInTransaction(..) => Reply::Commit(Err(error)),
            Self::EndTransaction(_) => Reply::EndTransaction(Err(error)),
            Self::Fetch(_) => Reply::Fetch(Err(error)),
            Self::DeleteOffsets { .. } => Reply::DeleteOffsets(Err(error)),
            Self::Delete(_) => Reply::Delete(Err(error)),
            Self::Describe(_) => Reply::Describe(Err(error)),
            Self::List => Reply::List(Err(error)),
            Self::TopicsDeleted(_) => Reply::TopicsDeleted,
            Self::ConsumerHeartbeat(_) => Reply::ConsumerHeartbeat(Err(error.into())),
            Self::Resolution(_) => Reply::Resolution(Err(error)),
            Self::ConsumerDescribe(_) => Reply::ConsumerDescribe(Err(error)),
            Self::ShareHeartbeat(_) => Reply::ShareHeartbeat(Err(error.into())),
            Self::ShareInitialized { .. } | Self::ShareDeleted { .. } => Reply::ShareChanged(Err(error)),
            Self::ShareStanding(_) | Self::ShareAltering { .. } | Self::ShareDeleting { .. } => {
                Reply::ShareStanding(Err(error))
            }
            Self::ShareDescribe(_) => Reply::ShareDescribe(Err(error)),
            Self::StreamsHeartbeat(_) => Reply::StreamsHeartbeat(Err(error.into())),
            Self::StreamsDescribe { .. } => Reply::StreamsDescribe(Err(error)),
        }
    }
}

impl Reply {
    /// The same answer, had the request been refused.
    #[must_use]
    pub fn failed(self, error: Error) -> Self {
        match self {
            Self::Join(joined) => Self::Join(Joined::refused(joined.member_id, error)),
            Self::Sync(_) => Self::Sync(Err(error)),
            Self::Heartbeat(_) => Self::Heartbeat(Err(error)),
            Self::Leave(_) => Self::Leave(Err(error)),
            Self::Commit(_) => Self::Commit(Err(error)),
            Self::EndTransaction(_) => Self::EndTransaction(Err(error)),
            Self::Fetch(_) => Self::Fetch(Err(error)),
            Self::DeleteOffsets(_) => Self::DeleteOffsets(Err(error)),
            Self::Delete(_) => Self::Delete(Err(error)),
            Self::Describe(_) => Self::Describe(Err(error)),
            Self::List(_) => Self::List(Err(error)),
            Self::TopicsDeleted => Self::TopicsDeleted,
            Self::ConsumerHeartbeat(_) => Self::ConsumerHeartbeat(Err(error.into())),
            Self::Resolution(_) => Self::Resolution(Err(error)),
            Self::ConsumerDescribe(_) => Self::ConsumerDescribe(Err(error)),
            Self::ShareHeartbeat(_) => Self::ShareHeartbeat(Err(error.into())),
            Self::ShareChanged(_) => Self::ShareChanged(Err(error)),
            Self::ShareStanding(_) => Self::ShareStanding(Err(error)),
            Self::ShareDescribe(_) => Self::ShareDescribe(Err(error)),
            Self::StreamsHeartbeat(_) => Self::StreamsHeartbeat(Err(error.into())),
            Self::StreamsDescribe(_) => Self::StreamsDescribe(Err(error)),
        }
    }
}

/// One protocol that a member knows, an assignment strategy for instance, with what it says under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The protocol's name.
    pub name: Text,
    /// The member's subscription under it; only members read it.
    pub metadata: Bytes,
}

/// JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The group.
    pub group: Text,
    /// The member's id; empty: it has none yet.
    pub member_id: Text,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Text>,
    /// The client's id.
    pub client_id: Text,
    /// The client's address, as it is to be recorded.
    pub client_host: Text,
    /// In ms.
    pub session_timeout_ms: i32,
    /// In ms.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, ...
    pub protocol_type: Text,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// Whether a dynamic member must come back with the id that it is given (KIP-394; from version 4).
    pub requires_known_member_id: bool,
    /// Whether the client understands `SkipAssignment` (KIP-814; from version 9).
    pub can_skip_assignment: bool,
    /// What makes the id unique that the member is given, should it need one. A random UUID.
    pub fresh_id: Text,
    /// The topics that there are.
    pub seen: Seen,
}

/// The answer to JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Why not.
    pub error: Option<Error>,
    /// The generation joined, or -1.
    pub generation: i32,
    /// The group's type.
    pub protocol_type: Option<Text>,
    /// The protocol that the members agreed on.
    pub protocol: Option<Text>,
    /// Id of the member that assigns, or empty.
    pub leader: Text,
    /// Whether the leader keeps the assignment that there is (KIP-814).
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: Text,
    /// All members, for the leader.
    pub members: Vec<JoinedMember>,
}

impl Joined {
    /// The answer that says no.
    #[must_use]
    pub fn refused(member_id: Text, error: Error) -> Self {
        Self {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: "".into(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

/// A member, as its leader is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member's id.
    pub member_id: Text,
    /// Its `group.instance.id`.
    pub instance_id: Option<Text>,
    /// What it subscribes to, under the protocol agreed on.
    pub metadata: Bytes,
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The group.
    pub group: Text,
    /// The generation that the member is in.
    pub generation: i32,
    /// The member's id.
    pub member_id: Text,
    /// The member's `group.instance.id`.
    pub instance_id: Option<Text>,
    /// From version 5: must be the group's (KIP-559).
    pub protocol_type: Option<Text>,
    /// From version 5: must be the group's (KIP-559).
    pub protocol: Option<Text>,
    /// From the leader: who gets what.
    pub assignments: Vec<(Text, Bytes)>,
    /// The topics that there are.
    pub seen: Seen,
}

/// What a member is assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The group's type.
    pub protocol_type: Option<Text>,
    /// The protocol that the members agreed on.
    pub protocol: Option<Text>,
    /// As the leader wrote it.
    pub assignment: Bytes,
}

/// LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The group.
    pub group: Text,
    /// Who leaves.
    pub members: Vec<Leaving>,
}

/// A member that leaves, or that an administrator removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Its id; may be empty for a static member.
    pub member_id: Text,
    /// Its `group.instance.id`.
    pub instance_id: Option<Text>,
}

/// A topic that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name.
    pub name: Text,
    /// Its id: a topic created anew under the same name keeps its offsets.
    pub id: Uuid,
}

/// A group, as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// The group.
    pub group: Text,
    /// Where it stands.
    pub state: State,
    /// Its type, or empty.
    pub protocol_type: Text,
    /// The protocol agreed on; empty unless stable.
    pub protocol: Text,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member, as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Text,
    /// Its `group.instance.id`.
    pub instance_id: Option<Text>,
    /// The client's id.
    pub client_id: Text,
    /// The client's address.
    pub client_host: Text,
    /// What it subscribes to; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it was assigned; empty unless the group is stable.
    pub assignment: Bytes,
}

/// A group, as ListGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group: Text,
    /// Which protocol its members speak (KIP-848).
    pub kind: Kind,
    /// Its type, or empty.
    pub protocol_type: Text,
    /// Where it stands, as Kafka prints it.
    pub state: &'static str,
}

/// The protocols of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Members join, and one of them assigns.
    Classic,
    /// Members send heartbeats, and the coordinator assigns.
    Consumer,
    /// Members share partitions, record by record (KIP-932).
    Share,
    /// Members are threads of a Kafka Streams application, and the coordinator assigns tasks (KIP-1071).
    Streams,
}

impl Kind {
    /// As Kafka prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
            Self::Streams => "streams",
        }
    }
}

impl Request {
    /// The groups that the request names.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<&str> {
        match self {
            Self::Join(Join { group, .. })
            | Self::Sync(Sync { group, .. })
            | Self::Heartbeat { group, .. }
            | Self::Leave(Leave { group, .. })
            | Self::Commit(Commit { group, .. })
            | Self::CommitInTransaction(Commit { group, .. }, _)
            | Self::Fetch(Fetch { group, .. })
            | Self::DeleteOffsets { group, .. }
            | Self::ShareInitialized { group, .. }
            | Self::ShareStanding(group)
            | Self::ShareAltering { group, .. }
            | Self::ShareDeleting { group, .. }
            | Self::ShareDeleted { group, .. }
            | Self::Resolution(consumer::Resolution { group, .. }) => [&**group].into(),
            Self::ConsumerHeartbeat(heartbeat) => [&*heartbeat.group].into(),
            Self::ShareHeartbeat(heartbeat) => [&*heartbeat.group].into(),
            Self::StreamsHeartbeat(heartbeat) => [&*heartbeat.group].into(),
            Self::Delete(groups)
            | Self::Describe(groups)
            | Self::ConsumerDescribe(groups)
            | Self::ShareDescribe(groups)
            | Self::StreamsDescribe { groups, .. } => groups.iter().map(|group| &**group).collect(),
            Self::List | Self::TopicsDeleted(_) | Self::EndTransaction(_) => BTreeSet::new(),
        }
    }
}
