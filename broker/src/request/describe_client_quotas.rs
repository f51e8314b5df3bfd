//! DescribeClientQuotas: the quotas of the entities that a filter selects (KIP-546).

use std::collections::BTreeMap;

use flotilla_protocol::messages::describe_client_quotas_request::ComponentData;
use flotilla_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use flotilla_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::submit::Outcome;
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::metadata::QuotaKey;

/// What a filter wants of one type of entity.
#[derive(Clone, Copy, PartialEq)]
enum Match<'a> {
    Exactly(&'a str),
    Default,
    Any,
}

/// Describes what matches. A strict filter selects entities of no other types than those that it names.
pub(super) async fn handle(
    ctx: &Context,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let allowed = ctx.allowed(
        Operation::DescribeConfigs,
        ResourceType::Cluster,
        CLUSTER_RESOURCE,
    );
    let filter = match allowed {
        true => filter(&request.components),
        false => Err(Outcome::of(ErrorCode::ClusterAuthorizationFailed)),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(outcome) => {
            return DescribeClientQuotasResponse {
                error_code: outcome.code(),
                error_message: outcome.message,
                entries: None,
                ..DescribeClientQuotasResponse::default()
            };
        }
    };
    let image = ctx.image();
    let entries = image
        .quotas()
        .filter(|(entity, _)| matches(&filter, request.strict, entity))
        .map(|(entity, values)| EntryData {
            entity: entity
                .iter()
                .map(|(kind, name)| EntityData {
                    entity_type: Str::from(kind),
                    entity_name: name.as_ref().map(Str::from),
                })
                .collect(),
            values: values
                .iter()
                .map(|(key, value)| ValueData {
                    key: Str::from(key),
                    value: *value,
                })
                .collect(),
        });
    DescribeClientQuotasResponse {
        entries: Some(entries.collect()),
        ..DescribeClientQuotasResponse::default()
    }
}

fn filter(components: &[ComponentData]) -> Result<BTreeMap<&str, Match<'_>>, Outcome> {
    const EXACTLY: i8 = 0;
    const DEFAULT: i8 = 1;
    const ANY: i8 = 2;
    let invalid = |message: String| Err(Outcome::because(ErrorCode::InvalidRequest, message));
    let mut filter = BTreeMap::new();
    for component in components {
        let kind = component.entity_type.as_str();
        if kind.is_empty() {
            return invalid("the type of an entity is empty".to_owned());
        }
        if !matches!(kind, "user" | "client-id" | "ip") {
            let message = format!("`{kind}` is not a type of entity; user, client-id and ip are");
            return Err(Outcome::because(ErrorCode::UnsupportedVersion, message));
        }
        let wanted = match (component.match_type, component.match_.as_deref()) {
            (EXACTLY, Some(name)) => Match::Exactly(name),
            (DEFAULT, None) => Match::Default,
            (ANY, None) => Match::Any,
            (EXACTLY | DEFAULT | ANY, _) => {
                return invalid("an exact match needs a name, and other matches take none".to_owned());
            }
            (other, _) => return invalid(format!("{other} is not a way to match")),
        };
        if filter.insert(kind, wanted).is_some() {
            return invalid(format!("the type {kind} is named twice"));
        }
    }
    if filter.contains_key("ip") && filter.len() > 1 {
        return invalid("an ip cannot be combined with other types of entity".to_owned());
    }
    Ok(filter)
}

fn matches(filter: &BTreeMap<&str, Match<'_>>, strict: bool, entity: &QuotaKey) -> bool {
    let named = filter
        .iter()
        .all(|(kind, wanted)| match (entity.get(*kind), wanted) {
            (None, _) => false,
            (Some(_), Match::Any) => true,
            (Some(name), Match::Default) => name.is_none(),
            (Some(name), Match::Exactly(wanted)) => name.as_deref() == Some(*wanted),
        });
    named && (!strict || entity.len() == filter.len())
}
