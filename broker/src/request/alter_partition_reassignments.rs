//! AlterPartitionReassignments: replicas move (KIP-455, KIP-860).

use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{AlterReassignments, Reassignment, Replicas};
use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use flotilla_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::submit::{Outcome, submit};
use super::{Context, error};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};

/// Begins, changes or cancels the reassignment of each partition that is named.
pub(super) async fn handle(
    ctx: &Context,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    // Before version 1 a client could not say that the number of replicas must stay.
    let may_resize = ctx.version < 1 || request.allow_replication_factor_change;
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| Reassignment {
            topic: topic.name.to_string(),
            partition: partition.partition_index,
            target: partition.replicas.as_ref().map(|ids| Replicas {
                broker_ids: ids.clone(),
            }),
        })
    });
    let asked = Asked::AlterReassignments(AlterReassignments {
        partitions: partitions.collect(),
        allow_replication_factor_change: may_resize,
    });
    let decided = if ctx.allowed(Operation::Alter, ResourceType::Cluster, CLUSTER_RESOURCE) {
        submit(ctx, request.timeout_ms, false, asked).await
    } else {
        Err(Outcome::of(ErrorCode::ClusterAuthorizationFailed))
    };
    let (items, refused) = match decided {
        Ok(response) => (response.items, None),
        // Each partition says it, too.
        Err(outcome) => (Vec::new(), Some(outcome)),
    };
    let mut items = items.into_iter();
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let unknown = || {
                refused
                    .clone()
                    .unwrap_or(Outcome::of(ErrorCode::UnknownServerError))
            };
            let outcome = items
                .next()
                .map_or_else(unknown, |item| error::of_item(&item).into());
            ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                error_code: outcome.code(),
                error_message: outcome.message,
            }
        });
        ReassignableTopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
        }
    });
    let responses = responses.collect();
    let whole = refused.unwrap_or(Outcome::DONE);
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_resize,
        responses,
        error_code: whole.code(),
        error_message: whole.message,
        ..AlterPartitionReassignmentsResponse::default()
    }
}
