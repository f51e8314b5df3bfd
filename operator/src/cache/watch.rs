//! One task for each kind and namespace: hears what changes, strips it, keeps it, and tells of what may matter.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use flotilla_crds::{Cluster, Topic, User};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::error_boundary::InvalidObject;
use kube::core::{ClusterResourceScope, DeserializeGuard, NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt as _, utils::Backoff};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::store::{Broken, Store};
use super::{Cache, Inner, Owned, Touched, cluster_of_topic, cluster_of_user, strip};
use crate::cluster::CLUSTER_LABEL;
use crate::{Key, namespace_of, topic};

/// How long one watch lasts, in seconds. A connection that died silently is noticed soon after.
const WATCH_SECONDS: u32 = 60;
/// How soon a watch that broke off is begun again, at first and at last.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What there is to do with the objects of one kind.
struct Kind<K: 'static> {
    name: &'static str,
    store: fn(&Inner) -> &Store<K>,
    strip: fn(&mut K),
    /// What a change is told as: from before to after, of which one may be missing.
    tell: fn(&Key, Option<&K>, Option<&K>) -> Option<Touched>,
}

impl<K> Clone for Kind<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Kind<K> {}

pub(super) fn start(cache: &Cache, namespaces: &[String], shutdown: &CancellationToken) {
    let watches = Watches {
        cache,
        namespaces,
        shutdown,
    };
    watches.ours(Kind {
        name: "Cluster",
        store: |inner| &inner.clusters,
        strip: |_| {},
        tell: tell_cluster,
    });
    watches.ours(Kind {
        name: "Topic",
        store: |inner| &inner.topics,
        strip: |_| {},
        tell: tell_topic,
    });
    watches.ours(Kind {
        name: "User",
        store: |inner| &inner.users,
        strip: |_| {},
        tell: tell_user,
    });
    macro_rules! owned {
        ($($kind:ident $strip:expr,)*) => {
            $(watches.labelled(Kind::<k8s::$kind> {
                name: stringify!($kind),
                store: <k8s::$kind as Owned>::store,
                strip: $strip,
                tell: |key, before, after| tell_owned(stringify!($kind), key, before, after),
            });)*
        };
    }
    owned! {
        StatefulSet |_| {},
        Service |_| {},
        ConfigMap |_| {},
        Secret |_| {},
        Pod strip::pod,
        PersistentVolumeClaim |_| {},
        PodDisruptionBudget |_| {},
        NetworkPolicy |_| {},
        Ingress |_| {},
    }
    watches.secrets();
    watches.everywhere::<Node>(Kind {
        name: "Node",
        store: |inner| &inner.nodes,
        strip: strip::node,
        tell: |_, before, after| changed(before, after).then_some(Touched::Node),
    });
    watches.everywhere::<PartialObjectMeta<Namespace>>(Kind {
        name: "Namespace",
        store: |inner| &inner.namespaces,
        strip: |namespace| strip::annotations(&mut namespace.metadata),
        tell: |key, before, after| {
            let seen = |object: &PartialObjectMeta<Namespace>| {
                (
                    object.metadata.labels.clone(),
                    object.metadata.deletion_timestamp.is_some(),
                )
            };
            let differs = before.map(seen) != after.map(seen);
            differs.then(|| Touched::Namespace {
                name: key.name.clone(),
            })
        },
    });
}

mod k8s {
    pub(super) use k8s_openapi::api::apps::v1::StatefulSet;
    pub(super) use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
    pub(super) use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
    pub(super) use k8s_openapi::api::policy::v1::PodDisruptionBudget;
}

struct Watches<'a> {
    cache: &'a Cache,
    namespaces: &'a [String],
    shutdown: &'a CancellationToken,
}

