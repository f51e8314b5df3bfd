use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::metadata::Owner;
use flotilla_crds::{Cluster, Topic};

use super::{Context, SILENCE};
use crate::cache::{Cache, cluster_of_topic};
use crate::fleet::{Fleet, View};
use crate::topic::{allowed, eldest, kafka_name, may_adopt};
use crate::{Key, Problem, namespace_of};

/// All that surrounds a Topic, at one moment.
pub(super) struct Scene {
    /// The Cluster that it names.
    pub(super) key: Key,
    /// That Cluster, if it is there.
    pub(super) cluster: Option<Arc<Cluster>>,
    /// Whether the Cluster takes it.
    pub(super) allowed: Result<(), Problem>,
    /// The other Topic that comes first among those that want the same topic, may have it and stay.
    pub(super) rival: Option<Arc<Topic>>,
    /// The first of those that may take the topic over with what it holds.
    pub(super) heir: Option<Arc<Topic>>,
    /// Whether the Topic itself may take over what is not its namespace's own.
    pub(super) may_adopt: bool,
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

impl Scene {
    pub(super) fn observe(topic: &Topic, context: &Context) -> Self {
        let cache = &context.cache;
        let key = cluster_of_topic(topic);
        let Some(cluster) = cache.cluster(&key) else {
            context.topics.forget(&key);
            return Self {
                key,
                cluster: None,
                allowed: Ok(()),
                rival: None,
                heir: None,
                may_adopt: false,
                sight: Sight::Dark,
            };
        };
        let labels = |topic: &Topic| {
            let labels = cache.namespace_labels(namespace_of(&topic.metadata));
            labels.unwrap_or_default()
        };
        let mut rivals: Vec<Arc<Topic>> = cache
            .topics_named(&key, kafka_name(topic))
            .into_iter()
            .filter(|other| Key::of(&other.metadata) != Key::of(&topic.metadata))
            .filter(|other| other.metadata.deletion_timestamp.is_none())
            .filter(|other| allowed(&cluster, other, &labels(other)).is_ok())
            .collect();
        let rival = first(&rivals);
        rivals.retain(|other| {
            namespace_of(&other.metadata) == namespace_of(&topic.metadata)
                || may_adopt(&cluster, other, &labels(other))
        });
        Self {
            allowed: allowed(&cluster, topic, &labels(topic)),
            rival,
            heir: first(&rivals),
            may_adopt: may_adopt(&cluster, topic, &labels(topic)),
            sight: Sight::of(&key, context),
            cluster: Some(cluster),
            key,
        }
    }

    /// Whether a Topic that comes first among those that want its topic may take it over from this resource, or from nobody. A
    /// resource of another namespace may have left something there that is not this one's to read. Of a namespace that is not
    /// watched, nobody here can tell whether the resource is still there.
    pub(super) fn may_take(&self, topic: &Topic, owner: Option<&Owner>, cache: &Cache) -> bool {
        let Some(owner) = owner else { return self.may_adopt };
        let key = Key::new(&owner.namespace, &owner.name);
        (self.may_adopt || owner.namespace == namespace_of(&topic.metadata))
            && cache.watches(&owner.namespace)
            && !cache.undecodable()[1].1.contains_key(&key)
    }

    /// The Cluster, unless it is gone or on its way out.
    pub(super) fn staying(&self, cache: &Cache) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref().filter(|cluster| {
            cluster.metadata.deletion_timestamp.is_none() && !cache.namespace_terminating(&self.key.namespace)
        })
    }

    /// Whether the Topic comes after another one that wants the same topic.
    pub(super) fn elder(&self, topic: &Topic) -> Option<&Topic> {
        let rival = self.rival.as_deref()?;
        let first = eldest([topic, rival])?;
        std::ptr::eq(first, rival).then_some(rival)
    }
}

impl Sight {
    fn of(cluster: &Key, context: &Context) -> Self {
        let fleet = context.fleets.get(cluster);
        if let Some((fleet, view)) = fleet.and_then(|fleet| fleet.view().map(|view| (fleet, view))) {
            context.topics.answers(cluster);
            return Self::Clear(fleet, view);
        }
        match SILENCE.checked_sub(context.topics.silent_for(cluster)) {
            Some(left) if !left.is_zero() => Self::Blinking(left),
            _ => Self::Dark,
        }
    }
}

fn first(topics: &[Arc<Topic>]) -> Option<Arc<Topic>> {
    let eldest = eldest(topics.iter().map(AsRef::as_ref))?;
    topics
        .iter()
        .find(|topic| std::ptr::eq(topic.as_ref(), eldest))
        .cloned()
}
