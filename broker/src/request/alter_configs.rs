//! AlterConfigs and IncrementalAlterConfigs (KIP-339): the older call replaces all settings of a resource, the newer one
//! changes those that it names.

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{AlterConfig, ConfigOperation, ResourceConfigs};
use flotilla_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_response,
};
use flotilla_protocol::{ErrorCode, Str};

use super::partition_view::is_topic_name;
use super::submit::{Outcome, WAIT_DEFAULT_MS, submit};
use super::{Context, error};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::metadata::Image;

/// Kafka's number of the resource type of a broker's loggers.
pub(super) const BROKER_LOGGER: i8 = 8;

/// What is to be done with one resource.
struct Change {
    resource_type: i8,
    name: Str,
    changes: Vec<AlterConfig>,
}

/// Replaces.
pub(super) async fn handle(ctx: &Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let set = |config: &flotilla_protocol::messages::alter_configs_request::AlterableConfig| AlterConfig {
        operation: ConfigOperation::Set.into(),
        key: config.name.to_string(),
        value: config.value.as_ref().map(Str::to_string),
    };
    let resources = request.resources.iter().map(|resource| Change {
        resource_type: resource.resource_type,
        name: resource.resource_name.clone(),
        changes: resource.configs.iter().map(set).collect(),
    });
    let outcomes = alter(ctx, resources.collect(), true, request.validate_only).await;
    let responses = outcomes
        .into_iter()
        .map(|(resource_type, resource_name, outcome)| {
            alter_configs_response::AlterConfigsResourceResponse {
                error_code: outcome.code(),
                error_message: outcome.message,
                resource_type,
                resource_name,
            }
        });
    AlterConfigsResponse {
        responses: responses.collect(),
        ..AlterConfigsResponse::default()
    }
}

/// Changes.
pub(super) async fn handle_incremental(
    ctx: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let change =
        |config: &flotilla_protocol::messages::incremental_alter_configs_request::AlterableConfig| {
            AlterConfig {
                operation: config.config_operation.into(),
                key: config.name.to_string(),
                value: config.value.as_ref().map(Str::to_string),
            }
        };
    let resources = request.resources.iter().map(|resource| Change {
        resource_type: resource.resource_type,
        name: resource.resource_name.clone(),
        changes: resource.configs.iter().map(change).collect(),
    });
    let outcomes = alter(ctx, resources.collect(), false, request.validate_only).await;
    let responses = outcomes
        .into_iter()
        .map(|(resource_type, resource_name, outcome)| {
            incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code: outcome.code(),
                error_message: outcome.message,
                resource_type,
                resource_name,
            }
        });
    IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..IncrementalAlterConfigsResponse::default()
    }
}

/// What each resource came to, in the order of the request.
async fn alter(
    ctx: &Context,
    resources: Vec<Change>,
    replace: bool,
    validate_only: bool,
) -> Vec<(i8, Str, Outcome)> {
    let image = ctx.image();
    let checked: Vec<Result<proto::ResourceType, Outcome>> = resources
        .iter()
        .map(|change| check(ctx, &image, change))
        .collect();
    let wanted: Vec<ResourceConfigs> = resources
        .iter()
        .zip(&checked)
        .filter_map(|(change, checked)| {
            let resource_type = *checked.as_ref().ok()?;
            Some(ResourceConfigs {
                resource_type: resource_type.into(),
                resource_name: change.name.to_string(),
                changes: change.changes.clone(),
                replace,
            })
        })
        .collect();
    let decided = if wanted.is_empty() {
        Ok(Vec::new())
    } else {
        let asked = Asked::AlterConfigs(proto::AlterConfigs { resources: wanted });
        submit(ctx, WAIT_DEFAULT_MS, validate_only, asked)
            .await
            .map(|response| response.items)
    };
    let mut items = decided.as_deref().unwrap_or_default().iter();
    let outcomes = resources.into_iter().zip(checked).map(|(change, checked)| {
        let outcome = match (checked, &decided) {
            (Err(outcome), _) => outcome,
            (Ok(_), Err(outcome)) => outcome.clone(),
            (Ok(_), Ok(_)) => {
                let unknown = || Outcome::of(ErrorCode::UnknownServerError);
                items
                    .next()
                    .map_or_else(unknown, |item| error::of_item(item).into())
            }
        };
        (change.resource_type, change.name, outcome)
    });
    outcomes.collect()
}

fn check(ctx: &Context, image: &Image, change: &Change) -> Result<proto::ResourceType, Outcome> {
    let name = change.name.as_str();
    let (resource, named, error) = authorized_by(change.resource_type, name).ok_or_else(|| {
        let message = format!(
            "there are no resources of type {} with settings",
            change.resource_type
        );
        Outcome::because(ErrorCode::InvalidRequest, message)
    })?;
    if !ctx.allowed_in(image, Operation::AlterConfigs, resource, named) {
        return Err(Outcome::of(error));
    }
    if change.resource_type == BROKER_LOGGER {
        let message = "log levels are changed on the admin listener: PUT /loglevel";
        return Err(Outcome::because(ErrorCode::InvalidRequest, message));
    }
    let resource_type = proto::ResourceType::try_from(i32::from(change.resource_type))
        .map_err(|_| Outcome::of(ErrorCode::InvalidRequest))?;
    if resource_type == proto::ResourceType::Topic && !is_topic_name(name) {
        return Err(Outcome::of(ErrorCode::InvalidTopicException));
    }
    let is_set = |change: &&AlterConfig| change.operation != i32::from(ConfigOperation::Delete);
    match change
        .changes
        .iter()
        .filter(is_set)
        .find(|change| change.value.is_none())
    {
        None => Ok(resource_type),
        Some(without) => {
            let message = format!("the setting `{}` has no value", without.key);
            Err(Outcome::because(ErrorCode::InvalidRequest, message))
        }
    }
}

/// The resource whose rules say who may see and change the settings of a resource, and what is answered to others.
pub(super) fn authorized_by(resource_type: i8, name: &str) -> Option<(ResourceType, &str, ErrorCode)> {
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    const CLIENT_METRICS: i8 = 16;
    const GROUP: i8 = 32;
    match resource_type {
        TOPIC => Some((ResourceType::Topic, name, ErrorCode::TopicAuthorizationFailed)),
        GROUP => Some((ResourceType::Group, name, ErrorCode::GroupAuthorizationFailed)),
        BROKER | BROKER_LOGGER | CLIENT_METRICS => Some((
            ResourceType::Cluster,
            CLUSTER_RESOURCE,
            ErrorCode::ClusterAuthorizationFailed,
        )),
        _ => None,
    }
}
