//! Why a group's coordinator says no.

use crate::partition::producer_state;

/// The refusals of a group's coordinator; `request` gives each its Kafka error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The group's id is empty or too long.
    #[error("the group's id is empty or longer than 32767 bytes")]
    InvalidGroupId,
    /// `group.min.session.timeout.ms` or `group.max.session.timeout.ms` is crossed.
    #[error("the session timeout is outside what this broker allows")]
    InvalidSessionTimeout,
    /// The member is not one of the group.
    #[error("the group has no such member")]
    UnknownMember,
    /// A dynamic member must come again with the id given to it (KIP-394).
    #[error("join again with the member id given")]
    MemberIdRequired,
    /// Another instance has taken the place of this static member (KIP-345).
    #[error("another member has joined with the same group.instance.id")]
    FencedInstance,
    /// The member speaks of another generation than the group's.
    #[error("the generation is not the group's current one")]
    IllegalGeneration,
    /// The member's epoch is not the one that it was told: it gives all up and joins anew (KIP-848).
    #[error("the member's epoch is not the one that the coordinator knows")]
    FencedMemberEpoch,
    /// Offsets are committed or asked for with an epoch that the member is not in (KIP-848).
    #[error("the member epoch is not the member's current one")]
    StaleMemberEpoch,
    /// The static member's former self has not left yet (KIP-848).
    #[error("another member has the same group.instance.id")]
    UnreleasedInstance,
    /// The broker has no such assignor.
    #[error("the assignor is not one of this broker's")]
    UnsupportedAssignor,
    /// The regular expression is malformed, or needs too much memory.
    #[error("the regular expression is not valid")]
    InvalidRegex,
    /// The topology of an application is one that cannot work (KIP-1071).
    #[error("the topology is not valid")]
    InvalidTopology,
    /// The request says what cannot be.
    #[error("the request is not valid")]
    InvalidRequest,
    /// The request's version is too old for members of this protocol.
    #[error("members of this protocol need a newer version of the request")]
    UnsupportedVersion,
    /// Protocol type or names do not fit what the other members have.
    #[error("the member shares no protocol with the rest of the group")]
    InconsistentProtocol,
    /// `group.max.size` is reached.
    #[error("the group is full")]
    GroupFull,
    /// The group is between two generations; the member must join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// There is no such group.
    #[error("there is no such group")]
    GroupNotFound,
    /// The group has members.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// A member subscribes to the topic, so its offsets stay.
    #[error("the group subscribes to the topic")]
    SubscribedToTopic,
    /// `offset.metadata.max.bytes` is crossed.
    #[error("the metadata is longer than this broker allows")]
    MetadataTooLarge,
    /// The offset is being changed by a transaction that is still open.
    #[error("a transaction that writes the offset is still open")]
    UnstableOffset,
    /// A later incarnation of the transactional producer has written here.
    #[error("a later incarnation of the producer has taken over")]
    ProducerFenced,
    /// A later coordinator of the transaction has written here.
    #[error("a later coordinator of the transaction has taken over")]
    TransactionCoordinatorFenced,
    /// The offsets belong to no open transaction.
    #[error("the offsets belong to no open transaction")]
    NotInTransaction,
    /// This broker coordinates other groups, not this one.
    #[error("this broker is not the group's coordinator")]
    NotCoordinator,
    /// The group's state is still being read from the log.
    #[error("the group's coordinator is still loading")]
    LoadInProgress,
    /// The coordinator cannot serve just now: the client asks again.
    #[error("the group's coordinator is not available")]
    NotAvailable,
    /// What the group wanted stored cannot be stored at all.
    #[error("the group's state could not be stored")]
    Unexpected,
}

/// Why records did not get into the log, or have not been committed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// This broker does not lead the partition, or no longer in the epoch that the shard was loaded in.
    #[error("this broker does not lead the partition any more")]
    NotLeader,
    /// Too few replicas in sync, or not committed in time.
    #[error("the records could not be replicated in time")]
    NotReplicated,
    /// The volume is full or broken.
    #[error("the partition's volume cannot be written")]
    Storage,
    /// The records are larger than the topic takes.
    #[error("the records are too large for the partition")]
    TooLarge,
    /// The producer or the coordinator of the transaction that they belong to is one of the past.
    #[error("the records belong to a transaction that is over: {0}")]
    Fenced(producer_state::Error),
}

impl From<WriteError> for Error {
    /// As Kafka answers a member: what passes is "not available", what calls for another broker "not coordinator".
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotReplicated => Self::NotAvailable,
            WriteError::NotLeader | WriteError::Storage => Self::NotCoordinator,
            WriteError::TooLarge => Self::Unexpected,
            WriteError::Fenced(producer_state::Error::InvalidEpoch { .. }) => Self::ProducerFenced,
            WriteError::Fenced(producer_state::Error::CoordinatorFenced { .. }) => {
                Self::TransactionCoordinatorFenced
            }
            WriteError::Fenced(
                producer_state::Error::NotInTransaction { .. }
                | producer_state::Error::OutOfOrderSequence { .. },
            ) => Self::NotInTransaction,
        }
    }
}
