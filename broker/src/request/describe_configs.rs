//! DescribeConfigs: settings, where their values come from, and what they do.

use std::collections::BTreeMap;

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use flotilla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use flotilla_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::alter_configs::{BROKER_LOGGER, authorized_by};
use super::config_entries::{self, Entry, Source, kind_code};
use super::partition_view::missing;
use super::submit::Outcome;
use crate::auth::Operation;
use crate::metadata::Image;

/// What the client wants to know of each setting.
#[derive(Clone, Copy)]
struct Wanted {
    synonyms: bool,
    documentation: bool,
}

/// Describes each resource whose settings the client may see.
pub(super) async fn handle(ctx: &Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let image = ctx.image();
    let wanted = Wanted {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let results = request.resources.into_iter().map(|resource| {
        let described = describe(ctx, &image, &resource, wanted);
        let (outcome, configs) = match described {
            Ok(configs) => (Outcome::DONE, configs),
            Err(outcome) => (outcome, Vec::new()),
        };
        DescribeConfigsResult {
            error_code: outcome.code(),
            error_message: outcome.message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
        }
    });
    DescribeConfigsResponse {
        results: results.collect(),
        ..DescribeConfigsResponse::default()
    }
}

fn describe(
    ctx: &Context,
    image: &Image,
    resource: &DescribeConfigsResource,
    wanted: Wanted,
) -> Result<Vec<DescribeConfigsResourceResult>, Outcome> {
    let name = resource.resource_name.as_str();
    let invalid = |message: String| Outcome::because(ErrorCode::InvalidRequest, message);
    let (rules, named, error) = authorized_by(resource.resource_type, name).ok_or_else(|| {
        invalid(format!(
            "there are no resources of type {} with settings",
            resource.resource_type
        ))
    })?;
    if !ctx.allowed_in(image, Operation::DescribeConfigs, rules, named) {
        return Err(Outcome::of(error));
    }
    if resource.resource_type == BROKER_LOGGER {
        own_broker(ctx, name)?;
        return Ok(loggers(resource));
    }
    let none = BTreeMap::new();
    let set = |of| image.config(of, name).unwrap_or(&none);
    let entries: Vec<Entry> = match proto::ResourceType::try_from(i32::from(resource.resource_type)) {
        Ok(proto::ResourceType::Topic) => {
            if image.topic(name).is_none() {
                return Err(Outcome::of(missing(name)));
            }
            config_entries::of_topic(image, &ctx.broker, set(proto::ResourceType::Topic)).collect()
        }
        Ok(proto::ResourceType::Broker) if name.is_empty() => config_entries::of_cluster(image).collect(),
        Ok(proto::ResourceType::Broker) => {
            own_broker(ctx, name)?;
            config_entries::of_broker(image, &ctx.broker).collect()
        }
        Ok(proto::ResourceType::Group) if name.is_empty() => {
            return Err(invalid(
                "the settings of a group need the group's name".to_owned(),
            ));
        }
        Ok(proto::ResourceType::Group) => {
            config_entries::of_group(image, &ctx.broker, set(proto::ResourceType::Group)).collect()
        }
        Ok(proto::ResourceType::ClientMetrics) if name.is_empty() => {
            return Err(invalid(
                "a subscription to client metrics needs a name".to_owned(),
            ));
        }
        Ok(proto::ResourceType::ClientMetrics) => {
            config_entries::of_client_metrics(set(proto::ResourceType::ClientMetrics)).collect()
        }
        _ => return Err(invalid("resources of this type have no settings here".to_owned())),
    };
    Ok(entries
        .into_iter()
        .filter(|entry| is_wanted(resource, entry.setting.name))
        .map(|e| shown(e, wanted))
        .collect())
}

/// Only a broker itself knows what its file says.
fn own_broker(ctx: &Context, name: &str) -> Result<(), Outcome> {
    let id = config_entries::broker_named(name);
    match id {
        Ok(Some(id)) if id == ctx.broker.id => Ok(()),
        _ => {
            let message = format!(
                "this is broker {}; ask broker `{name}` itself for its settings",
                ctx.broker.id
            );
            Err(Outcome::because(ErrorCode::InvalidRequest, message))
        }
    }
}

fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    resource
        .configuration_keys
        .as_ref()
        .is_none_or(|keys| keys.iter().any(|key| *key == name))
}

fn shown(entry: Entry, wanted: Wanted) -> DescribeConfigsResourceResult {
    let setting = entry.setting;
    let synonyms = entry
        .synonyms
        .into_iter()
        .filter(|_| wanted.synonyms)
        .map(|synonym| DescribeConfigsSynonym {
            name: Str::from_static(synonym.name),
            value: synonym.value.map(Str::from),
            source: synonym.source as i8,
        });
    DescribeConfigsResourceResult {
        name: Str::from_static(setting.name),
        value: entry.value.map(Str::from),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: setting.sensitive(),
        synonyms: synonyms.collect(),
        config_type: kind_code(setting.kind),
        documentation: wanted.documentation.then(|| Str::from_static(setting.doc())),
    }
}

/// Kafka's name for the logger above all others. It is the only one: finer filters are set on the admin listener.
fn loggers(resource: &DescribeConfigsResource) -> Vec<DescribeConfigsResourceResult> {
    const ROOT: &str = "root";
    let level = tracing::level_filters::LevelFilter::current()
        .to_string()
        .to_uppercase();
    let root = DescribeConfigsResourceResult {
        name: Str::from_static(ROOT),
        value: Some(level.into()),
        read_only: true,
        config_source: Source::BrokerLogger as i8,
        is_sensitive: false,
        synonyms: Vec::new(),
        config_type: kind_code(flotilla_control::settings::Kind::String),
        documentation: None,
    };
    [root].into_iter().filter(|_| is_wanted(resource, ROOT)).collect()
}
