//! Kafka's error codes for what the rooms below refuse.

use crate::coordination::SubmitError;
use flotilla_control::proto::metadata::{ItemResult, Refusal, Response};
use flotilla_protocol::ErrorCode;

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
