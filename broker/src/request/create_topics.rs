//! CreateTopics.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{CreateTopic, CreateTopics, ItemResult, KeyValue, Replicas};
use flotilla_protocol::messages::create_topics_request::CreatableTopic;
use flotilla_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use flotilla_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use super::submit::{Outcome, submit};
use super::{Context, config_entries, error};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::metadata::Image;

/// From here on clients know that they may be refused for their quota (KIP-599).
const STRICT_VERSION: i16 = 6;

/// Creates each topic that may be created. From version 5 on the answer tells what it looks like, and its settings to who
/// may see them (KIP-525).
pub(super) async fn handle(ctx: &Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let image = ctx.image();
    let mut outcomes: Vec<Result<CreatableTopicResult, Outcome>> = Vec::new();
    let mut asked = Vec::new();
    let twice = named_twice(request.topics.iter().map(|topic| topic.name.as_str()));
    let topics = once(&request.topics, |topic| topic.name.as_str());
    for topic in &topics {
        let checked = check(ctx, &image, topic, &twice).and_then(|topic| {
            let is_charged = !request.validate_only;
            if is_charged && !ctx.may_mutate(partition_count(ctx, &topic), ctx.version >= STRICT_VERSION) {
                return Err(Outcome::of(ErrorCode::ThrottlingQuotaExceeded));
            }
            Ok(topic)
        });
        outcomes.push(checked.map(|topic| {
            asked.push(topic);
            CreatableTopicResult::default()
        }));
    }
    let response = if asked.is_empty() {
        Ok(Vec::new())
    } else {
        let asked = Asked::CreateTopics(CreateTopics {
            topics: asked.clone(),
        });
        submit(ctx, request.timeout_ms, request.validate_only, asked)
            .await
            .map(|response| response.items)
    };
    let mut decided = asked.iter().enumerate().map(|(place, topic)| match &response {
        Ok(items) => match items.get(place) {
            Some(item) => created(ctx, topic, item),
            None => Err(Outcome::of(ErrorCode::UnknownServerError)),
        },
        Err(outcome) => Err(outcome.clone()),
    });
    let topics = topics
        .into_iter()
        .zip(outcomes)
        .map(|(topic, outcome)| {
            let outcome = outcome.and_then(|_| decided.next().unwrap_or_else(|| Err(Outcome::DONE)));
            let result = outcome.unwrap_or_else(|outcome| CreatableTopicResult {
                error_code: outcome.code(),
                error_message: outcome.message,
                num_partitions: -1,
                replication_factor: -1,
                configs: Some(Vec::new()),
                ..CreatableTopicResult::default()
            });
            CreatableTopicResult {
                name: topic.name.clone(),
                ..result
            }
        })
        .collect();
    CreateTopicsResponse {
        topics,
        ..CreateTopicsResponse::default()
    }
}

/// How many partitions it is going to have.
fn partition_count(ctx: &Context, topic: &CreateTopic) -> usize {
    let asked = match topic.partitions {
        -1 => ctx.broker.settings().num_partitions,
        partitions => partitions,
    };
    topic.assignments.len().max(usize::try_from(asked).unwrap_or(0))
}

/// The names that occur more than once.
pub(super) fn named_twice<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

/// Each name once: what is named twice is answered once, as Kafka does.
pub(super) fn once<'a, T>(named: &'a [T], name: impl Fn(&'a T) -> &'a str) -> Vec<&'a T> {
    let mut seen = BTreeSet::new();
    named.iter().filter(|one| seen.insert(name(one))).collect()
}

fn check(
    ctx: &Context,
    image: &Image,
    topic: &CreatableTopic,
    twice: &BTreeSet<&str>,
) -> Result<CreateTopic, Outcome> {
    let name = topic.name.as_str();
    if twice.contains(name) {
        let message = format!("topic `{name}` is named twice in one request");
        return Err(Outcome::because(ErrorCode::InvalidRequest, message));
    }
    let allowed = ctx.allowed_in(image, Operation::Create, ResourceType::Cluster, CLUSTER_RESOURCE)
        || ctx.allowed_in(image, Operation::Create, ResourceType::Topic, name);
    if !allowed {
        return Err(Outcome::of(ErrorCode::TopicAuthorizationFailed));
    }
    if name == "__cluster_metadata" {
        let message = "the topic __cluster_metadata stands for the quorum's log and cannot be created";
        return Err(Outcome::because(ErrorCode::InvalidRequest, message));
    }
    Ok(CreateTopic {
        name: name.to_owned(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor.into(),
        assignments: assignments(topic)?,
        configs: topic
            .configs
            .iter()
            .map(|config| KeyValue {
                key: config.name.to_string(),
                value: config.value.as_ref().map(Str::to_string),
            })
            .collect(),
    })
}

/// The replicas by partition: the partitions must be numbered from 0 without gaps.
fn assignments(topic: &CreatableTopic) -> Result<Vec<Replicas>, Outcome> {
    if topic.assignments.is_empty() {
        return Ok(Vec::new());
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let message =
            "with replicas assigned by hand, the numbers of partitions and replicas must both be -1";
        return Err(Outcome::because(ErrorCode::InvalidRequest, message));
    }
    let by_index: BTreeMap<i32, &Vec<i32>> = topic
        .assignments
        .iter()
        .map(|of| (of.partition_index, &of.broker_ids))
        .collect();
    let dense = by_index.keys().copied().eq((0..).take(topic.assignments.len()));
    if !dense {
        let message = "the partitions that are assigned must be numbered from 0 without gaps, each once";
        return Err(Outcome::because(ErrorCode::InvalidReplicaAssignment, message));
    }
    Ok(by_index
        .into_values()
        .map(|ids| Replicas {
            broker_ids: ids.clone(),
        })
        .collect())
}

fn created(ctx: &Context, topic: &CreateTopic, item: &ItemResult) -> Result<CreatableTopicResult, Outcome> {
    let outcome = Outcome::from(error::of_item(item));
    if outcome.error.is_error() {
        return Err(outcome);
    }
    let topic_id = Uuid::from_slice(&item.topic_id).unwrap_or_default();
    // Taken anew: by now the topic exists, and rules may have changed.
    let image = ctx.image();
    if !ctx.allowed_in(
        &image,
        Operation::DescribeConfigs,
        ResourceType::Topic,
        &topic.name,
    ) {
        return Ok(CreatableTopicResult {
            topic_id,
            error_message: None,
            topic_config_error_code: ErrorCode::TopicAuthorizationFailed.code(),
            num_partitions: -1,
            replication_factor: -1,
            configs: Some(Vec::new()),
            ..CreatableTopicResult::default()
        });
    }
    let set = topic
        .configs
        .iter()
        .filter_map(|config| Some((config.key.clone(), config.value.clone()?)))
        .collect();
    let configs = config_entries::of_topic(&image, &ctx.broker, &set).map(|entry| CreatableTopicConfigs {
        name: Str::from_static(entry.setting.name),
        is_sensitive: entry.setting.sensitive(),
        value: entry.value.map(Str::from),
        read_only: entry.read_only,
        config_source: entry.source as i8,
    });
    Ok(CreatableTopicResult {
        topic_id,
        error_message: None,
        num_partitions: item.num_partitions,
        replication_factor: i16::try_from(item.replication_factor).unwrap_or(i16::MAX),
        configs: Some(configs.collect()),
        ..CreatableTopicResult::default()
    })
}
