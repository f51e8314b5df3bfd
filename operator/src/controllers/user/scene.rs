use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::fleet::UserState;
use flotilla_crds::{AclResourceType, Cluster, PatternType, Topic, User};

use super::{Context, SILENCE};
use crate::cache::{cluster_of_topic, cluster_of_user};
use crate::fleet::{Fleet, View};
use crate::user::{admit, eldest, rules};
use crate::{Key, namespace_of, topic};

/// All that surrounds a User, at one moment.
pub(super) struct Scene {
    /// The Cluster that it names.
    pub(super) key: Key,
    /// That Cluster, if it is there.
    pub(super) cluster: Option<Arc<Cluster>>,
    /// The Cluster is there, but cannot be read.
    pub(super) illegible: bool,
    /// The fleet.
    pub(super) sight: Sight,
}

/// What is seen of a fleet.
pub(super) enum Sight {
    /// It answers.
    Clear(Fleet, Arc<View>),
    /// It does not, since a moment ago. How long to wait before that is said.
    Blinking(Duration),
    /// It does not.
    Dark,
}

/// The topics that a User's rules may name because they are its namespace's own.
#[derive(Default)]
pub(super) struct OwnTopics {
    /// Those that the fleet has, for the very Topic that asks for them.
    pub(super) owned: Vec<String>,
    /// Those that a Topic asks for and that the fleet has not made yet.
    pub(super) awaited: Vec<String>,
}

impl Scene {
    pub(super) fn observe(user: &User, context: &Context) -> Self {
        let key = cluster_of_user(user);
        let cluster = context.cache.cluster(&key);
        Self {
            illegible: cluster.is_none() && context.cache.undecodable()[0].1.contains_key(&key),
            sight: Sight::of(&key, context),
            cluster,
            key,
        }
    }

    /// The Cluster, unless it is gone or on its way out.
    pub(super) fn staying(&self, context: &Context) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref().filter(|cluster| {
            cluster.metadata.deletion_timestamp.is_none()
                && !context.cache.namespace_terminating(&self.key.namespace)
        })
    }

    /// The labels of a namespace, for what a Cluster allows. Its own namespace needs none.
    pub(super) fn labels(&self, namespace: &str, context: &Context) -> Option<BTreeMap<String, String>> {
        if namespace == self.key.namespace {
            return Some(BTreeMap::new());
        }
        context.cache.namespace_labels(namespace)
    }

    /// The older User that wants the same name, may have it and stays.
    pub(super) fn elder(&self, user: &User, cluster: &Cluster, context: &Context) -> Option<Arc<User>> {
        let name = user.metadata.name.as_deref().unwrap_or_default();
        let rivals: Vec<Arc<User>> = context
            .cache
            .users_named(&self.key, name)
            .into_iter()
            .filter(|other| Key::of(&other.metadata) != Key::of(&user.metadata))
            .filter(|other| other.metadata.deletion_timestamp.is_none())
            .filter(|other| {
                self.labels(namespace_of(&other.metadata), context)
                    .is_some_and(|labels| admit(other, cluster, &labels).is_ok())
            })
            .collect();
        let eldest = eldest(rivals.iter().map(AsRef::as_ref).chain([user]))?;
        rivals
            .iter()
            .find(|other| std::ptr::eq(other.as_ref(), eldest))
            .cloned()
    }

    /// Which of the topics that the User's rules name are its namespace's own.
    pub(super) fn own_topics(
        &self,
        user: &User,
        cluster: &Cluster,
        labels: &BTreeMap<String, String>,
        view: &View,
        context: &Context,
    ) -> OwnTopics {
        let mut found = OwnTopics::default();
        let namespace = namespace_of(&user.metadata);
        if namespace == self.key.namespace {
            return found;
        }
        let named = rules(user)
            .iter()
            .filter(|rule| rule.resource.type_ == AclResourceType::Topic)
            .filter(|rule| rule.resource.pattern == PatternType::Literal)
            .filter_map(|rule| rule.resource.name.as_deref());
        for name in named {
            let asked: Vec<Arc<Topic>> = context
                .cache
                .topics_named(&self.key, name)
                .into_iter()
                .filter(|topic| namespace_of(&topic.metadata) == namespace)
                .filter(|topic| topic.metadata.deletion_timestamp.is_none())
                .filter(|topic| cluster_of_topic(topic) == self.key)
                .filter(|topic| topic::allowed(cluster, topic, labels).is_ok())
                .collect();
            if asked.is_empty() {
                continue;
            }
            let held = view.topics.get(name).and_then(|held| held.topic.as_ref());
            let owner = held.and_then(|held| held.owner.as_ref());
            let is_of = |topic: &Arc<Topic>| {
                owner.is_some_and(|owner| Some(&owner.uid) == topic.metadata.uid.as_ref())
            };
            if asked.iter().any(is_of) {
                found.owned.push(name.to_owned());
            } else if held.is_none() {
                found.awaited.push(name.to_owned());
            }
        }
        found
    }

    /// The user as the fleet has it.
    pub(super) fn found(&self, user: &User) -> Option<Arc<UserState>> {
        match &self.sight {
            Sight::Clear(_, view) => found(user, view),
            Sight::Blinking(_) | Sight::Dark => None,
        }
    }
}

/// The user as a fleet has it.
pub(super) fn found(user: &User, view: &View) -> Option<Arc<UserState>> {
    let name = user.metadata.name.as_deref().unwrap_or_default();
    view.users.get(name).cloned()
}

impl Sight {
    fn of(cluster: &Key, context: &Context) -> Self {
        let fleet = context.fleets.get(cluster);
        if let Some((fleet, view)) = fleet.and_then(|fleet| fleet.view().map(|view| (fleet, view))) {
            context.users.answers(cluster);
            return Self::Clear(fleet, view);
        }
        match SILENCE.checked_sub(context.users.silent_for(cluster)) {
            Some(left) if !left.is_zero() => Self::Blinking(left),
            _ => Self::Dark,
        }
    }
}
