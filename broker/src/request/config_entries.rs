//! What a setting is, for whom, and where its value comes from: the entries of DescribeConfigs and CreateTopics.

use std::collections::BTreeMap;

use flotilla_control::config::Role;
use flotilla_control::proto::metadata::ResourceType;
use flotilla_control::settings::{self, Kind, Scope, Setting, Update};
use flotilla_protocol::BrokerId;

use crate::broker::Broker;
use crate::metadata::Image;

/// Where a value comes from, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(super) enum Source {
    Topic = 1,
    DynamicBroker = 2,
    DynamicCluster = 3,
    StaticBroker = 4,
    Default = 5,
    BrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

/// A value that holds, or would hold if those before it did not.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Synonym {
    pub name: &'static str,
    /// Never shown where it is a password.
    pub value: Option<String>,
    pub source: Source,
}

/// A setting of a resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub setting: &'static Setting,
    /// What holds. None for passwords, and where nothing is set and there is no default.
    pub value: Option<String>,
    pub source: Source,
    pub read_only: bool,
    /// The value that holds and those behind it.
    pub synonyms: Vec<Synonym>,
}

/// Kafka's number of a kind.
pub(super) fn kind_code(kind: Kind) -> i8 {
    match kind {
        Kind::Bool => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}

/// What the broker's configuration file says of a setting, be it in a part of its own.
fn static_value(broker: &Broker, name: &str) -> Option<String> {
    let config = &broker.config;
    let list = |items: &mut dyn Iterator<Item = String>| Some(items.collect::<Vec<_>>().join(","));
    match name {
        "broker.id" | "node.id" => Some(config.broker_id.to_string()),
        "broker.rack" => config.rack.clone(),
        "log.dirs" => list(&mut config.data_dirs.iter().map(|dir| dir.display().to_string())),
        "listeners" => list(
            &mut config
                .listeners
                .iter()
                .map(|of| format!("{}://{}", of.name.to_uppercase(), of.bind)),
        ),
        "process.roles" => list(&mut config.roles.iter().map(|role| match role {
            Role::Broker => "broker".to_owned(),
            Role::Coordinator => "controller".to_owned(),
        })),
        _ => config.settings.get(name).cloned(),
    }
}

/// The values that a broker setting has, those that win first.
fn broker_synonyms(image: &Image, broker: &Broker, name: &str) -> Vec<Synonym> {
    let Some(setting) = settings::find(Scope::Broker, name) else {
        return Vec::new();
    };
    let own = |id: &str| {
        image
            .config(ResourceType::Broker, id)
            .and_then(|config| config.get(name))
            .cloned()
    };
    [
        (own(&broker.id.to_string()), Source::DynamicBroker),
        (own(""), Source::DynamicCluster),
        (static_value(broker, name), Source::StaticBroker),
        (setting.default.map(str::to_owned), Source::Default),
    ]
    .into_iter()
    .filter_map(|(value, source)| {
        Some(Synonym {
            name: setting.name,
            value: Some(value?),
            source,
        })
    })
    .collect()
}

/// The settings of a broker, each with what holds for it.
pub(super) fn of_broker<'a>(image: &'a Image, broker: &'a Broker) -> impl Iterator<Item = Entry> + 'a {
    settings::broker_settings().iter().map(|setting| {
        let synonyms = broker_synonyms(image, broker, setting.name);
        let (value, source) = match synonyms.first() {
            Some(first) => (first.value.clone(), first.source),
            None => (None, Source::Default),
        };
        hide(Entry {
            setting,
            value,
            source,
            read_only: setting.update == Update::Restart,
            synonyms,
        })
    })
}

/// The settings that were set for all brokers while they run.
pub(super) fn of_cluster(image: &Image) -> impl Iterator<Item = Entry> + '_ {
    let set = image.config(ResourceType::Broker, "").into_iter().flatten();
    set.filter_map(|(name, value)| {
        let setting = settings::find(Scope::Broker, name)?;
        let (value, source) = (Some(value.clone()), Source::DynamicCluster);
        let synonyms = vec![Synonym {
            name: setting.name,
            value: value.clone(),
            source,
        }];
        Some(hide(Entry {
            setting,
            value,
            source,
            read_only: setting.update == Update::Restart,
            synonyms,
        }))
    })
}

