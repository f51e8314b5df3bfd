//! DescribeTopicPartitions: topics in pages, with their eligible leaders (KIP-966).

use super::Context;
use super::partition_view::{Form, PartitionView, missing};
use crate::auth::{Operation, ResourceType};
use crate::metadata::{Image, Partition, Topic, is_internal};
use flotilla_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use flotilla_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use flotilla_protocol::{BrokerId, ErrorCode, PartitionIndex, Str, Uuid};
use std::collections::BTreeSet;

/// Answers it.
pub(super) async fn handle(
    ctx: &Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = ctx.image();
    let limit = ctx
        .broker
        .settings()
        .max_request_partition_size_limit
        .min(request.response_partition_limit)
        .max(1);
    let mut room = usize::try_from(limit).unwrap_or(1);
    let (first, mut index) = match &request.cursor {
        Some(cursor) if cursor.partition_index < 0 => return refused(&request),
        Some(cursor) => (cursor.topic_name.to_string(), cursor.partition_index),
        None => (String::new(), 0),
    };
    let all = request.topics.is_empty();
    let names: BTreeSet<String> = if all {
        image.topics().map(|topic| topic.name.clone()).collect()
    } else {
        request
            .topics
            .iter()
            .map(|topic| topic.name.to_string())
            .collect()
    };
    let may_describe = |name: &str| ctx.allowed_in(&image, Operation::Describe, ResourceType::Topic, name);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.range(first.clone()..) {
        if !may_describe(name) {
            if !all {
                response
                    .topics
                    .push(failed(ErrorCode::TopicAuthorizationFailed, name));
            }
            continue;
        }
        let Some(topic) = image.topic(name) else {
            response.topics.push(failed(missing(name), name));
            continue;
        };
        let from = if *name == first {
            std::mem::take(&mut index)
        } else {
            0
        };
        if room == 0 {
            response.next_cursor = Some(Cursor {
                topic_name: Str::copy_from(name),
                partition_index: 0,
            });
            break;
        }
        let partitions: Vec<_> = topic
            .partitions()
            .filter(|(index, _)| index.0 >= from)
            .take(room)
            .collect();
        room -= partitions.len();
        let next = partitions.last().map_or(from, |(last, _)| last.0 + 1);
        response.topics.push(describe(ctx, &image, topic, partitions));
        if usize::try_from(next).unwrap_or(0) < topic.partition_count() {
            response.next_cursor = Some(Cursor {
                topic_name: Str::copy_from(name),
                partition_index: next,
            });
            break;
        }
    }
    response
}

fn describe(
    ctx: &Context,
    image: &Image,
    topic: &Topic,
    partitions: Vec<(PartitionIndex, &std::sync::Arc<Partition>)>,
) -> DescribeTopicPartitionsResponseTopic {
    let numbers = |ids: &[BrokerId]| Some(ids.iter().map(|id| id.0).collect());
    let partitions = partitions.into_iter().map(|(index, partition)| {
        let view = PartitionView::of(ctx, image, partition, Form::Current);
        DescribeTopicPartitionsResponsePartition {
            error_code: view.error.into(),
            partition_index: index.0,
            leader_id: view.leader,
            leader_epoch: view.leader_epoch,
            replica_nodes: view.replicas,
            isr_nodes: view.isr,
            eligible_leader_replicas: numbers(&partition.elr),
            last_known_elr: numbers(&partition.last_known_elr),
            offline_replicas: view.offline,
        }
    });
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::None.into(),
        name: Some(Str::copy_from(&topic.name)),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: ctx.authorized_operations(image, ResourceType::Topic, &topic.name),
    }
}

fn failed(error: ErrorCode, name: &str) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.into(),
        name: Some(Str::copy_from(name)),
        topic_id: Uuid::ZERO,
        is_internal: is_internal(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

/// A cursor before the first partition is none that we gave.
fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| failed(ErrorCode::InvalidRequest, &topic.name));
    DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..DescribeTopicPartitionsResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Principal;
    use crate::broker::Broker;
    use crate::metadata::Fact;
    use crate::request::testing::{self, context_of};
    use flotilla_control::proto::metadata as proto;
    use flotilla_protocol::messages::describe_topic_partitions_request::{self as asked, TopicRequest};

    fn context() -> Context {
        let mut facts = vec![Fact::Broker(testing::broker_record(0, false))];
        for (byte, name, count) in [(1, "a", 3), (2, "b", 2), (3, "c", 1)] {
            let topic_id: Vec<u8> = vec![byte; 16];
            facts.push(Fact::Topic(proto::Topic {
                name: name.into(),
                topic_id: topic_id.clone(),
                owner: None,
            }));
            facts.extend((0..count).map(|partition| {
                Fact::Partition(proto::Partition {
                    topic_id: topic_id.clone(),
                    partition,
                    replicas: vec![0],
                    isr: vec![0],
                    eligible_leader_replicas: vec![5],
                    ..proto::Partition::default()
                })
            }));
        }
        context_of(
            Broker::in_memory(testing::image(facts)),
            Principal::anonymous(),
            0,
        )
    }

    type Page = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

    async fn page(names: &[&'static str], limit: i32, cursor: Option<(&'static str, i32)>) -> Page {
        let request = DescribeTopicPartitionsRequest {
            topics: names
                .iter()
                .map(|name| TopicRequest { name: (*name).into() })
                .collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, partition_index)| asked::Cursor {
                topic_name: name.into(),
                partition_index,
            }),
        };
        let response = handle(&context(), request).await;
        let topics = response.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
            (
                topic.name.expect("always told").to_string(),
                topic.error_code,
                partitions.collect(),
            )
        });
        let next = response
            .next_cursor
            .map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
        (topics.collect(), next)
    }

    #[tokio::test]
    async fn pages_follow_the_cursor_to_the_end() {
        let topic = |name: &str, partitions: &[i32]| (name.to_owned(), 0, partitions.to_vec());
        let cursor = |name: &str, index| Some((name.to_owned(), index));
        assert_eq!(
            page(&[], 2, None).await,
            (vec![topic("a", &[0, 1])], cursor("a", 2))
        );
        assert_eq!(
            page(&[], 3, Some(("a", 2))).await,
            (vec![topic("a", &[2]), topic("b", &[0, 1])], cursor("c", 0))
        );
        assert_eq!(page(&[], 9, Some(("c", 0))).await, (vec![topic("c", &[0])], None));
        assert_eq!(
            page(&["c", "b"], 9, None).await,
            (vec![topic("b", &[0, 1]), topic("c", &[0])], None)
        );
    }

    #[tokio::test]
    async fn what_is_missing_or_wrong_is_said() {
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(page(&["x"], 9, None).await.0, [("x".to_owned(), unknown, vec![])]);
        let invalid = ErrorCode::InvalidRequest.code();
        assert_eq!(
            page(&["a"], 9, Some(("a", -1))).await.0,
            [("a".to_owned(), invalid, vec![])]
        );
    }

    #[tokio::test]
    async fn eligible_leaders_are_told() {
        let request = DescribeTopicPartitionsRequest {
            topics: vec![TopicRequest { name: "c".into() }],
            response_partition_limit: 1,
            cursor: None,
        };
        let response = handle(&context(), request).await;
        assert_eq!(
            response.topics[0].partitions[0].eligible_leader_replicas,
            Some(vec![5])
        );
    }
}
