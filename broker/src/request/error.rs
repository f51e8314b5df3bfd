//! Kafka's error codes for what the rooms below refuse.

use crate::coordination::SubmitError;
use crate::partition::{EpochMismatch, producer_state};
use crate::replica::{AppendError, ReadError, Unavailable};
use flotilla_control::proto::metadata::{ItemResult, Refusal, Response};
use flotilla_protocol::ErrorCode;
use flotilla_protocol::records::BatchError;

/// The code of a refusal by the controller.
#[must_use]
pub fn of_refusal(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::None => ErrorCode::None,
        Refusal::NotController => ErrorCode::NotController,
        Refusal::UnknownTopic | Refusal::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        Refusal::UnknownTopicId => ErrorCode::UnknownTopicId,
        Refusal::TopicExists => ErrorCode::TopicAlreadyExists,
        Refusal::InvalidTopicName => ErrorCode::InvalidTopicException,
        Refusal::InvalidPartitions => ErrorCode::InvalidPartitions,
        Refusal::InvalidReplicationFactor | Refusal::NotEnoughBrokers => ErrorCode::InvalidReplicationFactor,
        Refusal::InvalidReplicaAssignment => ErrorCode::InvalidReplicaAssignment,
        Refusal::InvalidConfig => ErrorCode::InvalidConfig,
        Refusal::InvalidRequest => ErrorCode::InvalidRequest,
        Refusal::BrokerNotRegistered => ErrorCode::BrokerIdNotRegistered,
        Refusal::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
        Refusal::DuplicateBroker => ErrorCode::DuplicateBrokerRegistration,
        Refusal::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
        Refusal::InvalidUpdateVersion => ErrorCode::InvalidUpdateVersion,
        Refusal::IneligibleReplica => ErrorCode::IneligibleReplica,
        Refusal::NewLeaderElected => ErrorCode::NewLeaderElected,
        Refusal::OperationNotAttempted => ErrorCode::OperationNotAttempted,
        Refusal::NoReassignmentInProgress => ErrorCode::NoReassignmentInProgress,
        Refusal::ElectionNotNeeded => ErrorCode::ElectionNotNeeded,
        Refusal::PreferredLeaderNotAvailable => ErrorCode::PreferredLeaderNotAvailable,
        Refusal::EligibleLeadersNotAvailable => ErrorCode::EligibleLeadersNotAvailable,
        Refusal::UnsupportedSaslMechanism => ErrorCode::UnsupportedSaslMechanism,
        Refusal::UnacceptableCredential => ErrorCode::UnacceptableCredential,
        Refusal::ResourceNotFound => ErrorCode::ResourceNotFound,
        Refusal::DuplicateResource => ErrorCode::DuplicateResource,
        Refusal::PolicyViolation | Refusal::OwnedByAnother | Refusal::NotSafeNow | Refusal::NotEmpty => {
            ErrorCode::PolicyViolation
        }
        Refusal::UnsupportedVersion => ErrorCode::UnsupportedVersion,
        Refusal::Throttled => ErrorCode::ThrottlingQuotaExceeded,
        Refusal::TokensDisabled => ErrorCode::DelegationTokenAuthDisabled,
        Refusal::TokenNotFound => ErrorCode::DelegationTokenNotFound,
        Refusal::TokenExpired => ErrorCode::DelegationTokenExpired,
        Refusal::TokenOwnerMismatch => ErrorCode::DelegationTokenOwnerMismatch,
    }
}

/// The code and message of a response as a whole.
#[must_use]
pub fn of_response(response: &Response) -> (ErrorCode, Option<String>) {
    with_message(response.refusal(), &response.message)
}

/// The code and message of one item of a response.
#[must_use]
pub fn of_item(item: &ItemResult) -> (ErrorCode, Option<String>) {
    with_message(item.refusal(), &item.message)
}

fn with_message(refusal: Refusal, message: &str) -> (ErrorCode, Option<String>) {
    let code = of_refusal(refusal);
    let text = if message.is_empty() {
        code.message()
    } else {
        message
    };
    (code, code.is_error().then(|| text.to_owned()))
}

