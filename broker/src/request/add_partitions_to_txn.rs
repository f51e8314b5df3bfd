//! AddPartitionsToTxn: what belongs to a transaction, from clients (up to version 3), and from brokers that ask for their
//! clients (since version 4, KIP-890).

use flotilla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use flotilla_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use flotilla_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, Str};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};

use super::transaction::{join_here, may_write};
use super::{CLUSTER, Context};
use crate::auth::{Operation, ResourceType};
use crate::courier::{Joining, Outcomes};
use crate::metadata::Image;
use crate::transaction::{Partition, Version};

/// Adds, or only looks up.
pub(super) async fn handle(ctx: &Context, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    if ctx.version < 4 {
        return handle_client(ctx, request).await;
    }
    if !ctx.allowed(Operation::ClusterAction, ResourceType::Cluster, CLUSTER) {
        return AddPartitionsToTxnResponse {
            error_code: ErrorCode::ClusterAuthorizationFailed.into(),
            ..AddPartitionsToTxnResponse::default()
        };
    }
    let results = request.transactions.iter().map(|transaction| async {
        let outcomes = join_here(&ctx.broker, &joining(transaction), Version::V2).await;
        AddPartitionsToTxnResult {
            transactional_id: transaction.transactional_id.clone(),
            topic_results: by_topic(&transaction.topics, &outcomes),
        }
    });
    AddPartitionsToTxnResponse {
        results_by_transaction: join_all(results).await,
        ..AddPartitionsToTxnResponse::default()
    }
}

fn joining(transaction: &AddPartitionsToTxnTransaction) -> Joining {
    Joining {
        id: transaction.transactional_id.as_str().into(),
        producer_id: ProducerId(transaction.producer_id),
        producer_epoch: ProducerEpoch(transaction.producer_epoch),
        verify_only: transaction.verify_only,
        partitions: partitions(&transaction.topics),
    }
}

fn partitions(topics: &[AddPartitionsToTxnTopic]) -> BTreeSet<Partition> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let name = crate::group::Text::from(topic.name.as_str());
        topic
            .partitions
            .iter()
            .map(move |partition| (name.clone(), *partition))
            .collect::<Vec<_>>()
    };
    topics.iter().flat_map(of_topic).collect()
}

async fn handle_client(ctx: &Context, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics;
    let id: Str = request.v3_and_below_transactional_id;
    let respond = |outcomes: &Outcomes| AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: by_topic(&topics, outcomes),
        ..AddPartitionsToTxnResponse::default()
    };
    let asked = partitions(&topics);
    if !may_write(ctx, &id) {
        let code = ErrorCode::TransactionalIdAuthorizationFailed;
        return respond(&super::transaction::all(&asked, code));
    }
    // All or nothing: with one that cannot be added, the others are not attempted.
    let image = ctx.image();
    let refused: BTreeMap<&Partition, ErrorCode> = asked
        .iter()
        .filter_map(|partition| Some((partition, refusal(ctx, &image, partition)?)))
        .collect();
    if !refused.is_empty() {
        let code = |partition| refused.get(partition).copied();
        let outcomes = asked
            .iter()
            .map(|partition| {
                let code = code(partition).unwrap_or(ErrorCode::OperationNotAttempted);
                (partition.clone(), code)
            })
            .collect();
        return respond(&outcomes);
    }
    let joining = Joining {
        id: id.as_str().into(),
        producer_id: ProducerId(request.v3_and_below_producer_id),
        producer_epoch: ProducerEpoch(request.v3_and_below_producer_epoch),
        verify_only: false,
        partitions: asked.clone(),
    };
    let mut outcomes = join_here(&ctx.broker, &joining, Version::V0).await;
    for (_, code) in &mut outcomes {
        if *code == ErrorCode::ProducerFenced && ctx.version < 2 {
            *code = ErrorCode::InvalidProducerEpoch;
        }
    }
    respond(&outcomes)
}

fn refusal(ctx: &Context, image: &Image, (topic, partition): &Partition) -> Option<ErrorCode> {
    if !ctx.allowed_in(image, Operation::Write, ResourceType::Topic, topic) {
        return Some(ErrorCode::TopicAuthorizationFailed);
    }
    let known = image.partition(topic, PartitionIndex(*partition));
    known.is_none().then_some(ErrorCode::UnknownTopicOrPartition)
}

/// In the order that was asked in.
fn by_topic(topics: &[AddPartitionsToTxnTopic], outcomes: &Outcomes) -> Vec<AddPartitionsToTxnTopicResult> {
    let codes: BTreeMap<(&str, i32), ErrorCode> = outcomes
        .iter()
        .map(|((topic, partition), code)| ((&**topic, *partition), *code))
        .collect();
    let topics = topics.iter().map(|topic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|partition| AddPartitionsToTxnPartitionResult {
                partition_index: *partition,
                partition_error_code: codes
                    .get(&(topic.name.as_str(), *partition))
                    .copied()
                    .unwrap_or(ErrorCode::UnknownServerError)
                    .into(),
            })
            .collect(),
    });
    topics.collect()
}
