//! DescribeQuorum: who decides about the metadata (KIP-595). The quorum's log answers to the name that Kafka's has.

use flotilla_control::proto::coordination as proto;
use flotilla_protocol::messages::describe_quorum_request;
use flotilla_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use flotilla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use super::submit::Outcome;
use super::{Context, error};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};

const TOPIC: &str = "__cluster_metadata";
/// What the listener of the quorum's voters is called.
pub(super) const LISTENER: Str = Str::from_static("CONTROL");

/// Describes the quorum as its leader sees it.
pub(super) async fn handle(ctx: &Context, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    if !ctx.allowed(Operation::Describe, ResourceType::Cluster, CLUSTER_RESOURCE) {
        return refuse(Outcome::of(ErrorCode::ClusterAuthorizationFailed));
    }
    let quorum = match ctx.broker.controller.quorum().await {
        Ok(quorum) => quorum,
        Err(failure) => {
            return refuse(Outcome::because(error::of_submit(&failure), failure.to_string()));
        }
    };
    let topics = request.topics.into_iter().map(|topic| TopicData {
        partitions: topic
            .partitions
            .iter()
            .map(|wanted| partition(ctx.version, &quorum, &topic, wanted.partition_index))
            .collect(),
        topic_name: topic.topic_name,
    });
    DescribeQuorumResponse {
        topics: topics.collect(),
        nodes: if ctx.version >= 2 {
            quorum.voters.iter().filter_map(node).collect()
        } else {
            Vec::new()
        },
        ..DescribeQuorumResponse::default()
    }
}

fn refuse(outcome: Outcome) -> DescribeQuorumResponse {
    DescribeQuorumResponse {
        error_code: outcome.code(),
        error_message: outcome.message,
        ..DescribeQuorumResponse::default()
    }
}

fn partition(
    version: i16,
    quorum: &proto::DescribeQuorumResponse,
    topic: &describe_quorum_request::TopicData,
    index: i32,
) -> PartitionData {
    if topic.topic_name != TOPIC || index != 0 {
        let outcome = Outcome::of(ErrorCode::UnknownTopicOrPartition);
        return PartitionData {
            partition_index: index,
            error_code: outcome.code(),
            error_message: outcome.message,
            leader_id: -1,
            ..PartitionData::default()
        };
    }
    let (leader_id, term) = quorum
        .leader
        .as_ref()
        .map_or((-1, 0), |leader| (leader.broker_id, leader.term));
    PartitionData {
        partition_index: index,
        leader_id,
        leader_epoch: i32::try_from(term).unwrap_or(i32::MAX),
        high_watermark: number(quorum.committed_index),
        current_voters: quorum
            .voters
            .iter()
            .map(|voter| replica(version, voter))
            .collect(),
        observers: quorum
            .observers
            .iter()
            .map(|voter| replica(version, voter))
            .collect(),
        ..PartitionData::default()
    }
}

fn replica(version: i16, voter: &proto::Voter) -> ReplicaState {
    let directory_id = Uuid::from_slice(&voter.directory_id).filter(|_| version >= 2);
    ReplicaState {
        replica_id: voter.broker_id,
        replica_directory_id: directory_id.unwrap_or_default(),
        log_end_offset: number(voter.log_end_index),
        last_fetch_timestamp: voter.last_fetch_ms,
        last_caught_up_timestamp: voter.last_caught_up_ms,
    }
}

fn number(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn node(voter: &proto::Voter) -> Option<Node> {
    let (host, port) = voter.address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let listener = Listener {
        name: LISTENER,
        host: Str::copy_from(host),
        port: port.parse().ok()?,
    };
    Some(Node {
        node_id: voter.broker_id,
        listeners: vec![listener],
    })
}
