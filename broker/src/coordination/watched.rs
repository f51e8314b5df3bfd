//! The fleet's state as the operator and the command line follow it: whole at first, then what changed.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::coordination::LeaderHint;
use flotilla_control::proto::fleet::{TopicState, WatchResponse};
use flotilla_control::proto::metadata::{FeatureLevel, KeyValue, ResourceType, Topic as TopicRecord, User};

use super::latest::Indexed;
use crate::metadata::{Image, Topic, changed_brokers, changed_configs, changed_topics};

/// Everything.
pub fn whole(now: &Indexed, leader: LeaderHint) -> WatchResponse {
    let image = &now.image;
    WatchResponse {
        snapshot: true,
        index: now.index,
        brokers: image.brokers().map(|broker| broker.to_record()).collect(),
        topics: image.topics().map(|topic| topic_state(image, topic)).collect(),
        users: image.users().cloned().collect(),
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
    let users = |image: &Image| -> BTreeMap<String, User> {
        image
            .users()
            .map(|user| (user.name.clone(), user.clone()))
            .collect()
    };
    let (before, after) = (users(old), users(new));
    response.removed_users = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .cloned()
        .collect();
    response.users = after
        .into_iter()
        .filter(|(name, user)| before.get(name) != Some(user))
        .map(|(_, u)| u)
        .collect();
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