impl Watches<'_> {
    fn ours<K>(&self, kind: Kind<K>)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Watched,
    {
        self.in_namespaces(kind, &config());
    }

    fn labelled<K>(&self, kind: Kind<K>)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Watched,
    {
        self.in_namespaces(kind, &config().labels(CLUSTER_LABEL));
    }

    /// All Secrets, without what is in them: Users take their passwords from Secrets that carry no label of ours.
    fn secrets(&self) {
        self.in_namespaces::<PartialObjectMeta<Secret>>(
            Kind {
                name: "Secret metadata",
                store: |inner| &inner.secret_metadata,
                strip: |secret| strip::all_but_identity(&mut secret.metadata),
                tell: |key, _, _| Some(Touched::Secret { key: key.clone() }),
            },
            &config(),
        );
    }

    fn in_namespaces<K>(&self, kind: Kind<K>, config: &watcher::Config)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Watched,
    {
        let client = &self.cache.0.client;
        if self.namespaces.is_empty() {
            self.begin(kind, Api::all(client.clone()), None, config);
        }
        for namespace in self.namespaces {
            let api = Api::namespaced(client.clone(), namespace);
            self.begin(kind, api, Some(namespace.clone()), config);
        }
    }

    fn everywhere<K>(&self, kind: Kind<K>)
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Watched,
    {
        self.begin(kind, Api::all(self.cache.0.client.clone()), None, &config());
    }

    fn begin<K>(
        &self,
        kind: Kind<K>,
        api: Api<DeserializeGuard<K>>,
        namespace: Option<String>,
        config: &watcher::Config,
    ) where
        K: Resource<DynamicType = ()> + Watched,
    {
        self.cache.0.unsynced.send_modify(|count| *count += 1);
        let watch = Watch {
            cache: self.cache.clone(),
            kind,
            namespace,
            listed: None,
            synced: false,
        };
        let shutdown = self.shutdown.clone();
        let config = config.clone();
        tokio::spawn(async move {
            let run = watch.run(api, config);
            shutdown.run_until_cancelled(run).await;
        });
    }
}

/// What an object must be to be watched.
trait Watched: Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K: Clone + Debug + DeserializeOwned + Send + Sync + 'static> Watched for K {}

fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// The pauses of a watch that breaks off again and again.
struct Again(Duration);

impl Iterator for Again {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(AGAIN.1);
        Some(pause)
    }
}

impl Backoff for Again {
    fn reset(&mut self) {
        self.0 = AGAIN.0;
    }
}

