//! The errors that each API can return, and what drives each of them.

use std::collections::BTreeSet;

use flotilla_protocol::{ApiKey, ErrorCode};

use crate::case::{Case, Expected};
use crate::run::docs;

/// What drives an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driven {
    /// A case of this suite.
    Here,
    /// Other tests, in this file, which names the error.
    Test(&'static str),
}

use Driven::{Here, Test};
use ErrorCode as E;

/// By API.
#[rustfmt::skip]
pub const ERRORS: &[(ApiKey, &[(ErrorCode, Driven)])] = &[
    (ApiKey::Produce, &[
        (E::CorruptMessage, Here),
        (E::UnknownTopicOrPartition, Here),
        (E::MessageTooLarge, Here),
        (E::InvalidTopicException, Here),
        (E::InvalidRequiredAcks, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::InvalidTimestamp, Here),
        (E::OutOfOrderSequenceNumber, Here),
        (E::InvalidProducerEpoch, Here),
        (E::TransactionalIdAuthorizationFailed, Here),
        (E::UnsupportedCompressionType, Here),
        (E::InvalidRecord, Here),
        (E::UnknownTopicId, Here),
        (E::NotLeaderOrFollower, Test("broker/src/request/produce_tests.rs")),
        (E::NotEnoughReplicas, Test("tests/process/elsewhere.rs")),
        (E::RequestTimedOut, Test("tests/process/elsewhere.rs")),
        (E::KafkaStorageError, Test("broker/src/request/rare_errors_tests.rs")),
        (E::InvalidTxnState, Test("broker/src/request/transaction_tests.rs")),
        (E::TransactionAbortable, Test("broker/src/request/transaction_tests.rs")),
    ]),
    (ApiKey::Fetch, &[
        (E::OffsetOutOfRange, Here),
        (E::UnknownTopicOrPartition, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::FetchSessionIdNotFound, Here),
        (E::InvalidFetchSessionEpoch, Here),
        (E::UnknownLeaderEpoch, Here),
        (E::UnknownTopicId, Here),
        (E::NotLeaderOrFollower, Test("broker/src/request/fetch_tests.rs")),
        (E::FencedLeaderEpoch, Test("broker/src/request/fetch_tests.rs")),
        (E::OffsetNotAvailable, Test("broker/src/request/fetch_tests.rs")),
        (E::FetchSessionTopicIdError, Test("broker/src/request/fetch_tests.rs")),
        (E::KafkaStorageError, Test("broker/src/request/rare_errors_tests.rs")),
        (E::CorruptMessage, Test("tests/process/corruption.rs")),
    ]),
    (ApiKey::ListOffsets, &[
        (E::UnknownTopicOrPartition, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::UnsupportedVersion, Here),
        (E::InvalidRequest, Here),
        (E::UnknownLeaderEpoch, Here),
        (E::NotLeaderOrFollower, Test("tests/process/elsewhere.rs")),
        (E::LeaderNotAvailable, Test("broker/src/request/list_offsets_tests.rs")),
        (E::FencedLeaderEpoch, Test("broker/src/request/data_path_tests.rs")),
        (E::OffsetNotAvailable, Test("broker/src/request/list_offsets_tests.rs")),
    ]),
    (ApiKey::Metadata, &[
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidTopicException, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::UnknownTopicId, Here),
        (E::LeaderNotAvailable, Test("broker/src/request/metadata.rs")),
        (E::ReplicaNotAvailable, Test("broker/src/request/metadata.rs")),
    ]),
    (ApiKey::OffsetCommit, &[
        (E::UnknownTopicOrPartition, Here),
        (E::OffsetMetadataTooLarge, Here),
        (E::IllegalGeneration, Here),
        (E::UnknownMemberId, Here),
        (E::RebalanceInProgress, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::GroupIdNotFound, Here),
        (E::FencedInstanceId, Here),
        (E::UnknownTopicId, Here),
        (E::StaleMemberEpoch, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::OffsetFetch, &[
        (E::UnknownMemberId, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::UnstableOffsetCommit, Here),
        (E::UnknownTopicId, Here),
        (E::StaleMemberEpoch, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::FindCoordinator, &[
        (E::GroupAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::TransactionalIdAuthorizationFailed, Here),
        (E::CoordinatorNotAvailable, Test("broker/src/request/find_coordinator.rs")),
    ]),
    (ApiKey::JoinGroup, &[
        (E::InconsistentGroupProtocol, Here),
        (E::InvalidGroupId, Here),
        (E::UnknownMemberId, Here),
        (E::InvalidSessionTimeout, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::MemberIdRequired, Here),
        (E::FencedInstanceId, Here),
        (E::GroupMaxSizeReached, Test("broker/src/request/rare_errors_tests.rs")),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::Heartbeat, &[
        (E::IllegalGeneration, Here),
        (E::InvalidGroupId, Here),
        (E::UnknownMemberId, Here),
        (E::RebalanceInProgress, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::FencedInstanceId, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
    ]),
    (ApiKey::LeaveGroup, &[
        (E::InvalidGroupId, Here),
        (E::UnknownMemberId, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::FencedInstanceId, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::SyncGroup, &[
        (E::IllegalGeneration, Here),
        (E::InconsistentGroupProtocol, Here),
        (E::InvalidGroupId, Here),
        (E::UnknownMemberId, Here),
        (E::RebalanceInProgress, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::FencedInstanceId, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::DescribeGroups, &[
        (E::GroupAuthorizationFailed, Here),
        (E::GroupIdNotFound, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::ListGroups, &[
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::SaslHandshake, &[
        (E::UnsupportedSaslMechanism, Here),
        (E::IllegalSaslState, Here),
    ]),
    (ApiKey::ApiVersions, &[
        (E::UnsupportedVersion, Here),
        (E::InvalidRequest, Here),
    ]),
    (ApiKey::CreateTopics, &[
        (E::InvalidTopicException, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::TopicAlreadyExists, Here),
        (E::InvalidPartitions, Here),
        (E::InvalidReplicationFactor, Here),
        (E::InvalidReplicaAssignment, Here),
        (E::InvalidConfig, Here),
        (E::InvalidRequest, Here),
        (E::ThrottlingQuotaExceeded, Test("broker/src/request/quotas_tests.rs")),
        (E::RequestTimedOut, Test("broker/src/request/rare_errors_tests.rs")),
    ]),
    (ApiKey::DeleteTopics, &[
        (E::UnknownTopicOrPartition, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::UnknownTopicId, Here),
        (E::TopicDeletionDisabled, Test("broker/src/request/rare_errors_tests.rs")),
        (E::ThrottlingQuotaExceeded, Test("broker/src/request/quotas_tests.rs")),
        (E::RequestTimedOut, Test("broker/src/request/rare_errors_tests.rs")),
    ]),
    (ApiKey::DeleteRecords, &[
        (E::OffsetOutOfRange, Here),
        (E::UnknownTopicOrPartition, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::PolicyViolation, Here),
        (E::NotLeaderOrFollower, Test("tests/process/elsewhere.rs")),
        (E::RequestTimedOut, Test("tests/process/elsewhere.rs")),
    ]),
    (ApiKey::InitProducerId, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::InvalidProducerEpoch, Here),
        (E::InvalidTransactionTimeout, Here),
        (E::ConcurrentTransactions, Here),
        (E::TransactionalIdAuthorizationFailed, Here),
        (E::ProducerFenced, Here),
        (E::NotCoordinator, Test("tests/process/elsewhere.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/rare_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::OffsetForLeaderEpoch, &[
        (E::UnknownTopicOrPartition, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::UnknownLeaderEpoch, Here),
        (E::NotLeaderOrFollower, Test("tests/process/elsewhere.rs")),
        (E::FencedLeaderEpoch, Test("broker/src/request/data_path_tests.rs")),
    ]),
    (ApiKey::AddPartitionsToTxn, &[
        (E::UnknownTopicOrPartition, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::InvalidProducerEpoch, Here),
        (E::InvalidProducerIdMapping, Here),
        (E::TransactionalIdAuthorizationFailed, Here),
        (E::ProducerFenced, Here),
        (E::TransactionAbortable, Here),
        (E::OperationNotAttempted, Here),
        (E::ConcurrentTransactions, Test("broker/src/request/transaction_tests.rs")),
        (E::NotCoordinator, Test("tests/process/elsewhere.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/rare_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::AddOffsetsToTxn, &[
        (E::GroupAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::InvalidProducerEpoch, Here),
        (E::InvalidProducerIdMapping, Here),
        (E::TransactionalIdAuthorizationFailed, Here),
        (E::ProducerFenced, Here),
        (E::ConcurrentTransactions, Test("broker/src/request/transaction_tests.rs")),
        (E::NotCoordinator, Test("tests/process/elsewhere.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/loading_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::EndTxn, &[
        (E::InvalidRequest, Here),
        (E::InvalidProducerEpoch, Here),
        (E::InvalidTxnState, Here),
        (E::InvalidProducerIdMapping, Here),
        (E::TransactionalIdAuthorizationFailed, Here),
        (E::ProducerFenced, Here),
        (E::ConcurrentTransactions, Test("broker/src/request/transaction_tests.rs")),
        (E::NotCoordinator, Test("tests/process/elsewhere.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/rare_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::WriteTxnMarkers, &[
        (E::UnknownTopicOrPartition, Here),
        (E::ClusterAuthorizationFailed, Here),
        (E::NotLeaderOrFollower, Test("tests/process/elsewhere.rs")),
        (E::InvalidProducerEpoch, Here),
        (E::TransactionCoordinatorFenced, Test("broker/src/request/rare_errors_tests.rs")),
    ]),
    (ApiKey::TxnOffsetCommit, &[
        (E::UnknownTopicOrPartition, Here),
        (E::OffsetMetadataTooLarge, Here),
        (E::IllegalGeneration, Here),
        (E::InvalidGroupId, Here),
        (E::UnknownMemberId, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::InvalidProducerEpoch, Here),
        (E::TransactionalIdAuthorizationFailed, Here),
        (E::FencedInstanceId, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::DescribeAcls, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::SecurityDisabled, Test("broker/src/request/admin_tests.rs")),
    ]),
    (ApiKey::CreateAcls, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::UnknownServerError, Here),
        (E::SecurityDisabled, Test("broker/src/request/admin_tests.rs")),
    ]),
    (ApiKey::DeleteAcls, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::SecurityDisabled, Test("broker/src/request/admin_tests.rs")),
    ]),
    (ApiKey::DescribeConfigs, &[
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidTopicException, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
    ]),
    (ApiKey::AlterConfigs, &[
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidTopicException, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidConfig, Here),
        (E::InvalidRequest, Here),
    ]),
    (ApiKey::AlterReplicaLogDirs, &[
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidTopicException, Here),
        (E::ClusterAuthorizationFailed, Here),
        (E::LogDirNotFound, Here),
        (E::ReplicaNotAvailable, Test("broker/src/request/data_path_tests.rs")),
        (E::KafkaStorageError, Test("broker/src/request/rare_errors_tests.rs")),
    ]),
    (ApiKey::DescribeLogDirs, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::KafkaStorageError, Test("broker/src/request/rare_errors_tests.rs")),
    ]),
    (ApiKey::SaslAuthenticate, &[
        (E::IllegalSaslState, Here),
        (E::SaslAuthenticationFailed, Here),
    ]),
    (ApiKey::CreatePartitions, &[
        (E::UnknownTopicOrPartition, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::InvalidPartitions, Here),
        (E::InvalidReplicaAssignment, Here),
        (E::InvalidRequest, Here),
        (E::ThrottlingQuotaExceeded, Test("broker/src/request/quotas_tests.rs")),
        (E::RequestTimedOut, Test("broker/src/request/rare_errors_tests.rs")),
    ]),
    (ApiKey::CreateDelegationToken, &[
        (E::DelegationTokenAuthDisabled, Test("broker/src/request/delegation_token_tests.rs")),
        (E::DelegationTokenRequestNotAllowed, Here),
        (E::DelegationTokenAuthorizationFailed, Here),
        (E::InvalidPrincipalType, Here),
    ]),
    (ApiKey::RenewDelegationToken, &[
        (E::DelegationTokenAuthDisabled, Test("broker/src/request/delegation_token_tests.rs")),
        (E::DelegationTokenNotFound, Here),
        (E::DelegationTokenOwnerMismatch, Test("broker/src/request/delegation_token_tests.rs")),
        (E::DelegationTokenRequestNotAllowed, Here),
        (E::DelegationTokenExpired, Here),
    ]),
    (ApiKey::ExpireDelegationToken, &[
        (E::DelegationTokenAuthDisabled, Test("broker/src/request/delegation_token_tests.rs")),
        (E::DelegationTokenNotFound, Here),
        (E::DelegationTokenOwnerMismatch, Test("broker/src/request/delegation_token_tests.rs")),
        (E::DelegationTokenRequestNotAllowed, Here),
        (E::DelegationTokenExpired, Here),
    ]),
    (ApiKey::DescribeDelegationToken, &[
        (E::DelegationTokenAuthDisabled, Test("broker/src/request/delegation_token_tests.rs")),
        (E::DelegationTokenRequestNotAllowed, Here),
    ]),
    (ApiKey::DeleteGroups, &[
        (E::GroupAuthorizationFailed, Here),
        (E::NonEmptyGroup, Here),
        (E::GroupIdNotFound, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::ElectLeaders, &[
        (E::UnknownTopicOrPartition, Here),
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::ElectionNotNeeded, Here),
        (E::PreferredLeaderNotAvailable, Test("tests/process/elsewhere.rs")),
        (E::EligibleLeadersNotAvailable, Test("tests/process/elsewhere.rs")),
    ]),
    (ApiKey::IncrementalAlterConfigs, &[
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidTopicException, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidConfig, Here),
        (E::InvalidRequest, Here),
        (E::UnknownServerError, Here),
    ]),
    (ApiKey::AlterPartitionReassignments, &[
        (E::UnknownTopicOrPartition, Here),
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidReplicaAssignment, Here),
        (E::NoReassignmentInProgress, Here),
    ]),
    (ApiKey::ListPartitionReassignments, &[
        (E::ClusterAuthorizationFailed, Here),
    ]),
    (ApiKey::OffsetDelete, &[
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidGroupId, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::GroupIdNotFound, Here),
        (E::GroupSubscribedToTopic, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::DescribeClientQuotas, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::UnsupportedVersion, Here),
    ]),
    (ApiKey::AlterClientQuotas, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
    ]),
    (ApiKey::DescribeUserScramCredentials, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::ResourceNotFound, Here),
        (E::DuplicateResource, Here),
    ]),
    (ApiKey::AlterUserScramCredentials, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::UnsupportedSaslMechanism, Here),
        (E::ResourceNotFound, Here),
        (E::DuplicateResource, Here),
        (E::UnacceptableCredential, Here),
    ]),
    (ApiKey::DescribeQuorum, &[
        (E::UnknownTopicOrPartition, Here),
        (E::ClusterAuthorizationFailed, Here),
    ]),
    (ApiKey::UpdateFeatures, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidUpdateVersion, Here),
    ]),
    (ApiKey::DescribeCluster, &[
        (E::MismatchedEndpointType, Here),
        (E::UnsupportedEndpointType, Here),
    ]),
    (ApiKey::DescribeProducers, &[
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidTopicException, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::NotLeaderOrFollower, Test("tests/process/elsewhere.rs")),
    ]),
    (ApiKey::UnregisterBroker, &[
        (E::None, Test("broker/src/request/unregister_broker.rs")),
        (E::ClusterAuthorizationFailed, Here),
        (E::BrokerIdNotRegistered, Here),
    ]),
    (ApiKey::DescribeTransactions, &[
        (E::TransactionalIdAuthorizationFailed, Here),
        (E::TransactionalIdNotFound, Here),
        (E::NotCoordinator, Test("tests/process/elsewhere.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::ListTransactions, &[
        (E::InvalidRegularExpression, Here),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::ConsumerGroupHeartbeat, &[
        (E::UnknownMemberId, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::UnsupportedVersion, Test("broker/src/request/coordinator/tests/consumer.rs")),
        (E::InvalidRequest, Here),
        (E::GroupIdNotFound, Here),
        (E::FencedInstanceId, Here),
        (E::FencedMemberEpoch, Here),
        (E::UnreleasedInstanceId, Here),
        (E::UnsupportedAssignor, Here),
        (E::InvalidRegularExpression, Here),
        (E::GroupMaxSizeReached, Test("broker/src/request/rare_errors_tests.rs")),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::ConsumerGroupDescribe, &[
        (E::InvalidGroupId, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::UnsupportedVersion, Test("broker/src/request/coordinator/tests/consumer.rs")),
        (E::GroupIdNotFound, Here),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::ShareGroupHeartbeat, &[
        (E::UnknownMemberId, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::GroupIdNotFound, Here),
        (E::FencedMemberEpoch, Here),
        (E::GroupMaxSizeReached, Test("broker/src/request/share_tests.rs")),
        (E::UnsupportedVersion, Test("broker/src/request/share_errors_tests.rs")),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::ShareGroupDescribe, &[
        (E::InvalidGroupId, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::GroupIdNotFound, Here),
        (E::TopicAuthorizationFailed, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnsupportedVersion, Test("broker/src/request/share_errors_tests.rs")),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::ShareFetch, &[
        (E::UnknownServerError, Here),
        (E::UnknownTopicOrPartition, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::InvalidRecordState, Here),
        (E::ShareSessionNotFound, Here),
        (E::InvalidShareSessionEpoch, Here),
        (E::ShareSessionLimitReached, Test("broker/src/request/share_tests.rs")),
        (E::NotLeaderOrFollower, Test("broker/src/request/share_tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/share_tests.rs")),
        (E::TopicAuthorizationFailed, Test("broker/src/request/share_errors_tests.rs")),
        (E::KafkaStorageError, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnsupportedVersion, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnknownTopicId, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::ShareAcknowledge, &[
        (E::UnknownServerError, Here),
        (E::UnknownTopicOrPartition, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::InvalidRecordState, Here),
        (E::ShareSessionNotFound, Here),
        (E::InvalidShareSessionEpoch, Here),
        (E::CoordinatorNotAvailable, Test("broker/src/request/share_tests.rs")),
        (E::NotLeaderOrFollower, Test("broker/src/request/share_errors_tests.rs")),
        (E::TopicAuthorizationFailed, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnsupportedVersion, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnknownTopicId, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::InitializeShareGroupState, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidRequest, Here),
        (E::FencedStateEpoch, Here),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::ReadShareGroupState, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::FencedLeaderEpoch, Here),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnknownTopicOrPartition, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::WriteShareGroupState, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::FencedLeaderEpoch, Here),
        (E::FencedStateEpoch, Here),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnknownTopicOrPartition, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::DeleteShareGroupState, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::ReadShareGroupStateSummary, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidRequest, Here),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::StreamsGroupHeartbeat, &[
        (E::UnknownMemberId, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::GroupIdNotFound, Here),
        (E::FencedMemberEpoch, Here),
        (E::StreamsInvalidTopology, Here),
        (E::GroupMaxSizeReached, Test("broker/src/request/coordinator/tests/streams.rs")),
        (E::UnsupportedVersion, Test("broker/src/request/coordinator/tests/streams.rs")),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests/streams.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests/streams.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::StreamsGroupDescribe, &[
        (E::InvalidGroupId, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::GroupIdNotFound, Here),
        (E::TopicAuthorizationFailed, Test("broker/src/request/coordinator/tests/streams.rs")),
        (E::UnsupportedVersion, Test("broker/src/request/coordinator/tests/streams.rs")),
        (E::NotCoordinator, Test("broker/src/request/coordinator/tests/streams.rs")),
        (E::CoordinatorNotAvailable, Test("broker/src/request/coordinator/tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/loading_tests.rs")),
    ]),
    (ApiKey::DescribeShareGroupOffsets, &[
        (E::GroupAuthorizationFailed, Here),
        (E::TopicAuthorizationFailed, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnsupportedVersion, Test("broker/src/request/share_errors_tests.rs")),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::AlterShareGroupOffsets, &[
        (E::UnknownTopicOrPartition, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::NonEmptyGroup, Here),
        (E::GroupIdNotFound, Here),
        (E::InvalidRequest, Test("broker/src/request/share_errors_tests.rs")),
        (E::TopicAuthorizationFailed, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnsupportedVersion, Test("broker/src/request/share_errors_tests.rs")),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::DeleteShareGroupOffsets, &[
        (E::UnknownTopicOrPartition, Here),
        (E::GroupAuthorizationFailed, Here),
        (E::NonEmptyGroup, Here),
        (E::GroupIdNotFound, Here),
        (E::TopicAuthorizationFailed, Test("broker/src/request/share_errors_tests.rs")),
        (E::UnsupportedVersion, Test("broker/src/request/share_errors_tests.rs")),
        (E::NotCoordinator, Test("broker/src/request/share_errors_tests.rs")),
        (E::CoordinatorLoadInProgress, Test("broker/src/request/share_errors_tests.rs")),
    ]),
    (ApiKey::GetTelemetrySubscriptions, &[
        (E::ThrottlingQuotaExceeded, Here),
    ]),
    (ApiKey::PushTelemetry, &[
        (E::InvalidRequest, Here),
        (E::ThrottlingQuotaExceeded, Here),
        (E::UnknownSubscriptionId, Here),
        (E::UnsupportedCompressionType, Here),
        (E::TelemetryTooLarge, Here),
        (E::InvalidRecord, Here),
    ]),
    (ApiKey::ListConfigResources, &[
        (E::ClusterAuthorizationFailed, Here),
        (E::UnsupportedVersion, Here),
    ]),
    (ApiKey::DescribeTopicPartitions, &[
        (E::UnknownTopicOrPartition, Here),
        (E::InvalidTopicException, Here),
        (E::TopicAuthorizationFailed, Here),
        (E::InvalidRequest, Here),
        (E::LeaderNotAvailable, Test("tests/process/elsewhere.rs")),
    ]),
    (ApiKey::AddRaftVoter, &[
        (E::None, Test("tests/process/administration.rs")),
        (E::ClusterAuthorizationFailed, Here),
        (E::InconsistentClusterId, Here),
        (E::DuplicateVoter, Test("tests/process/administration.rs")),
        (E::RequestTimedOut, Test("tests/process/administration.rs")),
    ]),
    (ApiKey::RemoveRaftVoter, &[
        (E::None, Test("tests/process/administration.rs")),
        (E::ClusterAuthorizationFailed, Here),
        (E::InconsistentClusterId, Here),
        (E::VoterNotFound, Test("tests/process/administration.rs")),
    ]),
];

/// The cases that drive an error of an API.
pub fn cases_of(cases: &[Case], api: ApiKey, code: ErrorCode) -> Vec<&'static str> {
    let of_code = cases.iter().filter(|case| {
        case.api == api
            && case
                .expected
                .iter()
                .any(|(_, expected)| *expected == Expected::Answer(code))
    });
    of_code.map(|case| case.name).collect()
}

/// The cases that drive the success of an API; nothing where the table says what else does.
pub fn success_of(cases: &[Case], api: ApiKey, errors: &[(ErrorCode, Driven)]) -> Option<Vec<&'static str>> {
    let elsewhere = errors.iter().any(|(code, _)| *code == ErrorCode::None);
    (!elsewhere).then(|| cases_of(cases, api, ErrorCode::None))
}

/// Whether a file of tests is there and names an error.
fn names(file: &str, code: ErrorCode) -> bool {
    let path = docs().join("..").join(file);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.contains(&format!("::{code:?}"))
}

/// Where the table and the cases contradict each other.
pub fn problems(cases: &[Case]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut listed = BTreeSet::new();
    for (api, errors) in ERRORS {
        if success_of(cases, *api, errors) == Some(Vec::new()) {
            problems.push(format!("{}: no case drives its success", api.name()));
        }
        for (code, driven) in *errors {
            listed.insert((*api, *code));
            let cases = cases_of(cases, *api, *code);
            let holds = match driven {
                Here => !cases.is_empty(),
                Test(file) => cases.is_empty() && names(file, *code),
            };
            if !holds {
                problems.push(format!(
                    "{} {}: the table says {driven:?}, and the cases are {cases:?}",
                    api.name(),
                    code.name()
                ));
            }
        }
    }
    for case in cases {
        for (_, expected) in &case.expected {
            if let Expected::Answer(code) = expected
                && *code != ErrorCode::None
                && !listed.contains(&(case.api, *code))
            {
                problems.push(format!(
                    "{} {}: `{}` drives it, and it is not in the table of tests/differential/errors.rs",
                    case.api.name(),
                    code.name(),
                    case.name
                ));
            }
        }
    }
    problems
}
