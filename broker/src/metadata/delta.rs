//! What differs between two images. Parts that both share are skipped unseen, so the cost follows the change, not the
//! size of the fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flotilla_protocol::{BrokerId, PartitionIndex, Uuid};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::{Acl, Broker, Image, Partition, QuotaKey, ResourceType, Topic};

/// One partition that appeared (`old` is none), changed, or went (`new` is none).
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionChange {
    /// The topic's name.
    pub topic: String,
    /// The topic's id. A topic that was deleted and created again under its name gives removals with the old id, then
    /// additions with the new one.
    pub topic_id: Uuid,
    /// Which partition.
    pub partition: PartitionIndex,
    /// As it was.
    pub old: Option<Arc<Partition>>,
    /// As it is.
    pub new: Option<Arc<Partition>>,
}

/// One topic that appeared, changed (its owner or partitions) or went.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicChange {
    /// As it was.
    pub old: Option<Arc<Topic>>,
    /// As it is.
    pub new: Option<Arc<Topic>>,
}

/// One broker that appeared, changed or went.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerChange {
    /// Who.
    pub id: BrokerId,
    /// As it was.
    pub old: Option<Arc<Broker>>,
    /// As it is.
    pub new: Option<Arc<Broker>>,
}

/// One resource whose settings changed. None: nothing is set.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigChange {
    /// Its type.
    pub resource: ResourceType,
    /// Its name.
    pub name: String,
    /// As they were.
    pub old: Option<Arc<BTreeMap<String, String>>>,
    /// As they are.
    pub new: Option<Arc<BTreeMap<String, String>>>,
}

/// The old and the new value of everything that differs between two maps, in the order of their keys.
fn changes<'a, K: Ord, V: PartialEq>(
    old: &'a OrdMap<K, V>,
    new: &'a OrdMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    old.diff(new).map(|item| match item {
        DiffItem::Add(key, value) => (key, None, Some(value)),
        DiffItem::Remove(key, value) => (key, Some(value), None),
        DiffItem::Update {
            old: (key, old),
            new: (_, new),
        } => (key, Some(old), Some(new)),
    })
}

/// The topics that differ, by name. A topic that was deleted and created again counts twice: gone, then new.
#[must_use]
pub fn changed_topics(old: &Image, new: &Image) -> Vec<TopicChange> {
    let mut found = Vec::new();
    for (_, old, new) in changes(&old.topics, &new.topics) {
        match (old, new) {
            (Some(old), Some(new)) if old.id != new.id => {
                found.push(TopicChange {
                    old: Some(old.clone()),
                    new: None,
                });
                found.push(TopicChange {
                    old: None,
                    new: Some(new.clone()),
                });
            }
            _ => found.push(TopicChange {
                old: old.cloned(),
                new: new.cloned(),
            }),
        }
    }
    found
}

/// The partitions that differ, by topic name and index.
#[must_use]
pub fn changed_partitions(old: &Image, new: &Image) -> Vec<PartitionChange> {
    let none = OrdMap::new();
    let mut found = Vec::new();
    for TopicChange { old, new } in changed_topics(old, new) {
        let Some(topic) = new.as_ref().or(old.as_ref()) else {
            continue;
        };
        let before = old.as_ref().map_or(&none, |topic| &topic.partitions);
        let after = new.as_ref().map_or(&none, |topic| &topic.partitions);
        found.extend(changes(before, after).map(|(index, old, new)| PartitionChange {
            topic: topic.name.clone(),
            topic_id: topic.id,
            partition: *index,
            old: old.cloned(),
            new: new.cloned(),
        }));
    }
    found
}

/// The brokers that differ, by id.
#[must_use]
pub fn changed_brokers(old: &Image, new: &Image) -> Vec<BrokerChange> {
    changes(&old.brokers, &new.brokers)
        .map(|(id, old, new)| BrokerChange {
            id: *id,
            old: old.cloned(),
            new: new.cloned(),
        })
        .collect()
}

/// The resources whose settings differ, by type and name.
#[must_use]
pub fn changed_configs(old: &Image, new: &Image) -> Vec<ConfigChange> {
    let none = OrdMap::new();
    let mut found = Vec::new();
    for (resource, old, new) in changes(&old.configs, &new.configs) {
        let (before, after) = (old.unwrap_or(&none), new.unwrap_or(&none));
        found.extend(changes(before, after).map(|(name, old, new)| ConfigChange {
            resource: *resource,
            name: name.clone(),
            old: old.cloned(),
            new: new.cloned(),
        }));
    }
    found
}

/// The names of all whose declaration, credentials or delegation tokens differ.
#[must_use]
pub fn changed_users(old: &Image, new: &Image) -> BTreeSet<String> {
    let declared = changes(&old.users, &new.users).map(|(name, ..)| name.clone());
    let credentials = changes(&old.scram, &new.scram).map(|(name, ..)| name.clone());
    let tokens = changes(&old.tokens, &new.tokens)
        .flat_map(|(_, old, new)| [old, new])
        .flatten()
        .map(|token| token.owner.clone());
    declared.chain(credentials).chain(tokens).collect()
}

/// The names of the users of whom anything differs: what resources declare, credentials, rules or quotas.
#[must_use]
pub fn changed_principals(old: &Image, new: &Image) -> BTreeSet<String> {
    let of_rule = |acl: &Arc<Acl>| acl.principal.strip_prefix("User:").map(str::to_owned);
    let of_entity = |entity: &QuotaKey| entity.get("user").cloned().flatten();
    let mut names: BTreeSet<String> = changes(&old.users, &new.users)
        .map(|(name, ..)| name.clone())
        .chain(changes(&old.scram, &new.scram).map(|(name, ..)| name.clone()))
        .chain(changes(&old.quotas, &new.quotas).filter_map(|(entity, ..)| of_entity(entity)))
        .collect();
    for (_, old, new) in changes(&old.acls, &new.acls) {
        names.extend([old, new].into_iter().flatten().filter_map(of_rule));
    }
    names
}

/// The brokers of which something else is said than before: where they are placed, whether they are being emptied, whether they
/// may be restarted.
#[must_use]
pub fn changed_cares(old: &Image, new: &Image) -> BTreeSet<BrokerId> {
    let placed = changes(&old.placements, &new.placements).map(|(id, ..)| *id);
    let granted = changes(&old.restart_grants, &new.restart_grants).map(|(id, ..)| *id);
    let drained = old.draining.diff(&new.draining).map(|item| match item {
        imbl::ordset::DiffItem::Add(id) | imbl::ordset::DiffItem::Remove(id) => *id,
    });
    placed.chain(granted).chain(drained).collect()
}