/// One kind in one namespace, or in all.
struct Watch<K: 'static> {
    cache: Cache,
    kind: Kind<K>,
    namespace: Option<String>,
    /// What the list that is being read has named so far.
    listed: Option<BTreeSet<Key>>,
    synced: bool,
}

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Watched,
{
    async fn run(mut self, api: Api<DeserializeGuard<K>>, config: watcher::Config) {
        let mut events = pin!(watcher(api, config).backoff(Again(AGAIN.0)));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.apply(event),
                Err(error) => self.failed(&error),
            }
        }
    }

    fn failed(&self, error: &watcher::Error) {
        // A watch that is older than what the API server remembers is begun anew, which is ordinary.
        let ordinary = matches!(error, watcher::Error::WatchError(status) if status.code == 410);
        if !ordinary {
            self.cache.0.metrics.watch_failed(self.kind.name);
            let namespace = self.namespace.as_deref().unwrap_or("all namespaces");
            tracing::warn!(kind = self.kind.name, namespace, %error, "cannot watch; it is tried again");
        }
    }

    fn apply(&mut self, event: Event<DeserializeGuard<K>>) {
        match event {
            Event::Init => self.listed = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                let key = key_of(object.meta());
                self.heard(&key, object);
                self.listed.get_or_insert_default().insert(key);
            }
            Event::InitDone => self.complete(),
            Event::Apply(object) => self.heard(&key_of(object.meta()), object),
            Event::Delete(object) => self.gone(&key_of(object.meta())),
        }
    }

    fn heard(&self, key: &Key, object: DeserializeGuard<K>) {
        let store = (self.kind.store)(&self.cache.0);
        let mut object = match object.0 {
            Ok(object) => object,
            Err(broken) => return self.heard_broken(key, broken),
        };
        strip::metadata(object.meta_mut());
        (self.kind.strip)(&mut object);
        let before = store.put(key, object);
        if let Some(after) = store.get(key) {
            self.tell(key, before.as_deref(), Some(&after));
        }
    }

    /// What was known of the object goes on, with its new metadata, so that its deletion is followed all the same.
    fn heard_broken(&self, key: &Key, mut broken: InvalidObject) {
        let store = (self.kind.store)(&self.cache.0);
        strip::metadata(&mut broken.metadata);
        let before = store.get(key);
        if let Some(before) = &before {
            let mut after = K::clone(before);
            after.meta_mut().clone_from(&broken.metadata);
            store.put(key, after);
        }
        let (kind, why) = (self.kind.name, broken.error);
        if store.set_broken(
            key,
            Broken {
                why: why.clone(),
                metadata: broken.metadata,
            },
        ) {
            tracing::warn!(kind, object = %key, why, "cannot be read; what was known of it goes on");
        }
        if let (Some(before), Some(after)) = (before, store.get(key)) {
            self.tell(key, Some(&before), Some(&after));
        }
        let _ = self.cache.0.touched.send(Touched::Undecodable {
            kind,
            key: key.clone(),
        });
    }

    fn gone(&self, key: &Key) {
        if let Some(before) = (self.kind.store)(&self.cache.0).remove(key) {
            self.tell(key, Some(&before), None);
        }
    }

    /// What the list did not name is gone.
    fn complete(&mut self) {
        let listed = self.listed.take().unwrap_or_default();
        for key in (self.kind.store)(&self.cache.0).keys() {
            let ours = self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.namespace);
            if ours && !listed.contains(&key) {
                self.gone(&key);
            }
        }
        if !self.synced {
            self.synced = true;
            self.cache.0.unsynced.send_modify(|count| *count -= 1);
        }
    }

    fn tell(&self, key: &Key, before: Option<&K>, after: Option<&K>) {
        if let Some(touched) = (self.kind.tell)(key, before, after) {
            // Nobody listens on a standby.
            let _ = self.cache.0.touched.send(touched);
        }
    }
}

