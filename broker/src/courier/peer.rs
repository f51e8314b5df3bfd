//! A connection to another broker, for exchanges with its coordinators and about transactions.

use std::collections::BTreeMap;

use flotilla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use flotilla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use flotilla_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use flotilla_protocol::{ErrorCode, Str};
use futures::future::BoxFuture;

use super::{Ending, Joining, Outcomes, Parcel, StateAnswer, StateQuestion};
use crate::group::Text;
use crate::metadata::Broker;
use crate::replica::{LinkError, TlsDial, TlsLink};
use crate::transaction::Partition;

/// The version that brokers speak to one another.
const MARKERS_VERSION: i16 = 2;
/// The version that brokers speak to one another.
const ADD_VERSION: i16 = 5;
/// An answer is about as large as its question.
const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection to another broker. One exchange at a time; after one that failed it is of no further use.
pub trait Peer: Send {
    /// Has it write markers.
    fn write_markers(
        &mut self,
        request: WriteTxnMarkersRequest,
    ) -> BoxFuture<'_, Result<WriteTxnMarkersResponse, LinkError>>;

    /// Asks its coordinators.
    fn add_partitions(
        &mut self,
        request: AddPartitionsToTxnRequest,
    ) -> BoxFuture<'_, Result<AddPartitionsToTxnResponse, LinkError>>;

    /// Asks its share coordinators.
    fn share_state(&mut self, question: StateQuestion) -> BoxFuture<'_, Result<StateAnswer, LinkError>>;
}

/// Makes such connections.
pub trait DialPeer: Send + Sync + 'static {
    /// Connects.
    fn dial_peer<'a>(&'a self, broker: &'a Broker) -> BoxFuture<'a, Result<Box<dyn Peer>, LinkError>>;
}

impl Peer for TlsLink {
    fn write_markers(
        &mut self,
        request: WriteTxnMarkersRequest,
    ) -> BoxFuture<'_, Result<WriteTxnMarkersResponse, LinkError>> {
        Box::pin(self.ask(MARKERS_VERSION, request, RESPONSE_BYTES_MAX))
    }

    fn add_partitions(
        &mut self,
        request: AddPartitionsToTxnRequest,
    ) -> BoxFuture<'_, Result<AddPartitionsToTxnResponse, LinkError>> {
        Box::pin(self.ask(ADD_VERSION, request, RESPONSE_BYTES_MAX))
    }

    fn share_state(&mut self, question: StateQuestion) -> BoxFuture<'_, Result<StateAnswer, LinkError>> {
        let max = RESPONSE_BYTES_MAX;
        Box::pin(async move {
            Ok(match question {
                StateQuestion::Initialize(it) => StateAnswer::Initialize(self.ask(0, it, max).await?),
                StateQuestion::Read(it) => StateAnswer::Read(self.ask(0, it, max).await?),
                StateQuestion::Write(it) => StateAnswer::Write(self.ask(1, it, max).await?),
                StateQuestion::Delete(it) => StateAnswer::Delete(self.ask(0, it, max).await?),
                StateQuestion::Summary(it) => StateAnswer::Summary(self.ask(1, it, max).await?),
            })
        })
    }
}

impl DialPeer for TlsDial {
    fn dial_peer<'a>(&'a self, broker: &'a Broker) -> BoxFuture<'a, Result<Box<dyn Peer>, LinkError>> {
        Box::pin(async move { Ok(Box::new(self.connect(broker).await?) as Box<dyn Peer>) })
    }
}

fn by_topic<'a>(partitions: impl IntoIterator<Item = &'a Partition>) -> BTreeMap<&'a Text, Vec<i32>> {
    let mut topics: BTreeMap<&Text, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics
}

/// What was answered for the partitions of one topic.
fn of_topic(
    topic: &Str,
    codes: impl Iterator<Item = (i32, i16)>,
) -> impl Iterator<Item = (Partition, ErrorCode)> {
    let name = Text::from(topic.as_str());
    codes.map(move |(index, code)| ((name.clone(), index), ErrorCode::from(code)))
}

impl Parcel for Ending {
    type Key = i64;
    type Answer = Outcomes;

    fn key(&self) -> i64 {
        self.producer_id.0
    }

    fn exchange<'a>(
        peer: &'a mut dyn Peer,
        parcels: &'a [Self],
    ) -> BoxFuture<'a, Result<Vec<Outcomes>, LinkError>> {
        let markers = parcels.iter().map(|ending| WritableTxnMarker {
            producer_id: ending.producer_id.0,
            producer_epoch: ending.producer_epoch.0,
            transaction_result: ending.committed,
            topics: by_topic(&ending.partitions)
                .into_iter()
                .map(|(topic, partition_indexes)| WritableTxnMarkerTopic {
                    name: Str::copy_from(topic),
                    partition_indexes,
                })
                .collect(),
            coordinator_epoch: ending.coordinator_epoch,
            transaction_version: if ending.is_bumped { 2 } else { 0 },
        });
        let request = WriteTxnMarkersRequest {
            markers: markers.collect(),
        };
        Box::pin(async move {
            let response = peer.write_markers(request).await?;
            let mut by_producer: BTreeMap<i64, Outcomes> = BTreeMap::new();
            for marker in response.markers {
                let outcomes = by_producer.entry(marker.producer_id).or_default();
                for topic in marker.topics {
                    let codes = topic.partitions.iter();
                    let codes = codes.map(|partition| (partition.partition_index, partition.error_code));
                    outcomes.extend(of_topic(&topic.name, codes));
                }
            }
            let outcomes = parcels.iter().map(|ending| by_producer.remove(&ending.key()));
            Ok(outcomes.map(Option::unwrap_or_default).collect())
        })
    }
}

impl Parcel for Joining {
    type Key = Text;
    type Answer = Outcomes;

    fn key(&self) -> Text {
        self.id.clone()
    }

    fn exchange<'a>(
        peer: &'a mut dyn Peer,
        parcels: &'a [Self],
    ) -> BoxFuture<'a, Result<Vec<Outcomes>, LinkError>> {
        let transactions = parcels.iter().map(|joining| AddPartitionsToTxnTransaction {
            transactional_id: Str::copy_from(&joining.id),
            producer_id: joining.producer_id.0,
            producer_epoch: joining.producer_epoch.0,
            verify_only: joining.verify_only,
            topics: by_topic(&joining.partitions)
                .into_iter()
                .map(|(topic, partitions)| AddPartitionsToTxnTopic {
                    name: Str::copy_from(topic),
                    partitions,
                })
                .collect(),
        });
        let request = AddPartitionsToTxnRequest {
            transactions: transactions.collect(),
            ..AddPartitionsToTxnRequest::default()
        };
        Box::pin(async move {
            let response = peer.add_partitions(request).await?;
            let refused = ErrorCode::from(response.error_code);
            if refused.is_error() {
                return Err(LinkError::Answer(refused.to_string()));
            }
            let mut by_id: BTreeMap<Text, Outcomes> = BTreeMap::new();
            for result in response.results_by_transaction {
                let outcomes = by_id.entry(result.transactional_id.as_str().into()).or_default();
                for topic in result.topic_results {
                    let codes = topic.results_by_partition.iter();
                    let codes =
                        codes.map(|partition| (partition.partition_index, partition.partition_error_code));
                    outcomes.extend(of_topic(&topic.name, codes));
                }
            }
            let outcomes = parcels.iter().map(|joining| by_id.remove(&joining.id));
            Ok(outcomes.map(Option::unwrap_or_default).collect())
        })
    }
}
