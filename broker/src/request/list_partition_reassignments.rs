//! ListPartitionReassignments: replicas that are moving (KIP-455).

use flotilla_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use flotilla_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use flotilla_protocol::{BrokerId, ErrorCode, PartitionIndex, Str};

use super::Context;
use super::submit::Outcome;
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::metadata::{Partition, Topic};

/// Lists, of the partitions that are named or of all, those that are being reassigned.
pub(super) async fn handle(
    ctx: &Context,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    if !ctx.allowed(Operation::Describe, ResourceType::Cluster, CLUSTER_RESOURCE) {
        let outcome = Outcome::of(ErrorCode::ClusterAuthorizationFailed);
        // What was asked for is named, with nothing told of it.
        let named = request
            .topics
            .iter()
            .flatten()
            .map(|wanted| OngoingTopicReassignment {
                name: wanted.name.clone(),
                partitions: wanted
                    .partition_indexes
                    .iter()
                    .map(|index| OngoingPartitionReassignment {
                        partition_index: *index,
                        ..OngoingPartitionReassignment::default()
                    })
                    .collect(),
            });
        return ListPartitionReassignmentsResponse {
            error_code: outcome.code(),
            error_message: outcome.message,
            topics: named.collect(),
            ..ListPartitionReassignmentsResponse::default()
        };
    }
    let image = ctx.image();
    let topics: Vec<OngoingTopicReassignment> = match &request.topics {
        None => image.topics().map(|topic| ongoing(topic, &|_| true)).collect(),
        Some(named) => named
            .iter()
            .filter_map(|wanted| {
                let topic = image.topic(&wanted.name)?;
                Some(ongoing(topic, &|index| {
                    wanted.partition_indexes.contains(&index.0)
                }))
            })
            .collect(),
    };
    ListPartitionReassignmentsResponse {
        topics: topics
            .into_iter()
            .filter(|topic| !topic.partitions.is_empty())
            .collect(),
        error_message: None,
        ..ListPartitionReassignmentsResponse::default()
    }
}

fn ongoing(topic: &Topic, wanted: &dyn Fn(PartitionIndex) -> bool) -> OngoingTopicReassignment {
    let moving = topic
        .partitions()
        .filter(|(index, partition)| partition.is_reassigning() && wanted(*index));
    OngoingTopicReassignment {
        name: Str::from(&topic.name),
        partitions: moving
            .map(|(index, partition)| describe(index, partition))
            .collect(),
    }
}

fn describe(index: PartitionIndex, partition: &Partition) -> OngoingPartitionReassignment {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.0).collect();
    OngoingPartitionReassignment {
        partition_index: index.0,
        replicas: ids(&partition.replicas),
        adding_replicas: ids(&partition.adding),
        removing_replicas: ids(&partition.removing),
    }
}