/// Objects of the cluster itself have no namespace.
fn key_of(metadata: &ObjectMeta) -> Key {
    Key::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

/// Whether anything but the version differs.
fn changed<K: Resource<DynamicType = ()> + Clone + PartialEq>(before: Option<&K>, after: Option<&K>) -> bool {
    let (Some(before), Some(after)) = (before, after) else {
        return true;
    };
    let mut before = before.clone();
    before
        .meta_mut()
        .resource_version
        .clone_from(&after.meta().resource_version);
    before != *after
}

/// What of a resource of ours a user, or Kubernetes, changes: not what our own writes of its status change.
fn own(object: &ObjectMeta) -> impl PartialEq {
    (
        object.uid.clone(),
        object.generation,
        object.deletion_timestamp.clone(),
        object.finalizers.clone(),
        object.labels.clone(),
        object.annotations.clone(),
    )
}

fn came_or_went<K: Resource>(before: Option<&K>, after: Option<&K>) -> bool {
    let alive = |object: &K| {
        (
            object.meta().uid.clone(),
            object.meta().deletion_timestamp.is_some(),
        )
    };
    before.map(alive) != after.map(alive)
}

fn tell_cluster(key: &Key, before: Option<&Cluster>, after: Option<&Cluster>) -> Option<Touched> {
    let own = before.map(|cluster| own(&cluster.metadata)) != after.map(|cluster| own(&cluster.metadata));
    let standing = |cluster: &Cluster| {
        let status = cluster.status.as_ref()?;
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready");
        let ready = ready.map(|ready| ready.status.clone());
        Some((ready, status.cluster_id.clone(), status.listeners.clone()))
    };
    let standing = before.map(standing) != after.map(standing);
    (own || standing).then(|| Touched::Cluster {
        key: key.clone(),
        own,
        standing,
    })
}

fn tell_topic(key: &Key, before: Option<&Topic>, after: Option<&Topic>) -> Option<Touched> {
    if before.map(|topic| own(&topic.metadata)) == after.map(|topic| own(&topic.metadata)) {
        return None;
    }
    let topic = after.or(before)?;
    Some(Touched::Topic {
        key: key.clone(),
        cluster: cluster_of_topic(topic),
        name: topic::kafka_name(topic).to_owned(),
        came_or_went: came_or_went(before, after),
    })
}

fn tell_user(key: &Key, before: Option<&User>, after: Option<&User>) -> Option<Touched> {
    if before.map(|user| own(&user.metadata)) == after.map(|user| own(&user.metadata)) {
        return None;
    }
    Some(Touched::User {
        key: key.clone(),
        cluster: cluster_of_user(after.or(before)?),
        came_or_went: came_or_went(before, after),
    })
}

fn tell_owned<K>(kind: &'static str, key: &Key, before: Option<&K>, after: Option<&K>) -> Option<Touched>
where
    K: Resource<DynamicType = ()> + Clone + PartialEq,
{
    if !changed(before, after) {
        return None;
    }
    let labels = after.or(before)?.meta().labels.as_ref()?;
    Some(Touched::Owned {
        kind,
        key: key.clone(),
        cluster: Key::new(namespace_of(after.or(before)?.meta()), labels.get(CLUSTER_LABEL)?),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn cluster(change: impl Fn(&mut Value)) -> Cluster {
        let mut cluster = json!({
            "apiVersion": "flotilla.dev/v1alpha1", "kind": "Cluster", "spec": {},
            "metadata": {"namespace": "streaming", "name": "events", "uid": "u", "generation": 1, "resourceVersion": "1"},
            "status": {"conditions": [{
                "type": "Ready", "status": "True", "reason": "Available", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        });
        change(&mut cluster);
        serde_json::from_value(cluster).unwrap()
    }

    fn told(change: impl Fn(&mut Value)) -> Option<(bool, bool)> {
        let key = Key::new("streaming", "events");
        match tell_cluster(&key, Some(&cluster(|_| {})), Some(&cluster(change)))? {
            Touched::Cluster { own, standing, .. } => Some((own, standing)),
            _ => None,
        }
    }

    #[test]
    fn status_that_says_the_same_in_other_words_is_not_told() {
        assert_eq!(told(|_| {}), None);
        assert_eq!(
            told(|cluster| {
                cluster["metadata"]["resourceVersion"] = "2".into();
                cluster["status"]["conditions"][0]["message"] = "3 brokers serve".into();
            }),
            None
        );
        assert_eq!(
            told(|cluster| cluster["status"]["conditions"][0]["status"] = "False".into()),
            Some((false, true))
        );
        assert_eq!(
            told(|cluster| cluster["metadata"]["generation"] = 2.into()),
            Some((true, false))
        );
    }

    #[test]
    fn pod_is_told_with_its_cluster_when_more_than_its_version_changed() {
        let pod = |version: &str, phase: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"namespace": "a", "name": "events-main-0", "resourceVersion": version, "labels": {CLUSTER_LABEL: "events"}},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        let key = Key::new("a", "events-main-0");
        let tell = |before: &Pod, after: Option<&Pod>| tell_owned("Pod", &key, Some(before), after);
        assert_eq!(tell(&pod("1", "Running"), Some(&pod("2", "Running"))), None);
        let touched = Touched::Owned {
            kind: "Pod",
            key: key.clone(),
            cluster: Key::new("a", "events"),
        };
        assert_eq!(
            tell(&pod("1", "Pending"), Some(&pod("2", "Running"))),
            Some(touched.clone())
        );
        assert_eq!(tell(&pod("1", "Running"), None), Some(touched));
    }
}
