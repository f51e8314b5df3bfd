//! Which resources a change concerns.

use std::time::Duration;

use flotilla_crds::Cluster;

use super::queue::Queue;
use super::{Context, cluster};
use crate::Key;
use crate::cache::{Cache, Touched};
use crate::cluster::Names;
use crate::fleet::{Change, What};

/// Changes that come together are answered together.
const SOON: Duration = Duration::from_millis(20);
/// Topics change by the thousand while replicas move, and a Cluster looks at all of them.
const CLUSTER_AFTER_TOPICS: Duration = Duration::from_millis(500);
/// Every Topic looks at the brokers, and brokers come and go together.
const TOPICS_AFTER_BROKERS: Duration = Duration::from_millis(500);

/// The three queues.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) clusters: Queue,
    pub(super) topics: Queue,
    pub(super) users: Queue,
}

impl Queues {
    fn topics_of(&self, cache: &Cache, cluster: &Key, after: Duration) {
        for topic in cache.topics_of(cluster) {
            self.topics.add(Key::of(&topic.metadata), after);
        }
    }

    fn users_of(&self, cache: &Cache, cluster: &Key) {
        for user in cache.users_of(cluster) {
            self.users.add(Key::of(&user.metadata), SOON);
        }
    }

    fn users_in(&self, cache: &Cache, namespace: &str) {
        for user in cache.users_in(namespace) {
            self.users.add(Key::of(&user.metadata), SOON);
        }
    }
}

/// Everything there is.
pub(super) fn everything(cache: &Cache, queues: &Queues) {
    for cluster in cache.clusters() {
        queues.clusters.add(Key::of(&cluster.metadata), Duration::ZERO);
    }
    for topic in cache.topics() {
        queues.topics.add(Key::of(&topic.metadata), Duration::ZERO);
    }
    for user in cache.users() {
        queues.users.add(Key::of(&user.metadata), Duration::ZERO);
    }
}

/// What a change in Kubernetes concerns.
pub(super) fn route(touched: &Touched, cache: &Cache, queues: &Queues) {
    match touched {
        Touched::Cluster { key, own, .. } => {
            if *own {
                queues.clusters.add(key.clone(), SOON);
            }
            queues.topics_of(cache, key, SOON);
            queues.users_of(cache, key);
        }
        Touched::Topic {
            key,
            cluster,
            name,
            came_or_went,
        } => {
            queues.topics.add(key.clone(), SOON);
            if *came_or_went {
                // The next of those that claim the name; the Cluster, which may wait for its Topics to go; the Users, whose rules may name it.
                for other in cache.topics_named(cluster, name) {
                    queues.topics.add(Key::of(&other.metadata), SOON);
                }
                queues.clusters.add(cluster.clone(), SOON);
                queues.users_in(cache, &key.namespace);
            }
        }
        Touched::User {
            key,
            cluster,
            came_or_went,
        } => {
            queues.users.add(key.clone(), SOON);
            if *came_or_went {
                for other in cache.users_named(cluster, &key.name) {
                    queues.users.add(Key::of(&other.metadata), SOON);
                }
                queues.clusters.add(cluster.clone(), SOON);
            }
        }
        Touched::Owned { cluster, .. } => queues.clusters.add(cluster.clone(), SOON),
        Touched::Secret { key } => secret(key, cache, queues),
        Touched::Node => {
            for cluster in cache.clusters() {
                queues.clusters.add(Key::of(&cluster.metadata), SOON);
            }
        }
        Touched::Namespace { name } => {
            for topic in cache.topics_in(name) {
                queues.topics.add(Key::of(&topic.metadata), SOON);
            }
            queues.users_in(cache, name);
        }
        Touched::Undecodable { .. } => {}
    }
}

/// What a change in a fleet concerns.
pub(super) fn route_fleet(change: &Change, context: &Context, queues: &Queues) {
    let (cluster, cache) = (&change.cluster, &context.cache);
    if cluster::cares(change, context) {
        let after = match change.what {
            What::Topic(_) => CLUSTER_AFTER_TOPICS,
            _ => SOON,
        };
        queues.clusters.add(cluster.clone(), after);
    }
    match &change.what {
        What::Connected | What::Lost => {
            queues.topics_of(cache, cluster, SOON);
            queues.users_of(cache, cluster);
        }
        What::Brokers => queues.topics_of(cache, cluster, TOPICS_AFTER_BROKERS),
        What::Quorum => {}
        What::Topic(name) => {
            for topic in cache.topics_named(cluster, name) {
                queues.topics.add(Key::of(&topic.metadata), SOON);
            }
        }
        What::User(name) => {
            for user in cache.users_named(cluster, name) {
                queues.users.add(Key::of(&user.metadata), SOON);
            }
        }
    }
}

/// Users write Secrets and read passwords from them; Clusters take authorities from them, and what is issued to Users changes with those.
fn secret(key: &Key, cache: &Cache, queues: &Queues) {
    for user in cache.users_with_secret(key) {
        queues.users.add(Key::of(&user.metadata), SOON);
    }
    for cluster in cache.clusters() {
        let name = Key::of(&cluster.metadata);
        if name.namespace == key.namespace && is_authority(&cluster, &key.name) {
            queues.users_of(cache, &name);
            queues.clusters.add(name, SOON);
        }
    }
}

fn is_authority(cluster: &Cluster, secret: &str) -> bool {
    let names = Names::of(cluster);
    let given = cluster
        .spec
        .tls
        .iter()
        .flat_map(|tls| [&tls.cluster_ca, &tls.clients_ca]);
    let mut given = given.filter_map(|authority| Some(authority.as_ref()?.secret.as_ref()?.name.as_str()));
    ["cluster", "clients"]
        .iter()
        .any(|of| names.authority(of) == secret)
        || given.any(|name| name == secret)
}
