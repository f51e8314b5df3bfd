//! Settings of topics, brokers, groups and subscriptions to client metrics (KIP-226, KIP-339, KIP-714).

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::metadata::{
    AlterConfig, AlterConfigs, ConfigOperation, Refusal, ResourceConfigs, Response,
};
use flotilla_control::settings::{self, Kind, Scope, Setting, Update};
use flotilla_protocol::BrokerId;

use super::change::Change;
use super::{Draft, Refused, item, of_items, refuse};
use crate::client_metrics;
use crate::metadata::{Broker, ResourceType};

const MIN_ISR: &str = "min.insync.replicas";

type Values = BTreeMap<String, String>;

pub(super) fn alter(draft: &mut Draft<'_, '_>, request: &AlterConfigs) -> Response {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for resource in &request.resources {
        let key = (resource.resource_type, resource.resource_name.as_str());
        if !seen.insert(key) {
            twice.insert(key);
        }
    }
    let items = request.resources.iter().map(|resource| {
        let name = resource.resource_name.as_str();
        if twice.contains(&(resource.resource_type, name)) {
            let message = format!("resource `{name}` is named twice in one request");
            return item(name, Err(refuse(Refusal::InvalidRequest, message)));
        }
        item(name, draft.attempt(|draft| alter_one(draft, resource)))
    });
    let items = items.collect();
    of_items(items)
}

fn alter_one(draft: &mut Draft<'_, '_>, request: &ResourceConfigs) -> Result<(), Refused> {
    let (resource, name) = (request.resource_type(), request.resource_name.as_str());
    let scope = scope(draft, resource, name)?;
    let now = draft.image.config(resource, name).cloned().unwrap_or_default();
    let next = apply(&now, scope, request)?;
    let changed: Values = next
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value))
        .map(owned)
        .collect();
    match scope {
        Scope::Topic => settings::check_topic_change(&now, &next),
        Scope::Broker => settings::check_broker(&changed),
        Scope::Group => settings::check_group(&next),
        Scope::ClientMetrics => {
            settings::check_client_metrics(&next).and_then(|()| client_metrics::check_match(&next))
        }
    }
    .map_err(|error| refuse(refusal_of(scope, &error), error.to_string()))?;
    if scope == Scope::Broker {
        check_dynamic(name, &now, &next)?;
    }
    write(draft, resource, name, &now, &next);
    Ok(())
}

/// Kafka calls what is wrong with a setting of a subscription to client metrics the request's fault, but for what `match` cannot be.
fn refusal_of(scope: Scope, error: &settings::Error) -> Refusal {
    match error {
        settings::Error::Unknown { .. } if scope == Scope::ClientMetrics => Refusal::InvalidRequest,
        settings::Error::Value { name, value, .. }
            if *name == "interval.ms" && value.parse::<i32>().is_ok() =>
        {
            Refusal::InvalidRequest
        }
        _ => Refusal::InvalidConfig,
    }
}

fn owned((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

/// Writes what differs between two sets of settings, and what follows from it for partitions.
pub(super) fn write(
    draft: &mut Draft<'_, '_>,
    resource: ResourceType,
    name: &str,
    now: &Values,
    next: &Values,
) {
    let gone = now
        .keys()
        .filter(|key| !next.contains_key(*key))
        .map(|key| (key, None));
    let set = next
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value))
        .map(|(key, value)| (key, Some(value)));
    let mut follow = false;
    for (key, value) in gone.chain(set) {
        draft.write_config(resource, name, key, value.map(String::as_str));
        follow |= matches!(key.as_str(), MIN_ISR | "unclean.leader.election.enable");
    }
    if follow {
        follow_rules(draft, (resource == ResourceType::Topic).then_some(name));
    }
}

/// With a lower minimum the high watermark may pass replicas that were eligible, so that they are not any more (KIP-966);
/// with unclean elections allowed, partitions without a leader get one.
fn follow_rules(draft: &mut Draft<'_, '_>, topic: Option<&str>) {
    let affected = topic
        .and_then(|name| draft.image.topic(name))
        .map(|topic| topic.id);
    if let (Some(_), None) = (topic, affected) {
        return;
    }
    let image = draft.image.clone();
    let is_affected = |name: &str| topic.is_none_or(|only| only == name);
    for topic in image.topics().filter(|topic| is_affected(&topic.name)) {
        let rules = draft.rules(&topic.name);
        for (index, partition) in topic.partitions() {
            if partition.leader.is_some() && partition.elr.is_empty() {
                continue;
            }
            let change = Change::of(partition, rules);
            if let Some(next) =
                change.decide(&|id| image.broker(id).is_some_and(|broker| Broker::is_alive(broker)))
            {
                draft.write_partition(topic, index, &next);
            }
        }
    }
}

