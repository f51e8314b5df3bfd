//! Why a transaction's coordinator says no.

use crate::group::WriteError;

/// The refusals of a transaction's coordinator; `request` gives each its Kafka error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The transactional id is empty or too long.
    #[error("the transactional id is empty or longer than 32000 bytes")]
    InvalidId,
    /// `transaction.max.timeout.ms` is crossed, or the timeout is not positive.
    #[error("the transaction timeout is outside what this broker allows")]
    InvalidTimeout,
    /// The transactional id has another producer id, or none.
    #[error("the transactional id does not have that producer id")]
    ProducerIdMapping,
    /// A later incarnation of the producer has taken over, or the coordinator has aborted its transaction.
    #[error("a later incarnation of the producer has taken over")]
    Fenced,
    /// The change before is still under way: the client asks again.
    #[error("the transactional id is still busy with the request before")]
    Concurrent,
    /// The transaction cannot end so in the state that it is in.
    #[error("the transaction cannot go from its state to the one asked for")]
    InvalidState,
    /// The partition does not belong to the open transaction: the producer has to abort.
    #[error("the partition does not belong to the transaction")]
    Abortable,
    /// There is no such transactional id.
    #[error("there is no such transactional id")]
    NotFound,
    /// This broker coordinates other transactional ids, not this one.
    #[error("this broker is not the coordinator of the transactional id")]
    NotCoordinator,
    /// The state is still being read from the log.
    #[error("the coordinator of the transactional id is still loading")]
    LoadInProgress,
    /// The coordinator cannot serve just now: the client asks again.
    #[error("the coordinator of the transactional id is not available")]
    NotAvailable,
    /// What was to be stored cannot be stored at all.
    #[error("the state of the transactional id could not be stored")]
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
