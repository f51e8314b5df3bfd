//! The field by which answers tell clients for how long they are held back (KIP-219).

use flotilla_protocol::messages::*;

/// An answer that may have such a field.
pub(super) trait ThrottleTime {
    /// Sets it, in milliseconds; an answer without it tells nothing.
    fn set_throttle_time(&mut self, ms: i32);
}

macro_rules! throttle_time {
    (with { $($with:ident,)* } without { $($without:ident,)* }) => {
        $(impl ThrottleTime for $with {
            fn set_throttle_time(&mut self, ms: i32) {
                self.throttle_time_ms = ms;
            }
        })*
        $(impl ThrottleTime for $without {
            fn set_throttle_time(&mut self, _: i32) {}
        })*
    };
}

throttle_time! {
    with {
        AddOffsetsToTxnResponse,
        AddPartitionsToTxnResponse,
        AddRaftVoterResponse,
        AlterClientQuotasResponse,
        AlterConfigsResponse,
        AlterPartitionReassignmentsResponse,
        AlterReplicaLogDirsResponse,
        AlterShareGroupOffsetsResponse,
        AlterUserScramCredentialsResponse,
        ApiVersionsResponse,
        ConsumerGroupDescribeResponse,
        ConsumerGroupHeartbeatResponse,
        CreateAclsResponse,
        CreateDelegationTokenResponse,
        CreatePartitionsResponse,
        CreateTopicsResponse,
        DeleteAclsResponse,
        DeleteGroupsResponse,
        DeleteRecordsResponse,
        DeleteShareGroupOffsetsResponse,
        DeleteTopicsResponse,
        DescribeAclsResponse,
        DescribeClientQuotasResponse,
        DescribeClusterResponse,
        DescribeConfigsResponse,
        DescribeDelegationTokenResponse,
        DescribeGroupsResponse,
        DescribeLogDirsResponse,
        DescribeProducersResponse,
        DescribeShareGroupOffsetsResponse,
        DescribeTopicPartitionsResponse,
        DescribeTransactionsResponse,
        DescribeUserScramCredentialsResponse,
        ElectLeadersResponse,
        EndTxnResponse,
        ExpireDelegationTokenResponse,
        FetchResponse,
        FindCoordinatorResponse,
        GetTelemetrySubscriptionsResponse,
        HeartbeatResponse,
        IncrementalAlterConfigsResponse,
        InitProducerIdResponse,
        JoinGroupResponse,
        LeaveGroupResponse,
        ListConfigResourcesResponse,
        ListGroupsResponse,
        ListOffsetsResponse,
        ListPartitionReassignmentsResponse,
        ListTransactionsResponse,
        MetadataResponse,
        OffsetCommitResponse,
        OffsetDeleteResponse,
        OffsetFetchResponse,
        OffsetForLeaderEpochResponse,
        ProduceResponse,
        PushTelemetryResponse,
        RemoveRaftVoterResponse,
        RenewDelegationTokenResponse,
        ShareAcknowledgeResponse,
        ShareFetchResponse,
        ShareGroupDescribeResponse,
        ShareGroupHeartbeatResponse,
        StreamsGroupDescribeResponse,
        StreamsGroupHeartbeatResponse,
        SyncGroupResponse,
        TxnOffsetCommitResponse,
        UnregisterBrokerResponse,
        UpdateFeaturesResponse,
    }
    without {
        DeleteShareGroupStateResponse,
        DescribeQuorumResponse,
        InitializeShareGroupStateResponse,
        ReadShareGroupStateResponse,
        ReadShareGroupStateSummaryResponse,
        SaslAuthenticateResponse,
        SaslHandshakeResponse,
        WriteShareGroupStateResponse,
        WriteTxnMarkersResponse,
    }
}
