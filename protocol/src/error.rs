//! Kafka's error codes, as of Apache Kafka 4.3.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$attribute:meta])* $variant:ident = $code:literal, $name:literal, $retriable:literal, $message:literal;)*) => {
        /// What went wrong, in the number that goes over the wire.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                $(#[$attribute])*
                #[doc = $message]
                $variant = $code,
            )*
        }

        impl ErrorCode {
            /// All codes, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Kafka's name: `UNKNOWN_TOPIC_OR_PARTITION`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// A sentence for people.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)*
                }
            }

            /// Whether clients try again by themselves.
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(Self::$variant => $retriable,)*
                }
            }
        }

        /// A code that is not known stands for [`ErrorCode::UnknownServerError`].
        impl From<i16> for ErrorCode {
            fn from(code: i16) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    _ => Self::UnknownServerError,
                }
            }
        }
    };
}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", false, "The broker ran into something that it did not expect.";
    #[default]
    None = 0, "NONE", false, "No error.";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", false, "The offset is outside of what the partition holds.";
    CorruptMessage = 2, "CORRUPT_MESSAGE", true, "The record data is damaged.";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", true, "The broker does not host this topic or partition.";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", false, "The fetch size is not valid.";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", true, "The partition has no leader right now.";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", true, "The broker is not the leader, or not a replica, of this partition.";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", true, "The request was not finished in time.";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", false, "The broker is not available.";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", true, "The replica is not available on this broker.";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", false, "The batch is larger than the topic allows.";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", false, "The controller's epoch is older than the one known.";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", false, "The metadata of the committed offset is too long.";
    NetworkException = 13, "NETWORK_EXCEPTION", true, "The connection was lost before the answer came.";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", true, "The coordinator is still loading.";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", true, "The coordinator is not available.";
    NotCoordinator = 16, "NOT_COORDINATOR", true, "The broker is not the coordinator of this group or transactional id.";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", false, "The topic's name is not valid for this operation.";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", false, "The batches are larger together than a segment can be.";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", true, "The partition has fewer in-sync replicas than it must.";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", true, "The records were written, but to fewer in-sync replicas than they must be.";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", false, "The acks asked for are none of -1, 0 and 1.";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", false, "The generation of the group is another one.";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", false, "The member's protocols do not fit those of the group.";
    InvalidGroupId = 24, "INVALID_GROUP_ID", false, "The group id is not valid.";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", false, "The group does not know this member.";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", false, "The session timeout is outside of what the broker allows.";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", false, "The group is rebalancing: join again.";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", false, "The commit is larger than the broker allows.";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", false, "No access to the topic.";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", false, "No access to the group.";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", false, "No access to the cluster.";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", false, "The timestamp is outside of what the topic allows.";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", false, "The SASL mechanism is not enabled here.";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", false, "The request does not fit the state of authentication.";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", false, "The broker does not support this version of the API.";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", false, "The topic exists already.";
    InvalidPartitions = 37, "INVALID_PARTITIONS", false, "The number of partitions is not valid.";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", false, "The replication factor is not valid, or larger than the number of brokers.";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", false, "The replica assignment is not valid.";
    InvalidConfig = 40, "INVALID_CONFIG", false, "The configuration is not valid.";
    NotController = 41, "NOT_CONTROLLER", true, "The broker is not the controller.";
    InvalidRequest = 42, "INVALID_REQUEST", false, "The request contradicts itself or is not what the protocol allows.";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", false, "The message format does not support what was asked for.";
    PolicyViolation = 44, "POLICY_VIOLATION", false, "A policy of the cluster refuses the request.";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", false, "The producer's sequence number does not follow the one before.";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", false, "The producer's batch was written already.";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", false, "The producer's epoch is older than the one known.";
    InvalidTxnState = 48, "INVALID_TXN_STATE", false, "The transaction's state does not allow this.";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", false, "The producer id is not the one of this transactional id.";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", false, "The transaction timeout is larger than the broker allows.";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", true, "The transactional id still has an operation under way.";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", false, "The transaction coordinator's epoch is older than the one known.";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false, "No access to the transactional id.";
    SecurityDisabled = 54, "SECURITY_DISABLED", false, "The cluster has no authorizer.";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", false, "Not attempted, because another part of the request failed.";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", true, "The disk failed: see the broker's log.";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", false, "The log directory does not exist or is offline.";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", false, "Authentication failed.";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", false, "The broker knows nothing of this producer.";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", false, "The partition is being reassigned already.";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", false, "Delegation tokens are not enabled.";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", false, "The delegation token does not exist.";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", false, "The delegation token belongs to somebody else.";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false, "Delegation tokens cannot be asked for over this connection.";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", false, "No access to the delegation token.";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", false, "The delegation token has expired.";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", false, "The type of principal is not supported.";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", false, "The group is not empty.";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", false, "The group does not exist.";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", true, "The fetch session does not exist.";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", true, "The epoch of the fetch session is not the next one.";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", true, "The leader has no listener like the one that was asked over.";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", false, "Topics cannot be deleted: this is disabled.";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", true, "The leader epoch is older than the broker's.";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", true, "The leader epoch is newer than the broker's.";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", false, "The client does not support the compression that the topic asks for.";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", false, "The broker's epoch is older than the one known.";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", true, "The leader has not caught up with its own high watermark yet.";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", false, "A member id is needed: join again with the one given.";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", true, "The preferred leader is not available.";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", false, "The group has as many members as it may.";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", false, "Another member took over this instance id.";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", true, "No eligible leader is available.";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", true, "The partition needs no election.";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", false, "The partition is not being reassigned.";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", false, "The group is subscribed to the topic.";
    InvalidRecord = 87, "INVALID_RECORD", false, "A record is not valid, and the batch was refused.";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", true, "Offsets of an open transaction have to be settled first.";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", true, "The quota is used up: try again later.";
    ProducerFenced = 90, "PRODUCER_FENCED", false, "A newer producer took over this transactional id.";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", false, "The resource does not exist.";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", false, "The resource is named twice.";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", false, "The credential is not acceptable.";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", false, "The voters are not those of the quorum.";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", false, "The version of the update is not valid.";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", false, "The features could not be updated.";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", false, "The principal of a forwarded request cannot be read.";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", false, "The snapshot does not exist.";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", false, "The position is outside of the snapshot.";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", true, "The broker does not know this topic id.";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", false, "The broker id is registered by a broker that is alive.";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", false, "The broker id is not registered.";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", true, "The topic id is not the one in the log.";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", false, "The cluster id is not this cluster's.";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", false, "The transactional id does not exist.";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", true, "The topic ids of the fetch session changed their form.";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", false, "The replica may not be in the in-sync set.";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", false, "A new leader was elected by this change.";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", false, "The offset is in tiered storage.";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", false, "The member's epoch is older than the one known.";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", false, "The instance id is still in use by another member.";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", false, "The assignor is not one that the group can use.";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", false, "The member's epoch is behind: heartbeat first.";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", false, "The endpoint is of another kind than was asked for.";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", false, "The kind of endpoint is not known.";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", false, "The controller's id is not known.";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", false, "The telemetry subscription is not known.";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", false, "The telemetry is larger than the broker allows.";
    InvalidRegistration = 119, "INVALID_REGISTRATION", false, "The registration is not valid.";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", false, "The transaction has to be aborted.";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", false, "The state of the records does not allow this.";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", true, "The share session does not exist.";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", true, "The epoch of the share session is not the next one.";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", false, "The state's epoch is older than the one known.";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", false, "The voter's key is not its own.";
    DuplicateVoter = 126, "DUPLICATE_VOTER", false, "The voter is in the quorum already.";
    VoterNotFound = 127, "VOTER_NOT_FOUND", false, "The voter is not in the quorum.";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", false, "The regular expression is not valid.";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", false, "The client has to bootstrap anew.";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", false, "The topology is not valid.";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", false, "The topology's epoch is not valid.";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", false, "The topology's epoch is older than the one known.";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", true, "The broker has as many share sessions as it may.";
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether it stands for a failure.
    #[must_use]
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::None)
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> Self {
        error as Self
    }
}

impl PartialEq<ErrorCode> for i16 {
    fn eq(&self, other: &ErrorCode) -> bool {
        *self == *other as Self
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn every_code_of_kafka_4_3_converts_both_ways() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (-1..=133).collect::<Vec<i16>>());
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from(error.code()), *error);
        }
    }

    #[test]
    fn unknown_code_is_an_unknown_server_error() {
        for code in [i16::MIN, -2, 134, i16::MAX] {
            assert_eq!(ErrorCode::from(code), ErrorCode::UnknownServerError);
        }
    }

    #[test]
    fn name_is_the_variant_in_capitals() {
        for error in ErrorCode::ALL {
            assert_eq!(
                error.name().replace('_', "").to_lowercase(),
                format!("{error:?}").to_lowercase()
            );
        }
        assert_eq!(
            ErrorCode::UnknownTopicOrPartition.name(),
            "UNKNOWN_TOPIC_OR_PARTITION"
        );
        assert_eq!(ErrorCode::UnknownTopicOrPartition.code(), 3);
    }
}
