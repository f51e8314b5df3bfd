//! One file per Kafka API: from a request to an answer, and Kafka's error codes, which are born here and nowhere deeper.
//!
//! A handler is `async fn handle(ctx: &Context, request: XRequest) -> XResponse` and cannot fail: what went wrong is in the
//! response. A new API is a file, a row in [`ANNOUNCED`] and a line in [`answer`].

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod add_raft_voter;
#[cfg(test)]
mod admin_tests;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_share_group_offsets;
mod alter_user_scram_credentials;
mod announced;
mod api_versions;
mod client_metrics;
#[cfg(test)]
mod client_metrics_tests;
mod config_entries;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod context;
mod coordinator;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
#[cfg(test)]
mod data_path_tests;
#[cfg(test)]
mod delegation_token_tests;
mod delegation_tokens;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_share_group_offsets;
mod delete_share_group_state;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_share_group_offsets;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod electorate;
mod end_txn;
pub mod error;
mod expire_delegation_token;
pub(crate) mod fetch;
pub(crate) mod fetch_sessions;
mod find_coordinator;
mod get_telemetry_subscriptions;
mod heartbeat;
mod init_producer_id;
mod initialize_share_group_state;
mod join_group;
mod leader_hint;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
#[cfg(test)]
mod loading_tests;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod partition_view;
mod produce;
mod push_telemetry;
mod quotas;
#[cfg(test)]
mod rare_errors_tests;
mod read_share_group_state;
mod read_share_group_state_summary;
mod remove_raft_voter;
mod renew_delegation_token;
pub(crate) mod sasl_authenticate;
pub(crate) mod sasl_handshake;
mod session;
mod share_acknowledge;
#[cfg(test)]
mod share_bench;
#[cfg(test)]
mod share_errors_tests;
mod share_fetch;
mod share_group_describe;
mod share_group_heartbeat;
mod share_offsets;
mod share_session;
mod share_state;
#[cfg(test)]
mod share_state_tests;
#[cfg(test)]
mod share_tests;
mod streams_group_describe;
mod streams_group_heartbeat;
mod streams_internal_topics;
mod submit;
mod sync_group;
#[cfg(test)]
pub(crate) mod testing;
mod throttle_time;
mod transaction;
#[cfg(test)]
mod transaction_tests;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_share_group_state;
mod write_txn_markers;

pub use announced::{ANNOUNCED, ANNOUNCED_TO_BROKERS, is_announced};
pub use client_metrics::ClientMetrics;
pub use context::{Context, OPERATIONS_NOT_ASKED};
pub use fetch::ReplicaFetch;
pub use fetch_sessions::FetchSessions;
pub use quotas::{Meter, Quotas};
pub use session::{Session, Software};
pub(crate) use write_txn_markers::end_transactions;

use flotilla_protocol::{
    ApiKey, DecodeError, EncodeError, ErrorCode, Message, Reader, Request, Segment, frame,
};
use futures::future::BoxFuture;
use throttle_time::ThrottleTime;

/// The name by which rules know the cluster itself.
const CLUSTER: &str = "kafka-cluster";