/// The code of a request that no controller answered. Clients try again.
#[must_use]
pub fn of_submit(error: &SubmitError) -> ErrorCode {
    match error {
        SubmitError::NotAvailable { .. } => ErrorCode::NotController,
        SubmitError::Behind(_) => ErrorCode::RequestTimedOut,
    }
}

/// The code of a partition that this broker cannot speak for.
#[must_use]
pub fn of_unavailable(unavailable: &Unavailable) -> ErrorCode {
    match unavailable {
        // Those that the metadata does not know are answered before anyone looks for a replica.
        Unavailable::NotHosted | Unavailable::NotLeader => ErrorCode::NotLeaderOrFollower,
        Unavailable::Epoch(EpochMismatch::Fenced { .. }) => ErrorCode::FencedLeaderEpoch,
        Unavailable::Epoch(EpochMismatch::Unknown { .. }) => ErrorCode::UnknownLeaderEpoch,
        Unavailable::Offline => ErrorCode::KafkaStorageError,
    }
}

/// The code of an append that was refused, or not committed.
#[must_use]
pub fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Unavailable(unavailable) => of_unavailable(unavailable),
        AppendError::Full | AppendError::Disk(_) => ErrorCode::KafkaStorageError,
        AppendError::NotEnoughReplicas(_) => ErrorCode::NotEnoughReplicas,
        AppendError::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
        AppendError::Timeout => ErrorCode::RequestTimedOut,
        AppendError::Batch(error) => of_batch(error),
        AppendError::Empty | AppendError::WithoutKey(_) => ErrorCode::InvalidRecord,
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
        AppendError::Producer(producer_state::Error::NotInTransaction { .. }) => ErrorCode::InvalidTxnState,
        AppendError::Producer(producer_state::Error::OutOfOrderSequence { .. }) => {
            ErrorCode::OutOfOrderSequenceNumber
        }
        AppendError::Producer(producer_state::Error::InvalidEpoch { .. }) => ErrorCode::InvalidProducerEpoch,
        AppendError::Producer(producer_state::Error::CoordinatorFenced { .. }) => {
            ErrorCode::TransactionCoordinatorFenced
        }
    }
}

/// The code of a batch that is none, or may not be appended.
#[must_use]
pub fn of_batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Truncated { .. }
        | BatchError::Length(_)
        | BatchError::UnknownMagic(_)
        | BatchError::Crc { .. }
        | BatchError::Compression(..)
        | BatchError::Control(_) => ErrorCode::CorruptMessage,
        BatchError::OldMagic(_) => ErrorCode::UnsupportedForMessageFormat,
        BatchError::TimestampTypeFromClient | BatchError::Timestamp { .. } => ErrorCode::InvalidTimestamp,
        BatchError::UnknownCompression(_) => ErrorCode::UnsupportedCompressionType,
        BatchError::DecompressedTooLarge(_) => ErrorCode::RecordListTooLarge,
        BatchError::TrailingBytes(_)
        | BatchError::Count { .. }
        | BatchError::BaseOffset(_)
        | BatchError::ControlFromClient
        | BatchError::DeleteHorizonFromClient
        | BatchError::Producer { .. }
        | BatchError::Record { .. } => ErrorCode::InvalidRecord,
    }
}

/// The code of a read that found nothing.
#[must_use]
pub fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::Unavailable(unavailable) => of_unavailable(unavailable),
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::NotAvailableYet(_) | ReadError::NotHereYet { .. } => ErrorCode::OffsetNotAvailable,
        // The leader may not have heard of a new replica yet: that one tries again.
        ReadError::NotAReplica(_) => ErrorCode::UnknownLeaderEpoch,
        ReadError::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
        // Clients look for the leader again and try once more; with the other code they tell their user.
        ReadError::Broken {
            beyond_repair: false, ..
        }
        | ReadError::Disk(_) => ErrorCode::KafkaStorageError,
        ReadError::Broken {
            beyond_repair: true, ..
        } => ErrorCode::CorruptMessage,
        ReadError::NotDeletable => ErrorCode::PolicyViolation,
        ReadError::Timeout => ErrorCode::RequestTimedOut,
    }
}