/// What kind of settings a resource has, if it exists.
fn scope(draft: &Draft<'_, '_>, resource: ResourceType, name: &str) -> Result<Scope, Refused> {
    match resource {
        ResourceType::Topic => draft.topic(name).map(|_| Scope::Topic),
        ResourceType::Broker if name.is_empty() => Ok(Scope::Broker),
        ResourceType::Broker => {
            let id = name.parse().map(BrokerId).map_err(|_| {
                refuse(
                    Refusal::InvalidRequest,
                    format!("`{name}` is not a broker id; an empty name is all brokers"),
                )
            })?;
            match draft.image.broker(id) {
                Some(_) => Ok(Scope::Broker),
                None => Err(refuse(
                    Refusal::BrokerNotRegistered,
                    format!("broker {id} is not registered"),
                )),
            }
        }
        ResourceType::Group if name.is_empty() => Err(refuse(
            Refusal::InvalidRequest,
            "the settings of a group need the group's name",
        )),
        ResourceType::Group => Ok(Scope::Group),
        ResourceType::ClientMetrics if name.is_empty() => Err(refuse(
            Refusal::InvalidRequest,
            "a subscription to client metrics needs a name",
        )),
        ResourceType::ClientMetrics => Ok(Scope::ClientMetrics),
        ResourceType::UnknownResource => Err(refuse(
            Refusal::InvalidRequest,
            "this type of resource has no settings here",
        )),
    }
}

fn apply(now: &Values, scope: Scope, request: &ResourceConfigs) -> Result<Values, Refused> {
    let mut next = now.clone();
    if request.replace {
        // The cluster's minimum stays set, whether the call names it or not.
        next.retain(|key, _| scope == Scope::Broker && request.resource_name.is_empty() && key == MIN_ISR);
    }
    let mut seen = BTreeSet::new();
    for change in &request.changes {
        if change.key.is_empty() {
            return Err(refuse(Refusal::InvalidRequest, "a setting without a name"));
        }
        if !seen.insert(change.key.as_str()) {
            return Err(refuse(
                Refusal::InvalidRequest,
                format!("`{}` is named twice", change.key),
            ));
        }
        apply_one(&mut next, scope, change, request.replace)?;
    }
    Ok(next)
}

fn apply_one(next: &mut Values, scope: Scope, change: &AlterConfig, replace: bool) -> Result<(), Refused> {
    let key = &change.key;
    let operation = ConfigOperation::try_from(change.operation).map_err(|_| {
        refuse(
            Refusal::InvalidRequest,
            format!("`{key}`: unknown operation {}", change.operation),
        )
    })?;
    if operation == ConfigOperation::Delete {
        next.remove(key);
        return Ok(());
    }
    let Some(value) = &change.value else {
        if replace {
            next.remove(key);
            return Ok(());
        }
        return Err(refuse(Refusal::InvalidRequest, format!("`{key}` has no value")));
    };
    if operation == ConfigOperation::Set {
        next.insert(key.clone(), value.clone());
        return Ok(());
    }
    let setting =
        settings::get(scope, key).map_err(|error| refuse(Refusal::InvalidConfig, error.to_string()))?;
    if setting.kind != Kind::List {
        let message = format!("`{key}` is not a list, so that nothing can be added to it or taken from it");
        return Err(refuse(Refusal::InvalidConfig, message));
    }
    let items = items(
        next.get(key)
            .map(String::as_str)
            .or(setting.default)
            .unwrap_or(""),
    );
    let items = edit_list(items, &self::items(value), operation == ConfigOperation::Append);
    next.insert(key.clone(), items.join(","));
    Ok(())
}

fn items(list: &str) -> Vec<&str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect()
}

fn edit_list<'a>(mut items: Vec<&'a str>, named: &[&'a str], append: bool) -> Vec<&'a str> {
    if append {
        for item in named {
            if !items.contains(item) {
                items.push(item);
            }
        }
    } else {
        items.retain(|item| !named.contains(item));
    }
    items
}

/// What may be set on brokers while they run, and where (KIP-226).
fn check_dynamic(broker: &str, now: &Values, next: &Values) -> Result<(), Refused> {
    let set = next
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value))
        .map(|(key, _)| key);
    for setting in set.filter_map(|key| settings::find(Scope::Broker, key)) {
        check_place(broker, setting)?;
    }
    if broker.is_empty() && now.contains_key(MIN_ISR) && !next.contains_key(MIN_ISR) {
        let message =
            format!("`{MIN_ISR}` of the cluster cannot be removed: set it to another value instead");
        return Err(refuse(Refusal::InvalidConfig, message));
    }
    Ok(())
}

fn check_place(broker: &str, setting: &Setting) -> Result<(), Refused> {
    let name = setting.name;
    match setting.update {
        // The configuration files of brokers may differ for a while; the metadata never does (KIP-966).
        _ if name == MIN_ISR => match broker.is_empty() {
            true => Ok(()),
            false => Err(refuse(
                Refusal::InvalidConfig,
                format!("`{MIN_ISR}` can be set for all brokers or for a topic, not for one broker"),
            )),
        },
        Update::Restart => Err(refuse(
            Refusal::InvalidRequest,
            format!(
                "`{name}` cannot be changed while brokers run: set it in their configuration and restart them"
            ),
        )),
        Update::PerBroker if broker.is_empty() => Err(refuse(
            Refusal::InvalidRequest,
            format!("`{name}` is set for each broker by itself, not for all of them"),
        )),
        Update::PerBroker | Update::ClusterWide => Ok(()),
    }
}
