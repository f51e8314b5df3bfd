//! Why the coordinator of share partitions says no.

use crate::group::WriteError;

/// The refusals of a share coordinator; `request` gives each its Kafka error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A later leader has read or written the state.
    #[error("a later leader of the partition has taken over")]
    FencedLeaderEpoch,
    /// An administrator has set the state anew.
    #[error("the state was set anew: read it once more")]
    FencedStateEpoch,
    /// Nothing is stored of the share partition.
    #[error("nothing is stored of the share partition: its group has not begun to read it")]
    Uninitialized,
    /// There is no such partition.
    #[error("there is no such partition")]
    UnknownPartition,
    /// The request says what cannot be.
    #[error("the request is not valid")]
    InvalidRequest,
    /// This broker coordinates other share partitions, not this one.
    #[error("this broker is not the share partition's coordinator")]
    NotCoordinator,
    /// What is stored is still being read from the log.
    #[error("the share partition's coordinator is still loading")]
    LoadInProgress,
    /// The coordinator cannot serve just now: who asks, asks again.
    #[error("the share partition's coordinator is not available")]
    NotAvailable,
    /// What was to be stored cannot be stored at all.
    #[error("the share partition's state could not be stored")]
    Unexpected,
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotReplicated => Self::NotAvailable,
            WriteError::NotLeader | WriteError::Storage => Self::NotCoordinator,
            WriteError::TooLarge | WriteError::Fenced(_) => Self::Unexpected,
        }
    }
}
