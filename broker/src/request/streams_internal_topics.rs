//! The topics of a Kafka Streams application that the coordinator has created for it (KIP-1071): repartition topics and changelogs.

use std::time::Duration;

use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{CreateTopic, CreateTopics, KeyValue, Request};
use flotilla_protocol::ErrorCode;

use super::{Context, error};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::group::streams::Creatable;

/// How long a heartbeat waits for them. They are asked for again with the next one.
const CREATE_TIMEOUT: Duration = Duration::from_secs(3);

/// Creates topics, for the client and by its rights.
///
/// # Errors
/// Why some were not created, in words for the application's log.
pub(super) async fn create(ctx: &Context, topics: &[Creatable]) -> Result<(), String> {
    if topics.is_empty() {
        return Ok(());
    }
    check_rights(ctx, topics)?;
    let partitions = topics
        .iter()
        .map(|topic| usize::try_from(topic.partitions).unwrap_or(0));
    if !ctx.may_mutate(partitions.sum(), true) {
        return Err(
            "they are not created yet, since the client has used up its quota of controller mutations"
                .to_owned(),
        );
    }
    let asked = topics.iter().map(asked).collect();
    let request = Request {
        validate_only: false,
        request: Some(Asked::CreateTopics(CreateTopics { topics: asked })),
    };
    let submitted = ctx.broker.controller.submit_within(request, CREATE_TIMEOUT).await;
    let response = submitted.map_err(|failure| format!("they are not created yet: {failure}"))?;
    let (whole, message) = error::of_response(&response);
    if whole.is_error() {
        return Err(format!(
            "they could not be created: {}",
            message.unwrap_or_default()
        ));
    }
    let failed: Vec<String> = topics
        .iter()
        .zip(&response.items)
        .filter_map(|(topic, item)| match error::of_item(item) {
            // Of the members that find a topic missing one is the first.
            (ErrorCode::None | ErrorCode::TopicAlreadyExists, _) => None,
            (error, message) => {
                let why = message.unwrap_or_else(|| error.message().to_owned());
                tracing::info!(topic = %topic.name, %error, why, "an internal topic of a streams group was not created");
                Some(format!("{} could not be created: {why}", topic.name))
            }
        })
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(failed.join("; ")),
    }
}

fn check_rights(ctx: &Context, topics: &[Creatable]) -> Result<(), String> {
    let image = ctx.image();
    if ctx.allowed_in(&image, Operation::Create, ResourceType::Cluster, CLUSTER_RESOURCE) {
        return Ok(());
    }
    let forbidden: Vec<&str> = topics
        .iter()
        .map(|topic| &*topic.name)
        .filter(|name| !ctx.allowed_in(&image, Operation::Create, ResourceType::Topic, name))
        .collect();
    match forbidden.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the client may not create them: it needs CREATE on the cluster, or on {}",
            forbidden.join(", ")
        )),
    }
}

fn asked(topic: &Creatable) -> CreateTopic {
    let configs = topic.configs.iter().map(|(key, value)| KeyValue {
        key: key.to_string(),
        value: Some(value.to_string()),
    });
    CreateTopic {
        name: topic.name.to_string(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor.into(),
        configs: configs.collect(),
        ..CreateTopic::default()
    }
}
