//! ElectLeaders: preferred leaders, or any at all (KIP-183, KIP-460).

use std::collections::BTreeMap;

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{ItemResult, TopicPartition};
use flotilla_protocol::messages::elect_leaders_request::TopicPartitions;
use flotilla_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use flotilla_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::submit::{Outcome, submit};
use super::{Context, error};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// Elects for the partitions that are named, or for all; then only those are answered for that needed an election.
pub(super) async fn handle(ctx: &Context, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let named = request.topic_partitions.as_deref();
    let decided = if !ctx.allowed(Operation::Alter, ResourceType::Cluster, CLUSTER_RESOURCE) {
        Err(Outcome::of(ErrorCode::ClusterAuthorizationFailed))
    } else if !matches!(request.election_type, PREFERRED | UNCLEAN) {
        let message = format!("{} is not a type of election", request.election_type);
        Err(Outcome::because(ErrorCode::InvalidRequest, message))
    } else {
        let asked = Asked::ElectLeaders(proto::ElectLeaders {
            unclean: request.election_type == UNCLEAN,
            partitions: named.unwrap_or_default().iter().flat_map(flat).collect(),
            all_partitions: named.is_none(),
        });
        submit(ctx, request.timeout_ms, false, asked).await
    };
    match decided {
        Ok(response) => {
            let results = response
                .items
                .iter()
                .map(|item| (item, error::of_item(item).into()));
            answer(
                ErrorCode::None,
                results.map(|(item, outcome)| (item.clone(), outcome)),
            )
        }
        Err(outcome) => {
            let items = named
                .unwrap_or_default()
                .iter()
                .flat_map(flat)
                .map(|of| ItemResult {
                    name: of.topic,
                    partition: of.partition,
                    ..ItemResult::default()
                });
            // Version 0 has no place for an error of the whole request: each partition says it.
            let whole = if ctx.version < 1 {
                ErrorCode::None
            } else {
                outcome.error
            };
            answer(whole, items.map(|item| (item, outcome.clone())))
        }
    }
}

fn flat(topic: &TopicPartitions) -> impl Iterator<Item = TopicPartition> + '_ {
    topic.partitions.iter().map(|partition| TopicPartition {
        topic: topic.topic.to_string(),
        partition: *partition,
    })
}

fn answer(
    error: ErrorCode,
    results: impl IntoIterator<Item = (ItemResult, Outcome)>,
) -> ElectLeadersResponse {
    let mut by_topic: BTreeMap<String, Vec<PartitionResult>> = BTreeMap::new();
    for (item, outcome) in results {
        by_topic.entry(item.name).or_default().push(PartitionResult {
            partition_id: item.partition,
            error_code: outcome.code(),
            error_message: outcome.message,
        });
    }
    let topics = by_topic
        .into_iter()
        .map(|(topic, partition_result)| ReplicaElectionResult {
            topic: Str::from(topic),
            partition_result,
        });
    ElectLeadersResponse {
        error_code: error.code(),
        replica_election_results: topics.collect(),
        ..ElectLeadersResponse::default()
    }
}
