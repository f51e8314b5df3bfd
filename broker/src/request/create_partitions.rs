//! CreatePartitions: topics grow (KIP-195).

use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{CreatePartitions, GrowTopic, Replicas};
use flotilla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use flotilla_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use flotilla_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::create_topics::{named_twice, once};
use super::submit::{Outcome, submit};
use super::{Context, error};
use crate::auth::{Operation, ResourceType};
use crate::metadata::Image;

/// From here on clients know that they may be refused for their quota (KIP-599).
const STRICT_VERSION: i16 = 3;

/// Grows each topic that may be altered.
pub(super) async fn handle(ctx: &Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let image = ctx.image();
    let twice = named_twice(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut wanted: Vec<&CreatePartitionsTopic> = Vec::new();
    let mut results = Vec::new();
    for topic in once(&request.topics, |topic| topic.name.as_str()) {
        if twice.contains(topic.name.as_str()) {
            let message = format!("topic `{}` is named twice in one request", topic.name);
            results.push(result(
                &topic.name,
                Outcome::because(ErrorCode::InvalidRequest, message),
            ));
        } else if !ctx.allowed_in(&image, Operation::Alter, ResourceType::Topic, &topic.name) {
            results.push(result(
                &topic.name,
                Outcome::of(ErrorCode::TopicAuthorizationFailed),
            ));
        } else if !request.validate_only
            && !ctx.may_mutate(added(&image, topic), ctx.version >= STRICT_VERSION)
        {
            let outcome = Outcome::of(ErrorCode::ThrottlingQuotaExceeded);
            results.push(result(&topic.name, outcome));
        } else {
            wanted.push(topic);
        }
    }
    if !wanted.is_empty() {
        let asked = Asked::CreatePartitions(CreatePartitions {
            topics: wanted.iter().map(|of| grow(of)).collect(),
        });
        let outcome = submit(ctx, request.timeout_ms, request.validate_only, asked).await;
        results.extend(wanted.iter().enumerate().map(|(place, topic)| match &outcome {
            Ok(response) => {
                let item = response.items.get(place);
                let unknown = || Outcome::of(ErrorCode::UnknownServerError);
                result(
                    &topic.name,
                    item.map_or_else(unknown, |item| error::of_item(item).into()),
                )
            }
            Err(outcome) => result(&topic.name, outcome.clone()),
        }));
    }
    CreatePartitionsResponse {
        results,
        ..CreatePartitionsResponse::default()
    }
}

/// How many partitions are to come.
fn added(image: &Image, topic: &CreatePartitionsTopic) -> usize {
    let there = image
        .topic(&topic.name)
        .map_or(0, |topic| topic.partition_count());
    usize::try_from(topic.count).unwrap_or(0).saturating_sub(there)
}

fn grow(topic: &CreatePartitionsTopic) -> GrowTopic {
    let assigned = topic.assignments.iter().flatten();
    GrowTopic {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: assigned
            .map(|of| Replicas {
                broker_ids: of.broker_ids.clone(),
            })
            .collect(),
    }
}

fn result(name: &Str, outcome: Outcome) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name: name.clone(),
        error_code: outcome.code(),
        error_message: outcome.message,
    }
}