/// The settings of a topic whose own ones are `set`, be it one that exists or not.
pub(super) fn of_topic<'a>(
    image: &'a Image,
    broker: &'a Broker,
    set: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = Entry> + 'a {
    inherited(image, broker, settings::topic_settings(), set, Source::Topic)
}

/// The settings of a group.
pub(super) fn of_group<'a>(
    image: &'a Image,
    broker: &'a Broker,
    set: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = Entry> + 'a {
    inherited(image, broker, settings::group_settings(), set, Source::Group)
}

/// The settings of a subscription to client metrics. What stands behind what is set is not told, as in Kafka.
pub(super) fn of_client_metrics(set: &BTreeMap<String, String>) -> impl Iterator<Item = Entry> + '_ {
    settings::client_metrics_settings().iter().map(|setting| {
        let synonym = set.get(setting.name).map(|value| Synonym {
            name: setting.name,
            value: Some(value.clone()),
            source: Source::ClientMetrics,
        });
        Entry {
            setting,
            value: set
                .get(setting.name)
                .cloned()
                .or_else(|| setting.default.map(str::to_owned)),
            source: synonym.as_ref().map_or(Source::Default, |set| set.source),
            read_only: false,
            synonyms: synonym.into_iter().collect(),
        }
    })
}

fn inherited<'a>(
    image: &'a Image,
    broker: &'a Broker,
    table: &'static [Setting],
    set: &'a BTreeMap<String, String>,
    own_source: Source,
) -> impl Iterator<Item = Entry> + 'a {
    table.iter().map(move |setting| {
        let mut synonyms: Vec<Synonym> = Vec::new();
        // The value that holds is in this setting's unit; what stands behind it keeps its own.
        let mut holds: Option<(Option<String>, Source)> = None;
        if let Some(value) = set.get(setting.name) {
            synonyms.push(Synonym {
                name: setting.name,
                value: Some(value.clone()),
                source: own_source,
            });
            holds = Some((Some(value.clone()), own_source));
        }
        for fallback in setting.fallbacks {
            for synonym in broker_synonyms(image, broker, fallback.name) {
                if synonym.source != Source::Default {
                    let value = synonym.value.as_deref().and_then(|value| fallback.convert(value));
                    holds.get_or_insert((value, synonym.source));
                    synonyms.push(synonym);
                }
            }
        }
        synonyms.extend(default_of(setting));
        let (value, source) = holds.unwrap_or_else(|| (setting.default.map(str::to_owned), Source::Default));
        hide(Entry {
            setting,
            value,
            source,
            read_only: false,
            synonyms,
        })
    })
}

/// The default, by the name of the broker setting that has it.
fn default_of(setting: &'static Setting) -> Option<Synonym> {
    let of_broker = setting.fallbacks.iter().find_map(|fallback| {
        let stands_in = settings::find(Scope::Broker, fallback.name)?;
        Some((stands_in.name, stands_in.default?))
    });
    let (name, value) = of_broker.or_else(|| Some((setting.name, setting.default?)))?;
    Some(Synonym {
        name,
        value: Some(value.to_owned()),
        source: Source::Default,
    })
}

/// Passwords are never shown.
fn hide(mut entry: Entry) -> Entry {
    if entry.setting.sensitive() {
        entry.value = None;
        entry.synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    entry
}

/// The broker that a resource of type BROKER names; `None` for all brokers.
pub(super) fn broker_named(name: &str) -> Result<Option<BrokerId>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    let id = name
        .parse()
        .map(BrokerId)
        .map_err(|_| format!("`{name}` is not a broker id"))?;
    Ok(Some(id))
}