/// A handler's answer, where it is more than a response.
pub enum Reply<T> {
    /// The response.
    Now(T),
    /// The response comes; the connection takes further requests meanwhile, and keeps the order of answers.
    Later(BoxFuture<'static, T>),
    /// None: the client does not expect any (Produce with acks=0).
    Silent,
    /// None, and the connection is closed: the only way to tell a client that expects no response of a failure.
    Close,
}

/// An encoded answer.
pub enum Answer {
    /// A frame, in the segments that go to the wire.
    Now(Vec<Segment>),
    /// A frame that comes; further requests are taken meanwhile.
    Later(BoxFuture<'static, Result<Vec<Segment>, Failure>>),
    /// None.
    Silent,
}

/// Why a request ends its connection.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The response cannot be written: a bug of ours.
    #[error("the response cannot be written: {0}")]
    Response(#[from] EncodeError),
    /// It is for an API or a version that is not served, and the client could not read an answer.
    #[error("{api} in version {version} is not served")]
    Unsupported {
        /// Its name, or its number.
        api: String,
        /// As the client sent it.
        version: i16,
    },
    /// A client that expects no answer has to learn of a failure.
    #[error("a request without acknowledgement failed")]
    Unacknowledged,
    /// It needs a client that has said who it is.
    #[error("{0} before authentication")]
    Unauthenticated(ApiKey),
}

/// One request on its way to an answer.
struct Call<'a> {
    ctx: &'a Context,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Call<'_> {
    /// The request. What a client sends behind it is passed over, as Kafka does: librdkafka 2.0 sends three bytes too many
    /// with Metadata.
    fn request<R: Request>(&self, mut body: Reader) -> Result<R, DecodeError> {
        R::decode(&mut body, self.version)
    }

    /// The answer, which says for how long the client is held back.
    fn response<T: Message + Clone + ThrottleTime>(&self, message: &T) -> Result<Answer, Failure> {
        Ok(Answer::Now(self.frame(message)?))
    }

    fn frame<T: Message + Clone + ThrottleTime>(&self, message: &T) -> Result<Vec<Segment>, EncodeError> {
        let throttle_ms = self.ctx.throttle_ms(self.api);
        let frame = |message: &T| frame::response(self.api, self.version, self.correlation_id, message);
        if throttle_ms == 0 {
            return frame(message);
        }
        let mut message = message.clone();
        message.set_throttle_time(throttle_ms);
        frame(&message)
    }

    /// For handlers whose answer is more than a response.
    fn reply<T>(&self, reply: Reply<T>) -> Result<Answer, Failure>
    where
        T: Message + Clone + ThrottleTime + 'static,
    {
        match reply {
            Reply::Now(message) => self.response(&message),
            Reply::Later(message) => {
                let ctx = self.ctx.clone();
                let (api, version, correlation_id) = (self.api, self.version, self.correlation_id);
                Ok(Answer::Later(Box::pin(async move {
                    let message = message.await;
                    let call = Call {
                        ctx: &ctx,
                        api,
                        version,
                        correlation_id,
                    };
                    Ok(call.frame(&message)?)
                })))
            }
            Reply::Silent => {
                self.ctx.throttle_silently();
                Ok(Answer::Silent)
            }
            Reply::Close => Err(Failure::Unacknowledged),
        }
    }
}

/// Answers a request whose header has been read.
///
/// # Errors
/// [`Failure`]: the connection has to be closed.
pub async fn answer(ctx: Context, api: ApiKey, body: Reader) -> Result<Answer, Failure> {
    let served = is_announced(api, ctx.version);
    let mut call = Call {
        ctx: &ctx,
        api,
        version: ctx.version,
        correlation_id: ctx.correlation_id,
    };
    if !served {
        ctx.broker.telemetry.metrics.request_unsupported();
        return match api {
            // KIP-511: in the form that every client can read, with the range that it can choose from.
            ApiKey::ApiVersions => {
                call.version = 0;
                call.response(&api_versions::refusal(ErrorCode::UnsupportedVersion))
            }
            _ => Err(Failure::Unsupported {
                api: api.to_string(),
                version: ctx.version,
            }),
        };
    }
    match api {
        ApiKey::Produce => call.reply(produce::handle(&ctx, call.request(body)?).await),
        ApiKey::Fetch => call.response(&fetch::handle(&ctx, call.request(body)?).await),
        ApiKey::ListOffsets => call.response(&list_offsets::handle(&ctx, call.request(body)?).await),
        ApiKey::DeleteRecords => call.response(&delete_records::handle(&ctx, call.request(body)?).await),
        ApiKey::InitProducerId => call.response(&init_producer_id::handle(&ctx, call.request(body)?).await),
        ApiKey::AddPartitionsToTxn => {
            call.response(&add_partitions_to_txn::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::AddOffsetsToTxn => {
            call.response(&add_offsets_to_txn::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::EndTxn => call.response(&end_txn::handle(&ctx, call.request(body)?).await),
        ApiKey::WriteTxnMarkers => call.response(&write_txn_markers::handle(&ctx, call.request(body)?).await),
        ApiKey::TxnOffsetCommit => call.response(&txn_offset_commit::handle(&ctx, call.request(body)?).await),
        ApiKey::DescribeProducers => {
            call.response(&describe_producers::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::DescribeTransactions => {
            call.response(&describe_transactions::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ListTransactions => {
            call.response(&list_transactions::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::OffsetForLeaderEpoch => {
            call.response(&offset_for_leader_epoch::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::DescribeLogDirs => call.response(&describe_log_dirs::handle(&ctx, call.request(body)?).await),
        ApiKey::AlterReplicaLogDirs => {
            call.response(&alter_replica_log_dirs::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ApiVersions => call.response(&api_versions::handle(&ctx, call.request(body)?).await),
        ApiKey::Metadata => call.reply(metadata::in_turn(&ctx, call.request(body)?)),
        ApiKey::SaslHandshake => call.response(&sasl_handshake::handle(&ctx, call.request(body)?).await),
        ApiKey::SaslAuthenticate => {
            call.response(&sasl_authenticate::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::OffsetCommit => call.response(&offset_commit::handle(&ctx, call.request(body)?).await),
        ApiKey::OffsetFetch => call.response(&offset_fetch::handle(&ctx, call.request(body)?).await),
        ApiKey::FindCoordinator => call.response(&find_coordinator::handle(&ctx, call.request(body)?).await),
        ApiKey::JoinGroup => call.response(&join_group::handle(&ctx, call.request(body)?).await),
        ApiKey::Heartbeat => call.response(&heartbeat::handle(&ctx, call.request(body)?).await),
        ApiKey::LeaveGroup => call.response(&leave_group::handle(&ctx, call.request(body)?).await),
        ApiKey::SyncGroup => call.response(&sync_group::handle(&ctx, call.request(body)?).await),
        ApiKey::DescribeGroups => call.response(&describe_groups::handle(&ctx, call.request(body)?).await),
        ApiKey::ListGroups => call.response(&list_groups::handle(&ctx, call.request(body)?).await),
        ApiKey::DeleteGroups => call.response(&delete_groups::handle(&ctx, call.request(body)?).await),
        ApiKey::ConsumerGroupHeartbeat => {
            call.response(&consumer_group_heartbeat::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ConsumerGroupDescribe => {
            call.response(&consumer_group_describe::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::StreamsGroupHeartbeat => {
            call.response(&streams_group_heartbeat::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::StreamsGroupDescribe => {
            call.response(&streams_group_describe::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::OffsetDelete => call.response(&offset_delete::handle(&ctx, call.request(body)?).await),
        ApiKey::CreateTopics => call.response(&create_topics::handle(&ctx, call.request(body)?).await),
        ApiKey::DeleteTopics => call.response(&delete_topics::handle(&ctx, call.request(body)?).await),
        ApiKey::CreatePartitions => {
            call.response(&create_partitions::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::DescribeConfigs => call.response(&describe_configs::handle(&ctx, call.request(body)?).await),
        ApiKey::AlterConfigs => call.response(&alter_configs::handle(&ctx, call.request(body)?).await),
        ApiKey::IncrementalAlterConfigs => {
            call.response(&alter_configs::handle_incremental(&ctx, call.request(body)?).await)
        }
        ApiKey::DescribeAcls => call.response(&describe_acls::handle(&ctx, call.request(body)?).await),
        ApiKey::CreateAcls => call.response(&create_acls::handle(&ctx, call.request(body)?).await),
        ApiKey::DeleteAcls => call.response(&delete_acls::handle(&ctx, call.request(body)?).await),
        ApiKey::DescribeUserScramCredentials => {
            call.response(&describe_user_scram_credentials::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::AlterUserScramCredentials => {
            call.response(&alter_user_scram_credentials::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::DescribeClientQuotas => {
            call.response(&describe_client_quotas::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::AlterClientQuotas => {
            call.response(&alter_client_quotas::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::AlterPartitionReassignments => {
            call.response(&alter_partition_reassignments::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ListPartitionReassignments => {
            call.response(&list_partition_reassignments::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ElectLeaders => call.response(&elect_leaders::handle(&ctx, call.request(body)?).await),
        ApiKey::DescribeQuorum => call.response(&describe_quorum::handle(&ctx, call.request(body)?).await),
        ApiKey::DescribeCluster => call.response(&describe_cluster::handle(&ctx, call.request(body)?).await),
        ApiKey::DescribeTopicPartitions => {
            call.response(&describe_topic_partitions::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::CreateDelegationToken => {
            call.response(&create_delegation_token::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::RenewDelegationToken => {
            call.response(&renew_delegation_token::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ExpireDelegationToken => {
            call.response(&expire_delegation_token::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::DescribeDelegationToken => {
            call.response(&describe_delegation_token::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::UnregisterBroker => {
            call.response(&unregister_broker::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::UpdateFeatures => call.response(&update_features::handle(&ctx, call.request(body)?).await),
        ApiKey::AddRaftVoter => call.response(&add_raft_voter::handle(&ctx, call.request(body)?).await),
        ApiKey::RemoveRaftVoter => call.response(&remove_raft_voter::handle(&ctx, call.request(body)?).await),
        ApiKey::ShareGroupHeartbeat => {
            call.response(&share_group_heartbeat::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ShareGroupDescribe => {
            call.response(&share_group_describe::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ShareFetch => call.response(&share_fetch::handle(&ctx, call.request(body)?).await),
        ApiKey::ShareAcknowledge => {
            call.response(&share_acknowledge::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::DescribeShareGroupOffsets => {
            call.response(&describe_share_group_offsets::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::AlterShareGroupOffsets => {
            call.response(&alter_share_group_offsets::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::DeleteShareGroupOffsets => {
            call.response(&delete_share_group_offsets::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::InitializeShareGroupState => {
            call.response(&initialize_share_group_state::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ReadShareGroupState => {
            call.response(&read_share_group_state::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::WriteShareGroupState => {
            call.response(&write_share_group_state::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::DeleteShareGroupState => {
            call.response(&delete_share_group_state::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ReadShareGroupStateSummary => {
            call.response(&read_share_group_state_summary::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::ListConfigResources => {
            call.response(&list_config_resources::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::GetTelemetrySubscriptions => {
            call.response(&get_telemetry_subscriptions::handle(&ctx, call.request(body)?).await)
        }
        ApiKey::PushTelemetry => call.response(&push_telemetry::handle(&ctx, call.request(body)?).await),
    }
}
