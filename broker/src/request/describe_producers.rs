//! DescribeProducers: who writes to a partition, and who has a transaction open in it (KIP-664).

use flotilla_protocol::messages::describe_producers_request::TopicRequest;
use flotilla_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use flotilla_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex, Str};

use super::partition_view::missing;
use super::{Context, error};
use crate::auth::{Operation, ResourceType};
use crate::metadata::Image;
use crate::replica::{ActiveProducer, PartitionKey};

/// Describes the producers of partitions that this broker leads.
pub(super) async fn handle(ctx: &Context, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let image = ctx.image();
    DescribeProducersResponse {
        topics: request
            .topics
            .iter()
            .map(|topic| of_topic(ctx, &image, topic))
            .collect(),
        ..DescribeProducersResponse::default()
    }
}

fn of_topic(ctx: &Context, image: &Image, topic: &TopicRequest) -> TopicResponse {
    let allowed = ctx.allowed_in(image, Operation::Read, ResourceType::Topic, &topic.name);
    let known = image.topic(&topic.name);
    let partitions = topic.partition_indexes.iter().map(|index| {
        let partition = PartitionIndex(*index);
        let producers = match known.filter(|known| known.partition(partition).is_some()) {
            _ if !allowed => Err(ErrorCode::TopicAuthorizationFailed),
            None if known.is_none() => Err(missing(&topic.name)),
            None => Err(ErrorCode::UnknownTopicOrPartition),
            Some(known) => {
                let topic_id = known.id;
                let key = PartitionKey { topic_id, partition };
                let producers = ctx.broker.replicas.active_producers(key);
                producers.map_err(|refused| error::of_unavailable(&refused))
            }
        };
        match producers {
            Ok(producers) => PartitionResponse {
                partition_index: *index,
                active_producers: producers.iter().map(producer).collect(),
                ..PartitionResponse::default()
            },
            Err(code) => PartitionResponse {
                partition_index: *index,
                error_code: code.into(),
                error_message: Some(Str::from_static(code.message())),
                ..PartitionResponse::default()
            },
        }
    });
    TopicResponse {
        name: topic.name.clone(),
        partitions: partitions.collect(),
    }
}

fn producer(producer: &ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id.0,
        producer_epoch: producer.producer_epoch.0.into(),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp_ms,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.transaction_start.map_or(-1, |start| start.0),
    }
}
