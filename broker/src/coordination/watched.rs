//! The fleet's state as the operator and the command line follow it: whole at first, then what changed.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::coordination::{LeaderHint, Voter};
use flotilla_control::proto::fleet::{
    BrokerCare, BrokerConfigs, CredentialState, Quorum, TopicState, UserState, WatchResponse,
};
use flotilla_control::proto::metadata::{
    Acl, FeatureLevel, KeyQuota, KeyValue, ResourceType, ScramMechanism, Topic as TopicRecord, User,
};
use flotilla_protocol::BrokerId;

use super::fleet::credential;
use super::latest::Indexed;
use crate::metadata::{
    Image, QuotaKey, Topic, changed_brokers, changed_cares, changed_configs, changed_principals,
    changed_topics,
};

/// Who leads and who votes, as a watcher is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Voting {
    /// Who leads.
    pub leader: LeaderHint,
    /// Who votes; empty where that is not known.
    pub voters: Vec<Voter>,
}

/// Nobody leads, and nobody knows who votes.
impl Default for Voting {
    fn default() -> Self {
        Self {
            leader: LeaderHint {
                broker_id: -1,
                ..LeaderHint::default()
            },
            voters: Vec::new(),
        }
    }
}

impl Voting {
    /// Puts it into a response. What is not known is not told.
    fn tell(&self, response: &mut WatchResponse, before: Option<&Self>) {
        response.leader = Some(self.leader.clone());
        if !self.voters.is_empty() && before.is_none_or(|before| before.voters != self.voters) {
            response.quorum = Some(Quorum {
                voters: self.voters.clone(),
            });
        }
    }
}

/// Everything.
pub fn whole(now: &Indexed, voting: &Voting) -> WatchResponse {
    let image = &now.image;
    let mut response = WatchResponse {
        snapshot: true,
        index: now.index,
        brokers: image.brokers().map(|broker| broker.to_record()).collect(),
        topics: image.topics().map(|topic| topic_state(image, topic)).collect(),
        users: users(image, &user_names(image)).into_values().collect(),
        features: features(image),
        broker_configs: image
            .configs(ResourceType::Broker)
            .map(|(name, _)| broker_configs(image, name))
            .collect(),
        cares: image.cared_for().into_iter().map(|id| care(image, id)).collect(),
        ..WatchResponse::default()
    };
    voting.tell(&mut response, None);
    response
}

/// What differs; `None` when nothing that is watched does.
pub fn changes(old: &Image, now: &Indexed, voting: (&Voting, &Voting)) -> Option<WatchResponse> {
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
    for change in changed_configs(old, new) {
        match change.resource {
            ResourceType::Topic => drop(changed.insert(change.name)),
            ResourceType::Broker => response.broker_configs.push(broker_configs(new, &change.name)),
            _ => {}
        }
    }
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
    response.cares = changed_cares(old, new)
        .into_iter()
        .map(|id| care(new, id))
        .collect();
    if features(old) != features(new) {
        response.features = features(new);
    }
    let nothing = response
        == WatchResponse {
            index: now.index,
            ..WatchResponse::default()
        };
    let (before, after) = voting;
    if nothing && before == after {
        return None;
    }
    after.tell(&mut response, Some(before));
    Some(response)
}

fn broker_configs(image: &Image, name: &str) -> BrokerConfigs {
    let configs = image.config(ResourceType::Broker, name).into_iter().flatten();
    BrokerConfigs {
        broker: name.to_owned(),
        configs: configs
            .map(|(key, value)| KeyValue {
                key: key.clone(),
                value: Some(value.clone()),
            })
            .collect(),
    }
}

fn care(image: &Image, id: BrokerId) -> BrokerCare {
    BrokerCare {
        broker_id: id.0,
        placement: image.placement(id).cloned(),
        draining: image.is_draining(id),
        restart_grant_expires_ms: image.restart_grant(id).unwrap_or(0),
    }
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
