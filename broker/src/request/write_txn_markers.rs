//! WriteTxnMarkers: coordinators, and administrators, end transactions in the partitions that this broker leads.

use std::collections::BTreeMap;
use std::time::Duration;

use flotilla_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use flotilla_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use flotilla_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId};
use futures::future::join_all;

use super::coordinator::code;
use super::{CLUSTER, Context, error};
use crate::auth::{Operation, ResourceType};
use crate::broker::Broker;
use crate::courier::{Ending, Outcomes};
use crate::group::{self, EndTransaction, Reply, Request, Text};
use crate::replica::{Marker, PartitionKey};
use crate::transaction::Partition;

/// How long a marker waits to be committed. Its coordinator sends it again, which is harmless; meanwhile it must not hold back
/// those that came with it.
const COMMIT_LIMIT: Duration = Duration::from_secs(5);

/// Writes each marker to each partition, side by side.
pub(super) async fn handle(ctx: &Context, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let allowed = [Operation::ClusterAction, Operation::Alter]
        .into_iter()
        .any(|operation| ctx.allowed(operation, ResourceType::Cluster, CLUSTER));
    let results = request.markers.iter().map(|marker| async move {
        let ending = ending(marker);
        let outcomes = if allowed {
            end_transactions(&ctx.broker, ending).await
        } else {
            super::transaction::all(&ending.partitions, ErrorCode::ClusterAuthorizationFailed)
        };
        respond(marker, &outcomes)
    });
    WriteTxnMarkersResponse {
        markers: join_all(results).await,
    }
}

fn ending(marker: &WritableTxnMarker) -> Ending {
    let partitions = marker.topics.iter().flat_map(|topic| {
        let name = Text::from(topic.name.as_str());
        let indexes = topic.partition_indexes.iter();
        indexes
            .map(|partition| (name.clone(), *partition))
            .collect::<Vec<_>>()
    });
    Ending {
        producer_id: ProducerId(marker.producer_id),
        producer_epoch: ProducerEpoch(marker.producer_epoch),
        committed: marker.transaction_result,
        coordinator_epoch: marker.coordinator_epoch,
        is_bumped: marker.transaction_version >= 2,
        partitions: partitions.collect(),
    }
}

fn respond(marker: &WritableTxnMarker, outcomes: &Outcomes) -> WritableTxnMarkerResult {
    let codes: BTreeMap<(&str, i32), ErrorCode> = outcomes
        .iter()
        .map(|((topic, partition), code)| ((&**topic, *partition), *code))
        .collect();
    let topics = marker.topics.iter().map(|topic| WritableTxnMarkerTopicResult {
        name: topic.name.clone(),
        partitions: topic
            .partition_indexes
            .iter()
            .map(|partition| WritableTxnMarkerPartitionResult {
                partition_index: *partition,
                error_code: codes
                    .get(&(topic.name.as_str(), *partition))
                    .copied()
                    .unwrap_or(ErrorCode::UnknownServerError)
                    .into(),
            })
            .collect(),
    });
    WritableTxnMarkerResult {
        producer_id: marker.producer_id,
        topics: topics.collect(),
    }
}

/// Ends a transaction in partitions that this broker leads, and waits until that is committed.
pub(crate) async fn end_transactions(broker: &Broker, ending: Ending) -> Outcomes {
    let ended = ending.partitions.iter().map(|partition| async {
        let code = end(broker, &ending, partition).await;
        (partition.clone(), code)
    });
    join_all(ended).await
}

async fn end(broker: &Broker, ending: &Ending, (topic, partition): &Partition) -> ErrorCode {
    let index = PartitionIndex(*partition);
    let image = broker.metadata.image();
    let Some(known) = image
        .topic(topic)
        .filter(|known| known.partition(index).is_some())
    else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    if &**topic == group::TOPIC {
        return end_offsets(broker, ending, index).await;
    }
    let key = PartitionKey {
        topic_id: known.id,
        partition: index,
    };
    let marker = Marker {
        producer_id: ending.producer_id,
        producer_epoch: ending.producer_epoch,
        committed: ending.committed,
        coordinator_epoch: ending.coordinator_epoch,
        is_bumped: ending.is_bumped,
    };
    let marked = match broker.replicas.end_transaction(key, &marker, None) {
        Ok(marked) => marked,
        Err(refused) => return error::of_append(&refused),
    };
    match marked.commit {
        Some(commit) => match commit.wait(COMMIT_LIMIT).await {
            Ok(()) => ErrorCode::None,
            Err(refused) => error::of_append(&refused),
        },
        None => ErrorCode::NotLeaderOrFollower,
    }
}

/// The coordinator of the groups writes the marker itself, so that offsets count from then on.
async fn end_offsets(broker: &Broker, ending: &Ending, partition: PartitionIndex) -> ErrorCode {
    let request = Request::EndTransaction(EndTransaction {
        producer_id: ending.producer_id,
        epoch: ending.producer_epoch,
        committed: ending.committed,
        coordinator_epoch: ending.coordinator_epoch,
        is_bumped: ending.is_bumped,
    });
    match broker.groups.ask_shard(partition, request).await {
        Reply::EndTransaction(Ok(())) => ErrorCode::None,
        Reply::EndTransaction(Err(group::Error::NotCoordinator)) => ErrorCode::NotLeaderOrFollower,
        Reply::EndTransaction(Err(refused)) => code(refused),
        _ => ErrorCode::UnknownServerError,
    }
}
