//! The fleet's state as the operator and the command line follow it: whole at first, then what changed.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::coordination::LeaderHint;
use flotilla_control::proto::fleet::{CredentialState, TopicState, UserState, WatchResponse};
use flotilla_control::proto::metadata::{
    Acl, FeatureLevel, KeyQuota, KeyValue, ResourceType, ScramMechanism, Topic as TopicRecord, User,
};

use super::fleet::credential;
use super::latest::Indexed;
use crate::metadata::{
    Image, QuotaKey, Topic, changed_brokers, changed_configs, changed_principals, changed_topics,
};

/// Everything.
pub fn whole(now: &Indexed, leader: LeaderHint) -> WatchResponse {
    let image = &now.image;
    WatchResponse {
        snapshot: true,
        index: now.index,
        brokers: image.brokers().map(|broker| broker.to_record()).collect(),
        topics: image.topics().map(|topic| topic_state(image, topic)).collect(),
        users: users(image, &user_names(image)).into_values().collect(),
        features: features(image),
        leader: Some(leader),
        ..WatchResponse::default()
    }
}

/// What differs; `None` when nothing that is watched does.
pub fn changes(old: &Image, now: &Indexed, leader: LeaderHint) -> Option<WatchResponse> {
    let new = &now.image;
    let mut response = WatchResponse {
        index: now.index,
        ..WatchResponse::default()
    };
    for change in changed_brokers(old, new) {
        match change.new {
            Some(broker) => response.brokers.push(broker.to_record()),
            None => response.removed_brokers.push(change.id.0),
        }
    }
    let mut changed: BTreeSet<String> = BTreeSet::new();
    for change in changed_topics(old, new) {
        changed.extend(
            [&change.old, &change.new]
                .into_iter()
                .flatten()
                .map(|topic| topic.name.clone()),
        );
    }
    let configs = changed_configs(old, new).into_iter();
    changed.extend(
        configs
            .filter(|change| change.resource == ResourceType::Topic)
            .map(|change| change.name),
    );
    for name in changed {
        match new.topic(&name) {
            Some(topic) => response.topics.push(topic_state(new, topic)),
            None if old.topic(&name).is_some() => response.removed_topics.push(name),
            None => {}
        }
    }
    let names = changed_principals(old, new);
    let after = users(new, &names);
    response.removed_users = names
        .into_iter()
        .filter(|name| is_user(old, name) && !after.contains_key(name))
        .collect();
    response.users = after.into_values().collect();
    if features(old) != features(new) {
        response.features = features(new);
    }
    let nothing = response
        == WatchResponse {
            index: now.index,
            ..WatchResponse::default()
        };
    response.leader = Some(leader);
    (!nothing).then_some(response)
}

fn features(image: &Image) -> Vec<FeatureLevel> {
    image
        .features()
        .map(|(name, level)| FeatureLevel {
            name: name.to_owned(),
            level,
        })
        .collect()
}

const MECHANISMS: [ScramMechanism; 2] = [ScramMechanism::ScramSha256, ScramMechanism::ScramSha512];

fn user_names(image: &Image) -> BTreeSet<String> {
    let declared = image.users().map(|user| user.name.clone());
    let with_password = image.scram_credentials().map(|held| held.user.clone());
    declared.chain(with_password).collect()
}

/// A resource declares it, or it has a password. Names that only rules and quotas speak of may be of nobody.
fn is_user(image: &Image, name: &str) -> bool {
    let has_password = || {
        MECHANISMS
            .iter()
            .any(|mechanism| image.scram(name, *mechanism).is_some())
    };
    image.user(name).is_some() || has_password()
}

/// Those of these names that are users. All rules are looked at once, not once for each name.
fn users(image: &Image, names: &BTreeSet<String>) -> BTreeMap<String, UserState> {
    let mut found: BTreeMap<String, UserState> = names
        .iter()
        .filter(|name| is_user(image, name))
        .map(|name| (name.clone(), user_state(image, name)))
        .collect();
    if found.is_empty() {
        return found;
    }
    for acl in image.acls() {
        let user = acl.principal.strip_prefix("User:");
        if let Some(state) = user.and_then(|name| found.get_mut(name)) {
            state.acls.push(Acl::clone(acl));
        }
    }
    found
}

fn user_state(image: &Image, name: &str) -> UserState {
    let credentials = MECHANISMS.iter().filter_map(|mechanism| {
        let held = image.scram(name, *mechanism)?;
        Some(CredentialState {
            mechanism: (*mechanism).into(),
            digest: credential::digest(held),
        })
    });
    let entity = QuotaKey::from([("user".to_owned(), Some(name.to_owned()))]);
    let quotas = image.quota(&entity).into_iter().flatten();
    UserState {
        user: Some(image.user(name).cloned().unwrap_or_else(|| User {
            name: name.to_owned(),
            ..User::default()
        })),
        credentials: credentials.collect(),
        acls: Vec::new(),
        quotas: quotas
            .map(|(key, value)| KeyQuota {
                key: key.clone(),
                value: *value,
            })
            .collect(),
    }
}

fn topic_state(image: &Image, topic: &Topic) -> TopicState {
    let configs = image
        .config(ResourceType::Topic, &topic.name)
        .into_iter()
        .flatten();
    TopicState {
        topic: Some(TopicRecord {
            name: topic.name.clone(),
            topic_id: topic.id.0.to_vec(),
            owner: topic.owner.clone(),
        }),
        partitions: topic
            .partitions()
            .map(|(index, state)| state.to_record(topic.id, index))
            .collect(),
        configs: configs
            .map(|(key, value)| KeyValue {
                key: key.clone(),
                value: Some(value.clone()),
            })
            .collect(),
    }
}
